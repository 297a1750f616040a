"""What is due when: plain calls on Trio's clock, all made by one task.

A message on its way, a commit that takes a while, a fault that ends: each is one line here and not a task of its own.
Calls due at the same instant are made in the order in which they were asked for, so that a seed gives one trace.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any, NoReturn

import trio


class Agenda:
    """Calls to make later. ``run`` makes them, for ever, and belongs into a nursery."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._next = math.inf  # what the sleeping task waits for
        self._sleep: trio.CancelScope | None = None

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Make ``call(*args)`` *delay_s* seconds from now. It must neither wait nor raise."""
        self._count += 1
        when = trio.current_time() + delay_s
        heapq.heappush(self._due, (when, self._count, call, args))
        if when < self._next and self._sleep is not None:
            self._next = when
            self._sleep.deadline = when

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> NoReturn:
        """Make the calls as they fall due."""
        while True:
            due = self._due
            self._next = due[0][0] if due else math.inf
            with trio.CancelScope(deadline=self._next) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            now = trio.current_time()
            while due and due[0][0] <= now:
                _, _, call, args = heapq.heappop(due)
                call(*args)
