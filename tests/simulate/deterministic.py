"""Trio without chance: the same seed gives the same order of tasks. The one place that touches Trio's private names.

Trio shuffles the tasks that are ready at the same time, on purpose. Its own tests make that repeatable by two private
names of ``trio._core._run``; tests/test_simulate.py says when a release moves them.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

import trio
import trio.testing
from trio._core import _run as private

T = TypeVar("T")


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
    """Run *main* on a clock that jumps to the next deadline whenever every task waits."""
    with repeatable(seed):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
