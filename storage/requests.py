"""Who is told of requests to be let in: jobs that migrations/0013 makes in the commit of what they tell."""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.limits import NOTIFICATIONS, UNREAD
from storage.database import Queries
from storage.pushes import DEVICES, PATIENCE_MS, STALE_MS

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class Asked(Struct, frozen=True):
    """What a job of kind "request" is given: somebody asks to be let in."""

    conversation: UUID
    user: UUID
    request: UUID


class Over(Struct, frozen=True):
    """What a job of kind "request.over" is given: a request was answered."""

    conversation: UUID
    user: UUID
    request: UUID
    told: list[UUID]  # who was notified of it
    answer: Literal["accepted", "declined"]
    declined: UUID  # the id of the notification that says so to who asked, if so it is


class RequestContent(Struct, frozen=True):
    """What one device is to be told of a notification about a request."""

    account: UUID
    device: str
    token: str
    platform: Literal["android", "ios", "web"]
    wait: bool  # its socket is open: it need not be told, unless that is dead
    kind: Literal["request", "declined"]
    conversation: UUID
    title: str  # of the conversation
    hide: bool
    name: str = ""  # of `request`: who asks
    badge: int = 0


_ids: Final = msgspec.json.Decoder(list[UUID]).decode
_contents: Final = msgspec.json.Decoder(list[RequestContent]).decode
_ASKED: Final[LiteralString] = "select tell_request(%s, %s, %s, %s, %s)::text"


async def tell_request(db: Queries, asked: Asked) -> list[UUID]:
    """Notify all who may answer, if the request still waits, and make the jobs that push it; who was told. May be
    repeated."""
    row = await db.fetch_one(_ASKED, asked.conversation, asked.user, asked.request, DEVICES, NOTIFICATIONS)
    assert row is not None
    return _ids(row[0])


_OVER: Final[LiteralString] = "select tell_answer(%s, %s, %s, %s::uuid[], %s, %s, %s, %s)::text"


async def tell_answer(db: Queries, over: Over) -> list[UUID]:
    """Mark the notifications of a request as read and answered, and notify who was declined; whose own rows changed.
    May be repeated."""
    row = await db.fetch_one(
        _OVER, over.conversation, over.user, over.request, over.told, over.answer, over.declined, DEVICES,
        NOTIFICATIONS,
    )  # fmt: skip
    assert row is not None
    return _ids(row[0])


_CONTENTS: Final[LiteralString] = "select request_contents(%s, %s::json, %s, %s, %s)::text"


async def contents(db: Queries, notification: UUID, devices: Sequence[tuple[UUID, str]]) -> list[RequestContent]:
    """What *devices* are to be told of *notification* now; those that are not, are left out."""
    row = await db.fetch_one(_CONTENTS, notification, _json(devices).decode(), PATIENCE_MS, STALE_MS, UNREAD)
    assert row is not None
    return _contents(row[0])
