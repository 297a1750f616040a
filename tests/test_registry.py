"""Who is live in this process: actors start once, stop when idle, and a crash of one is contained."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio
import trio.testing

from konnect_server.conversation import Posting
from konnect_server.receipts import Spread
from konnect_server.registry import Registry, Seat
from protocol import closing
from protocol.frames import Privacy, ReceiptEvent, TypingEvent
from storage.errand import Place, by_task, parked
from tests.fakes import ANN, BOB, CID, HALL, ROOM, FakeReader, FakeWork, entry, uid


class FakeBells:
    """Remembers what the other processes would be told."""

    def __init__(self) -> None:
        self.rung: list[tuple[object, ...]] = []

    def stored(self, conversation: UUID, seq: int) -> None:
        self.rung.append(("stored", conversation, seq))

    def person(self, user: UUID) -> None:
        self.rung.append(("person", user))

    def typing(self, event: TypingEvent) -> None:
        self.rung.append(("typing", event))

    def receipt(self, spread: Spread) -> None:
        self.rung.append(("receipt", spread))

    def replaced(self, seat: Seat) -> None:
        self.rung.append(("replaced", seat.user, seat.device, seat.id))


class Stage:
    """A registry with two lanes that do nothing by themselves."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.lanes = [FakeWork(), FakeWork()]
        self.came: list[UUID] = []
        self.went: list[UUID] = []
        self.flushes = 0
        self.registry = Registry(self.lanes, nursery, self.came.append, self.went.append, self._flush)
        self.bells = self.registry.bells = FakeBells()

    def _flush(self) -> None:
        self.flushes += 1

    def listener(self, user: UUID, conversation: UUID = ROOM, device: str = "phone", head: int = 4) -> FakeReader:
        """Somebody signed in and live there."""
        one = FakeReader(user, device)
        self.registry.enter(one)
        self.registry.conversation(conversation).walk(one, head)
        self.registry.conversation(conversation).attach(one, head)
        return one


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        yield Stage(nursery)
        nursery.cancel_scope.cancel()


async def test_a_conversation_is_started_once_and_keeps_its_lane() -> None:
    async with open_stage() as stage:
        registry = stage.registry
        first = registry.conversation(ROOM)
        assert registry.conversation(ROOM) is first
        for number in range(20):
            one = FakeReader(ANN)
            registry.conversation(uid(number)).post(Posting(one, 1, ANN, "k", "text"))
        assert [len(lane.pieces) for lane in stage.lanes] == [10, 10]


async def test_an_idle_conversation_is_forgotten() -> None:
    async with open_stage() as stage:
        ann = stage.listener(ANN)
        live = stage.registry.conversation(ROOM)
        live.detach(ann)
        assert stage.registry.conversations == {}
        assert stage.registry.conversation(ROOM) is not live
        live.detach(ann)
        assert ROOM in stage.registry.conversations, "the old one does not take the new one along"


async def test_a_crash_stops_that_conversation_and_its_readers_come_back() -> None:
    async with open_stage() as stage:
        ann, bob = stage.listener(ANN, ROOM), stage.listener(BOB, HALL)
        room = stage.registry.conversation(ROOM)

        def bug() -> None:
            raise RuntimeError("planted")

        stage.registry.contain(room, bug)
        assert (ann.ended, bob.ended) == (closing.BEHIND, None)
        assert list(stage.registry.conversations) == [HALL]


async def test_what_comes_back_for_a_conversation_that_crashed_is_let_go() -> None:
    async with open_stage() as stage:
        stage.listener(ANN)
        room = stage.registry.conversation(ROOM)
        stage.registry.idle(room)
        called: list[int] = []
        stage.registry.contain(room, lambda: called.append(1))
        assert called == []


async def test_what_is_stored_rings_the_others() -> None:
    async with open_stage() as stage:
        stage.listener(ANN)
        stage.registry.stored(ROOM, 9)
        assert stage.bells.rung[-1] == ("stored", ROOM, 9)


async def test_who_joins_looks_here_and_elsewhere() -> None:
    async with open_stage() as stage:
        phone, laptop = stage.listener(ANN), stage.listener(ANN, device="laptop")
        stage.registry.joined(HALL, ANN)
        stage.registry.joined(HALL, BOB)
        assert (phone.looks, laptop.looks) == (1, 1)
        assert stage.bells.rung[-2:] == [("person", ANN), ("person", BOB)]


# --- people ---


async def test_a_person_comes_with_the_first_socket_and_goes_with_the_last() -> None:
    async with open_stage() as stage:
        phone, laptop = FakeReader(ANN), FakeReader(ANN, "laptop")
        stage.registry.enter(phone)
        stage.registry.enter(laptop)
        assert list(stage.registry.sessions_of(ANN)) == [phone, laptop]
        stage.registry.leave(phone)
        assert (stage.came, stage.went) == ([ANN], [])
        stage.registry.leave(laptop)
        stage.registry.leave(laptop)
        assert (stage.came, stage.went) == ([ANN], [ANN])
        assert list(stage.registry.sessions_of(ANN)) == []
        assert stage.registry.users == {}


async def test_the_newest_socket_of_a_device_stays() -> None:
    async with open_stage() as stage:
        old, new = FakeReader(ANN, session=1), FakeReader(ANN, session=2)
        stage.registry.enter(old)
        stage.registry.enter(new)
        assert (old.ended, new.ended) == (closing.REPLACED, None)
        stage.registry.leave(old)
        assert list(stage.registry.sessions_of(ANN)) == [new]
        assert stage.went == []
        assert stage.bells.rung[-1] == ("replaced", ANN, "phone", new.id)


async def test_signing_out_closes_the_sign_ins_sockets() -> None:
    async with open_stage() as stage:
        phone, laptop, bob = FakeReader(ANN), FakeReader(ANN, "laptop"), FakeReader(BOB)
        laptop.sign_in = uid(2001)
        for one in (phone, laptop, bob):
            stage.registry.enter(one)
        stage.registry.sign_out(phone.sign_in, ANN)
        stage.registry.sign_out(phone.sign_in, CID)
        assert (phone.ended, laptop.ended, bob.ended) == (closing.SIGNED_OUT, None, None)
        assert stage.flushes >= 1


# --- what passes by ---


async def test_typing_reaches_the_others_who_are_live() -> None:
    async with open_stage() as stage:
        ann, tablet, bob = stage.listener(ANN), stage.listener(ANN, device="tablet"), stage.listener(BOB)
        elsewhere = stage.listener(CID, HALL)
        slow = stage.listener(CID, device="slow")
        slow.slow = True
        stage.registry.typing(TypingEvent(conversation=ROOM, user=ANN))
        stage.registry.typing(TypingEvent(conversation=uid(999), user=ANN))
        assert bob.frames == [{"t": "typing", "conversation": str(ROOM), "user": str(ANN)}]
        assert ann.frames == tablet.frames == elsewhere.frames == slow.frames == []


async def test_who_is_ahead_of_the_delivery_here_hears_what_passes() -> None:
    """A reader whose pages went beyond what this process has delivered is up to date, and was forgotten by receipts and
    typing until the delivery caught up."""
    async with open_stage() as stage:
        stage.listener(BOB, head=4)
        ahead = FakeReader(ANN)
        stage.registry.enter(ahead)
        room = stage.registry.conversation(ROOM)
        room.walk(ahead, 7)
        room.attach(ahead, 7)
        stage.registry.typing(TypingEvent(conversation=ROOM, user=BOB))
        stage.registry.receipt(Spread(ReceiptEvent(conversation=ROOM, user=BOB, delivered=4, read=4), True))
        assert [frame["t"] for frame in ahead.frames] == ["typing", "receipt"]


async def test_a_receipt_goes_to_all_members_or_to_ones_own_devices() -> None:
    async with open_stage() as stage:
        ann, bob = stage.listener(ANN), stage.listener(BOB)
        own = stage.listener(BOB, HALL, "laptop")
        event = ReceiptEvent(conversation=ROOM, user=BOB, delivered=4, read=3)
        stage.registry.receipt(Spread(event, True))
        assert (len(ann.frames), len(bob.frames), len(own.frames)) == (1, 1, 0)
        stage.registry.receipt(Spread(event, False))
        assert (len(ann.frames), len(bob.frames), len(own.frames)) == (1, 2, 1)
        assert ann.frames == own.frames
        stage.registry.receipt(Spread(ReceiptEvent(conversation=uid(9), user=CID, delivered=1, read=1), True))
        stage.registry.receipt(Spread(ReceiptEvent(conversation=ROOM, user=CID, delivered=1, read=1), False))


async def test_who_hides_reading_neither_shows_nor_sees_it() -> None:
    """Nor when it happened: an event that tells nothing new is not sent. One's own devices hear everything."""
    async with open_stage() as stage:
        ann, bob, own = stage.listener(ANN), stage.listener(BOB), stage.listener(CID)
        event = ReceiptEvent(conversation=ROOM, user=CID, delivered=4, read=3)
        stage.registry.receipt(Spread(event, True, hidden=True))
        assert [[frame["read"] for frame in one.frames] for one in (ann, bob, own)] == [[0], [0], [3]]
        stage.registry.receipt(Spread(event, True, hidden=True, arrived=False))
        assert [len(one.frames) for one in (ann, bob, own)] == [1, 1, 2]
        ann.privacy = Privacy(read_receipts=False)
        stage.registry.receipt(Spread(event, True, arrived=False))
        stage.registry.receipt(Spread(event, True))
        assert [[frame["read"] for frame in one.frames] for one in (ann, bob)] == [[0, 0], [0, 3, 3]]


async def test_all_works_without_other_processes() -> None:
    async with open_stage() as stage:
        stage.registry.bells = None
        ann = stage.listener(ANN)
        stage.registry.stored(ROOM, 5)
        stage.registry.joined(ROOM, ANN)
        assert ann.looks == 1


async def test_an_entry_through_the_registry_cuts_the_removed_off() -> None:
    async with open_stage() as stage:
        ann, bob = stage.listener(ANN), stage.listener(BOB)
        room = stage.registry.conversation(ROOM)
        room.ring(6)
        room.caught_up([entry(5, "member.removed", user=BOB), entry(6)])
        assert (ann.seqs, bob.seqs, bob.left) == ([5, 6], [5], [(ROOM, 5)])


# --- tasks ---


async def test_a_sessions_task_flushes_at_its_end_and_is_cancelled_by_its_scope() -> None:
    async with open_stage() as stage:
        closed: list[closing.Close] = []
        stage.registry.spawn(closed.append, trio.lowlevel.checkpoint)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.flushes == 1, "what it pushed would else wait for the next unrelated input (docs/hazards.md, B6)"
        ended = False

        async def waits() -> None:
            nonlocal ended
            try:
                await trio.sleep_forever()
            finally:
                ended = True

        scope = stage.registry.spawn(closed.append, waits)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert ended
        assert closed == []


async def test_a_sessions_task_that_crashes_ends_that_session() -> None:
    async with open_stage() as stage:
        closed: list[closing.Close] = []

        async def bug() -> None:
            raise RuntimeError("planted")

        stage.registry.spawn(closed.append, bug)
        await trio.testing.wait_all_tasks_blocked()
        assert closed == [closing.CRASHED]
        assert stage.flushes == 1, "the close must leave"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_is_no_bug_is_not_caught(kind: type[BaseException]) -> None:
    async def stops() -> None:
        raise kind

    with pytest.RaisesGroup(kind, flatten_subgroups=True):
        async with open_stage() as stage:
            stage.registry.spawn(lambda close: None, stops)
            await trio.sleep(5)


async def test_errands_end_with_the_registry_also_those_yet_to_begin_and_those_that_others_woke() -> None:
    """What no nursery knows of must not be left to the garbage collector, which ends it when the nursery has closed."""
    async with open_stage() as stage:
        places = [Place(), Place()]
        lines: list[str] = []

        async def first() -> None:
            try:
                await parked(places[0])
            finally:
                places[1].wake()

        async def second() -> None:
            await parked(places[1])
            lines.append("woken")
            await by_task()
            await trio.sleep_forever()

        async def third() -> None:
            lines.append("began")

        for run in (second, first):
            stage.registry.errand(lambda close: None, run)
        await trio.testing.wait_all_tasks_blocked()
        stage.registry.errand(lambda close: None, third)
        stage.registry.stop()
        await trio.testing.wait_all_tasks_blocked()
        assert lines == ["woken"]


async def test_an_errand_that_crashes_ends_its_session_and_what_it_pushed_leaves() -> None:
    async with open_stage() as stage:
        closed: list[closing.Close] = []

        async def bug() -> None:
            raise RuntimeError("planted")

        stage.registry.errand(closed.append, bug)
        await trio.testing.wait_all_tasks_blocked()
        assert closed == [closing.CRASHED]
        assert stage.flushes == 1
