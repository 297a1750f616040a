"""People to meet, and people who are looked for."""

import time
from typing import Any, Final

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from konnect_server.people.shown import shown
from protocol.errors import Invalid
from protocol.frames import Feed, FeedList, Met, ProfileFilter, ProfileSearch
from storage import feed
from storage.feed import People


async def _feed(ground: Ground, asked: Asked, command: FeedList) -> Outcome:
    return Outcome(_page(ground, await feed.feed(ground.database, asked.user, command, _now_ms())))


async def _search(ground: Ground, asked: Asked, command: ProfileSearch) -> Outcome:
    if not any(one.isalnum() for one in command.query) and command.filter == ProfileFilter():
        raise Invalid("a search needs a word, or a condition - at `$.query`")
    return Outcome(_page(ground, await feed.search(ground.database, asked.user, command, _now_ms())))


def _page(ground: Ground, found: People) -> Feed:
    return Feed([_met(ground, one) for one in found.people], found.cursor)


def _met(ground: Ground, one: dict[str, Any]) -> Met:
    return Met(shown(ground, one["profile"]), one.get("common", []), one.get("online", False))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


RULES: Final[Rules] = {FeedList: _feed, ProfileSearch: _search}
