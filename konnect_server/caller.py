"""Somebody at the door: a socket whose request's head is still coming.

Small, short-lived and bounded: 16 KiB of head, one deadline. It ends by becoming a connection, by being handed to HTTP,
or with a refusal; then what still comes is thrown away for a moment, because a close with unread bytes makes the kernel
send a reset, which can destroy the refusal on its way.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Final

import trio

from konnect_server import handshake
from konnect_server.connection import IN, Connection, Socket
from konnect_server.handshake import Refusal
from konnect_server.pump import Pump
from konnect_server.wheel import Deadline

LINGER_S: Final = 2.0

_WAITING, _REFUSED, _GONE = range(3)


class Caller:
    """One socket before anything is known of it.

    Args:
        sock: Non-blocking; will be registered with the pump's poller.
        peer: Its address, as text.
        pump: Whose poller and wheel are used.
        arrived: Called as ``arrived(caller, sock, data, head_bytes)`` once the head, the first *head_bytes* of *data*,
            is whole. It has to call :meth:`leave` or :meth:`refuse`.
        gone: Called with the caller when it is one no more, whatever became of it.
        timeout_s: For the whole head.
    """

    __slots__ = ("_arrived", "_data", "_deadline", "_gone", "_pump", "_sock", "_state", "heir", "peer")

    def __init__(
        self,
        sock: Socket,
        peer: str,
        pump: Pump,
        arrived: Callable[["Caller", Socket, bytes, int], None],
        gone: Callable[["Caller"], None],
        timeout_s: float,
    ) -> None:
        self._sock = sock
        self._pump = pump
        self._arrived = arrived
        self._gone = gone
        self._data = bytearray()
        self._state = _WAITING
        self._deadline: Deadline | None = pump.wheel.add(trio.current_time() + timeout_s, self._due)
        self.peer = peer
        self.heir: Connection | None = None  # who answers for crashes from now on
        pump.poller.register(sock, self)

    def __repr__(self) -> str:
        return f"<Caller {self.peer}>"

    def ready(self, mask: int, /) -> None:
        """Read on, or see that the peer has gone."""
        if self._state == _GONE:
            return
        try:
            data = self._sock.recv(handshake.HEAD_BYTES) if mask & IN else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._state == _WAITING:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        seen = len(self._data)
        self._data += data
        if self._data[0] in b"\r\n":  # RFC 9112, section 2.2: empty lines before a request are skipped
            self._data = self._data.lstrip(b"\r\n")
            seen = 0
        end = handshake.find_end(self._data, seen)
        if not handshake.may_be_http(self._data):
            self.refuse(handshake.NOT_HTTP)
        elif (end if end > 0 else len(self._data)) > handshake.HEAD_BYTES:
            self.refuse(handshake.HEAD_TOO_LARGE)
        elif end > 0:
            self._arrived(self, self._sock, bytes(self._data), end)

    def _due(self) -> None:
        if self._state == _WAITING:
            self.refuse(handshake.HEAD_TIMEOUT)
        else:
            self.close()

    def refuse(self, refusal: Refusal) -> None:
        """Say why not. The socket closes when the peer has, soon after at the latest."""
        if self._state != _WAITING:
            return
        self._state = _REFUSED
        self._data.clear()
        if self._deadline is not None:
            self._pump.wheel.move(self._deadline, trio.current_time() + LINGER_S)
        say(self._sock, refusal)

    def leave(self) -> None:
        """The socket is somebody else's from now on; it stays registered."""
        self._state = _GONE
        if self._deadline is not None:
            self._pump.wheel.cancel(self._deadline)
            self._deadline = None  # it knows us: a circle
        self._gone(self)

    def close(self) -> None:
        """The peer has gone, or has to."""
        if self._state != _GONE:
            self._pump.poller.unregister(self._sock)
            self._sock.close()
            self.leave()

    def crashed(self) -> None:
        """A call of ours raised."""
        if self.heir is not None:
            self.heir.crashed()
        else:
            self.close()
            self._sock.close()  # it may have been handed over, and not been taken


def say(sock: Socket, refusal: Refusal) -> None:
    """Try to send *refusal*, and shut our half of the stream."""
    with contextlib.suppress(OSError):
        sock.send(handshake.response(refusal))
        sock.shutdown(socket.SHUT_WR)
