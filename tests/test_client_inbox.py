"""Events that wait for the application."""

import pytest
import trio

from konnect_client import Entry, Heads, Synced
from konnect_client.events import CursorMoved
from konnect_client.inbox import Inbox
from tests.client_peer import BOB, ROOM


def entry(seq: int) -> Entry:
    return Entry(ROOM, seq, "message", BOB, str(seq), 0, "hi")


async def test_events_come_in_order_and_the_end_ends_them() -> None:
    inbox = Inbox(Heads())
    inbox.put((entry(1), entry(2)), 100)
    inbox.close()
    assert [event async for event in inbox] == [entry(1), entry(2)]


async def test_an_event_counts_as_handled_when_the_next_is_asked_for() -> None:
    """A crash in between shows it again after a restart: better twice than never."""
    inbox = Inbox(Heads())
    inbox.put((entry(1), CursorMoved("a"), Synced(), entry(2)), 100)
    assert await anext(inbox) == entry(1)
    assert inbox.handled == Heads()
    assert await anext(inbox) == Synced()
    assert inbox.handled == Heads({ROOM: 1}, "a")
    assert await anext(inbox) == entry(2)
    inbox.done()
    assert inbox.handled == Heads({ROOM: 2}, "a")


async def test_what_is_not_shown_is_not_counted() -> None:
    """Who stops when nothing more waits would else wait for ever behind a cursor."""
    inbox = Inbox(Heads())
    inbox.put((CursorMoved("a"), entry(1), CursorMoved("b"), Synced(), CursorMoved("c")), 100)
    assert len(inbox) == 2
    assert await anext(inbox) == entry(1)
    assert len(inbox) == 1
    assert await anext(inbox) == Synced()
    assert len(inbox) == 0
    inbox.put((entry(2),), 100)
    assert len(inbox) == 1
    assert await anext(inbox) == entry(2)
    inbox.done()
    assert (len(inbox), inbox.handled) == (0, Heads({ROOM: 2}, "c"))


async def test_a_cancelled_wait_loses_nothing() -> None:
    inbox = Inbox(Heads())
    inbox.put((entry(1),), 100)
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(inbox)
    assert scope.cancelled_caught
    assert await anext(inbox) == entry(1)


async def test_who_waits_is_woken(nursery: trio.Nursery) -> None:
    inbox = Inbox(Heads())
    got = []

    async def read() -> None:
        got.append(await anext(inbox))

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    inbox.put((), 10)
    inbox.put((CursorMoved("a"),), 10)  # nothing for the application: it goes on waiting
    await trio.testing.wait_all_tasks_blocked()
    assert got == []
    inbox.put((entry(1),), 10)
    await trio.testing.wait_all_tasks_blocked()
    assert got == [entry(1)]


async def test_two_readers_are_one_too_many(nursery: trio.Nursery) -> None:
    inbox = Inbox(Heads())
    nursery.start_soon(anext, inbox)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await anext(inbox)


async def test_a_full_inbox_stops_listening_until_half_is_taken() -> None:
    inbox = Inbox(Heads(), events=4)
    calls: list[int] = []
    inbox.on_room = lambda: calls.append(len(inbox))
    for seq in range(1, 5):
        assert inbox.listens()
        inbox.put((entry(seq),), 10)
    assert not inbox.listens()
    assert inbox.behind
    await anext(inbox)
    assert calls == []
    assert not inbox.listens()  # although there is room: an event went by unseen
    await anext(inbox)
    assert calls == [2]
    inbox.behind = False
    assert inbox.listens()


async def test_a_new_connection_listens_again_only_where_there_is_room() -> None:
    inbox = Inbox(Heads(), events=4)
    inbox.put((entry(1), entry(2), entry(3), entry(4)), 10)
    assert not inbox.listens()
    inbox.listen_again()
    assert inbox.behind  # it would overflow at once, after half of what was missed
    await anext(inbox)
    await anext(inbox)
    inbox.listen_again()
    assert inbox.listens()


async def test_bytes_are_bounded_too() -> None:
    inbox = Inbox(Heads(), size_bytes=100)
    inbox.put((entry(1), entry(2)), 100)  # one message's bytes are counted once
    assert not inbox.listens()
    await anext(inbox)
    assert inbox.half_empty
