"""What was reported to the moderators (migrations/0018_blocks.sql)."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import (
    Forbidden,
    Invalid,
    KeyReused,
    KonnectError,
    NotAMember,
    NotFound,
    RateLimited,
    UnknownMessage,
    UnknownUser,
)
from protocol.frames import OneReport, Report, ReportClose, ReportList, Reports
from protocol.limits import REPORTS_A_DAY
from storage import page_cursor
from storage.database import Queries


class _Made(Struct):
    error: str | None = None
    report: UUID | None = None
    retry_after_ms: int = 0


class _Page(Struct):
    error: str | None = None
    reports: list[OneReport] = []
    more: bool = False


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_made: Final = msgspec.json.Decoder(_Made).decode
_page: Final = msgspec.json.Decoder(_Page).decode
_MAKE: Final[LiteralString] = "select make_report(%s, %s, %s::json, %s)::text"


async def make_report(db: Queries, new_id: UUID, person: UUID, command: Report) -> UUID:
    """Report something; the report's id, which is *new_id* if it is a new one.

    Raises:
        UnknownMessage, UnknownUser, NotAMember, NotFound, Invalid, RateLimited, KeyReused
    """
    row = await db.fetch_one(_MAKE, new_id, person, _json(command).decode(), REPORTS_A_DAY)
    assert row is not None
    made = _made(row[0])
    if made.report is None:
        raise _refusal(str(made.error), person, command, made.retry_after_ms)
    return made.report


def _refusal(code: str, person: UUID, command: Report, retry_after_ms: int) -> KonnectError:
    what = command.what
    match code:
        case "unknown_message" if what.message is not None:
            return UnknownMessage(what.message.conversation, what.message.seq)
        case "unknown_user" if what.user is not None:
            return UnknownUser(what.user)
        case "not_a_member" if what.conversation is not None:
            return NotAMember(person, what.conversation)
        case "not_found":
            return NotFound("there is nothing here by that id")
        case "oneself":
            return Invalid("nobody reports oneself - at `$.what`")
        case "rate_limited":
            return RateLimited(retry_after_ms)
        case "key_reused":
            return KeyReused(command.key)
    raise AssertionError(f"the database answered {code!r}")


_LIST: Final[LiteralString] = "select report_page(%s, %s, %s, %s, %s)::text"


async def list_reports(db: Queries, person: UUID, command: ReportList) -> Reports:
    """A page of the reports.

    Raises:
        Forbidden, BadCursor
    """
    cursor = page_cursor.REPORTS_OPEN if command.state == "open" else page_cursor.REPORTS_CLOSED
    place = cursor.place_of(command.cursor)
    row = await db.fetch_one(_LIST, person, command.state == "open", *place, command.limit)
    assert row is not None
    found = _page(row[0])
    if found.error is not None:
        raise Forbidden("only moderators may do this")
    if not found.more:
        return Reports(found.reports)
    last = found.reports[-1]
    at_ms = last.closed_at_ms if isinstance(last.closed_at_ms, int) else last.at_ms
    return Reports(found.reports, cursor.text_of((at_ms, last.report)))


_CLOSE: Final[LiteralString] = "select close_report(%s, %s::json, %s)::text"


async def close_report(db: Queries, person: UUID, command: ReportClose, unused_ms: int) -> None:
    """Close one; media that nothing else names are kept for *unused_ms* more.

    Raises:
        Forbidden, NotFound, KeyReused
    """
    row = await db.fetch_one(_CLOSE, person, _json(command).decode(), unused_ms)
    assert row is not None
    match _made(row[0]).error:
        case None:
            return
        case "forbidden":
            raise Forbidden("only moderators may do this")
        case "not_found":
            raise NotFound("there is no such report")
        case "key_reused":
            raise KeyReused(command.key)
        case code:
            raise AssertionError(f"the database answered {code!r}")
