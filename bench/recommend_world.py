"""Suggestions at size: a made world (bench/tastes.py) in a server's database, a training, and what the server then
shows, judged by the truth."""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import psycopg
import trio
from rich.console import Console
from rich.table import Table

from bench.accounts import Person, write_people
from bench.asker import Asker, figures
from bench.machine import machine
from bench.progress import open_display, part
from bench.server import LIFTED, ServerProcess, open_database_of, open_server
from bench.society import write_profiles
from bench.tastes import SIDES, World, history, make_world
from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.measure import gini
from konnect_server.recommend.pairs import Pairs
from konnect_server.recommend.state import popularity
from konnect_server.recommend.version import Version

ANSWERS: Final = 50  # of each person
POOL: Final = 1_000  # people of the other side, of whom each scorer picks the best ten
PAGE: Final = 10
JUDGED: Final = 500  # readers
READERS: Final = 20  # whose pages are timed
ROUNDS: Final = 15
GATE_MS: Final = 50.0
DAYS: Final = 3  # that every judged reader asks for a page, for the shares of who is shown

Scorer = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True)
class _Made:
    """What the world became in the server."""

    world: World
    pairs: Pairs
    answers: Answers
    people: list[Person]


def run_world(size: int, as_json: bool) -> None:
    """Make it, train, ask, judge, and print; exits with 1 where the 95th percentile is above 50 ms."""
    with open_display({}):
        told = trio.run(_run, size)
    _show(told)
    if as_json:
        print(json.dumps(told))
    if told["suggest"]["p95_ms"] > GATE_MS:
        sys.exit(1)


async def _run(size: int) -> dict[str, Any]:
    async with open_server(LIFTED) as server:
        async with open_database_of(server) as dsn:
            made = await trio.to_thread.run_sync(_make, dsn, server, size)
            part("training")
            trained = await trio.to_thread.run_sync(_train, dsn)
            version = await trio.to_thread.run_sync(_version, dsn)
            part("asking")
            asked = await trio.to_thread.run_sync(_ask, server, made)
            shown = await trio.to_thread.run_sync(_shown, dsn, made)
        part("judging")
        judged = await trio.to_thread.run_sync(_judge, made, version)
    return {
        "bench": "recommend", "size": size, "answers": len(made.answers),
        "yes": round(float(made.answers.yes.mean()), 4), "training": trained, "suggest": asked, "shown": shown,
        "matches_per_impression": judged, **machine(),
        "weights": {name: round(one, 4) for name, one in version.weights.items()},
    }  # fmt: skip


# --- making ---


def _make(dsn: str, server: ServerProcess, size: int) -> _Made:
    part("people")
    people = write_people(dsn, server.folder / "keys", size)
    world = make_world(1, size)
    users = [one.user for one in people]
    with psycopg.connect(dsn) as connection:
        write_profiles(connection, list(world.rows(users)))
        connection.commit()
        rows = connection.execute(
            "select person, open_cell_lat, open_cell_lon, open_birthday - date '1970-01-01' from profile"
        ).fetchall()
    by_person = {row[0]: row[1:] for row in rows}
    columns: list[Any] = [list(column) for column in zip(*(by_person[user] for user in users), strict=True)]
    pairs = Pairs.of(world.tags(), columns[0], columns[1], columns[2])
    part("what they answered")
    answers = history(world, pairs, ANSWERS * size, 2, time.time_ns() // 1_000_000)
    _write_answers(dsn, users, answers)
    return _Made(world, pairs, answers, people)


def _write_answers(dsn: str, users: list[UUID], answers: Answers) -> None:
    """As impressions, and first messages that were shown; those of both sides as matches."""
    n = len(users)
    said = answers.take(answers.yes > 0.5)
    both = np.isin(said.who * n + said.whom, said.whom * n + said.who)
    with psycopg.connect(dsn) as connection:
        connection.execute("set session_replication_role = replica")  # all of them are there
        with connection.cursor() as cursor:
            columns = "person, other, at_ms, version, source, place, score"
            with cursor.copy(f"copy impression ({columns}) from stdin") as copy:
                for row, (who, whom, at) in enumerate(zip(answers.who, answers.whom, answers.at, strict=True)):
                    copy.write_row((users[who], users[whom], int(at), 1, "feed", 1, 0.1))
                    if row % 500_000 == 0:
                        part(f"impressions: {row:,} of {len(answers):,}")
            with cursor.copy("copy opener (author, receiver, text, at_ms, release_at_ms, state) from stdin") as copy:
                for who, whom, at, mutual in zip(said.who, said.whom, said.at, both, strict=True):
                    state = "matched" if mutual else "released"
                    copy.write_row((users[who], users[whom], "hi", int(at) + 1_000, int(at) + 2_000, state))
        connection.commit()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def _train(dsn: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "konnect_server", "recommend", "train", "--json", "--database-url", dsn]
    began = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if not done.stdout.strip():  # else it says what it learned, also where that was worse than what stood
        raise RuntimeError(f"the training failed: {done.stderr}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the largest child so far, and that is this one
    told: dict[str, Any] = json.loads(done.stdout)
    return told | {"seconds_in_all": round(time.monotonic() - began, 1), "memory_mib": usage.ru_maxrss // 1024}


def _version(dsn: str) -> Version:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select version, weights from recommender where state = 'standing'").fetchone()
        assert row is not None
        tags = connection.execute(
            "select tag, wants::real[], being::real[] from recommender_tag where version = %s", (row[0],)
        ).fetchall()
    return Version.kept(row[1], {tag: (wants, being) for tag, wants, being in tags})


# --- asking ---


def _ask(server: ServerProcess, made: _Made) -> dict[str, Any]:
    """First pages of READERS people, timed; then pages of all who are judged, day after day."""
    chance = random.Random(3)
    times: list[float] = []
    for reader in chance.sample(range(len(made.people)), READERS):
        with_asker(server, made, reader, lambda ask: times.extend(ask()[0] for _ in range(ROUNDS)))
    for _ in range(DAYS):
        for reader in _readers(made.world):
            with_asker(server, made, reader, lambda ask: ask())
    told = figures(times, GATE_MS)
    return {name: told[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms") if name in told}


def with_asker(
    server: ServerProcess, made: _Made, reader: int, work: Callable[[Callable[[], tuple[float, Any]]], Any]
) -> None:
    """*work* with a function by which *reader* asks for a page of suggestions: seconds, and the answer."""
    asker = Asker(server.port, made.people[reader].token)
    asker.hello()
    wanted = {"genders": [SIDES[1 - made.world.side[reader]]]}
    work(lambda: asker.ask("match.suggest", limit=PAGE, filter=wanted))
    asker.close()


def _readers(world: World) -> list[int]:
    return random.Random(4).sample(range(len(world)), min(JUDGED, len(world) // 2))


def _shown(dsn: str, made: _Made) -> dict[str, Any]:
    """What the server showed, by the truth: the share of impressions of which both would say yes, and who was shown."""
    number = {one.user: row for row, one in enumerate(made.people)}
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select person, other, explored from impression where source = 'suggest'").fetchall()
    who, whom = (np.array([number[row[n]] for row in rows]) for n in (0, 1))
    explored = np.array([row[2] for row in rows])
    likely = made.world.truth(who, whom, made.pairs) * made.world.truth(whom, who, made.pairs)
    counts = np.bincount(whom, minlength=len(made.people))
    by_chance = np.random.default_rng(6).multinomial(len(rows), np.ones(len(counts)) / len(counts))
    return {
        "impressions": len(rows), "matches_per_impression": round(float(likely[~explored].mean()), 5),
        "of_those_by_chance": round(float(likely[explored].mean()), 5),
        "gini": round(gini(counts), 3), "never_shown": round(float((counts == 0).mean()), 3),
        "most_shown": int(counts.max()),
        "gini_of_chance": round(gini(by_chance), 3),
    }  # fmt: skip


# --- judging ---


def _judge(made: _Made, version: Version) -> dict[str, float]:
    """Of POOL people of the other side each scorer picks ten for each reader: how likely both say yes, on average."""
    world, n = made.world, len(made.world)
    chance = np.random.default_rng(5)
    tags = world.tags()
    liked = popularity(made.answers, n, made.answers.mean())
    scorers: dict[str, Scorer] = {
        "random": lambda who, whom: chance.random(len(who)),
        "similarity": lambda who, whom: made.pairs(who, whom)[:, 0],
        "popularity": lambda who, whom: liked[whom],
        "model": lambda who, whom: version.scores(tags, made.pairs, made.answers, who, whom),
        "oracle": lambda who, whom: world.truth(who, whom, made.pairs) * world.truth(whom, who, made.pairs),
    }
    readers = np.array(_readers(world))
    pool = min(POOL, n // 4)
    others = [np.flatnonzero(world.side != world.side[one]) for one in readers]
    whom = np.stack([chance.choice(some, pool, replace=False) for some in others])
    who = np.repeat(readers[:, None], pool, axis=1)
    best: Floats = scorers["oracle"](who.ravel(), whom.ravel()).reshape(whom.shape)
    found = {}
    for name, score in scorers.items():
        order = np.argsort(-score(who.ravel(), whom.ravel()).reshape(whom.shape), axis=1)[:, :PAGE]
        found[name] = round(float(np.take_along_axis(best, order, axis=1).mean()), 5)
    return found


def _show(told: dict[str, Any]) -> None:
    console = Console(stderr=True)
    training, suggest, shown = told["training"], told["suggest"], told["shown"]
    console.print(
        f"{told['size']:,} people, {told['answers']:,} answers, {told['yes']:.1%} of them yes. Training: "
        f"{training['seconds_in_all']:g} s, {training['memory_mib']:,} MiB, AUC {training['judged']['auc']:.3f} "
        f"(before: {training['before']['auc']:.3f}{'; refused' if training['refused'] else ''})."
    )
    console.print(f"A page of suggestions: p50 {suggest['p50_ms']:g} ms, p95 {suggest['p95_ms']:g} ms.")
    table = Table(title=f"Matches per impression: the best {PAGE} of {POOL:,}, by the truth")
    for heading in ("", "both say yes", "of random"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, value in told["matches_per_impression"].items():
        table.add_row(name, f"{value:.4f}", f"{value / told['matches_per_impression']['random']:.1f}")
    console.print(table)
    console.print(
        f"What the server showed: {shown['matches_per_impression']:.4f} by score, {shown['of_those_by_chance']:.4f} by "
        f"chance; Gini of impressions {shown['gini']:.2f} (of chance: {shown['gini_of_chance']:.2f}), never shown "
        f"{shown['never_shown']:.0%}, the most shown {shown['most_shown']} times."
    )
