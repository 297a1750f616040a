"""Profiles to meet, and profiles that are looked for."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, Cursor
from protocol.frames.profiles import Gender, Language, Profile, Skill

Age = Annotated[int, Meta(ge=0, le=limits.AGE)]


class ProfileFilter(Struct, frozen=True, omit_defaults=True):
    """Whom one asks for: who fits all that is there. A part of a profile that not everyone may see fits nothing."""

    age_from: Annotated[Age | None, Meta(description="So many years at least.")] = None
    age_to: Annotated[Age | None, Meta(description="So many years at most.")] = None
    within_km: Annotated[
        Annotated[int, Meta(ge=1, le=limits.WITHIN_KM)] | None,
        Meta(description="At most so far away, as `distance_km` says; nobody, if one hides one's own distance."),
    ] = None
    interests: Annotated[
        list[Skill], Meta(max_length=limits.FILTERED, description="One of these at least, whatever its case.")
    ] = msgspec.field(default_factory=list)
    skills: Annotated[list[Skill], Meta(max_length=limits.FILTERED, description="The same of skills.")] = msgspec.field(
        default_factory=list
    )
    languages: Annotated[
        list[Language], Meta(max_length=limits.FILTERED, description="One of these at least.")
    ] = msgspec.field(default_factory=list)
    genders: Annotated[
        list[Gender], Meta(max_length=limits.FILTERED, description="One of these, whatever its case.")
    ] = msgspec.field(default_factory=list)
    online: Annotated[
        bool, Meta(description="Who is connected now and lets everyone see it; nobody, if one hides it oneself.")
    ] = False

    def __post_init__(self) -> None:
        if self.age_from is not None and self.age_to is not None and self.age_to < self.age_from:
            raise ValueError("`age_to` is below `age_from`")


class FeedList(Command, frozen=True, tag="feed.list"):
    """A page of people to meet, without oneself, contacts, whom one has answered, blocks of either side, and whose
    profile is not complete or paused. Pages are stable: nobody who stays is shown twice or left out, whoever comes and
    goes meanwhile. The server looks at a bounded number of profiles for a page: with conditions that few fit it may be
    short, or empty, and still have a cursor. Answered with :class:`Feed`."""

    filter: Annotated[ProfileFilter, Meta(description="Whom one asks for; the same for all pages.")] = msgspec.field(
        default_factory=ProfileFilter
    )
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.FEED_PAGE, description="At most so many on the page.")] = 10


class ProfileSearch(Command, frozen=True, tag="profile.search"):
    """Look for people by words of their profiles that everyone may see, those first whose names have them; and by
    conditions. Every word begins one of the profile's. Answered with :class:`Feed`."""

    query: Annotated[
        str,
        Meta(
            max_length=limits.QUERY_CHARS,
            pattern=NO_NUL,
            description="Words: of names, handle, bio, city, interests, skills, goals, experience, answers; may be "
            "empty where there are conditions.",
        ),
    ] = ""
    filter: Annotated[ProfileFilter, Meta(description="Whom one asks for; the same for all pages.")] = msgspec.field(
        default_factory=ProfileFilter
    )
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.FEED_PAGE, description="At most so many on the page.")] = 10


class Met(Struct, frozen=True, omit_defaults=True):
    """Somebody, as a list of people shows them."""

    profile: Annotated[Profile, Meta(description="What one may see of the person.")]
    common: Annotated[list[str], Meta(description="Interests that one shares, of those that everyone may see.")] = []
    online: Annotated[
        bool, Meta(description="Connected now; absent too where one of the two does not let everyone see it.")
    ] = False


class Feed(Struct, frozen=True, omit_defaults=True):
    """A page of people."""

    people: Annotated[list[Met], Meta(description="In the order in which to show them.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
