"""Join links and requests: rules that need the database but no live state."""

from uuid import UUID

from protocol.frames import (
    Done,
    Invitation,
    Joined,
    LinkCreate,
    LinkJoin,
    LinkList,
    LinkMade,
    LinkPreview,
    LinkRevoke,
    Links,
    RequestList,
    Requests,
)
from storage import page_cursor
from storage.rows import Rules
from storage.store import Store


async def create(store: Store, user: UUID, command: LinkCreate, rules: Rules) -> LinkMade:
    """Make a link.

    Raises:
        NotAMember, WrongKind, Forbidden, Invalid, TooManyLinks, KeyReused
    """
    return LinkMade(await store.create_link(user, command, rules))


async def listing(store: Store, user: UUID, command: LinkList) -> Links:
    """The links that are not revoked.

    Raises:
        NotAMember, Forbidden
    """
    return Links(await store.links(user, command.conversation))


async def revoke(store: Store, user: UUID, command: LinkRevoke) -> Done:
    """End a link.

    Raises:
        NotAMember, Forbidden, UnknownLink, KeyReused
    """
    await store.revoke_link(user, command)
    return Done()


async def preview(store: Store, user: UUID, command: LinkPreview) -> Invitation:
    """Where a link leads.

    Raises:
        UnknownLink, LinkOver, Banned
    """
    return await store.preview_link(user, command.code)


async def join(store: Store, user: UUID, command: LinkJoin, rules: Rules) -> Joined:
    """Join by a link, or ask for it.

    Raises:
        UnknownLink, LinkOver, AlreadyAMember, Banned, ConversationFull, TooManyRequests, KeyReused
    """
    return await store.join_by_link(user, command, rules)


async def requests(store: Store, user: UUID, command: RequestList) -> Requests:
    """A page of the requests.

    Raises:
        NotAMember, Forbidden, BadCursor
    """
    after = page_cursor.REQUESTS.place_of(command.cursor)
    page = await store.requests(user, command.conversation, after, command.limit)
    if not page.more:
        return Requests(page.requests, page.count)
    last = page.requests[-1]
    return Requests(page.requests, page.count, page_cursor.REQUESTS.text_of((last.at_ms, last.user)))
