"""What is set for all members of a conversation."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import Conversation, Key, Title, Topic


class ConversationTitle(Command, frozen=True, tag="conversation.title"):
    """Give a group another title; its owner and admins may (docs/roles.md). Answered with :class:`Appended`: where the
    entry `conversation.title` stands; when it has that title, nothing is stored, and the answer names the newest
    entry."""

    conversation: Conversation
    key: Key
    title: Title


class ConversationTopic(Command, frozen=True, tag="conversation.topic"):
    """Say what a group is about; its owner and admins may. Answered with :class:`Appended`, as
    `conversation.title` is."""

    conversation: Conversation
    key: Key
    topic: Annotated[Topic | None, Meta(description="What it is about; null for nothing.")] = None


class ConversationPhoto(Command, frozen=True, tag="conversation.photo"):
    """Give a group another photo; its owner and admins may. Every member may then fetch it. Answered with
    :class:`Appended`, as `conversation.title` is."""

    conversation: Conversation
    key: Key
    photo: Annotated[
        UUID | None, Meta(description="An upload of one's own, of kind `photo`, that is done; null for no photo.")
    ] = None


class ConversationSlowMode(Command, frozen=True, tag="conversation.slow_mode"):
    """Let plain members of a group write one message in so many seconds; its owner and admins may, and are not slowed
    themselves. What comes too early is answered with `slow_mode`. Answered with :class:`Appended`, as
    `conversation.title` is."""

    conversation: Conversation
    key: Key
    seconds: Annotated[
        int, Meta(ge=0, le=limits.SLOW_MODE_S, description="Between two messages of one member; 0: slow mode is off.")
    ]
