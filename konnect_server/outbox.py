"""One socket's waiting frames: pushed by anybody, taken by the pump, bounded in bytes.

A plain object without I/O and without waiting. The same bytes object may wait in any number of outboxes: a frame is
encoded once, and joined with its neighbours only when it leaves.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

OUTBOX_BYTES: Final = 1_048_576
"""The bound by default. Above half of it typing and presence are dropped, above all of it the reader is called slow."""

LOW_WATER_BYTES: Final = 65_536
"""Who fills an outbox page by page goes on when it has fallen below this."""

_GATHER_BYTES: Final = 262_144  # offered to one send at most when many frames wait; the kernel takes less anyway


class Owner(Protocol):
    """Who owns an outbox."""

    def overflowed(self) -> None:
        """More was pushed than the outbox may hold. Must only mark: it is called in the middle of a fan-out."""


class Outbox:
    """What waits for one socket, in order.

    An outbox that is not empty is known to the pump already: it is marked dirty, or the kernel said "later" and the
    pump waits for its word. So :meth:`push` marks only the first frame, and is a few attribute accesses otherwise: it
    is the inner loop of every fan-out.

    Args:
        owner: Told of an overflow.
        mark: Called with *owner* when the first frame is pushed into the empty outbox (the dirty list's ``append``).
        bound_bytes: What may wait at most.
    """

    __slots__ = ("_bound", "_chunks", "_mark", "_offset", "_owner", "size_bytes")

    def __init__(self, owner: Owner, mark: Callable[[Any], object], bound_bytes: int = OUTBOX_BYTES) -> None:
        self._owner = owner
        self._mark = mark
        self._bound = bound_bytes
        self._chunks: list[bytes] = []
        self._offset = 0  # how much of the first chunk has left already
        self.size_bytes = 0  # what still has to leave

    def push(self, data: bytes) -> None:
        """Append *data*, one or more whole wire frames. Never waits, never raises; sends nothing. After :meth:`seal`
        it does nothing; above the bound the data is not taken and the owner is told."""
        size = self.size_bytes + len(data)
        if size > self._bound:
            if self._bound >= 0:
                self._owner.overflowed()
            return
        self.size_bytes = size
        chunks = self._chunks
        if not chunks:
            self._mark(self._owner)
        chunks.append(data)

    def push_droppable(self, data: bytes) -> None:
        """Append *data*, or drop it without a word if the outbox is above half of its bound."""
        if self.size_bytes <= self._bound >> 1:
            self.push(data)

    def seal(self) -> None:
        """From now on :meth:`push` does nothing. What waits still leaves."""
        self._bound = -1

    def append_last(self, data: bytes) -> None:
        """Append *data* to an outbox that may be sealed: the close frame."""
        if not self._chunks:
            self._mark(self._owner)
        self._chunks.append(data)
        self.size_bytes += len(data)

    def discard(self) -> None:
        """Forget what waits, save the rest of a frame that has left in part: without it no later frame can be read."""
        if self._offset:
            del self._chunks[1:]
            self.size_bytes = len(self._chunks[0]) - self._offset
        else:
            self.clear()

    def clear(self) -> None:
        """Forget all that waits."""
        self._chunks.clear()
        self._offset = self.size_bytes = 0

    def take(self) -> bytes | memoryview:
        """What to offer to the socket next, empty when nothing waits; :meth:`sent` says how much of it left.

        A frame that waits alone is given as it is, several are joined up to 256 KiB; the rest of a long frame is a
        view, so that a slow reader does not cost a copy each time a little of it leaves.
        """
        chunks = self._chunks
        if len(chunks) == 1 or not chunks:
            if not chunks:
                return b""
            return memoryview(chunks[0])[self._offset :] if self._offset else chunks[0]
        if self._offset:
            first = memoryview(chunks[0])[self._offset :]
            if len(first) >= _GATHER_BYTES:
                return first
            return b"".join([first, *self._some(1, _GATHER_BYTES - len(first))])
        if self.size_bytes <= _GATHER_BYTES:
            return b"".join(chunks)
        if len(chunks[0]) >= _GATHER_BYTES:
            return chunks[0]
        return b"".join(self._some(0, _GATHER_BYTES))

    def _some(self, start: int, room_bytes: int) -> list[bytes]:
        stop = start
        for stop in range(start, len(self._chunks)):
            room_bytes -= len(self._chunks[stop])
            if room_bytes < 0:
                break
        else:
            stop = len(self._chunks)
        return self._chunks[start:stop]

    def sent(self, count_bytes: int) -> None:
        """Forget the first *count_bytes* bytes: the kernel has them."""
        self.size_bytes -= count_bytes
        if not self.size_bytes:
            self._chunks.clear()
            self._offset = 0
            return
        left = self._offset + count_bytes
        gone = 0
        for chunk in self._chunks:
            if left < len(chunk):
                break
            left -= len(chunk)
            gone += 1
        del self._chunks[:gone]
        self._offset = left
