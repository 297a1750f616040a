"""A request's head to an answer: is it an upgrade to our socket, something for HTTP, or nothing that we speak? No I/O.

The handshake itself (RFC 6455, section 4.2) is judged by websockets' core; here it is only found in the bytes, and its
refusals are put into the form of all of Konnect's HTTP errors.
"""

import json
import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from websockets.exceptions import InvalidHeader, InvalidUpgrade, NegotiationError
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from konnect_server.plain_upgrade import accept_plain

HEAD_BYTES: Final = 16_384

_END: Final = re.compile(rb"\n\r?\n")  # a lone line feed ends a line too (RFC 9112, section 2.2)
_LINE: Final = re.compile(rb"[A-Z][A-Z_-]{0,19} \S+ HTTP/\d\.\d\r?\n")
_BEGINS: Final = re.compile(rb"([A-Z][A-Z_-]{0,19})?( |\Z)")
_UPGRADE: Final = re.compile(rb"\nupgrade[ \t]*:[^\r\n]*websocket", re.IGNORECASE)

_quiet: Final = logging.getLogger("konnect.websocket")
_quiet.setLevel(logging.ERROR)


class Refusal(NamedTuple):
    """Why the door sent somebody away; travels as problem+json. ``code`` is stable and for machines."""

    status: int
    code: str
    detail: str


NOT_HTTP: Final = Refusal(400, "bad_request", "This port speaks HTTP/1.1 and WebSocket, without TLS.")
HEAD_TOO_LARGE: Final = Refusal(431, "head_too_large", f"The request's head is longer than {HEAD_BYTES} bytes.")
HEAD_TIMEOUT: Final = Refusal(408, "head_timeout", "The request's head did not come in time.")
TOO_MANY_STRANGERS: Final = Refusal(503, "too_many_connections", "Too many sockets have not signed in yet; try again.")
DRAINING: Final = Refusal(503, "draining", "The server is going away; try again.")
SUBPROTOCOL: Final = Refusal(400, "subprotocol_required", "Sec-WebSocket-Protocol must offer {}.")
VERSION: Final = Refusal(426, "unsupported_version", "Sec-WebSocket-Version must be 13.")
UPGRADE: Final = Refusal(426, "upgrade_required", "Connection must name upgrade, and Upgrade websocket alone.")
HANDSHAKE: Final = Refusal(400, "bad_handshake", "The WebSocket handshake is malformed: {}.")

REFUSALS: Final = (
    NOT_HTTP, HEAD_TIMEOUT, UPGRADE, VERSION, HEAD_TOO_LARGE, SUBPROTOCOL, HANDSHAKE, TOO_MANY_STRANGERS, DRAINING,
)  # fmt: skip


def find_end(data: bytes | bytearray, seen: int = 0) -> int:
    """Where the head ends in *data*, behind its empty line; -1 while it is not whole. *seen* bytes were searched
    before, so that a head that comes byte by byte is not searched from its beginning each time."""
    found = _END.search(data, max(0, seen - 3))
    return found.end() if found else -1


def may_be_http(data: bytes | bytearray) -> bool:
    """False as soon as no HTTP request can begin like this: so a TLS greeting is answered and not waited out."""
    return _BEGINS.match(data[:21]) is not None


def is_upgrade(head: bytes, path: str | None) -> bool | None:
    """Whether *head* asks to become a WebSocket at *path* (None: anywhere). None: it is no HTTP head at all."""
    if not _LINE.match(head):
        return None
    method, target, _ = head.split(b" ", 2)
    if method != b"GET" or not _UPGRADE.search(head):
        return False
    return path is None or target.partition(b"?")[0] == path.encode()


def shake(head: bytes, subprotocol: str | None) -> bytes | Refusal:
    """The server's half of the handshake.

    Args:
        head: The request's whole head.
        subprotocol: What the client must offer; None: the first that it offers is taken, or none.

    Returns:
        The response to send, after which the stream is a WebSocket; or why not.
    """
    if subprotocol is not None and (plain := accept_plain(head, subprotocol)) is not None:
        return plain
    return judge(head, subprotocol)


def judge(head: bytes, subprotocol: str | None) -> bytes | Refusal:
    """:func:`shake`, by websockets' core whatever the head."""
    core = ServerProtocol(
        subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
        select_subprotocol=_first if subprotocol is None else None,
        state=State.CONNECTING,
        logger=_quiet,
    )
    core.receive_data(head)
    request = next(iter(core.events_received()), None)
    if not isinstance(request, Request):
        problem = core.handshake_exc
        return _malformed(problem.__cause__ if problem else None)
    answer = core.accept(request)
    if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        return answer.serialize()
    match core.handshake_exc:
        case NegotiationError():
            return SUBPROTOCOL._replace(detail=SUBPROTOCOL.detail.format(subprotocol))
        case InvalidUpgrade():
            return UPGRADE
        case InvalidHeader(name="Sec-WebSocket-Version"):
            return VERSION
        case problem:
            return _malformed(problem)


def _first(core: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


def _malformed(problem: BaseException | None) -> Refusal:
    return HANDSHAKE._replace(detail=HANDSHAKE.detail.format(problem or "not understood"))


def response(refusal: Refusal) -> bytes:
    """*refusal* as a whole HTTP response, after which the connection is closed."""
    title = HTTPStatus(refusal.status).phrase
    problem = {"type": "about:blank", "title": title, "status": refusal.status}
    body = json.dumps(problem | {"code": refusal.code, "detail": refusal.detail}).encode()
    lines = [
        f"HTTP/1.1 {refusal.status} {title}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if refusal.status == HTTPStatus.UPGRADE_REQUIRED:  # RFC 9110, section 15.5.22; RFC 6455, section 4.4
        lines[-1] = "Connection: close, upgrade"
        lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append("Retry-After: 5")
    return "\r\n".join([*lines, "", ""]).encode() + body
