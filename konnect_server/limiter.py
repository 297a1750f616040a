"""Token buckets: how often something may happen, for one socket or for many keys.

A bucket holds up to ``burst`` tokens and gains ``rate`` a second; what happens takes one. It is kept as one number, the
time at which it would be full again (the "virtual scheduling" form of the generic cell rate algorithm, ITU-T I.371):
a bucket costs no timer, no refill, and a plain call of under a microsecond. Times are seconds on any clock that does
not jump back, such as ``trio.current_time()``.
"""

from typing import Final

_TOLERANCE_S: Final = 1e-6  # who waits exactly as long as told must be served, whatever floats make of the sum


class TokenBucket:
    """One bucket; starts full."""

    __slots__ = ("_burst_s", "_full_at", "_interval_s")

    def __init__(self, rate: float, burst: float) -> None:
        """*rate*: tokens a second, above 0. *burst*: tokens it holds, at least 1."""
        if not (rate > 0 and burst >= 1):
            raise ValueError(f"a bucket needs a rate above 0 and a burst of at least 1, not {rate} and {burst}")
        self._interval_s = 1 / rate
        self._burst_s = burst / rate
        self._full_at = float("-inf")

    def take(self, now: float, tokens: float = 1.0) -> float:
        """Take *tokens*, at most ``burst``: 0.0 when taken, else nothing is taken and the seconds to wait come back."""
        full_at = self._full_at
        if full_at < now:  # calling max would double the cost
            full_at = now
        full_at += tokens * self._interval_s
        wait = full_at - now - self._burst_s
        if wait > _TOLERANCE_S:
            return wait
        self._full_at = full_at
        return 0.0


class KeyedLimiter:
    """One bucket for each key (an address, a name), for at most ``most_keys`` of them.

    A key whose bucket is full again costs nothing to forget. When more are busy at once, the one that was used longest
    ago is forgotten: memory stays bounded, and who wants to be forgotten must keep ``most_keys`` other keys busy.
    """

    def __init__(self, rate: float, burst: float, most_keys: int = 100_000) -> None:
        """*rate* and *burst* as for :class:`TokenBucket`. *most_keys*: about 200 bytes each."""
        TokenBucket(rate, burst)  # judges the numbers
        if most_keys < 1:
            raise ValueError(f"a limiter needs room for at least one key, not {most_keys}")
        self._rate, self._burst, self._most_keys = rate, burst, most_keys
        self._buckets: dict[str, TokenBucket] = {}  # in the order of their last use

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one token of *key*: 0.0 when taken, else the seconds to wait."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._rate, self._burst)
            self._make_room(now)
        self._buckets[key] = bucket
        return bucket.take(now)

    def _make_room(self, now: float) -> None:
        """Forget the oldest keys that are full again, a few at each call; else, at the bound, the oldest."""
        for _ in range(2):  # two go for one that comes: a wave that has passed is forgotten
            oldest = next(iter(self._buckets), None)
            if oldest is None or self._buckets[oldest]._full_at > now:
                break
            del self._buckets[oldest]
        if len(self._buckets) >= self._most_keys:
            del self._buckets[next(iter(self._buckets))]
