"""Contacts, requests to be one, and who follows whom: tables of migrations/0017 and 0022."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import (
    Invalid,
    KeyReused,
    KonnectError,
    RateLimited,
    TooManyOfOnesOwn,
    TooManyRequests,
    UnknownRequest,
    UnknownUser,
)
from protocol.frames import (
    Command,
    ContactAnswer,
    ContactRemove,
    ContactRequest,
    ContactWithdraw,
    Follow,
    Follows,
    OneFollow,
    Unfollow,
    WaitingRequest,
    WaitingRequests,
)
from protocol.limits import CONTACT_REQUESTS, CONTACTS, COUNTED, FOLLOWING
from storage.database import Queries
from storage.page_cursor import CONTACTS as PLACES, POSTS as IDS

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class ContactRules(Struct, frozen=True):
    """What a server allows, as the functions of the database are given it."""

    requests_a_day: int
    requests_waiting: int  # of those that one person sent
    received: int = CONTACT_REQUESTS
    contacts: int = CONTACTS
    following: int = FOLLOWING


class Grown(Struct, frozen=True):
    """A conversation's log that grew, by an entry that says that it is closed, or open again."""

    conversation: UUID
    seq: int


class ContactChange(Struct, frozen=True):
    """What came of a command about contacts or follows."""

    number: int = 0  # of one's own rows
    new: bool = False  # by this very call
    contact: bool = False  # of a request: whether the two are contacts now
    changed: list[UUID] = []  # whose rows changed
    jobs: bool | None = False
    grown: Grown | None = None
    error: str | None = None
    retry_after_ms: int = 0


_change: Final = msgspec.json.Decoder(ContactChange).decode
_FUNCTIONS: Final[dict[type[Command], LiteralString]] = {
    ContactRequest: "select request_contact(%s, %s, %s::json, %s::json)::text",
    ContactAnswer: "select answer_contact(%s, %s, %s::json, %s::json)::text",
    ContactWithdraw: "select withdraw_contact(%s, %s, %s::json, %s::json)::text",
    ContactRemove: "select remove_contact(%s, %s, %s::json, %s::json)::text",
    Follow: "select begin_follow(%s, %s, %s::json, %s::json)::text",
    Unfollow: "select end_follow(%s, %s, %s::json, %s::json)::text",
}
AnyChange = ContactRequest | ContactAnswer | ContactWithdraw | ContactRemove | Follow | Unfollow


async def change(db: Queries, person: UUID, new_id: UUID, command: AnyChange, rules: ContactRules) -> ContactChange:
    """Do what *command* says.

    Raises:
        UnknownUser, UnknownRequest, TooManyOfOnesOwn, TooManyRequests, RateLimited, KeyReused, Invalid
    """
    row = await db.fetch_one(
        _FUNCTIONS[type(command)], person, new_id, _json(command).decode(), _json(rules).decode()
    )
    assert row is not None
    done = _change(row[0])
    if done.error is not None:
        raise _refusal(done, command)
    return done


def _refusal(done: ContactChange, command: AnyChange) -> KonnectError:
    match done.error:
        case "key_reused":
            return KeyReused(command.key)
        case "oneself":
            return Invalid("that is you - at `$.user`")
        case "unknown_user":
            return UnknownUser(command.user)
        case "unknown_request":
            return UnknownRequest("no such request waits")
        case "too_many":
            return TooManyOfOnesOwn("there are as many of these as there may be")
        case "too_many_requests":
            return TooManyRequests("as many people ask to be this person's contact as may wait")
        case "rate_limited":
            return RateLimited(done.retry_after_ms)
    raise AssertionError(f"the database answered {done.error!r}")


class ContactRow(Struct, frozen=True):
    """A contact, and what is known of when the person was here last."""

    user: UUID
    at_ms: int
    seen: bool  # whether one may see it
    last_seen_ms: int = 0


class ContactPage(Struct, frozen=True):
    """One page of contacts, and the cursor of the next."""

    contacts: list[ContactRow]
    count: int
    more: bool = False
    cursor: str | None = None


_contacts: Final = msgspec.json.Decoder(ContactPage).decode
_CONTACTS: Final[LiteralString] = "select contact_page(%s, %s, %s, %s)::text"


async def contacts(db: Queries, person: UUID, cursor: str | None, limit: int) -> ContactPage:
    """A page of *person*'s contacts, the newest first.

    Raises:
        BadCursor
    """
    at_ms, other = PLACES.place_of(cursor)
    row = await db.fetch_one(_CONTACTS, person, at_ms, other, limit)
    assert row is not None
    page = _contacts(row[0])
    if not page.more:
        return page
    last = page.contacts[-1]
    return ContactPage(page.contacts, page.count, True, PLACES.text_of((last.at_ms, last.user)))


class _RequestRow(WaitingRequest, frozen=True, kw_only=True):
    id: UUID


class _Requests(Struct):
    requests: list[_RequestRow]
    more: bool
    count: int


_requests: Final = msgspec.json.Decoder(_Requests).decode
_REQUESTS: Final[LiteralString] = "select contact_request_page(%s, %s, %s, %s)::text"


async def requests(db: Queries, person: UUID, sent: bool, cursor: str | None, limit: int) -> WaitingRequests:
    """A page of the requests that *person* sent, or received, the newest first.

    Raises:
        BadCursor
    """
    (below,) = IDS.place_of(cursor)
    row = await db.fetch_one(_REQUESTS, person, sent, below, limit)
    assert row is not None
    page = _requests(row[0])
    return WaitingRequests(
        [WaitingRequest(one.user, one.at_ms, one.note, one.interested) for one in page.requests],
        page.count,
        IDS.text_of((page.requests[-1].id,)) if page.more else None,
    )


class _FollowRow(OneFollow, frozen=True):
    id: UUID


class _Follows(Struct):
    people: list[_FollowRow] = []
    more: bool = False
    count: int = 0
    error: str | None = None


_follows: Final = msgspec.json.Decoder(_Follows).decode
_FOLLOWS: Final[LiteralString] = "select follow_page(%s, %s, %s, %s, %s, %s)::text"


async def follows(
    db: Queries, person: UUID, user: UUID, followers: bool, cursor: str | None, limit: int
) -> Follows:
    """A page of who follows *user*, or whom *user* follows, as far as *person* may see them, the newest first.

    Raises:
        UnknownUser, BadCursor
    """
    (below,) = IDS.place_of(cursor)
    row = await db.fetch_one(_FOLLOWS, person, user, followers, below, limit, COUNTED)
    assert row is not None
    page = _follows(row[0])
    if page.error is not None:
        raise UnknownUser(user)
    return Follows(
        [OneFollow(one.user, one.at_ms) for one in page.people],
        page.count,
        IDS.text_of((page.people[-1].id,)) if page.more else None,
    )
