"""Messages that are sent later, by themselves."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.content import Content, check
from protocol.frames.fields import NO_NUL, Conversation, Cursor, Key

SaidText = Annotated[str, Meta(max_length=limits.TEXT_CHARS, pattern=NO_NUL)]
ScheduledId = Annotated[UUID, Meta(description="The scheduled message's id.")]
SendAtMs = Annotated[
    int,
    Meta(
        ge=0, le=limits.SEQ_MAX, description="When it is to be sent: Unix milliseconds (UTC), by the database's clock."
    ),
]


class MessageSchedule(Command, frozen=True, tag="message.schedule"):
    """Send a message later: once, whatever is restarted meanwhile. Whether its author is a member is looked at now and
    when it is sent. A time that has passed is now. Answered with :class:`Scheduled`; when its time has come it is an
    ordinary message, whose key is `scheduled:` and its id. Until then all of one's devices hold it as a row of one's
    own (`state`, `scheduled`)."""

    conversation: Conversation
    key: Key
    at_ms: SendAtMs
    text: Annotated[SaidText, Meta(description="May be left out beside media, a location or a contact.")] = ""
    content: Annotated[
        Content | None, Meta(description="What the message is beside its text. Media are kept for it until then.")
    ] = None

    def __post_init__(self) -> None:
        check(self.text, self.content)


class MessageUnschedule(Command, frozen=True, tag="message.unschedule"):
    """Take a scheduled message of one's own back, or forget that it failed. It is gone for ever, so a repeat needs no
    key. Answered with :class:`Done`."""

    scheduled: ScheduledId


class MessageScheduled(Command, frozen=True, tag="message.scheduled"):
    """One's own messages that wait for their time, and those that could not be sent, by their time, page by page.
    Answered with :class:`ScheduledPage`."""

    conversation: Annotated[
        UUID | None, Meta(description="Only of this conversation; null for all.")
    ] = None
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before; null for the first. Not the cursor of `hello`.")
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=limits.SCHEDULED_PAGE, description="At most so many messages on the page.")
    ] = 50


class Scheduled(Struct, frozen=True):
    """A message that waits for its time. It is on disk."""

    scheduled: ScheduledId
    at_ms: SendAtMs


class LaterMessage(Struct, frozen=True, omit_defaults=True):
    """A message that waits for its time, or could not be sent, under the id that its row names."""

    conversation: Conversation
    at_ms: SendAtMs
    text: Annotated[str, Meta(description="The message.")] = ""
    content: Annotated[Content, Meta(description="What it is beside its text.")] | UnsetType = UNSET
    problem: Annotated[
        str | None,
        Meta(
            description="Why it could not be sent, and will not be: the code of an error, such as `not_a_member`. "
            "Absent while it waits."
        ),
    ] = None


class ScheduledMessage(LaterMessage, frozen=True, kw_only=True, omit_defaults=True):
    """The same, and its id."""

    scheduled: ScheduledId


class ScheduledPage(Struct, frozen=True, omit_defaults=True):
    """A page of one's scheduled messages. At most 256 KiB."""

    scheduled: Annotated[list[ScheduledMessage], Meta(description="By their time, the nearest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
