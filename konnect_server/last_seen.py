"""When people were last here, on its way to disk: off the path of signing in, a bounded part of it each second.

The database also holds who is here now, so that a process that dies leaves behind whom it took along: another one, or
the next, writes for these the time of the dead one's last beat (storage/migrations/0012_privacy.sql).
"""

from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from storage.store import Store

ROWS: Final = 2_000  # people written at once; with a write a second, 2,000 may come and go a second
WAITING: Final = 100_000  # people who wait to be written; beyond it the one who waits longest is forgotten
DEAD_S: Final = 15.0  # after so long without a beat others take this process for dead, as beat_node() does


class LastSeenWriter:
    """Gathers who came and who went; ``write`` is called about once a second, after the beat."""

    def __init__(self, store: Store, node: UUID, now: Callable[[], float], here: Callable[[], Iterable[UUID]]) -> None:
        """*here*: everybody who has a socket of this process now."""
        self._store, self._node, self._now, self._here = store, node, now, here
        self._waiting: dict[UUID, float | None] = {}  # -> when the person went; None: came
        self._seated: set[UUID] = set()  # of whom the database knows that they are here
        self._beat_at: float | None = None

    def came(self, user: UUID) -> None:
        """*user*'s first socket of this process opened."""
        if self._waiting.pop(user, 0.0) is None or user not in self._seated:
            self._wait(user, None)

    def went(self, user: UUID) -> None:
        """*user*'s last socket of this process closed."""
        self._waiting.pop(user, None)
        self._wait(user, self._now())

    def _wait(self, user: UUID, went_at: float | None) -> None:
        if len(self._waiting) >= WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[user] = went_at

    async def write(self, began_at: float) -> None:
        """Write a part of what waits. *began_at*: when the last beat that got through was begun.

        Raises:
            StorageUnavailable: It stays to be written.
        """
        if self._beat_at is not None and began_at - self._beat_at > DEAD_S:
            self._seated.clear()  # others may have cleared our people away
            for user in self._here():
                self._waiting.setdefault(user, None)
        self._beat_at = began_at
        part = dict(list(self._waiting.items())[:ROWS])
        if not part:
            return
        now = self._now()
        came = [user for user, went_at in part.items() if went_at is None]
        went = {user: round((now - went_at) * 1000) for user, went_at in part.items() if went_at is not None}
        self._seated.difference_update(went)  # before it is done: who comes meanwhile is written anew
        await self._store.take_seats(self._node, came, went)
        for user, went_at in part.items():
            if user in self._waiting and self._waiting[user] == went_at:
                del self._waiting[user]
        self._seated.update(came)
