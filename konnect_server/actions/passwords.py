"""Passwords: argon2id in threads, a few at a time, and never a long queue.

One hash takes about 150 ms of a core and 64 MiB (the second recommended option of RFC 9106, section 4), so two run at a
time, a bounded number waits, and whoever comes then is told to come back.

A password is normalised before it is hashed (NFKC, as NIST SP 800-63B, section 5.1.1.2 advises): the same letters typed
on another keyboard are the same password. It is never trimmed or shortened.
"""

import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import Final, TypeVar

import argon2
import trio
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from protocol.errors import Invalid, Unavailable

AT_A_TIME: Final = 2
WAITING: Final = 32  # about 2.5 s of work
BYTES: Final = 1_024  # of a normalised password; 256 characters fit, unless they are chosen to grow
T = TypeVar("T")


class HashCost(Struct, frozen=True):
    """What one hash costs; kept in the hash itself, so it may be changed at any time."""

    rounds: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class Passwords:
    """Hashes and verifies; one for the whole process."""

    def __init__(self, cost: HashCost | None = None, *, at_a_time: int = AT_A_TIME, waiting: int = WAITING) -> None:
        cost = cost or HashCost()
        self._hasher = argon2.PasswordHasher(cost.rounds, cost.memory_kib, cost.lanes)
        self._threads = trio.CapacityLimiter(at_a_time)
        self._most = at_a_time + waiting
        self._inside = 0
        self._nobody = _hash_of_nothing(cost)

    async def hash(self, password: str) -> str:
        """*password* as argon2 encodes it, salt and parameters included.

        Raises:
            Invalid: It is longer than :data:`BYTES` once normalised.
            Unavailable: Too many are waiting.
        """
        return await self._in_thread(self._hasher.hash, _normalised(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether *password* made *password_hash*; None (there is no such account) is False and takes as long.

        Raises:
            Invalid, Unavailable: As for :meth:`hash`.
        """
        matches = await self._in_thread(self._matches, password_hash or self._nobody, _normalised(password))
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """True when the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        if self._inside >= self._most:
            raise Unavailable("too many people sign in at this moment")
        self._inside += 1
        try:
            # Abandoned when the client is gone: the result is of no use, and the limiter's place is only given back
            # once the thread is done, so the memory stays bounded.
            return await trio.to_thread.run_sync(work, *arguments, limiter=self._threads, abandon_on_cancel=True)
        finally:
            self._inside -= 1


def _normalised(password: str) -> bytes:
    raw = unicodedata.normalize("NFKC", password).encode()
    if len(raw) > BYTES:
        raise Invalid(f"the password is longer than {BYTES} bytes of UTF-8")
    return raw


def _hash_of_nothing(cost: HashCost) -> str:
    """A well-formed hash that no password has, so that an unknown account takes as long as a wrong password."""
    salt, digest = (b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (16, 32))
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.rounds},p={cost.lanes}${salt}${digest}"
