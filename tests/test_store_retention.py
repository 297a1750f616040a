"""Messages that disappear, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from uuid import UUID

import pytest
import trio
from msgspec import UNSET

from protocol.errors import Refused
from protocol.frames import (
    AnyAction,
    Attachment,
    Content,
    ConversationRetention,
    Entry,
    MessageDelete,
    MessageEdit,
    MessageReact,
    MessageSchedule,
    MessageSend,
)
from storage.rows import Acted, Rules
from storage.scheduled import NOBODY, ExpireMessages, SendScheduled
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    MOST,
    Bench,
    D,
    G,
    bench,
    group,
    log,
    place,
    say,
    state,
    talk,
    uid,
)
from tests.test_store_messages import message

__all__ = ["bench", "place"]  # fixtures

RULES = Rules(MOST)
LEASE_S = 30.0


def retain(seconds: int, key: str = "t", conversation: UUID = G) -> ConversationRetention:
    return ConversationRetention(id=1, conversation=conversation, key=key, seconds=seconds)


async def act(store: Store, author: UUID, action: AnyAction | SendScheduled, rules: Rules = RULES) -> Acted:
    return await store.act(0, author, action, rules)


async def expire(store: Store, conversation: UUID = G, rules: Rules = RULES) -> Acted:
    return await store.act(0, NOBODY, ExpireMessages(conversation), rules)


async def refusal(store: Store, author: UUID, action: AnyAction) -> str:
    with pytest.raises(Refused) as caught:
        await act(store, author, action)
    return caught.value.code


async def test_how_long_messages_are_kept_is_an_entry_and_part_of_the_state(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    assert (await state(store, BOB, G)).retention_s is None
    acted = await act(store, ANN, retain(60))
    assert acted.entry == Entry(
        conversation=G, seq=2, kind="conversation.retention", author=ANN, key="t", at_ms=acted.at_ms, retention_s=60
    )
    assert (await log(bench.other, G))[1] == acted.entry
    assert (await state(bench.other, BOB, G)).retention_s == 60
    again = await act(bench.other, ANN, retain(60))
    assert (again.seq, again.at_ms, again.entry) == (2, acted.at_ms, None)
    same = await act(store, ANN, retain(60, "u"))
    assert (same.seq, same.entry) == (2, None), "it is so already"
    off = await act(store, ANN, retain(0, "v"))
    assert off.entry is not None
    assert (off.entry.seq, off.entry.retention_s) == (3, UNSET)
    assert (await state(store, BOB, G)).retention_s is None
    assert (await act(store, ANN, retain(60, "u"))).seq == 2, "a repeat undoes nothing"
    assert (await state(store, BOB, G)).retention_s is None
    assert await refusal(store, ANN, retain(61, "t")) == "key_reused"


async def test_who_may_say_how_long_messages_are_kept(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    assert await refusal(store, BOB, retain(60)) == "forbidden"
    assert await refusal(store, CID, retain(60)) == "not_a_member"
    await store.open_direct(D, ANN, BOB)
    assert (await act(store, ANN, retain(60, conversation=D))).seq == 2
    assert (await act(store, BOB, retain(0, conversation=D))).seq == 3, "both of a direct conversation"


async def test_messages_say_when_they_disappear_however_they_are_sent(bench: Bench) -> None:
    """By the short way and the long one, by a rich message, by one that was scheduled; not those of before."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "before")  # 2
    await act(store, ANN, retain(60))  # 3
    [short] = (await store.append(0, [say(G, ANN, "k")], {G: 0})).answers
    [old, long] = (await store.append(0, [say(G, ANN, "k"), say(G, BOB, "l")], {})).answers
    assert short.at_ms is not None
    assert long.at_ms is not None
    assert (short.expires_at_ms, long.expires_at_ms) == (short.at_ms + 60_000, long.at_ms + 60_000)
    assert (old.seq, old.new) == (4, False)
    reply = MessageSend(id=1, conversation=G, key="r", text="yes", content=Content(reply_to=2))
    rich = (await act(store, ANN, reply)).entry
    await store.schedule(uid(201), ANN, MessageSchedule(id=1, conversation=G, key="s", at_ms=0, text="later"))
    later = (await act(store, ANN, SendScheduled(G, uid(201)))).entry
    found = [one for one in await log(store, G) if one.kind == "message"]
    assert found[-2:] == [rich, later]
    assert [one.seq for one in found if one.expires_at_ms is UNSET] == [2]
    assert all(one.expires_at_ms == one.at_ms + 60_000 for one in found[1:])
    await act(store, ANN, retain(0, "u"))
    await talk(store, G, ANN, "after")
    assert (await log(store, G))[-1].expires_at_ms is UNSET


async def test_a_batch_tells_each_conversations_own_end(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await store.open_direct(D, ANN, BOB)
    await act(store, ANN, retain(60, conversation=D))
    answers = (await store.append(0, [say(G, ANN, "1"), say(D, ANN, "2"), say(G, ANN, "3")], {})).answers
    assert [one.expires_at_ms is None for one in answers] == [True, False, True]
    assert (await log(store, G))[1].expires_at_ms is UNSET
    assert (await log(store, D))[2].expires_at_ms == answers[1].expires_at_ms


async def test_a_change_leaves_a_messages_end_as_it_is(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, retain(60))
    await talk(store, G, ANN, "k")  # 3
    ends = (await message(store, 3)).expires_at_ms
    await act(store, BOB, MessageReact(id=1, conversation=G, key="x", seq=3, emoji="👍"))
    await act(store, ANN, MessageEdit(id=1, conversation=G, key="e", seq=3, text="edited"))
    found = await message(store, 3)
    assert (found.expires_at_ms, found.text, len(found.reactions), found.changed) == (ends, "edited", 1, 5)
    await act(store, ANN, MessageDelete(id=1, conversation=G, key="d", seq=3))
    assert (await message(store, 3)).expires_at_ms is UNSET


async def test_what_has_come_to_its_end_is_blanked_and_an_entry_says_so(bench: Bench) -> None:
    """All that it said goes: its versions, its reactions, its media. Its place and its key stay."""
    store = bench.store
    await group(store, ANN, BOB)
    await bench.add_upload(uid(301), ANN, "photo")
    await act(store, ANN, retain(1))  # 2
    shown = Content(media=[Attachment(uid(301), "photo")])
    await act(store, ANN, MessageSend(id=1, conversation=G, key="k", text="text of k", content=shown))  # 3
    await act(store, ANN, MessageEdit(id=1, conversation=G, key="e", seq=3, text="edited"))  # 4
    await act(store, BOB, MessageReact(id=1, conversation=G, key="x", seq=3, emoji="👍"))  # 5
    before = await state(store, BOB, G)
    assert (await expire(store)).entry is None, "nothing has yet"
    assert await bench.uses(uid(301)) == [(G, 3)]
    await trio.sleep(1.1)
    due = await bench.other.take_due(10, LEASE_S)
    assert (due.scheduled, due.expired) == ([], [G])
    assert (await store.take_due(10, LEASE_S)).expired == [], "taken"
    acted = await expire(bench.other)
    assert acted.entry == Entry(
        conversation=G, seq=6, kind="messages.expired", author=NOBODY, key="expired:6", at_ms=acted.at_ms, messages=[3]
    )
    assert (await log(store, G))[5] == acted.entry
    found = await message(store, 3)
    assert (found.text, found.content, found.edited_at_ms, found.reactions) == (UNSET, UNSET, UNSET, [])
    assert (found.deleted, found.changed, found.author, found.key, found.expires_at_ms) == (True, 6, ANN, "k", UNSET)
    assert (await log(store, G))[3].text is UNSET, "the edit"
    assert [one.text for one in (await store.edits(BOB, G, 3, 0)).versions] == [UNSET, UNSET]
    assert (await store.reactions(BOB, G, 3, None, None, 10)).reactions == []
    assert await bench.uses(uid(301)) == []
    after = await state(store, BOB, G)
    assert (after.head, after.active_at_ms, after.unread) == (6, before.active_at_ms, before.unread - 1)
    due = await store.take_due(10, 0.0)
    assert (due.expired, due.in_ms) == ([], None)
    [again] = (await store.append(0, [say(G, ANN, "k", "other")], {})).answers
    assert again.reused, "its key stands for ever"
    react = MessageReact(id=1, conversation=G, key="y", seq=3, emoji="👍")
    assert await refusal(store, BOB, react) == "message_deleted"


async def test_two_processes_at_once_blank_it_once(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, retain(1))
    await talk(bench.store, G, ANN, "k")
    await trio.sleep(1.1)
    answers: list[Acted] = []

    async def other() -> None:
        answers.append(await expire(bench.other))

    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", NOBODY, ExpireMessages(G)))
        nursery.start_soon(other)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in answers] == [(4, None)]
    assert [one.kind for one in await log(bench.store, G)][2:] == ["message", "messages.expired"]


async def test_an_edit_that_waits_for_the_end_is_refused(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, retain(1))
    await talk(bench.store, G, ANN, "k")
    await trio.sleep(1.1)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", NOBODY, ExpireMessages(G)))

        async def late() -> None:
            edit = MessageEdit(id=1, conversation=G, key="e", seq=3, text="late")
            assert await refusal(bench.store, ANN, edit) == "message_deleted"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()


async def test_so_many_disappear_by_one_entry(bench: Bench) -> None:
    """The rest by the next, at once; what was deleted before is not told again."""
    store, rules = bench.store, Rules(MOST, expired=3)
    await group(store, ANN, BOB)
    await act(store, ANN, retain(1))
    await talk(store, G, ANN, *(f"k{number}" for number in range(7)))  # 3 to 9
    await act(store, ANN, MessageDelete(id=1, conversation=G, key="d", seq=4))  # 10
    await act(store, ANN, retain(3_600, "u"))  # 11
    await talk(store, G, ANN, "stays")  # 12
    await trio.sleep(1.1)
    entries = []
    while True:
        due = await store.take_due(10, LEASE_S)
        if not due.expired:
            break
        entries.append((await expire(store, rules=rules)).entry)
    assert [one.messages for one in entries if one is not None] == [[3, 5], [6, 7, 8], [9]]
    assert due.in_ms is not None
    assert due.in_ms > 3_000_000
    assert (await message(store, 12)).text == "text of stays"


async def test_a_shorter_time_is_looked_at_earlier(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, DAN)
    await act(store, ANN, retain(3_600))
    await talk(store, G, ANN, "long")
    await act(store, ANN, retain(1, "u"))
    await talk(store, G, BOB, "short")
    due = await store.take_due(10, LEASE_S)
    assert due.in_ms is not None
    assert due.in_ms <= 1_000
    await trio.sleep(1.1)
    assert (await store.take_due(10, LEASE_S)).expired == [G]
    expired = (await expire(store)).entry
    assert expired is not None
    assert expired.messages == [5]


async def test_an_appends_memory_of_what_was_missed_has_ends(bench: Bench) -> None:
    """What others stored above the head comes whole."""
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, retain(60))
    await talk(store, G, ANN, "k")
    missed = (await bench.other.append(1, [say(G, BOB, "l")], {G: 1})).missed
    assert missed == (await log(store, G))[1:3]
