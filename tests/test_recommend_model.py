"""The learning room on small made worlds, where the truth is known."""

import numpy as np
from scipy.special import expit

from konnect_server.recommend.answers import Answers
from konnect_server.recommend.measure import auc, bootstrap, gini, ndcg_at
from konnect_server.recommend.state import effects


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
