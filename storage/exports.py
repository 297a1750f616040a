"""Copies of everything of somebody's own, as rows: table ``export`` (migrations/0025)."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from protocol.errors import KeyReused, Unauthorized
from protocol.frames import AccountExport
from storage.database import Queries

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class _Begun(Struct):
    export: UUID | None = None
    error: str | None = None


class Stretch(Struct, frozen=True):
    """One's own entries in a stretch of one conversation's log, each as JSON."""

    entries: list[Raw]
    through: int  # the stretch ends there
    done: bool  # and so does the log


_begun: Final = msgspec.json.Decoder(_Begun).decode
_stretch: Final = msgspec.json.Decoder(Stretch).decode
_raws: Final = msgspec.json.Decoder(list[Raw]).decode
_BEGIN: Final[LiteralString] = "select begin_export(%s, %s::json, %s)::text"


async def begin(db: Queries, person: UUID, command: AccountExport, new_id: UUID) -> UUID:
    """Ask for a copy; the id of the one that is being made, *new_id* if none was.

    Raises:
        KeyReused
    """
    row = await db.fetch_one(_BEGIN, person, _json(command).decode(), new_id)
    assert row is not None
    begun = _begun(row[0])
    if begun.error == "key_reused":
        raise KeyReused(command.key)
    if begun.export is None:
        raise Unauthorized("there is no such account")
    return begun.export


_NOUN: Final[LiteralString] = "select export_noun(%s, %s)::text"


async def noun(db: Queries, function: str, person: UUID) -> str:
    """What the function of that name, an ``export_<noun>``, gives of *person*, as JSON."""
    row = await db.fetch_one(_NOUN, function, person)
    assert row is not None
    return row[0] or "null"


_ENTRIES: Final[LiteralString] = "select exported_entries(%s, %s, %s, %s)::text"
_VERSIONS: Final[LiteralString] = "select exported_versions(%s, %s, %s, %s)::text"


async def entries(db: Queries, person: UUID, conversation: UUID, after: int, most: int) -> Stretch:
    """One's own entries among the next *most* of that log above *after*."""
    row = await db.fetch_one(_ENTRIES, person, conversation, after, most)
    assert row is not None
    return _stretch(row[0])


async def versions(db: Queries, person: UUID, conversation: UUID, after: int, most: int) -> list[Raw]:
    """What one's own messages in that stretch said first, those that were edited since."""
    row = await db.fetch_one(_VERSIONS, person, conversation, after, most)
    assert row is not None
    return _raws(row[0])


_ANNOUNCE: Final[LiteralString] = "select announce_export(%s, %s, %s, %s, %s, %s)"
_END: Final[LiteralString] = "select end_export(%s, %s, %s)"


async def announce(
    db: Queries, export: UUID, person: UUID, name: str, size_bytes: int, sha256: bytes, lease_ms: int
) -> bool:
    """Say what is to lie in the store, before it does; False: nobody wants it any more, or it is there already."""
    row = await db.fetch_one(_ANNOUNCE, export, person, name, size_bytes, sha256, lease_ms)
    return row is not None and bool(row[0])


async def end(db: Queries, export: UUID, person: UUID, kept_ms: int) -> bool:
    """It lies in the store: its person is told. False: nobody wants it any more, and it is to be deleted."""
    row = await db.fetch_one(_END, export, person, kept_ms)
    return row is not None and bool(row[0])
