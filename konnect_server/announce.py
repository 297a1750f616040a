"""The event that tells a client of a conversation, and the entries that are to follow it."""

from typing import Any

import msgspec

from protocol.frames import ConversationEvent
from storage.rows import Range, State, shown


def present(state: State, joining: bool) -> tuple[ConversationEvent, Range | None]:
    """A conversation that the client does not know.

    Args:
        state: As the person sees it.
        joining: The client is up to date but for this: what happened from joining on follows, entry by entry. Otherwise
            the event stands for the past, which is read as history; of a membership that has ended, the end follows.
    """
    if joining:
        return as_of(state, state.joined - 1, state.first_seq), Range(state.conversation, state.joined, state.head)
    if state.until is None:
        return _event(state), None
    recent = [entry for entry in state.recent if entry.seq < state.until]
    return (
        _event(state, head=state.until - 1, recent=recent),
        Range(state.conversation, state.until, state.until),
    )


def as_of(state: State, head: int, first_seq: int) -> ConversationEvent:
    """A stretch of entries begins after *head*. Nothing of it is unread: the past is no news, and what follows as
    entries must not be counted here too."""
    return _event(state, head=head, recent=[], unread=0, first_seq=first_seq)


def _event(state: State, **changes: Any) -> ConversationEvent:
    return shown(msgspec.structs.replace(state, **changes) if changes else state, ConversationEvent)
