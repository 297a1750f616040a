"""The door: heads in any pieces, upgrades in, everything else to HTTP, and nobody at it costs much or for long."""

import errno
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from konnect_server.connection import IN, Connection, Terms
from konnect_server.gateway import ACCEPT_PAUSE_S, Gateway, Strangers, open_listeners
from konnect_server.handshake import HEAD_BYTES, REFUSALS
from konnect_server.pump import EVENTS
from protocol import closing
from protocol.codec import message
from tests.door_kit import BINARY, HELLO, Client, Recorder, ScriptedSocket, Stage, close, frame, open_door, open_stage


def problem(answer: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Status, problem and head of a whole HTTP response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"].startswith(b"close")
    assert int(headers[b"content-length"]) == len(body)
    document = json.loads(body)
    assert document["status"] == status
    assert document.keys() == {"type", "title", "status", "code", "detail"}
    return status, document, head


# --- Upgrades ---


async def test_an_upgrade_becomes_a_connection() -> None:
    async with open_door() as door:
        client = await door.call()
        await client.send(HELLO)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, section 1.3
        assert b"Sec-WebSocket-Protocol: konnect.v1" in head
        assert b"Extensions" not in head
        await client.send(frame(BINARY, b"hello"))
        await door.handlers[0].until("binary", b"hello")
        assert door.handlers[0].connection.peer == "127.0.0.1"


async def test_a_head_may_come_byte_by_byte_with_frames_behind_it() -> None:
    """Phones do that; and what follows the head in the same segment is the first frame."""
    async with open_door() as door:
        client = await door.call()
        for byte in HELLO[:-1]:
            await client.send(bytes((byte,)))
        await client.send(HELLO[-1:] + frame(BINARY, b"one") + frame(BINARY, b"two")[:4])
        await client.head()
        await client.send(frame(BINARY, b"two")[4:])
        await door.handlers[0].until("binary", b"two")
        assert door.handlers[0].messages == [b"one", b"two"]


async def test_extensions_and_other_subprotocols_may_be_offered_too() -> None:
    async with open_door() as door:
        client = await door.call()
        await client.send(
            HELLO.replace(b"konnect.v1", b"konnect.v9, konnect.v1").replace(
                b"Upgrade: websocket", b"Sec-WebSocket-Extensions: permessage-deflate\r\nupgrade: WebSocket"
            )
        )
        head = await client.head()
        assert b"Protocol: konnect.v1" in head
        assert b"xtensions" not in head


async def test_a_query_is_no_other_path() -> None:
    async with open_door() as door:
        client = await door.call()
        await client.send(HELLO.replace(b"/v1/socket", b"/v1/socket?v=1"))
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")


async def test_what_a_handler_pushes_first_comes_behind_the_handshake() -> None:
    def make(connection: Connection) -> Recorder:
        connection.push(message(b"welcome"))
        return Recorder(connection)

    async with open_door(make_handler=make) as door:
        client = await door.call()
        await client.send(HELLO)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.frame() == (BINARY, b"welcome")


async def test_a_handler_that_cannot_be_made_costs_one_connection() -> None:
    def make(connection: Connection) -> Recorder:
        raise ZeroDivisionError

    async with open_door(make_handler=make) as door:
        with structlog.testing.capture_logs() as logs:
            client = await door.call()
            await client.send(HELLO)
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            assert await client.frame() == (0x88, b"\x0f\xa7crashed")
        assert logs[0]["event"] == "contained crash"
        await client.end()
        await door.pump.wait_empty()
        assert door.gateway.strangers.count == 0


# --- Refusals ---


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda head: head.replace(b"konnect.v1", b"konnect.v2"), 400, "subprotocol_required"),
        (lambda head: head.replace(b"Sec-WebSocket-Protocol: konnect.v1\r\n", b""), 400, "subprotocol_required"),
        (lambda head: head.replace(b"Version: 13", b"Version: 8"), 426, "unsupported_version"),
        (lambda head: head.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426, "unsupported_version"),
        (lambda head: head.replace(b"Connection: Upgrade\r\n", b""), 426, "upgrade_required"),
        (lambda head: head.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"), 426, "upgrade_required"),
        (lambda head: head.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"), 400, "bad_handshake"),
        (lambda head: head.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!"), 400, "bad_handshake"),
        (lambda head: head.replace(b"Sec-WebSocket-Key", b"X-Key"), 400, "bad_handshake"),
        (lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "bad_handshake"),
        (lambda head: head.replace(b"Host: localhost", b"Host localhost"), 400, "bad_handshake"),
        (lambda head: head.replace(b"\r\n", b"\n"), 400, "bad_handshake"),
        (lambda head: head.replace(b"Host: localhost", b"Content-Length: 5"), 400, "bad_handshake"),
        (lambda head: head.replace(b"GET ", b"get "), 400, "bad_request"),
        (lambda head: head.replace(b"/v1/socket ", b"/v1/socket and more "), 400, "bad_request"),
        (lambda head: head.replace(b" HTTP/1.1", b""), 400, "bad_request"),
        (lambda head: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
        (lambda head: b"SSH-2.0-OpenSSH_9.6\r\n", 400, "bad_request"),
        (lambda head: head.replace(b"localhost", b"x" * HEAD_BYTES), 431, "head_too_large"),
        (lambda head: b"GET /" + b"x" * HEAD_BYTES, 431, "head_too_large"),
    ],
)
async def test_a_refusal_says_why(change: Callable[[bytes], bytes], status: int, code: str) -> None:
    """In the form of all of Konnect's HTTP errors, and whole: no reset destroys it."""
    assert code in {refusal.code for refusal in REFUSALS}
    async with open_door() as door:
        client = await door.call()
        await client.send(change(HELLO))
        found, document, head = problem(await client.rest())
        assert (found, document["code"]) == (status, code)
        assert (b"Sec-WebSocket-Version: 13" in head) == (status == 426)
        assert "konnect.v1" in document["detail"] or code != "subprotocol_required"
        await client.end()
        assert not door.handlers
        assert not door.handed


async def test_a_head_that_does_not_come_is_told_so() -> None:
    """Nobody holds a place at the door by being slow."""
    async with open_door(head_timeout_s=0.2) as door:
        for begun in (b"", b"GET /v1/socket HTTP/1.1\r\nHost: x\r\n", b"\r\n" * 100):
            client = await door.call()
            await client.send(begun)
            status, document, _ = problem(await client.rest())
            assert (status, document["code"]) == (408, "head_timeout")


async def test_who_was_refused_and_stays_is_left_soon(autojump_clock: MockClock) -> None:
    """He may send on for two seconds, which nobody reads; then the socket closes."""
    async with open_stage() as stage:
        sock, _ = _at_the_door(stage)
        stage.feed(sock, b"nonsense")
        await stage.settle()
        assert b"bad_request" in sock.out
        assert sock.is_shut()
        stage.feed(sock, b"more", b"and more")
        await stage.settle()
        assert not sock.incoming
        assert not sock.is_closed()
        await trio.sleep(2.5)
        assert sock.is_closed()
        assert not stage.poller.owners


@pytest.mark.parametrize("end", [b"", ConnectionResetError()])
async def test_who_leaves_before_his_head_is_whole_leaves_nothing(
    end: bytes | OSError, autojump_clock: MockClock
) -> None:
    async with open_stage() as stage:
        sock, gateway = _at_the_door(stage)
        stage.feed(sock, b"GET / HT")
        await stage.settle()
        assert gateway.strangers.count == 1
        stage.feed(sock, end)
        await stage.settle()
        assert sock.is_closed()
        assert gateway.strangers.count == 0
        assert len(stage.wheel) == 0
        await stage.settle()


def _at_the_door(stage: Stage) -> tuple[ScriptedSocket, Gateway]:
    gateway = Gateway(stage.pump, Recorder, lambda *_: None)
    sock = ScriptedSocket()
    gateway.admit(sock, ("198.51.100.7", 1234))
    return sock, gateway


# --- HTTP ---


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/socket HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        HELLO.replace(b"/v1/socket", b"/v1/users"),
        HELLO.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        b'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"a": "bc"}',
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 1000])
async def test_everything_else_goes_to_http_with_all_that_was_read(request_bytes: bytes, pieces: int) -> None:
    async with open_door() as door:
        client = await door.call()
        step = max(1, len(request_bytes) // pieces)
        for place in range(0, len(request_bytes), step):
            await client.send(request_bytes[place : place + step])
        sock, head, peer = await door.handed_over()
        assert peer == "127.0.0.1"
        wanted = request_bytes.lstrip(b"\r\n")
        sock.setblocking(True)
        while len(head) < len(wanted):
            head += sock.recv(100)
        assert head == wanted
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 204 No Content"
        assert door.gateway.strangers.count == 0


async def test_b8_a_socket_is_off_the_poller_before_it_is_handed_over() -> None:
    """Else the pump would go on to read what is HTTP's; and nothing of the door's holds it any more."""
    async with open_door(hand_over=lambda sock, head, peer: taken.append((sock, sock.fileno() in owners()))) as door:
        taken: list[tuple[Any, bool]] = []

        def owners() -> dict[int, Any]:
            return door.pump.poller._owners  # type: ignore[attr-defined,no-any-return]

        client = await door.call()
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        while not taken:
            await trio.testing.wait_all_tasks_blocked(0.001)
        sock, known = taken[0]
        assert not known
        await client.send(b"GET /2 HTTP/1.1\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert sock.recv(100) == b"GET /2 HTTP/1.1\r\n\r\n"
        sock.close()


async def test_a_crash_while_handing_over_closes_that_socket_alone() -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    async with open_door(hand_over=bug) as door:
        with structlog.testing.capture_logs() as logs:
            client = await door.call()
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await client.rest() == b""
        assert [entry["owner"] for entry in logs] == ["<Caller 127.0.0.1>"]
        assert door.gateway.strangers.count == 0
        await door.connect()


# --- Bounds ---


async def test_strangers_are_bounded_in_total_and_told_at_once() -> None:
    """Who has not signed in yet counts, with a head or without; who has does not."""
    async with open_door(strangers=2) as door:
        first_client, first = await door.connect()
        second = await door.call()
        third = await door.call()
        status, document, head = problem(await third.rest())
        assert (status, document["code"]) == (503, "too_many_connections")
        assert b"Retry-After" in head
        first.connection.signed_in()
        assert door.gateway.strangers.count == 1
        fourth, _ = await door.connect()
        await second.end()
        await fourth.send(close(1000))
        await fourth.rest()
        await fourth.end()
        await first_client.send(frame(BINARY, b"still here"))
        await first.until("binary", b"still here")


async def test_strangers_are_bounded_by_address_if_asked() -> None:
    async with open_door(strangers_per_address=1) as door:
        await door.connect()
        refused = await door.call()
        assert problem(await refused.rest())[0] == 503


def test_counting_strangers() -> None:
    strangers = Strangers(3, 2)
    assert [strangers.enter(address) for address in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    strangers.leave("a")
    assert strangers.enter("b")
    assert strangers.count == 3
    for address in ("a", "b", "b"):
        strangers.leave(address)
    assert (strangers.count, strangers._addresses) == (0, {})


async def test_b13_the_kernel_does_not_hide_a_slow_reader() -> None:
    """Without a bound on what it holds unsent, megabytes vanish in the kernel before the outbox learns that nobody
    reads. With one, a client that reads nothing is called slow soon after outbox and windows are full."""
    async with open_door(Terms(outbox_bytes=100_000)) as door:
        client = await door.call()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await client.send(HELLO)
        await client.head()
        handler = door.handlers[0]
        pushed = 0
        while not handler.connection.closed:
            handler.connection.push(b"x" * 10_000)
            pushed += 10_000
            door.pump.flush()
            await trio.lowlevel.checkpoint()
            assert pushed < 1_500_000
        assert await handler.until_closed() == (4001, "slow")
        assert (await client.rest()).endswith(close(4001, b"slow", mask=None))  # when it reads at last, it learns why


# --- Accepting ---


class Knocking(ScriptedSocket):
    """A listening socket that fails as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: list[ScriptedSocket | OSError] = []

    def accept(self) -> tuple[ScriptedSocket, object]:
        if not self.coming:
            raise BlockingIOError(errno.EAGAIN, "later")
        first = self.coming.pop(0)
        if isinstance(first, OSError):
            self.coming.insert(0, first)
            raise first
        return first, ("::ffff:198.51.100.7", 1234)

    def state(self) -> int:
        return IN if self.coming else 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_b8_accepting_pauses_when_no_descriptor_is_free(number: int, autojump_clock: MockClock) -> None:
    """The waiting connection stays reported: without a pause the pump would do nothing else."""
    async with open_stage() as stage:
        gateway = Gateway(stage.pump, Recorder, lambda *_: None)
        knocking = Knocking()
        gateway.listen([knocking])
        newcomer = ScriptedSocket()
        knocking.coming = [OSError(number, "too many open files"), newcomer]
        with structlog.testing.capture_logs() as logs:
            await stage.settle()
            assert stage.poller.masks[knocking] == 0
            polls = stage.poller.polls
            await trio.sleep(ACCEPT_PAUSE_S / 2)
            assert stage.poller.polls - polls < 5
        assert [entry["event"] for entry in logs] == ["accepting pauses"]
        del knocking.coming[0]
        await trio.sleep(ACCEPT_PAUSE_S + 0.2)
        await stage.settle()
        assert not knocking.coming
        stage.feed(newcomer, HELLO)
        await stage.settle()
        (connection,) = stage.pump.connections
        assert connection.peer == "198.51.100.7"


async def test_c14_a_crowd_that_hangs_up_does_not_stand_before_the_door(autojump_clock: MockClock) -> None:
    """The poller tells of it first, for it was ready first; whom the door's queue cannot hold dials again a second
    later. And a door that rests after a failure rests, however large the crowd."""
    async with open_stage() as stage:
        gateway = Gateway(stage.pump, Recorder, lambda *_: None)
        crowd = [stage.connect()[0] for _ in range(EVENTS * 3)]
        knocking = Knocking()
        gateway.listen([knocking])
        left: list[int] = []
        accept = knocking.accept

        def noted() -> tuple[ScriptedSocket, object]:
            left.append(len(stage.pump.connections))
            return accept()

        knocking.accept = noted  # type: ignore[method-assign]
        knocking.coming = [ScriptedSocket(), ScriptedSocket()]
        for sock in crowd[: EVENTS * 2]:
            sock.hung_up = True
        await stage.settle()
        assert left[0] > EVENTS * 2 - EVENTS // 2, "let in while most of the crowd was still to be taken leave of"
        assert not knocking.coming
        left.clear()
        knocking.coming = [OSError(errno.EMFILE, "too many open files")]
        for sock in crowd[EVENTS * 2 :]:
            sock.hung_up = True
        await stage.settle()
        assert len(left) == 1
        assert not stage.pump.connections


async def test_b8_who_is_gone_before_he_is_let_in_stops_nobody(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        gateway = Gateway(stage.pump, Recorder, lambda *_: None)
        knocking = Knocking()
        gateway.listen([knocking])
        gone = ConnectionAbortedError(errno.ECONNABORTED, "gone")
        newcomer = ScriptedSocket()

        def accept() -> tuple[ScriptedSocket, object]:
            what = knocking.coming.pop(0) if knocking.coming else BlockingIOError()
            if isinstance(what, OSError):
                raise what
            return what, ""

        knocking.accept = accept  # type: ignore[method-assign]
        knocking.coming = [gone, newcomer]
        await stage.settle()
        assert stage.poller.masks[knocking] == IN
        stage.feed(newcomer, HELLO)
        await stage.settle()
        (connection,) = stage.pump.connections
        assert connection.peer == "local"


async def test_who_is_gone_before_his_options_are_set_costs_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        gateway = Gateway(stage.pump, Recorder, lambda *_: None)

        class Gone(ScriptedSocket):
            def setsockopt(self, level: int, option: int, value: int, /) -> None:
                raise OSError(errno.EINVAL, "gone")

        sock = Gone()
        gateway.admit(sock, ("198.51.100.7", 1))
        assert sock.is_closed()
        assert gateway.strangers.count == 0


async def test_listeners_on_a_name_and_a_port() -> None:
    listeners = await open_listeners("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in listeners}) == 1
        assert {sock.getsockname()[0] for sock in listeners} <= {"127.0.0.1", "::1"}
        with pytest.raises(OSError, match="in use"):
            await open_listeners("127.0.0.1", listeners[0].getsockname()[1])
    finally:
        for sock in listeners:
            sock.close()
    with pytest.raises(OSError, match=r"."):
        await open_listeners("192.0.2.1", 0)


class SeveralAddresses(trio.abc.HostnameResolver):
    """Every name is three addresses, the first of another machine."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - its name in the base class
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        addresses = ("192.0.2.1", "127.0.0.1", "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_may_have_several_addresses() -> None:
    """Those that are not of this machine are left out; all the others get the same port, or none does."""
    trio.socket.set_custom_hostname_resolver(SeveralAddresses())
    first, second = await open_listeners("several.example", 0)
    with first, second:
        assert [sock.getsockname()[0] for sock in (first, second)] == ["127.0.0.1", "127.0.0.2"]
        port = first.getsockname()[1]
        assert second.getsockname()[1] == port
        first.close()
        with pytest.raises(OSError, match="in use"):
            await open_listeners("several.example", port)
        socket.create_server(("127.0.0.1", port)).close()  # and the one that could be had was given back


# --- The end ---


async def test_draining_sends_callers_away_and_closes_in_batches() -> None:
    """No new sockets; the waiting are told; the others are closed batch by batch, and last of all it is empty."""
    async with open_door() as door:
        clients: list[tuple[Client, Recorder]] = [await door.connect() for _ in range(5)]
        waiting = await door.call()
        await waiting.send(b"GET /v1/so")
        while door.gateway.strangers.count < 6:
            await trio.testing.wait_all_tasks_blocked(0.001)
        door.gateway.stop_accepting()
        assert problem(await waiting.rest())[1]["code"] == "draining"
        with pytest.raises(OSError, match=r"."):
            await trio.open_tcp_stream("127.0.0.1", door.port)

        ends: list[bytes] = []

        async def leave(client: Client) -> None:
            ends.append((await client.frame())[1])
            await client.send(close(4000))
            assert await client.rest() == b""
            await client.end()

        async with trio.open_nursery() as nursery:
            for client, _ in clients:
                nursery.start_soon(leave, client)
            await door.gateway.close_all(closing.DRAINING, batch=2, every_s=0.05)
        assert ends == [b"\x0f\xa0draining"] * 5
        assert all(handler.seen == [("closed", 4000, "draining")] for _, handler in clients)
        assert not door.pump.connections


async def test_draining_does_not_wait_for_who_does_not_answer() -> None:
    async with open_door(Terms(close_timeout_s=0.2)) as door:
        await door.connect()
        await door.gateway.close_all(closing.DRAINING, batch=10, every_s=1)
        assert not door.pump.connections


async def test_after_close_nothing_is_open() -> None:
    """Even in the middle of everything."""
    async with open_door() as door:
        client, handler = await door.connect()
        caller = await door.call()
        while door.gateway.strangers.count < 2:
            await trio.testing.wait_all_tasks_blocked(0.001)
    assert handler.seen == [("closed", 1006, "")]
    assert not door.pump.connections
    assert door.gateway.strangers.count == 0
    del client, caller
