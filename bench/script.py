"""A chat log turned into what its people do: say, come, go; each nick an account, through all its renames.

The group is made before the first line with everybody who is there without having come: a log begins in the middle.
Whoever speaks after having gone has come back unseen (logs do not tell quits), and whoever comes while being there had
gone unseen: the first gets a step of its own, the second is passed over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bench.chatlog import Joined, Left, Line, Renamed, Said

TEXT_CHARS: Final = 8_192  # the longest text that one message may carry


@dataclass(frozen=True, slots=True)
class Say:
    """*person* sends *text*."""

    person: int
    text: str


@dataclass(frozen=True, slots=True)
class Come:
    """*person* is added to the group."""

    person: int


@dataclass(frozen=True, slots=True)
class Go:
    """*person* leaves the group."""

    person: int


Step: TypeAlias = Say | Come | Go


@dataclass(slots=True)
class Script:
    """``people`` are the nicks that accounts are first called by; steps name them by their place in that list."""

    people: list[str] = field(default_factory=list)
    first: list[int] = field(default_factory=list)  # who is in the group from its making on
    steps: list[Step] = field(default_factory=list)
    passed_over: int = 0  # lines that give no step: empty ones, topics and modes, renames, who comes twice

    @property
    def says(self) -> int:
        """How many messages there are to send."""
        return sum(isinstance(step, Say) for step in self.steps)


class _Cast:
    """Who is called what, and who is in the group, while the log is read."""

    def __init__(self) -> None:
        self.script = Script()
        self.called: dict[str, int] = {}
        self.present: set[int] = set()
        self.seen: set[int] = set()  # whoever was ever in the group

    def person(self, nick: str) -> int:
        if nick not in self.called:
            self.called[nick] = len(self.script.people)
            self.script.people.append(nick)
        return self.called[nick]

    def ensure_present(self, nick: str) -> int:
        """The person called *nick*, who must have been there from the start, or have come back unseen."""
        person = self.person(nick)
        if person not in self.present:
            if person in self.seen:
                self.script.steps.append(Come(person))
            else:
                self.script.first.append(person)
            self.enter(person)
        return person

    def enter(self, person: int) -> None:
        self.present.add(person)
        self.seen.add(person)


def write_script(lines: Iterable[Line], limit: int | None = None) -> Script:
    """What the people of *lines* do, in the order of the log; only the first *limit* lines if given."""
    cast = _Cast()
    for line in list(lines)[:limit]:
        before = len(cast.script.steps)
        _play(line, cast)
        cast.script.passed_over += len(cast.script.steps) == before
    return cast.script


def _play(line: Line, cast: _Cast) -> None:
    steps = cast.script.steps
    match line:
        case Said(nick, text) if text:
            person = cast.ensure_present(nick)
            steps.extend(Say(person, text[at : at + TEXT_CHARS]) for at in range(0, len(text), TEXT_CHARS))
        case Joined(nick):
            person = cast.person(nick)
            if person not in cast.present:
                cast.enter(person)
                steps.append(Come(person))
        case Left(nick):
            person = cast.ensure_present(nick)
            cast.present.discard(person)
            steps.append(Go(person))
        case Renamed(nick, to):
            cast.called[to] = cast.ensure_present(nick)
            if to != nick:
                del cast.called[nick]
        case _:
            pass
