"""A process's memory over time, and how fast it grows."""

from collections.abc import Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """How large it was, so many seconds after the beginning."""

    seconds: float
    size_bytes: int


def slope_kib_per_minute(samples: Sequence[Sample]) -> float | None:
    """The slope of the straight line through *samples* by least squares; None for fewer than two moments."""
    if len({sample.seconds for sample in samples}) < 2:
        return None
    count = len(samples)
    middle_s = sum(sample.seconds for sample in samples) / count
    middle_bytes = sum(sample.size_bytes for sample in samples) / count
    over = sum((sample.seconds - middle_s) * (sample.size_bytes - middle_bytes) for sample in samples)
    under = sum((sample.seconds - middle_s) ** 2 for sample in samples)
    return round(over / under * 60 / 1024, 1)
