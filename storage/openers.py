"""First messages, and matches: tables ``opener`` and ``matched`` (migrations/0021_openers.sql)."""

from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import (
    AlreadyAnswered,
    AlreadyMet,
    KeyReused,
    NotWhilePaused,
    Refused,
    TooManyOfOnesOwn,
    UnknownMatch,
)
from protocol.frames import (
    ListedMatch,
    ListedOpener,
    Matches,
    MatchList,
    MatchUnmatch,
    OpenerIgnore,
    OpenerList,
    Openers,
    OpenerSend,
    OpenerSent,
    OwnOpener,
    SentOpeners,
)
from protocol.limits import NOTIFICATIONS, OPENERS
from storage import page_cursor
from storage.database import Queries


class Terms(Struct, frozen=True):
    """What the deployment says of first messages."""

    per_day: int = 5  # that one person sends, by the days of UTC
    release: Literal["daily", "random"] = "daily"
    hour: int = 18  # of `daily`: UTC
    within_h: int = 24  # of `random`


class Changed(Struct, frozen=True):
    """What came of a command about them."""

    number: int = 0  # up to which the asker has to be told
    new: bool = False  # by this very call
    other: UUID | None = None  # who else's rows changed
    match: UUID | None = None  # that this call made
    conversation: UUID | None = None  # of it, or of one that ended
    seq: int = 0  # up to where that conversation's log has grown; 0: it has not
    made: bool = False  # it is new
    error: str | None = None


class Released(Struct, frozen=True):
    """What came of a release."""

    changed: bool  # the receiver's own rows
    both: list[UUID]  # authors to whom the receiver has written too: match_openers


class _Page(Struct):
    openers: list[ListedOpener]
    count: int


class _Sent(Struct):
    openers: list[OwnOpener]
    left: int


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_changed: Final = msgspec.json.Decoder(Changed).decode
_maybe_changed: Final = msgspec.json.Decoder(Changed | None).decode
_released: Final = msgspec.json.Decoder(Released).decode
_page: Final = msgspec.json.Decoder(_Page).decode
_sent: Final = msgspec.json.Decoder(_Sent).decode
_matches: Final = msgspec.json.Decoder(list[ListedMatch]).decode


async def _ask(db: Queries, sql: LiteralString, *values: object) -> str:
    row = await db.fetch_one(sql, *values)
    assert row is not None
    text: str = row[0]
    return text


_SEND: Final[LiteralString] = "select send_opener(%s, %s::json, %s::json, %s, %s)::text"


async def send_opener(
    db: Queries, person: UUID, command: OpenerSend, terms: Terms, match: UUID, conversation: UUID
) -> Changed:
    """Send a first message; *match*, *conversation*: ids, should it make a match. Whether there is such a person,
    whether one of the two blocked the other, and what the other did with it is not to be seen in the answer.

    Raises:
        AlreadyAnswered, AlreadyMet, NotWhilePaused, TooManyOfOnesOwn, KeyReused
    """
    found = _changed(await _ask(db, _SEND, person, _text(command), _text(terms), match, conversation))
    if found.error is not None:
        raise _refusal(found.error, command.key)
    return found


_LIST: Final[LiteralString] = "select opener_list(%s, %s, %s)::text"


async def opener_list(db: Queries, person: UUID, command: OpenerList) -> Openers:
    """One page of those that were released.

    Raises:
        BadCursor
    """
    (after,) = page_cursor.OPENERS.place_of(command.cursor)
    found = _page(await _ask(db, _LIST, person, after, command.limit))
    shown = found.openers[: command.limit]
    more = len(found.openers) > command.limit
    return Openers(shown, found.count, page_cursor.OPENERS.text_of((shown[-1].opener,)) if more else None)


_SENT: Final[LiteralString] = "select openers_sent(%s, %s, %s, %s, %s::json)::text"


async def openers_sent(db: Queries, person: UUID, command: OpenerSent, terms: Terms) -> SentOpeners:
    """One page of those that the person sent.

    Raises:
        BadCursor
    """
    at_ms, user = page_cursor.OPENERS_SENT.place_of(command.cursor)
    found = _sent(await _ask(db, _SENT, person, at_ms, user, command.limit, _text(terms)))
    shown = found.openers[: command.limit]
    more = len(found.openers) > command.limit
    cursor = page_cursor.OPENERS_SENT.text_of((shown[-1].at_ms, shown[-1].user)) if more else None
    return SentOpeners(shown, found.left, cursor)


_IGNORE: Final[LiteralString] = "select ignore_opener(%s, %s::json)::text"


async def ignore_opener(db: Queries, person: UUID, command: OpenerIgnore) -> Changed:
    """Put one away; one that is not there is passed over.

    Raises:
        KeyReused
    """
    found = _changed(await _ask(db, _IGNORE, person, _text(command)))
    if found.error is not None:
        raise _refusal(found.error, command.key)
    return found


_MATCHES: Final[LiteralString] = "select match_list(%s, %s, %s)::text"


async def match_list(db: Queries, person: UUID, command: MatchList) -> Matches:
    """One page of the person's matches.

    Raises:
        BadCursor
    """
    (below,) = page_cursor.MATCHES.place_of(command.cursor)
    found = _matches(await _ask(db, _MATCHES, person, below, command.limit))
    shown = found[: command.limit]
    return Matches(
        shown, page_cursor.MATCHES.text_of((shown[-1].match,)) if len(found) > command.limit else None
    )


_END: Final[LiteralString] = "select end_match(%s, %s::json)::text"


async def end_match(db: Queries, person: UUID, command: MatchUnmatch) -> Changed:
    """End a match.

    Raises:
        UnknownMatch, KeyReused
    """
    found = _changed(await _ask(db, _END, person, _text(command)))
    if found.error is not None:
        raise _refusal(found.error, command.key)
    return found


_RELEASE: Final[LiteralString] = "select release_openers(%s, %s, %s, %s, %s::json)::text"


async def release_openers(db: Queries, receiver: UUID, told: UUID, terms: Terms) -> Released:
    """Show somebody the first messages whose time has come; *told*: an id for the notification. May be repeated."""
    return _released(await _ask(db, _RELEASE, receiver, told, OPENERS, NOTIFICATIONS, _text(terms)))


_MATCH: Final[LiteralString] = "select coalesce(match_openers(%s, %s, %s, %s), 'null'::json)::text"


async def match_openers(db: Queries, person: UUID, user: UUID, match: UUID, conversation: UUID) -> Changed | None:
    """Match two of whom a release said that both have written, unless they did so already."""
    found: Changed | None = _maybe_changed(await _ask(db, _MATCH, person, user, match, conversation))
    return found


_RULE: Final[LiteralString] = "select set_house_rule('may_write', %s)"


async def set_write_rule(db: Queries, rule: Literal["anyone", "contacts", "matches"]) -> None:
    """Who may write to whom from now on; conversations that are open stay so until what two people are changes."""
    await db.fetch_one(_RULE, rule)


def _refusal(error: str, key: str) -> Refused:
    match error:
        case "already_answered":
            return AlreadyAnswered("you have sent this person a first message before")
        case "already_met":
            return AlreadyMet("you are contacts")
        case "paused":
            return NotWhilePaused("you have paused")
        case "too_many":
            return TooManyOfOnesOwn("you have sent as many first messages today as one may")
        case "unknown_match":
            return UnknownMatch("you have no match with this id")
        case "key_reused":
            return KeyReused(key)
    raise AssertionError(f"the database answered {error!r}")


def _text(value: Struct) -> str:
    return _json(value).decode()
