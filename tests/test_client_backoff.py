"""Delays between attempts."""

from random import Random

import pytest
from hypothesis import given, strategies as st

from konnect_client.backoff import CEILING_S, FLOOR_S, RETRY_AFTER_MOST_S, Backoff


@given(seed=st.integers(), attempts=st.integers(1, 80))
def test_every_delay_lies_between_half_a_second_and_twenty(seed: int, attempts: int) -> None:
    backoff = Backoff(Random(seed))
    for attempt in range(1, attempts + 1):
        delay_s = backoff.delay_s()
        assert FLOOR_S <= delay_s <= min(CEILING_S, FLOOR_S * 2**attempt)


def test_delays_use_the_whole_range() -> None:
    """Full jitter: after many attempts clients are spread over all of it, not crowded at its end."""
    delays = []
    for seed in range(500):
        backoff = Backoff(Random(seed))
        for _ in range(9):
            backoff.delay_s()
        delays.append(backoff.delay_s())
    assert min(delays) < 2
    assert max(delays) > 18
    assert 9 < sum(delays) / len(delays) < 12


def test_a_reset_begins_again_with_short_delays() -> None:
    backoff = Backoff(Random(1))
    for _ in range(10):
        backoff.delay_s()
    backoff.reset()
    assert backoff.delay_s() <= 2 * FLOOR_S


@given(seed=st.integers(), wish_s=st.floats(0, 1e6))
def test_the_servers_wish_is_honoured_and_spread(seed: int, wish_s: float) -> None:
    """Those who were told the same time come back one after the other; nobody is sent away for a day."""
    wished = min(wish_s, RETRY_AFTER_MOST_S)
    assert wished + FLOOR_S <= Backoff(Random(seed)).delay_s(wish_s) <= wished + 2 * FLOOR_S


def test_a_wish_below_zero_is_none() -> None:
    assert FLOOR_S <= Backoff(Random(1)).delay_s(-5) <= 2 * FLOOR_S


def test_a_floor_above_the_ceiling_is_refused() -> None:
    with pytest.raises(ValueError, match="floor"):
        Backoff(Random(1), floor_s=2, ceiling_s=1)
