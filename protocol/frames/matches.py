"""Two who sent each other a first message (docs/matching.md)."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import AtMs, Conversation, Cursor, Key

MatchId = Annotated[UUID, Meta(description="The match's id.")]


class MatchList(Command, frozen=True, tag="match.list"):
    """All matches that one ever had, the newest first, page by page; those that ended, too. Answered with
    :class:`Matches`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.MATCHES_PAGE, description="At most so many on the page.")] = 50


class MatchUnmatch(Command, frozen=True, tag="match.unmatch"):
    """End a match, for both. Their conversation is closed for writing, unless they are contacts who may write to each
    other; both keep what was said. Answered with :class:`Done`."""

    key: Key
    match: MatchId


class Match(Struct, frozen=True):
    """Two who sent each other a first message: oneself, and somebody."""

    user: Annotated[UUID, Meta(description="The other one.")]
    conversation: Conversation
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class ListedMatch(Match, frozen=True, kw_only=True, omit_defaults=True):
    """A match, its id, and whether it stands."""

    match: MatchId
    ended_at_ms: (
        Annotated[AtMs, Meta(description="When it ended: Unix milliseconds (UTC); absent: it stands.")] | UnsetType
    ) = UNSET
    by_me: Annotated[bool, Meta(description="One ended it oneself.")] = False
    deleted: Annotated[bool, Meta(description="The other one has left for good.")] = False


class Matches(Struct, frozen=True, omit_defaults=True):
    """A page of one's matches."""

    matches: Annotated[list[ListedMatch], Meta(description="Newest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
