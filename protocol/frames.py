"""Commands, replies and events: what travels on the socket, with its limits in the types.

Every frame is one MessagePack map whose type stands in ``t``. A command carries the client's number ``id`` and is
answered exactly once, by :class:`Ok` or :class:`Error` with that ``id``; events carry no ``id``. Unknown fields are
ignored and new fields have defaults, so that old clients and old servers keep working. Ids are UUIDv7 text; times
are Unix milliseconds (UTC).
"""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from protocol import limits

# PostgreSQL cannot store U+0000, so no string of the protocol may hold it (docs/hazards.md, B2).
_NO_NUL = "^[^\\u0000]*$"

Id = Annotated[int, Meta(ge=0, le=2**53 - 1, description="The client's number for this command; comes back in the answer.")]
Seq = Annotated[int, Meta(ge=0, le=limits.SEQ_MAX, description="A position in a conversation's log: 1, 2, 3 ... without gaps.")]
Key = Annotated[
    str,
    Meta(
        min_length=1, max_length=limits.KEY_CHARS, pattern=_NO_NUL,
        description="The client's idempotency key: unique per author and conversation for ever. A repeat gets the first answer.",
    ),
]  # fmt: skip
Text = Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARS, pattern=_NO_NUL, description="Code points, not bytes.")]
Title = Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARS, pattern=_NO_NUL)]
Token = Annotated[str, Meta(min_length=1, max_length=limits.TOKEN_CHARS, description="An access token from /v1/auth/.")]
Device = Annotated[str, Meta(min_length=1, max_length=limits.DEVICE_CHARS, pattern=_NO_NUL, description="Names this device; stable over reconnects.")]
Cursor = Annotated[str, Meta(max_length=limits.CURSOR_CHARS, description="Opaque: keep it, send it back unchanged.")]
History = Literal["all", "from_join"]
Kind = Literal["direct", "group"]
EntryKind = Literal["created", "message", "member.added", "member.removed"]


# --- Commands ---------------------------------------------------------------------------------------------------------


class Command(Struct, frozen=True, tag_field="t", kw_only=True):
    """What a client asks for."""

    id: Id


class Hello(Command, frozen=True, tag="hello"):
    """Sign in on this socket and be brought up to date. Must come first, within 10 seconds. Answered with
    :class:`Welcome`; then what was missed, as events; then :class:`Synced`; then live events."""

    token: Token
    device: Device
    cursor: Cursor | None = None  # the newest that a progress, synced or cursor event gave
    heads: Annotated[
        dict[UUID, Seq],
        Meta(max_length=limits.HEADS, description="Conversation -> the highest seq up to which the client has everything."),
    ] = msgspec.field(default_factory=dict)  # fmt: skip
    recent: Annotated[int, Meta(ge=0, le=limits.RECENT_ENTRIES, description="Last entries to send with a conversation that is not among the heads.")] = 1


class Ping(Command, frozen=True, tag="ping"):
    """Ask whether the server is there, and for its time. Answered with :class:`Pong`."""

    data: Annotated[Raw, Meta(description="Any MessagePack value; comes back as it is.")] = Raw()


class AuthRenew(Command, frozen=True, tag="auth.renew"):
    """Keep this socket open past its token's end. Answered with :class:`Renewed`."""

    token: Token


class ConversationDirect(Command, frozen=True, tag="conversation.direct"):
    """Open the one conversation of oneself and *user*, made on first use. Answered with :class:`Opened`."""

    user: UUID


class ConversationCreate(Command, frozen=True, tag="conversation.create"):
    """Create a group with oneself as owner. Answered with :class:`Opened`."""

    key: Key
    title: Title
    members: Annotated[list[UUID], Meta(max_length=limits.CREATE_MEMBERS, description="Besides oneself; repeats are counted once.")]
    kind: Literal["group"] = "group"
    history: Annotated[History, Meta(description="What a newcomer sees of the past: all of it, or what comes from joining on.")] = "all"


class ConversationList(Command, frozen=True, tag="conversation.list"):
    """One page of one's conversations, last active first. Answered with :class:`Conversations`."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.LIST_CONVERSATIONS)] = 50


class ConversationGet(Command, frozen=True, tag="conversation.get"):
    """One conversation's present state. Answered with :class:`ConversationState`."""

    conversation: UUID
    recent: Annotated[int, Meta(ge=0, le=limits.RECENT_ENTRIES)] = 1


class ConversationAdd(Command, frozen=True, tag="conversation.add"):
    """Add *user* to a group; any member may. Answered with :class:`Appended`."""

    conversation: UUID
    key: Key
    user: UUID


class ConversationRemove(Command, frozen=True, tag="conversation.remove"):
    """Remove *user* from a group; its owner may. Answered with :class:`Appended`."""

    conversation: UUID
    key: Key
    user: UUID


class ConversationLeave(Command, frozen=True, tag="conversation.leave"):
    """Leave a group. Answered with :class:`Appended`."""

    conversation: UUID
    key: Key


class MessageSend(Command, frozen=True, tag="message.send"):
    """Append one message to a conversation. Answered with :class:`Appended` once it is on disk."""

    conversation: UUID
    key: Key
    text: Text


class HistoryGet(Command, frozen=True, tag="history"):
    """A page of the past, oldest first, ending before *before* (or at the end). Answered with :class:`HistoryPage`."""

    conversation: UUID
    before: Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.HISTORY_ENTRIES)] = 50


class ReceiptMove(Command, frozen=True, tag="receipt"):
    """Raise one's cursors in a conversation: what was delivered, what was read. They never fall, and are clamped to what
    exists and may be seen. Read implies delivered. Answered with :class:`Cursors` once stored (within about a second)."""

    conversation: UUID
    delivered: Seq = 0
    read: Seq = 0


class Typing(Command, frozen=True, tag="typing"):
    """Tell the others that one is typing now. Not stored, may be lost. Answered with :class:`Done`."""

    conversation: UUID


class PresenceWatch(Command, frozen=True, tag="presence.watch"):
    """Hear of these people's presence on this connection, besides one's direct partners; replaces the watch before.
    Either *users* or *conversation* (its members now). Neither ends the watch. Answered with :class:`Online`."""

    users: Annotated[list[UUID], Meta(max_length=limits.WATCH_USERS)] = msgspec.field(default_factory=list)
    conversation: UUID | None = None


class UserGet(Command, frozen=True, tag="user.get"):
    """Names of people by id. Unknown ids are left out. Answered with :class:`Users`."""

    users: Annotated[list[UUID], Meta(min_length=1, max_length=limits.LOOKUP_USERS)]


# --- What answers carry -----------------------------------------------------------------------------------------------


class User(Struct, frozen=True, omit_defaults=True):
    """A person, as others see them."""

    id: UUID
    name: str


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One entry of a conversation's log."""

    conversation: UUID
    seq: Seq
    kind: EntryKind
    author: UUID  # who did it
    key: str
    at_ms: int  # when it was stored, by the database's clock
    text: str | UnsetType = UNSET  # of a message
    user: UUID | UnsetType = UNSET  # who was added or removed
    title: str | UnsetType = UNSET  # of created
    members: list[UUID] | UnsetType = UNSET  # of created: the first members, their owner first


class Receipt(Struct, frozen=True):
    """How far one member is: both cursors only rise."""

    user: UUID
    delivered: Seq
    read: Seq


class Welcome(Struct, frozen=True):
    """Signed in."""

    user: UUID
    session: UUID  # names this connection in the server's log


class Pong(Struct, frozen=True, omit_defaults=True):
    """The server's time, and the data of the ping."""

    at_ms: int
    data: Raw | UnsetType = UNSET


class Renewed(Struct, frozen=True):
    """How long the socket may now stay open."""

    expires_in_s: int


class Opened(Struct, frozen=True):
    """The conversation's id. Its event ``conversation`` came before this answer."""

    conversation: UUID


class Appended(Struct, frozen=True):
    """Where the entry stands. It is on disk."""

    seq: Seq
    at_ms: int


class Cursors(Struct, frozen=True):
    """One's cursors after the move."""

    delivered: Seq
    read: Seq


class Done(Struct, frozen=True):
    """Nothing more to say."""


class Online(Struct, frozen=True):
    """Who of the watched is online now."""

    online: list[UUID]


class Users(Struct, frozen=True):
    """The people that were found."""

    users: list[User]


class HistoryPage(Struct, frozen=True):
    """Entries, oldest first; ``more`` when older ones exist that one may see. May hold fewer than asked: 256 KiB a page."""

    entries: list[Entry]
    more: bool


class ConversationState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation as one of its members sees it, after entry ``head``. Entries above ``head`` come as ``entry``;
    they may repeat what the state already shows, and applying them again changes nothing."""

    conversation: UUID
    kind: Kind
    title: str | None
    members: list[UUID]  # who belongs now, in the order of joining
    head: Seq  # the client's new head for this conversation
    first_seq: Seq  # entries below it belong to an absence or to a past that newcomers do not see; no gap from here on
    unread: int  # messages of others above one's read cursor
    read: Seq  # one's own cursors
    delivered: Seq
    names: dict[UUID, str] = msgspec.field(default_factory=dict)  # of the members, while they are at most 100
    receipts: list[Receipt] = msgspec.field(default_factory=list)  # of the others, while they are at most 100
    recent: list[Entry] = msgspec.field(default_factory=list)  # the last entries up to head, oldest first
    history: History = "all"
    owner: UUID | None = None  # of a group


class Conversations(Struct, frozen=True, omit_defaults=True):
    """One page; the next comes by ``cursor``, unless it is absent."""

    conversations: list[ConversationState]
    cursor: str | None = None


# --- Replies ----------------------------------------------------------------------------------------------------------


class Ok(Struct, frozen=True, tag_field="t", tag="ok"):
    """The one answer to a command that succeeded."""

    id: Id
    result: Any


class Error(Struct, frozen=True, tag_field="t", tag="error", omit_defaults=True):
    """The one answer to a command that did not. ``id`` is null when the frame had none that could be read."""

    id: int | None
    code: str
    message: str
    retry_after_ms: int | UnsetType = UNSET


# --- Events -----------------------------------------------------------------------------------------------------------


class Event(Struct, frozen=True, tag_field="t", kw_only=True, omit_defaults=True):
    """What the server tells by itself."""


class EntryEvent(Event, Entry, frozen=True, kw_only=True, omit_defaults=True, tag="entry", tag_field="t"):
    """A new entry: every connection sees each conversation's entries in seq order, without a gap from ``first_seq`` on."""


class ConversationEvent(ConversationState, Event, frozen=True, kw_only=True, omit_defaults=True, tag="conversation", tag_field="t"):
    """A conversation that the client does not know, or knows from before an absence; precedes its first entry."""


class Progress(Event, frozen=True, tag="progress"):
    """A page of what was missed is through; a client that breaks off here may come back with this cursor and its heads."""

    cursor: Cursor


class Synced(Event, frozen=True, tag="synced"):
    """The client has everything; what follows is live."""

    cursor: Cursor


class CursorEvent(Event, frozen=True, tag="cursor"):
    """A newer cursor to keep."""

    cursor: Cursor


class Rewound(Event, frozen=True, tag="rewound"):
    """The database was restored from an older copy. Forget what is known of *conversation*, or of everything when it is
    absent, and start afresh with the events that follow. Unacknowledged sends are repeated as ever."""

    conversation: UUID | UnsetType = UNSET


class ReceiptEvent(Event, frozen=True, tag="receipt"):
    """Somebody's cursors rose (one's own, too, for one's other devices). Comes for conversations of at most 100 members;
    one's own always."""

    conversation: UUID
    user: UUID
    delivered: Seq
    read: Seq


class TypingEvent(Event, frozen=True, tag="typing"):
    """Somebody is typing; shown for a few seconds."""

    conversation: UUID
    user: UUID


class PresenceEvent(Event, frozen=True, tag="presence"):
    """Somebody came online or went offline (an absence under 10 seconds is not shown)."""

    user: UUID
    state: Literal["online", "offline"]


AnyCommand = (
    Hello | Ping | AuthRenew | ConversationDirect | ConversationCreate | ConversationList | ConversationGet
    | ConversationAdd | ConversationRemove | ConversationLeave | MessageSend | HistoryGet | ReceiptMove | Typing
    | PresenceWatch | UserGet
)  # fmt: skip
AnyEvent = (
    EntryEvent | ConversationEvent | Progress | Synced | CursorEvent | Rewound | ReceiptEvent | TypingEvent | PresenceEvent
)
AnyReply = Ok | Error

RESULTS: dict[type[Command], type[Struct]] = {
    Hello: Welcome,
    Ping: Pong,
    AuthRenew: Renewed,
    ConversationDirect: Opened,
    ConversationCreate: Opened,
    ConversationList: Conversations,
    ConversationGet: ConversationState,
    ConversationAdd: Appended,
    ConversationRemove: Appended,
    ConversationLeave: Appended,
    MessageSend: Appended,
    HistoryGet: HistoryPage,
    ReceiptMove: Cursors,
    Typing: Done,
    PresenceWatch: Online,
    UserGet: Users,
}  # what a command's ok carries; a test checks that no command is missing
