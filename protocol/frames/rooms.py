"""Rooms and channels that everybody may join."""

from protocol.frames.base import Command
from protocol.frames.fields import Conversation, Key


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
