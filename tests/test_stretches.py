"""Stretches of logs: read once for all who ask at about the same time, whatever becomes of who asked first."""

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_server import stretches as room
from konnect_server.stretches import Stretch, Stretches
from protocol import codec
from protocol.frames import Entry
from storage.errors import StorageUnavailable
from storage.rows import Page, Range
from tests.fakes import ANN, HALL, ROOM


def entry(conversation: UUID, seq: int) -> Entry:
    return Entry(conversation=conversation, seq=seq, kind="message", author=ANN, key=f"k{seq}", at_ms=1, text="hi")


class Shelf:
    """What the stretches stand on. Answers wait for ``gate``."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[UUID, int, int]]] = []
        self.gate = trio.Event()
        self.gate.set()
        self.problem: Exception | None = None
        self.most = 1_000  # entries of one answer
        self.alarms: list[tuple[float, Callable[[], None]]] = []
        self.stretches = Stretches(self.load, trio.current_time, lambda at, call: self.alarms.append((at, call)))

    async def load(self, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
        self.asked.append([(one.conversation, one.low, one.high) for one in ranges])
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return [
            Page(
                [entry(one.conversation, seq) for seq in range(one.low, min(one.high, one.low + self.most - 1) + 1)],
                one.high - one.low >= self.most,
            )
            for one in ranges
        ]


def wired(conversation: UUID, low: int, high: int) -> bytes:
    return b"".join(codec.entry(entry(conversation, seq)) for seq in range(low, high + 1))


async def test_each_gets_the_frames_of_what_was_asked_for_in_that_order() -> None:
    shelf = Shelf()
    assert await shelf.stretches.read([Range(HALL, 3, 3), Range(ROOM, 1, 2)]) == [
        Stretch(wired(HALL, 3, 3), 3, False), Stretch(wired(ROOM, 1, 2), 2, False),
    ]  # fmt: skip
    assert await shelf.stretches.read([]) == []


async def test_what_many_ask_at_once_is_read_once_and_the_same_bytes() -> None:
    shelf = Shelf()
    shelf.gate = trio.Event()
    found: list[bytes] = []

    async def ask(*others: Range) -> None:
        found.append((await shelf.stretches.read([Range(ROOM, 1, 5), *others]))[0].data)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        nursery.start_soon(ask, Range(HALL, 1, 1))
        await wait_all_tasks_blocked()
        shelf.gate.set()
    assert len(found) == 6
    assert all(data is found[0] for data in found)
    asked = [one for call in shelf.asked for one in call]
    assert sorted(asked) == sorted([(ROOM, 1, 5), (HALL, 1, 1)])


async def test_it_is_kept_for_a_while_and_then_forgotten(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    await shelf.stretches.read([Range(ROOM, 1, 5)])
    await trio.sleep(room.KEPT_S / 2)
    await shelf.stretches.read([Range(ROOM, 1, 5), Range(ROOM, 1, 6)])
    assert shelf.asked == [[(ROOM, 1, 5)], [(ROOM, 1, 6)]], "another stretch is another"
    while shelf.alarms:
        at, call = shelf.alarms.pop(0)
        await trio.sleep_until(at)
        call()
    assert trio.current_time() <= 2 * room.KEPT_S
    assert len(shelf.stretches) == 0
    await shelf.stretches.read([Range(ROOM, 1, 5)])
    assert len(shelf.asked) == 3


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 3)
    shelf = Shelf()
    for seq in range(1, 10):
        await shelf.stretches.read([Range(ROOM, seq, seq)])
    assert len(shelf.stretches) == 3
    await shelf.stretches.read([Range(ROOM, 9, 9)])
    assert len(shelf.asked) == 9
    await shelf.stretches.read([Range(ROOM, 1, 1)])
    assert len(shelf.asked) == 10


async def test_a_stretch_that_is_too_long_says_where_it_ends() -> None:
    shelf = Shelf()
    shelf.most = 2
    assert await shelf.stretches.read([Range(ROOM, 4, 9)]) == [Stretch(wired(ROOM, 4, 5), 5, True)]


async def test_whoever_reads_for_all_may_go_away() -> None:
    """The others read for themselves; nobody waits for ever."""
    shelf = Shelf()
    shelf.gate = trio.Event()
    found: list[Stretch] = []

    async def ask() -> None:
        found.extend(await shelf.stretches.read([Range(ROOM, 1, 5)]))

    async with trio.open_nursery() as nursery:
        gone = trio.CancelScope()

        async def first() -> None:
            with gone:
                await ask()

        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(shelf.asked) == 1
        gone.cancel()
        await wait_all_tasks_blocked()
        shelf.gate.set()
    assert found == [Stretch(wired(ROOM, 1, 5), 5, False)] * 2
    assert len(shelf.asked) == 2


async def test_when_storage_does_not_answer_each_is_told_and_may_ask_again() -> None:
    shelf = Shelf()
    shelf.gate = trio.Event()
    shelf.problem = StorageUnavailable("away")
    told: list[StorageUnavailable] = []

    async def ask() -> None:
        try:
            await shelf.stretches.read([Range(ROOM, 1, 5)])
        except StorageUnavailable as problem:
            told.append(problem)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        shelf.gate.set()
    assert [str(one) for one in told] == ["away"] * 3
    assert len(set(map(id, told))) == 3, "each its own: raising changes it"
    assert len(shelf.asked) == 1
    assert len(shelf.stretches) == 0
    shelf.problem = None
    assert await shelf.stretches.read([Range(ROOM, 1, 5)])


async def test_what_is_forgotten_is_read_again() -> None:
    """An edit or a deletion passed: what the message said before is told to nobody after that."""
    shelf = Shelf()
    await shelf.stretches.read([Range(ROOM, 1, 2), Range(HALL, 1, 2)])
    shelf.stretches.forget(ROOM)
    shelf.stretches.forget(ROOM)
    assert len(shelf.stretches) == 1
    await shelf.stretches.read([Range(ROOM, 1, 2), Range(HALL, 1, 2)])
    assert shelf.asked == [[(ROOM, 1, 2), (HALL, 1, 2)], [(ROOM, 1, 2)]]


async def test_what_is_forgotten_while_it_is_read_is_read_again_for_all_who_wait(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    shelf.gate = trio.Event()
    found: list[Stretch] = []

    async def ask() -> None:
        found.extend(await shelf.stretches.read([Range(ROOM, 1, 2)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        shelf.stretches.forget(ROOM)
        nursery.start_soon(ask)  # does not share what was begun before
        await wait_all_tasks_blocked()
        assert len(shelf.asked) == 2
        shelf.gate.set()
    assert found == [Stretch(wired(ROOM, 1, 2), 2, False)] * 3
    assert 2 <= len(shelf.asked) <= 3
    assert len(shelf.stretches) == 1
