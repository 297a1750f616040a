"""Commands and receipts that wait for their answers."""

from functools import partial
from random import Random

import pytest

from konnect_client import ClientClosed, NotOpen, ServerRefused
from konnect_client.backoff import Backoff
from konnect_client.calls import Call, Calls
from konnect_client.receipts import CONVERSATIONS, Receipts
from tests.client_peer import HALL, ROOM

LATER = ServerRefused("rate_limited", "slowly", 3_000)


def repeating(name: str = "conversation.get") -> Call:
    return Call({"t": name}, Backoff(Random(1)))


def taken(calls: Calls, now: float = 0.0) -> list[str]:
    names = []
    while (call := calls.take(now)) is not None:
        names.append(call.command["t"])
    assert calls.next_due() > now
    return names


async def test_a_command_gets_its_answer() -> None:
    calls = Calls()
    call = repeating()
    calls.add(call)
    assert calls.take(0.0) is call
    calls.accepted(call, {"conversation": ROOM})
    assert await call.wait() == {"conversation": ROOM}
    assert len(calls) == 0


def test_a_window_bounds_what_is_on_its_way() -> None:
    calls = Calls(window=2)
    first = repeating("a")
    for call in (first, repeating("b"), repeating("c")):
        calls.add(call)
    assert taken(calls) == ["a", "b"]
    calls.accepted(first, {})
    assert taken(calls) == ["c"]


async def test_a_refusal_is_raised() -> None:
    calls = Calls()
    call = repeating()
    calls.add(call)
    taken(calls)
    calls.refused(call, ServerRefused("forbidden", "no"), 0.0)
    with pytest.raises(ServerRefused, match="forbidden"):
        await call.wait()


def test_a_later_answer_is_waited_out() -> None:
    calls = Calls()
    call = repeating()
    calls.add(call)
    taken(calls)
    calls.refused(call, LATER, now=10.0)
    assert taken(calls, 13.0) == []
    assert taken(calls, calls.next_due()) == ["conversation.get"]


async def test_a_command_that_is_sent_once_gets_every_error() -> None:
    calls = Calls()
    call = Call({"t": "typing"})
    calls.add(call)
    taken(calls)
    calls.refused(call, LATER, now=10.0)
    with pytest.raises(ServerRefused, match="rate_limited"):
        await call.wait()


async def test_a_lost_connection_repeats_in_order_what_repeats() -> None:
    calls = Calls(window=2)
    once = Call({"t": "typing"})
    for call in (repeating("a"), once, repeating("c")):
        calls.add(call)
    taken(calls)
    calls.connection_lost()
    assert taken(calls) == ["a", "c"]
    with pytest.raises(NotOpen):
        await once.wait()


def test_what_nobody_waits_for_is_not_sent() -> None:
    calls = Calls()
    waiting, on_its_way = repeating("a"), repeating("b")
    calls.add(on_its_way)
    taken(calls)
    calls.add(waiting)
    calls.give_up(waiting)
    calls.give_up(on_its_way)
    assert taken(calls) == []
    calls.refused(on_its_way, LATER, now=0.0)
    calls.connection_lost()
    assert (taken(calls), len(calls)) == ([], 0)


async def test_the_end_is_told_to_all() -> None:
    calls = Calls()
    on_its_way, waiting = repeating("a"), repeating("b")
    calls.add(on_its_way)
    taken(calls)
    calls.add(waiting)
    calls.stop("replaced")
    for call in (on_its_way, waiting):
        with pytest.raises(ClientClosed, match="replaced"):
            await call.wait()


def receipts() -> Receipts:
    return Receipts(partial(Backoff, Random(1)))


def test_the_newest_receipt_wins() -> None:
    desk = receipts()
    for read in (3, 9, 5):
        desk.move(ROOM, 0, read)
    moving = desk.take(0.0)
    assert moving is not None
    assert moving.command(7) == {"t": "receipt", "id": 7, "conversation": ROOM, "delivered": 9, "read": 9}
    assert desk.take(0.0) is None


def test_one_of_a_conversation_is_on_its_way_at_a_time() -> None:
    desk = receipts()
    desk.move(ROOM, 3, 0)
    moving = desk.take(0.0)
    assert moving is not None
    desk.move(ROOM, 4, 0)
    desk.move(ROOM, 5, 2)
    desk.move(HALL, 1, 0)
    other = desk.take(0.0)
    assert other is not None
    assert other.conversation == HALL
    desk.accepted(moving)
    again = desk.take(0.0)
    assert again is not None
    assert (again.conversation, again.delivered, again.read) == (ROOM, 5, 2)
    desk.accepted(again)
    desk.accepted(other)
    assert len(desk) == 0
    assert desk.next_due() == float("inf")


def test_a_lost_receipt_is_told_again() -> None:
    desk = receipts()
    desk.move(ROOM, 3, 0)
    desk.take(0.0)
    desk.connection_lost()
    assert desk.next_due() <= 0.0
    assert desk.take(0.0) is not None


def test_a_refused_receipt_is_let_go_or_told_later() -> None:
    desk = receipts()
    desk.move(ROOM, 3, 0)
    moving = desk.take(0.0)
    assert moving is not None
    desk.refused(moving, LATER, now=0.0)
    assert desk.take(3.0) is None
    assert desk.next_due() > 3.0
    assert desk.take(desk.next_due()) is moving
    desk.refused(moving, ServerRefused("not_a_member", "no"), now=9.0)
    assert len(desk) == 0


def test_receipts_are_bounded() -> None:
    desk = receipts()
    for number in range(CONVERSATIONS + 5):
        desk.move(f"c{number}", 1, 0)
    assert len(desk) == CONVERSATIONS
