"""What is unread, by the contract of every ``Store``; and that the numbers never drift from a recount."""

import itertools
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from protocol import limits
from protocol.errors import Refused
from protocol.frames import MessageDelete, MessageEdit, MessageReact, Unread
from storage.rows import Raise, Rules
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
    H,
    PostgresBench,
    bench,
    group,
    place,
    postgres_bench,
    say,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures


async def total(store: Store, person: UUID) -> tuple[int, int]:
    """The badge, which agrees with the states."""
    found = await store.unread_total(person)
    page = await store.listing(person, None, 100)
    counts = [one.unread for one in page.conversations]
    assert found == Unread(min(sum(counts), limits.UNREAD_TOTAL), sum(1 for count in counts if count))
    return found.messages, found.conversations


async def read(store: Store, person: UUID, conversation: UUID, seq: int) -> None:
    await store.raise_receipts([Raise(conversation, person, seq, seq)])


async def test_the_badge_counts_messages_and_conversations(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, BOB, CID, conversation=H)
    await store.open_direct(D, ANN, BOB)
    assert await total(store, BOB) == (0, 0)
    await talk(store, G, ANN, "1", "2", "3")
    await talk(store, D, ANN, "1")
    await talk(store, H, CID, "1")
    assert await total(store, BOB) == (5, 3)
    await read(bench.other, BOB, G, 3)
    assert await total(store, BOB) == (3, 3)
    await read(store, BOB, G, 4)
    assert await total(store, BOB) == (2, 2)
    assert await total(store, ANN) == (1, 1)
    assert await total(store, DAN) == (0, 0)


async def test_a_deleted_message_is_not_unread(bench: Bench) -> None:
    """Nor is what else happened to messages; and an edited one is as unread as it was."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "1", "2")
    await store.act(0, ANN, MessageEdit(id=1, conversation=G, key="e", seq=2, text="other"), Rules())
    await store.act(0, ANN, MessageReact(id=1, conversation=G, key="r", seq=3, emoji="👍", on=True), Rules())
    assert await total(store, BOB) == (2, 1)
    await store.act(0, ANN, MessageDelete(id=1, conversation=G, key="d", seq=2), Rules())
    assert ((await state(store, BOB, G)).unread, await total(store, BOB)) == (1, (1, 1))
    await store.act(0, ANN, MessageDelete(id=1, conversation=G, key="d3", seq=3), Rules())
    assert ((await state(store, BOB, G)).unread, await total(store, BOB)) == (0, (0, 0))


async def test_what_was_left_and_what_came_before_one_joined_is_not_unread(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    await talk(store, G, ANN, "1")
    assert await total(store, BOB) == (1, 1)
    await store.change_member(0, "leave", G, BOB, "l", BOB, MOST)
    await talk(store, G, ANN, "2")
    assert await total(store, BOB) == (0, 0)
    await store.change_member(0, "add", G, ANN, "a", BOB, MOST)
    await store.change_member(0, "add", G, ANN, "c", CID, MOST)
    assert (await total(store, BOB), await total(store, CID)) == ((0, 0), (0, 0))
    await talk(store, G, ANN, "3")
    assert (await total(store, BOB), await total(store, CID)) == ((1, 1), (1, 1))


async def test_the_badge_counts_up_to_a_bound_and_conversations_beyond_it(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, BOB, conversation=H)
    await store.open_direct(D, ANN, BOB)
    for first in range(0, limits.UNREAD + 200, 400):
        for conversation in (G, H):
            await store.append(0, [say(conversation, ANN, f"k{first + n}") for n in range(400)], {})
    assert await total(store, BOB) == (limits.UNREAD_TOTAL, 2)
    await talk(store, D, ANN, "1")
    assert await total(store, BOB) == (limits.UNREAD_TOTAL, 3)


async def test_what_is_muted_or_archived_is_not_in_the_badge(bench: Bench) -> None:
    """And what is marked as unread is one conversation of it, whatever the cursors say."""
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, BOB, conversation=H)
    await store.open_direct(D, ANN, BOB)
    await talk(store, G, ANN, "1", "2")
    await talk(store, H, ANN, "1")
    await bench.set_personal(BOB, "settings", str(D), {"unread": True})

    async def badge() -> tuple[int, int]:
        found = await store.unread_total(BOB)
        return found.messages, found.conversations

    assert await badge() == (3, 3)
    await bench.set_personal(BOB, "settings", str(G), {"muted": True})
    assert await badge() == (1, 2)
    await bench.set_personal(BOB, "settings", str(G), {"muted": True, "muted_until_ms": 1})
    assert await badge() == (3, 3), "the muting has ended"
    await bench.set_personal(BOB, "settings", str(H), {"archived": True, "unread": True})
    assert await badge() == (2, 2)
    await bench.set_personal(BOB, "settings", str(G), {"unread": True})
    assert await badge() == (2, 2), "it has unread messages anyway"


# --- A recount --------------------------------------------------------------------------------------------------------

# By another way than the server's: every message, minus all that makes one not unread.
RECOUNT = """
    select e.conversation, count(*) from entry e
    join span s on s.conversation = e.conversation and s.person = %(p)s and s.until is null
    where e.kind = 'message' and e.author <> %(p)s and e.seq >= s.since
      and not exists (select from receipt r
                      where r.conversation = e.conversation and r.person = %(p)s and r.read >= e.seq)
      and not exists (select from entry d where d.conversation = e.conversation and d.kind = 'message.deleted'
                      and (d.detail ->> 'of')::bigint = e.seq)
    group by e.conversation"""

_base = itertools.count(500_000, 1_000)
_people, _places, _seqs = st.integers(0, 3), st.integers(0, 3), st.integers(1, 14)
_operation = st.one_of(
    st.tuples(st.just("send"), _places, _people, st.integers(1, 3)),
    st.tuples(st.just("send"), _places, _people, st.integers(1, 3)),
    st.tuples(st.just("read"), _places, _people, _seqs),
    st.tuples(st.just("delete"), _places, _people, _seqs),
    st.tuples(st.just("edit"), _places, _people, _seqs),
    st.tuples(st.just("react"), _places, _people, _seqs),
    st.tuples(st.just("add"), _places, _people, _people),
    st.tuples(st.just("remove"), _places, _people, _people),
    st.tuples(st.just("leave"), _places, _people),
)  # fmt: skip


async def _do(store: Store, ids: list[UUID], places: list[UUID], key: str, operation: tuple[Any, ...]) -> None:
    name, nth, author, *rest = operation
    conversation, person = places[nth], ids[author]
    match name, rest:
        case "send", (count,):
            await store.append(0, [say(conversation, person, f"{key}-{n}") for n in range(count)], {})
        case "read", (seq,):
            await read(store, person, conversation, seq)
        case "delete", (seq,):
            await store.act(0, person, MessageDelete(id=1, conversation=conversation, key=key, seq=seq), Rules())
        case "edit", (seq,):
            edit = MessageEdit(id=1, conversation=conversation, key=key, seq=seq, text=key)
            await store.act(0, person, edit, Rules())
        case "react", (seq,):
            react = MessageReact(id=1, conversation=conversation, key=key, seq=seq, emoji="👍", on=True)
            await store.act(0, person, react, Rules())
        case ("add" | "remove"), (other,):
            await store.change_member(0, name, conversation, person, key, ids[other], MOST)
        case "leave", _:
            await store.change_member(0, "leave", conversation, person, key, person, MOST)


def recount(bench: PostgresBench, person: UUID) -> dict[UUID, int]:
    """Conversation -> its unread messages, those without left out."""
    return {row[0]: row[1] for row in bench.control.execute(RECOUNT, {"p": person}).fetchall()}


@pytest.mark.parametrize("history", ["all", "from_join"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(_operation, min_size=30, max_size=60))
async def test_unread_never_drifts_from_a_recount(dsn: str, history: Any, operations: list[tuple[Any, ...]]) -> None:
    """Whatever four people do in three groups and a direct conversation, after each step."""
    base = next(_base)
    ids, places = [uid(base + n) for n in range(4)], [uid(base + 100 + n) for n in range(4)]
    async with postgres_bench(dsn) as bench:
        for person in ids:
            await bench.add_account(person, "somebody")
        for conversation in places[:3]:
            await group(bench.store, *ids[:3], conversation=conversation, history=history)
        await bench.store.open_direct(places[3], ids[0], ids[1])
        for nth, operation in enumerate(operations):
            try:
                await _do(bench.store, ids, places, f"k{nth}", operation)
            except Refused:
                continue
            for person in ids:
                counts = recount(bench, person)
                assert await bench.other.unread_total(person) == Unread(sum(counts.values()), len(counts))
                states = await bench.other.states(person, places, 0)
                assert {one.conversation: one.unread for one in states if one.until is None and one.unread} == counts
