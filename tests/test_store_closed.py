"""A direct conversation that is closed for writing, by the contract of every ``Store``."""

from collections.abc import Sequence
from uuid import UUID

import pytest
import trio
from msgspec import UNSET

from protocol.errors import ConversationClosed, Refused
from protocol.frames import (
    AnyAction,
    Attachment,
    Content,
    ConversationRetention,
    Entry,
    LinkCreate,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessagePin,
    MessageReact,
    MessageSchedule,
    MessageSend,
    PollClose,
    PollCreate,
    PollVote,
)
from protocol.frames.messages import Source
from storage.rows import Answer, OthersReceipt, Raise, Rules
from storage.scheduled import NOBODY, SendScheduled
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    Bench,
    D,
    G,
    bench,
    group,
    log,
    place,
    say,
    seqs,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures

REFUSED = Answer(False, False, error="conversation_closed")


async def write(store: Store, author: UUID, *keys: str) -> list[Answer]:
    return (await store.append(0, [say(D, author, key) for key in keys], {})).answers


async def refusals(store: Store, author: UUID, actions: Sequence[AnyAction | SendScheduled]) -> dict[str, str]:
    codes = {}
    for action in actions:
        with pytest.raises(Refused) as caught:
            await store.act(0, author, action, Rules())
        codes[type(action).__name__] = caught.value.code
    return codes


async def test_a_closed_conversation_says_so_by_an_entry_of_nobody_and_in_its_state(bench: Bench) -> None:
    store = bench.store
    await store.open_direct(D, ANN, BOB)
    await talk(store, D, ANN, "a")
    before = await state(store, ANN, D)
    assert not before.closed
    assert await bench.settle(ANN, BOB, True) == (D, 3)
    entry = (await log(bench.other, D))[-1]
    assert entry == Entry(
        conversation=D, seq=3, kind="conversation.closed", author=NOBODY, key="conversation.closed:3", at_ms=entry.at_ms
    )
    for person in (ANN, BOB):
        now = await state(bench.other, person, D)
        assert (now.closed, now.head, now.active_at_ms, now.unread) == (True, 3, before.active_at_ms, person == BOB)
    assert await bench.settle(ANN, BOB, True) is None, "it is so already"
    assert await bench.settle(ANN, BOB, False) == (D, 4)
    assert [one.kind for one in await log(store, D)][2:] == ["conversation.closed", "conversation.opened"]
    assert not (await state(store, BOB, D)).closed
    assert await write(store, BOB, "k") == [Answer(True, False, 5, (await log(store, D))[4].at_ms)]


async def test_whoever_has_no_direct_conversation_has_none_that_could_be_closed(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    assert await bench.settle(ANN, BOB, True) is None
    assert await talk(bench.store, G, ANN, "k") == [2], "in a group one writes on"


async def test_nobody_writes_into_a_closed_conversation_and_a_repeat_gets_its_first_answer(bench: Bench) -> None:
    """By the short way or the long one, and whatever else is in the batch (docs/hazards.md, A11)."""
    store = bench.store
    await store.open_direct(D, ANN, BOB)
    await group(store, ANN, BOB)
    [first] = await write(store, ANN, "a")
    await bench.settle(ANN, BOB, True)
    assert await write(store, ANN, "b") == [REFUSED]
    assert await write(store, BOB, "b") == [REFUSED], "neither of the two"
    [other, closed, again] = (await store.append(0, [say(G, ANN, "g"), say(D, ANN, "c"), say(D, ANN, "a")], {})).answers
    assert (other.seq, closed, again.seq, again.new) == (2, REFUSED, first.seq, False)
    assert [one.error for one in await write(store, CID, "x")] == [None], "a stranger learns nothing of it"
    await bench.settle(ANN, BOB, False)
    assert [one.seq for one in await write(store, ANN, "b")] == [5], "what was refused may be said now"


async def test_no_action_writes_into_a_closed_conversation_but_the_end_of_ones_own_words(bench: Bench) -> None:
    store, photo = bench.store, uid(400)
    await store.open_direct(D, ANN, BOB)
    await group(store, ANN, BOB)
    await talk(store, D, ANN, "a", "b")  # 2, 3
    await store.act(0, ANN, PollCreate(id=1, conversation=D, key="q", question="so?", options=["a", "b"]), Rules())  # 4
    await bench.add_upload(photo, ANN, "photo")
    await bench.settle(ANN, BOB, True)  # 5
    show = Content(media=[Attachment(photo, "photo")])
    actions: list[AnyAction | SendScheduled] = [
        MessageSend(id=1, conversation=D, key="1", text="", content=show),
        MessageEdit(id=1, conversation=D, key="2", seq=2, text="other"),
        MessageReact(id=1, conversation=D, key="3", seq=2, emoji="+", on=True),
        MessageForward(id=1, conversation=D, key="4", source=Source(D, 2)),
        MessagePin(id=1, conversation=D, key="5", seq=2, on=True),
        PollCreate(id=1, conversation=D, key="6", question="so?", options=["a", "b"]),
        PollVote(id=1, conversation=D, key="7", seq=4, options=[0]),
        PollClose(id=1, conversation=D, key="8", seq=4),
        ConversationRetention(id=1, conversation=D, key="9", seconds=60),
    ]
    for person in (ANN, BOB):
        assert set((await refusals(store, person, actions)).values()) == {"conversation_closed"}
    assert [entry.seq for entry in await log(store, D)] == [1, 2, 3, 4, 5]
    assert (await store.act(0, ANN, MessageDelete(id=1, conversation=D, key="d", seq=2), Rules())).seq == 6
    assert (await log(store, D))[1].text is UNSET
    forward = MessageForward(id=1, conversation=G, key="f", source=Source(D, 3))
    assert (await store.act(0, BOB, forward, Rules())).seq == 2, "what one may read one may carry on"
    with pytest.raises(ConversationClosed):
        await store.create_link(ANN, LinkCreate(id=1, conversation=D, key="l"), Rules())


async def test_an_action_that_is_repeated_gets_its_first_answer_though_it_is_closed(bench: Bench) -> None:
    store, react = bench.store, MessageReact(id=1, conversation=D, key="r", seq=2, emoji="+", on=True)
    await store.open_direct(D, ANN, BOB)
    await talk(store, D, ANN, "a")
    acted = await store.act(0, BOB, react, Rules())
    await bench.settle(ANN, BOB, True)
    again = await bench.other.act(0, BOB, react, Rules())
    assert (again.seq, again.at_ms, again.entry) == (acted.seq, acted.at_ms, None)


async def test_what_was_scheduled_for_a_closed_conversation_fails_and_says_why(bench: Bench) -> None:
    store = bench.store
    await store.open_direct(D, ANN, BOB)
    await store.schedule(uid(201), ANN, MessageSchedule(id=1, conversation=D, key="s", at_ms=0, text="later"))
    await bench.settle(ANN, BOB, True)
    with pytest.raises(ConversationClosed):
        await store.schedule(uid(202), ANN, MessageSchedule(id=1, conversation=D, key="t", at_ms=0, text="later"))
    assert await refusals(store, ANN, [SendScheduled(D, uid(201))]) == {"SendScheduled": "conversation_closed"}
    rows = (await store.personal(ANN, 0, 1 << 52, False, 99, 1 << 20)).rows
    [row] = [one for one in rows if one.state.what == "scheduled"]
    assert row.state.scheduled is not UNSET
    assert row.state.scheduled is not None
    assert row.state.scheduled.problem == "conversation_closed"


async def test_nothing_is_told_of_the_others_cursors_while_it_is_closed_and_all_once_it_is_opened(bench: Bench) -> None:
    store = bench.store
    await store.open_direct(D, ANN, BOB)
    await talk(store, D, ANN, "a", "b")
    await store.raise_receipts([Raise(D, BOB, 2, 1)])
    [before] = (await state(store, ANN, D)).receipts
    assert (before.user, before.delivered, before.read) == (BOB, 2, 1)
    await bench.settle(ANN, BOB, True)
    [raised] = await store.raise_receipts([Raise(D, BOB, 3, 3)])
    assert (raised.rose, raised.hidden, raised.arrived) == (True, True, False), "one's own devices alone hear of it"
    assert (await state(store, ANN, D)).receipts == []
    assert await store.receipts_since(ANN, 0) == []
    assert await store.receipts_since(BOB, 0) == [OthersReceipt(D, BOB, 3, 3)]
    assert (await store.readers(ANN, D, 2, None, 9)).readers == []
    now_ms = (await log(store, D))[-1].at_ms
    await trio.sleep(0.002)
    await bench.settle(ANN, BOB, False)
    assert [(one.user, one.delivered, one.read) for one in (await state(store, ANN, D)).receipts] == [(BOB, 3, 3)]
    assert OthersReceipt(D, BOB, 3, 3) in await store.receipts_since(ANN, now_ms), "also to who was told before"
    assert [one.user for one in (await store.readers(ANN, D, 2, None, 9)).readers] == [BOB]


async def test_both_peoples_devices_read_again_whether_typing_is_told(bench: Bench) -> None:
    store = bench.store
    await store.open_direct(D, ANN, BOB)
    told = {person: (await store.standing(person, None)).number or 0 for person in (ANN, BOB)}
    for shut in (True, False):
        await bench.settle(BOB, ANN, shut)
        for person in (ANN, BOB):
            now = await store.standing(person, None, told[person], told[person])
            assert [span.large for span in now.spans] == [shut]
            assert now.rows == 0, "no row tells of it"
            assert now.number is not None
            assert now.number > told[person]
            told[person] = now.number
            assert (await store.standing(person, None, told[person], told[person])).same


@pytest.mark.parametrize("first", ["write", "close"])
async def test_a_message_and_the_closing_race_in_both_orders(bench: Bench, first: str) -> None:
    """docs/hazards.md, A2: whoever waited for the lock sees what its holder left."""
    await bench.store.open_direct(D, ANN, BOB)
    if first == "write":
        commit = await bench.hold(("append", [say(D, ANN, "k")]))
    else:
        commit = await bench.hold(("settle", BOB, ANN, True))
    found: list[list[Answer]] = []
    async with trio.open_nursery() as nursery:

        async def write_too() -> None:
            found.append(await write(bench.store, BOB, "l"))

        nursery.start_soon(write_too)
        await bench.until_waiting()
        await commit()
    if first == "write":
        assert [one.seq for one in found[0]] == [3]
        assert await bench.settle(BOB, ANN, True) == (D, 4)
    else:
        assert found == [[REFUSED]]
        assert await seqs(bench.store, ANN, D) == [1, 2]


async def test_a_conversation_that_is_opened_while_it_is_to_be_closed_is_closed(bench: Bench) -> None:
    """Whoever settles two people locks their conversation before their accounts, also one that came meanwhile."""
    commit = await bench.hold(("direct", D, ANN, BOB))
    async with trio.open_nursery() as nursery:
        found: list[tuple[UUID, int] | None] = []

        async def settle() -> None:
            found.append(await bench.settle(ANN, BOB, True))

        nursery.start_soon(settle)
        await bench.until_waiting()
        await commit()
    assert found == [(D, 2)]
    assert await write(bench.store, ANN, "k") == [REFUSED]
