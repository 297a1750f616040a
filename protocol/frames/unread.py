"""What is unread, over all one's conversations."""

from typing import Annotated

from msgspec import Meta, Struct

from protocol.frames.base import Command


class UnreadGet(Command, frozen=True, tag="unread.get"):
    """How much is unread over all one's conversations: what a badge shows. Answered with :class:`Unread`."""


class Unread(Struct, frozen=True):
    """The badge."""

    messages: Annotated[
        int,
        Meta(
            ge=0,
            description="Messages of others above one's read cursors that are not deleted; of each conversation as its "
            "`unread` counts them, of all together never more than 1,000 (show that as 999+).",
        ),
    ]
    conversations: Annotated[int, Meta(ge=0, description="Conversations with at least one such message, all of them.")]
