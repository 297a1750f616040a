"""How far one is: the head of each conversation, and the newest cursor with the rows of one's own up to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from konnect_client.events import AnyEvent, ConversationChanged, CursorMoved, Rewound, StateChanged
from konnect_client.model import Entry

HELLO_HEADS: Final = 1_000  # conversations a hello may name


@dataclass(slots=True)
class Heads:
    """Conversation -> the highest seq up to which everything is here; and the server's opaque cursor.

    The conversations stand in the order of their last change, so that the most active ones can be named first.
    """

    seqs: dict[str, int] = field(default_factory=dict)
    cursor: str | None = None
    rows: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    """What is one's own: kind -> subject -> value. They stand here because the cursor speaks of them: what it says was
    told does not come again."""

    def note(self, event: AnyEvent) -> None:
        """Move as *event* says. Positions only rise, until a ``Rewound`` forgets them. Plain memory, O(1)."""
        match event:
            case Entry():
                self._raise(event.conversation, event.seq)
            case ConversationChanged():
                self._raise(event.conversation.id, event.conversation.head)
            case CursorMoved():
                self.cursor = event.cursor
            case Rewound(conversation=None):
                self.seqs.clear()
                self.rows.clear()
                self.cursor = None
            case StateChanged(what, subject, None):
                self.rows.get(what, {}).pop(subject, None)
            case StateChanged(what, subject, value) if value is not None:
                self.rows.setdefault(what, {})[subject] = value
            case Rewound(conversation=str(conversation)):
                self.seqs.pop(conversation, None)
            case _:
                pass

    def for_hello(self, limit: int = HELLO_HEADS) -> dict[str, int]:
        """What a hello says: the *limit* most recently active conversations.

        The others are forgotten here, for the server sends each of them as a new conversation.
        """
        for conversation in list(self.seqs)[: max(0, len(self.seqs) - limit)]:
            del self.seqs[conversation]
        return dict(self.seqs)

    def copy(self) -> "Heads":
        """An independent copy."""
        return Heads(dict(self.seqs), self.cursor, {what: dict(rows) for what, rows in self.rows.items()})

    def _raise(self, conversation: str, seq: int) -> None:
        self.seqs[conversation] = max(seq, self.seqs.pop(conversation, 0))  # pop: to the end of the order
