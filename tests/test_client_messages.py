"""What messages say now: every way of hearing of a change ends with the same messages."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from konnect_client import (
    Content,
    Conversation,
    ConversationChanged,
    Entity,
    Entry,
    Messages,
    Reaction,
    Replies,
    Rewound,
    ThreadNow,
    TypingSeen,
)
from tests.client_peer import ANN, BOB, HALL, ROOM


def entry(seq: int, kind: str = "message", **more: Any) -> Entry:
    fixed: dict[str, Any] = {"text": f"text {seq}"} if kind == "message" else {}
    return Entry(ROOM, seq, kind, ANN, f"k{seq}", seq * 10, **{**fixed, **more})


def edited(seq: int, of: int, text: str | None) -> Entry:
    return entry(seq, "message.edited", of=of, text=text, deleted=text is None)


def pinned(seq: int, of: int, on: bool = True) -> Entry:
    return entry(seq, "message.pinned", of=of, on=on)


def deleted(seq: int, of: int) -> Entry:
    return entry(seq, "message.deleted", of=of)


def reacted(seq: int, of: int, emoji: str, *users: str) -> Entry:
    return entry(seq, "message.reacted", of=of, emoji=emoji, on=bool(users), count=len(users), users=users)


def test_a_list_shows_the_last_message_that_is_in_no_thread() -> None:
    messages = Messages()
    assert messages.last(ROOM) is None
    messages.note(known())
    for one in (entry(1), entry(2), entry(3, content=Content(thread=1)), reacted(4, 3, "👍", BOB)):
        messages.note(one)
    last = messages.last(ROOM)
    assert last is not None
    assert last.seq == 2
    messages.note(deleted(5, 3))
    assert [one.seq for one in messages.of(ROOM) if one.in_thread] == [3], "a deleted answer stays where it was"
    assert messages.last(ROOM) == last


def known(recent: tuple[Entry, ...] = (), conversation: str = ROOM) -> ConversationChanged:
    found = Conversation(conversation, "group", "x", (ANN, BOB), 0, 1, 0, 0, 0, recent=recent)
    return ConversationChanged(found, None)


def after(*events: Any) -> list[Entry]:
    messages = Messages()
    for event in events:
        messages.note(event)
    return list(messages.of(ROOM))


def test_changes_are_applied() -> None:
    [one, two] = after(
        entry(1), entry(2), edited(3, 1, "new"), reacted(4, 2, "b", ANN), reacted(5, 2, "a", BOB), reacted(6, 2, "b")
    )
    assert one == replace(entry(1), text="new", edited_at_ms=30, changed=3)
    assert two == replace(entry(2), reactions=(Reaction("a", 1, (BOB,)),), changed=6)
    [gone] = after(entry(1), edited(2, 1, "new"), reacted(3, 1, "a", BOB), deleted(4, 1))
    assert gone == replace(entry(1), text=None, deleted=True, changed=4)


def test_content_and_pins_are_applied() -> None:
    bold, plain = Content(entities=(Entity("bold", 0, 1),)), Content(reply_to=1)
    said = entry(2, content=plain)
    [_, two] = after(entry(1), said, replace(edited(3, 2, "new"), content=bold), pinned(4, 2), reacted(5, 2, "a", BOB))
    assert two == replace(
        said, text="new", content=bold, pinned=True, edited_at_ms=30, reactions=(Reaction("a", 1, (BOB,)),), changed=5
    )
    [_, two] = after(entry(1), said, pinned(3, 2), edited(4, 2, "new"), pinned(5, 2, on=False))
    assert (two.content, two.pinned, two.changed) == (None, False, 5), "an edit says all of the content"
    [_, two] = after(entry(1), said, pinned(3, 2), deleted(4, 2), pinned(5, 2))
    assert two == replace(said, text=None, content=None, deleted=True, changed=4)


def test_what_a_message_shows_already_is_skipped() -> None:
    """It came as entry 4 left it, and then entries 2 to 5 come one by one."""
    now = replace(entry(1), text="newer", edited_at_ms=40, changed=4, reactions=(Reaction("a", 1, (BOB,)),))
    for count in range(4):
        changes = [edited(2, 1, "new"), reacted(3, 1, "a", BOB), edited(4, 1, "newer")]
        assert after(now, *changes[:count]) == [now], "nothing flickers"
    assert after(now, *changes, reacted(5, 1, "a")) == [replace(now, reactions=(), changed=5)]


def test_an_edit_of_what_is_deleted_now_says_nothing() -> None:
    assert after(entry(1), edited(2, 1, None)) == [entry(1)]
    [gone] = after(entry(1), edited(2, 1, None), deleted(3, 1), edited(4, 1, "no"), reacted(5, 1, "a", BOB))
    assert (gone.text, gone.deleted, gone.reactions, gone.changed) == (None, True, (), 3)


def test_a_page_that_was_read_before_a_change_undoes_nothing() -> None:
    messages = Messages()
    messages.note(entry(1))
    messages.note(edited(2, 1, "new"))
    messages.learn([entry(1)])
    assert messages.get(ROOM, 1) == replace(entry(1), text="new", edited_at_ms=20, changed=2)
    messages.learn([replace(entry(1), text="newest", edited_at_ms=30, changed=3), entry(4, "member.added")])
    messages.note(edited(3, 1, "newest"))
    assert [one.text for one in messages.of(ROOM)] == ["newest"]


def test_what_is_not_known_here_is_let_go() -> None:
    assert after(edited(3, 1, "new"), deleted(4, 2), reacted(5, 1, "a", BOB), entry(6, "poll.closed", of=1)) == []
    assert after(entry(1), entry(2, "message.pinned", of=1), TypingSeen(ROOM, BOB)) == [entry(1)]
    assert Messages().get(HALL, 1) is None


def test_an_absence_and_a_rewind_forget() -> None:
    messages = Messages()
    for event in (known(conversation=HALL), known(), entry(1), known((entry(4),))):
        messages.note(event)
    assert list(messages.of(ROOM)) == [entry(4)], "what changed during the absence was not told"
    messages.note(Rewound(ROOM))
    assert list(messages.of(ROOM)) == []
    messages.note(entry(1))
    messages.note(Rewound(None))
    assert list(messages.of(ROOM)) == []


def test_it_is_bounded() -> None:
    messages = Messages(kept=3)
    messages.learn(entry(seq) for seq in (5, 1, 4, 2, 3))
    assert [one.seq for one in messages.of(ROOM)] == [3, 4, 5]


users = st.lists(st.sampled_from([ANN, BOB]), unique=True)
change = st.one_of(
    st.tuples(st.just("edit"), st.integers(1, 3), st.sampled_from("xyz")),
    st.tuples(st.just("react"), st.integers(1, 3), st.sampled_from("ab"), users),
    st.tuples(st.just("pin"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("delete"), st.integers(1, 3)),
)


@given(changes=st.lists(change, max_size=12), seed=st.integers(0, 2**16), data=st.data())
def test_all_ways_end_alike(changes: list[Any], seed: int, data: st.DataObject) -> None:
    """Live; away in between and given rows as they stand; the same again; pages of any moment at any moment."""
    log = [entry(1), entry(2), entry(3)]
    states = [after(*log)]
    for one in changes:
        match one:
            case "edit", of, text:
                content = None if text == "x" else Content(mention_all=text)
                new = replace(edited(len(log) + 1, of, text), content=content)
            case "pin", of, on:
                new = pinned(len(log) + 1, of, on)
            case "react", of, emoji, users:
                new = reacted(len(log) + 1, of, emoji, *users)
            case _:
                new = deleted(len(log) + 1, one[1])
        if not states[-1][new.of - 1].deleted:  # type: ignore[operator]  # the server refuses it otherwise
            log.append(new)
            states.append(after(*log))
    end = states[-1]
    head = data.draw(st.integers(0, len(log)))
    back = Messages()
    for event in log[:head]:
        back.note(event)
    for event in log[head:]:
        back.note(end[event.seq - 1] if event.kind == "message" else event)
    assert list(back.of(ROOM)) == end
    for event in log[head:]:
        back.note(event)
    assert list(back.of(ROOM)) == end, "the same again changes nothing"
    reading, chance = Messages(), random.Random(seed)
    for event in log:
        reading.note(event)
        if chance.random() < 0.5:
            reading.learn(one for one in chance.choice(states) if one.seq <= event.seq)
    assert list(reading.of(ROOM)) == end


@pytest.mark.parametrize("emojis", [["👍", "a", "é"], ["𝄞", "\uffff"]])
def test_reactions_stand_in_the_order_of_code_points(emojis: list[str]) -> None:
    """As the server sorts them; UTF-16 would not."""
    [one] = after(entry(1), *(reacted(seq, 1, emoji, BOB) for seq, emoji in enumerate(emojis, 2)))
    in_order = sorted(emojis, key=lambda emoji: [ord(part) for part in emoji])
    assert [reaction.emoji for reaction in one.reactions] == in_order


def answered(seq: int, root: int, *users: str, count: int | None = None) -> Entry:
    replies = Replies(len(users) if count is None else count, seq, seq * 10, users)
    return entry(seq, content=Content(thread=root), threads=(ThreadNow(root, replies),))


def test_a_root_shows_what_its_thread_has() -> None:
    [root, *_] = after(entry(1), answered(2, 1, ANN), answered(3, 1, ANN, BOB))
    assert (root.replies, root.changed) == (Replies(2, 3, 30, (ANN, BOB)), 3)
    [root, gone, _] = after(
        entry(1), answered(2, 1, ANN), answered(3, 1, ANN, BOB),
        entry(4, "message.deleted", of=2, threads=(ThreadNow(1, Replies(1, 3, 30, (BOB,))),)),
    )  # fmt: skip
    assert (root.replies, root.changed) == (Replies(1, 3, 30, (BOB,)), 4)
    assert (gone.deleted, gone.content, gone.threads) == (True, Content(thread=1), ()), "it stays in its thread"
    [root, gone] = after(
        entry(1), answered(2, 1, ANN), entry(3, "messages.expired", messages=(2,), threads=(ThreadNow(1),))
    )
    assert (root.replies, root.changed, gone.deleted) == (None, 3, True)


def test_what_a_root_shows_already_is_not_taken_again() -> None:
    newer = entry(1, replies=Replies(2, 3, 30, (ANN, BOB)), changed=3)
    [root, *_] = after(newer, answered(2, 1, ANN), answered(3, 1, ANN, BOB), answered(2, 1, ANN))
    assert root == newer
    gone = entry(1, text=None, deleted=True, changed=4)
    assert after(gone, answered(5, 1, ANN))[0] == gone, "a deletion is the last change"
    [one] = after(answered(2, 1, ANN))
    assert one.threads, "a root that is not known is none to show"
    assert after(entry(1), answered(2, 1, ANN), deleted(3, 1))[0].replies is None
