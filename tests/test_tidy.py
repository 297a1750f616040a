"""Memory is given back once a crowd has gone, and not before."""

import ctypes
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from konnect_server import tidy
from konnect_server.tidy import AFTER_S, CROWD, FEW, LOOK_S, SHARE, Tidy, give_back
from konnect_server.wheel import TICK_S, Wheel

SOON_S = AFTER_S + LOOK_S + 2 * TICK_S


class House:
    """How many are here, and when memory was given back."""

    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.here = 0
        self.given: list[float] = []
        self._tidy = Tidy(wheel, lambda: self.here, lambda: self.given.append(trio.current_time()))

    def come(self, count: int) -> None:
        for _ in range(count):
            self.here += 1
            self._tidy.came()


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    async with trio.open_nursery() as nursery:
        wheel = Wheel()
        nursery.start_soon(wheel.run)
        yield House(wheel)
        nursery.cancel_scope.cancel()


async def test_memory_is_given_back_once_after_a_crowd(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        house.come(CROWD)
        await trio.sleep(60)
        assert house.given == [], "while they are here nobody is stopped for it"
        house.here, gone_at = 0, trio.current_time()
        await trio.sleep(SOON_S)
        [at] = house.given
        assert at - gone_at >= AFTER_S
        await trio.sleep(1000)
        assert len(house.given) == 1


async def test_the_next_crowd_is_like_the_first(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        for wave in range(1, 4):
            house.come(CROWD)
            house.here = 0
            await trio.sleep(SOON_S)
            assert len(house.given) == wave


async def test_without_a_crowd_nobody_wakes(autojump_clock: MockClock) -> None:
    """Neither with a few people, nor once memory was given back."""
    async with open_house() as house:
        house.come(CROWD - 1)
        assert len(house.wheel) == 0
        house.come(1)
        assert len(house.wheel) == 1
        house.here = 0
        await trio.sleep(SOON_S)
        assert len(house.given) == 1
        assert len(house.wheel) == 0


async def test_a_storm_is_not_a_crowd_that_has_gone(autojump_clock: MockClock) -> None:
    """All go and come back at once: the worst of all moments to stop for a collection."""
    async with open_house() as house:
        house.come(CROWD)
        house.here = 0
        await trio.sleep(LOOK_S + TICK_S)
        house.come(CROWD)
        await trio.sleep(60)
        assert house.given == []
        house.here = 0
        await trio.sleep(SOON_S)
        assert len(house.given) == 1


@pytest.mark.parametrize(("crowd", "few"), [(CROWD, CROWD // SHARE), (FEW * SHARE * 2, FEW)])
async def test_few_may_stay(autojump_clock: MockClock, crowd: int, few: int) -> None:
    """But not so many that a collection would take long."""
    async with open_house() as house:
        house.come(crowd)
        house.here = few + 1
        await trio.sleep(60)
        assert house.given == []
        house.here = few
        await trio.sleep(SOON_S)
        assert len(house.given) == 1


def test_the_free_lists_are_emptied() -> None:
    """They are what holds most of the crowd's arenas when every object has gone."""
    few = [(number,) for number in range(500)]
    del few
    before = sys.getallocatedblocks()
    give_back()
    assert before - sys.getallocatedblocks() >= 400


def test_names_that_were_looked_for_are_let_go() -> None:
    """The interpreter's cache of types keeps each string that it was asked for, of many that say the same."""
    name = "".join(("no such ", "attribute"))
    references = sys.getrefcount(name)
    assert not hasattr(Tidy, name)
    assert not hasattr(House, name)
    give_back()
    assert sys.getrefcount(name) == references


def test_a_full_collection_is_made() -> None:
    circle: list[object] = []
    circle.append(circle)
    collections = gc.get_stats()[2]["collections"]
    give_back()
    assert gc.get_stats()[2]["collections"] == collections + 1


async def test_those_who_stayed_may_be_a_crowd_themselves(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        house.come(CROWD * SHARE)
        house.here = CROWD
        await trio.sleep(SOON_S)
        assert len(house.given) == 1
        house.here = 0
        await trio.sleep(SOON_S)
        assert len(house.given) == 2


@pytest.mark.parametrize("problem", [AttributeError, OSError, TypeError])
def test_a_c_library_without_it_is_no_problem(monkeypatch: pytest.MonkeyPatch, problem: type[Exception]) -> None:
    """musl, macOS, Windows."""

    def fail(name: str | None) -> None:
        raise problem

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert tidy._find_trim()(0) == 0
