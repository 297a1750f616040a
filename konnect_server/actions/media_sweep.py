"""Deletes media that nothing names, from time to time, for as long as the server runs."""

from typing import Final

import structlog
import trio

from konnect_server.actions.media import Media
from storage.errors import StorageError

EVERY_S: Final = 60.0
AT_ONCE: Final = 100  # of one question to the database; more follow at once

_log = structlog.get_logger("konnect.media")


async def sweep_media(media: Media, every_s: float = EVERY_S) -> None:
    """Sweep now and then, for ever. What fails is tried again the next time, here or in another process: each may be
    killed at any point, and several share the work."""
    while True:
        try:
            while await media.sweep(AT_ONCE) >= AT_ONCE:
                pass
            await media.tidy()
        except StorageError as problem:
            _log.warning("media could not be swept; the next sweep tries again", reason=str(problem))
        await trio.sleep(every_s)
