"""A log's entries."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.frames.base import Event
from protocol.frames.content import Content
from protocol.frames.fields import AtMs, Conversation, EntryKind, Seq
from protocol.frames.polls import Poll
from protocol.frames.replies import Replies, ThreadNow


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
    author: Annotated[
        UUID,
        Meta(
            description="Who did it; of `messages.expired`, `conversation.closed` and `conversation.opened` nobody: "
            "the nil UUID."
        ),
    ]
    key: Annotated[str, Meta(description="The key that its author gave it.")]
    at_ms: Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]
    text: (
        Annotated[str, Meta(description="Of `message` and `message.edited`: what is said; absent once it is deleted.")]
        | UnsetType
    ) = UNSET
    content: (
        Annotated[
            Content,
            Meta(description="Of `message` and `message.edited`: what the message is beside its text; absent of plain "
                 "text, and once it is deleted, but for its `thread`."),
        ]
        | UnsetType
    ) = UNSET
    user: Annotated[UUID, Meta(description="Of `member.` entries: who.")] | UnsetType = UNSET
    title: (
        Annotated[str, Meta(description="Of `created` and `conversation.title`: the group's title.")] | UnsetType
    ) = UNSET
    members: (
        Annotated[list[UUID], Meta(description="Of `created`: the first members, the one who created it first.")]
        | UnsetType
    ) = UNSET
    of: (
        Annotated[int, Meta(description="Of an entry that changes a message, `message.edited` and so on: which one.")]
        | UnsetType
    ) = UNSET
    emoji: Annotated[str, Meta(description="Of `message.reacted`: with what.")] | UnsetType = UNSET
    on: (
        Annotated[
            bool,
            Meta(
                description="Of `message.reacted`: whether the author now reacts so. Of `message.pinned`: whether the "
                "message is pinned now."
            ),
        ]
        | UnsetType
    ) = UNSET
    count: (
        Annotated[
            int,
            Meta(
                description="Of `message.reacted`: how many people react so after it; 0 for nobody. Of `member.added`, "
                "`member.removed` and `member.banned` in a room or a channel: how many members it then has."
            ),
        ]
        | UnsetType
    ) = UNSET
    users: (
        Annotated[list[UUID], Meta(description="Of `message.reacted`: the first 5 of them, in the order of reacting.")]
        | UnsetType
    ) = UNSET
    messages: (
        Annotated[list[int], Meta(description="Of `messages.expired`: which messages have disappeared; at most 100.")]
        | UnsetType
    ) = UNSET
    retention_s: (
        Annotated[
            int,
            Meta(
                description="Of `conversation.retention`: how many seconds messages are kept that are sent after it; "
                "absent: for ever."
            ),
        ]
        | UnsetType
    ) = UNSET
    expires_at_ms: (
        Annotated[
            AtMs,
            Meta(
                description="Of `message`: when it disappears. Hide it then; the `messages.expired` that blanks it for "
                "good comes a moment later."
            ),
        ]
        | UnsetType
    ) = UNSET
    poll: Annotated[Poll, Meta(description="Of `message`: what it asks, and how people chose.")] | UnsetType = UNSET
    counts: (
        Annotated[list[int], Meta(description="Of `poll.voted`: how many then have chosen each option.")] | UnsetType
    ) = UNSET
    voters: Annotated[int, Meta(description="Of `poll.voted`: how many people then have chosen.")] | UnsetType = UNSET
    options: (
        Annotated[
            list[int],
            Meta(
                description="Of `poll.voted`: what its author chose now; absent in an anonymous poll, where its author "
                "is nobody, the nil UUID."
            ),
        ]
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
    pinned: Annotated[bool, Meta(description="Of `message`: it is pinned.")] = False
    replies: (
        Annotated[
            Replies, Meta(description="Of `message`: what is in its thread; absent without, and once it is deleted.")
        ]
        | UnsetType
    ) = UNSET
    threads: Annotated[
        list[ThreadNow],
        Meta(
            description="Of a `message` in a thread, of `message.deleted` and `messages.expired`: the roots that it "
            "changes, and what they show after it; at most 100. Roots that are deleted show nothing, and are left out."
        ),
    ] = []
    changed: (
        Annotated[
            int,
            Meta(
                description="Of `message`: the newest entry that changed it, by an edit, a deletion, a reaction, a "
                "pin or its thread: this is how it stands after that entry. Absent if there is none. Of two copies the "
                "one with the higher is newer."
            ),
        ]
        | UnsetType
    ) = UNSET
    # members and what they may set
    role: Annotated[str, Meta(description="Of `member.role`: `admin` or `member`.")] | UnsetType = UNSET
    owner: (
        Annotated[
            UUID,
            Meta(
                description="Of `conversation.owner`: the new owner; its author is an admin from then on. Of "
                "`member.removed`, when it was the owner who left: whose it is then; absent: nobody's."
            ),
        ]
        | UnsetType
    ) = UNSET
    reason: Annotated[str, Meta(description="Of `member.banned`: why; absent when nothing was said.")] | UnsetType = (
        UNSET
    )
    until_ms: (
        Annotated[int, Meta(description="Of `member.banned`: until when, Unix milliseconds (UTC); absent: for ever.")]
        | UnsetType
    ) = UNSET
    topic: (
        Annotated[str, Meta(description="Of `created` and `conversation.topic`: what it is about; absent: nothing.")]
        | UnsetType
    ) = UNSET
    tags: Annotated[list[str], Meta(description="Of `created`: interests; absent: none.")] | UnsetType = UNSET
    photo: (
        Annotated[UUID, Meta(description="Of `conversation.photo`: the medium; absent: no photo.")] | UnsetType
    ) = UNSET
    seconds: (
        Annotated[
            int,
            Meta(description="Of `conversation.slow_mode`: between two messages of one member; 0: slow mode is off."),
        ]
        | UnsetType
    ) = UNSET


class EntryEvent(Event, Entry, frozen=True, kw_only=True, omit_defaults=True, tag="entry", tag_field="t"):
    """A new entry of a log. Every connection sees each conversation's entries in seq order, without a gap."""


class Appended(Struct, frozen=True):
    """Where the entry stands. It is on disk."""

    seq: Annotated[Seq, Meta(description="The entry's number in its conversation.")]
    at_ms: Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]
