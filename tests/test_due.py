"""What is due is done when its time has come, once, by whoever is there: on the simulated database, by virtual time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from uuid import UUID

import trio
from trio.testing import MockClock

from konnect_server import due
from konnect_server.config import Config
from konnect_server.core import Core, open_core
from konnect_server.due import LEASE_S, LOOK_S
from protocol.frames import ConversationRetention, Entry, MessageSchedule, MessageScheduled
from storage.errors import StorageUnavailable
from storage.rows import NewMessage, Rules
from tests.deck import until
from tests.fakes import ANN, BOB, ROOM, FakeReader, uid
from tests.simulate.store import FakeStore
from tests.test_core import Stage, listener, open_stage


@asynccontextmanager
async def processes(stage: Stage, count: int = 1) -> AsyncIterator[list[Core]]:
    """So many processes on one database."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_core(Config(), stage.world)) for _ in range(count)]


async def schedule(stage: Stage, in_s: float, number: int = 1, author: UUID = ANN) -> UUID:
    """Keep a message for a time so many seconds from now, by a process that is not one of ours."""
    at_ms = stage.database.now_ms() + int(in_s * 1000)
    one = MessageSchedule(id=1, conversation=ROOM, key=f"s{number}", at_ms=at_ms, text=f"text {number}")
    return (await FakeStore(stage.database).schedule(uid(700 + number), author, one)).scheduled


def heard(one: FakeReader) -> list[int]:
    """The entries that somebody was told of."""
    return [frame["seq"] for frame in one.frames if frame["t"] == "entry"]


def said(stage: Stage) -> list[Entry]:
    """The room's messages."""
    return stage.database.tables.entries[ROOM][1:]


async def test_it_is_sent_at_its_time_to_all_who_listen(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, processes(stage) as [core]:
        one = listener(core, BOB)
        await trio.sleep(1)
        number = await schedule(stage, 100)
        at_s = trio.current_time() + 100
        await until(lambda: said(stage))
        assert 0 <= trio.current_time() - at_s < 0.1, "woken when it is due"
        [entry] = said(stage)
        assert (entry.author, entry.key, entry.text) == (ANN, f"scheduled:{number}", "text 1")
        await until(lambda: heard(one) == [2])


async def test_what_was_given_to_this_process_needs_no_look(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, processes(stage) as [core]:
        await trio.sleep(0.5)
        await schedule(stage, 1)
        core.clerk.sooner(stage.database.now_ms() + 1_000)
        at_s = trio.current_time() + 1
        await until(lambda: said(stage))
        assert 0 <= trio.current_time() - at_s < 0.1


async def test_what_another_process_was_given_is_found(autojump_clock: MockClock) -> None:
    """The one that was given it may be gone."""
    async with open_stage() as stage, processes(stage):
        await trio.sleep(0.5)
        await schedule(stage, 0)
        at_s = trio.current_time()
        await until(lambda: said(stage))
        assert trio.current_time() - at_s <= LOOK_S


async def test_three_processes_send_each_once(autojump_clock: MockClock) -> None:
    """And take each once: they do not all try."""
    async with open_stage() as stage:
        for number in range(150):
            if number == 100:
                await stage.store.change_member(0, "remove", ROOM, ANN, "out", BOB, 10)
                await stage.store.change_member(0, "add", ROOM, ANN, "in", BOB, 10)
            await schedule(stage, 0.1 * (number % 7), number, BOB if number < 100 else ANN)
        async with processes(stage, 3):
            await until(lambda: len(said(stage)) == 152)
            await trio.sleep(2 * LEASE_S)
        assert len({entry.key for entry in said(stage)}) == 152
        assert stage.store.calls.count("act") == 150
        states = {one.state for one in stage.database.tables.scheduled.values()}
        assert states == {"sent"}


async def test_a_process_that_dies_between_taking_and_sending_is_followed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await schedule(stage, 0)
        dying = FakeStore(stage.database)
        assert len((await dying.take_due(9, LEASE_S)).scheduled) == 1
        dying.kill(Random(1))
        taken_at = trio.current_time()
        async with processes(stage):
            await until(lambda: said(stage))
            assert LEASE_S - 0.1 <= trio.current_time() - taken_at <= LEASE_S + LOOK_S
            await trio.sleep(2 * LEASE_S)
        assert len(said(stage)) == 1


async def test_an_answer_that_was_lost_sends_nothing_twice(autojump_clock: MockClock) -> None:
    """The message was committed, and nobody heard of it; the same action again finds it sent."""
    async with open_stage() as stage, processes(stage) as [core]:
        one = listener(core, BOB)
        stage.store.lost["act"] = 2
        await schedule(stage, 0)
        await until(lambda: heard(one) == [2])
        assert stage.store.calls.count("act") == 3
        await trio.sleep(2 * LEASE_S)
        assert len(said(stage)) == 1


async def test_storage_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    """Longer than a call tries, too: then the lease ends, and it is taken again."""
    async with open_stage() as stage, processes(stage):
        stage.store.failing["act"] = StorageUnavailable("away")
        await schedule(stage, 0)
        await trio.sleep(60)
        assert said(stage) == []
        del stage.store.failing["act"]
        await until(lambda: said(stage))
        await trio.sleep(2 * LEASE_S)
        assert len(said(stage)) == 1


async def test_one_that_cannot_be_sent_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await schedule(stage, 0, 1, BOB)
        await stage.store.change_member(0, "remove", ROOM, ANN, "out", BOB, 10)
        await schedule(stage, 0.1, 2, ANN)
        async with processes(stage):
            await until(lambda: len(said(stage)) == 2)
            assert [entry.text for entry in said(stage)[1:]] == ["text 2"]
            [failed] = (await stage.store.scheduled(BOB, MessageScheduled(id=1))).scheduled
            assert failed.problem == "not_a_member"


async def test_messages_disappear_at_their_time(autojump_clock: MockClock) -> None:
    """More than one entry tells of, too: at once, one entry after the other; by three processes, once."""
    async with open_stage() as stage, processes(stage, 3) as cores:
        one = listener(cores[0], BOB)
        keep = ConversationRetention(id=1, conversation=ROOM, key="t", seconds=60)
        await stage.store.act(0, ANN, keep, Rules())
        batch = [NewMessage(ROOM, ANN, f"k{number}", "psst") for number in range(250)]
        await stage.store.append(0, batch, {})
        sent_s = trio.current_time()
        await trio.sleep(59)
        assert not any(entry.deleted for entry in said(stage))
        await until(lambda: all(entry.deleted for entry in said(stage) if entry.kind == "message"))
        assert 60 <= trio.current_time() - sent_s < 61
        await trio.sleep(2 * LEASE_S)
        ends = [entry for entry in said(stage) if entry.kind == "messages.expired"]
        assert [entry.messages for entry in ends] == [
            [*range(3, 103)], [*range(103, 203)], [*range(203, 253)],
        ]  # fmt: skip
        await until(lambda: heard(one)[-1] == ends[-1].seq)
        assert stage.database.tables.expiry == {}


async def test_no_more_is_taken_than_may_be_under_way(autojump_clock: MockClock) -> None:
    """The rest is left to others, and taken when there is room."""
    async with open_stage() as stage:
        for number in range(due.AT_ONCE + 10):
            await schedule(stage, 0, number, ANN if number < 50 else BOB)
        door = stage.store.shut("act")
        async with processes(stage) as [core]:
            await trio.sleep(3)
            assert core.clerk._under_way == due.AT_ONCE
            assert len((await FakeStore(stage.database).take_due(100, LEASE_S)).scheduled) == 10
            door.open()
            await until(lambda: len(said(stage)) == due.AT_ONCE)
            await until(lambda: core.clerk._under_way == 0)
            await until(lambda: len(said(stage)) == due.AT_ONCE + 10)
