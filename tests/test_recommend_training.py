"""Training on what the database holds: a version that learned stands, one that does worse is refused, and Python and
SQL score alike."""

import json
import os
import random
import subprocess
import sys
from uuid import UUID

import numpy as np
import pytest

from konnect_server.recommend import training
from konnect_server.recommend.answers import Answers
from konnect_server.recommend.learning import TooLittle, kept, lesson_of
from storage import recommender
from storage.database import Database
from tests.test_feed import store
from tests.test_suggestions import crowd, page, plain, scores

DAY_MS = 86_400_000
SHOWN = """
insert into impression (person, other, at_ms, version, source, place, score)
select *, now_ms() - %s - 7200000, 1, 'feed', 1, 0.1 from unnest(%s::uuid[], %s::uuid[]) on conflict do nothing
"""
WROTE = """
insert into opener (author, receiver, text, at_ms, release_at_ms, state)
select a, b, 'hi', now_ms() - %s - 7100000, 0, 'released' from unnest(%s::uuid[], %s::uuid[]) x(a, b)
on conflict do nothing
"""


def silent(part: str, share: float) -> None:
    assert part
    assert 0 <= share <= 1


async def answer(database: Database, people: list[UUID], likes: dict[UUID, set[UUID]], age_ms: int, seed: int) -> None:
    """Everybody was shown twenty others so long ago, and wrote to those liked."""
    chance = random.Random(seed)
    rows = []
    for who in people:
        rows += [(who, whom, whom in likes[who]) for whom in chance.sample(people, 20) if whom != who]
    await database.execute(SHOWN, age_ms, [one[0] for one in rows], [one[1] for one in rows])
    said = [one for one in rows if one[2]]
    await database.execute(WROTE, age_ms, [one[0] for one in said], [one[1] for one in said])


async def opposites(database: Database) -> tuple[list[UUID], list[UUID], dict[UUID, set[UUID]]]:
    """Thirty chess players, thirty who hike, and whom each likes: all of the others, against all likeness."""
    chess = [one.id for one in await crowd(database, 30, interests=["Chess"])]
    hiking = [one.id for one in await crowd(database, 30, interests=["Hiking"])]
    return chess, hiking, {one: set(hiking) for one in chess} | {one: set(chess) for one in hiking}


async def test_a_version_learns_stands_and_one_that_does_worse_is_refused(database: Database) -> None:
    with pytest.raises(TooLittle):
        await training.train(database, silent)
    chess, hiking, both = await opposites(database)
    people = [*chess, *hiking]
    for days in (40, 20, 10):
        await answer(database, people, both, days * DAY_MS, days)
    await answer(database, people, both, 0, 1)
    asker = plain(interests=["Chess"])
    await store(database, asker)
    before = await scores(database, asker.id)
    assert max(before, key=lambda one: before[one]) in chess

    made = await training.train(database, silent)
    assert (made.standing, made.refused) == (True, False)
    assert made.judged.auc > 0.9 > made.before.auc
    after = await scores(database, asker.id)
    assert min(after[one] for one in hiking) > max(after[one] for one in chess), "learned, and in force at once"
    assert {one.profile.user for one in await page(database, asker.id, 4)} <= set(hiking)
    with pytest.raises(TooLittle, match="newer"):
        await training.train(database, silent)  # it would be judged by what the standing one has learned from

    # What was known is gone, and noise is in its place; the last day's answers are as they were.
    await database.execute("delete from opener")
    await database.execute("delete from impression")
    chance = random.Random(9)
    noise = {one: set(chance.sample(people, 20)) for one in people}
    await answer(database, people, noise, 20 * DAY_MS, 3)
    await database.execute(
        "update recommender set made_of = jsonb_set(made_of::jsonb, '{until_ms}', to_jsonb(now_ms() - 86400000))::json "
        "where state = 'standing'"
    )
    await answer(database, people, both, 0, 4)
    worse = await training.train(database, silent)
    assert (worse.standing, worse.refused) == (False, True)
    assert worse.judged.auc < worse.before.auc
    states = {one.version: one.state for one in await recommender.versions(database)}
    assert states == {1: "retired", made.version: "standing", worse.version: "refused"}
    assert await scores(database, asker.id) != before
    judged = await training.evaluate(database, silent)
    assert set(judged) == {made.version}


async def test_python_and_sql_score_alike(database: Database) -> None:
    """Of people who share much and little, by learned tags and by names alone."""
    asker = plain(interests=["Chess", "Jazz"], languages=["de"], skills=["piano"], latitude=48.2, longitude=16.4)
    others = [
        plain(interests=["Jazz"], languages=["de", "fr"], latitude=48.25, longitude=16.5),
        plain(interests=["Chess", "Jazz", "Hiking"], latitude=47.07, longitude=15.44),
        plain(skills=["piano", "welding"], latitude=-18.1, longitude=178.4),
        plain(latitude=None, longitude=None, birthday=None),
    ]  # fmt: skip
    for one in (asker, *others):
        await store(database, one)
    [version] = await recommender.versions(database)
    chance = random.Random(3)
    tags = [(tag, [chance.gauss(0, 1) for _ in range(16)], [chance.gauss(0, 1) for _ in range(16)])
            for tag in ("i:chess", "i:jazz", "s:piano", "l:de")]  # fmt: skip
    learned = await recommender.write(database, "candidate", version.weights, {}, {"auc": 0.7}, tags)
    for number in (version.version, learned):
        assert await recommender.stand(database, number)
        found = await scores(database, asker.id)
        material = await recommender.material(database, silent)
        lesson = lesson_of(material)
        rows = {learner.person: row for row, learner in enumerate(material.people)}
        [stands] = [one for one in await recommender.versions(database) if one.state == "standing"]
        none = Answers(*(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0, int)))
        whom = np.array([rows[one.id] for one in others])
        who = np.full(len(others), rows[asker.id])
        scored = (await kept(database, stands)).scores(lesson.tags, lesson.pairs, none, who, whom)
        assert [found[one.id] for one in others] == pytest.approx(scored.tolist(), rel=1e-4)
    assert len(set(found.values())) == len(others)


async def test_the_operators_commands(database: Database) -> None:
    one, other = await crowd(database, 2, interests=["Jazz"])

    def konnect(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "konnect_server", "recommend", *words]
        env = {**os.environ, "KONNECT_DATABASE_URL": database.dsn}
        return subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=60)

    assert konnect("versions").stdout == "1: standing\n"
    told = json.loads(konnect("explain", str(one.id), str(other.id), "--json").stdout)
    assert told["version"] == 1
    assert told["pair"]["interests"] == 0.25
    assert told["why"][0]["kind"]
    assert "that both say yes" in konnect("explain", str(one.id), str(other.id)).stdout
    failed = konnect("train")
    assert failed.returncode == 1
    assert failed.stderr.strip() == "konnect: there are 0 answers; 500 are needed"
    assert konnect("stand", "7").returncode == konnect("trial", "1", "--share", "10").returncode == 1
    assert konnect("trial", "1", "--share", "0").returncode == 0
    assert konnect("stand", "1").stdout == "suggestions go by version 1\n"
