"""Scenes of bugs that the simulated world found, told without it: each with the story of its race above.

(Others that it found have their scene beside the room they were in: tests/test_walk.py, test_bus.py, test_session.py.)
"""

import trio
from trio.testing import MockClock

from konnect_client import Conversation, ConversationChanged, Conversations, Entry
from konnect_server.connection import Terms
from konnect_server.conversation import Posting
from konnect_server.receipts import Spread
from protocol import closing
from protocol.frames import ReceiptEvent
from storage.errors import StorageUnavailable
from storage.rows import Raise
from tests.deck import open_deck, until
from tests.door_kit import open_stage
from tests.fakes import ANN, BOB, CID, HALL, ROOM, FakeReader, changing
from tests.test_session import open_stage as open_sessions
from tests.test_walk import Traveller


async def test_a_removal_delivered_while_one_reads_where_one_stands(autojump_clock: MockClock) -> None:
    """Ann's walk had read that she is a member, and the answer was on its way. Bob removed her, through this process:
    nobody listened for Ann yet, so nobody was told. Then the answer came, and she was live in a group that she had
    left, for good: she saw who was typing there, and what was said."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        reading = deck.store.shut("standing")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await reading.reached.wait()
        deck.conversation(ROOM).post(changing(bob, 1, BOB, "out", "remove", ANN))
        await until(lambda: bob.seqs == [2])
        reading.open()
        await until(lambda: ann.walk.synced)
        bob.post(ROOM, 2, "she is gone")
        await until(lambda: bob.seqs == [2, 3])
        assert ann.seqs == [2]
        assert ann not in deck.conversation(ROOM).readers()


async def test_such_a_removal_does_not_make_one_look_newly_joined(autojump_clock: MockClock) -> None:
    """The same race for somebody who is up to date and looks again: the walk found a group that was not attached any
    more, and told it from its first entry on."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        ann = await Traveller(deck, ANN, {ROOM: 1}).arrive()
        reading = deck.store.shut("standing")
        ann.look()
        await reading.reached.wait()
        deck.conversation(ROOM).post(changing(bob, 1, BOB, "out", "remove", ANN))
        await until(lambda: ann.seqs == [2])
        reading.open()
        await ann.walk.settle()
        assert ann.of("conversation") == []
        assert ann.seqs == [2]


async def test_ones_own_entry_goes_by_before_one_listens(autojump_clock: MockClock) -> None:
    """Ann sends right behind her hello, and nobody else is there. Her message was stored and its conversation at rest
    again before her walk, which had read an older end of the log, registered: the ok came about a second before the
    entry (docs/hazards.md, A4)."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        reading = deck.store.shut("standing")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await reading.reached.wait()
        ann.post(ROOM, 7)
        await until(lambda: len(deck.database.tables.entries[ROOM]) == 2 and not deck.registry.conversations)
        reading.open()
        await until(lambda: "ok 7" in ann.story)
        assert [line for line in ann.story if line in ("entry 2", "ok 7")] == ["entry 2", "ok 7"]


async def test_joined_and_left_again_between_two_looks(autojump_clock: MockClock) -> None:
    """Another process removed Ann, added her, and removed her again; the bells were lost. She was told of the first
    removal and never of the rest, although she may see it."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        ann = await Traveller(deck, ANN, {ROOM: 1}).arrive()
        await deck.change("remove", ROOM, BOB, ANN)  # 2
        await deck.say(ROOM, BOB, "not for her")
        await deck.change("add", ROOM, BOB, ANN)  # 4
        await deck.say(ROOM, BOB, "welcome back")
        await deck.change("remove", ROOM, BOB, ANN)  # 6
        deck.conversation(ROOM).ring(6)
        await until(lambda: ann.seqs[-1:] == [6])
        assert ann.seqs == [2, 4, 5, 6]
        [told] = ann.of("conversation")
        assert (told["head"], told["members"]) == (3, [])
        assert ann.story.index("entry 2") < ann.frames.index(told) < ann.story.index("entry 4")


async def test_a_removal_below_what_was_ever_delivered_here(autojump_clock: MockClock) -> None:
    """A fresh process. Ann left, and the answer was on its way; Bob came, read the log with her leaving in it, and so
    the conversation began behind that. Ann's walk had read an older standing. Her leaving was in its pages and nothing
    else told of it: she was live in a group that she had left."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        reading, leaving = deck.store.shut("standing"), deck.store.shut("change_member")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await reading.reached.wait()
        deck.conversation(ROOM).post(changing(ann, 1, ANN, "bye", "leave", ANN))
        await leaving.reached.wait()  # 2 is committed
        bob = FakeReader(BOB)
        deck.conversation(ROOM).walk(bob, 2)
        deck.conversation(ROOM).attach(bob, 2)
        reading.open()
        await until(lambda: ann.walk.synced)
        leaving.open()
        await until(lambda: "ok 1" in ann.story)
        deck.conversation(ROOM).post(Posting(bob, 1, BOB, "k", "she is gone"))
        await until(lambda: bob.seqs == [3])
        assert ann.seqs == [2]
        assert ann not in deck.conversation(ROOM).readers()


async def test_removed_and_added_and_removed_while_a_page_is_read(autojump_clock: MockClock) -> None:
    """The second removal stood for the first: the page went up to it, over the absence, as if there had been none."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        bob = await Traveller(deck, BOB).arrive()
        await deck.say(ROOM, BOB, "missed")  # 2
        reading = deck.store.shut("stretches")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await reading.reached.wait()
        room = deck.conversation(ROOM)
        room.post(changing(bob, 1, BOB, "out", "remove", ANN))  # 3
        bob.post(ROOM, 2, "not for her")
        room.post(changing(bob, 3, BOB, "in", "add", ANN))  # 5
        room.post(changing(bob, 4, BOB, "out again", "remove", ANN))  # 6
        await until(lambda: bob.seqs[-1:] == [6])
        reading.open()
        await until(lambda: ann.seqs[-1:] == [6])
        assert ann.seqs == [2, 3, 5, 6]
        [told] = ann.of("conversation")
        assert told["head"] == 4
        assert ann.story.index("entry 3") < ann.frames.index(told) < ann.story.index("entry 5")


async def test_no_receipt_between_an_absence_and_the_return(autojump_clock: MockClock) -> None:
    """Ann comes back to a group that she had left and was added to again. Receipts that passed before her walk had told
    of the return reached her as if she had never left."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN, CID)
        bob = await Traveller(deck, BOB).arrive()
        await deck.change("remove", ROOM, BOB, ANN)  # 2
        await deck.say(ROOM, BOB, "not for her")
        await deck.change("add", ROOM, BOB, ANN)  # 4
        telling = deck.store.shut("states")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await telling.reached.wait()
        deck.registry.receipt(Spread(ReceiptEvent(conversation=ROOM, user=CID, delivered=3, read=3), True))
        assert ann.of("receipt") == []
        telling.open()
        await until(lambda: ann.walk.synced)
        [told], receipt = ann.of("conversation"), ann.of("receipt")[0]
        assert receipt["user"] == str(CID)
        assert ann.story.index("entry 2") < ann.frames.index(told) < ann.frames.index(receipt)
        assert len(bob.of("receipt")) == 1


async def test_no_receipts_of_what_one_had_left_when_one_came(autojump_clock: MockClock) -> None:
    """Ann had left, came back to read the rest up to her removal, and was added again meanwhile: the others' receipts
    since her cursor came before the group was told."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN, CID)
        await deck.change("remove", ROOM, BOB, ANN)  # 2
        await deck.other.raise_receipts([Raise(ROOM, CID, 2, 2)])
        reading = deck.store.shut("stretches")
        ann = Traveller(deck, ANN, {ROOM: 1}).go()
        await reading.reached.wait()
        await deck.change("add", ROOM, BOB, ANN)  # 3
        reading.open()
        await until(lambda: ann.walk.synced)
        assert ann.seqs == [2]
        assert ann.of("receipt") == []
        await ann.walk.settle()
        assert ann.seqs == [2, 3]
        assert [one["user"] for one in ann.of("conversation")[0]["receipts"]] == [str(CID)]


async def test_who_vanished_while_a_page_waits_for_room_is_given_up(autojump_clock: MockClock) -> None:
    """The kernel's buffer was full and the session, which had stopped reading until its answers leave, waited for room.
    Not to be heard was held to be our own doing, so the connection stayed until TCP itself gave up, a quarter of an
    hour later, and the person was shown as online."""
    async with open_stage(Terms(ping_interval_s=25, ping_timeout_s=20)) as stage:
        sock, handler = stage.connect()
        sock.room = 0
        handler.connection.push(b"x" * 100_000)
        stage.pump.flush()
        handler.connection.pause()
        await trio.sleep(100)
        assert handler.seen == [("closed", 4004, "silent")]


async def test_what_was_read_before_a_switch_does_not_undo_it(autojump_clock: MockClock) -> None:
    """Ann's tablet had read how her switches stand, and the answer was on its way. Her phone hid her from everybody and
    was told so. Then the tablet's answer came: she was shown as online again, until it looked once more."""
    async with open_sessions() as stage:
        await stage.deck.other.open_direct(HALL, ANN, BOB)
        bob, ann = await stage.phone(BOB), await stage.phone(ANN)
        reading = stage.store.shut("standing")
        tablet = stage.call()
        tablet.hello(ANN, "tablet")
        await reading.reached.wait()
        stage.store.shut("standing").open()  # what is asked from now on is answered
        await ann.ask("privacy.set", key="1", last_seen="nobody")
        reading.open()
        await until(lambda: bool(tablet.of("synced")))
        assert [frame["state"] for frame in bob.of("presence")] == ["online", "offline"]


async def test_a_switch_counts_for_all_devices_here_when_it_is_answered(autojump_clock: MockClock) -> None:
    """The tablet had yet to read what the phone was told already, and what was typed on it was shown."""
    async with open_sessions() as stage:
        await stage.deck.other.open_direct(HALL, ANN, BOB)
        bob, ann, tablet = await stage.phone(BOB), await stage.phone(ANN), await stage.phone(ANN, "tablet")
        reading = stage.store.shut("standing")
        tablet.session.look()
        await reading.reached.wait()
        stage.store.shut("standing").open()
        await ann.ask("privacy.set", key="1", typing=False)
        await tablet.ask("typing", conversation=HALL)
        await bob.ask("typing", conversation=HALL)
        assert [one.of("typing") for one in (bob, ann, tablet)] == [[], [], []]


async def test_who_may_be_seen_was_read_before_the_viewer_hid(autojump_clock: MockClock) -> None:
    """Ann asked for the presence of Bob, whom she shares a group with; while the answer was on its way she showed
    herself to contacts only, and so could see only these. The answer came, and she followed him for good."""
    async with open_sessions() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        reading = stage.store.shut("presences")
        watch = ann.send("presence.watch", users=[str(BOB)])
        await reading.reached.wait()
        await ann.ask("privacy.set", key="1", last_seen="contacts")
        reading.open()
        await ann.answer(watch)
        await stage.phone(BOB)
        assert ann.of("presence") == []


async def test_whom_one_may_see_cannot_be_asked(autojump_clock: MockClock) -> None:
    """Ann left a group while the database was away, so nobody could say whom she may watch still: her session crashed,
    and told her client that it had done something to deserve it."""
    async with open_sessions() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        await ann.ask("presence.watch", users=[str(BOB)])
        stage.store.failing["presences"] = StorageUnavailable("away")
        ann.session.lost(ROOM, 2)
        await until(lambda: ann.ended is not None)
        assert ann.ended == (closing.UNAVAILABLE.code, closing.UNAVAILABLE.reason)


async def test_joined_by_a_link_where_one_is_still_thought_to_be_a_member(autojump_clock: MockClock) -> None:
    """Another process removed Ann, and the bell was lost. She came back by a link, which no conversation's actor
    stores: this process held her for the member that she had been, and answered before it told that she had joined."""
    async with open_deck() as deck:
        await deck.group(ROOM, BOB, ANN)
        ann = await Traveller(deck, ANN, {ROOM: 1}).arrive()
        await deck.change("remove", ROOM, BOB, ANN)  # 2
        await deck.say(ROOM, BOB, "not for her")
        await deck.change("add", ROOM, BOB, ANN)  # 4, as her link does
        await ann.walk.told_of(ROOM, 4)
        assert ann.seqs == [2, 4]
        deck.conversation(ROOM).ring(4)
        ann.post(ROOM, 1, "here I am")
        await until(lambda: ann.seqs == [2, 4, 5])


def _entry(seq: int, kind: str, **more: object) -> Entry:
    known = {"conversation": "hall", "seq": seq, "kind": kind, "author": "ann", "key": "k", "at_ms": 1}
    return Entry.parse(known | more)


def test_a_ban_of_a_stranger_empties_no_room() -> None:
    """Who was no member leaves nobody behind: the entry says no number, and a client took that for none."""
    hall = Conversation("hall", "room", "Hall", (), 1, 1, 0, 0, 0, member_count=2)
    conversations = Conversations()
    for event in (
        ConversationChanged(hall, None), _entry(2, "member.added", user="cid", count=3),
        _entry(3, "member.banned", user="dan"),
    ):  # fmt: skip
        conversations.note(event)
    known = conversations.get("hall")
    assert known is not None
    assert known.member_count == 3


def test_what_is_pinned_and_how_long_it_stays_is_folded_too() -> None:
    """A client that stayed showed other pins, and another retention, than one that started afresh."""
    conversations = Conversations()
    conversations.note(ConversationChanged(Conversation("hall", "group", "Hall", ("ann",), 1, 1, 0, 0, 0), None))
    seen = []
    for entry in (
        _entry(5, "message.pinned", of=3, on=True), _entry(6, "message.pinned", of=2, on=True),
        _entry(7, "conversation.retention", retention_s=60), _entry(8, "message.deleted", of=3),
        _entry(9, "message.pinned", of=4, on=True), _entry(10, "messages.expired", messages=[2]),
        _entry(11, "message.pinned", of=4, on=False), _entry(12, "conversation.retention"),
    ):  # fmt: skip
        conversations.note(entry)
        known = conversations.get("hall")
        assert known is not None
        seen.append((known.pins, known.retention_s))
    assert seen == [
        ((3,), None), ((2, 3), None), ((2, 3), 60), ((2,), 60), ((2, 4), 60), ((4,), 60), ((), 60), ((), None),
    ]  # fmt: skip
