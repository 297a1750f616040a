"""Where the bytes of media lie: the seam that an S3 store and a folder on disk both fill.

A blob has a key of one of three areas::

    incoming/<upload>              what a client sends to a signed address; nobody reads it from outside
    media/<upload>-<try>           a copy that no client can write to: it is checked, and then it is the medium
    public/<sha256>-<upload>.<ext> what everyone may see, under a name that never gets other bytes

The same address may be written to again as long as its signature lasts, also after the check. That is why a check
looks at a copy, and a copy of its own each time (``<try>``), and never at what is incoming.
"""

import re
from typing import BinaryIO, Final, Protocol
from uuid import UUID

from msgspec import Struct

CACHE_FOR_EVER: Final = "public, max-age=31536000, immutable"
# How the names of media end, by their types; the names of public ones follow from it, so nothing here may change.
EXTENSIONS: Final = {
    "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif",
    "image/heic": "heic", "image/heif": "heif", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/webm": "weba",
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/aac": "aac", "video/mp4": "mp4", "video/webm": "webm",
}  # fmt: skip
_KEY: Final = re.compile(r"(incoming|media|public)/[0-9a-z][0-9a-z-]{0,150}(\.[a-z0-9]{1,8})?")


class Terms(Struct, frozen=True):
    """What may be sent to a signed address, and nothing else."""

    size_bytes: int
    content_type: str
    sha256: bytes  # 32 bytes


class Ticket(Struct, frozen=True):
    """A signed address for one upload by PUT. *headers* must be sent as they stand."""

    url: str
    headers: dict[str, str]


class Blobs(Protocol):
    """A place for blobs. Every call may raise BlobsUnavailable; deleting and copying may be repeated."""

    async def sign_upload(self, key: str, terms: Terms, lifetime_s: int) -> Ticket:
        """An address that takes one body by PUT, for *lifetime_s* seconds."""

    async def sign_download(self, key: str, content_type: str, file_name: str, lifetime_s: int) -> str:
        """An address that gives *key*, as an attachment called *file_name*, for *lifetime_s* seconds."""

    def public_url(self, key: str) -> str:
        """The lasting address of a key in ``public/``."""

    async def head(self, key: str) -> int | None:
        """How many bytes *key* has; None if there is nothing."""

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Up to *length* bytes from *start* on; fewer at the end, none where there is nothing."""

    async def digest(self, key: str) -> bytes | None:
        """The SHA-256 of all of *key*, read piece by piece; None if there is nothing."""

    async def copy(self, source: str, target: str, content_type: str) -> bool:
        """Give *target* the bytes that *source* has now; False if there are none. In ``public/`` with cache headers."""

    async def store(self, key: str, file: BinaryIO, content_type: str) -> None:
        """Give *key* what *file* holds from its beginning on, read piece by piece; whole or not at all."""

    async def delete(self, key: str) -> None:
        """Remove *key*; nothing happens when there is nothing."""

    async def tidy(self) -> None:
        """Remove what uploads that broke off have left half written."""


def incoming_key(upload: UUID) -> str:
    """Where a client's bytes arrive."""
    return f"incoming/{upload}"


def media_key(upload: UUID, attempt: int) -> str:
    """The copy that check number *attempt* looks at."""
    return f"media/{upload}-{attempt}"


def public_key(upload: UUID, sha256: bytes, extension: str) -> str:
    """The immutable name: by content, and by upload too. Who has a copy of a photo cannot ask whether somebody uses it,
    and two people with the same photo can be forgotten one by one."""
    return f"public/{sha256.hex()}-{upload.hex}.{extension}"


def is_key(text: str) -> bool:
    """True for what the functions above make; what comes from outside is judged before it names a file."""
    return _KEY.fullmatch(text) is not None
