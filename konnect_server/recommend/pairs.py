"""What two people share, as the database computes it too (migrations/0026, ``suggest_scores``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from konnect_server.recommend.answers import Floats, Ints

NAMES: Final = ("interests", "languages", "near", "age")

_INTERESTS: Final = 4  # so many in common are all that counts
_YEARS: Final = 5.0  # of difference, after which likeness of age is 1 / e
_KM: Final = (10, 50, 200)  # the bands of nearness: 1, 2/3, 1/3
_EARTH_KM: Final = 12_742.0  # twice its radius
_OFF_KM: Final = 0.5  # as far as a cell may be off


@dataclass(frozen=True)
class Pairs:
    """The features of pairs: (m, 4) of rows of n people, as :data:`NAMES` says, each 0 to 1."""

    interests: Any  # csr (n, T) of 0 and 1
    languages: Any
    latitude: Floats  # (n,) radians, of the cell's middle; NaN: not shown
    longitude: Floats
    born: Floats  # (n,) days; NaN: not shown

    @staticmethod
    def of(
        tags: Sequence[Sequence[str]], cell_lat: Sequence[int | None], cell_lon: Sequence[int | None],
        born: Sequence[int | None],
    ) -> "Pairs":  # fmt: skip
        """*tags*: of each person, as ``profile_tags`` gives them; the cells of the grid (migrations/0019); *born*: days
        since 1970."""
        lat = np.array([np.nan if one is None else one for one in cell_lat], float)
        lon = np.array([np.nan if one is None else one for one in cell_lon], float)
        latitude = np.radians((lat + 0.5) * 0.045 - 90)
        columns = np.maximum(1, np.floor(8000 * np.cos(latitude)))
        return Pairs(
            _marks(tags, "i:"), _marks(tags, "l:"), latitude, np.radians((lon + 0.5) * 360 / columns),
            np.array([np.nan if one is None else one for one in born], float),
        )  # fmt: skip

    def __call__(self, who: Ints, whom: Ints) -> Floats:
        common = _common(self.interests, who, whom)
        spoken = _common(self.languages, who, whom)
        return np.column_stack([
            np.minimum(common, _INTERESTS) / _INTERESTS, (spoken > 0).astype(float), self._near(who, whom),
            np.nan_to_num(np.exp(-np.abs(self.born[who] - self.born[whom]) / 365.25 / _YEARS)),
        ])  # fmt: skip

    def _near(self, who: Ints, whom: Ints) -> Floats:
        lat, other = self.latitude[who], self.latitude[whom]
        part = np.sin((lat - other) / 2) ** 2
        part += np.cos(lat) * np.cos(other) * np.sin((self.longitude[who] - self.longitude[whom]) / 2) ** 2
        km = _EARTH_KM * np.arcsin(np.minimum(1, np.sqrt(part))) - _OFF_KM
        return np.asarray(sum((km <= band).astype(float) for band in _KM) / len(_KM), float)  # NaN is near nobody


def _marks(tags: Sequence[Sequence[str]], kind: str) -> Any:
    number: dict[str, int] = {}
    rows, columns = [], []
    for row, some in enumerate(tags):
        for tag in some:
            if tag.startswith(kind):
                rows.append(row)
                columns.append(number.setdefault(tag, len(number)))
    shape = (len(tags), max(1, len(number)))
    return sparse.csr_matrix((np.ones(len(rows)), (np.array(rows, int), np.array(columns, int))), shape=shape)


def _common(marks: Any, who: Ints, whom: Ints) -> Floats:
    return np.asarray(marks[who].multiply(marks[whom]).sum(axis=1), float).ravel()
