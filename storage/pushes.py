"""Who is owed a push for what: tables ``pushed`` and ``push``, filled from the logs (migrations/0011)."""

from collections.abc import Sequence
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.limits import NOTIFICATIONS, UNREAD
from storage.database import Queries

ENTRIES: Final = 500  # of one conversation that are looked at in one go
DEVICES: Final = 100  # for which one job sends
STALE_MS: Final = 3_600_000  # nobody is told by push of what is older
PATIENCE_MS: Final = 60_000  # so long an open socket may take to say that it took a message; longer than a ping
SWEPT: Final = 10_000  # conversations that one sweep finds

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class Gathered(Struct, frozen=True):
    """What came of a look."""

    people: list[UUID]  # whose own rows changed
    more: list[UUID]  # conversations that have more to look at
    jobs: int  # made


class Content(Struct, frozen=True):
    """What one device is owed of a conversation."""

    account: UUID
    device: str
    seq: int  # up to which message
    verdict: Literal["send", "wait", "drop"]  # wait: its socket is open, and may or may not have taken it
    token: str
    platform: Literal["android", "ios", "web"]
    kind: str  # of the conversation
    hide: bool  # tell that there is something, not what
    title: str | None = None  # of the conversation
    newest: int = 0  # the message that is shown
    author: UUID | None = None
    name: str = ""  # the author's
    text: str | None = None
    content: dict[str, Any] | None = None
    count: int = 0  # messages that this tells of
    mention: bool = False
    badge: int = 0  # unread messages of all conversations


class Told(Struct, frozen=True, rename={"account": "a", "device": "d", "seq": "s"}):
    """A device that was told up to message *seq*, or need not be."""

    account: UUID
    device: str
    seq: int


_gathered: Final = msgspec.json.Decoder(Gathered).decode
_ids: Final = msgspec.json.Decoder(list[UUID]).decode
_contents: Final = msgspec.json.Decoder(list[Content]).decode
_left: Final = msgspec.json.Decoder(list[tuple[UUID, str]]).decode

_GATHER: Final[LiteralString] = "select gather_pushes(%s::uuid[], %s, %s, %s, %s)::text"


async def gather(db: Queries, conversations: Sequence[UUID]) -> Gathered:
    """Look at what was stored in *conversations* since the last look; make notifications and jobs of it. One commit;
    what was looked at is not looked at again, by whatever process."""
    row = await db.fetch_one(_GATHER, list(conversations), ENTRIES, DEVICES, STALE_MS, NOTIFICATIONS)
    assert row is not None
    return _gathered(row[0])


_UNPUSHED: Final[LiteralString] = "select unpushed(%s, %s)::text"


async def unpushed(db: Queries) -> list[UUID]:
    """Conversations in which something was stored within the last hour that was not looked at."""
    row = await db.fetch_one(_UNPUSHED, STALE_MS, SWEPT)
    assert row is not None
    return _ids(row[0])


_DROP: Final[LiteralString] = "delete from push where at_ms < now_ms() - 2 * %s"


async def drop_stale(db: Queries) -> int:
    """Forget what waited in vain; how many rows."""
    return await db.execute(_DROP, STALE_MS)


_CONTENTS: Final[LiteralString] = "select push_contents(%s, %s::json, %s, %s, %s)::text"


async def contents(db: Queries, conversation: UUID, devices: Sequence[tuple[UUID, str]]) -> list[Content]:
    """What *devices* are owed of *conversation* now; those that are owed nothing any more are left out."""
    row = await db.fetch_one(_CONTENTS, conversation, _json(devices).decode(), PATIENCE_MS, STALE_MS, UNREAD)
    assert row is not None
    return _contents(row[0])


_SETTLE: Final[LiteralString] = "select settle_pushes(%s, %s::json)::text"


async def settle(db: Queries, conversation: UUID, told: Sequence[Told]) -> list[tuple[UUID, str]]:
    """Say what was *told*; the devices among them that are owed more since."""
    row = await db.fetch_one(_SETTLE, conversation, _json(told).decode())
    assert row is not None
    return _left(row[0])
