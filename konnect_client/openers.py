"""First messages that do not say who wrote them, and matches."""

from dataclasses import dataclass

from konnect_client.model import Frame, take, take_each, take_maybe, take_or


@dataclass(frozen=True, slots=True)
class Opener:
    """A first message that was released to one; nobody knows by whom."""

    id: str
    text: str
    day: str  # on which it was released (UTC): "2026-02-28"

    @classmethod
    def parse(cls, frame: Frame) -> "Opener":
        return cls(take(frame, "opener", str), take(frame, "text", str), take(frame, "day", str))


@dataclass(frozen=True, slots=True)
class OpenerPage:
    """A part of the first messages that wait; the next part comes by ``cursor``, unless it is None."""

    openers: tuple[Opener, ...]
    count: int  # how many wait in all
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "OpenerPage":
        return cls(
            take_each(frame, "openers", Opener.parse), take(frame, "count", int), take_maybe(frame, "cursor", str)
        )


@dataclass(frozen=True, slots=True)
class OwnOpener:
    """A first message that one sent."""

    user: str
    text: str
    at_ms: int
    match: str | None = None  # what it became part of; None: nothing, and more is not told

    @classmethod
    def parse(cls, frame: Frame) -> "OwnOpener":
        return cls(
            take(frame, "user", str), take(frame, "text", str), take(frame, "at_ms", int),
            take_maybe(frame, "match", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnOpenerPage:
    """A part of the first messages that one sent, the newest first; the next part comes by ``cursor``."""

    openers: tuple[OwnOpener, ...]
    left: int  # how many one may still send today
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "OwnOpenerPage":
        return cls(
            take_each(frame, "openers", OwnOpener.parse), take(frame, "left", int), take_maybe(frame, "cursor", str)
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Two who sent each other a first message: oneself, and ``user``."""

    id: str
    user: str
    conversation: str
    at_ms: int
    ended_at_ms: int | None = None  # None: it stands
    by_me: bool = False  # one ended it oneself
    deleted: bool = False  # the other one has left for good

    @classmethod
    def parse(cls, frame: Frame) -> "Match":
        return cls(
            take(frame, "match", str), take(frame, "user", str), take(frame, "conversation", str),
            take(frame, "at_ms", int), take_maybe(frame, "ended_at_ms", int), take_or(frame, "by_me", bool, False),
            take_or(frame, "deleted", bool, False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MatchPage:
    """A part of one's matches, the newest first; the next part comes by ``cursor``, unless it is None."""

    matches: tuple[Match, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "MatchPage":
        return cls(take_each(frame, "matches", Match.parse), take_maybe(frame, "cursor", str))
