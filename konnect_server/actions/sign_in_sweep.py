"""Finds sign-ins that ended elsewhere: at another process whose bell was lost, or by the operator's command.

Each half second one question of an index; at the start it covers as long as an access token lives, so that a process
that was just started refuses what others do. Also forgets codes that nothing counts by any more.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog
import trio

from konnect_server.tokens import SKEW_S
from storage import accounts, codes
from storage.database import Database
from storage.errors import StorageError

EVERY_S: Final = 0.5
MARGIN_MS: Final = 30_000  # a transaction may show what it did so long after the time that it wrote
PAGE: Final = 1_000
TIDY_S: Final = 600.0
_FIRST: Final = UUID(int=0)

_log = structlog.get_logger("konnect.sign_ins")


async def sweep_sign_ins(
    database: Database, end: Callable[[UUID, UUID], None], lifetime_s: float, every_s: float = EVERY_S
) -> None:
    """Tell *end* of each (sign-in, person) that ended, once or a few times, for ever. *lifetime_s*: of access
    tokens."""
    since_ms: int | None = None
    told: dict[UUID, int] = {}  # sign-in -> when it ended; as far back as is asked again
    tidy_at = trio.current_time()
    while True:
        try:
            if since_ms is None:
                since_ms = await accounts.now_ms(database) - int((lifetime_s + SKEW_S) * 1000)
            since_ms = await _look(database, end, since_ms, told)
            if trio.current_time() >= tidy_at:
                tidy_at = trio.current_time() + TIDY_S
                await codes.forget_codes(database)
        except StorageError as problem:
            _log.warning("storage does not answer", problem=str(problem))
        await trio.sleep(every_s)


async def _look(
    database: Database, end: Callable[[UUID, UUID], None], since_ms: int, told: dict[UUID, int]
) -> int:  # fmt: skip
    """Read what ended since; from when on to ask the next time."""
    at_ms, last, newest_ms = since_ms, _FIRST, since_ms
    more = True
    while more:
        found = await accounts.ended_after(database, at_ms, last, PAGE)
        for one in found:
            if one.id not in told:
                told[one.id] = one.at_ms
                end(one.id, one.account)
            at_ms, last, newest_ms = one.at_ms, one.id, max(newest_ms, one.now_ms - MARGIN_MS)
        more = len(found) == PAGE
    for sign_in in [one for one, ended_ms in told.items() if ended_ms < newest_ms]:
        del told[sign_in]
    return newest_ms
