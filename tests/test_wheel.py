"""The wheel: many deadlines, one task; never early, at most a tick late."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples
from trio.testing import MockClock

from konnect_server.wheel import TICK_S, Deadline, Wheel


@asynccontextmanager
async def running() -> AsyncIterator[Wheel]:
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        yield wheel
        nursery.cancel_scope.cancel()


class Log:
    """What fired, and when."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, float]] = []

    def note(self, name: str) -> None:
        self.fired.append((name, trio.current_time()))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fired]


async def test_a_deadline_fires_once_at_its_time(autojump_clock: MockClock) -> None:
    async with running() as wheel:
        log = Log()
        deadline = wheel.add(trio.current_time() + 3, lambda: log.note("a"))
        assert deadline.pending
        await trio.sleep(10)
        assert log.fired == [("a", 3.0)]
        assert not deadline.pending


async def test_one_that_comes_sooner_wakes_the_sleeper(autojump_clock: MockClock) -> None:
    """The task sleeps until the first deadline it knows of; a sooner one may be added meanwhile."""
    async with running() as wheel:
        log = Log()
        wheel.add(100, lambda: log.note("late"))
        await trio.sleep(1)
        wheel.add(2, lambda: log.note("soon"))
        await trio.sleep(200)
        assert log.fired == [("soon", 2.0), ("late", 100.0)]


async def test_cancel_and_move(autojump_clock: MockClock) -> None:
    async with running() as wheel:
        log = Log()
        gone = wheel.add(1, lambda: log.note("gone"))
        later = wheel.add(1, lambda: log.note("later"))
        again = wheel.add(1, lambda: log.note("again"))
        wheel.cancel(gone)
        wheel.cancel(gone)
        wheel.move(later, 5)
        await trio.sleep(2)
        wheel.move(again, 3)
        await trio.sleep(10)
        wheel.cancel(again)
        assert log.fired == [("again", 1.0), ("again", 3.0), ("later", 5.0)]
        assert len(wheel) == 0


async def test_those_of_one_tick_fire_in_the_order_they_came(autojump_clock: MockClock) -> None:
    """And one may cancel or move another of the same tick: it does not fire then."""
    async with running() as wheel:
        log, others = Log(), list[Deadline]()

        def first() -> None:
            log.note("first")
            wheel.cancel(others[0])
            wheel.move(others[1], 9)

        wheel.add(1, first)
        others.append(wheel.add(1, lambda: log.note("cancelled")))
        others.append(wheel.add(1, lambda: log.note("moved")))
        wheel.add(1, lambda: log.note("last"))
        await trio.sleep(20)
        assert log.fired == [("first", 1.0), ("last", 1.0), ("moved", 9.0)]


async def test_one_that_is_past_fires_at_the_next_tick(autojump_clock: MockClock) -> None:
    """Even from within a call, which so cannot spin."""
    async with running() as wheel:
        log = Log()

        def once_more() -> None:
            log.note("x")
            if len(log.fired) < 4:
                wheel.add(0, once_more)

        await trio.sleep(5)
        wheel.add(1, once_more)
        await trio.sleep(1)
        assert log.fired[0] == ("x", 5.0)
        assert log.names == ["x"] * 4


async def test_nothing_pending_means_nobody_wakes() -> None:
    """A server without connections sleeps."""
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
        nursery.cancel_scope.cancel()


async def test_what_was_cancelled_leaves_nothing_behind() -> None:
    """A crowd's deadlines lie up to a minute ahead: what they left there kept the crowd's memory (tidy.py)."""
    wheel = Wheel()
    stays = wheel.add(3, lambda: None)
    before = sys.getallocatedblocks()
    for round_number in range(3):
        for deadline in [wheel.add(1_000 * round_number + second, lambda: None) for second in range(1, 1_000)]:
            wheel.cancel(deadline)
    gc.collect()  # empties the free lists, which are counted, too
    assert sys.getallocatedblocks() - before < 200
    assert stays.pending
    assert len(wheel) == 1


async def test_a_tick_that_was_let_go_may_be_used_again(autojump_clock: MockClock) -> None:
    """It is twice in the heap then, and what is due fires once."""
    async with running() as wheel:
        log = Log()
        for _ in range(100):
            wheel.cancel(wheel.add(2, lambda: log.note("cancelled")))
        wheel.add(2, lambda: log.note("a"))
        wheel.add(3, lambda: log.note("b"))
        await trio.sleep(20)
        assert log.fired == [("a", 2.0), ("b", 3.0)]


@given(lists(tuples(floats(0, 50), integers(0, 2), floats(0, 50)), max_size=40))
def test_never_early_and_at_most_a_tick_late(plans: list[tuple[float, int, float]]) -> None:
    """Whatever is added, cancelled and moved before it starts."""

    async def main() -> None:
        async with running() as wheel:
            due: dict[int, float] = {}
            fired: dict[int, float] = {}
            for number, (at, what, other) in enumerate(plans):

                def call(number: int = number) -> None:
                    assert number not in fired
                    fired[number] = trio.current_time()

                deadline = wheel.add(at, call)
                due[number] = at
                if what == 1:
                    wheel.cancel(deadline)
                    del due[number]
                elif what == 2:
                    wheel.move(deadline, other)
                    due[number] = other
            assert len(wheel) == len(due)
            await trio.sleep(60)
            assert fired.keys() == due.keys()
            for number, at in due.items():
                assert at <= fired[number] <= at + TICK_S

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("at", [0.3, 1 / 3, 0.7, 1e6 + 0.1, 123_456.789])
async def test_the_tick_is_exact(at: float, autojump_clock: MockClock) -> None:
    """A tick that is no power of two fires an ulp early now and then, and its caller finds nothing due."""
    async with running() as wheel:
        log = Log()
        wheel.add(at, lambda: log.note("x"))
        await trio.sleep(at + 1)
        assert at <= log.fired[0][1] <= at + TICK_S
