"""Receipts on their way to disk: gathered, written at most once a second a member, each command answered once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from konnect_server import receipts as room
from konnect_server.receipts import Receipts, Spread
from storage.errors import StorageUnavailable
from storage.rows import Raise
from tests.deck import Deck, open_deck, until
from tests.fakes import ANN, BOB, CID, HALL, ROOM, FakeReader


class Stage:
    """Receipts at work on the simulated database, with two rooms of ten entries."""

    def __init__(self, deck: Deck) -> None:
        self.deck, self.store = deck, deck.store
        self.told: list[tuple[UUID, UUID, int, int, bool]] = []
        self.flushed = 0
        self.receipts = Receipts(deck.store, self._tell, self._flush)
        self.ann, self.bob = FakeReader(ANN), FakeReader(BOB)

    def _tell(self, spread: Spread) -> None:
        event = spread.event
        self.told.append((event.conversation, event.user, event.delivered, event.read, spread.to_all))

    def _flush(self) -> None:
        self.flushed += 1

    @property
    def writes(self) -> int:
        return self.store.calls.count("raise_receipts")

    async def answered(self, *readers: FakeReader, commands: int = 1) -> None:
        await until(lambda: all(len(one.frames) >= commands for one in readers))


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    async with open_deck() as deck:
        for conversation in (ROOM, HALL):
            await deck.group(conversation, ANN, BOB)
            await deck.say(conversation, ANN, *map(str, range(2, 11)))
        stage = Stage(deck)
        deck.nursery.start_soon(stage.receipts.run)
        yield stage


async def test_a_move_is_stored_then_told_then_answered(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.receipts.move(stage.ann, 1, ROOM, 5, 3)
        assert not stage.receipts.quiet
        await stage.answered(stage.ann)
        assert stage.ann.frames == [{"t": "ok", "id": 1, "result": {"delivered": 5, "read": 3}}]
        assert stage.told == [(ROOM, ANN, 5, 3, True)]
        assert stage.flushed == 1, "what was pushed must leave"
        assert stage.receipts.quiet


async def test_reading_implies_delivery_and_cursors_stop_at_the_logs_end(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.receipts.move(stage.ann, 1, ROOM, 2, 2**62)
        await stage.answered(stage.ann)
        assert stage.ann.frames[0]["result"] == {"delivered": 10, "read": 10}


async def test_cursors_only_rise_and_a_fall_is_told_to_nobody(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.receipts.move(stage.ann, 1, ROOM, 6, 6)
        await stage.answered(stage.ann)
        stage.receipts.move(stage.ann, 2, ROOM, 4, 2)
        await stage.answered(stage.ann, commands=2)
        assert stage.ann.frames[1]["result"] == {"delivered": 6, "read": 6}
        assert len(stage.told) == 1


async def test_moves_within_a_second_are_one_write_and_each_is_answered_once(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        began = trio.current_time()
        stage.receipts.move(stage.ann, 1, ROOM, 1, 1)
        await stage.answered(stage.ann)
        for number in range(2, 10):
            stage.receipts.move(stage.ann, number, ROOM, number, number)
        await stage.answered(stage.ann, commands=9)
        assert trio.current_time() - began >= room.EVERY_S
        assert stage.writes == 2
        assert [frame["id"] for frame in stage.ann.frames] == list(range(1, 10))
        assert all(frame["result"] == {"delivered": 9, "read": 9} for frame in stage.ann.frames[1:])


async def test_members_and_conversations_do_not_wait_for_each_other(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.receipts.move(stage.ann, 1, ROOM, 1, 1)
        await stage.answered(stage.ann)
        began = trio.current_time()
        stage.receipts.move(stage.bob, 1, ROOM, 2, 2)
        stage.receipts.move(stage.ann, 2, HALL, 3, 3)
        await stage.answered(stage.bob)
        assert trio.current_time() - began < room.EVERY_S
        assert stage.writes == 2, "both in one"


async def test_no_member_no_receipt(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        cid = FakeReader(CID)
        stage.receipts.move(cid, 1, ROOM, 1, 1)
        await stage.answered(cid)
        assert cid.story == ["error 1 not_a_member"]
        assert stage.told == []


async def test_one_write_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BATCH_ROWS", 2)
    sizes: list[int] = []

    def sized(moves: list[Raise]) -> None:
        sizes.append(len(moves))

    async with open_stage() as stage:
        stage.store.failing["raise_receipts"] = sized
        people = [FakeReader(one) for one in (ANN, BOB, CID)]
        for one in people:
            stage.receipts.move(one, 1, ROOM, 1, 1)
        await stage.answered(*people)
        assert sizes == [2, 1]


async def test_a_short_absence_of_storage_is_waited_out(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.store.failing["raise_receipts"] = StorageUnavailable("away")
        stage.receipts.move(stage.ann, 1, ROOM, 5, 5)
        await trio.sleep(3)
        assert stage.ann.frames == []
        del stage.store.failing["raise_receipts"]
        await stage.answered(stage.ann)
        assert stage.ann.story == ["ok 1"]


async def test_a_long_absence_is_an_error_for_everybody_and_the_next_is_tried(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.store.failing["raise_receipts"] = StorageUnavailable("away")
        stage.receipts.move(stage.ann, 1, ROOM, 5, 5)
        stage.receipts.move(stage.ann, 2, ROOM, 6, 6)
        stage.receipts.move(stage.bob, 1, ROOM, 7, 7)
        await stage.answered(stage.ann, commands=2)
        await stage.answered(stage.bob)
        assert stage.ann.story == ["error 1 unavailable", "error 2 unavailable"]
        assert stage.bob.story == ["error 1 unavailable"]
        del stage.store.failing["raise_receipts"]
        stage.receipts.move(stage.ann, 3, ROOM, 5, 5)
        await stage.answered(stage.ann, commands=3)
        assert stage.ann.story[2] == "ok 3"


async def test_it_is_not_quiet_while_a_write_is_under_way(autojump_clock: MockClock) -> None:
    """A drain waits until what was received is answered; it did not count what was just being written, and closed the
    sockets before the answers."""
    async with open_stage() as stage:
        door = stage.store.shut("raise_receipts")
        stage.receipts.move(stage.ann, 1, ROOM, 5, 5)
        await door.reached.wait()
        assert not stage.receipts.quiet
        door.open()
        await stage.answered(stage.ann)
        assert stage.receipts.quiet


async def test_what_waits_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While storage was away, each command of each socket was kept, without end."""
    monkeypatch.setattr(room, "WAITING", 3)
    async with open_stage() as stage:
        door = stage.store.shut("raise_receipts")
        for number in range(1, 6):
            stage.receipts.move(stage.ann, number, ROOM, number, number)
        assert stage.ann.story == ["error 4 unavailable", "error 5 unavailable"]
        await door.reached.wait()
        stage.receipts.move(stage.ann, 6, ROOM, 6, 6)
        door.open()
        await stage.answered(stage.ann, commands=6)
        assert sorted(stage.ann.story[2:]) == ["ok 1", "ok 2", "ok 3", "ok 6"]


async def test_what_was_written_is_forgotten_after_a_while(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.receipts.move(stage.ann, 1, ROOM, 1, 1)
        await stage.answered(stage.ann)
        await trio.sleep(room.EVERY_S)
        stage.receipts.move(stage.bob, 1, HALL, 1, 1)
        await stage.answered(stage.bob)
        assert list(stage.receipts._written) == [(HALL, BOB)]
