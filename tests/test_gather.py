"""Questions of many are asked together, and each gets its own answer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from storage.database import OwnConnection
from storage.errors import StorageUnavailable
from storage.gather import WEIGHT, Gather, Kind


class Desk:
    """Doubles numbers, when it is let; remembers what it was asked at once."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = trio.Event()
        self.problem: Exception | None = None

    async def double(self, lane: OwnConnection, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await self.open.wait()
        if self.problem is not None:
            raise self.problem
        return [number * 2 for number in numbers]


@asynccontextmanager
async def lanes(gather: Gather, count: int = 1) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(gather.run, None)  # type: ignore[arg-type]  # nobody here looks at the connection
        yield nursery
        nursery.cancel_scope.cancel()


async def test_what_waits_meanwhile_goes_together_and_each_gets_its_own(autojump_clock: MockClock) -> None:
    desk, gather, found = Desk(), Gather(), dict[int, int]()
    kind = Kind(gather, desk.double)

    async def ask(number: int) -> None:
        found[number] = await kind.ask(number)

    async with lanes(gather) as nursery:
        nursery.start_soon(ask, 1)
        await wait_all_tasks_blocked()
        assert desk.asked == [[1]], "who finds an idle lane does not wait"
        for number in (2, 3, 4):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        desk.open.set()
        await wait_all_tasks_blocked()
    assert desk.asked == [[1], [2, 3, 4]]
    assert found == {1: 2, 2: 4, 3: 6, 4: 8}


async def test_a_query_has_a_bound_and_one_that_is_over_it_goes_alone(autojump_clock: MockClock) -> None:
    desk, gather = Desk(), Gather()
    desk.open.set()
    kind = Kind(gather, desk.double, weight=lambda number: number)
    async with trio.open_nursery() as nursery:
        for number in (WEIGHT - 1, 1, 2, WEIGHT * 5, 3):
            nursery.start_soon(kind.ask, number)
            await wait_all_tasks_blocked()
        async with lanes(gather):
            await wait_all_tasks_blocked()
    assert desk.asked == [[WEIGHT - 1, 1], [2], [WEIGHT * 5], [3]]


async def test_kinds_take_turns_and_lanes_share_them(autojump_clock: MockClock) -> None:
    slow, quick, gather = Desk(), Desk(), Gather()
    quick.open.set()
    one, other = Kind(gather, slow.double), Kind(gather, quick.double)
    async with lanes(gather, 2) as nursery:
        nursery.start_soon(one.ask, 1)
        await wait_all_tasks_blocked()
        assert await other.ask(5) == 10, "the second lane is free"
        slow.open.set()


@pytest.mark.parametrize("problem", [StorageUnavailable("away"), ValueError("a bug of ours")])
async def test_a_problem_is_told_to_each_and_the_lane_goes_on(autojump_clock: MockClock, problem: Exception) -> None:
    desk, gather, told = Desk(), Gather(), list[Exception]()
    kind = Kind(gather, desk.double)

    async def ask(number: int) -> None:
        try:
            await kind.ask(number)
        except Exception as what:  # noqa: BLE001 - whatever it is, it is looked at below
            told.append(what)

    async with lanes(gather) as nursery:
        for number in range(3):
            nursery.start_soon(ask, number)
        await wait_all_tasks_blocked()
        desk.problem = problem
        desk.open.set()
        await wait_all_tasks_blocked()
        assert [(type(one), str(one)) for one in told] == [(type(problem), str(problem))] * 3
        assert len({id(one) for one in told}) == 3, "each has its own to add a traceback to"
        desk.problem = None
        assert await kind.ask(7) == 14


async def test_who_is_cancelled_while_waiting_costs_the_others_nothing(autojump_clock: MockClock) -> None:
    desk, gather = Desk(), Gather()
    kind = Kind(gather, desk.double)
    async with lanes(gather):
        with trio.move_on_after(1) as scope:
            await kind.ask(1)
        assert scope.cancelled_caught
        desk.open.set()
        assert await kind.ask(2) == 4
