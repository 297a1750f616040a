"""What holds of the store on PostgreSQL alone; all else it shares with its fake is in test_store_contract.py."""

from typing import LiteralString
from uuid import UUID

import pytest
import trio

from konnect_server.ids import uuid7
from storage.database import Database
from storage.gather import Gather
from storage.postgres_store import PostgresStore, open_store
from storage.rows import NewMessage


async def make_person(database: Database) -> UUID:
    """Somebody."""
    person = uuid7()
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', 'x', 0)",
        person, f"{person}@example.com",
    )  # fmt: skip
    return person


@pytest.mark.parametrize("with_a_repeat", [False, True])
async def test_an_append_on_a_young_database_does_not_read_the_tables(database: Database, with_a_repeat: bool) -> None:
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
            if with_a_repeat:  # then the batch takes the way on which each message is looked at
                messages.append(NewMessage(places[0], pairs[0][0], "0-0", "text"))
            appended = await store.append(0, messages, {})
            assert all(answer.new for answer in appended.answers[:40])
    # Statistics of a backend are told when it is idle or gone; the lane's is gone now.
    fetched = 0
    with trio.fail_after(60):
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


class _Counted(PostgresStore):
    """Knows which of the database's functions were called."""

    async def _call(self, lane: int, sql: LiteralString, *texts: str | bytes) -> bytes:
        self.called.append(sql.split("(")[0].split()[-1])
        return await super()._call(lane, sql, *texts)

    called: list[str]


async def test_a_batch_of_new_messages_is_not_looked_at_one_by_one(database: Database) -> None:
    """And what is stored and answered is the same on both ways."""
    ann, bob, cid = [await make_person(database) for _ in range(3)]
    async with database.connect_own("lane") as lane:
        store = _Counted(database, [lane], Gather())
        store.called = []
        one, two = [(await store.open_direct(uuid7(), ann, other)).conversation for other in (bob, cid)]
        new = [NewMessage(two, ann, "a", "1"), NewMessage(one, bob, "b", "2"), NewMessage(two, cid, "c", "3")]
        first = await store.append(0, new, {one: 1, two: 0})
        assert store.called == ["append_new"]
        assert [(answer.seq, answer.new) for answer in first.answers] == [(2, True), (2, True), (3, True)]
        assert [(entry.conversation, entry.seq) for entry in first.missed] == [(two, 1)]
        again = await store.append(0, [*new, NewMessage(one, ann, "d", "4"), NewMessage(one, cid, "e", "5")], {})
        assert store.called == ["append_new", "append_new", "append_messages"]
        assert [(answer.seq, answer.new) for answer in again.answers] == [
            (2, False), (2, False), (3, False), (3, True), (None, False),
        ]  # fmt: skip
        assert [answer.at_ms for answer in again.answers[:3]] == [answer.at_ms for answer in first.answers]
        slow = [NewMessage(two, ann, "f", "6"), NewMessage(one, ann, "a", "1"), NewMessage(uuid7(), ann, "g", "7")]
        await store.append(0, slow, {})
        rows = await database.fetch_all(
            "select key, kind, author, key_hash, digest, text, subject, detail from entry where text = '1'"
        )
        assert len(rows) == 2, "one on each way"
        assert rows[0] == rows[1]


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
