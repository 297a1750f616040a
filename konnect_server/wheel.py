"""Deadlines by the ten thousand: one task ticks for all of them, and nobody holds a cancel scope.

What is due within the same eighth of a second shares a bucket, so adding, moving and cancelling cost the same however
many there are, and the task sleeps until the first bucket that holds anything. A deadline fires at or after its time,
never before, and later by one tick at most (unless something stalls the whole process).
"""

import heapq
import math
from collections.abc import Callable
from typing import Final

import trio

TICK_S: Final = 0.125  # a power of two: multiples of it are exact, so that nothing fires an ulp too early
STALE_TICKS: Final = 16  # keys of dropped buckets that the heap may hold besides one for each bucket


class Deadline:
    """One thing to do at one time; made by :meth:`Wheel.add`."""

    __slots__ = ("_call", "_tick")

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._tick = -1  # of the bucket it is in; below 0: in none

    @property
    def pending(self) -> bool:
        """True until it fired or was cancelled."""
        return self._tick >= 0


class Wheel:
    """Many deadlines, one task: somebody has to run :meth:`run`.

    Times are those of :func:`trio.current_time`, in seconds. A call runs in the wheel's task: it is plain, must not
    raise, and should only mark or push; what it pushed it must have flushed itself.
    """

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._buckets: dict[int, dict[Deadline, None]] = {}  # ordered, so that a simulated world repeats itself
        self._ticks: list[int] = []  # a heap of the buckets' keys
        self._past = -1  # the last tick that was fired
        self._sleep: trio.CancelScope | None = None

    def __len__(self) -> int:
        """How many deadlines are pending."""
        return sum(map(len, self._buckets.values()))

    def add(self, at: float, call: Callable[[], None]) -> Deadline:
        """Call *call* at time *at*, once."""
        deadline = Deadline(call)
        self.move(deadline, at)
        return deadline

    def move(self, deadline: Deadline, at: float) -> None:
        """Let *deadline* fire at time *at* instead, or again if it has fired or was cancelled. One that is in the past
        already fires at the next tick."""
        tick = math.ceil(at / self._tick_s)
        if tick <= self._past:
            tick = self._past + 1
        if deadline._tick >= 0:
            if tick == deadline._tick:
                return
            self.cancel(deadline)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._ticks, tick)
            if self._ticks[0] == tick and self._sleep is not None:
                self._sleep.deadline = tick * self._tick_s
        bucket[deadline] = None
        deadline._tick = tick

    def cancel(self, deadline: Deadline) -> None:
        """Do not fire. Does nothing to one that has fired or was cancelled."""
        tick = deadline._tick
        if tick >= 0:
            bucket = self._buckets[tick]
            del bucket[deadline]
            deadline._tick = -1
            if not bucket:
                self._drop(tick)

    def _drop(self, tick: int) -> None:
        """Let go of an empty bucket. Its key stays in the heap, which is made anew once most of it is such keys.

        A bucket that held a crowd keeps its table for as long as it lives, and an arena of Python's allocator is given
        back only when its last small object has gone: a crowd's deadlines lie up to a minute ahead, and what they left
        behind used to hold most of the crowd's arenas (docs/performance.md)."""
        del self._buckets[tick]
        if len(self._ticks) > 2 * len(self._buckets) + STALE_TICKS:
            self._ticks = sorted(self._buckets)  # a sorted list is a heap

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            with trio.CancelScope() as self._sleep:
                self._sleep.deadline = self._ticks[0] * self._tick_s if self._ticks else math.inf
                await trio.sleep_forever()
            self._sleep = None
            self._fire(trio.current_time())

    def _fire(self, now: float) -> None:
        while self._ticks and self._ticks[0] * self._tick_s <= now:
            self._past = tick = heapq.heappop(self._ticks)
            for deadline in list(self._buckets.get(tick, ())):
                if deadline._tick == tick:  # no call before it in this bucket cancelled or moved it
                    self.cancel(deadline)
                    deadline._call()
