"""A past in bulk, written with SQL: one reader in many conversations, and a year of messages in all of them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

import psycopg

from bench.accounts import Person, write_people
from bench.chatlog import Said, read_chatlog

LOG: Final = Path(__file__).parent / "data" / "ubuntu-2004-11-15.txt"
YEAR_MS: Final = 365 * 86_400_000
WORDS: Final = 60_000  # different ones; the n-th is said 1 / n as often as the first
OTHERS: Final = 200  # people beside the reader
FEW: Final = 3  # members of each conversation beside the reader

_PLAN: Final[LiteralString] = """
    create temp table plan as
    select n, uuidv7() as id, n <= %(mine)s as mine,
           greatest(2, (%(messages)s * share / sum(share) over ())::bigint) as messages,
           -- Half of them were active within the last week, the others some time in the year.
           now_ms() - (case when n %% 2 = 0 then 7 * 86400000.0 else %(year)s * 0.9 end * power(random(), 2))::bigint
               as active
    from (select n, 1.0 / (5 + place) as share from (
              select n, row_number() over (order by md5(n::text)) as place from generate_series(1, %(count)s) n) p) s
"""
_CONVERSATIONS: Final[LiteralString] = """
    insert into conversation (id, kind, title, history, owner, last_seq, active_at_ms, member_count)
    select id, 'group', 'Group ' || n, 'all', (%(people)s::uuid[])[2], messages + 1, active, %(few)s + mine::integer
    from plan
"""
_CREATED: Final[LiteralString] = """
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    select id, 1, 'created', (%(people)s::uuid[])[2], 'make ' || n, md5('make ' || id)::uuid, md5('')::uuid,
           active - %(year)s, json_build_object('title', 'Group ' || n, 'members', json_build_array()) from plan
"""
_SPANS: Final[LiteralString] = """
    insert into span (conversation, person, joined, since, place, number)
    select id, who, 1, 1, place, 1 from plan
    cross join lateral (
        select (%(people)s::uuid[])[1] as who, 0 as place where mine
        union all
        select (%(people)s::uuid[])[2 + (n * 7 + k) %% %(others)s], k from generate_series(1, %(few)s) k) m
"""
_RECEIPTS: Final[LiteralString] = """
    insert into receipt (conversation, person, delivered, read, at_ms)
    select id, (%(people)s::uuid[])[1], messages + 1, messages + 1 - least(messages, n %% 7), active
    from plan where mine
"""
_WORDS: Final[LiteralString] = """
    create temp table vocabulary as
    select n::integer as n, w from unnest(%(words)s::text[]) with ordinality as v(w, n)
"""
_MESSAGES: Final[LiteralString] = """
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text)
    select id, s + 1, 'message', (%(people)s::uuid[])[2 + (n * 7 + 1 + s %% %(few)s) %% %(others)s], 'k' || s,
           md5(id::text || s)::uuid, md5(s::text)::uuid, active - ((messages - s) * %(year)s / messages)::bigint,
           (select string_agg(v.w, ' ') from (
                select floor(exp(random() * ln(%(many)s)))::integer as k
                from generate_series(1, 3 + (s * 31 + n) %% 16) place offset 0) chosen
            join vocabulary v on v.n = k)
    from plan cross join lateral generate_series(1, messages) s
"""


_INDEX: Final[LiteralString] = "select search_index(%s, '{english}', 5000)"


class Archive(NamedTuple):
    """What was written."""

    reader: Person
    others: Sequence[Person]
    words: Sequence[str]  # the most frequent first


def write_archive(dsn: str, keys: Path, *, messages: int, conversations: int, mine: int) -> Archive:
    """So many *messages* in so many *conversations*, whose sizes differ as 1 / n; the reader is a member of *mine* of
    them. Blocking: some minutes for a million."""
    people = write_people(dsn, keys, 1 + OTHERS)
    words = vocabulary()
    with psycopg.connect(dsn) as connection:
        values = {
            "mine": mine, "messages": messages, "count": conversations, "year": YEAR_MS, "few": FEW, "others": OTHERS,
            "people": [person.user for person in people], "words": list(words), "many": len(words) - 1,
        }  # fmt: skip
        for statement in (_PLAN, _CONVERSATIONS, _CREATED, _SPANS, _RECEIPTS, _WORDS):
            connection.execute(statement, values)
        connection.execute("create index on vocabulary (n) include (w)")
        connection.execute("analyze vocabulary")
        connection.execute(_MESSAGES, values)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return Archive(people[0], people[1:], words)


def vocabulary() -> list[str]:
    """Words as people say them, the most frequent first, and after them made-up ones."""
    counts: dict[str, int] = {}
    for line in read_chatlog(LOG):
        if isinstance(line, Said):
            for word in line.text.lower().split():
                if word.isalpha():
                    counts[word] = counts.get(word, 0) + 1
    real = sorted(counts, key=lambda word: (-counts[word], word))
    return real + [f"{real[n % 97]}{real[n % 89]}{n}" for n in range(len(real), WORDS)]


def index_archive(dsn: str) -> float:
    """Bring the search index up to date; the seconds it took. Blocking: some minutes for a million messages."""
    began = time.perf_counter()
    with psycopg.connect(dsn, autocommit=True) as connection:
        left = [row[0] for row in connection.execute("select id from conversation order by id")]
        while left:
            more: list[str] = []
            for first in range(0, len(left), 20):
                row = connection.execute(_INDEX, (left[first : first + 20],)).fetchone()
                assert row is not None
                more += row[0]
            left = [UUID(one) for one in more]
        connection.execute("vacuum analyze search_text")
    return time.perf_counter() - began


def last_seqs(dsn: str, reader: UUID) -> dict[UUID, int]:
    """The reader's conversations -> where each ends."""
    sql = "select v.id, v.last_seq from span s join conversation v on v.id = s.conversation where s.person = %s"
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(sql, (reader,)).fetchall())
