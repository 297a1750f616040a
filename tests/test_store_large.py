"""A conversation of a thousand members: what one action, or one question, costs the database does not grow with them.

Counted in rows that PostgreSQL read, so that no clock is involved; on a group and a room of a thousand members who have
all read, reacted, voted and written in one thread. What has to be said of every member (the list of a group's members)
is named as such.
"""

import uuid
from collections.abc import Iterator
from typing import Any, Final, LiteralString, get_args
from uuid import UUID

import msgspec
import psycopg
import pytest

from protocol import codec, frames
from protocol.frames import Entry
from storage.actions import FUNCTIONS
from storage.rows import Rules
from tests.conftest import TEMPLATE

MEMBERS: Final = 1_000
ROWS: Final = 100  # that one action may read; a tenth of the members
FRAME_BYTES: Final = 700  # that one action may send to each member
PLACES: Final = ("group", "room")
POLL, ANSWER = MEMBERS + 2, 2 * MEMBERS + 500  # where the poll stands, and one of the thread's messages
NOBODY: Final = UUID(int=0)
RULES: Final = Rules(group_members=10_000, room_members=10_000)

_PEOPLE: Final[LiteralString] = """
    insert into account (id, email, name, password_hash, created_at_ms)
    select uuidv7(), n || '@large.example', 'Person ' || n, '-', 0 from generate_series(1, %s) n returning id
"""
_MAKE: Final[LiteralString] = "select create_group(%s, %s, %s, 'Large', 'all', %s::json, 10000, %s, null, '[]', %s)"
_SAY: Final[LiteralString] = """
    select append_messages((select json_agg(json_build_object(
                                'c', %(place)s::uuid, 'a', a, 'k', 'k' || n, 'x', 'said ' || n))
                            from unnest(%(people)s::uuid[]) with ordinality as p(a, n)), '[]')
"""
_READ: Final[LiteralString] = """
    select move_receipts((select json_agg(json_build_object('c', %(place)s::uuid, 'p', p, 'd', 900, 'r', 900))
                          from unnest(%(people)s::uuid[]) p))
"""
_COUNT: Final[LiteralString] = """
    select relname, (seq_tup_read + coalesce(idx_tup_fetch, 0))::integer as read from pg_stat_xact_user_tables
    where seq_tup_read + coalesce(idx_tup_fetch, 0) > 0
"""
_EACH: Final[LiteralString] = "select {}(p, json_build_object({}), %(rules)s::json) from unnest(%(people)s::uuid[]) p"


class Large:
    """The two conversations, and a connection whose transactions are all undone."""

    def __init__(self, connection: psycopg.Connection[Any], people: list[UUID], places: dict[str, UUID]) -> None:
        self.connection, self.people, self.places = connection, people, places
        self.read: dict[str, int] = {}  # table -> rows of it that the last statement read
        self.owner, self.admin, self.member, self.other = people[:4]
        self.guest, self.asking, self.banned, self.stranger = people[MEMBERS : MEMBERS + 4]

    def rows(self, statement: str, *values: Any) -> tuple[int, Any]:
        """How many rows *statement* read, of all tables, and what it answered. It is undone."""
        self.connection.rollback()
        before = self._counts()
        given = values[0] if values and isinstance(values[0], dict) else values
        row = self.connection.execute(statement.encode(), given).fetchone()
        after = self._counts()
        self.connection.rollback()
        self.read = {name: more for name, count in after.items() if (more := count - before.get(name, 0))}
        assert row is not None
        return sum(self.read.values()), row[0]

    def _counts(self) -> dict[str, int]:
        """Rows read of each table since some time before this transaction: what others read is not told of yet."""
        return dict(self.connection.execute(_COUNT).fetchall())


@pytest.fixture(scope="module")
def large(cluster: str) -> Iterator[Large]:
    """A database of this file's own."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(cluster, autocommit=True) as control:
        control.execute(f"create database {name} template {TEMPLATE}")
        connection = psycopg.connect(psycopg.conninfo.make_conninfo(cluster, dbname=name))
        try:
            yield _fill(connection)
        finally:
            connection.close()
            control.execute(f"drop database {name} with (force)")


def _fill(connection: psycopg.Connection[Any]) -> Large:
    """Messages 2 to 1001 in each, each by another member; all of them have read up to 900, reacted to 2, written in the
    thread of 3, and voted in the poll."""
    people = [row[0] for row in connection.execute(_PEOPLE, (MEMBERS + 4,)).fetchall()]
    members = people[:MEMBERS]
    rules = _json(Rules())
    places = {}
    for kind in PLACES:
        place = places[kind] = uuid.uuid4()
        listed = _json([str(one) for one in members])
        connection.execute(_MAKE, (place, members[0], f"make {kind}", listed, kind, kind == "room"))
        values: dict[str, Any] = {"place": place, "people": members, "rules": rules}
        connection.execute(_SAY, values)
        connection.execute(_READ, values)
        poll = frames.PollCreate(id=1, conversation=place, key="poll", question="?", options=["1", "2"])
        assert _do(connection, members[0], poll)["seq"] == POLL
        act = [
            ("react_to_message", "'key', 'r', 'seq', 2, 'emoji', '+', 'on', true"),
            ("send_message", "'t', 'message.send', 'key', 'a', 'text', 'so', "
                             "'content', json_build_object('thread', 3)"),
            ("vote_poll", "'key', 'v', 'seq', 1002, 'options', json_build_array(0)"),
        ]
        for function, fields in act:
            made = _EACH.format(function, "'conversation', %(place)s::uuid, " + fields)
            answers = connection.execute(made.encode(), values).fetchall()
            assert all("error" not in row[0] for row in answers), answers[0]
        _do(connection, members[0], frames.MemberRole(id=1, conversation=place, key="m", user=members[1], role="admin"))
        _do(connection, members[0], frames.MemberBan(id=1, conversation=place, key="b", user=people[MEMBERS + 2]))
        link = frames.LinkCreate(id=1, conversation=place, key="link", approval=True)
        made_link = _call(connection, "select create_link(%s, %s, %s)", members[0], link)["link"]
        asking = frames.LinkJoin(id=1, code=made_link["code"], key="ask")
        _call(connection, "select join_by_link(%s, %s, %s)", people[MEMBERS + 1], asking)
    connection.commit()
    connection.autocommit = True
    connection.execute("analyze")
    connection.autocommit = False
    return Large(connection, people, places)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _do(connection: psycopg.Connection[Any], author: UUID, action: Any) -> Any:
    return _call(connection, _sql(type(action)), author, action)


def _sql(action: type[Any]) -> str:
    return FUNCTIONS[action].replace("$1", "%s").replace("$2", "%s").replace("$3", "%s")


def _call(connection: psycopg.Connection[Any], sql: str, person: UUID, command: Any) -> Any:
    row = connection.execute(sql.encode(), (person, _json(command), _json(Rules()))).fetchone()
    assert row is not None
    assert "error" not in row[0], row[0]
    return row[0]


# --- Actions ----------------------------------------------------------------------------------------------------------


def _actions(large: Large, kind: str) -> dict[type[Any], tuple[UUID, Any]]:
    """One of every action that a log takes, with who does it."""
    place, f = large.places[kind], frames
    owner, admin, member, other = large.owner, large.admin, large.member, large.other
    base: dict[str, Any] = {"id": 1, "conversation": place, "key": "new"}
    found: list[tuple[UUID, Any]] = [
        (admin, f.ConversationAdd(**base, user=large.guest)),
        (admin, f.ConversationRemove(**base, user=other)),
        (owner, f.ConversationLeave(**base)),
        (member, f.MessageEdit(**base, seq=4, text="other words")),
        (admin, f.MessageDelete(**base, seq=ANSWER)),
        (member, f.MessageReact(**base, seq=2, emoji="-")),
        (member, f.MessageSend(**base, text="yes", content=f.Content(thread=3, reply_to=ANSWER))),
        (admin, f.ConversationRetention(**base, seconds=60)),
        (member, f.PollCreate(**base, question="?", options=["1", "2"])),
        (member, f.PollVote(**base, seq=POLL, options=[1])),
        (admin, f.PollClose(**base, seq=POLL)),
        (member, f.MessageForward(**base, source=f.Source(place, 5))),
        (admin, f.MessagePin(**base, seq=2)),
        (owner, f.MemberRole(**base, user=other, role="admin")),
        (owner, f.ConversationHandover(**base, user=other)),
        (admin, f.MemberBan(**base, user=other)),
        (admin, f.MemberUnban(**base, user=large.banned)),
        (admin, f.ConversationTitle(**base, title="Larger")),
        (admin, f.ConversationTopic(**base, topic="size")),
        (admin, f.ConversationPhoto(**base, photo=None)),
        (admin, f.ConversationSlowMode(**base, seconds=9)),
        (large.stranger, f.RoomJoin(**base)),
        (owner, f.RoomLeave(**base)),
        (admin, f.RequestAnswer(**base, user=large.asking, accept=True)),
    ]  # fmt: skip
    if kind == "group":
        found = [one for one in found if not isinstance(one[1], f.RoomJoin)]
    return {type(action): (author, action) for author, action in found}


ACTIONS: Final = get_args(frames.AnyAction)
MEMBERSHIP: Final[dict[type[Any], str]] = {
    frames.ConversationAdd: "add", frames.ConversationRemove: "remove", frames.ConversationLeave: "leave",
    frames.RoomLeave: "leave",
}  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("action", ACTIONS, ids=[one.__struct_config__.tag for one in ACTIONS])
def test_an_action_among_a_thousand_reads_few_rows_and_tells_each_little(
    large: Large, action: type[Any], kind: str
) -> None:
    """Whoever adds an action adds it here: none is left out."""
    found = _actions(large, kind).get(action)
    if found is None:
        assert (action, kind) == (frames.RoomJoin, "group"), "nobody joins a group by themselves"
        return
    author, command = found
    if (change := MEMBERSHIP.get(action)) is not None:
        user = author if change == "leave" else command.user
        read, answer = large.rows(
            "select change_member(%s, %s, %s, %s, %s, 10000, 10000)", change, command.conversation, author, command.key,
            user,
        )  # fmt: skip
        assert answer.get("new"), answer
    else:
        read, answer = large.rows(_sql(action), author, _json(command), _json(RULES))
        assert "error" not in answer, answer
        if action is not frames.ConversationPhoto:  # it had none
            entry = msgspec.convert(answer["entry"], Entry, strict=False)
            assert len(codec.entry(entry)) < FRAME_BYTES
    assert read < ROWS, large.read


def test_a_message_among_a_thousand_reads_few_rows(large: Large) -> None:
    """On the short way of plain ones, and on the one where each is looked at."""
    for kind in PLACES:
        place = large.places[kind]
        new = _json([{"i": 1, "o": 1, "a": str(large.member), "k": "n", "x": "hello"}])
        read, _ = large.rows(
            "select append_new(%s, array[%s]::uuid[], array[null]::bigint[], array[1])", new, place
        )
        assert read < ROWS, large.read
        said = _json([{"c": str(place), "a": str(large.member), "k": "n", "x": "hello"}])
        read, answer = large.rows("select append_messages(%s, '[]')", said)
        assert answer["answers"][0]["new"]
        assert read < ROWS, large.read


# --- What happens a moment later --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLACES)
def test_who_is_named_by_a_message_is_found_without_looking_at_everybody(large: Large, kind: str) -> None:
    """Notifications of a mention and of an answer; nobody has a device here."""
    place = large.places[kind]
    for content in (
        {"entities": [{"kind": "mention", "offset": 0, "length": 2, "user": str(large.other)}]},
        {"reply_to": 4, "entities": [{"kind": "bold", "offset": 0, "length": 2}]},
    ):
        said = [{"c": str(place), "a": str(large.owner), "k": "n", "x": "hello", "j": content}]
        read, answer = large.rows(
            "with said as materialized (select append_messages(%s, '[]') as a), "
            "looked as materialized (select gather_pushes(array[%s]::uuid[], 1, 100, 3600000, 200) as g from said "
            "where (a -> 'answers' -> 0 ->> 'new')::boolean) select g from looked", _json(said), place,
        )  # fmt: skip
        assert answer["people"] == [str(large.other if "reply_to" not in content else large.member)]
        assert read < ROWS, large.read


def test_a_conversation_is_made_without_looking_at_every_account(large: Large) -> None:
    read, answer = large.rows(
        "select create_group(%s, %s, 'new', 'Small', 'all', %s::json, 10000)", uuid.uuid4(), large.owner,
        _json([str(large.owner), str(large.other)]),
    )  # fmt: skip
    assert answer["new"]
    assert read < ROWS, large.read


def test_a_device_is_registered_without_looking_at_every_account(large: Large) -> None:
    read, registered = large.rows("select register_device(%s, 'phone', 'ios', 'token', null, 10)", large.member)
    assert registered
    assert read < ROWS, large.read


# --- What is asked, what is one's own, and what is done later ---------------------------------------------------------

QUESTIONS: Final[dict[str, tuple[LiteralString, int]]] = {
    "receipt": ("select move_receipts(json_build_array(json_build_object('c', %(c)s::uuid, 'p', %(p)s::uuid, 'd', 950, "
                "'r', 950)))", ROWS),
    "message.readers, 50": ("select message_readers(%(p)s, %(c)s, 850, %(nil)s, 50, 500)", 7 * ROWS),
    "message.readers, nobody": ("select message_readers(%(p)s, %(c)s, 950, %(nil)s, 50, 500)", 6 * ROWS),
    "message.reactions": ("select message_reactions(%(p)s, %(c)s, 2, null::text, '', 0, 50)", 3 * ROWS),
    "message.edits": ("select message_edits(%(p)s, %(c)s, 4, 0, 50, 200000)", ROWS),
    "poll.voters": ("select poll_voters(%(p)s, %(c)s, 1002, 0, 50)", 3 * ROWS),
    "member.list": ("select member_page(%(p)s, %(c)s, 0, 0, 50)", 3 * ROWS),
    "member.bans": ("select member_bans(%(owner)s, %(c)s, 9223372036854775807, 50)", ROWS),
    "request.list": ("select join_requests(%(owner)s, %(c)s, 0, %(nil)s, 50)", ROWS),
    "link.list": ("select conversation_links(%(owner)s, %(c)s)", ROWS),
    "thread.list": ("select conversation_threads(%(p)s, %(c)s, 9223372036854775807, 50, 1000)", 5 * MEMBERS),
    "thread.history": ("select thread_page(%(p)s, %(c)s, 3, 9223372036854775807, 50, 200000)", 3 * ROWS),
    "history": ("select history_page(%(p)s, %(c)s, 9223372036854775807, 50, 200000)", 3 * ROWS),
    "unread.get": ("select unread_total(%(p)s, 1000, 1000)", 5 * MEMBERS),
    "typing": ("select member_page(%(p)s, %(c)s, 0, 0, 100)", 3 * ROWS),
    "presence.get": ("select presences(%(p)s, array[%(owner)s]::uuid[])", ROWS),
    "conversation.get": ("select conversation_states(json_build_array(json_build_object("
                         "'q', 0, 'p', %(p)s::uuid, 'c', %(c)s::uuid, 'r', 1)), 100, 1000)", 4 * MEMBERS),
    "hello, receipts": ("select receipts_since(json_build_array(json_build_object("
                        "'q', 0, 'p', %(p)s::uuid, 's', 0)), 100)", ROWS),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_a_thousand_reads_a_page(large: Large, question: str, kind: str) -> None:
    statement, bound = QUESTIONS[question]
    values = {"p": large.member, "owner": large.owner, "c": large.places[kind], "nil": NOBODY}
    large.connection.rollback()
    read, answer = large.rows(statement, values)
    assert not (isinstance(answer, dict) and "error" in answer), answer
    assert read < bound, large.read
