"""What is due when: plain calls on Trio's clock, all made by one task.

A message on its way, a commit that takes a while, a fault that ends: each is one line here and not a task of its own.
Times are rounded up to a grid, so that a simulated world has few instants to jump to; what falls on the same one is
done in the order of asking, or in an order drawn from the seed.
"""

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any, Final, NoReturn

import trio

GRID: Final = 64  # instants a second


class Agenda:
    """Calls to make later. ``run`` makes them, for ever, and belongs into a nursery."""

    def __init__(self, rng: Random | None = None) -> None:
        """*rng*: draws the order of what is due at the same instant; None: the order of asking."""
        self._due: list[tuple[float, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._draw = rng.random if rng is not None else None
        self._count = 0
        self._next = math.inf  # what the sleeping task waits for
        self._sleep: trio.CancelScope | None = None

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Make ``call(*args)`` about *delay_s* seconds from now. It must neither wait nor raise."""
        self._count += 1
        when = math.ceil((trio.current_time() + delay_s) * GRID) / GRID
        heapq.heappush(self._due, (when, self._draw() if self._draw else 0.0, self._count, call, args))
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
                _, _, _, call, args = heapq.heappop(due)
                call(*args)
