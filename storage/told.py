"""What devices are told by push of a notification that no conversation says: ``told_contents`` (migrations/0017)."""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.frames import Notification
from protocol.limits import UNREAD
from storage.database import Queries
from storage.pushes import PATIENCE_MS, STALE_MS

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class ToldContent(Struct, frozen=True):
    """What one device is to be told."""

    account: UUID
    device: str
    token: str
    platform: Literal["android", "ios", "web"]
    wait: bool  # its socket is open: it need not be told, unless that is dead
    said: Notification
    hide: bool
    name: str = ""  # of who did it, where somebody did
    badge: int = 0


_contents: Final = msgspec.json.Decoder(list[ToldContent]).decode
_CONTENTS: Final[LiteralString] = "select told_contents(%s, %s::json, %s, %s, %s)::text"


async def contents(db: Queries, notification: UUID, devices: Sequence[tuple[UUID, str]]) -> list[ToldContent]:
    """What *devices* are to be told of *notification* now; those that are not, are left out."""
    row = await db.fetch_one(_CONTENTS, notification, _json(devices).decode(), PATIENCE_MS, STALE_MS, UNREAD)
    assert row is not None
    return _contents(row[0])
