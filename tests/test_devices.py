"""Devices that take pushes, as rows; from two connections at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio

from konnect_server.ids import uuid7
from protocol.errors import UnknownUser
from protocol.limits import PUSH_DEVICES
from storage.database import Database, open_database
from storage.devices import Seated, devices_of, forget_token, register_device, seat_devices, unseat_all


async def account(database: Database) -> UUID:
    made = uuid7()
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', '-', 0)",
        made, f"{made}@example.com",
    )  # fmt: skip
    return made


async def names(database: Database, person: UUID) -> list[str]:
    return [one.device for one in await devices_of(database, person, PUSH_DEVICES)]


async def test_two_accounts_register_one_token_at_once(dsn: str, database: Database) -> None:
    """However they meet, one of them has it in the end, and neither fails."""
    people = [await account(database) for _ in range(4)]

    @asynccontextmanager
    async def another() -> AsyncIterator[Database]:
        async with open_database(dsn) as opened:
            yield opened

    async with another() as other:

        async def register(on: Database, person: UUID, device: str) -> None:
            for n in range(10):
                await register_device(on, person, device, "ios", f"token {n % 2}", None)

        async with trio.open_nursery() as nursery:
            for nth, person in enumerate(people):
                nursery.start_soon(register, (database, other)[nth % 2], person, f"d{nth % 3}")
    rows = await database.fetch_all("select token, count(*) from device group by token order by token")
    assert rows[-1] == ("token 1", 1)
    assert all(count == 1 for _, count in rows)


async def test_only_so_many_devices_are_kept(database: Database) -> None:
    """The one registered longest ago goes; a long token is as good as a short one."""
    person = await account(database)
    for n in range(PUSH_DEVICES + 2):
        await register_device(database, person, f"d{n}", "web", f"{n}" * 1000, None)
        await database.execute("update device set at_ms = %s where account = %s and device = %s", n, person, f"d{n}")
    kept = await names(database, person)
    assert len(kept) == PUSH_DEVICES
    assert {"d0", "d1"} & set(kept) == set()
    assert await devices_of(database, person, 1) == (await devices_of(database, person, 2))[:1]


async def test_nobody_registers_for_nobody(database: Database) -> None:
    with pytest.raises(UnknownUser):
        await register_device(database, uuid7(), "d", "web", "t", None)


async def test_a_dead_token_is_forgotten_unless_there_is_a_new_one(database: Database) -> None:
    person = await account(database)
    await register_device(database, person, "d", "web", "old", None)
    await register_device(database, person, "d", "web", "new", None)
    assert not await forget_token(database, person, "d", "old")
    assert await names(database, person) == ["d"]
    assert await forget_token(database, person, "d", "new")
    assert await names(database, person) == []


async def test_a_process_that_is_gone_holds_no_socket(database: Database) -> None:
    """What it said counts as long as it beats."""
    person, node, other = await account(database), uuid7(), uuid7()
    await register_device(database, person, "d", "web", "t", None)

    async def connected() -> bool:
        return (await devices_of(database, person, 1))[0].connected

    await seat_devices(database, node, [Seated(person, "d", True), Seated(person, "unknown", True)])
    assert not await connected(), "it has not beaten yet"
    await database.execute("insert into node (id) values (%s)", node)
    assert await connected()
    await seat_devices(database, other, [Seated(person, "d", False)])
    assert await connected(), "another process says nothing of this one's sockets"
    await database.execute("update node set beat = now() - interval '6 seconds'")
    assert not await connected()
    await database.execute("update node set beat = now()")
    await unseat_all(database, node)
    assert not await connected()
