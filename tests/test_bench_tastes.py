"""The made world: answers follow its truth, tags tell a part of tastes and no more; in a server it is learned from, and
judged."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench import recommend
from bench.society import INTERESTS, SKILLS
from bench.tastes import DAY_MS, DAYS, NOW_DAYS, SHARE, SIDES, World, history, make_world
from konnect_server.ids import uuid7
from konnect_server.recommend.answers import Answers
from konnect_server.recommend.pairs import Pairs

PEOPLE, ANSWERS = 3_000, 120_000
NOW_MS = NOW_DAYS * DAY_MS


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(7, PEOPLE)


@pytest.fixture(scope="module")
def pairs(world: World) -> Pairs:
    nowhere: list[int | None] = [None] * PEOPLE
    return Pairs.of(world.tags(), nowhere, nowhere, world.born.tolist())


@pytest.fixture(scope="module")
def answers(world: World, pairs: Pairs) -> Answers:
    return history(world, pairs, ANSWERS, 2, NOW_MS)


def test_answers_follow_the_truth(world: World, pairs: Pairs, answers: Answers) -> None:
    """In each tenth of what the truth says as many say yes as it says, within four standard errors."""
    likely = world.truth(answers.who, answers.whom, pairs)
    for part in np.array_split(np.argsort(likely), 10):
        error = np.sqrt((likely[part] * (1 - likely[part])).sum()) / len(part)
        assert abs(answers.yes[part].mean() - likely[part].mean()) < 4 * error
    assert likely.max() > 10 * np.median(likely), "there is something to find"


def test_whom_one_is_shown_is_of_the_other_side_once_and_in_the_order_of_time(world: World, answers: Answers) -> None:
    assert (world.side[answers.who] != world.side[answers.whom]).all()
    assert len(np.unique(answers.who * PEOPLE + answers.whom)) == len(answers) > 0.9 * ANSWERS
    assert (np.diff(answers.at) >= 0).all()
    assert NOW_MS - DAYS * DAY_MS <= answers.at[0] < answers.at[-1] < NOW_MS


def test_the_same_seed_makes_the_same_world(world: World, pairs: Pairs, answers: Answers) -> None:
    again, other = make_world(7, PEOPLE), make_world(8, PEOPLE)
    assert again.tags() == world.tags() != other.tags()
    once_more = history(again, pairs, ANSWERS, 2, NOW_MS)
    for column in ("who", "whom", "yes", "at"):
        assert np.array_equal(getattr(once_more, column), getattr(answers, column))


@pytest.mark.parametrize("hidden", ["hidden_wants", "hidden_is"])
def test_tags_explain_a_part_of_taste(world: World, hidden: str) -> None:
    """SHARE is the most there is to explain; on people who were not learned from a line reaches less."""
    names = {name: n for n, name in enumerate([*(f"i:{one}" for one in INTERESTS), *(f"s:{one}" for one in SKILLS)])}
    table = np.zeros((PEOPLE, len(names)))
    for person, tags in enumerate(world.tags()):
        for kind in "is":
            own = [names[tag] for tag in tags if tag.startswith(kind)]
            table[person, own] = len(own) ** -0.5
    taste = getattr(world, hidden)
    learned, asked = slice(0, 2_500), slice(2_500, None)
    normal = table[learned].T @ table[learned] + np.eye(len(names))
    told = table[asked] @ np.linalg.solve(normal, table[learned].T @ taste[learned])
    explained = 1 - np.square(taste[asked] - told).sum() / np.square(taste[asked] - taste[learned].mean(axis=0)).sum()
    assert 0.35 < explained < SHARE + 0.05


def test_rows_say_what_the_world_is(world: World) -> None:
    people = [uuid7() for _ in range(100)]
    rows = list(world.rows(people))
    assert [row[0] for row in rows] == people
    assert len({row[1] for row in rows}) == 100, "handles"
    for row, tags, side in zip(rows, world.tags(), world.side, strict=False):
        assert row[6] == SIDES[side]
        assert [f"{kind}:{one}" for kind, some in zip("isl", row[10:13], strict=True) for one in some] == tags


def test_a_small_world_is_trained_on_and_judged_in_a_server() -> None:
    """All of `bench.recommend --size`, and what its figures must be at any size."""
    result = CliRunner().invoke(recommend.main, ["--size", "200", "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output  # a page may be slow
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["training"]["version"] == 2
    assert told["training"]["standing"] is not told["training"]["refused"]
    found = told["matches_per_impression"]
    assert list(found) == ["random", "similarity", "popularity", "model", "oracle"]
    assert all(found["oracle"] >= value > 0 for value in found.values())
    shown = told["shown"]
    assert shown["impressions"] > 1_000
    assert 0 < shown["gini_of_chance"] < 1
    assert shown["most_shown"] <= shown["impressions"]
