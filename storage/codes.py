"""One-time codes: table ``one_time_code``. A row is an address and a purpose, whether the address has an account or
not.

Times are the database's clock. What a code is, and whether one is right, is said by konnect_server/one_time_codes.py.
"""

from typing import Final, Literal, LiteralString, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct

from storage import jobs
from storage.database import Queries, Transaction

Purpose: TypeAlias = Literal["enter", "password", "email_old", "email_new"]
What: TypeAlias = Literal[
    "enter", "password", "email_old", "email_new", "password_changed", "email_changed"
]  # fmt: skip
WINDOW_MS: Final = 3_600_000  # within which the requests for one address and purpose are counted
FORGOTTEN_AT_ONCE: Final = 1_000

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class Mailing(Struct, frozen=True, omit_defaults=True):
    """What a job of kind "mail" is given."""

    to: str
    what: What
    ticket: UUID | None = None  # of the request for a code
    person: UUID | None = None  # whose it is, where the address does not say it


class CodeRow(Struct, frozen=True):
    """A code as it is stored, and the time at which it was read."""

    purpose: Purpose
    person: UUID | None
    subject: str | None
    ticket: UUID
    salt: bytes | None
    hash: bytes | None  # None: there is no good one
    tries: int
    ends_at_ms: int
    now_ms: int


_ASK: Final[LiteralString] = "select ask_code(%s, %s, %s, %s, %s, %s, %s, %s::json)"


async def ask_code(
    db: Queries, to: str, purpose: Purpose, ticket: UUID, most: int, person: UUID | None = None,
    subject: str | None = None,
) -> int:  # fmt: skip
    """Have a code made and sent; the one before is no good any more. The same work for every address.

    Args:
        ticket: New, names the request.
        most: Requests for this address and purpose within :data:`WINDOW_MS`.
        person: Of a change of address, whose.
        subject: Of the old address, the new one.

    Returns:
        0, or in how many milliseconds it may be asked again: this was one too many, and nothing was done.
    """
    mail = _json(Mailing(to, purpose, None, person)).decode()
    row = await db.fetch_one(_ASK, to, purpose, person, subject, ticket, most, WINDOW_MS, mail)
    assert row is not None
    return int(row[0])


async def add_mail(db: Queries, mailing: Mailing, key: UUID) -> None:
    """Have a mail sent that brings no code. *key*: new, one for each mail."""
    await jobs.add_job(db, jobs.NewJob("mail", str(key), mailing))


_LOCK: Final[LiteralString] = """
select purpose, person, subject, ticket, salt, hash, tries, ends_at_ms, now_ms() from one_time_code
where address = lower(%s) and purpose = %s for no key update
"""


async def lock_code(tx: Transaction, address: str, purpose: Purpose) -> CodeRow | None:
    """The code of that address and purpose, locked until *tx* ends; of two who try at once one waits."""
    row = await tx.fetch_one(_LOCK, address, purpose)
    return None if row is None else CodeRow(*row)


_ARM: Final[LiteralString] = """
update one_time_code set salt = %s, hash = %s, tries = 0, ends_at_ms = now_ms() + %s
where address = lower(%s) and purpose = %s
"""


async def arm_code(
    tx: Transaction, address: str, purpose: Purpose, salt: bytes, code_hash: bytes, life_ms: int
) -> None:
    """Make a code the good one, for *life_ms* from now; call with the row locked."""
    await tx.execute(_ARM, salt, code_hash, life_ms, address, purpose)


_PUT: Final[LiteralString] = """
insert into one_time_code (address, purpose, ticket, salt, hash, ends_at_ms)
values (lower(%s), %s, %s, %s, %s, now_ms() + %s)
on conflict (address, purpose) do update set person = null, subject = null, ticket = excluded.ticket,
    salt = excluded.salt, hash = excluded.hash, tries = 0, ends_at_ms = excluded.ends_at_ms
"""


async def put_code(
    db: Queries, address: str, purpose: Purpose, ticket: UUID, salt: bytes, code_hash: bytes, life_ms: int
) -> None:
    """Make a code without a mail: for who reads it out to somebody."""
    await db.execute(_PUT, address, purpose, ticket, salt, code_hash, life_ms)


_TRY: Final[LiteralString] = "update one_time_code set tries = tries + 1 where address = lower(%s) and purpose = %s"


async def count_try(tx: Transaction, address: str, purpose: Purpose) -> None:
    """A wrong code was given; call with the row locked, and commit."""
    await tx.execute(_TRY, address, purpose)


_SPEND: Final[LiteralString] = """
update one_time_code set salt = null, hash = null where address = lower(%s) and purpose = %s
"""


async def spend_code(db: Queries, address: str, purpose: Purpose) -> None:
    """The code, if there is one, is no good any more."""
    await db.execute(_SPEND, address, purpose)


_FORGET: Final[LiteralString] = """
delete from one_time_code where (address, purpose) in (
  select address, purpose from one_time_code where since_ms < now_ms() - %s and ends_at_ms < now_ms()
  order by since_ms limit %s for update skip locked)
"""


async def forget_codes(db: Queries) -> int:
    """Delete some rows that nothing counts by any more; how many. A mail that is still to go out keeps its row for a
    day."""
    return await db.execute(_FORGET, 24 * WINDOW_MS, FORGOTTEN_AT_ONCE)
