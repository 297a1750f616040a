"""What one client saw of one conversation, and how that compares with the log.

Everything here is plain values: the replay feeds it from clients, the tests from lists.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from konnect_client import Entry


class Accepted(NamedTuple):
    """One message that the server acknowledged."""

    author: str
    key: str
    text: str | None  # None: it was deleted since
    seq: int


class Span(NamedTuple):
    """From the entry that let somebody in to the entry that let them out, both included; None while they are in."""

    joined: int
    until: int | None


@dataclass(slots=True)
class Verdict:
    """How many entries went wrong, over any number of comparisons; all 0 when the promise was kept."""

    compared: int = 0  # entries that were to be seen
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    foreign: int = 0  # seen by somebody who was no member, or nowhere in the log
    altered: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True when nothing was lost, doubled, reordered, shown to others or altered."""
        return not (self.lost or self.doubled or self.reordered or self.foreign or self.altered)

    def add(self, other: "Verdict") -> None:
        """Take over what *other* found."""
        self.compared += other.compared
        self.lost += other.lost
        self.doubled += other.doubled
        self.reordered += other.reordered
        self.foreign += other.foreign
        self.altered += other.altered
        self.examples += other.examples[: max(0, 10 - len(self.examples))]

    def blame(self, what: str) -> None:
        """Keep *what* as an example, of ten at most."""
        if len(self.examples) < 10:
            self.examples.append(what)


def spans(log: Iterable[Entry]) -> dict[str, list[Span]]:
    """Who was a member from where to where, by the log itself: person -> spans in order."""
    found: dict[str, list[Span]] = {}
    for entry in log:
        if entry.kind == "created":
            for member in entry.members:
                found.setdefault(member, []).append(Span(entry.seq, None))
        elif entry.kind == "member.added" and entry.user is not None:
            found.setdefault(entry.user, []).append(Span(entry.seq, None))
        elif entry.kind in ("member.removed", "member.banned") and entry.user is not None:
            found[entry.user][-1] = found[entry.user][-1]._replace(until=entry.seq)
    return found


def within(log: Iterable[Entry], member: Sequence[Span]) -> list[Entry]:
    """The entries of *log* that a member with these spans is to see."""
    return [
        entry
        for entry in log
        if any(span.joined <= entry.seq and (span.until is None or entry.seq <= span.until) for span in member)
    ]


def compare_transcript(seen: Sequence[Entry], wanted: Sequence[Entry], who: str) -> Verdict:
    """Hold what one client saw, in the order in which it saw it, against what it was to see, in seq order."""
    verdict = Verdict(compared=len(wanted))
    by_seq = {entry.seq: entry for entry in wanted}
    came: set[int] = set()
    highest = 0
    for entry in seen:
        if entry.seq in came:
            verdict.doubled += 1
            verdict.blame(f"{who} saw entry {entry.seq} twice")
        elif entry.seq not in by_seq:
            verdict.foreign += 1
            verdict.blame(f"{who} saw entry {entry.seq}, which was not theirs to see")
        elif entry.seq < highest:
            verdict.reordered += 1
            verdict.blame(f"{who} saw entry {entry.seq} after {highest}")
        elif not _is_earlier_copy(entry, by_seq[entry.seq]):
            verdict.altered += 1
            verdict.blame(f"{who} saw entry {entry.seq} as {entry}, the log has {by_seq[entry.seq]}")
        came.add(entry.seq)
        highest = max(highest, entry.seq)
    missing = [entry.seq for entry in wanted if entry.seq not in came]
    verdict.lost += len(missing)
    if missing:
        verdict.blame(f"{who} never saw {len(missing)} entries: {missing[:5]}")
    return verdict


def _is_earlier_copy(seen: Entry, kept: Entry) -> bool:
    """Whether *seen* is what *kept* was once: the log tells of messages, and of edits, as they stand now."""
    if seen == kept:
        return True
    told = [(one.conversation, one.seq, one.kind, one.author, one.key, one.at_ms) for one in (seen, kept)]
    changed = kept.changed > seen.changed if kept.kind == "message" else kept.kind == "message.edited" and kept.deleted
    return told[0] == told[1] and changed


def compare_messages(shown: Iterable[Entry], log: Sequence[Entry], who: str) -> Verdict:
    """Hold the messages that a client shows at the end, folded from all that it heard, against the log as it stands."""
    verdict = Verdict()
    for message in shown:
        verdict.compared += 1
        kept = log[message.seq - 1] if message.seq <= len(log) else None
        if message != kept:
            verdict.altered += 1
            verdict.blame(f"{who} shows message {message.seq} as {message}, the log has {kept}")
    return verdict


def compare_log(accepted: Sequence[Accepted], log: Sequence[Entry], name: str) -> Verdict:
    """Hold the log against what was acknowledged, in the order of sending: each once, at its seq, in that order."""
    verdict = Verdict(compared=len(accepted))
    for place, entry in enumerate(log, start=1):
        if entry.seq != place:
            verdict.lost += 1
            verdict.blame(f"{name} has entry {entry.seq} in place {place}")
            break
    messages: dict[tuple[str, str], list[Entry]] = {}
    for entry in log:
        if entry.kind == "message":
            messages.setdefault((entry.author, entry.key), []).append(entry)
    highest = 0
    for message in accepted:
        found = messages.pop((message.author, message.key), [])
        if not found:
            verdict.lost += 1
            verdict.blame(f"{name} lost an acknowledged message: {message}")
            continue
        if len(found) > 1:
            verdict.doubled += len(found) - 1
            verdict.blame(f"{name} has a message more than once: {found}")
        if found[0].text != message.text or found[0].seq != message.seq:
            verdict.altered += 1
            verdict.blame(f"{name} has {found[0]} for {message}")
        if found[0].seq < highest:
            verdict.reordered += 1
            verdict.blame(f"{name} has {message} before one that was acknowledged earlier")
        highest = max(highest, found[0].seq)
    for rest in messages.values():
        verdict.foreign += len(rest)
        verdict.blame(f"{name} has a message that nobody sent: {rest[0]}")
    return verdict
