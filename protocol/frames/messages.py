"""Messages, what is done to them, and the past."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.content import Content, Entity, check, check_entities
from protocol.frames.entries import Entry
from protocol.frames.fields import NO_NUL, AtMs, Conversation, Cursor, Emoji, Key, MessageSeq, SentKey, Seq, Text


class MessageSend(Command, frozen=True, tag="message.send"):
    """Append one message to a conversation. Answered with :class:`Appended` once it is on disk."""

    conversation: Conversation
    key: SentKey
    text: Text = ""
    content: Annotated[Content | None, Meta(description="What the message is beside its text.")] = None

    def __post_init__(self) -> None:
        # By hand, for this is the hot path: two patterns cost 540 of 810 ns a message of 100 characters, this costs 70.
        text = self.text
        if "\0" in text or "\0" in self.key:
            name = "text" if "\0" in text else "key"
            raise ValueError(f"`{name}` must not hold U+0000 - at `$.{name}`")
        if self.content is not None or not text:
            check(text, self.content)


class MessageEdit(Command, frozen=True, tag="message.edit"):
    """Give a message of one's own another text, within the time that the server allows for it, with other entities and
    mentions; the rest of its content stays. What it said before is kept: see `message.edits`. Answered with
    :class:`Appended`: where the entry `message.edited` stands."""

    conversation: Conversation
    key: Key
    seq: MessageSeq
    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.TEXT_CHARS,
            pattern=NO_NUL,
            description="What it is to say. Its length is counted in code points, not bytes.",
        ),
    ]
    entities: Annotated[
        list[Entity], Meta(max_length=limits.ENTITIES, description="Parts of the text; they replace those it had.")
    ] = msgspec.field(default_factory=list)
    mention_all: Annotated[
        Literal["here", "all"] | None,
        Meta(description="Whom it mentions besides: who is here now, or everybody; null for nobody."),
    ] = None

    def __post_init__(self) -> None:
        check_entities(self.text, self.entities)


class MessageDelete(Command, frozen=True, tag="message.delete"):
    """Delete a message for everybody; its author may, and the owner and admins of the group. Its text, and that of its
    earlier versions, is erased; its place in the log stays. Deleting what is deleted changes nothing. Answered with
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


class Source(Struct, frozen=True):
    """A message, wherever it is."""

    conversation: Annotated[UUID, Meta(description="The conversation in which it was said.")]
    seq: MessageSeq


class MessageForward(Command, frozen=True, tag="message.forward"):
    """Send a copy of a message that one may see: its text, entities, media, place and contact, as a message of one's
    own that names who said it first. Answered with :class:`Appended`."""

    conversation: Annotated[UUID, Meta(description="The conversation to send it to.")]
    key: Key
    source: Annotated[Source, Meta(description="What to forward.")]


class MessagePin(Command, frozen=True, tag="message.pin"):
    """Pin a message for everybody, or take it down; in a direct conversation both may, in a group its owner. Answered
    with :class:`Appended`: where the entry `message.pinned` stands. When it is so already, nothing is stored, and the
    answer names the newest entry that changed the message (the message itself, if none did)."""

    conversation: Conversation
    key: Key
    seq: MessageSeq
    on: Annotated[bool, Meta(description="True to pin it, false to take it down.")] = True


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


class MessageReaders(Command, frozen=True, tag="message.readers"):
    """Who has received a message, and who of them has read it, page by page: members who have belonged since before it
    was sent, without its author. A page may be short, or empty, and not the last: its cursor says so. Answered with
    :class:`Readers`."""

    conversation: Conversation
    seq: MessageSeq
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before; null for the first. Not the cursor of `hello`.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.READERS_PAGE, description="At most so many people on the page.")] = 50


class HistoryGet(Command, frozen=True, tag="history"):
    """A page of the past, oldest first: what ends before *before* (or at the end), what begins behind *after*, or what
    stands around *around*, half of it before and half from there on; one of the three, no more. Answered with
    :class:`HistoryPage`."""

    conversation: Conversation
    before: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="Only entries with a smaller seq; null for the newest."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.HISTORY_ENTRIES, description="At most so many entries on the page.")] = (
        50
    )
    around: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="A place in the log, as a search or a reply names it: the page has what stands around it."),
    ] = None
    after: Annotated[
        Annotated[int, Meta(ge=0, le=limits.SEQ_MAX - 1)] | None,
        Meta(description="Only entries with a higher seq, the oldest of them: to go on behind a page."),
    ] = None


class Version(Struct, frozen=True, omit_defaults=True):
    """What a message said for a time."""

    seq: Annotated[Seq, Meta(description="The entry that made it say so: the message itself, or a `message.edited`.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]
    text: Annotated[str, Meta(description="What it said; absent once the message is deleted.")] | UnsetType = UNSET
    content: Annotated[Content, Meta(description="What it was beside its text.")] | UnsetType = UNSET


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


class MessageReader(Struct, frozen=True):
    """One person whom a message has reached."""

    user: Annotated[UUID, Meta(description="Who.")]
    read: Annotated[
        bool, Meta(description="Whether they have read it; never when they, or you, hide reading (`privacy.set`).")
    ]


class Readers(Struct, frozen=True, omit_defaults=True):
    """A page of those whom a message has reached. Who is not named has not received it."""

    readers: Annotated[list[MessageReader], Meta(description="By id.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class HistoryPage(Struct, frozen=True):
    """A page of the past. May hold fewer entries than were asked for: a page is at most 256 KiB."""

    entries: Annotated[list[Entry], Meta(description="Oldest first.")]
    more: Annotated[
        bool, Meta(description="Older entries exist that one may see: ask again, `before` the first of these.")
    ]
    newer: (
        Annotated[
            bool,
            Meta(
                description="Asked with `around` or `after`: newer entries exist that one may see: ask again, `after` "
                "the last of these."
            ),
        ]
        | UnsetType
    ) = UNSET
