"""The load of ``load/`` in Python, for machines without a compiler: the same words in and out, many times slower.

``python -m bench.pyload HOST PORT MODE [name=value ...]``; see ``load/main.c`` for modes, options and lines. It can do
ping, fanout and direct, with Konnect. Raw sockets, a selector, frames by hand, MessagePack by the package ``msgpack``.
"""

import json
import os
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgpack  # type: ignore[import-untyped]  # the package ships no types

KEY: Final = "a29ubmVjdC1iZW5jaC0wMQ=="
ACCEPT: Final = b"VCUCx0eCwvbuU7KLSJZfGLD8A6o="
CONNECTING_AT_ONCE: Final = 64
SIGN_IN_WITHIN_S: Final = 120.0
DEFAULTS: Final = {
    "rate": 0.0, "seconds": 5.0, "warmup": 1.0, "drain": 10.0,
    "flight": 1.0, "bytes": 100.0, "sample": 16.0, "phases": 1.0,
}  # fmt: skip


class Failed(Exception):
    """The load cannot go on; the text says why."""


class Stretch:
    """One phase: counts, and latencies in seconds."""

    def __init__(self) -> None:
        self.begin = self.end = self.cpu_begin = self.cpu_end = 0.0
        self.latencies: dict[str, list[float]] = {"ack": [], "delivery": [], "last": []}

    def told(self) -> dict[str, Any]:
        """As ``load/tell.c`` prints it."""
        seconds = self.end - self.begin
        found: dict[str, Any] = {"seconds": seconds, "cpu": (self.cpu_end - self.cpu_begin) / seconds}
        found |= {"acks": len(self.latencies["ack"]), "deliveries": len(self.latencies["delivery"])}
        return found | {name: quantiles(values) for name, values in self.latencies.items()}


def quantiles(values: list[float]) -> dict[str, float]:
    """Count, quantiles and maximum, in milliseconds."""
    ordered = sorted(values)
    found: dict[str, float] = {"count": len(ordered)}
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)):
        found[name] = ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3 if ordered else 0.0
    return found


class Client:
    """One socket."""

    def __init__(self, place: int, token: str, conversation: str, role: str, head: int = 0) -> None:
        self.place, self.token, self.conversation, self.role, self.head = place, token, conversation, role, head
        self.sock: socket.socket | None = None
        self.state = "idle"  # connecting, upgrading, signing_in, live, dead
        self.received, self.waiting = bytearray(), bytearray()
        self.sent_at: list[float] = []
        self.answered = self.entries = self.close_code = 0
        self.close_reason = ""
        self.stopped = self.was_stopped = False

    def push(self, payload: bytes, opcode: int = 2) -> None:
        """Queue one masked frame."""
        size, mask = len(payload), os.urandom(4)
        head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
        pad = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")
        self.waiting += head + mask + masked

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """The whole frames that have come: first byte and payload."""
        at, data = 0, self.received
        while len(data) - at >= 2:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if len(data) - at < head + size:
                break
            yield data[at], bytes(data[at + head : at + head + size])
            at += head + size
        del data[:at]


class Generator:
    """All sockets, and what is counted."""

    def __init__(self, host: str, port: int, mode: str, options: dict[str, float], clients: list[Client]) -> None:
        self.address, self.mode, self.options, self.clients = (host, port), mode, options, clients
        self.selector = selectors.DefaultSelector()
        self.unconnected = deque(clients)
        self.live = 0
        self.readers = sum(client.role != "s" for client in clients)
        self.run_id = f"{time.time_ns():x}-{os.getpid():x}"
        self.stretches = [Stretch() for _ in range(int(options["phases"]))]
        self.now: Stretch | None = None
        self.stopping = False
        self.left: list[int] = []  # fanout: members that do not have the n-th message yet
        self.complete = self.acks = self.deliveries = self.errors = self.wrong = self.closes = self.others = 0
        self.first_error = self.first_close = ""
        self.due = self.gap = 0.0

    # --- Sockets ------------------------------------------------------------------------------------------------------

    def connect_next(self) -> None:
        """Begin the next connection, if one is left."""
        if self.unconnected:
            client = self.unconnected.popleft()
            client.sock = sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if client.role == "s":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect_ex(self.address)
            client.state = "connecting"
            self.selector.register(sock, selectors.EVENT_WRITE, client)

    def turn(self, wait_s: float) -> None:
        """Handle what is ready, waiting *wait_s* seconds at most; then send."""
        if not self.selector.get_map():
            raise Failed(f"all sockets are closed; the first: {self.first_close}")
        for key, mask in self.selector.select(wait_s):
            client: Client = key.data
            if client.state == "connecting":
                self._connected(client)
            elif mask & selectors.EVENT_READ and client.state != "dead":
                self._readable(client)
        for client in self.clients:
            if client.waiting and client.state != "dead":
                self._flush(client)

    def _connected(self, client: Client) -> None:
        assert client.sock is not None
        if problem := client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise Failed(f"connect: {os.strerror(problem)}")
        client.state = "upgrading"
        host, port = self.address
        client.waiting += (
            f"GET /v1/socket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: konnect.v1\r\n\r\n"
        ).encode()

    def _flush(self, client: Client) -> None:
        assert client.sock is not None
        try:
            del client.waiting[: client.sock.send(client.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            client.waiting.clear()  # what the peer still said is read first
        if not client.stopped:
            writes = selectors.EVENT_WRITE if client.waiting else 0
            self.selector.modify(client.sock, selectors.EVENT_READ | writes, client)

    def _readable(self, client: Client) -> None:
        assert client.sock is not None
        try:
            data = client.sock.recv(262_144)
        except BlockingIOError:
            return
        except OSError as problem:
            self._end(client, 1006, problem.strerror or "")
            return
        if not data:
            self._end(client, 1006, "end of stream")
            return
        client.received += data
        if client.state == "upgrading":
            head, blank, rest = client.received.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
                raise Failed(f"the server refused the socket: {head.splitlines()[0].decode('latin-1')}")
            client.received, client.state = rest, "signing_in"
            hello: dict[str, Any] = {"t": "hello", "id": 0, "token": client.token, "device": "bench", "recent": 0}
            if client.head:
                hello |= {"heads": {client.conversation: client.head}, "cursor": None}
            client.push(msgpack.packb(hello))
        for first, payload in client.frames():
            self._frame(client, first, payload)

    def _end(self, client: Client, code: int, reason: str) -> None:
        if client.state != "live":
            raise Failed(f"a socket was closed before it was live: {code} {reason}")
        assert client.sock is not None
        if not client.stopped:
            self.selector.unregister(client.sock)
        client.sock.close()
        client.state, client.close_code, client.close_reason = "dead", code, reason
        self.live -= 1
        if client.role != "s" or self.now is self.stretches[0]:
            self.closes += 1
            self.first_close = self.first_close or f"{code} {reason}"

    # --- Frames -------------------------------------------------------------------------------------------------------

    def _frame(self, client: Client, first: int, payload: bytes) -> None:
        if first == 0x82:
            self._message(client, msgpack.unpackb(payload), time.monotonic())
        elif first == 0x89:
            if not client.was_stopped:  # after the server's end it would reset the stream, with what is left in it
                client.push(payload, 10)
        elif first == 0x88:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._end(client, code, payload[2:].decode(errors="replace"))
        elif first != 0x8A:
            raise Failed(f"a frame that cannot be: first byte {first:02x}")

    def _message(self, client: Client, frame: dict[str, Any], now: float) -> None:
        match frame["t"]:
            case "entry":
                self._delivered(client, frame, now)
            case "ok" if client.state == "live":
                self._answered(client, frame, now)
            case "error":
                words = f"{frame['code']}: {frame['message']}"
                if client.state != "live":
                    raise Failed(f"a sign-in was refused: {words}")
                self.errors += 1
                self.first_error = self.first_error or words
                self._answered(client, frame, now)
            case "synced" if client.state == "signing_in":
                client.state = "live"
                self.live += 1
                self.connect_next()
            case _:
                self.others += 1

    def _delivered(self, client: Client, frame: dict[str, Any], now: float) -> None:
        n = client.entries
        client.entries += 1
        author = self.clients[0] if self.mode == "fanout" else self.clients[client.place - 1]
        if client.role == "s" or (self.mode == "direct" and client.role == "a"):
            return
        if n >= len(author.sent_at):
            self.wrong += 1
            return
        at = author.sent_at[n]
        self.wrong += not frame["text"].startswith(_stamp(at))
        self.deliveries += 1
        self._note("delivery", now - at)
        if self.mode == "fanout":
            self.left[n] -= 1
            if self.left[n] == 0:
                self.complete += 1
                self._note("last", now - at)
                if not self.stopping and not self.gap:
                    self.send(self.clients[0])

    def _answered(self, client: Client, frame: dict[str, Any], now: float) -> None:
        number = frame["id"]
        if not isinstance(number, int) or number >= len(client.sent_at):
            self.wrong += 1
            return
        client.answered += 1
        at = client.sent_at[number]
        if frame["t"] == "ok":
            self.acks += 1
            self._note("ack", now - at)
            if self.mode == "ping":
                self.wrong += not frame["result"]["data"].startswith(_stamp(at))
        if not self.stopping and client.state == "live" and self.mode != "fanout":
            self.send(client)

    def _note(self, kind: str, latency_s: float) -> None:
        if self.now is not None:
            self.now.latencies[kind].append(latency_s)

    def send(self, client: Client, at: float | None = None) -> None:
        """One command, stamped with *at* or now."""
        at = time.monotonic() if at is None else at
        number = len(client.sent_at)
        client.sent_at.append(at)
        text = _stamp(at).ljust(int(self.options["bytes"]), "x")
        if self.mode == "ping":
            client.push(msgpack.packb({"t": "ping", "id": number, "data": text}))
            return
        if self.mode == "fanout":
            self.left.append(self.readers)
        command = {"t": "message.send", "id": number, "conversation": client.conversation, "text": text}
        client.push(msgpack.packb(command | {"key": f"{self.run_id}-{client.place}-{number}"}))

    # --- The course of a run ------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Connect everybody and say that they are ready."""
        began, cpu = time.monotonic(), time.process_time()
        for _ in range(CONNECTING_AT_ONCE):
            self.connect_next()
        while self.live < len(self.clients):
            if time.monotonic() - began > SIGN_IN_WITHIN_S:
                raise Failed(f"only {self.live} of {len(self.clients)} sockets were signed in")
            self.turn(0.1)
        seconds = time.monotonic() - began
        _tell("ready", sockets=len(self.clients), seconds=seconds, cpu=(time.process_time() - cpu) / seconds)

    def await_go(self) -> None:
        """Answer pings until told to go."""
        os.set_blocking(0, False)
        while True:
            try:
                if not os.read(0, 16):
                    raise Failed("nobody said go")
                return
            except BlockingIOError:
                self.turn(0.005)

    def go(self) -> None:
        """The whole load, phase by phase, and its result."""
        if self.options["rate"] > 0:
            self.gap = 1 / self.options["rate"]
            self.due = time.monotonic() + self.gap
        else:
            authors = self.clients[:1] if self.mode == "fanout" else self.clients
            for client in authors:
                for _ in range(int(self.options["flight"]) * (client.role == "a" or self.mode == "ping")):
                    self.send(client)
        self.run_until(time.monotonic() + self.options["warmup"])
        for number, stretch in enumerate(self.stretches):
            if number == 1:
                self.set_reading(False)
            _tell("begin", phase=number)
            stretch.begin, stretch.cpu_begin, self.now = time.monotonic(), time.process_time(), stretch
            self.run_until(stretch.begin + self.options["seconds"])
            stretch.end, stretch.cpu_end, self.now = time.monotonic(), time.process_time(), None
            _tell("end", phase=number)
        self.stopping = True
        self.set_reading(True)
        last = time.monotonic() + self.options["drain"]
        while time.monotonic() < last and self.in_flight():
            self.turn(0.02)
        self.tell_result()

    def run_until(self, end: float) -> None:
        """Run, sending what is due."""
        while (now := time.monotonic()) < end:
            while self.gap and self.due <= now:
                self.send(self.clients[0], self.due)
                self.due += self.gap
            self.turn(min(0.05, end - now, max(0.0, self.due - now) if self.gap else 1.0))

    def set_reading(self, reads: bool) -> None:
        """Let the slow readers stop, or read on what was left for them."""
        for client in self.clients:
            if client.role == "s" and client.state == "live" and client.stopped == reads:
                assert client.sock is not None
                client.stopped = not reads
                client.was_stopped = True
                if reads:
                    self.selector.register(client.sock, selectors.EVENT_READ, client)
                else:
                    self.selector.unregister(client.sock)

    def in_flight(self) -> int:
        """What is not answered or delivered yet, and slow readers that are still open."""
        alive = [client for client in self.clients if client.state != "dead"]
        open_ = sum(len(client.sent_at) - client.answered for client in alive)
        if self.mode == "direct":
            open_ += sum(len(self.clients[c.place - 1].sent_at) - c.entries for c in alive if c.role == "r")
        slow = sum(client.role == "s" for client in alive) if len(self.stretches) > 1 else 0
        return open_ + len(self.left) - self.complete + slow

    def tell_result(self) -> None:
        """The last line."""
        sent = sum(len(client.sent_at) for client in self.clients)
        expected = {"ping": 0, "fanout": sent * self.readers, "direct": sent}[self.mode]
        lost = max(0, expected - self.deliveries) + max(0, sent - self.acks - self.errors)
        wrong = self.wrong + max(0, self.deliveries - expected)
        _tell(
            "result", sockets=len(self.clients), sent=sent, acks=self.acks, deliveries=self.deliveries,
            expected=expected, lost=lost, wrong=wrong, errors=self.errors, closes=self.closes, others=self.others,
            decoded=self.acks + self.deliveries, first_error=self.first_error, first_close=self.first_close,
            slow=[[client.close_code, client.close_reason] for client in self.clients if client.role == "s"],
            phases=[stretch.told() for stretch in self.stretches],
        )  # fmt: skip


def _stamp(at: float) -> str:
    return f"{int(at * 1e9):016x}"


def _tell(event: str, **told: Any) -> None:
    print(json.dumps({"event": event, **told}), flush=True)


def _fail(reason: str) -> NoReturn:
    _tell("failed", reason=reason)
    sys.exit(1)


def _read_clients() -> list[Client]:
    clients: list[Client] = []
    while (line := sys.stdin.readline()) and line != "end\n":
        token, conversation, role, *more = line.split()
        clients.append(Client(len(clients), token, conversation, role, int(more[1]) if more else 0))
    return clients


def main(words: list[str]) -> None:
    """Run as told by *words*, the command line without the program."""
    host, port, mode, *rest = words
    options = DEFAULTS | {name: float(value) for name, value in (word.split("=") for word in rest)}
    try:
        generator = Generator(host, int(port), mode, options, _read_clients())
        generator.sign_in()
        generator.await_go()
        generator.go()
    except (Failed, OSError) as problem:
        _fail(str(problem))


if __name__ == "__main__":
    main(sys.argv[1:])
