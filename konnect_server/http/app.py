"""The application: routes, and what is true of every answer."""

import structlog
import trio
from quart import g, request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from konnect_server.http import about, auth, calls, dev, operator, people, problems, uploads
from konnect_server.http.inside import Inside
from konnect_server.http.options import ANY_ORIGIN
from konnect_server.telemetry import counter, histogram
from protocol.calls import KEY_HEADER
from protocol.errors import InternalError, Invalid, KonnectError, Unavailable, UpgradeNeedsNewConnection
from storage.errors import StorageRefused, StorageUnavailable

_log = structlog.get_logger("konnect.http")

REQUESTS = counter("konnect_http_requests_total", "HTTP requests answered.", ("endpoint", "status"))
SECONDS = histogram("konnect_http_request_seconds", "Time from a request's head to its answer.", ("endpoint",))

_CSP = "default-src 'none'; frame-ancestors 'none'"
_EXPOSED = "Retry-After, WWW-Authenticate"


def make_app(inside: Inside) -> QuartTrio:
    """The whole application over *inside*."""
    app = QuartTrio("konnect", static_folder=None, template_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=None,  # the connection has collected and bounded the body by now
        BODY_TIMEOUT=None,
        RESPONSE_TIMEOUT=None,  # the connection has a deadline for each piece
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.merge_slashes = False  # "//v1" is not here, and not elsewhere either
    app.url_map.strict_slashes = True
    for part in (auth, people, calls, uploads, operator, about):
        part.add_routes(app, inside)
    if inside.options.dev:
        dev.add_routes(app, inside)
    _answer_errors(app)
    _mark_answers(app, inside.options.allowed_origins)
    return app


def _answer_errors(app: QuartTrio) -> None:
    """Every error becomes problem+json; a bug is logged here, and is nobody's business outside."""

    @app.errorhandler(KonnectError)
    async def known(error: KonnectError) -> TrioResponse:
        return _problem(error)

    @app.errorhandler(StorageUnavailable)
    async def unavailable(error: StorageUnavailable) -> TrioResponse:
        _log.warning("a request met an unavailable database", path=request.path, reason=str(error))
        return _problem(Unavailable("the database does not answer; whether the request was carried out is unknown"))

    @app.errorhandler(StorageRefused)
    async def refused(error: StorageRefused) -> TrioResponse:
        return _problem(Invalid(f"the database cannot store this: {error}"))

    @app.errorhandler(HTTPException)
    async def bare(error: HTTPException) -> TrioResponse:
        status = error.code or 500
        response = _problem(problems.by_status(status, _detail(status)))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> TrioResponse:
        _log.error("a request failed", method=request.method, path=request.path, exc_info=error)
        return _problem(InternalError("a bug on the server's side; it is in the server's log"))


def _problem(error: KonnectError) -> TrioResponse:
    response = TrioResponse(problems.body(error), error.status, problems.headers(error))
    if isinstance(error, UpgradeNeedsNewConnection):
        response.headers["Connection"] = "close"
    return response


def _detail(status: int) -> str:
    match status:
        case 404:
            return f"there is nothing at {request.path}"
        case 405:
            return f"{request.path} does not take {request.method}"
        case _:
            return "the request cannot be understood"


def _mark_answers(app: QuartTrio, allowed_origins: tuple[str, ...]) -> None:
    """Headers that every answer has; CORS; numbers for the operator."""

    @app.before_request
    async def begin() -> None:
        g.began = trio.current_time()

    @app.after_request
    async def mark(response: TrioResponse) -> TrioResponse:
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", _CSP)
        headers.setdefault("Referrer-Policy", "no-referrer")
        if response.status_code == 204:
            headers.pop("Content-Type", None)
        if allowed_origins:
            _allow_origin(response, allowed_origins)
        endpoint = request.endpoint or "none"
        REQUESTS.labels(endpoint, str(response.status_code)).inc()
        if (began := g.get("began")) is not None:
            SECONDS.labels(endpoint).observe(trio.current_time() - began)
        return response


def _allow_origin(response: TrioResponse, allowed: tuple[str, ...]) -> None:
    """CORS for bearer tokens: no cookies are used, so credentials are never allowed."""
    origin = request.headers.get("Origin")
    anyone = ANY_ORIGIN in allowed
    if not anyone:
        response.headers.add("Vary", "Origin")
    if origin is None or not (anyone or origin in allowed):
        return
    response.headers["Access-Control-Allow-Origin"] = ANY_ORIGIN if anyone else origin
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, POST")
        response.headers["Access-Control-Allow-Headers"] = f"Authorization, Content-Type, {KEY_HEADER}"
        response.headers["Access-Control-Max-Age"] = "600"
