"""The part of a found message that shows why it was found: a piece of its text, and where in it the words stand.

Ranges, no markup: a client that puts text on a page has nothing to unwrap or to trust. All lengths and places are in
code points.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from protocol import limits

BEGIN: Final = "\x01"  # around a word, in texts that the database has marked
END: Final = "\x02"
_BEFORE: Final = 40  # of a long text, so much is shown before the first word
_NEAR: Final = 16  # as far a piece's end is moved, so that it does not cut a word


def ranges(marked: str) -> list[tuple[int, int]]:
    """Where the marks of *marked* stand in the text without them: (first, behind the last)."""
    found: list[tuple[int, int]] = []
    place, begun = 0, -1
    for character in marked:
        if character == BEGIN:
            begun = place
        elif character == END:
            if 0 <= begun < place:
                found.append((begun, place))
            begun = -1
        else:
            place += 1
    return found


def union(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places, none twice, in order."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(found):
        if joined and first < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def cut(text: str, found: Sequence[tuple[int, int]]) -> tuple[str, list[list[int]]]:
    """A piece of *text* of up to ``SNIPPET_CHARS`` around the first of *found*, with a sign where something is left
    out; and the places in it as [offset, length]."""
    start, end = 0, len(text)
    if len(text) > limits.SNIPPET_CHARS:
        wanted = found[0][0] - _BEFORE if found else 0
        start = max(0, min(wanted, len(text) - limits.SNIPPET_CHARS))
        start = 0 if start == 0 else _after_a_space(text, start)
        end = min(len(text), start + limits.SNIPPET_CHARS)
        end = len(text) if end == len(text) else _before_a_space(text, end)
    before, after = "…" if start > 0 else "", "…" if end < len(text) else ""
    shift = len(before) - start
    places = [[first + shift, last - first] for first, last in found if start <= first and last <= end]
    return f"{before}{text[start:end]}{after}", places[: limits.HIGHLIGHTS]


def _after_a_space(text: str, place: int) -> int:
    for near in range(place, min(place + _NEAR, len(text))):
        if text[near - 1].isspace():
            return near
    return place


def _before_a_space(text: str, place: int) -> int:
    for near in range(place, max(place - _NEAR, 0), -1):
        if text[near].isspace():
            return near
    return place
