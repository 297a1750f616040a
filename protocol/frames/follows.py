"""Following: whose posts one reads in one's timeline."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import AtMs, Cursor, Key

_Page = Annotated[int, Meta(ge=1, le=limits.PEOPLE_PAGE, description="At most so many on the page.")]
_Cursor = Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")]
_Whose = Annotated[UUID | None, Meta(description="Whose list; null: one's own.")]


class Follow(Command, frozen=True, tag="follow"):
    """Follow somebody, whose posts stand in one's timeline then. The first time, the person gets a notification of kind
    `follow`. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom.")]


class Unfollow(Command, frozen=True, tag="unfollow"):
    """Follow somebody no more. Nobody is told. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom.")]


class Followers(Command, frozen=True, tag="followers"):
    """Who follows somebody, newest first, page by page, as far as one may see them. Answered with :class:`Follows`."""

    user: _Whose = None
    cursor: _Cursor = None
    limit: _Page = 50


class Following(Command, frozen=True, tag="following"):
    """Whom somebody follows, newest first, page by page, as far as one may see them. Answered with
    :class:`Follows`."""

    user: _Whose = None
    cursor: _Cursor = None
    limit: _Page = 50


class OneFollow(Struct, frozen=True):
    """Somebody who follows, or is followed."""

    user: Annotated[UUID, Meta(description="Who.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class Follows(Struct, frozen=True, omit_defaults=True):
    """One page of those who follow, or are followed."""

    people: Annotated[list[OneFollow], Meta(description="Newest first.")]
    count: Annotated[
        int, Meta(description=f"How many of the newest {limits.COUNTED:,} one may see, on all pages.")
    ]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
