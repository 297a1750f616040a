"""How far people are in a conversation."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol.frames.base import Command, Event
from protocol.frames.fields import Conversation, Seq


class ReceiptMove(Command, frozen=True, tag="receipt"):
    """Raise one's cursors in a conversation: what was delivered, what was read. They never fall, and are clamped to
    what exists and may be seen. Read implies delivered. Answered with :class:`Cursors` once stored (within about a
    second)."""

    conversation: Conversation
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached this person's devices.")] = 0
    read: Annotated[Seq, Meta(description="Everything up to here has been read.")] = 0


class Receipt(Struct, frozen=True):
    """How far one member is: both cursors only rise."""

    user: Annotated[UUID, Meta(description="Whose cursors these are.")]
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached one of the person's devices.")]
    read: Annotated[Seq, Meta(description="The person has read everything up to here.")]


class Cursors(Struct, frozen=True):
    """One's cursors after the move."""

    delivered: Annotated[Seq, Meta(description="What the server now holds as delivered.")]
    read: Annotated[Seq, Meta(description="What the server now holds as read.")]


class ReceiptEvent(Event, frozen=True, tag="receipt"):
    """Somebody's cursors rose. Comes for conversations of at most 100 members; one's own, for one's other devices,
    always."""

    conversation: Conversation
    user: Annotated[UUID, Meta(description="Whose cursors these are.")]
    delivered: Annotated[Seq, Meta(description="Everything up to here has reached one of the person's devices.")]
    read: Annotated[Seq, Meta(description="The person has read everything up to here.")]
