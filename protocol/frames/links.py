"""Links by which people join, and requests of those who ask to be let in."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Conversation, Cursor, Key, Seq

Code = Annotated[
    str,
    Meta(min_length=1, max_length=limits.CODE_CHARS, pattern=NO_NUL, description="The link's code."),
]
_Expiry = Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)]
_Uses = Annotated[int, Meta(ge=1, le=limits.LINK_USES)]


class LinkCreate(Command, frozen=True, tag="link.create"):
    """Make a link by which people join a group, a room or a channel; its owner and admins may (docs/roles.md). No entry
    tells of it. Answered with :class:`LinkMade`."""

    conversation: Conversation
    key: Key
    expires_at_ms: Annotated[
        _Expiry | None,
        Meta(description="Until when: Unix milliseconds (UTC), by the database's clock; null for ever."),
    ] = None
    uses: Annotated[_Uses | None, Meta(description="How many get in by it; null for as many as come.")] = None
    approval: Annotated[
        bool, Meta(description="Who comes files a request, which is answered by `request.answer`, and counts as a use.")
    ] = False


class LinkList(Command, frozen=True, tag="link.list"):
    """The links of a conversation that are not revoked; its owner and admins may ask. Answered with :class:`Links`."""

    conversation: Conversation


class LinkRevoke(Command, frozen=True, tag="link.revoke"):
    """End a link for ever; the conversation's owner and admins may. Requests that came by it still wait. Answered with
    :class:`Done`."""

    conversation: Conversation
    key: Key
    code: Code


class LinkPreview(Command, frozen=True, tag="link.preview"):
    """Where a link leads; everybody who has its code may ask. Answered with :class:`Invitation`."""

    code: Code


class LinkJoin(Command, frozen=True, tag="link.join"):
    """Become a member by a link, or file a request where its answer is up to the admins: all who may give it get a
    notification of kind `request`. Who joined is sent the event `conversation` before the answer; who is let in later,
    then; who is declined gets a notification of kind `declined`. Answered with :class:`Joined`."""

    code: Code
    key: Key


class RequestList(Command, frozen=True, tag="request.list"):
    """Who asks to be let in, oldest first, page by page, without those who are banned now; the conversation's owner and
    admins may ask, and who becomes one learns so of those who wait already. Answered with :class:`Requests`."""

    conversation: Conversation
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.REQUESTS_PAGE, description="At most so many requests on the page.")] = 50


class RequestAnswer(Command, frozen=True, tag="request.answer"):
    """Let in somebody who asked, or do not; the conversation's owner and admins may. The notifications of all who were
    told of the request are read by that, and say how it was answered. Answered with :class:`Appended`:
    where the entry `member.added` stands; of a refusal nothing is stored, and the answer names the newest entry."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Who asked.")]
    accept: Annotated[bool, Meta(description="Whether to let the person in.")]


class Link(Struct, frozen=True, omit_defaults=True):
    """A link by which people join."""

    code: Annotated[str, Meta(description="What `link.join` is given.")]
    author: Annotated[UUID, Meta(description="Who made it.")]
    at_ms: Annotated[AtMs, Meta(description="When it was made: Unix milliseconds (UTC), by the database's clock.")]
    used: Annotated[int, Meta(description="How many joined or asked by it.")]
    approval: Annotated[bool, Meta(description="Who comes files a request.")]
    expires_at_ms: (
        Annotated[int, Meta(description="Until when: Unix milliseconds (UTC); absent: for ever.")] | UnsetType
    ) = UNSET
    uses: Annotated[int, Meta(description="How many get in by it; absent: as many as come.")] | UnsetType = UNSET


class LinkMade(Struct, frozen=True):
    """The link that was made, as it was then."""

    link: Annotated[Link, Meta(description="It.")]


class Links(Struct, frozen=True):
    """The links of a conversation."""

    links: Annotated[list[Link], Meta(description="Oldest first; also those that are used up or out of time.")]


class Invitation(Struct, frozen=True, omit_defaults=True):
    """Where a link leads."""

    conversation: Conversation
    kind: Annotated[Literal["group", "room", "channel"], Meta(description="What it leads to.")]
    title: Annotated[str, Meta(description="What that is called.")]
    member_count: Annotated[int, Meta(description="How many belong now.")]
    approval: Annotated[bool, Meta(description="Who comes files a request.")]
    joined: Annotated[bool, Meta(description="Whether one is a member already.")]
    topic: Annotated[str, Meta(description="What it is about; absent: nothing was said.")] | UnsetType = UNSET
    photo: (
        Annotated[UUID, Meta(description="The medium that is its photo, for its members to fetch; absent: none.")]
        | UnsetType
    ) = UNSET


class Joined(Struct, frozen=True, omit_defaults=True):
    """One is a member; or one's request waits, and then there is no entry."""

    conversation: Conversation
    requested: Annotated[bool, Meta(description="A request was filed.")] = False
    seq: Annotated[Seq, Meta(description="The entry `member.added`; absent of a request.")] | UnsetType = UNSET
    at_ms: (
        Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]
        | UnsetType
    ) = UNSET


class Request(Struct, frozen=True):
    """Somebody asks to be let in."""

    user: Annotated[UUID, Meta(description="Who it is.")]
    name: Annotated[str, Meta(description="The person's name.")]
    code: Annotated[str, Meta(description="The link by which the person came.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class Requests(Struct, frozen=True, omit_defaults=True):
    """A page of the requests."""

    requests: Annotated[list[Request], Meta(description="Oldest first.")]
    count: Annotated[int, Meta(description="How many wait, on all pages together.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
