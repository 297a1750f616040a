"""The search index is late and never wrong: it loses nothing by a kill, and several processes share the work."""

from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
import trio

from konnect_server.indexer import Indexer
from protocol.frames import Search
from storage import search_index
from storage.database import Database, open_database
from storage.postgres_store import PostgresStore, open_store
from tests.test_store_contract import ANN, G, H, group, say

ROWS = "select conversation, seq, terms::text from search_text order by 1, 2"
CURSOR = "select indexed from search_cursor where conversation = %s"


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresStore]:
    """A store, and Ann in two groups."""
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, 'a@b.c', 'Ann', '-', 0)", ANN
    )
    async with open_store(database, 1) as made:
        await group(made, ANN)
        await group(made, ANN, conversation=H)
        yield made


async def fill(store: PostgresStore, conversation: UUID, count: int, text: str = "word") -> None:
    batch = [say(conversation, ANN, f"{text} {n}", f"{text} {n}") for n in range(count)]
    assert all(answer.new for answer in (await store.append(0, batch, {})).answers)


async def found(store: PostgresStore, query: str) -> list[tuple[UUID, int]]:
    page = await store.search(ANN, Search(id=1, query=query, limit=50), ["english"])
    return [(hit.conversation, hit.seq) for hit in page.hits]


async def indexed(database: Database, conversation: UUID) -> int:
    row = await database.fetch_one(CURSOR, conversation)
    return 0 if row is None else int(row[0])


async def test_what_was_told_of_is_indexed_and_what_was_not_is_found(database: Database, store: PostgresStore) -> None:
    """G was stored by this process, H by one that was killed."""
    await fill(store, G, 3)
    await fill(store, H, 3)
    indexer = Indexer(database, ["english"])
    indexer.moved(G)
    await indexer.catch_up()
    assert await found(store, "word ") == [(G, 4), (G, 3), (G, 2)]
    await indexer.look()
    await indexer.catch_up()
    assert sorted(await found(store, "word ")) == [(c, seq) for c in (G, H) for seq in (2, 3, 4)]


async def test_a_long_log_is_indexed_bit_by_bit(database: Database, store: PostgresStore) -> None:
    await fill(store, G, 250)
    assert await search_index.index(database, [G], ["english"]) == [G]
    assert await indexed(database, G) == search_index.ENTRIES
    indexer = Indexer(database, ["english"])
    indexer.moved(G)
    for _ in range(3):
        await indexer.catch_up()
    assert await indexed(database, G) == 251
    assert len(await database.fetch_all(ROWS)) == 250


async def test_a_kill_between_two_batches_and_in_one_loses_nothing_and_doubles_nothing(
    database: Database, store: PostgresStore, dsn: str
) -> None:  # fmt: skip
    """What the killed one had not committed is rolled back, cursor and rows alike; the next one goes on there."""
    await fill(store, G, 30)
    await search_index.index(database, [G], ["english"], 10)
    with psycopg.connect(dsn) as killed:
        killed.execute("select search_index(array[%s]::uuid[], '{english}', 10)", (G,))
        assert await search_index.index(database, [G], ["english"], 10) == [G], "skipped, not waited for"
        assert await indexed(database, G) == 10
        killed.rollback()
    assert await indexed(database, G) == 10
    left = [G]
    while left:
        left = await search_index.index(database, left, ["english"], 10)
    rows = await database.fetch_all(ROWS)
    assert [row[1] for row in rows] == list(range(2, 32))
    await database.execute("update search_cursor set indexed = 5")  # as a restored copy may have it
    while await search_index.index(database, [G], ["english"], 10):
        pass
    assert await database.fetch_all(ROWS) == rows


async def test_two_processes_share_the_work(database: Database, store: PostgresStore) -> None:
    for conversation in (G, H):
        await fill(store, conversation, 120)
    indexers = [Indexer(database, ["english"]), Indexer(database, ["english"])]
    for indexer in indexers:
        indexer.moved(G)
        indexer.moved(H)
    with trio.fail_after(60):
        while await indexed(database, G) < 121 or await indexed(database, H) < 121:
            async with trio.open_nursery() as nursery:
                for indexer in indexers:
                    nursery.start_soon(indexer.catch_up)
    assert len(await database.fetch_all(ROWS)) == 240


async def test_what_is_stored_while_it_is_indexed_waits_for_the_next_time(
    database: Database, store: PostgresStore, dsn: str
) -> None:  # fmt: skip
    """Told of while the statement runs, when it may have been read too early."""
    await fill(store, G, 1)
    indexer = Indexer(database, ["english"])
    indexer.moved(G)
    with psycopg.connect(dsn) as holder:
        holder.execute("insert into search_cursor values (%s, 0)", (G,))  # whoever inserts it, too, waits here
        async with trio.open_nursery() as nursery:
            nursery.start_soon(indexer.catch_up)
            await trio.testing.wait_all_tasks_blocked(0.05)
            indexer.moved(G)
            holder.rollback()
    await fill(store, G, 1, "later")
    await indexer.catch_up()
    assert await found(store, "later ") == [(G, 3)]


async def test_other_languages_make_it_anew(database: Database, store: PostgresStore) -> None:
    await fill(store, G, 1, "Häuser und meetings")
    for languages, query in ((["english"], "meeting "), (["german"], "Haus "), (["german", "english"], "meeting ")):
        indexer = Indexer(database, languages, every_s=0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(indexer.run)
            with trio.fail_after(20):
                while True:
                    page = await store.search(ANN, Search(id=1, query=query), languages)
                    if [hit.snippet for hit in page.hits] == ["Häuser und meetings 0"] and page.hits[0].highlights:
                        break
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert not (await store.search(ANN, Search(id=1, query="nothing "), languages)).hits


async def test_a_storage_that_is_away_is_waited_for(database: Database, store: PostgresStore, dsn: str) -> None:
    await fill(store, G, 1)
    async with open_database(dsn, timeout_s=0.1) as hasty, trio.open_nursery() as nursery:
        with psycopg.connect(dsn) as holder:
            holder.execute("lock table search_cursor")
            nursery.start_soon(Indexer(hasty, ["english"], every_s=0.01).run)
            await trio.sleep(0.5)
            assert await found(store, "word ") == []
        with trio.fail_after(20):
            while not await found(store, "word "):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
