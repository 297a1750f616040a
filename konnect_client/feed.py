"""People to meet, and people who were looked for."""

from dataclasses import dataclass

from konnect_client.parts import Frame, take, take_each, take_maybe, take_or
from konnect_client.profiles import PersonProfile, texts


@dataclass(frozen=True, slots=True)
class Met:
    """Somebody in a list of people."""

    profile: PersonProfile
    common: tuple[str, ...] = ()  # interests that one shares
    online: bool = False

    @classmethod
    def parse(cls, frame: Frame) -> "Met":
        return cls(
            PersonProfile.parse(take(frame, "profile", dict)), texts(frame, "common"),
            take_or(frame, "online", bool, False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of people, in the order in which to show them. It may be empty and have a cursor."""

    people: tuple[Met, ...]
    cursor: str | None = None  # None: it is the last

    @classmethod
    def parse(cls, frame: Frame) -> "FeedPage":
        return cls(take_each(frame, "people", Met.parse), take_maybe(frame, "cursor", str))
