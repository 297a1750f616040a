"""One socket that asks and waits, command by command, and how long each answer took; blocking, frames by hand."""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # the package ships no types

from bench.pyload import ACCEPT, KEY, Client
from bench.server import ServerProcess

LIMIT_S: Final = 60.0

Frame = dict[str, Any]


class Refused(Exception):
    """A command was answered with an error, or the socket was closed."""


class Asker:
    """One connection; ``hello`` first. Close it."""

    def __init__(self, port: int, token: str, device: str = "bench") -> None:
        self._device = device
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = Client(0, token, "", "")
        self._asked = 0
        self._ready: list[Frame] = []
        self.socket.sendall(
            f"GET /v1/socket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: konnect.v1\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._client.received:
            self._receive()
        head, _, rest = bytes(self._client.received).partition(b"\r\n\r\n")
        if ACCEPT not in head:
            raise Refused(head.decode(errors="replace"))
        self._client.received = bytearray(rest)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def hello(self, cursor: str | None = None, heads: Mapping[str, int] | None = None) -> tuple[float, list[Frame]]:
        """Sign in and wait until all is there: seconds from the hello to ``synced``, and all that came."""
        more = {} if heads is None else {"heads": dict(heads), "cursor": cursor}
        began = time.perf_counter()
        self._send("hello", token=self._client.token, device=self._device, **more)
        came = [self._next()]
        while came[-1]["t"] != "synced":
            if came[-1]["t"] == "error":
                raise Refused(str(came[-1]))
            came.append(self._next())
        return time.perf_counter() - began, came

    def drain(self) -> None:
        """Forget what has come without being asked for."""
        self.socket.setblocking(False)
        try:
            while True:
                self._receive()
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(LIMIT_S)
        for first, payload in self._client.frames():
            if first == 0x88:
                raise Refused(f"closed: {payload!r}")
        self._ready.clear()

    def ask(self, command: str, **fields: Any) -> tuple[float, Frame]:
        """Seconds until the answer, and its result.

        Raises:
            Refused: It was an error.
        """
        began = time.perf_counter()
        number = self._send(command, **fields)
        while True:
            frame = self._next()
            if frame.get("id") == number:
                took_s = time.perf_counter() - began
                if frame["t"] != "ok":
                    raise Refused(str(frame))
                return took_s, frame["result"]

    def _send(self, command: str, **fields: Any) -> int:
        self._asked += 1
        self._client.push(msgpack.packb({"t": command, "id": self._asked, **fields}))
        self.socket.sendall(self._client.waiting)
        self._client.waiting.clear()
        return self._asked

    def _next(self) -> Frame:
        while not self._ready:
            frames = list(self._client.frames())
            for first, payload in frames:
                if first == 0x88:
                    raise Refused(f"closed: {payload!r}")
                if first == 0x82:
                    self._ready.append(msgpack.unpackb(payload))
            if not frames:
                self._receive()
        return self._ready.pop(0)

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise Refused("the server hung up")
        self._client.received += data


def figures(times_s: Sequence[float], gate_ms: float | None = None, cost: "Spent | None" = None) -> dict[str, Any]:
    """A run of a report: count, quantiles and maximum in milliseconds, and whether the 95th of a hundred is below
    *gate_ms*. *cost*: what all of them together took of the processors."""
    ordered = sorted(times_s)
    found: dict[str, Any] = {"count": len(ordered), "lower_bound": False, "failures": {}}
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("max_ms", 1.0)):
        found[name] = round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3, 2)
    if cost is not None:
        found |= cost.each(len(ordered))
    return found | {"gate_ms": gate_ms, "ok": gate_ms is None or found["p95_ms"] < gate_ms}


class Spent:
    """What the server and its PostgreSQL spend of the processors from here on: says what a figure would be on a machine
    that has nothing else to do."""

    def __init__(self, server: ServerProcess) -> None:
        self._server, self._before = server, server.cost()

    def each(self, count: int) -> dict[str, float]:
        """Microseconds of either for each of *count*."""
        before, now = self._before, self._server.cost()
        if before is None or now is None:
            return {}
        return {
            "server_cpu_us": round((now.server_cpu_s - before.server_cpu_s) / count * 1e6),
            "postgres_cpu_us": round((now.postgres_cpu_s - before.postgres_cpu_s) / count * 1e6),
        }
