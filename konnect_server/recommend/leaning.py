"""What a profile lets expect of a person before any answer: a ridge over tags, as strong as the answers bear out."""

from typing import Any, Final

import numpy as np

from konnect_server.recommend.answers import Floats

# Of the spread between people, what tags may explain: the best of these by marginal likelihood. 0 is often the best.
SHARES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


def lean(tags: Any, value: Floats, weight: Floats, spread: float, leaning: Floats) -> Floats:
    """How much each tag adds to an effect.

    Each person's effect is taken as one measurement, value + (value - leaning) / (spread * weight), of what the tags
    tell: unshrunk, with the variance 1 / weight + spread.

    Args:
        tags: (n, T) sparse, rows of length 1.
        value: (n,), selectivity or popularity as :func:`state.effects` found it.
        weight: (n,), the information in each; who has none does not count.
        spread: Variance that the values were shrunk by.
        leaning: (n,), what they were shrunk to.

    Returns:
        (T,): to be multiplied by tags.
    """
    size = tags.shape[1]
    there = np.flatnonzero(weight > 0)
    if not size or not len(there):
        return np.zeros(size)
    told = tags[there]
    target = value[there] + (value[there] - leaning[there]) / (spread * weight[there])
    precision = 1 / (1 / weight[there] + spread)
    target = target - precision @ target / precision.sum()
    scaled = told.multiply(precision[:, None]).tocsr()
    roots, directions = np.linalg.eigh((told.T @ scaled).toarray())
    pull = directions.T @ np.asarray(scaled.T @ target, float)

    def evidence(share: float) -> float:
        prior = share * spread
        held = 1 + prior * np.maximum(roots, 0)
        return float((prior * pull**2 / held - np.log(held)).sum())

    prior = max(SHARES, key=evidence) * spread
    return np.asarray(directions @ (prior * pull / (1 + prior * np.maximum(roots, 0))), float)
