"""What one is told of in the app, when one is told by push, and which devices are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from konnect_client.errors import ProtocolViolation
from konnect_client.model import Frame, take, take_each, take_maybe, take_or


@dataclass(frozen=True, slots=True)
class Notification:
    """Something one is told of in the app."""

    id: str  # later ones have higher ones
    kind: str  # "mention", "reply", "match" and so on, as docs/protocol.md lists them; newer servers may know more
    at_ms: int
    read: bool = False
    conversation: str | None = None
    seq: int | None = None  # which entry there says so
    of: int | None = None  # one's own message, that it is about
    user: str | None = None  # who did it
    emoji: str | None = None
    title: str | None = None
    body: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    answer: str | None = None  # of a request: "accepted" or "declined"; None: it waits
    post: str | None = None  # one's own, that it is about
    comment: str | None = None
    medium: str | None = None  # of an export

    @classmethod
    def parse(cls, frame: Frame) -> "Notification":
        data = take_or(frame, "data", dict, {})
        if not all(isinstance(one, str) for pair in data.items() for one in pair):
            raise ProtocolViolation("field 'data' of a notification holds something that is no text")
        return cls(
            id=take(frame, "id", str), kind=take(frame, "kind", str), at_ms=take(frame, "at_ms", int),
            read=take_or(frame, "read", bool, False), conversation=take_maybe(frame, "conversation", str),
            seq=take_maybe(frame, "seq", int), of=take_maybe(frame, "of", int), user=take_maybe(frame, "user", str),
            emoji=take_maybe(frame, "emoji", str), title=take_maybe(frame, "title", str),
            body=take_maybe(frame, "body", str), data=data, answer=take_maybe(frame, "answer", str),
            post=take_maybe(frame, "post", str), comment=take_maybe(frame, "comment", str),
            medium=take_maybe(frame, "medium", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notifying:
    """When and how one is told by push."""

    quiet_from: int | None = None  # minutes after midnight; None: no quiet hours
    quiet_to: int | None = None
    timezone: str | None = None  # None: UTC
    hide_content: bool = False

    @classmethod
    def parse(cls, frame: Frame) -> "Notifying":
        return cls(
            take_maybe(frame, "quiet_from", int), take_maybe(frame, "quiet_to", int),
            take_maybe(frame, "timezone", str), take_or(frame, "hide_content", bool, False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """A part of what one was told, newest first; the next part comes by ``cursor``, unless it is None."""

    notifications: tuple[Notification, ...]
    unread: int  # of all
    settings: Notifying
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "NotificationPage":
        return cls(
            take_each(frame, "notifications", Notification.parse), take(frame, "unread", int),
            Notifying.parse(take(frame, "settings", dict)), take_maybe(frame, "cursor", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PushDevice:
    """A device of one's own that takes pushes."""

    device: str
    platform: str
    at_ms: int  # when it was registered last
    connected: bool  # then it needs no pushes

    @classmethod
    def parse(cls, frame: Frame) -> "PushDevice":
        return cls(
            take(frame, "device", str), take(frame, "platform", str), take(frame, "at_ms", int),
            take_or(frame, "connected", bool, False),
        )  # fmt: skip
