"""People in bulk: written with SQL, tokens signed with the server's own key. Only the replay registers over HTTP."""

from pathlib import Path
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Json

from konnect_server.tokens import Tokens

TOKEN_S: Final = 86_400
CREATED: Final = 1  # the seq of a group's first entry, which says who is in it

_PEOPLE: Final[LiteralString] = """
with made as (
    insert into account (id, email, name, password_hash, created_at_ms)
    select uuidv7(), format('%%s-%%s@bench.example', gen_random_uuid(), n), 'Bench ' || n, 'none', now_ms()
    from generate_series(1, %(count)s) n returning id
)
insert into sign_in (id, account, basis, token_hash, created_at_ms, used_at_ms)
select uuidv7(), id, sha256(id::text::bytea), sha256('none'), now_ms(), now_ms() from made returning account, id
"""
_GROUP: Final[LiteralString] = (
    "select create_group(uuidv7(), %s, gen_random_uuid()::text, 'Bench', 'all', %s::json, %s)"
)
_APPEND: Final[LiteralString] = """
select append_messages(json_agg(json_build_object('c', %(group)s::text, 'a', %(author)s::text, 'k', 'missed-' || n,
    'x', lpad(to_hex(n), 16, '0') || repeat('x', %(payload)s::int - 16)) order by n), '[]')
from generate_series(1, %(count)s::int) n
"""
_DIRECT: Final[LiteralString] = "select open_direct(uuidv7(), %s, %s)"


class Person(NamedTuple):
    """An account with a sign-in, and a token for it."""

    user: UUID
    token: str


def write_people(dsn: str, keys: Path, count: int) -> list[Person]:
    """*count* new accounts, each signed in. Blocking: some 0.1 ms each.

    Args:
        dsn: The server's database.
        keys: The folder of its signing keys.
        count: How many.
    """
    tokens = Tokens(keys, lifetime_s=TOKEN_S)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(_PEOPLE, {"count": count}).fetchall()
    return [Person(user, tokens.sign(user, sign_in)) for user, sign_in in rows]


# Or a thousand notifications and a thousand walks would fall into the first seconds that are measured.
_TOLD: Final[LiteralString] = (
    "insert into pushed (conversation, seq) select id, last_seq from conversation where id = %s"
)


def write_group(dsn: str, people: list[Person]) -> UUID:
    """A group of *people*, the first of them its owner, all of whom were told long ago that they are in it; its id."""
    members = Json([str(person.user) for person in people])
    with psycopg.connect(dsn) as connection:
        group = _conversation(connection.execute(_GROUP, (people[0].user, members, len(people))).fetchone())
        connection.execute(_TOLD, (group,))
    return group


def write_groups(dsn: str, people: list[Person], members: int) -> list[UUID]:
    """Groups of *members* of *people* each, the first ones, the next ones ...; their ids."""
    groups = []
    with psycopg.connect(dsn) as connection:
        for place in range(0, len(people), members):
            few = people[place : place + members]
            row = connection.execute(_GROUP, (few[0].user, Json([str(person.user) for person in few]), len(few)))
            groups.append(_conversation(row.fetchone()))
    return groups


def write_missed(dsn: str, authors: list[Person], groups: list[UUID], count: int, payload: int) -> None:
    """*count* messages in each of *groups*, by the member of the same place in *authors*, as a storm misses them.

    The n-th text (1, 2, ...) is n in 16 hexadecimal digits, filled up to *payload* bytes (at least 16).
    """
    with psycopg.connect(dsn) as connection:
        for author, group in zip(authors, groups, strict=True):
            words = {"group": str(group), "author": str(author.user), "count": count, "payload": payload}
            connection.execute(_APPEND, words)


def write_pairs(dsn: str, people: list[Person]) -> list[UUID]:
    """A direct conversation of the first and the second, the third and the fourth ...; their ids."""
    pairs = zip(people[::2], people[1::2], strict=True)
    with psycopg.connect(dsn) as connection:
        return [_conversation(connection.execute(_DIRECT, (one.user, other.user)).fetchone()) for one, other in pairs]


def _conversation(row: tuple[dict[str, str]] | tuple[object, ...] | None) -> UUID:
    assert row is not None
    answer = row[0]
    if not isinstance(answer, dict) or "conversation" not in answer:
        raise ValueError(f"the conversation could not be made: {answer}")
    return UUID(answer["conversation"])
