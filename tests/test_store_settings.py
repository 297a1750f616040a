"""Title, topic, photo and slow mode by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import pytest
import trio

from protocol.errors import Refused, SlowMode
from protocol.frames import (
    AnyAction,
    Content,
    ConversationPhoto,
    ConversationSlowMode,
    ConversationTitle,
    ConversationTopic,
    Entry,
    MemberRole,
    MessageSchedule,
    MessageSend,
    PollCreate,
)
from storage.rows import Acted, Answer, Rules
from storage.scheduled import SendScheduled
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    MOST,
    Bench,
    D,
    G,
    H,
    bench,
    group,
    log,
    place,
    say,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures
PHOTO, OTHERS = uid(70), uid(71)


def title(text: str, key: str = "t", conversation: UUID = G) -> ConversationTitle:
    return ConversationTitle(id=1, conversation=conversation, key=key, title=text)


def topic(text: str | None, key: str = "t", conversation: UUID = G) -> ConversationTopic:
    return ConversationTopic(id=1, conversation=conversation, key=key, topic=text)


def photo(medium: UUID | None, key: str = "p", conversation: UUID = G) -> ConversationPhoto:
    return ConversationPhoto(id=1, conversation=conversation, key=key, photo=medium)


def slow(seconds: int, key: str = "s", conversation: UUID = G) -> ConversationSlowMode:
    return ConversationSlowMode(id=1, conversation=conversation, key=key, seconds=seconds)


async def act(store: Store, author: UUID, action: AnyAction) -> Acted:
    return await store.act(0, author, action, Rules(MOST))


async def refusal(store: Store, author: UUID, action: AnyAction) -> str:
    with pytest.raises(Refused) as caught:
        await act(store, author, action)
    return caught.value.code


async def write(store: Store, author: UUID, *keys: str, conversation: UUID = G) -> list[Answer]:
    return (await store.append(0, [say(conversation, author, key) for key in keys], {})).answers


def entry(acted: Acted, kind: Any, key: str, author: UUID = ANN, **more: Any) -> Entry:
    return Entry(
        conversation=G, seq=acted.seq, kind=kind, author=author, key=key, at_ms=acted.at_ms, **more
    )  # fmt: skip


# --- Title, topic, photo ----------------------------------------------------------------------------------------------


async def test_title_and_topic_are_entries_and_stand_in_the_state(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    first = await act(store, ANN, title("Pub"))
    assert first.entry == entry(first, "conversation.title", "t", title="Pub")
    second = await act(store, ANN, topic("beer", "t2"))
    assert second.entry == entry(second, "conversation.topic", "t2", topic="beer")
    found = await state(bench.other, BOB, G)
    assert (found.title, found.topic) == ("Pub", "beer")
    third = await act(store, ANN, topic(None, "t3"))
    assert third.entry == entry(third, "conversation.topic", "t3")
    assert (await log(bench.other, G))[1:] == [first.entry, second.entry, third.entry]
    assert (await state(bench.other, BOB, G)).topic is None
    again = await act(store, ANN, topic("beer", "t2"))
    assert (again.seq, again.entry) == (3, None)
    assert (await state(bench.other, BOB, G)).topic is None, "a repeat sets nothing again"


async def test_what_is_set_already_stores_nothing_and_keeps_its_key(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    for action in (title("club"), topic(None, "t2"), photo(None), slow(0)):
        acted = await act(store, ANN, action)
        assert (acted.seq, acted.entry) == (1, None)
    await act(store, ANN, title("Pub", "t3"))
    assert (await act(store, ANN, title("club"))).seq == 1
    assert (await state(store, ANN, G)).title == "Pub"
    assert await refusal(store, ANN, title("Bar", "t3")) == "key_reused"


async def test_who_may_set_what(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r", user=BOB, role="admin"))
    await store.open_direct(D, ANN, BOB)
    await bench.add_photo(PHOTO, BOB)
    for name in ("t1", "t2", "t3", "t4"):
        made: dict[str, Any] = {"t1": ("x",), "t2": ("x",), "t3": (PHOTO,), "t4": (9,)}
        make: Any = {"t1": title, "t2": topic, "t3": photo, "t4": slow}[name]
        assert await refusal(store, CID, make(*made[name], name)) == "forbidden"
        assert await refusal(store, DAN, make(*made[name], name)) == "not_a_member"
        assert await refusal(store, BOB, make(*made[name], name, D)) == "wrong_kind"
        assert (await act(store, BOB, make(*made[name], name))).entry is not None


async def test_a_photo_is_an_upload_of_ones_own(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await bench.add_photo(PHOTO, ANN)
    await bench.add_photo(OTHERS, BOB)
    assert await refusal(store, ANN, photo(OTHERS)) == "unknown_medium"
    assert await refusal(store, ANN, photo(uid(72))) == "unknown_medium"
    acted = await act(store, ANN, photo(PHOTO))
    assert acted.entry == entry(acted, "conversation.photo", "p", photo=PHOTO)
    assert (await state(store, BOB, G)).photo == PHOTO
    cleared = await act(store, ANN, photo(None, "p2"))
    assert cleared.entry == entry(cleared, "conversation.photo", "p2")
    assert (await state(store, BOB, G)).photo is None
    assert (await act(store, ANN, photo(PHOTO, "p3"))).seq == 4, "and back"


async def test_two_titles_at_once(bench: Bench) -> None:
    """From two processes: both are entries, and the state is what the last one says."""
    await group(bench.store, ANN, BOB)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, title("first")))

        async def second() -> None:
            assert (await act(bench.store, ANN, title("second", "t2"))).seq == 3

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (await state(bench.store, ANN, G)).title == "second"


# --- Slow mode --------------------------------------------------------------------------------------------------------


async def test_slow_mode_slows_members_and_nobody_else(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, MemberRole(id=1, conversation=G, key="r", user=CID, role="admin"))
    await talk(store, G, BOB, "before")
    acted = await act(store, ANN, slow(30))
    assert acted.entry == entry(acted, "conversation.slow_mode", "s", seconds=30)
    assert (await state(store, BOB, G)).slow_mode_s == 30
    [first] = await write(store, BOB, "k1")
    assert (first.new, first.seq, first.error) == (True, 5, None)
    [second] = await write(bench.other, BOB, "k2")
    assert (second.new, second.seq, second.error) == (False, None, "slow_mode")
    assert 25_000 < second.retry_after_ms <= 30_000
    assert [one.new for one in await write(store, CID, "c1", "c2")] == [True, True], "an admin"
    assert [one.new for one in await write(store, ANN, "a1", "a2")] == [True, True], "the owner"
    assert [one.seq for one in await log(store, G)] == list(range(1, 10)), "no number was spent"


async def test_what_is_said_by_an_action_is_slowed_too(bench: Bench) -> None:
    """Answers, forwards and polls go another way into the log than plain messages. What is scheduled is in no hurry."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "first")
    await act(store, ANN, slow(30))
    poll = PollCreate(id=1, conversation=G, key="q", question="When?", options=["8", "9"])
    assert (await act(store, BOB, poll)).entry is not None
    [plain] = await write(store, BOB, "k1")
    assert plain.error == "slow_mode", "it counts"
    answer = MessageSend(id=1, conversation=G, key="k2", text="late", content=Content(reply_to=2))
    with pytest.raises(SlowMode) as caught:
        await act(bench.other, BOB, answer)
    assert 25_000 < (caught.value.retry_after_ms or 0) <= 30_000
    assert (await act(store, BOB, poll)).entry is None, "a repeat gets its first answer"
    assert (await act(store, ANN, answer)).entry is not None, "the owner"
    later = await store.schedule(uid(80), BOB, MessageSchedule(id=1, conversation=G, key="l", at_ms=0, text="later"))
    sent = await store.act(0, BOB, SendScheduled(G, later.scheduled), Rules(MOST))
    assert sent.entry is not None


async def test_a_repeat_is_answered_first_in_slow_mode_too(bench: Bench) -> None:
    """Whether it is alone or beside what comes too early."""
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, slow(30))
    [first] = await write(store, BOB, "k1")
    again, early, once_more = await write(store, BOB, "k1", "k2", "k1")
    assert (again.seq, again.new, again.error) == (first.seq, False, None)
    assert (once_more.seq, once_more.error) == (first.seq, None)
    assert early.error == "slow_mode"
    [reused] = (await store.append(0, [say(G, BOB, "k1", "other")], {})).answers
    assert reused.reused


async def test_of_one_batch_one_message_passes(bench: Bench) -> None:
    """Each person's first; and other conversations are not touched by it."""
    store = bench.store
    await group(store, ANN, BOB, CID)
    await group(store, BOB, ANN, conversation=H)
    await act(store, ANN, slow(30))
    batch = [
        say(G, BOB, "b1"), say(H, ANN, "h1"), say(G, BOB, "b2"), say(G, CID, "c1"), say(G, BOB, "b1"),
        say(G, BOB, "b2"), say(H, ANN, "h2"), say(G, DAN, "d1"),
    ]  # fmt: skip
    answers = (await store.append(0, batch, {})).answers
    assert [(one.seq, one.error) for one in answers] == [
        (3, None), (2, None), (None, "slow_mode"), (4, None), (3, None), (None, "slow_mode"), (3, None), (None, None),
    ]  # fmt: skip
    assert answers[2].retry_after_ms == 30_000


async def test_after_the_time_the_same_message_is_accepted(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, slow(30))
    await write(store, BOB, "k1")
    assert [one.error for one in await write(store, BOB, "k2")] == ["slow_mode"]
    await bench.age(G, 3, 31_000)
    assert [one.seq for one in await write(store, BOB, "k2")] == [4]
    assert [one.error for one in await write(store, BOB, "k3")] == ["slow_mode"], "and it begins anew"
    await act(store, ANN, slow(0, "s2"))
    assert [one.new for one in await write(store, BOB, "k3", "k4")] == [True, True]


async def test_two_messages_at_once_in_slow_mode(bench: Bench) -> None:
    """By two devices of one person, over two processes: one passes."""
    await group(bench.store, ANN, BOB)
    await act(bench.store, ANN, slow(30))
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("append", [say(G, BOB, "k1")]))

        async def second() -> None:
            assert [one.error for one in await write(bench.store, BOB, "k2")] == ["slow_mode"]

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert len(await log(bench.store, G)) == 3


async def test_a_message_that_waits_for_slow_mode_is_slowed(bench: Bench) -> None:
    """Judged under the lock, by what stands after the wait."""
    await group(bench.store, ANN, BOB)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, slow(30)))

        async def second() -> None:
            assert [(one.new, one.error) for one in await write(bench.store, BOB, "k1")] == [(True, None)]
            assert [one.error for one in await write(bench.store, BOB, "k2")] == ["slow_mode"]

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
