"""Learning a model from answers: the earlier ones make the state, the later ones the weights.

An answer never sees itself: what is known of people and tastes comes from the answers before a moment, and the weights
are those that foretell the answers since. At the end tastes and spreads are learned once more, from all.
"""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd

from konnect_server.recommend.answers import Answers, Floats, Ints, Mask
from konnect_server.recommend.leaning import lean
from konnect_server.recommend.model import DIMS, Model
from konnect_server.recommend.mutual import MORE, Mutual
from konnect_server.recommend.people import People
from konnect_server.recommend.state import SHRINK, Effects, drift, effects, popularity, responsive, selectivity

EARLIER = 0.6  # of the answers make the state
CHUNK = 200_000  # rows at once
ROWS = 1_000_000  # that weights are learned of, at most; drawn with a seed
TASTE_SHRINK = 20.0  # information's worth of nothing, of each pair of tags
RIDGE = 1.0  # precision of a weight, where there are answers enough
RIDGES = (
    1.0,
    10.0,
    30.0,
    100.0,
    300.0,
    1000.0,
    3000.0,
)  # of columns of deviation 1, to choose from where there are few
FREE = 30.0  # times as large are the columns that are hardly to be shrunk: what they weigh is near 1 by themselves
FOLDS = 5

TERMS = ("taste", "drift", "selectivity", "popularity", "leaning")

Pair = Callable[[Ints, Ints], Floats]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class _Known:
    """What a stretch of answers tells."""

    effects: Effects
    leaning: tuple[Floats, Floats]  # (T,) each
    wants: Floats
    is_: Floats


@dataclass(frozen=True)
class Prepared:
    """All but the weights: what was learned of people and tastes, and the later answers with what was known of them."""

    people: People
    names: tuple[str, ...]
    more: tuple[str, ...]
    table: Floats  # (k, F + 4 + more) of the way there
    back: Floats  # (k, F + 2) of the way back
    yes: Mask  # (k,)
    circles: Ints | None  # (k,)
    whole: _Known
    mean: float
    mean_responsive: float

    def joined(self, other: "Prepared") -> "Prepared":
        """This, to be weighed by the later answers of *other*, too: of the same people and terms, split otherwise."""
        circles = None
        if self.circles is not None and other.circles is not None:
            circles = np.concatenate([self.circles, other.circles])
        return replace(
            self,
            table=np.concatenate([self.table, other.table]),
            back=np.concatenate([self.back, other.back]),
            yes=np.concatenate([self.yes, other.yes]),
            circles=circles,
        )

    def weigh(self, without: Collection[str] = ()) -> Model:
        """The model whose weights foretell the later answers best, *without* some terms: of names, TERMS and MORE."""
        count = len(self.names)
        columns = (*self.names, *TERMS[:4], *self.more)
        free = [name in ("selectivity", "popularity") for name in columns]
        kept = [name not in without for name in columns]
        kept_back = [name not in without for name in (*self.names, "taste", "responsive")]
        ridge = None
        if self.circles is not None:
            scaled = self.table * _scales(self.table, kept, free)
            ridge = _ridge(scaled, self.yes, self.circles)
        bias, weights = _logistic(self.table, self.yes, kept, free, ridge)
        bias_back, weights_back = _logistic(self.back, self.yes, kept_back, [False] * (count + 2), ridge)
        known = self.whole
        return Model(
            names=self.names,
            weights=tuple(weights[:count]),
            bias=bias,
            w_taste=weights[count],
            w_drift=weights[count + 1],
            w_selectivity=weights[count + 2],
            w_popularity=weights[count + 3],
            weights_back=tuple(weights_back[:count]),
            bias_back=bias_back,
            w_taste_back=weights_back[count],
            w_responsive=weights_back[count + 1],
            mean=self.mean,
            mean_responsive=self.mean_responsive,
            shrink=SHRINK,
            spread_said=known.effects.spreads.said,
            spread_got=known.effects.spreads.got,
            spread_level=known.effects.spreads.level,
            level_bias=known.effects.bias,
            tags=tuple(self.people.names),
            wants=known.wants,
            is_=known.is_,
            said=known.leaning[0],
            got=known.leaning[1],
            more=tuple(weights[count + 4 :]),
        )


def fit(
    people: People,
    answers: Answers,
    pair: Pair,
    names: Sequence[str],
    progress: Progress = lambda part, share: None,
    *,
    circles: Ints | None = None,
    split: int | None = None,
    wide: bool = False,
    without: Collection[str] = (),
    seed: int = 0,
    plain: bool = False,
) -> Model:
    """Learn a model.

    Args:
        people: All who answered or were judged, n.
        answers: Of m rows, in any order.
        pair: Gives the (k, F) features of k pairs, each 0 to 1, from rows of *people*; asked in chunks.
        names: What the F features are called.
        progress: Told the name of the part at hand, and the share of all that is done, 0 to 1.
        circles: (m,), which event each answer was given in, if levels differ: see :func:`state.effects`.
        split: The moment between earlier and later; if None, such that 60 % are earlier.
        wide: Whether to use what is known only where everybody's answers may be seen, mutual.MORE; for few people.
        without: Terms to leave out, to see what they add: of *names*, of TERMS and of MORE.
        seed: Of the rows drawn, where there are more than a million.
        plain: Learn weights for selectivities and popularities that are plain shrunk rates, as the database counts
            them, one person at a time; else for :func:`state.effects`.

    Raises:
        ValueError: The later answers are not of both kinds: there is nothing to learn.
    """
    leans = "leaning" not in without
    prepared = prepare(
        people, answers, pair, names, progress, circles=circles, split=split, wide=wide, leans=leans, seed=seed,
        plain=plain,
    )  # fmt: skip
    progress("weights", 0.9)
    model = prepared.weigh(without)
    progress("done", 1.0)
    return model


def prepare(
    people: People,
    answers: Answers,
    pair: Pair,
    names: Sequence[str],
    progress: Progress = lambda part, share: None,
    *,
    circles: Ints | None = None,
    split: int | None = None,
    wide: bool = False,
    leans: bool = True,
    seed: int = 0,
    plain: bool = False,
) -> Prepared:
    """What :func:`fit` does before it weighs; without *leans*, profiles tell nothing of selectivity and popularity."""
    moment = split if split is not None else int(np.quantile(answers.at, EARLIER)) if len(answers) else 0
    early = answers.at < moment
    earlier = answers.take(early)
    rows = np.flatnonzero(~early)
    if len(rows) > ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, ROWS, replace=False))
    yes = answers.yes[rows] > 0.5
    if len(np.unique(yes)) < 2:
        raise ValueError("the later answers are all alike, or there are none")
    before, since = (None, None) if circles is None else (circles[early], circles[rows])
    circle_count = int(circles.max()) + 1 if circles is not None else 0
    n = len(people)
    progress("what people did before", 0.0)
    known = _learn(people, earlier, before, circle_count, leans)
    own = _drift(people, earlier, before, known)
    if plain:
        mean = answers.mean()
        rates = selectivity(earlier, n, mean), popularity(earlier, n, mean)
        known = replace(known, effects=replace(known.effects, selectivity=rates[0], popularity=rates[1]))
        own = drift(earlier, np.asarray(people.tags @ known.is_, float), mean)
    reply, mean_responsive = responsive(earlier, n)
    progress("features", 0.3)
    table, back = _features(people, answers.take(rows), since, pair, known, own, reply)
    if wide:
        mutual = Mutual(n, earlier, known.effects, before)
        table = np.column_stack([table, mutual(answers.who[rows], answers.whom[rows])])
    progress("what people did in all", 0.4)
    whole = _learn(people, answers, circles, circle_count, leans)
    more = MORE if wide else ()
    mean = answers.mean()
    return Prepared(people, tuple(names), more, table, back, yes, since, whole, mean, mean_responsive)


def _learn(people: People, answers: Answers, circles: Ints | None, count: int, leans: bool) -> _Known:
    tags, n = people.tags, len(people)
    found = effects(answers, n, learn=True, circles=circles, circle_count=count)
    said, got = np.zeros(len(people.names)), np.zeros(len(people.names))
    if leans:
        none = np.zeros(n)
        said = lean(tags, found.selectivity, found.said_weight, found.spreads.said, none)
        got = lean(tags, found.popularity, found.got_weight, found.spreads.got, none)
    leaning = (_of(people, said), _of(people, got))
    if said.any() or got.any():
        found = effects(answers, n, found.spreads, learn=True, circles=circles, circle_count=count, leaning=leaning)
    wants, is_ = taste(people, answers, found.expected(answers, circles))
    return _Known(found, (said, got), wants, is_)


def _of(people: People, table: Floats) -> Floats:
    return np.asarray(people.tags @ table, float)


def _drift(people: People, answers: Answers, circles: Ints | None, known: _Known) -> Floats:
    return drift(answers, _of(people, known.is_), known.effects.expected(answers, circles))


def taste(people: People, answers: Answers, expected: Floats, shrink: float = TASTE_SHRINK) -> tuple[Floats, Floats]:
    """Which tags want which, in DIMS dimensions: one shrunk Newton step from *expected*, cut to its first directions.

    One step, since tags overlap and each is taken by itself: a second and third one diverge.

    Returns:
        wants and is, (T, DIMS) each; M (T, T) ~ wants is', and tags_a M tags_b is what a feels for b beyond *expected*.
    """
    n, tags = len(people), people.tags
    squares = tags.multiply(tags).tocsr()
    size = len(people.names)
    pull, held = np.zeros((size, size)), np.zeros((size, size))
    for start in range(0, len(answers), CHUNK):
        part = slice(start, start + CHUNK)
        at = (answers.who[part], answers.whom[part])
        surprise: Any = sparse.csr_matrix((answers.yes[part] - expected[part], at), shape=(n, n))
        weight: Any = sparse.csr_matrix((expected[part] * (1 - expected[part]), at), shape=(n, n))
        pull += (tags.T @ (surprise @ tags)).toarray()
        held += (squares.T @ (weight @ squares)).toarray()
    both = pull / (held + shrink)
    dims = min(DIMS, size)
    wants, is_ = np.zeros((size, DIMS)), np.zeros((size, DIMS))
    if dims and both.any():
        left, values, right = randomized_svd(both, dims, random_state=0)
        wants[:, :dims], is_[:, :dims] = left * np.sqrt(values), right.T * np.sqrt(values)
    return wants, is_


def _features(
    people: People, rows: Answers, circles: Ints | None, pair: Pair, known: _Known, own: Floats, reply: Floats
) -> tuple[Floats, Floats]:
    wants, is_ = _of(people, known.wants), _of(people, known.is_)
    tables: list[Floats] = []
    backs: list[Floats] = []
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        who, whom = rows.who[part], rows.whom[part]
        given = pair(who, whom)
        liking = np.einsum("md,md->m", wants[who], is_[whom])
        drawn = np.einsum("md,md->m", own[who], is_[whom])
        easy = known.effects.selectivity[who]
        if circles is not None:
            easy = easy + known.effects.level[circles[part]]
        tables.append(np.column_stack([given, liking, drawn, easy, known.effects.popularity[whom]]))
        backs.append(np.column_stack([given, liking, reply[who]]))
    return np.concatenate(tables), np.concatenate(backs)


def _logistic(
    table: Floats, yes: Mask, kept: Sequence[bool], free: Sequence[bool], ridge: float | None
) -> tuple[float, list[float]]:
    """Bias and a weight for each column; 0 for those not *kept*.

    With a *ridge*, as where there are few answers, it is of columns of deviation 1; those that are *free* are hardly
    shrunk. With None it is RIDGE, of columns as they are.
    """
    scales = np.array(kept, float) if ridge is None else _scales(table, kept, free)
    learner = _learned(table * scales, yes, RIDGE if ridge is None else ridge)
    return float(learner.intercept_[0]), (learner.coef_[0] * scales).tolist()


def _scales(table: Floats, kept: Sequence[bool], free: Sequence[bool]) -> Floats:
    """What to multiply columns by; 0 for those that are not *kept*, or are the same for all and tell nothing."""
    spread = table.std(axis=0)
    told = np.array(kept) & (spread > 1e-9)
    return np.asarray(np.where(np.array(free), FREE, 1.0) * told / np.where(told, spread, 1.0), float)


def _learned(table: Floats, yes: Mask, ridge: float) -> Any:
    learner = LogisticRegression(C=1 / ridge, max_iter=300, solver="newton-cholesky")
    with warnings.catch_warnings():
        # Where a line search fails, it goes the slower way by itself, and says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return learner.fit(table, yes)


def _ridge(used: Floats, yes: Mask, circles: Ints) -> float:
    """The one that foretells circles left out best, as where answers come from events with few people each."""
    kinds = np.unique(circles)
    folds = [np.isin(circles, kinds[fold::FOLDS]) for fold in range(min(FOLDS, len(kinds)))]
    folds = [left_out for left_out in folds if len(np.unique(yes[~left_out])) == 2]
    if len(folds) < 2:
        return RIDGES[len(RIDGES) // 2]

    def surprise(ridge: float) -> float:
        total = 0.0
        for left_out in folds:
            z = _learned(used[~left_out], yes[~left_out], ridge).decision_function(used[left_out])
            total += float(np.logaddexp(0, np.where(yes[left_out], -z, z)).sum())
        return total

    return min(RIDGES, key=surprise)
