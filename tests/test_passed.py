"""Receipts that passed lately: all since a moment, or none."""

from hypothesis import given, strategies as st

from konnect_server.passed import Passed
from tests.fakes import ANN, BOB, ROOM


@given(before=st.integers(0, 12), after=st.integers(0, 12), kept=st.integers(1, 8))
def test_all_since_a_moment_come_in_their_order_or_none(before: int, after: int, kept: int) -> None:
    passed = Passed(kept)
    for number in range(before):
        passed.add(ROOM, ANN, True, b"before %d" % number)
    moment = passed.count
    for number in range(after):
        passed.add(ROOM, ANN, False, b"after %d" % number)
    since = passed.since(moment)
    if after > kept:
        assert since is None
    else:
        assert since is not None
        assert [one.data for one in since] == [b"after %d" % number for number in range(after)]


def test_each_is_told_as_much_as_they_may_know() -> None:
    passed = Passed()
    passed.add(ROOM, ANN, True, b"all")
    passed.add(ROOM, ANN, True, b"all", b"shown", b"delivered")
    passed.add(ROOM, ANN, True, b"all", b"", b"")
    told = [
        [one.told_to(user, sees_reading=sees) for user, sees in ((ANN, False), (BOB, True), (BOB, False))]
        for one in passed.since(0) or ()
    ]
    assert told == [[b"all"] * 3, [b"all", b"shown", b"delivered"], [b"all", b"", b""]]
