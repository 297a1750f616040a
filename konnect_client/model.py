"""What the server tells, as values: entries, conversations, receipts, pages.

Ids are the server's text (UUIDs in lower case), times Unix milliseconds (UTC). Each class reads itself from a frame's
map with ``parse``; unknown fields are ignored, a missing or mistyped one is a
:class:`~konnect_client.ProtocolViolation`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from konnect_client.errors import ProtocolViolation

Frame = Mapping[str, Any]
T = TypeVar("T")
_MISSING: Final = object()


def take(frame: Frame, name: str, kind: type[T]) -> T:
    """Field *name* of *frame*, which must be a *kind* (a bool is no int)."""
    value = frame.get(name, _MISSING)
    if type(value) is not kind:
        what = "is missing" if value is _MISSING else f"is a {type(value).__name__}, not a {kind.__name__}"
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame {what}")
    return value


def take_or(frame: Frame, name: str, kind: type[T], default: T) -> T:
    """Like :func:`take`, with *default* for a missing field."""
    return take(frame, name, kind) if name in frame else default


def take_maybe(frame: Frame, name: str, kind: type[T]) -> T | None:
    """Like :func:`take`, with None for a missing or null field."""
    return None if frame.get(name) is None else take(frame, name, kind)


def take_seq(frame: Frame, name: str) -> int:
    """A position in a log: an integer that is not negative."""
    value = take(frame, name, int)
    if value < 0:
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame is negative")
    return value


def take_ids(frame: Frame, name: str) -> tuple[str, ...]:
    """A list of ids."""
    ids = take(frame, name, list)
    if not all(isinstance(one, str) for one in ids):
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame holds something that is no id")
    return tuple(ids)


def take_each(frame: Frame, name: str, read: Callable[[Frame], T]) -> tuple[T, ...]:
    """A list of maps, each read with *read*."""
    parts = take(frame, name, list)
    if not all(isinstance(part, dict) for part in parts):
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame holds something that is no map")
    return tuple(read(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Reaction:
    """How many people reacted to a message with one emoji, and the first few of them in the order of reacting."""

    emoji: str
    count: int
    users: tuple[str, ...]

    @classmethod
    def parse(cls, frame: Frame) -> "Reaction":
        return cls(take(frame, "emoji", str), take(frame, "count", int), take_ids(frame, "users"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a conversation's log; ``seq`` counts 1, 2, 3 ... per conversation without gaps."""

    conversation: str
    seq: int
    kind: str  # "message", "created", "member.added", "message.edited" ...; newer servers may know more
    author: str  # who did it
    key: str  # the author's idempotency key
    at_ms: int  # when it was stored
    text: str | None = None  # of a message and of an edit; None once it is deleted
    user: str | None = None  # who was added or removed
    title: str | None = None  # of created
    members: tuple[str, ...] = ()  # of created
    of: int | None = None  # which message was edited, deleted or reacted to
    emoji: str | None = None  # of a reaction: with what,
    on: bool | None = None  # whether the author now reacts so,
    count: int = 0  # how many people then do, (of members of a room or a channel: how many they are)
    users: tuple[str, ...] = ()  # and the first few of them
    edited_at_ms: int | None = None  # of a message: when it was last edited
    deleted: bool = False  # of a message, and of the edits of such
    reactions: tuple[Reaction, ...] = ()  # of a message, by emoji in the order of code points
    role: str | None = None  # of member.role
    owner: str | None = None  # who owns the conversation after it, where the entry changes that
    reason: str | None = None  # of member.banned: why,
    until_ms: int | None = None  # and until when; None for ever
    topic: str | None = None  # of conversation.topic; None for nothing
    tags: tuple[str, ...] = ()  # of created
    photo: str | None = None  # of conversation.photo: the medium's id; None for none
    seconds: int | None = None  # of conversation.slow_mode
    changed: int = 0  # of a message: the newest entry that it already shows the change of; 0 for none

    @classmethod
    def parse(cls, frame: Frame) -> "Entry":
        return cls(
            conversation=take(frame, "conversation", str),
            seq=take_seq(frame, "seq"),
            kind=take(frame, "kind", str),
            author=take(frame, "author", str),
            key=take_or(frame, "key", str, ""),
            at_ms=take(frame, "at_ms", int),
            text=take_maybe(frame, "text", str),
            user=take_maybe(frame, "user", str),
            title=take_maybe(frame, "title", str),
            members=take_ids(frame, "members") if "members" in frame else (),
            of=take_maybe(frame, "of", int),
            emoji=take_maybe(frame, "emoji", str),
            on=take_maybe(frame, "on", bool),
            count=take_or(frame, "count", int, 0),
            users=take_ids(frame, "users") if "users" in frame else (),
            edited_at_ms=take_maybe(frame, "edited_at_ms", int),
            deleted=take_or(frame, "deleted", bool, False),
            reactions=take_each(frame, "reactions", Reaction.parse) if "reactions" in frame else (),
            role=take_maybe(frame, "role", str),
            owner=take_maybe(frame, "owner", str),
            reason=take_maybe(frame, "reason", str),
            until_ms=take_maybe(frame, "until_ms", int),
            topic=take_maybe(frame, "topic", str),
            tags=take_ids(frame, "tags") if "tags" in frame else (),
            photo=take_maybe(frame, "photo", str),
            seconds=take_maybe(frame, "seconds", int),
            changed=take_or(frame, "changed", int, 0),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far one member is; both cursors only rise."""

    user: str
    delivered: int
    read: int

    @classmethod
    def parse(cls, frame: Frame) -> "Receipt":
        return cls(take(frame, "user", str), take_seq(frame, "delivered"), take_seq(frame, "read"))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as one of its members sees it, after entry ``head``."""

    id: str
    kind: str  # "direct", "group", "room" or "channel"
    title: str | None
    members: tuple[str, ...]  # who belongs now, in the order of joining
    head: int
    first_seq: int  # nothing below it may be seen, or there was an absence; no gap from here on
    unread: int  # messages of others above one's read cursor
    read_seq: int  # one's own cursors
    delivered_seq: int
    names: Mapping[str, str] = field(default_factory=dict)  # of the members, in small conversations
    receipts: tuple[Receipt, ...] = ()  # of the others, in small conversations
    recent: tuple[Entry, ...] = ()  # the last entries up to head, oldest first
    history: str = "all"
    owner: str | None = None  # of a group
    admins: tuple[str, ...] = ()  # of a group, without its owner, by id
    topic: str | None = None  # of a group
    photo: str | None = None  # of a group: the medium's id
    tags: tuple[str, ...] = ()  # interests
    public: bool = False  # everybody may join
    member_count: int = 0  # of a room or a channel, whose members are not listed
    slow_mode_s: int = 0  # of a group: seconds between two messages of a plain member

    @classmethod
    def parse(cls, frame: Frame) -> "Conversation":
        names = take_or(frame, "names", dict, {})
        if not all(isinstance(one, str) for pair in names.items() for one in pair):
            raise ProtocolViolation("field 'names' of a conversation holds something that is no text")
        return cls(
            id=take(frame, "conversation", str),
            kind=take(frame, "kind", str),
            title=take_maybe(frame, "title", str),
            members=take_ids(frame, "members"),
            head=take_seq(frame, "head"),
            first_seq=take_seq(frame, "first_seq"),
            unread=take_seq(frame, "unread"),
            read_seq=take_seq(frame, "read"),
            delivered_seq=take_seq(frame, "delivered"),
            names=names,
            receipts=take_each(frame, "receipts", Receipt.parse) if "receipts" in frame else (),
            recent=take_each(frame, "recent", Entry.parse) if "recent" in frame else (),
            history=take_or(frame, "history", str, "all"),
            owner=take_maybe(frame, "owner", str),
            admins=take_ids(frame, "admins") if "admins" in frame else (),
            topic=take_maybe(frame, "topic", str),
            photo=take_maybe(frame, "photo", str),
            tags=take_ids(frame, "tags") if "tags" in frame else (),
            public=take_or(frame, "public", bool, False),
            member_count=take_or(frame, "member_count", int, 0),
            slow_mode_s=take_or(frame, "slow_mode_s", int, 0),
        )


@dataclass(frozen=True, slots=True)
class Ban:
    """That somebody is barred from a conversation."""

    user: str
    author: str  # by whom
    seq: int  # the entry that says so
    at_ms: int
    reason: str | None
    until_ms: int | None  # None: for ever

    @classmethod
    def parse(cls, frame: Frame) -> "Ban":
        return cls(
            take(frame, "user", str), take(frame, "author", str), take_seq(frame, "seq"), take(frame, "at_ms", int),
            take_maybe(frame, "reason", str), take_maybe(frame, "until_ms", int),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BanPage:
    """A part of the bans of a conversation, newest first; ``more`` when older ones exist."""

    bans: tuple[Ban, ...]
    more: bool

    @classmethod
    def parse(cls, frame: Frame) -> "BanPage":
        return cls(take_each(frame, "bans", Ban.parse), take(frame, "more", bool))


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a conversation."""

    user: str
    name: str
    role: str  # "owner", "admin" or "member"
    joined: int  # the entry by which the person joined

    @classmethod
    def parse(cls, frame: Frame) -> "Member":
        return cls(
            take(frame, "user", str), take(frame, "name", str), take(frame, "role", str), take_seq(frame, "joined")
        )


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A part of the members of a conversation; the next part comes by ``cursor``, unless it is None."""

    members: tuple[Member, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "MemberPage":
        return cls(take_each(frame, "members", Member.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Room:
    """A room or a channel that everybody may join."""

    conversation: str
    kind: str
    title: str
    member_count: int
    online: int  # of them connected now, some seconds old
    joined: bool  # whether one is a member
    topic: str | None = None
    tags: tuple[str, ...] = ()
    photo: str | None = None  # the medium's id

    @classmethod
    def parse(cls, frame: Frame) -> "Room":
        return cls(
            conversation=take(frame, "conversation", str), kind=take(frame, "kind", str),
            title=take(frame, "title", str), member_count=take(frame, "member_count", int),
            online=take(frame, "online", int), joined=take(frame, "joined", bool),
            topic=take_maybe(frame, "topic", str), tags=take_ids(frame, "tags") if "tags" in frame else (),
            photo=take_maybe(frame, "photo", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RoomPage:
    """A part of the public rooms; the next part comes by ``cursor``, unless it is None."""

    rooms: tuple[Room, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "RoomPage":
        return cls(take_each(frame, "rooms", Room.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Link:
    """A link by which people join."""

    code: str
    author: str
    at_ms: int
    used: int  # how many joined or asked by it
    approval: bool  # who comes files a request
    expires_at_ms: int | None = None  # None: never
    uses: int | None = None  # None: as many as come

    @classmethod
    def parse(cls, frame: Frame) -> "Link":
        return cls(
            take(frame, "code", str), take(frame, "author", str), take(frame, "at_ms", int), take(frame, "used", int),
            take(frame, "approval", bool), take_maybe(frame, "expires_at_ms", int), take_maybe(frame, "uses", int),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where a link leads."""

    conversation: str
    kind: str
    title: str
    member_count: int
    approval: bool
    joined: bool  # one is a member already
    topic: str | None = None
    photo: str | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Invitation":
        return cls(
            take(frame, "conversation", str), take(frame, "kind", str), take(frame, "title", str),
            take(frame, "member_count", int), take(frame, "approval", bool), take(frame, "joined", bool),
            take_maybe(frame, "topic", str), take_maybe(frame, "photo", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Joined:
    """One is a member, since entry ``seq``; or one's request waits, and then there is none."""

    conversation: str
    requested: bool
    seq: int | None

    @classmethod
    def parse(cls, frame: Frame) -> "Joined":
        return cls(
            take(frame, "conversation", str), take_or(frame, "requested", bool, False), take_maybe(frame, "seq", int)
        )


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asks to be let in."""

    user: str
    name: str
    code: str  # the link by which the person came
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "Request":
        return cls(
            take(frame, "user", str), take(frame, "name", str), take(frame, "code", str), take(frame, "at_ms", int)
        )


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A part of the requests, oldest first; the next part comes by ``cursor``, unless it is None."""

    requests: tuple[Request, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "RequestPage":
        return cls(take_each(frame, "requests", Request.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Sent:
    """Where an entry of one's own stands; it is on the server's disk."""

    seq: int
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "Sent":
        return cls(take_seq(frame, "seq"), take(frame, "at_ms", int))


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the past, oldest first; ``more`` when older entries exist that one may see."""

    entries: tuple[Entry, ...]
    more: bool

    @classmethod
    def parse(cls, frame: Frame) -> "HistoryPage":
        return cls(take_each(frame, "entries", Entry.parse), take(frame, "more", bool))


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said for a time; ``text`` is None once it is deleted."""

    seq: int  # the entry that made it say so
    at_ms: int
    text: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "Version":
        return cls(take_seq(frame, "seq"), take(frame, "at_ms", int), take_maybe(frame, "text", str))


@dataclass(frozen=True, slots=True)
class OneReaction:
    """One person's reaction to a message."""

    user: str
    emoji: str
    seq: int  # the entry that says so
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "OneReaction":
        return cls(
            take(frame, "user", str), take(frame, "emoji", str), take_seq(frame, "seq"), take(frame, "at_ms", int)
        )


@dataclass(frozen=True, slots=True)
class ReactionPage:
    """A part of the reactions to a message; the next part comes by ``cursor``, unless it is None."""

    reactions: tuple[OneReaction, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ReactionPage":
        return cls(take_each(frame, "reactions", OneReaction.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A part of one's conversations, last active first; the next part comes by ``cursor``, unless it is None."""

    conversations: tuple[Conversation, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ConversationPage":
        return cls(take_each(frame, "conversations", Conversation.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Cursors:
    """One's own cursors in a conversation after a receipt."""

    delivered: int
    read: int

    @classmethod
    def parse(cls, frame: Frame) -> "Cursors":
        return cls(take_seq(frame, "delivered"), take_seq(frame, "read"))
