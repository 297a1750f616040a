"""Messages that disappear."""

from typing import Annotated

from msgspec import Meta

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import Conversation, Key


class ConversationRetention(Command, frozen=True, tag="conversation.retention"):
    """Say how long messages are kept that are sent from now on; what was sent before stays as it is. Both people of a
    direct conversation may, and the owner of a group. Answered with :class:`Appended`: where the entry
    `conversation.retention` stands. When it is so already nothing is stored, and the answer names the newest entry."""

    conversation: Conversation
    key: Key
    seconds: Annotated[
        int,
        Meta(ge=0, le=limits.RETENTION_S, description="For so long a message is kept after its sending; 0: for ever."),
    ]
