"""What others may know of oneself: switches of a person."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.frames.base import Command
from protocol.frames.fields import Key

LastSeen = Literal["everyone", "contacts", "nobody"]
_READ_RECEIPTS = (
    "Whether others see how far one has read; off, one does not see it of them either. What was delivered is shown all "
    "the same."
)
_LAST_SEEN = (
    "Who sees whether one is online, and when one was last: everyone one shares a conversation with, one's contacts "
    "(now: who has a direct conversation with one), nobody. One sees of others what they see of oneself."
)
_TYPING = "Whether others see that one is typing; off, one does not see it of them either."


class PrivacySet(Command, frozen=True, tag="privacy.set"):
    """Turn switches of one's privacy. Answered with :class:`Done`. One's devices hear of it by the event ``state``.
    Others keep what they were told before, and are told no more."""

    key: Key
    read_receipts: Annotated[bool | None, Meta(description=f"{_READ_RECEIPTS} Null: as it is.")] = None
    last_seen: Annotated[LastSeen | None, Meta(description=f"{_LAST_SEEN} Null: as it is.")] = None
    typing: Annotated[bool | None, Meta(description=f"{_TYPING} Null: as it is.")] = None


class PrivacyGet(Command, frozen=True, tag="privacy.get"):
    """How one's switches stand. Answered with :class:`Privacy`."""


class Privacy(Struct, frozen=True):
    """One's switches."""

    read_receipts: Annotated[bool, Meta(description=_READ_RECEIPTS)] = True
    last_seen: Annotated[LastSeen, Meta(description=_LAST_SEEN)] = "everyone"
    typing: Annotated[bool, Meta(description=_TYPING)] = True
