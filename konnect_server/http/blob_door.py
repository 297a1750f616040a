"""Bodies of media over HTTP, where they lie in a folder: signed addresses in and out, and public names.

This stands before the web framework, which would collect a body in memory: here pieces go to disk as they come, and the
client is not read while the disk is behind. ``connection.py`` knows by :func:`is_upload` whose bodies come in pieces.

What is served is an attachment of a type that was checked, under ``nosniff`` and a policy that lets nothing run: a page
that somebody uploaded can do nothing in this origin.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, unquote

import structlog
import trio

from konnect_server.actions.sniff import PHOTOS
from konnect_server.http import problems
from konnect_server.http.app import REQUESTS, SECONDS
from konnect_server.http.byte_ranges import Part, Unsatisfiable, part_of
from konnect_server.http.options import ANY_ORIGIN
from protocol.errors import (
    BadLink,
    BadRange,
    InternalError,
    KonnectError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    WrongChecksum,
    WrongSize,
)
from storage.blob_links import Link
from storage.blobs import CACHE_FOR_EVER, EXTENSIONS, is_key
from storage.errors import BlobsUnavailable
from storage.folder_blobs import FolderBlobs, Reading

UPLOADS_AT_ONCE: Final = 64  # each holds a piece in memory and a file on disk
WRITE_BYTES: Final = 1 << 18  # gathered before the disk is asked
READ_BYTES: Final = 1 << 18  # of one piece of an answer
SIGNED: Final = "/v1/blobs/"
PUBLIC: Final = "/v1/public/"

ENDPOINTS: Final = {(SIGNED, "PUT"): "putBlob", (SIGNED, "GET"): "getBlob", (PUBLIC, "GET"): "publicBlob"}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
_PUBLIC_TYPES: Final = {EXTENSIONS[photo]: photo for photo in PHOTOS}
_METHODS: Final = {SIGNED: ("GET", "HEAD", "PUT"), PUBLIC: ("GET", "HEAD")}

_log = structlog.get_logger("konnect.http")


class _ClientGone(Exception):
    """Nobody waits for the answer any more."""


def is_upload(method: bytes, path: bytes) -> bool:
    """True for a request whose body is handed on in pieces, however long it is."""
    return method == b"PUT" and path.startswith(SIGNED.encode())


class BlobDoor:
    """An ASGI application that answers for blobs, and hands everything else on.

    Args:
        rest: Everything else.
        blobs: None where an S3 store serves what is signed; then nothing is here.
        allowed_origins: For browsers (CORS).
    """

    def __init__(self, rest: App, blobs: FolderBlobs | None, allowed_origins: tuple[str, ...]) -> None:
        self._rest = rest
        self._blobs = blobs
        self._allowed_origins = allowed_origins
        self._uploads = 0
        self._newest: dict[str, trio.CancelScope] = {}  # key -> the upload that came last

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        area = next((each for each in _METHODS if scope["path"].startswith(each)), None)
        if area is None:
            await self._rest(scope, receive, send)
            return
        request = _Request(scope, receive, send, self._cors(scope))
        began = trio.current_time()
        try:
            await self._answer(request, area)
        except _ClientGone:
            pass
        except KonnectError as problem:
            await request.refuse(problem)
        except BlobsUnavailable as problem:
            _log.warning("the media folder cannot be used", reason=str(problem))
            await request.refuse(Unavailable("the server cannot read or store media now"))
        except Exception as problem:  # noqa: BLE001  # a bug is logged here, and is nobody's business outside
            _log.error("a request failed", method=request.method, path=scope["path"], exc_info=problem)
            await request.refuse(InternalError("a bug on the server's side; it is in the server's log"))
        endpoint = ENDPOINTS.get((area, "PUT" if request.method == "PUT" else "GET"), "none")
        REQUESTS.labels(endpoint, str(request.status or 499)).inc()
        SECONDS.labels(endpoint).observe(trio.current_time() - began)

    async def _answer(self, request: "_Request", area: str) -> None:
        blobs, allowed = self._blobs, _METHODS[area]
        path = str(request.scope["path"])
        if request.method == "OPTIONS":
            await request.respond(204, [(b"allow", ", ".join((*allowed, "OPTIONS")).encode())])
            return
        if request.method not in allowed:
            request.extra.append((b"allow", ", ".join(allowed).encode()))
            raise MethodNotAllowed(f"{path} does not take {request.method}")
        rest = path.removeprefix(area)
        key = f"public/{rest}" if area == PUBLIC else rest
        # As it was sent: an encoded slash or dot is no other spelling of a name.
        if blobs is None or not is_key(key) or unquote(request.raw_path) != request.raw_path:
            raise NotFound("there is no medium here")
        if area == PUBLIC:
            await self._serve_public(request, blobs, key)
            return
        link = blobs.verify(request.method, key, request.query)
        if link is None:
            raise BadLink("this address is altered, or out of time; ask for a new one")
        if link.method == "PUT":
            await self._store(request, blobs, link)
        else:
            async with blobs.reading(key) as file:
                name = quote(link.fields["name"], safe="")
                headers = _serving(link.fields["type"], f"attachment; filename*=UTF-8''{name}", "private, no-store")
                await _serve(request, file, key, headers)

    async def _serve_public(self, request: "_Request", blobs: FolderBlobs, key: str) -> None:
        content_type = _PUBLIC_TYPES.get(key.rsplit(".", 1)[-1])
        if content_type is None:
            raise NotFound("there is no medium here")
        headers = _serving(content_type, "attachment", CACHE_FOR_EVER)
        headers.append((b"cross-origin-resource-policy", b"cross-origin"))
        if _tag(key) in [each.strip() for each in request.header("if-none-match").split(",")]:
            await request.respond(304, [(b"etag", _tag(key).encode()), (b"cache-control", CACHE_FOR_EVER.encode())])
            return
        async with blobs.reading(key) as file:
            await _serve(request, file, key, headers)

    async def _store(self, request: "_Request", blobs: FolderBlobs, link: Link) -> None:
        """Take one body to disk. A newer request for the same address ends an older one: its client has given up."""
        size = int(link.fields["size"])
        if request.header("content-type") != link.fields["type"]:
            raise BadLink(f"this address takes Content-Type: {link.fields['type']}")
        if (said := request.header("content-length")) and int(said) != size:
            raise WrongSize(f"this address takes {size} bytes, not {said}")
        if self._uploads >= UPLOADS_AT_ONCE:
            raise Unavailable("too many uploads are under way")
        if older := self._newest.get(link.key):
            older.cancel()
        self._uploads += 1
        with trio.CancelScope() as scope:
            self._newest[link.key] = scope
            try:
                await _receive(request, blobs, link.key, size, link.fields["sha256"])
            finally:
                self._uploads -= 1
                if self._newest.get(link.key) is scope:
                    del self._newest[link.key]
        if scope.cancelled_caught:
            raise Unavailable("another request for this address came later")
        await request.respond(204, [])

    def _cors(self, scope: Scope) -> Headers:
        """For web apps; signed addresses carry their own right, so no credentials are ever allowed."""
        if not self._allowed_origins:
            return []
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        anyone = ANY_ORIGIN in self._allowed_origins
        found = [] if anyone else [(b"vary", b"Origin")]
        if not origin or not (anyone or origin.decode("latin-1") in self._allowed_origins):
            return found
        found.append((b"access-control-allow-origin", b"*" if anyone else origin))
        found.append((b"access-control-expose-headers", b"Content-Range, Content-Disposition, ETag, Retry-After"))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            found.append((b"access-control-allow-methods", b"GET, HEAD, PUT"))
            found.append((b"access-control-allow-headers", b"Content-Type, Range, If-Range"))
            found.append((b"access-control-max-age", b"600"))
        return found


class _Request:
    """One request as ASGI gives it, and its one answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, extra: Headers) -> None:
        self.scope, self.extra = scope, extra
        self.method = str(scope["method"])
        self.raw_path: str = scope["raw_path"].decode("ascii", "replace")
        self.query: str = scope["query_string"].decode("ascii", "replace")
        self.status = 0  # of the answer, once it has begun
        self._headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self._receive, self._send = receive, send

    def header(self, name: str) -> str:
        """The header *name* (in lower case); empty when there is none."""
        return self._headers.get(name.encode(), "")

    async def piece(self) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether more may come.

        Raises:
            _ClientGone: The connection ended.
        """
        message = await self._receive()
        if message["type"] != "http.request":
            raise _ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start the answer."""
        self.status = status
        common = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *common, *self.extra]})

    async def send(self, data: bytes, more: bool) -> None:
        """Go on with it."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def respond(self, status: int, headers: Headers) -> None:
        """An answer without a body."""
        await self.begin(status, [(b"cache-control", b"no-store"), *headers] if status != 304 else headers)
        await self.send(b"", False)

    async def refuse(self, error: KonnectError) -> None:
        """An answer that is an error; nothing, when another has begun."""
        if self.status:
            return
        body = problems.body(error)
        pairs = {**problems.headers(error), "Content-Length": str(len(body)), "Content-Security-Policy": _POLICY}
        pairs.pop("X-Content-Type-Options", None)  # every answer has it
        if self.method == "PUT":
            pairs["Connection"] = "close"  # the rest of the body is not wanted
        await self.begin(error.status, [(name.lower().encode(), value.encode()) for name, value in pairs.items()])
        await self.send(body, False)


async def _receive(request: _Request, blobs: FolderBlobs, key: str, size: int, digest: str) -> None:
    made, seen, waiting, more = hashlib.sha256(), 0, bytearray(), True
    async with blobs.writing(key) as file:
        while more:
            data, more = await request.piece()
            seen += len(data)
            if seen > size:
                raise WrongSize(f"this address takes {size} bytes, and more came")
            made.update(data)
            waiting += data
            if len(waiting) >= WRITE_BYTES or not more:
                await file.write(waiting)
                waiting.clear()
        if seen != size:
            raise WrongSize(f"this address takes {size} bytes, and {seen} came")
        if made.hexdigest() != digest:
            raise WrongChecksum("the SHA-256 of what came is not the one that was announced")
        await file.keep()


async def _serve(request: _Request, file: Reading | None, key: str, headers: Headers) -> None:
    if file is None:
        raise NotFound("there is no medium here")
    size, tag = file.size_bytes, _tag(key)
    try:
        unchanged = request.header("if-range") in ("", tag)
        part = part_of(request.header("range"), size) if unchanged and request.method == "GET" else None
    except Unsatisfiable as problem:
        request.extra.append((b"content-range", f"bytes */{size}".encode()))
        raise BadRange(f"there are {size} bytes") from problem
    status = 200
    if part is not None:
        status = 206
        headers.append((b"content-range", f"bytes {part.start}-{part.end - 1}/{size}".encode()))
    at, end = part or Part(0, size)
    headers += [(b"content-length", b"%d" % (end - at)), (b"accept-ranges", b"bytes"), (b"etag", tag.encode())]
    await request.begin(status, headers)
    while request.method == "GET" and at < end:
        data = await file.piece(at, min(READ_BYTES, end - at))
        if not data:  # cut short behind our back: the client sees that less came than was said
            return
        at += len(data)
        await request.send(data, at < end)
    if request.method == "HEAD":
        await request.send(b"", False)


def _serving(content_type: str, disposition: str, cache: str) -> Headers:
    return [
        (b"content-type", content_type.encode()),
        (b"content-disposition", disposition.encode()),
        (b"cache-control", cache.encode()),
        (b"content-security-policy", _POLICY.encode()),
    ]


def _tag(key: str) -> str:
    """A key never gets other bytes, so it names them."""
    return f'"{key.rsplit("/", 1)[-1]}"'
