"""Rows of media: quota, use, who sees what, and what the sweep takes."""

from uuid import UUID

import psycopg
import pytest
import trio

from konnect_server.ids import uuid7
from protocol.errors import NotReady, QuotaExceeded, UnknownMedium, UnknownUser, WrongUse
from storage import uploads
from storage.database import Database
from storage.postgres_store import open_store
from storage.rows import NewMessage
from storage.uploads import NewUpload, Use

HOUR_MS = 3_600_000


async def person(database: Database) -> UUID:
    made = uuid7()
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', '-', 0)",
        made, f"{made}@example.com",
    )  # fmt: skip
    return made


def new(owner: UUID, size: int = 10, kind: str = "photo", *, pending_ms: int = HOUR_MS) -> NewUpload:
    return NewUpload(uuid7(), owner, kind, size, "image/png", bytes(32), "", 0, pending_ms)


async def ready(database: Database, owner: UUID, kind: str = "photo", *, unused_ms: int = HOUR_MS) -> UUID:
    made = new(owner, kind=kind, pending_ms=0)
    await uploads.insert_upload(database, made, 1 << 30)
    assert await uploads.begin_try(database, made.id, owner, 0)
    assert await uploads.make_ready(database, made.id, 1, unused_ms)
    return made.id


async def direct(database: Database, one: UUID, other: UUID) -> tuple[UUID, int]:
    """A conversation of two, and the seq of an entry in it."""
    conversation = uuid7()
    async with open_store(database, 1) as store:
        await store.open_direct(conversation, one, other)
        appended = await store.append(0, [NewMessage(conversation, one, "k", "see the photo")], {})
        (answer,) = appended.answers
        assert answer.new
    row = await database.fetch_one("select last_seq from conversation where id = %s", conversation)
    assert row is not None
    return conversation, row[0]


# --- Quota ------------------------------------------------------------------------------------------------------------


async def test_of_many_at_the_quotas_edge_only_those_that_fit_win(database: Database) -> None:
    """All at once, on connections of their own: the owner's row is what they wait for."""
    owner = await person(database)
    outcomes: list[str] = []

    async def one() -> None:
        try:
            await uploads.insert_upload(database, new(owner, 30), 100)
            outcomes.append("stored")
        except QuotaExceeded:
            outcomes.append("refused")

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(one)
    assert sorted(outcomes) == ["refused"] * 9 + ["stored"] * 3
    assert await database.fetch_one("select sum(size_bytes)::int from upload") == (90,)


async def test_the_last_byte_fits_and_one_more_does_not(database: Database) -> None:
    owner, other = await person(database), await person(database)
    await uploads.insert_upload(database, new(owner, 99), 100)
    with pytest.raises(QuotaExceeded, match="99 of 100 bytes are taken; 2 more do not fit"):
        await uploads.insert_upload(database, new(owner, 2), 100)
    await uploads.insert_upload(database, new(owner, 1), 100)
    await uploads.insert_upload(database, new(other, 100), 100)


async def test_unfinished_uploads_are_counted_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PENDING", 3)
    owner = await person(database)
    for _ in range(3):
        await uploads.insert_upload(database, new(owner, 1), 100)
    with pytest.raises(QuotaExceeded, match="3 uploads are not finished"):
        await uploads.insert_upload(database, new(owner, 1), 100)
    await ready(database, await person(database))


async def test_nobody_has_no_quota(database: Database) -> None:
    with pytest.raises(UnknownUser):
        await uploads.insert_upload(database, new(uuid7()), 100)


# --- Use --------------------------------------------------------------------------------------------------------------


async def test_only_what_is_ready_ones_own_and_fits_may_be_named(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    here = Use(conversation, seq)
    pending = new(ann)
    await uploads.insert_upload(database, pending, 1 << 30)
    photo, portrait = await ready(database, ann), await ready(database, ann, "profile_photo")
    for upload, owner, use, error in (
        (pending.id, ann, here, NotReady),
        (photo, bob, here, UnknownMedium),
        (uuid7(), ann, here, UnknownMedium),
        (photo, ann, Use(), WrongUse),
        (portrait, ann, here, WrongUse),
    ):
        with pytest.raises(error):
            await uploads.attach(database, owner, upload, use)
    assert await database.fetch_all("select * from upload_use") == []
    for _ in range(2):
        await uploads.attach(database, ann, photo, here)
        await uploads.attach(database, ann, portrait, Use())
    assert await database.fetch_one("select count(*) from upload_use") == (2,)


async def test_a_name_that_is_rolled_back_was_none(database: Database) -> None:
    """It stands or falls with the message that names it."""
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    photo = await ready(database, ann)
    with pytest.raises(RuntimeError):
        async with database.transaction() as tx:
            await uploads.attach(tx, ann, photo, Use(conversation, seq))
            raise RuntimeError
    assert await uploads.visible_upload(database, photo, bob) is None
    found = await uploads.upload_of(database, photo, ann)
    assert found is not None
    assert not found.used


async def test_a_medium_is_seen_by_its_owner_and_by_who_sees_an_entry_that_names_it(database: Database) -> None:
    ann, bob, eve = [await person(database) for _ in range(3)]
    conversation, seq = await direct(database, ann, bob)
    photo = await ready(database, ann)
    assert await uploads.visible_upload(database, photo, ann) is not None
    assert await uploads.visible_upload(database, photo, bob) is None, "nothing names it yet"
    await uploads.attach(database, ann, photo, Use(conversation, seq))
    assert await uploads.visible_upload(database, photo, bob) is not None
    assert await uploads.visible_upload(database, photo, eve) is None
    await uploads.detach(database, photo, Use(conversation, seq), HOUR_MS)
    assert await uploads.visible_upload(database, photo, bob) is None


async def test_who_has_left_or_came_later_sees_what_the_entries_show(database: Database) -> None:
    """Spans decide, as for messages; and whoever is no member now sees nothing."""
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    photo = await ready(database, ann)
    await uploads.attach(database, ann, photo, Use(conversation, seq))
    await database.execute("update span set since = %s, joined = %s where person = %s", seq + 1, seq + 1, bob)
    assert await uploads.visible_upload(database, photo, bob) is None, "the entry was before bob's time"
    await database.execute("update span set since = 1, joined = 1 where person = %s", bob)
    assert await uploads.visible_upload(database, photo, bob) is not None
    await database.execute("update span set until = %s where person = %s", seq + 5, bob)
    assert await uploads.visible_upload(database, photo, bob) is None, "bob has left"


async def test_a_profile_photo_is_for_everybody(database: Database) -> None:
    ann, eve = await person(database), await person(database)
    portrait = await ready(database, ann, "profile_photo")
    assert await uploads.visible_upload(database, portrait, eve) is not None


# --- The sweep --------------------------------------------------------------------------------------------------------


async def test_the_sweep_takes_what_is_due_and_nothing_else(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    old, fresh = new(ann, pending_ms=0), new(ann)
    for each in (old, fresh):
        await uploads.insert_upload(database, each, 1 << 30)
    unused, named = await ready(database, ann, unused_ms=0), await ready(database, ann, unused_ms=0)
    await ready(database, ann)
    await uploads.attach(database, ann, named, Use(conversation, seq))
    doomed = await uploads.doom(database, 10, HOUR_MS)
    assert {row.id for row in doomed} == {old.id, unused}
    assert await uploads.doom(database, 10, HOUR_MS) == [], "somebody is at it"
    assert await uploads.upload_of(database, unused, ann) is None
    with pytest.raises(UnknownMedium):
        await uploads.attach(database, ann, unused, Use(conversation, seq))
    assert not await uploads.make_ready(database, old.id, 1, 0)
    assert await uploads.begin_try(database, old.id, ann, 0) is None
    for row in doomed:
        await uploads.forget(database, row.id)
    assert await database.fetch_one("select count(*) from upload") == (3,)


async def test_a_doomed_row_whose_sweeper_was_killed_is_given_out_again(database: Database) -> None:
    ann = await person(database)
    await uploads.insert_upload(database, new(ann, pending_ms=0), 1 << 30)
    (first,) = await uploads.doom(database, 10, 0)
    (again,) = await uploads.doom(database, 10, HOUR_MS)
    assert first.id == again.id


async def test_a_check_keeps_the_sweep_away(database: Database) -> None:
    ann = await person(database)
    pending = new(ann, pending_ms=0)
    await uploads.insert_upload(database, pending, 1 << 30)
    assert await uploads.begin_try(database, pending.id, ann, HOUR_MS)
    assert await uploads.doom(database, 10, HOUR_MS) == []


async def test_sweepers_share_the_work(database: Database) -> None:
    """Several processes at once: each row is given to one."""
    ann = await person(database)
    for _ in range(30):
        await uploads.insert_upload(database, new(ann, 1, pending_ms=0), 1 << 30)
    taken: list[UUID] = []

    async def one() -> None:
        while found := await uploads.doom(database, 4, HOUR_MS):
            taken.extend(row.id for row in found)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
    assert len(taken) == len(set(taken)) == 30


async def test_a_name_and_the_sweep_do_not_meet(database: Database) -> None:
    """While a transaction names a medium the sweep passes it over, without waiting; once it is named, for good."""
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    photo = await ready(database, ann, unused_ms=0)
    async with database.transaction() as tx:
        await uploads.attach(tx, ann, photo, Use(conversation, seq))
        assert await uploads.doom(database, 10, HOUR_MS) == []
    assert await uploads.doom(database, 10, HOUR_MS) == []
    await uploads.detach(database, photo, Use(conversation, seq), 0)
    assert [row.id for row in await uploads.doom(database, 10, HOUR_MS)] == [photo]


async def test_a_name_of_several_is_taken_back_alone(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    conversation, seq = await direct(database, ann, bob)
    photo = await ready(database, ann)
    uses = (Use(conversation, 1), Use(conversation, seq))
    for use in uses:
        await uploads.attach(database, ann, photo, use)
    await uploads.detach(database, photo, uses[0], 0)
    assert await uploads.doom(database, 10, HOUR_MS) == []
    await uploads.detach(database, photo, uses[1], 0)
    await uploads.detach(database, photo, uses[1], 0)
    assert len(await uploads.doom(database, 10, HOUR_MS)) == 1


async def test_left_overs_are_told_once_nothing_can_come_any_more(database: Database) -> None:
    ann = await person(database)
    photo = await ready(database, ann)
    late = new(ann)
    await uploads.insert_upload(database, late, 1 << 30)
    assert await uploads.begin_try(database, late.id, ann, 0)
    assert await uploads.make_ready(database, late.id, 1, 0)
    assert [row.id for row in await uploads.left_over(database, 10)] == [photo]
    assert await uploads.doom(database, 10, HOUR_MS) == [], "what may still be sent to must stay, however unused"
    await uploads.mark_cleared(database, photo)
    assert await uploads.left_over(database, 10) == []


@pytest.mark.parametrize(
    "change",
    [
        "state = 'ready'", "state = 'gone'", "size_bytes = 0", "kind = 'page'", "sha256 = 'x'", "kept = 1",
        "tries = -1",
        "used_at_ms = 1", "content_type = ''", "owner = gen_random_uuid()",
    ],
)  # fmt: skip
async def test_the_table_refuses_nonsense(dsn: str, database: Database, change: str) -> None:
    """Whoever writes it."""
    await uploads.insert_upload(database, new(await person(database)), 1 << 30)
    with psycopg.connect(dsn, autocommit=True) as control, pytest.raises(psycopg.errors.IntegrityError):
        control.execute(f"update upload set {change}".encode())
