"""Who is there, and who is typing."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command, Event
from protocol.frames.fields import Conversation


class Typing(Command, frozen=True, tag="typing"):
    """Tell the others that one is typing now. Not stored, may be lost. Answered with :class:`Done`."""

    conversation: Conversation


class PresenceWatch(Command, frozen=True, tag="presence.watch"):
    """Hear of these people's presence on this connection, besides one's direct partners; replaces the watch before.
    Either *users* or *conversation* (its members now). Neither ends the watch. Answered with :class:`Online`."""

    users: Annotated[list[UUID], Meta(max_length=limits.WATCH_USERS, description="Whom to watch.")] = msgspec.field(
        default_factory=list
    )
    conversation: Annotated[
        UUID | None,
        Meta(description="Whose members to watch; of a room or a channel nobody. Not together with `users`."),
    ] = None


class Online(Struct, frozen=True):
    """Who of the watched is online now."""

    online: Annotated[list[UUID], Meta(description="Those of the watched who are online; the others are not.")]


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
