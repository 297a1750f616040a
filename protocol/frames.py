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

Id = Annotated[
    int, Meta(ge=0, le=2**53 - 1, description="The client's number for this command; the answer repeats it.")
]
Seq = Annotated[
    int, Meta(ge=0, le=limits.SEQ_MAX, description="A place in a conversation's log; 0 is before the first.")
]
# An id that comes in numbers and becomes a key: as text, for hash(UUID) is not seeded, and a thousand ids made to
# collide would hold everybody up (docs/hazards.md, C1).
IdText = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        description="An id.",
        extra_json_schema={"format": "uuid"},
    ),
]
AtMs = Annotated[int, Meta(description="Unix time in milliseconds (UTC), by the database's clock.")]
Conversation = Annotated[UUID, Meta(description="The conversation's id.")]
_KEY_MEANING = (
    "The client's idempotency key: unique per author and conversation for ever. A repeat is answered as the first was."
)
Key = Annotated[str, Meta(min_length=1, max_length=limits.KEY_CHARS, pattern=_NO_NUL, description=_KEY_MEANING)]
# These two without a pattern that is checked: see MessageSend.
SentKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.KEY_CHARS,
        description=_KEY_MEANING,
        extra_json_schema={"pattern": _NO_NUL},
    ),
]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARS,
        description="The message. Its length is counted in code points, not bytes.",
        extra_json_schema={"pattern": _NO_NUL},
    ),
]
Title = Annotated[
    str, Meta(min_length=1, max_length=limits.TITLE_CHARS, pattern=_NO_NUL, description="What the group is called.")
]
Token = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TOKEN_CHARS,
        pattern=_NO_NUL,
        description="An access token, from `/v1/auth/register`, `login` or `refresh`.",
    ),
]
Device = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.DEVICE_CHARS,
        pattern=_NO_NUL,
        description="Names this device among the person's own: the same after each reconnect, another on each device.",
    ),
]
Cursor = Annotated[
    str, Meta(max_length=limits.CURSOR_CHARS, pattern=_NO_NUL, description="Opaque: keep it, send it back unchanged.")
]
History = Literal["all", "from_join"]
Kind = Literal["direct", "group"]
EntryKind = Literal[
    "created", "message", "member.added", "member.removed", "message.edited", "message.deleted", "message.reacted"
]
MessageSeq = Annotated[int, Meta(ge=1, le=limits.SEQ_MAX, description="The message's number in the log.")]
Emoji = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.REACTION_CHARS,
        pattern="^(?![\\s\\S]*[\\u0000-\\u001f\\u007f-\\u009f])",
        description="The reaction: an emoji, or any short text without control characters, compared as it is spelt.",
    ),
]


# --- Commands ---------------------------------------------------------------------------------------------------------


class Command(Struct, frozen=True, tag_field="t", kw_only=True):
    """What a client asks for."""

    id: Id


class Hello(Command, frozen=True, tag="hello"):
    """Sign in on this socket and be brought up to date. Must come first, within 10 seconds. Answered with
    :class:`Welcome`; then what was missed, as events; then :class:`Synced`; then live events."""

    token: Token
    device: Device
    cursor: Annotated[
        Cursor | None,
        Meta(description="The newest that a `progress`, `synced` or `cursor` event gave; null on a first start."),
    ] = None
    heads: Annotated[
        dict[IdText, Seq],
        Meta(
            max_length=limits.HEADS,
            description="Conversation -> the highest seq up to which the client has everything.",
        ),
    ] = msgspec.field(default_factory=dict)
    recent: Annotated[
        int,
        Meta(
            ge=0,
            le=limits.RECENT_ENTRIES,
            description="How many of its last entries to send with a conversation that is not among the heads.",
        ),
    ] = 1


class Ping(Command, frozen=True, tag="ping"):
    """Ask whether the server is there, and for its time. Answered with :class:`Pong`."""

    data: Annotated[
        Raw, Meta(description="Any MessagePack value of at most 4,096 bytes; comes back byte for byte.")
    ] = Raw()

    def __post_init__(self) -> None:
        if len(self.data) > limits.PING_BYTES:
            raise ValueError(f"`data` is longer than {limits.PING_BYTES} bytes")


class AuthRenew(Command, frozen=True, tag="auth.renew"):
    """Keep this socket open past its token's end. Answered with :class:`Renewed`."""

    token: Token


class ConversationDirect(Command, frozen=True, tag="conversation.direct"):
    """Open the one conversation of oneself and *user*, made on first use. Answered with :class:`Opened`."""

    user: Annotated[UUID, Meta(description="The other person.")]


class ConversationCreate(Command, frozen=True, tag="conversation.create"):
    """Create a group with oneself as owner. Answered with :class:`Opened`."""

    key: Key
    title: Title
    members: Annotated[
        list[UUID], Meta(max_length=limits.CREATE_MEMBERS, description="Besides oneself; repeats are counted once.")
    ]
    kind: Annotated[Literal["group"], Meta(description="A direct conversation is opened by `conversation.direct`.")] = (
        "group"
    )
    history: Annotated[
        History, Meta(description="What a newcomer sees of the past: all of it, or only what comes from joining on.")
    ] = "all"


class ConversationList(Command, frozen=True, tag="conversation.list"):
    """One page of one's conversations, last active first. Answered with :class:`Conversations`."""

    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before; null for the first. Not the cursor of `hello`.")
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=limits.LIST_CONVERSATIONS, description="At most so many conversations on the page.")
    ] = 50


class ConversationGet(Command, frozen=True, tag="conversation.get"):
    """One conversation's present state. Answered with :class:`ConversationState`."""

    conversation: Conversation
    recent: Annotated[
        int, Meta(ge=0, le=limits.RECENT_ENTRIES, description="How many of its last entries to send along.")
    ] = 1


class ConversationAdd(Command, frozen=True, tag="conversation.add"):
    """Add *user* to a group; any member may. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whom to add.")]


class ConversationRemove(Command, frozen=True, tag="conversation.remove"):
    """Remove *user* from a group; its owner may. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whom to remove.")]


class ConversationLeave(Command, frozen=True, tag="conversation.leave"):
    """Leave a group. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key


class MessageSend(Command, frozen=True, tag="message.send"):
    """Append one message to a conversation. Answered with :class:`Appended` once it is on disk."""

    conversation: Conversation
    key: SentKey
    text: Text

    def __post_init__(self) -> None:
        # By hand, for this is the hot path: two patterns cost 540 of 810 ns a message of 100 characters, this costs 70.
        if "\0" in self.text or "\0" in self.key:
            name = "text" if "\0" in self.text else "key"
            raise ValueError(f"`{name}` must not hold U+0000 - at `$.{name}`")


class MessageEdit(Command, frozen=True, tag="message.edit"):
    """Give a message of one's own another text, within the time that the server allows for it. What it said before is
    kept: see `message.edits`. Answered with :class:`Appended`: where the entry `message.edited` stands."""

    conversation: Conversation
    key: Key
    seq: MessageSeq
    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.TEXT_CHARS,
            pattern=_NO_NUL,
            description="What it is to say. Its length is counted in code points, not bytes.",
        ),
    ]


class MessageDelete(Command, frozen=True, tag="message.delete"):
    """Delete a message for everybody; its author may, and the owner of the group. Its text, and that of its earlier
    versions, is erased; its place in the log stays. Deleting what is deleted changes nothing. Answered with
    :class:`Appended`: where the entry `message.deleted` stands."""

    conversation: Conversation
    key: Key
    seq: MessageSeq


class MessageReact(Command, frozen=True, tag="message.react"):
    """React to a message, or take a reaction back; any member may. Answered with :class:`Appended`: where the entry
    `message.reacted` stands. When it is so already, nothing is stored, and the answer names the newest entry that
    changed the message (the message itself, if none did)."""

    conversation: Conversation
    key: Key
    seq: MessageSeq
    emoji: Emoji
    on: Annotated[bool, Meta(description="True to react, false to take it back.")] = True


class MessageEdits(Command, frozen=True, tag="message.edits"):
    """All that a message has said, oldest first, page by page. Answered with :class:`Versions`."""

    conversation: Conversation
    seq: MessageSeq
    after: Annotated[Seq, Meta(description="Only versions with a higher seq: the last one's on the page before.")] = 0


class MessageReactions(Command, frozen=True, tag="message.reactions"):
    """Who reacted to a message, by emoji and in the order of reacting, page by page. Answered with
    :class:`Reactions`."""

    conversation: Conversation
    seq: MessageSeq
    emoji: Annotated[Emoji | None, Meta(description="Only these; null for all.")] = None
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before; null for the first. Not the cursor of `hello`.")
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=limits.REACTIONS_PAGE, description="At most so many reactions on the page.")
    ] = 50


class HistoryGet(Command, frozen=True, tag="history"):
    """A page of the past, oldest first, ending before *before* (or at the end). Answered with :class:`HistoryPage`."""

    conversation: Conversation
    before: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="Only entries with a smaller seq; null for the newest."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.HISTORY_ENTRIES, description="At most so many entries on the page.")] = (
        50
    )


class ReceiptMove(Command, frozen=True, tag="receipt"):
    """Raise one's cursors in a conversation: what was delivered, what was read. They never fall, and are clamped to
    what exists and may be seen. Read implies delivered. Answered with :class:`Cursors` once stored (within about a
    second)."""

    conversation: Conversation
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached this person's devices.")] = 0
    read: Annotated[Seq, Meta(description="Everything up to here has been read.")] = 0


class Typing(Command, frozen=True, tag="typing"):
    """Tell the others that one is typing now. Not stored, may be lost. Answered with :class:`Done`."""

    conversation: Conversation


class PresenceWatch(Command, frozen=True, tag="presence.watch"):
    """Hear of these people's presence on this connection, besides one's direct partners; replaces the watch before.
    Either *users* or *conversation* (its members now). Neither ends the watch. Answered with :class:`Online`."""

    users: Annotated[list[UUID], Meta(max_length=limits.WATCH_USERS, description="Whom to watch.")] = msgspec.field(
        default_factory=list
    )
    conversation: Annotated[UUID | None, Meta(description="Whose members to watch; not together with `users`.")] = None


class UserGet(Command, frozen=True, tag="user.get"):
    """Names of people by id. Unknown ids are left out. Answered with :class:`Users`."""

    users: Annotated[
        list[UUID], Meta(min_length=1, max_length=limits.LOOKUP_USERS, description="Whose names to look up.")
    ]


# --- What answers carry -----------------------------------------------------------------------------------------------


class User(Struct, frozen=True, omit_defaults=True):
    """A person, as others see them."""

    id: Annotated[UUID, Meta(description="The person's id.")]
    name: Annotated[str, Meta(description="The name that others see.")]


class Reaction(Struct, frozen=True, omit_defaults=True):
    """How many people reacted to a message with one emoji."""

    emoji: Annotated[str, Meta(description="The emoji.")]
    count: Annotated[int, Meta(description="How many people.")]
    users: Annotated[
        list[UUID],
        Meta(description="The first 5 of them, in the order of reacting; the others: see `message.reactions`."),
    ]


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One entry of a conversation's log. A `message` comes as it stands when it is read: its text may be an edit's, and
    `changed` says up to which entry it is up to date."""

    conversation: Conversation
    seq: Annotated[Seq, Meta(description="Its number in the conversation's log: 1, 2, 3 ... without gaps.")]
    kind: Annotated[
        EntryKind, Meta(description="What happened. Ignore a kind that you do not know, but count its seq.")
    ]
    author: Annotated[UUID, Meta(description="Who did it.")]
    key: Annotated[str, Meta(description="The key that its author gave it.")]
    at_ms: Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]
    text: (
        Annotated[str, Meta(description="Of `message` and `message.edited`: what is said; absent once it is deleted.")]
        | UnsetType
    ) = UNSET
    user: Annotated[UUID, Meta(description="Of `member.added` and `member.removed`: who.")] | UnsetType = UNSET
    title: Annotated[str, Meta(description="Of `created`: the group's title.")] | UnsetType = UNSET
    members: (
        Annotated[list[UUID], Meta(description="Of `created`: the first members, the one who created it first.")]
        | UnsetType
    ) = UNSET
    of: (
        Annotated[int, Meta(description="Of `message.edited`, `message.deleted`, `message.reacted`: which message.")]
        | UnsetType
    ) = UNSET
    emoji: Annotated[str, Meta(description="Of `message.reacted`: with what.")] | UnsetType = UNSET
    on: Annotated[bool, Meta(description="Of `message.reacted`: whether the author now reacts so.")] | UnsetType = UNSET
    count: (
        Annotated[int, Meta(description="Of `message.reacted`: how many people react so after it; 0 for nobody.")]
        | UnsetType
    ) = UNSET
    users: (
        Annotated[list[UUID], Meta(description="Of `message.reacted`: the first 5 of them, in the order of reacting.")]
        | UnsetType
    ) = UNSET
    edited_at_ms: (
        Annotated[AtMs, Meta(description="Of `message`: when its author last edited it; absent if never.")] | UnsetType
    ) = UNSET
    deleted: Annotated[
        bool, Meta(description="Of `message`, and of the `message.edited` of such: it was deleted, the text is gone.")
    ] = False
    reactions: Annotated[
        list[Reaction], Meta(description="Of `message`: by emoji, in the order of their code points; at most 20.")
    ] = []
    changed: (
        Annotated[
            int,
            Meta(
                description="Of `message`: the newest entry that edited or deleted it, or reacted to it: this is how "
                "it stands after that entry. Absent if there is none. Of two copies the one with the higher is newer."
            ),
        ]
        | UnsetType
    ) = UNSET


class Receipt(Struct, frozen=True):
    """How far one member is: both cursors only rise."""

    user: Annotated[UUID, Meta(description="Whose cursors these are.")]
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached one of the person's devices.")]
    read: Annotated[Seq, Meta(description="The person has read everything up to here.")]


class Welcome(Struct, frozen=True):
    """Signed in."""

    user: Annotated[UUID, Meta(description="Who one is, by the token.")]
    session: Annotated[UUID, Meta(description="Names this connection in the server's log; good for a bug report.")]


class Pong(Struct, frozen=True, omit_defaults=True):
    """The server's time, and the data of the ping."""

    at_ms: Annotated[int, Meta(description="The server's clock: Unix time in milliseconds (UTC).")]
    data: Annotated[Raw, Meta(description="What the ping carried; absent when it carried nothing.")] | UnsetType = UNSET


class Renewed(Struct, frozen=True):
    """How long the socket may now stay open."""

    expires_in_s: Annotated[int, Meta(description="Seconds until the new token ends, and this socket with it.")]


class Opened(Struct, frozen=True):
    """The conversation's id. Its event ``conversation`` came before this answer."""

    conversation: Conversation


class Appended(Struct, frozen=True):
    """Where the entry stands. It is on disk."""

    seq: Annotated[Seq, Meta(description="The entry's number in its conversation.")]
    at_ms: Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]


class Cursors(Struct, frozen=True):
    """One's cursors after the move."""

    delivered: Annotated[Seq, Meta(description="What the server now holds as delivered.")]
    read: Annotated[Seq, Meta(description="What the server now holds as read.")]


class Done(Struct, frozen=True):
    """Nothing more to say."""


class Online(Struct, frozen=True):
    """Who of the watched is online now."""

    online: Annotated[list[UUID], Meta(description="Those of the watched who are online; the others are not.")]


class Users(Struct, frozen=True):
    """The people that were found."""

    users: Annotated[list[User], Meta(description="In no particular order.")]


class Version(Struct, frozen=True, omit_defaults=True):
    """What a message said for a time."""

    seq: Annotated[Seq, Meta(description="The entry that made it say so: the message itself, or a `message.edited`.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]
    text: Annotated[str, Meta(description="What it said; absent once the message is deleted.")] | UnsetType = UNSET


class Versions(Struct, frozen=True):
    """A page of what a message has said. At most 100 versions and 256 KiB."""

    versions: Annotated[list[Version], Meta(description="Oldest first.")]
    more: Annotated[bool, Meta(description="Newer versions exist: ask again, `after` the last of these.")]


class OneReaction(Struct, frozen=True):
    """One person's reaction."""

    user: Annotated[UUID, Meta(description="Who reacted.")]
    emoji: Annotated[str, Meta(description="With what.")]
    seq: Annotated[Seq, Meta(description="The entry `message.reacted` that says so.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]


class Reactions(Struct, frozen=True, omit_defaults=True):
    """A page of the reactions to a message."""

    reactions: Annotated[
        list[OneReaction], Meta(description="By emoji, in the order of code points; then in the order of reacting.")
    ]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class HistoryPage(Struct, frozen=True):
    """A page of the past. May hold fewer entries than were asked for: a page is at most 256 KiB."""

    entries: Annotated[list[Entry], Meta(description="Oldest first.")]
    more: Annotated[
        bool, Meta(description="Older entries exist that one may see: ask again, `before` the first of these.")
    ]


class ConversationState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation as one of its members sees it, after entry ``head``. Entries above ``head`` come as ``entry``;
    they may repeat what the state already shows, and applying them again changes nothing."""

    conversation: Conversation
    kind: Annotated[Kind, Meta(description="Two people for ever, or a group.")]
    title: Annotated[str | None, Meta(description="Of a group; null for a direct conversation.")]
    members: Annotated[list[UUID], Meta(description="Who belongs now, in the order of joining.")]
    head: Annotated[
        Seq,
        Meta(
            description="The entry after which this state stands. In the event it is the client's new head, and "
            "entries go on at head + 1; in an answer it moves nothing."
        ),
    ]
    first_seq: Annotated[
        Seq,
        Meta(
            description="Entries below it may be missing: they belong to an absence, or to a past that newcomers "
            "do not see. From here on there is no gap."
        ),
    ]
    unread: Annotated[
        int,
        Meta(description="Messages of others above one's own read cursor; of the first 1,000 entries there, no more."),
    ]
    read: Annotated[Seq, Meta(description="One's own read cursor.")]
    delivered: Annotated[Seq, Meta(description="One's own delivered cursor.")]
    names: Annotated[
        dict[UUID, str],
        Meta(description="Member -> name; absent when there are more than 100 members: see `user.get`."),
    ] = msgspec.field(default_factory=dict)
    receipts: Annotated[
        list[Receipt], Meta(description="How far the others are; absent when there are more than 100 members.")
    ] = msgspec.field(default_factory=list)
    recent: Annotated[
        list[Entry], Meta(description="The last entries up to head, oldest first; as many as were asked for and exist.")
    ] = msgspec.field(default_factory=list)
    history: Annotated[History, Meta(description="What a newcomer sees of the past.")] = "all"
    owner: Annotated[UUID | None, Meta(description="Of a group: who may remove others.")] = None


class Conversations(Struct, frozen=True, omit_defaults=True):
    """One page of the conversations one is in."""

    conversations: Annotated[list[ConversationState], Meta(description="Last active first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


# --- Replies ----------------------------------------------------------------------------------------------------------


class Ok(Struct, frozen=True, tag_field="t", tag="ok"):
    """The one answer to a command that succeeded."""

    id: Id
    result: Annotated[Any, Meta(description="A map; which one depends on the command.")]


class Error(Struct, frozen=True, tag_field="t", tag="error", omit_defaults=True):
    """The one answer to a command that did not. ``id`` is null when the frame had none that could be read."""

    id: Annotated[int | None, Meta(description="The command's id; null when the frame had none that could be read.")]
    code: Annotated[str, Meta(description="Stable, for machines: see the table of errors.")]
    message: Annotated[str, Meta(description="For people, in English; may change.")]
    retry_after_ms: (
        Annotated[int, Meta(description="Of `rate_limited`: milliseconds until the same command would be accepted.")]
        | UnsetType
    ) = UNSET


# --- Events -----------------------------------------------------------------------------------------------------------


class Event(Struct, frozen=True, tag_field="t", kw_only=True, omit_defaults=True):
    """What the server tells by itself."""


class EntryEvent(Event, Entry, frozen=True, kw_only=True, omit_defaults=True, tag="entry", tag_field="t"):
    """A new entry of a log. Every connection sees each conversation's entries in seq order, without a gap."""


class ConversationEvent(
    ConversationState, Event, frozen=True, kw_only=True, omit_defaults=True, tag="conversation", tag_field="t"
):
    """A conversation that the client does not know, or knows from before an absence; precedes its first entry."""


class Progress(Event, frozen=True, tag="progress"):
    """A page of what was missed is through. A client that breaks off here may come back with this cursor and its
    heads, and goes on from here."""

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

    conversation: (
        Annotated[UUID, Meta(description="What to forget; absent: everything, the cursor too.")] | UnsetType
    ) = UNSET


class ReceiptEvent(Event, frozen=True, tag="receipt"):
    """Somebody's cursors rose. Comes for conversations of at most 100 members; one's own, for one's other devices,
    always."""

    conversation: Conversation
    user: Annotated[UUID, Meta(description="Whose cursors these are.")]
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached one of the person's devices.")]
    read: Annotated[Seq, Meta(description="The person has read everything up to here.")]


class TypingEvent(Event, frozen=True, tag="typing"):
    """Somebody is typing; shown for a few seconds."""

    conversation: Conversation
    user: Annotated[UUID, Meta(description="Who is typing.")]


class PresenceEvent(Event, frozen=True, tag="presence"):
    """Somebody came online or went offline (an absence under 10 seconds is not shown)."""

    user: Annotated[UUID, Meta(description="Who.")]
    state: Annotated[
        Literal["online", "offline"], Meta(description="What they are now, on all their devices together.")
    ]


AnyCommand = (
    Hello | Ping | AuthRenew | ConversationDirect | ConversationCreate | ConversationList | ConversationGet
    | ConversationAdd | ConversationRemove | ConversationLeave | MessageSend | MessageEdit | MessageDelete
    | MessageReact | MessageEdits | MessageReactions | HistoryGet | ReceiptMove | Typing | PresenceWatch | UserGet
)  # fmt: skip
# Commands that a conversation's log takes one by one: each is stored by a function of the database of its own.
AnyAction = ConversationAdd | ConversationRemove | ConversationLeave | MessageEdit | MessageDelete | MessageReact
AnyEvent = (
    EntryEvent
    | ConversationEvent
    | Progress
    | Synced
    | CursorEvent
    | Rewound
    | ReceiptEvent
    | TypingEvent
    | PresenceEvent
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
    MessageEdit: Appended,
    MessageDelete: Appended,
    MessageReact: Appended,
    MessageEdits: Versions,
    MessageReactions: Reactions,
    HistoryGet: HistoryPage,
    ReceiptMove: Cursors,
    Typing: Done,
    PresenceWatch: Online,
    UserGet: Users,
}  # what a command's ok carries; a test checks that no command is missing
