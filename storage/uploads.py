"""Media as rows: tables ``upload`` and ``upload_use``. Times are the database's clock, Unix milliseconds.

Whoever lets something name a medium (a message, a profile) calls :func:`attach` in the same transaction, or its SQL
function ``upload_attach`` inside another: that makes the medium no orphan, and lets the members see it.
"""

from typing import Final, LiteralString
from uuid import UUID

from msgspec import Struct

from protocol.errors import NotReady, QuotaExceeded, UnknownMedium, UnknownUser, WrongUse
from storage.database import Database, Queries

PENDING: Final = 100  # uploads of one person that are not ready; a further one is refused
_FIELDS: Final[LiteralString] = (
    "id, owner, kind, state, size_bytes, content_type, sha256, name, tries, kept, created_at_ms, used_at_ms is not null"
)


class NewUpload(Struct, frozen=True):
    """What is announced. ``sha256``: 32 bytes. How long its address is good, and how long it is kept after that."""

    id: UUID
    owner: UUID
    kind: str
    size_bytes: int
    content_type: str
    sha256: bytes
    name: str
    address_ms: int
    pending_ms: int


class Upload(Struct, frozen=True):
    """One row of ``upload``."""

    id: UUID
    owner: UUID
    kind: str
    state: str  # pending, ready, doomed
    size_bytes: int
    content_type: str
    sha256: bytes
    name: str
    tries: int
    kept: int | None
    created_at_ms: int
    used: bool


class Use(Struct, frozen=True):
    """Where a medium is named: by entry *seq* of a conversation, or, without both, by its owner's profile."""

    conversation: UUID | None = None
    seq: int | None = None


_LOCK_OWNER: Final[LiteralString] = "select from account where id = %s for no key update"
_HELD: Final[LiteralString] = """
select coalesce(sum(size_bytes), 0)::bigint, count(*) filter (where state = 'pending')
from upload where owner = %s and state <> 'doomed' and kind <> 'export'
"""
_INSERT: Final[LiteralString] = """
insert into upload (id, owner, kind, size_bytes, content_type, sha256, name,
                    created_at_ms, incoming_until_ms, due_at_ms)
select %s, %s, %s, %s, %s, %s, %s, t.now, t.now + %s::bigint, t.now + %s::bigint from (select now_ms()) as t(now)
"""


async def insert_upload(db: Database, new: NewUpload, quota_bytes: int) -> None:
    """Store *new* as pending, if its owner has room for it. The owner's row is locked: of two at the edge one wins.

    Raises:
        QuotaExceeded: With it the owner would have more than *quota_bytes*, or more than :data:`PENDING` pending.
        UnknownUser: The owner has no account.
    """
    async with db.transaction() as tx:
        if await tx.fetch_one(_LOCK_OWNER, new.owner) is None:
            raise UnknownUser(new.owner)
        row = await tx.fetch_one(_HELD, new.owner)  # a statement of its own: it sees what the lock's last holder stored
        assert row is not None
        held_bytes, pending = row
        if held_bytes + new.size_bytes > quota_bytes:
            raise QuotaExceeded(f"{held_bytes} of {quota_bytes} bytes are taken; {new.size_bytes} more do not fit")
        if pending >= PENDING:
            raise QuotaExceeded(f"{pending} uploads are not finished; finish them, or wait until they are forgotten")
        arriving_ms = new.address_ms + new.pending_ms
        await tx.execute(
            _INSERT, new.id, new.owner, new.kind, new.size_bytes, new.content_type, new.sha256, new.name,
            arriving_ms, arriving_ms,
        )  # fmt: skip


_OWN: Final[LiteralString] = f"select {_FIELDS} from upload where id = %s and owner = %s and state <> 'doomed'"


async def upload_of(db: Queries, upload: UUID, owner: UUID) -> Upload | None:
    """*upload*, if it is *owner*'s."""
    row = await db.fetch_one(_OWN, upload, owner)
    return None if row is None else Upload(*row)


_VISIBLE: Final[LiteralString] = f"""
select {_FIELDS} from upload u
where id = %s and state = 'ready' and (owner = %s or kind = 'profile_photo' or sees_in_post(%s, u.id) or exists (
  select from upload_use n
  join span s on s.conversation = n.conversation and s.person = %s and n.seq >= s.since
    and (s.until is null or n.seq <= s.until)
  where n.upload = u.id
    and exists (select from span o where o.conversation = s.conversation and o.person = s.person and o.until is null)
) or exists (
  select from conversation v where v.photo = u.id and (v.public or exists (
    select from span o where o.conversation = v.id and o.person = %s and o.until is null))
) or sees_in_report(%s, u.id))
"""


async def visible_upload(db: Queries, upload: UUID, person: UUID) -> Upload | None:
    """*upload*, if it is ready and *person* may see it: everybody a profile photo, its owner anything, others what an
    entry names that they can see, in a conversation that they are members of now, and that conversation's photo, or a
    public one's, and what a post names that they may see; moderators what an open report holds."""
    row = await db.fetch_one(_VISIBLE, upload, person, person, person, person, person)
    return None if row is None else Upload(*row)


_TRY: Final[LiteralString] = f"""
update upload set tries = tries + 1, due_at_ms = greatest(due_at_ms, now_ms() + %s)
where id = %s and owner = %s and state = 'pending' returning {_FIELDS}
"""


async def begin_try(db: Queries, upload: UUID, owner: UUID, lease_ms: int) -> Upload | None:
    """Count one more check of a pending *upload*, and keep the sweep away from it for *lease_ms*. None: not pending."""
    row = await db.fetch_one(_TRY, lease_ms, upload, owner)
    return None if row is None else Upload(*row)


_READY: Final[LiteralString] = """
update upload set state = 'ready', kept = %s, due_at_ms = greatest(now_ms() + %s, incoming_until_ms)
where id = %s and state = 'pending'
"""


async def make_ready(db: Queries, upload: UUID, kept: int, unused_ms: int) -> bool:
    """Say that check number *kept* found *upload* good; False if another one was faster."""
    return await db.execute(_READY, kept, unused_ms, upload) > 0


_ATTACH: Final[LiteralString] = "select upload_attach(%s, %s, %s, %s)"


async def attach(db: Queries, owner: UUID, upload: UUID, to: Use) -> None:
    """Name *upload* in an entry or a profile; call it in the transaction that stores the name. Repeating does no harm.

    Raises:
        UnknownMedium: There is none with this id that is *owner*'s.
        NotReady: Its check has not succeeded yet.
        WrongUse: A profile photo in a conversation, or something else as a profile's.
    """
    row = await db.fetch_one(_ATTACH, upload, owner, to.conversation, to.seq)
    assert row is not None
    match row[0]:
        case "ok":
            return
        case "unknown_medium":
            raise UnknownMedium(upload)
        case "not_ready":
            raise NotReady("the upload is not done yet")
        case _:
            raise WrongUse("a profile photo belongs to a profile, and nothing else does")


_DETACH: Final[LiteralString] = "select upload_detach(%s, %s, %s, %s)"


async def detach(db: Queries, upload: UUID, of: Use, unused_ms: int) -> None:
    """Take a name back. Without any, *upload* is an orphan, and swept after *unused_ms*."""
    await db.execute(_DETACH, upload, of.conversation, of.seq, unused_ms)


_DOOM: Final[LiteralString] = f"""
update upload set state = 'doomed', due_at_ms = now_ms() + %s where id in (
  select id from upload where due_at_ms <= now_ms() and used_at_ms is null order by due_at_ms limit %s
  for update skip locked
) returning {_FIELDS}
"""


async def doom(db: Queries, at_most: int, retry_ms: int) -> list[Upload]:
    """Orphans whose time has come, now nobody's; delete their blobs, then :func:`forget` them. What is doomed and not
    forgotten within *retry_ms* is given to somebody again: its sweeper was killed. Several processes share the work."""
    return [Upload(*row) for row in await db.fetch_all(_DOOM, retry_ms, at_most)]


_FORGET: Final[LiteralString] = "delete from upload where id = %s and state = 'doomed'"


async def forget(db: Queries, upload: UUID) -> None:
    """Delete a doomed row, once nothing is left of its blobs."""
    await db.execute(_FORGET, upload)


_LEFT: Final[LiteralString] = f"""
select {_FIELDS} from upload where state = 'ready' and incoming_until_ms <= now_ms() order by incoming_until_ms limit %s
"""


async def left_over(db: Queries, at_most: int) -> list[Upload]:
    """Ready uploads to whose addresses nothing can come any more, and whose other copies were not cleared since."""
    return [Upload(*row) for row in await db.fetch_all(_LEFT, at_most)]


_CLEARED: Final[LiteralString] = "update upload set incoming_until_ms = null where id = %s"


async def mark_cleared(db: Queries, upload: UUID) -> None:
    """Say that of *upload* nothing is left but the medium."""
    await db.execute(_CLEARED, upload)


_DOOMED_OF: Final[LiteralString] = f"""
select {_FIELDS} from upload where owner = %s and state = 'doomed' and id > %s order by id limit %s
"""


async def doomed_of(db: Queries, owner: UUID, after: UUID, at_most: int) -> list[Upload]:
    """What is *owner*'s and to be deleted, in the order of ids above *after*."""
    return [Upload(*row) for row in await db.fetch_all(_DOOMED_OF, owner, after, at_most)]


_FORGET_NOW: Final[LiteralString] = """
delete from upload where id = %s and state = 'doomed' and coalesce(incoming_until_ms, 0) <= now_ms()
"""


async def forget_unless_awaited(db: Queries, upload: UUID) -> None:
    """:func:`forget`, unless something may still arrive at its address: then the sweep deletes that, later."""
    await db.execute(_FORGET_NOW, upload)


_READY_OF: Final[LiteralString] = f"""
select {_FIELDS} from upload where owner = %s and state = 'ready' and kind <> 'export' and id > %s order by id limit %s
"""


async def ready_of(db: Queries, owner: UUID, after: UUID, at_most: int) -> list[Upload]:
    """What *owner* has sent and that was found good, in the order of ids above *after*."""
    return [Upload(*row) for row in await db.fetch_all(_READY_OF, owner, after, at_most)]
