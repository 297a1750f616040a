"""Finding messages: which languages a query is understood in, and what there must be to seek by."""

from collections.abc import Sequence
from uuid import UUID

from protocol.errors import Invalid
from protocol.frames import Found, Search
from storage.search_query import parse
from storage.store import Store


async def search(store: Store, user: UUID, command: Search, languages: Sequence[str]) -> Found:
    """A page of what *user* may see and that matches *command*.

    Args:
        languages: Those whose stems are in the index.

    Raises:
        Invalid: Nothing is said of what to find.
        NotAMember: Never was one of the one conversation to search in.
        BadCursor
    """
    others = (command.author, command.kind, command.from_ms, command.to_ms)
    if others.count(None) == len(others) and not parse(command.query):
        raise Invalid("a search needs a word, or another condition - at `$.query`")
    if command.language is not None:
        languages = [one for one in languages if one == command.language]
    return await store.search(user, command, languages)
