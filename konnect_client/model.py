"""What the server tells, as values: entries, conversations, receipts, pages.

Ids are the server's text (UUIDs in lower case), times Unix milliseconds (UTC). Each class reads itself from a frame's
map with ``parse``; unknown fields are ignored, a missing or mistyped one is a
:class:`~konnect_client.ProtocolViolation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from konnect_client.content import Content
from konnect_client.errors import ProtocolViolation
from konnect_client.parts import (
    Frame as Frame,
    take as take,
    take_each as take_each,
    take_ids as take_ids,
    take_ints as take_ints,
    take_maybe as take_maybe,
    take_or as take_or,
    take_part as take_part,
    take_seq as take_seq,
)
from konnect_client.threads import Replies, ThreadNow


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
class PollOption:
    """Something to choose, and how many have."""

    text: str
    count: int

    @classmethod
    def parse(cls, frame: Frame) -> "PollOption":
        return cls(take(frame, "text", str), take(frame, "count", int))


@dataclass(frozen=True, slots=True)
class Poll:
    """What a message asks, and how people have chosen so far."""

    question: str
    options: tuple[PollOption, ...]
    voters: int
    multiple: bool = False
    anonymous: bool = False
    closed: bool = False

    @classmethod
    def parse(cls, frame: Frame) -> "Poll":
        return cls(
            take(frame, "question", str), take_each(frame, "options", PollOption.parse), take(frame, "voters", int),
            take_or(frame, "multiple", bool, False), take_or(frame, "anonymous", bool, False),
            take_or(frame, "closed", bool, False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OneVote:
    """What one person chose: places of options, from 0."""

    user: str
    options: tuple[int, ...]
    seq: int  # the entry that says so
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "OneVote":
        return cls(
            take(frame, "user", str), take_ints(frame, "options"), take_seq(frame, "seq"), take(frame, "at_ms", int)
        )


@dataclass(frozen=True, slots=True)
class Votes:
    """A part of the votes of a poll, and what one chose oneself."""

    votes: tuple[OneVote, ...]
    mine: tuple[int, ...]
    more: bool

    @classmethod
    def parse(cls, frame: Frame) -> "Votes":
        return cls(take_each(frame, "votes", OneVote.parse), take_ints(frame, "mine"), take(frame, "more", bool))


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
    count: int | None = None  # how many people then do, (of members of a room or a channel: how many they are)
    users: tuple[str, ...] = ()  # and the first few of them
    poll: Poll | None = None  # of a message: what it asks
    counts: tuple[int, ...] = ()  # of a vote: how many then have chosen each option,
    voters: int | None = None  # how many people have,
    options: tuple[int, ...] | None = None  # and what its author chose, unless nobody is named
    messages: tuple[int, ...] = ()  # of messages.expired: which have disappeared
    retention_s: int | None = None  # of conversation.retention: how long messages are kept now; None: for ever
    expires_at_ms: int | None = None  # of a message: when it disappears
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
    content: Content | None = None  # of a message and of an edit: what the message is beside its text
    pinned: bool = False  # of a message
    replies: Replies | None = None  # of a message: what is in its thread
    threads: tuple[ThreadNow, ...] = ()  # of an entry that changes threads: what their roots then show

    @property
    def in_thread(self) -> bool:
        """Whether it is a message of a thread, which shows under its root and not among the others."""
        return self.content is not None and self.content.thread is not None

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
            count=take_maybe(frame, "count", int),
            users=take_ids(frame, "users") if "users" in frame else (),
            poll=take_part(frame, "poll", Poll.parse),
            counts=take_ints(frame, "counts") if "counts" in frame else (),
            voters=take_maybe(frame, "voters", int),
            options=take_ints(frame, "options") if "options" in frame else None,
            messages=take_ints(frame, "messages") if "messages" in frame else (),
            retention_s=take_maybe(frame, "retention_s", int),
            expires_at_ms=take_maybe(frame, "expires_at_ms", int),
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
            content=take_part(frame, "content", Content.parse),
            pinned=take_or(frame, "pinned", bool, False),
            replies=take_part(frame, "replies", Replies.parse),
            threads=take_each(frame, "threads", ThreadNow.parse) if "threads" in frame else (),
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
    retention_s: int | None = None  # how long new messages are kept; None: for ever
    pins: tuple[int, ...] = ()  # the messages that are pinned, by seq
    admins: tuple[str, ...] = ()  # of a group, without its owner, by id
    topic: str | None = None  # of a group
    photo: str | None = None  # of a group: the medium's id
    tags: tuple[str, ...] = ()  # interests
    public: bool = False  # everybody may join
    member_count: int = 0  # of a room or a channel, whose members are not listed
    slow_mode_s: int = 0  # of a group: seconds between two messages of a plain member
    closed: bool = False  # of a direct conversation: nobody may write in it now

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
            retention_s=take_maybe(frame, "retention_s", int),
            pins=take_ints(frame, "pins") if "pins" in frame else (),
            admins=take_ids(frame, "admins") if "admins" in frame else (),
            topic=take_maybe(frame, "topic", str),
            photo=take_maybe(frame, "photo", str),
            tags=take_ids(frame, "tags") if "tags" in frame else (),
            public=take_or(frame, "public", bool, False),
            member_count=take_or(frame, "member_count", int, 0),
            slow_mode_s=take_or(frame, "slow_mode_s", int, 0),
            closed=take_or(frame, "closed", bool, False),
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
    count: int = 0  # how many wait, on all pages together

    @classmethod
    def parse(cls, frame: Frame) -> "RequestPage":
        return cls(
            take_each(frame, "requests", Request.parse), take_maybe(frame, "cursor", str),
            take_or(frame, "count", int, 0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """Where an entry of one's own stands; it is on the server's disk."""

    seq: int
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "Sent":
        return cls(take_seq(frame, "seq"), take(frame, "at_ms", int))


KEPT: Final = Sent(0, 0)  # of what is one's own and stands in no log


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the past, oldest first; ``more`` when older entries exist that one may see."""

    entries: tuple[Entry, ...]
    more: bool
    newer: bool = False  # newer ones exist; told only of pages around or after a place

    @classmethod
    def parse(cls, frame: Frame) -> "HistoryPage":
        return cls(
            take_each(frame, "entries", Entry.parse), take(frame, "more", bool), take_or(frame, "newer", bool, False)
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found: see it where it stands by ``history`` around its seq."""

    conversation: str
    seq: int
    author: str
    at_ms: int
    snippet: str
    highlights: tuple[tuple[int, int], ...]  # (offset, length) in the snippet, in code points

    @classmethod
    def parse(cls, frame: Frame) -> "Hit":
        places = tuple((int(place[0]), int(place[1])) for place in frame.get("highlights", ()))
        return cls(
            take(frame, "conversation", str), take_seq(frame, "seq"), take(frame, "author", str),
            take(frame, "at_ms", int), take(frame, "snippet", str), places,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A part of what was found; the next part comes by ``cursor``, unless it is None."""

    hits: tuple[Hit, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "FoundPage":
        return cls(take_each(frame, "hits", Hit.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said for a time; ``text`` and ``content`` are None once it is deleted."""

    seq: int  # the entry that made it say so
    at_ms: int
    text: str | None
    content: Content | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Version":
        return cls(
            take_seq(frame, "seq"), take(frame, "at_ms", int), take_maybe(frame, "text", str),
            take_part(frame, "content", Content.parse),
        )  # fmt: skip


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
class MessageReader:
    """Somebody whom a message has reached."""

    user: str
    read: bool  # never, where one of the two hides reading

    @classmethod
    def parse(cls, frame: Frame) -> "MessageReader":
        return cls(take(frame, "user", str), take(frame, "read", bool))


@dataclass(frozen=True, slots=True)
class ReaderPage:
    """A part of those whom a message has reached; the next part comes by ``cursor``, unless it is None."""

    readers: tuple[MessageReader, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ReaderPage":
        return cls(take_each(frame, "readers", MessageReader.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """A message of one's own that waits for its time; ``problem`` is the code of the error that stopped it for good."""

    id: str
    conversation: str
    at_ms: int
    text: str
    problem: str | None = None
    content: Content | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "ScheduledMessage":
        return cls(
            take(frame, "scheduled", str), take(frame, "conversation", str), take(frame, "at_ms", int),
            take_or(frame, "text", str, ""), take_maybe(frame, "problem", str),
            take_part(frame, "content", Content.parse),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScheduledPage:
    """A part of one's scheduled messages; the next part comes by ``cursor``, unless it is None."""

    scheduled: tuple[ScheduledMessage, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "ScheduledPage":
        return cls(take_each(frame, "scheduled", ScheduledMessage.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A part of one's conversations, last active first; the next part comes by ``cursor``, unless it is None.
    ``last_messages``: what to show of those whose last entry is no message, is in a thread, or hidden by oneself."""

    conversations: tuple[Conversation, ...]
    cursor: str | None
    last_messages: tuple[Entry, ...] = ()

    @classmethod
    def parse(cls, frame: Frame) -> "ConversationPage":
        last = take_each(frame, "last_messages", Entry.parse) if "last_messages" in frame else ()
        return cls(take_each(frame, "conversations", Conversation.parse), take_maybe(frame, "cursor", str), last)

    def last(self, conversation: str) -> Entry | None:
        """The message that a list shows of *conversation*; None where none is near its end. (What one has hidden is not
        told apart here where nothing else can be shown: ask ``client.personal``.)"""
        beside = [one for one in self.last_messages if one.conversation == conversation]
        recent = [entry for one in self.conversations if one.id == conversation for entry in one.recent[-1:]]
        return next((one for one in (*beside, *recent) if one.kind == "message" and not one.in_thread), None)


@dataclass(frozen=True, slots=True)
class Cursors:
    """One's own cursors in a conversation after a receipt."""

    delivered: int
    read: int

    @classmethod
    def parse(cls, frame: Frame) -> "Cursors":
        return cls(take_seq(frame, "delivered"), take_seq(frame, "read"))


@dataclass(frozen=True, slots=True)
class Privacy:
    """One's switches."""

    read_receipts: bool
    last_seen: str  # "everyone", "contacts" or "nobody"
    typing: bool

    @classmethod
    def parse(cls, frame: Frame) -> "Privacy":
        return cls(take(frame, "read_receipts", bool), take(frame, "last_seen", str), take(frame, "typing", bool))


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somewhere one is signed in."""

    id: str
    device: str  # what it was called when one signed in
    created_at_ms: int
    used_at_ms: int  # to within an access token's life
    current: bool  # the one that the question came by

    @classmethod
    def parse(cls, frame: Frame) -> "SignIn":
        return cls(
            take(frame, "session", str), take(frame, "device", str), take(frame, "created_at_ms", int),
            take(frame, "used_at_ms", int), take(frame, "current", bool),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PersonPresence:
    """Whether somebody is online, and else when they last were."""

    user: str
    online: bool
    last_seen_ms: int | None  # in whole minutes, where it is known

    @classmethod
    def parse(cls, frame: Frame) -> "PersonPresence":
        online = take(frame, "state", str) == "online"
        return cls(take(frame, "user", str), online, take_maybe(frame, "last_seen_ms", int))


@dataclass(frozen=True, slots=True)
class Unread:
    """What is unread over all one's conversations."""

    messages: int  # of others, not deleted; 1,000 stands for that many or more
    conversations: int  # that have such a message

    @classmethod
    def parse(cls, frame: Frame) -> "Unread":
        return cls(take_seq(frame, "messages"), take_seq(frame, "conversations"))


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """How an account stands."""

    standing: str  # "active", "paused", "leaving", "suspended", "deleted"; newer servers may know more
    at_ms: int  # since when; 0: since it was made
    leaving_until_ms: int | None = None  # from then on it is erased, and nobody returns

    @classmethod
    def parse(cls, frame: Frame) -> "AccountStanding":
        return cls(
            take(frame, "standing", str), take(frame, "at_ms", int), take_maybe(frame, "leaving_until_ms", int)
        )
