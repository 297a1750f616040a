"""Leaving: a pause, a copy of everything of one's own, the end of one's account."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.frames.base import Command
from protocol.frames.fields import AtMs, Key

Standing = Literal["active", "paused", "suspended", "leaving", "deleted"]


class AccountGet(Command, frozen=True, tag="account.get"):
    """How one's account stands. Answered with :class:`AccountStanding`."""


class AccountPause(Command, frozen=True, tag="account.pause"):
    """Be met by nobody new, or again: who is paused is in no feed, in no search, and gets no first message. Contacts
    and conversations go on. Answered with :class:`Done`. One's devices hear of it by the event ``state``."""

    key: Key
    on: Annotated[bool, Meta(description="True to pause, false to go on.")] = True


class AccountExport(Command, frozen=True, tag="account.export"):
    """Have a copy made of everything of one's own: a zip of JSON files, one for each noun, and of one's media. A
    notification `export` tells when it is ready. While one is being made, that is the one. Answered with
    :class:`Exporting`."""

    key: Key


class AccountDelete(Command, frozen=True, tag="account.delete"):
    """Leave. The account is hidden from everybody at once and all its sign-ins end; after some days, 14 if the operator
    does not say otherwise, it is erased. Until then one may sign in and return (`account.return`). Answered with
    :class:`Done`."""

    key: Key


class AccountReturn(Command, frozen=True, tag="account.return"):
    """Take `account.delete` back: the account stands as it did before. Nothing happens to an account that does not
    leave. Answered with :class:`Done`."""

    key: Key


class AccountStanding(Struct, frozen=True, omit_defaults=True):
    """How an account stands."""

    standing: Annotated[
        Standing,
        Meta(
            description="`active`; `paused`: one meets nobody new; `leaving`: hidden, and erased after a while; "
            "`suspended` and `deleted` nobody signs in to. Ignore one that you do not know."
        ),
    ]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC); 0: since it was made.")]
    leaving_until_ms: (
        Annotated[AtMs, Meta(description="Of `leaving`: from then on it is erased, and nobody returns.")] | UnsetType
    ) = UNSET


class Exporting(Struct, frozen=True):
    """A copy of everything of one's own is being made, or was."""

    export: Annotated[
        UUID,
        Meta(
            description="Its id, and that of the notification `export` and of the medium that it becomes: "
            "`GET /v1/media/{id}` gives it, to its person alone, until its time is over."
        ),
    ]
