"""A call waits for its one answer, however it comes; on the simulated database and a virtual clock."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from konnect_server import call as room, commands
from konnect_server.call import Call, Calls
from konnect_server.conversation import INBOX_LIMIT, Posting
from protocol import closing, codec, frames
from protocol.errors import InternalError, KonnectError, NotAMember, RateLimited, Unavailable
from protocol.frames import Appended, Cursors, Done, MessageSend, ReceiptMove, Typing
from storage.errors import StorageRefused, StorageUnavailable
from tests.fakes import ANN, BOB, CID, ROOM
from tests.test_session import open_stage


def send(key: str = "k", text: str = "hello") -> MessageSend:
    return MessageSend(id=0, conversation=ROOM, key=key, text=text)


async def refusal(calls: Calls, user: Any, command: frames.Command) -> KonnectError:
    """What a call that fails raises."""
    with pytest.raises(KonnectError) as caught:
        await calls.answer(user, command)
    return caught.value


async def test_a_message_is_answered_when_it_is_stored_and_again_when_it_is_repeated(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        calls = Calls(stage.desk)
        first = await calls.answer(ANN, send())
        assert isinstance(first, Appended)
        assert first.seq == 2
        assert await calls.answer(ANN, send()) == first
        refused = await refusal(calls, CID, send())
        assert isinstance(refused, NotAMember)
        assert str(refused) == str(NotAMember(CID, ROOM))


async def test_a_receipt_and_typing_reach_the_others_sockets(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        his, calls = await stage.phone(BOB), Calls(stage.desk)
        assert await calls.answer(ANN, ReceiptMove(id=0, conversation=ROOM, read=1)) == Cursors(1, 1)
        flushes = stage.deck.flushes
        assert await calls.answer(ANN, Typing(id=0, conversation=ROOM)) == Done()
        assert stage.deck.flushes > flushes, "or it would wait in the outbox for somebody else's turn"
        assert [frame["read"] for frame in his.of("receipt")] == [1]
        assert [frame["user"] for frame in his.of("typing")] == [str(ANN)]
        for command in (ReceiptMove(id=0, conversation=ROOM), Typing(id=0, conversation=ROOM)):
            assert isinstance(await refusal(calls, CID, command), NotAMember)
        assert len(his.of("typing")) == 1


async def test_each_person_has_a_rate_of_messages_and_one_of_the_rest(autojump_clock: MockClock) -> None:
    """Those of one socket; what is taken is given back by time."""
    async with open_stage(messages_per_s=2.0, messages_burst=2, commands_per_s=1.0, commands_burst=1) as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        calls = Calls(stage.desk)
        for key in ("a", "b"):
            await calls.answer(ANN, send(key))
        problem = await refusal(calls, ANN, send("c"))
        assert isinstance(problem, RateLimited)
        assert problem.retry_after_ms == 500
        await calls.answer(BOB, send("c"))
        listing = frames.ConversationList(id=0)
        await calls.answer(ANN, listing)
        assert isinstance(await refusal(calls, ANN, listing), RateLimited)
        await trio.sleep(0.5)
        await calls.answer(ANN, send("c"))


async def test_the_rates_of_few_are_remembered(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many call."""
    monkeypatch.setattr(room, "PEOPLE", 2)
    async with open_stage(commands_per_s=0.001) as stage:
        calls = Calls(stage.desk)
        for user in (ANN, BOB, CID):
            await calls.answer(user, frames.ConversationList(id=0))
        assert len(calls._commands) == 2


# --- the inbox ---


async def test_a_call_waits_for_room_in_the_inbox(autojump_clock: MockClock) -> None:
    """What sockets put in may go one over; calls, of which there may be any number, never do."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        door = stage.store.shut("append")
        actor = stage.deck.conversation(ROOM)
        askers = [Call(stage.desk, ANN) for _ in range(INBOX_LIMIT + 20)]
        async with trio.open_nursery() as nursery:
            for number, asker in enumerate(askers):
                nursery.start_soon(asker.run, send(f"k{number}"))
            await door.reached.wait()
            await trio.sleep(1)
            assert len(actor._inbox) == INBOX_LIMIT
            assert len(actor._waiting) >= 19
            door.open()
        assert [entry.seq for entry in stage.store.database.tables.entries[ROOM]] == list(range(1, len(askers) + 2))


async def test_who_waits_for_room_waits_no_longer_than_its_time(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        stage.store.shut("append")
        actor = stage.deck.conversation(ROOM)
        for number in range(INBOX_LIMIT + 1):
            actor.post(Posting(Call(stage.desk, BOB), 0, BOB, f"k{number}", "x"))
        began = trio.current_time()
        assert isinstance(await refusal(Calls(stage.desk), ANN, send()), Unavailable)
        assert trio.current_time() - began == pytest.approx(room.CALL_S)
        assert len(actor._inbox) == INBOX_LIMIT, "it was never put in"


# --- no answer ---


@pytest.mark.parametrize("close", [closing.UNAVAILABLE, closing.BEHIND], ids=lambda close: close.reason)
async def test_what_would_close_a_socket_is_unavailable(autojump_clock: MockClock, close: closing.Close) -> None:
    """The outcome is unknown, and the text says why."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        stage.store.shut("append")
        asker, problems = Call(stage.desk, ANN), []

        async def ask() -> None:
            with pytest.raises(Unavailable) as caught:
                await asker.run(send())
            problems.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            asker.close(close)
        assert close.reason in problems[0]
        asker.push(codec.ok(0, Appended(2, 0)))  # comes too late, and harms nobody


async def test_a_writer_that_gives_up_ends_the_call(autojump_clock: MockClock) -> None:
    """Before the call's own time is over; a repeat with the same key is stored once."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        calls = Calls(stage.desk)
        stage.store.failing["append"] = StorageUnavailable("away")
        began = trio.current_time()
        assert "unavailable" in str(await refusal(calls, ANN, send()))
        assert trio.current_time() - began < room.CALL_S
        del stage.store.failing["append"]
        assert (await calls.answer(ANN, send())).seq == 2  # type: ignore[attr-defined]  # Appended


async def test_a_lost_answer_is_found_again(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        stage.store.lost["append"] = stage.store.lost["create_group"] = 1
        calls = Calls(stage.desk)
        assert (await calls.answer(ANN, send())).seq == 2  # type: ignore[attr-defined]  # Appended
        make = frames.ConversationCreate(id=0, key="m", title="t", members=[])
        assert await calls.answer(ANN, make) == await calls.answer(ANN, make)


@pytest.mark.parametrize(
    ("failure", "code"), [(StorageUnavailable("away"), "unavailable"), (StorageRefused("no"), "invalid")]
)
async def test_a_read_says_what_storage_said(autojump_clock: MockClock, failure: Exception, code: str) -> None:
    async with open_stage() as stage:
        stage.store.failing["history"] = failure
        began = trio.current_time()
        assert (await refusal(Calls(stage.desk), ANN, frames.HistoryGet(id=0, conversation=ROOM))).code == code
        assert trio.current_time() - began <= commands.GIVE_UP_S + 1


def test_an_unknown_code_is_a_bug_of_ours() -> None:
    """No client is told of a code that the document does not have."""
    asker = Call(_no_desk(), ANN)
    asker.push(codec.message(b"\x84\xa1t\xa5error\xa2id\x00\xa4code\xa3odd\xa7message\xa1x"))
    assert isinstance(asker._answer, InternalError)
    asker = Call(_no_desk(), ANN)
    asker.push(codec.error(0, RateLimited(1500)))
    assert isinstance(asker._answer, RateLimited)
    assert asker._answer.retry_after_ms == 1500


def _no_desk() -> Any:
    """What takes an answer needs none."""


def test_a_long_answer_is_read_behind_any_header() -> None:
    """Of two, four and ten bytes."""
    for size in (1, 200, 70_000):
        said = codec.answer(codec.ok(7, frames.Users([frames.User(ANN, "x" * size)])))
        assert isinstance(said, frames.Ok)
        assert said.result == {"users": [{"id": str(ANN), "name": "x" * size}]}
