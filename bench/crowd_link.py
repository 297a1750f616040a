"""One raw socket of the crowd: the WebSocket upgrade, frames out and in, nothing waited for."""

import os
import selectors
import socket
import struct
from typing import Final

KEY: Final = "a29ubmVjdC1iZW5jaC0wMQ=="
ACCEPT: Final = b"VCUCx0eCwvbuU7KLSJZfGLD8A6o="  # SHA-1 of the key and RFC 6455's GUID
BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
_RECEIVE: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: the kernel sends RST
# RFC 6455 wants a mask that no web page can foresee; here nobody is between us and the server.
_MASK: Final = os.urandom(4)
_PAD: Final = _MASK * 4096


class LinkEnded(Exception):
    """The connection is over; the text says how."""


class Link:
    """A non-blocking connection to the server. Whoever owns it calls ``flush`` after ``push``, and watches ``sock``."""

    __slots__ = ("_rest", "_waiting", "sock", "upgraded")

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upgraded = False
        self._rest = b""
        self._waiting = bytearray(
            f"GET /v1/socket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: konnect.v1\r\n"
            "\r\n".encode()
        )
        self.sock.connect_ex((host, port))

    @property
    def wants(self) -> int:
        """The selector's events that it waits for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._waiting else 0)

    def push(self, payload: bytes, opcode: int = BINARY) -> None:
        """Queue one masked frame."""
        size = len(payload)
        head = bytes((opcode, 0x80 | size)) if size < 126 else struct.pack("!BBH", opcode, 0xFE, size)
        pad = _PAD[:size] if size <= len(_PAD) else (_MASK * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")
        self._waiting += head + _MASK + masked

    def flush(self) -> None:
        """Hand the kernel what it takes.

        A broken connection shows when it is read: what the peer still said comes first.
        """
        if self._waiting:
            try:
                del self._waiting[: self.sock.send(self._waiting)]
            except BlockingIOError:
                pass
            except OSError:
                self._waiting.clear()

    def receive(self) -> list[tuple[int, bytes]]:
        """The whole frames that have come: first byte and payload.

        Raises:
            LinkEnded: The connection was refused, reset or ended, or the upgrade was not taken.
        """
        try:
            data = self.sock.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError as problem:
            raise LinkEnded(f"1006 {problem.strerror}") from problem
        if not data:
            raise LinkEnded("1006 end of stream")
        if self._rest:
            data = self._rest + data
        if not self.upgraded:
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._rest = head
                return []
            if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
                raise LinkEnded(f"the server refused the socket: {head.splitlines()[0].decode('latin-1')}")
            self.upgraded = True
        frames, used = _frames(data)
        self._rest = data[used:]
        return frames

    def reset(self) -> None:
        """End it as a lost network does: the server gets an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def end(self) -> None:
        """End it without a goodbye, as a killed app does."""
        self.sock.close()

    def say_goodbye(self) -> None:
        """End it as WebSocket wants it, without waiting for the answer."""
        self.push(struct.pack("!H", 1000), CLOSE)
        self.flush()
        self.sock.close()


def _frames(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The whole frames at the beginning of *data*, and how many bytes they are."""
    frames = []
    at, have = 0, len(data)
    while have - at >= 2:
        size, head = data[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        end = at + head + size
        if have < end or have < at + head:
            break
        frames.append((data[at], data[at + head : end]))
        at = end
    return frames, at
