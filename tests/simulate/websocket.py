"""The client's half of a WebSocket, as little of it as these tests need, written apart from the server's own."""

from random import Random
from typing import Final, NamedTuple

REQUEST: Final = (
    b"GET /v1/socket HTTP/1.1\r\nHost: simulated.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: konnect.v1\r\n\r\n"
)
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Message(NamedTuple):
    """One frame from the server; the server never fragments."""

    opcode: int
    payload: bytes


class BadServer(Exception):
    """The server sent what RFC 6455 or our handshake does not allow."""


class Framer:
    """Bytes from the server to messages: ``feed`` and iterate."""

    def __init__(self) -> None:
        self._buffer = b""
        self.upgraded = False

    def feed(self, data: bytes) -> list[Message]:
        """Take *data*; what is whole now.

        Raises:
            BadServer: The stream makes no sense.
        """
        buffer = self._buffer + data if self._buffer else data
        if not self.upgraded:
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = buffer
                return []
            lines = head.split(b"\r\n")
            if lines[0] != b"HTTP/1.1 101 Switching Protocols":
                raise BadServer(f"refused: {lines[0]!r}")
            if b"Sec-WebSocket-Accept: " + ACCEPT not in lines or b"Sec-WebSocket-Protocol: konnect.v1" not in lines:
                raise BadServer(f"handshake: {head!r}")
            self.upgraded = True
            buffer = rest
        found_all: list[Message] = []
        position, have = 0, len(buffer)
        while have - position >= 2:
            first, length = buffer[position], buffer[position + 1]
            start = position + 2
            if length == 126:
                start += 2
                if have < start:
                    break
                length = int.from_bytes(buffer[position + 2 : start], "big")
            elif length == 127:
                start += 8
                if have < start:
                    break
                length = int.from_bytes(buffer[position + 2 : start], "big")
            elif length > 127:
                raise BadServer("a masked frame from the server")
            end = start + length
            if have < end:
                break
            if not first & 0x80 or first & 0x70:
                raise BadServer(f"a frame that begins with {first:#x}")
            found_all.append(Message(first & 0x0F, buffer[start:end]))
            position = end
        self._buffer = buffer[position:]
        return found_all


def frame(opcode: int, payload: bytes, rng: Random, final: bool = True) -> bytes:
    """*payload* as one masked frame."""
    size = len(payload)
    first = opcode | 0x80 if final else opcode
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    mask = rng.getrandbits(32)
    if not size:
        return head + mask.to_bytes(4, "big")
    words = (size + 3) // 4
    key = mask.to_bytes(4, "big") * words
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(key[:size], "little")
    return head + key[:4] + masked.to_bytes(size, "little")
