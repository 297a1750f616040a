"""Garbage is collected while nothing else is to be done, and then only."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import trio

from konnect_server import collector
from konnect_server.collector import YOUNG, Collector


class Thing:
    """Part of a circle."""

    me: "Thing"


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    """The collector does nothing by itself."""
    enabled = gc.isenabled()
    gc.disable()
    gc.collect()
    yield
    if enabled:
        gc.enable()


def circle() -> "weakref.ref[Thing]":
    """Garbage that no count of references frees."""
    thing = Thing()
    thing.me = thing
    return weakref.ref(thing)


def test_it_looks_before_a_wait_and_not_while_there_is_work() -> None:
    gone, new = circle(), [[] for _ in range(YOUNG)]  # type: ignore[var-annotated]
    Collector().before_io_wait(0.0)
    assert gone() is not None, "something is ready: no time for this"
    Collector().before_io_wait(1.0)
    assert gone() is None
    assert gc.get_count()[0] < len(new)


def test_a_few_new_objects_are_not_worth_a_look() -> None:
    gone = circle()
    Collector().before_io_wait(1.0)
    assert gone() is not None


def test_what_outlived_a_look_is_looked_at_again_after_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MIDDLE", 3)
    monkeypatch.setattr(collector, "OLD", 2)
    looks: list[int] = []
    collect = gc.collect

    def noted(generation: int) -> int:
        looks.append(generation)
        return collect(generation)

    monkeypatch.setattr(gc, "collect", noted)
    kept: list[list[int]] = []
    for _ in range(20):
        kept += [[] for _ in range(YOUNG)]
        Collector().before_io_wait(1.0)
    assert looks == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1]


async def test_an_event_loop_that_waits_is_told_so() -> None:
    """Trio calls it, with the time for which it would wait."""
    gone, new = circle(), [[] for _ in range(YOUNG)]  # type: ignore[var-annotated]
    watching = Collector()
    trio.lowlevel.add_instrument(watching)
    try:
        while gone() is not None:
            await trio.sleep(0.01)
    finally:
        trio.lowlevel.remove_instrument(watching)
    assert len(new) == YOUNG
