"""UUIDv7 (RFC 9562, section 5.7): version, variant, time, and no two alike."""

import time
from uuid import RFC_4122

from konnect_server.ids import uuid7


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = [uuid7() for _ in range(200)]
    assert all(one.version == 7 and one.variant == RFC_4122 for one in made)
    assert len(set(made)) == 200


def test_an_id_begins_with_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    one = uuid7()
    assert before <= one.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    first = uuid7()
    while time.time_ns() // 1_000_000 == first.int >> 80:
        pass
    assert uuid7() > first
    assert str(uuid7()) > str(first)


def test_all_other_bits_are_drawn() -> None:
    """74 of them: each is seen both as 0 and as 1."""
    made = [uuid7().int for _ in range(200)]
    drawn = [bit for bit in range(80) if {one >> bit & 1 for one in made} == {0, 1}]
    assert len(drawn) == 74
