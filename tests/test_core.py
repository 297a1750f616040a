"""The live part of the server, put together, on the simulated database and a virtual clock; nobody is connected."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from konnect_server import core as room
from konnect_server.config import Config
from konnect_server.connection import Connection
from konnect_server.conversation import Posting
from konnect_server.core import Core, World, open_core
from konnect_server.poller import Descriptor, Pollable
from konnect_server.receipts import Spread
from konnect_server.session import Claims
from konnect_server.wheel import TICK_S
from protocol import closing
from protocol.errors import Unauthorized
from protocol.frames import ReceiptEvent, TypingEvent
from storage.errors import StorageUnavailable
from tests.deck import DoorStore, until
from tests.fakes import ANN, BOB, ROOM, FakeReader, counted, people, uid
from tests.simulate.agenda import Agenda
from tests.simulate.database import FakeDatabase


class QuietPoller:
    """A poller that never has anything to report."""

    def __init__(self) -> None:
        self.closed = False
        self._woken = trio.Event()

    def register(self, sock: Descriptor, owner: Pollable, /) -> None: ...
    def replace(self, sock: Descriptor, owner: Pollable, /) -> None: ...
    def modify(self, sock: Descriptor, mask: int, /) -> None: ...
    def unregister(self, sock: Descriptor, /) -> None: ...

    def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
        return []

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken = trio.Event()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self.closed = True


class Bell:
    """A doorbell that remembers, and is never heard."""

    def __init__(self) -> None:
        self.rung: list[bytes] = []

    def ring(self, bells: Sequence[bytes]) -> None:
        self.rung += bells

    async def heard(self) -> Sequence[bytes]:
        await trio.sleep_forever()


class FakeConnection:
    """Stands in the pump's books; remembers that it was paused."""

    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def abandon(self) -> None: ...


class Stage:
    """What a core is given."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database, self.store = database, DoorStore(database)
        self.bell, self.poller = Bell(), QuietPoller()
        self.ended: list[UUID] = []
        self.world = World(
            store=self.store, doorbell=self.bell, poller=self.poller, hand_over=lambda sock, head, peer: sock.close(),
            verify=self._verify, sign_in_ended=self.ended.append, randomness=random.Random(1), new_id=counted(),
            wall_ms=database.now_ms,
        )  # fmt: skip

    def _verify(self, token: str) -> Claims:
        raise Unauthorized("nobody signs in here")

    @property
    def rung(self) -> int:
        return len(self.bell.rung)


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    agenda = Agenda()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agenda.run)
        database = FakeDatabase(agenda)
        for person in people:
            database.add_account(person, "somebody")
        stage = Stage(database)
        await stage.store.create_group(ROOM, ANN, "make", "club", "all", [ANN, BOB], 10)
        with trio.fail_after(10_000):
            yield stage
        nursery.cancel_scope.cancel()


def listener(core: Core, user: UUID) -> FakeReader:
    one = FakeReader(user)
    core.registry.enter(one)
    core.registry.conversation(ROOM).walk(one, 1)
    core.registry.conversation(ROOM).attach(one, 1)
    return one


async def neighbour(stage: Stage, core: Core) -> None:
    """Another process is there, so that bells are rung."""
    await stage.store.beat(uid(600))
    await until(lambda: core.bus._others)


async def test_its_lineage_is_written_before_anybody_can_be_told_of_it(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        assert core.bus.lineage in stage.database.tables.lineages


async def test_a_start_waits_for_storage(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, trio.open_nursery() as nursery:
        stage.store.failing["add_lineage"] = StorageUnavailable("away")
        opened = trio.Event()

        async def start() -> None:
            async with open_core(Config(), stage.world):
                opened.set()

        nursery.start_soon(start)
        await trio.sleep(5)
        seen = opened.is_set()
        stage.store.failing.clear()
        await opened.wait()
        assert not seen


async def test_it_beats_while_it_lives_and_says_goodbye(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        async with open_core(Config(), stage.world) as core:
            await until(lambda: core.bus.node in stage.database.tables.nodes)
        assert core.bus.node not in stage.database.tables.nodes
        assert stage.poller.closed


async def test_it_ends_though_storage_is_away(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        async with open_core(Config(), stage.world):
            stage.store.dead = True
        assert stage.poller.closed


async def test_every_writer_has_a_lane_of_its_own(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(log_writers=5), stage.world) as core:
        assert [writer._lane for writer in core.writers] == [0, 1, 2, 3, 4]


async def test_a_message_goes_all_the_way(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        ann, bob = listener(core, ANN), listener(core, BOB)
        core.registry.conversation(ROOM).post(Posting(ann, 1, ANN, "k", "hello"))
        await until(lambda: ann.story == ["entry 2", "ok 1"])
        assert bob.seqs == [2]


async def test_a_crash_of_a_conversation_is_contained(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        ann = listener(core, ANN)

        def bug() -> None:
            raise RuntimeError("planted")

        core._contain(core.registry.conversation(ROOM), bug)
        assert ann.ended == closing.BEHIND
        again = listener(core, ANN)
        core.registry.conversation(ROOM).post(Posting(again, 1, ANN, "k", "hello"))
        await until(lambda: again.story == ["entry 2", "ok 1"])


async def test_signing_out_closes_here_and_rings_elsewhere(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        await neighbour(stage, core)
        ann = listener(core, ANN)
        await trio.sleep(0.5)
        before = stage.rung
        core.sign_out(ann.sign_in, ANN)
        assert ann.ended == closing.SIGNED_OUT
        await until(lambda: stage.rung > before)


async def test_typing_and_receipts_go_here_and_elsewhere(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        await neighbour(stage, core)
        bob = listener(core, BOB)
        await trio.sleep(0.5)
        before = stage.rung
        core._typing(TypingEvent(conversation=ROOM, user=ANN))
        core._receipt(Spread(ReceiptEvent(conversation=ROOM, user=ANN, delivered=1, read=1), True))
        assert [frame["t"] for frame in bob.frames] == ["typing", "receipt"]
        await until(lambda: stage.rung == before + 2)


async def test_people_come_and_go(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(presence_grace_s=2.0), stage.world) as core:
        ann = listener(core, ANN)
        core.presence.came(ANN)  # as her walk does, once it is known who may see her
        assert core.presence.online(ANN)
        core.registry.leave(ann)
        assert core.presence.online(ANN)
        await until(lambda: not core.presence.online(ANN))


async def test_deadlines_are_kept(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        fired: list[float] = []
        at = trio.current_time() + 3
        core.wheel.add(at, lambda: fired.append(trio.current_time()))
        await until(lambda: fired)
        assert at <= fired[0] <= at + 2 * TICK_S


# --- settling ---


async def test_settling_reads_nothing_more_and_waits_for_what_is_under_way(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core, trio.open_nursery() as nursery:
        ann = listener(core, ANN)
        connection = FakeConnection()
        books: dict[Connection, None] = core.pump.connections
        books[connection] = None  # type: ignore[index]  # all that settle does is to pause it
        append, receipts = stage.store.shut("append"), stage.store.shut("raise_receipts")
        core.registry.conversation(ROOM).post(Posting(ann, 1, ANN, "k", "hello"))
        core.receipts.move(ann, 2, ROOM, 1, 1)
        await append.reached.wait()
        await receipts.reached.wait()
        settled = trio.Event()

        async def settle() -> None:
            await core.settle()
            settled.set()

        nursery.start_soon(settle)
        await trio.sleep(1)
        seen = [settled.is_set()]
        append.open()
        await trio.sleep(1)
        seen.append(settled.is_set())
        receipts.open()
        await settled.wait()
        assert seen == [False, False]
        assert connection.paused
        assert {"entry 2", "ok 1", "ok 2"} <= set(ann.story)
        books.clear()


async def test_settling_ends_though_storage_does_not_answer(autojump_clock: MockClock) -> None:
    async with open_stage() as stage, open_core(Config(), stage.world) as core:
        ann = listener(core, ANN)
        stage.store.failing["append"] = StorageUnavailable("away")
        core.registry.conversation(ROOM).post(Posting(ann, 1, ANN, "k", "hello"))
        began = trio.current_time()
        await core.settle()
        assert trio.current_time() - began == pytest.approx(room.SETTLE_S, abs=0.1)
        assert ann.story == [], "not acknowledged: its client repeats it"
