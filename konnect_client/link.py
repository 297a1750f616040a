"""Drives one session over one socket: a reader, a writer, a watch over its life."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from konnect_client.calls import Call
from konnect_client.endings import Ending, Then, after_close
from konnect_client.errors import ProtocolViolation, SocketEnded
from konnect_client.liveness import Liveness, judge
from konnect_client.session import Session
from konnect_client.transport import CLOSE_WITHIN_S, Socket
from konnect_client.wakeup import Wakeup

VIOLATION_CODE: Final = 1002


class Link:
    """One connection at work. ``kick`` says that there may be something to send, ``leave`` ends it."""

    def __init__(self, session: Session, heard: Callable[[bytes], None], liveness: Liveness) -> None:
        """*heard* gets each message; it may raise ProtocolViolation, which ends the connection."""
        self._session, self._heard, self._liveness = session, heard, liveness
        self._due = Wakeup()
        self._opened = trio.Event()
        self._leaving = trio.Event()
        self._left = trio.Event()
        self._ending: Ending | None = None
        self._goodbye: tuple[int, str] | None = None

    def ask_first(self, call: Call) -> None:
        """Send *call* before anything else, on this connection or not at all. Plain call."""
        self._session.ask_first(call)
        self.kick()

    def kick(self) -> None:
        """There may be something to send. Plain call."""
        self._due.fire()

    def leave(self, ending: Ending, goodbye: tuple[int, str] | None = (1000, "")) -> None:
        """End the connection; the first ending counts. Plain call.

        Args:
            ending: What :meth:`run` returns.
            goodbye: Close code and reason for the server; None for a connection that is dead anyway.
        """
        if not self._leaving.is_set():
            self._ending, self._goodbye = ending, goodbye
            self._leaving.set()

    async def run(self, socket: Socket, hello: bytes, companion: Callable[["Link"], Awaitable[None]]) -> Ending:
        """Say *hello* and work until the connection ends, whatever ends it; says how it ended.

        *companion* runs beside it and is cancelled at the end.
        """
        ending = Ending(Then.COME_BACK, "lost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, hello)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._wave_goodbye, socket, nursery.cancel_scope)
            nursery.start_soon(companion, self)
            ending = await self._read(socket)
            nursery.cancel_scope.cancel()
        return self._ending or ending

    async def _read(self, socket: Socket) -> Ending:
        try:
            while True:
                payload = await socket.receive()
                if not self._leaving.is_set():
                    self._heard(payload)
                    self.kick()
                    if self._session.opened:
                        self._opened.set()
        except ProtocolViolation as violation:
            ending = Ending(Then.COME_BACK, "violation", detail=str(violation))
            self.leave(ending, (VIOLATION_CODE, "violation"))
        except SocketEnded as closed:
            if not self._leaving.is_set():
                return after_close(closed, self._session.refusal)
        await self._left.wait()  # until the goodbye is through: closing earlier could cut off what was sent before
        return Ending(Then.COME_BACK, "lost")  # what leave() was told counts

    async def _write(self, socket: Socket, hello: bytes) -> None:
        try:
            await socket.send(hello)
            while not self._leaving.is_set():
                frame = self._session.next_frame(trio.current_time())
                if frame is not None:
                    await socket.send(frame)
                else:
                    with trio.move_on_at(self._session.next_due()):
                        await self._due.wait()
        except SocketEnded:
            pass  # the reader sees it too, after what had come in before

    async def _watch(self) -> None:
        while True:
            verdict = judge(self._liveness, self._session.pulse, trio.current_time())
            if verdict.dead is not None:
                self.leave(Ending(Then.COME_BACK, verdict.dead), goodbye=None)
            if verdict.ping:
                self.ask_first(Call({"t": "ping"}))
            with trio.move_on_at(verdict.again_at):
                if not self._opened.is_set():
                    await self._opened.wait()  # from then on other deadlines count
                else:
                    await trio.sleep_forever()

    async def _wave_goodbye(self, socket: Socket, everything: trio.CancelScope) -> None:
        await self._leaving.wait()
        if self._goodbye is not None:
            with trio.move_on_after(CLOSE_WITHIN_S):
                await socket.close(*self._goodbye)
        self._left.set()
        everything.cancel()
