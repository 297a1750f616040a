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
    """Calls to make later. Somebody has to make them: ``run``, as a task, or the simulated world's clock."""

    def __init__(self, rng: Random | None = None) -> None:
        """*rng*: draws the order of what is due at the same instant; None: the order of asking."""
        self._due: list[tuple[float, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._draw = rng.random if rng is not None else None
        self._count = 0
        self._sleep: trio.CancelScope | None = None  # of ``run``

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Make ``call(*args)`` about *delay_s* seconds from now. It must not wait."""
        self._count += 1
        when = math.ceil((trio.current_time() + delay_s) * GRID) / GRID
        heapq.heappush(self._due, (when, self._draw() if self._draw else 0.0, self._count, call, args))
        if self._sleep is not None and when < self._sleep.deadline:
            self._sleep.deadline = when

    @property
    def next(self) -> float:
        """When the next call is due; infinity when none is."""
        return self._due[0][0] if self._due else math.inf

    def make(self, now: float) -> None:
        """Make the calls that are due at *now*."""
        due = self._due
        while due and due[0][0] <= now:
            _, _, _, call, args = heapq.heappop(due)
            call(*args)

    async def run(self) -> NoReturn:
        """Make the calls as they fall due, on any clock."""
        while True:
            with trio.CancelScope(deadline=self.next) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            self.make(trio.current_time())
