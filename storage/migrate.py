"""Bring a database's schema up to date: numbered ``.sql`` files, forward only, safe when many processes start at once.

Each file runs in a transaction of its own, together with the row that remembers it. A file whose first line is
``-- konnect: no transaction`` runs without one (for ``create index concurrently``): statement by statement, each ended
by a semicolon at a line's end, and each written so that it may run again after a failure.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import trio

from storage.database import Database, Queries
from storage.errors import StorageUnavailable, StorageUnfit

FOLDER: Final = Path(__file__).parent / "migrations"
TIMEOUT_S: Final = 600.0  # one file, or waiting for another process that migrates
_LOCK: Final = 0x4B6F6E6E65637400  # "Konnect" and a zero; any constant of our own
_POLL_S: Final = 0.05
_NO_TRANSACTION: Final = "-- konnect: no transaction"

_TABLE: Final = """
create table if not exists schema_migration (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default now()
)"""
_TABLE_EXISTS: Final = "select to_regclass('schema_migration') is not null"
_APPLIED: Final = "select name, sha256 from schema_migration"
_REMEMBER: Final = "insert into schema_migration (name, sha256) values (%s, %s)"
_TRY_LOCK: Final = "select pg_try_advisory_lock(%s)"


class Migration(NamedTuple):
    """One file."""

    name: str
    text: str
    sha256: str

    @property
    def statements(self) -> list[str] | None:
        """The statements to run one by one; None when the whole text runs in one transaction."""
        if not self.text.startswith(_NO_TRANSACTION):
            return None
        return [part for part in re.split(r"(?<=;)[ \t]*\n", self.text) if _has_sql(part)]


async def migrate(database: Database, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing, in order, under one advisory lock; returns the names applied now.

    Raises:
        StorageUnfit: The database was migrated by a newer Konnect, or a file was changed after it was applied.
        StorageUnavailable: No answer; what was applied so far stays, run it again.
    """
    files = await trio.to_thread.run_sync(read, folder)
    async with database.connect_own("migrate") as own:
        await _lock(own)
        await own.execute(_TABLE)
        missing = _missing(files, dict(await own.fetch_all(_APPLIED)))
        for file in missing:
            await _apply(own, file)
    return [file.name for file in missing]


async def pending(database: Database, folder: Path = FOLDER) -> list[str]:
    """The names that :func:`migrate` would apply; changes nothing. Raises like it."""
    files = await trio.to_thread.run_sync(read, folder)
    exists = await database.fetch_one(_TABLE_EXISTS)
    applied: dict[str, str] = dict(await database.fetch_all(_APPLIED)) if exists == (True,) else {}
    return [file.name for file in _missing(files, applied)]


def read(folder: Path) -> list[Migration]:
    """The migrations in *folder*, in order. Blocks; a few small files.

    Raises:
        StorageUnfit: Two files have the same number, or a name is not ``0001_words.sql``.
    """
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        if not re.fullmatch(r"\d{4}_\w+\.sql", path.name):
            raise StorageUnfit(f"{path.name} is not a migration's name: call it like 0001_words.sql")
        number = path.name[:4]
        if number in found:
            raise StorageUnfit(f"{found[number].name} and {path.name} have the same number")
        text = path.read_text("utf-8")
        found[number] = Migration(path.name, text, hashlib.sha256(text.encode()).hexdigest())
    return list(found.values())


def _missing(files: list[Migration], applied: Mapping[str, str]) -> list[Migration]:
    names = {file.name for file in files}
    if unknown := sorted(set(applied) - names):
        raise StorageUnfit(
            f"the database has the migration {unknown[-1]}, which this Konnect does not know: "
            "it was used with a newer Konnect; run that one"
        )
    missing = []
    for file in files:
        if file.name not in applied:
            missing.append(file)
        elif applied[file.name] != file.sha256:
            raise StorageUnfit(f"{file.name} was changed after it was applied: restore it, and write a new migration")
        elif missing:
            raise StorageUnfit(f"{missing[0].name} came after {file.name} was applied: give it a higher number")
    return missing


async def _lock(own: Queries) -> None:
    """Ask for the lock again and again: a session that *waits* for it would hold up an index built concurrently."""
    with trio.move_on_after(TIMEOUT_S):
        while await own.fetch_one(_TRY_LOCK, _LOCK) != (True,):
            await trio.sleep(_POLL_S)
        return
    raise StorageUnavailable(f"another process has been migrating this database for more than {TIMEOUT_S:g} s")


async def _apply(own: Queries, file: Migration) -> None:
    remember = f"insert into schema_migration (name, sha256) values ('{file.name}', '{file.sha256}');"
    if file.statements is None:
        # One message of several statements is one transaction: all of it, or nothing.
        await own.execute(f"begin;\n{file.text}\n;{remember}\ncommit", timeout_s=TIMEOUT_S)
        return
    for statement in file.statements:
        await own.execute(statement, timeout_s=TIMEOUT_S)
    await own.execute(_REMEMBER, file.name, file.sha256)


def _has_sql(text: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in text.splitlines())
