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
_ENDS: Final = Layout("<q")  # the last of these
_WAYS: Final = 4  # places that one token may have


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
        self._block = bytearray(b"\0") * (self._groups * _WAYS * _LAYOUT.size)

    @staticmethod
    def digest(token: str) -> bytes:
        """What names *token* here."""
        return sha256(token.encode()).digest()

    def find(self, digest: bytes) -> Claims | None:
        """What the token of *digest* says; None when it is not remembered."""
        places = self._places(digest)
        at = self._block.find(digest, places.start, places.stop)
        if at not in places:  # -1; or, as unlikely as it is, found astride two of them
            return None
        _, user, sign_in, expires_at_s = _LAYOUT.unpack_from(self._block, at)
        return Claims(UUID(bytes=user), UUID(bytes=sign_in), expires_at_s)

    def keep(self, digest: bytes, claims: Claims) -> None:
        """Remember what the token of *digest* says; it is not remembered yet."""
        at = min(self._places(digest), key=self._expires_at_s)
        _LAYOUT.pack_into(self._block, at, digest, claims.user.bytes, claims.sign_in.bytes, claims.expires_at_s)

    def _places(self, digest: bytes) -> range:
        first = int.from_bytes(digest[:8], "little") % self._groups * _WAYS * _LAYOUT.size
        return range(first, first + _WAYS * _LAYOUT.size, _LAYOUT.size)

    def _expires_at_s(self, at: int) -> int:
        ends: int = _ENDS.unpack_from(self._block, at + _LAYOUT.size - _ENDS.size)[0]
        return ends
