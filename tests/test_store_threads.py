"""Threads, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import pytest
import trio
from msgspec import UNSET, UnsetType

from protocol.errors import BadCursor, InAThread, NotAMember, Refused, UnknownMessage
from protocol.frames import (
    AnyAction,
    Content,
    ConversationAdd,
    ConversationRemove,
    ConversationRetention,
    Entry,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageHide,
    MessageReact,
    MessageSchedule,
    MessageSend,
    OneThread,
    OwnThread,
    PollCreate,
    Replies,
    Source,
    ThreadFollow,
    ThreadNow,
    ThreadRead,
)
from storage.rows import Acted, Kept, NewMessage, Rules
from storage.scheduled import NOBODY, ExpireMessages, SendScheduled
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    MOST,
    Bench,
    G,
    bench,
    group,
    log,
    people,
    place,
    state,
    talk,
    uid,
)
from tests.test_store_messages import message

__all__ = ["bench", "place"]  # fixtures


def answer(key: str = "a", root: int = 2, text: str = "yes") -> MessageSend:
    return MessageSend(id=1, conversation=G, key=key, text=text, content=Content(thread=root))


def delete(seq: int, key: str = "d") -> MessageDelete:
    return MessageDelete(id=1, conversation=G, key=key, seq=seq)


async def act(store: Store, author: Any, action: AnyAction) -> Acted:
    return await store.act(0, author, action, Rules(MOST))


async def refusal(store: Store, author: Any, action: AnyAction) -> str:
    with pytest.raises(Refused) as caught:
        await act(store, author, action)
    return caught.value.code


async def keep(store: Store, person: UUID, command: ThreadFollow | ThreadRead | MessageHide) -> Kept:
    return await store.keep(person, command, Rules())


async def replies(store: Store, seq: int = 2) -> Replies | UnsetType:
    return (await message(store, seq)).replies


async def listed(store: Store, person: UUID = ANN) -> list[OneThread]:
    return (await store.threads(person, G, None, 100)).threads


async def unread(store: Store, person: UUID, root: int = 2) -> int:
    return next(one.unread for one in await listed(store, person) if one.seq == root)


async def follows(store: Store, person: UUID, root: int = 2) -> bool:
    return next(one.following for one in await listed(store, person) if one.seq == root)


def follow(on: bool, key: str, root: int = 2) -> ThreadFollow:
    return ThreadFollow(id=1, conversation=G, key=key, seq=root, on=on)


def read(through: int, key: str, root: int = 2) -> ThreadRead:
    return ThreadRead(id=1, conversation=G, key=key, seq=root, read=through)


async def test_an_answer_is_a_message_of_the_log_and_its_root_shows_it(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await talk(store, G, ANN, "k")  # 2
    acted = await act(store, BOB, answer())
    now = Replies(1, 3, acted.at_ms, [BOB])
    assert acted.entry == Entry(
        conversation=G, seq=3, kind="message", author=BOB, key="a", at_ms=acted.at_ms, text="yes",
        content=Content(thread=2), threads=[ThreadNow(2, now)],
    )  # fmt: skip
    assert (await log(bench.other, G))[2] == acted.entry
    root = await message(store)
    assert (root.replies, root.changed) == (now, 3)
    await act(store, CID, answer())
    last = await act(store, BOB, answer("b"))
    assert await replies(store) == Replies(3, 5, last.at_ms, [BOB, CID])
    again = await act(bench.other, BOB, answer())
    assert (again.seq, again.entry) == (3, None), "a repeat counts nothing"
    assert await refusal(store, BOB, answer(text="no")) == "key_reused"
    assert (await replies(store)) == Replies(3, 5, last.at_ms, [BOB, CID])


async def test_five_people_are_named_in_the_order_of_their_first_message(bench: Bench) -> None:
    store = bench.store
    await store.create_group(G, ANN, "make", "club", "all", people, 6)
    await talk(store, G, ANN, "k")  # 2
    for number, person in enumerate([CID, ANN, CID, BOB, DAN, people[4], people[5]]):
        await act(store, person, answer(str(number)))
    found = await replies(store)
    assert found is not UNSET
    assert found.users == [CID, ANN, BOB, DAN, people[4]]
    await act(store, ANN, delete(4))
    found = await replies(store)
    assert found is not UNSET
    assert found.users == [CID, BOB, DAN, people[4], people[5]], "who has nothing left there is named no more"


async def test_answers_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, BOB, answer())  # 3
    assert await refusal(store, CID, answer("n")) == "not_a_member"
    assert await refusal(store, BOB, answer("n", 3)) == "in_a_thread"
    assert await refusal(store, BOB, answer("n", 1)) == "unknown_message", "not a message"
    assert await refusal(store, BOB, answer("n", 9)) == "unknown_message"
    await act(store, BOB, delete(3))
    assert await refusal(store, BOB, answer("n", 3)) == "in_a_thread", "a deleted message stays where it was"
    await act(store, ANN, delete(2))
    assert await refusal(store, BOB, answer("n")) == "message_deleted"
    assert (await act(store, BOB, answer())).seq == 3, "a repeat gets its first answer"


async def test_a_root_that_a_newcomer_does_not_see_is_none_for_them(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    await talk(store, G, ANN, "k")  # 2
    await act(store, BOB, answer())  # 3
    await act(store, ANN, ConversationAdd(id=1, conversation=G, key="add", user=CID))  # 4
    assert await refusal(store, CID, answer("n")) == "unknown_message"
    assert await listed(store, CID) == []
    with pytest.raises(UnknownMessage):
        await store.thread(CID, G, 2, None, 10)
    with pytest.raises(UnknownMessage):
        await keep(store, CID, follow(True, "f"))


async def test_a_deletion_lowers_the_count_and_the_entry_says_to_what(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    first = await act(store, BOB, answer())  # 3
    await act(store, ANN, answer("b"))  # 4
    gone = await act(store, ANN, delete(4))
    now = Replies(1, 3, first.at_ms, [BOB])
    assert gone.entry is not None
    assert (gone.entry.of, gone.entry.threads) == (4, [ThreadNow(2, now)])
    assert (await log(store, G))[4] == gone.entry
    root = await message(store)
    assert (root.replies, root.changed) == (now, 5)
    blank = await message(store, 4)
    assert (blank.deleted, blank.text, blank.content, blank.threads) == (True, UNSET, Content(thread=2), [])
    last = await act(store, BOB, delete(3))
    assert last.entry is not None
    assert last.entry.threads == [ThreadNow(2)]
    assert await replies(store) is UNSET
    assert await listed(store) == [], "a thread without messages is none"
    plain = await act(store, ANN, delete(2, "e"))
    assert plain.entry is not None
    assert plain.entry.threads == []


async def test_a_deleted_root_leaves_the_threads_messages(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, BOB, answer())  # 3
    second = await act(store, BOB, answer("b"))  # 4
    await act(store, ANN, delete(2))  # 5
    root = await message(store)
    assert (root.replies, root.changed, root.deleted) == (UNSET, 5, True)
    assert [one.text for one in (await store.thread(BOB, G, 2, None, 10)).entries] == ["yes", "yes"]
    assert [one.replies for one in await listed(store)] == [Replies(2, 4, second.at_ms, [BOB])]
    gone = await act(store, BOB, delete(3))
    assert gone.entry is not None
    assert gone.entry.threads == [], "the root shows nothing, so there is nothing to tell"
    assert (await message(store)).changed == 5
    assert [one.replies.count for one in await listed(store)] == [1]


async def test_what_is_done_to_an_answer_leaves_it_in_its_thread(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    acted = await act(store, BOB, answer())  # 3
    await act(store, BOB, MessageEdit(id=1, conversation=G, key="e", seq=3, text="no"))
    await act(store, ANN, MessageReact(id=1, conversation=G, key="x", seq=3, emoji="👍"))
    await act(store, ANN, MessageReact(id=1, conversation=G, key="y", seq=2, emoji="👍"))
    found = await message(store, 3)
    assert acted.entry is not None
    assert (found.text, found.content, found.threads) == ("no", Content(thread=2), acted.entry.threads)
    assert await replies(store) == Replies(1, 3, acted.at_ms, [BOB])
    copy = MessageForward(id=1, conversation=G, key="f", source=Source(G, 3))
    forwarded = (await act(store, BOB, copy)).entry
    assert forwarded is not None
    assert forwarded.content is not UNSET
    assert forwarded.content.thread is UNSET, "a copy is in no thread"


async def test_a_poll_can_be_a_root_and_an_answer_can_wait_for_its_time(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, PollCreate(id=1, conversation=G, key="q", question="?", options=["a", "b"]))  # 2
    later = MessageSchedule(
        id=1, conversation=G, key="s", at_ms=1, text="now", content=Content(thread=2)
    )
    waiting = await store.schedule(uid(900), BOB, later)
    sent = await store.act(0, BOB, SendScheduled(G, waiting.scheduled), Rules())
    assert await replies(store) == Replies(1, sent.seq, sent.at_ms, [BOB])
    assert (await message(store)).poll is not UNSET
    await act(store, ANN, delete(2))
    waiting = await store.schedule(uid(901), BOB, MessageSchedule(
        id=1, conversation=G, key="s2", at_ms=1, text="now", content=Content(thread=2)
    ))  # fmt: skip
    with pytest.raises(Refused) as caught:
        await store.act(0, BOB, SendScheduled(G, waiting.scheduled), Rules())
    assert caught.value.code == "message_deleted"


async def test_what_disappears_lowers_the_counts_of_all_its_roots(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await talk(store, G, ANN, "l")  # 3
    await act(store, BOB, answer())  # 4: stays
    await act(store, ANN, ConversationRetention(id=1, conversation=G, key="t", seconds=1))  # 5
    await act(store, BOB, answer("b", 2))  # 6
    await act(store, BOB, answer("c", 3))  # 7
    await talk(store, G, ANN, "m")  # 8
    await act(store, BOB, answer("e", 8))  # 9
    await trio.sleep(1.1)
    gone = await store.act(0, NOBODY, ExpireMessages(G), Rules())
    assert gone.entry is not None
    assert gone.entry.messages == [6, 7, 8, 9]
    kept = await message(store, 4)
    assert gone.entry.threads == [
        ThreadNow(2, Replies(1, 4, kept.at_ms, [BOB])), ThreadNow(3),
    ], "a root that is gone shows nothing"  # fmt: skip
    assert await replies(store) == Replies(1, 4, kept.at_ms, [BOB])
    assert await replies(store, 3) is UNSET
    assert (await message(store, 3)).changed == gone.seq
    assert (await log(store, G))[-1] == gone.entry


async def test_threads_are_not_unread_in_the_conversation(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, ANN, answer())  # 3
    await act(store, ANN, answer("b"))  # 4
    assert (await state(store, BOB, G)).unread == (await store.unread_total(BOB)).messages == 1
    await act(store, ANN, delete(3))
    assert (await state(store, BOB, G)).unread == 1, "nor once they are deleted"
    assert (await store.unread_total(BOB)).messages == 1
    assert await unread(store, BOB) == 1


async def test_one_follows_what_one_writes_in_unless_one_said_no(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)
    await talk(store, G, ANN, "k")  # 2
    await keep(store, DAN, follow(True, "before"))
    await act(store, BOB, answer())  # 3
    assert [await follows(store, one) for one in (ANN, BOB, CID, DAN)] == [True, True, False, True]
    await keep(store, BOB, follow(False, "f"))
    await act(store, BOB, answer("b"))
    assert not await follows(store, BOB), "said is said"
    await keep(store, BOB, read(3, "r"))
    assert not await follows(store, BOB)
    await keep(store, BOB, follow(True, "g"))
    assert await follows(store, BOB)
    late = await keep(bench.other, BOB, follow(False, "f"))
    assert not late.new
    assert await follows(store, BOB), "a late repeat undoes nothing"
    with pytest.raises(Refused) as caught:
        await keep(store, BOB, follow(True, "f"))
    assert caught.value.code == "key_reused"
    await keep(store, CID, read(3, "r"))
    await act(store, CID, answer("c"))
    await act(store, CID, delete(5))
    assert await follows(store, CID), "who only read did not say no, and who has deleted it has written"


async def test_a_row_of_ones_own_says_it_to_all_devices(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, BOB, answer())  # 3
    kept = await keep(store, ANN, read(3, "r"))
    await keep(store, ANN, follow(False, "f"))
    page = await store.personal(ANN, 0, kept.number + 10**15, True, 100, 10**6)
    [row] = [one.state for one in page.rows if one.state.what == "thread"]
    assert (row.subject, row.thread) == (f"{G}/2", OwnThread(False, 3))
    same = await keep(store, ANN, follow(False, "f2"))
    assert same.number == page.rows[-1].number, "nothing changed"


async def test_the_read_cursor_of_a_thread_only_rises(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    for key in "abc":
        await act(store, BOB, answer(key))  # 3, 4, 5
    assert await unread(store, ANN) == 3
    await keep(store, ANN, read(4, "r"))
    assert await unread(store, ANN) == 1
    await keep(store, ANN, read(3, "s"))
    assert [(one.read, one.unread) for one in await listed(store)] == [(4, 1)]
    await keep(store, ANN, read(900, "t"))
    assert [(one.read, one.unread) for one in await listed(store)] == [(5, 0)], "clamped to what exists"
    await act(store, BOB, answer("d"))
    assert await unread(store, ANN) == 1
    await act(store, ANN, answer("mine"))
    assert await unread(store, ANN) == 1, "one's own do not count"
    await keep(store, ANN, MessageHide(id=1, conversation=G, key="h", seqs=[6]))
    assert await unread(store, ANN) == 0, "nor does what one has hidden"


async def test_marks_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, BOB, answer())  # 3
    for no, person, command in (
        ("not_a_member", CID, follow(True, "x")),
        ("not_a_member", CID, read(3, "y")),
        ("unknown_message", ANN, follow(True, "x", 1)),
        ("unknown_message", ANN, read(3, "y", 9)),
        ("in_a_thread", ANN, follow(True, "x", 3)),
        ("in_a_thread", ANN, read(3, "y", 3)),
    ):
        with pytest.raises(Refused) as caught:
            await keep(store, person, command)
        assert caught.value.code == no


async def test_threads_are_listed_last_active_first_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    for key in "klmn":
        await talk(store, G, ANN, key)  # 2, 3, 4, 5
    for number, root in enumerate((3, 2, 4, 3)):
        await act(store, BOB, answer(f"a{number}", root))  # 6, 7, 8, 9
    first = await store.threads(ANN, G, None, 2)
    assert [(one.seq, one.replies.last_seq) for one in first.threads] == [(3, 9), (4, 8)]
    rest = await store.threads(ANN, G, first.cursor, 2)
    assert [one.seq for one in rest.threads] == [2]
    assert rest.cursor is None
    for cursor in ("x", "!", "wQ==", "0////////////w==", first.cursor + "A"):  # type: ignore[operator]
        with pytest.raises(BadCursor):
            await store.threads(ANN, G, cursor, 2)
    with pytest.raises(NotAMember):
        await store.threads(CID, G, None, 2)
    await act(store, ANN, ConversationRemove(id=1, conversation=G, key="r", user=BOB))
    with pytest.raises(NotAMember):
        await store.threads(BOB, G, None, 2)


async def test_a_threads_messages_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    for number in range(5):
        await act(store, BOB, answer(f"a{number}"))  # 3, 5, 7, 9, 11
        await talk(store, G, ANN, f"between {number}")
    await act(store, BOB, delete(5))
    newest = await bench.other.thread(ANN, G, 2, None, 2)
    assert ([one.seq for one in newest.entries], newest.more) == ([9, 11], True)
    assert newest.entries == [await message(store, 9), await message(store, 11)]
    older = await store.thread(ANN, G, 2, 9, 10)
    assert [(one.seq, one.deleted) for one in older.entries] == [(3, False), (5, True), (7, False)]
    assert not older.more
    assert (await store.thread(ANN, G, 4, None, 10)).entries == [], "a thread that nobody began"
    with pytest.raises(InAThread):
        await store.thread(ANN, G, 3, None, 10)
    with pytest.raises(NotAMember):
        await store.thread(CID, G, 2, None, 10)


async def test_who_was_removed_reads_a_thread_up_to_there(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, ANN, answer())  # 3
    await act(store, ANN, ConversationRemove(id=1, conversation=G, key="r", user=BOB))  # 4
    await act(store, ANN, answer("b"))  # 5
    assert [one.seq for one in (await store.thread(BOB, G, 2, None, 10)).entries] == [3]
    await act(store, ANN, ConversationAdd(id=1, conversation=G, key="add", user=BOB))  # 6
    await act(store, ANN, answer("c"))  # 7
    assert [one.seq for one in (await store.thread(BOB, G, 2, None, 10)).entries] == [3, 7]
    assert await unread(store, BOB) == 2


async def test_two_answers_at_once_count_two(bench: Bench) -> None:
    """From two processes: whoever has the lock first is first."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")  # 2
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, answer()))
        nursery.start_soon(act, bench.other, ANN, answer())
        await bench.until_waiting()
        await commit()
    found = await replies(bench.store)
    assert found is not UNSET
    assert (found.count, found.last_seq, found.users) == (2, 4, [BOB, ANN])


async def test_one_answer_twice_at_once_counts_one(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")  # 2
    answers: list[Acted] = []

    async def other() -> None:
        answers.append(await act(bench.other, BOB, answer()))

    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, answer()))
        nursery.start_soon(other)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in answers] == [(3, None)]
    found = await replies(bench.store)
    assert found is not UNSET
    assert found.count == 1


@pytest.mark.parametrize("first", ["answer", "delete"])
async def test_an_answer_and_its_roots_deletion_at_once(bench: Bench, first: str) -> None:
    """Whoever has the lock first is first; the root shows nothing after it."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")  # 2
    outcomes: list[str] = []

    async def other(author: Any, action: AnyAction) -> None:
        try:
            outcomes.append(str((await act(bench.other, author, action)).seq))
        except Refused as problem:
            outcomes.append(problem.code)

    async with trio.open_nursery() as nursery:
        pair: list[tuple[UUID, MessageSend | MessageDelete]] = [(BOB, answer()), (ANN, delete(2))]
        held, waits = pair if first == "answer" else pair[::-1]
        commit = await bench.hold(("act", *held))
        nursery.start_soon(other, *waits)
        await bench.until_waiting()
        await commit()
    assert outcomes == (["4"] if first == "answer" else ["message_deleted"])
    root = await message(bench.store)
    assert (root.deleted, root.replies) == (True, UNSET)
    found = await bench.store.thread(BOB, G, 2, None, 10)
    assert len(found.entries) == int(first == "answer")


async def test_unread_is_what_a_recount_says(bench: Bench) -> None:
    """Of what one sees page by page, whatever was deleted, read and hidden."""
    store = bench.store
    await group(store, ANN, BOB, CID)
    await store.append(0, [NewMessage(G, ANN, f"k{n}", "x") for n in range(3)], {})  # 2, 3, 4
    for number in range(30):
        await act(store, (ANN, BOB, CID)[number % 3], answer(f"a{number}", 2 + number * 7 % 3))
    entries = await log(store, G)
    for seq in (6, 9, 30):
        await act(store, entries[seq - 1].author, delete(seq, f"d{seq}"))
        await keep(store, BOB, MessageHide(id=1, conversation=G, key=f"h{seq}", seqs=[seq + 1]))
    await keep(store, BOB, read(17, "r", 2))
    await keep(store, BOB, read(11, "s", 3))
    hidden = {7, 10, 31}
    for person in (ANN, BOB, CID):
        for one in await listed(store, person):
            said = (await store.thread(person, G, one.seq, None, 100)).entries
            recount = sum(
                entry.author != person and not entry.deleted and entry.seq > one.read
                and not (person == BOB and entry.seq in hidden)
                for entry in said
            )  # fmt: skip
            assert (one.unread, one.replies.count) == (recount, sum(not entry.deleted for entry in said))
