"""Once a day, what is known of people's answers is made anew for suggestions; and old impressions are forgotten."""

from typing import Final
from uuid import UUID

import structlog
import trio

from storage import suggestions
from storage.database import Database
from storage.errors import StorageError

EVERY_S: Final = 600.0
REST: Final = 9.0  # times what a batch took, at least, is left to everybody else

_log = structlog.get_logger("konnect.suggest")


async def sweep_suggestions(database: Database, every_s: float = EVERY_S) -> None:
    """Look now and then, for ever, whether a new day has begun; of several processes one does the day's work. Where it
    is killed the rest waits for the next day."""
    while True:
        try:
            for version in await suggestions.begin_day(database):
                await _renew(database, version)
            gone = suggestions.FORGOTTEN
            while gone >= suggestions.FORGOTTEN:
                began = trio.current_time()
                gone = await suggestions.forget(database)
                await trio.sleep(REST * (trio.current_time() - began))
        except StorageError as problem:
            _log.warning("suggestions were not brought up to date", reason=str(problem))
        await trio.sleep(every_s)


async def _renew(database: Database, version: int) -> None:
    last: UUID | None = UUID(int=0)
    while last is not None:
        began = trio.current_time()
        last = await suggestions.renew(database, version, last)
        await trio.sleep(REST * (trio.current_time() - began))
