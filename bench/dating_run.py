"""The dating experiment, event by event: each is foretold by what was learned of all the others."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from bench.dating import FUTURE, PAIR, Dating, Pairs
from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.fit import TERMS, Prepared, prepare
from konnect_server.recommend.measure import auc, bootstrap, ndcg_each
from konnect_server.recommend.model import Model, both
from konnect_server.recommend.mutual import MORE, Mutual
from konnect_server.recommend.state import (
    SHRINK,
    Effects,
    Spreads,
    drift,
    effects,
    logit,
    popularity,
    responsive,
    selectivity,
)

ALL_TERMS = (*PAIR, *TERMS, *MORE)
FIRST = 5  # places of a list that count
BASELINES = ("similarity", "popularity", "reciprocal")


@dataclass(frozen=True)
class Judged:
    """AUC and NDCG@5 of one score, with intervals of 95 %; NaN where an interval was not asked for."""

    auc: float
    ndcg: float
    auc_interval: tuple[float, float] = (float("nan"), float("nan"))
    ndcg_interval: tuple[float, float] = (float("nan"), float("nan"))


class Judge:
    """Knows the second halves, and how good a score of them is.

    AUC is over all dates of all second halves. For NDCG@5 a group is one person's dates of the second half, women's and
    men's alike, so that each date is in two; who has no match there is in no mean.
    """

    def __init__(self, dating: Dating) -> None:
        self.rows = np.flatnonzero(dating.future)
        self.truth = dating.match[self.rows]
        self.wave = dating.wave[self.rows]
        self.groups = np.concatenate([dating.woman[self.rows], dating.man[self.rows]])
        _, first = np.unique(self.groups, return_index=True)
        self.wave_of_group = np.concatenate([self.wave, self.wave])[first]

    def judge(self, score: Floats, rounds: int = 0) -> Judged:
        """*score*: (m,), one a date, of which only the second halves count. *rounds* of the bootstrap draw events."""
        kept = score[self.rows]
        twice = np.concatenate([kept, kept])
        lists = ndcg_each(FIRST, self.groups, twice, np.concatenate([self.truth, self.truth]))
        there = ~np.isnan(lists)

        def area(rows: Ints) -> float:
            return auc(kept[rows], self.truth[rows])

        found = Judged(area(np.arange(len(kept))), float(lists[there].mean()) if there.any() else float("nan"))
        if not rounds:
            return found
        lists, events = lists[there], self.wave_of_group[there]
        return replace(
            found,
            auc_interval=bootstrap(area, self.wave, rounds),
            ndcg_interval=bootstrap(lambda rows: float(lists[rows].mean()), events, rounds),
        )

    def difference(self, one: Floats, other: Floats, rounds: int) -> tuple[float, float]:
        """The interval of the AUC of *one* minus that of *other*, on the same draws of events."""
        a, b = one[self.rows], other[self.rows]
        return bootstrap(
            lambda rows: auc(a[rows], self.truth[rows]) - auc(b[rows], self.truth[rows]), self.wave, rounds
        )

    def of_each_wave(self, score: Floats) -> list[float]:
        """AUC within each event; NaN where it has one kind only."""
        kept = score[self.rows]
        return [auc(kept[self.wave == wave], self.truth[self.wave == wave]) for wave in np.unique(self.wave)]


def baselines(dating: Dating) -> dict[str, Floats]:
    """The three of the data's README, a score for each date.

    Similarity is the correlation of the 17 interests. The others are rates of yes in the history, shrunk by three
    answers' worth of the mean of all histories, as logits; reciprocal adds selectivity and popularity for each way, and
    multiplies the chances of both.
    """
    history, _ = dating.answers(~dating.future)
    n, mean = len(dating.people), history.mean()
    said, got = selectivity(history, n, mean, SHRINK), popularity(history, n, mean, SHRINK)
    base = logit(mean)
    return {
        "similarity": Pairs(dating.profiles).similarity(dating.woman, dating.man),
        "popularity": got[dating.man],
        "reciprocal": both(
            base + said[dating.woman] + got[dating.man], base + said[dating.man] + got[dating.woman]
        ),
    }  # fmt: skip


class Course:
    """Each event foretold by what was learned of all others.

    Args:
        dating: Of two events or more.
    """

    def __init__(self, dating: Dating) -> None:
        self.dating = dating
        self._pairs = Pairs(dating.profiles)
        self._prepared: dict[bool, list[Prepared]] = {}

    def foretell(self, without: Collection[str] = ()) -> Floats:
        """The model's score of each date of the second halves, *without* some of ALL_TERMS; NaN in the first halves."""
        dating = self.dating
        score = np.full(len(dating.wave), np.nan)
        for wave, prepared in enumerate(self._learned("leaning" not in without)):
            rows = np.flatnonzero((dating.wave == wave) & dating.future)
            score[rows] = score_wave(dating, self._pairs, prepared.weigh(without), wave, rows)
        return score

    def as_served(self) -> dict[str, Floats]:
        """What a server could say of the same dates, who asks by who asks: it shows nobody what was answered in secret,
        so it knows the asker's own answers, and of the other one plain rates that are nobody's secret.

        Returns:
            "her page" and "his page": a score for each date of the second halves; NaN in the first halves.
        """
        dating = self.dating
        found = {name: np.full(len(dating.wave), np.nan) for name in ("her page", "his page")}
        for wave in range(len(dating.waves)):
            answers, _ = dating.answers(dating.wave != wave)

            def learned(answers: Answers) -> Prepared:
                return prepare(dating.people, answers, self._pairs, PAIR, split=FUTURE, leans=False, plain=True)

            model = learned(answers).joined(learned(replace(answers, at=FUTURE - answers.at))).weigh()
            rows = np.flatnonzero((dating.wave == wave) & dating.future)
            page = _server(dating, self._pairs, model, wave)
            found["her page"][rows] = page(dating.woman[rows], dating.man[rows])
            found["his page"][rows] = page(dating.man[rows], dating.woman[rows])
        return found

    def _learned(self, leans: bool) -> list[Prepared]:
        if leans not in self._prepared:
            self._prepared[leans] = [self._of_others(wave, leans) for wave in range(len(self.dating.waves))]
        return self._prepared[leans]

    def _of_others(self, wave: int, leans: bool) -> Prepared:
        """Of the other events both halves are known, so each half is foretold by the other: twice the rows."""
        answers, circles = self.dating.answers(self.dating.wave != wave)

        def learned(answers: Answers) -> Prepared:
            return prepare(
                self.dating.people, answers, self._pairs, PAIR, circles=circles, split=FUTURE, wide=True, leans=leans
            )

        return learned(answers).joined(learned(replace(answers, at=FUTURE - answers.at)))


def score_wave(dating: Dating, pairs: Pairs, model: Model, wave: int, rows: Ints) -> Floats:
    """How likely both say yes on the dates *rows* of *wave*, given its first half and *model*."""
    history, circles = dating.answers((dating.wave == wave) & ~dating.future)
    stand = stand_of(dating, history, circles, model)
    wants, is_ = model.taste(dating.people)
    more = Mutual(len(dating.people), history, stand, circles)
    own = drift(history, is_, stand.expected(history, circles))

    def way(who: Ints, whom: Ints, circle: int) -> Floats:
        said = stand.selectivity[who] + stand.level[circle]
        return model.forward(
            pairs(who, whom), wants[who], is_[whom], own[who], said, stand.popularity[whom], more(who, whom)
        )

    woman, man = dating.woman[rows], dating.man[rows]
    return both(way(woman, man, 2 * wave), way(man, woman, 2 * wave + 1))


def _server(dating: Dating, pairs: Pairs, model: Model, wave: int) -> Callable[[Ints, Ints], Floats]:
    """Scores as `suggest_scores` computes them (storage/migrations/0026), after the first half of *wave*."""
    history, _ = dating.answers((dating.wave == wave) & ~dating.future)
    n = len(dating.people)
    wants, is_ = model.taste(dating.people)
    own = drift(history, is_, model.mean)
    easy, liked = selectivity(history, n, model.mean), popularity(history, n, model.mean)
    mutual, _ = responsive(history, n, SHRINK, model.mean_responsive)

    def scores(who: Ints, whom: Ints) -> Floats:
        shared = pairs(who, whom)
        return both(
            model.forward(shared, wants[who], is_[whom], own[who], easy[who], liked[whom]),
            model.backward(shared, wants[whom], is_[who], mutual[whom]),
        )

    return scores


def stand_of(dating: Dating, history: Answers, circles: Ints, model: Model) -> Effects:
    """Selectivity and popularity after *history*, shrunk as *model* learned it."""
    return effects(
        history,
        len(dating.people),
        Spreads(model.spread_said, model.spread_got, model.spread_level),
        bias=model.level_bias,
        circles=circles,
        circle_count=2 * len(dating.waves),
        leaning=model.leaning(dating.people),
    )
