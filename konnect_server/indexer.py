"""Keeps the search index: outside the hot path, in a task of its own that is at most a tenth of the time at work.

It is told of each log that grew by this process's hand, and gives them to the index about a second later. What nobody
told of, because the process that stored it was killed, or never had an index to keep, is found by looking through all
conversations, a slice each second, round and round. Nothing is remembered but in the database: each conversation's row
says up to where its log is indexed, and rises in the transaction that indexes.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
import trio

from konnect_server.telemetry import gauge
from storage import search_index
from storage.database import Database
from storage.errors import StorageError, StorageRefused

EVERY_S: Final = 0.7  # what is said within it is indexed together
# Times what a batch took is left to others. With 1 the index took a quarter of the durable messages a second and
# trebled their 99th percentile (bench.direct: 12,600/s, where 17,900/s were stored without it).
REST: Final = 9.0
SLICE: Final = 2_000  # conversations looked through at a time, some 4 ms of the database
WAITING: Final = 100_000  # conversations that were told of; beyond it they are forgotten, and found by the look

BEHIND: Final = gauge("konnect_search_waiting", "Conversations that wait for being indexed for search.")

log = structlog.get_logger("konnect.search")


class Indexer:
    """One process's share of the work. ``run`` is its task; ``moved`` is a plain call."""

    def __init__(self, database: Database, languages: Sequence[str], every_s: float = EVERY_S) -> None:
        self._database, self._languages, self._every_s = database, languages, every_s
        self._waiting: dict[UUID, None] = {}  # the one that waits longest first
        self._place = search_index.FIRST  # up to which conversation the look has come
        BEHIND.set_function(lambda: len(self._waiting))

    def moved(self, conversation: UUID) -> None:
        """The log of *conversation* grew."""
        if len(self._waiting) < WAITING:
            self._waiting[conversation] = None

    async def run(self) -> None:
        """Index, for ever. What fails is tried again."""
        told = False
        while True:
            try:
                if not told:
                    await search_index.speak(self._database, self._languages)
                    told = True
                await self.look()
                await self.catch_up()
            except StorageError as problem:
                log.warning("the search index waits for storage", problem=str(problem))
            await trio.sleep(self._every_s)

    async def look(self) -> None:
        """Find some of the conversations that are behind without our knowing."""
        found = await search_index.behind(self._database, self._place, SLICE)
        for conversation in found.behind:
            self.moved(conversation)
        self._place = found.last or search_index.FIRST

    async def catch_up(self) -> None:
        """Index what waits now."""
        left = len(self._waiting)
        while left > 0 and self._waiting:
            batch = list(self._waiting)[: search_index.CONVERSATIONS]
            left -= len(batch)
            began = trio.current_time()
            for conversation in batch:  # before it is read: whatever is stored from here on is told of anew
                del self._waiting[conversation]
            more = batch
            try:
                more = await self._index(batch)
            finally:
                self._waiting |= dict.fromkeys(more)
            await trio.sleep(REST * (trio.current_time() - began))

    async def _index(self, batch: list[UUID]) -> list[UUID]:
        """Those of *batch* that have more. What storage can never take costs the others nothing."""
        try:
            return await search_index.index(self._database, batch, self._languages)
        except StorageRefused as problem:
            if len(batch) > 1:
                return [one for each in batch for one in await self._index([each])]
            log.error("a conversation cannot be indexed", conversation=str(batch[0]), problem=str(problem))
            return []
