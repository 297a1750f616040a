"""The queue of jobs, on a real PostgreSQL, with processes that share it and are killed."""

import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from konnect_server import jobs as room
from konnect_server.jobs import ATTEMPTS, Again, Handler, Hopeless, Jobs, backoff_s
from storage import jobs
from storage.database import Database
from storage.jobs import NewJob
from tests.job_worker import Note
from tests.running import LIMIT_S, ROOT


def note(name: str, *, key: str = "", after_s: float = 0.0) -> NewJob:
    return NewJob("note", key or name, Note(name), after_s)


def name_of(payload: msgspec.Raw) -> str:
    return msgspec.json.decode(payload, type=Note).name


@asynccontextmanager
async def working(database: Database, handler: Handler, **more: Any) -> AsyncIterator[Jobs]:
    """Workers in this process, until the block ends."""
    made = Jobs(database, {"note": handler}, randomness=random.Random(7), **more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def until(true: Callable[[], Any]) -> None:
    with trio.fail_after(LIMIT_S):
        while not true():
            await trio.sleep(0.005)


async def row(database: Database, key: str) -> dict[str, Any]:
    names = ("state", "attempts", "problem", "claims", "payload")
    found = await database.fetch_one(
        "select state, attempts, problem, claims, payload from job where kind = 'note' and key = %s", key
    )
    assert found is not None
    return dict(zip(names, found, strict=True))


async def state_is(database: Database, key: str, state: str) -> dict[str, Any]:
    with trio.fail_after(LIMIT_S):
        while (found := await row(database, key))["state"] != state:
            await trio.sleep(0.01)
    return found


async def test_a_job_is_done_at_once_and_marked(database: Database) -> None:
    done: list[str] = []

    async def handler(payload: msgspec.Raw) -> None:
        done.append(name_of(payload))

    async with working(database, handler) as here:
        await trio.testing.wait_all_tasks_blocked(0.05)  # it has found nothing, and waits
        began = trio.current_time()
        assert await here.add(note("one"))
        await until(lambda: done == ["one"])
        assert trio.current_time() - began < room.POLL_S * 0.9, "it was woken, not found by polling"
        assert (await state_is(database, "one", "done"))["attempts"] == 1
        assert not await here.add(note("another", key="one")), "a key stands for one job, done or not"
        await trio.sleep(0.05)
    assert done == ["one"]


async def test_what_another_process_made_is_found(database: Database) -> None:
    """Nobody wakes this one."""
    done: list[str] = []

    async def handler(payload: msgspec.Raw) -> None:
        done.append(name_of(payload))

    async with working(database, handler):
        await trio.testing.wait_all_tasks_blocked(0.05)
        await jobs.add_job(database, note("elsewhere"))
        await until(lambda: done == ["elsewhere"])


async def test_a_job_waits_for_its_time(database: Database) -> None:
    await jobs.add_job(database, note("later", after_s=0.3))
    assert await jobs.claim_jobs(database, ["note"], 9, 60) == []
    await trio.sleep(0.31)
    assert [job.key for job in await jobs.claim_jobs(database, ["note"], 9, 60)] == ["later"]
    assert await jobs.claim_jobs(database, ["other"], 9, 60) == [], "a kind that this process does not know waits"


async def test_a_transaction_that_is_undone_makes_no_job(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.transaction() as tx:
            await jobs.add_job(tx, note("never"))
            raise KeyError
    assert await jobs.claim_jobs(database, ["note"], 9, 60) == []


async def test_a_claim_holds_no_lock_and_is_nobody_elses(database: Database) -> None:
    """Hazard B3: while it works, the row can be locked by others, and its lease keeps the job from them."""
    await jobs.add_job(database, note("one"))
    [mine] = await jobs.claim_jobs(database, ["note"], 9, 60)
    assert await jobs.claim_jobs(database, ["note"], 9, 60) == []
    async with database.transaction() as tx:
        await tx.fetch_all("select from job for update nowait")
    assert await jobs.mark_done(database, mine)


async def test_a_lease_that_ended_marks_nothing(database: Database) -> None:
    """The slow one comes back when somebody else has the job: neither done nor failed is believed."""
    await jobs.add_job(database, note("slow"))
    [first] = await jobs.claim_jobs(database, ["note"], 9, 0.0)
    [second] = await jobs.claim_jobs(database, ["note"], 9, 60)
    assert (first.claim, second.claim, second.attempts) == (1, 2, 2)
    assert not await jobs.mark_done(database, first)
    assert not await jobs.put_back(database, first, 0)
    assert not await jobs.bury(database, first, "")
    assert await jobs.mark_done(database, second)
    assert not await jobs.mark_done(database, second)


async def test_a_failed_job_is_tried_again_later_and_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BACKOFF_S", 0.001)
    monkeypatch.setattr(room, "MOST_S", 0.002)
    tries = 0

    async def handler(payload: msgspec.Raw) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ValueError(f"try {tries}")

    async with working(database, handler) as here:
        await here.add(note("shaky"))
        found = await state_is(database, "shaky", "done")
    assert (tries, found["attempts"]) == (3, 3)
    waits = [backoff_s(n, random.Random(5)) for n in range(1, 20)]
    assert waits == sorted(waits)
    assert 0.0005 <= waits[0] <= 0.001
    assert waits[-1] <= 0.002
    assert len({backoff_s(3, random.Random(n)) for n in range(20)}) > 10, "those that failed together spread"


async def test_a_job_that_always_fails_is_kept_as_dead(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BACKOFF_S", 0.0)
    tries = 0

    async def handler(payload: msgspec.Raw) -> None:
        nonlocal tries
        tries += 1
        raise ValueError("no use")

    async with working(database, handler) as here:
        await here.add(note("doomed"))
        found = await state_is(database, "doomed", "dead")
        await trio.sleep(0.05)
    assert tries == found["attempts"] == ATTEMPTS
    assert found["problem"] == "ValueError: no use"
    assert await jobs.count_dead(database) == {"note": 1}


async def test_what_is_hopeless_is_not_tried_again(database: Database) -> None:
    async def handler(payload: msgspec.Raw) -> None:
        raise Hopeless("nobody can")

    async with working(database, handler) as here:
        await here.add(note("hopeless"))
        found = await state_is(database, "hopeless", "dead")
    assert (found["attempts"], found["problem"]) == (1, "nobody can")


async def test_a_job_may_go_on_with_what_is_left(database: Database) -> None:
    """More often than it may fail: it does not."""
    seen: list[str] = []

    async def handler(payload: msgspec.Raw) -> None:
        seen.append(name_of(payload))
        if len(seen) < ATTEMPTS + 5:
            raise Again(0.0, Note(f"part {len(seen)}"), failed=False)

    async with working(database, handler) as here:
        await here.add(note("long"))
        found = await state_is(database, "long", "done")
    assert seen == ["long", *(f"part {n}" for n in range(1, ATTEMPTS + 5))]
    assert (found["attempts"], found["problem"]) == (1, None)


async def test_a_job_that_asks_for_another_try_too_often_dies(database: Database) -> None:
    async def handler(payload: msgspec.Raw) -> None:
        raise Again(0.0, why="the others are busy")

    async with working(database, handler) as here:
        await here.add(note("busy"))
        found = await state_is(database, "busy", "dead")
    assert (found["attempts"], found["problem"]) == (ATTEMPTS, "the others are busy")


async def test_a_job_that_takes_too_long_has_failed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BACKOFF_S", 0.0)
    tries = 0

    async def handler(payload: msgspec.Raw) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await trio.sleep_forever()

    async with working(database, handler, work_s=0.05) as here:
        await here.add(note("stuck"))
        await state_is(database, "stuck", "done")
    assert tries == 2


async def test_who_goes_down_gives_back_what_it_has(database: Database) -> None:
    """At once, not when its lease ends, and not as a failure."""
    begun = trio.Event()

    async def handler(payload: msgspec.Raw) -> None:
        begun.set()
        await trio.sleep_forever()

    async with working(database, handler) as here:
        await here.add(note("half"))
        await begun.wait()
    [again] = await jobs.claim_jobs(database, ["note"], 9, 60)
    assert (again.key, again.attempts) == ("half", 1)


async def test_a_claim_under_way_when_it_goes_down_keeps_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come to the database after what was under way was given back, and claims just that; nor does the database
    know that nobody waits for the answer."""
    begun, given_back = trio.Event(), trio.Event()
    claim, put_back = jobs.claim_jobs, jobs.put_back

    async def late(*wanted: Any) -> list[jobs.Job]:
        with trio.CancelScope(shield=True):
            await given_back.wait()
            claimed = await claim(*wanted)
        await trio.lowlevel.checkpoint_if_cancelled()
        return claimed

    async def and_tell(*given: Any, **more: Any) -> bool:
        done = await put_back(*given, **more)
        given_back.set()
        return done

    async def handler(payload: msgspec.Raw) -> None:
        begun.set()
        await trio.sleep_forever()

    monkeypatch.setattr(jobs, "put_back", and_tell)
    await jobs.add_job(database, note("half"))
    async with working(database, handler) as here:
        await begun.wait()
        monkeypatch.setattr(jobs, "claim_jobs", late)
        here.wake()
        await trio.testing.wait_all_tasks_blocked(0.05)  # the next look, for there is room for more
    [again] = await claim(database, ["note"], 9, 60)
    assert (again.key, again.attempts) == ("half", 1)


async def test_only_so_many_at_once(database: Database) -> None:
    now = most = 0

    async def handler(payload: msgspec.Raw) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(0.01)
        now -= 1

    for n in range(30):
        await jobs.add_job(database, note(f"n{n}"))
    async with working(database, handler):
        await state_is(database, "n29", "done")
    assert most == room.AT_ONCE


async def test_what_was_done_long_ago_is_forgotten(database: Database) -> None:
    for name in ("old", "young", "waits"):
        await jobs.add_job(database, note(name))
    claimed = {job.key: job for job in await jobs.claim_jobs(database, ["note"], 9, 60)}
    await jobs.mark_done(database, claimed["old"])
    await database.execute("update job set due_at_ms = due_at_ms - %s where state = 'done'", jobs.KEPT_MS)
    await jobs.mark_done(database, claimed["young"])
    assert await jobs.forget_done(database) == 1
    left = await database.fetch_all("select key from job order by key")
    assert left == [("waits",), ("young",)]


# --- processes ---


@asynccontextmanager
async def worker(dsn: str, lease_s: float) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.job_worker", dsn, str(lease_s)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


async def test_two_processes_share_a_queue(dsn: str, database: Database) -> None:
    """Each job once, and both work, whichever of them is there first."""
    await database.execute("create table worked (name text, process integer)")
    async with worker(dsn, 60) as one, worker(dsn, 60) as other:
        made, workers = 0, 0
        with trio.fail_after(LIMIT_S):
            while made < 400 or workers < 2:
                await jobs.add_job(database, note(f"n{made}"))
                made += 1
                [(workers,)] = await database.fetch_all("select count(distinct process) from worked")
            while await database.fetch_one("select count(*) from worked") != (made,):
                await trio.sleep(0.02)
        rows = await database.fetch_all("select name, process from worked")
        assert len(rows) == len({name for name, _ in rows}) == made
        assert {process for _, process in rows} == {one.pid, other.pid}


async def test_killed_between_claim_and_mark(dsn: str, database: Database) -> None:
    """Nobody marks the job; when the lease has ended another process does it."""
    await database.execute("create table worked (name text, process integer)")
    await jobs.add_job(database, note("hang"))
    async with worker(dsn, 2.0) as one:
        assert one.stdout is not None
        with trio.fail_after(LIMIT_S):
            assert (await one.stdout.receive_some()).startswith(b"hanging")
        one.kill()
    assert (await row(database, "hang"))["attempts"] == 1
    done: list[str] = []

    async def handler(payload: msgspec.Raw) -> None:
        done.append(name_of(payload))

    async with working(database, handler):
        found = await state_is(database, "hang", "done")
    assert (done, found["attempts"], found["claims"]) == (["hang"], 2, 2)


async def test_a_job_that_kills_its_workers_ends(database: Database) -> None:
    """Its attempts are counted when it is claimed: nobody would come to count them afterwards."""
    await jobs.add_job(database, note("poison"))
    for _ in range(ATTEMPTS):
        assert await jobs.claim_jobs(database, ["note"], 9, 0.0)

    async def handler(payload: msgspec.Raw) -> None:
        raise AssertionError("it is not tried again")

    async with working(database, handler):
        found = await state_is(database, "poison", "dead")
    assert found["problem"] == "its workers ended while they worked on it"
