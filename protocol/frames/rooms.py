"""Rooms and channels that everybody may join."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, Conversation, Cursor, Key, Tag
from protocol.frames.members import Member


class RoomJoin(Command, frozen=True, tag="room.join"):
    """Become a member of a room, or of a public channel; everybody may who is not banned from it. Its event
    `conversation` comes before the answer. Answered with :class:`Appended`: where the entry `member.added` stands."""

    conversation: Conversation
    key: Key


class RoomLeave(Command, frozen=True, tag="room.leave"):
    """Leave a room or a channel, as `conversation.leave`. An empty room stays, and opens again when somebody joins; it
    waits for its owner. Answered with :class:`Appended`: where the entry `member.removed` stands."""

    conversation: Conversation
    key: Key


class RoomList(Command, frozen=True, tag="room.list"):
    """Rooms and channels that everybody may join, page by page: those first that share most of *tags*, and among equals
    the last active. What becomes active between two pages moves up, and may be told by neither. Answered with
    :class:`Rooms`."""

    query: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.QUERY_CHARS, pattern=NO_NUL)] | None,
        Meta(description="Words: each begins a word of title, topic or tags. Null for all."),
    ] = None
    tags: Annotated[
        list[Tag], Meta(max_length=limits.TAGS, description="One's own interests, in whatever case.")
    ] = msgspec.field(default_factory=list)
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before, with the same *query* and *tags*; null for the first.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.ROOMS_PAGE, description="At most so many rooms on the page.")] = 50


class RoomOnline(Command, frozen=True, tag="room.online"):
    """Who of a conversation's members is connected now, to any process, and lets one see it (`privacy.set`), in order
    of joining, page by page; its members may ask. A page may hold fewer than *limit*, and even nobody, and others
    follow. Answered with :class:`MembersOnline`."""

    conversation: Conversation
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.MEMBERS_PAGE, description="At most so many people on the page.")] = 50


class Room(Struct, frozen=True, omit_defaults=True):
    """A public conversation, as one who is not in it sees it."""

    conversation: Conversation
    kind: Annotated[Literal["room", "channel"], Meta(description="A room, or a channel.")]
    title: Annotated[str, Meta(description="What it is called.")]
    member_count: Annotated[int, Meta(description="How many belong now.")]
    online: Annotated[
        int,
        Meta(
            description="How many of them are connected now, some seconds old, also those who let nobody see it; "
            "who is connected to two processes counts twice."
        ),
    ]
    joined: Annotated[bool, Meta(description="Whether one is a member.")]
    topic: Annotated[str, Meta(description="What it is about; absent: nothing was said.")] | UnsetType = UNSET
    tags: Annotated[list[str], Meta(description="Interests.")] = []
    photo: Annotated[UUID, Meta(description="The medium that is its photo; absent: none.")] | UnsetType = UNSET


class Rooms(Struct, frozen=True, omit_defaults=True):
    """A page of the public conversations."""

    rooms: Annotated[list[Room], Meta(description="Those first that share most interests, then by activity.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class MembersOnline(Struct, frozen=True, omit_defaults=True):
    """A page of the members who are connected now."""

    members: Annotated[list[Member], Meta(description="In order of joining.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
