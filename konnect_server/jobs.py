"""Does what waits in the queue of jobs: claim, work, mark. Any number of processes share one queue.

No lock and no transaction is held while a job works (docs/hazards.md, B3): a claim is a lease in the row. Who is killed
between claim and mark leaves a lease that ends, and somebody else does the job: so a job may be done twice, and each
kind must bear it. A failed one is tried again, later each time, and at last is kept as dead, and counted.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import structlog
import trio
from msgspec import Raw, Struct

from konnect_server.telemetry import counter, gauge, histogram
from storage import jobs
from storage.database import Database, Queries
from storage.errors import StorageUnavailable
from storage.jobs import Job, NewJob

AT_ONCE: Final = 8  # jobs of one process
POLL_S: Final = 1.0  # what other processes made is found so late at most
LEASE_S: Final = 60.0
WORK_S: Final = 45.0  # a job that takes longer has failed; well before its lease ends
ATTEMPTS: Final = 10  # the last of them some 20 minutes after the first
BACKOFF_S: Final = 2.0  # after the first failure; doubled by each further one
MOST_S: Final = 600.0
TIDY_S: Final = 60.0

DONE: Final = counter("konnect_jobs_total", "Jobs that were worked on, by how it went.", ("kind", "outcome"))
SECONDS: Final = histogram("konnect_job_seconds", "Time that a job took.", ("kind",))
DEAD: Final = gauge("konnect_jobs_dead", "Jobs that failed for good and are kept, in the whole database.", ("kind",))

log = structlog.get_logger("konnect.jobs")
Handler: TypeAlias = Callable[[Raw], Awaitable[None]]
"""Does one job, given its payload as JSON; returns when it is done. May be done twice."""


class Again(Exception):
    """What a handler raises to have its job done again in *after_s* seconds, with another payload if there is one.

    *failed*: it counts as an attempt, of which there are :data:`ATTEMPTS`; False: it has just more to do.
    """

    def __init__(self, after_s: float, payload: Struct | None = None, *, failed: bool = True, why: str = "") -> None:
        super().__init__(why or "to be done again")
        self.after_s, self.payload, self.failed = after_s, payload, failed


class Hopeless(Exception):
    """What a handler raises when no further attempt can help."""


class Jobs:
    """One process's workers."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], *, randomness: random.Random,
        lease_s: float = LEASE_S, work_s: float = WORK_S, poll_s: float = POLL_S,
    ) -> None:  # fmt: skip
        """*handlers*: of each kind that this process can do; other kinds wait for other processes."""
        self._database, self._handlers, self._random = database, dict(handlers), randomness
        self._lease_s, self._work_s, self._poll_s = lease_s, work_s, poll_s
        self._awake = trio.Event()
        self._working = 0

    def wake(self) -> None:
        """There may be something to do: look at once."""
        self._awake.set()

    async def add(self, job: NewJob, db: Queries | None = None) -> bool:
        """Make *job*, unless one of its kind and key is there; in the transaction *db* if there is one: then ``wake``
        after its commit."""
        made = await jobs.add_job(db or self._database, job)
        if db is None:
            self.wake()
        return made

    async def run(self) -> None:
        """Work until cancelled; what is under way then is given back."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy)
            while True:
                self._awake = trio.Event()
                claimed = await self._claim(AT_ONCE - self._working)
                for job in claimed:
                    self._working += 1
                    nursery.start_soon(self._work, job)
                if not claimed or self._working >= AT_ONCE:
                    with trio.move_on_after(self._poll_s):
                        await self._awake.wait()

    async def _claim(self, at_most: int) -> list[Job]:
        if at_most <= 0:
            return []
        claimed: list[Job] = []
        try:
            # Not to be cut off: the database would go on, and might claim what is being given back. What was claimed
            # although we end is given back at once (_work).
            with trio.CancelScope(shield=True):
                claimed = await jobs.claim_jobs(self._database, list(self._handlers), at_most, self._lease_s)
        except StorageUnavailable as problem:
            log.warning("storage does not answer", problem=str(problem))
        return claimed

    async def _work(self, job: Job) -> None:
        began = trio.current_time()
        outcome = "given back"
        try:
            outcome = await self._attempt(job)
        except trio.Cancelled:
            with trio.move_on_after(5, shield=True):  # or it would wait for the end of its lease
                await self._mark(jobs.put_back(self._database, job, 0.0, counted=False))
            raise
        finally:
            self._working -= 1
            self._awake.set()
            DONE.labels(job.kind, outcome).inc()
            SECONDS.labels(job.kind).observe(trio.current_time() - began)

    async def _attempt(self, job: Job) -> str:
        """Do *job* once, and mark it; how it went."""
        if job.attempts > ATTEMPTS:  # whoever had it last never came to say so
            return await self._bury(job, "its workers ended while they worked on it")
        try:
            with trio.fail_after(self._work_s):
                await self._handlers[job.kind](job.payload)
        except Again as again:
            if again.failed and job.attempts >= ATTEMPTS:
                return await self._bury(job, str(again))
            why = str(again) if again.failed else None
            await self._mark(
                jobs.put_back(
                    self._database, job, again.after_s, problem=why, payload=again.payload, counted=again.failed
                )
            )
            return "again" if again.failed else "goes on"
        except Hopeless as problem:
            return await self._bury(job, str(problem))
        except Exception as problem:  # one of the broad catches of the house: around a job
            said = f"{type(problem).__name__}: {problem}"
            log.exception("a job failed", kind=job.kind, key=job.key, attempts=job.attempts)
            if job.attempts >= ATTEMPTS:
                return await self._bury(job, said)
            after_s = backoff_s(job.attempts, self._random)
            await self._mark(jobs.put_back(self._database, job, after_s, problem=said))
            return "failed"
        await self._mark(jobs.mark_done(self._database, job))
        return "done"

    async def _bury(self, job: Job, problem: str) -> str:
        log.error("a job is given up", kind=job.kind, key=job.key, attempts=job.attempts, problem=problem)
        await self._mark(jobs.bury(self._database, job, problem))
        return "dead"

    async def _mark(self, mark: Awaitable[bool]) -> None:
        try:
            if not await mark:
                log.warning("a job took longer than its lease: somebody else has it")
        except StorageUnavailable as problem:
            log.warning("a job was not marked, and will be done again", problem=str(problem))

    async def _tidy(self) -> None:
        kinds: set[str] = set()
        while True:
            try:
                await jobs.forget_done(self._database)
                dead = await jobs.count_dead(self._database)
                kinds |= set(dead)
                for kind in sorted(kinds):
                    DEAD.labels(kind).set(dead.get(kind, 0))
            except StorageUnavailable as problem:
                log.warning("storage does not answer", problem=str(problem))
            await trio.sleep(TIDY_S)


def backoff_s(attempts: int, randomness: random.Random) -> float:
    """How long to wait after so many attempts: doubled by each, between half and all of it, so that many that failed
    together do not come back together."""
    return min(MOST_S, BACKOFF_S * 2.0 ** (attempts - 1)) * randomness.uniform(0.5, 1.0)
