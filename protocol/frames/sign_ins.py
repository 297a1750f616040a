"""One's sign-ins: where one is signed in, and how that is ended."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol.frames.base import Command
from protocol.frames.fields import AtMs


class SessionList(Command, frozen=True, tag="session.list"):
    """Where one is signed in, used last first; at most 100. Answered with :class:`Sessions`."""


class SessionRevoke(Command, frozen=True, tag="session.revoke"):
    """End one of one's sign-ins: its tokens are refused, and its sockets closed with `signed_out`, within a second and
    wherever they are. It is no error when it has ended already, or is not one's own: then nothing happens. Who ends the
    one that this command comes by gets the answer, and then the end. Answered with :class:`Done`."""

    session: Annotated[UUID, Meta(description="As `session.list` names it.")]


class SessionRevokeAll(Command, frozen=True, tag="session.revoke_all"):
    """End all of one's sign-ins but the one that this command comes by. Answered with :class:`SessionsEnded`."""


class OneSession(Struct, frozen=True):
    """A sign-in that has not ended."""

    session: Annotated[UUID, Meta(description="Its id.")]
    device: Annotated[str, Meta(description="What it was called when one signed in; may be empty.")]
    created_at_ms: Annotated[AtMs, Meta(description="When one signed in: Unix milliseconds (UTC).")]
    used_at_ms: Annotated[
        AtMs, Meta(description="When it was used last, to within an access token's life: Unix milliseconds (UTC).")
    ]
    current: Annotated[bool, Meta(description="Whether this very question came by it.")]


class Sessions(Struct, frozen=True):
    """Where one is signed in."""

    sessions: Annotated[list[OneSession], Meta(description="Used last first.")]


class SessionsEnded(Struct, frozen=True):
    """What ended by this command."""

    count: Annotated[int, Meta(description="How many sign-ins.")]
