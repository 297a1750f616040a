"""The pump: one task that owns every client's socket and calls whoever is ready, directly.

Why not a task for each socket, which Trio is made for? Waking a parked task costs 8 us and a hop through a memory
channel 5.7 us, on top of the 6.4 us that the kernel takes for one receive and one send; an idle task costs 5 KiB. One
task that waits on one descriptor pays for waking once a turn, however many sockets were ready, and an idle connection
is a few small objects. What this takes away is given back by rules: nothing that the pump calls may wait, and each
visit is bounded, so that the actors beside it get their turn (docs/hazards.md, B4).

A turn
------

A turn is a number of rounds, and ends when nothing is ready or its time (2 ms) is up. A round:

1. ask the poller, without waiting, and call every owner that is ready: at most 64 frames a connection,
2. let what was marked end, end: here sockets are closed and handlers told, and nowhere else (B7),
3. flush: everything that is due for one socket leaves in one send,
4. accept new sockets, last, so that no number of a socket just closed is met again in the same batch (B8).

While there is more than a round takes, the doors are looked at all the same: the kernel tells of sockets in the order
in which they became ready, so a crowd that hangs up and dials again at once would stand before the door until the last
of it was taken leave of, and whom the door's queue cannot hold dials again a second later (C14).

What a turn has no time for stays in user space, where no readiness event comes for it, and is the first thing of the
next turn. Nothing new is asked for before it is done, so the carried work is bounded by one batch.

Who wakes the pump? The kernel does, through the poller. Besides: a connection marked to be closed, one that reads on
with whole frames in its buffer, one whose outbox fell below its low-water mark, whoever caused it. :meth:`Pump.flush`
needs no waking: it is a plain call for whoever has pushed, at the end of his fan-out (B6). It calls no handler, so it
may be called from anywhere.

A call that raises is a bug. It is caught here, once for all, costs that one connection and is in the log.
"""

import random
import time
from collections.abc import Callable
from typing import Final

import structlog
import trio

from konnect_server.connection import AGAIN, END, Connection, Socket, Terms
from konnect_server.poller import Descriptor, Pollable, Poller
from konnect_server.wheel import Wheel

TURN_S: Final = 0.002  # B4: with 16 ms an actor that waits five times is late by 64 ms, with 2 ms by 4 ms
EVENTS: Final = 256  # a batch of the poller's: about what one turn has time for
SLOW_TURN_S: Final = 0.05

_log = structlog.get_logger("konnect.pump")


class Pump:
    """Owns every client's socket. Somebody has to run :meth:`run`, and the wheel's.

    Args:
        poller: The kernel's, or the simulated world's.
        wheel: For the deadlines of all connections.
        terms: What connections have to keep to.
        randomness: Spreads the server's pings.
        clock: In seconds; for the length of a turn alone. The simulated world gives its own.
    """

    def __init__(
        self,
        poller: Poller,
        wheel: Wheel,
        *,
        terms: Terms | None = None,
        randomness: random.Random | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.poller = poller
        self.wheel = wheel
        self.terms = Terms() if terms is None else terms
        self.random = random.Random() if randomness is None else randomness
        self.now = trio.current_time()
        self.dirty: list[Connection] = []
        self.connections: dict[Connection, None] = {}
        self._clock = clock
        self._carried: list[tuple[Pollable, int]] = []  # what the last turn had no time for
        self._again: list[Pollable] = []
        self._last: list[Pollable] = []
        self._doors: list[Pollable] = []
        self._crowd = False  # the poller had more than it told of
        self._ending: list[Connection] = []
        self._asleep = False
        self._empty: trio.Event | None = None

    async def run(self) -> None:
        """Pump, for ever. To be cancelled; the sockets that are open then stay so."""
        late = False
        while True:
            if late or self._carried or self._again or self._ending:
                await trio.lowlevel.checkpoint()  # let the actors run
            else:
                self._asleep = True
                try:
                    await self.poller.wait()
                finally:
                    self._asleep = False
            late = self._turn()

    def flush(self) -> None:
        """Send what was pushed: one send for each socket, as far as the kernel takes it without waiting. Plain; calls
        no handler. For the end of a turn and of every actor's fan-out."""
        dirty = self.dirty
        if dirty:
            for connection in dirty:
                connection.flush()
            dirty.clear()

    async def wait_empty(self) -> None:
        """Return when no connection is left."""
        while self.connections:
            if self._empty is None:
                self._empty = trio.Event()
            await self._empty.wait()

    def close(self) -> None:
        """Close all sockets at once and give the poller back: for the very end, when :meth:`run` runs no more."""
        for connection in list(self.connections):
            connection.abandon()
        self._end_round()
        self.poller.close()

    # --- What connections, listeners and the gateway call ---

    def adopt(self, connection: Connection, sock: Socket) -> None:
        """Take over *sock*, which is registered already, under its new owner."""
        self.poller.replace(sock, connection)
        self.connections[connection] = None

    def forget(self, connection: Connection, sock: Socket, /) -> None:
        """Let go of a connection and of its socket, which is about to be closed."""
        self.poller.unregister(sock)
        self.connections.pop(connection, None)
        if not self.connections and self._empty is not None:
            self._empty.set()
            self._empty = None

    def watch(self, sock: Descriptor, mask: int, /) -> None:
        """From now on look for *mask* on *sock*."""
        self.poller.modify(sock, mask)

    def again(self, owner: Pollable, /) -> None:
        """Call ``ready(AGAIN)`` in the next round."""
        self._again.append(owner)
        self._wake()

    def last(self, owner: Pollable, /) -> None:
        """Call ``ready(AGAIN)`` at the end of this round, when all else is done: for accepting (B8)."""
        self._last.append(owner)

    def open_door(self, owner: Pollable, /) -> None:
        """*owner* accepts sockets: call ``ready(AGAIN)`` also at the end of each round that leaves something over."""
        self._doors.append(owner)

    def close_door(self, owner: Pollable, /) -> None:
        """*owner* accepts no more."""
        self._doors.remove(owner)

    def end(self, connection: Connection, /) -> None:
        """Call ``ready(END)`` at the end of this round, or of one that is held for it."""
        self._ending.append(connection)
        self._wake()

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self.poller.wake()

    # --- The turn ---

    def _turn(self) -> bool:
        """As many rounds as there is time for; True when time ended it."""
        clock = self._clock
        self.now = trio.current_time()
        began = then = clock()
        until = began + TURN_S
        visits, ends_s, longest_s, longest = 0, 0.0, 0.0, None
        while True:
            work = self._work()
            done = 0
            for owner, mask in work:
                self._visit(owner, mask)
                done += 1
                now = clock()
                if now - then > longest_s:
                    longest_s, longest = now - then, owner
                then = now
                if now > until:
                    self._carried = work[done:]
                    break
            visits += done
            self._end_round()
            now = clock()
            ends_s += now - then
            then = now
            if not work or now > until:
                break
        if then - began > SLOW_TURN_S:
            _log.warning(
                "slow turn", turn_ms=round((then - began) * 1e3), visits=visits, flush_ms=round(ends_s * 1e3),
                longest_ms=round(longest_s * 1e3), longest=repr(longest),
            )  # fmt: skip
        return then > until

    def _work(self) -> list[tuple[Pollable, int]]:
        """The next round's: what was carried over, else what is ready."""
        if self._carried:
            work, self._carried = self._carried, []
            return work
        work = self.poller.poll(EVENTS)
        self._crowd = len(work) == EVENTS
        if self._again:
            again, self._again = self._again, []
            return [(owner, AGAIN) for owner in again] + work
        return work

    def _end_round(self) -> None:
        while self._ending:  # telling one handler may mark another connection
            ending, self._ending = self._ending, []
            for connection in ending:
                self._visit(connection, END)
        self.flush()
        last, self._last = self._last, []
        for owner in self._doors if self._crowd or self._carried else last:
            self._visit(owner, AGAIN)

    def _visit(self, owner: Pollable, mask: int) -> None:
        try:
            owner.ready(mask)
        except Exception as crash:  # noqa: BLE001 - the house's one broad catch around a connection
            _log.error("contained crash", owner=repr(owner), exc_info=crash)
            owner.crashed()
