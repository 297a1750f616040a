"""Answers that people gave to each other, as columns."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What ``who`` said about ``whom``. All columns have the same length, m.

    ``who`` and ``whom`` are rows of :class:`~konnect_server.recommend.people.People`; ``yes`` is 0 to 1; ``at`` is of
    any unit and grows with time. The rows may come in any order.
    """

    who: Ints
    whom: Ints
    yes: Floats
    at: Ints

    def __post_init__(self) -> None:
        if not len(self.who) == len(self.whom) == len(self.yes) == len(self.at):
            raise ValueError("the columns of answers differ in length")

    def __len__(self) -> int:
        return len(self.who)

    def take(self, rows: Mask | Ints) -> "Answers":
        """Those *rows*: a mask of length m, or row numbers."""
        return Answers(self.who[rows], self.whom[rows], self.yes[rows], self.at[rows])

    def before(self, t: int) -> "Answers":
        """Those given before *t*."""
        return self.take(self.at < t)

    def since(self, t: int) -> "Answers":
        """Those given at *t* or later."""
        return self.take(self.at >= t)

    def mean(self) -> float:
        """The share of yes; 0.5 where nobody answered anything."""
        return float(self.yes.mean()) if len(self) else 0.5
