"""Range headers: RFC 9110, section 14."""

import pytest
from hypothesis import given, strategies as st

from konnect_server.http.byte_ranges import Part, Unsatisfiable, part_of


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)), ("bytes=0-", (0, 10)), ("bytes=3-5", (3, 6)), ("bytes=3-500", (3, 10)),
        ("bytes=-3", (7, 10)), ("bytes=-30", (0, 10)), (" bytes=1-2", None), ("bytes = 1-2", (1, 3)),
        ("bytes=9-9", (9, 10)), ("bytes=5-3", None), ("bytes=-", None), ("bytes=1-2,4-5", None), ("items=1-2", None),
        ("bytes=1", None), ("bytes=a-b", None), ("bytes=1-2x", None), ("bytes=\u0661-2", None), ("", None),
        (None, None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)  # fmt: skip
def test_one_range_of_ten_bytes(header: str | None, part: tuple[int, int] | None) -> None:
    """What is not one good range is passed over, and all is served."""
    assert part_of(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=999999-"])
def test_what_lies_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        part_of(header, 10)


@given(header=st.text(max_size=30) | st.from_regex(r"bytes=\d{0,5}-\d{0,5}", fullmatch=True), size=st.integers(0, 999))
def test_a_part_lies_inside(header: str, size: int) -> None:
    try:
        part = part_of(header, size)
    except Unsatisfiable:
        return
    assert part is None or (isinstance(part, Part) and 0 <= part.start < part.end <= size)
