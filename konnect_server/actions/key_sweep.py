"""Deletes keys of what is one's own that nobody repeats any more, for as long as the server runs."""

from typing import Final

import structlog
import trio

from storage import personal
from storage.database import Database
from storage.errors import StorageError
from storage.personal import KEYS_AT_ONCE

EVERY_S: Final = 600.0
REST: Final = 9.0  # times what a batch took, at least, is left to everybody else

_log = structlog.get_logger("konnect.keys")


async def sweep_keys(database: Database, every_s: float = EVERY_S) -> None:
    """Sweep now and then, for ever, batch by batch. What fails is tried again the next time; several processes share
    the work."""
    while True:
        try:
            gone = KEYS_AT_ONCE
            while gone >= KEYS_AT_ONCE:
                began = trio.current_time()
                gone = await personal.forget_keys(database)
                await trio.sleep(REST * (trio.current_time() - began))
        except StorageError as problem:
            _log.warning("old keys could not be deleted; the next sweep tries again", reason=str(problem))
        await trio.sleep(every_s)
