"""Commands that change what is one's own. All of one's devices are told by the event ``state``, before the answer.

Those of one socket are carried out in the order in which they came.
"""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, Conversation, Key, MessageSeq
from protocol.frames.states import Notify


class DraftSet(Command, frozen=True, tag="draft.set"):
    """Keep what one has begun to write in a conversation, in place of what was kept before. Answered with
    :class:`Done`."""

    conversation: Conversation
    key: Key
    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.TEXT_CHARS,
            pattern=NO_NUL,
            description="As far as it is written. Its length is counted in code points, not bytes.",
        ),
    ]
    reply_to: Annotated[MessageSeq | None, Meta(description="The message that it is to answer; null for none.")] = None


class DraftClear(Command, frozen=True, tag="draft.clear"):
    """Throw away what one has begun to write in a conversation. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key


class ConversationMute(Command, frozen=True, tag="conversation.mute"):
    """Mute a conversation for oneself, or let it be heard again. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    on: Annotated[bool, Meta(description="True to mute, false to hear it again.")] = True
    until_ms: Annotated[
        Annotated[int, Meta(ge=0, le=2**53 - 1)] | None,
        Meta(description="When the muting ends: Unix milliseconds (UTC); null: never."),
    ] = None


class ConversationArchive(Command, frozen=True, tag="conversation.archive"):
    """Put a conversation apart from one's others, or back among them. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    on: Annotated[bool, Meta(description="True to archive it, false to take it back.")] = True


class ConversationPin(Command, frozen=True, tag="conversation.pin"):
    """Pin a conversation above one's others, or let it go; at most 20 are pinned at once. Answered with
    :class:`Done`."""

    conversation: Conversation
    key: Key
    on: Annotated[bool, Meta(description="True to pin it, false to let it go.")] = True


class ConversationMarkUnread(Command, frozen=True, tag="conversation.mark_unread"):
    """Mark a conversation as unread for oneself, whatever the cursors say, or take the mark away. Answered with
    :class:`Done`."""

    conversation: Conversation
    key: Key
    on: Annotated[bool, Meta(description="True to mark it, false to take the mark away.")] = True


class ConversationNickname(Command, frozen=True, tag="conversation.nickname"):
    """Say what one calls a conversation, or a person in it; nobody else sees it. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARS, pattern=NO_NUL)] | None,
        Meta(description="What one calls it; null for its own name."),
    ] = None
    user: Annotated[
        UUID | None,
        Meta(description="A person who is or was a member, at most 100 of them; null for the conversation itself."),
    ] = None


class ConversationFolder(Command, frozen=True, tag="conversation.folder"):
    """Put a conversation into one of one's folders, or take it out. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    folder: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.FOLDER_CHARS, pattern=NO_NUL)] | None,
        Meta(description="The folder's name; null takes it out. A folder is there as long as something is in it."),
    ] = None


class ConversationNotify(Command, frozen=True, tag="conversation.notify"):
    """Say of which messages of a conversation one is to be notified. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    level: Annotated[Notify, Meta(description="All, those that mention oneself, or none.")]


class MessageHide(Command, frozen=True, tag="message.hide"):
    """Delete messages for oneself, for ever: they show on none of one's devices, and do not count as unread. Others see
    them as before. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    seqs: Annotated[
        list[MessageSeq],
        Meta(min_length=1, max_length=limits.HIDE_MESSAGES, description="Which messages; all that one may see."),
    ]
