"""One handed-over socket as HTTP needs it: the bytes that were read at the door first, deadlines, a polite end."""

import socket
from contextlib import suppress
from typing import Final

import trio

LINGER_S: Final = 2.0
LINGER_BYTES: Final = 1 << 20
RECV_BYTES: Final = 65_536


class HandedStream:
    """A stream on a socket that somebody else accepted and read from."""

    def __init__(self, sock: socket.socket, head: bytes, send_s: float) -> None:
        """*head*: what was read already. *send_s*: how long one call of :meth:`send_all` may take."""
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._head = head
        self._send_s = send_s
        self._broken = False
        self._sending = trio.Lock()  # an answer and a refusal may come from two tasks

    def addresses(self) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """The other end's and our own; None for what is not an internet socket, or gone."""
        sock = self._stream.socket
        try:
            return _address(sock.getpeername()), _address(sock.getsockname())
        except OSError:
            return None, None

    async def receive_some(self) -> bytes:
        """The next bytes; empty at the end, however it came."""
        if self._head:
            head, self._head = self._head, b""
            await trio.lowlevel.checkpoint()
            return head
        try:
            return bytes(await self._stream.receive_some(RECV_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def send_all(self, data: bytes) -> bool:
        """Send *data*, not to be cut short by a cancellation; False if the other end is gone or does not read."""
        with trio.CancelScope(deadline=trio.current_time() + self._send_s, shield=True) as scope:
            async with self._sending:
                if self._broken:
                    return False
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._broken = True
        if scope.cancelled_caught:
            self._broken = True
        return not self._broken

    async def close_politely(self) -> None:
        """Say that nothing more comes, then read on for a moment before closing.

        A socket that is closed with unread bytes sends a reset, and the client's kernel may then throw away the answer
        that it has not read yet (RFC 9112, section 9.6): it would never see the 413 that tells it to send less.
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._sending:
                if not self._broken:
                    await self._stream.send_eof()
            with trio.move_on_after(0 if self._broken else LINGER_S):
                seen = 0
                while seen < LINGER_BYTES and (data := await self._stream.receive_some(RECV_BYTES)):
                    seen += len(data)
        self.close()

    def close(self) -> None:
        """Close at once; whoever waits in a call above comes back."""
        self._broken = True
        self._stream.socket.close()


def _address(found: object) -> tuple[str, int] | None:
    return (found[0], found[1]) if isinstance(found, tuple) else None
