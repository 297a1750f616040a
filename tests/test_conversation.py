"""One conversation's order: what waits, one append, one fan-out. The writer is the test's hand."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from konnect_server import conversation as room
from konnect_server.conversation import Acting, Conversation, Posting
from protocol import closing
from protocol.errors import Forbidden
from protocol.frames import (
    Content,
    ConversationAdd,
    ConversationRemove,
    Entry,
    EntryKind,
    Location,
    MessageEdit,
    MessageReact,
)
from storage.rows import Acted, Answer, Appendix
from storage.store import Change
from tests import fakes
from tests.fakes import ANN, BOB, CID, ROOM, FakeHouse, FakeReader, FakeWork, entry, found, stored

NOT_A_MEMBER = Answer(new=False, reused=False)


class Stage:
    """A conversation between a writer and a house that the test plays."""

    def __init__(self) -> None:
        self.work, self.house = FakeWork(), FakeHouse()
        self.conversation = Conversation(ROOM, self.work, self.house)

    def reader(self, user: UUID = ANN, device: str = "phone") -> FakeReader:
        """Somebody who is connected, and not yet here."""
        reader = FakeReader(user, device)
        self.house.sessions.append(reader)
        return reader

    def listener(self, user: UUID = ANN, head: int = 4, device: str = "phone") -> FakeReader:
        """Somebody who is live, and has everything up to *head*."""
        reader = self.reader(user, device)
        self.conversation.walk(reader, head)
        self.conversation.attach(reader, head)
        return reader

    def post(self, reader: FakeReader, number: int) -> bool:
        return self.conversation.post(posting(reader, number))

    def appended(self, *answers: Answer, missed: Sequence[Entry] = ()) -> None:
        """What the writer brings for the append under way."""
        self.conversation.appended(self.work.take_postings(), Appendix(list(answers), list(missed)))


def posting(reader: FakeReader, number: int) -> Posting:
    return Posting(reader, number, reader.user, f"k{number}", f"text {number}")


def changing(reader: FakeReader, number: int, change: Change = "add", user: UUID = CID) -> Acting:
    return fakes.changing(reader, number, reader.user, f"k{number}", change, user)


def acted(acting: Acting, seq: int, at_ms: int) -> Acted:
    """A membership change was stored as entry *seq*."""
    assert isinstance(acting.action, ConversationAdd | ConversationRemove)
    kind: EntryKind = "member.added" if isinstance(acting.action, ConversationAdd) else "member.removed"
    new = Entry(conversation=ROOM, seq=seq, kind=kind, author=acting.author, key=acting.action.key, at_ms=at_ms,
                user=acting.action.user)  # fmt: skip
    return Acted(seq, at_ms, new)


@pytest.fixture
def stage() -> Stage:
    return Stage()


# --- what waits -> one append ---


def test_what_comes_while_a_batch_is_under_way_is_the_next_batch(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 1)
    assert [one.id for one in stage.work.take_postings()] == [1]
    stage.post(bob, 2)
    stage.post(ann, 3)
    assert not stage.work.pieces, "one at a time"
    stage.conversation.appended([posting(ann, 1)], Appendix([stored(5)], []))
    assert [one.id for one in stage.work.take_postings()] == [2, 3]


def test_a_membership_change_keeps_its_place_among_the_messages(stage: Stage) -> None:
    ann = stage.listener()
    stage.post(ann, 1)
    for number in (2, 3):
        stage.post(ann, number)
    stage.conversation.post(changing(ann, 4))
    stage.post(ann, 5)
    stage.appended(stored(5))
    stage.appended(stored(6), stored(7))
    assert stage.work.take_acting().id == 4
    stage.conversation.acted(changing(ann, 4), acted(changing(ann, 4), 8, 8))
    assert [one.id for one in stage.work.take_postings()] == [5]


def test_a_batch_is_bounded(stage: Stage) -> None:
    ann = stage.listener()
    stage.post(ann, 0)
    for number in range(1, room.BATCH_LIMIT + 10):
        stage.post(ann, number)
    stage.appended(stored(5))
    assert len(stage.work.take_postings()) == room.BATCH_LIMIT


def test_a_full_inbox_makes_its_senders_wait_until_there_is_room(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    assert stage.post(ann, 0), "handed over at once"
    took = [stage.post(ann, number) for number in range(1, room.INBOX_LIMIT + 1)]
    assert took == [True] * (room.INBOX_LIMIT - 1) + [False]
    assert not stage.post(bob, 1), "kept all the same: nothing that was read is thrown away"
    assert (ann.resumed, bob.resumed) == (0, 0)
    stage.appended(stored(5))
    assert (ann.resumed, bob.resumed) == (1, 1)
    assert len(stage.work.take_postings()) == room.BATCH_LIMIT


def test_who_asks_before_posting_never_fills_the_inbox_further(stage: Stage) -> None:
    """A call over HTTP is told when to ask again; there may be any number of them."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    conversation = stage.conversation
    for number in range(room.INBOX_LIMIT + 1):
        assert conversation.has_room(ann)
        stage.post(ann, number)
    assert not conversation.has_room(bob)
    assert bob.resumed == 0
    stage.appended(stored(5))
    assert bob.resumed == 1
    assert conversation.has_room(bob)


# --- one commit -> everybody ---


def test_everybody_gets_the_same_bytes_and_the_author_its_ok_after_its_entry(stage: Stage) -> None:
    ann, tablet, bob = stage.listener(ANN), stage.listener(ANN, device="tablet"), stage.listener(BOB)
    stage.post(ann, 1)
    stage.appended(stored(5))
    assert ann.story == ["entry 5", "ok 1"]
    assert tablet.story == bob.story == ["entry 5"]
    assert ann.given[0] is tablet.given[0] is bob.given[0]
    assert bob.frames == [
        {"t": "entry", "conversation": str(ROOM), "seq": 5, "kind": "message", "author": str(ANN), "key": "k1",
         "at_ms": 5, "text": "text 1"}
    ]  # fmt: skip
    assert ann.frames[1]["result"] == {"seq": 5, "at_ms": 5}
    assert stage.house.rung == [(ROOM, 5)]


def test_what_a_message_is_beside_its_text_is_told(stage: Stage) -> None:
    """A text that is empty is none."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    place = Content(location=Location(48.25, 16.5))
    stage.conversation.post(Posting(ann, 1, ANN, "k1", "", place))
    stage.appended(stored(5))
    assert bob.frames == [
        {"t": "entry", "conversation": str(ROOM), "seq": 5, "kind": "message", "author": str(ANN), "key": "k1",
         "at_ms": 5, "content": {"location": {"lat": 48.25, "lon": 16.5}}}
    ]  # fmt: skip


def test_a_batch_goes_to_a_reader_in_one_piece(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 1)
    stage.post(ann, 2)
    stage.post(bob, 3)
    stage.appended(stored(5))
    stage.appended(stored(6), stored(7))
    assert bob.story == ["entry 5", "entry 6", "entry 7", "ok 3"]
    assert len(bob.given) == 3
    assert stage.conversation.head == 7


def test_each_message_gets_its_own_answer(stage: Stage) -> None:
    ann = stage.listener()
    stage.post(ann, 0)
    for number in range(1, 6):
        stage.post(ann, number)
    stage.appended(stored(5))
    refused = Answer(new=False, reused=False, refused=True)
    reused = Answer(new=False, reused=True, seq=3, at_ms=3)
    stage.appended(found(2), NOT_A_MEMBER, reused, refused, stored(6))
    assert ann.story[2:] == ["entry 6", "ok 1", "error 2 not_a_member", "error 3 key_reused", "error 4 invalid", "ok 5"]
    assert ann.frames[3]["result"] == {"seq": 2, "at_ms": 2}


def test_a_stranger_is_answered_and_the_conversation_rests_again(stage: Stage) -> None:
    """A message to a conversation in which nobody here listens: no member, or a member still on its way."""
    stranger = stage.reader(CID)
    stage.post(stranger, 1)
    assert stage.house.rested == 0
    stage.appended(NOT_A_MEMBER)
    assert stranger.story == ["error 1 not_a_member"]
    assert stage.house.rested == 1


def test_a_membership_change_is_an_entry_for_all_and_then_an_ok(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.conversation.post(changing(ann, 1, "add", CID))
    acting = stage.work.take_acting()
    stage.conversation.acted(acting, acted(acting, 5, 55))
    assert ann.story == ["entry 5", "ok 1"]
    assert bob.frames == [
        {"t": "entry", "conversation": str(ROOM), "seq": 5, "kind": "member.added", "author": str(ANN), "key": "k1",
         "at_ms": 55, "user": str(CID)}
    ]  # fmt: skip
    assert stage.house.came == [CID]


def test_a_refused_change_is_an_error_and_the_next_goes_on(stage: Stage) -> None:
    ann = stage.listener()
    stage.conversation.post(changing(ann, 1, "remove", BOB))
    stage.post(ann, 2)
    stage.conversation.refused([stage.work.take_acting()], Forbidden("no"))
    assert ann.story == ["error 1 forbidden"]
    stage.appended(stored(5))
    assert ann.story[1:] == ["entry 5", "ok 2"]


def test_who_is_added_hears_of_it_though_nobody_listens_here(stage: Stage) -> None:
    """Ann adds Cid before her own walk has come to this conversation. Cid's devices were not told to look, and found
    out by a sweep only."""
    ann = stage.reader(ANN)
    stage.conversation.post(changing(ann, 1, "add", CID))
    acting = stage.work.take_acting()
    stage.conversation.acted(acting, acted(acting, 5, 5))
    assert stage.house.came == [CID]
    assert ann.story == ["ok 1"]


# --- other processes write too ---


def test_others_entries_come_before_our_own(stage: Stage) -> None:
    """docs/hazards.md, A3."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 1)
    stage.appended(stored(7), missed=[entry(5, author=BOB), entry(6, author=BOB)])
    assert ann.story == ["entry 5", "entry 6", "entry 7", "ok 1"]
    assert bob.seqs == [5, 6, 7]


def test_a_removal_among_others_entries_is_heeded_before_our_own_is_delivered(stage: Stage) -> None:
    """docs/hazards.md, A3: Bob was removed through another process; he sees that, and nothing later."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 1)
    stage.appended(stored(7), missed=[entry(5, author=CID), entry(6, "member.removed", user=BOB)])
    assert bob.story == ["entry 5", "entry 6"]
    assert bob.left == [(ROOM, 6)]
    assert ann.story == ["entry 5", "entry 6", "entry 7", "ok 1"]


def test_all_devices_of_who_is_removed_are_cut_off(stage: Stage) -> None:
    ann, phone, laptop = stage.listener(ANN), stage.listener(BOB), stage.listener(BOB, device="laptop")
    walking = stage.reader(BOB, "tablet")
    stage.conversation.walk(walking, 4)
    stage.conversation.post(changing(ann, 1, "remove", BOB))
    acting = stage.work.take_acting()
    stage.conversation.acted(acting, acted(acting, 5, 5))
    stage.post(ann, 2)
    stage.appended(stored(6))
    assert phone.seqs == laptop.seqs == walking.held == [5]
    assert phone.left == laptop.left == walking.left == [(ROOM, 5)]
    assert stage.conversation.readers() == [ann]


def test_a_gap_is_read_before_an_ok_is_given(stage: Stage) -> None:
    """docs/hazards.md, A4: another process is further ahead than one append tells."""
    ann = stage.listener()
    stage.post(ann, 1)
    stage.appended(stored(9), missed=[entry(5), entry(6)])
    assert ann.story == ["entry 5", "entry 6"]
    stage.post(ann, 2)
    stage.work.take_read()
    stage.conversation.caught_up([entry(7)])
    assert ann.seqs == [5, 6, 7]
    stage.work.take_read()
    stage.conversation.caught_up([entry(8), entry(9)])
    assert ann.story == ["entry 5", "entry 6", "entry 7", "entry 8", "entry 9", "ok 1"]
    assert [one.id for one in stage.work.take_postings()] == [2]


def test_a_change_whose_answer_was_lost_is_delivered_before_its_ok(stage: Stage) -> None:
    """The add was committed as 5 and its answer lost. The writer repeated it and was told "5, stood already": there was
    nothing of ours to deliver, so the ``ok`` went out at once and the entry only when a sweep found it."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.conversation.post(changing(ann, 1, "add", CID))
    stage.conversation.acted(stage.work.take_acting(), Acted(5, 5))
    assert ann.story == []
    stage.work.take_read()
    stage.conversation.caught_up([entry(5, "member.added", user=CID)])
    assert ann.story == ["entry 5", "ok 1"]
    assert bob.story == ["entry 5"]
    assert stage.house.rung == [(ROOM, 5)], "the others are told too"


def test_a_repeat_whose_entry_lies_far_ahead_is_answered_after_it(stage: Stage) -> None:
    """An append tells at most 500 missed entries. A repeated key that stands above them was answered at once, before
    its entry came."""
    ann = stage.listener()
    stage.post(ann, 1)
    stage.appended(found(7), missed=[entry(5)])
    assert ann.story == ["entry 5"]
    stage.work.take_read()
    stage.conversation.caught_up([entry(6), entry(7)])
    assert ann.story == ["entry 5", "entry 6", "entry 7", "ok 1"]


def test_a_bell_lets_the_log_be_read(stage: Stage) -> None:
    ann = stage.listener(head=4)
    stage.conversation.ring(4)
    assert not stage.work.pieces, "known already"
    stage.conversation.ring(7)
    stage.conversation.ring(6)
    stage.work.take_read()
    stage.conversation.caught_up([entry(5), entry(6)])
    stage.work.take_read()
    stage.conversation.caught_up([entry(7)])
    assert ann.seqs == [5, 6, 7]
    assert not stage.work.pieces


def test_a_bell_during_an_append_is_heeded_after_it(stage: Stage) -> None:
    ann = stage.listener(head=4)
    stage.post(ann, 1)
    stage.conversation.ring(6)
    stage.appended(stored(5))
    stage.work.take_read()


def test_a_bell_for_what_never_came_to_be_is_forgotten(stage: Stage) -> None:
    stage.listener(head=4)
    stage.conversation.ring(9)
    stage.work.take_read()
    stage.conversation.caught_up([])
    assert not stage.work.pieces


def test_an_answer_for_what_is_gone_sends_its_asker_away(stage: Stage) -> None:
    """The database said 9 and now holds nothing above 4: it is not the one that answered."""
    ann = stage.listener(head=4)
    stage.post(ann, 1)
    stage.appended(stored(9))
    stage.work.take_read()
    stage.conversation.caught_up([])
    assert ann.ended == closing.BEHIND
    assert ann.story == []
    assert not stage.work.pieces


def test_a_fresh_actor_begins_where_its_first_reader_stands(stage: Stage) -> None:
    """docs/hazards.md, A5 (c): a bell must not become the head, or what lies between is never delivered."""
    stage.conversation.ring(9)
    assert stage.conversation.head is None
    ann = stage.listener(head=4)
    stage.conversation.ring(9)
    stage.work.take_read()
    stage.conversation.caught_up([entry(seq) for seq in range(5, 10)])
    assert ann.seqs == [5, 6, 7, 8, 9]


def test_an_append_before_any_reader_came_does_not_skip_for_one_who_comes_meanwhile(stage: Stage) -> None:
    """Ann's message is under way when Bob's walk reads the log's end as 5; another process stored 6."""
    ann, bob = stage.reader(ANN), stage.reader(BOB)
    stage.post(ann, 1)
    stage.conversation.walk(bob, 5)
    stage.appended(stored(7))
    stage.work.take_read()
    stage.conversation.caught_up([entry(6), entry(7)])
    assert bob.held == [6, 7]
    assert ann.story == ["ok 1"]


# --- readers on their way ---


def test_one_who_walks_is_told_what_passes_and_gets_nothing(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.reader(BOB)
    stage.conversation.walk(bob, 4)
    stage.post(ann, 1)
    stage.post(ann, 2)
    stage.appended(stored(5))
    stage.appended(stored(6))
    assert (bob.held, bob.frames) == ([5, 6], [])


def test_one_who_has_more_than_was_delivered_here_joins_when_delivery_has_passed(stage: Stage) -> None:
    """docs/hazards.md, A9: pages went to 7, this process has delivered up to 4; nothing comes twice."""
    ann, bob = stage.listener(ANN, head=4), stage.reader(BOB)
    stage.conversation.walk(bob, 7)
    stage.conversation.attach(bob, 7)
    stage.work.take_read()
    stage.conversation.caught_up([entry(5), entry(6)])
    assert (ann.seqs, bob.seqs) == ([5, 6], [])
    stage.work.take_read()
    stage.conversation.caught_up([entry(7), entry(8), entry(9)])
    assert (ann.seqs, bob.seqs) == ([5, 6, 7, 8, 9], [8, 9])
    stage.post(ann, 1)
    stage.appended(stored(10))
    assert bob.seqs == [8, 9, 10]
    assert bob.given[-1] is ann.given[-2], "one of the live ones now"


def test_one_who_is_ahead_to_the_very_entry_joins_after_it(stage: Stage) -> None:
    stage.listener(ANN, head=4)
    bob = stage.reader(BOB)
    stage.conversation.walk(bob, 6)
    stage.conversation.attach(bob, 6)
    stage.work.take_read()
    stage.conversation.caught_up([entry(5), entry(6)])
    stage.conversation.ring(7)
    stage.work.take_read()
    stage.conversation.caught_up([entry(7)])
    assert bob.seqs == [7]


def test_an_old_removal_does_not_cut_off_who_has_come_back_since(stage: Stage) -> None:
    """Bob was removed at 6 and added again at 8, through another process, and resumes: his walk read the log's end as
    9. This process, which had delivered up to 4, met the removal later and took it for a new one: he was cut off while
    a member, and then given 8 and 9 a second time."""
    stage.listener(ANN, head=4)
    walking, ahead = stage.reader(BOB), stage.reader(BOB, "tablet")
    stage.conversation.walk(walking, 9)
    stage.conversation.walk(ahead, 9)
    stage.conversation.attach(ahead, 9)
    stage.work.take_read()
    log = [entry(5), entry(6, "member.removed", user=BOB), entry(7), entry(8, "member.added", user=BOB), entry(9)]
    stage.conversation.caught_up(log)
    assert walking.left == ahead.left == []
    stage.conversation.ring(10)
    stage.work.take_read()
    stage.conversation.caught_up([entry(10, "member.removed", user=BOB)])
    assert walking.left == ahead.left == [(ROOM, 10)], "this one is new to them"
    assert ahead.seqs == [10]


# --- rest ---


def test_it_rests_when_nobody_listens_and_nothing_waits(stage: Stage) -> None:
    ann, bob = stage.listener(ANN), stage.reader(BOB)
    stage.conversation.walk(bob, 4)
    stage.conversation.detach(ann)
    assert stage.house.rested == 0
    stage.conversation.detach(bob)
    assert stage.house.rested == 1


def test_it_does_not_rest_while_its_work_is_under_way(stage: Stage) -> None:
    ann = stage.listener()
    stage.post(ann, 1)
    stage.conversation.detach(ann)
    assert stage.house.rested == 0
    stage.appended(stored(5))
    assert stage.house.rested == 1


# --- faults ---


def test_when_storage_stays_away_the_authors_go_and_nothing_is_answered(stage: Stage) -> None:
    """docs/hazards.md, A8: an error for the first of several sends would let the others overtake it."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 1)
    batch = stage.work.take_postings()
    for reader, number in ((bob, 2), (ann, 3), (bob, 4)):
        stage.post(reader, number)
    stage.conversation.gave_up(batch)
    assert (ann.ended, bob.ended) == (closing.UNAVAILABLE, None)
    assert (ann.story, bob.story) == ([], [])
    assert [one.id for one in stage.work.take_postings()] == [2, 4], "the other author's stay, in order"


def test_when_reading_fails_the_askers_of_owed_answers_go(stage: Stage) -> None:
    ann = stage.listener()
    stage.post(ann, 1)
    stage.appended(stored(9))
    stage.work.take_read()
    stage.conversation.gave_up([])
    assert ann.ended == closing.UNAVAILABLE
    assert not stage.work.pieces, "the next sweep rings again; to read at once would spin"
    stage.conversation.ring(9)
    stage.work.take_read()


def test_a_crash_sends_everybody_away(stage: Stage) -> None:
    """docs/hazards.md, A6: who was given what is not certain any more."""
    ann, walking, ahead, stranger = stage.listener(ANN), stage.reader(BOB), stage.reader(CID), stage.reader(CID, "x")
    stage.conversation.walk(walking, 4)
    stage.conversation.walk(ahead, 6)
    stage.conversation.attach(ahead, 6)
    stage.post(stranger, 1)
    stage.conversation.crash()
    assert [one.ended for one in (ann, walking, ahead, stranger)] == [closing.BEHIND] * 4


def test_a_crash_forgets_nobody_whose_message_was_under_way(stage: Stage) -> None:
    """A stranger's message was with the writer when the conversation crashed: he listens to nothing here, and was left
    without an answer and without a close."""
    stranger = stage.reader(CID)
    stage.post(stranger, 1)
    stage.conversation.crash()
    assert stranger.ended == closing.BEHIND


def test_who_waits_for_room_goes_on_when_storage_gave_up_on_the_others(stage: Stage) -> None:
    """The inbox was over its bound when Bob's message came: he waits. His is stored, in one batch; all that is left is
    Ann's, and goes with her. Nothing was left to hand over then, and Bob's socket was never read again."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 0)
    for number in range(1, room.INBOX_LIMIT):
        stage.post(ann, number)
    stage.post(bob, 1)
    for number in range(3 * room.INBOX_LIMIT):
        stage.post(ann, number)
    stage.appended(stored(5))
    stage.appended(*map(stored, range(6, 6 + room.BATCH_LIMIT)))
    assert (bob.resumed, bob.story[-1]) == (0, "ok 1"), "what is left is still over the bound"
    stage.conversation.gave_up(stage.work.take_postings())
    assert (ann.ended, bob.ended, bob.resumed) == (closing.UNAVAILABLE, None, 1)


def test_who_waits_for_room_goes_on_though_removed_meanwhile(stage: Stage) -> None:
    """To stop listening is not to stop waiting: a person removed while the inbox was full kept a socket that nobody
    read."""
    ann, bob = stage.listener(ANN), stage.listener(BOB)
    stage.post(ann, 0)
    for number in range(1, room.INBOX_LIMIT + 1):
        stage.post(bob, number)
    stage.conversation.detach(bob)
    stage.appended(stored(5))
    assert bob.resumed == 1


def test_an_edit_or_a_deletion_is_heeded_before_anybody_hears_of_it(stage: Stage) -> None:
    """What was kept of what the message said before is forgotten first (konnect_server/stretches.py)."""
    ann = stage.listener(ANN)
    heard: list[int] = []
    stage.house.altered = lambda conversation: heard.append(len(ann.frames))  # type: ignore[method-assign]
    stage.conversation.post(Acting(ann, ANN, MessageEdit(id=1, conversation=ROOM, key="e", seq=2, text="new")))
    edit = Entry(conversation=ROOM, seq=5, kind="message.edited", author=ANN, key="e", at_ms=5, text="new", of=2)
    stage.conversation.acted(stage.work.take_acting(), Acted(5, 5, edit))
    assert ann.story == ["entry 5", "ok 1"]
    stage.conversation.ring(6)
    stage.work.take_read()
    stage.conversation.caught_up(
        [Entry(conversation=ROOM, seq=6, kind="message.deleted", author=BOB, key="d", at_ms=6, of=2)]
    )
    stage.post(ann, 7)
    stage.appended(stored(7))
    assert heard == [0, 2], "once each, and not for a message"


def test_an_action_that_changed_nothing_is_answered_after_what_it_rests_on(stage: Stage) -> None:
    """Another process stored the reaction a moment before: its entry comes first, then the ok."""
    ann = stage.listener(ANN)
    stage.conversation.post(Acting(ann, ANN, MessageReact(id=1, conversation=ROOM, key="r", seq=2, emoji="a")))
    stage.conversation.acted(stage.work.take_acting(), Acted(5, 5))
    assert ann.story == []
    stage.work.take_read()
    stage.conversation.caught_up([entry(5)])
    assert ann.story == ["entry 5", "ok 1"]
