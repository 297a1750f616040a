"""Notices, word from who runs the app for many people: table ``notice`` (migrations/0011)."""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import KeyReused
from protocol.http import NoticeState, SendNotification
from protocol.limits import NOTIFICATIONS, UNREAD
from storage.database import Queries

AT_ONCE: Final = 200  # people who are told in one transaction

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class NoticeContent(Struct, frozen=True):
    """What one device is to be told."""

    account: UUID
    device: str
    token: str
    platform: Literal["android", "ios", "web"]
    title: str
    body: str
    data: dict[str, str]
    badge: int
    hide: bool


class _Made(Struct):
    error: str | None = None
    id: UUID | None = None
    at_ms: int = 0
    told: int = 0
    done_at_ms: int | None = None


_made: Final = msgspec.json.Decoder(_Made).decode
_ids: Final = msgspec.json.Decoder(list[UUID]).decode
_contents: Final = msgspec.json.Decoder(list[NoticeContent]).decode
_MAKE: Final[LiteralString] = "select make_notice(%s, %s, %s::json, %s::json, %s)::text"


async def make_notice(db: Queries, new_id: UUID, wanted: SendNotification) -> NoticeState:
    """Make the notice that is *wanted*, to be told by jobs; a repeat gives the first as it stands.

    Raises:
        KeyReused
    """
    said = {"title": wanted.title, "body": wanted.body, "data": wanted.data}
    row = await db.fetch_one(
        _MAKE, new_id, wanted.key, _json({name: one for name, one in said.items() if one}).decode(),
        _json(wanted.to).decode(), wanted.push,
    )  # fmt: skip
    assert row is not None
    made = _made(row[0])
    if made.error is not None or made.id is None:
        raise KeyReused(wanted.key)
    return NoticeState(made.id, made.at_ms, made.told, made.done_at_ms)


_TELL: Final[LiteralString] = "select tell_notice(%s, %s, %s, %s)::text"


async def tell_notice(db: Queries, notice: UUID, after: UUID | None) -> list[UUID]:
    """Tell the next people above *after*, and make the jobs of what follows; who was told. May be repeated."""
    row = await db.fetch_one(_TELL, notice, after, AT_ONCE, NOTIFICATIONS)
    assert row is not None
    return _ids(row[0])


_CONTENTS: Final[LiteralString] = "select notice_contents(%s, %s::json, %s)::text"


async def contents(db: Queries, notice: UUID, devices: Sequence[tuple[UUID, str]]) -> list[NoticeContent]:
    """What *devices* are to be told of *notice* now; those that are not, are left out."""
    row = await db.fetch_one(_CONTENTS, notice, _json(devices).decode(), UNREAD)
    assert row is not None
    return _contents(row[0])
