"""Messages that are sent later, as storage takes and gives them."""

from typing import ClassVar, Final
from uuid import UUID

from msgspec import Struct

from protocol.errors import (
    ConversationClosed,
    Invalid,
    KeyReused,
    NotAMember,
    Refused,
    TooLate,
    TooManyScheduled,
    UnknownScheduled,
)
from storage import media


class SendScheduled(Struct, frozen=True):
    """The server's own action: send a scheduled message of its author's, whose time has come. No client can give it."""

    conversation: UUID
    scheduled: UUID
    id: ClassVar[int] = 0  # as commands have it

    @property
    def key(self) -> str:
        """Of the message that it becomes."""
        return f"scheduled:{self.scheduled}"


NOBODY: Final = UUID(int=0)  # who does what the server does by itself


class ExpireMessages(Struct, frozen=True):
    """The server's own action: blank what has come to its end in a conversation. No client can give it."""

    conversation: UUID
    id: ClassVar[int] = 0  # as commands have it
    key: ClassVar[str] = ""  # a new one for each entry, made by the database


class Filed(Struct, frozen=True):
    """A message that waits for its time. ``number``: up to which a device has to be told to know of it."""

    scheduled: UUID
    at_ms: int
    number: int


class DueMessage(Struct, frozen=True):
    """A scheduled message that this process is to send now."""

    scheduled: UUID
    author: UUID
    conversation: UUID


class Due(Struct, frozen=True):
    """What a process has taken to do now."""

    scheduled: list[DueMessage] = []
    expired: list[UUID] = []  # conversations where messages have come to their end
    in_ms: int | None = None  # until something is due next; None: nothing waits


def refusal(
    code: str, author: UUID, conversation: UUID, key: str, scheduled: UUID | None = None, missing: UUID | None = None
) -> Refused:
    """What the *code* that a function about scheduled messages answered with stands for; *missing*: what is not
    there."""
    match code:
        case "not_a_member":
            return NotAMember(author, conversation)
        case "key_reused":
            return KeyReused(key)
        case "conversation_closed":
            return ConversationClosed("you two may not write to each other now")
        case "too_far_ahead":
            return Invalid("the time is more than a hundred years ahead - at `$.at_ms`")
        case "too_many_scheduled":
            return TooManyScheduled("as many of your messages wait in this conversation as may")
        case "unknown_scheduled":
            return UnknownScheduled(f"you have no scheduled message {scheduled}")
        case "too_late":
            return TooLate("the message was sent")
    if (problem := media.refusal(code, missing)) is not None:
        return problem
    raise AssertionError(f"the database answered {code!r}")
