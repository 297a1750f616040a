"""What more is known where everybody's answers may be seen, as in an experiment; the server may not know it of others.

``own popularity`` and ``their selectivity``: whom many like is choosier, and the choosy are liked more, or less.
``alike``: the product of both popularities, for those who look for their like. ``raters``: what people say of the other
who judged as oneself did, ``rated``: what oneself said of those who were judged as the other was; both of what answers
were beyond expectation. That is filtering by neighbours, whose similarities are shrunk by the number of answers in
common (Resnick and others, GroupLens, 1994).
"""

from typing import Final

import numpy as np

from konnect_server.recommend.answers import Answers, Floats, Ints
from konnect_server.recommend.state import Effects

MORE: Final = ("own popularity", "their selectivity", "alike", "raters", "rated")
COMMON = 5.0  # answers in common at which a similarity counts half
MOST: Final = 4_000  # people, since tables of all by all are made


class Mutual:
    """The terms MORE, for any pairs, after *answers*.

    Args:
        people: How many there are, n; no more than MOST.
        answers: That are seen.
        state: What they tell.
        circles: Of each answer, or None.
    """

    def __init__(self, people: int, answers: Answers, state: Effects, circles: Ints | None) -> None:
        if people > MOST:
            raise ValueError(f"neighbours are looked for among {MOST} people at most, not {people}")
        expected = state.expected(answers, circles)
        surprise, there = np.zeros((people, people)), np.zeros((people, people))
        there[answers.who, answers.whom] = 1.0
        surprise[answers.who, answers.whom] = (answers.yes - expected) / np.sqrt(expected * (1 - expected))
        raters = (surprise @ surprise.T) / (there @ there.T + COMMON)
        rated = (surprise.T @ surprise) / (there.T @ there + COMMON)
        np.fill_diagonal(raters, 0.0)
        np.fill_diagonal(rated, 0.0)
        self._raters, self._rated, self._state = raters @ surprise, surprise @ rated, state

    def __call__(self, who: Ints, whom: Ints) -> Floats:
        """(k, 5) of k pairs."""
        own, theirs = self._state.popularity[who], self._state.popularity[whom]
        columns = [own, self._state.selectivity[whom], own * theirs, self._raters[who, whom], self._rated[who, whom]]
        return np.column_stack(columns)
