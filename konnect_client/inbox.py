"""Events that wait for the application: bounded, in order, with what has been handled so far.

When the application is too slow, the inbox overflows: from then on events go by unseen, with all heads unmoved, while
answers to commands are still heard, so that an application that waits for an answer between two events never waits for
itself. Once it has caught up by half, a new connection asks again from the heads, and nothing is missing.

Rejected: stopping to read the socket (the answer that the application waits for would wait behind the events it has
not taken); a queue without a bound.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from konnect_client.events import AnyEvent, CursorMoved, Event, StateChanged
from konnect_client.heads import Heads

EVENTS: Final = 1_000
BYTES: Final = 8 * 1024 * 1024


class Inbox:
    """An async iterator over what happened, for one consumer. It ends when the client has closed and all was taken."""

    def __init__(self, handled: Heads, *, events: int = EVENTS, size_bytes: int = BYTES) -> None:
        """*handled* is moved along: an event counts as handled once the next one is asked for."""
        self.handled = handled
        self.behind = False  # events go by unseen
        self.on_handled: Callable[[], None] = _nothing
        self.on_room: Callable[[], None] = _nothing
        self._events_limit, self._bytes_limit = events, size_bytes
        self._waiting: deque[tuple[AnyEvent, int]] = deque()
        self._unshown = 0  # of these, what no application is shown
        self._size_bytes = 0
        self._given: AnyEvent | None = None
        self._closed = self._iterating = False
        self._came = trio.Event()

    def __len__(self) -> int:
        """How many events the application may take without waiting."""
        return len(self._waiting) - self._unshown

    @property
    def half_empty(self) -> bool:
        """True when there is room enough to listen again."""
        return len(self._waiting) * 2 <= self._events_limit and self._size_bytes * 2 <= self._bytes_limit

    def listens(self) -> bool:
        """Whether the next event may be taken in; turns ``behind`` on when there is no room for it."""
        if len(self._waiting) >= self._events_limit or self._size_bytes >= self._bytes_limit:
            self.behind = True
        return not self.behind

    def listen_again(self) -> None:
        """A new connection has begun: it repeats what went by unseen, if there is room for that."""
        if self.half_empty:
            self.behind = False

    def put(self, events: tuple[AnyEvent, ...], size_bytes: int) -> None:
        """Queue *events*, which came in *size_bytes* bytes. Plain memory."""
        for event in events:
            self._waiting.append((event, size_bytes))
            self._unshown += isinstance(event, CursorMoved)
            self._size_bytes += size_bytes
            size_bytes = 0  # one message's bytes are counted once
        if self._waiting:
            self._came.set()

    def close(self) -> None:
        """No event will come any more."""
        self._closed = True
        self._came.set()

    def done(self) -> None:
        """The application has handled what it took, without asking for the next event yet."""
        if self._given is not None:
            self.handled.note(self._given)
            self._given = None
            self.on_handled()

    def __aiter__(self) -> "Inbox":
        return self

    async def __anext__(self) -> Event:
        """The next event; asking for it says that the one before was handled.

        Raises:
            trio.BusyResourceError: Another task is waiting for it already.
        """
        if self._iterating:
            raise trio.BusyResourceError("another task iterates over the events")
        self._iterating = True
        try:
            return await self._next()
        finally:
            self._iterating = False

    async def _next(self) -> Event:
        self.done()
        await trio.lowlevel.checkpoint()
        while True:
            while not self._waiting:
                if self._closed:
                    raise StopAsyncIteration
                self._came = trio.Event()
                await self._came.wait()
            event, size_bytes = self._waiting.popleft()
            self._size_bytes -= size_bytes
            if self.behind and self.half_empty:
                self.on_room()
            if isinstance(event, StateChanged):
                self.handled.note(event)  # so that who is shown it finds it; told again, it does no harm
            if not isinstance(event, CursorMoved):
                self._given = event
                return event
            self._unshown -= 1
            self.handled.note(event)
            self.on_handled()


def _nothing() -> None:
    pass
