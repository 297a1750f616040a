"""Signed addresses of the folder on disk: a key, what may be done with it, until when, and an HMAC over all of that.

Pure: no I/O, no clock of its own. The signature is hexadecimal, so that each text has one meaning (the last character
of base64 has several), and covers every field under its name: nothing can be moved from one field to another.
"""

import hmac
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct

_NAMES: Final = {
    "PUT": ("expires", "size", "type", "sha256"),
    "GET": ("expires", "type", "name"),
}
_LONGEST: Final = 4_096


class Link(Struct, frozen=True):
    """What a signed address allows."""

    method: str  # PUT, or GET (which is good for HEAD too)
    key: str
    fields: dict[str, str]  # by name, as signed

    @property
    def expires_s(self) -> int:
        """Unix time after which it is no good."""
        return int(self.fields["expires"])


def secret_of(server_secret: bytes) -> bytes:
    """The key that links are signed with, out of the server's secret, which itself signs other things."""
    return hmac.digest(server_secret, b"konnect: signed links of media", "sha256")


def query(secret: bytes, link: Link) -> str:
    """The query of *link*'s address."""
    return urlencode({**link.fields, "signature": _signature(secret, link)})


def read(secret: bytes, method: str, key: str, text: str, now_s: float) -> Link | None:
    """The link that *text*, a query, stands for; None when it is altered, for something else, or out of time."""
    method = "GET" if method == "HEAD" else method
    names = _NAMES.get(method)
    if names is None or len(text) > _LONGEST:
        return None
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8)
    except ValueError:
        return None
    fields = dict(pairs)
    given = fields.pop("signature", "")
    if len(fields) + 1 != len(pairs) or set(fields) != set(names):
        return None
    link = Link(method, key, fields)
    if not hmac.compare_digest(given.encode(), _signature(secret, link).encode()):
        return None
    return link if now_s < link.expires_s else None


def _signature(secret: bytes, link: Link) -> str:
    # Names and values with their lengths: no two links have the same text.
    parts = [link.method, link.key, *(part for name in sorted(link.fields) for part in (name, link.fields[name]))]
    text = b"".join(b"%d:%s," % (len(raw), raw) for raw in (part.encode() for part in parts))
    return hmac.new(secret, text, sha256).hexdigest()
