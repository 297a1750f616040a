"""First messages that do not say who wrote them (docs/matching.md)."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Conversation, Cursor, Key

OpenerId = Annotated[UUID, Meta(description="The first message's id: random, and known to its receiver alone.")]
OpenerText = Annotated[
    str,
    Meta(min_length=1, max_length=limits.OPENER_CHARS, pattern=NO_NUL, description="What is said. There are no media."),
]


class OpenerSend(Command, frozen=True, tag="opener.send"):
    """Send somebody a first message, which does not say who wrote it. It is shown at the next release; when both have
    sent one to each other they match (event `state`, kind `match`). One for each person, for ever, and as many a day
    (UTC) as the deployment says. Who cannot be reached is not told of: the answer is the same. Answered with
    :class:`OpenerAccepted`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom: not oneself, and no contact.")]
    text: OpenerText


class OpenerList(Command, frozen=True, tag="opener.list"):
    """First messages that were released to one and wait, in no order that tells anything, page by page. Answered with
    :class:`Openers`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.OPENERS_PAGE, description="At most so many on the page.")] = 50


class OpenerSent(Command, frozen=True, tag="opener.sent"):
    """First messages that one sent oneself, the newest first, page by page; nothing of what became of them but a match.
    Answered with :class:`SentOpeners`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.OPENERS_PAGE, description="At most so many on the page.")] = 50


class OpenerIgnore(Command, frozen=True, tag="opener.ignore"):
    """Put a first message away for ever. Who sent it is not told. One that is not there (any more) is passed over.
    Answered with :class:`Done`."""

    key: Key
    opener: OpenerId


class Opener(Struct, frozen=True):
    """A first message that was released to one; nobody knows by whom."""

    text: Annotated[str, Meta(description="What is said.")]
    day: Annotated[str, Meta(description="On which day it was released (UTC): `2026-02-28`.")]


class ListedOpener(Opener, frozen=True, kw_only=True):
    """A first message that was released to one, and its id."""

    opener: OpenerId


class OwnOpener(Struct, frozen=True, omit_defaults=True):
    """A first message that one sent."""

    user: Annotated[UUID, Meta(description="To whom.")]
    text: Annotated[str, Meta(description="What was said.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    match: (
        Annotated[UUID, Meta(description="The match that it became part of; absent: none, and more is not told.")]
        | UnsetType
    ) = UNSET


class OpenerAccepted(Struct, frozen=True, omit_defaults=True):
    """It was taken."""

    match: Annotated[UUID, Meta(description="The two match. Absent: they do not, or not yet.")] | UnsetType = UNSET
    conversation: (
        Annotated[Conversation, Meta(description="Where the two talk, if they match.")] | UnsetType
    ) = UNSET


class Openers(Struct, frozen=True, omit_defaults=True):
    """A page of first messages that were released to one."""

    openers: Annotated[list[ListedOpener], Meta(description="In the order of their ids, which are random.")]
    count: Annotated[int, Meta(description="How many wait, on all pages together.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class SentOpeners(Struct, frozen=True, omit_defaults=True):
    """A page of first messages that one sent."""

    openers: Annotated[list[OwnOpener], Meta(description="Newest first.")]
    left: Annotated[int, Meta(description="How many one may still send today (UTC).")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
