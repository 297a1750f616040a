"""Fixtures every test may ask for: one real PostgreSQL a session, a fresh migrated database a test."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import trio
from hypothesis import settings

from storage.database import Database, open_database
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate

TEMPLATE = "template_konnect"
PREFIX = "konnect-test-"
STALE_S = 6 * 3_600

settings.register_profile("konnect", deadline=None, print_blob=True)
settings.load_profile("konnect")


def make_folder() -> Path:
    """A data folder that PostgreSQL's system user may enter when root runs the tests (pytest's own is closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """One server a session, without fsync; its connection string. Beside other runs, as root or not."""
    _sweep()
    folder = make_folder()
    server = EmbeddedPostgres(folder, unsafe_no_fsync=True)
    trio.run(server.start)
    try:
        with psycopg.connect(server.dsn, autocommit=True) as control:
            control.execute(f"create database {TEMPLATE}")
        trio.run(_migrate, psycopg.conninfo.make_conninfo(server.dsn, dbname=TEMPLATE))
        yield server.dsn
    finally:
        trio.run(server.stop)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_dsn(cluster: str) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    yield from _fresh(cluster, "template1")


@pytest.fixture
def dsn(cluster: str) -> Iterator[str]:
    """A database of the test's own with the whole schema, copied from a template (some 30 ms)."""
    yield from _fresh(cluster, TEMPLATE)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """The same, opened."""
    async with open_database(dsn) as opened:
        yield opened


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty data folder of the test's own, which any user may enter."""
    made = make_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def _migrate(dsn: str) -> None:
    async with open_database(dsn, size=1) as opened:
        await migrate(opened)


def _fresh(cluster: str, template: str) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(cluster, autocommit=True) as control:
        control.execute(f"create database {name} template {template}")
        try:
            yield psycopg.conninfo.make_conninfo(cluster, dbname=name)
        finally:
            control.execute(f"drop database {name} with (force)")


def _sweep() -> None:
    """Stop and remove what test runs that were killed left behind, unless somebody still uses it."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            found = left.stat()
        except FileNotFoundError:
            continue
        if found.st_uid != os.geteuid() or found.st_mtime > time.time() - STALE_S:
            continue
        if (left / "postgres" / "postmaster.pid").exists():
            server = EmbeddedPostgres(left, unsafe_no_fsync=True)
            trio.run(server.start)
            trio.run(server.stop)  # which leaves it running for others
        if not (left / "postgres" / "postmaster.pid").exists():
            shutil.rmtree(left, ignore_errors=True)
