"""People of whom it is likely that both say yes (docs/matching.md, "Suggestions")."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.feed import Met, ProfileFilter
from protocol.frames.fields import AtMs, Cursor, Key

Score = Annotated[float, Meta(ge=0, le=1, description="How likely it is that both say yes, as far as is known.")]


class MatchSuggest(Command, frozen=True, tag="match.suggest"):
    """People of whom it is likely that both say yes, the likeliest first, and now and then somebody by chance; without
    oneself, contacts, whom one has answered or passed over, blocks of either side, and whose profile is not complete or
    paused. One's own answers move the order at once. Nobody comes twice while one pages. Answered with
    :class:`Suggestions`."""

    filter: Annotated[ProfileFilter, Meta(description="Whom one asks for; the same for all pages.")] = msgspec.field(
        default_factory=ProfileFilter
    )
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.SUGGEST_PAGE, description="At most so many on the page.")] = 10


class MatchPass(Command, frozen=True, tag="match.pass"):
    """Not for me: have somebody neither suggested nor in the feed any more, or take that back. Nobody is told; who is
    not there is passed over in silence. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom: not oneself.")]
    on: Annotated[bool, Meta(description="False: take it back.")] = True


class MatchHistory(Command, frozen=True, tag="match.history"):
    """Whom one has written a first message to or passed over, and what became of it as far as one may know, the newest
    first, page by page. Answered with :class:`AnswerHistory`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.SUGGEST_PAGE, description="At most so many on the page.")] = 20


class Reason(Struct, frozen=True, omit_defaults=True):
    """One reason for a suggestion, by what everyone may see of both and by what answers have told already."""

    kind: Annotated[
        Literal["interests", "languages", "near", "age", "answers", "new"],
        Meta(
            description="`interests`, `languages`: both have these `values`. `near`: both are near, to `city` where it "
            "is shown. `age`: about the same age. `answers`: often answers people like one. `new`: few have met them."
        ),
    ]
    values: Annotated[list[str], Meta(description="What is shared, the first few.")] = []
    city: Annotated[str, Meta(description="Where they are.")] | UnsetType = UNSET


class Suggestion(Met, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who is suggested, and why."""

    score: Score
    why: Annotated[list[Reason], Meta(description="The weightiest first.")] = msgspec.field(default_factory=list)
    explored: Annotated[bool, Meta(description="By chance rather than by the score, so that everybody is met.")] = False


class Suggestions(Struct, frozen=True, omit_defaults=True):
    """A page of suggestions."""

    people: Annotated[list[Suggestion], Meta(description="In the order in which to show them.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class PastAnswer(Struct, frozen=True, omit_defaults=True):
    """Somebody whom one has answered."""

    user: Annotated[UUID, Meta(description="Whom.")]
    status: Annotated[
        Literal["pending", "accepted", "rejected"],
        Meta(
            description="`pending`: one has written, and there is no match (yet); more is not told. `accepted`: a "
            "match that stands. `rejected`: one has passed them over, or the match has ended."
        ),
    ]
    at_ms: Annotated[AtMs, Meta(description="When one answered: Unix milliseconds (UTC), by the database's clock.")]
    score: (
        Annotated[Score, Meta(description="Under which they were last shown; absent: they were not.")] | UnsetType
    ) = UNSET


class AnswerHistory(Struct, frozen=True, omit_defaults=True):
    """A page of whom one has answered."""

    people: Annotated[list[PastAnswer], Meta(description="Newest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
