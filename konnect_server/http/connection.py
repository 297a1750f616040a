"""One HTTP connection: Hypercorn's HTTP/1.1 between a socket and the application, with an end for everything.

Hypercorn's own connection (``TCPServer``) switches to HTTP/2 when asked to, sends to clients that do not read without
a deadline, may wait for ever on a full queue, answers what it cannot parse with an empty body, and closes a socket with
unread bytes in it. This one does none of that. It leans on names that Hypercorn does not call public, hence the pin on
its minor version, and the tests.

The application is called once a request is whole: bodies are small here (64 KiB), and neither their length nor their
slowness is left to a framework, whose versions differ in it. Uploads of media are the exception (``blob_door.py``):
they are handed on in pieces, and the socket is not read while nobody takes them.
"""

import re
from collections.abc import Callable
from typing import Final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Event as StreamEvent, Request, Response, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGISendEvent, ConnectionState

from konnect_server.http import problems
from konnect_server.http.blob_door import is_upload
from konnect_server.http.options import DoorOptions
from konnect_server.http.stream import HandedStream
from protocol.errors import BadRequest, HeadTooLarge, KonnectError, RequestTimeout, TooLarge
from protocol.http import BODY_BYTES, HEAD_BYTES

_ABSOLUTE: Final = re.compile(rb"https?://", re.IGNORECASE)
_NOT_FINISHED_S: Final = 5.0  # how long handlers may take to notice that the client is gone


class Connection:
    """Serves one socket until either end has had enough."""

    def __init__(
        self, stream: HandedStream, app: AppWrapper, config: Config, context: WorkerContext, options: DoorOptions
    ) -> None:
        self._stream = stream
        self._app, self._config, self._context = app, config, context
        self._options = options
        self._reading = trio.CancelScope()
        self._ended = trio.Event()  # nothing more will be sent
        self._began_at = 0.0  # when the request under way did
        self._idle = False  # between two requests; not before the first, which is here already
        self._everything = trio.CancelScope()

    async def serve(self) -> None:
        """Serve requests, one after the other; returns once the socket is closed."""
        client, server = self._stream.addresses()
        try:
            with self._everything:
                async with TaskGroup() as tasks:
                    protocol = _Http1(
                        self._app, self._config, self._context, tasks, ConnectionState({}),
                        False, client, server, self._on_event,
                    )  # fmt: skip
                    protocol.on_whole = self._on_whole
                    protocol.on_piece = self._on_piece
                    await self._read(protocol)
                    if self._ended.is_set() and protocol.expects_more():
                        await self._stream.close_politely()
                    self._stream.close()
                    self._everything.deadline = trio.current_time() + _NOT_FINISHED_S
                    await protocol.handle(Closed())  # a handler that still runs learns that nobody listens
        finally:
            self._stream.close()

    def close_if_idle(self) -> bool:
        """End at once if no request is under way; True if it does."""
        idle, self._idle = self._idle, False
        if idle:
            self._reading.cancel()
        return idle

    def abort(self) -> None:
        """End at once, whatever is under way."""
        self._stream.close()
        self._everything.cancel()

    async def _read(self, protocol: "_Http1") -> None:
        self._set_deadline(self._options.keep_alive_s)
        with self._reading:
            while data := await self._stream.receive_some():
                await protocol.handle(RawData(data))
            # The client has said all it had to say; it may still wait for the answer to its last request.
            await protocol.handle(RawData(b""))
            if not self._idle:
                await self._ended.wait()
        if not self._ended.is_set() and protocol.has_begun():
            await protocol.refuse(RequestTimeout("the request took too long to arrive"))

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not await self._stream.send_all(event.data):
                self._end()
        elif isinstance(event, Closed):
            self._end()
        elif isinstance(event, Updated):
            self._idle = event.idle
            self._began_at = trio.current_time()
            self._set_deadline(self._options.keep_alive_s if event.idle else self._options.body_s)

    def _on_whole(self) -> None:
        self._set_deadline(float("inf"))  # it is the application's turn, which has deadlines of its own

    def _on_piece(self) -> None:
        now = trio.current_time()
        self._set_deadline(min(self._options.upload_pause_s, self._began_at + self._options.upload_s - now))

    def _set_deadline(self, after_s: float) -> None:
        self._reading.deadline = trio.current_time() + after_s

    def _end(self) -> None:
        self._ended.set()
        self._reading.cancel()


class _Http1(H11Protocol):
    """HTTP/1.1 and nothing else; every error has a body, every request a path."""

    on_whole: Callable[[], None]  # told when a request has arrived whole
    on_piece: Callable[[], None]  # told when a part of one has arrived whose body may be long

    def has_begun(self) -> bool:
        """True when part of a request is there, and no answer to it has begun."""
        if self.connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        return bool(self.connection.trailing_data[0]) or self.connection.their_state is h11.SEND_BODY

    def expects_more(self) -> bool:
        """True when the client may still be sending something that nobody will read."""
        return self.connection.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    async def refuse(self, error: KonnectError, method: bytes = b"") -> None:
        """Answer what never became a request, and end the connection."""
        if isinstance(self.stream, _Upload):
            self.stream.refused = True
        headers, body = _bare(error)
        headers += [(b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=error.status, headers=headers))
        if method != b"HEAD":
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Give Hypercorn's own error responses, which are empty, a body."""
        if isinstance(event, Response) and event.status_code >= 400 and (b"content-length", b"0") in event.headers:
            headers, body = _bare(problems.by_status(event.status_code, "the request could not be answered"))
            headers.append((b"connection", b"close"))
            await super().stream_send(Response(STREAM_ID, headers, event.status_code))
            await super().stream_send(Body(STREAM_ID, body))
        else:
            await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        await self.refuse(
            _UNREADABLE.get(status_code, BadRequest("the request is not well-formed HTTP/1.1, or broke off"))
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        """No HTTP/2: an upgrade to it is passed over, as RFC 9110, section 7.8 allows."""

    async def _create_stream(self, request: h11.Request) -> None:
        path = _path(request)
        names = [name for name, _ in request.headers]
        # h11 judges the length of what is not whole yet; a head that comes in one piece was not judged.
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        if size > self.config.h11_max_incomplete_size:
            return await self.refuse(_UNREADABLE[431], request.method)
        if path is None:
            return await self.refuse(BadRequest("the request's target is not a path"), request.method)
        if b"transfer-encoding" in names and b"content-length" in names:  # two opinions: how requests are smuggled
            both = BadRequest("Content-Length and Transfer-Encoding cannot both be given")
            return await self.refuse(both, request.method)
        long = is_upload(request.method, path)
        if not long and int(dict(request.headers).get(b"content-length", 0)) > BODY_BYTES:
            return await self.refuse(_TOO_LARGE, request.method)
        # Also for a WebSocket upgrade: the application says why not here.
        self.stream = _Upload(self) if long else _Exchange(self)
        # The host is nowhere used, and a strange one upsets the routing: it is not passed on.
        headers = [(name, b"localhost" if name == b"host" else value) for name, value in request.headers]
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID, headers=headers, http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(), raw_path=path, state=self.connection_state,
            )
        )  # fmt: skip
        self.keep_alive_requests += 1
        return None


class _Exchange(HTTPStream):
    """One request and its answer; the application hears of it when the request is whole."""

    def __init__(self, protocol: _Http1) -> None:
        super().__init__(
            protocol.app, protocol.config, protocol.context, protocol.task_group, protocol.ssl, protocol.client,
            protocol.server, protocol.stream_send, STREAM_ID,
        )  # fmt: skip
        self._protocol = protocol
        self._request: Request | None = None  # while its body is still to come
        self._body = bytearray()

    async def handle(self, event: StreamEvent) -> None:
        """Collect a request; hand on what comes after."""
        if isinstance(event, Request):
            self._request = event
        elif self._request is None:
            await super().handle(event)
        elif isinstance(event, Body):
            self._body += event.data
            if len(self._body) > BODY_BYTES:
                self.closed, self._request = True, None
                await self._protocol.refuse(_TOO_LARGE)
        elif isinstance(event, EndBody):
            request, self._request = self._request, None
            self._protocol.on_whole()
            await super().handle(request)
            await super().handle(Body(STREAM_ID, bytes(self._body)))
            await super().handle(event)
        elif isinstance(event, StreamClosed):
            self.closed, self._request = True, None


class _Upload(HTTPStream):
    """One request whose body is handed on as it comes, to an application that reads it before it answers.

    What nobody takes waits here, and with it the socket. Once the answer has begun the rest is dropped: Hypercorn would
    put it into a queue that nobody empties, and wait for ever.
    """

    def __init__(self, protocol: _Http1) -> None:
        super().__init__(
            protocol.app, protocol.config, protocol.context, protocol.task_group, protocol.ssl, protocol.client,
            protocol.server, protocol.stream_send, STREAM_ID,
        )  # fmt: skip
        self._protocol = protocol
        self.refused = False  # somebody else has answered
        self._answered = False
        self._putting = trio.CancelScope()

    async def handle(self, event: StreamEvent) -> None:
        """Hand on a request, piece by piece."""
        if isinstance(event, EndBody):
            self._protocol.on_whole()
        elif not isinstance(event, StreamClosed):
            self._protocol.on_piece()
        if self._answered and isinstance(event, (Body, EndBody)):
            return
        if isinstance(event, StreamClosed) and self._answered:
            self.closed = True
            return
        with trio.CancelScope() as self._putting:
            await super().handle(event)

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """The application's answer, or its end."""
        self._answered = True
        self._putting.cancel()
        if not self.refused:
            await super().app_send(message)


_TOO_LARGE: Final = TooLarge(f"the body is longer than {BODY_BYTES} bytes")
_UNREADABLE: Final[dict[int, KonnectError]] = {  # by the status that h11 has in mind
    431: HeadTooLarge(f"the request's line and headers are longer than {HEAD_BYTES} bytes"),
    501: BadRequest("the Transfer-Encoding is not known here; send chunked, or a Content-Length"),
}


def _bare(error: KonnectError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body for *error*."""
    body = problems.body(error)
    pairs = {**problems.headers(error), "Content-Length": str(len(body))}
    return [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in pairs.items()], body


def _path(request: h11.Request) -> bytes | None:
    """Path and query of a request's target (RFC 9112, section 3.2); None if it has none."""
    target = request.target
    if target.startswith(b"/"):
        return target
    if target == b"*" and request.method == b"OPTIONS":
        return b"/"
    if _ABSOLUTE.match(target):  # as for a proxy; a server has to take it too
        rest = target.split(b"//", 1)[1]
        at = min((rest.find(mark) for mark in (b"/", b"?") if mark in rest), default=len(rest))
        return rest[at:] if rest[at:].startswith(b"/") else b"/" + rest[at:]
    return None
