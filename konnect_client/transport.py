"""The network, behind one seam: ``connect(url)`` gives a socket that sends and receives whole messages.

The real one speaks WebSocket with trio-websocket. A simulated world gives another ``connect``, or runs this WebSocket
over streams of its own with :func:`over_stream`.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from konnect_client.errors import ConnectFailed, ProtocolViolation, SocketEnded

SUBPROTOCOL: Final = "konnect.v1"
CONNECT_WITHIN_S: Final = 15.0
CLOSE_WITHIN_S: Final = 2.0
MESSAGE_BYTES: Final = 2 * 1024 * 1024  # a page has up to 256 KiB; more than this is no Konnect server


class Socket(Protocol):
    """An open connection that carries whole messages. One task sends, one receives."""

    async def send(self, payload: bytes) -> None:
        """Send one binary message. Raises SocketEnded. A cancelled send leaves the connection fit for closing only."""

    async def receive(self) -> bytes:
        """The next binary message. Raises SocketEnded with the close code and reason, ProtocolViolation for text."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, and wait for the other side's goodbye. Raises nothing; may be called twice."""


Connect = Callable[[str], AbstractAsyncContextManager[Socket]]
"""Opens a connection to a URL for the length of a block.

Entering raises ConnectFailed when no connection comes about. Leaving closes the connection at once, without waiting
for the other side when the block is cancelled.
"""


def socket_url(url: str) -> str:
    """The address of the socket for *url*: a ws or wss address as it is, or a server's http or https address.

    Raises:
        ValueError: It is neither.
    """
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss") and parts.hostname:
        return url
    if parts.scheme in ("http", "https") and parts.hostname:
        scheme = "ws" if parts.scheme == "http" else "wss"
        return parts._replace(scheme=scheme, path=parts.path.rstrip("/") + "/v1/socket", query="", fragment="").geturl()
    raise ValueError(f"{url!r} is not the address of a Konnect server (http, https, ws or wss)")


class _WebSocket:
    """A trio-websocket connection as a Socket."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def send(self, payload: bytes) -> None:
        try:
            await self._connection.send_message(payload)
        except ConnectionClosed as closed:
            raise self._end(closed) from closed
        except LocalProtocolError as problem:  # the close handshake began meanwhile
            raise SocketEnded(1006, "") from problem

    async def receive(self) -> bytes:
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise self._end(closed) from closed
        if isinstance(message, str):
            raise ProtocolViolation("the server sent a text message")
        return bytes(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        with trio.move_on_after(CLOSE_WITHIN_S):
            await self._connection.aclose(code, reason or None)

    def _end(self, closed: ConnectionClosed) -> SocketEnded:
        if closed.reason is None:
            return SocketEnded(1006, "")
        # trio-websocket names its own view of an abnormal end in the reason; only the peer's words count here
        return SocketEnded(closed.reason.code, "" if closed.reason.code == 1006 else closed.reason.reason or "")


class _Reader:
    """Runs trio-websocket's reader task, and notices its end: without that, a server that hangs up during the
    handshake would be waited for until the deadline."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.ended = trio.Event()
        self.rejected: ConnectionRejected | None = None

    def start_soon(self, run: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, run)

    async def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except ConnectionRejected as rejected:
            self.rejected = rejected
        except (ConnectionClosed, LocalProtocolError, h11.LocalProtocolError):
            pass  # the end itself: who sends or receives is told; or trio-websocket's answer to nonsense that failed
        finally:
            self.ended.set()


@asynccontextmanager
async def over_stream(
    stream: trio.abc.Stream, host: str, resource: str = "/v1/socket", within_s: float = CONNECT_WITHIN_S
) -> AsyncIterator[Socket]:
    """A WebSocket on *stream*, for the length of a block; the stream is closed with it.

    Args:
        stream: Bytes to and from the server; any Trio stream.
        host: What the Host header says.
        resource: The path.
        within_s: How long the handshake may take, in seconds.

    Raises:
        ConnectFailed: The server refused, hung up, was too slow, or does not speak ``konnect.v1``.
    """
    failure: ConnectFailed | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                connection = await _handshake(_Reader(nursery), stream, host, resource, within_s)
            except ConnectFailed as problem:
                failure = problem  # raised outside the nursery, which would wrap it in a group
            else:
                socket = _WebSocket(connection)
                try:
                    yield socket
                finally:
                    await socket.close()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


async def _handshake(
    reader: _Reader, stream: trio.abc.Stream, host: str, resource: str, within_s: float
) -> WebSocketConnection:
    opened: list[WebSocketConnection] = []

    async def shake_hands(stop: trio.CancelScope) -> None:
        connection = await wrap_client_stream(
            cast(trio.Nursery, reader),
            cast(Any, stream),  # its annotation names socket streams; any stream works
            host,
            resource,
            subprotocols=[SUBPROTOCOL],
            message_queue_size=64,
            max_message_size=MESSAGE_BYTES,
            receive_buffer_size=65_536,
        )
        opened.append(connection)
        stop.cancel()

    with trio.move_on_after(within_s):
        async with trio.open_nursery() as race:
            race.start_soon(shake_hands, race.cancel_scope)
            await reader.ended.wait()
            race.cancel_scope.cancel()
    if opened:
        if opened[0].subprotocol != SUBPROTOCOL:
            raise ConnectFailed("not_konnect", f"{host} does not speak {SUBPROTOCOL}")
        return opened[0]
    if reader.rejected is not None:
        status = reader.rejected.status_code
        raise ConnectFailed(f"http_{status}", f"{host} answered {status}", _retry_after_s(reader.rejected.headers))
    if reader.ended.is_set():
        raise ConnectFailed("lost", f"{host} hung up during the handshake")
    raise ConnectFailed("timeout", f"{host} did not answer within {within_s} s")


def _retry_after_s(headers: tuple[tuple[bytes, bytes], ...]) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(value)
    return None


def websocket(ssl_context: ssl.SSLContext | None = None, connect_within_s: float = CONNECT_WITHIN_S) -> Connect:
    """The ``connect`` of the real network.

    Args:
        ssl_context: For wss addresses; None trusts the system's certificate authorities.
        connect_within_s: How long each of connecting and the handshake may take, in seconds.
    """

    @asynccontextmanager
    async def connect(url: str) -> AsyncIterator[Socket]:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "wss"
        port = parts.port or (443 if secure else 80)
        stream = await _open_stream(host, port, ssl_context if secure else None, secure, connect_within_s)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = f"[{host}]" if ":" in host else host
        async with over_stream(stream, f"{name}:{port}", resource, connect_within_s) as socket:
            yield socket

    return connect


async def _open_stream(
    host: str, port: int, ssl_context: ssl.SSLContext | None, secure: bool, within_s: float
) -> trio.abc.Stream:
    with trio.move_on_after(within_s):
        try:
            tcp = await trio.open_tcp_stream(host, port)
        except OSError as problem:
            raise ConnectFailed("unreachable", f"{host}:{port} cannot be reached: {problem}") from problem
        if not secure:
            return tcp
        trusted = ssl_context or ssl.create_default_context()
        tls = trio.SSLStream(tcp, trusted, server_hostname=host, https_compatible=True)
        secured = False
        try:
            await tls.do_handshake()
            secured = True
        except trio.BrokenResourceError as problem:
            raise ConnectFailed("tls", f"no secure connection to {host}:{port}: {problem.__cause__}") from problem
        finally:
            if not secured:
                await trio.aclose_forcefully(tls)
        return tls
    raise ConnectFailed("timeout", f"{host}:{port} did not answer within {within_s} s")
