"""Versions of the recommender: what they learn from, how they are kept, and which one suggestions go by
(migrations/0026_suggest.sql)."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from storage.database import Database, Queries, Transaction

State = Literal["candidate", "standing", "trial", "refused", "retired"]

LEARN_S: Final = 3_600.0  # the whole reading, or writing, of what was learned
PEOPLE_AT_ONCE: Final = 2_000  # whose answers are read in one query
LEAST: Final = 500  # answers to learn from
KEPT_DAYS: Final = 90  # what a version learned that no suggestion goes by any more


class Learner(Struct, frozen=True):
    """Somebody to learn from: what everyone may see of the profile."""

    person: UUID
    tags: list[str]
    cell_lat: int | None
    cell_lon: int | None
    born: int | None  # days since 1970


class Material(Struct, frozen=True):
    """What there is to learn from."""

    people: list[Learner]
    answers: bytes  # 20 bytes each, big endian: who (int32, row of people), whom (int32), yes (float32), at_ms (int64)
    now_ms: int


class Version(Struct, frozen=True):
    """One time that something was learned."""

    version: int
    state: State
    share: int  # of a trial: percent of all people
    weights: dict[str, Any]
    made_of: dict[str, Any]
    judged: dict[str, Any] | None
    made_at_ms: int


class Result(Struct, frozen=True):
    """How a version did."""

    version: int
    source: str
    impressions: int
    openers: int
    matches: int
    replies: int


_json: Final = msgspec.json.Encoder().encode
_versions: Final = msgspec.json.Decoder(list[Version]).decode
_results: Final = msgspec.json.Decoder(list[Result]).decode

_DUE: Final[LiteralString] = """
select now_ms() / 86400000
where extract(hour from now() at time zone 'utc') >= %s
    and not exists (select from recommender
                    where version > 1 and made_at_ms / 86400000 = now_ms() / 86400000 or state = 'trial')
    and (select count(*) from (select from opener union all select from contact_request
                               union all select from passed_over limit %s) given) >= %s
"""


async def due(db: Queries, hour: int) -> int | None:
    """Today (UTC), in days since 1970, if a version is to be learned today: it is *hour* o'clock or later, none was
    made today, enough was ever answered, and none is on trial: beside what changes daily it would tell nothing."""
    row = await db.fetch_one(_DUE, hour, LEAST, LEAST)
    return None if row is None else int(row[0])


_LEARNERS: Final[LiteralString] = """
create temp table learner on commit drop as
    select (row_number() over (order by person) - 1)::integer as n, person from profile where findable
"""
_SAID: Final[LiteralString] = """
create temp table said on commit drop as
    select w.n as who, m.n as whom, a.yes, a.at_ms from answer a
    join learner w on w.person = a.who join learner m on m.person = a.whom where a.at_ms <= %s
"""
_PEOPLE: Final[LiteralString] = """
select p.person, profile_tags(p), p.open_cell_lat, p.open_cell_lon, p.open_birthday - date '1970-01-01'
from learner l join profile p on p.person = l.person order by l.n
"""
_ANSWERS: Final[LiteralString] = """
select coalesce(string_agg(int4send(who) || int4send(whom) || float4send(yes) || int8send(at_ms), ''), '')
from said where who >= %s and who < %s
"""


async def material(database: Database, progress: Callable[[str, float], None]) -> Material:
    """Everything that can be learned from, as it stands now. *progress*: what is being read, and how far (0 to 1)."""
    async with database.transaction(timeout_s=LEARN_S) as tx:
        await tx.execute("set local work_mem = '256MB'")
        now = await tx.fetch_one("select now_ms()")
        assert now is not None
        progress("people", 0.0)
        await tx.execute(_LEARNERS)
        await tx.execute("create index on learner (person)")
        await tx.execute("analyze learner")
        people = [Learner(*row) for row in await tx.fetch_all(_PEOPLE)]
        progress("answers", 0.1)
        await tx.execute(_SAID, now[0])
        await tx.execute("create index on said (who)")
        parts: list[bytes] = []
        for first in range(0, len(people), PEOPLE_AT_ONCE):
            progress("answers", 0.3 + 0.7 * first / len(people))
            row = await tx.fetch_one(_ANSWERS, first, first + PEOPLE_AT_ONCE)
            assert row is not None
            parts.append(bytes(row[0]))
    return Material(people, b"".join(parts), int(now[0]))


_LIST: Final[LiteralString] = """
select coalesce(json_agg(json_build_object('version', version, 'state', state, 'share', share, 'weights', weights,
    'made_of', made_of, 'judged', judged, 'made_at_ms', made_at_ms) order by version), '[]')::text from recommender
"""


async def versions(db: Queries) -> list[Version]:
    """All that there ever were, the first one first."""
    row = await db.fetch_one(_LIST)
    assert row is not None
    return _versions(row[0])


async def tags(db: Queries, version: int) -> dict[str, tuple[list[float], list[float]]]:
    """What each tag says in *version*: what who has it wants, and is; none, where none was learned."""
    rows = await db.fetch_all(
        "select tag, wants::real[], being::real[] from recommender_tag where version = %s", version
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def write(
    database: Database, state: Literal["candidate", "refused"], weights: dict[str, float], made_of: dict[str, Any],
    judged: dict[str, Any], learned: Sequence[tuple[str, Sequence[float], Sequence[float]]],
) -> int:  # fmt: skip
    """Keep what was learned, and make what suggestions need of it, unless it is refused; the version's number.

    Args:
        learned: Of each tag its name, what who has it wants, and is: 16 numbers each.
    """
    async with database.transaction(timeout_s=LEARN_S) as tx:
        row = await tx.fetch_one(
            "insert into recommender (state, weights, made_of, judged) values (%s, %s::json, %s::json, %s::json) "
            "returning version",
            state, _json(weights).decode(), _json(made_of).decode(), _json(judged).decode(),
        )  # fmt: skip
        assert row is not None
        version = int(row[0])
        if state != "refused":
            for tag, wants, being in learned:
                await tx.execute(
                    "insert into recommender_tag values (%s, %s, %s::real[]::vector(16), %s::real[]::vector(16))",
                    version, tag, list(wants), list(being),
                )  # fmt: skip
            await _fill(tx, version)
    return version


async def _fill(tx: Transaction, version: int) -> None:
    await tx.execute("set local maintenance_work_mem = '512MB'")
    await tx.fetch_one("select suggest_fill(%s)", version)


async def stand(database: Database, version: int) -> bool:
    """Let suggestions go by *version* from now on, in all processes; the one before is retired. False: there is no such
    version, or one without what suggestions need."""
    return await _become(database, version, "standing", 100)


async def try_out(database: Database, version: int, share: int) -> bool:
    """Let the suggestions of *share* percent of all people go by *version*; as :func:`stand`."""
    return await _become(database, version, "trial", share)


_ASKED: Final[LiteralString] = """
select state, coalesce((made_of ->> 'tags')::integer, 0) > 0
    and not exists (select from recommender_tag t where t.version = r.version)
from recommender r where version = %s
"""


async def _become(database: Database, version: int, state: State, share: int) -> bool:
    async with database.transaction(timeout_s=LEARN_S) as tx:
        await tx.execute("lock table recommender in share row exclusive mode")
        row = await tx.fetch_one(_ASKED, version)
        if row is None or row[0] == "refused" or (row[0], state) == ("standing", "trial") or row[1]:
            return False
        await _fill(tx, version)  # who came or changed since it was made, or since it last stood
        await tx.execute(
            "update recommender set state = 'retired', share = 0 where state = %s and version <> %s", state, version
        )
        await tx.execute("update recommender set state = %s, share = %s where version = %s", state, share, version)
        # Of those that stood before, the last is kept whole, to go back to.
        old = await tx.fetch_all(
            "select version from recommender where state in ('retired', 'candidate') and version < %s "
            "order by version desc offset 1", version,
        )  # fmt: skip
        for (one,) in old:
            await tx.fetch_one("select drop_suggest_part(%s)", one)
    return True


_FORGET: Final[LiteralString] = """
delete from recommender_tag t using recommender r
where r.version = t.version and r.state in ('candidate', 'retired') and r.made_at_ms < now_ms() - %s
    and r.version < (select max(version) from recommender where state = 'standing')
"""


async def forget(db: Queries) -> None:
    """Let go of what old versions learned that nothing goes by any more; they cannot stand again."""
    await db.execute(_FORGET, KEPT_DAYS * 86_400_000)


async def end_trial(database: Database) -> bool:
    """Let everybody's suggestions go by the standing version again; False: none was on trial."""
    return bool(await database.execute("update recommender set state = 'retired', share = 0 where state = 'trial'"))


_RESULTS: Final[LiteralString] = """
select coalesce(json_agg(r order by r.version, r.source), '[]')::text from (
    select version, source, sum(impressions)::bigint as impressions, sum(openers)::bigint as openers,
        sum(matches)::bigint as matches, sum(replies)::bigint as replies
    from recommender_result where day >= (now() at time zone 'utc')::date - %s::integer group by 1, 2) r
"""


async def results(db: Queries, days: int) -> list[Result]:
    """How each version did in the last *days*."""
    row = await db.fetch_one(_RESULTS, days, timeout_s=LEARN_S)
    assert row is not None
    return _results(row[0])


_EXPLAIN: Final[LiteralString] = """
select json_build_object('version', s.version, 'pair', to_json(c), 'score', c.forth * c.back, 'why', suggest_reasons(
    s, c.other, c.interests, c.languages, c.near, c.age, c.responsive, c.back_taste, false))::text
from suggest_self(%s, recommender_of(%s)) s cross join lateral suggest_scores(s, array[%s::uuid]) c
"""


async def explain(db: Queries, one: UUID, other: UUID) -> dict[str, Any] | None:
    """How *other* is suggested to *one*: what both share, both chances, the reasons; None: *other* has no profile."""
    row = await db.fetch_one(_EXPLAIN, one, one, other)
    return None if row is None else msgspec.json.decode(row[0], type=dict[str, Any])
