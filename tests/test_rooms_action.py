"""Who of a conversation's members is connected: pages of what the store lists, narrowed by who is there."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from konnect_server.actions import rooms
from protocol.errors import BadCursor
from protocol.frames import RoomOnline
from storage import page_cursor
from storage.rows import MemberPage, MemberRow, Seen
from tests.simulate.store import FakeStore
from tests.test_store_contract import uid

HALL = uid(101)


class Listing(FakeStore):
    """A store that knows one conversation's members, and counts how many it told."""

    def __init__(self, people: Sequence[UUID]) -> None:
        self.rows = [MemberRow(one, f"p{n}", "member", n + 1, 0) for n, one in enumerate(people)]
        self.told = 0
        self.hidden: set[UUID] = set()

    async def presences(self, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        return [Seen(one, False) for one in users if one != person and one not in self.hidden]

    async def members(self, person: UUID, conversation: UUID, after: tuple[int, int], limit: int) -> MemberPage:
        left = [row for row in self.rows if (row.joined, row.place) > after]
        self.told += len(left[:limit])
        return MemberPage(left[:limit], len(left) > limit)


async def ask(store: Listing, here: set[UUID], limit: int) -> list[list[UUID]]:
    """All pages."""
    pages, cursor = [], None
    while True:
        command = RoomOnline(id=1, conversation=HALL, cursor=cursor, limit=limit)
        page = await rooms.online(store, uid(1), command, lambda one, contact: one in here)
        pages.append([one.user for one in page.members])
        if (cursor := page.cursor) is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("look", [1, 3, 500])
async def test_who_is_online_comes_page_by_page(monkeypatch: pytest.MonkeyPatch, limit: int, look: int) -> None:
    """Each once, in order of joining, whatever falls on the page's end."""
    monkeypatch.setattr(rooms, "LOOK", look)
    monkeypatch.setattr(rooms, "LOOKED", 4 * look)
    people = [uid(n) for n in range(1, 11)]
    here = {people[n] for n in (0, 3, 4, 9)}
    pages = await ask(Listing(people), here, limit)
    assert [one for page in pages for one in page] == sorted(here)
    assert all(len(page) <= limit for page in pages)


async def test_one_page_looks_at_so_many_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "LOOK", 2)
    monkeypatch.setattr(rooms, "LOOKED", 8)
    people = [uid(n) for n in range(1, 20)]
    store = Listing(people)
    pages = await ask(store, {people[-1]}, 5)
    assert pages == [[], [], [people[-1]]]
    assert store.told == len(people), "nobody is looked at twice"


async def test_who_hides_is_not_online_to_others() -> None:
    people = [uid(n) for n in range(1, 5)]
    store = Listing(people)
    store.hidden = {people[1]}
    assert await ask(store, set(people), 5) == [[people[0], people[2], people[3]]]


@pytest.mark.parametrize("cursor", ["", "x", page_cursor.READERS.text_of((HALL,))])
async def test_a_cursor_of_somebody_elses_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        command = RoomOnline(id=1, conversation=HALL, cursor=cursor)
        await rooms.online(Listing([]), uid(1), command, lambda one, contact: True)
