"""Group commit, on the simulated database and a virtual clock: what waits goes into the log in one append."""

from collections.abc import Sequence
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from konnect_server import writer as room
from konnect_server.conversation import Acting, Posting
from protocol import closing
from protocol.errors import SlowMode
from protocol.frames import PollCreate
from storage.errors import StorageRefused, StorageUnavailable
from storage.rows import NewMessage
from storage.store import Change
from tests.deck import Deck, open_deck, until
from tests.fakes import ANN, BOB, CID, HALL, PAIR, ROOM, FakeReader, changing


def listener(deck: Deck, user: UUID, *conversations: UUID) -> FakeReader:
    """Somebody live in these, having entry 1."""
    reader = FakeReader(user)
    for one in conversations:
        deck.conversation(one).walk(reader, 1)
        deck.conversation(one).attach(reader, 1)
    return reader


class Unsound(FakeReader):
    """A session with a bug: what it is given raises."""

    def push(self, data: bytes) -> None:
        raise RuntimeError("planted")


def post(deck: Deck, reader: FakeReader, conversation: UUID, number: int, text: str = "hi") -> None:
    deck.conversation(conversation).post(Posting(reader, number, reader.user, f"k{number}", text))


def change(deck: Deck, reader: FakeReader, number: int, what: Change, user: UUID) -> None:
    deck.conversation(ROOM).post(changing(reader, number, reader.user, f"k{number}", what, user))


async def rooms(deck: Deck) -> None:
    for one in (ROOM, HALL, PAIR):
        await deck.group(one, ANN, BOB)


async def test_what_waits_in_all_conversations_is_one_append(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await rooms(deck)
        ann = listener(deck, ANN, ROOM, HALL, PAIR)
        door = deck.store.shut("append")
        post(deck, ann, ROOM, 1)
        await door.reached.wait()
        for number, one in enumerate((ROOM, HALL, PAIR, HALL, ROOM), 2):
            post(deck, ann, one, number)
        door.open()
        await until(lambda: len(ann.frames) == 12)
        assert deck.store.calls.count("append") == 3, "the first; one for all three; the hall's second"
        assert deck.flushes >= 3, "after each append what it pushed must leave"


async def test_one_append_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BATCH_ROWS", 3)
    sizes: list[int] = []

    def sized(messages: Sequence[NewMessage]) -> None:
        sizes.append(len(messages))

    async with open_deck() as deck:
        await rooms(deck)
        deck.store.failing["append"] = sized
        ann = listener(deck, ANN, ROOM, HALL, PAIR)
        for number, one in enumerate((ROOM, HALL, PAIR, ROOM, HALL, ROOM, ROOM), 1):
            post(deck, ann, one, number)
        await until(lambda: len(ann.frames) == 14)
        assert sizes == [3, 3, 1], "the first of each, then the room's other three together"


async def test_a_slow_commit_of_one_lane_does_not_hold_up_another(autojump_clock: MockClock) -> None:
    async with open_deck(lanes=2) as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM), listener(deck, BOB, HALL)
        assert ROOM.int % 2 != HALL.int % 2
        door = deck.store.shut("append")
        post(deck, ann, ROOM, 1)
        await door.reached.wait()
        deck.store._doors.clear()
        post(deck, bob, HALL, 1)
        await until(lambda: bob.story == ["entry 2", "ok 1"])
        assert ann.story == []
        door.open()
        await until(lambda: ann.story == ["entry 2", "ok 1"])


async def test_after_a_lost_answer_the_same_batch_is_sent_again(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A7. It was committed: the repeat gets the first answers, and everybody the entries, once."""
    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM), listener(deck, BOB, ROOM)
        deck.store.lost["append"] = 3
        post(deck, ann, ROOM, 1)
        post(deck, bob, ROOM, 1)
        await until(lambda: len(ann.frames) + len(bob.frames) == 6)
        assert ann.story == ["entry 2", "ok 1", "entry 3"]
        assert bob.story == ["entry 2", "entry 3", "ok 1"]
        assert [entry.seq for entry in deck.database.tables.entries[ROOM]] == [1, 2, 3]


async def test_after_a_change_whose_answer_was_lost_too(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM), listener(deck, BOB, ROOM)
        deck.store.lost["change_member"] = 2
        change(deck, ann, 1, "add", CID)
        await until(lambda: len(ann.frames) == 2)
        assert ann.story == ["entry 2", "ok 1"]
        assert bob.story == ["entry 2"]
        assert deck.store.calls.count("change_member") == 3


async def test_what_storage_can_never_take_costs_nobody_else(autojump_clock: MockClock) -> None:
    """docs/hazards.md, B2: one bad text fails the batch of all conversations, on every repeat."""

    def picky(messages: Sequence[NewMessage]) -> StorageRefused | None:
        return StorageRefused("cannot be stored") if any(one.text == "bad" for one in messages) else None

    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM, HALL), listener(deck, BOB, PAIR, HALL)
        deck.store.failing["append"] = picky
        door = deck.store.shut("log_after")
        post(deck, ann, ROOM, 1)
        await until(lambda: ann.story == ["entry 2", "ok 1"])
        post(deck, ann, ROOM, 2)
        for number, text in enumerate(("fine", "bad", "fine too"), 3):
            post(deck, ann, HALL, number, text)
        post(deck, bob, PAIR, 1)
        door.open()
        await until(lambda: len(ann.frames) == 9 and len(bob.frames) == 4)
        assert [line for line in ann.story if "ok" in line or "error" in line] == [
            "ok 1", "ok 2", "ok 3", "error 4 invalid", "ok 5",
        ]  # fmt: skip
        assert bob.story.count("ok 1") == 1
        assert [entry.text for entry in deck.database.tables.entries[HALL][1:]] == ["fine", "fine too"]


async def test_when_storage_goes_away_in_the_middle_of_going_through_a_batch(autojump_clock: MockClock) -> None:
    """Messages one by one after a refusal, and then no answer: what was stored is delivered by the next bell."""
    calls = 0

    def worse(messages: Sequence[NewMessage]) -> Exception | None:
        nonlocal calls
        calls += 1
        if len(messages) > 1:
            return StorageRefused("one of them")
        return StorageUnavailable("gone") if calls > 2 else None

    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM), listener(deck, BOB, ROOM)
        door = deck.store.shut("append")
        post(deck, ann, ROOM, 1)
        await door.reached.wait()
        deck.store.failing["append"] = worse
        post(deck, ann, ROOM, 2)
        post(deck, ann, ROOM, 3)
        door.open()
        await until(lambda: ann.ended)
        assert ann.ended == closing.UNAVAILABLE
        assert bob.seqs == [2]
        deck.store.failing.clear()
        deck.conversation(ROOM).ring(3)
        await until(lambda: bob.seqs == [2, 3])


async def test_storage_that_stays_away_ends_the_authors_and_its_return_is_found(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A8."""
    async with open_deck() as deck:
        await rooms(deck)
        ann, bob, cid = listener(deck, ANN, ROOM), listener(deck, BOB, ROOM), listener(deck, BOB, HALL)
        deck.store.failing["append"] = deck.store.failing["change_member"] = StorageUnavailable("away")
        began = trio.current_time()
        post(deck, ann, ROOM, 1)
        await until(lambda: ann.ended)
        assert trio.current_time() - began >= room.GIVE_UP_S - room.RETRY_S[-1]
        assert (ann.ended, ann.story) == (closing.UNAVAILABLE, [])
        change(deck, cid, 1, "remove", ANN)
        await until(lambda: cid.ended)
        assert cid.story == []
        assert bob.ended is None
        deck.store.failing.clear()
        post(deck, bob, ROOM, 1)
        await until(lambda: bob.story == ["entry 2", "ok 1"])


async def test_reading_the_log_waits_for_storage_too(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await rooms(deck)
        ann = listener(deck, ANN, ROOM)
        await deck.say(ROOM, BOB, "2", "3")
        deck.store.failing["log_after"] = StorageUnavailable("away")
        deck.conversation(ROOM).ring(3)
        await trio.sleep(room.GIVE_UP_S + 5)
        assert (ann.seqs, ann.ended) == ([], None)
        assert deck.writers[0].quiet, "until somebody rings again"
        deck.store.failing.clear()
        deck.conversation(ROOM).ring(3)
        await until(lambda: ann.seqs == [2, 3])


async def test_the_log_is_read_in_bounded_stretches(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CATCH_UP_ENTRIES", 2)
    async with open_deck() as deck:
        await rooms(deck)
        ann = listener(deck, ANN, ROOM)
        await deck.say(ROOM, BOB, *"abcde")
        deck.conversation(ROOM).ring(6)
        await until(lambda: ann.seqs == [2, 3, 4, 5, 6])
        assert deck.store.calls.count("log_after") == 3


async def test_refusals_of_changes_are_answers(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = listener(deck, ANN, ROOM), listener(deck, BOB, ROOM)
        change(deck, bob, 1, "remove", ANN)
        change(deck, bob, 2, "add", ANN)
        await until(lambda: len(bob.frames) == 2)
        assert bob.story == ["error 1 forbidden", "error 2 already_a_member"]
        deck.store.failing["change_member"] = StorageRefused("never")
        change(deck, ann, 1, "add", CID)
        await until(lambda: ann.frames)
        assert ann.story == ["error 1 invalid"]


async def test_what_is_said_too_soon_is_an_answer_too(autojump_clock: MockClock) -> None:
    """Slow mode refuses what may succeed later: no refusal for ever, and no crash of the conversation."""
    async with open_deck() as deck:
        await rooms(deck)
        bob = listener(deck, BOB, ROOM)
        deck.store.failing["act"] = SlowMode(5)
        poll = PollCreate(id=7, conversation=ROOM, key="q", question="When?", options=["8", "9"])
        deck.conversation(ROOM).post(Acting(bob, BOB, poll))
        await until(lambda: bob.frames)
        assert bob.story == ["error 7 slow_mode"]
        assert bob.frames[0]["retry_after_ms"] == 5


async def test_a_crash_of_one_conversation_is_contained(autojump_clock: MockClock) -> None:
    """docs/hazards.md, A6: its readers come back; the others of the same append have their entries and answers."""
    async with open_deck() as deck:
        await rooms(deck)
        ann, bob = Unsound(ANN), listener(deck, BOB, HALL)
        deck.conversation(ROOM).walk(ann, 1)
        deck.conversation(ROOM).attach(ann, 1)
        door = deck.store.shut("append")
        post(deck, bob, PAIR, 1)
        await door.reached.wait()

        crashing = deck.conversation(ROOM)
        post(deck, ann, ROOM, 1)
        post(deck, bob, HALL, 2)
        door.open()
        await until(lambda: bob.story == ["ok 1", "entry 2", "ok 2"])
        assert ann.ended == closing.BEHIND
        assert deck.registry.conversations.get(ROOM) is not crashing
        again = listener(deck, ANN, ROOM)
        post(deck, again, ROOM, 1)
        await until(lambda: again.story == ["entry 2", "ok 1"])


async def test_quiet_is_nothing_waiting_and_nothing_under_way(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await rooms(deck)
        ann = listener(deck, ANN, ROOM)
        [writer] = deck.writers
        seen = [writer.quiet]
        door = deck.store.shut("append")
        post(deck, ann, ROOM, 1)
        seen.append(writer.quiet)
        await door.reached.wait()
        seen.append(writer.quiet)
        door.open()
        await trio.testing.wait_all_tasks_blocked()
        assert [*seen, writer.quiet] == [True, False, False, True]
