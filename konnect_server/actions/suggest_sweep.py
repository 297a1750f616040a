"""The upkeep of suggestions: each day what is known of people's answers is made anew, a training is asked for, and what
is old is forgotten."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog
import trio

from storage import recommender, suggestions
from storage.database import Database
from storage.errors import StorageError

EVERY_S: Final = 600.0
REST: Final = 9.0  # times what a batch took, at least, is left to everybody else

_log = structlog.get_logger("konnect.suggest")


async def sweep_suggestions(
    database: Database, train: Callable[[int], Awaitable[None]], training_hour: int, every_s: float = EVERY_S
) -> None:
    """Look now and then, for ever, whether a new day has begun; of several processes one does the day's work. Where it
    is killed the rest waits for the next day. *train* is called with the day (since 1970) when it is *training_hour*
    (UTC; -1: never) and no version was made on that day; then also again."""
    while True:
        try:
            if versions := await suggestions.begin_day(database):
                for version in versions:
                    await _renew(database, version)
                await recommender.forget(database)
            gone = suggestions.FORGOTTEN
            while gone >= suggestions.FORGOTTEN:
                began = trio.current_time()
                gone = await suggestions.forget(database)
                await trio.sleep(REST * (trio.current_time() - began))
            if training_hour >= 0 and (day := await recommender.due(database, training_hour)) is not None:
                await train(day)
        except StorageError as problem:
            _log.warning("suggestions were not brought up to date", reason=str(problem))
        await trio.sleep(every_s)


async def _renew(database: Database, version: int) -> None:
    last: UUID | None = UUID(int=0)
    while last is not None:
        began = trio.current_time()
        last = await suggestions.renew(database, version, last)
        await trio.sleep(REST * (trio.current_time() - began))
