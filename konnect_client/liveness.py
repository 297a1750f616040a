"""Whether a connection still lives: silence is broken by a ping, and a silence that a ping does not break is its end.

The deadlines are the client's own. A half-open connection (a train in a tunnel, a router that forgot) reports no
error for minutes, and the server's pings do not arrive either.
"""

from dataclasses import dataclass
from typing import Final

PING_AFTER_S: Final = 25.0
PING_WITHIN_S: Final = 10.0
HELLO_WITHIN_S: Final = 15.0
ANSWER_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Liveness:
    """The deadlines of a connection, in seconds."""

    ping_after_s: float = PING_AFTER_S  # of silence: ask
    ping_within_s: float = PING_WITHIN_S  # of silence more: dead
    hello_within_s: float = HELLO_WITHIN_S  # from connecting to the answer to hello
    answer_within_s: float = ANSWER_WITHIN_S  # for any one command while the connection seems alive


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is known of a connection; all times by the same clock, in seconds."""

    began: float
    last_heard: float  # when anything came in
    opened: bool  # hello was answered
    pinged: bool  # a ping is on its way
    oldest_unanswered: float | None  # when the longest waiting command was sent


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now: end it for ``dead``, send a ping, and look again at ``again_at``."""

    dead: str | None
    ping: bool
    again_at: float


def judge(limits: Liveness, pulse: Pulse, now: float) -> Verdict:
    """Look at *pulse* and say what follows. Pure."""
    if not pulse.opened:
        hello_by = pulse.began + limits.hello_within_s
        return Verdict("hello_timeout" if now >= hello_by else None, False, hello_by)
    ping_at = pulse.last_heard + limits.ping_after_s
    dead_at = ping_at + limits.ping_within_s
    if now >= dead_at:
        return Verdict("no_answer", False, dead_at)
    again_at = dead_at if now >= ping_at else ping_at
    if pulse.oldest_unanswered is not None:
        answer_by = pulse.oldest_unanswered + limits.answer_within_s
        if now >= answer_by:
            return Verdict("answer_overdue", False, answer_by)
        again_at = min(again_at, answer_by)
    return Verdict(None, now >= ping_at and not pulse.pinged, again_at)
