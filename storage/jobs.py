"""Jobs as rows: table ``job``. What is to be done outside transactions, by whichever process has time.

A claim is a lease: it ends by itself, and marks made under an older one change nothing. Times are the database's clock.
"""

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec
from msgspec import Raw, Struct

from storage.database import Queries

KEPT_MS: Final = 86_400_000  # a day: for so long after it was done, a job of the same kind and key is not made again
PROBLEM_CHARS: Final = 500
FORGOTTEN_AT_ONCE: Final = 1_000

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class Job(Struct, frozen=True):
    """A job that was claimed."""

    id: int
    kind: str
    key: str
    payload: Raw  # JSON, as the kind says
    claim: int  # names the lease
    attempts: int  # this one included; claims that were given back do not count


class NewJob(Struct, frozen=True):
    """A job to be done ``after_s`` seconds from now. ``payload``: what its kind's handler reads."""

    kind: str
    key: str
    payload: Struct
    after_s: float = 0.0


_claimed: Final = msgspec.json.Decoder(list[Job]).decode

_ADD: Final[LiteralString] = """
insert into job (kind, key, payload, due_at_ms) values (%s, %s, %s::json, now_ms() + %s)
on conflict (kind, key) do nothing
"""


async def add_job(db: Queries, job: NewJob) -> bool:
    """Make *job*, unless one of this kind and key is there; True if this call made it. In a transaction it is seen when
    that commits."""
    text = _json(job.payload).decode()
    return await db.execute(_ADD, job.kind, job.key, text, round(job.after_s * 1000)) > 0


_CLAIM: Final[LiteralString] = "select claim_jobs(%s::text[], %s, %s)::text"


async def claim_jobs(db: Queries, kinds: Sequence[str], at_most: int, lease_s: float) -> list[Job]:
    """Up to *at_most* jobs of *kinds* that are due: for *lease_s* seconds nobody else's. Processes share them."""
    row = await db.fetch_one(_CLAIM, list(kinds), at_most, round(lease_s * 1000))
    assert row is not None
    return _claimed(row[0])


_DONE: Final[LiteralString] = """
update job set state = 'done', due_at_ms = now_ms() + %s, problem = null
where id = %s and claims = %s and state = 'waiting'
"""


async def mark_done(db: Queries, job: Job) -> bool:
    """*job* is done; False: its lease had ended and somebody else has it, or had."""
    return await db.execute(_DONE, KEPT_MS, job.id, job.claim) > 0


_AGAIN: Final[LiteralString] = """
update job set due_at_ms = now_ms() + %s, problem = coalesce(%s, problem), payload = coalesce(%s::json, payload),
    attempts = attempts - %s
where id = %s and claims = %s and state = 'waiting'
"""


async def put_back(
    db: Queries, job: Job, after_s: float, *, problem: str | None = None, payload: Struct | None = None,
    counted: bool = True,
) -> bool:  # fmt: skip
    """*job* is to be done again in *after_s* seconds, with another *payload* if there is one. *counted*: an attempt."""
    text = None if payload is None else _json(payload).decode()
    return await db.execute(
        _AGAIN, round(after_s * 1000), _short(problem), text, 0 if counted else 1, job.id, job.claim
    ) > 0  # fmt: skip


_DEAD: Final[LiteralString] = """
update job set state = 'dead', problem = %s where id = %s and claims = %s and state = 'waiting'
"""


async def bury(db: Queries, job: Job, problem: str) -> bool:
    """*job* is never tried again; it is kept for whoever wants to know why."""
    return await db.execute(_DEAD, _short(problem), job.id, job.claim) > 0


_COUNT_DEAD: Final[LiteralString] = "select kind, count(*) from job where state = 'dead' group by kind"


async def count_dead(db: Queries) -> dict[str, int]:
    """How many jobs of each kind nobody tries any more."""
    return dict(await db.fetch_all(_COUNT_DEAD))


_FORGET: Final[LiteralString] = """
delete from job where id in (
  select id from job where state = 'done' and due_at_ms <= now_ms() order by due_at_ms limit %s for update skip locked)
"""


async def forget_done(db: Queries) -> int:
    """Delete some of the rows that were done :data:`KEPT_MS` ago; how many."""
    return await db.execute(_FORGET, FORGOTTEN_AT_ONCE)


def _short(problem: str | None) -> str | None:
    return None if problem is None else problem.replace("\0", "")[:PROBLEM_CHARS]
