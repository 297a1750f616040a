"""Who is online, and who wants to hear of it.

Nobody is told unless they look: a session follows its direct partners and whom it watches. A person who went is shown
as offline only after a grace, so that a drop that heals at once is not seen. Other processes' people are known by
bells, which may be lost; a numbered roster rung now and then mends that: it names who is there, and whom two rosters
running did not name has gone. A process that is gone takes its people along.
"""

from collections.abc import Callable, Iterable
from typing import Protocol
from uuid import UUID

from protocol.codec import wire
from protocol.frames import PresenceEvent


class Follower(Protocol):
    """A session, as presence sees it."""

    user: UUID

    def push_droppable(self, data: bytes) -> None:
        """Send *data*, or forget it when the device is slow."""


class Presence:
    """Everybody's presence, as far as this process knows it. All calls are plain."""

    def __init__(self, grace_s: float, now: Callable[[], float], tell: Callable[[UUID, bool], None]) -> None:
        """*grace_s*: how long an absence stays unseen. *tell*: rings the other processes about one of ours."""
        self._grace_s, self._now, self._tell = grace_s, now, tell
        self._here: set[UUID] = set()
        self._leaving: dict[UUID, float] = {}  # -> when the grace ends, in that order: it is the same for all
        self._there: dict[UUID, dict[UUID, int]] = {}  # process -> its people -> the newest roster when they were named
        self._rosters: dict[UUID, int] = {}  # process -> the newest roster that was heard of
        self._followers: dict[UUID, dict[Follower, None]] = {}

    # --- our own people ---

    def came(self, user: UUID) -> None:
        """*user*'s first session opened here."""
        if self._leaving.pop(user, None) is None and user not in self._here:
            was_online = self.online(user)
            self._here.add(user)
            self._tell(user, True)
            if not was_online:
                self._announce(user, True)

    def went(self, user: UUID) -> None:
        """*user*'s last session here closed."""
        self._leaving[user] = self._now() + self._grace_s

    def sweep(self) -> None:
        """Show as offline whose grace has ended; call about once a second."""
        now = self._now()
        while self._leaving:
            user, ends = next(iter(self._leaving.items()))
            if ends > now:
                break
            del self._leaving[user]
            self._here.discard(user)
            self._tell(user, False)
            if not self.online(user):
                self._announce(user, False)

    def roster(self) -> list[UUID]:
        """Our people who are online."""
        return sorted(self._here)

    # --- other processes' people ---

    def heard(self, process: UUID, user: UUID, online: bool) -> None:
        """Another process says that *user* came or went there."""
        was_online = self.online(user)
        people = self._there.setdefault(process, {})
        if online:
            people[user] = self._rosters.get(process, 0)
        else:
            people.pop(user, None)
        if self.online(user) != was_online:
            self._announce(user, online)

    def listed(self, process: UUID, roster: int, users: Iterable[UUID]) -> None:
        """A part of another process's roster says that *users* are there. Two rosters, for a part may be lost."""
        if roster > self._rosters.get(process, 0):
            self._rosters[process] = roster
            for user in [user for user, named in self._there.get(process, {}).items() if named < roster - 2]:
                self.heard(process, user, False)
        for user in users:
            self.heard(process, user, True)

    def gone(self, processes_left: Iterable[UUID]) -> None:
        """Only these other processes are there; people of all others are not."""
        left = set(processes_left)
        for process in [process for process in self._there if process not in left]:
            self._rosters.pop(process, None)
            for user in sorted(self._there.pop(process)):
                if not self.online(user):
                    self._announce(user, False)

    # --- followers ---

    def online(self, user: UUID) -> bool:
        """Whether *user* is shown as online."""
        return user in self._here or any(user in people for people in self._there.values())

    def follow(self, follower: Follower, users: Iterable[UUID]) -> list[UUID]:
        """*follower* hears of *users* from now on; those of them who are online now."""
        online = []
        for user in users:
            self._followers.setdefault(user, {})[follower] = None
            if self.online(user):
                online.append(user)
        return online

    def unfollow(self, follower: Follower, users: Iterable[UUID]) -> None:
        """*follower* hears no more of *users*."""
        for user in users:
            followers = self._followers.get(user)
            if followers is not None:
                followers.pop(follower, None)
                if not followers:
                    del self._followers[user]

    def _announce(self, user: UUID, online: bool) -> None:
        followers = self._followers.get(user)
        if followers:
            data = wire(PresenceEvent(user=user, state="online" if online else "offline"))
            for follower in followers:
                follower.push_droppable(data)
