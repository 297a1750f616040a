"""What others write, made fit for a terminal."""

import unicodedata
from typing import Final

# Characters that turn, hide or rewrite what stands around them (Unicode TR 9 and TR 36); letters that join are kept.
_TRICKS: Final = frozenset("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")


def harmless(text: str) -> str:
    """*text* without control characters: an escape sequence in a message must not move the reader's cursor."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _TRICKS:
        return ""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # its picture
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\ufffd"
    return character


def lines_of(text: str) -> list[str]:
    """*text*, split at its line ends, each line harmless."""
    return [harmless(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def width(text: str) -> int:
    """How many columns *text* takes. Source: Unicode Standard Annex 11, East Asian Width."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, columns: int) -> str:
    """The beginning of *text* that fits into *columns*; marked when something is missing."""
    if width(text) <= columns:
        return text
    kept = ""
    used = 1  # the mark
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += character
    return kept + "\u2026"


def tail(text: str, columns: int) -> str:
    """The end of *text* that fits into *columns*."""
    start = len(text)
    used = 0
    while start and used + _columns(text[start - 1]) <= columns:
        start -= 1
        used += _columns(text[start])
    return text[start:]
