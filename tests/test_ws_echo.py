"""The essence of the standard WebSocket test suite, chapter by chapter, byte by byte.

The suite itself (Autobahn|Testsuite 0.8.2, 301 cases without compression) runs against ``python -m tests.ws_echo``; it
needs Python 2.7, so what it asks is kept here as raw bytes: what is sent, and all that must come back until the server
ends the stream. Each exchange runs once whole and once in single bytes, over loopback, through the product's own
listener, handshake, reader, writer and closing.
"""

import functools
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests import ws_echo
from tests.door_kit import BINARY, CLOSE, HELLO, PING, PONG, TEXT, Client, close, frame

GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()
KOSME = "κόσμε".encode()


def echo(first: int, payload: bytes) -> bytes:
    """A frame as the server sends it."""
    return frame(first, payload, mask=None)


def fine(*answers: bytes) -> bytes:
    """The *answers*, then the echo of our normal close."""
    return b"".join(answers) + close(1000, mask=None)


class Failed:
    """The answers before, then a close frame with *code* and any reason."""

    def __init__(self, code: int, *answers: bytes) -> None:
        self.code, self.answers = code, b"".join(answers)


BYE = close(1000)
NUMBERED = [str(number).encode() for number in range(10)]

EXCHANGES: dict[str, tuple[bytes, bytes | Failed]] = {
    # 1 framing: every size and form of length, text and binary
    **{
        f"1.{chapter} {kind:#x} of {size}": (frame(kind, b"*" * size) + BYE, fine(echo(kind, b"*" * size)))
        for chapter, kind in ((1, TEXT), (2, BINARY))
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536)
    },
    # 2 pings and pongs
    "2.1 ping without payload": (frame(PING) + BYE, fine(echo(PONG, b""))),
    "2.2 ping with text": (frame(PING, b"Hello, world!") + BYE, fine(echo(PONG, b"Hello, world!"))),
    "2.3 ping with binary": (frame(PING, b"\x00\xff\xfe\xfd") + BYE, fine(echo(PONG, b"\x00\xff\xfe\xfd"))),
    "2.4 ping of 125 bytes": (frame(PING, b"\xfe" * 125) + BYE, fine(echo(PONG, b"\xfe" * 125))),
    "2.5 ping of 126 bytes": (frame(PING, b"\xfe" * 126), Failed(1002)),
    "2.7 unsolicited pong": (frame(PONG) + BYE, fine()),
    "2.9 unsolicited pong with payload, ping": (
        frame(PONG, b"unsolicited") + frame(PING, b"ping") + BYE,
        fine(echo(PONG, b"ping")),
    ),
    "2.10 ten pings": (
        b"".join(frame(PING, number) for number in NUMBERED) + BYE,
        fine(*(echo(PONG, number) for number in NUMBERED)),
    ),
    # 3 reserved bits
    **{
        f"3 reserved bits {bits:03b}, {kind:#x}": (
            frame(TEXT, b"first") + frame(kind | bits << 4, b"second") + frame(PING),
            Failed(1002, echo(TEXT, b"first")),
        )
        for bits, kind in ((1, TEXT), (2, TEXT), (3, TEXT), (4, BINARY), (5, PING), (6, CLOSE), (7, BINARY))
    },
    # 4 reserved opcodes
    **{
        f"4 opcode {opcode}": (
            frame(TEXT, b"first") + frame(0x80 | opcode, b"second") + frame(PING),
            Failed(1002, echo(TEXT, b"first")),
        )
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    # 5 fragmentation
    "5.1 fragmented ping": (frame(0x09, b"one") + frame(0x80, b"two"), Failed(1002)),
    "5.2 fragmented pong": (frame(0x0A, b"one") + frame(0x80, b"two"), Failed(1002)),
    "5.3 text in two": (frame(0x01, b"one") + frame(0x80, b"two") + BYE, fine(echo(TEXT, b"onetwo"))),
    "5.6 ping between": (
        frame(0x01, b"one") + frame(PING, b"ping") + frame(0x80, b"two") + BYE,
        fine(echo(PONG, b"ping"), echo(TEXT, b"onetwo")),
    ),
    "5.9 continuation of nothing": (frame(0x80, b"one") + frame(TEXT, b"two"), Failed(1002)),
    "5.10 continuation of nothing, not final": (frame(0x00, b"one") + frame(TEXT, b"two"), Failed(1002)),
    "5.15 continuation behind the last": (
        frame(0x01, b"one") + frame(0x80, b"two") + frame(0x00, b"three") + frame(0x81, b"four"),
        Failed(1002, echo(TEXT, b"onetwo")),
    ),
    "5.18 text within text": (frame(0x01, b"one") + frame(0x81, b"two"), Failed(1002)),
    "5.19 five fragments, pings between": (
        frame(0x01, b"1") + frame(0x00, b"2") + frame(PING, b"a") + frame(0x00, b"3") + frame(0x00, b"4")
        + frame(PING, b"b") + frame(0x80, b"5") + BYE,
        fine(echo(PONG, b"a"), echo(PONG, b"b"), echo(TEXT, b"12345")),
    ),
    # 6 UTF-8
    "6.1 three empty fragments": (frame(0x01) + frame(0x00) + frame(0x80) + BYE, fine(echo(TEXT, b""))),
    "6.2 whole": (frame(TEXT, GREETING) + BYE, fine(echo(TEXT, GREETING))),
    "6.2 in single bytes": (
        frame(0x01) + b"".join(frame(0x00, bytes((byte,))) for byte in GREETING) + frame(0x80) + BYE,
        fine(echo(TEXT, GREETING)),
    ),
    "6.3 invalid": (frame(TEXT, KOSME + b"\xed\xa0\x80edited"), Failed(1007)),
    "6.3 invalid, in single bytes": (
        frame(0x01) + b"".join(frame(0x00, bytes((byte,))) for byte in KOSME + b"\xed\xa0\x80edited") + frame(0x80),
        Failed(1007),
    ),
    "6.4 invalid in the second fragment, the third never comes": (
        frame(0x01, KOSME) + frame(0x00, b"\xf4\x90\x80\x80"),
        Failed(1007),
    ),
    "6.4 invalid in the middle of a frame whose end never comes": (
        frame(TEXT, KOSME + b"\xf4\x90\x80\x80" + b"x" * 50)[:-50],
        Failed(1007),
    ),
    **{
        f"6.5-6.23 {data.hex()}": (frame(TEXT, data) + BYE, fine(echo(TEXT, data)) if valid else Failed(1007))
        for data, valid in (
            (KOSME, True), (b"\xce", False), (b"\xce\xba\xe1", False), (KOSME[:-1], False),
            (b"\x00", True), (b"\xc2\x80", True), (b"\xe0\xa0\x80", True), (b"\xf0\x90\x80\x80", True),
            (b"\xf8\x88\x80\x80\x80", False), (b"\xfc\x84\x80\x80\x80\x80", False),
            (b"\x7f", True), (b"\xdf\xbf", True), (b"\xef\xbf\xbf", True), (b"\xf4\x8f\xbf\xbf", True),
            (b"\xf7\xbf\xbf\xbf", False), (b"\xed\x9f\xbf", True), (b"\xee\x80\x80", True), (b"\xef\xbf\xbd", True),
            (b"\xf4\x90\x80\x80", False), (b"\x80", False), (b"\xbf", False), (b"\x80\xbf", False),
            (b"\xc0\xaf", False), (b"\xe0\x80\xaf", False), (b"\xf0\x80\x80\xaf", False), (b"\xc1\xbf", False),
            (b"\xe0\x9f\xbf", False), (b"\xed\xa0\x80", False), (b"\xed\xbf\xbf", False),
            (b"\xed\xa0\x80\xed\xb0\x80", False), (b"\xef\xbf\xbe", True), (b"\xfe", False), (b"\xff", False),
        )
    },
    # 7 closing
    "7.1.1 message and close": (frame(TEXT, b"Hello World!") + BYE, fine(echo(TEXT, b"Hello World!"))),
    "7.1.2 two closes": (BYE + BYE, fine()),
    "7.1.3 ping behind the close": (BYE + frame(PING), fine()),
    "7.1.4 text behind the close": (BYE + frame(TEXT, b"late"), fine()),
    "7.1.5 close between two fragments": (frame(0x01, b"one") + BYE + frame(0x80, b"two"), fine()),
    "7.1.6 much, close, ping": (
        frame(TEXT, b"B" * 262_144) + BYE + frame(PING),
        fine(echo(TEXT, b"B" * 262_144)),
    ),
    "7.3.1 no code": (frame(CLOSE), echo(CLOSE, b"")),
    "7.3.2 half a code": (frame(CLOSE, b"a"), Failed(1002)),
    "7.3.3 code": (BYE, fine()),
    "7.3.4 code and reason": (close(1000, b"Hello World!"), close(1000, b"Hello World!", mask=None)),
    "7.3.5 the longest reason": (close(1000, b"*" * 123), close(1000, b"*" * 123, mask=None)),
    "7.3.6 a reason too long": (close(1000, b"*" * 124), Failed(1002)),
    "7.5.1 a reason that is not UTF-8": (close(1000, KOSME + b"\xed\xa0\x80edited"), Failed(1007)),
    **{
        f"7.7 code {code}": (close(code), close(code, mask=None))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    **{
        f"7.9 code {code}": (close(code), Failed(1002))
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    # 9 limits and 10 fragments, small: test_sixteen_mebibytes has the large ones
    "9 text in fragments of 64 bytes": (
        frame(0x01, b"*" * 64) + frame(0x00, b"*" * 64) * 254 + frame(0x80, b"*" * 64) + BYE,
        fine(echo(TEXT, b"*" * 16_384)),
    ),
    "10.1.1 fragments of 1,300 bytes": (
        frame(0x01, b"*" * 1300) + frame(0x00, b"*" * 1300) * 49 + frame(0x80, b"*" * 536) + BYE,
        fine(echo(TEXT, b"*" * 65_536)),
    ),
    # what the suite does not ask
    "unmasked": (frame(TEXT, b"x", mask=None), Failed(1002)),
    "a length of 2^63": (b"\x82\xff" + (1 << 63).to_bytes(8, "big"), Failed(1009)),
    "one byte more than the limit": (
        b"\x82\xff" + (ws_echo.MESSAGE_BYTES + 1).to_bytes(8, "big") + b"mask", Failed(1009)
    ),
}  # fmt: skip


@asynccontextmanager
async def connected(subprotocol: bytes = b"") -> AsyncIterator[Client]:
    """A client of a fresh echo, after its handshake."""
    async with trio.open_nursery() as nursery:
        port, _ = await nursery.start(ws_echo.serve, "127.0.0.1", 0)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            client = Client(stream)
            await client.send(HELLO.replace(b"Sec-WebSocket-Protocol: konnect.v1\r\n", subprotocol))
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            with trio.fail_after(60):
                yield client
        nursery.cancel_scope.cancel()


async def feed(client: Client, data: bytes, piece: int) -> None:
    """Send *data*; the server may have ended the stream before all of it has left."""
    try:
        for place in range(0, len(data), piece):
            await client.send(data[place : place + piece])
    except trio.BrokenResourceError:
        pass


def check(answer: bytes, expected: bytes | Failed) -> None:
    if isinstance(expected, Failed):
        assert answer.startswith(expected.answers)
        last = answer[len(expected.answers) :]
        assert last[0] == CLOSE
        assert len(last) == last[1] + 2
        assert int.from_bytes(last[2:4], "big") == expected.code
        last[4:].decode()
    else:
        assert answer == expected


@pytest.mark.parametrize("name", EXCHANGES)
async def test_exchange(name: str) -> None:
    """Nothing but the expected comes, then the server ends the stream."""
    data, expected = EXCHANGES[name]
    async with connected() as client, trio.open_nursery() as nursery:
        nursery.start_soon(feed, client, data, 1 << 20)
        check(await client.rest(), expected)


@pytest.mark.parametrize("name", [name for name, (data, _) in EXCHANGES.items() if len(data) < 2000])
async def test_exchange_in_single_bytes(name: str) -> None:
    """However the network cuts the stream, the outcome is the same."""
    data, expected = EXCHANGES[name]
    async with connected() as client, trio.open_nursery() as nursery:
        nursery.start_soon(feed, client, data, 1)
        check(await client.rest(), expected)


@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_sixteen_mebibytes_there_and_back(kind: int) -> None:
    """Chapter 9: whole, and in fragments of 64 KiB."""
    payload = b"0123456789abcdef" * (1 << 20)
    part = payload[:65_536]
    fragments = frame(kind & 0x0F, part) + frame(0x00, part) * 254 + frame(0x80, part)
    async with connected() as client, trio.open_nursery() as nursery:
        nursery.start_soon(feed, client, frame(kind, payload) + fragments + BYE, 1 << 20)
        assert await client.frame() == (kind, payload)
        assert await client.frame() == (kind, payload)
        assert await client.frame() == (CLOSE, b"\x03\xe8")
        assert await client.rest() == b""


async def test_any_subprotocol_will_do() -> None:
    async with connected(b"Sec-WebSocket-Protocol: chat, superchat\r\n") as client:
        await client.send(BYE)
        assert await client.rest() == close(1000, mask=None)


async def test_it_has_no_http() -> None:
    async with trio.open_nursery() as nursery:
        port, gateway = await nursery.start(ws_echo.serve, "127.0.0.1", 0)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await Client(stream).rest()).startswith(b"HTTP/1.1 404 ")
        assert gateway.strangers.count == 0
        nursery.cancel_scope.cancel()


async def test_it_starts_from_the_command_line() -> None:
    """As the standard test suite's user does, and ends by a signal."""
    command = [sys.executable, "-m", "tests.ws_echo", "--port", "0"]
    async with trio.open_nursery() as nursery:
        run = functools.partial(trio.run_process, command, stdout=subprocess.PIPE)
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some(100)
        port = int(line.split(b":")[-1].strip(b"/\n"))
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            client = Client(stream)
            await client.send(HELLO + frame(TEXT, b"hi"))
            await client.head()
            assert await client.frame() == (TEXT, b"hi")
        process.terminate()
        assert await process.wait() == 0
        await process.stdout.aclose()
