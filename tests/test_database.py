"""The door to PostgreSQL: deadlines, lost connections, and which error means what."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from storage import database as module
from storage.database import Database, OwnConnection, durability, open_database, suitability
from storage.errors import StorageConflict, StorageError, StorageRefused, StorageUnavailable

TABLE = "create table thing (id uuid primary key, name text not null constraint thing_name_key unique)"
SLEEPERS = "select count(*) from pg_stat_activity where query like %s and pid <> pg_backend_pid() and state = 'active'"


async def _until(condition: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Wait for what another process does; no event comes from there."""
    with trio.fail_after(20):
        while await condition() != wanted:
            await trio.sleep(0.02)


async def _backend(queries: Database | OwnConnection) -> int:
    row = await queries.fetch_one("select pg_backend_pid()")
    assert row is not None
    return int(row[0])


class TestQueries:
    async def test_values_go_in_and_rows_come_out(self, database: Database) -> None:
        await database.execute(TABLE)
        ids = [uuid4() for _ in range(3)]
        for number, made in enumerate(ids):
            assert await database.execute("insert into thing values (%s, %s)", made, f"thing {number}") == 1
        rows = await database.fetch_all("select id, name from thing order by name")
        assert rows == [(made, f"thing {number}") for number, made in enumerate(ids)]
        assert await database.fetch_one("select name from thing where id = %s", ids[1]) == ("thing 1",)
        assert await database.fetch_one("select name from thing where id = %s", uuid4()) is None
        assert await database.execute("delete from thing") == 3

    async def test_every_connection_carries_the_house_rules(self, database: Database) -> None:
        async with database.connect_own("writer 1") as own:
            for queries, name in ((database, "konnect"), (own, "konnect writer 1")):
                for setting, wanted in {
                    "transaction_isolation": "read committed",
                    "statement_timeout": "6s",
                    "client_connection_check_interval": "1s",
                    "idle_in_transaction_session_timeout": "30s",
                    "TimeZone": "UTC",
                    "client_encoding": "UTF8",
                    "application_name": name,
                }.items():
                    assert await queries.fetch_one("select current_setting(%s)", setting) == (wanted,)

    async def test_the_operators_own_options_stay(self, dsn: str) -> None:
        async with open_database(make_conninfo(dsn, options="-c search_path=mine -c jit=off")) as opened:
            assert await opened.fetch_one("select current_setting('search_path')") == ("mine",)
            assert await opened.fetch_one("select current_setting('statement_timeout')") == ("6s",)

    async def test_a_longer_deadline_is_told_to_the_server_for_that_call_only(self, database: Database) -> None:
        asked = "select current_setting('statement_timeout')"
        assert await database.fetch_one(asked, timeout_s=59) == ("1min",)
        assert await database.fetch_one(asked) == ("6s",)
        async with database.connect_own() as own:
            assert await own.fetch_one(asked, timeout_s=59) == ("1min",)


class TestDeadlines:
    async def test_a_query_past_its_deadline_is_given_up_by_both_sides(self, database: Database) -> None:
        """The old backend must not go on behind the caller's back: it could commit after the retry began."""
        with pytest.raises(StorageUnavailable, match=r"within 0\.2 s"):
            await database.fetch_one("select pg_sleep(600)", timeout_s=0.2)
        await _until(partial(database.fetch_one, SLEEPERS, "%pg_sleep(600)%"), (0,))

    async def test_a_cancelled_query_costs_its_connection_but_not_its_place(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened:
            before = await _backend(opened)
            with trio.move_on_after(0.1) as scope:
                await opened.fetch_one("select pg_sleep(600)")
            assert scope.cancelled_caught
            after = await _backend(opened)
            assert after != before

    async def test_who_finds_no_free_connection_waits_for_one(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened:
            order = []

            async def first() -> None:
                async with opened.transaction():
                    started.set()
                    await release.wait()
                    order.append("first")

            async def second() -> None:
                await opened.fetch_one("select 1")
                order.append("second")

            started, release = trio.Event(), trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await started.wait()
                nursery.start_soon(second)
                await trio.testing.wait_all_tasks_blocked()
                release.set()
            assert order == ["first", "second"]

    async def test_waiting_for_a_connection_counts(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened, opened.transaction():
            with pytest.raises(StorageUnavailable):
                await opened.fetch_one("select 1", timeout_s=0.05)

    async def test_the_connections_are_bounded_and_used_again(self, dsn: str) -> None:
        async with open_database(dsn, size=3) as opened:
            pids = set()

            async def one() -> None:
                for _ in range(10):
                    pids.add(await _backend(opened))

            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(one)
            assert len(pids) <= 3


class TestLosses:
    async def test_one_lost_while_idle_is_noticed_before_it_is_used(self, dsn: str, database: Database) -> None:
        """After a restart of PostgreSQL the first reader must not pay for every idle connection of the pool."""
        async with open_database(dsn, size=1) as opened:
            pid = await _backend(opened)
            await database.fetch_one("select pg_terminate_backend(%s, 5000)", pid)
            assert await _backend(opened) != pid

    async def test_a_connection_lost_while_asking_is_unavailable(self, database: Database) -> None:
        async with database.connect_own("victim") as own:
            pid = await _backend(own)

            async def kill() -> None:
                await _until(partial(database.fetch_one, SLEEPERS, "select pg_sleep(601)%"), (1,))
                await database.execute("select pg_terminate_backend(%s)", pid)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill)
                with pytest.raises(StorageUnavailable, match="terminating connection"):
                    await own.fetch_one("select pg_sleep(601)", timeout_s=30)
            assert await _backend(own) != pid, "an own connection opens itself again"

    @pytest.mark.parametrize(
        ("dsn", "said"),
        [
            ("host=/nowhere dbname=x", "no connection to PostgreSQL"),
            ("host=127.0.0.1 port=1 dbname=x", "no connection to PostgreSQL"),
            ("host=127.0.0.1,127.0.0.1 port=1,2 dbname=x", "no connection to PostgreSQL"),
            ("host=no-such-host.invalid dbname=x", "is not known"),
        ],
    )
    async def test_nobody_there_is_unavailable(self, dsn: str, said: str) -> None:
        async with open_database(dsn) as opened:
            with pytest.raises(StorageUnavailable, match=said):
                await opened.fetch_one("select 1")

    async def test_a_server_that_accepts_and_says_nothing_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            async with open_database(f"host=127.0.0.1 port={port} dbname=x") as opened:
                with pytest.raises(StorageUnavailable, match=r"no connection to PostgreSQL within 0\.2 s"):
                    await opened.fetch_one("select 1")

    async def test_a_database_that_is_not_there_is_unavailable(self, cluster: str) -> None:
        async with open_database(make_conninfo(cluster, dbname="no_such_database")) as opened:
            with pytest.raises(StorageUnavailable, match="no_such_database"):
                await opened.fetch_one("select 1")

    async def test_an_address_that_is_none_is_refused_at_once(self) -> None:
        with pytest.raises(StorageError, match="not a connection string"):
            async with open_database("definitely not"):
                pass

    async def test_host_names_are_looked_up_and_every_address_tried(self, dsn: str) -> None:
        """Over TCP, through a door of our own: the embedded server has none."""
        async with _tcp_door(dsn) as port:
            host = "host=no-such-host.invalid,localhost"
            async with open_database(make_conninfo(f"{host} port={port}", **_login(dsn))) as opened:
                assert await opened.fetch_one("select 1") == (1,)


class TestMeanings:
    """Which error of PostgreSQL becomes which of ours; what is none of them is a bug and goes on as it is."""

    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff tail"])
    async def test_a_text_that_cannot_be_stored_is_refused(self, database: Database, text: str) -> None:
        with pytest.raises(StorageRefused):
            await database.fetch_one("select %s::text", text)
        async with database.connect_own() as own:
            with pytest.raises(StorageRefused):
                await own.call_json("select $1::text", text)
            with pytest.raises(StorageRefused):
                await own.call_json("select $1::text", text.encode("utf-8", "surrogatepass"))
            assert await own.call_json("select $1::text", "fine") == b"fine"

    @pytest.mark.parametrize(
        "sql",
        [
            "select '{'::json",
            "select 1 / 0",
            "select 'x'::uuid",
            "select 9999999999::int",
            """select '"\\u0000"'::jsonb""",
            """select json_array_elements_text('["\\u0000"]')""",
        ],
    )
    async def test_data_errors_are_refusals(self, dsn: str, sql: str) -> None:
        async with open_database(dsn, size=1) as opened:
            pid = await _backend(opened)
            with pytest.raises(StorageRefused):
                await opened.fetch_one(sql)
            assert await _backend(opened) == pid, "the connection is as good as before"

    async def test_a_value_too_large_for_an_index_is_a_refusal(self, database: Database) -> None:
        await database.execute(TABLE)
        noise = "".join(uuid4().hex for _ in range(2_000))
        with pytest.raises(StorageRefused, match="index row"):
            await database.execute("insert into thing values (%s, %s)", uuid4(), noise)

    async def test_a_constraint_says_its_name(self, database: Database) -> None:
        await database.execute(TABLE)
        one = UUID(int=1)
        await database.execute("insert into thing values (%s, 'a')", one)
        for name, values in {
            "thing_pkey": (one, "b"),
            "thing_name_key": (UUID(int=2), "a"),
        }.items():
            with pytest.raises(StorageConflict) as caught:
                await database.execute("insert into thing values (%s, %s)", *values)
            assert caught.value.constraint == name
        with pytest.raises(StorageConflict) as caught:
            await database.execute("insert into thing values (%s, null)", UUID(int=3))
        assert caught.value.constraint == ""

    async def test_a_deadlock_may_be_tried_again(self, database: Database) -> None:
        await database.execute(TABLE)
        ids = [UUID(int=1), UUID(int=2)]
        for made in ids:
            await database.execute("insert into thing values (%s, %s)", made, str(made))
        lock = "select from thing where id = %s for update"
        holding = [trio.Event(), trio.Event()]
        outcomes = []

        async def one(mine: int) -> None:
            try:
                async with database.transaction() as tx:
                    await tx.execute(lock, ids[mine])
                    holding[mine].set()
                    await holding[1 - mine].wait()
                    await tx.execute(lock, ids[1 - mine])
                    outcomes.append("ok")
            except StorageUnavailable as problem:
                outcomes.append(str(problem).split()[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            nursery.start_soon(one, 1)
        assert sorted(outcomes) == ["deadlock", "ok"]

    @pytest.mark.parametrize(
        "state",
        ["57P01", "57P02", "57P03", "57014", "53100", "53300", "40001", "40P01", "08006", "55P03", "25P03", "XX000"],
    )
    async def test_what_may_pass_is_unavailable(self, database: Database, state: str) -> None:
        with pytest.raises(StorageUnavailable, match="as the server says it"):
            await database.execute(_raising(state))

    @pytest.mark.parametrize(
        ("sql", "error"),
        [
            ("selec 1", psycopg.errors.SyntaxError),
            ("select * from nowhere", psycopg.errors.UndefinedTable),
            ("select nothing()", psycopg.errors.UndefinedFunction),
            ("do $$ begin raise 'no' ; end $$", psycopg.errors.RaiseException),
        ],
    )
    async def test_a_bug_of_ours_stays_what_it_is(self, database: Database, sql: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            await database.execute(sql)
        async with database.connect_own() as own:
            with pytest.raises(error):
                await own.call_json(sql)


    async def test_a_table_that_changed_beneath_a_prepared_statement_heals(self, dsn: str, database: Database) -> None:
        """A rolling update: the new process migrates while the old one goes on."""
        await database.execute(TABLE)
        async with open_database(dsn, size=1) as opened:
            for _ in range(10):
                assert await opened.fetch_all("select * from thing") == []
            await database.execute("alter table thing add column more int")
            with pytest.raises(StorageUnavailable, match="cached plan"):
                await opened.fetch_all("select * from thing")
            assert await opened.fetch_all("select * from thing") == []

    async def test_two_tasks_on_one_own_connection_are_a_bug(self, database: Database) -> None:
        async with database.connect_own() as own, trio.open_nursery() as nursery:
            await own.fetch_one("select 1")
            nursery.start_soon(own.fetch_one, "select pg_sleep(603)")
            await trio.testing.wait_all_tasks_blocked()
            for call in (own.call_json("select 1"), own.fetch_one("select 1"), own.notifies()):
                with pytest.raises(RuntimeError, match="one task at a time"):
                    await call
            nursery.cancel_scope.cancel()


class TestTransactions:
    async def test_all_or_nothing(self, database: Database) -> None:
        await database.execute(TABLE)
        async with database.transaction() as tx:
            await tx.execute("insert into thing values (%s, 'kept')", uuid4())
            assert await tx.fetch_all("select name from thing") == [("kept",)]
            assert await database.fetch_all("select name from thing") == []
        with pytest.raises(RuntimeError):
            async with database.transaction() as tx:
                await tx.execute("insert into thing values (%s, 'gone')", uuid4())
                raise RuntimeError
        assert await database.fetch_all("select name from thing") == [("kept",)]

    async def test_a_conflict_inside_rolls_back_and_keeps_the_connection(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened:
            await opened.execute(TABLE)
            pid = await _backend(opened)
            with pytest.raises(StorageConflict):
                async with opened.transaction() as tx:
                    await tx.execute("insert into thing values (%s, 'a')", uuid4())
                    await tx.execute("insert into thing values (%s, 'a')", uuid4())
            assert await opened.fetch_all("select * from thing") == []
            assert await _backend(opened) == pid

    async def test_a_cancelled_one_leaves_nothing(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened:
            await opened.execute(TABLE)
            with trio.CancelScope() as scope:
                async with opened.transaction() as tx:
                    await tx.execute("insert into thing values (%s, 'a')", uuid4())
                    scope.cancel()
                    await tx.execute("insert into thing values (%s, 'b')", uuid4())
            assert scope.cancelled_caught
            assert await opened.fetch_all("select * from thing") == []

    async def test_its_deadline_covers_all_of_it(self, dsn: str) -> None:
        async with open_database(dsn, size=1) as opened:
            await opened.execute(TABLE)
            with pytest.raises(StorageUnavailable, match=r"within 0\.2 s"):
                async with opened.transaction(timeout_s=0.2) as tx:
                    await tx.execute("insert into thing values (%s, 'a')", uuid4())
                    await trio.sleep_forever()
            assert await opened.fetch_all("select * from thing") == []

    async def test_a_query_inside_may_have_a_shorter_one(self, database: Database) -> None:
        with pytest.raises(StorageUnavailable, match=r"within 0\.1 s"):
            async with database.transaction() as tx:
                await tx.execute("select pg_sleep(600)", timeout_s=0.1)


class TestCallJson:
    async def test_texts_go_in_and_the_one_value_comes_back_as_it_is(self, database: Database) -> None:
        async with database.connect_own() as own:
            answer = await own.call_json("select json_build_object('a', $1::json)", '{"b": "ü"}')
            assert answer == '{"a" : {"b": "ü"}}'.encode()
            assert await own.call_json("select $1::text || $2", b"one ", "two") == b"one two"
            assert await own.call_json("select null::json") is None
            assert await own.call_json("select $1::text", "") == b""

    async def test_large_documents_pass(self, database: Database) -> None:
        """Larger than the socket's buffers, both ways: sending then has to wait, and may have to read meanwhile."""
        document = '"' + "x" * 8_000_000 + '"'
        async with database.connect_own() as own:
            assert await own.call_json("select $1::json", document) == document.encode()

    async def test_what_it_returned_is_visible_to_everybody(self, database: Database) -> None:
        """Hazard A1: in pipeline mode the answer would come before the commit."""
        await database.execute("create table word (w text)")
        async with database.connect_own() as own:
            for number in range(50):
                await own.call_json("with i as (insert into word values ($1) returning w) select w from i", str(number))
                assert await database.fetch_one("select count(*) from word") == (number + 1,)

    async def test_a_lost_connection_is_unavailable_once_and_then_new(self, database: Database) -> None:
        async with database.connect_own() as own:
            first = await own.call_json("select pg_backend_pid()")
            assert first is not None
            assert await own.call_json("select pg_backend_pid()") == first
            await database.fetch_one("select pg_terminate_backend(%s, 5000)", int(first))
            with pytest.raises(StorageUnavailable):
                await own.call_json("select pg_backend_pid()")
            assert await own.call_json("select pg_backend_pid()") != first

    async def test_a_deadline_or_cancel_closes_the_connection(self, database: Database) -> None:
        async with database.connect_own() as own:
            for _ in range(2):
                with pytest.raises(StorageUnavailable):
                    await own.call_json("select pg_sleep(602)::text", timeout_s=0.1)
                with trio.move_on_after(0.1):
                    await own.call_json("select pg_sleep(602)::text")
            assert await own.call_json("select 1") == b"1"
        await _until(partial(database.fetch_one, SLEEPERS, "select pg_sleep(602)%"), (0,))

    async def test_a_conflict_and_a_refusal_leave_it_as_good_as_before(self, database: Database) -> None:
        await database.execute("create table one (n int constraint only_one unique)")
        insert = "with i as (insert into one values ($1::int) returning n) select n from i"
        async with database.connect_own() as own:
            pid = await own.call_json("select pg_backend_pid()")
            assert await own.call_json(insert, "1") == b"1"
            with pytest.raises(StorageConflict) as caught:
                await own.call_json(insert, "1")
            assert caught.value.constraint == "only_one"
            with pytest.raises(StorageRefused):
                await own.call_json(insert, "many")
            assert await own.call_json(insert, "2") == b"2"
            assert await own.call_json("select pg_backend_pid()") == pid


class TestNotifications:
    async def test_they_come_in_order_and_survive_a_cancelled_wait(self, database: Database) -> None:
        async with database.connect_own() as own:
            await own.listen("bell", "other_bell")
            with trio.move_on_after(0.05) as scope:
                await own.notifies()
            assert scope.cancelled_caught
            for number in range(3):
                await database.execute("select pg_notify('bell', %s)", str(number))
            heard: list[tuple[str, str]] = []
            while len(heard) < 3:
                heard += await own.notifies()
            assert heard == [("bell", "0"), ("bell", "1"), ("bell", "2")]

    async def test_those_that_came_during_a_query_are_not_lost(self, database: Database) -> None:
        async with database.connect_own() as own:
            await own.listen("bell")
            await own.execute("notify bell, 'mine'")
            await own.call_json("select 1")
            assert await own.notifies() == [("bell", "mine")]

    async def test_a_loss_is_told(self, database: Database) -> None:
        async with database.connect_own() as own:
            await own.listen("bell")
            pid = await _backend(own)
            await database.execute("select pg_terminate_backend(%s)", pid)
            with pytest.raises(StorageUnavailable):
                await own.notifies()
            with pytest.raises(StorageUnavailable):
                await own.notifies()
            await own.listen("bell")
            await database.execute("notify bell, 'again'")
            assert await own.notifies() == [("bell", "again")]

    @pytest.mark.parametrize("channel", ["", "a b", "a;drop table x", 'a"', "ä"])
    async def test_a_channel_is_a_plain_name(self, database: Database, channel: str) -> None:
        async with database.connect_own() as own:
            with pytest.raises(ValueError, match="channel"):
                await own.listen(channel)


class TestFitness:
    async def test_a_server_without_fsync_is_found_out(self, database: Database) -> None:
        """The tests' own server runs without, by an explicit flag; a real start refuses it."""
        found = await durability(database)
        assert [problem.split()[0] for problem in found] == ["fsync", "synchronous_commit", "full_page_writes"]
        assert await suitability(database) == []

    async def test_an_encoding_that_cannot_hold_every_text_is_found_out(self, cluster: str) -> None:
        with psycopg.connect(cluster, autocommit=True) as control:
            control.execute(
                "create database ascii_only encoding 'SQL_ASCII' locale_provider libc locale 'C' template template0"
            )
        try:
            async with open_database(make_conninfo(cluster, dbname="ascii_only")) as opened:
                assert await suitability(opened) == ["the database's encoding is SQL_ASCII: Konnect needs UTF8"]
        finally:
            with psycopg.connect(cluster, autocommit=True) as control:
                control.execute("drop database ascii_only with (force)")


def _raising(state: str) -> str:
    return f"do $$ begin raise exception 'as the server says it' using errcode = '{state}'; end $$"


def _login(dsn: str) -> dict[str, str]:
    found = conninfo_to_dict(dsn)
    return {"user": str(found["user"]), "dbname": str(found["dbname"])}


@asynccontextmanager
async def _tcp_door(dsn: str) -> AsyncIterator[int]:
    """A port on 127.0.0.1 that leads to the server's Unix socket."""
    found = conninfo_to_dict(dsn)
    path = f"{found['host']}/.s.PGSQL.{found['port']}"

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        async for chunk in source:
            await sink.send_all(chunk)
        await sink.aclose()

    async def serve(client: trio.abc.Stream) -> None:
        async with await trio.open_unix_socket(path) as server, trio.open_nursery() as nursery:
            nursery.start_soon(copy, client, server)
            await copy(server, client)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
