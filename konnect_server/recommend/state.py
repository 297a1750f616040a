"""Where people stand after their answers: how easily one says yes, how often one is liked, what one's own taste is.

Two ways to the first two. :func:`selectivity` and :func:`popularity` are rates, shrunk to the mean and put on the scale
of logits: one person at a time, so anybody can be brought up to date by a sum. But a rate blames the judge for the
judged: who met three beauties looks generous. :func:`effects` untangles them, as the maximum of

    y ~ Bernoulli(logistic(bias + level_circle + selectivity_who + popularity_whom)),
    level ~ N(0, spread.level), selectivity ~ N(leaning_said, spread.said), popularity ~ N(leaning_got, spread.got)

by Newton's steps in turn, with the spreads learned by empirical Bayes (Laplace: the mean of square plus variance): what
the people differ by decides how much one answer counts for. Spreads learned so are too low where each has answered but
a few times (half of the truth at ten answers each); the weights of a model make up for most of it. This is the model of
Rasch (1960) with normal priors, known of dyads as the social relations model (Kenny and La Voie, 1984).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from konnect_server.recommend.answers import Answers, Floats, Ints, Mask

SHRINK = 3.0  # answers' worth of the mean that a rate begins with
PASSES = 60  # of Newton's steps, at most
STILL = 0.002  # logits; when nobody's place changes by more, the steps end
_LEAST = 0.01  # a spread below this is none, and would never grow again


def logit(p: Floats | float) -> Floats:
    """The logarithm of the odds."""
    p = np.asarray(p, float)
    return np.asarray(np.log(p) - np.log1p(-p), float)


def selectivity(answers: Answers, people: int, mean: float, shrink: float = SHRINK) -> Floats:
    """How easily each of *people* says yes: (n,), logits above that of *mean*; 0 for who has not answered."""
    return _rates(answers.who, answers.yes, people, mean, shrink)


def popularity(answers: Answers, people: int, mean: float, shrink: float = SHRINK) -> Floats:
    """How easily each of *people* gets a yes: (n,), logits above that of *mean*; 0 for who was never judged."""
    return _rates(answers.whom, answers.yes, people, mean, shrink)


def _rates(rows: Ints, yes: Floats, people: int, mean: float, shrink: float) -> Floats:
    total = np.bincount(rows, yes, people)
    count = np.bincount(rows, minlength=people)
    return logit((total + shrink * mean) / (count + shrink)) - logit(mean)


def responsive(
    answers: Answers, people: int, shrink: float = SHRINK, mean: float | None = None
) -> tuple[Floats, float]:  # fmt: skip
    """How often a yes to each of *people* was answered by theirs, as all matches tell: no refusal enters by itself.

    Args:
        mean: What it is shrunk to; if None, the mean of all.

    Returns:
        (n,) logits above that of the mean, and the mean.
    """
    key = answers.who * people + answers.whom
    liked = np.sort(key[answers.yes > 0.5])
    back = answers.whom * people + answers.who
    place = np.minimum(np.searchsorted(liked, back), max(0, len(liked) - 1))
    met = (liked[place] == back) if len(liked) else np.zeros(len(answers), bool)
    got = answers.yes > 0.5
    matched = answers.take(got)
    matched = replace(matched, yes=met[got].astype(float))
    mean = min(max(matched.mean(), 0.01), 0.99) if mean is None else mean
    return popularity(matched, people, mean, shrink), mean


def drift(answers: Answers, is_: Floats, mean: Floats | float, shrink: float = SHRINK) -> Floats:
    """Each person's own taste, beyond what the profile tells.

    Args:
        answers: Of the m answers that count.
        is_: (n, DIMS), what everybody is.
        mean: What was to be expected of each answer, (m,), or of all.
        shrink: Answers' worth of nothing.

    Returns:
        (n, DIMS): the sum of (yes - mean) * is_whom over own answers, divided by their number plus *shrink*.
    """
    people, dims = is_.shape
    surprise = answers.yes - mean
    count = np.bincount(answers.who, minlength=people) + shrink
    columns = [np.bincount(answers.who, surprise * is_[answers.whom, dim], people) / count for dim in range(dims)]
    return np.stack(columns, axis=1) if columns else np.zeros((people, 0))


@dataclass(frozen=True)
class Spreads:
    """Variances, in squared logits: of selectivity, of popularity, of the level of a circle."""

    said: float = 1.0
    got: float = 1.0
    level: float = 0.25


@dataclass(frozen=True)
class Effects:
    """``selectivity`` and ``popularity``: (n,), ``level``: (circles,), all in logits, on top of ``bias``."""

    bias: float
    level: Floats
    selectivity: Floats
    popularity: Floats
    spreads: Spreads
    said_weight: Floats  # (n,): information of the own answers, sum of p (1 - p)
    got_weight: Floats  # (n,): of the answers got

    def expected(self, answers: Answers, circles: Ints | None = None) -> Floats:
        """(m,): how likely each of *answers* was a yes."""
        z = self.bias + self.selectivity[answers.who] + self.popularity[answers.whom]
        return np.asarray(expit(z if circles is None else z + self.level[circles]), float)


def effects(
    answers: Answers,
    people: int,
    spreads: Spreads = Spreads(),
    *,
    learn: bool = False,
    bias: float | None = None,
    circles: Ints | None = None,
    circle_count: int = 0,
    leaning: tuple[Floats, Floats] | None = None,
    offset: Floats | None = None,
) -> Effects:
    """Selectivity and popularity of all, untangled.

    Args:
        answers: Of m rows; may be none, then all stand where they lean to.
        people: How many there are, n.
        spreads: To shrink by, or to begin with.
        learn: Whether to learn the spreads, too.
        bias: The logit of an average answer; if None, it is learned.
        circles: (m,), which circle (an event, a town) each answer was given in: each has a level of its own. None is
            one circle, whose level is the bias.
        circle_count: How many circles there are, if more than occur.
        leaning: (n,) and (n,): what selectivity and popularity are shrunk to, such as the profile tells. None is 0.
        offset: (m,), what is known of each answer besides, in logits.
    """
    who, whom, yes = answers.who, answers.whom, answers.yes
    lean_said, lean_got = leaning if leaning is not None else (np.zeros(people), np.zeros(people))
    said, got = lean_said.copy(), lean_got.copy()
    where = circles if circles is not None else np.zeros(len(answers), np.int64)
    level = np.zeros(max(circle_count, int(where.max()) + 1 if len(where) else 1))
    met = np.bincount(where, minlength=len(level)) > 0
    base = float(logit(min(max(answers.mean(), 0.001), 0.999))) if bias is None else bias
    known = np.zeros(len(answers)) if offset is None else offset
    v_said, v_got, v_level = spreads.said, spreads.got, spreads.level
    weight_said: Floats = np.zeros(people)
    weight_got: Floats = np.zeros(people)
    judges, judged = np.bincount(who, minlength=people) > 0, np.bincount(whom, minlength=people) > 0
    for _ in range(PASSES if len(answers) else 0):
        said_before, got_before = said, got
        p, w = _chance(known + base + level[where] + said[who] + got[whom])
        if bias is None:
            base += float((yes - p).sum() / w.sum())
        if circles is not None:
            held = np.bincount(where, w, len(level))
            level = level + (np.bincount(where, yes - p, len(level)) - level / v_level) / (held + 1 / v_level)
        p, w = _chance(known + base + level[where] + said[who] + got[whom])
        weight_said = _sums(who, w, people)
        said = said + (np.bincount(who, yes - p, people) - (said - lean_said) / v_said) / (weight_said + 1 / v_said)
        p, w = _chance(known + base + level[where] + said[who] + got[whom])
        weight_got = _sums(whom, w, people)
        got = got + (np.bincount(whom, yes - p, people) - (got - lean_got) / v_got) / (weight_got + 1 / v_got)
        if learn:
            v_said = _spread(said - lean_said, weight_said, v_said, judges)
            v_got = _spread(got - lean_got, weight_got, v_got, judged)
            if circles is not None and len(level) > 1:
                v_level = _spread(level, _sums(where, w, len(level)), v_level, met)
        if max(float(np.abs(said - said_before).max()), float(np.abs(got - got_before).max())) < STILL:
            break
    return Effects(base, level, said, got, Spreads(v_said, v_got, v_level), weight_said, weight_got)


def _sums(rows: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(rows, values, size), float)


def _chance(z: Floats) -> tuple[Floats, Floats]:
    p = np.asarray(expit(z), float)
    return p, np.maximum(p * (1 - p), 1e-6)


def _spread(value: Floats, weight: Floats, spread: float, there: Mask) -> float:
    """The next variance: over those who are *there*, the mean of square plus what is not known."""
    if not there.any():
        return spread
    return max(_LEAST, float((value[there] ** 2 + 1 / (weight[there] + 1 / spread)).mean()))
