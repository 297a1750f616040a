"""Commands that wait for their answer, each repeated over connections until the server has answered it.

Repeating is safe: commands that change something carry a key, the others only read.
"""

from collections.abc import Mapping
from typing import Any, Final

import trio

from konnect_client.backoff import Backoff
from konnect_client.errors import ClientClosed, ClientError, NotOpen, ServerRefused

WAITED_FOR: Final = frozenset({"rate_limited", "unavailable"})  # answers that mean "the same again, later"
WINDOW: Final = 32  # commands on their way at once


class Call:
    """One command and its answer to come."""

    __slots__ = ("_answered", "backoff", "command", "error", "not_before", "result")

    def __init__(self, command: Mapping[str, Any], backoff: Backoff | None = None) -> None:
        """*command* is the frame without its ``id``. With *backoff*, which times its repeats, it outlasts its
        connection; without, it is sent at most once."""
        self.command, self.backoff = command, backoff
        self.not_before = 0.0
        self.result: Mapping[str, Any] | None = None
        self.error: ClientError | None = None
        self._answered = trio.Event()

    @property
    def answered(self) -> bool:
        """True once :meth:`wait` returns at once."""
        return self._answered.is_set()

    async def wait(self) -> Mapping[str, Any]:
        """Wait for the answer's ``result``; raises what :meth:`Calls.refused` and the others put in its place."""
        await self._answered.wait()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def settle(self, result: Mapping[str, Any] | None = None, error: ClientError | None = None) -> None:
        """Give the answer; only the first one counts."""
        if not self._answered.is_set():
            self.result, self.error = result, error
            self._answered.set()


class Calls:
    """Hands commands out in order and keeps them until they are answered or given up."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._waiting: dict[Call, None] = {}  # in order
        self._in_flight: dict[Call, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def add(self, call: Call) -> None:
        """Send *call* when its turn comes. Who waits for it bounds how many there are."""
        self._waiting[call] = None

    def give_up(self, call: Call) -> None:
        """Nobody waits for *call* any more: do not send it (again)."""
        self._waiting.pop(call, None)
        call.settle(error=NotOpen("given up"))

    def take(self, now: float) -> Call | None:
        """The next command to send, or None."""
        if len(self._in_flight) >= self._window:
            return None
        for call in self._waiting:
            if call.not_before <= now:
                del self._waiting[call]
                self._in_flight[call] = None
                return call
        return None

    def next_due(self) -> float:
        """When :meth:`take` may have something that it has not now, if nothing else happens; infinity for never."""
        if len(self._in_flight) >= self._window:
            return float("inf")
        return min((call.not_before for call in self._waiting), default=float("inf"))

    def accepted(self, call: Call, result: Mapping[str, Any]) -> None:
        """The server answered *call* with *result*."""
        self._in_flight.pop(call, None)
        call.settle(result=result)

    def refused(self, call: Call, error: ServerRefused, now: float) -> None:
        """The server answered *call* with an error: it is repeated later, or its caller gets the error."""
        self._in_flight.pop(call, None)
        if call.answered:
            return  # given up meanwhile
        if call.backoff is not None and error.code in WAITED_FOR:
            wish = None if error.retry_after_ms is None else error.retry_after_ms / 1000
            call.not_before = now + call.backoff.delay_s(wish)
            self._waiting[call] = None
        else:
            call.settle(error=error)

    def connection_lost(self) -> None:
        """What was on its way is sent again first, in order; what does not repeat is answered with NotOpen."""
        again = [call for call in (*self._in_flight, *self._waiting) if not call.answered]
        self._in_flight.clear()
        self._waiting.clear()
        for call in again:
            if call.backoff is not None:
                self._waiting[call] = None
            else:
                call.settle(error=NotOpen("the connection ended before the answer came"))

    def stop(self, reason: str) -> None:
        """No connection will come any more."""
        for call in (*self._in_flight, *self._waiting):
            call.settle(error=ClientClosed(reason))
        self._in_flight.clear()
        self._waiting.clear()
