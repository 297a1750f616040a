"""Learning from what the database holds, and judging: on the answers of the last day, which nobody has learned from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from konnect_server.recommend.answers import Answers, Ints
from konnect_server.recommend.fit import fit
from konnect_server.recommend.measure import auc
from konnect_server.recommend.pairs import NAMES, Pairs
from konnect_server.recommend.people import People
from konnect_server.recommend.version import Version
from storage import recommender
from storage.database import Database
from storage.recommender import Material

DAY_MS: Final = 86_400_000
JUDGED: Final = 200  # answers at least; where the last day has fewer, the newest twentieth is taken
RARE: Final = 5  # a tag of fewer people says nothing
WORSE: Final = 0.002  # by so much of the AUC a version may be behind the standing one: that is chance

Progress = Callable[[str, float], None]


class TooLittle(Exception):
    """There is nothing to learn from: too few answers, or all alike."""


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from, as arrays."""

    tags: list[list[str]]  # of each of n people
    people: People  # the same, without rare tags
    pairs: Pairs
    answers: Answers
    now_ms: int

    def moment(self, seen_ms: int = 0) -> int:
        """From when on answers are not learned from, but judged by: of the last day, and later than *seen_ms*, up to
        when a version that is judged has learned.

        Raises:
            TooLittle: There are too few.
        """
        day = max(self.now_ms - DAY_MS, seen_ms + 1)
        new = int((self.answers.at >= day).sum())
        if new >= JUDGED:
            return day
        if seen_ms:
            raise TooLittle(f"{new:,} answers are newer than what the version that stands has learned from; "
                            f"{JUDGED} are needed to judge by")  # fmt: skip
        return int(np.quantile(self.answers.at, 0.95))


@dataclass(frozen=True)
class Judged:
    """How well a version foretold answers."""

    auc: float  # of a yes
    auc_both: float  # of two
    answers: int

    def told(self) -> dict[str, Any]:
        """As it is kept."""
        return {"auc": _plain(self.auc), "auc_both": _plain(self.auc_both), "answers": self.answers}


def lesson_of(material: Material) -> Lesson:
    """*material* as arrays."""
    rows = np.frombuffer(material.answers, np.dtype([("who", ">i4"), ("whom", ">i4"), ("yes", ">f4"), ("at", ">i8")]))
    tags = [one.tags for one in material.people]
    counts: dict[str, int] = {}
    for some in tags:
        for tag in some:
            counts[tag] = counts.get(tag, 0) + 1
    names = sorted(tag for tag, count in counts.items() if count >= RARE)
    pairs = Pairs.of(
        tags, [one.cell_lat for one in material.people], [one.cell_lon for one in material.people],
        [one.born for one in material.people],
    )  # fmt: skip
    who, whom, at = (rows[name].astype(np.int64) for name in ("who", "whom", "at"))
    answers = Answers(who, whom, rows["yes"].astype(float), at)
    return Lesson(tags, People.from_tags(tags, names), pairs, answers, material.now_ms)


def learn(lesson: Lesson, answers: Answers, progress: Progress) -> Version:
    """A version out of *answers*.

    Raises:
        TooLittle
    """
    try:
        model = fit(lesson.people, answers, lesson.pairs, NAMES, progress, plain=True)
    except ValueError as problem:
        raise TooLittle(str(problem)) from problem
    return Version.learned(model)


def judge(version: Version, lesson: Lesson, moment: int) -> Judged:
    """How well *version* foretells the answers since *moment*, of those before."""
    past, later = lesson.answers.before(moment), lesson.answers.since(moment)
    scores = version.scores(lesson.tags, lesson.pairs, past, later.who, later.whom)
    yes = (later.yes > 0.5).astype(float)
    return Judged(auc(scores, yes), auc(scores, yes * _returned(lesson.answers, later.who, later.whom)), len(later))


def _plain(value: float) -> float | None:
    """None: it cannot be said, for all answers were alike."""
    return None if np.isnan(value) else round(value, 4)


def _returned(answers: Answers, who: Ints, whom: Ints) -> Any:
    """Whether *whom* ever said yes to *who*."""
    n = int(max(answers.who.max(initial=0), answers.whom.max(initial=0))) + 1
    said = answers.yes > 0.5
    return np.isin(whom * n + who, answers.who[said] * n + answers.whom[said]).astype(float)


async def kept(database: Database, version: recommender.Version) -> Version:
    """*version* with what each tag says."""
    return Version.kept(version.weights, await recommender.tags(database, version.version))
