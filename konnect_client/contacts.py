"""Contacts, requests to be one, and who follows whom, as the server tells of them."""

from dataclasses import dataclass

from konnect_client.parts import Frame, take, take_each, take_maybe, take_or


@dataclass(frozen=True, slots=True)
class OneContact:
    """A contact."""

    user: str
    at_ms: int  # since when
    state: str | None = None  # "online" or "offline"; None where one of the two shows it to nobody
    last_seen_ms: int | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "OneContact":
        return cls(
            take(frame, "user", str), take(frame, "at_ms", int), take_maybe(frame, "state", str),
            take_maybe(frame, "last_seen_ms", int),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContactPage:
    """A part of one's contacts, newest first; the next part comes by ``cursor``, unless it is None."""

    contacts: tuple[OneContact, ...]
    count: int  # on all pages
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ContactPage":
        return cls(
            take_each(frame, "contacts", OneContact.parse), take(frame, "count", int), take_maybe(frame, "cursor", str)
        )


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request to be a contact, that waits."""

    user: str  # who asked, or was asked
    at_ms: int
    note: str = ""
    interested: bool = False

    @classmethod
    def parse(cls, frame: Frame) -> "WaitingRequest":
        return cls(
            take(frame, "user", str), take(frame, "at_ms", int), take_or(frame, "note", str, ""),
            take_or(frame, "interested", bool, False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """A part of such requests, newest first; the next part comes by ``cursor``, unless it is None."""

    requests: tuple[WaitingRequest, ...]
    count: int  # on all pages
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "WaitingPage":
        return cls(
            take_each(frame, "requests", WaitingRequest.parse), take(frame, "count", int),
            take_maybe(frame, "cursor", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OneFollow:
    """Somebody who follows, or is followed."""

    user: str
    at_ms: int  # since when

    @classmethod
    def parse(cls, frame: Frame) -> "OneFollow":
        return cls(take(frame, "user", str), take(frame, "at_ms", int))


@dataclass(frozen=True, slots=True)
class FollowPage:
    """A part of those who follow or are followed, newest first; the next part comes by ``cursor``, unless it is
    None."""

    people: tuple[OneFollow, ...]
    count: int  # on all pages, as far as they are counted
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "FollowPage":
        return cls(
            take_each(frame, "people", OneFollow.parse), take(frame, "count", int), take_maybe(frame, "cursor", str)
        )
