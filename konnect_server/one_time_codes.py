"""One-time codes: six digits that prove, for some minutes, that somebody reads the mail of an address.

A code is nowhere but in its mail: stored is an HMAC of it, by a secret of the keys folder, over the row's own salt,
what the code is for and its ticket. So whoever reads the database alone cannot try the million codes, and a code is
good for one purpose only. Guessing is bounded by the row: :data:`TRIES` for a code, counted under its lock, and few
codes an hour.
"""

import hmac
import secrets
from typing import Final
from uuid import UUID

from storage.codes import CodeRow

DIGITS: Final = 6
LIFE_MS: Final = 600_000  # from when the mail goes out
TRIES: Final = 5
SALT_BYTES: Final = 16


def secret_of(server_secret: bytes) -> bytes:
    """The key of the HMACs, out of the server's secret, which itself signs other things."""
    return hmac.digest(server_secret, b"konnect: one-time codes", "sha256")


def new_code() -> tuple[str, bytes]:
    """A code, and the salt of its row."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}", secrets.token_bytes(SALT_BYTES)


def hash_of(secret: bytes, purpose: str, ticket: UUID, salt: bytes, code: str) -> bytes:
    """What is stored of *code*."""
    return hmac.digest(secret, b"\0".join((purpose.encode(), ticket.bytes, salt, code.encode())), "sha256")


def is_right(secret: bytes, row: CodeRow | None, code: str) -> bool:
    """Whether *code* is the good one of *row*, which must be locked. Without a row the same work is done."""
    if row is None or row.salt is None or row.hash is None:
        hmac.compare_digest(hash_of(secret, "nothing", _NOBODY, _NO_SALT, code), _NO_HASH)
        return False
    matches = hmac.compare_digest(hash_of(secret, row.purpose, row.ticket, row.salt, code), row.hash)
    return matches and row.tries < TRIES and row.now_ms < row.ends_at_ms


_NOBODY: Final = UUID(int=0)
_NO_SALT: Final = bytes(SALT_BYTES)
_NO_HASH: Final = bytes(32)
