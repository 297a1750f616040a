"""Rooms and channels by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import pytest
import trio

from protocol.errors import KeyReused, NotAMember, Refused
from protocol.frames import (
    AnyAction,
    Content,
    ConversationSlowMode,
    Entry,
    MemberBan,
    MemberRole,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageReact,
    MessageSchedule,
    MessageSend,
    PollCreate,
    RoomJoin,
    Source,
)
from storage.rows import Acted, NewKind, Rules
from storage.scheduled import SendScheduled
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    EVE,
    MOST,
    Bench,
    G,
    bench,
    group,
    log,
    place,
    say,
    seqs,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures


def join(key: str = "j", conversation: UUID = G) -> RoomJoin:
    return RoomJoin(id=1, conversation=conversation, key=key)


async def act(store: Store, author: UUID, action: AnyAction, most: int = 10) -> Acted:
    return await store.act(0, author, action, Rules(MOST, room_members=most))


async def refusal(store: Store, author: UUID, action: AnyAction, most: int = 10) -> str:
    with pytest.raises(Refused) as caught:
        await act(store, author, action, most)
    return caught.value.code


async def make(store: Store, kind: Any, *members: UUID, public: bool = True, history: Any = "all") -> None:
    more = NewKind(kind, "about it", ["chess", "tea"], public)
    await store.create_group(G, members[0], "make", "hall", history, members, MOST, more)


async def leave(store: Store, person: UUID, key: str = "l") -> int:
    return (await store.change_member(0, "leave", G, person, key, person, MOST, 10)).seq


# --- Rooms ------------------------------------------------------------------------------------------------------------


async def test_a_room_begins_with_its_first_entry(bench: Bench) -> None:
    store = bench.store
    await make(store, "room", ANN)
    [first] = await log(store, G)
    assert (first.kind, first.title, first.topic, first.tags, first.members) == (
        "created", "hall", "about it", ["chess", "tea"], [ANN],
    )  # fmt: skip
    found = await state(bench.other, ANN, G)
    assert (found.kind, found.topic, found.tags, found.public) == ("room", "about it", ["chess", "tea"], True)
    assert (found.members, found.member_count, found.owner) == ([], 1, ANN)
    made = await store.create_group(
        uid(90), ANN, "make", "hall", "all", [ANN], MOST, NewKind("room", "about it", ["chess", "tea"], True)
    )
    assert (made.conversation, made.new) == (G, False)
    with pytest.raises(KeyReused):
        other = NewKind("room", "about it", [], True)
        await store.create_group(uid(90), ANN, "make", "hall", "all", [ANN], MOST, other)


async def test_everybody_joins_a_room(bench: Bench) -> None:
    store = bench.store
    await make(store, "room", ANN)
    await talk(store, G, ANN, "k")
    number = (await store.standing(BOB, None)).number
    acted = await act(store, BOB, join())
    assert acted.entry == Entry(
        conversation=G, seq=3, kind="member.added", author=BOB, key="j", at_ms=acted.at_ms, user=BOB, count=2
    )
    assert (await log(bench.other, G))[2] == acted.entry
    after = await store.standing(BOB, None)
    assert after.number is not None
    assert number is not None
    assert after.number > number
    assert await seqs(store, BOB, G) == [1, 2, 3]
    assert (await state(store, BOB, G)).unread == 0, "the past is no news"
    assert await talk(store, G, BOB, "b") == [4]
    assert (await act(store, BOB, join())).seq == 3, "a repeat"
    assert await refusal(store, BOB, join("j2")) == "already_a_member"
    assert await leave(store, BOB) == 5
    last = (await log(store, G))[-1]
    assert (last.kind, last.user, last.count) == ("member.removed", BOB, 1)
    assert (await act(store, BOB, join())).seq == 3, "a repeat brings nobody back"
    with pytest.raises(NotAMember):
        await leave(store, BOB, "l2")
    assert (await act(store, BOB, join("j2"))).seq == 6


async def test_newcomers_see_the_past_or_not(bench: Bench) -> None:
    await make(bench.store, "room", ANN, history="from_join")
    await talk(bench.store, G, ANN, "k")
    await act(bench.store, BOB, join())
    assert await seqs(bench.store, BOB, G) == [3]


async def test_joins_that_are_refused(bench: Bench) -> None:
    store = bench.store
    assert await refusal(store, ANN, join()) == "not_found"
    await group(store, ANN, conversation=uid(80))
    assert await refusal(store, BOB, join(conversation=uid(80))) == "not_found", "a group"
    await make(store, "room", ANN)
    await act(store, ANN, MemberBan(id=1, conversation=G, key="b", user=BOB))
    assert await refusal(store, BOB, join()) == "banned"
    assert await refusal(store, CID, join(), most=1) == "conversation_full"
    await act(store, CID, join())
    await talk(store, G, CID, "used")
    assert await refusal(store, CID, join("used")) == "key_reused"


async def test_an_empty_room_opens_at_the_next_join(bench: Bench) -> None:
    """And waits for its owner."""
    store = bench.store
    await make(store, "room", ANN)
    await leave(store, ANN)
    last = (await log(store, G))[-1]
    assert (last.count, last.owner) == (0, ANN)
    await act(store, BOB, join())
    found = await state(store, BOB, G)
    assert (found.owner, found.admins, found.member_count) == (ANN, [], 1)
    assert await refusal(store, BOB, ConversationSlowMode(id=1, conversation=G, key="s", seconds=1)) == "forbidden"
    await act(store, ANN, join("j2"))
    assert (await act(store, ANN, ConversationSlowMode(id=1, conversation=G, key="s", seconds=1))).entry is not None


async def test_two_joins_for_the_last_place(bench: Bench) -> None:
    """Over two processes: one gets in."""
    await make(bench.store, "room", ANN, BOB, CID)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", DAN, join()))

        async def second() -> None:
            assert await refusal(bench.store, EVE, join(), most=4) == "conversation_full"

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (await state(bench.store, ANN, G)).member_count == 4


async def test_a_join_that_waits_for_a_ban_is_refused(bench: Bench) -> None:
    await make(bench.store, "room", ANN)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, MemberBan(id=1, conversation=G, key="b", user=BOB)))

        async def second() -> None:
            assert await refusal(bench.store, BOB, join()) == "banned"

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()


async def test_who_is_banned_from_a_room_is_counted_out(bench: Bench) -> None:
    await make(bench.store, "room", ANN, BOB)
    acted = await act(bench.store, ANN, MemberBan(id=1, conversation=G, key="b", user=BOB))
    assert acted.entry is not None
    assert acted.entry.count == 1
    assert (await state(bench.store, ANN, G)).member_count == 1


# --- Channels ---------------------------------------------------------------------------------------------------------


async def test_in_a_channel_few_write(bench: Bench) -> None:
    store = bench.store
    await make(store, "channel", ANN, BOB, CID)
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r", user=BOB, role="admin"))
    batch = [say(G, ANN, "a"), say(G, CID, "c"), say(G, BOB, "b"), say(G, DAN, "d")]
    answers = (await store.append(0, batch, {})).answers
    assert [(one.seq, one.error) for one in answers] == [(3, None), (None, "forbidden"), (4, None), (None, None)]
    reaction = MessageReact(id=1, conversation=G, key="x", seq=3, emoji="👍")
    assert (await act(store, CID, reaction)).entry is not None, "readers react"
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r2", user=BOB, role="member"))
    again, late = (await store.append(0, [say(G, BOB, "b"), say(G, BOB, "late")], {})).answers
    assert (again.seq, again.error, late.error) == (4, None, "forbidden"), "a repeat gets its first answer"


async def test_who_may_no_longer_write_edits_no_more(bench: Bench) -> None:
    """In a channel; an edit's repeat gets its first answer, and one's own messages may still be deleted."""
    store = bench.store
    await make(store, "channel", ANN, BOB)
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r", user=BOB, role="admin"))
    assert await talk(store, G, BOB, "k") == [3]
    first = MessageEdit(id=1, conversation=G, key="e", seq=3, text="better")
    edited = await act(store, BOB, first)
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r2", user=BOB, role="member"))
    assert (await act(store, BOB, first)).seq == edited.seq
    assert await refusal(store, BOB, MessageEdit(id=1, conversation=G, key="e2", seq=3, text="worse")) == "forbidden"
    assert (await act(store, BOB, MessageDelete(id=1, conversation=G, key="d", seq=3))).entry is not None


async def test_by_an_action_only_they_write_too(bench: Bench) -> None:
    """Answers, forwards, polls and scheduled messages are messages."""
    store = bench.store
    await make(store, "channel", ANN, BOB)
    await store.append(0, [say(G, ANN, "a")], {})
    answer = MessageSend(id=1, conversation=G, key="k", text="so", content=Content(reply_to=2))
    assert await refusal(store, BOB, answer) == "forbidden"
    forward = MessageForward(id=1, conversation=G, key="f", source=Source(G, 2))
    assert await refusal(store, BOB, forward) == "forbidden"
    poll = PollCreate(id=1, conversation=G, key="q", question="When?", options=["8", "9"])
    assert await refusal(store, BOB, poll) == "forbidden"
    assert (await act(store, ANN, answer)).seq == 3
    kept = await store.schedule(uid(80), BOB, MessageSchedule(id=1, conversation=G, key="l", at_ms=0, text="later"))
    with pytest.raises(Refused) as caught:
        await store.act(0, BOB, SendScheduled(G, kept.scheduled), Rules(MOST))
    assert caught.value.code == "forbidden"


async def test_a_message_that_waits_for_the_loss_of_the_right_is_refused(bench: Bench) -> None:
    await make(bench.store, "channel", ANN, BOB)
    await act(bench.store, ANN, MemberRole(id=1, conversation=G, key="r", user=BOB, role="admin"))
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, MemberRole(id=1, conversation=G, key="r2", user=BOB, role="member")))

        async def second() -> None:
            [answer] = (await bench.store.append(0, [say(G, BOB, "late")], {})).answers
            assert answer.error == "forbidden"

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()


async def test_only_a_public_channel_is_joined(bench: Bench) -> None:
    store = bench.store
    await make(store, "channel", ANN, public=False)
    assert await refusal(store, BOB, join()) == "not_found"
    added = await store.change_member(0, "add", G, ANN, "a", BOB, 1, 10)
    assert (added.seq, added.count) == (2, 2), "a channel's own bound"
    with pytest.raises(Refused) as caught:
        await store.change_member(0, "add", G, BOB, "a", CID, 1, 10)
    assert caught.value.code == "forbidden", "readers add nobody"
