"""How the client connects, comes back, and stops."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_client import (
    AccessToken,
    Client,
    ClientClosed,
    ConnectFailed,
    Entry,
    Event,
    Heads,
    Liveness,
    MemoryJournal,
    MemoryState,
    NotOpen,
    OutboxUnwritable,
    Phase,
    Rewound,
    Saved,
    ServerRefused,
    SignedOut,
    State,
    Synced,
    TokenUnavailable,
    Violation,
    open_client,
)
from konnect_client.backoff import CEILING_S, FLOOR_S
from konnect_client.states import Watch
from tests.client_peer import ANN, BOB, HALL, ROOM, Frame, Peer, Wire, client_of, token


@pytest.fixture
async def peer() -> Peer:
    peer = Peer()
    peer.room()
    return peer


@asynccontextmanager
async def states_of(client: Client) -> AsyncIterator[list[State]]:
    """Every state the client enters, as it does."""
    seen: list[State] = []

    async def watch(states: Watch) -> None:
        async for state in states:
            seen.append(state)  # noqa: PERF401  # each as it comes

    with client.states() as states:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, states)
            yield seen
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def until(there: Callable[[], bool], client: Client) -> list[Event]:
    """Read events until *there*; those that were read."""
    seen: list[Event] = []
    with trio.fail_after(1_000):
        while not there():
            seen.append(await anext(client.events))
    return seen


async def texts(client: Client, last: str) -> list[str]:
    """The texts that come, up to *last*."""
    seen: list[str] = []
    with trio.fail_after(1_000):
        async for event in client.events:
            if isinstance(event, Entry) and event.text is not None:
                seen.append(event.text)
                if event.text == last:
                    return seen
    raise AssertionError("the events ended")


async def reached(client: Client, phase: Phase) -> None:
    """Wait until the client is in this phase."""
    with client.states() as states:
        async for state in states:
            if state.phase is phase:
                return


def phases(states: list[State]) -> list[tuple[str, str]]:
    return [(state.phase.value, state.reason) for state in states]


# --- states -----------------------------------------------------------------------------------------------------------


async def test_the_states_of_a_life(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client, states_of(client) as seen:
        assert client.state.phase is Phase.IDLE
        await client.wait_synced()
        peer.drop_all(4000, "draining")
        await wait_all_tasks_blocked()
        assert not client.synced
        await client.wait_synced()
        await client.close()
        await client.close()
    assert phases(seen) == [
        ("idle", "new"), ("connecting", "start"), ("open", "hello"), ("waiting", "draining"),
        ("connecting", "draining"), ("open", "hello"), ("closed", "closed"),
    ]  # fmt: skip
    assert seen[3].retry_in_s is not None
    assert FLOOR_S <= seen[3].retry_in_s <= 2 * FLOOR_S


async def test_a_watcher_that_sleeps_costs_a_bounded_amount(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        with client.states() as states:
            for _ in range(100):
                await client.wait_synced()
                client.reconnect()
                await wait_all_tasks_blocked()
            await client.close()
            seen = [state async for state in states]
        assert len(seen) == 100
        assert seen[-1].phase is Phase.CLOSED


async def test_the_block_ends_the_connection_politely(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        wire = peer.wire
    assert wire.client_close == (1000, "")
    assert client.state == State(Phase.CLOSED, "closed", online=True)
    with pytest.raises(ClientClosed):
        await client.send(ROOM, "too late")
    with pytest.raises(ClientClosed):
        client.send_nowait(ROOM, "too late")
    with pytest.raises(ClientClosed):
        await client.conversations()
    with pytest.raises(ClientClosed):
        await client.wait_open()


async def test_a_cancelled_block_ends_at_once(peer: Peer, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with client_of(peer) as client:
            await client.wait_synced()
            began = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == began
    assert client.state.phase is Phase.CLOSED


async def test_an_error_in_the_block_comes_out_as_it_is(peer: Peer, autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with client_of(peer):
            raise KeyError("mine")


async def test_an_error_in_a_token_source_is_not_swallowed(peer: Peer, autojump_clock: MockClock) -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with client_of(peer, token=broken) as client:
            await client.wait_open()


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        async with open_client("chat.example.com", token=token, device="phone"):
            pass


# --- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 3000, 4000, 4001, 4499])
async def test_these_codes_come_back(peer: Peer, autojump_clock: MockClock, code: int) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.drop_all(code, "word")
        await wait_all_tasks_blocked()
        assert client.state.reason == ("word")
        await client.wait_synced()
        assert peer.dialled == 2


@pytest.mark.parametrize("code", [4500, 4502, 4505, 4999])
async def test_these_codes_stay_away(peer: Peer, autojump_clock: MockClock, code: int) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        waiting = client.send_nowait(ROOM, "x")
        peer.drop_all(code, "replaced")
        state = await client.wait_closed()
        assert (state.phase, state.reason) == (Phase.CLOSED, "replaced")
        assert peer.dialled == 1
        with pytest.raises(ClientClosed, match="replaced"):
            await waiting.wait()
        with pytest.raises(ClientClosed, match="replaced"):
            client.receipt(ROOM, read=1)


async def test_attempts_are_spread_and_never_more_than_20_s_apart(peer: Peer, autojump_clock: MockClock) -> None:
    peer.refuse_connects.extend(ConnectFailed("unreachable", "no net") for _ in range(40))
    async with client_of(peer) as client, states_of(client) as seen:
        await client.wait_open()
    gaps = [later - earlier for earlier, later in zip(peer.dialled_at, peer.dialled_at[1:], strict=False)]
    assert len(gaps) == 40
    assert all(FLOOR_S <= gap <= CEILING_S for gap in gaps)
    assert max(gaps) > 10
    assert ("waiting", "unreachable") in phases(seen)


async def test_two_clients_do_not_come_back_together(peer: Peer, autojump_clock: MockClock) -> None:
    gaps = []
    for seed in (1, 2):
        other = Peer()
        other.refuse_connects.extend(ConnectFailed("unreachable", "no net") for _ in range(5))
        async with client_of(other, random=Random(seed)) as client:
            await client.wait_open()
        gaps.append([at - other.dialled_at[0] for at in other.dialled_at])
    assert gaps[0][1:] != gaps[1][1:]


async def test_the_servers_wish_to_come_later_is_honoured(peer: Peer, autojump_clock: MockClock) -> None:
    peer.refuse_connects.append(ConnectFailed("http_503", "busy", retry_after_s=60))
    async with client_of(peer) as client:
        await client.wait_open()
    assert 60 < peer.dialled_at[1] - peer.dialled_at[0] <= 61


async def test_a_refused_hello_with_a_time_is_honoured(peer: Peer, autojump_clock: MockClock) -> None:
    def unavailable(wire: Wire, frame: Frame) -> bool:
        if frame["t"] != "hello" or peer.dialled > 1:
            return False
        peer.error(wire, frame, "unavailable", retry_after_ms=30_000)
        wire.drop(4003, "unavailable")
        return True

    peer.interfere = unavailable
    async with client_of(peer) as client:
        await client.wait_open()
    assert 30 < peer.dialled_at[1] - peer.dialled_at[0] <= 31


async def test_a_connection_that_lasted_ends_a_row_of_failures(peer: Peer, autojump_clock: MockClock) -> None:
    """Short delays again; but a server that falls over right after each hello does not get them."""
    peer.refuse_connects.extend(ConnectFailed("unreachable", "no net") for _ in range(12))
    async with client_of(peer, random=Random(2)) as client:
        await client.wait_synced()
        peer.drop_all()
        await wait_all_tasks_blocked()
        assert client.state.retry_in_s is not None
        long_delay_s = client.state.retry_in_s
        await client.wait_synced()
        await trio.sleep(6)
        peer.drop_all()
        await wait_all_tasks_blocked()
        assert client.state.retry_in_s is not None
        assert client.state.retry_in_s <= 2 * FLOOR_S < long_delay_s


async def test_without_a_network_nothing_is_tried_and_with_one_at_once(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        client.set_online(False)
        assert not client.online
        await wait_all_tasks_blocked()
        assert client.state == State(Phase.WAITING, "offline", online=False)
        await trio.sleep(1_000)
        assert peer.dialled == 1
        before = trio.current_time()
        client.set_online(True)
        await client.wait_synced()
        assert trio.current_time() == before


async def test_offline_while_waiting_and_while_connecting(peer: Peer, autojump_clock: MockClock) -> None:
    stuck = trio.Event()

    async def slow() -> AccessToken:
        if peer.dialled == 1 and not stuck.is_set():
            await stuck.wait()
        return AccessToken("t")

    peer.refuse_connects.append(ConnectFailed("unreachable", "no net"))
    async with client_of(peer, token=slow) as client:
        await reached(client, Phase.WAITING)
        client.set_online(False)
        assert client.state.reason == "offline"
        client.set_online(True)
        await reached(client, Phase.CONNECTING)
        client.set_online(False)
        await wait_all_tasks_blocked()
        assert client.state == State(Phase.WAITING, "offline", online=False)
        stuck.set()
        client.set_online(True)
        await client.wait_open()


async def test_reconnect_waits_no_longer(peer: Peer, autojump_clock: MockClock) -> None:
    peer.refuse_connects.append(ConnectFailed("http_503", "busy", retry_after_s=200))
    async with client_of(peer) as client:
        await reached(client, Phase.WAITING)
        client.reconnect()
        await client.wait_synced()
        client.reconnect()
        await wait_all_tasks_blocked()
        assert (peer.dialled, client.state.phase) == (3, Phase.OPEN)
        assert trio.current_time() == peer.dialled_at[0]


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.CONNECTING, Phase.WAITING])
async def test_close_ends_every_phase(peer: Peer, autojump_clock: MockClock, phase: Phase) -> None:
    async def slow() -> str:
        await trio.sleep_forever()
        raise AssertionError

    peer.refuse_connects.append(ConnectFailed("http_503", "busy", retry_after_s=200))
    async with client_of(peer, token=slow if phase is Phase.CONNECTING else token) as client:
        await reached(client, phase)
        await client.close()
        assert client.state == State(Phase.CLOSED, "closed", online=True)


# --- dead links -------------------------------------------------------------------------------------------------------


async def test_a_dead_link_is_noticed_by_its_silence(peer: Peer, autojump_clock: MockClock) -> None:
    """The train goes into a tunnel: no error, no close, nothing comes any more."""
    async with client_of(peer) as client, states_of(client) as seen:
        await client.wait_synced()
        peer.wire.mute = True
        began = trio.current_time()
        with trio.fail_after(100):
            while peer.dialled == 1:
                await trio.sleep(1)
        await client.wait_synced()
        assert 30 <= trio.current_time() - began <= 40
    assert ("waiting", "no_answer") in phases(seen)


async def test_a_quiet_connection_is_kept_by_pings(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        await trio.sleep(1_010)
        assert peer.dialled == 1
        assert len(peer.asked("ping")) == 40


async def test_a_server_that_never_answers_hello_is_left(peer: Peer, autojump_clock: MockClock) -> None:
    peer.interfere = lambda wire, frame: peer.dialled == 1
    async with client_of(peer) as client, states_of(client) as seen:
        await client.wait_open()
    assert ("waiting", "hello_timeout") in phases(seen)


async def test_an_answer_that_is_forgotten_is_asked_for_again(peer: Peer, autojump_clock: MockClock) -> None:
    forgotten: list[Frame] = []

    def forget(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "message.send" and not forgotten:
            forgotten.append(frame)
            return True
        return False

    peer.interfere = forget
    async with client_of(peer) as client, states_of(client) as seen:
        assert (await client.send(ROOM, "hi")).seq == 2
    assert ("waiting", "answer_overdue") in phases(seen)


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_what_was_missed_comes_once_and_in_order(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        for number in range(20):
            peer.say(f"text {number}")
            if number % 3 == 0:
                peer.drop_all()
        assert await texts(client, "text 19") == [f"text {number}" for number in range(20)]
        assert peer.asked("hello")[-1]["heads"] == {ROOM: 2}


async def test_hello_says_what_is_here(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer, recent=5) as client:
        await client.wait_synced()
        peer.say("one")
        peer.broadcast({"t": "cursor", "cursor": "newest"})
        await wait_all_tasks_blocked()
        peer.drop_all()
        await wait_all_tasks_blocked()
        await client.wait_synced()
    first, second = peer.asked("hello")
    assert first == {"t": "hello", "id": 1, "token": "a-token", "device": "phone", "heads": {}, "recent": 5}
    assert second == first | {"heads": {ROOM: 2}, "cursor": "newest"}


async def test_repeated_entries_are_shown_once(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        first = peer.say("one")
        second = peer.say("two")
        for entry in (first, second, first):
            peer.broadcast(entry)
        peer.say("three")
        assert await texts(client, "three") == ["one", "two", "three"]
        assert peer.dialled == 1


async def test_a_gap_is_said_and_closed_by_a_new_connection(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client, states_of(client) as seen:
        await client.wait_synced()
        wire = peer.wire
        peer.append(ROOM, {"kind": "message", "author": BOB, "key": "lost", "text": "lost"})
        peer.say("after the gap")
        events = await until(lambda: client.events.handled.seqs.get(ROOM) == 3, client)
        assert any(isinstance(event, Violation) and "gap" in event.message for event in events)
        assert wire.client_close == (1002, "violation")
        assert [event.text for event in events if isinstance(event, Entry)] == ["lost", "after the gap"]
    assert ("waiting", "violation") in phases(seen)


@pytest.mark.parametrize(
    "nonsense",
    [b"\xc1", {"t": 5}, {"no": "t"}, {"t": "entry"}, {"t": "ok", "id": 99, "result": {}}, {"t": "ok", "id": "x"},
     {"t": "error", "id": None, "code": "bad_frame", "message": "?"}, {"t": "synced", "cursor": 4},
     {"t": "error", "id": 1, "code": "late", "message": "hello was answered already"}],
)  # fmt: skip
async def test_nonsense_is_a_violation_and_the_client_goes_on(
    peer: Peer, autojump_clock: MockClock, nonsense: Any
) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.broadcast(nonsense)
        peer.say("one")
        assert await texts(client, "one") == ["one"]
        assert peer.dialled == 2


async def test_events_before_the_answer_to_hello_are_a_violation(peer: Peer, autojump_clock: MockClock) -> None:
    def early(wire: Wire, frame: Frame) -> bool:
        if peer.dialled == 1:
            wire.push({"t": "synced", "cursor": "c"})
        return False

    peer.interfere = early
    async with client_of(peer) as client:
        await client.wait_synced()
        assert peer.dialled == 2


async def test_unknown_events_and_fields_are_ignored(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.broadcast({"t": "reaction", "emoji": "+1"})
        peer.say("one")
        assert await texts(client, "one") == ["one"]
        assert peer.dialled == 1


async def test_a_rewound_server_is_believed(peer: Peer, autojump_clock: MockClock) -> None:
    """The database was restored from an older copy: what was seen is gone, and other entries take its numbers."""
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.say("one")
        peer.say("two, which will be lost")
        await texts(client, "two, which will be lost")
        del peer.logs[ROOM][2:]

        def rewound(wire: Wire, frame: Frame) -> bool:
            if frame["t"] == "hello":
                peer.ok(wire, frame, user=ANN, session="s")
                wire.push({"t": "rewound"})
                peer.introduce(wire, ROOM)
                wire.push({"t": "synced", "cursor": "c"})
                wire.signed_in = True
                return True
            return False

        peer.interfere = rewound
        peer.drop_all()
        await wait_all_tasks_blocked()
        await client.wait_synced()
        peer.say("another two")
        events: list[Event] = []
        async for event in client.events:
            events.append(event)
            if isinstance(event, Entry):
                break
        assert Rewound(None) in events
        assert isinstance(events[-1], Entry)
        assert (events[-1].seq, events[-1].text) == (3, "another two")


async def test_one_conversation_may_be_rewound(peer: Peer, autojump_clock: MockClock) -> None:
    peer.room(HALL)
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.say("one")
        peer.broadcast({"t": "rewound", "conversation": ROOM})
        await wait_all_tasks_blocked()
        peer.drop_all()
        await wait_all_tasks_blocked()
        await client.wait_synced()
        assert peer.asked("hello")[-1]["heads"] == {HALL: 1}


async def test_a_cursor_that_the_server_cannot_read_is_dropped(peer: Peer, autojump_clock: MockClock) -> None:
    def refuse(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "hello" and "cursor" in frame:
            peer.error(wire, frame, "bad_cursor")
            wire.drop(4505, "bad_hello")
            return True
        return False

    async with client_of(peer) as client:
        await client.wait_synced()
        peer.interfere = refuse
        peer.drop_all()
        await wait_all_tasks_blocked()
        await client.wait_synced()
        assert "cursor" not in peer.asked("hello")[-1]
        assert peer.asked("hello")[-1]["heads"] == {ROOM: 1}


# --- a slow application -----------------------------------------------------------------------------------------------


async def test_an_application_that_waits_for_an_answer_between_events_never_waits_for_itself(
    peer: Peer, autojump_clock: MockClock
) -> None:
    """An echo: reads an event, sends an answer and waits for it, while far more events come than the client holds."""
    async with client_of(peer, inbox_events=10) as client:
        await client.wait_synced()
        seen = []
        for number in range(100):
            peer.say(f"text {number}")
        with trio.fail_after(1_000):
            async for event in client.events:
                if isinstance(event, Entry) and event.author == BOB:
                    seen.append(event.text)
                    await client.send(ROOM, f"echo of {event.text}")
                    if event.text == "text 99":
                        break
        assert seen == [f"text {number}" for number in range(100)]
        assert peer.texts(author=ANN) == [f"echo of text {number}" for number in range(100)]


async def test_an_application_that_reads_nothing_costs_a_bounded_amount_and_can_send(
    peer: Peer, autojump_clock: MockClock
) -> None:
    async with client_of(peer, inbox_events=10) as client:
        await client.wait_synced()
        for number in range(100):
            peer.say(f"text {number}")
        assert (await client.send(ROOM, "still here")).seq == 102
        assert len(client.events) <= 12
        peer.drop_all()
        await wait_all_tasks_blocked()
        await client.wait_open()
        assert (await client.send(ROOM, "and here")).seq == 103
        assert len(client.events) <= 12


async def test_catching_up_takes_no_wait(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer, inbox_events=10) as client, states_of(client) as seen:
        await client.wait_synced()
        for number in range(30):
            peer.say(f"text {number}")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await texts(client, "text 29") == [f"text {number}" for number in range(30)]
        assert trio.current_time() == began
    assert ("connecting", "catching_up") in phases(seen)


# --- a restarted application ------------------------------------------------------------------------------------------


async def test_a_restarted_application_goes_on_where_it_was(
    peer: Peer, autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    async with client_of(peer, state_path=path) as client:
        await client.wait_synced()
        peer.say("one")
        await texts(client, "one")
        peer.say("two")
        peer.say("three")
        await wait_all_tasks_blocked()  # they have come, and the application has not looked
    async with client_of(peer, state_path=path) as client:
        assert client.user == ANN
        assert await texts(client, "three") == ["two", "three"]


async def test_an_application_that_falls_over_sees_its_last_event_again(peer: Peer, autojump_clock: MockClock) -> None:
    state = MemoryState()
    peer.say("zero")
    with pytest.raises(ZeroDivisionError):
        async with client_of(peer, state=state) as client:
            await client.wait_synced()
            peer.say("one")
            peer.say("two")
            await texts(client, "two")
            raise ZeroDivisionError
    async with client_of(peer, state=state) as client:
        assert await texts(client, "two") == ["two"]


async def test_the_state_is_saved_while_the_application_runs(peer: Peer, autojump_clock: MockClock) -> None:
    """A kill leaves what was handled until a second before."""
    state = MemoryState()
    async with client_of(peer, state=state) as client:
        peer.say("one")
        await until(lambda: client.synced, client)
        await until(lambda: len(client.events) == 0, client)
        client.events.done()
        await trio.sleep(2)
        assert state.saved is not None
        assert (state.saved.user, state.saved.heads.seqs) == (ANN, {ROOM: 2})
        assert state.saved.heads.cursor is not None


async def test_a_state_that_did_not_change_is_not_saved_again(peer: Peer, autojump_clock: MockClock) -> None:
    class Counting(MemoryState):
        saves = 0

        def save(self, saved: Saved) -> None:
            self.saves += 1

    state = Counting()
    async with client_of(peer, state=state) as client:
        await until(lambda: client.synced and len(client.events) == 0, client)
        client.events.done()
        await trio.sleep(100)
        assert state.saves in (1, 2)
        before = state.saves
        peer.say("one")
        await texts(client, "one")
        client.events.done()
        await trio.sleep(100)
        assert state.saves == before + 1


async def test_a_state_that_cannot_be_saved_is_said_in_the_log(
    peer: Peer, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryState):
        def save(self, saved: Saved) -> None:
            raise OSError(28, "No space left on device")

    async with client_of(peer, state=Full()) as client:
        await until(lambda: client.synced and len(client.events) == 0, client)
        client.events.done()
        await trio.sleep(2)
        assert client.state.phase is Phase.OPEN
    assert "cannot be saved" in caplog.text


async def test_somebody_elses_files_are_not_used(peer: Peer, autojump_clock: MockClock) -> None:
    """Bob signs in on Ann's phone: her messages are not sent as his."""
    journal = MemoryJournal()
    async with client_of(peer, journal=journal) as client:
        await client.wait_synced()
        peer.frozen = True
        client.send_nowait(ROOM, "from ann")
    bobs = Peer(user=BOB)
    bobs.room()
    async with client_of(bobs, journal=journal) as client:
        assert (await client.wait_closed()).reason == "other_user"
    assert bobs.asked("message.send") == []
    state = MemoryState()
    state.save(Saved(BOB, Heads()))
    with pytest.raises(OutboxUnwritable, match="belongs to"):
        async with client_of(bobs, journal=journal, state=state):
            pass


# --- tokens -----------------------------------------------------------------------------------------------------------


class Source:
    """Hands out tokens t1, t2 ... with a life; hears of those that were refused."""

    def __init__(self, life_s: float | None = 900.0) -> None:
        self.life_s, self.given, self.refused = life_s, 0, list[str]()
        self.trouble: list[Exception] = []

    async def __call__(self) -> AccessToken:
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise self.trouble.pop(0)
        self.given += 1
        return AccessToken(f"t{self.given}", self.life_s)

    def refuse(self, token: str) -> None:
        self.refused.append(token)


async def test_each_connection_asks_for_a_token(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer, token=Source()) as client:
        for _ in range(3):
            await client.wait_synced()
            client.reconnect()
            await wait_all_tasks_blocked()
    assert [frame["token"] for frame in peer.asked("hello")] == ["t1", "t2", "t3", "t4"]


async def test_a_token_is_renewed_before_it_ends(peer: Peer, autojump_clock: MockClock) -> None:
    """The socket lives on over hours, with a token of fifteen minutes."""
    async with client_of(peer, token=Source()) as client:
        await client.wait_synced()
        renewed_at: list[float] = []
        peer.interfere = lambda wire, frame: bool(
            frame["t"] == "auth.renew" and renewed_at.append(trio.current_time())  # type: ignore[func-returns-value]
        )
        began = trio.current_time()
        await trio.sleep(10_000)
        assert peer.dialled == 1
    gaps = [b - a for a, b in zip([began, *renewed_at], renewed_at, strict=False)]
    assert len(gaps) > 10
    assert all(600 < gap < 800 for gap in gaps)
    tokens = [frame["token"] for frame in peer.asked("auth.renew")]
    assert tokens == [f"t{number}" for number in range(2, 2 + len(tokens))]


async def test_a_text_token_without_an_end_is_not_renewed(peer: Peer, autojump_clock: MockClock) -> None:
    async def opaque() -> str:
        return "opaque"

    async with client_of(peer, token=opaque) as client:
        await client.wait_synced()
        await trio.sleep(10_000)
    assert peer.asked("auth.renew") == []


async def test_a_source_that_has_no_token_now_is_asked_again(peer: Peer, autojump_clock: MockClock) -> None:
    source = Source()
    source.trouble = [TokenUnavailable("busy", 100.0), OSError("no net"), TokenUnavailable("busy")]
    async with client_of(peer, token=source) as client, states_of(client) as seen:
        await client.wait_open()
    assert trio.current_time() > 100
    assert phases(seen).count(("waiting", "token_unavailable")) == 3


async def test_a_renewal_that_fails_is_tried_again_on_the_same_connection(
    peer: Peer, autojump_clock: MockClock
) -> None:
    source = Source()
    async with client_of(peer, token=source) as client:
        await client.wait_synced()
        source.trouble = [TokenUnavailable("busy", 20.0), OSError("no net")]
        answers = ["unavailable", "unauthorized"]

        def refuse(wire: Wire, frame: Frame) -> bool:
            if frame["t"] == "auth.renew" and answers:
                peer.error(wire, frame, answers.pop(0), retry_after_ms=1_000)
                return True
            return False

        peer.interfere = refuse
        await trio.sleep(890)
        assert [frame["token"] for frame in peer.asked("auth.renew")] == ["t2", "t3", "t4"]
        assert source.refused == ["t3"]
        assert peer.dialled == 1


async def test_a_connection_that_ends_during_a_renewal_is_just_a_lost_connection(
    peer: Peer, autojump_clock: MockClock
) -> None:
    async with client_of(peer, token=Source()) as client:
        await client.wait_synced()

        def hang_up(wire: Wire, frame: Frame) -> bool:
            if frame["t"] == "auth.renew":
                wire.drop()
                return True
            return False

        peer.interfere = hang_up
        await trio.sleep(850)
        peer.interfere = lambda wire, frame: False
        await client.wait_synced()
        assert peer.dialled == 2


@pytest.mark.parametrize("when", ["connecting", "renewing"])
async def test_signed_out_stops_for_good(peer: Peer, autojump_clock: MockClock, when: str) -> None:
    source = Source()
    async with client_of(peer, token=source) as client:
        if when == "connecting":
            source.trouble = [SignedOut("gone")]
        else:
            await client.wait_synced()
            source.trouble = [SignedOut("gone")]
        assert (await client.wait_closed()).reason == "signed_out"


def refuse_tokens(peer: Peer, *tokens: str) -> None:
    def refuse(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "hello" and frame["token"] in tokens:
            peer.error(wire, frame, "unauthorized")
            wire.drop(4501, "unauthorized")
            return True
        return False

    peer.interfere = refuse


async def test_a_refused_token_is_replaced_once(peer: Peer, autojump_clock: MockClock) -> None:
    """The device slept, and its token ended unnoticed."""
    source = Source()
    refuse_tokens(peer, "t1")
    async with client_of(peer, token=source) as client:
        await client.wait_open()
    assert source.refused == ["t1"]


async def test_a_refused_token_is_forgiven_each_time_the_next_one_is_good(
    peer: Peer, autojump_clock: MockClock
) -> None:
    refuse_tokens(peer, "t1", "t3", "t5")
    async with client_of(peer, token=Source()) as client:
        for good in ("t2", "t4", "t6"):
            await client.wait_open()
            assert peer.asked("hello")[-1]["token"] == good
            client.reconnect()
            await wait_all_tasks_blocked()


async def test_two_refused_tokens_in_a_row_are_the_end(peer: Peer, autojump_clock: MockClock) -> None:
    refuse_tokens(peer, "t1", "t2", "t3")
    async with client_of(peer, token=Source()) as client:
        assert (await client.wait_closed()).reason == "unauthorized"
    assert peer.dialled == 2


async def test_a_source_that_repeats_a_refused_token_is_the_end(peer: Peer, autojump_clock: MockClock) -> None:
    refuse_tokens(peer, "a-token")
    async with client_of(peer) as client:
        assert (await client.wait_closed()).reason == "unauthorized"
    assert peer.dialled == 1


async def test_an_ended_token_is_not_used_again(peer: Peer, autojump_clock: MockClock) -> None:
    source = Source(life_s=None)
    async with client_of(peer, token=source) as client:
        await client.wait_synced()
        peer.drop_all(4006, "token_expired")
        await wait_all_tasks_blocked()
        await client.wait_synced()
    assert source.refused == ["t1"]


# --- what goes only now -----------------------------------------------------------------------------------------------


async def test_a_ping_needs_an_open_connection(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        with pytest.raises(NotOpen):
            await client.ping()
        await client.wait_open()
        assert await client.ping() == int(trio.current_time() * 1_000)

        def hang_up(wire: Wire, frame: Frame) -> bool:
            wire.drop()
            return True

        peer.interfere = hang_up
        with pytest.raises(NotOpen):
            await client.ping()
        await wait_all_tasks_blocked()
        peer.interfere = lambda wire, frame: False
        await client.wait_open()

        def busy(wire: Wire, frame: Frame) -> bool:
            peer.error(wire, frame, "rate_limited", 5)
            return True

        peer.interfere = busy
        with pytest.raises(ServerRefused, match="rate_limited"):
            await client.ping()


async def test_deadlines_are_the_applications_to_choose(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer, liveness=Liveness(ping_after_s=1, ping_within_s=1)) as client:
        await client.wait_synced()
        await trio.sleep(10.5)
        assert len(peer.asked("ping")) == 10


async def test_synced_is_shown_once_a_connection(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        events = await until(lambda: client.synced, client)
        events += await until(lambda: len(client.events) == 0, client)
        assert events.count(Synced()) == 1


async def test_a_closed_watch_is_over(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        with client.states() as states:
            await client.close()
            assert [state.phase async for state in states] == [Phase.IDLE, Phase.CLOSED]
            with pytest.raises(StopAsyncIteration):
                await anext(states)
