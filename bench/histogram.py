"""Latencies by the million in a few kilobytes: 128 steps for each power of two, so quantiles are at most 0.8 % high."""

from typing import Final

_BITS: Final = 7
_STEPS: Final = 1 << _BITS


class Histogram:
    """Counts durations of whole nanoseconds. ``note`` is a plain call of a fraction of a microsecond."""

    __slots__ = ("_buckets", "count", "largest_ns")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = self.largest_ns = 0

    def note(self, seconds: float) -> None:
        """Count one duration; below zero, as clocks may have it, counts as zero."""
        ns = max(0, int(seconds * 1e9))
        self.count += 1
        if ns > self.largest_ns:
            self.largest_ns = ns
        place = ns
        if ns >= 2 * _STEPS:
            shift = ns.bit_length() - _BITS - 1
            place = (shift << _BITS) + (ns >> shift)
        self._buckets[place] = self._buckets.get(place, 0) + 1

    def quantile_ms(self, share: float) -> float:
        """The duration in milliseconds that *share* of all (0 to 1) do not exceed; 0 when there is none."""
        wanted, passed = share * self.count, 0
        for place in sorted(self._buckets):
            passed += self._buckets[place]
            if passed >= wanted:
                return min(_upper(place), self.largest_ns) / 1e6
        return self.largest_ns / 1e6

    def told(self) -> dict[str, float]:
        """Count, quantiles and maximum, in milliseconds, named as ``load.c`` names them."""
        return {
            "count": self.count,
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "p999_ms": self.quantile_ms(0.999),
            "max_ms": self.largest_ns / 1e6,
        }


def _upper(place: int) -> int:
    """The largest number of nanoseconds that falls into the bucket at *place*."""
    if place < 2 * _STEPS:
        return place
    shift = (place >> _BITS) - 1
    return ((place - (shift << _BITS) + 1) << shift) - 1
