"""The server itself: what is here, is it well, its keys, its documents."""

import msgspec
import trio
from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, json_response
from konnect_server.http.markup import POLICY, Page
from konnect_server.http.pages import docs_page, welcome_page
from konnect_server.telemetry import CONTENT_TYPE
from protocol.errors import Unavailable, UpgradeNeedsNewConnection
from protocol.http import Health, Index
from protocol.schema import asyncapi, openapi
from storage.errors import StorageUnavailable

LINKS = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "asyncapi": "/asyncapi.json",
    "register": "/v1/auth/register",
    "login": "/v1/auth/login",
    "socket": "/v1/socket",
    "jwks": "/.well-known/jwks.json",
    "health": "/healthz",
    "ready": "/readyz",
    "metrics": "/metrics",
}
READY_S = 1.0  # an answer about readiness is good for so long: asking often costs the database nothing
READY_TIMEOUT_S = 2.0
_DESCRIPTION = "A realtime messaging server. People talk on the socket; accounts are here, over HTTP."
_PUBLIC = "public, max-age=300"


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""
    version = inside.options.version
    index = Index("Konnect", version, _DESCRIPTION, LINKS)
    openapi_body, asyncapi_body = msgspec.json.encode(openapi(version)), msgspec.json.encode(asyncapi())
    docs, welcome = docs_page(version, inside.options.public_url), welcome_page(index)
    readiness = _Readiness(inside)

    @app.get("/", endpoint="index")
    async def root() -> TrioResponse:
        best = request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json")
        response = _html(welcome) if best == "text/html" else json_response(index)
        response.headers["Vary"] = "Accept"
        return response

    @app.get("/v1/auth", endpoint="authIndex")
    @app.get("/v1/users", endpoint="usersIndex")
    @app.get("/v1/call", endpoint="callIndex")
    async def part() -> TrioResponse:
        return json_response(index)

    @app.get("/v1/socket", endpoint="socket")
    async def socket() -> TrioResponse:
        if "websocket" in request.headers.get("Upgrade", "").lower():
            # The door takes upgrades off the wire before any HTTP is spoken; here the connection is HTTP's already.
            raise UpgradeNeedsNewConnection("this connection has served HTTP; open a new one for the upgrade")
        return json_response(index)

    @app.get("/healthz", endpoint="healthz")
    async def healthz() -> TrioResponse:
        return json_response(Health())

    @app.get("/readyz", endpoint="readyz")
    async def readyz() -> TrioResponse:
        if reason := await readiness.reason():
            raise Unavailable(reason)
        return json_response(Health())

    @app.get("/metrics", endpoint="metrics")
    async def metrics() -> TrioResponse:
        return TrioResponse(inside.metrics(), content_type=CONTENT_TYPE)

    @app.get("/.well-known/jwks.json", endpoint="jwks")
    async def jwks() -> TrioResponse:
        return _public(json_response(inside.tokens.jwks()))

    @app.get("/openapi.json", endpoint="openapi")
    async def openapi_json() -> TrioResponse:
        return _public(TrioResponse(openapi_body, content_type="application/json"))

    @app.get("/asyncapi.json", endpoint="asyncapi")
    async def asyncapi_json() -> TrioResponse:
        return _public(TrioResponse(asyncapi_body, content_type="application/json"))

    @app.get("/docs", endpoint="docs")
    async def docs_html() -> TrioResponse:
        return _public(_html(docs))


class _Readiness:
    """Whether traffic may come here; asks the database at most once a second, and once at a time."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._asking = trio.Lock()
        self._asked_at = float("-inf")
        self._answer: str | None = None

    async def reason(self) -> str | None:
        """Why not, in one sentence; None when it may."""
        if self._inside.draining:
            return "the server is going away"
        if own := self._inside.ready():
            return own
        async with self._asking:
            if trio.current_time() - self._asked_at >= READY_S:
                try:
                    await self._inside.database.fetch_one("select 1", timeout_s=READY_TIMEOUT_S)
                    self._answer = None
                except StorageUnavailable:
                    self._answer = "the database does not answer"
                self._asked_at = trio.current_time()
        return self._answer


def _html(page: Page) -> TrioResponse:
    response = TrioResponse(page.body, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _public(response: TrioResponse) -> TrioResponse:
    response.headers["Cache-Control"] = _PUBLIC
    return response
