"""Who is online, and who wants to hear of it.

Nobody is told unless they look: a session follows its direct partners and whom it watches, as far as it may see them.
A person who went is shown as offline only after a grace, so that a drop that heals at once is not seen. Other
processes' people are known by bells, which may be lost; a numbered roster rung now and then mends that: it names who is
there, and whom two rosters running did not name has gone. A process that is gone takes its people along.

Whoever hides from everybody is never here: their own process tells nobody, so nothing anywhere can leak it. Whoever is
shown to contacts only is so marked, in each bell and roster, and told to those followers alone that are contacts.

A change costs one push for each session that follows the person; a process makes at most PUSHES of them between two
sweeps. What is over that waits for the next, and what changes back meanwhile is never told: so presence stays on, late,
when a whole town comes back at once.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol
from uuid import UUID

from msgspec import UNSET, Struct

from protocol.codec import wire
from protocol.frames import LastSeen, PresenceEvent

PUSHES: Final = 20_000  # between two sweeps: some 0.1 s of work

BEAT_MS: Final = 5_000  # a process that is gone was last heard of about so long ago

Shown = bool | None  # None: offline; else whether to contacts only
_MIXED: Final = object()  # followers were told different things: tell all of them


class Follower(Protocol):
    """A session, as presence sees it."""

    user: UUID

    def push_droppable(self, data: bytes) -> None:
        """Send *data*, or forget it when the device is slow."""


class Change(Struct, frozen=True):
    """One of our people came, went, or is shown to others than before: what the other processes are told."""

    user: UUID
    online: bool
    contacts: bool = False  # shown to contacts only
    last_seen_ms: int | None = None  # of who went


class Presence:
    """Everybody's presence, as far as this process knows it. All calls are plain."""

    def __init__(
        self, grace_s: float, now: Callable[[], float], tell: Callable[[Change], None],
        wall_ms: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        """*grace_s*: how long an absence stays unseen. *tell*: rings the other processes about one of ours. *wall_ms*:
        Unix milliseconds."""
        self._grace_s, self._now, self._tell, self._wall_ms = grace_s, now, tell, wall_ms
        self._here: dict[UUID, bool] = {}  # -> shown to contacts only
        self._leaving: dict[UUID, tuple[float, int]] = {}  # -> when the grace ends, in that order; when they went
        # process -> its people -> the newest roster when they were named, shown to contacts only
        self._there: dict[UUID, dict[UUID, tuple[int, bool]]] = {}
        self._rosters: dict[UUID, int] = {}  # process -> the newest roster that was heard of
        self._followers: dict[UUID, dict[Follower, bool]] = {}  # -> whether they are contacts
        self._due: dict[UUID, object] = {}  # whose change was not told yet -> how they were shown before
        self._last_seen: dict[UUID, int] = {}  # of these, when it is known
        self._pushes = PUSHES

    # --- our own people ---

    def came(self, user: UUID, shown_to: LastSeen = "everyone") -> None:
        """*user* has a session here, and is shown to *shown_to*; also when that changed."""
        if shown_to == "nobody":
            self._leaving.pop(user, None)
            if user in self._here:
                self._go(user, None)
            return
        contacts = shown_to == "contacts"
        self._leaving.pop(user, None)
        if self._here.get(user) is not contacts:
            before = self._shown(user)
            self._here[user] = contacts
            self._tell(Change(user, True, contacts))
            self._changed(user, before)

    def went(self, user: UUID) -> None:
        """*user*'s last session here closed."""
        if user in self._here:
            self._leaving.pop(user, None)  # so that the order holds
            self._leaving[user] = (self._now() + self._grace_s, self._wall_ms())

    def sweep(self) -> None:
        """Show as offline whose grace has ended, and tell what waits; call about once a second."""
        now = self._now()
        self._pushes = PUSHES
        while self._due and self._pushes > 0:
            user = next(iter(self._due))
            self._announce(user, self._due.pop(user))
        while self._leaving:
            user, (ends, went_ms) = next(iter(self._leaving.items()))
            if ends > now:
                break
            del self._leaving[user]
            self._go(user, went_ms // 60_000 * 60_000 or None)

    def _go(self, user: UUID, last_seen_ms: int | None) -> None:
        before = self._shown(user)
        del self._here[user]
        self._tell(Change(user, False, last_seen_ms=last_seen_ms))
        self._changed(user, before, last_seen_ms)

    def roster(self, contacts: bool = False) -> list[UUID]:
        """Our people who are online, of those that are shown to contacts only, or of the others."""
        return sorted(user for user, only in self._here.items() if only is contacts)

    # --- other processes' people ---

    def heard(self, process: UUID, change: Change) -> None:
        """Another process says that somebody came or went there."""
        before, people = self._shown(change.user), self._there.setdefault(process, {})
        if change.online:
            people[change.user] = (self._rosters.get(process, 0), change.contacts)
        else:
            people.pop(change.user, None)
        self._changed(change.user, before, change.last_seen_ms)

    def listed(self, process: UUID, roster: int, users: Iterable[UUID], contacts: bool = False) -> None:
        """A part of another process's roster says that *users* are there. Two rosters, for a part may be lost."""
        if roster > self._rosters.get(process, 0):
            self._rosters[process] = roster
            for user in [user for user, (named, _) in self._there.get(process, {}).items() if named < roster - 2]:
                self.heard(process, Change(user, False))
        for user in users:
            self.heard(process, Change(user, True, contacts))

    def gone(self, processes_left: Iterable[UUID]) -> None:
        """Only these other processes are there; people of all others are not."""
        left = set(processes_left)
        for process in [process for process in self._there if process not in left]:
            self._rosters.pop(process, None)
            for user in sorted(self._there[process]):
                before = self._shown(user)
                del self._there[process][user]
                self._changed(user, before, max(0, self._wall_ms() - BEAT_MS) // 60_000 * 60_000 or None)
            del self._there[process]

    # --- followers ---

    def online(self, user: UUID, contact: bool = True) -> bool:
        """Whether *user* is shown as online, to a contact or to somebody else."""
        return _sees(self._shown(user), contact)

    def follow(self, follower: Follower, users: Iterable[UUID], contacts: bool = True) -> list[UUID]:
        """*follower* hears of *users*, its contacts or not, from now on; those of them who are online now."""
        online = []
        for user in users:
            followers = self._followers.setdefault(user, {})
            followers[follower] = contacts or followers.get(follower, False)
            if user in self._due:
                self._due[user] = _MIXED  # the others have yet to be told
            if self.online(user, followers[follower]):
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
                    self._due.pop(user, None)
                    self._last_seen.pop(user, None)

    def part(self, user: UUID, others: Iterable[Follower]) -> None:
        """*user* left a conversation with *others*: those who are no contacts hear no more, whatever else they share; a
        client that watches may ask again."""
        followers = self._followers.get(user, {})
        self.unfollow_each(user, [one for one in others if followers.get(one) is False])

    def unfollow_each(self, user: UUID, followers: Iterable[Follower]) -> None:
        """None of *followers* hears more of *user*."""
        for one in followers:
            self.unfollow(one, [user])

    def turn_away(self, follower: Follower, users: Iterable[UUID]) -> None:
        """*follower* sees none of *users* any more, from one moment to the next: to it they go."""
        for user in users:
            contact = self._followers.get(user, {}).get(follower)
            if contact is not None:
                if self.online(user, contact) or user in self._due:
                    follower.push_droppable(wire(PresenceEvent(user=user, state="offline")))
                self.unfollow(follower, [user])

    def _shown(self, user: UUID) -> Shown:
        shown: Shown = self._here.get(user)
        for people in self._there.values():
            if user in people:
                shown = shown or people[user][1]  # in doubt, to contacts only
        return shown

    def _changed(self, user: UUID, before: Shown, last_seen_ms: int | None = None) -> None:
        if user not in self._followers or self._shown(user) is before:
            return
        if last_seen_ms is not None:
            self._last_seen[user] = last_seen_ms
        if user in self._due or self._pushes <= 0:
            self._due.setdefault(user, before)
        else:
            self._announce(user, before)

    def _announce(self, user: UUID, before: object) -> None:
        """Tell each follower to whom something is new."""
        after, last_seen_ms = self._shown(user), self._last_seen.pop(user, None)
        if after is before:
            return
        seen = UNSET if after is not None or last_seen_ms is None or before is _MIXED else last_seen_ms
        events: dict[bool, bytes] = {}  # mostly one of the two is told to anybody
        for follower, contact in self._followers.get(user, {}).items():
            sees = _sees(after, contact)
            if before is _MIXED or sees != _sees(before, contact):
                if sees not in events:
                    state: Literal["online", "offline"] = "online" if sees else "offline"
                    events[sees] = wire(PresenceEvent(user=user, state=state, last_seen_ms=UNSET if sees else seen))
                follower.push_droppable(events[sees])
                self._pushes -= 1


def _sees(shown: object, contact: bool) -> bool:
    return shown is not None and (contact or not shown)
