"""One script played in one group: who comes is added, who goes leaves, and each line is sent by its author.

The order of the log is kept by waiting: a step is taken once the one before it was acknowledged, which the server does
only when it is on disk. So the acknowledged numbers must rise from line to line, whoever spoke.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final

import trio

from bench.cast import Person
from bench.script import Come, Go, Say, Script
from bench.transcript import Accepted, Verdict, compare_log, compare_messages, compare_transcript, spans, within
from konnect_client import Entry

STALLED_S: Final = 180.0  # no acknowledgement for so long: something hangs


class Stalled(Exception):
    """A step was not acknowledged in time; the text says which, and what its client was doing."""


class Stage:
    """One group and what was acknowledged in it."""

    def __init__(
        self, name: str, script: Script, host: Person, people: Sequence[Person], changes: float, random: Random
    ) -> None:
        """*host* is there from first to last and adds whoever comes; *people* are the script's, in its order.
        *changes*: the share of messages that are edited, reacted to or deleted right after they were said."""
        self.name, self.script = name, script
        self.group = ""
        self.accepted: list[Accepted] = []
        self._host, self._people = host, people
        self._changes, self._random = changes, random
        self.changed: Counter[str] = Counter()  # what was done to messages -> how often

    async def play(self, speed: float, stepped: Callable[[], None]) -> None:
        """All steps, *speed* a second at most (0: as fast as acknowledgements come); *stepped* is called after each.

        Raises:
            Stalled: An acknowledgement did not come.
            ServerRefused: The server refused a step.
        """
        members = [self._people[number].id for number in self.script.first]
        with _patience(f"{self.name}: the group's making", self._host):
            self.group = await self._host.client.create(self.name, members, history="from_join")
        due = trio.current_time()
        for number, step in enumerate(self.script.steps):
            person = self._people[step.person]
            with _patience(f"{self.name}: step {number}, {step}", person):
                await self._take(step, person)
            stepped()
            due = max(due + (1 / speed if speed else 0.0), trio.current_time() - 1.0)
            await trio.sleep_until(due)

    async def settle(self, within_s: float) -> list[Entry]:
        """The log as the host reads it back, once everybody has all of it, or after *within_s* seconds."""
        log = [entry async for entry in self._host.client.walk_back(self.group)]
        log.reverse()
        with trio.move_on_after(within_s):
            for person, wanted in self._wanted(log):
                while wanted and person.top(self.group) < wanted[-1].seq:
                    await person.news.wait()
        return log

    def judge(self, log: Sequence[Entry]) -> Verdict:
        """Hold the log against what was acknowledged, and every transcript against the log."""
        verdict = compare_log(self.accepted, log, self.name)
        for person, wanted in self._wanted(log):
            who = f"{person.nick} in {self.name}"
            verdict.add(compare_transcript(person.seen.get(self.group, []), wanted, who))
            if wanted and wanted[-1] is log[-1]:  # who left does not hear what changes since
                verdict.add(compare_messages(person.messages.of(self.group), log, who))
        return verdict

    async def _take(self, step: Say | Come | Go, person: Person) -> None:
        match step:
            case Say(text=text):
                message = person.client.send_nowait(self.group, text)
                sent = await message.wait()
                self.accepted.append(Accepted(person.id, message.key, text, sent.seq))
                if self._random.random() < self._changes:
                    await self._change(person, self.accepted[-1])
            case Come():
                await self._host.client.add(self.group, person.id)
            case Go():
                await person.client.leave(self.group)

    async def _change(self, author: Person, message: Accepted) -> None:
        """Something is done to the message that was just said, and acknowledged before the next step."""
        what = self._random.choice(("edit", "edit", "react", "react", "delete"))
        self.changed[what] += 1
        match what:
            case "edit":
                text = f"{message.text} (edited)"
                await author.client.edit(self.group, message.seq, text)
                self.accepted[-1] = message._replace(text=text)
            case "react":
                await self._host.client.react(self.group, message.seq, "\N{THUMBS UP SIGN}")
            case "delete":
                await author.client.delete(self.group, message.seq)
                self.accepted[-1] = message._replace(text=None)

    def _wanted(self, log: Sequence[Entry]) -> list[tuple[Person, list[Entry]]]:
        member_spans = spans(log)
        return [(one, within(log, member_spans.get(one.id, []))) for one in (self._host, *self._people)]


@contextmanager
def _patience(what: str, person: Person) -> Iterator[None]:
    with trio.move_on_after(STALLED_S) as scope:
        yield
    if scope.cancelled_caught:
        at_work = f"the client of {person.nick} is {person.client.state.phase} ({person.client.state.reason})"
        raise Stalled(f"{what} was not acknowledged within {STALLED_S:g} s; {at_work}")
