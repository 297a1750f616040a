"""Who is there, and who is typing."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command, Event
from protocol.frames.fields import Conversation

_LAST_SEEN = "Of who is offline, where it is known: when they were last here; Unix milliseconds (UTC), whole minutes."
What = Literal["text", "voice", "media"]
_WHAT = "What one is doing: writing, recording a voice note, sending a photo or a video."


class Typing(Command, frozen=True, tag="typing"):
    """Tell the others that one is typing or recording now, or has stopped. Not stored, may be lost; told only in
    conversations of at most 100 members, and not by who hides it (`privacy.set`). Answered with :class:`Done`."""

    conversation: Conversation
    what: Annotated[What, Meta(description=_WHAT)] = "text"
    on: Annotated[bool, Meta(description="False: one has stopped.")] = True


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


class PresenceGet(Command, frozen=True, tag="presence.get"):
    """Who of these people is online, and when the others last were. Who may not be seen is left out: one sees whom one
    shares a conversation with, as far as the switches of both allow (`privacy.set`). Answered with
    :class:`Presences`."""

    users: Annotated[list[UUID], Meta(min_length=1, max_length=limits.LOOKUP_USERS, description="Whom to look for.")]


class PersonPresence(Struct, frozen=True, omit_defaults=True):
    """One person's presence."""

    user: Annotated[UUID, Meta(description="Who.")]
    state: Annotated[Literal["online", "offline"], Meta(description="What they are now, on all devices together.")]
    last_seen_ms: Annotated[int, Meta(description=_LAST_SEEN)] | UnsetType = UNSET


class Presences(Struct, frozen=True):
    """Those of the people asked for who may be seen."""

    people: Annotated[list[PersonPresence], Meta(description="In the order of asking.")]


class Online(Struct, frozen=True, omit_defaults=True):
    """Who of the watched is online now. Who may not be seen is not watched."""

    online: Annotated[list[UUID], Meta(description="Those of the watched who are online; the others are not.")]
    last_seen_ms: Annotated[
        dict[UUID, int], Meta(description="Of those who are not, where it is known: when last, in whole minutes.")
    ] = msgspec.field(default_factory=dict)


class TypingEvent(Event, frozen=True, tag="typing"):
    """Somebody is typing or recording: show it for 6 seconds, unless it is told again or ends before."""

    conversation: Conversation
    user: Annotated[UUID, Meta(description="Who is typing.")]
    what: Annotated[What, Meta(description=_WHAT)] = "text"
    on: Annotated[bool, Meta(description="False: they have stopped.")] = True


class PresenceEvent(Event, frozen=True, tag="presence"):
    """Somebody came online or went offline (an absence under 10 seconds is not shown)."""

    user: Annotated[UUID, Meta(description="Who.")]
    state: Annotated[
        Literal["online", "offline"], Meta(description="What they are now, on all their devices together.")
    ]
    last_seen_ms: Annotated[int, Meta(description=_LAST_SEEN)] | UnsetType = UNSET
