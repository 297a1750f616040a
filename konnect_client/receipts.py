"""One's own receipts on their way: the newest of each conversation, one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from konnect_client.backoff import Backoff
from konnect_client.errors import ServerRefused

CONVERSATIONS: Final = 10_000  # whose receipts may wait; beyond, the oldest is let go


@dataclass(slots=True)
class Moving:
    """How far one is in a conversation, and what of it the server was told."""

    conversation: str
    delivered: int = 0
    read: int = 0
    told: tuple[int, int] = (0, 0)  # with the command that is on its way
    in_flight: bool = False
    not_before: float = 0.0

    @property
    def due(self) -> bool:
        return not self.in_flight and (self.delivered, self.read) != self.told

    def command(self, number: int) -> dict[str, Any]:
        """The frame that tells it."""
        return {
            "t": "receipt", "id": number, "conversation": self.conversation,
            "delivered": self.delivered, "read": self.read,
        }  # fmt: skip


class Receipts:
    """Coalesces receipts: a newer one replaces what waits, and waits while one of its conversation is on its way."""

    def __init__(self, backoff: Callable[[], Backoff]) -> None:
        self._moving: dict[str, Moving] = {}
        self._backoff = backoff()

    def __len__(self) -> int:
        return len(self._moving)

    def move(self, conversation: str, delivered: int, read: int) -> None:
        """Raise the cursors; read implies delivered."""
        moving = self._moving.get(conversation)
        if moving is None:
            if len(self._moving) >= CONVERSATIONS:
                self._moving.pop(next(iter(self._moving)))
            moving = self._moving[conversation] = Moving(conversation)
        moving.read = max(moving.read, read)
        moving.delivered = max(moving.delivered, delivered, moving.read)

    def take(self, now: float) -> Moving | None:
        """The next receipt to send, or None."""
        for moving in self._moving.values():
            if moving.due and moving.not_before <= now:
                moving.told = (moving.delivered, moving.read)
                moving.in_flight = True
                return moving
        return None

    def next_due(self) -> float:
        """When :meth:`take` may have something that it has not now, if nothing else happens; infinity for never."""
        return min((moving.not_before for moving in self._moving.values() if moving.due), default=float("inf"))

    def accepted(self, moving: Moving) -> None:
        """The server stored it."""
        self._backoff.reset()
        moving.in_flight = False
        self._drop_if_told(moving)

    def refused(self, moving: Moving, error: ServerRefused, now: float) -> None:
        """The server refused it: it is repeated later, or let go (one is no member any more)."""
        moving.in_flight = False
        if error.retryable:
            moving.told = (0, 0)
            wish = None if error.retry_after_ms is None else error.retry_after_ms / 1000
            moving.not_before = now + self._backoff.delay_s(wish)
        else:
            self._drop_if_told(moving)

    def connection_lost(self) -> None:
        """What was on its way is told again."""
        for moving in self._moving.values():
            moving.in_flight, moving.told = False, (0, 0)

    def _drop_if_told(self, moving: Moving) -> None:
        if not moving.due and self._moving.get(moving.conversation) is moving:
            del self._moving[moving.conversation]
