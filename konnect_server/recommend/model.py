"""What was learned: a few weights and two small tables, as plain numbers that travel as JSON."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy.special import expit

from konnect_server.recommend.answers import Floats
from konnect_server.recommend.people import People

DIMS = 16
_TABLES = ("wants", "is_", "said", "got")


@dataclass(frozen=True)
class Model:
    """How likely one says yes to another, both ways.

    forward:  z(a->b) = bias + weights . f(a, b) + w_taste <wants_a, is_b> + w_drift <drift_a, is_b>
                        + w_selectivity selectivity_a + w_popularity popularity_b
    backward: z(b->a) = bias_back + weights_back . f(a, b) + w_taste_back <wants_b, is_a> + w_responsive responsive_b,
              of what b has shown to all, when b's answers are not to be seen.
    """

    names: tuple[str, ...]  # of the F features of a pair, each 0 to 1
    weights: tuple[float, ...]
    bias: float
    w_taste: float
    w_drift: float
    w_selectivity: float
    w_popularity: float
    weights_back: tuple[float, ...]
    bias_back: float
    w_taste_back: float
    w_responsive: float
    mean: float  # of all answers
    mean_responsive: float  # of a yes that was answered by yes
    shrink: float  # answers' worth of the mean
    spread_said: float  # variances of selectivity, popularity, level: see state.Spreads
    spread_got: float
    spread_level: float
    level_bias: float  # the logit that effects stand on top of
    tags: tuple[str, ...]  # the T tags
    wants: Floats  # (T, DIMS)
    is_: Floats  # (T, DIMS)
    said: Floats  # (T,): the selectivity that a profile leans to
    got: Floats  # (T,): the popularity
    more: tuple[float, ...] = ()  # weights of mutual.MORE; none where the others' answers are not to be seen

    def forward(
        self,
        pair: Floats,
        wants: Floats,
        is_: Floats,
        drift: Floats,
        selectivity: Floats,
        popularity: Floats,
        more: Floats | None = None,
    ) -> Floats:
        """z of m pairs, a's yes to b.

        Args:
            pair: (m, F).
            wants: Of a, (m, DIMS).
            is_: Of b, (m, DIMS).
            drift: Of a, (m, DIMS).
            selectivity: Of a, (m,).
            popularity: Of b, (m,).
            more: (m, 5), of a model that has weights for it: see :class:`mutual.Mutual`.
        """
        own = self.w_taste * wants + self.w_drift * drift
        known = self.bias + pair @ np.array(self.weights, float) + np.einsum("md,md->m", own, is_)
        if self.more:
            if more is None:
                raise ValueError("this model asks for what more is known: see mutual.Mutual")
            known = known + more @ np.array(self.more, float)
        return np.asarray(known + self.w_selectivity * selectivity + self.w_popularity * popularity, float)

    def backward(self, pair: Floats, wants: Floats, is_: Floats, responsive: Floats) -> Floats:
        """z of m pairs, b's yes to a, of what is public: *wants* and *responsive* of b, *is_* of a."""
        known = self.bias_back + pair @ np.array(self.weights_back, float) + self.w_responsive * responsive
        return np.asarray(known + self.w_taste_back * np.einsum("md,md->m", wants, is_), float)

    def taste(self, people: People) -> tuple[Floats, Floats]:
        """What *people* want and what they are, each (n, DIMS). The columns of their tags are the model's."""
        self._check(people)
        return np.asarray(people.tags @ self.wants, float), np.asarray(people.tags @ self.is_, float)

    def leaning(self, people: People) -> tuple[Floats, Floats]:
        """The selectivity and popularity, each (n,), that profiles of *people* lean to before any answer."""
        self._check(people)
        return np.asarray(people.tags @ self.said, float), np.asarray(people.tags @ self.got, float)

    def _check(self, people: People) -> None:
        if tuple(people.names) != self.tags:
            raise ValueError("these people were not made with the tags of this model: People.from_tags(..., names)")

    def to_json(self) -> str:
        """One object. Tables are lists of rows, rounded to 6 digits after the point."""
        plain = asdict(self) | {name: np.round(getattr(self, name), 6).tolist() for name in _TABLES}
        return json.dumps(plain, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> "Model":
        """The model that :meth:`to_json` wrote.

        Raises:
            ValueError: It is no such object.
        """
        try:
            plain: dict[str, Any] = json.loads(text)
            found = {field.name: plain[field.name] for field in fields(Model)}
            tags = tuple(found["tags"])
            for name in _TABLES:
                found[name] = np.array(found[name], float)
            for name in ("wants", "is_"):
                found[name] = found[name].reshape(len(tags), -1) if tags else np.zeros((0, DIMS))
            for name in ("names", "weights", "weights_back", "tags", "more"):
                found[name] = tuple(found[name])
            return Model(**found)
        except (KeyError, TypeError) as problem:
            raise ValueError(f"not a model: {problem!r}") from problem


def both(forward: Floats, backward: Floats) -> Floats:
    """(m,): how likely both say yes."""
    return np.asarray(expit(forward) * expit(backward), float)
