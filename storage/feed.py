"""People to meet, and people who are looked for (migrations/0020)."""

import hashlib
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.frames import FeedList, ProfileSearch
from protocol.limits import FEED_PAGE
from storage import page_cursor
from storage.database import Queries

BLOCK: Final = FEED_PAGE  # people who are found at once, and then put in order
LOOK: Final = 5_000  # profiles that are looked at for one page
PLACES: Final = 2**62  # on the circle

_DAY_MS: Final = 86_400_000


class People(Struct, frozen=True):
    """A page of them."""

    people: list[dict[str, Any]]  # see ``person_shown``
    cursor: str | None  # of the next page


class _Fed(Struct):
    people: list[dict[str, Any]]
    left: list[int]
    after: int
    round: bool
    over: bool


class _Found(Struct):
    people: list[dict[str, Any]]
    stage: int
    after: int
    round: bool
    over: bool


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_fed: Final = msgspec.json.Decoder(_Fed).decode
_found: Final = msgspec.json.Decoder(_Found).decode


def start_of(person: UUID, at_ms: int) -> int:
    """Where on the circle *person*'s walks begin on the day (UTC) of *at_ms*: another place every day."""
    day = at_ms // _DAY_MS
    return int.from_bytes(hashlib.sha256(person.bytes + day.to_bytes(8)).digest()[:8]) % PLACES


_FEED: Final[LiteralString] = "select feed_shown(%s, %s::json, %s, %s, %s, %s, %s::bigint[], %s, %s, %s)::text"


async def feed(db: Queries, person: UUID, command: FeedList, at_ms: int) -> People:
    """A page of the feed; *at_ms*: now, for where a first page begins.

    Raises:
        BadCursor
    """
    if command.cursor is None:
        start = start_of(person, at_ms)
        place: page_cursor.FeedPlace = (start, start - 1, False, False, [])
    else:
        place = page_cursor.FEED.place_of(command.cursor)
    filters = _json(command.filter).decode()
    row = await db.fetch_one(_FEED, person, filters, *place, command.limit, BLOCK, LOOK)
    assert row is not None
    page = _fed(row[0])
    if page.over and not page.left:
        return People(page.people, None)
    return People(page.people, page_cursor.FEED.text_of((place[0], page.after, page.round, page.over, page.left)))


_SEARCH: Final[LiteralString] = "select profile_search(%s, %s, %s::json, %s, %s, %s, %s, %s)::text"


async def search(db: Queries, person: UUID, command: ProfileSearch, at_ms: int) -> People:
    """A page of the people whom *command* looks for; *at_ms*: as for :func:`feed`.

    Raises:
        BadCursor
    """
    if command.cursor is None:
        start = start_of(person, at_ms)
        place: page_cursor.SearchPlace = (start, 0, start - 1, False)
    else:
        place = page_cursor.PROFILES.place_of(command.cursor)
    filters = _json(command.filter).decode()
    row = await db.fetch_one(_SEARCH, person, command.query, filters, *place, command.limit)
    assert row is not None
    page = _found(row[0])
    if page.over:
        return People(page.people, None)
    return People(page.people, page_cursor.PROFILES.text_of((place[0], page.stage, page.after, page.round)))
