"""A chat log of an IRC channel, line by line: who said what, who came, who went, who took another name.

Two spellings occur, an older and a newer one::

    [12:15] <nick> text               something said
    [12:15]  * nick looks around      an action, newer logs
    === nick looks around             an action, older logs
    === nick [user@host]  has joined #channel
    === nick [user@host]  has left #channel [reason]
    === nick is now known as other

Joins and parts stand in the older logs only, and quits in neither: whoever speaks is there, whatever the log told
before. Lines end at a line feed and at nothing else; each is UTF-8, or Latin-1 where it is not (bytes from the time
before UTF-8).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

_SAID: Final = re.compile(r"\[\d\d:\d\d\] <([^<>\s]+) *>(?: (.*))?", re.DOTALL)
_ACTED: Final = re.compile(r"\[\d\d:\d\d\] +\* (\S+)(?: (.*))?", re.DOTALL)
_JOINED: Final = re.compile(r"=== (\S+)\s+\[\S*@\S*\]\s+has joined \S+\s*")
_LEFT: Final = re.compile(r"=== (\S+)\s+\[\S*@\S*\]\s+has left \S+.*", re.DOTALL)
_RENAMED: Final = re.compile(r"=== (\S+) is now known as (\S+)\s*")
_ACTED_OLD: Final = re.compile(r"=== ([^\s<>/.:,@#]+) (.*)", re.DOTALL)  # mode/#channel and ..[topic are no nicks


@dataclass(frozen=True, slots=True)
class Said:
    """*nick* said *text*; an action reads ``/me looks around``. The text may be empty."""

    nick: str
    text: str


@dataclass(frozen=True, slots=True)
class Joined:
    """*nick* came into the channel."""

    nick: str


@dataclass(frozen=True, slots=True)
class Left:
    """*nick* went."""

    nick: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """*nick* is called *to* from here on."""

    nick: str
    to: str


@dataclass(frozen=True, slots=True)
class Other:
    """A line that is none of these: the channel's topic, its modes, something torn."""

    line: str


Line: TypeAlias = Said | Joined | Left | Renamed | Other


def read_chatlog(path: Path) -> list[Line]:
    """All lines of the log at *path*, blank ones left out.

    Raises:
        OSError: The file cannot be read.
    """
    return list(parse_chatlog(path.read_bytes()))


def parse_chatlog(content: bytes) -> Iterator[Line]:
    """The lines of a log's bytes, blank ones left out; whatever the bytes, every line gives something."""
    for raw in content.split(b"\n"):
        text = _text(raw.removesuffix(b"\r"))
        if text.strip():
            yield _line(text)


def _line(text: str) -> Line:
    if match := _SAID.fullmatch(text):
        return Said(match[1], (match[2] or "").rstrip())
    if match := _ACTED.fullmatch(text):
        return Said(match[1], f"/me {match[2] or ''}".rstrip())
    if match := _JOINED.fullmatch(text):
        return Joined(match[1])
    if match := _LEFT.fullmatch(text):
        return Left(match[1])
    if match := _RENAMED.fullmatch(text):
        return Renamed(match[1], match[2])
    if match := _ACTED_OLD.fullmatch(text):
        return Said(match[1], f"/me {match[2]}".rstrip())
    return Other(text)


def _text(raw: bytes) -> str:
    """A line's bytes as text without NUL, which no database of ours stores."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\0", "\ufffd")
