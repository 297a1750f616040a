"""Gives memory back some time after a crowd has gone.

Who goes leaves no object behind, and still the process stays as large as the crowd was, by what keeps a page or an
arena from being empty: Python's free lists (2,000 tuples of each length, cleared by nothing but a full collection), the
names of attributes that the type cache holds on to (msgspec and codecs make them anew for each look), and what glibc
has free inside its heap. So when few are left of many, and stay few, these three are emptied, once. Everybody waits for
it meanwhile (docs/performance.md), which is why it is done neither while the crowd is there nor in the moment of a
storm, when all go and come back.
"""

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Final

import trio

from konnect_server.wheel import Deadline, Wheel

CROWD: Final = 500  # sockets; fewer leave a few MiB at most
FEW: Final = 1_000  # a collection takes time for each who is left
SHARE: Final = 4  # the crowd has gone when no more than this part of it is left
LOOK_S: Final = 2.0
AFTER_S: Final = 11.0  # longer than most storms, and than who has gone is shown as present (presence_grace_s)


def give_back() -> None:
    """Empty Python's free lists and its cache of types, and give the kernel what the C library has free."""
    _forget_names()
    gc.collect()  # what stands since the start is frozen: this looks at little
    _trim(0)


class Tidy:
    """Watches how many are here, and gives memory back after a crowd. While no crowd is there it has no deadline.

    Args:
        wheel: For its deadline.
        count: How many are here.
        give_back: What to do then; a plain call.
    """

    def __init__(self, wheel: Wheel, count: Callable[[], int], give_back: Callable[[], None] = give_back) -> None:
        self._wheel = wheel
        self._count = count
        self._give_back = give_back
        self._most = 0  # since memory was given back last
        self._gone = False  # the crowd was, at the last look
        self._deadline = Deadline(self._look)

    def came(self) -> None:
        """One more is here."""
        self._most = max(self._most, self._count())
        if self._most >= CROWD and not self._deadline.pending:
            self._wait(LOOK_S)

    def _look(self) -> None:
        here = self._count()
        was_gone, self._gone = self._gone, here <= min(FEW, self._most // SHARE)
        if not self._gone:
            self._wait(LOOK_S)
        elif not was_gone:
            self._wait(AFTER_S)
        else:
            self._most, self._gone = here, False
            self._give_back()
            if here >= CROWD:
                self._wait(LOOK_S)

    def _wait(self, seconds: float) -> None:
        self._wheel.move(self._deadline, trio.current_time() + seconds)


def _find_trim() -> Callable[[int], int]:
    """glibc's ``malloc_trim``; where the C library is another one, nothing."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda pad: 0
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return trim


# Documented, its leading underscore notwithstanding, and made to let go of blocks; 3.13 has renamed it.
_forget_names: Final[Callable[[], None]] = getattr(sys, "_clear_internal_caches", sys._clear_type_cache)
_trim: Final = _find_trim()
