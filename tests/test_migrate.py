"""Migrations: forward, once, in order, whoever starts at the same time."""

from pathlib import Path

import psycopg
import pytest
import trio

from storage.database import Database, open_database
from storage.errors import StorageError, StorageUnfit
from storage.migrate import FOLDER, Migration, migrate, pending, read

LANDED = Path(__file__).parent / "data" / "migrations.sha256"  # a line a file; a new migration adds one
NO_TRANSACTION = """-- konnect: no transaction
-- An index that is built while people write.
create index concurrently if not exists thing_n on thing (n);

create index concurrently if not exists thing_n_desc on thing (n desc);
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text(
        "create table thing (n int);\ncreate function one() returns int language sql as $$ select 1; $$;\n"
    )
    (tmp_path / "0002_second.sql").write_text("-- With a comment.\ninsert into thing values (1);\n")
    (tmp_path / "notes.txt").write_text("not a migration")
    return tmp_path


async def test_the_house_s_own_migrations_apply_to_an_empty_database_and_only_once(empty_dsn: str) -> None:
    async with open_database(empty_dsn) as database:
        names = [path.name for path in sorted(FOLDER.glob("*.sql"))]
        assert await pending(database) == names
        assert await migrate(database) == names
        assert await migrate(database) == []
        assert await pending(database) == []


def test_a_migration_that_has_landed_stays_as_it_is_to_the_last_blank() -> None:
    """Whoever has applied it could not start again."""
    landed = dict(line.split()[::-1] for line in LANDED.read_text().splitlines())
    assert {one.name: one.sha256 for one in read(FOLDER)} == landed


async def test_each_file_is_applied_once_and_in_order(empty_dsn: str, files: Path) -> None:
    async with open_database(empty_dsn) as database:
        assert await pending(database, files) == ["0001_first.sql", "0002_second.sql"]
        assert await migrate(database, files) == ["0001_first.sql", "0002_second.sql"]
        (files / "0010_third.sql").write_text("insert into thing select one() + 1")
        assert await pending(database, files) == ["0010_third.sql"]
        assert await migrate(database, files) == ["0010_third.sql"]
        assert await database.fetch_all("select n from thing order by n") == [(1,), (2,)]
        rows = await database.fetch_all("select name, length(sha256) from schema_migration order by applied_at, name")
        assert rows == [("0001_first.sql", 64), ("0002_second.sql", 64), ("0010_third.sql", 64)]


async def test_processes_that_start_at_once_apply_each_file_once(empty_dsn: str, files: Path) -> None:
    (files / "0003_slow.sql").write_text("select pg_sleep(0.2); insert into thing values (3);")
    (files / "0004_concurrent.sql").write_text(NO_TRANSACTION)
    applied: list[str] = []

    async def one() -> None:
        async with open_database(empty_dsn) as database:
            applied.extend(await migrate(database, files))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
    assert sorted(applied) == ["0001_first.sql", "0002_second.sql", "0003_slow.sql", "0004_concurrent.sql"]


async def test_a_file_that_fails_leaves_nothing_and_what_came_before_stays(empty_dsn: str, files: Path) -> None:
    (files / "0002_second.sql").write_text("insert into thing values (1);\nselect 1 / 0;\n")
    async with open_database(empty_dsn) as database:
        with pytest.raises(StorageError, match="division by zero"):
            await migrate(database, files)
        assert await database.fetch_all("select * from thing") == []
        assert await pending(database, files) == ["0002_second.sql"]
        (files / "0002_second.sql").write_text("insert into thing values (1);\n")
        assert await migrate(database, files) == ["0002_second.sql"]


async def test_a_bug_in_a_file_is_told_as_what_it_is(empty_dsn: str, files: Path) -> None:
    (files / "0002_second.sql").write_text("insert into nowhere values (1);\n")
    async with open_database(empty_dsn) as database:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await migrate(database, files)
        assert await pending(database, files) == ["0002_second.sql"]


async def test_an_edited_file_is_refused(empty_dsn: str, files: Path) -> None:
    async with open_database(empty_dsn) as database:
        await migrate(database, files)
        with (files / "0001_first.sql").open("a") as file:
            file.write("-- and more\n")
        for judge in (migrate, pending):
            with pytest.raises(StorageUnfit, match=r"0001_first\.sql was changed after it was applied"):
                await judge(database, files)


async def test_a_schema_newer_than_this_konnect_is_refused(empty_dsn: str, files: Path) -> None:
    async with open_database(empty_dsn) as database:
        await migrate(database, files)
        (files / "0002_second.sql").unlink()
        for judge in (migrate, pending):
            with pytest.raises(StorageUnfit, match=r"0002_second\.sql, which this Konnect does not know"):
                await judge(database, files)


async def test_a_file_that_comes_too_late_is_refused(empty_dsn: str, files: Path) -> None:
    (files / "0002_second.sql").rename(files / "0005_second.sql")
    async with open_database(empty_dsn) as database:
        await migrate(database, files)
        (files / "0003_late.sql").write_text("select 1")
        with pytest.raises(StorageUnfit, match=r"0003_late\.sql came after 0005_second\.sql was applied"):
            await migrate(database, files)


async def test_without_a_transaction_statements_run_one_by_one(empty_dsn: str, files: Path) -> None:
    (files / "0003_concurrent.sql").write_text(NO_TRANSACTION)
    async with open_database(empty_dsn) as database:
        assert len(await migrate(database, files)) == 3
        made = "select count(*) from pg_indexes where tablename = 'thing'"
        assert await database.fetch_one(made) == (2,)


def test_statements_are_told_apart_by_semicolons_at_the_ends_of_lines() -> None:
    statements = Migration("0001_x.sql", NO_TRANSACTION + "select ';' as a;  \n-- the end\n", "").statements
    assert statements is not None
    ends = [text.splitlines()[-1].strip() for text in statements]
    assert [end[-8:] for end in ends] == ["ing (n);", "n desc);", "';' as a;"[-8:]]
    assert Migration("0001_x.sql", "select 1;\n", "").statements is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0001_again.sql", "have the same number"),
        ("first.sql", "is not a migration's name"),
        ("12_short.sql", "is not a migration's name"),
        ("0003-dash.sql", "is not a migration's name"),
    ],
)
def test_names_that_are_wrong_are_refused(files: Path, name: str, said: str) -> None:
    (files / name).write_text("select 1")
    with pytest.raises(StorageUnfit, match=said):
        read(files)


async def test_a_database_that_was_never_migrated_has_everything_pending(database: Database, files: Path) -> None:
    await database.execute("drop table schema_migration")
    assert await pending(database, files) == ["0001_first.sql", "0002_second.sql"]


async def test_kinds_of_entries_are_added_to_those_there_are(database: Database) -> None:
    """Whichever migrations came before: each adds its own (migrations/0005)."""
    await database.execute("select add_entry_kinds('poll.opened', 'message')")
    await database.execute("select add_entry_kinds('poll.closed')")
    for kind in ("created", "message", "member.added", "message.reacted", "poll.opened", "poll.closed"):
        assert await database.fetch_all("select %s::entry_kind", kind) == [(kind,)]
    with pytest.raises(StorageError):
        await database.fetch_all("select 'poll'::entry_kind")
