"""What each frame of the server means for what is known here: new, seen already, or not allowed.

Repeats are dropped by the contiguous head of their conversation (``seq <= head``), never by the highest seq seen: an
acknowledgement may name a seq whose predecessors are still on their way, so it moves no head. An entry that skips one
is a violation of the protocol: the head stays, and a new connection asks again from there.
"""

from typing import Any

from konnect_client.errors import ProtocolViolation
from konnect_client.events import (
    AnyEvent,
    ConversationChanged,
    CursorMoved,
    PresenceChanged,
    ReceiptMoved,
    Rewound,
    StateChanged,
    Synced,
    TypingSeen,
)
from konnect_client.heads import Heads
from konnect_client.model import Conversation, Entry, take, take_maybe, take_or, take_seq
from konnect_client.personal import take_value

Frame = dict[str, Any]


class Timeline:
    """Turns the server's event frames into events for the application, each exactly once."""

    def __init__(self, heads: Heads) -> None:
        self.heads = heads

    def apply(self, frame: Frame) -> tuple[AnyEvent, ...]:
        """What *frame* tells that was not known; nothing for a repeat, or for an event of a newer protocol.

        Raises:
            ProtocolViolation: A gap, an entry of a conversation that was not announced, or a malformed frame.
                Nothing was applied.
        """
        events = self._read(frame)
        for event in events:
            self.heads.note(event)
        return events

    def _read(self, frame: Frame) -> tuple[AnyEvent, ...]:
        match frame["t"]:
            case "entry":
                return self._entry(Entry.parse(frame))
            case "conversation":
                conversation = Conversation.parse(frame)
                return (ConversationChanged(conversation, self.heads.seqs.get(conversation.id)),)
            case "progress" | "cursor":
                return (CursorMoved(take(frame, "cursor", str)),)
            case "synced":
                return (CursorMoved(take(frame, "cursor", str)), Synced())
            case "rewound":
                return (Rewound(take_maybe(frame, "conversation", str)),)
            case "receipt":
                return (
                    ReceiptMoved(
                        take(frame, "conversation", str), take(frame, "user", str),
                        take_seq(frame, "delivered"), take_seq(frame, "read"),
                    ),
                )  # fmt: skip
            case "state":
                what = take(frame, "what", str)
                return (StateChanged(what, take(frame, "subject", str), take_value(frame, what)),)
            case "typing":
                return (
                    TypingSeen(
                        take(frame, "conversation", str), take(frame, "user", str),
                        take_or(frame, "what", str, "text"), take_or(frame, "on", bool, True),
                    ),
                )  # fmt: skip
            case "presence":
                return (
                    PresenceChanged(
                        take(frame, "user", str), _is_online(take(frame, "state", str)),
                        take_maybe(frame, "last_seen_ms", int),
                    ),
                )  # fmt: skip
            case _:
                return ()

    def _entry(self, entry: Entry) -> tuple[AnyEvent, ...]:
        head = self.heads.seqs.get(entry.conversation)
        if head is None:
            raise ProtocolViolation(f"entry {entry.seq} of conversation {entry.conversation}, which was not announced")
        if entry.seq <= head:
            return ()
        if entry.seq > head + 1:
            raise ProtocolViolation(f"entry {entry.seq} of conversation {entry.conversation} came after {head}: a gap")
        return (entry,)


def _is_online(state: str) -> bool:
    if state not in ("online", "offline"):
        raise ProtocolViolation(f"presence is {state!r}, neither online nor offline")
    return state == "online"
