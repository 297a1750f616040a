"""Tokens that were verified, in one block of memory.

A token lives longer than most connections. Kept as objects, thousands of them lie strewn among what sessions allocate,
and when the sessions go, each holds a whole arena of Python's memory back. Here a token is 72 bytes at one of a few
places that its digest names; when all of these are taken, the one that ends first makes room, and is verified again.
"""

from hashlib import sha256
from struct import Struct as Layout
from typing import Final, NamedTuple
from uuid import UUID

_LAYOUT: Final = Layout("<32s16s16sq")  # digest, user, sign-in, when it ends
_WAYS: Final = 4  # places that one token may have
_ENDS: Final = Layout("<" + "64xq" * _WAYS)  # the last of these, of all places of a token
_GROUP_BYTES: Final = _ENDS.size


class Claims(NamedTuple):
    """What a good token says."""

    user: UUID
    sign_in: UUID
    expires_at_s: int


class Remembered:
    """The last verified tokens, *places* at most. By SHA-256, so that nobody can make a token that is taken for
    another's."""

    def __init__(self, places: int) -> None:
        self._groups = -(-places // _WAYS)
        # Written once, so that this memory is the server's from the beginning and not a surprise under load.
        self._block = bytearray(b"\0") * (self._groups * _GROUP_BYTES)

    @staticmethod
    def digest(token: str) -> bytes:
        """What names *token* here."""
        return sha256(token.encode()).digest()

    def find(self, digest: bytes) -> Claims | None:
        """What the token of *digest* says; None when it is not remembered."""
        first = self._first(digest)
        at = self._block.find(digest, first, first + _GROUP_BYTES)
        if at < 0 or (at - first) % _LAYOUT.size:  # as unlikely as it is, it may be found astride two places
            return None
        _, user, sign_in, expires_at_s = _LAYOUT.unpack_from(self._block, at)
        return Claims(UUID(bytes=user), UUID(bytes=sign_in), expires_at_s)

    def keep(self, digest: bytes, claims: Claims) -> None:
        """Remember what the token of *digest* says; it is not remembered yet."""
        first = self._first(digest)
        ends = _ENDS.unpack_from(self._block, first)
        at = first + ends.index(min(ends)) * _LAYOUT.size
        _LAYOUT.pack_into(self._block, at, digest, claims.user.bytes, claims.sign_in.bytes, claims.expires_at_s)

    def _first(self, digest: bytes) -> int:
        """Where the places begin that the token of *digest* may have."""
        return int.from_bytes(digest[:8], "little") % self._groups * _GROUP_BYTES
