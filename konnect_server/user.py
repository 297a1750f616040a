"""One signed-in person in this process: the devices, and who of them must look when the person's rows change."""

from typing import Final, Protocol
from uuid import UUID

from protocol import closing
from protocol.frames import Privacy

_NOBODY: Final[frozenset[UUID]] = frozenset()  # one for all who see everybody


class Device(Protocol):
    """A session, as its person sees it. None of these calls waits or raises."""

    id: UUID  # UUIDv7: the newer of two sockets has the higher one
    user: UUID
    device: str
    sign_in: UUID

    @property
    def number(self) -> int | None:
        """The person's number up to which this device was told; None while it is on its first way."""

    def look(self) -> None:
        """The person's own rows changed: bring the device up to date."""

    def heed(self, privacy: Privacy, unseen: frozenset[UUID]) -> None:
        """The person's switches stand so, and these people are not seen, nor see the person."""

    def tell_cursor(self) -> None:
        """The server has a new lineage: send a cursor that names it."""

    def sign_out(self) -> None:
        """The sign-in that it came by has ended: close, after the answer to a command that ended it."""

    def close(self, close: closing.Close) -> None:
        """End the connection."""


class User:
    """A person with at least one device connected here. All calls are plain."""

    __slots__ = ("_heeded", "_privacy", "_unseen", "devices", "id")

    def __init__(self, user: UUID) -> None:
        self.id = user
        self.devices: dict[str, Device] = {}
        self._privacy: Privacy | None = None  # None: no device here knows yet
        self._unseen: frozenset[UUID] = frozenset()
        self._heeded = -1  # the person's number when that was read

    @property
    def number(self) -> int | None:
        """The person's number up to which every device here was told; None while none has been told of any. One on its
        first way does not count: it may stay there for long, a slow client in a busy group, and the others must hear of
        what its bell lost meanwhile."""
        return min((one.number for one in self.devices.values() if one.number is not None), default=None)

    def heed(
        self, device: Device, privacy: Privacy, number: int, unseen: frozenset[UUID] = frozenset()
    ) -> None:
        """*device* has read how the person's switches stand, and who is *unseen*, when the person's number was
        *number*: all devices here keep to it from now on. What another one read before that is on its way yet, and does
        not undo it."""
        before = self._privacy, self._unseen
        if number >= self._heeded or before[0] is None:
            self._privacy, self._unseen, self._heeded = privacy, unseen or _NOBODY, number
        now = self._privacy or privacy
        for one in self.devices.values() if (now, self._unseen) != before else (device,):
            one.heed(now, self._unseen)

    def look(self) -> None:
        """The person's own rows changed."""
        for device in self.devices.values():
            device.look()
