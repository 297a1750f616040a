"""Contacts: who asks whom, and who is whose."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Cursor, Key

_Page = Annotated[int, Meta(ge=1, le=limits.PEOPLE_PAGE, description="At most so many on the page.")]
_Cursor = Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")]


class ContactRequest(Command, frozen=True, tag="contact.request"):
    """Ask somebody to be one's contact. Who gets it has a row `contact_request` and a notification of that kind. Of two
    who ask each other, the later makes them contacts; asking again while it waits changes nothing. Answered with
    :class:`Requested`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom.")]
    note: Annotated[
        str, Meta(max_length=limits.NOTE_CHARS, pattern=NO_NUL, description="A word with it; empty for none.")
    ] = ""
    interested: Annotated[bool, Meta(description="Whether one says that one is interested in the person.")] = False


class ContactAnswer(Command, frozen=True, tag="contact.answer"):
    """Accept a request, also one that was ignored; or ignore it: who asked is told nothing, and sees it wait. Who was
    accepted gets a notification of kind `contact_accepted`, and both a row `contact`. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Who asked.")]
    accept: Annotated[bool, Meta(description="Whether to accept; else it is ignored.")]


class ContactWithdraw(Command, frozen=True, tag="contact.withdraw"):
    """Take one's own request back: it is gone from the other's list, and its notification, too. Answered with
    :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Who was asked.")]


class ContactRemove(Command, frozen=True, tag="contact.remove"):
    """Be contacts no more; both lose their row `contact`, and nobody is notified. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Which contact; of somebody who is none, nothing comes.")]


class ContactRequests(Command, frozen=True, tag="contact.requests"):
    """Requests that wait, newest first, page by page: those one received and did not ignore, or those one sent, ignored
    or not. Answered with :class:`WaitingRequests`."""

    direction: Annotated[Literal["received", "sent"], Meta(description="Which.")]
    cursor: _Cursor = None
    limit: _Page = 50


class ContactList(Command, frozen=True, tag="contact.list"):
    """One's contacts, newest first, page by page, and who of them is online. Answered with :class:`Contacts`."""

    cursor: _Cursor = None
    limit: _Page = 50


class Requested(Struct, frozen=True):
    """What came of a request."""

    contact: Annotated[bool, Meta(description="Whether the two are contacts now; else it waits.")]


class WaitingRequest(Struct, frozen=True, omit_defaults=True):
    """A request that waits."""

    user: Annotated[UUID, Meta(description="Who asked, or was asked.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    note: Annotated[str, Meta(description="A word with it.")] = ""
    interested: Annotated[bool, Meta(description="Whether who asked is interested.")] = False


class WaitingRequests(Struct, frozen=True, omit_defaults=True):
    """One page of requests that wait."""

    requests: Annotated[list[WaitingRequest], Meta(description="Newest first.")]
    count: Annotated[int, Meta(description="How many wait, on all pages.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class OneContact(Struct, frozen=True, omit_defaults=True):
    """A contact."""

    user: Annotated[UUID, Meta(description="Who.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]
    state: (
        Annotated[Literal["online", "offline"], Meta(description="Absent where one of the two shows it to nobody.")]
        | UnsetType
    ) = UNSET
    last_seen_ms: (
        Annotated[AtMs, Meta(description="Of `offline`: when the person was online last, where that is known.")]
        | UnsetType
    ) = UNSET


class Contacts(Struct, frozen=True, omit_defaults=True):
    """One page of contacts."""

    contacts: Annotated[list[OneContact], Meta(description="Newest first.")]
    count: Annotated[int, Meta(description="How many there are, on all pages.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class OwnContact(Struct, frozen=True):
    """What a row `contact` says."""

    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class OwnRequest(Struct, frozen=True, omit_defaults=True):
    """What a row `contact_request` says: somebody asks to be one's contact."""

    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    note: Annotated[str, Meta(description="A word with it.")] = ""
    interested: Annotated[bool, Meta(description="Whether who asked is interested.")] = False
