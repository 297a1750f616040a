"""New ids: UUIDv7, which sort by the time they were made (RFC 9562, section 5.7)."""

import os
import time
from typing import Final
from uuid import UUID

_RANDOM_BYTES: Final = 10
_AT_ONCE: Final = 256  # ids whose random bytes are fetched by one system call: each alone costs more than all the rest
_TIME: Final = (1 << 48) - 1
_FREE: Final = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_7: Final = 0x7000 << 64 | 0x8000 << 48

_random: list[bytes] = []


def uuid7() -> UUID:
    """48 bits of Unix milliseconds, then 74 random bits."""
    try:
        drawn = _random.pop()  # one of another thread's at worst, never the same
    except IndexError:
        fetched = os.urandom(_AT_ONCE * _RANDOM_BYTES)
        _random.extend(fetched[at : at + _RANDOM_BYTES] for at in range(_RANDOM_BYTES, len(fetched), _RANDOM_BYTES))
        drawn = fetched[:_RANDOM_BYTES]
    number = (time.time_ns() // 1_000_000 & _TIME) << 80 | int.from_bytes(drawn, "big")
    return UUID(int=number & _FREE | _VERSION_7)


# Two processes that were one must not give out the same ids.
os.register_at_fork(after_in_child=_random.clear)
