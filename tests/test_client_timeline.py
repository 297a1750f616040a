"""What is new, what was seen, what is not allowed."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from konnect_client import (
    ConversationChanged,
    Entry,
    Heads,
    PresenceChanged,
    ProtocolViolation,
    ReceiptMoved,
    Rewound,
    Synced,
    TypingSeen,
)
from konnect_client.events import CursorMoved
from konnect_client.timeline import Timeline
from tests.client_peer import ANN, BOB, HALL, ROOM


def entry(seq: int, conversation: str = ROOM) -> dict[str, Any]:
    return {
        "t": "entry", "conversation": conversation, "seq": seq, "kind": "message", "author": BOB, "key": str(seq),
        "at_ms": seq, "text": f"text {seq}",
    }  # fmt: skip


def conversation(head: int, name: str = ROOM) -> dict[str, Any]:
    return {
        "t": "conversation", "conversation": name, "kind": "group", "title": "Tea", "members": [ANN, BOB], "head": head,
        "first_seq": 1, "unread": 0, "read": 0, "delivered": 0,
    }  # fmt: skip


def test_entries_raise_the_head_one_by_one() -> None:
    timeline = Timeline(Heads({ROOM: 3}))
    assert [type(event) for event in timeline.apply(entry(4)) + timeline.apply(entry(5))] == [Entry, Entry]
    assert timeline.heads.seqs == {ROOM: 5}


def test_a_repeat_is_dropped() -> None:
    timeline = Timeline(Heads({ROOM: 3}))
    assert timeline.apply(entry(3)) == ()
    assert timeline.apply(entry(1)) == ()
    assert timeline.heads.seqs == {ROOM: 3}


def test_a_gap_is_a_violation_and_moves_nothing() -> None:
    timeline = Timeline(Heads({ROOM: 3}))
    with pytest.raises(ProtocolViolation, match="gap"):
        timeline.apply(entry(5))
    assert timeline.heads.seqs == {ROOM: 3}
    assert len(timeline.apply(entry(4))) == 1


def test_an_entry_of_an_unknown_conversation_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="not announced"):
        Timeline(Heads()).apply(entry(1))


def test_a_conversation_event_explains_a_jump() -> None:
    """One was absent in between: the entries of the absence do not come, and that is no gap."""
    timeline = Timeline(Heads({ROOM: 3}))
    (changed,) = timeline.apply(conversation(9))
    assert isinstance(changed, ConversationChanged)
    assert changed.previous_head == 3
    assert len(timeline.apply(entry(10))) == 1


def test_a_new_conversation_has_no_previous_head() -> None:
    (changed,) = Timeline(Heads()).apply(conversation(9))
    assert isinstance(changed, ConversationChanged)
    assert changed.previous_head is None


def test_a_conversation_event_that_lags_lowers_no_head() -> None:
    """Its state may be older than entries that came; what follows it then repeats, and repeats are dropped."""
    timeline = Timeline(Heads({ROOM: 7}))
    timeline.apply(conversation(5))
    assert timeline.heads.seqs == {ROOM: 7}
    assert timeline.apply(entry(6)) == timeline.apply(entry(7)) == ()
    assert len(timeline.apply(entry(8))) == 1


def test_rewound_forgets_one_conversation_or_all() -> None:
    timeline = Timeline(Heads({ROOM: 7, HALL: 2}, "c"))
    assert timeline.apply({"t": "rewound", "conversation": ROOM}) == (Rewound(ROOM),)
    assert timeline.heads == Heads({HALL: 2}, "c")
    timeline.apply(conversation(2))
    assert timeline.heads.seqs[ROOM] == 2
    assert timeline.apply({"t": "rewound"}) == (Rewound(None),)
    assert timeline.heads == Heads({}, None)


def test_cursors_are_kept_and_only_synced_is_shown() -> None:
    timeline = Timeline(Heads())
    for kind in ("progress", "cursor"):
        assert timeline.apply({"t": kind, "cursor": kind}) == (CursorMoved(kind),)
        assert timeline.heads.cursor == kind
    assert timeline.apply({"t": "synced", "cursor": "end"}) == (CursorMoved("end"), Synced())
    assert timeline.heads.cursor == "end"


def test_the_rest_is_passed_on() -> None:
    timeline = Timeline(Heads())
    told = {"t": "receipt", "conversation": ROOM, "user": BOB, "delivered": 4, "read": 2}
    assert timeline.apply(told) == (ReceiptMoved(ROOM, BOB, 4, 2),)
    assert timeline.apply({"t": "typing", "conversation": ROOM, "user": BOB}) == (TypingSeen(ROOM, BOB),)
    assert timeline.apply({"t": "typing", "conversation": ROOM, "user": BOB, "what": "voice", "on": False}) == (
        TypingSeen(ROOM, BOB, "voice", on=False),
    )
    assert timeline.apply({"t": "presence", "user": BOB, "state": "offline", "last_seen_ms": 60_000}) == (
        PresenceChanged(BOB, online=False, last_seen_ms=60_000),
    )
    assert timeline.apply({"t": "presence", "user": BOB, "state": "online"}) == (PresenceChanged(BOB, online=True),)
    assert timeline.apply({"t": "presence", "user": BOB, "state": "offline"}) == (PresenceChanged(BOB, online=False),)


def test_events_of_a_newer_server_are_ignored() -> None:
    assert Timeline(Heads()).apply({"t": "reaction", "what": "ever"}) == ()


def test_nonsense_is_a_violation() -> None:
    for frame in ({"t": "presence", "user": BOB, "state": "away"}, {"t": "synced"}, {"t": "entry"}):
        with pytest.raises(ProtocolViolation):
            Timeline(Heads()).apply(frame)


@given(st.lists(st.integers(1, 12), max_size=60))
def test_whatever_comes_the_application_sees_a_gapless_prefix_once(seqs: list[int]) -> None:
    """Repeats and gaps in any order: what is shown is 1, 2, 3 ... without a gap or a repeat."""
    timeline = Timeline(Heads({ROOM: 0}))
    shown = []
    for seq in seqs:
        try:
            shown += [event.seq for event in timeline.apply(entry(seq)) if isinstance(event, Entry)]
        except ProtocolViolation:
            assert seq > len(shown) + 1
    assert shown == list(range(1, len(shown) + 1))
    assert timeline.heads.seqs[ROOM] == len(shown)


def test_hello_names_the_thousand_most_recently_active() -> None:
    heads = Heads({f"c{number}": 1 for number in range(1_200)})
    timeline = Timeline(heads)
    timeline.apply(entry(2, "c5"))
    named = heads.for_hello()
    assert len(named) == 1_000
    assert named["c5"] == 2
    assert "c1199" in named
    assert "c200" not in named
    assert heads.seqs == named  # the others come as new conversations, so nothing of them may be taken for known


def test_hello_names_all_when_they_are_few() -> None:
    assert Heads({"a": 1, "b": 2}).for_hello() == {"a": 1, "b": 2}


def test_a_copy_goes_its_own_way() -> None:
    heads = Heads({"a": 1}, "c")
    copy = heads.copy()
    copy.seqs["a"] = 9
    assert heads == Heads({"a": 1}, "c")
