"""One range of bytes out of a ``Range`` header (RFC 9110, section 14). Pure."""

import re
from typing import Final, NamedTuple

_ONE: Final = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)


class Part(NamedTuple):
    """Bytes *start* up to, and not including, *end*."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range begins behind the end, or asks for nothing."""


def part_of(header: str | None, size: int) -> Part | None:
    """What *header* asks for of *size* bytes; None for all of it: no header, another unit, several ranges, nonsense.

    Raises:
        Unsatisfiable: It is one range, of which nothing is there.
    """
    found = _ONE.fullmatch(header or "")
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return Part(max(0, size - int(last)), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Part(start, min(size, int(last) + 1) if last else size)
