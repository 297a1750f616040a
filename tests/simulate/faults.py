"""What the database does wrong, drawn from the seed: how long each step takes, and which steps fail."""

from random import Random
from typing import Final, Literal, NamedTuple

Fate = Literal["well", "before", "during", "after", "late"]


class Plan(NamedTuple):
    """How one call goes.

    ``before``: it never reaches the database. ``during``: the transaction is rolled back. ``after``: it commits and
    the answer is lost. ``late``: the caller is told that the outcome is unknown while the transaction still runs;
    it commits afterwards, so that a retry begins before it (hazard A7).
    """

    fate: Fate
    before_s: float  # until the first statement
    commit_s: float  # from the last statement until the others see it
    answer_s: float  # from there until the caller knows


WELL: Final = Plan("well", 0.0, 0.0, 0.0)


class Faults:
    """None at all: everything goes well, at once."""

    def draw(self, write: bool) -> Plan:
        """How the next call goes."""
        return WELL


class SeededFaults(Faults):
    """Times and failures drawn from a generator; ``rate`` and ``out`` may be changed at any time."""

    def __init__(self, rng: Random, rate: float, quick_s: float = 0.002, slow_s: float = 0.4) -> None:
        self.rng = rng
        self.rate = rate  # share of the calls that fail
        self.slow = 0.05  # share of the steps that take long
        self.out = False  # an outage: nothing reaches the database
        self._quick_s = quick_s
        self._slow_s = slow_s

    def _time(self, at_once: float) -> float:
        """How long a step takes; a share of them, *at_once*, takes no time at all."""
        draw = self.rng.random()
        if draw < at_once:
            return 0.0
        return self.rng.random() * self._slow_s if draw > 1 - self.slow else self._quick_s

    def draw(self, write: bool) -> Plan:
        fate: Fate = "well"
        if self.out:
            fate = "before"
        elif self.rng.random() < self.rate:
            fate = self.rng.choice(("before", "during", "after", "late", "late") if write else ("before", "after"))
        commit_s = self._time(0.2) if write else 0.0
        if fate == "late":
            commit_s += self.rng.random() * 2.0
        return Plan(fate, self._time(0.5), commit_s, self._time(0.5))
