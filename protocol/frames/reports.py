"""Reporting what should not be, and what moderators make of it."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.entries import Entry
from protocol.frames.fields import NO_NUL, AtMs, Cursor, Key
from protocol.frames.messages import Source, Version

Reason = Literal["spam", "harassment", "hate", "violence", "nudity", "fake", "minor", "other"]
Verdict = Literal["dismissed", "warned", "removed", "suspended"]


class Reportable(Struct, frozen=True):
    """What is reported: one of these."""

    message: Annotated[Source | None, Meta(description="A message that one may see.")] = None
    user: Annotated[UUID | None, Meta(description="A person, and the profile.")] = None
    post: Annotated[UUID | None, Meta(description="A post.")] = None
    comment: Annotated[UUID | None, Meta(description="A comment on a post.")] = None
    conversation: Annotated[UUID | None, Meta(description="A conversation that one is or was in.")] = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.message, self.user, self.post, self.comment, self.conversation)) != 1:
            raise ValueError("name one of message, user, post, comment, conversation - at `$.what`")


class Report(Command, frozen=True, tag="report"):
    """Report something to the moderators, who get a copy of it as it is now. Whose it is never learns of it. To report
    the same again while that is open changes nothing. Answered with :class:`Reported`."""

    key: Key
    what: Annotated[Reportable, Meta(description="What should not be.")]
    reason: Annotated[Reason, Meta(description="Why.")]
    text: Annotated[
        str, Meta(max_length=limits.REPORT_CHARS, pattern=NO_NUL, description="In one's own words; may be empty.")
    ] = ""


class ReportList(Command, frozen=True, tag="report.list"):
    """A page of the reports; moderators may ask. Open ones come oldest first, closed ones last closed first. Answered
    with :class:`Reports`."""

    state: Annotated[Literal["open", "closed"], Meta(description="Which ones.")] = "open"
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.REPORTS_PAGE, description="At most so many on the page.")] = 20


class ReportClose(Command, frozen=True, tag="report.close"):
    """Close a report; moderators may. The copy of what was reported goes with that. One that is closed takes another
    verdict. Answered with :class:`Done`."""

    key: Key
    report: Annotated[UUID, Meta(description="Which one.")]
    verdict: Annotated[Verdict, Meta(description="What came of it.")]
    note: Annotated[
        str, Meta(max_length=limits.REPORT_CHARS, pattern=NO_NUL, description="For other moderators; may be empty.")
    ] = ""


class Reported(Struct, frozen=True):
    """It was reported."""

    report: Annotated[UUID, Meta(description="The report's id.")]


class Evidence(Struct, frozen=True, omit_defaults=True):
    """A copy of what was reported, as the reporter saw it then. Its media are kept while it is open, and moderators may
    fetch them."""

    entries: Annotated[list[Entry], Meta(description="The message; of a conversation its last entries.")] = (
        msgspec.field(default_factory=list)
    )
    versions: Annotated[list[Version], Meta(description="Of a message: what it has said, oldest first.")] = (
        msgspec.field(default_factory=list)
    )
    shown: Annotated[
        dict[str, Any],
        Meta(description="What a person, a post, a comment or a conversation showed of itself, by field."),
    ] = msgspec.field(default_factory=dict)


class OneReport(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A report, as moderators see it."""

    report: Annotated[UUID, Meta(description="Its id.")]
    reporter: Annotated[UUID, Meta(description="Who reported.")]
    what: Annotated[
        Literal["message", "user", "post", "comment", "conversation"],
        Meta(description="What kind of thing it is about."),
    ]
    target: Annotated[str, Meta(description="Which one: its id; of a message `{conversation}/{seq}`.")]
    about: Annotated[UUID, Meta(description="Whose it is; absent of a conversation.")] | UnsetType = UNSET
    reason: Annotated[Reason, Meta(description="Why.")]
    text: Annotated[str, Meta(description="The reporter's words.")] = ""
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    evidence: Annotated[Evidence, Meta(description="Of an open one: a copy of what it is about.")] | UnsetType = UNSET
    closed_at_ms: (
        Annotated[AtMs, Meta(description="When it was closed: Unix milliseconds (UTC); absent: it is open.")]
        | UnsetType
    ) = UNSET
    closed_by: Annotated[UUID, Meta(description="By whom.")] | UnsetType = UNSET
    verdict: Annotated[Verdict, Meta(description="What came of it.")] | UnsetType = UNSET
    note: Annotated[str, Meta(description="For other moderators.")] = ""


class Reports(Struct, frozen=True, omit_defaults=True):
    """A page of the reports."""

    reports: Annotated[list[OneReport], Meta(description="In the order asked for.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
