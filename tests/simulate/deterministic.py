"""Trio without chance or waiting: the same seed gives the same order of tasks, and time jumps to what is due next.

Trio shuffles the tasks that are ready at the same time, on purpose. Its own tests make that repeatable by two private
names of ``trio._core._run``; this is the one place that touches them, and tests/test_simulate.py says when a release
moves them. The clock is a lean kin of ``trio.testing.MockClock(autojump_threshold=0)``: asked how long to sleep until
the next deadline, it is there already, and it makes the agenda's calls itself, when every task waits. That spares a
task, a cancel scope and two rounds of Trio's loop at every instant; worlds run twice as fast.
"""

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

import trio
from trio._core import _run as private

from tests.simulate.agenda import Agenda

T = TypeVar("T")


class JumpingClock(trio.abc.Clock):
    """Time passes only when every task waits, and then at once. Makes the calls of an agenda."""

    def __init__(self, agenda: Agenda) -> None:
        self.broken: BaseException | None = None  # what a call of the agenda raised
        self.scope: trio.CancelScope | None = None  # cancelled when one does
        self._agenda = agenda
        self._now = 0.0
        self._stuck = 0

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        """Seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked when no task can run: jump to what is due next, be it a call or a task's deadline."""
        due = self._agenda.next
        if due <= deadline < math.inf and self.broken is None:
            self._now = due
            try:
                self._agenda.make(due)
            except Exception as problem:  # noqa: BLE001 - not to be raised here, inside Trio's loop
                self.broken = problem
                if self.scope is not None:
                    self.scope.cancel()
        elif deadline < math.inf:
            self._stuck = 0
            self._now = max(self._now, deadline)
        else:  # Trio's own task, at the start and at the end, waits for a pipe to itself
            self._stuck += 1
            if self._stuck > 1_000:
                raise RuntimeError("every task waits, and none for a deadline: run under trio.fail_after")
        return 0.0


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Inside the block a ``trio.run`` schedules its tasks as *seed* says."""
    before = private._ALLOW_DETERMINISTIC_SCHEDULING, private._r
    private._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # Final, and meant for this
    private._r = Random(seed)
    try:
        yield
    finally:
        private._ALLOW_DETERMINISTIC_SCHEDULING, private._r = before  # type: ignore[misc]  # as it was


def run(seed: int, agenda: Agenda, main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* to its end, the same way for the same *seed*; raise what a call of *agenda* raises."""
    clock = JumpingClock(agenda)

    async def watched() -> T:
        with trio.CancelScope() as clock.scope:
            return await main()
        assert clock.broken is not None
        raise clock.broken

    with repeatable(seed):
        return trio.run(watched, clock=clock)
