"""The SQL functions of ``storage/migrations/0013_links.sql`` about rooms and members, over the fake's tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from msgspec import UNSET

from storage.rows import MemberPage, MemberRow, RoomPage, RoomRow
from tests.simulate.database import Body, FakeDatabase, Tables
from tests.simulate.functions import Refusal

ALIVE_MS: Final = 5_000  # a process that beat within this is there
MINUTE_MS: Final = 60_000


def words_of(text: str) -> set[str]:
    """The words of *text*, in lower case."""
    return set(re.split(r"[\W_]+", text.lower())) - {""}


def member_page(
    tables: Tables, person: UUID, conversation: UUID, after: tuple[int, int], limit: int
) -> MemberPage | Refusal:
    """Members in order of joining."""
    if conversation not in tables.conversations or tables.role(conversation, person) is None:
        return Refusal("not_a_member")
    rows = []
    for one in tables.members(conversation):
        span, role = tables.spans[conversation][one][-1], tables.role(conversation, one)
        assert role is not None
        if (span.joined, span.place) > after:
            rows.append(MemberRow(one, tables.accounts[one].name, role, span.joined, span.place))
    return MemberPage(rows[:limit], len(rows) > limit)


def room_list(
    tables: Tables,
    now_ms: int,
    person: UUID,
    query: str | None,
    tags: Sequence[str],
    after: tuple[int, int, UUID],
    limit: int,
) -> RoomPage:
    """Public conversations, by shared interests, then by activity."""
    wanted, own = words_of(query or ""), {tag.lower() for tag in tags}
    if query is not None and not wanted:
        return RoomPage([], False)
    rows = []
    for conversation, active_at_ms in tables.listed.items():
        row = tables.conversations[conversation]
        words = words_of(" ".join([row.title or "", row.topic or "", *row.tags]))
        shared = len(own & {tag.lower() for tag in row.tags})
        if (shared, active_at_ms, conversation) < after and all(
            any(word.startswith(start) for word in words) for start in wanted
        ):
            rows.append((shared, active_at_ms, conversation))
    rows.sort(reverse=True)
    alive = {node for node, at_ms in tables.nodes.items() if now_ms - at_ms < ALIVE_MS}
    found = []
    for shared, active_at_ms, conversation in rows[:limit]:
        row = tables.conversations[conversation]
        assert row.kind in ("room", "channel")
        people = [n for (place, node), n in tables.room_online.items() if place == conversation and node in alive]
        found.append(
            RoomRow(
                conversation, row.kind, row.title or "", row.member_count, sum(people),
                tables.span(conversation, person) is not None, shared, active_at_ms, row.tags,
                UNSET if row.topic is None else row.topic, UNSET if row.photo is None else row.photo,
            )
        )  # fmt: skip
    return RoomPage(found, len(rows) > limit)


def publish_rooms(db: FakeDatabase, node: UUID, people: Mapping[UUID, int]) -> Body[None]:
    """How many people a process has."""
    tables = db.tables
    yield []

    def commit() -> None:
        if node not in tables.nodes:
            return
        for conversation, count in people.items():
            tables.room_online.pop((conversation, node), None)
            if conversation in tables.listed:
                if count > 0:
                    tables.room_online[conversation, node] = count
                active_at_ms = tables.conversations[conversation].active_at_ms
                if active_at_ms >= tables.listed[conversation] + MINUTE_MS:
                    tables.listed[conversation] = active_at_ms

    return None, commit


def forget(tables: Tables, node: UUID) -> None:
    """A process goes, and what it told of rooms with it."""
    for place in [place for place in tables.room_online if place[1] == node]:
        del tables.room_online[place]
