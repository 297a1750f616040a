"""Who may see whose presence, and when people were last seen, by the contract of every ``Store``."""

from typing import Any
from uuid import UUID

import trio

from protocol.frames import LastSeen, PrivacySet
from storage.rows import Seen
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    EVE,
    MOST,
    Bench,
    D,
    FakeBench,
    G,
    PostgresBench,
    bench,
    group,
    place,
    uid,
)

__all__ = ["bench", "place"]  # fixtures

NODE, OTHER = uid(701), uid(702)
MINUTE = 60_000


async def sees(store: Store, person: UUID) -> dict[UUID, bool]:
    """Whom *person* may see -> whether as a contact."""
    return {one.user: one.contact for one in await store.presences(person, [ANN, BOB, CID, DAN, EVE, BOB, uid(99)])}


async def last(store: Store, person: UUID, asker: UUID = ANN) -> int | None:
    [found] = await store.presences(asker, [person])
    return found.last_seen_ms


async def show(store: Store, person: UUID, to: LastSeen) -> None:
    await store.set_privacy(person, PrivacySet(id=1, key=f"{to} {len(await sees(store, person))}", last_seen=to))


async def age_node(bench: Any, node: UUID, by_ms: int) -> None:
    """Let a process's last beat have been so much earlier."""
    if isinstance(bench, FakeBench):
        bench.database.tables.nodes[node] -= by_ms
    else:
        assert isinstance(bench, PostgresBench)
        sql = "update node set beat = beat - make_interval(secs => %s) where id = %s"
        bench.control.execute(sql, (by_ms / 1000, node))


async def test_one_sees_whom_one_shares_a_conversation_with(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await store.open_direct(D, ANN, DAN)
    assert await sees(store, ANN) == {BOB: False, CID: False, DAN: True}
    assert await sees(store, DAN) == {ANN: True}
    await store.change_member(0, "leave", G, CID, "l", CID, MOST)
    assert (await sees(store, ANN), await sees(store, CID)) == ({BOB: False, DAN: True}, {})
    assert await store.presences(ANN, [DAN, BOB]) == [Seen(DAN, True), Seen(BOB, False)], "in the order of asking"


async def test_who_hides_sees_nobody_and_who_shows_contacts_sees_contacts(bench: Bench) -> None:
    """The switch of each side counts, for both."""
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)
    await store.open_direct(D, ANN, DAN)
    await show(store, ANN, "contacts")
    assert await sees(store, ANN) == {DAN: True}
    assert (await sees(store, DAN), await sees(store, BOB)) == (
        {ANN: True, BOB: False, CID: False}, {CID: False, DAN: False},
    )  # fmt: skip
    await show(store, DAN, "nobody")
    assert (await sees(store, ANN), await sees(store, DAN)) == ({}, {})
    assert await sees(store, BOB) == {CID: False}
    await show(store, ANN, "everyone")
    assert await sees(store, ANN) == {BOB: False, CID: False}


async def test_who_went_was_last_seen_then_in_whole_minutes(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await store.beat(NODE)
    assert await last(store, BOB) is None
    now = (await store.standing(ANN, None)).at_ms
    await store.take_seats(NODE, [BOB, CID], {})
    await store.take_seats(NODE, [], {BOB: 5 * MINUTE, uid(99): 1})
    seen = await last(bench.other, BOB)
    assert seen is not None
    assert seen % MINUTE == 0
    assert 0 <= now - 5 * MINUTE - seen <= MINUTE + 1
    await store.take_seats(OTHER, [], {BOB: 50 * MINUTE})
    assert await last(store, BOB) == seen, "a later time stays"
    assert await last(store, CID) is None, "she is still there"


async def test_the_people_of_a_process_that_died_were_last_seen_at_its_last_beat(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await store.beat(NODE)
    now = (await store.standing(ANN, None)).at_ms
    await store.take_seats(NODE, [BOB, CID], {})
    await bench.other.beat(OTHER)
    assert await last(store, BOB) is None
    await age_node(bench, NODE, 10 * MINUTE)
    assert await bench.other.beat(OTHER) == []
    for person in (BOB, CID):
        seen = await last(store, person)
        assert seen is not None
        assert 0 <= now + 100 - 10 * MINUTE - seen <= MINUTE + 200
    await store.take_seats(NODE, [BOB], {})  # it only slept, and does not know
    await store.beat(NODE)
    await store.take_seats(NODE, [BOB], {})
    await age_node(bench, NODE, 20_000)
    await bench.other.beat(OTHER)
    seen = await last(store, BOB)
    assert seen is not None
    assert seen > now - 2 * MINUTE


async def test_the_people_of_a_process_that_stops_were_last_seen_then(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await store.beat(NODE)
    await store.take_seats(NODE, [BOB], {})
    now = (await store.standing(ANN, None)).at_ms
    await store.leave(NODE)
    seen = await last(store, BOB)
    assert seen is not None
    assert 0 <= now + 5_000 - seen <= MINUTE + 5_000
    assert await bench.other.beat(OTHER) == []


async def test_processes_that_write_at_once_do_not_meet(bench: Bench) -> None:
    """The same people, in other orders, from two processes, one of which goes again and again: no deadlock."""
    people = [uid(7000 + nth) for nth in range(60)]
    for _ in range(5):
        async with trio.open_nursery() as nursery:
            for nth in range(20):
                store, order = (bench.store, people) if nth % 2 else (bench.other, people[::-1])
                await store.beat(NODE)
                nursery.start_soon(store.take_seats, NODE, order, dict.fromkeys(order[nth:], nth * MINUTE))
            nursery.start_soon(bench.other.leave, NODE)
