"""The product's bounds made small, so that a small world meets them; and a bug in the fan-out, now and then."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Final

import msgspec

from konnect_server import bus, commands, connection, conversation, receipts, session, walk, writer
from protocol import limits

CRASH: Final = "a simulated crash"

SMALL: Final[tuple[tuple[Any, str, object], ...]] = (  # module, name, small value
    (limits, "PAGE_BYTES", 8_192), (walk, "PAGE_BYTES", 4_096), (walk, "PAGE_ENTRIES", 5), (walk, "PAGE_ROWS", 2),
    (walk, "STATES_AT_ONCE", 2), (walk, "HELD_BYTES", 600),
    (walk, "RECEIPTS_AT_ONCE", 2), (walk, "GIVE_UP_S", 2.0),
    (conversation, "INBOX_LIMIT", 4), (conversation, "BATCH_LIMIT", 3),
    (writer, "BATCH_ROWS", 4), (writer, "CATCH_UP_ENTRIES", 2), (writer, "GIVE_UP_S", 1.0),
    (session, "READS_AT_ONCE", 1), (session, "READS_WAITING", 2), (session, "ANSWERS_WAITING", 2),
    (session, "LOW_WATER_BYTES", 2_048), (commands, "GIVE_UP_S", 1.0), (connection, "LOW_WATER_BYTES", 2_048),
    (receipts, "GIVE_UP_S", 1.0), (bus, "SLICE", 3), (bus, "ALONE_SLICE", 3), (bus, "LINEAGE_S", 3.0),
)  # fmt: skip


@contextmanager
def small_bounds() -> Iterator[None]:
    """Inside the block the bounds are small."""
    before = [(module, name, getattr(module, name)) for module, name, _ in SMALL]
    try:
        for module, name, value in SMALL:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextmanager
def overheard(listen: Callable[[Any, dict[str, Any]], None]) -> Iterator[None]:
    """Inside the block *listen* is told of what passes and is gone, where a session sends it: (session, event)."""
    send = connection.Connection.push_droppable

    def push_droppable(self: connection.Connection, data: bytes) -> None:
        length = data[1]
        listen(self._handler, msgspec.msgpack.decode(data[2 if length < 126 else 4 :]))
        send(self, data)

    connection.Connection.push_droppable = push_droppable  # type: ignore[method-assign]  # undone below
    try:
        yield
    finally:
        connection.Connection.push_droppable = send  # type: ignore[method-assign]  # as it was


@contextmanager
def crashes(rate: float, rng: Random, active: Callable[[], bool]) -> Iterator[None]:
    """Inside the block a share of the fan-outs, *rate*, breaks off in the middle while *active*. It must cost those who
    listen a reconnect, and no more (docs/hazards.md, A6)."""
    spread = conversation.Conversation._spread

    def broken(self: conversation.Conversation, frames: Sequence[bytes]) -> None:
        if active() and rng.random() < rate:
            for push in list(self._live.values())[::2]:
                push(b"".join(frames))
            raise RuntimeError(CRASH)
        spread(self, frames)

    if rate:
        conversation.Conversation._spread = broken  # type: ignore[method-assign]  # undone below
    try:
        yield
    finally:
        conversation.Conversation._spread = spread  # type: ignore[method-assign]  # as it was
