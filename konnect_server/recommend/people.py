"""People as their tags: what a profile says, one text a thing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class People:
    """``tags`` is a sparse matrix (csr) of n people by T tags, float64.

    A row holds 1 / sqrt(number of the person's tags) at each of them, so that its length is 1; it is empty where there
    are none. ``names`` are the T texts of the columns.
    """

    tags: Any  # scipy.sparse.csr_matrix: scipy brings no types
    names: list[str]

    def __len__(self) -> int:
        return int(self.tags.shape[0])

    @staticmethod
    def from_tags(lists: Sequence[Sequence[str]], names: Sequence[str] | None = None) -> "People":
        """One person for each of *lists*.

        Args:
            lists: The tags of each person, such as ``"i:climbing"``; a repeated one counts once.
            names: The columns wanted, as of a model learned before; tags that are not among them are left out. If
                None, all that occur, sorted.
        """
        columns = sorted({tag for tags in lists for tag in tags}) if names is None else list(names)
        number = {name: column for column, name in enumerate(columns)}
        indices: list[int] = []
        values: list[float] = []
        starts = [0]
        for tags in lists:
            known = sorted({number[tag] for tag in tags if tag in number})
            indices += known
            values += [1 / math.sqrt(len(known))] * len(known) if known else []
            starts.append(len(indices))
        shape = (len(lists), len(columns))
        return People(
            sparse.csr_matrix((np.array(values, float), np.array(indices, int), np.array(starts, int)), shape=shape),
            columns,
        )
