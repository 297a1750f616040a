"""What the application hears from the client, in the order in which it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konnect_client.model import Conversation, Entry


@dataclass(frozen=True, slots=True)
class ConversationChanged:
    """A conversation that is new here, or that is known from before an absence.

    ``previous_head`` is the position up to which its entries had come before, None when it was not known. Entries
    between it and ``conversation.head`` do not come by themselves (beyond ``conversation.recent``): read them with
    ``history`` where they are wanted.
    """

    conversation: Conversation
    previous_head: int | None


@dataclass(frozen=True, slots=True)
class ReceiptMoved:
    """Somebody's cursors in a conversation rose; repeats are possible and do no harm."""

    conversation: str
    user: str
    delivered: int
    read: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A row of one's own is now *value*; None: it is gone. Repeats are possible and do no harm; see
    :attr:`Client.personal`, which keeps all of them, over restarts too."""

    what: str  # "draft", "settings", "hidden", "thread" ...; newer servers may know more
    subject: str  # a conversation's id, or as the kind says
    value: Mapping[str, Any] | None  # as it came


@dataclass(frozen=True, slots=True)
class TypingSeen:
    """Somebody is typing or recording, or (not ``on``) has stopped; show it for 6 seconds."""

    conversation: str
    user: str
    what: str = "text"  # or "voice", "media"
    on: bool = True


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Somebody came online or went offline."""

    user: str
    online: bool
    last_seen_ms: int | None = None  # of who is offline, in whole minutes, where it is told


@dataclass(frozen=True, slots=True)
class Synced:
    """The application has everything; what follows is live. Comes once per connection."""


@dataclass(frozen=True, slots=True)
class Rewound:
    """The server's database was restored from an older copy: forget *conversation*, or everything when it is None.

    What follows starts afresh. Messages that were not acknowledged are repeated as ever.
    """

    conversation: str | None


@dataclass(frozen=True, slots=True)
class Violation:
    """The server broke the protocol; the client opens a new connection and goes on from what it has."""

    message: str


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """Internal: a newer cursor to keep. The application does not see it."""

    cursor: str


Event = (
    Entry | ConversationChanged | ReceiptMoved | StateChanged | TypingSeen | PresenceChanged | Synced | Rewound
    | Violation
)  # what the application sees
AnyEvent = Event | CursorMoved
