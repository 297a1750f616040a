"""Trio without chance or waiting: the same seed gives the same order of tasks, and time jumps to the next deadline.

Trio shuffles the tasks that are ready at the same time, on purpose. Its own tests make that repeatable by two private
names of ``trio._core._run``; this is the one place that touches them, and tests/test_simulate.py says when a release
moves them. The clock is a lean kin of ``trio.testing.MockClock(autojump_threshold=0)``: asked how long to sleep until the
next deadline, it is there already. One round of Trio's loop an instant instead of three made worlds a third faster.
"""

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

import trio
from trio._core import _run as private

T = TypeVar("T")


class JumpingClock(trio.abc.Clock):
    """Time passes only when every task waits, and then at once."""

    def __init__(self) -> None:
        self._now = 0.0
        self._stuck = 0

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        """Seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked when no task can run: jump."""
        if deadline == math.inf:  # Trio's own task, at the start and at the end, waits for a pipe to itself
            self._stuck += 1
            if self._stuck > 1_000:
                raise RuntimeError("every task waits, and none for a deadline: run under trio.fail_after")
        else:
            self._stuck = 0
            self._now = max(self._now, deadline)
        return 0.0


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Inside the block a ``trio.run`` schedules its tasks as *seed* says."""
    before = private._ALLOW_DETERMINISTIC_SCHEDULING, private._r
    private._ALLOW_DETERMINISTIC_SCHEDULING = True
    private._r = Random(seed)
    try:
        yield
    finally:
        private._ALLOW_DETERMINISTIC_SCHEDULING, private._r = before


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* to its end, the same way for the same *seed*."""
    with repeatable(seed):
        return trio.run(main, clock=JumpingClock())
