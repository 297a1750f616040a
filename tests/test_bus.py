"""The doorbell between processes, and the sweep that makes losing a bell harmless: two processes on one database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest
import trio
from trio.testing import MockClock

from konnect_server import bus as room
from konnect_server.bus import Bus, NoDoorbell
from konnect_server.conversation import Posting
from konnect_server.presence import Presence
from konnect_server.receipts import Spread
from protocol import closing
from protocol.frames import ReceiptEvent, TypingEvent
from storage.errors import StorageUnavailable
from storage.rows import NewKind
from tests.deck import Deck, until
from tests.fakes import ANN, BOB, CID, ROOM, FakeReader, counted, people, uid
from tests.simulate.agenda import Agenda
from tests.simulate.database import FakeDatabase


class Wire:
    """Between the doorbells; may be cut."""

    def __init__(self) -> None:
        self.bells: list[FakeBell] = []
        self.cut = False
        self.rung: list[bytes] = []


class FakeBell:
    """One process's doorbell."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire.bells.append(self)
        self._waiting: list[bytes] = []
        self._arrived = trio.Event()

    def ring(self, bells: Sequence[bytes]) -> None:
        self.wire.rung += bells
        if not self.wire.cut:
            for one in self.wire.bells:  # one's own bells come back, too
                one.hear(bells)

    def hear(self, bells: Sequence[bytes]) -> None:
        self._waiting += bells
        self._arrived.set()

    async def heard(self) -> Sequence[bytes]:
        await self._arrived.wait()
        self._arrived = trio.Event()
        waiting, self._waiting = self._waiting, []
        return waiting


class Node:
    """A process: deck, presence, bus."""

    def __init__(self, number: int, wire: Wire, database: FakeDatabase, nursery: trio.Nursery) -> None:
        self.deck = Deck(database, nursery)
        self.bell = FakeBell(wire)
        self.ended: list[UUID] = []
        self.bus = Bus(
            uid(500 + number), self.bell, self.deck.store, self.deck.registry, lambda: self.presence,
            counted(50_000 * (number + 1)), self.ended.append, self.deck.flush,
        )  # fmt: skip
        self.deck.registry.bells = self.bus
        self.presence = self.deck.presence = Presence(2.0, trio.current_time, self.bus.presence)
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                for call in (self.deck.writers[0].run, self.bus.run, self.bus.hear):
                    nursery.start_soon(call)
                nursery.start_soon(self.bus.sweep, trio.current_time)

    def listener(
        self, user: UUID, conversation: UUID | None = ROOM, device: str = "phone", session: int = 1
    ) -> FakeReader:
        """Somebody signed in here, and live."""
        one = FakeReader(user, device, session)
        self.deck.registry.enter(one)
        if conversation is not None:
            self.deck.conversation(conversation).walk(one, 1)
            self.deck.conversation(conversation).attach(one, 1)
        return one

    def post(self, reader: FakeReader, number: int) -> None:
        self.deck.conversation(ROOM).post(Posting(reader, number, reader.user, f"k{number}", "hi"))


class Town:
    """Two processes that know of each other, on one database with one group of Ann and Bob."""

    def __init__(self, here: Node, there: Node, wire: Wire, database: FakeDatabase) -> None:
        self.here, self.there, self.wire, self.database = here, there, wire, database

    def forget(self) -> None:
        """What was rung before does not count."""
        self.wire.rung.clear()

    @property
    def rung(self) -> list[str]:
        return [str(msgspec.msgpack.decode(bell)[0]).strip("_") for bell in self.wire.rung]


@asynccontextmanager
async def open_town(*, apart: bool = False) -> AsyncIterator[Town]:
    """*apart*: they do not know of each other yet."""
    agenda = Agenda()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agenda.run)
        database = FakeDatabase(agenda)
        for person in people:
            database.add_account(person, "somebody")
        wire = Wire()
        here, there = Node(0, wire, database, nursery), Node(1, wire, database, nursery)
        town = Town(here, there, wire, database)
        await here.deck.group(ROOM, ANN, BOB)
        for node in (here, there):
            nursery.start_soon(node.run)
        if not apart:
            await until(lambda: here.bus._others and there.bus._others)
            await trio.sleep(room.SWEEP_S)
        town.forget()
        with trio.fail_after(10_000):
            yield town
        nursery.cancel_scope.cancel()


# --- bells ---


async def test_what_is_stored_here_is_delivered_there_at_once(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        ann, bob = town.here.listener(ANN), town.there.listener(BOB)
        began = trio.current_time()
        town.here.post(ann, 1)
        await until(lambda: bob.seqs == [2])
        assert trio.current_time() - began < room.SWEEP_S
        assert town.there.deck.flushes, "what was pushed must leave"


async def test_bells_of_one_turn_go_together_and_repeats_once(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        for seq in (2, 3, 4):
            town.here.bus.stored(ROOM, seq)
        town.here.bus.person(ANN)
        town.here.bus.person(ANN)
        await until(lambda: town.wire.rung)
        assert town.rung == ["Stored", "Person"]
        assert msgspec.msgpack.decode(town.wire.rung[0])[3] == 4, "the newest"


async def test_nobody_is_rung_for_while_nobody_is_there(autojump_clock: MockClock) -> None:
    async with open_town(apart=True) as town:
        town.here.bus.stored(ROOM, 2)
        await trio.sleep(0.5)
        assert town.wire.rung == []


async def test_waiting_bells_are_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAITING_BELLS", 3)
    async with open_town() as town:
        for number in range(10):
            town.here.bus.stored(uid(number), 1)
        await until(lambda: town.wire.rung)
        assert len(town.wire.rung) == 3


async def test_ones_own_bells_and_broken_ones_are_passed_over(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        bob = town.there.listener(BOB)
        town.there.bus.person(BOB)
        town.there.bell.hear([b"\xc1", b"", msgspec.msgpack.encode(["_Unknown", 1]), b"\xa1\xff"])
        await trio.sleep(0.5)
        assert bob.looks == 0
        town.here.bus.person(BOB)
        await until(lambda: bob.looks == 1)


async def test_typing_and_receipts_reach_the_other_process(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        bob, own = town.there.listener(BOB), town.there.listener(ANN, None, "tablet")
        town.here.bus.typing(TypingEvent(conversation=ROOM, user=ANN))
        town.here.bus.receipt(Spread(ReceiptEvent(conversation=ROOM, user=ANN, delivered=1, read=1), True))
        await until(lambda: len(bob.frames) == 2)
        assert [frame["t"] for frame in bob.frames] == ["typing", "receipt"]
        assert own.frames == []
        town.here.bus.receipt(Spread(ReceiptEvent(conversation=ROOM, user=ANN, delivered=9, read=1), False))
        await until(lambda: own.frames)
        assert (own.frames[-1]["delivered"], len(bob.frames)) == (9, 2)


async def test_of_a_persons_receipts_in_one_turn_the_newest_is_rung(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        own = town.there.listener(ANN, device="tablet")
        for delivered in (1, 2):
            town.here.bus.receipt(Spread(ReceiptEvent(conversation=ROOM, user=ANN, delivered=delivered, read=0), True))
        await until(lambda: own.frames)
        assert [frame["delivered"] for frame in own.frames] == [2]


async def test_a_device_that_signs_in_elsewhere_is_replaced_here(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        old, other = town.here.listener(ANN, None, session=1), town.here.listener(ANN, None, "tablet", session=2)
        new = town.there.listener(ANN, None, session=3)
        await until(lambda: old.ended)
        assert (old.ended, other.ended, new.ended) == (closing.REPLACED, None, None)


async def test_a_late_bell_does_not_replace_the_newest(autojump_clock: MockClock) -> None:
    """The phone signed in there and then here; the bell of the first arrives last. Both would have been closed with
    "stay away"."""
    async with open_town() as town:
        new = town.here.listener(ANN, None, session=4)
        town.there.listener(ANN, None, session=3)
        await until(lambda: town.rung)
        await trio.sleep(0.5)
        assert new.ended is None


async def test_a_sign_out_ends_its_sockets_everywhere(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        phone = town.there.listener(ANN, None)
        town.here.bus.signed_out(phone.sign_in, ANN)
        await until(lambda: phone.ended)
        assert phone.ended == closing.SIGNED_OUT
        assert town.there.ended == [phone.sign_in]


# --- the sweep ---


async def test_a_lost_bell_costs_about_a_second(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A5 (a): committed, and killed before it rang."""
    async with open_town() as town:
        bob = town.there.listener(BOB)
        await town.there.deck.say(ROOM, ANN, "2", "3")
        began = trio.current_time()
        await until(lambda: bob.seqs == [2, 3])
        assert trio.current_time() - began <= room.SWEEP_S + 0.1


async def test_somebody_added_elsewhere_is_found_without_a_bell(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A5 (b): nobody here listens to that conversation, so it is the person who is asked for."""
    async with open_town() as town:
        cid = town.there.listener(CID, None)
        await town.there.deck.change("add", ROOM, ANN, CID)
        await until(lambda: cid.looks)
        cid.number = (await town.there.deck.other.standing(CID, None)).number
        await trio.sleep(5)
        looked = cid.looks
        await trio.sleep(5)
        assert cid.looks == looked, "told: nothing more to look for"


async def test_what_stands_still_is_asked_for_and_rung_by_nobody(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        bob = town.there.listener(BOB)
        bob.number = (await town.there.deck.other.standing(BOB, None)).number
        await trio.sleep(5)
        assert town.there.deck.store.calls.count("log_after") == 0
        assert (bob.looks, bob.frames) == (0, [])


async def test_a_sweep_asks_for_some_and_the_next_for_the_following(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SLICE", 2)
    asked: list[set[UUID]] = []

    def seen(both: tuple[dict[UUID, int], dict[UUID, int]]) -> None:
        asked.append({*both[0], *both[1]})

    async with open_town() as town:
        town.there.deck.store.failing["moved"] = seen
        rooms = [uid(200 + number) for number in range(3)]
        for one in rooms:
            town.there.listener(BOB, one)
        await trio.sleep(room.SWEEP_S * 4)
        assert all(len(some) <= 2 for some in asked)
        assert set().union(*asked) == {*rooms, BOB}


async def test_storage_that_does_not_answer_stops_no_sweep(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        bob = town.there.listener(BOB)
        for call in ("beat", "moved"):
            town.there.deck.store.failing[call] = StorageUnavailable("away")
        await town.there.deck.say(ROOM, ANN, "2")
        await trio.sleep(10)
        assert bob.seqs == []
        town.there.deck.store.failing.clear()
        await until(lambda: bob.seqs == [2])


async def test_the_lineage_is_renewed_and_every_client_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/hazards.md, A12. It is written before any cursor names it."""
    monkeypatch.setattr(room, "LINEAGE_S", 5.0)
    monkeypatch.setattr(room, "TOLD_AT_ONCE", 1)
    async with open_town(apart=True) as town:
        first = town.here.bus.lineage
        ann, bob = town.here.listener(ANN), town.here.listener(BOB)
        await until(lambda: ann.cursors and bob.cursors)
        assert town.here.bus.lineage != first
        assert town.here.bus.lineage in town.database.tables.lineages
        town.here.deck.store.failing["add_lineage"] = StorageUnavailable("away")
        kept = town.here.bus.lineage
        await trio.sleep(12)
        assert town.here.bus.lineage == kept
        town.here.deck.store.failing.clear()
        await until(lambda: town.here.bus.lineage != kept)


# --- presence ---


def followed(town: Town, *users: UUID) -> FakeReader:
    one = FakeReader(uid(9))
    town.there.presence.follow(one, users)
    return one


def states(one: FakeReader) -> list[str]:
    return [frame["state"] for frame in one.frames]


async def test_people_of_the_other_process_come_and_go(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        watcher = followed(town, ANN)
        ann = town.here.listener(ANN, None)
        await until(lambda: states(watcher) == ["online"])
        town.here.deck.registry.leave(ann)
        await until(lambda: states(watcher) == ["online", "offline"])


async def test_a_process_that_comes_late_learns_who_is_there(autojump_clock: MockClock) -> None:
    async with open_town(apart=True) as town:
        town.here.listener(ANN, None)
        watcher = followed(town, ANN)
        await until(lambda: states(watcher) == ["online"])


async def test_a_process_that_dies_takes_its_people_along(autojump_clock: MockClock) -> None:
    async with open_town() as town:
        watcher = followed(town, ANN)
        town.here.listener(ANN, None)
        await until(lambda: states(watcher) == ["online"])
        town.here.scope.cancel()
        await until(lambda: states(watcher) == ["online", "offline"])


async def test_a_going_that_nobody_heard_is_mended_by_rosters(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ROSTER_S", 4.0)
    monkeypatch.setattr(room, "ROSTER_USERS", 1)
    async with open_town() as town:
        watcher = followed(town, ANN, BOB)
        ann, _ = town.here.listener(ANN, None), town.here.listener(BOB, None)
        await until(lambda: states(watcher) == ["online", "online"])
        town.wire.cut = True
        town.here.deck.registry.leave(ann)
        await trio.sleep(3)
        assert not town.here.presence.online(ANN)
        town.wire.cut = False
        await until(lambda: states(watcher) == ["online", "online", "offline"])
        assert watcher.frames[-1]["user"] == str(ANN)


async def test_after_an_absence_of_storage_here_its_people_are_rung_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process took this one for dead and showed its people as offline. When the beats came back it was up to
    a minute before they were shown again."""
    async with open_town() as town:
        watcher = followed(town, ANN)
        town.here.listener(ANN, None)
        await until(lambda: states(watcher) == ["online"])
        town.here.deck.store.failing["beat"] = StorageUnavailable("away")
        await until(lambda: states(watcher) == ["online", "offline"])
        await trio.sleep(3)
        town.here.deck.store.failing.clear()
        began = trio.current_time()
        await until(lambda: states(watcher) == ["online", "offline", "online"])
        assert trio.current_time() - began < 5 * room.SWEEP_S


async def test_without_a_doorbell_all_is_found_by_the_sweep(autojump_clock: MockClock) -> None:
    door = NoDoorbell()
    door.ring([b"anything"])
    with trio.move_on_after(100) as waited:
        await door.heard()
    assert waited.cancelled_caught


async def test_people_in_public_conversations_are_counted(autojump_clock: MockClock) -> None:
    """Each process tells of its own, once, and again when the number changes; two devices are one person."""
    async with open_town() as town:
        tables, hall, node = town.database.tables, uid(250), town.here.bus.node
        await town.here.deck.other.create_group(
            hall, ANN, "hall", "Hall", "all", [ANN, BOB], 10, NewKind("room", public=True)
        )
        town.here.listener(ANN)
        first = town.here.listener(ANN, hall)
        town.here.listener(ANN, hall)
        second = town.there.listener(BOB, hall)
        await until(lambda: dict(tables.room_online) == {(hall, node): 1, (hall, town.there.bus.node): 1})
        third = town.here.listener(BOB, hall)
        await until(lambda: tables.room_online[hall, node] == 2)
        calls = town.here.deck.store.calls.count("publish_rooms")
        await trio.sleep(20)
        assert town.here.deck.store.calls.count("publish_rooms") == calls
        town.there.deck.conversation(hall).detach(second)
        town.here.deck.conversation(hall).detach(third)
        await until(lambda: dict(tables.room_online) == {(hall, node): 1})
        town.here.deck.conversation(hall).detach(first)


async def test_what_was_told_while_storage_was_away_is_told_again(autojump_clock: MockClock) -> None:
    """Its outcome is unknown, and so is what a restored database knows."""
    async with open_town() as town:
        tables, hall, node = town.database.tables, uid(250), town.here.bus.node
        more = NewKind("room", public=True)
        await town.here.deck.other.create_group(hall, ANN, "hall", "Hall", "all", [ANN], 10, more)
        ann = town.here.listener(ANN, hall)
        await until(lambda: tables.room_online.get((hall, node)) == 1)
        town.here.deck.store.failing["beat"] = StorageUnavailable("away")
        await trio.sleep(5)
        tables.room_online.clear()
        town.here.deck.store.failing.clear()
        await until(lambda: tables.room_online.get((hall, node)) == 1)
        town.here.deck.store.lost["publish_rooms"] = 1
        town.here.deck.conversation(hall).detach(ann)
        await until(lambda: town.here.deck.store.lost["publish_rooms"] == 0)
        await until(lambda: not tables.room_online and not town.here.bus._rooms)


async def test_who_stood_still_tells_all_counts_again(autojump_clock: MockClock) -> None:
    """It was taken for dead, and what it told was forgotten; it knows nothing of that."""
    async with open_town() as town:
        tables, hall, node = town.database.tables, uid(250), town.here.bus.node
        more = NewKind("room", public=True)
        await town.here.deck.other.create_group(hall, ANN, "hall", "Hall", "all", [ANN], 10, more)
        town.here.listener(ANN, hall)
        await until(lambda: tables.room_online.get((hall, node)) == 1)
        tables.room_online.clear()
        await trio.sleep(room.RETOLD_S + 2 * room.COUNT_S)
        assert tables.room_online[hall, node] == 1
