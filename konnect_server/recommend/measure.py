"""How good an order is: AUC, NDCG, intervals by bootstrap, Gini."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from konnect_server.recommend.answers import Floats, Ints


def auc(score: Floats, truth: Floats) -> float:
    """The chance that a yes is scored above a no; equal scores count half. NaN where there is only one kind.

    Args:
        score: (m,), of any scale.
        truth: (m,), 0 or 1.
    """
    yes = truth > 0.5
    positives, negatives = int(yes.sum()), int((~yes).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[yes].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def ndcg_each(k: int, groups: NDArray[Any], score: Floats, truth: Floats) -> Floats:
    """NDCG@k of each group, in the order of ``np.unique(groups)``; NaN where a group holds no yes.

    The gain of a yes at place r = 1 ... k is 1 / log2(r + 1), divided by what the best order of this group would give.
    Equal scores share: each of a tie counts as much as their mean, so that the order of the file decides nothing.

    Args:
        groups: (m,), whose list a row belongs to.
        score: (m,).
        truth: (m,), 0 or 1.
    """
    discount = 1.0 / np.log2(np.arange(k) + 2.0)
    kinds, number = np.unique(groups, return_inverse=True)
    order = np.lexsort((-score, number))
    starts = np.searchsorted(number[order], np.arange(len(kinds) + 1))
    found = np.full(len(kinds), np.nan)
    for group in range(len(kinds)):
        rows = order[starts[group] : starts[group + 1]]
        best = int((truth[rows] > 0.5).sum())
        if not best:
            continue
        _, same = np.unique(-score[rows], return_inverse=True)
        shared = np.bincount(same, truth[rows]) / np.bincount(same)
        gains = shared[same][:k]
        found[group] = float(gains @ discount[: len(gains)]) / float(discount[: min(best, k)].sum())
    return found


def ndcg_at(k: int, groups: NDArray[Any], score: Floats, truth: Floats) -> float:
    """The mean of :func:`ndcg_each` over the groups that hold a yes; NaN if none does."""
    each = ndcg_each(k, groups, score, truth)
    there = ~np.isnan(each)
    return float(each[there].mean()) if there.any() else float("nan")


def bootstrap(
    statistic: Callable[[Ints], float], units: NDArray[Any], rounds: int, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """An interval of *statistic* when whole units are drawn again, with replacement.

    Args:
        statistic: Of row numbers, repeated ones included.
        units: (m,), what each row belongs to: an event, a person. Rows of one unit depend on each other, so they stay
            together.
        rounds: How often to draw.
        seed: Of the draws.
        level: Of the interval, between the same shares cut off on both sides.

    Returns:
        Low and high; NaN twice without rounds.
    """
    chance = np.random.default_rng(seed)
    kinds, number = np.unique(units, return_inverse=True)
    rows = [np.flatnonzero(number == kind) for kind in range(len(kinds))]
    found = np.array([
        statistic(np.concatenate([rows[kind] for kind in chance.integers(len(kinds), size=len(kinds))]))
        for _ in range(rounds)
    ])  # fmt: skip
    found = found[~np.isnan(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def gini(counts: NDArray[Any]) -> float:
    """How unequal *counts* are: 0 when all are alike, near 1 when one has all; 0 when there is nothing to have."""
    ordered = np.sort(np.asarray(counts, float))
    total, many = float(ordered.sum()), len(ordered)
    if not total:
        return 0.0
    return float((2 * np.arange(1, many + 1) - many - 1) @ ordered / (many * total))
