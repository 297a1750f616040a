"""Errands: coroutines without a task until they need one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from storage.errand import Errand, Place, by_task, parked, still_wanted


class Diary:
    """What happened, in order, and how many tasks there were."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.lines: list[str] = []

    def send(self, run: Callable[[], Awaitable[None]]) -> Errand:
        async def coroutine() -> None:
            await run()

        errand = Errand(coroutine(), self.nursery)
        errand.begin()
        return errand

    @property
    def tasks(self) -> int:
        return len(self.nursery.child_tasks)


@asynccontextmanager
async def open_diary() -> AsyncIterator[Diary]:
    async with trio.open_nursery() as nursery:
        yield Diary(nursery)
        nursery.cancel_scope.cancel()


async def test_it_runs_at_once_up_to_where_it_waits_and_on_when_woken_without_a_task() -> None:
    async with open_diary() as diary:
        first, second = Place(), Place()

        async def run() -> None:
            diary.lines.append("a")
            await parked(first)
            diary.lines.append("b")
            await parked(second)
            diary.lines.append("c")

        diary.send(run)
        assert diary.lines == ["a"]
        second.wake()
        assert diary.lines == ["a"], "it waits elsewhere"
        first.wake()
        first.wake()
        assert diary.lines == ["a", "b"], "woken once"
        second.wake()
        assert diary.lines == ["a", "b", "c"]
        assert diary.tasks == 0


async def test_a_task_may_wait_at_a_place_and_be_cancelled_there() -> None:
    place = Place()
    woken: list[str] = []

    async def wait(name: str) -> None:
        await parked(place)
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "a")
        await wait_all_tasks_blocked()
        place.wake()
        await wait_all_tasks_blocked()
        assert woken == ["a"]
        nursery.start_soon(wait, "b")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    place.wake()
    assert woken == ["a"]


async def test_it_goes_on_as_a_task_where_it_has_to(autojump_clock: MockClock) -> None:
    async with open_diary() as diary:
        before, after = Place(), Place()

        async def run() -> None:
            await parked(before)
            diary.lines.append("errand")
            await by_task()
            await trio.sleep(5)
            diary.lines.append(f"task at {trio.current_time():g}")
            await by_task()
            await parked(after)
            await still_wanted()
            diary.lines.append("end")

        diary.send(run)
        before.wake()
        assert (diary.lines, diary.tasks) == (["errand"], 1)
        await trio.sleep(6)
        assert diary.lines == ["errand", "task at 5"]
        after.wake()
        await trio.sleep(1)
        assert (diary.lines[-1], diary.tasks) == ("end", 0)


@pytest.mark.parametrize("task", [False, True])
async def test_one_that_is_cancelled_does_nothing_more_and_cleans_up(task: bool) -> None:
    async with open_diary() as diary:
        place = Place()

        async def run() -> None:
            try:
                if task:
                    await by_task()
                    await trio.lowlevel.checkpoint()
                await parked(place)
                await still_wanted()
                diary.lines.append("went on")
            finally:
                diary.lines.append("cleaned up")

        errand = diary.send(run)
        await wait_all_tasks_blocked()
        place.wake() if task else None  # a task that was woken in this very turn, too
        errand.cancel()
        place.wake()
        await wait_all_tasks_blocked()
        assert diary.lines == ["cleaned up"]
        assert diary.tasks == 0


async def test_one_that_never_began_can_be_cancelled() -> None:
    async with open_diary() as diary:

        async def run() -> None:
            diary.lines.append("ran")

        errand = Errand(run(), diary.nursery)
        errand.cancel()
        errand.begin()
        assert diary.lines == []


async def test_one_may_wake_another() -> None:
    """What is stepped inside a step does not make the outer one forget who it is."""
    async with open_diary() as diary:
        inner, outer = Place(), Place()

        async def second() -> None:
            await parked(inner)
            diary.lines.append("inner")

        async def first() -> None:
            inner.wake()
            await parked(outer)
            diary.lines.append("outer")

        diary.send(second)
        diary.send(first)
        assert diary.lines == ["inner"]
        outer.wake()
        assert diary.lines == ["inner", "outer"]
        assert Errand.running is None
