"""The past of a large conversation, written with SQL: messages, reactions, reads by all, a thread, polls."""

import json
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID, uuid4

import msgspec
import psycopg

from bench.accounts import Person, write_people
from bench.archive import vocabulary
from storage.rows import Rules

MESSAGES: Final = 3_000
REACTED: Final = 50  # messages with reactions of some; one has those of all
SOME: Final = 20
OWN: Final = 3  # messages of each member at least, which they edit and delete

_SAY: Final[LiteralString] = """
    select append_messages((select json_agg(json_build_object('c', %(place)s::uuid, 'a', a, 'k', gen_random_uuid(),
        'x', 'We said ' || t) order by n) from unnest(%(authors)s::uuid[], %(texts)s::text[])
        with ordinality as x(a, t, n)), '[]')
"""
_READ: Final[LiteralString] = """
    select move_receipts((select json_agg(json_build_object('c', %(place)s::uuid, 'p', p, 'd', %(seq)s::bigint,
        'r', %(seq)s::bigint)) from unnest(%(people)s::uuid[]) p))
"""
_PHOTO: Final[LiteralString] = """
    insert into upload (id, owner, kind, state, size_bytes, content_type, sha256, tries, kept, created_at_ms, due_at_ms)
    values (%s, %s, 'photo', 'ready', 1, 'image/png', sha256(''), 1, 1, now_ms(), now_ms() + 86400000)
"""
_ACTIONS: Final = {
    "poll.create": "create_poll", "poll.vote": "vote_poll", "message.react": "react_to_message",
    "message.send": "send_message", "member.role": "set_role", "room.join": "join_room",
}  # fmt: skip


class Past(NamedTuple):
    """What was written."""

    conversation: UUID
    kind: str
    members: list[Person]  # the owner first, then three admins
    guests: list[Person]  # no members
    own: dict[UUID, list[int]]  # whose messages stand where
    answers: dict[UUID, list[int]]  # the same of the thread
    reacted: int  # the message to which all have reacted
    root: int  # of the thread
    poll: int  # in which all have voted
    photo: UUID  # of the second admin
    last_seq: int


def write_past(dsn: str, keys: Path, kind: str, members: int, guests: int) -> Past:
    """A conversation of *members*, and *guests* people beside it. Blocking: some seconds."""
    people = write_people(dsn, keys, members + guests)
    inside = people[:members]
    with psycopg.connect(dsn) as connection:
        place = _make(connection, kind, inside)
        ids = [one.user for one in inside]
        words = vocabulary()
        texts = [" ".join(words[(n * k) % 3_000] for k in range(1, 4 + n % 13)) for n in range(1, MESSAGES + 1)]
        authors = [ids[n % members] for n in range(max(MESSAGES, OWN * members))]
        texts = [texts[n % MESSAGES] for n in range(len(authors))]
        own: dict[UUID, list[int]] = {}
        for first in range(0, len(authors), 500):
            some = authors[first : first + 500]
            batch = {"place": place, "authors": some, "texts": texts[first : first + 500]}
            (answer,) = _one(connection.execute(_SAY, batch))
            for author, told in zip(some, answer["answers"], strict=True):
                own.setdefault(author, []).append(told["seq"])
        reacted, root = own[ids[0]][0], own[ids[1]][0]
        for nth, one in enumerate(ids):
            _act(connection, one, "message.react", place, seq=reacted, emoji="\N{THUMBS UP SIGN}", on=True)
            for other in range(REACTED if nth < SOME else 0):
                _act(connection, one, "message.react", place, seq=own[ids[20 + other % (members - 20)]][0],
                     emoji="\N{HEAVY BLACK HEART}", on=True)  # fmt: skip
        answers: dict[UUID, list[int]] = {}
        for one in ids:
            said = _act(connection, one, "message.send", place, text="We answered", content={"thread": root})
            answers.setdefault(one, []).append(said["seq"])
        asked = _act(connection, ids[0], "poll.create", place, question="Which?", options=["one", "other", "none"])
        poll = asked["seq"]
        for nth, one in enumerate(ids):
            last = _act(connection, one, "poll.vote", place, seq=poll, options=[nth % 3])["seq"]
        connection.execute(_READ, {"place": place, "seq": last, "people": ids})
        photo = uuid4()
        connection.execute(_PHOTO, (photo, ids[1]))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return Past(place, kind, inside, people[members:], own, answers, reacted, root, poll, photo, last)


def _make(connection: psycopg.Connection[Any], kind: str, people: list[Person]) -> UUID:
    first = people if kind == "group" else people[:1]
    (made,) = _one(connection.execute(
        "select create_group(uuidv7(), %s, 'past', 'Large', 'all', %s::json, 10000, %s, null, '[]', %s)",
        (people[0].user, json.dumps([str(one.user) for one in first]), kind, kind == "room"),
    ))  # fmt: skip
    place = UUID(made["conversation"])
    for one in people[len(first) :]:
        _act(connection, one.user, "room.join", place)
    for one in people[1:4]:
        _act(connection, people[0].user, "member.role", place, user=str(one.user), role="admin")
    return place


def _act(connection: psycopg.Connection[Any], person: UUID, command: str, place: UUID, **fields: Any) -> dict[str, Any]:
    told = {"t": command, "conversation": str(place), "key": str(uuid4()), **fields}
    (answer,) = _one(connection.execute(
        f"select {_ACTIONS[command]}(%s, %s, %s)".encode(), (person, json.dumps(told), _RULES)
    ))  # fmt: skip
    if "error" in answer:
        raise ValueError(f"{command} was refused: {answer}")
    found: dict[str, Any] = answer
    return found


def _one(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row  # type: ignore[no-any-return]  # psycopg says Any


_RULES: Final = msgspec.json.encode(Rules(group_members=100_000, room_members=100_000)).decode()
