"""The doorbell over LISTEN and NOTIFY, on a real PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio

from konnect_server import postgres_doorbell as room
from konnect_server.postgres_doorbell import PostgresDoorbell, open_postgres_doorbell
from storage.database import Database

LIMIT_S = 30.0


class Ear:
    """Collects what one doorbell hears."""

    def __init__(self, doorbell: PostgresDoorbell) -> None:
        self.doorbell = doorbell
        self.heard: list[bytes] = []
        self._more = trio.Event()

    async def listen(self) -> None:
        while True:
            self.heard += await self.doorbell.heard()
            self._more.set()

    async def until(self, *bells: bytes) -> None:
        """Wait until these were heard."""
        with trio.fail_after(LIMIT_S):
            while not set(bells) <= set(self.heard):
                self._more = trio.Event()
                await self._more.wait()


@asynccontextmanager
async def open_ear(doorbell: PostgresDoorbell, ringing: PostgresDoorbell) -> AsyncIterator[Ear]:
    """An ear at *doorbell* that hears what *ringing* rings."""
    ear = Ear(doorbell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ear.listen)
        await hears(ear, ringing, b"first")
        yield ear
        nursery.cancel_scope.cancel()


async def hears(ear: Ear, ringing: PostgresDoorbell, bell: bytes) -> None:
    """Ring until it is heard: before LISTEN, and without a connection, bells are lost."""
    with trio.fail_after(LIMIT_S):
        while bell not in ear.heard:
            ringing.ring([bell])
            await trio.sleep(0.05)


def terminate(dsn: str, name: str) -> None:
    """Kill the server's side of a connection."""
    with psycopg.connect(dsn, autocommit=True) as control:
        ended = control.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and application_name like %s",
            (f"%{name}%",),
        ).fetchall()
    assert ended


async def test_a_bell_rung_here_is_heard_there(database: Database) -> None:
    async with (
        open_postgres_doorbell(database) as here,
        open_postgres_doorbell(database) as there,
        open_ear(there, here) as ear,
    ):
        here.ring([b"one", b"two \x00\xff"])
        await ear.until(b"one", b"two \x00\xff")


async def test_many_bells_are_few_notifications_and_keep_their_order(database: Database) -> None:
    async with open_postgres_doorbell(database) as here, open_ear(here, here) as ear:
        bells = [b"%06d" % number + b"x" * 50 for number in range(2_000)]
        here.ring(bells)
        await ear.until(*bells)
        assert [bell for bell in ear.heard if bell != b"first"] == bells
        parts = room._parts(bells)
        assert len(parts) == 22
        assert [bell for part in parts for bell in part] == bells
        assert all(sum(len(bell) + 5 for bell in part) <= room.PAYLOAD_BYTES for part in parts)


async def test_what_waits_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAITING_BELLS", 3)
    async with open_postgres_doorbell(database) as here, open_ear(here, here) as ear:
        here.ring([b"a", b"b"])
        here.ring([b"c", b"d"])
        here.ring([b"e"])
        await ear.until(b"a", b"b", b"c", b"d")
        await hears(ear, here, b"later")
        assert b"e" not in ear.heard


@pytest.mark.parametrize("payload", ["", "no base64 at all", "AAAA", "gqFhAQ=="])
async def test_a_notification_that_is_no_bell_is_passed_over(database: Database, payload: str) -> None:
    async with open_postgres_doorbell(database) as here, open_ear(here, here) as ear:
        await database.execute("select pg_notify(%s, %s)", room.CHANNEL, payload)
        await hears(ear, here, b"after it")
        assert set(ear.heard) == {b"first", b"after it"}


async def test_a_lost_ear_listens_again(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RETRY_S", 0.01)
    async with (
        open_postgres_doorbell(database) as here,
        open_postgres_doorbell(database) as there,
        open_ear(there, here) as ear,
    ):
        terminate(dsn, "doorbell, listens")
        await hears(ear, here, b"again")


async def test_a_lost_bell_costs_that_bell_alone(database: Database, dsn: str) -> None:
    async with open_postgres_doorbell(database) as here, open_ear(here, here) as ear:
        terminate(dsn, "doorbell, rings")
        await hears(ear, here, b"again")


async def test_nothing_of_a_closed_doorbell_is_left(database: Database, dsn: str) -> None:
    async with open_postgres_doorbell(database) as here, open_ear(here, here):
        pass
    left: Sequence[object] = [1]
    with trio.fail_after(LIMIT_S):
        while left:
            left = await database.fetch_all(
                "select pid from pg_stat_activity where datname = current_database() and application_name like %s",
                "%doorbell%",
            )
            await trio.sleep(0.01)
