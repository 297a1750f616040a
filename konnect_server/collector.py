"""The garbage collector, in moments in which nothing else is to be done.

What comes with a person stays as long as the person, so each look at new objects is for nothing, and the collector's
own, after 100,000 of them (server.py), stopped everybody for 20 ms, several times a second while a crowd came. Before
the event loop waits there is time: a look at some thousand new objects takes 2 ms, and while the database has all
questions nobody misses them (docs/performance.md, "Sign-ins"). What is never idle is left to the collector's own rules.
"""

import gc
from typing import Final

import trio

YOUNG: Final = 8_000  # new objects from which on they are looked at
MIDDLE: Final = 140  # such looks until those that outlived one are looked at again: a million objects, as by the rules
OLD: Final = 20  # looks of that kind until everything is


class Collector(trio.abc.Instrument):
    """Looks a little at a time; Trio tells it of each wait."""

    def before_io_wait(self, timeout: float) -> None:
        """The event loop asks what is ready; *timeout* above 0: nothing else is to be done now."""
        if timeout > 0:
            young, middle, old = gc.get_count()
            if young >= YOUNG:
                gc.collect(0 if middle < MIDDLE else 1 if old < OLD else 2)
