"""The real network: trio-websocket behind the client's seam, against servers that do not always behave."""

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from hypothesis import given, strategies as st
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket, wrap_server_stream

from konnect_client import ConnectFailed, ProtocolViolation, SocketEnded, over_stream, websocket
from konnect_client.transport import MESSAGE_BYTES

Handler = Callable[[WebSocketRequest], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """A WebSocket server of another make; its address."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, handler, "127.0.0.1", 0, ssl_context=None, handler_nursery=nursery)
        started = await nursery.start(serve)
        yield f"ws://127.0.0.1:{started.port}/v1/socket"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw_server(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A TCP server."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1/socket"
        nursery.cancel_scope.cancel()


async def echo(request: WebSocketRequest) -> None:
    connection = await request.accept(subprotocol="konnect.v1")
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


async def test_whole_messages_go_both_ways() -> None:
    seen = []

    async def look(request: WebSocketRequest) -> None:
        seen.append((request.path, request.proposed_subprotocols))
        await echo(request)

    async with server(look) as url, websocket()(url + "?x=1") as socket:
        for payload in (b"", b"a", b"x" * 70_000):
            await socket.send(payload)
            assert await socket.receive() == payload
    assert seen == [("/v1/socket?x=1", ("konnect.v1",))]


async def test_the_servers_close_is_seen_after_what_came_before() -> None:
    async def close(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="konnect.v1")
        await connection.send_message(b"last words")
        await connection.aclose(4000, "draining")

    async with server(close) as url, websocket()(url) as socket:
        assert await socket.receive() == b"last words"
        for _ in range(2):
            with pytest.raises(SocketEnded) as ended:
                await socket.receive()
            assert (ended.value.code, ended.value.reason) == (4000, "draining")
        with pytest.raises(SocketEnded):
            await socket.send(b"too late")
        await socket.close()


async def test_a_connection_that_breaks_ends_without_a_code() -> None:
    async def hang_up(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="konnect.v1")
        await connection._stream.aclose()

    async with server(hang_up) as url, websocket()(url) as socket:
        with pytest.raises(SocketEnded) as ended:
            await socket.receive()
        assert (ended.value.code, ended.value.reason) == (1006, "")


async def test_the_clients_close_is_heard() -> None:
    closed: list[ConnectionClosed] = []
    heard = trio.Event()

    async def listen(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="konnect.v1")
        try:
            await connection.get_message()
        except ConnectionClosed as end:
            closed.append(end)
            heard.set()

    async with server(listen) as url:
        async with websocket()(url) as socket:
            await socket.close(1002, "violation")
            await socket.close()
            with pytest.raises(SocketEnded):
                await socket.receive()
        await heard.wait()
    assert closed[0].reason is not None
    assert (closed[0].reason.code, closed[0].reason.reason) == (1002, "violation")


async def test_a_cancelled_block_does_not_wait_for_the_other_side() -> None:
    """The link is dead: no goodbye will ever be answered."""

    async def accept_and_sleep(request: WebSocketRequest) -> None:
        await request.accept(subprotocol="konnect.v1")
        await trio.sleep_forever()

    async with server(accept_and_sleep) as url:
        with trio.CancelScope() as scope:
            async with websocket()(url):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught


async def test_a_text_message_is_a_violation() -> None:
    async def text(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="konnect.v1")
        await connection.send_message("text")
        await trio.sleep_forever()

    async with server(text) as url, websocket()(url) as socket:
        with pytest.raises(ProtocolViolation, match="text"):
            await socket.receive()


async def test_a_message_without_end_is_not_kept() -> None:
    async def flood(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="konnect.v1")
        try:
            await connection.send_message(b"x" * (MESSAGE_BYTES + 1))
            await connection.get_message()
        except ConnectionClosed:
            pass

    async with server(flood) as url, websocket()(url) as socket:
        with pytest.raises(SocketEnded):
            await socket.receive()


# --- no connection ----------------------------------------------------------------------------------------------------


async def failure(url: str, connect_within_s: float = 3_600) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as failed:
        async with websocket(connect_within_s=connect_within_s)(url):
            raise AssertionError("connected")
    return failed.value


async def test_nobody_there() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    assert (await failure(f"ws://127.0.0.1:{port}/")).reason == "unreachable"
    assert (await failure("ws://no-such-host.invalid/")).reason == "unreachable"


async def test_a_refusal_says_its_status_and_when_to_come_back() -> None:
    async def busy(request: WebSocketRequest) -> None:
        await request.reject(503, extra_headers=[(b"Retry-After", b"7")], body=b"busy")

    async with server(busy) as url:
        failed = await failure(url)
        assert (failed.reason, failed.retry_after_s) == ("http_503", 7.0)

    async def gone(request: WebSocketRequest) -> None:
        await request.reject(404)

    async with server(gone) as url:
        failed = await failure(url)
        assert (failed.reason, failed.retry_after_s) == ("http_404", None)


async def test_a_server_without_the_subprotocol_is_another_one() -> None:
    async def plain(request: WebSocketRequest) -> None:
        await request.accept()
        await trio.sleep_forever()

    async with server(plain) as url:
        assert (await failure(url)).reason == "not_konnect"


async def test_a_server_that_hangs_up_during_the_handshake_is_not_waited_for() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with raw_server(hang_up) as url:
        assert (await failure(url)).reason == "lost"


async def test_a_server_that_speaks_something_else_is_left() -> None:
    async def gibberish(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 mail.example.com ESMTP\r\n\r\n")
        await trio.sleep_forever()

    async with raw_server(gibberish) as url:
        assert (await failure(url)).reason == "lost"


async def test_a_server_that_says_nothing_is_left_in_time() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw_server(silent) as url:
        assert (await failure(url, connect_within_s=0.05)).reason == "timeout"


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    """A TLS client that meets plain text, or an unknown certificate, does not send its token."""

    async def plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with raw_server(plain) as url:
        assert (await failure(url.replace("ws://", "wss://"))).reason == "tls"
    assert ssl.create_default_context().check_hostname


async def test_it_runs_over_any_stream(nursery: trio.Nursery) -> None:
    """As in a simulated world: no sockets, the same WebSocket."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        async with trio.open_nursery() as inner:
            await echo(await wrap_server_stream(inner, theirs))

    nursery.start_soon(serve)
    async with over_stream(ours, "server.example", "/v1/socket") as socket:
        await socket.send(b"hi")
        assert await socket.receive() == b"hi"


def accept_key(request: bytes) -> bytes:
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


@given(noise=st.binary(max_size=200), good_start=st.booleans())
async def test_any_bytes_in_place_of_a_handshake_are_a_failure(noise: bytes, good_start: bool) -> None:
    """A captive portal, a mail server, a broken proxy: no connection, and nothing worse."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def answer() -> None:
        await theirs.receive_some()
        await theirs.send_all((b"HTTP/1.1 101 Switching Protocols\r\n" if good_start else b"") + noise)
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(ConnectFailed):
            async with over_stream(ours, "server.example"):
                raise AssertionError("connected")


@given(noise=st.lists(st.binary(max_size=80), max_size=5))
async def test_any_bytes_after_the_handshake_are_messages_or_the_end(noise: list[bytes]) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def answer() -> None:
        request = bytes(await theirs.receive_some())
        await theirs.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: konnect.v1\r\nSec-WebSocket-Accept: " + accept_key(request) + b"\r\n\r\n"
        )
        with suppress(trio.BrokenResourceError):
            for part in noise:
                await theirs.send_all(part)
            await theirs.send_eof()
        async for _ in theirs:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with over_stream(ours, "server.example") as socket:
            with pytest.raises((SocketEnded, ProtocolViolation)):
                while True:
                    await socket.receive()
