"""Signing in on a socket and being brought up to date."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command, Event
from protocol.frames.fields import Cursor, Device, IdText, Seq, Token


class Hello(Command, frozen=True, tag="hello"):
    """Sign in on this socket and be brought up to date. Must come first, within 10 seconds. Answered with
    :class:`Welcome`; then what was missed, as events; then :class:`Synced`; then live events."""

    token: Token
    device: Device
    cursor: Annotated[
        Cursor | None,
        Meta(description="The newest that a `progress`, `synced` or `cursor` event gave; null on a first start."),
    ] = None
    heads: Annotated[
        dict[IdText, Seq],
        Meta(
            max_length=limits.HEADS,
            description="Conversation -> the highest seq up to which the client has everything.",
        ),
    ] = msgspec.field(default_factory=dict)
    recent: Annotated[
        int,
        Meta(
            ge=0,
            le=limits.RECENT_ENTRIES,
            description="How many of its last entries to send with a conversation that is not among the heads.",
        ),
    ] = 1


class Ping(Command, frozen=True, tag="ping"):
    """Ask whether the server is there, and for its time. Answered with :class:`Pong`."""

    data: Annotated[
        Raw, Meta(description="Any MessagePack value of at most 4,096 bytes; comes back byte for byte.")
    ] = Raw()

    def __post_init__(self) -> None:
        if len(self.data) > limits.PING_BYTES:
            raise ValueError(f"`data` is longer than {limits.PING_BYTES} bytes")


class AuthRenew(Command, frozen=True, tag="auth.renew"):
    """Keep this socket open past its token's end. Answered with :class:`Renewed`."""

    token: Token


class Welcome(Struct, frozen=True):
    """Signed in."""

    user: Annotated[UUID, Meta(description="Who one is, by the token.")]
    session: Annotated[UUID, Meta(description="Names this connection in the server's log; good for a bug report.")]


class Pong(Struct, frozen=True, omit_defaults=True):
    """The server's time, and the data of the ping."""

    at_ms: Annotated[int, Meta(description="The server's clock: Unix time in milliseconds (UTC).")]
    data: Annotated[Raw, Meta(description="What the ping carried; absent when it carried nothing.")] | UnsetType = UNSET


class Renewed(Struct, frozen=True):
    """How long the socket may now stay open."""

    expires_in_s: Annotated[int, Meta(description="Seconds until the new token ends, and this socket with it.")]


class Progress(Event, frozen=True, tag="progress"):
    """A page of what was missed is through. A client that breaks off here may come back with this cursor and its
    heads, and goes on from here."""

    cursor: Cursor


class Synced(Event, frozen=True, tag="synced"):
    """The client has everything; what follows is live."""

    cursor: Cursor


class CursorEvent(Event, frozen=True, tag="cursor"):
    """A newer cursor to keep."""

    cursor: Cursor


class Rewound(Event, frozen=True, tag="rewound"):
    """The database was restored from an older copy. Forget what is known of *conversation*, or of everything when it is
    absent, and start afresh with the events that follow. Unacknowledged sends are repeated as ever."""

    conversation: (
        Annotated[UUID, Meta(description="What to forget; absent: everything, the cursor too.")] | UnsetType
    ) = UNSET
