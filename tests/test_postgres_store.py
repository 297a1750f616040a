"""What holds of the store on PostgreSQL alone; all else it shares with its fake is in test_store_contract.py."""

from uuid import UUID

import trio

from konnect_server.ids import uuid7
from storage.database import Database
from storage.postgres_store import open_store
from storage.rows import NewMessage


async def make_person(database: Database) -> UUID:
    """Somebody."""
    person = uuid7()
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', 'x', 0)",
        person, f"{person}@example.com",
    )  # fmt: skip
    return person


async def test_an_append_on_a_young_database_does_not_read_the_tables(database: Database) -> None:
    """Hazard C2. The append's plan was made when the tables had a handful of rows, and read all of them for each
    message from then on: the hundredth batch took many times the work of the first. Counted in rows that PostgreSQL
    fetched from the log, so that no clock is involved."""
    people = [await make_person(database) for _ in range(8)]
    async with open_store(database, 1) as store:
        pairs = list(zip(people[::2], people[1::2], strict=True))
        places = [(await store.open_direct(uuid7(), a, b)).conversation for a, b in pairs]
        await database.execute("analyze")
        for batch in range(40):
            messages = [
                NewMessage(place, a, f"{batch}-{nth}", "text")
                for place, (a, _) in zip(places, pairs, strict=True)
                for nth in range(10)
            ]
            appended = await store.append(0, messages, {})
            assert all(answer.new for answer in appended.answers)
    # Statistics of a backend are told when it is idle or gone; the lane's is gone now.
    fetched = 0
    with trio.fail_after(10):
        while True:
            row = await database.fetch_one(
                "select coalesce(sum(n_tup_ins), 0)::bigint, coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::bigint"
                " from pg_stat_user_tables where relname ~ '^entry_'"
            )
            assert row is not None
            stored, fetched = row
            if stored >= 1_600:
                break
            await trio.sleep(0.1)
    assert fetched < 5 * stored, f"{fetched} rows of the log were read to append {stored}"


async def test_hanging_up_costs_no_connection(dsn: str, database: Database) -> None:
    """Hazard C3. A cancelled query's connection is closed; clients that hang up in the middle of their walk would each
    cost a new one. The read goes on to its end, and only then the cancellation is felt."""
    person = await make_person(database)
    async with open_store(database, 1) as store:
        before = await store.standing(person, None)
        assert before.number == 0
        own = await database.fetch_one("select pg_backend_pid()")
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.standing(person, None)
        assert scope.cancelled_caught
        assert await database.fetch_one("select pg_backend_pid()") == own
