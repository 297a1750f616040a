"""What tests of the rules about people share: two commands at once, the later one waiting for the first."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio

from protocol.errors import KonnectError
from storage.database import Database, Queries

Act: TypeAlias = Callable[[Queries], Awaitable[Any]]

_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def in_order(database: Database, first: Act, second: Act) -> tuple[Any, Any]:
    """What comes of *first*, and of *second*, which waits for its commit; an error of ours stands for itself."""
    outcomes: list[Any] = [None, None]

    async def later() -> None:
        try:
            outcomes[1] = await second(database)
        except KonnectError as problem:
            outcomes[1] = problem.code

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, database.transaction() as tx:
            outcomes[0] = await first(tx)
            nursery.start_soon(later)
            while (await database.fetch_one(_WAITING)) == (0,):
                await trio.sleep(0.005)
    return outcomes[0], outcomes[1]


async def outcome(act: Awaitable[Any]) -> Any:
    """What comes of it; an error of ours stands as its code."""
    try:
        return await act
    except KonnectError as problem:
        return problem.code
