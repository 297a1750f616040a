"""People who are suggested, why, and what became of them."""

from dataclasses import dataclass

from konnect_client.feed import Met
from konnect_client.parts import Frame, take, take_each, take_maybe, take_or
from konnect_client.profiles import texts


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a suggestion."""

    kind: str  # interests, languages, near, age, answers, new; and what later servers say
    values: tuple[str, ...] = ()  # what is shared
    city: str | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Reason":
        return cls(take(frame, "kind", str), texts(frame, "values"), take_maybe(frame, "city", str))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Somebody who is suggested."""

    met: Met
    score: float  # how likely it is that both say yes
    why: tuple[Reason, ...] = ()
    explored: bool = False  # by chance

    @classmethod
    def parse(cls, frame: Frame) -> "Suggestion":
        why = take_each(frame, "why", Reason.parse) if "why" in frame else ()
        return cls(Met.parse(frame), float(frame["score"]), why, take_or(frame, "explored", bool, False))


@dataclass(frozen=True, slots=True)
class SuggestionPage:
    """A page of suggestions, in the order in which to show them."""

    people: tuple[Suggestion, ...]
    cursor: str | None = None  # None: it is the last

    @classmethod
    def parse(cls, frame: Frame) -> "SuggestionPage":
        return cls(take_each(frame, "people", Suggestion.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """Somebody whom one has written to or passed over."""

    user: str
    status: str  # pending, accepted, rejected
    at_ms: int
    score: float | None = None  # under which they were last shown

    @classmethod
    def parse(cls, frame: Frame) -> "PastAnswer":
        score = frame.get("score")
        return cls(
            take(frame, "user", str), take(frame, "status", str), take(frame, "at_ms", int),
            None if score is None else float(score),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """A page of them, the newest first."""

    people: tuple[PastAnswer, ...]
    cursor: str | None = None  # None: it is the last

    @classmethod
    def parse(cls, frame: Frame) -> "AnswerPage":
        return cls(take_each(frame, "people", PastAnswer.parse), take_maybe(frame, "cursor", str))
