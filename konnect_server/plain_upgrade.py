"""The handshake of a request that is as plain as nearly all are, ten times as fast as by websockets' core.

When a server restarts, thousands of clients shake hands in the same second. What is not plain, a header twice, another
spelling, a body, anything to refuse, is left to the core (handshake.py); tests/test_plain_upgrade.py holds that both
say the same of any head.
"""

import base64
import functools
import re
import time
from email.utils import formatdate
from hashlib import sha1
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LARGEST: Final = 4096  # longer lines and more headers than this can hold are for the core, which bounds them
_HEAD: Final = re.compile(rb"GET [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[!-~][ -~\t]*\r\n)+\r\n")
_KEY: Final = re.compile(rb"\r\nsec-websocket-key:[ \t]*([A-Za-z0-9+/]{21}[AQgw]==)[ \t]*\r\n", re.IGNORECASE)
_KINDS: Final = 256  # of heads, alike but for their keys, that are known to be plain or not; 4 KiB each at most
_END: Final = b"\r\n\r\n"
_CONNECTION: Final = frozenset({b"upgrade", b"keep-alive, upgrade"})


def accept_plain(head: bytes, subprotocol: str) -> bytes | None:
    """The response that makes the stream a WebSocket; None when the core has to judge.

    Args:
        head: The request's whole head.
        subprotocol: What the client must offer, and here offers alone.
    """
    if len(head) > _LARGEST:
        return None
    found = _KEY.search(head)
    if found is None or not _is_plain(head[: found.start(1)], head[found.end(1) :], subprotocol):
        return None
    accept = base64.b64encode(sha1(found[1] + _GUID).digest())
    return b"".join([_beginning(int(time.time())), accept, b"\r\nSec-WebSocket-Protocol: ", subprotocol.encode(), _END])


@functools.lru_cache(_KINDS)
def _is_plain(before: bytes, after: bytes, subprotocol: str) -> bool:
    """Whether a head that has a key between these is plain. A client's heads differ by their keys alone."""
    head = before + b"key" + after
    if not _HEAD.fullmatch(head):
        return False
    headers: dict[bytes, bytes] = {}
    for line in head[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in headers:
            return False
        headers[name] = value.strip()
    return (
        headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"connection", b"").lower() in _CONNECTION
        and headers.get(b"sec-websocket-version") == b"13"
        and headers.get(b"sec-websocket-protocol") == subprotocol.encode()
        and b"content-length" not in headers
        and b"transfer-encoding" not in headers
    )


@functools.lru_cache(2)
def _beginning(second: int) -> bytes:
    date = formatdate(second, usegmt=True)
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {date}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: "
    ).encode()
