"""Notes in memory what moved, and asks the database a moment later who is to be told.

What is noted is lost with the process; the database knows up to where each conversation was looked at, and a sweep, at
the start and every few minutes, finds what was not. The same task tells the database which devices have a socket here.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog
import trio

from storage import devices, pushes
from storage.database import Database
from storage.devices import Seated
from storage.errors import StorageConflict, StorageUnavailable

GATHER_S: Final = 1.0  # what is said within it is one look, and one push
AT_ONCE: Final = 200  # conversations in one question
REST: Final = 9.0  # times what the looks took, at least, is left to everybody else
CONVERSATIONS: Final = 50_000  # noted; beyond it they are forgotten, and found by the next sweep
SEATS: Final = 50_000  # devices that came or went; beyond it all who are here are told anew
SWEEP_S: Final = 300.0

log = structlog.get_logger("konnect.push")


class Gatherer:
    """One process's. ``run`` is a task; ``stored`` and ``seat`` are plain calls on the hot path."""

    def __init__(
        self, database: Database, node: UUID, is_here: Callable[[UUID, str], bool],
        everybody: Callable[[], list[tuple[UUID, str]]], changed: Callable[[UUID], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        """*is_here*: whether a device has a socket in this process; *everybody*: all that have. *changed*: told whose
        own rows changed. *wake*: told that there are jobs."""
        self._database, self._node, self._is_here, self._everybody = database, node, is_here, everybody
        self._changed, self._wake = changed, wake
        self._moved: dict[UUID, None] = {}
        self._seats: dict[tuple[UUID, str], None] = {}
        self._all_seats = False
        self._work = trio.Event()

    def stored(self, conversation: UUID) -> None:
        """Something was stored in *conversation*."""
        if len(self._moved) < CONVERSATIONS:
            self._moved[conversation] = None
            self._work.set()

    def seat(self, user: UUID, device: str) -> None:
        """A socket of *device* opened or closed, or it was registered for pushes."""
        if len(self._seats) < SEATS:
            self._seats[user, device] = None
        else:
            self._all_seats = True
        self._work.set()

    async def run(self) -> None:
        """Look at what was noted, about once a second, and sweep."""
        sweep_at = trio.current_time()
        while True:
            began = trio.current_time()
            try:
                if began >= sweep_at:
                    await self._sweep()
                    sweep_at = trio.current_time() + SWEEP_S
                await self._tell_seats()
                await self._gather()
            except StorageUnavailable as problem:
                log.warning("storage does not answer", problem=str(problem))
            except StorageConflict as problem:  # a device went in that very moment: look again
                log.info("a look is repeated", problem=str(problem))
            await trio.sleep(max(GATHER_S, REST * (trio.current_time() - began)))
            with trio.move_on_at(sweep_at):
                await self._work.wait()
            self._work = trio.Event()
            if self._moved or self._seats:
                self._work.set()

    async def _tell_seats(self) -> None:
        if self._all_seats:
            await devices.unseat_all(self._database, self._node)
            self._all_seats = False
            self._seats = dict.fromkeys(self._everybody())
        while self._seats:
            some = list(self._seats)[:AT_ONCE]
            for one in some:
                del self._seats[one]
            try:
                seated = [Seated(user, device, self._is_here(user, device)) for user, device in some]
                await devices.seat_devices(self._database, self._node, seated)
            except BaseException:
                self._all_seats = True  # unknown what was written
                raise

    async def _gather(self) -> None:
        for _ in range(len(self._moved) // AT_ONCE + 1):
            some = list(self._moved)[:AT_ONCE]
            if not some:
                return
            for one in some:
                del self._moved[one]
            try:
                found = await pushes.gather(self._database, some)
            except BaseException:
                self._moved |= dict.fromkeys(some)
                raise
            for conversation in found.more:
                self.stored(conversation)
            for person in found.people:
                self._changed(person)
            if found.jobs:
                self._wake()

    async def _sweep(self) -> None:
        """What was stored and not looked at: by who was killed, or forgotten here."""
        for conversation in await pushes.unpushed(self._database):
            self.stored(conversation)
        await pushes.drop_stale(self._database)
