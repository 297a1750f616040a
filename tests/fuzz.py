"""Any bytes at the door: ``python -m tests.fuzz --seconds 60 [--seed N]``.

Each seed makes four cases, random or good and then mutated:

* reader: a byte stream, however cut, gives the same from the product's reader as from websockets' core alone;
* connection: a client's stream and whatever else may happen meanwhile (short writes, "later", resets, pauses, pushes,
  closes, silence) crash nothing, end exactly once, and leave nothing open;
* head: whatever comes first on a socket is refused, let in or handed over, and crashes nothing;
* codec: whatever comes in a message is a command or a KonnectError.

Exit code 1 and the failing seed when something is found; ``--seed N --count 1`` runs it again.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
import trio
from trio.testing import MockClock

from konnect_server.connection import Terms
from konnect_server.gateway import Gateway
from protocol import codec
from protocol.codec import message
from protocol.errors import KonnectError
from protocol.frames import AnyCommand
from tests.door_kit import BINARY, CLOSE, HELLO, PING, PONG, TEXT, Recorder, ScriptedSocket, Stage, frame, open_stage
from tests.ws_oracle import by_reader, compare

LIMIT = 400
_TEXTS = (b"", b"konnect", "κόσμε".encode(), b"\xce", b"\xf4\x90\x80\x80", b"\xed\xa0\x80", b"ok\xf0\x9f\x98")


# --- Making bytes ---


def some_bytes(rng: random.Random, most: int) -> bytes:
    """Random bytes, few more often than many."""
    return rng.randbytes(rng.choice((0, 1, 2, rng.randrange(20), rng.randrange(most))))


def one_frame(rng: random.Random) -> bytes:
    """A frame, mostly good."""
    first = rng.choice(
        (BINARY, BINARY, BINARY, TEXT, 0x02, 0x01, 0x00, 0x80, 0x80, PING, PONG, CLOSE, rng.randrange(256))
    )
    payload = rng.choice((some_bytes(rng, LIMIT + 20), rng.choice(_TEXTS)))
    if first in (PING, PONG, CLOSE) and rng.random() < 0.9:
        payload = payload[:125]
    if first == CLOSE and rng.random() < 0.8:
        payload = rng.choice((1000, 1001, 1005, 1011, 2999, 3000, 4000, 5000)).to_bytes(2, "big") + payload[:123]
    mask = None if rng.random() < 0.02 else rng.randbytes(4)
    form = rng.choice((None, None, None, 16, 64))
    return frame(first, payload, mask=mask, form=form)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """*data* with a few bytes changed, lost, doubled or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[place : place + 1] = rng.randbytes(1)
            case 1:
                del changed[place : place + rng.randrange(1, 6)]
            case 2:
                changed[place:place] = changed[place : place + rng.randrange(1, 20)]
            case _:
                changed[place:place] = rng.choice((b"\x00", b"\xff", b"\x82\xfe", b"\xff" * 9, rng.randbytes(3)))
    return bytes(changed)


def stream(rng: random.Random) -> bytes:
    """What a client may send after its handshake."""
    if rng.random() < 0.05:
        return some_bytes(rng, 1000)
    return mutated(rng, b"".join(one_frame(rng) for _ in range(rng.randrange(1, 12))))


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """*data* as the network may cut it."""
    cut = []
    while data:
        size = rng.choice((1, 2, 7, 64, 1000, len(data)))
        cut.append(data[:size])
        data = data[size:]
    return cut


# --- Cases ---


def reader_case(rng: random.Random) -> None:
    data = stream(rng)
    compare(data, [rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 3, 30)))], LIMIT)


def connection_case(rng: random.Random) -> None:
    with structlog.testing.capture_logs() as logs:
        trio.run(_connection, rng, clock=MockClock(autojump_threshold=0))
    assert not logs, logs


async def _connection(rng: random.Random) -> None:
    terms = Terms(message_bytes=LIMIT, outbox_bytes=rng.choice((500, 5000, 1 << 20)))
    async with open_stage(terms) as stage:
        clients = [_Client(rng, stage) for _ in range(rng.randrange(1, 4))]
        for _ in range(rng.randrange(60)):
            rng.choice(clients).step()
            if rng.random() < 0.3:
                stage.pump.flush()
            if rng.random() < 0.5:
                await stage.settle()
            elif rng.random() < 0.05:
                await trio.sleep(rng.uniform(0, 60))
        for client in clients:
            client.leave()
        await trio.sleep(100)
        for client in clients:
            client.check()
        assert not stage.pump.connections
        assert len(stage.wheel) == 0


class _Client:
    """One client, what it does, and what must be true of its end."""

    def __init__(self, rng: random.Random, stage: Stage) -> None:
        self._rng = rng
        self._stage = stage
        self._told: list[str] = []
        self.sock, self.handler = stage.connect(lambda: self._told.append("x"))
        self.handler.on_message = self._answer
        data = stream(rng)
        self._messages = [what for what in by_reader([data], LIMIT)[0] if what[0] != "pong"]
        self._pieces = pieces(rng, data)[::-1]

    def _answer(self, handler: Recorder, payload: bytes) -> None:
        handler.connection.push(message(payload))
        match self._rng.randrange(12):
            case 0:
                handler.connection.pause()
            case 1:
                handler.connection.push_droppable(message(b"typing"))

    def step(self) -> None:
        """One thing that may happen."""
        connection, sock, rng = self.handler.connection, self.sock, self._rng
        match rng.randrange(12):
            case 0 | 1 | 2 | 3 | 4:
                if self._pieces:
                    self._stage.feed(sock, self._pieces.pop())
            case 5:
                sock.room = rng.choice((0, 1, 5, 100, 1 << 30))
            case 6:
                sock.piece = rng.choice((1, 3, 100, 1 << 30))
            case 7:
                connection.push(message(some_bytes(rng, 300)))
            case 8:
                connection.pause()
            case 9:
                connection.resume()
            case 10 if rng.random() < 0.2:
                connection.close((rng.choice((4000, 4001, 4004, 4500)), "fuzz"))
            case 11 if rng.random() < 0.1:
                problem: bytes | OSError = rng.choice((b"", ConnectionResetError()))
                sock.broken = rng.choice((None, BrokenPipeError()))
                self._stage.feed(sock, problem)
            case _:
                connection.signed_in()

    def leave(self) -> None:
        """Whatever it was doing, now it goes."""
        self.sock.room = self.sock.piece = 1 << 40
        self.handler.on_message = None
        self.handler.connection.resume()
        if self._rng.random() < 0.5:
            self._stage.feed(self.sock, b"")

    def check(self) -> None:
        seen = self.handler.seen
        assert [what[0] for what in seen].count("closed") == 1
        assert seen[-1][0] == "closed"
        got = [what for what in seen if what[0] in ("binary", "text")]
        assert got == self._messages[: len(got)]
        assert self.sock.is_closed()
        assert self._told == ["x"]
        assert self.handler.connection.outbox_bytes == 0


def head_case(rng: random.Random) -> None:
    with structlog.testing.capture_logs() as logs:
        trio.run(_head, rng, clock=MockClock(autojump_threshold=0))
    assert not logs, logs


async def _head(rng: random.Random) -> None:
    good = rng.choice((HELLO, HELLO, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1/x HTTP/1.1\r\n\r\nbody"))
    data = some_bytes(rng, 200) if rng.random() < 0.1 else mutated(rng, good + some_bytes(rng, 50))
    taken: list[tuple[Any, bytes]] = []
    async with open_stage() as stage:
        gateway = Gateway(stage.pump, Recorder, lambda sock, head, peer: taken.append((sock, head)))
        sock = ScriptedSocket()
        gateway.admit(sock, ("198.51.100.7", 1))
        rest = pieces(rng, data)
        while rest and not taken:
            stage.feed(sock, rest.pop(0))
            await stage.settle()
        if taken:
            assert taken[0][0] is sock
            whole = data.lstrip(b"\r\n")
            assert whole.startswith(taken[0][1])
            assert sock not in stage.poller.owners
        else:
            await trio.sleep(100)
            assert bytes(sock.out[:13]) in (b"HTTP/1.1 101 ", b"HTTP/1.1 400 ", b"HTTP/1.1 408 ", b"HTTP/1.1 426 ")
            assert sock.is_closed()
        assert gateway.strangers.count == 0
        assert len(stage.wheel) == 0


_COMMANDS: tuple[type[msgspec.Struct], ...] = AnyCommand.__args__
_VALUES: tuple[Any, ...] = (
    0, -1, 2**53, 2**64 - 1, 1.5, None, True, "", "x", "x\0y", "x" * 9000, b"x", [], {}, [[]], {"": 1},
    "01997e0a-0000-7000-8000-000000000001", {"01997e0a-0000-7000-8000-000000000001": 1}, ["x"], "group",
)  # fmt: skip


def codec_case(rng: random.Random) -> None:
    if rng.random() < 0.1:
        payload = some_bytes(rng, 200)
    else:
        kind = rng.choice(_COMMANDS)
        fields: dict[Any, Any] = {"t": kind.__struct_config__.tag, "id": rng.choice((1, rng.choice(_VALUES)))}
        for name in kind.__struct_encode_fields__:
            if name != "id" and rng.random() < 0.9:
                fields[name] = rng.choice(_VALUES)
        payload = mutated(rng, msgspec.msgpack.encode(fields))
    if rng.random() < 0.02:
        payload = rng.choice((b"\x91", b"\x81\xa1t", b"\xdc\xff\xff", b"\x81")) * rng.randrange(2000)
    try:
        found = codec.decode(payload)
    except KonnectError as problem:
        codec.error(codec.claimed_id(payload), problem)
    else:
        assert isinstance(found, _COMMANDS)


CASES: dict[str, Callable[[random.Random], None]] = {
    "reader": reader_case,
    "connection": connection_case,
    "head": head_case,
    "codec": codec_case,
}
_TIMES = {"reader": 20, "connection": 1, "head": 1, "codec": 20}  # cases of each kind for one seed


def run_seed(seed: int) -> str | None:
    """Run all cases of *seed*; what went wrong, if anything did."""
    for name, case in CASES.items():
        rng = random.Random(f"{seed} {name}")
        for number in range(_TIMES[name]):
            try:
                case(rng)
            except Exception:  # noqa: BLE001 - whatever it is, it is the finding
                return f"{name}, case {number}:\n{traceback.format_exc()}"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds until the time is up."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Any bytes at the door.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--count", type=int, default=None, help="how many seeds at most")
    options = parser.parse_args(arguments)
    began, seed = time.monotonic(), options.seed
    while options.count is None or seed < options.seed + options.count:
        problem = run_seed(seed)
        if problem is not None:
            print(f"seed {seed}: {problem}\nagain: python -m tests.fuzz --seed {seed} --count 1")
            return 1
        seed += 1
        if time.monotonic() - began >= options.seconds:
            break
    seeds, seconds = seed - options.seed, time.monotonic() - began
    cases = ", ".join(f"{seeds * times:,} {name}" for name, times in _TIMES.items())
    print(f"{seeds:,} seeds from {options.seed} in {seconds:.0f} s, no failure: {cases}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
