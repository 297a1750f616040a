"""Scenes of bugs that the simulated world found, told without it: each with the story of its race above.

(Others that it found have their scene beside the room they were in: tests/test_walk.py, test_bus.py, test_session.py.)
"""

import trio
from trio.testing import MockClock

from konnect_server.connection import Terms
from konnect_server.conversation import Posting
from konnect_server.receipts import Spread
from protocol.frames import ReceiptEvent
from storage.rows import Raise
from tests.deck import open_deck, until
from tests.door_kit import open_stage
from tests.fakes import ANN, BOB, CID, ROOM, FakeReader, changing
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
