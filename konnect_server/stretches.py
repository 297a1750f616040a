"""Stretches of logs that many want at once: read once, encoded once, given to all.

When a server restarts everybody comes back, and the members of a group have missed the same entries. Each walk that may
see a whole stretch asks for it here; whoever asks first reads it, who asks meanwhile or shortly after gets the same
bytes. What is kept is kept for no longer than a storm's neighbours are apart, and bounded; and it is forgotten when an
edit or a deletion passes, for what a message said before must not be told after that. (Other than by these two, entries
do not change but for their reactions, and who gets older ones gets the entries that bring them up to date.)
"""

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Final, NamedTuple
from uuid import UUID

from protocol import codec
from storage.errand import Place, parked
from storage.errors import StorageUnavailable
from storage.rows import Page, Range

STRETCH_BYTES: Final = 8_192  # of one stretch, about; at least one entry
STRETCH_ENTRIES: Final = 64  # of a longer one everybody misses another part
KEPT: Final = 1_024  # stretches: 8 MiB
KEPT_S: Final = 2.0

_Key = tuple[UUID, int, int]


class Stretch(NamedTuple):
    """Entries as whole wire frames."""

    data: bytes
    high: int  # the seq of the last of them, or the end of what was asked for
    cut: bool  # what was asked for goes on above it


class _Shared:
    """A stretch that somebody reads, or has read."""

    __slots__ = ("problem", "stretch", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Place] | None = []  # None: it was read, or not
        self.stretch: Stretch | None = None
        self.problem: StorageUnavailable | None = None  # with neither: read it again


class Stretches:
    """The stretches of one process.

    Args:
        load: Reads several, each as a page of its own; the store's ``stretches``.
        now: In seconds.
        later: Called as ``later(at, call)``: do something at a time.
    """

    def __init__(
        self,
        load: Callable[[Sequence[Range], int], Awaitable[Sequence[Page]]],
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._load, self._now, self._later = load, now, later
        self._shared: dict[_Key, _Shared] = {}
        self._kept: dict[_Key, float] = {}  # of these, those that were read -> until when; the oldest first
        self._of: dict[UUID, dict[_Key, None]] = {}  # conversation -> its own among the shared
        self._expiring = False

    def __len__(self) -> int:
        return len(self._shared)

    def forget(self, conversation: UUID) -> None:
        """Messages of *conversation* read otherwise now: give nobody what was read before, or is being read."""
        for key in self._of.pop(conversation, {}):
            self._kept.pop(key, None)
            del self._shared[key]

    async def read(self, ranges: Sequence[Range]) -> list[Stretch]:
        """One stretch for each of *ranges*, of which the reader may see every entry and all are committed.

        Raises:
            StorageUnavailable: No answer.
        """
        found: dict[_Key, Stretch] = {}
        keys = {(one.conversation, one.low, one.high): one for one in ranges}
        while missing := {key: one for key, one in keys.items() if key not in found}:
            ours = {key: one for key, one in missing.items() if key not in self._shared}
            shared = {key: self._shared[key] for key in missing if key not in ours}
            if ours:
                shared |= await self._read(ours)
            for key, one in shared.items():
                if one.waiting is not None:
                    place = Place()
                    one.waiting.append(place)
                    await parked(place)
                if one.problem is not None:
                    raise copy(one.problem) from one.problem  # a copy each: raising changes it
                if one.stretch is not None:
                    found[key] = one.stretch
        return [found[key] for key in keys]

    async def _read(self, ours: dict[_Key, Range]) -> dict[_Key, _Shared]:
        reading = {key: _Shared() for key in ours}
        for key, shared in reading.items():
            self._shared[key] = shared
            self._of.setdefault(key[0], {})[key] = None
        try:
            pages = await self._load(list(ours.values()), STRETCH_BYTES)
            for (key, shared), page in zip(reading.items(), pages, strict=True):
                if self._shared.get(key) is not shared:
                    continue  # forgotten meanwhile
                high = page.entries[-1].seq if page.cut else key[2]
                shared.stretch = Stretch(b"".join(map(codec.entry, page.entries)), high, page.cut)
        except StorageUnavailable as problem:
            for shared in reading.values():
                shared.problem = problem
        finally:  # also when who reads goes away: the others must not wait for ever
            for key, shared in reading.items():
                if shared.stretch is not None:
                    self._kept[key] = self._now() + KEPT_S
                elif self._shared.get(key) is shared:
                    self._remove(key)
            while len(self._kept) > KEPT:
                self._drop()
            self._expire_later()
            for shared in reading.values():
                waiting, shared.waiting = shared.waiting or [], None
                for place in waiting:
                    place.wake()
        return reading

    def _expire_later(self) -> None:
        if self._kept and not self._expiring:
            self._expiring = True
            self._later(next(iter(self._kept.values())), self._expire)

    def _expire(self) -> None:
        self._expiring = False
        now = self._now()
        while self._kept and next(iter(self._kept.values())) <= now:
            self._drop()
        self._expire_later()

    def _drop(self) -> None:
        key = next(iter(self._kept))
        del self._kept[key]
        self._remove(key)

    def _remove(self, key: _Key) -> None:
        del self._shared[key]
        own = self._of[key[0]]
        del own[key]
        if not own:
            del self._of[key[0]]
