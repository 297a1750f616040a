"""Whom one has blocked, and reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konnect_client.model import Entry, Frame, Version, take, take_each, take_maybe, take_or, take_part


@dataclass(frozen=True, slots=True)
class Block:
    """Somebody whom one has blocked."""

    user: str
    name: str
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "Block":
        return cls(take(frame, "user", str), take(frame, "name", str), take(frame, "at_ms", int))


@dataclass(frozen=True, slots=True)
class BlockPage:
    """A part of those whom one has blocked, last first; the next part comes by ``cursor``, unless it is None."""

    blocks: tuple[Block, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "BlockPage":
        return cls(take_each(frame, "blocks", Block.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A copy of what was reported."""

    entries: tuple[Entry, ...] = ()
    versions: tuple[Version, ...] = ()  # what a message has said
    shown: Mapping[str, Any] = field(default_factory=dict)  # of a person, a post, a comment, a conversation, by field

    @classmethod
    def parse(cls, frame: Frame) -> "Evidence":
        return cls(
            take_each(frame, "entries", Entry.parse) if "entries" in frame else (),
            take_each(frame, "versions", Version.parse) if "versions" in frame else (),
            take_or(frame, "shown", dict, {}),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """A report, as moderators see it."""

    id: str
    reporter: str
    what: str  # "message", "user", "post", "comment" or "conversation"
    target: str  # its id; of a message conversation/seq
    reason: str
    at_ms: int
    about: str | None = None  # whose it is
    text: str = ""
    evidence: Evidence | None = None  # of an open one
    closed_at_ms: int | None = None  # None: it is open
    closed_by: str | None = None
    verdict: str | None = None
    note: str = ""

    @classmethod
    def parse(cls, frame: Frame) -> "Report":
        return cls(
            id=take(frame, "report", str), reporter=take(frame, "reporter", str), what=take(frame, "what", str),
            target=take(frame, "target", str), reason=take(frame, "reason", str), at_ms=take(frame, "at_ms", int),
            about=take_maybe(frame, "about", str), text=take_or(frame, "text", str, ""),
            evidence=take_part(frame, "evidence", Evidence.parse),
            closed_at_ms=take_maybe(frame, "closed_at_ms", int), closed_by=take_maybe(frame, "closed_by", str),
            verdict=take_maybe(frame, "verdict", str), note=take_or(frame, "note", str, ""),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A part of the reports; the next part comes by ``cursor``, unless it is None."""

    reports: tuple[Report, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ReportPage":
        return cls(take_each(frame, "reports", Report.parse), take_maybe(frame, "cursor", str))
