"""Privacy's switches, by the contract of every ``Store``: whose cursors are shown to whom, wherever they are read."""

from typing import Any, Literal
from uuid import UUID

import pytest

from protocol.errors import KeyReused, UnknownUser
from protocol.frames import Privacy, PrivacySet, StateEvent
from storage.rows import Raise, Raised
from storage.store import Store
from tests.test_store_contract import ANN, BOB, CID, DAN, Bench, D, G, bench, group, place, state, talk, uid

__all__ = ["bench", "place"]  # fixtures

PAGE = 1_000_000


def switch(key: str = "p", **switches: Any) -> PrivacySet:
    return PrivacySet(id=1, key=key, **switches)


async def move(store: Store, person: UUID, delivered: int, read: int, conversation: UUID = G) -> Raised:
    [raised] = await store.raise_receipts([Raise(conversation, person, delivered, read)])
    return raised


async def told(store: Store, person: UUID, since_ms: int = 0) -> dict[UUID, tuple[int, int]]:
    """What *person* is told of all cursors when coming back."""
    return {one.user: (one.delivered, one.read) for one in await store.receipts_since(person, since_ms)}


async def test_nobody_hides_anything_by_default(bench: Bench) -> None:
    assert await bench.store.privacy(ANN) == Privacy(True, "everyone", True)
    assert (await bench.store.standing(ANN, None)).privacy is None


async def test_a_command_turns_the_switches_that_it_names(bench: Bench) -> None:
    """Two devices that turn one each do not undo each other. It is a row of one's own, told by the person's number."""
    store = bench.store
    before = (await store.standing(ANN, None)).number or 0
    first = await store.set_privacy(ANN, switch("1", read_receipts=False))
    second = await bench.other.set_privacy(ANN, switch("2", last_seen="contacts"))
    now = Privacy(False, "contacts", True)
    assert before < first < second
    standing = await store.standing(ANN, None)
    assert (await store.privacy(ANN), standing.privacy, standing.number) == (now, now, second)
    [row] = (await store.personal(ANN, 0, second, True, 9, PAGE)).rows
    assert row.state == StateEvent(what="privacy", subject="", privacy=now)
    assert await store.set_privacy(ANN, switch("3", read_receipts=False)) == second, "it stands so already"
    assert await store.privacy(BOB) == Privacy()


async def test_a_repeat_gets_its_first_answer_and_undoes_nothing(bench: Bench) -> None:
    store = bench.store
    first = await store.set_privacy(ANN, switch("1", typing=False))
    await store.set_privacy(ANN, switch("2", typing=True))
    assert await bench.other.set_privacy(ANN, switch("1", typing=False)) == first
    assert (await store.privacy(ANN)).typing
    with pytest.raises(KeyReused):
        await store.set_privacy(ANN, switch("1", typing=True))
    await store.set_privacy(BOB, switch("1", typing=True))  # a key is its person's own


async def test_a_stranger_has_no_switches(bench: Bench) -> None:
    with pytest.raises(UnknownUser):
        await bench.store.set_privacy(uid(77), switch(typing=True))


@pytest.mark.parametrize("kind", ["direct", "group"])
async def test_who_hides_reading_shows_deliveries_alone_and_sees_no_more(
    bench: Bench, kind: Literal["direct", "group"]
) -> None:
    """In the state, when coming back, of a message; the others see each other as before, and one sees oneself."""
    store, place = bench.store, G if kind == "group" else D
    if kind == "group":
        await group(store, ANN, BOB, CID)
    else:
        await store.open_direct(D, ANN, BOB)
    people = (ANN, BOB, CID) if kind == "group" else (ANN, BOB)
    await talk(store, place, ANN, "1", "2")
    for person in people:
        raised = await move(store, person, 3, 2, place)
        assert (raised.hidden, raised.arrived) == (False, True)
    await store.set_privacy(ANN, switch(read_receipts=False))

    async def seen(person: UUID) -> dict[UUID, tuple[int, int]]:
        shown = {one.user: (one.delivered, one.read) for one in (await state(store, person, place)).receipts}
        back = await told(store, person)
        assert back.pop(person) == (3, 2), "one's own"
        assert back == shown
        return shown

    hidden, open_ = (3, 0), (3, 2)
    assert await seen(ANN) == {one: hidden for one in people if one != ANN}
    assert await seen(BOB) == {one: hidden if one == ANN else open_ for one in people if one != BOB}
    assert {one.read for one in (await store.readers(ANN, place, 2, None, 9)).readers} == {False}
    if kind == "group":
        await talk(store, place, BOB, "3")
        for person in people:
            await move(store, person, 4, 4)
        readers = (await store.readers(BOB, place, 4, None, 9)).readers
        assert [(one.user, one.read) for one in readers] == [(ANN, False), (CID, True)]
    await store.set_privacy(ANN, switch("back", read_receipts=True))
    assert (await state(store, BOB, place)).receipts[0].read in (2, 4)


async def test_reading_that_is_hidden_leaves_no_trace(bench: Bench) -> None:
    """Not even when: a receipt that says nothing new is not told, live or later."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "1", "2")
    await store.set_privacy(BOB, switch(read_receipts=False))
    first = await move(store, BOB, 3, 0)
    assert (first.rose, first.arrived, first.hidden) == (True, True, True)
    then = (await store.standing(ANN, None)).at_ms
    while (await store.standing(ANN, None)).at_ms <= then:
        pass
    second = await move(store, BOB, 0, 3)
    assert (second.rose, second.arrived, second.hidden) == (True, False, True)
    assert BOB not in await told(store, ANN, then)
    assert (await told(store, BOB, then))[BOB] == (3, 3), "one's own devices hear of it"
    assert (await told(store, ANN))[BOB] == (3, 0)
    await talk(store, G, ANN, "3")
    third = await move(store, BOB, 4, 4)
    assert (third.arrived, (await told(store, ANN, then))[BOB]) == (True, (4, 0))
    assert DAN not in await told(store, ANN)
