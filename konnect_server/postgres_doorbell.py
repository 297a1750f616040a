"""The doorbell over PostgreSQL's LISTEN and NOTIFY: nothing more to install.

Rung after the commit, from one connection, many bells in one notification: NOTIFY inside the appends would make their
commits wait for each other (docs/hazards.md, B9).
"""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog
import trio

from storage.database import Database, OwnConnection
from storage.errors import StorageError

CHANNEL: Final = "konnect"
PAYLOAD_BYTES: Final = 5_800  # of bells in one notification; PostgreSQL allows 7,999 bytes of text, base64 adds a third
WAITING_BELLS: Final = 10_000
RETRY_S: Final = 1.0

log = structlog.get_logger("konnect.doorbell")


class PostgresDoorbell:
    """Bells as notifications. ``run`` is its task."""

    def __init__(self, ringing: OwnConnection, listening: OwnConnection) -> None:
        self._ringing, self._listening = ringing, listening
        self._waiting: list[bytes] = []
        self._ring = trio.Event()
        self._listens = False

    def ring(self, bells: Sequence[bytes]) -> None:
        """See Doorbell."""
        if len(self._waiting) < WAITING_BELLS:
            self._waiting += bells
            self._ring.set()

    async def run(self) -> None:
        """Send what is rung."""
        while True:
            await self._ring.wait()
            self._ring = trio.Event()
            bells, self._waiting = self._waiting, []
            for part in _parts(bells):
                payload = base64.b64encode(msgspec.msgpack.encode(part)).decode()
                try:
                    await self._ringing.execute("select pg_notify(%s, %s)", CHANNEL, payload)
                except StorageError as problem:
                    log.warning("a bell was lost", problem=str(problem))

    async def heard(self) -> Sequence[bytes]:
        """See Doorbell."""
        while True:
            try:
                if not self._listens:
                    await self._listening.listen(CHANNEL)
                    self._listens = True
                notes = await self._listening.notifies()
            except StorageError as problem:
                self._listens = False
                log.warning("the doorbell is deaf for a moment", problem=str(problem))
                await trio.sleep(RETRY_S)
                continue
            return [bell for _, payload in notes for bell in _bells(payload)]


def _parts(bells: Sequence[bytes]) -> list[list[bytes]]:
    parts: list[list[bytes]] = []
    room = 0
    for bell in bells:
        size = len(bell) + 5
        if size > room:
            parts.append([])
            room = PAYLOAD_BYTES
        parts[-1].append(bell)
        room -= size
    return parts


def _bells(payload: str) -> list[bytes]:
    try:
        return msgspec.msgpack.decode(base64.b64decode(payload), type=list[bytes])
    except (ValueError, msgspec.DecodeError) as problem:
        log.warning("a notification that is no bell", problem=str(problem))
        return []


@asynccontextmanager
async def open_postgres_doorbell(database: Database) -> AsyncIterator[PostgresDoorbell]:
    """A doorbell on *database*, running while the block is open."""
    async with (
        database.connect_own("doorbell, rings") as ringing,
        database.connect_own("doorbell, listens") as listening,
        trio.open_nursery() as nursery,
    ):
        doorbell = PostgresDoorbell(ringing, listening)
        nursery.start_soon(doorbell.run)
        yield doorbell
        nursery.cancel_scope.cancel()
