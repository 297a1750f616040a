"""Bringing one session up to date, on the simulated database and a virtual clock. Every answer may be held back."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from konnect_server import walk as walk_room
from konnect_server.conversation import Posting
from konnect_server.cursor import Cursor
from konnect_server.walk import Walk
from protocol.frames import ReceiptEvent
from storage.rows import Raise
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
            {str(one): seq for one, seq in (heads or {}).items()}, cursor, recent,
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


@pytest.mark.parametrize("door", ["standing", "states", "visible", "receipts_since"])
async def test_a_walk_whose_session_ends_as_an_answer_arrives_registers_nothing(
    autojump_clock: MockClock, door: str
) -> None:
    """The answer was on its way to the walk's task in the very turn in which the socket closed. The task went on up to
    its next wait, and registered a session that was gone with its conversations, for ever."""
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
        paging = deck.store.shut("visible")
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
    autojump_clock: MockClock,
) -> None:
    """The state was read while Ann was a member (4, to be removed at 5), and the removal delivered here before the
    answer came. Nothing of the room had been told to her: she must not be given a state that she may not have."""
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
        assert [frame["conversation"] for frame in ann.of("conversation")] == [str(HALL)]
        assert ann.seqs == []
        await deck.change("add", ROOM, BOB, ANN)
        deck.conversation(ROOM).ring(3)
        await until(lambda: ann.seqs == [3])
        assert ann.story[-3:] == ["conversation", "entry 3", "cursor"]


# --- receipts ---


async def test_receipts_that_pass_while_one_walks_are_not_missed(autojump_clock: MockClock) -> None:
    """They went to live readers only: who was being brought up to date never heard of them on this connection, and
    showed old marks until the next."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN, CID)
        await deck.group(HALL, BOB, ANN, CID)
        await deck.say(ROOM, BOB, "2", "3")
        reading, paging = deck.store.shut("states"), deck.store.shut("visible")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await paging.reached.wait()  # the room's, for the hall comes after it

        def passes(conversation: UUID, user: UUID, read: int, to_all: bool = True) -> None:
            event = ReceiptEvent(conversation=conversation, user=user, delivered=read, read=read)
            deck.registry.receipt(event, to_all)

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
