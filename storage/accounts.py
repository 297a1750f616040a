"""People and their sign-ins: tables ``account`` and ``sign_in``. Times are the database's clock, Unix milliseconds."""

from typing import Final, LiteralString
from uuid import UUID

from msgspec import Struct

from protocol.errors import EmailTaken
from storage.database import Database, Queries, Transaction
from storage.errors import StorageConflict

SIGN_INS: Final = 100  # that one account keeps; a further one ends the one used longest ago

_NOW: Final[LiteralString] = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint"
_ACCOUNT: Final[LiteralString] = "a.id, a.email, a.name, a.password_hash, a.created_at_ms"


class Account(Struct, frozen=True):
    """One row of ``account``."""

    id: UUID
    email: str
    name: str
    password_hash: str
    created_at_ms: int


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
  insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, %s, %s, {_NOW})
  returning id, created_at_ms
), s as (
  insert into sign_in (id, account, device, basis, token_hash, created_at_ms, used_at_ms)
  select %s, a.id, %s, %s, %s, a.created_at_ms, a.created_at_ms from a
)
select created_at_ms from a
"""


async def insert_account(
    db: Database, account: UUID, email: str, name: str, password_hash: str, sign_in: NewSignIn
) -> Account:
    """Store a new account and its first sign-in, together.

    Raises:
        EmailTaken: An account has this address, in whatever case.
        StorageUnavailable: The outcome is unknown; a repeat gets EmailTaken if the first try was stored.
    """
    try:
        row = await db.fetch_one(
            _INSERT, account, email, name, password_hash, sign_in.id, sign_in.device, sign_in.basis, sign_in.token_hash
        )
    except StorageConflict as conflict:
        if conflict.constraint == "account_email":
            raise EmailTaken("this e-mail address has an account already") from conflict
        raise
    assert row is not None
    return Account(account, email, name, password_hash, row[0])


_BY_EMAIL: Final[LiteralString] = f"select {_ACCOUNT} from account a where lower(a.email) = lower(%s)"


async def account_by_email(db: Database, email: str) -> Account | None:
    """The account with this address, in whatever case."""
    row = await db.fetch_one(_BY_EMAIL, email)
    return None if row is None else Account(*row)


_BY_SIGN_IN: Final[LiteralString] = f"""
select {_ACCOUNT} from sign_in s join account a on a.id = s.account
where s.id = %s and s.account = %s and s.ended_at_ms is null
"""


async def account_of_sign_in(db: Database, sign_in: UUID, account: UUID) -> Account | None:
    """*account*, if *sign_in* is one of its own and has not ended."""
    row = await db.fetch_one(_BY_SIGN_IN, sign_in, account)
    return None if row is None else Account(*row)


_NAME: Final[LiteralString] = "select name from account where id = %s"


async def account_name(db: Database, account: UUID) -> str | None:
    """A person's name, as others see it."""
    row = await db.fetch_one(_NAME, account)
    return None if row is None else row[0]


_SET_HASH: Final[LiteralString] = "update account set password_hash = %s where id = %s and password_hash = %s"


async def replace_password_hash(db: Database, account: UUID, old: str, new: str) -> None:
    """Store the same password's hash with newer parameters, unless the password was changed in between."""
    await db.execute(_SET_HASH, new, account, old)


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


async def open_sign_in(db: Database, account: UUID, sign_in: NewSignIn) -> list[UUID]:
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
    """End a sign-in for ever; False if it had ended, or is not there. *by*: ``logout`` or ``reuse``."""
    return await db.execute(_END, by, sign_in) > 0


_IS_LIVE: Final[LiteralString] = "select from sign_in where id = %s and ended_at_ms is null"


async def is_live(db: Database, sign_in: UUID) -> bool:
    """True while *sign_in* has not ended (idleness is judged at its next refresh)."""
    return await db.fetch_one(_IS_LIVE, sign_in) is not None
