"""Docstrings as text for documents: one line a paragraph, names in back quotes, the first sentence as summary."""

import re
from collections.abc import Callable
from typing import Final

_ROLE: Final = re.compile(r":\w+:`([^`]+)`")
_END_OF_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def text(thing: object) -> str:
    """The docstring of *thing*; paragraphs are parted by an empty line, ``code`` and roles become `code`."""
    return tidy(thing.__doc__ or "")


def tidy(prose: str) -> str:
    """*prose* without reStructuredText's marks, its lines joined to paragraphs."""
    plain = _ROLE.sub(r"`\1`", prose).replace("``", "`")
    paragraphs = re.split(r"\n\s*\n", plain.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def summary(thing: object) -> str:
    """The first sentence of the docstring of *thing*, without its full stop."""
    return first_sentence(text(thing))


def first_sentence(prose: str) -> str:
    """The first sentence of *prose*, without its full stop."""
    return _END_OF_SENTENCE.split(prose.split("\n\n")[0])[0].rstrip(".")


def linked(prose: str, link: Callable[[str], str | None]) -> str:
    """*prose* with each `name` for which *link* knows an address made a Markdown link."""

    def one(match: re.Match[str]) -> str:
        address = link(match[1])
        return f"[`{match[1]}`]({address})" if address else match[0]

    return re.sub(r"`([^`]+)`", one, prose)
