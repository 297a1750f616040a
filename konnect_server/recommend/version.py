"""A version of the recommender as the database keeps it: weights by name, and what each tag says."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit

from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.model import DIMS, Model
from konnect_server.recommend.pairs import NAMES, Pairs
from konnect_server.recommend.people import People
from konnect_server.recommend.state import drift, popularity, responsive, selectivity

CHUNK: Final = 200_000  # pairs at once


@dataclass(frozen=True)
class Version:
    """``wants`` and ``being``: (T, DIMS), of ``tags``. No tags: nothing was learned of any, and each points where its
    name says (migrations/0026, ``tag_axis``)."""

    weights: dict[str, float]
    tags: tuple[str, ...]
    wants: Floats
    being: Floats

    @staticmethod
    def learned(model: Model) -> "Version":
        """What :func:`konnect_server.recommend.fit.fit` learned."""
        back = {f"back_{name}": weight for name, weight in zip(model.names, model.weights_back, strict=True)}
        weights = {
            "mean": model.mean, "shrink": model.shrink, "bias": model.bias,
            **dict(zip(model.names, model.weights, strict=True)),
            "taste": model.w_taste, "drift": model.w_drift, "selective": model.w_selectivity,
            "popular": model.w_popularity, "back_mean": model.mean_responsive, "back_bias": model.bias_back, **back,
            "back_taste": model.w_taste_back, "back_responsive": model.w_responsive,
        }  # fmt: skip
        return Version(weights, model.tags, model.wants, model.is_)

    @staticmethod
    def kept(weights: Mapping[str, float], tags: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> "Version":
        """One out of the database."""
        wants = np.array([one for one, _ in tags.values()], float).reshape(-1, DIMS)
        being = np.array([one for _, one in tags.values()], float).reshape(-1, DIMS)
        return Version(dict(weights), tuple(tags), wants, being)

    def tastes(self, tags: Sequence[Sequence[str]]) -> tuple[Floats, Floats]:
        """What people with *tags* want and what they are, (n, DIMS) each."""
        if self.tags:
            known = People.from_tags(tags, self.tags)
            return np.asarray(known.tags @ self.wants, float), np.asarray(known.tags @ self.being, float)
        people = People.from_tags(tags)
        axes = np.array([axis(name) for name in people.names], float).reshape(-1, DIMS)
        both = np.asarray(people.tags @ axes, float)
        return both, both

    def scores(self, tags: Sequence[Sequence[str]], pairs: Pairs, past: Answers, who: Ints, whom: Ints) -> Floats:
        """(m,): how likely both say yes, *who* to *whom* and back, after the *past* answers of n people with *tags*."""
        w, n = self.weights, len(tags)
        wants, being = self.tastes(tags)
        own = drift(past, being, w["mean"], w["shrink"])
        easy = selectivity(past, n, w["mean"], w["shrink"])
        liked = popularity(past, n, w["mean"], w["shrink"])
        mutual, _ = responsive(past, n, w["shrink"], w["back_mean"])
        forth = np.array([w[name] for name in NAMES])
        back = np.array([w[f"back_{name}"] for name in NAMES])
        found = np.empty(len(who))
        for start in range(0, len(who), CHUNK):
            a, b = who[start : start + CHUNK], whom[start : start + CHUNK]
            shared = pairs(a, b)
            z = w["bias"] + shared @ forth + w["selective"] * easy[a] + w["popular"] * liked[b]
            z += np.einsum("md,md->m", w["taste"] * wants[a] + w["drift"] * own[a], being[b])
            z_back = w["back_bias"] + shared @ back + w["back_responsive"] * mutual[b]
            z_back += w["back_taste"] * np.einsum("md,md->m", wants[b], being[a])
            found[start : start + CHUNK] = expit(z) * expit(z_back)
        return found


def axis(tag: str) -> list[float]:
    """As the database has it: 16 bits of the name's digest, each a quarter forth or back."""
    digest = hashlib.md5(tag.encode(), usedforsecurity=False).digest()
    return [0.25 if digest[n // 8] >> n % 8 & 1 else -0.25 for n in range(DIMS)]
