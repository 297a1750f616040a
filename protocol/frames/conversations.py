"""Conversations and who is in them."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command, Event
from protocol.frames.entries import Entry
from protocol.frames.fields import Conversation, Cursor, History, Key, Kind, Seq, Tag, Title, Topic
from protocol.frames.receipts import Receipt


class ConversationDirect(Command, frozen=True, tag="conversation.direct"):
    """Open the one conversation of oneself and *user*, made on first use. Answered with :class:`Opened`."""

    user: Annotated[UUID, Meta(description="The other person.")]


class ConversationCreate(Command, frozen=True, tag="conversation.create"):
    """Create a group, a room or a channel with oneself as owner. Answered with :class:`Opened`."""

    key: Key
    title: Title
    members: Annotated[
        list[UUID], Meta(max_length=limits.CREATE_MEMBERS, description="Besides oneself; repeats are counted once.")
    ]
    kind: Annotated[
        Literal["group", "room", "channel"],
        Meta(
            description="A group, by invitation only; a room, which everybody may join; or a channel, in which its "
            "owner and admins write, and the others read."
        ),
    ] = "group"
    history: Annotated[
        History, Meta(description="What a newcomer sees of the past: all of it, or only what comes from joining on.")
    ] = "all"
    topic: Annotated[Topic | None, Meta(description="What it is about.")] = None
    tags: Annotated[list[Tag], Meta(max_length=limits.TAGS, description="Interests.")] = (
        msgspec.field(default_factory=list)
    )
    public: Annotated[
        bool, Meta(description="Of a channel: everybody may join. A room always is, a group never.")
    ] = False

    def __post_init__(self) -> None:
        if self.kind == "group" and self.public:
            raise ValueError("a group is by invitation only - at `$.public`")


class ConversationList(Command, frozen=True, tag="conversation.list"):
    """One page of one's conversations, last active first: whatever its last entry is, an answer in a thread, too, but
    for what disappears. Answered with :class:`Conversations`. `recent` is the last entry of each; where a list should
    show another one, that is told beside, in `last_messages`."""

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
    """Add *user* to a group; any member may, unless the person is banned. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whom to add.")]


class ConversationRemove(Command, frozen=True, tag="conversation.remove"):
    """Remove *user* from a group; its owner and admins may, and nobody removes the owner. Answered with
    :class:`Appended`."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whom to remove.")]


class ConversationLeave(Command, frozen=True, tag="conversation.leave"):
    """Leave a group. An owner who leaves hands it over: to its longest-standing admin, else to its longest-standing
    member; the entry says to whom. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key


class Opened(Struct, frozen=True):
    """The conversation's id. Its event ``conversation`` came before this answer."""

    conversation: Conversation


class ConversationState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation as one of its members sees it, after entry ``head``. Entries above ``head`` come as ``entry``;
    they may repeat what the state already shows, and applying them again changes nothing."""

    conversation: Conversation
    kind: Annotated[Kind, Meta(description="Two people for ever, a group, a room, or a channel.")]
    title: Annotated[str | None, Meta(description="Of a group; null for a direct conversation.")]
    members: Annotated[
        list[UUID],
        Meta(description="Who belongs now, in the order of joining; of a room or a channel nobody is listed."),
    ]
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
        Meta(
            description="Messages of others above one's own read cursor that are not deleted; of the first 1,000 "
            "entries there, no more."
        ),
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
    retention_s: Annotated[
        int | None, Meta(description="How many seconds new messages are kept; absent: for ever.")
    ] = None
    pins: Annotated[
        list[int], Meta(description="The messages that are pinned, of those that one may see, by seq; at most 50.")
    ] = msgspec.field(default_factory=list)
    owner: Annotated[UUID | None, Meta(description="Of a group: whose it is.")] = None
    admins: Annotated[
        list[UUID],
        Meta(description="Of a group: its admins, without the owner, in the order of their ids; at most 50."),
    ] = []
    topic: Annotated[str | None, Meta(description="Of a group: what it is about.")] = None
    photo: Annotated[UUID | None, Meta(description="Of a group: the medium that is its photo.")] = None
    slow_mode_s: Annotated[
        int, Meta(description="Of a group: seconds between two messages of a plain member; 0: no matter.")
    ] = 0
    tags: Annotated[list[str], Meta(description="Interests.")] = []
    public: Annotated[bool, Meta(description="Everybody may join.")] = False
    member_count: Annotated[int, Meta(description="Of a room or a channel: how many belong now.")] = 0
    closed: Annotated[
        bool,
        Meta(
            description="Of a direct conversation: nobody may write in it now. The other's `receipts` are left out, "
            "and typing is not told."
        ),
    ] = False


class Conversations(Struct, frozen=True, omit_defaults=True):
    """One page of the conversations one is in."""

    conversations: Annotated[list[ConversationState], Meta(description="Last active first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
    last_messages: Annotated[
        list[Entry],
        Meta(
            description="What to show in a list of each of those whose last entry is another kind of entry, an answer "
            "in a thread, or hidden by oneself: the last message that is none of these, if it is among their last 100 "
            "entries."
        ),
    ] = msgspec.field(default_factory=list)


class ConversationEvent(
    ConversationState, Event, frozen=True, kw_only=True, omit_defaults=True, tag="conversation", tag_field="t"
):
    """A conversation that the client does not know, or knows from before an absence; precedes its first entry."""
