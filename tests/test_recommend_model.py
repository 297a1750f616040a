"""The learning room on small made worlds, where the truth is known."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import expit

from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.fit import fit, prepare
from konnect_server.recommend.leaning import lean
from konnect_server.recommend.measure import auc, bootstrap, gini, ndcg_at
from konnect_server.recommend.model import Model, both
from konnect_server.recommend.mutual import MORE, Mutual
from konnect_server.recommend.people import People
from konnect_server.recommend.state import drift, effects, popularity, responsive, selectivity


def test_auc_counts_ties_half() -> None:
    assert auc(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.0])) == 1.0
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == 0.5
    assert np.isnan(auc(np.array([1.0]), np.array([1.0])))


def test_ndcg_is_one_for_the_best_order_and_owes_nothing_to_the_file() -> None:
    groups, truth = np.zeros(3, int), np.array([0.0, 1.0, 0.0])
    assert ndcg_at(5, groups, np.array([0.1, 0.9, 0.2]), truth) == 1.0
    all_alike = ndcg_at(5, groups, np.zeros(3), truth)
    assert all_alike == ndcg_at(5, groups, np.zeros(3), truth[::-1])
    assert np.isclose(all_alike, (1 + 1 / np.log2(3) + 0.5) / 3)


def test_an_interval_surrounds_what_it_is_about() -> None:
    values = np.random.default_rng(1).normal(size=200)
    low, high = bootstrap(lambda rows: float(values[rows].mean()), np.arange(200), 200)
    assert low < values.mean() < high
    assert high - low < 0.5


def test_gini_tells_equal_from_one_who_has_all() -> None:
    assert gini(np.ones(10)) == 0.0
    assert np.isclose(gini(np.array([0] * 99 + [5])), 0.99)


def test_effects_find_who_is_liked_and_who_is_easy() -> None:
    chance = np.random.default_rng(2)
    easy, liked = chance.normal(size=200), chance.normal(size=200)
    who, whom = chance.integers(0, 200, 8000), chance.integers(0, 200, 8000)
    yes = (chance.random(8000) < expit(easy[who] + liked[whom] - 1)).astype(float)
    found = effects(Answers(who, whom, yes, np.arange(8000)), 200, learn=True)
    assert np.corrcoef(found.selectivity, easy)[0, 1] > 0.85
    assert np.corrcoef(found.popularity, liked)[0, 1] > 0.85
    assert 0.6 < found.spreads.said < 1.6


def test_effects_do_not_blame_the_judge_for_the_judged() -> None:
    """Two say yes as often; one of them met only those whom nobody else likes, and is the more generous."""
    who = np.array([0, 0, 0, 1, 1, 1, *range(2, 22)])
    whom = np.array([22, 23, 24, 25, 26, 27, *([22, 23, 24, 25, 26, 27, 22, 23, 24, 25] * 2)])
    yes = np.array([1.0, 1, 0, 1, 1, 0, *[float(b >= 25) for b in whom[6:]]])
    answers = Answers(who, whom, yes, np.arange(len(who)))
    rates = selectivity(answers, 28, answers.mean())
    found = effects(answers, 28)
    assert rates[0] == rates[1]
    assert found.selectivity[0] > found.selectivity[1] + 0.2


def test_who_never_answered_stands_where_the_profile_leans() -> None:
    answers = Answers(np.array([0]), np.array([1]), np.array([1.0]), np.array([0]))
    found = effects(answers, 3, leaning=(np.array([0.0, 0.0, 0.7]), np.array([0.0, 0.0, -0.3])))
    assert found.selectivity[2] == 0.7
    assert found.popularity[2] == -0.3
    none = effects(answers.before(0), 3)
    assert not none.selectivity.any()


def test_levels_of_circles_are_told_apart() -> None:
    chance = np.random.default_rng(3)
    who, whom = chance.integers(0, 100, 4000), chance.integers(0, 100, 4000)
    circles = (who >= 50).astype(np.int64)
    yes = (chance.random(4000) < np.where(circles == 1, 0.7, 0.2)).astype(float)
    found = effects(Answers(who, whom, yes, np.arange(4000)), 100, circles=circles, circle_count=3)
    assert found.level[1] - found.level[0] > 0.3
    assert found.level[2] == 0.0


def test_rates_are_shrunk_to_the_mean() -> None:
    answers = Answers(np.array([0, 0]), np.array([1, 2]), np.array([1.0, 0.0]), np.array([0, 1]))
    assert np.allclose(selectivity(answers, 3, 0.5), 0.0)
    assert np.allclose(popularity(answers, 3, 0.5, shrink=2), [0.0, np.log(2), -np.log(2)])


def test_drift_goes_to_what_was_liked_beyond_expectation() -> None:
    is_ = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    answers = Answers(np.array([0, 0]), np.array([1, 2]), np.array([1.0, 0.0]), np.array([0, 1]))
    assert np.allclose(drift(answers, is_, 0.25, shrink=3)[0], [0.75 / 5, -0.25 / 5])
    assert not drift(answers, is_, 0.25)[1:].any()


def test_responsive_knows_matches_and_nothing_else() -> None:
    """0 and 1 like each other; 2 was liked by 0 and did not answer. Refusals of others' change nothing."""
    answers = Answers(np.array([0, 1, 0]), np.array([1, 0, 2]), np.ones(3), np.arange(3))
    reply, mean = responsive(answers, 4)
    assert np.isclose(mean, 2 / 3)
    assert reply[0] == reply[1] > reply[3] == 0 > reply[2]
    refused = Answers(np.array([0, 1, 0, 2]), np.array([1, 0, 2, 3]), np.array([1.0, 1, 1, 0]), np.arange(4))
    assert np.allclose(responsive(refused, 4)[0], reply)


def test_tags_make_rows_of_length_one() -> None:
    people = People.from_tags([["b", "a", "a"], [], ["a", "zzz"]], names=["a", "b"])
    assert np.allclose(people.tags.toarray(), [[0.5**0.5, 0.5**0.5], [0, 0], [1, 0]])
    assert len(people) == 3


def test_leaning_finds_a_liked_tag_and_no_more_than_is_there() -> None:
    chance = np.random.default_rng(4)
    lists = [[f"t{chance.integers(10)}"] for _ in range(2000)]
    people = People.from_tags(lists)
    true = np.array([float(tags == ["t3"]) for tags in lists])
    weight = np.full(2000, 4.0)
    told = true + chance.normal(size=2000) * (1 / 4 + 0.5) ** 0.5
    shrunk = told * 0.5 / (0.5 + 1 / 4)
    found = lean(people.tags, shrunk, weight, 0.5, np.zeros(2000))
    assert people.names[int(found.argmax())] == "t3"
    assert 0.6 < found.max() - np.median(found) < 1.2
    noise = chance.normal(size=2000) * 0.75**0.5 * 2 / 3
    assert np.abs(lean(people.tags, noise, weight, 0.5, np.zeros(2000))).max() < 0.2


class World(NamedTuple):
    people: People
    answers: Answers
    taste: Floats  # of each answer, true


def make_world(count: int = 300, many: int = 30_000) -> World:
    """Half like sea and are liked for hills, or the other way round; people differ in all else, too."""
    chance = np.random.default_rng(5)
    side = chance.integers(0, 2, count)
    people = People.from_tags([["sea" if one else "hills", f"t{chance.integers(5)}"] for one in side])
    easy, liked = chance.normal(size=count), chance.normal(size=count)
    who, whom = chance.integers(0, count, many), chance.integers(0, count, many)
    taste = np.where(side[who] != side[whom], 1.0, -1.0)
    near = (who % 3 == whom % 3).astype(float)
    z = -1.5 + easy[who] + liked[whom] + taste + near
    yes = (chance.random(many) < expit(z)).astype(float)
    return World(people, Answers(who, whom, yes, np.arange(many)), taste)


def near_and_noise(who: Ints, whom: Ints) -> Floats:
    return np.column_stack([who % 3 == whom % 3, (who * 7 + whom) % 2]).astype(float)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def model(world: World) -> Model:
    return fit(world.people, world.answers, near_and_noise, ["near", "noise"])


def test_a_model_finds_what_the_world_is_made_of(world: World, model: Model) -> None:
    near, noise = model.weights
    assert 0.7 < near < 1.3
    assert abs(noise) < 0.2
    assert 0.7 < model.w_selectivity < 1.4
    assert 0.7 < model.w_popularity < 1.4
    wants, is_ = model.taste(world.people)
    felt = np.einsum("md,md->m", wants[world.answers.who], is_[world.answers.whom])
    assert np.corrcoef(felt, world.taste)[0, 1] > 0.9
    assert model.w_taste > 0


def test_a_model_travels_as_json(world: World, model: Model) -> None:
    again = Model.from_json(model.to_json())
    assert again.names == ("near", "noise")
    assert again.tags == tuple(world.people.names)
    assert np.allclose(again.taste(world.people)[0], model.taste(world.people)[0], atol=1e-4)
    assert again.to_json() == model.to_json()


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"names": 3}'])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Model.from_json(text)


def test_people_with_other_tags_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="tags of this model"):
        model.taste(People.from_tags([["something else"]]))


def test_the_way_back_needs_no_answer_of_the_other(world: World, model: Model) -> None:
    """Forward and backward know the pair; backward has no place for selectivity, popularity and drift."""
    wants, is_ = model.taste(world.people)
    pair = near_and_noise(np.array([0, 1]), np.array([3, 5]))
    zero = np.zeros(2)
    z = model.backward(pair, wants[[3, 5]], is_[[0, 1]], zero)
    assert z.shape == (2,)
    assert np.all(model.forward(pair, wants[[0, 1]], is_[[3, 5]], np.zeros((2, 16)), zero + 1, zero) != z)
    chances = both(z, z)
    assert np.all((chances > 0) & (chances < 1))


def test_a_term_left_out_has_no_weight(world: World) -> None:
    found = fit(world.people, world.answers, near_and_noise, ["near", "noise"], without=["noise", "taste", "leaning"])
    assert found.weights[1] == found.w_taste == found.weights_back[1] == found.w_taste_back == 0
    assert not found.said.any()
    assert not found.got.any()


def test_what_is_seen_of_both_is_used_where_it_may_be(world: World) -> None:
    """People of this world who are choosy are liked no better for it, nor are those whom many like choosier."""
    found = fit(
        world.people, world.answers, near_and_noise, ["near", "noise"], wide=True, circles=world.answers.who % 4
    )
    assert len(found.more) == len(MORE)
    assert np.abs(found.more[:3]).max() < 0.25
    again = Model.from_json(found.to_json())
    assert again.more == found.more
    one, dims = np.zeros(1), np.zeros((1, 16))
    pair = near_and_noise(np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="what more is known"):
        again.forward(pair, dims, dims, dims, one, one)
    assert again.forward(pair, dims, dims, dims, one, one, np.ones((1, len(MORE)))).shape == (1,)


def test_neighbours_say_what_those_said_who_judge_alike() -> None:
    """0 and 1 agree on three and 2 disagrees; 1 likes the fourth, so 0 is expected to, and 2 is not."""
    who = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    whom = np.array([3, 4, 5, 3, 4, 5, 6, 3, 4, 5])
    answers = Answers(who, whom, np.array([1.0, 0, 1, 1, 0, 1, 1, 0, 1, 0]), np.arange(10))
    mutual = Mutual(7, answers, effects(answers, 7), None)
    raters = mutual(np.array([0, 2]), np.array([6, 6]))[:, MORE.index("raters")]
    assert raters[0] > 0 > raters[1]
    with pytest.raises(ValueError, match="at most"):
        Mutual(100_000, answers, effects(answers, 7), None)


def test_what_is_prepared_twice_weighs_by_the_answers_of_both(world: World) -> None:
    prepared = prepare(world.people, world.answers, near_and_noise, ["near", "noise"])
    twice = prepared.joined(prepared)
    assert len(twice.yes) == 2 * len(prepared.yes)
    assert np.allclose(twice.weigh().weights, prepared.weigh().weights, atol=0.01)


def test_answers_all_alike_teach_nothing() -> None:
    people = People.from_tags([["a"], ["b"]])
    answers = Answers(np.array([0, 1]), np.array([1, 0]), np.ones(2), np.arange(2))
    with pytest.raises(ValueError, match="all alike"):
        fit(people, answers, near_and_noise, ["near", "noise"])


def test_progress_comes_to_its_end(world: World) -> None:
    told: list[float] = []
    fit(world.people, world.answers, near_and_noise, ["near", "noise"], lambda part, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
