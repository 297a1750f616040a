"""The walk of a session, and the rows of the person's own: who comes back is told what changed, each row once."""

from typing import Any

import pytest
from trio.testing import MockClock

from konnect_server import cursor as cursors, walk as walk_room
from konnect_server.cursor import Cursor
from konnect_server.walk import Walk
from storage.rows import Standing
from tests.deck import open_deck, until
from tests.fakes import ANN, BOB, HALL, ROOM, uid
from tests.test_walk import LINEAGE, Traveller


def told(traveller: Traveller) -> list[tuple[str, str | None]]:
    """The drafts that it was told, as subject and text."""
    return [(frame["subject"], frame.get("draft", {}).get("text")) for frame in traveller.of("state")]


def last_cursor(traveller: Traveller) -> Cursor:
    """The newest it was given."""
    return cursors.decode([frame["cursor"] for frame in traveller.frames if "cursor" in frame][-1])


async def test_who_starts_afresh_is_told_all_rows_that_are(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, ANN, BOB)
        deck.set(ANN, ROOM, "a")
        deck.set(ANN, HALL, "b")
        deck.set(ANN, HALL, None)
        deck.set(BOB, ROOM, "somebody else's")
        ann = await Traveller(deck, ANN).arrive()
        assert told(ann) == [(str(ROOM), "a")]
        assert ann.story == ["progress", "conversation", "state", "synced"]


async def test_who_comes_back_is_told_only_what_changed(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        deck.set(ANN, ROOM, "a")
        deck.set(ANN, HALL, "b")
        cursor = last_cursor(await Traveller(deck, ANN).arrive())
        deck.set(ANN, ROOM, None)
        deck.set(ANN, uid(300), "c")
        deck.set(ANN, uid(300), "d")
        back = await Traveller(deck, ANN, {}, cursor).arrive()
        assert told(back) == [(str(ROOM), None), (str(uid(300)), "d")]
        again = await Traveller(deck, ANN, {}, last_cursor(back)).arrive()
        assert again.story == ["synced"]


async def test_who_has_no_new_rows_costs_no_question(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, ANN, BOB)
        deck.set(BOB, ROOM, "b")
        cursor = last_cursor(await Traveller(deck, ANN).arrive())
        await deck.group(HALL, ANN, BOB)
        await Traveller(deck, ANN, {ROOM: 1}, cursor).arrive()
        assert "personal" not in deck.store.calls


async def test_a_change_comes_to_all_devices_that_are_here(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        phone = await Traveller(deck, ANN).arrive()
        laptop = Traveller(deck, ANN)
        laptop.device = "laptop"
        await laptop.arrive()
        number = deck.set(ANN, ROOM, "a")
        deck.registry.changed(ANN)
        await until(lambda: phone.walk.number == laptop.walk.number == number)
        for device in (phone, laptop):
            assert told(device) == [(str(ROOM), "a")]
            assert device.story[-2:] == ["state", "cursor"]
            assert last_cursor(device).rows == number


async def test_what_changes_during_a_walk_comes_by_the_next_look(autojump_clock: MockClock) -> None:
    """The row that waits to be read changes: it is told once, as it then stands, and the cursor does not pass it."""
    async with open_deck() as deck:
        deck.set(ANN, ROOM, "a")
        first = deck.set(ANN, HALL, "b")
        shut = deck.store.shut("standing")
        ann = Traveller(deck, ANN).go()
        await shut.reached.wait()
        second = deck.set(ANN, ROOM, "c")
        deck.registry.changed(ANN)
        shut.open()
        await until(lambda: ann.walk.number == second)
        assert told(ann) == [(str(HALL), "b"), (str(ROOM), "c")]
        given = [cursors.decode(frame["cursor"]).rows for frame in ann.frames if "cursor" in frame]
        assert given == [0, first, second]


async def test_rows_come_in_pages_each_when_there_is_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_room, "PAGE_ROWS", 3)
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        numbers = [deck.set(ANN, uid(300 + n), f"{n}") for n in range(8)]
        ann = Traveller(deck, ANN)
        ann.fill()
        ann.go()
        for page in range(1, 3):
            await until(lambda: "standing" in deck.store.calls)
            ann.drain_once()
            await until(lambda page=page: len(ann.of("state")) == 3 * page)  # type: ignore[misc]
            assert last_cursor(ann).rows == numbers[3 * page - 1]
        cursor = last_cursor(ann)
        ann.leave()
        deck.set(ANN, uid(300), None)
        deck.set(ANN, uid(306), "now 6")
        back = await Traveller(deck, ANN, {}, cursor).arrive()
        assert told(back) == [(str(uid(307)), "7"), (str(uid(300)), None), (str(uid(306)), "now 6")]


async def test_a_first_start_that_breaks_off_before_its_rows_is_told_them(autojump_clock: MockClock) -> None:
    """Its first cursor names the person's number, for memberships that end meanwhile; of rows it says nothing."""
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, ANN, BOB)
        deck.set(ANN, ROOM, "a")
        shut = deck.store.shut("personal")
        ann = Traveller(deck, ANN).go()
        await shut.reached.wait()
        cursor = last_cursor(ann)
        assert cursor.number > 0 == cursor.rows
        ann.leave()
        shut.open()
        back = await Traveller(deck, ANN, {ROOM: 1}, cursor).arrive()
        assert told(back) == [(str(ROOM), "a")]


async def test_a_restored_database_tells_all_of_it_again(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        number = deck.set(ANN, ROOM, "a")
        ann = await Traveller(deck, ANN, {}, Cursor(uid(6999), number, 5, rows=number)).arrive()
        assert ann.frames[0]["t"] == "rewound"
        assert told(ann) == [(str(ROOM), "a")]
        # The lineage is known, but what the client was told last is lost.
        later = await Traveller(deck, ANN, {}, Cursor(LINEAGE, number, 5, rows=number + 1)).arrive()
        assert later.frames[0]["t"] == "rewound"
        assert told(later) == [(str(ROOM), "a")]


async def test_a_walk_whose_session_ends_as_its_rows_arrive_tells_nothing(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        deck.set(ANN, ROOM, "a")
        shut = deck.store.shut("personal")
        ann = Traveller(deck, ANN).go()
        await shut.reached.wait()
        shut.open()
        ann.leave()
        await until(lambda: not deck.registry.users)
        assert told(ann) == []


def as_plain(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name != "t"}


async def test_a_cursor_of_before_there_were_rows_is_told_all(autojump_clock: MockClock) -> None:
    async with open_deck() as deck:
        await deck.other.add_lineage(LINEAGE)
        number = deck.set(ANN, ROOM, "a")
        ann = await Traveller(deck, ANN, {}, Cursor(LINEAGE, number, 0)).arrive()
        assert told(ann) == [(str(ROOM), "a")]
        assert as_plain(ann.of("state")[0]) == {
            "what": "draft", "subject": str(ROOM), "draft": {"text": "a", "at_ms": 5},
        }  # fmt: skip


async def test_a_change_of_a_row_has_nobody_read_all_memberships_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_deck() as deck:
        await deck.group(ROOM, ANN, BOB)
        ann = await Traveller(deck, ANN).arrive()
        read: list[int] = []
        plan = Walk._plan

        def counted(walk: Walk, standing: Standing) -> Any:
            read.append(len(standing.spans))
            return plan(walk, standing)

        monkeypatch.setattr(Walk, "_plan", counted)
        deck.set(ANN, ROOM, "a")
        deck.registry.changed(ANN)
        await until(lambda: len(told(ann)) == 1)
        await deck.group(HALL, ANN, BOB)
        deck.set(ANN, ROOM, "b")
        deck.registry.changed(ANN)
        await until(lambda: len(told(ann)) == 2)
        assert read == [0, 2]
        assert [state["conversation"] for state in ann.of("conversation")] == [str(ROOM), str(HALL)]
