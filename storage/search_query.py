"""What a person types into a search field, taken apart. No input raises: whatever is not understood is a word.

``dinner "good morning" -rain umb*``: words, a phrase, a word that must not be there, the beginning of a word. The last
word counts as a beginning, too, while nothing stands after it: so results come as one types.
"""

import re
from typing import Final

from msgspec import Struct

from protocol import limits

_PART: Final = re.compile(r'(-?)(?:"([^"]*)(?:"|$)|([^\s"]+))')
_SAYS: Final = re.compile(r"\w")


class Term(Struct, frozen=True, rename={"text": "x", "prefix": "p", "phrase": "f", "negative": "n"}):
    """One part of a query."""

    text: str
    prefix: bool = False  # words that begin so are meant, too
    phrase: bool = False  # these words as they are written, one after the other
    negative: bool = False  # it must not be there


def parse(text: str) -> list[Term]:
    """The parts of *text*, the first :data:`protocol.limits.SEARCH_TERMS`; those that hold neither letter nor digit are
    left out."""
    terms: list[Term] = []
    for part in _PART.finditer(text):
        minus, phrase, word = part.groups()
        if phrase is not None:
            term = Term(phrase.strip(), phrase=True, negative=bool(minus))
        else:
            bare = word.rstrip("*")
            prefix = bare != word or (part.end() == len(text) and not minus)
            term = Term(bare, prefix=prefix, negative=bool(minus))
        if _SAYS.search(term.text):
            terms.append(term)
        if len(terms) == limits.SEARCH_TERMS:
            break
    return terms
