"""Errors as ``application/problem+json`` (RFC 9457), ready for a response; knows no framework."""

import math
from typing import Final

from msgspec import UNSET

from protocol.errors import (
    BadRequest,
    HeadTooLarge,
    InternalError,
    KonnectError,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    TooLarge,
    TryLater,
    Unavailable,
    UnsupportedMediaType,
)
from protocol.http import Problem, encode_json
from protocol.schema import prose

MEDIA: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2  # where the error itself does not know better

_BY_STATUS: Final[dict[int, type[KonnectError]]] = {
    kind.status: kind
    for kind in (NotFound, MethodNotAllowed, RequestTimeout, TooLarge, UnsupportedMediaType, HeadTooLarge, Unavailable)
}


def problem(error: KonnectError) -> Problem:
    """*error* as its body."""
    after = error.retry_after_ms
    return Problem(
        f"/docs#error-{error.code}", prose.summary(type(error)), error.status, str(error), error.code,
        UNSET if after is None else after,
    )  # fmt: skip


def body(error: KonnectError) -> bytes:
    """*error* as its body's bytes."""
    return encode_json(problem(error))


def headers(error: KonnectError) -> dict[str, str]:
    """What the response to *error* says besides its body."""
    found = {"Content-Type": MEDIA, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if error.retry_after_ms is not None:
        found["Retry-After"] = str(max(1, math.ceil(error.retry_after_ms / 1000)))
    elif isinstance(error, TryLater) and error.status == 503:
        found["Retry-After"] = str(RETRY_AFTER_S)
    if error.status == 401:
        found["WWW-Authenticate"] = "Bearer"
    return found


def response(error: KonnectError) -> bytes:
    """A whole HTTP/1.1 response, for a connection that is closed without any framework having seen it."""
    content = body(error)
    lines = [f"HTTP/1.1 {error.status} {error.code}", "Connection: close", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers(error).items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


def by_status(status: int, detail: str) -> KonnectError:
    """The error that a bare HTTP status stands for."""
    if status in _BY_STATUS:
        return _BY_STATUS[status](detail)
    return BadRequest(detail) if status < 500 else InternalError(detail)
