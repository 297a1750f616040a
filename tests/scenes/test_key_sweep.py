"""Keys of what is one's own are forgotten, long after anybody repeats them."""

from typing import Any
from uuid import UUID

import pytest
import trio

from konnect_server.actions import key_sweep
from konnect_server.actions.key_sweep import sweep_keys
from protocol.frames import DraftSet
from storage import personal
from storage.errors import StorageUnavailable
from storage.personal import KEYS_KEPT_MS, forget_keys
from storage.rows import Rules
from tests.running import World, create_group, open_house

DAY_MS = 86_400_000


async def age(world: World, key: str, person: UUID, conversation: str, by_ms: int) -> None:
    """Make as if the command of that key had come earlier."""
    changed = await world.database.execute(
        "update personal_key set at_ms = at_ms - %s where person = %s and key_hash = key_hash(%s, %s)",
        by_ms, person, person, f"{conversation}/{key}",
    )  # fmt: skip
    assert changed == 1


async def keys(world: World) -> int:
    [(count,)] = await world.database.fetch_all("select count(*) from personal_key")
    return int(count)


async def until_left(world: World, count: int) -> None:
    with trio.fail_after(30):
        while await keys(world) != count:
            await trio.sleep(0.01)


async def test_a_repeat_is_known_for_thirty_days(world: World) -> None:
    """It undoes nothing; after that its key is gone, and what it has done stays."""
    (ann,) = await world.people("Ann")
    async with open_house(world) as house, house.phone(ann) as phone:
        club = await create_group(phone)
        store = house.server.store
        first = DraftSet(id=1, conversation=UUID(club), key="first", text="one")
        kept = await store.keep(ann.id, first, Rules())
        await phone.result("draft.set", conversation=club, key="second", text="two")
        await age(world, "first", ann.id, club, KEYS_KEPT_MS - DAY_MS)
        assert await forget_keys(world.database) == 0
        assert await store.keep(ann.id, first, Rules()) == type(kept)(kept.number, False)
        await age(world, "first", ann.id, club, 2 * DAY_MS)
        assert await forget_keys(world.database) == 1
        assert await keys(world) == 1
        await phone.result("draft.set", conversation=club, key="second", text="two")
        rows = await world.database.fetch_all("select value ->> 'text' from personal where what = 'draft'")
        assert rows == [("two",)]
        assert (await store.keep(ann.id, first, Rules())).new, "a month late it is a new one"


async def test_they_go_in_batches_by_processes_that_share_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "KEYS_AT_ONCE", 10)
    monkeypatch.setattr(key_sweep, "KEYS_AT_ONCE", 10)
    (ann,) = await world.people("Ann")
    await world.database.execute(
        "insert into personal_key (key_hash, person, digest, number, at_ms) "
        "select md5(n::text)::uuid, %s, md5(n::text)::uuid, n, case when n <= 95 then n else now_ms() end "
        "from generate_series(1, 100) n",
        ann.id,
    )
    assert await forget_keys(world.database) == 10
    [(oldest,)] = await world.database.fetch_all("select min(at_ms) from personal_key")
    assert oldest == 11, "the oldest first"
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(sweep_keys, world.database)
        await until_left(world, 5)
        nursery.cancel_scope.cancel()


async def test_a_sweep_that_fails_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (ann,) = await world.people("Ann")
    await world.database.execute(
        "insert into personal_key (key_hash, person, digest, number, at_ms) "
        "values (gen_random_uuid(), %s, gen_random_uuid(), 1, 1)",
        ann.id,
    )
    tried: list[int] = []

    async def forget(database: Any) -> int:
        tried.append(1)
        if len(tried) == 1:
            raise StorageUnavailable("away")
        return await forget_keys(database)

    monkeypatch.setattr(personal, "forget_keys", forget)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep_keys, world.database, 0.01)
        await until_left(world, 0)
        nursery.cancel_scope.cancel()
