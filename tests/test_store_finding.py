"""Finding rooms, and who is in them, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from protocol.errors import NotAMember
from protocol.frames import ConversationTitle, ConversationTopic, MemberRole, RoomJoin
from storage.rows import NewKind, RoomPage, RoomRow, Rules
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    EVE,
    MOST,
    Bench,
    G,
    PostgresBench,
    bench,
    group,
    place,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures

START = (11, 2**63 - 1, UUID(int=2**128 - 1))
NODE, OTHER = uid(60), uid(61)


async def make(
    store: Store, number: int, title: str, *, tags: Any = (), topic: str | None = None, kind: Any = "room",
    public: bool = True,
) -> UUID:  # fmt: skip
    """A room of Ann's; each is younger than those before, or as young and higher."""
    more = NewKind(kind, topic, list(tags), public)
    made = await store.create_group(uid(200 + number), ANN, f"make {number}", title, "all", [ANN], MOST, more)
    return made.conversation


async def find(store: Store, query: str | None = None, *tags: str, person: UUID = BOB) -> list[str]:
    return [one.title for one in (await store.rooms(person, query, tags, START, 50)).rooms]


def place_of(row: RoomRow) -> tuple[int, int, UUID]:
    return row.shared, row.active_at_ms, row.conversation


async def paged(store: Store, limit: int, *tags: str) -> list[RoomPage]:
    pages = [await store.rooms(BOB, None, tags, START, limit)]
    while pages[-1].more:
        pages.append(await store.rooms(BOB, None, tags, place_of(pages[-1].rooms[-1]), limit))
    return pages


# --- Rooms ------------------------------------------------------------------------------------------------------------


async def test_rooms_are_found_by_beginnings_of_words(bench: Bench) -> None:
    store = bench.store
    await make(store, 1, "Chess for Beginners", topic="openings, and Ähnliches")
    await make(store, 2, "Tea", tags=["Chess club"], kind="channel")
    await make(store, 3, "Chess, hidden", kind="channel", public=False)
    await group(store, ANN)
    assert await find(store) == ["Tea", "Chess for Beginners"]
    assert await find(store, "CHE") == ["Tea", "Chess for Beginners"]
    assert await find(store, "beg che") == ["Chess for Beginners"]
    assert await find(store, "ÄHN") == ["Chess for Beginners"]
    assert await find(store, "hess") == []
    assert await find(store, "club!") == ["Tea"]
    assert await find(store, "' & !| ()\\") == [], "no words, nothing found"
    assert await find(store, "it's") == []
    [tea, chess] = (await store.rooms(ANN, None, [], START, 50)).rooms
    assert (tea.kind, tea.tags, tea.joined, tea.member_count, tea.online) == ("channel", ["Chess club"], True, 1, 0)
    assert (chess.kind, chess.topic) == ("room", "openings, and Ähnliches")
    assert not (await store.rooms(BOB, "tea", [], START, 50)).rooms[0].joined


async def test_shared_interests_come_first(bench: Bench) -> None:
    store = bench.store
    await make(store, 1, "both", tags=["Tea", "chess"])
    await make(store, 2, "one", tags=["tea"])
    await make(store, 3, "none", tags=["maps"])
    await make(store, 4, "nothing")
    assert await find(store, None, "TEA", "chess", "tea") == ["both", "one", "nothing", "none"]
    assert await find(store, "no", "maps") == ["none", "nothing"]


async def test_what_is_set_is_found(bench: Bench) -> None:
    store = bench.store
    room = await make(store, 1, "Chess", tags=["games"])
    await store.act(0, ANN, ConversationTitle(id=1, conversation=room, key="t", title="Checkers"), Rules())
    await store.act(0, ANN, ConversationTopic(id=1, conversation=room, key="u", topic="draughts"), Rules())
    assert await find(store, "chess") == []
    assert await find(store, "check draug gam") == ["Checkers"]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_rooms_come_page_by_page(bench: Bench, limit: int) -> None:
    """Each once, whatever the page's end falls on."""
    store = bench.store
    interests: list[list[str]] = [["a", "b"], [], ["b"], [], ["a"], ["c"], ["a", "b"]]
    for number, tags in enumerate(interests):
        await make(store, number, str(number), tags=tags)
    pages = await paged(store, limit, "a", "b")
    assert all(len(page.rooms) == limit for page in pages[:-1])
    found = [one for page in pages for one in page.rooms]
    assert sorted(one.title for one in found) == sorted(map(str, range(7)))
    assert [place_of(one) for one in found] == sorted((place_of(one) for one in found), reverse=True)
    assert "".join(one.title for page in await paged(store, limit) for one in page.rooms) == "6543210"


async def test_activity_is_told_to_the_minute(bench: Bench) -> None:
    """By the processes that hold the room's people."""
    store = bench.store
    old = await make(store, 1, "old")
    await make(store, 2, "new")
    await store.beat(NODE)
    await talk(store, old, ANN, "k")
    await store.publish_rooms(NODE, {old: 1})
    assert await find(store) == ["new", "old"], "not yet a minute"
    if isinstance(bench, PostgresBench):
        bench.control.execute("update listed set active_at_ms = active_at_ms - 60000")
    else:
        bench.database.tables.listed = {  # type: ignore[attr-defined]
            one: at_ms - 60_000 for one, at_ms in bench.database.tables.listed.items()  # type: ignore[attr-defined]
        }
    await store.publish_rooms(NODE, {old: 1})
    assert await find(store) == ["old", "new"]


async def test_heads_are_counted_over_processes(bench: Bench) -> None:
    """Of the living: a row counts while its process beats."""
    store = bench.store
    room = await make(store, 1, "Chess")
    await make(store, 2, "secret", kind="channel", public=False)

    async def heads() -> list[int]:
        return [one.online for one in (await store.rooms(BOB, None, [], START, 50)).rooms]

    await store.publish_rooms(NODE, {room: 3})
    assert await heads() == [0], "a process that never beat"
    await store.beat(NODE)
    await bench.other.beat(OTHER)
    await store.publish_rooms(NODE, {room: 3, uid(202): 1, uid(99): 1})
    await bench.other.publish_rooms(OTHER, {room: 2})
    assert await heads() == [5]
    await store.publish_rooms(NODE, {room: 1})
    assert await heads() == [3]
    await bench.other.publish_rooms(OTHER, {room: 0})
    assert await heads() == [1]
    await store.leave(NODE)
    assert await heads() == [0]
    await store.beat(NODE)
    assert await heads() == [0], "what it told is gone with it"
    assert (await store.moved({room: 1, G: 1, uid(202): 1}, {})).rooms == [room]


async def test_a_page_of_many_rooms_reads_no_more_than_a_page(dsn: str) -> None:
    """10,000 of them: by an index, whatever is asked first."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            "insert into account (id, name, email, password_hash, created_at_ms) values (%s, 'Ann', 'a@b.c', '-', 0)",
            (ANN,),
        )
        db.execute(
            "insert into conversation (id, kind, title, public, tags, active_at_ms) select gen_random_uuid(), 'room', "
            "'room ' || n, true, array['t' || n % 1000], n from generate_series(1, 10000) n"
        )
        db.execute("analyze listed")

        def blocks(*asked: Any) -> int:
            sql = "explain (analyze, buffers, format json) select room_list(%s, %s, %s::text[], 11, %s, %s, 20)"
            for _ in range(3):
                [[[plan]]] = db.execute(sql, (ANN, *asked, 2**62, START[2])).fetchall()
            return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])

        assert blocks(None, []) < 400
        assert blocks("room 77", []) < 2_000
        assert blocks(None, ["t7"]) < 1_000


# --- Members ----------------------------------------------------------------------------------------------------------


async def test_members_are_listed_in_order_of_joining(bench: Bench) -> None:
    store = bench.store
    await store.create_group(G, BOB, "make", "hall", "all", [BOB, ANN], MOST, NewKind("room", public=True))
    for one in (DAN, CID):
        await store.act(0, one, RoomJoin(id=1, conversation=G, key="j"), Rules())
    await store.act(0, BOB, MemberRole(id=1, conversation=G, key="r", user=CID, role="admin"), Rules())
    await store.change_member(0, "leave", G, DAN, "l", DAN, MOST, 10)
    await store.act(0, DAN, RoomJoin(id=1, conversation=G, key="j2"), Rules())
    page = await store.members(ANN, G, (0, 0), 10)
    assert [(one.user, one.role, one.joined) for one in page.members] == [
        (BOB, "owner", 1), (ANN, "member", 1), (CID, "admin", 3), (DAN, "member", 6),
    ]  # fmt: skip
    assert (page.members[1].name, page.more) == ("person 1", False)
    found, after = [], (0, 0)
    for more in (True, True, True, False):
        page = await store.members(ANN, G, after, 1)
        assert page.more == more
        found += page.members
        after = found[-1].joined, found[-1].place
    assert [one.user for one in found] == [BOB, ANN, CID, DAN]
    for person, conversation in ((EVE, G), (ANN, uid(99))):
        with pytest.raises(NotAMember):
            await store.members(person, conversation, (0, 0), 10)


async def test_a_page_of_many_members_reads_no_more_than_a_page(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            "insert into account (id, name, email, password_hash, created_at_ms) "
            "select gen_random_uuid(), 'p', n || '@b.c', '-', 0 "
            "from generate_series(1, 5000) n"
        )
        db.execute("insert into conversation (id, kind, title, public) values (%s, 'room', 'hall', true)", (G,))
        db.execute(
            "insert into span (conversation, person, joined, since, place, number) "
            "select %s, id, row_number() over (), 1, 0, 1 from account", (G,)
        )  # fmt: skip
        [[person]] = db.execute("select id from account limit 1").fetchall()
        sql = "explain (analyze, buffers, format json) select member_page(%s, %s, 4000, 0, 20)"
        for _ in range(3):
            [[[plan]]] = db.execute(sql, (person, G)).fetchall()
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 200
