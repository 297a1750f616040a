"""Token buckets promise a rate, a burst and bounded memory."""

import pytest
from hypothesis import given, strategies as st

from konnect_server.limiter import KeyedLimiter, TokenBucket

RATES = st.floats(0.01, 10_000)
BURSTS = st.floats(1, 1_000)
GAPS = st.lists(st.floats(0, 10), max_size=60)


def test_a_full_bucket_gives_its_burst_at_once_and_then_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.5)
    assert bucket.take(100.25) == pytest.approx(0.25)
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == pytest.approx(0.5)


def test_a_refused_take_costs_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(0.0) == 0.0
    assert {bucket.take(0.5) for _ in range(100)} == {0.5}
    assert bucket.take(1.0) == 0.0


def test_a_bucket_never_holds_more_than_its_burst_however_long_nobody_came() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    assert bucket.take(0.0) == 0.0
    assert [bucket.take(1e9) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1, rel=1e-3)]


def test_several_tokens_are_taken_together_or_not_at_all() -> None:
    bucket = TokenBucket(rate=1, burst=10)
    assert bucket.take(0.0, 8) == 0.0
    assert bucket.take(0.0, 5) == pytest.approx(3.0)
    assert bucket.take(0.0, 2) == 0.0


@given(rate=RATES, burst=BURSTS, start=st.floats(0, 1e6), gaps=GAPS)
def test_who_waits_as_long_as_told_is_served(rate: float, burst: float, start: float, gaps: list[float]) -> None:
    """A client that obeys retry_after must not be refused a second time (floats round, so this needs a tolerance)."""
    bucket, now = TokenBucket(rate, burst), start
    for gap in gaps:
        now += gap
        if wait := bucket.take(now):
            now += wait
            assert bucket.take(now) <= 1e-6 * max(1.0, wait)


@given(rate=RATES, burst=BURSTS, gaps=GAPS)
def test_no_span_of_time_lets_more_through_than_burst_plus_rate(rate: float, burst: float, gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now) == 0.0
        assert taken <= burst + rate * now + 1e-3


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5), (float("nan"), 1), (1, float("nan"))])
def test_a_bucket_without_rate_or_burst_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="a bucket needs"):
        TokenBucket(rate, burst)


def test_keys_do_not_share_their_buckets() -> None:
    limiter = KeyedLimiter(rate=1, burst=1)
    assert limiter.take("ann", 0.0) == 0.0
    assert limiter.take("bob", 0.0) == 0.0
    assert limiter.take("ann", 0.25) == pytest.approx(0.75)


def test_a_limiter_never_remembers_more_keys_than_its_bound() -> None:
    limiter = KeyedLimiter(rate=0.001, burst=1, most_keys=10)
    for number in range(1_000):
        assert limiter.take(f"address {number}", 0.0) == 0.0
        assert len(limiter) <= 10


def test_the_key_used_longest_ago_is_the_one_forgotten() -> None:
    limiter = KeyedLimiter(rate=0.001, burst=1, most_keys=2)
    limiter.take("ann", 0.0)
    limiter.take("bob", 0.0)
    assert limiter.take("ann", 1.0) > 0  # refused, but seen
    limiter.take("cem", 1.0)
    assert limiter.take("ann", 1.0) > 0  # still known
    assert limiter.take("bob", 1.0) == 0.0  # forgotten


def test_keys_whose_buckets_are_full_again_are_forgotten() -> None:
    limiter = KeyedLimiter(rate=1, burst=1)
    for number in range(100):
        limiter.take(f"address {number}", 0.0)
    assert len(limiter) == 100
    for number in range(100):
        limiter.take(f"late {number}", 50.0)
    assert len(limiter) == 100


def test_a_limiter_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room for at least one key"):
        KeyedLimiter(rate=1, burst=1, most_keys=0)
