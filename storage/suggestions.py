"""Suggestions: people of whom it is likely that both say yes (migrations/0026_suggest.sql)."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import KeyReused
from protocol.frames import AnswerHistory, MatchHistory, MatchPass, PastAnswer, ProfileFilter
from storage import page_cursor
from storage.database import Queries

AUDIENCE: Final = 30  # to fewer people somebody is new
KEPT_DAYS: Final = 90  # impressions
FORGOTTEN: Final = 5_000  # impressions at a time
RENEWED: Final = 200  # people at a time


class Candidate(Struct, frozen=True):
    """Somebody who might be suggested."""

    other: UUID
    score: float  # how likely both say yes
    times: int  # that the asker was shown this one
    crowd: float  # how often shown to anybody today, as a part of what the house allows
    new: bool  # few were shown this one


class Found(Struct, frozen=True):
    """Who might be suggested now."""

    version: int  # of the recommender
    found: list[Candidate]  # in no order that means anything


class Pick(Struct, frozen=True):
    """Somebody who is to be suggested."""

    other: UUID
    score: float
    explored: bool = False  # by chance


class Suggested(Struct, frozen=True):
    """Somebody as suggested."""

    person: dict[str, Any]  # person_shown (migrations/0020)
    score: float
    why: list[dict[str, Any]]
    explored: bool


class _Kept(Struct):
    number: int = 0
    error: str | None = None


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_found: Final = msgspec.json.Decoder(Found).decode
_suggested: Final = msgspec.json.Decoder(list[Suggested]).decode
_kept: Final = msgspec.json.Decoder(_Kept).decode
_answers: Final = msgspec.json.Decoder(list[PastAnswer]).decode

_FOUND: Final[LiteralString] = "select suggest_found(%s, %s::json, %s, %s, %s)::text"


async def found(db: Queries, person: UUID, filters: ProfileFilter, since_ms: int, start: int) -> Found:
    """Who might be suggested to *person*: some hundreds at most, for whom was not since *since_ms*.

    Args:
        start: Where on the circle of profiles those are taken from who come by chance.
    """
    return _found(await _ask(db, _FOUND, person, _json(filters).decode(), since_ms, start, AUDIENCE))


_SHOWN: Final[LiteralString] = "select suggest_shown(%s, %s, %s::json, %s)::text"


async def shown(db: Queries, person: UUID, version: int, picks: Sequence[Pick]) -> list[Suggested]:
    """Show *picks* to *person*, in their order, and remember that; without whom the person may not see any more."""
    return _suggested(await _ask(db, _SHOWN, person, version, _json(picks).decode(), AUDIENCE))


_PASS: Final[LiteralString] = "select pass_over(%s, %s::json)::text"


async def pass_over(db: Queries, person: UUID, command: MatchPass) -> int:
    """Have somebody not be shown to *person* any more, or take that back; the number up to which to tell.

    Raises:
        KeyReused
    """
    kept = _kept(await _ask(db, _PASS, person, _json(command).decode()))
    if kept.error is not None:
        raise KeyReused(command.key)
    return kept.number


_HISTORY: Final[LiteralString] = "select answer_history(%s, %s, %s, %s)::text"


async def history(db: Queries, person: UUID, command: MatchHistory) -> AnswerHistory:
    """One page of whom the person has answered.

    Raises:
        BadCursor
    """
    at_ms, user = page_cursor.ANSWERS.place_of(command.cursor)
    rows = _answers(await _ask(db, _HISTORY, person, at_ms, user, command.limit))
    page = rows[: command.limit]
    more = len(rows) > command.limit
    return AnswerHistory(page, page_cursor.ANSWERS.text_of((page[-1].at_ms, page[-1].user)) if more else None)


_DAY: Final[LiteralString] = "select suggest_day()"


async def begin_day(db: Queries) -> list[int]:
    """What is done once a day, by whoever comes first: these versions of the recommender are to hear of new answers."""
    row = await db.fetch_one(_DAY)
    assert row is not None
    versions: list[int] = row[0]
    return versions


_STANDINGS: Final[LiteralString] = "select suggest_standings(%s, %s, %s)"


async def renew(db: Queries, version: int, after: UUID) -> UUID | None:
    """Make known anew how some people are answered, those whose ids follow *after*; the last of them, None: no more."""
    row = await db.fetch_one(_STANDINGS, version, after, RENEWED)
    assert row is not None
    last: UUID | None = row[0]
    return last


_FORGET: Final[LiteralString] = "select forget_impressions(%s, %s)"


async def forget(db: Queries) -> int:
    """Forget some impressions that are old; how many, :data:`FORGOTTEN` at most."""
    row = await db.fetch_one(_FORGET, KEPT_DAYS, FORGOTTEN)
    assert row is not None
    gone: int = row[0]
    return gone


async def _ask(db: Queries, sql: LiteralString, *values: object) -> str:
    row = await db.fetch_one(sql, *values)
    assert row is not None
    text: str = row[0]
    return text
