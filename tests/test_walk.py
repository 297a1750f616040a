"""Bringing one session up to date, on the simulated database and a virtual clock. Every answer may be held back."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st
from trio.testing import MockClock

from konnect_server import cursor as cursors, walk as walk_room
from konnect_server.conversation import Posting
from konnect_server.cursor import Cursor
from konnect_server.passed import Passed
from konnect_server.receipts import Spread
from konnect_server.walk import Walk
from protocol import closing
from protocol.frames import ReceiptEvent
from storage.errors import StorageUnavailable
from storage.rows import Raise, Range
from tests.deck import Deck, open_deck, until
from tests.fakes import ANN, BOB, CID, DAN, EVE, HALL, ROOM, FakeReader, Frame, uid

LINEAGE = uid(7000)


class Traveller(FakeReader):
    """A session, as its walk sees it."""

    def __init__(
        self,
        deck: Deck,
        user: UUID,
        heads: Mapping[UUID, int] | None = None,
        cursor: Cursor | None = None,
        recent: int = 1,
    ) -> None:
        super().__init__(user)
        self.deck = deck
        self.walk = Walk(
            self, deck.store, deck.registry, lambda: LINEAGE,
            {str(one): seq for one, seq in (heads or {}).items()}, cursor, recent, deck.stretches,
        )  # fmt: skip
        self.waiting_answers = 0
        self.followed: list[UUID] = []
        self.online_now: list[UUID] = []
        self._room = trio.Event()
        self._room.set()

    def go(self) -> "Traveller":
        """Sign in."""
        self.deck.registry.enter(self)
        self.walk.start()
        return self

    async def arrive(self) -> "Traveller":
        """Sign in, and be up to date."""
        self.go()
        await until(lambda: self.walk.synced or self.ended)
        assert self.ended is None
        return self

    def leave(self) -> None:
        """The socket is gone."""
        self.walk.stop()
        self.deck.registry.leave(self)

    def fill(self) -> None:
        """The outbox is full."""
        self._room = trio.Event()

    def drain(self) -> None:
        """The outbox has room again."""
        self._room.set()

    def drain_once(self) -> None:
        """The outbox has room for one page, and is full again."""
        room, self._room = self._room, trio.Event()
        room.set()

    def hold(self, conversation: UUID, seq: int, data: bytes) -> None:
        super().hold(conversation, seq, data)
        self.walk.hold(conversation, seq, data)

    def lost(self, conversation: UUID, seq: int) -> None:
        super().lost(conversation, seq)
        self.walk.lost(conversation, seq)

    def receipt(self, conversation: UUID, user: UUID, data: bytes) -> None:
        self.walk.receipt(conversation, user, data)

    def answer(self, conversation: UUID, data: bytes) -> None:
        self.walk.answer(conversation, data)

    def look(self) -> None:
        super().look()
        self.walk.look()

    def tell_cursor(self) -> None:
        self.walk.tell_cursor()

    def greet(self) -> None: ...

    def flush(self) -> None:
        self.deck.flush()

    async def room(self) -> None:
        await self._room.wait()

    def online(self, partners: Sequence[UUID]) -> list[UUID]:
        self.followed += partners
        return [one for one in partners if one in self.online_now]

    def hold_answers(self, waiting: int) -> None:
        self.waiting_answers = waiting

    def post(self, conversation: UUID, number: int, text: str = "hi") -> None:
        """Send a message."""
        self.deck.conversation(conversation).post(Posting(self, number, self.user, f"k{number}", text))

    def of(self, kind: str) -> list[Frame]:
        """The frames of one kind."""
        return [frame for frame in self.frames if frame["t"] == kind]


# --- what ends in the middle ---


@pytest.mark.parametrize("door", ["standing", "states", "visible", "stretches", "receipts_since"])
async def test_a_walk_whose_session_ends_as_an_answer_arrives_registers_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """The answer was on its way to the walk's task in the very turn in which the socket closed. The task went on up to
    its next wait, and registered a session that was gone with its conversations, for ever."""
    if door == "visible":
        monkeypatch.setattr(walk_room, "STRETCH_ENTRIES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, ANN, BOB)
        await deck.group(HALL, ANN, BOB)
        await deck.say(ROOM, BOB, "1", "2")
        shut = deck.store.shut(door)
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await shut.reached.wait()
        shut.open()  # the task is runnable now ...
        ann.leave()  # ... and the session is gone
        await trio.testing.wait_all_tasks_blocked()
        assert deck.registry.conversations == {}
        assert not ann.walk.synced


async def test_a_walk_that_was_stopped_does_not_start_again(autojump_clock: MockClock) -> None:
    """A command (open a conversation) was answered in the turn in which the socket closed, and looked."""
    async with open_deck() as deck:
        await deck.group(ROOM, ANN, BOB)
        ann = await Traveller(deck, ANN).arrive()
        ann.leave()
        ann.walk.look()
        await trio.testing.wait_all_tasks_blocked()
        assert deck.registry.conversations == {}


# --- removed, and back ---


async def test_who_is_removed_and_added_again_while_the_state_is_read_gets_no_entry_twice(
    autojump_clock: MockClock,
) -> None:
    """Ann joined through another process and walks towards the room while connected. It reads its state after she was
    removed (4) and added again (5), while this process had delivered up to 2. The state began at 5; then the delivery
    of 4 cut her off, that of 5 made her look, and 5 and 6 came a second time."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB)
        bob = await Traveller(deck, BOB).arrive()
        ann = await Traveller(deck, ANN).arrive()
        assert await deck.change("add", ROOM, BOB, ANN) == 2
        planning = deck.store.shut("standing")  # what the plan stands on is read while 2 is the newest
        deck.conversation(ROOM).ring(2)
        await planning.reached.wait()
        await deck.say(ROOM, BOB, "3")
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.change("add", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "6")
        reading = deck.store.shut("states")  # what the state says is read while 6 is
        planning.open()
        await reading.reached.wait()
        behind = deck.store.shut("log_after")
        deck.conversation(ROOM).ring(6)
        await behind.reached.wait()
        paging = deck.store.shut("stretches")
        reading.open()  # the state is told ...
        await paging.reached.wait()
        behind.open()  # ... only now this process delivers the removal and what follows ...
        await until(lambda: bob.seqs[-1] == 6)
        paging.open()  # ... and then the entries from joining on are told
        await until(lambda: bob.seqs == [2, 3, 4, 5, 6])
        await trio.sleep(5)
        await deck.say(ROOM, BOB, "7")
        deck.conversation(ROOM).ring(7)
        await until(lambda: 7 in ann.seqs)
        assert ann.seqs == sorted(set(ann.seqs))


async def test_who_is_removed_here_while_an_older_state_is_read_is_told_only_what_stands(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was read while Ann was a member (4, to be removed at 5), and the removal delivered here before the
    answer came. Nothing of the room had been told to her: she must not be given a state that she may not have."""
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        reading = deck.store.shut("states")
        ann = Traveller(deck, ANN).go()
        await reading.reached.wait()
        await deck.change("remove", ROOM, BOB, ANN)
        deck.conversation(ROOM).ring(2)
        await until(lambda: bob.seqs == [2])
        assert ann.left == [(ROOM, 2)]
        reading.open()
        await until(lambda: ann.walk.synced)
        await trio.sleep(5)
        hall, room = ann.of("conversation")
        assert hall["conversation"] == str(HALL)
        assert (room["conversation"], room["members"], room["head"]) == (str(ROOM), [], 0)
        assert ann.story[-4:] == ["conversation", "entry 1", "entry 2", "cursor"]
        await deck.change("add", ROOM, BOB, ANN)
        deck.conversation(ROOM).ring(3)
        await until(lambda: ann.seqs == [1, 2, 3])
        assert ann.story[-3:] == ["conversation", "entry 3", "cursor"]


# --- receipts ---


async def test_receipts_that_pass_while_one_walks_are_not_missed(autojump_clock: MockClock) -> None:
    """They went to live readers only: who was being brought up to date never heard of them on this connection, and
    showed old marks until the next."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN, CID)
        await deck.group(HALL, BOB, ANN, CID)
        await deck.say(ROOM, BOB, "2", "3")
        reading, paging = deck.store.shut("states"), deck.store.shut("stretches")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await paging.reached.wait()  # the room's, for the hall comes after it

        def passes(conversation: UUID, user: UUID, read: int, to_all: bool = True) -> None:
            event = ReceiptEvent(conversation=conversation, user=user, delivered=read, read=read)
            deck.registry.receipt(Spread(event, to_all))

        passes(ROOM, BOB, 2)
        assert ann.story == ["progress", "receipt"], "she knows the room"
        for read in (1, 2):
            passes(HALL, BOB, read)
        passes(HALL, ANN, 1, to_all=False)
        assert len(ann.of("receipt")) == 1, "she does not know the hall"
        paging.open()
        await reading.reached.wait()
        passes(HALL, CID, 1)
        assert len(ann.of("receipt")) == 1
        reading.open()
        await until(lambda: ann.walk.synced)
        told = ann.story.index("conversation")
        hall = [(f["user"], f["read"]) for f in ann.frames[told:] if f["t"] == "receipt"]
        assert hall == [(str(BOB), 2), (str(ANN), 1), (str(CID), 1)], "the newest of each, behind the state"
        passes(HALL, CID, 2)
        assert ann.frames[-1]["read"] == 2, "and now as they pass"


async def test_many_missed_receipts_wait_for_the_client_to_read(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month's receipts of a thousand groups were pushed in one turn: more than the outbox holds. The client was
    closed as slow, came back with the cursor it had, and was closed again, for ever."""
    monkeypatch.setattr(walk_room, "RECEIPTS_AT_ONCE", 2)
    async with open_deck() as deck:
        await deck.group(ROOM, ANN, BOB, CID, DAN, EVE)
        await deck.other.raise_receipts([Raise(ROOM, one, 1, 1) for one in (BOB, CID, DAN, EVE)])
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        reading = deck.store.shut("receipts_since")
        await reading.reached.wait()
        ann.fill()
        reading.open()
        await trio.sleep(1)
        assert ann.of("receipt") == []
        ann.drain_once()
        await trio.sleep(1)
        assert len(ann.of("receipt")) == 2
        ann.drain()
        await until(lambda: ann.walk.synced)
        assert [frame["user"] for frame in ann.of("receipt")] == [str(one) for one in (BOB, CID, DAN, EVE)]
        assert ann.story[-1] == "synced"


# --- a first start ---


async def test_a_first_start_tells_each_conversation_and_then_synced(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2", "3", "4")
        await deck.other.open_direct(HALL, BOB, ANN)
        ann = Traveller(deck, ANN, recent=2)
        ann.online_now = [BOB]
        await ann.arrive()
        assert ann.story == ["progress", "conversation", "conversation", "synced", "presence"]
        room, hall = ann.of("conversation")
        assert (room["conversation"], room["head"], room["unread"]) == (str(ROOM), 4, 3)
        assert [entry["seq"] for entry in room["recent"]] == [3, 4]
        assert (hall["kind"], hall["members"]) == ("direct", [str(BOB), str(ANN)])
        assert ann.followed == [BOB]
        assert ann.frames[-1] == {"t": "presence", "user": str(BOB), "state": "online"}
        ann.post(ROOM, 1)
        await until(lambda: ann.story[-1] == "ok 1")
        assert ann.seqs == [5]


async def test_one_who_is_in_no_conversation_is_synced_at_once(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        ann = await Traveller(deck, ANN).arrive()
        assert ann.story == ["synced"]
        cursor = cursors.decode(ann.frames[-1]["cursor"])
        assert (cursor.lineage, cursor.number) == (LINEAGE, 0), "nothing has happened to Ann yet"


async def test_one_who_is_no_more_is_sent_away(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        gone = Traveller(deck, uid(999)).go()
        await until(lambda: gone.ended)
        assert gone.ended == closing.UNAUTHORIZED


async def test_states_wait_for_the_client_to_read(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        for one in (ROOM, HALL):
            await deck.group(one, BOB, ANN)
        ann = Traveller(deck, ANN)
        ann.fill()
        ann.go()
        await trio.sleep(1)
        assert ann.of("conversation") == []
        ann.drain_once()
        await trio.sleep(1)
        assert len(ann.of("conversation")) == 1
        ann.drain()
        await until(lambda: ann.walk.synced)
        assert len(ann.of("conversation")) == 2


# --- a resume ---


async def test_a_resume_brings_what_lies_above_the_heads_and_no_state(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(ROOM, BOB, "2", "3", "4")
        ann = await Traveller(deck, ANN, {ROOM: 2, HALL: 1}).arrive()
        assert ann.story == ["progress", "entry 3", "entry 4", "progress", "synced"]


async def test_a_long_gap_comes_in_pages_each_when_there_is_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "PAGE_ENTRIES", 4)
    monkeypatch.setattr(walk_room, "STRETCH_ENTRIES", 0)  # none is short
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(ROOM, BOB, *map(str, range(2, 12)))
        await deck.say(HALL, BOB, *map(str, range(2, 5)))
        ann = Traveller(deck, ANN, {ROOM: 1, HALL: 1})
        ann.fill()
        ann.go()
        await trio.sleep(1)
        for count in (4, 8, 12):
            ann.drain_once()
            await until(lambda count=count: len(ann.seqs) == count)  # type: ignore[misc]
            await trio.sleep(1)
            assert (len(ann.seqs), ann.story[-1]) == (count, "progress")
        ann.drain()
        await until(lambda: ann.walk.synced)
        assert ann.seqs == [*range(2, 12), *range(2, 5)]


async def test_a_page_cut_in_its_bytes_goes_on_where_it_was_cut(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "PAGE_BYTES", 700)
    monkeypatch.setattr(walk_room, "STRETCH_ENTRIES", 0)  # none is short
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(ROOM, BOB, "a" * 300, "b" * 2_000, "c", "d", "e", "f")
        await deck.say(HALL, BOB, "g" * 300, "h")
        ann = await Traveller(deck, ANN, {ROOM: 1, HALL: 1}).arrive()
        assert ann.seqs == [2, 3, 4, 5, 6, 7, 2, 3]


async def test_short_gaps_of_many_conversations_come_as_stretches_a_few_at_a_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in order, a long text cut off and gone on with, a long gap between them by pages, and no more at once than
    there is room for."""
    monkeypatch.setattr(walk_room, "STRETCHES_AT_ONCE", 2)
    monkeypatch.setattr(walk_room, "STRETCH_ENTRIES", 4)
    async with open_deck() as deck:
        rooms = [uid(8000 + n) for n in range(5)]
        for room in rooms:
            await deck.group(room, BOB, ANN)
            await deck.say(room, BOB, "2", "x" * 8_000, "4")
        await deck.say(rooms[2], BOB, *map(str, range(5, 9)))
        ann = Traveller(deck, ANN, dict.fromkeys(rooms, 1))
        ann.fill()
        ann.go()
        await trio.sleep(1)
        assert ann.seqs == []
        ann.drain()
        await until(lambda: ann.walk.synced)
        seen = [(frame["conversation"], frame["seq"]) for frame in ann.of("entry")]
        for room in rooms:
            last = 8 if room == rooms[2] else 4
            assert [seq for one, seq in seen if one == str(room)] == list(range(2, last + 1))
        assert deck.store.calls.count("visible") == 1


async def test_those_who_missed_the_same_are_answered_by_one_reading(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, ANN, BOB, CID)
        await deck.say(ROOM, BOB, "2", "3")
        door = deck.store.shut("stretches")
        all_three = [Traveller(deck, one, {ROOM: 1}).go() for one in (ANN, BOB, CID)]
        await trio.testing.wait_all_tasks_blocked()
        door.open()
        await until(lambda: all(one.walk.synced for one in all_three))
        assert [one.seqs for one in all_three] == [[2, 3]] * 3
        assert deck.store.calls.count("stretches") == 1


async def test_nothing_is_kept_during_a_long_walk_and_nothing_is_missed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/hazards.md, B1: live frames held meanwhile would overflow, and the client be called slow, for ever."""
    monkeypatch.setattr(walk_room, "PAGE_ENTRIES", 3)
    monkeypatch.setattr(walk_room, "STRETCH_ENTRIES", 0)  # none is short
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, *map(str, range(2, 10)))
        bob = await Traveller(deck, BOB).arrive()
        ann = Traveller(deck, ANN, {ROOM: 1})
        ann.fill()
        ann.go()
        await trio.sleep(1)
        for number in range(20):
            bob.post(ROOM, number)
        await until(lambda: len(bob.seqs) == 20)
        assert ann.held == list(range(10, 30)), "told of all"
        assert ann.walk._held is None, "and kept none"
        ann.drain()
        await until(lambda: ann.walk.synced)
        bob.post(ROOM, 99)
        await until(lambda: ann.seqs and ann.seqs[-1] == 30)
        assert ann.seqs == list(range(2, 31))


async def test_what_passes_during_the_last_stretch_is_sent_after_it_and_once(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A9: the cut between pages and live frames."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2", "3")
        bob = await Traveller(deck, BOB).arrive()
        first = deck.store.shut("stretches")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await first.reached.wait()
        bob.post(ROOM, 1)
        await until(lambda: bob.seqs == [4])
        last = deck.store.shut("visible")
        first.open()
        await last.reached.wait()
        bob.post(ROOM, 2)
        bob.post(ROOM, 3)
        await until(lambda: bob.seqs == [4, 5, 6])
        assert ann.seqs == [2, 3]
        last.open()
        await until(lambda: ann.walk.synced)
        assert ann.seqs == [2, 3, 4, 5, 6]
        assert ann.story[-1] == "synced"


async def test_more_than_may_be_held_is_paged_again(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_room, "HELD_BYTES", 400)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        bob.post(ROOM, 0)
        await until(lambda: bob.seqs == [2])
        waiting = deck.store.shut("receipts_since")
        ann = Traveller(deck, ANN, {ROOM: 2}).go()
        await waiting.reached.wait()
        bob.post(ROOM, 1)
        await until(lambda: bob.seqs == [2, 3])
        last = deck.store.shut("visible")
        waiting.open()
        await last.reached.wait()
        for number in range(2, 12):
            bob.post(ROOM, number)
        await until(lambda: len(bob.seqs) == 12)
        assert ann.walk._held is None
        last.open()
        await until(lambda: ann.walk.synced)
        assert ann.seqs == list(range(3, 14))


async def test_pages_ahead_of_what_was_delivered_here_join_when_it_has_passed(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A9: this process has delivered up to 1, another stored 2 to 4, and nobody rang."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        await deck.say(ROOM, BOB, "2", "3", "4")
        behind = deck.store.shut("log_after")
        ann = await Traveller(deck, ANN, {ROOM: 1}).arrive()
        assert (ann.seqs, bob.seqs) == ([2, 3, 4], [])
        behind.open()
        await until(lambda: bob.seqs == [2, 3, 4])
        bob.post(ROOM, 1)
        await until(lambda: ann.seqs == [2, 3, 4, 5])


async def test_absence_is_told_as_a_new_start_and_never_seen(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A10: removed at 4 and added again at 7, while away."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2", "3")
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "secret 5", "secret 6")
        await deck.change("add", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "8")
        ann = await Traveller(deck, ANN, {ROOM: 2}).arrive()
        told = [line for line in ann.story if line not in ("progress", "receipt")]
        assert told == ["entry 3", "entry 4", "conversation", "entry 7", "entry 8", "synced"]
        [state] = ann.of("conversation")
        assert (state["head"], state["first_seq"]) == (6, 7)
        assert not any("secret" in frame.get("text", "") for frame in ann.frames)


async def test_who_was_removed_while_away_gets_the_rest_up_to_it(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(ROOM, BOB, "2")
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.change("remove", HALL, BOB, ANN)
        await deck.say(ROOM, BOB, "secret")
        ann = await Traveller(deck, ANN, {ROOM: 1, HALL: 2}).arrive()
        assert ann.seqs == [2, 3], "of the hall nothing is missing"
        assert deck.registry.conversations == {}
        assert (await Traveller(deck, ANN).arrive()).of("conversation") == [], "and who never knew is told nothing"


async def test_who_is_removed_while_walking_gets_the_removal_and_nothing_later(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        await deck.say(ROOM, BOB, "2")
        paging = deck.store.shut("stretches")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await paging.reached.wait()
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "secret")
        deck.conversation(ROOM).ring(4)
        await until(lambda: bob.seqs == [2, 3, 4])
        paging.open()
        await until(lambda: ann.walk.synced)
        assert ann.seqs == [2, 3]
        bob.post(ROOM, 1)
        await until(lambda: bob.seqs[-1] == 5)
        assert ann.seqs == [2, 3]


async def test_who_is_removed_as_it_was_read_here_first_is_told_both(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state says "removed", before this process has delivered the removal."""
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await Traveller(deck, BOB).arrive()
        planning = deck.store.shut("standing")
        ann = Traveller(deck, ANN).go()
        await planning.reached.wait()
        await deck.change("remove", ROOM, BOB, ANN)
        planning.open()
        await until(lambda: ann.walk.synced)
        await until(lambda: ann.story[-1] == "cursor")
        assert ann.story == ["synced", "conversation", "entry 1", "entry 2", "cursor"]
        assert ann not in deck.conversation(ROOM).readers()


async def test_who_came_and_went_while_away_is_told_of_the_end(autojump_clock: MockClock) -> None:
    """Added at 3 and removed at 5 between two connections: the past is there as history, the end as an entry. A client
    that was told already, or had left before it ever started, hears nothing of it."""
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(HALL, BOB, ANN)
        ann = await Traveller(deck, ANN).arrive()
        before = cursors.decode(ann.frames[-1]["cursor"])
        ann.leave()
        await deck.group(ROOM, BOB)
        await deck.say(ROOM, BOB, "2")
        await deck.change("add", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "4")
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "secret")
        back = await Traveller(deck, ANN, {HALL: 1}, before, recent=2).arrive()
        told = [line for line in back.story if line not in ("progress", "receipt")]
        assert told == ["conversation", "entry 5", "synced"]
        [state] = back.of("conversation")
        assert (state["head"], state["first_seq"], state["unread"], state["members"]) == (4, 1, 1, [])
        assert [entry["seq"] for entry in state["recent"]] == [4]
        after = cursors.decode(back.frames[-1]["cursor"])
        assert after.number > before.number
        assert (await Traveller(deck, ANN, {HALL: 1}, after).arrive()).of("conversation") == []
        assert (await Traveller(deck, ANN, {HALL: 1, ROOM: 5}, before).arrive()).of("conversation") == []


async def test_who_came_and_went_between_two_looks_is_told_both(autojump_clock: MockClock) -> None:
    """Added and removed through another process, and both bells were lost."""
    async with open_deck() as deck:
        ann = await Traveller(deck, ANN).arrive()
        await deck.group(ROOM, BOB)
        for text in ("3", "6"):
            await deck.change("add", ROOM, BOB, ANN)
            await deck.say(ROOM, BOB, text)
            await deck.change("remove", ROOM, BOB, ANN)
        ann.look()
        await until(lambda: ann.story[-1] == "cursor")
        assert ann.story[1:] == ["conversation", "entry 5", "entry 6", "entry 7", "cursor"]
        ann.look()
        await until(lambda: ann.story[-1] == "cursor" and ann.walk._errand is None)
        assert ann.seqs == [5, 6, 7]


async def test_a_first_start_that_breaks_off_knows_what_ended_since(autojump_clock: MockClock) -> None:
    """The cursor of a progress event stands for what had ended before it, and for nothing that ends after it."""
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(HALL, BOB, ANN)
        await deck.change("remove", HALL, BOB, ANN)
        await deck.group(uid(8000), BOB, ANN)
        ann = Traveller(deck, ANN)
        ann.go()
        await until(lambda: ann.story[:1] == ["progress"])
        ann.leave()
        await deck.group(ROOM, BOB, ANN)
        await deck.change("remove", ROOM, BOB, ANN)
        back = await Traveller(deck, ANN, {}, cursors.decode(ann.frames[0]["cursor"])).arrive()
        told = {state["conversation"] for state in back.of("conversation")}
        assert told == {str(uid(8000)), str(ROOM)}


async def test_what_a_restore_closed_is_told_to_who_knew_more_of_it(autojump_clock: MockClock) -> None:
    """The head lies above a log in which the person is no member (any more, or again)."""
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, BOB, ANN)
        await deck.change("remove", ROOM, BOB, ANN)
        number = (await deck.store.standing(ANN, None)).number
        assert number is not None
        ann = await Traveller(deck, ANN, {ROOM: 7}, Cursor(LINEAGE, number, 0)).arrive()
        assert ann.of("rewound") == [{"t": "rewound", "conversation": str(ROOM)}]
        assert [state["head"] for state in ann.of("conversation")] == [1]
        assert ann.seqs == [2]


async def test_pages_that_go_through_an_absence_are_told_again_from_its_end(autojump_clock: MockClock) -> None:
    """Removed (3) and back (4) while the plan was made; here the log begins with what Bob had read, 4."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2")
        planning = deck.store.shut("standing")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await planning.reached.wait()
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.change("add", ROOM, BOB, ANN)
        bob = Traveller(deck, BOB)
        deck.conversation(ROOM).walk(bob, 4)
        planning.open()
        await until(lambda: ann.walk.synced and ann.walk._errand is None)
        assert ann.seqs == [2, 3, 4]
        assert [state["head"] for state in ann.of("conversation")] == [3]


async def test_who_is_removed_and_back_and_removed_while_a_start_is_told_sees_no_gap(
    autojump_clock: MockClock,
) -> None:
    """Away 4 to 6; then, while the state of the stretch from 7 on is read, removed (9), back (10), removed (11)."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2", "3")
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "secret 5", "secret 6")
        await deck.change("add", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "8")
        planning = deck.store.shut("standing")
        ann = Traveller(deck, ANN, {ROOM: 2}).go()
        await planning.reached.wait()
        await deck.change("remove", ROOM, BOB, ANN)
        await deck.change("add", ROOM, BOB, ANN)
        await deck.change("remove", ROOM, BOB, ANN)
        planning.open()
        await until(lambda: ann.walk.synced)
        deck.conversation(ROOM).ring(11)
        await until(lambda: 11 in ann.seqs and ann.walk._errand is None)
        assert ann.seqs == [3, 4, 7, 8, 9, 10, 11]
        assert ann.story[-4:] == ["conversation", "entry 10", "entry 11", "cursor"]
        assert [state["head"] for state in ann.of("conversation")] == [6, 9]
        assert ann not in deck.conversation(ROOM).readers()


# --- from another time ---


async def test_a_head_above_the_log_is_rewound(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(HALL, BOB, "2")
        ann = await Traveller(deck, ANN, {ROOM: 5, HALL: 1}).arrive()
        assert ann.of("rewound") == [{"t": "rewound", "conversation": str(ROOM)}]
        assert [frame["conversation"] for frame in ann.of("conversation")] == [str(ROOM)]
        assert ann.seqs == [2]


async def test_a_head_of_a_place_where_one_never_was_is_rewound(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB)
        ann = await Traveller(deck, ANN, {ROOM: 1, uid(999): 3}).arrive()
        assert {frame["conversation"] for frame in ann.of("rewound")} == {str(ROOM), str(uid(999))}


async def test_a_cursor_of_an_unknown_lineage_rewinds_everything(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "2")
        ann = await Traveller(deck, ANN, {ROOM: 1}, Cursor(uid(6999), 3, 5)).arrive()
        assert ann.story == ["rewound", "progress", "conversation", "synced"]
        assert ann.of("rewound") == [{"t": "rewound"}]


async def test_a_cursor_of_a_known_lineage_goes_on(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, BOB, ANN)
        await deck.other.raise_receipts([Raise(ROOM, BOB, 1, 1)])
        ann = await Traveller(deck, ANN, {ROOM: 1}, Cursor(LINEAGE, 1, deck.database.now_ms())).arrive()
        assert ann.story == ["progress", "receipt", "synced"], "receipts with an overlap"
        later = Cursor(LINEAGE, 1, deck.database.now_ms() + walk_room.OVERLAP_MS + 1_000)
        assert (await Traveller(deck, ANN, {ROOM: 1}, later).arrive()).of("receipt") == []


async def test_a_new_lineage_is_told_to_who_is_up_to_date(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/hazards.md, A12."""
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        walking = Traveller(deck, ANN)
        door = deck.store.shut("states")
        walking.go()
        await door.reached.wait()
        walking.tell_cursor()
        assert walking.of("cursor") == []
        door.open()
        await until(lambda: walking.walk.synced)
        await until(lambda: walking.walk._errand is None)
        walking.tell_cursor()
        assert walking.story[-1] == "cursor"


# --- a first start: one question (docs/decisions/0013) ---


def passes(deck: Deck, user: UUID, seq: int, *, to_all: bool = True) -> None:
    """A receipt passes."""
    deck.registry.receipt(Spread(ReceiptEvent(conversation=ROOM, user=user, delivered=seq, read=seq), to_all))


async def test_a_first_start_asks_once(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        ann = await Traveller(deck, ANN).arrive()
        assert deck.store.calls == ["standing"]
        assert ann.story == ["progress", "conversation", "conversation", "synced"]


async def test_what_does_not_come_with_the_first_question_is_asked_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "FIRST_STATES", 2)
    async with open_deck() as deck:
        for place in (ROOM, HALL):
            await deck.group(place, BOB, ANN)
        ann = await Traveller(deck, ANN, recent=1).arrive()
        assert deck.store.calls == ["standing", "states"]
        assert {one["conversation"] for one in ann.of("conversation")} == {str(ROOM), str(HALL)}


async def test_a_receipt_that_passes_while_the_first_answer_is_on_its_way_is_told(autojump_clock: MockClock) -> None:
    """It was written after the state was read, and spread before anybody listened."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        reading = deck.store.shut("standing")
        passes(deck, CID, 1)  # before the question: the state tells of it
        ann = Traveller(deck, ANN).go()
        await reading.reached.wait()
        passes(deck, BOB, 1)
        passes(deck, BOB, 2)
        deck.registry.receipt(Spread(ReceiptEvent(conversation=HALL, user=BOB, delivered=1, read=1), True))
        reading.open()
        await until(lambda: ann.walk.synced)
        assert ann.story == ["progress", "conversation", "receipt", "synced"]
        assert ann.of("receipt")[0]["read"] == 2


async def test_ones_own_receipts_reach_ones_new_device_whatever_the_conversation_is(autojump_clock: MockClock) -> None:
    """Where there are too many to tell all of each, one's own devices are told all the same."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        reading = deck.store.shut("standing")
        ann = Traveller(deck, ANN).go()
        await reading.reached.wait()
        passes(deck, BOB, 1, to_all=False)
        passes(deck, ANN, 1, to_all=False)
        reading.open()
        await until(lambda: ann.walk.synced)
        assert [one["user"] for one in ann.of("receipt")] == [str(ANN)]


async def test_states_are_asked_for_again_when_too_many_receipts_passed(autojump_clock: MockClock) -> None:
    """What was read with the standing may be older than a receipt that is not known any more."""
    async with open_deck() as deck:
        deck.registry.passed = Passed(kept=2)
        await deck.group(ROOM, BOB, ANN)
        reading = deck.store.shut("standing")
        ann = Traveller(deck, ANN).go()
        await reading.reached.wait()
        await deck.other.raise_receipts([Raise(ROOM, BOB, 1, 1)])
        for _ in range(3):
            passes(deck, BOB, 1)
        reading.open()
        await until(lambda: ann.walk.synced)
        assert deck.store.calls == ["standing", "states"]
        assert ann.of("conversation")[0]["receipts"] == [{"user": str(BOB), "delivered": 1, "read": 1}]


# --- joining while connected ---


async def test_who_is_added_while_connected_gets_the_entry_that_added_and_what_follows(
    autojump_clock: MockClock,
) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB)
        await deck.say(ROOM, BOB, "past")
        ann = await Traveller(deck, ANN).arrive()
        await deck.change("add", ROOM, BOB, ANN)
        await deck.say(ROOM, BOB, "4")
        ann.look()
        await until(lambda: ann.story[-1] == "cursor")
        assert ann.story[1:] == ["conversation", "entry 3", "entry 4", "cursor"]
        [state] = ann.of("conversation")
        assert (state["head"], state["first_seq"], state.get("recent", [])) == (2, 1, [])


async def test_a_walk_asked_for_while_one_runs_is_made_after_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        door = deck.store.shut("states")
        ann = Traveller(deck, ANN).go()
        await door.reached.wait()
        await deck.group(HALL, BOB, ANN)
        ann.look()
        ann.look()
        door.open()
        await until(lambda: len(ann.of("conversation")) == 2)
        assert deck.store.calls.count("standing") == 2


async def test_settle_returns_when_all_is_told(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        ann = await Traveller(deck, ANN).arrive()
        await deck.group(ROOM, ANN, BOB)
        await ann.walk.settle()
        assert ann.story[1:] == ["conversation", "entry 1", "cursor"]
        door = deck.store.shut("standing")
        settled: list[int] = []

        async def wait(number: int) -> None:
            await ann.walk.settle()
            settled.append(number)

        deck.nursery.start_soon(wait, 1)
        await door.reached.wait()
        deck.nursery.start_soon(wait, 2)
        await trio.sleep(1)
        assert settled == []
        door.open()
        await until(lambda: sorted(settled) == [1, 2])


# --- answers ---


async def test_an_answer_that_comes_during_a_walk_is_given_after_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        door = deck.store.shut("states")
        ann = Traveller(deck, ANN).go()
        await door.reached.wait()
        ann.post(ROOM, 1)
        await until(lambda: ann.waiting_answers == 1)
        assert ann.of("ok") == []
        door.open()
        await until(lambda: ann.of("ok"))
        assert ann.waiting_answers == 0
        assert ann.story[-1] == "ok 1"
        assert ann.of("synced")


async def test_an_answer_from_where_one_does_not_listen_lets_one_look_first(autojump_clock: MockClock) -> None:
    """Ann was added through another process, the bell was lost, and she writes: the conversation and her entry come
    before her ok."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB)
        ann = await Traveller(deck, ANN).arrive()
        await deck.change("add", ROOM, BOB, ANN)
        ann.post(ROOM, 1)
        await until(lambda: ann.of("ok"))
        assert ann.story[1:] == ["conversation", "entry 2", "entry 3", "cursor", "ok 1"]


# --- faults ---


async def test_an_answer_from_where_one_does_not_listen_lets_a_walk_look_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann was added after her walk had read where she stands, and the bell did not ring."""
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(HALL, BOB, ANN)
        reading = deck.store.shut("states")
        ann = Traveller(deck, ANN).go()
        await reading.reached.wait()
        await deck.group(ROOM, BOB, ANN)
        ann.post(ROOM, 1)
        await until(lambda: ann.waiting_answers == 1)
        reading.open()
        await until(lambda: "ok 1" in ann.story)
        assert ann.story[-4:] == ["entry 1", "entry 2", "cursor", "ok 1"]


async def test_a_short_absence_of_storage_is_waited_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "FIRST_STATES", 0)
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        for call in ("standing", "states", "receipts_since"):
            deck.store.failing[call] = StorageUnavailable("away")
            ann = Traveller(deck, ANN, {HALL: 1} if call == "receipts_since" else None).go()
            await trio.sleep(3)
            assert not ann.walk.synced
            deck.store.failing.clear()
            await until(lambda ann=ann: ann.walk.synced)  # type: ignore[misc]
            ann.leave()


async def test_a_long_absence_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        deck.store.failing["standing"] = StorageUnavailable("away")
        ann = Traveller(deck, ANN).go()
        await until(lambda: ann.ended)
        assert ann.ended == closing.UNAVAILABLE


async def test_a_crash_of_the_walk_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        deck.store.failing["standing"] = RuntimeError("planted")
        ann = Traveller(deck, ANN).go()
        await until(lambda: ann.ended)
        assert ann.ended == closing.CRASHED


async def test_nothing_is_left_of_a_walk_that_was_stopped(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        await deck.group(HALL, BOB, ANN)
        await deck.say(ROOM, BOB, "2")
        paging = deck.store.shut("stretches")
        walking = Traveller(deck, ANN, {ROOM: 1}).go()
        await paging.reached.wait()
        walking.leave()
        deck.store._doors.clear()
        live = await Traveller(deck, BOB).arrive()
        live.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert deck.registry.conversations == {}


@pytest.mark.parametrize(
    ("sizes", "entries", "part", "rest"),
    [
        ([3, 3], 4, [(1, 3), (1, 1)], [(2, 3)]),
        ([3, 3], 3, [(1, 3)], [(1, 3)]),
        ([3, 3], 6, [(1, 3), (1, 3)], []),
        ([10], 4, [(1, 4)], [(5, 10)]),
        ([4, 1], 4, [(1, 4)], [(1, 1)]),
    ],
)
def test_ranges_are_cut_after_so_many_entries(
    sizes: list[int], entries: int, part: list[tuple[int, int]], rest: list[tuple[int, int]]
) -> None:
    ranges = [Range(uid(number), 1, size) for number, size in enumerate(sizes)]
    first, others = walk_room._first(ranges, entries)
    assert [(one.low, one.high) for one in first] == part
    assert [(one.low, one.high) for one in others] == rest


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 30))
def test_cutting_loses_and_doubles_nothing(sizes: list[int], entries: int) -> None:
    ranges = [Range(uid(number), 1, size) for number, size in enumerate(sizes)]
    every = [(one.conversation, seq) for one in ranges for seq in range(one.low, one.high + 1)]
    part, rest = walk_room._first(ranges, entries)
    both = [(one.conversation, seq) for one in [*part, *rest] for seq in range(one.low, one.high + 1)]
    assert both == every
    assert sum(one.high - one.low + 1 for one in part) == min(entries, len(every))
    conversation, seq = every[min(entries, len(every)) - 1]
    done, unsent = walk_room._after(ranges, conversation, seq)
    assert [(one.conversation, nth) for one in [*done, *unsent] for nth in range(one.low, one.high + 1)] == every
    assert (done[-1].conversation, done[-1].high) == (conversation, seq)
