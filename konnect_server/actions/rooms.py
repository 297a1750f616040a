"""Finding rooms, who is in them, and who is there now: rules that need the database."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from protocol.frames import Member, MemberList, Members, MembersOnline, Room, RoomList, RoomOnline, Rooms
from storage import page_cursor
from storage.rows import MemberRow
from storage.store import Store

LOOK: Final = 500  # members looked at by one question of room.online
LOOKED: Final = 2_000  # for one page


async def rooms(store: Store, user: UUID, command: RoomList) -> Rooms:
    """A page of the public conversations.

    Raises:
        BadCursor
    """
    after = page_cursor.ROOMS.place_of(command.cursor)
    page = await store.rooms(user, command.query, command.tags, after, command.limit)
    found = [
        Room(
            conversation=one.conversation, kind=one.kind, title=one.title, member_count=one.member_count,
            online=min(one.online, one.member_count), joined=one.joined, topic=one.topic, tags=one.tags,
            photo=one.photo,
        )
        for one in page.rooms
    ]  # fmt: skip
    if not page.more:
        return Rooms(found)
    last = page.rooms[-1]
    return Rooms(found, page_cursor.ROOMS.text_of((last.shared, last.active_at_ms, last.conversation)))


async def members(store: Store, user: UUID, command: MemberList) -> Members:
    """A page of the members.

    Raises:
        NotAMember, BadCursor
    """
    after = page_cursor.MEMBERS.place_of(command.cursor)
    page = await store.members(user, command.conversation, after, command.limit)
    return Members([_shown(one) for one in page.members], _after(page.members[-1]) if page.more else None)


async def online(
    store: Store, user: UUID, command: RoomOnline, is_online: Callable[[UUID, bool], bool]
) -> MembersOnline:
    """A page of the members for whom *is_online* (person, to a contact) says so, and who let *user* see it.
    It looks at LOOKED members at most, and where it stopped the next page goes on.

    Raises:
        NotAMember, BadCursor
    """
    after = page_cursor.MEMBERS.place_of(command.cursor)
    found: list[Member] = []
    for _ in range(LOOKED // LOOK):
        page = await store.members(user, command.conversation, after, LOOK)
        here = [one.user for one in page.members if is_online(one.user, True)]
        allowed = await store.presences(user, here) if here else []
        seen = {one.user for one in allowed if is_online(one.user, one.contact)} | ({user} & set(here))
        for nth, one in enumerate(page.members, 1):
            if one.user in seen:
                found.append(_shown(one))
                if len(found) == command.limit:
                    more = page.more or nth < len(page.members)
                    return MembersOnline(found, _after(one) if more else None)
        if not page.more:
            return MembersOnline(found)
        after = page.members[-1].joined, page.members[-1].place
    return MembersOnline(found, page_cursor.MEMBERS.text_of(after))


def _shown(row: MemberRow) -> Member:
    return Member(row.user, row.name, row.role, row.joined)


def _after(last: MemberRow) -> str:
    return page_cursor.MEMBERS.text_of((last.joined, last.place))
