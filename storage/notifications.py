"""Notifications in the app, as lists: rows of one's own (storage/personal.py) of kind ``notification``."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import BadCursor
from protocol.frames import ListedNotification, Notifications, Notifying
from storage.database import Queries

_ABOVE_ALL: Final = "g"  # what sorts behind every id


class _Page(Struct):
    notifications: list[ListedNotification]
    more: bool
    unread: int
    settings: Notifying


_page: Final = msgspec.json.Decoder(_Page).decode
_LIST: Final[LiteralString] = "select list_notifications(%s, %s, %s, %s)::text"


async def list_notifications(
    db: Queries, person: UUID, cursor: str | None, limit: int, unread_only: bool
) -> Notifications:
    """One page, newest first.

    Raises:
        BadCursor
    """
    try:
        below = _ABOVE_ALL if cursor is None else str(UUID(cursor))
    except ValueError as problem:
        raise BadCursor("not a cursor of a list of notifications") from problem
    row = await db.fetch_one(_LIST, person, below, limit, unread_only)
    assert row is not None
    page = _page(row[0])
    return Notifications(
        page.notifications, page.unread, page.settings, str(page.notifications[-1].id) if page.more else None
    )
