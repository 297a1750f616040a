"""The pump is fair, wakes when it should, closes at one place and contains crashes (docs/hazards.md, B4-B8)."""

import itertools
import socket
from collections.abc import Callable

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from konnect_server.connection import FRAMES_PER_VISIT, IN, Connection, Terms
from konnect_server.poller import SystemPoller
from konnect_server.pump import Pump
from konnect_server.wheel import Wheel
from protocol import closing
from protocol.codec import message
from tests.door_kit import BINARY, HELLO, Client, Recorder, close, frame, open_door, open_stage


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on by *step_s* each time it is read: each visit seems to take that long."""
    times = itertools.count()
    return lambda: next(times) * step_s


# --- B4: fairness ---


async def test_b4_a_flood_does_not_hold_up_the_other_sockets(autojump_clock: MockClock) -> None:
    """64 frames a visit: then the next socket has its turn, though the flood's frames are in memory already."""
    async with open_stage() as stage:
        flood_sock, flood = stage.connect()
        other_sock, other = stage.connect()
        order: list[str] = []
        flood.on_message = lambda *_: order.append("flood")
        other.on_message = lambda *_: order.append("other")
        stage.feed(flood_sock, frame(BINARY, b"x") * 1000)
        stage.feed(other_sock, frame(BINARY, b"y"))
        await stage.settle()
        assert order.index("other") <= FRAMES_PER_VISIT
        assert order.count("flood") == 1000


async def test_b4_a_turn_is_short_so_that_actors_run_between(autojump_clock: MockClock) -> None:
    """With a millisecond a visit, a turn of 2 ms is three visits: then every other task may take a step. (Two turns may
    come between two steps, for Trio shuffles the tasks of a pass.)"""
    async with open_stage(clock=ticking(0.001)) as stage:
        sockets = [stage.connect() for _ in range(30)]
        steps = 0
        at_step: list[int] = []

        async def actor() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(actor)
            for sock, handler in sockets:
                handler.on_message = lambda *_: at_step.append(steps)
                stage.feed(sock, frame(BINARY, b"x"))
            while len(at_step) < 30:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert max(at_step.count(step) for step in at_step) <= 6
        assert all(handler.messages == [b"x"] for _, handler in sockets)


async def test_b4_work_that_is_carried_over_is_done_before_new_work_is_asked_for(autojump_clock: MockClock) -> None:
    """Else the carried list would grow with every turn of an overloaded server, and the last on it starve."""
    async with open_stage(clock=ticking(0.001)) as stage:
        pairs = [stage.connect() for _ in range(12)]
        order: list[int] = []
        for number, (_, handler) in enumerate(pairs):
            handler.on_message = lambda *_, number=number: order.append(number)
        for _ in range(5):
            for sock, _handler in pairs:
                stage.feed(sock, frame(BINARY, b"x"))
        await stage.settle()
        assert len(order) == 60
        for start in range(0, 60, 12):
            assert sorted(order[start : start + 12]) == list(range(12))


async def test_b4_frames_left_in_user_space_are_handled_without_the_kernel(autojump_clock: MockClock) -> None:
    """No readiness event comes for them: the pump must not sleep on them."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        stage.feed(sock, frame(BINARY, b"x") * (FRAMES_PER_VISIT * 2 + 1))
        await stage.settle()
        assert len(handler.messages) == FRAMES_PER_VISIT * 2 + 1
        assert not sock.incoming


# --- B5: paused and reset ---


async def test_b5_a_reset_closes_a_paused_socket_and_nothing_spins() -> None:
    """A poller reports a hang-up whatever it was asked for: not to close would be a loop at 100 % CPU."""

    class Counting(SystemPoller):
        polls = 0

        def poll(self, max_events: int, /) -> list[tuple[object, int]]:  # type: ignore[override]
            self.polls += 1
            return super().poll(max_events)  # type: ignore[return-value]

    poller = Counting()
    async with open_door(poller=poller) as door:
        client, handler = await door.connect()
        handler.connection.pause()
        await client.send(frame(BINARY, b"x"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = poller.polls
        client.reset()
        assert await handler.until_closed() == (1006, "")
        assert handler.messages == []
        assert poller.polls - before < 20
        assert not door.pump.connections


async def test_b5_a_hang_up_closes_a_paused_socket(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.pause()
        stage.feed(sock, frame(BINARY, b"x"))
        await stage.settle()
        sock.hung_up = True
        await stage.settle()
        assert handler.seen == [("closed", 1006, "")]
        assert sock.is_closed()


# --- B6: who flushes, who wakes ---


async def test_b6_an_actor_s_frames_leave_while_the_pump_sleeps() -> None:
    """flush() is a plain call: nobody has to send anything for the pump to move."""
    async with open_door() as door:
        client, handler = await door.connect()
        await trio.testing.wait_all_tasks_blocked(0.01)
        handler.connection.push(message(b"from an actor"))
        door.pump.flush()
        assert await client.frame() == (BINARY, b"from an actor")


async def test_b6_flush_sends_to_all_and_calls_nobody(autojump_clock: MockClock) -> None:
    """It is called in the middle of actors' work; what a handler does about it happens in the pump's own turn."""
    async with open_stage(Terms(outbox_bytes=1 << 30)) as stage:
        pairs = [stage.connect() for _ in range(3)]
        for _, handler in pairs:
            handler.connection.push(b"x" * 100_000)
        pairs[1][0].broken = BrokenPipeError()
        stage.pump.flush()
        assert [len(sock.out) for sock, _ in pairs] == [100_000, 0, 100_000]
        assert all(handler.seen == [] for _, handler in pairs)
        await stage.settle()
        assert [handler.seen for _, handler in pairs] == [[("writable",)], [("closed", 1006, "")], [("writable",)]]


async def test_flush_within_a_handler_is_harmless(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()

        def answer(_: Recorder, payload: bytes) -> None:
            handler.connection.push(message(payload))
            stage.pump.flush()

        handler.on_message = answer
        stage.feed(sock, frame(BINARY, b"1") + frame(BINARY, b"2"))
        await stage.settle()
        assert sock.out == message(b"1") + message(b"2")


@pytest.mark.parametrize("how", ["close", "resume", "overflow"])
async def test_b6_marks_from_outside_a_turn_wake_the_pump(how: str) -> None:
    """A close, a resume, an overflow by some actor: none of them waits for the next unrelated input."""
    async with open_door(Terms(outbox_bytes=100_000)) as door:
        client, handler = await door.connect()
        if how == "resume":
            handler.on_message = lambda *_: handler.connection.pause()
            await client.send(frame(BINARY, b"1") + frame(BINARY, b"2"))
            await handler.until("binary", b"1")
        await trio.testing.wait_all_tasks_blocked(0.01)
        if how == "close":
            handler.connection.close(closing.REPLACED)
            assert await handler.until_closed() == (4500, "replaced")
        elif how == "resume":
            handler.connection.resume()
            await handler.until("binary", b"2")
        else:
            handler.connection.push(b"x" * 100_001)
            assert await handler.until_closed() == (4001, "slow")


async def test_waking_early_and_often_is_kept(autojump_clock: MockClock) -> None:
    """A wake before the wait counts for it; a thousand wakes are one."""
    poller = SystemPoller()
    try:
        for _ in range(100_000):
            poller.wake()
        await poller.wait()
        ((owner, mask),) = poller.poll(10)
        assert mask == IN
        for _ in range(10):
            owner.ready(mask)
        assert poller.poll(10) == []
        owner.crashed()
    finally:
        poller.close()


# --- B7: closing at one place ---


async def test_b7_closing_within_a_fan_out_changes_nothing_under_it(autojump_clock: MockClock) -> None:
    """Two of the members are slow; their ends change the very dict that the fan-out walks over."""
    async with open_stage(Terms(outbox_bytes=1000)) as stage:
        room: dict[Connection, Recorder] = {}
        for _ in range(5):
            _, handler = stage.connect()
            room[handler.connection] = handler
            handler.on_closed = lambda recorder: room.pop(recorder.connection, None)
        members = list(room)
        for slow in (members[1], members[3]):
            slow.push(b"x" * 990)
        for member in room:
            member.push(b"y" * 20)
        assert len(room) == 5
        assert [member.closed for member in members] == [False, True, False, True, False]
        await stage.settle()
        assert list(room) == [members[0], members[2], members[4]]


async def test_b7_after_each_message_the_reader_looks_whether_it_is_closed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda *_: handler.connection.close(closing.HELLO_FIRST)
        stage.feed(sock, frame(BINARY, b"1") + frame(BINARY, b"2") + frame(BINARY, b"3"))
        await stage.settle()
        assert handler.seen == [("binary", b"1"), ("closed", 4503, "hello_first")]


async def test_b7_an_end_may_mark_another_end(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        chain = [stage.connect() for _ in range(50)]
        for (_, handler), (_, following) in itertools.pairwise(chain):
            handler.on_closed = lambda _, following=following: following.connection.close((4000, "x"))
        chain[0][1].connection.close((4000, "x"))
        await stage.settle()
        assert all(handler.seen == [("closed", 4000, "x")] for _, handler in chain)


# --- B8: numbers that are given out again ---


async def test_b8_a_number_given_out_again_is_not_taken_for_the_old_socket() -> None:
    """Both are ready in one batch; the first closes the second, whose number goes to a newcomer: he must not get what
    the kernel said of the other, nor the other's messages."""
    async with open_door() as door:
        first_client, first = await door.connect()
        second_client, second = await door.connect()
        number = second.connection._sock.fileno()
        first.on_message = lambda *_: second.connection.close(closing.SLOW)
        first_raw, second_raw = first_client.stream.socket, second_client.stream.socket
        newcomer = socket.create_connection(("127.0.0.1", door.port))  # all three are there before the pump looks
        for raw in (first_raw, second_raw):
            await raw.send(frame(BINARY, b"x"))
        assert await second.until_closed() == (4001, "slow")
        assert first.messages == [b"x"]
        assert second.messages in ([], [b"x"])
        with newcomer:
            third_client = Client(trio.SocketStream(trio.socket.from_stdlib_socket(newcomer)))
            await third_client.send(HELLO)
            await third_client.head()
            third = door.handlers[-1]
            fourth_client, fourth = await door.connect()
            assert number in (third.connection._sock.fileno(), fourth.connection._sock.fileno())
            await fourth_client.send(frame(BINARY, b"z"))
            await fourth.until("binary", b"z")
            assert third.seen == []
            assert fourth.messages == [b"z"]


async def test_b8_accepting_comes_last_in_a_round(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        order: list[str] = []

        class Listener:
            def ready(self, mask: int, /) -> None:
                if mask == IN:
                    order.append("knock")
                    stage.pump.last(self)
                else:
                    order.append("accept")

            def crashed(self) -> None:
                raise AssertionError

        knocking = Listener()
        sock, handler = stage.connect()
        handler.on_message = lambda *_: handler.connection.close(closing.SLOW)
        handler.on_closed = lambda _: order.append("closed")
        stage.pump._carried = [(knocking, IN)]
        stage.feed(sock, frame(BINARY, b"x"))
        stage.pump._carried += stage.poller.poll(1)
        await stage.settle()
        assert order == ["knock", "closed", "accept"]


# --- Crashes ---


@pytest.mark.parametrize("where", ["received", "received_text", "closed", "writable"])
async def test_a_crash_costs_one_connection_and_is_logged(where: str, autojump_clock: MockClock) -> None:
    """A bug in a session, wherever it is."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        good_sock, good = stage.connect()

        def bug(*_: object) -> None:
            raise ZeroDivisionError(where)

        if where == "received":
            handler.on_message = bug
        elif where == "closed":
            handler.on_closed = bug
        else:
            setattr(handler, where, bug)
        with structlog.testing.capture_logs() as logs:
            if where == "writable":
                handler.connection.push(b"x" * 100_000)
                stage.pump.flush()
            first = 0x81 if where == "received_text" else BINARY
            stage.feed(sock, frame(first, b"x"))
            stage.feed(good_sock, frame(BINARY, b"y"))
            if where == "closed":
                handler.connection.close(closing.REPLACED)
            await stage.settle()
        (entry,) = logs
        assert entry["event"] == "contained crash"
        assert entry["log_level"] == "error"
        assert isinstance(entry["exc_info"], ZeroDivisionError)
        assert good.messages == [b"y"]
        assert handler.connection.closed
        if where == "closed":
            assert sock.out == close(4500, b"replaced", mask=None)
            assert sock.is_closed()
        else:
            assert handler.seen[-1] == ("closed", 4007, "crashed")
            assert sock.out.endswith(close(4007, b"crashed", mask=None))


async def test_a_turn_that_takes_too_long_is_logged_with_what_it_ran(autojump_clock: MockClock) -> None:
    """A slow plain call stalls everyone: the operator has to learn which one it was."""
    time = 0.0
    async with open_stage(clock=lambda: time) as stage:
        sock, handler = stage.connect()
        quick_sock, _ = stage.connect()

        def slow(*_: object) -> None:
            nonlocal time
            time += 0.2

        handler.on_message = slow
        with structlog.testing.capture_logs() as logs:
            stage.feed(quick_sock, frame(BINARY, b"x"))
            await stage.settle()
            assert logs == []
            stage.feed(sock, frame(BINARY, b"x"))
            await stage.settle()
        (entry,) = logs
        assert entry["event"] == "slow turn"
        assert entry["log_level"] == "warning"
        assert (entry["turn_ms"], entry["longest_ms"], entry["visits"]) == (200, 200, 1)
        assert entry["longest"] == "<Connection 198.51.100.7, Recorder>"


# --- The end ---


async def test_waiting_for_empty_returns_when_the_last_is_gone(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.pump.wait_empty()
        pairs = [stage.connect() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(stage.pump.wait_empty)
            for sock, _ in pairs:
                await trio.testing.wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 2
                stage.feed(sock, b"")


async def test_closing_the_pump_closes_the_sockets_and_tells_the_handlers() -> None:
    """For the end of a process whose pump runs no more."""
    pump = Pump(SystemPoller(), Wheel())
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        pump.poller.register(ours, _Silent())
        connection = Connection(ours, pump, "local")
        pump.adopt(connection, ours)
        handler = Recorder(connection)
        connection.start(handler, b"")
        pump.close()
        assert theirs.recv(10) == b""
        assert handler.seen == [("closed", 1006, "")]


class _Silent:
    def ready(self, mask: int, /) -> None:
        pass

    def crashed(self) -> None:
        pass
