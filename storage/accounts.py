"""People and their sign-ins: tables ``account`` and ``sign_in``. Times are the database's clock, Unix milliseconds."""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import EmailTaken
from storage.database import Database, Queries, Transaction
from storage.errors import StorageConflict

SIGN_INS: Final = 100  # that one account keeps; a further one ends the one used longest ago

_NOW: Final[LiteralString] = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint"
_ACCOUNT: Final[LiteralString] = (
    "a.id, a.email, a.name, a.password_hash, a.created_at_ms, a.email_verified_at_ms, a.standing, a.role"
)

Standing: TypeAlias = Literal["active", "paused", "suspended", "leaving", "deleted"]
Role: TypeAlias = Literal["person", "moderator", "admin"]


class Account(Struct, frozen=True):
    """One row of ``account``."""

    id: UUID
    email: str
    name: str
    password_hash: str | None  # None: nobody gets in by a password
    created_at_ms: int
    email_verified_at_ms: int | None = None  # when the address was proved to be the person's; None: never
    standing: Standing = "active"
    role: Role = "person"


class NewSignIn(Struct, frozen=True):
    """A sign-in to open. ``basis``: 32 random bytes. ``token_hash``: SHA-256 of its first refresh token."""

    id: UUID
    device: str
    basis: bytes
    token_hash: bytes


class SignIn(Struct, frozen=True):
    """One row of ``sign_in``, and the time at which it was read."""

    id: UUID
    account: UUID
    basis: bytes
    counter: int
    token_hash: bytes
    previous_hash: bytes | None
    used_at_ms: int
    ended: bool
    now_ms: int


_INSERT: Final[LiteralString] = f"""
with a as (
  insert into account (id, email, name, password_hash, email_verified_at_ms, created_at_ms)
  select %s, %s, %s, %s, case when %s then t.now end, t.now from (select {_NOW}) as t(now)
  returning id, created_at_ms, email_verified_at_ms
), s as (
  insert into sign_in (id, account, device, basis, token_hash, created_at_ms, used_at_ms)
  select %s, a.id, %s, %s, %s, a.created_at_ms, a.created_at_ms from a
)
select created_at_ms, email_verified_at_ms from a
"""


async def insert_account(
    db: Queries, account: UUID, email: str, name: str, password_hash: str | None, sign_in: NewSignIn, *,
    verified: bool = False,
) -> Account:  # fmt: skip
    """Store a new account and its first sign-in, together. *verified*: the address was proved to be the person's.

    Raises:
        EmailTaken: An account has this address, in whatever case.
        StorageUnavailable: The outcome is unknown; a repeat gets EmailTaken if the first try was stored.
    """
    try:
        row = await db.fetch_one(
            _INSERT, account, email, name, password_hash, verified, sign_in.id, sign_in.device, sign_in.basis,
            sign_in.token_hash,
        )  # fmt: skip
    except StorageConflict as conflict:
        if conflict.constraint == "account_email":
            raise EmailTaken("this e-mail address has an account already") from conflict
        raise
    assert row is not None
    return Account(account, email, name, password_hash, row[0], row[1])


_BY_EMAIL: Final[LiteralString] = f"select {_ACCOUNT} from account a where lower(a.email) = lower(%s)"


async def account_by_email(db: Queries, email: str) -> Account | None:
    """The account with this address, in whatever case."""
    row = await db.fetch_one(_BY_EMAIL, email)
    return None if row is None else Account(*row)


_LOCK_BY_EMAIL: Final[LiteralString] = f"{_BY_EMAIL} for no key update"


async def lock_account_by_email(tx: Transaction, email: str) -> Account | None:
    """The same, locked until *tx* ends."""
    row = await tx.fetch_one(_LOCK_BY_EMAIL, email)
    return None if row is None else Account(*row)


_BY_ID: Final[LiteralString] = f"select {_ACCOUNT} from account a where a.id = %s"


async def account_by_id(db: Queries, account: UUID) -> Account | None:
    """An account by its id."""
    row = await db.fetch_one(_BY_ID, account)
    return None if row is None else Account(*row)


_LOCK_ACCOUNT: Final[LiteralString] = f"select {_ACCOUNT} from account a where a.id = %s for no key update"


async def lock_account(tx: Transaction, account: UUID) -> Account | None:
    """An account by its id, locked until *tx* ends."""
    row = await tx.fetch_one(_LOCK_ACCOUNT, account)
    return None if row is None else Account(*row)


_BY_SIGN_IN: Final[LiteralString] = f"""
select {_ACCOUNT} from sign_in s join account a on a.id = s.account
where s.id = %s and s.account = %s and s.ended_at_ms is null
"""


async def account_of_sign_in(db: Queries, sign_in: UUID, account: UUID) -> Account | None:
    """*account*, if *sign_in* is one of its own and has not ended."""
    row = await db.fetch_one(_BY_SIGN_IN, sign_in, account)
    return None if row is None else Account(*row)


_NAME: Final[LiteralString] = "select name from account where id = %s"


async def account_name(db: Database, account: UUID) -> str | None:
    """A person's name, as others see it."""
    row = await db.fetch_one(_NAME, account)
    return None if row is None else row[0]


_SET_HASH: Final[LiteralString] = "update account set password_hash = %s where id = %s and password_hash = %s"


async def replace_password_hash(db: Queries, account: UUID, old: str, new: str) -> None:
    """Store the same password's hash with newer parameters, unless the password was changed in between."""
    await db.execute(_SET_HASH, new, account, old)


_SET_PASSWORD: Final[LiteralString] = "update account set password_hash = %s where id = %s"


async def set_password_hash(tx: Transaction, account: UUID, password_hash: str | None) -> None:
    """Give an account another password, or None for none; call with the row locked."""
    await tx.execute(_SET_PASSWORD, password_hash, account)


_VERIFY: Final[LiteralString] = f"""
update account set email_verified_at_ms = {_NOW} where id = %s and email_verified_at_ms is null
"""


async def verify_email(db: Queries, account: UUID) -> None:
    """The account's address was proved to be the person's, now if not before."""
    await db.execute(_VERIFY, account)


_SET_EMAIL: Final[LiteralString] = f"""
update account set email = %s, email_verified_at_ms = {_NOW} where id = %s
"""


async def set_email(tx: Transaction, account: UUID, email: str) -> None:
    """Give an account another address, which was proved to be the person's.

    Raises:
        EmailTaken: Another account has it, in whatever case.
    """
    try:
        await tx.execute(_SET_EMAIL, email, account)
    except StorageConflict as conflict:
        if conflict.constraint == "account_email":
            raise EmailTaken("this e-mail address has an account already") from conflict
        raise


_OPEN: Final[LiteralString] = f"""
with old as (
  delete from sign_in where id in (
    select id from sign_in where account = %s order by ended_at_ms is null desc, used_at_ms desc offset %s
  )
  returning id, ended_at_ms
), new as (
  insert into sign_in (id, account, device, basis, token_hash, created_at_ms, used_at_ms)
  select %s, %s, %s, %s, %s, t.now, t.now from (select {_NOW}) as t(now)
)
select id from old where ended_at_ms is null
"""


async def open_sign_in(db: Queries, account: UUID, sign_in: NewSignIn) -> list[UUID]:
    """Store a new sign-in of *account*. Of more than :data:`SIGN_INS`, those that ended are forgotten first, then those
    used longest ago: the latter end by it and are returned."""
    rows = await db.fetch_all(
        _OPEN, account, SIGN_INS - 1, sign_in.id, account, sign_in.device, sign_in.basis, sign_in.token_hash
    )
    return [row[0] for row in rows]


_LOCK: Final[LiteralString] = f"""
select s.id, s.account, s.basis, s.counter, s.token_hash, s.previous_hash, s.used_at_ms, s.ended_at_ms is not null,
       {_NOW}, {_ACCOUNT}
from sign_in s join account a on a.id = s.account
where s.id = %s
for no key update of s
"""


async def lock_sign_in(tx: Transaction, sign_in: UUID) -> tuple[SignIn, Account] | None:
    """The sign-in and its account, the former locked until *tx* ends. None if there is no such sign-in (any more)."""
    row = await tx.fetch_one(_LOCK, sign_in)
    return None if row is None else (SignIn(*row[:9]), Account(*row[9:]))


_ROTATE: Final[LiteralString] = """
update sign_in set counter = counter + 1, previous_hash = token_hash, token_hash = %s, used_at_ms = %s where id = %s
"""


async def rotate_sign_in(tx: Transaction, sign_in: UUID, token_hash: bytes, now_ms: int) -> None:
    """Make *token_hash* the newest refresh token's; call with the row locked."""
    await tx.execute(_ROTATE, token_hash, now_ms, sign_in)


_END: Final[LiteralString] = f"""
update sign_in set ended_at_ms = {_NOW}, ended_by = %s where id = %s and ended_at_ms is null
"""


async def end_sign_in(db: Queries, sign_in: UUID, by: str) -> bool:
    """End a sign-in for ever; False if it had ended, or is not there. *by*: as in migrations/0024."""
    return await db.execute(_END, by, sign_in) > 0


_IS_LIVE: Final[LiteralString] = "select from sign_in where id = %s and ended_at_ms is null"


async def is_live(db: Database, sign_in: UUID) -> bool:
    """True while *sign_in* has not ended (idleness is judged at its next refresh)."""
    return await db.fetch_one(_IS_LIVE, sign_in) is not None


_END_ALL: Final[LiteralString] = "select * from end_sign_ins(%s, %s, %s)"


async def end_sign_ins(tx: Transaction, account: UUID, but: UUID | None, by: str) -> list[UUID]:
    """End all sign-ins of *account* but one, or all; those that ended. Call with the account locked: who signs in at
    the same time is either ended here, or sees what changed."""
    return [row[0] for row in await tx.fetch_all(_END_ALL, account, but, by)]


class OneSignIn(Struct, frozen=True):
    """A sign-in, as its person is shown it."""

    id: UUID
    device: str
    created_at_ms: int
    used_at_ms: int  # when it was refreshed last


_LIVE: Final[LiteralString] = f"""
select id, device, created_at_ms, used_at_ms from sign_in
where account = %s and ended_at_ms is null and used_at_ms > {_NOW} - %s
order by used_at_ms desc, id desc
"""


async def live_sign_ins(db: Queries, account: UUID, idle_ms: int) -> list[OneSignIn]:
    """The sign-ins of *account* that have not ended and were used within *idle_ms*, the one used last first; at most
    :data:`SIGN_INS`."""
    return [OneSignIn(*row) for row in await db.fetch_all(_LIVE, account, idle_ms)]


_END_ONE: Final[LiteralString] = f"""
with ended as (
  update sign_in set ended_at_ms = {_NOW}, ended_by = 'revoked' where id = %s and account = %s and ended_at_ms is null
  returning id
)
select from sign_in where id = %s and account = %s
"""


async def revoke_sign_in(db: Queries, account: UUID, sign_in: UUID) -> bool:
    """End a sign-in of *account*, if it has not ended; False if it has none by that id."""
    return await db.fetch_one(_END_ONE, sign_in, account, sign_in, account) is not None


_ENDED: Final[LiteralString] = f"""
select id, account, ended_at_ms, {_NOW} from sign_in
where ended_at_ms is not null and (ended_at_ms, id) > (%s, %s) order by ended_at_ms, id limit %s
"""


class Ended(Struct, frozen=True):
    """A sign-in that ended."""

    id: UUID
    account: UUID
    at_ms: int
    now_ms: int


async def ended_after(db: Queries, at_ms: int, sign_in: UUID, limit: int) -> list[Ended]:
    """The sign-ins that ended after the one that ended at *at_ms*, in order; those of who has signed in a hundred times
    since are forgotten."""
    return [Ended(*row) for row in await db.fetch_all(_ENDED, at_ms, sign_in, limit)]


_NOW_MS: Final[LiteralString] = "select now_ms()"


async def now_ms(db: Queries) -> int:
    """The database's clock."""
    row = await db.fetch_one(_NOW_MS)
    assert row is not None
    return int(row[0])


# --- What the operator does -------------------------------------------------------------------------------------------


class Stood(Struct, frozen=True):
    """What came of changing how an account stands."""

    error: str | None = None  # "unknown_user", "deleted", "not_suspended"
    standing: Standing = "active"
    ended: Sequence[UUID] = ()  # sign-ins


_stood: Final = msgspec.json.Decoder(Stood).decode
_STAND: Final[LiteralString] = "select stand_account(%s, %s)::text"


async def stand_account(db: Queries, account: UUID, standing: Literal["suspended", "active", "leaving"]) -> Stood:
    """Suspend an account, restore one that was suspended, or begin its leaving; its sign-ins end unless it is active.
    May be repeated."""
    row = await db.fetch_one(_STAND, account, standing)
    assert row is not None
    return _stood(row[0])


_SET_ROLE: Final[LiteralString] = "update account set role = %s where id = %s and standing <> 'deleted'"


async def set_role(db: Queries, account: UUID, role: Role) -> bool:
    """Give an account a role; False if there is none."""
    return await db.execute(_SET_ROLE, role, account) > 0


_CREATE: Final[LiteralString] = f"""
insert into account (id, email, name, password_hash, created_at_ms, role) values (%s, %s, %s, null, {_NOW}, %s)
"""


async def create_account(db: Queries, account: UUID, email: str, name: str, role: Role) -> None:
    """Store an account without a password and without a sign-in.

    Raises:
        EmailTaken: An account has this address, in whatever case.
    """
    try:
        await db.execute(_CREATE, account, email, name, role)
    except StorageConflict as conflict:
        if conflict.constraint == "account_email":
            raise EmailTaken("this e-mail address has an account already") from conflict
        raise
