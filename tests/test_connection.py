"""One client's socket: messages in, frames out, and the ways it ends, with a kernel that does as the test says."""

import errno
import functools
import gc

import pytest
import trio
from trio.testing import MockClock

from konnect_server.connection import FRAMES_PER_VISIT, IDLE_FRAMES, IN, OUT, RECV_BYTES, Connection, Terms, close_frame
from konnect_server.outbox import LOW_WATER_BYTES
from protocol import closing
from protocol.codec import message
from tests.door_kit import BINARY, PING, PONG, TEXT, Recorder, close, frame, open_stage

RESET = ConnectionResetError(errno.ECONNRESET, "reset")


# --- In ---


async def test_messages_reach_the_handler(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        stage.feed(sock, frame(BINARY, b"one") + frame(TEXT, b"two")[:5], frame(TEXT, b"two")[5:])
        await stage.settle()
        assert handler.seen == [("binary", b"one"), ("text", b"two")]


async def test_a_ping_is_answered_in_order_with_what_else_is_sent(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda _, payload: handler.connection.push(message(payload))
        stage.feed(sock, frame(BINARY, b"one") + frame(PING, b"now") + frame(BINARY, b"two"))
        await stage.settle()
        assert sock.out == message(b"one") + frame(PONG, b"now", mask=None) + message(b"two")
        assert len(sock.sends) == 1


async def test_what_one_round_pushed_leaves_in_one_send(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda _, payload: handler.connection.push(message(payload * 2))
        stage.feed(sock, frame(BINARY, b"x") * 20)
        await stage.settle()
        assert sock.sends == [len(message(b"xx")) * 20]


async def test_pause_stops_between_two_frames_and_resume_goes_on(autojump_clock: MockClock) -> None:
    """Frames that are in user space already come without any word of the kernel's."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda _, payload: handler.connection.pause() if payload == b"2" else None
        stage.feed(sock, b"".join(frame(BINARY, str(number).encode()) for number in range(6)))
        await stage.settle()
        assert handler.messages == [b"0", b"1", b"2"]
        handler.connection.resume()
        await stage.settle()
        assert handler.messages == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_a_paused_socket_is_not_read(autojump_clock: MockClock) -> None:
    """The kernel's window fills and the peer has to wait; the poller is not asked in vain either."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.pause()
        stage.feed(sock, frame(BINARY, b"x"))
        await stage.settle()
        assert handler.seen == []
        assert stage.poller.masks[sock] == 0
        handler.connection.resume()
        assert stage.poller.masks[sock] == IN
        await stage.settle()
        assert handler.messages == [b"x"]


async def test_a_short_pause_costs_no_system_call(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.pause()
        handler.connection.resume()
        handler.connection.resume()
        stage.feed(sock, frame(BINARY, b"x"))
        await stage.settle()
        assert handler.messages == [b"x"]
        assert stage.poller.masks[sock] == IN


async def test_while_whole_frames_wait_no_more_is_received(autojump_clock: MockClock) -> None:
    """The buffer of a flooding peer stays at one receive."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        one = frame(BINARY, b"x")
        flood = one * (RECV_BYTES // len(one) * 2)
        most = []

        def watch(_: Recorder, payload: bytes) -> None:
            most.append(len(handler.connection._reader._buffer))

        handler.on_message = watch
        stage.feed(sock, flood)
        await stage.settle()
        assert len(handler.messages) == len(flood) // len(one)
        assert max(most) <= RECV_BYTES + len(one)


async def test_a_word_of_the_kernel_s_that_was_not_true_is_harmless(autojump_clock: MockClock) -> None:
    """Linux may report a socket and then have nothing for it; so may the last event of a batch."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        stage.feed(sock, BlockingIOError(errno.EAGAIN, "later"), frame(BINARY, b"x"))
        await stage.settle()
        handler.connection.ready(OUT)
        assert handler.seen == [("binary", b"x")]
        stage.feed(sock, close(1000))
        await stage.settle()
        stage.feed(sock, BlockingIOError(errno.EAGAIN, "later"))
        await stage.settle()
        assert not sock.is_closed()
        stage.feed(sock, b"")
        await stage.settle()
        assert sock.is_closed()
        handler.connection.ready(IN | OUT)
        assert handler.seen == [("binary", b"x"), ("closed", 1000, "")]


async def test_a_stream_that_cannot_be_shut_is_closed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()

        def shutdown(how: int) -> None:
            raise OSError(errno.ENOTCONN, "not connected")

        sock.shutdown = shutdown  # type: ignore[method-assign]
        stage.feed(sock, close(1000))
        await stage.settle()
        assert sock.is_closed()
        assert handler.seen == [("closed", 1000, "")]


async def test_a_hang_up_ends_it_with_1006(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        for problem in (b"", RESET):
            sock, handler = stage.connect()
            stage.feed(sock, frame(BINARY, b"x"), problem)
            await stage.settle()
            assert handler.seen == [("binary", b"x"), ("closed", 1006, "")]
            assert sock.is_closed()
        assert not stage.pump.connections


# --- Out ---


async def test_a_short_write_keeps_the_rest_and_waits_for_room(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        sock.room = 10
        handler.connection.push(message(b"a" * 20))
        handler.connection.push(message(b"b" * 20))
        stage.pump.flush()
        assert len(sock.out) == 10
        assert stage.poller.masks[sock] == IN | OUT
        handler.connection.push(message(b"c"))
        stage.pump.flush()
        assert len(sock.sends) == 1  # the kernel said later: it is not asked again before it says so
        sock.room = 1 << 40
        await stage.settle()
        assert sock.out == message(b"a" * 20) + message(b"b" * 20) + message(b"c")
        assert stage.poller.masks[sock] == IN
        assert handler.connection.outbox_bytes == 0


async def test_a_kernel_that_takes_a_byte_at_a_time(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        sock.piece = 1
        frames = [message(bytes((number,)) * number) for number in range(30)]
        for data in frames:
            handler.connection.push(data)
        stage.pump.flush()
        await stage.settle()
        assert sock.out == b"".join(frames)


async def test_a_send_that_fails_ends_it_with_1006(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        sock.broken = BrokenPipeError(errno.EPIPE, "gone")
        handler.connection.push(message(b"x"))
        stage.pump.flush()
        assert handler.connection.closed
        assert handler.seen == []  # flush calls no handler
        await stage.settle()
        assert handler.seen == [("closed", 1006, "")]
        assert sock.is_closed()


async def test_the_handler_hears_when_the_outbox_is_low_again(autojump_clock: MockClock) -> None:
    """So that pages follow each other without anybody waiting; also when one send emptied it."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.push(b"x" * (LOW_WATER_BYTES - 1))
        stage.pump.flush()
        await stage.settle()
        assert handler.seen == []
        handler.connection.push(b"x" * LOW_WATER_BYTES)
        stage.pump.flush()
        assert handler.seen == []
        await stage.settle()
        assert handler.seen == [("writable",)]
        sock.room = LOW_WATER_BYTES
        handler.connection.push(b"x" * (LOW_WATER_BYTES * 3))
        stage.pump.flush()
        await stage.settle()
        assert handler.seen == [("writable",)]
        sock.room = LOW_WATER_BYTES + 1
        await stage.settle()
        assert handler.seen == [("writable",)] * 2


# --- The end ---


async def test_our_close_sends_what_was_pushed_before_and_waits_for_the_peer_s(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.push(message(b"last words"))
        handler.connection.close(closing.REPLACED)
        handler.connection.push(message(b"too late"))
        handler.connection.close(closing.CRASHED)
        assert handler.connection.closed
        assert handler.seen == []
        await stage.settle()
        assert handler.seen == [("closed", 4500, "replaced")]
        assert sock.out == message(b"last words") + close(4500, b"replaced", mask=None)
        assert not sock.is_shut()
        stage.feed(sock, frame(BINARY, b"on its way") + frame(PING) + close(4500, b"replaced"))
        await stage.settle()
        assert sock.is_shut()
        assert not sock.is_closed()
        stage.feed(sock, b"")
        await stage.settle()
        assert sock.is_closed()
        assert handler.seen == [("closed", 4500, "replaced")]
        assert sock.out.endswith(close(4500, b"replaced", mask=None))


async def test_a_peer_that_does_not_answer_our_close_is_left_after_five_seconds(autojump_clock: MockClock) -> None:
    async with open_stage(Terms(close_timeout_s=5)) as stage:
        sock, handler = stage.connect()
        handler.connection.close((4000, "draining"))
        await trio.sleep(4.9)
        assert not sock.is_closed()
        await trio.sleep(0.5)
        assert sock.is_closed()
        assert len(stage.wheel) == 0


async def test_the_peer_s_close_is_echoed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda _, payload: handler.connection.push(message(payload))
        stage.feed(sock, frame(BINARY, b"x") + close(1001, b"bye") + frame(BINARY, b"y"))
        await stage.settle()
        assert handler.seen == [("binary", b"x"), ("closed", 1001, "bye")]
        assert sock.out == message(b"x") + close(1001, b"bye", mask=None)
        assert sock.is_shut()
        stage.feed(sock, b"more" * 100, b"")
        await stage.settle()
        assert sock.is_closed()


async def test_a_mistake_is_told_and_the_rest_thrown_away(autojump_clock: MockClock) -> None:
    """Not closed at once: bytes that nobody read would make the kernel send a reset, which can destroy the close frame
    on its way."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        stage.feed(sock, frame(BINARY, b"x", mask=None))
        await stage.settle()
        assert handler.seen == [("closed", 1002, "incorrect masking")]
        assert sock.out == close(1002, b"incorrect masking", mask=None)
        assert sock.is_shut()
        stage.feed(sock, b"z" * 1_000_000)
        await stage.settle()
        assert not sock.is_closed()
        assert not sock.incoming
        await trio.sleep(6)
        assert sock.is_closed()


async def test_a_lingering_peer_that_resets_is_gone(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, _ = stage.connect()
        stage.feed(sock, close(1000))
        await stage.settle()
        stage.feed(sock, RESET)
        await stage.settle()
        assert sock.is_closed()


async def test_the_close_waits_for_what_the_kernel_did_not_take(autojump_clock: MockClock) -> None:
    """Everything pushed before the close leaves before it, even through a narrow kernel; then the stream is shut."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        sock.room = 3
        handler.connection.push(message(b"abcdef"))
        stage.feed(sock, close(1000))
        await stage.settle()
        assert not sock.is_shut()
        sock.room = 1 << 40
        await stage.settle()
        assert sock.out == message(b"abcdef") + close(1000, mask=None)
        assert sock.is_shut()


async def test_whole_frames_behind_our_close_are_not_handled_but_read(autojump_clock: MockClock) -> None:
    """The peer's close may be among them already."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.on_message = lambda _, payload: handler.connection.close(closing.FLOOD)
        stage.feed(sock, frame(BINARY, b"1") + frame(BINARY, b"2") + close(1000))
        await stage.settle()
        assert handler.seen == [("binary", b"1"), ("closed", 4008, "flood")]
        assert sock.is_shut()


async def test_a_close_while_paused_is_carried_out(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        handler.connection.pause()
        stage.feed(sock, frame(BINARY, b"1") + close(4000))
        await stage.settle()
        handler.connection.close(closing.DRAINING)
        await stage.settle()
        handler.connection.resume()
        handler.connection.pause()
        await stage.settle()
        assert handler.seen == [("closed", 4000, "draining")]
        assert sock.is_shut()


async def test_b13_a_slow_reader_is_closed_without_waiting_for_it(autojump_clock: MockClock) -> None:
    """Over its bound: what waits is discarded, save the rest of a frame begun, the close frame is tried once, and the
    socket is closed, whether the kernel took the frame or not."""
    async with open_stage(Terms(outbox_bytes=1000)) as stage:
        sock, handler = stage.connect()
        sock.room = 5
        handler.connection.push(message(b"a" * 20))
        stage.pump.flush()
        sock.room = 100
        for _ in range(50):
            handler.connection.push(message(b"b" * 20))
        stage.pump.flush()
        assert handler.connection.closed
        await stage.settle()
        assert handler.seen[-1] == ("closed", 4001, "slow")
        assert sock.is_closed()
        assert sock.out == message(b"a" * 20) + close(4001, b"slow", mask=None)


async def test_b13_a_slow_reader_is_closed_though_its_kernel_takes_nothing(autojump_clock: MockClock) -> None:
    async with open_stage(Terms(outbox_bytes=1000)) as stage:
        sock, handler = stage.connect()
        sock.room = 0
        for _ in range(50):
            handler.connection.push(message(b"b" * 20))
        await stage.settle()
        assert handler.seen == [("closed", 4001, "slow")]
        assert sock.is_closed()
        assert not sock.out


async def test_typing_is_dropped_before_anybody_is_slow(autojump_clock: MockClock) -> None:
    async with open_stage(Terms(outbox_bytes=1000)) as stage:
        sock, handler = stage.connect()
        sock.room = 0
        for _ in range(100):
            handler.connection.push_droppable(b"t" * 20)
        assert handler.connection.outbox_bytes == 520
        assert not handler.connection.closed


@pytest.mark.parametrize(
    "made_of", [frame(PING, b"x"), frame(PONG), frame(0x00, b"", mask=b"1234")], ids=["pings", "pongs", "fragments"]
)
async def test_a_flood_of_frames_without_content_has_an_answer(made_of: bytes, autojump_clock: MockClock) -> None:
    """They never reach a session's rate limit, so there is one here."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        start = frame(0x02, b"a") if made_of[0] == 0 else b""
        stage.feed(sock, start + made_of * (IDLE_FRAMES + 1))
        await stage.settle()
        assert handler.seen == [("closed", 4008, "flood")]


async def test_a_patient_pinger_is_no_flood(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        sock, handler = stage.connect()
        for _ in range(20):
            stage.feed(sock, frame(PING, b"x") * (IDLE_FRAMES // 2))
            await trio.sleep(30)
        assert handler.seen == []


# --- Silence ---


async def test_a_silent_peer_is_pinged_and_given_up(autojump_clock: MockClock) -> None:
    async with open_stage(Terms(ping_interval_s=25, ping_timeout_s=20)) as stage:
        sock, handler = stage.connect()
        await trio.sleep(19.9)
        assert not sock.out
        await trio.sleep(5.3)
        assert sock.out == b"\x89\x00"
        await trio.sleep(15)
        assert handler.seen == []
        await trio.sleep(5.3)
        assert handler.seen == [("closed", 4004, "silent")]
        assert sock.is_closed()


async def test_anything_heard_keeps_it(autojump_clock: MockClock) -> None:
    """A pong or any other byte; and who talks by himself is not pinged at all."""
    async with open_stage(Terms(ping_interval_s=25, ping_timeout_s=20)) as stage:
        quiet_sock, quiet = stage.connect()
        busy_sock, busy = stage.connect()
        answered = 0
        for _ in range(100):
            await trio.sleep(10)
            stage.feed(busy_sock, frame(BINARY, b"x"))
            while quiet_sock.out.count(b"\x89\x00") > answered:
                answered += 1
                stage.feed(quiet_sock, frame(PONG))
        assert quiet.seen == []
        assert not busy_sock.out
        assert 1000 / 36 <= answered <= 50
        assert not busy.connection.closed


async def test_silence_while_we_do_not_read_is_not_the_peer_s(autojump_clock: MockClock) -> None:
    """Paused for minutes, because an inbox is full: the peer may have sent and answered all the while."""
    async with open_stage(Terms(ping_interval_s=25, ping_timeout_s=20)) as stage:
        sock, handler = stage.connect()
        handler.connection.pause()
        await trio.sleep(300)
        assert handler.seen == []
        stage.feed(sock, frame(BINARY, b"x"))
        handler.connection.resume()
        await stage.settle()
        assert handler.messages == [b"x"]


async def test_who_still_takes_what_is_sent_is_not_silent(autojump_clock: MockClock) -> None:
    """Over a thin line the ping waits behind a backlog, and no pong can come for a while: but the kernel's taking more
    shows that the peer is there. One that takes nothing any more is given up."""
    async with open_stage(Terms(ping_interval_s=25, ping_timeout_s=20)) as stage:
        sock, handler = stage.connect()
        sock.room = 0
        handler.connection.push(b"x" * 100_000)
        stage.pump.flush()
        for _ in range(30):
            await trio.sleep(10)
            sock.room = 1000
            await stage.settle()
        assert handler.seen == []
        await trio.sleep(50)
        assert handler.seen == [("closed", 4004, "silent")]


async def test_the_server_s_pings_are_spread(autojump_clock: MockClock) -> None:
    """After a restart all come back at once; their pings must not stay together."""
    async with open_stage() as stage:
        sockets = [stage.connect()[0] for _ in range(200)]
        at: list[float] = []
        while len(at) < 200:
            await trio.sleep(0.125)
            at += [trio.current_time()] * (sum(bool(sock.out) for sock in sockets) - len(at))
        assert 20 <= min(at) <= 21
        assert 24 <= max(at) <= 25.25
        assert len(set(at)) > 20


# --- Memory, and odds and ends ---


async def test_a_connection_that_ended_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """Freed by its references alone, without the collector: servers run for months."""
    gc.collect()
    before = [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
    gc.disable()
    try:
        async with open_stage() as stage:
            for end in (b"", close(1000)):
                sock, handler = stage.connect()
                stage.feed(sock, frame(BINARY, b"x") + frame(PING), end, b"")
                await stage.settle()
                assert sock.is_closed()
                del sock, handler
            assert not stage.pump.connections
            assert len(stage.wheel) == 0
            await stage.settle()
            assert [thing for thing in gc.get_objects() if isinstance(thing, Connection)] == before
    finally:
        gc.enable()


async def test_signing_in_is_told_once(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        for signs_in in (True, False):
            told: list[str] = []
            sock, handler = stage.connect(functools.partial(told.append, "x"))
            if signs_in:
                handler.connection.signed_in()
                assert told == ["x"]
            stage.feed(sock, b"")
            await stage.settle()
            assert told == ["x"]


def test_a_long_reason_is_cut_between_two_characters() -> None:
    """A control frame carries 125 bytes; its reason is UTF-8 to the end (RFC 6455, section 5.5)."""
    data = close_frame(4000, "ä" * 100)
    assert data[:4] == b"\x88\x7c\x0f\xa0"
    assert data[4:].decode() == "ä" * 61


async def test_frames_per_visit_is_a_bound(autojump_clock: MockClock) -> None:
    """See test_pump for what it is good for."""
    async with open_stage() as stage:
        sock, handler = stage.connect()
        rounds: list[int] = []
        handler.on_message = lambda *_: rounds.append(stage.poller.polls)
        stage.feed(sock, frame(BINARY, b"x") * (FRAMES_PER_VISIT * 3))
        await stage.settle()
        assert len(set(rounds)) == 3
        assert all(rounds.count(number) == FRAMES_PER_VISIT for number in rounds)
