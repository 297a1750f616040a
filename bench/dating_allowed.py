"""What the data of a dating experiment allow: how well made people are foretold, who differ as the real ones do.

Made people have a selectivity and a popularity, and the rest is chance. How much they differ is chosen such that the
estimate from their answers comes out as that from the real ones (indirect inference; Gourieroux, Monfort and Renault,
1993): the estimate itself is far too low where each has answered ten times.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from bench.dating import Dating
from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.measure import auc
from konnect_server.recommend.model import both
from konnect_server.recommend.state import Effects, Spreads, effects

STEPS = 6  # towards the spreads
WORLDS = 12  # made at each step
LEVEL = 0.1  # spread of the events' levels; too few are there to learn it
MOST = 8.0  # a spread beyond this is no better known


@dataclass(frozen=True)
class Allowed:
    """Means and deviations of AUC over made worlds with the same dates, and what these worlds are like."""

    known: tuple[float, float]  # of who knows everybody's true state; only chance is left
    learned: tuple[float, float]  # of who learns it from the first halves, and knows how much people differ
    spreads: Spreads
    correlation: float  # of a person's selectivity and popularity


def allowed(dating: Dating, rounds: int = 40, seed: int = 0) -> Allowed:
    """Make *rounds* worlds, and foretell the second halves of each from its first halves."""
    chance = np.random.default_rng(seed)
    answers, circles = dating.answers(np.ones(len(dating.wave), bool))
    wanted = _estimate(dating, answers, circles)
    spreads, correlation, bias = replace(wanted.spreads, level=LEVEL), _correlation(wanted), wanted.bias
    for _ in range(STEPS):
        found = [
            _estimate(dating, _made(dating, answers, circles, spreads, correlation, bias, chance)[0], circles)
            for _ in range(WORLDS)
        ]
        spreads = Spreads(
            min(MOST, spreads.said * wanted.spreads.said / _mean([one.spreads.said for one in found])),
            min(MOST, spreads.got * wanted.spreads.got / _mean([one.spreads.got for one in found])),
            LEVEL,
        )
        correlation += _correlation(wanted) - _mean([_correlation(one) for one in found])
        correlation = float(np.clip(correlation, -0.9, 0.9))
        bias += wanted.bias - _mean([one.bias for one in found])
    known, learned = [], []
    m = len(dating.wave)
    future = dating.future
    for _ in range(rounds):
        made, z = _made(dating, answers, circles, spreads, correlation, bias, chance)
        truth = (made.yes[:m] * made.yes[m:])[future]
        past = made.at < 1
        state = effects(
            made.take(past), len(dating.people), spreads, circles=circles[past], circle_count=2 * len(dating.waves)
        )
        chances = state.expected(made, circles)
        known.append(auc(both(z[:m], z[m:])[future], truth))
        learned.append(auc((chances[:m] * chances[m:])[future], truth))
    return Allowed((_mean(known), float(np.nanstd(known))), (_mean(learned), float(np.nanstd(learned))), spreads,
                   correlation)  # fmt: skip


def _made(
    dating: Dating,
    answers: Answers,
    circles: Ints,
    spreads: Spreads,
    correlation: float,
    bias: float,
    chance: np.random.Generator,
) -> tuple[Answers, Floats]:
    """The same dates with new people: their answers, and the true logits of these."""
    n = len(dating.people)
    one, other = chance.normal(size=n), chance.normal(size=n)
    said = spreads.said**0.5 * one
    got = spreads.got**0.5 * (correlation * one + (1 - correlation**2) ** 0.5 * other)
    level = chance.normal(0, spreads.level**0.5, 2 * len(dating.waves))
    z = bias + level[circles] + said[answers.who] + got[answers.whom]
    return replace(answers, yes=(chance.random(len(z)) < expit(z)).astype(float)), z


def _estimate(dating: Dating, answers: Answers, circles: Ints) -> Effects:
    return effects(answers, len(dating.people), learn=True, circles=circles, circle_count=2 * len(dating.waves))


def _correlation(found: Effects) -> float:
    there = (found.said_weight > 0) & (found.got_weight > 0)
    said, got = found.selectivity[there], found.popularity[there]
    return float(np.corrcoef(said, got)[0, 1]) if len(said) > 2 and said.std() > 0 and got.std() > 0 else 0.0


def _mean(values: list[float]) -> float:
    return float(np.nanmean(values))
