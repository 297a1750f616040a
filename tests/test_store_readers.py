"""Who has received and who has read a message, by the contract of every ``Store``."""

from uuid import UUID

import pytest

from protocol.errors import BadCursor, NotAMember, UnknownMessage
from storage.rows import Raise
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
    place,
    talk,
)

__all__ = ["bench", "place"]  # fixtures


async def reached(store: Store, seq: int, asker: UUID = ANN) -> dict[UUID, bool]:
    """Whom message *seq* of G has reached -> whether they have read it."""
    return {one.user: one.read for one in (await store.readers(asker, G, seq, None, 100)).readers}


async def move(store: Store, person: UUID, delivered: int, read: int = 0) -> None:
    await store.raise_receipts([Raise(G, person, delivered, read)])


async def test_a_message_is_read_by_whose_cursor_passed_it(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)
    await talk(store, G, ANN, "1", "2")
    assert await reached(store, 2) == {}
    await move(store, BOB, 3, 2)
    await move(store, CID, 2)
    await move(store, ANN, 3, 3)
    assert await reached(bench.other, 2) == {BOB: True, CID: False}, "without the author"
    assert await reached(store, 3, BOB) == {BOB: False}


async def test_who_joined_later_has_not_read_it(bench: Bench) -> None:
    """Their cursors begin where they joined: the past is no news to them, and was not read by them."""
    store = bench.store
    for history, conversation in (("all", G), ("from_join", UUID(int=G.int + 50))):
        await group(store, ANN, BOB, conversation=conversation, history=history)  # type: ignore[arg-type]
        await talk(store, conversation, ANN, "1")
        await store.change_member(0, "add", conversation, ANN, "a", CID, MOST)
        await talk(store, conversation, ANN, "2")
        await store.raise_receipts([Raise(conversation, one, 4, 4) for one in (BOB, CID)])
        first, second = [await store.readers(ANN, conversation, seq, None, 9) for seq in (2, 4)]
        assert [one.user for one in first.readers] == [BOB]
        assert [one.user for one in second.readers] == [BOB, CID]


async def test_only_members_learn_who_has_read(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await talk(store, G, ANN, "1")
    await move(store, BOB, 2, 2)
    await move(store, CID, 2, 2)
    await store.change_member(0, "leave", G, BOB, "l", BOB, MOST)
    assert await reached(store, 2) == {CID: True}, "who left is told of no more"
    for person in (BOB, EVE):
        with pytest.raises(NotAMember):
            await store.readers(person, G, 2, None, 9)
    await store.change_member(0, "add", G, ANN, "a", BOB, MOST)
    assert await reached(store, 2, BOB) == {CID: True}, "back, but with new cursors"
    for seq in (1, 3, 99):  # no messages
        with pytest.raises(UnknownMessage):
            await store.readers(ANN, G, seq, None, 9)


async def test_readers_come_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN, EVE)
    await talk(store, G, ANN, "1")
    for person in (EVE, CID, BOB, DAN):
        await move(store, person, 2, 2)
    first = await store.readers(ANN, G, 2, None, 3)
    assert [one.user for one in first.readers] == [BOB, CID, DAN]
    last = await store.readers(ANN, G, 2, first.cursor, 3)
    assert ([one.user for one in last.readers], last.cursor) == ([EVE], None)
    for cursor in ("é", "AAAA", "x" * 512):
        with pytest.raises(BadCursor):
            await store.readers(ANN, G, 2, cursor, 3)
