"""The piece of a message that shows why it was found."""

from hypothesis import given, strategies as st

from protocol import limits
from storage import snippets


def test_marks_become_places_in_code_points() -> None:
    assert snippets.ranges("𝄞 \x01Tea\x02, \x01tea\x02") == [(2, 5), (7, 10)]
    assert snippets.ranges("\x02 \x01\x02 \x01") == []
    assert snippets.union([(7, 10), (2, 5), (4, 6), (6, 7), (2, 5)]) == [(2, 6), (6, 7), (7, 10)]


def test_a_short_text_is_its_own_snippet() -> None:
    assert snippets.cut("Tea at eight", [(0, 3)]) == ("Tea at eight", [[0, 3]])
    assert snippets.cut("", []) == ("", [])


def test_a_long_text_is_cut_between_words_around_the_first_place() -> None:
    text = "one two three four " * 20 + "dinner " + "five six seven " * 30
    place = text.index("dinner")
    snippet, [[offset, length]] = snippets.cut(text, [(place, place + 6)])
    assert snippet[offset : offset + length] == "dinner"
    assert snippet.startswith("…")
    assert snippet.endswith("…")
    assert set(snippet.strip("…").split()) <= set(text.split())
    assert snippets.cut("x " * 200, []) == ("x " * 79 + "x…", [])


@given(
    st.text(max_size=600),
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 40)), max_size=50),
)
def test_places_stay_on_their_words(text: str, wanted: list[tuple[int, int]]) -> None:
    found = snippets.union((first, first + length) for first, length in wanted if first + length <= len(text))
    snippet, places = snippets.cut(text, found)
    assert len(snippet) <= limits.SNIPPET_CHARS + 2
    assert len(places) <= limits.HIGHLIGHTS
    words = [text[first:end] for first, end in found]
    for offset, length in places:
        assert offset + length <= len(snippet)
        assert snippet[offset : offset + length] in words
    if found and found[0][1] - found[0][0] <= 40 and places[:1] == []:
        raise AssertionError("the first place is always shown")
