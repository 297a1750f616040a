"""Leaving, as the database does it: a pause, the end of an account, the erasure step by step (migrations/0025)."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import KeyReused, Leaving, Refused, Unauthorized
from protocol.frames import AccountDelete, AccountPause, AccountReturn, AccountStanding
from storage.database import Queries

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode

class Stood(Struct, frozen=True):
    """What became of a command about one's account."""

    number: int = 0  # up to which a device has to be told to know of it
    ended: list[UUID] = []  # sign-ins
    until_ms: int = 0  # of who leaves: the day of erasure
    new: bool = True
    error: str | None = None

class Step(Struct, frozen=True):
    """What one step of the erasure did in one conversation."""

    seq: int  # where its log ends
    moved: bool  # it grew
    changed: list[UUID] = []  # whose own rows changed
    more: bool = False  # the same step is to be done again
    through: int = 0  # up to here entries were looked through
    done: bool = False  # that was all of them

class Scope(Struct, frozen=True):
    """How much one step may do, and what is to be kept."""

    texts: str  # "blank" or "keep": what the person's messages say
    media_unused_ms: int
    reaction_users: int
    thread_users: int
    expired: int  # messages that one entry tells of
    scanned: int = 2_000  # entries that one step looks through
    erased: int = 200  # rows of each kind that one step takes away

_stood: Final = msgspec.json.Decoder(Stood).decode
_step: Final = msgspec.json.Decoder(Step).decode
_ids: Final = msgspec.json.Decoder(list[UUID]).decode
_maybe_ids: Final = msgspec.json.Decoder(list[UUID] | None).decode
_names: Final = msgspec.json.Decoder(list[str]).decode
_standing: Final = msgspec.json.Decoder(AccountStanding).decode

_PAUSE: Final[LiteralString] = "select pause_account(%s, %s::json)::text"
_DELETE: Final[LiteralString] = "select delete_account(%s, %s::json, %s)::text"
_RETURN: Final[LiteralString] = "select return_account(%s, %s::json)::text"
_GET: Final[LiteralString] = "select account_standing(%s)::text"

async def pause(db: Queries, person: UUID, command: AccountPause) -> Stood:
    """Pause, or go on.

    Raises:
        KeyReused
        Leaving: Who leaves does neither.
    """
    return _checked(await db.fetch_one(_PAUSE, person, _json(command).decode()), command.key)

async def delete(db: Queries, person: UUID, command: AccountDelete, days: int) -> Stood:
    """Begin to leave; after *days* the account is erased. Sign-ins end by it.

    Raises:
        KeyReused
    """
    return _checked(await db.fetch_one(_DELETE, person, _json(command).decode(), days), command.key)

_DAYS: Final[LiteralString] = "select set_house_rule('leaving_days', %s)"


async def set_days(db: Queries, days: int) -> None:
    """In how many days whom the operator deletes may return."""
    await db.fetch_one(_DAYS, str(days))


async def come_back(db: Queries, person: UUID, command: AccountReturn) -> Stood:
    """Take it back; nothing happens to who does not leave.

    Raises:
        KeyReused
    """
    return _checked(await db.fetch_one(_RETURN, person, _json(command).decode()), command.key)

async def standing(db: Queries, person: UUID) -> AccountStanding:
    """How the account stands."""
    row = await db.fetch_one(_GET, person)
    if row is None or row[0] is None:
        raise Unauthorized("there is no such account")
    return _standing(row[0])

def _checked(row: tuple[str, ...] | None, key: str) -> Stood:
    assert row is not None
    stood = _stood(row[0])
    if stood.error is not None:
        raise _refusal(stood.error, key)
    return stood

def _refusal(code: str, key: str) -> Refused:
    match code:
        case "key_reused":
            return KeyReused(key)
        case "leaving":
            return Leaving("the account is being deleted; return first")
        case "unknown_user":
            return Unauthorized("there is no such account")
    raise AssertionError(f"the database answered {code!r}")

# --- the erasure ---

_BEGIN: Final[LiteralString] = "select begin_erasing(%s, %s)::text"
_CONVERSATIONS: Final[LiteralString] = "select erased_conversations(%s, %s, %s)::text"
_MEMBERSHIP: Final[LiteralString] = "select erase_membership(%s, %s, %s::json)::text"
_TEXTS: Final[LiteralString] = "select erase_texts(%s, %s, %s, %s::json)::text"
_TOLD: Final[LiteralString] = "select erase_told(%s, %s)::text"
_FUNCTIONS: Final[LiteralString] = "select leaving_functions(%s)::text"
_NOUN: Final[LiteralString] = "select erase_noun(%s, %s)"
_ROWS: Final[LiteralString] = "select erase_rows(%s, %s)"
_END_NAMES: Final[LiteralString] = "select end_names(%s)"
_END: Final[LiteralString] = "select end_erasing(%s)"

async def begin_erasing(db: Queries, person: UUID, until_ms: int) -> list[UUID] | None:
    """From here on nobody returns; all sign-ins of the account, which have ended. None: the person has returned."""
    row = await db.fetch_one(_BEGIN, person, until_ms)
    assert row is not None
    return None if row[0] is None else _maybe_ids(row[0])

async def conversations(db: Queries, person: UUID, after: UUID, most: int) -> list[UUID]:
    """Where *person* is or was a member, in the order of ids."""
    row = await db.fetch_one(_CONVERSATIONS, person, after, most)
    assert row is not None
    return _ids(row[0])

async def erase_membership(db: Queries, person: UUID, conversation: UUID, scope: Scope) -> Step:
    """What the person is, has and did there, but for what was said."""
    return _of_step(await db.fetch_one(_MEMBERSHIP, person, conversation, _json(scope).decode()))

async def erase_texts(db: Queries, person: UUID, conversation: UUID, after: int, scope: Scope) -> Step:
    """What the person said there, in entries above *after*."""
    return _of_step(await db.fetch_one(_TEXTS, person, conversation, after, _json(scope).decode()))

async def erase_told(db: Queries, person: UUID, most: int) -> list[UUID]:
    """Take *most* notifications about the person from others' lists; whose. Empty: there are none left."""
    row = await db.fetch_one(_TOLD, person, most)
    assert row is not None
    return _ids(row[0])

async def functions(db: Queries, prefix: str) -> list[str]:
    """Names of the functions of the database that begin so and take a person alone, sorted."""
    row = await db.fetch_one(_FUNCTIONS, prefix)
    assert row is not None
    return _names(row[0])

async def erase_noun(db: Queries, function: str, person: UUID) -> None:
    """Call one of :func:`functions` that erases."""
    await db.execute(_NOUN, function, person)

async def erase_rows(db: Queries, person: UUID, most: int) -> bool:
    """Rows that are the person's alone, *most* of each table; whether there may be more."""
    row = await db.fetch_one(_ROWS, person, most)
    return row is not None and bool(row[0])

async def end_names(db: Queries, person: UUID) -> bool:
    """Take the address away, and the id from notices and jobs that are over; whether jobs that name the person wait."""
    row = await db.fetch_one(_END_NAMES, person)
    return row is not None and bool(row[0])

async def end_erasing(db: Queries, person: UUID) -> None:
    """The last of it."""
    await db.execute(_END, person)

def _of_step(row: tuple[str, ...] | None) -> Step:
    assert row is not None
    return _step(row[0])
