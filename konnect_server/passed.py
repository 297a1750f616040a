"""The receipts that passed lately, for whoever read a state before they were written and listens only since.

A first start reads where the person stands and the states of the conversations in one question (docs/decisions/0013).
A receipt that is written and spread between that reading and the answer's arrival is in no state and reached no reader:
it is looked up here.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

KEPT: Final = 4_096  # some seconds of a busy process


class Receipt(NamedTuple):
    """One receipt that passed."""

    conversation: UUID
    user: UUID
    to_all: bool  # to all members, or to the person's own devices only
    data: bytes  # whole wire frames
    open: bytes | None = None  # what other members are told, if they see how far others read; None: the same
    delivery: bytes | None = None  # what those are told who do not; None: the same; empty: nothing

    def told_to(self, user: UUID, *, sees_reading: bool) -> bytes:
        """What *user* is told of it; empty for nothing."""
        told = None if user == self.user else self.open if sees_reading else self.delivery
        return self.data if told is None else told


class Passed:
    """A bounded memory of receipts, in the order in which they passed."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: deque[Receipt] = deque(maxlen=kept)
        self.count = 0  # since the process began

    def add(
        self, conversation: UUID, user: UUID, to_all: bool, data: bytes, open_: bytes | None = None,
        delivery: bytes | None = None,
    ) -> None:  # fmt: skip
        """One passes now."""
        self._kept.append(Receipt(conversation, user, to_all, data, open_, delivery))
        self.count += 1

    def since(self, count: int) -> Iterator[Receipt] | None:
        """Those that passed after ``count`` was *count*, in their order; None when not all of them are kept."""
        new = self.count - count
        if not new:
            return iter(())
        if new > len(self._kept):
            return None
        return (self._kept[place] for place in range(len(self._kept) - new, len(self._kept)))
