"""The index of full text search: brought up to date with conversations' logs, a batch at a time.

What is lost by a kill was rolled back: a conversation's cursor rises in the transaction that writes its rows. Several
processes share the work, for a conversation that one is busy with is skipped by the others.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from storage.database import Database

ENTRIES: Final = 100  # of one conversation in one transaction
CONVERSATIONS: Final = 20  # in one transaction
_SPEAK_S: Final = 600.0  # it may have to touch a row of each conversation
FIRST: Final = UUID(int=0)  # before every conversation


class Slice(msgspec.Struct, frozen=True):
    """Some conversations, looked through."""

    behind: list[UUID]  # those with entries that are not in the index
    last: UUID | None  # where to go on; None: these were the last


_ids: Final = msgspec.json.Decoder(list[UUID]).decode
_slice: Final = msgspec.json.Decoder(Slice).decode


async def speak(database: Database, languages: Sequence[str]) -> None:
    """Say by which languages' stems messages are to be found; others than so far make the index begin anew.

    Raises:
        StorageUnavailable
    """
    await database.fetch_one("select search_speak(%s)", list(languages), timeout_s=_SPEAK_S)


async def index(
    database: Database, conversations: Sequence[UUID], languages: Sequence[str], entries: int = ENTRIES
) -> list[UUID]:
    """Index what is new in *conversations*, of each at most so many *entries* of its log, in one transaction.

    Args:
        conversations: :data:`CONVERSATIONS` of them at most keep it short.
        languages: By whose stems messages are to be found.

    Returns:
        Those of them that have more to index, or that another process was busy with.

    Raises:
        StorageUnavailable: The same call again does no harm.
    """
    sql: Final = "select search_index(%s, %s::regconfig[], %s)::text"
    row = await database.fetch_one(sql, list(conversations), list(languages), entries)
    assert row is not None
    return _ids(row[0])


async def behind(database: Database, after: UUID, limit: int) -> Slice:
    """Which of the *limit* conversations that follow *after* by id have entries that are not in the index.

    Raises:
        StorageUnavailable
    """
    row = await database.fetch_one("select search_behind(%s, %s)::text", after, limit)
    assert row is not None
    return _slice(row[0])
