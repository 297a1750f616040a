"""Rows of one's own by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any

from msgspec import UNSET

from protocol.frames import Draft, StateEvent
from storage.rows import Personal
from storage.store import Store
from tests.test_store_contract import ANN, BOB, Bench, G, H, bench, group, place, uid

__all__ = ["bench", "place"]  # fixtures

ALL = 2**63 - 1
PAGE = 1_000_000


def draft(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "at_ms": 5, **more}


async def rows(store: Store, above: int = 0, through: int = ALL, gone: bool = True) -> list[Personal]:
    """Ann's."""
    page = await store.personal(ANN, above, through, gone, 500, PAGE)
    assert not page.cut
    return page.rows


async def subjects(store: Store, above: int = 0, through: int = ALL, gone: bool = True) -> list[str]:
    return [row.state.subject for row in await rows(store, above, through, gone)]


async def test_a_row_of_ones_own_raises_ones_number_and_carries_it(bench: Bench) -> None:
    before = (await bench.store.standing(ANN, None)).number or 0
    first = await bench.set_personal(ANN, "draft", str(G), draft("grüße 𝄞", reply_to=3))
    second = await bench.set_personal(ANN, "draft", str(H), draft("b"))
    assert before < first < second == (await bench.other.standing(ANN, None)).number
    assert await rows(bench.other) == [
        Personal(first, StateEvent(what="draft", subject=str(G), draft=Draft("grüße 𝄞", 5, 3))),
        Personal(second, StateEvent(what="draft", subject=str(H), draft=Draft("b", 5))),
    ]
    assert (await bench.store.personal(BOB, 0, ALL, True, 500, PAGE)).rows == []


async def test_a_row_that_changes_is_told_once_at_its_new_place(bench: Bench) -> None:
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    await bench.set_personal(ANN, "draft", str(H), draft("b"))
    third = await bench.set_personal(ANN, "draft", str(G), draft("c"))
    assert await subjects(bench.store) == [str(H), str(G)]
    assert await subjects(bench.store, above=first) == [str(H), str(G)]
    assert await subjects(bench.store, through=third - 1) == [str(H)], "what changed since comes by the next look"
    assert await subjects(bench.store, above=third) == []


async def test_what_stands_so_already_is_no_change(bench: Bench) -> None:
    assert await bench.set_personal(ANN, "draft", str(G), None) == 0, "it was never there"
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    assert await bench.set_personal(ANN, "draft", str(G), draft("a")) == first
    gone = await bench.set_personal(ANN, "draft", str(G), None)
    assert await bench.set_personal(ANN, "draft", str(G), None) == gone > first
    assert (await bench.store.standing(ANN, None)).number == gone


async def test_what_is_gone_is_told_to_who_may_know_of_it(bench: Bench) -> None:
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    await bench.set_personal(ANN, "draft", str(H), draft("b"))
    gone = await bench.set_personal(ANN, "draft", str(G), None)
    [row] = await rows(bench.store, above=gone - 1)
    assert row == Personal(gone, StateEvent(what="draft", subject=str(G)))
    assert row.state.draft is UNSET
    assert await subjects(bench.store, gone=False) == [str(H)]
    assert await subjects(bench.store, above=first) == [str(H), str(G)]


async def test_a_standing_says_whether_there_are_rows_that_one_was_not_told(bench: Bench) -> None:
    assert (await bench.store.standing(ANN, None)).rows == 0
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    assert (await bench.store.standing(ANN, None)).rows == first
    assert (await bench.store.standing(ANN, None, first - 1)).rows == first
    assert (await bench.store.standing(ANN, None, first)).rows == 0
    await group(bench.store, ANN, BOB)
    standing = await bench.store.standing(ANN, None, first)
    assert (standing.number or 0) > first
    assert standing.rows == 0, "a membership is none"
    assert (await bench.store.standing(uid(99), None)).rows == 0


async def test_rows_come_in_pages(bench: Bench) -> None:
    numbers = [await bench.set_personal(ANN, "draft", str(uid(200 + n)), draft("x" * 300)) for n in range(7)]
    told, pages = 0, []
    while True:
        page = await bench.store.personal(ANN, told, ALL, True, 3, PAGE)
        pages.append([row.number for row in page.rows])
        told = page.rows[-1].number
        if not page.cut:
            break
    assert pages == [numbers[:3], numbers[3:6], numbers[6:]]
    page = await bench.store.personal(ANN, 0, ALL, True, 500, 1_100)
    assert ([row.number for row in page.rows], page.cut) == (numbers[:2], True)
    page = await bench.store.personal(ANN, 0, ALL, True, 500, 1)
    assert ([row.number for row in page.rows], page.cut) == (numbers[:1], True)
