"""Refresh tokens: derived, not remembered, and what to do with one that comes in.

A sign-in is a family of refresh tokens, numbered by ``counter``. Token *n* is an HMAC, by the server's secret, over the
family's own random ``basis``, its id and *n*: with it a rotation whose answer was lost can be answered again, word for
word, although only hashes are stored. Neither the database alone nor the keys folder alone is enough to make one.
"""

import enum
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final
from uuid import UUID

from msgspec import Struct

from storage.accounts import SignIn

GRACE_MS: Final = 60_000  # a repeat of the very last rotation within this time gets the same token again
_PREFIX: Final = "kr1."  # names what it is, for people and for scanners of leaked secrets
_SIZE: Final = 16 + 4 + 32  # family, counter, HMAC
_COUNTER_MAX: Final = 2**31 - 1  # an integer column: a rotation a second lasts 68 years


class RefreshToken(Struct, frozen=True):
    """One refresh token, taken apart."""

    family: UUID
    counter: int
    mac: bytes

    def text(self) -> str:
        """As it travels: 74 characters of ASCII."""
        return _PREFIX + urlsafe_b64encode(self._raw()).rstrip(b"=").decode("ascii")

    def hash(self) -> bytes:
        """As it is stored."""
        return sha256(self._raw()).digest()

    def _raw(self) -> bytes:
        return self.family.bytes + self.counter.to_bytes(4, "big") + self.mac


def derive(secret: bytes, basis: bytes, family: UUID, counter: int) -> RefreshToken:
    """Token number *counter* of *family*."""
    mac = hmac.digest(secret, basis + family.bytes + counter.to_bytes(4, "big"), "sha256")
    return RefreshToken(family, counter, mac)


def parse(text: str) -> RefreshToken | None:
    """*text* taken apart; None if it is not of the form of a refresh token. Says nothing of whether it is good."""
    if not text.startswith(_PREFIX) or not text.isascii():
        return None
    try:
        raw = urlsafe_b64decode(text[len(_PREFIX) :] + "==")
    except ValueError:
        return None
    counter = int.from_bytes(raw[16:20], "big")
    if len(raw) != _SIZE or counter > _COUNTER_MAX:
        return None
    token = RefreshToken(UUID(bytes=raw[:16]), counter, raw[20:])
    return token if token.text() == text else None  # one spelling each


class Verdict(enum.Enum):
    """What to do with a refresh token."""

    ROTATE = enum.auto()  # the newest: give the next one
    REPEAT = enum.auto()  # the one before, just now: its answer was lost, give it again
    REUSE = enum.auto()  # a token of this family that was used up: somebody else has it too
    IDLE = enum.auto()  # not used for too long
    ENDED = enum.auto()  # signed out
    FORGED = enum.auto()  # not one that this server gave out


def judge(sign_in: SignIn, token: RefreshToken, secret: bytes, idle_ms: int) -> Verdict:
    """Decide by the row, which must be locked; pure."""
    if sign_in.ended:
        return Verdict.ENDED
    unused_ms = sign_in.now_ms - sign_in.used_at_ms
    presented = token.hash()
    newest = hmac.compare_digest(presented, sign_in.token_hash)
    last = sign_in.previous_hash is not None and hmac.compare_digest(presented, sign_in.previous_hash)
    genuine = hmac.compare_digest(token.mac, derive(secret, sign_in.basis, token.family, token.counter).mac)
    if not (newest or last or (genuine and token.counter < sign_in.counter)):
        return Verdict.FORGED
    if unused_ms > idle_ms:
        return Verdict.IDLE
    if newest:
        return Verdict.ROTATE
    if last and unused_ms <= GRACE_MS:
        return Verdict.REPEAT
    return Verdict.REUSE
