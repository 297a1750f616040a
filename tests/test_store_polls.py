"""Polls, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any

import pytest
import trio
from msgspec import UNSET

from protocol.errors import NotAMember, Refused, UnknownMessage, UnknownPoll
from protocol.frames import (
    AnyAction,
    ConversationRetention,
    Entry,
    MessageDelete,
    MessageEdit,
    MessageReact,
    OneVote,
    Poll,
    PollClose,
    PollCreate,
    PollOption,
    PollVote,
)
from storage.rows import Acted, Rules
from storage.scheduled import NOBODY
from storage.store import Store
from tests.test_store_contract import ANN, BOB, CID, DAN, MOST, Bench, G, bench, group, log, place, state, talk
from tests.test_store_messages import message

__all__ = ["bench", "place"]  # fixtures


def ask(*options: str, key: str = "q", multiple: bool = False, anonymous: bool = False) -> PollCreate:
    return PollCreate(
        id=1, conversation=G, key=key, question="Which?", options=list(options or ("a", "b", "c")), multiple=multiple,
        anonymous=anonymous,
    )  # fmt: skip


def vote(*options: int, key: str = "v", seq: int = 2) -> PollVote:
    return PollVote(id=1, conversation=G, key=key, seq=seq, options=list(options))


def close(key: str = "z", seq: int = 2) -> PollClose:
    return PollClose(id=1, conversation=G, key=key, seq=seq)


async def act(store: Store, author: Any, action: AnyAction) -> Acted:
    return await store.act(0, author, action, Rules(MOST))


async def refusal(store: Store, author: Any, action: AnyAction) -> str:
    with pytest.raises(Refused) as caught:
        await act(store, author, action)
    return caught.value.code


async def poll(store: Store, seq: int = 2) -> Poll:
    found = (await message(store, seq)).poll
    assert found is not UNSET
    return found


async def counts(store: Store, seq: int = 2) -> tuple[list[int], int]:
    found = await poll(store, seq)
    return [one.count for one in found.options], found.voters


async def test_a_poll_is_a_message(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    acted = await act(store, ANN, ask("tea", "coffee", multiple=True))
    asked = Poll("Which?", [PollOption("tea", 0), PollOption("coffee", 0)], 0, multiple=True)
    assert acted.entry == Entry(
        conversation=G, seq=2, kind="message", author=ANN, key="q", at_ms=acted.at_ms, poll=asked
    )
    assert (await log(bench.other, G))[1] == acted.entry
    assert (await state(store, BOB, G)).unread == 1
    again = await act(bench.other, ANN, ask("tea", "coffee", multiple=True))
    assert (again.seq, again.entry) == (2, None)
    assert await refusal(store, ANN, ask("tea", "cocoa", multiple=True)) == "key_reused"
    assert await refusal(store, CID, ask()) == "not_a_member"


async def test_a_vote_replaces_ones_own_and_nothing_takes_it_back(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, ask())
    first = await act(store, BOB, vote(0))
    assert first.entry == Entry(
        conversation=G, seq=3, kind="poll.voted", author=BOB, key="v", at_ms=first.at_ms, of=2, counts=[1, 0, 0],
        voters=1, options=[0],
    )  # fmt: skip
    assert (await log(store, G))[2] == first.entry
    await act(store, CID, vote(0))
    assert await counts(store) == ([2, 0, 0], 2)
    other = await act(store, BOB, vote(2, key="w"))
    assert other.entry is not None
    assert (other.entry.counts, other.entry.voters, other.entry.options) == ([1, 0, 1], 2, [2])
    gone = await act(store, BOB, vote(key="x"))
    assert gone.entry is not None
    assert (gone.entry.counts, gone.entry.voters, gone.entry.options) == ([1, 0, 0], 1, [])
    assert await counts(store) == ([1, 0, 0], 1)
    assert (await message(store)).changed == 6
    assert (await act(bench.other, BOB, vote(0))).seq == 3, "a repeat gets its first answer, and does not vote again"
    assert await counts(store) == ([1, 0, 0], 1)
    same = await act(store, CID, vote(0, key="same"))
    assert (same.seq, same.entry) == (6, None), "it is so already"


async def test_who_may_choose_several(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, ask())
    await act(store, ANN, ask(key="q2", multiple=True))
    assert await refusal(store, BOB, vote(0, 1)) == "invalid"
    assert await refusal(store, BOB, vote(3)) == "invalid", "no such option"
    acted = await act(store, BOB, vote(2, 0, 2, seq=3))
    assert acted.entry is not None
    assert (acted.entry.options, acted.entry.counts, acted.entry.voters) == ([0, 2], [1, 0, 1], 1)


async def test_an_anonymous_poll_names_nobody(bench: Bench) -> None:
    """The entry is by nobody, or the difference of two would tell who chose what; a repeat finds it all the same, and
    one is told what one chose oneself."""
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, ask(anonymous=True))
    await act(store, CID, vote(1))
    acted = await act(store, BOB, vote(0))
    assert acted.entry == Entry(
        conversation=G, seq=4, kind="poll.voted", author=NOBODY, key="vote:4", at_ms=acted.at_ms, of=2,
        counts=[1, 1, 0], voters=2,
    )  # fmt: skip
    assert (await log(store, G))[3] == acted.entry
    again = await act(bench.other, BOB, vote(0))
    assert (again.seq, again.at_ms, again.entry) == (4, acted.at_ms, None)
    assert await refusal(store, BOB, vote(1)) == "key_reused"
    page = await store.votes(BOB, G, 2, 0, 10)
    assert (page.votes, page.mine, page.more) == ([], [0], False)
    assert (await store.votes(ANN, G, 2, 0, 10)).mine == []


async def test_who_voted_is_told_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, ask())
    at = {}
    for number, (person, option) in enumerate([(CID, 1), (ANN, 0), (BOB, 1)], 3):
        at[number] = (await act(store, person, vote(option))).at_ms
    page = await store.votes(BOB, G, 2, 0, 2)
    assert (page.votes, page.mine, page.more) == (
        [OneVote(CID, [1], 3, at[3]), OneVote(ANN, [0], 4, at[4])], [1], True,
    )  # fmt: skip
    rest = await bench.other.votes(ANN, G, 2, 4, 2)
    assert (rest.votes, rest.mine, rest.more) == ([OneVote(BOB, [1], 5, at[5])], [0], False)
    with pytest.raises(NotAMember):
        await store.votes(DAN, G, 2, 0, 10)
    with pytest.raises(UnknownMessage):
        await store.votes(BOB, G, 3, 0, 10)
    await talk(store, G, ANN, "k")  # 6
    with pytest.raises(UnknownPoll):
        await store.votes(BOB, G, 6, 0, 10)


async def test_a_closed_poll_takes_no_votes(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, BOB, ask())
    await act(store, CID, vote(0))
    assert await refusal(store, CID, close()) == "forbidden"
    acted = await act(store, BOB, close())
    assert acted.entry == Entry(
        conversation=G, seq=4, kind="poll.closed", author=BOB, key="z", at_ms=acted.at_ms, of=2
    )
    assert (await poll(store)).closed
    again = await act(store, ANN, close("y"))
    assert (again.seq, again.entry) == (4, None), "the owner, and closed already"
    assert await refusal(store, CID, vote(1, key="late")) == "poll_closed"
    assert (await act(store, CID, vote(0))).seq == 3, "a repeat gets its first answer"
    assert await counts(store) == ([1, 0, 0], 1)
    await act(store, BOB, ask(key="q2"))  # 5
    assert (await act(store, ANN, close("x", 5))).seq == 6, "the owner"


async def test_votes_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    await act(store, ANN, ask())  # 3
    for action in (vote(0), close()):
        assert await refusal(store, ANN, action) == "unknown_poll"
        assert await refusal(store, CID, action) == "not_a_member"
    assert await refusal(store, ANN, vote(0, seq=9)) == "unknown_message"
    await act(store, ANN, MessageDelete(id=1, conversation=G, key="d", seq=3))
    assert await refusal(store, BOB, vote(0, seq=3)) == "message_deleted"
    assert await refusal(store, BOB, close(seq=3)) == "message_deleted"


@pytest.mark.parametrize("first", ["vote", "close"])
async def test_a_vote_and_the_end_at_once(bench: Bench, first: str) -> None:
    """From two processes: whoever has the lock first is first."""
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, ask())
    outcomes: list[str] = []

    async def other(author: Any, action: AnyAction) -> None:
        try:
            outcomes.append(str((await act(bench.other, author, action)).seq))
        except Refused as problem:
            outcomes.append(problem.code)

    async with trio.open_nursery() as nursery:
        held, waits = ((BOB, vote(0)), (ANN, close())) if first == "vote" else ((ANN, close()), (BOB, vote(0)))
        commit = await bench.hold(("act", *held))
        nursery.start_soon(other, *waits)
        await bench.until_waiting()
        await commit()
    assert outcomes == (["4"] if first == "vote" else ["poll_closed"])
    found = await poll(bench.store)
    assert (found.closed, found.voters) == (True, int(first == "vote"))


@pytest.mark.parametrize("key", ["same", "other"])
async def test_voting_twice_at_once(bench: Bench, key: str) -> None:
    """From two processes, with one key or two: one vote, one entry."""
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, ask())
    answers: list[Acted] = []

    async def other() -> None:
        answers.append(await act(bench.other, BOB, vote(1, key=key)))

    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, vote(1, key="same")))
        nursery.start_soon(other)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in answers] == [(3, None)]
    assert await counts(bench.store) == ([0, 1, 0], 1)


async def test_two_people_at_once_are_both_counted(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, ask())
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, vote(1)))
        nursery.start_soon(act, bench.other, ANN, vote(1))
        await bench.until_waiting()
        await commit()
    assert await counts(bench.store) == ([0, 2, 0], 2)


async def test_what_is_done_to_a_poll_leaves_it_and_a_deletion_does_not(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, ConversationRetention(id=1, conversation=G, key="t", seconds=60))  # 2
    await act(store, ANN, ask())  # 3
    await act(store, BOB, vote(1, seq=3))
    await act(store, BOB, MessageReact(id=1, conversation=G, key="x", seq=3, emoji="👍"))
    await act(store, ANN, MessageEdit(id=1, conversation=G, key="e", seq=3, text="please"))
    found = await message(store, 3)
    assert (found.text, len(found.reactions), found.changed) == ("please", 1, 6)
    assert found.expires_at_ms is not UNSET
    assert await counts(store, 3) == ([0, 1, 0], 1)
    await act(store, ANN, MessageDelete(id=1, conversation=G, key="d", seq=3))
    assert (await message(store, 3)).poll is UNSET
    with pytest.raises(UnknownPoll):
        await store.votes(BOB, G, 3, 0, 10)
