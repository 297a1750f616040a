"""One signed-in person in this process: the devices, and who of them must look when the person's rows change."""

from typing import Protocol
from uuid import UUID

from protocol import closing
from protocol.frames import Privacy


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

    def heed(self, privacy: Privacy) -> None:
        """The person's switches stand so."""

    def tell_cursor(self) -> None:
        """The server has a new lineage: send a cursor that names it."""

    def close(self, close: closing.Close) -> None:
        """End the connection."""


class User:
    """A person with at least one device connected here. All calls are plain."""

    __slots__ = ("_heeded", "_privacy", "devices", "id")

    def __init__(self, user: UUID) -> None:
        self.id = user
        self.devices: dict[str, Device] = {}
        self._privacy: Privacy | None = None  # None: no device here knows yet
        self._heeded = -1  # the person's number when that was read

    @property
    def number(self) -> int | None:
        """The person's number up to which every device here was told; None while none has been told of any. One on its
        first way does not count: it may stay there for long, a slow client in a busy group, and the others must hear of
        what its bell lost meanwhile."""
        return min((one.number for one in self.devices.values() if one.number is not None), default=None)

    def heed(self, device: Device, privacy: Privacy, number: int) -> None:
        """*device* has read how the person's switches stand, when the person's number was *number*: all devices here
        keep to it from now on. What another one read before that is on its way yet, and does not undo it."""
        before = self._privacy
        if number >= self._heeded or before is None:
            self._privacy, self._heeded = privacy, number
        now = self._privacy or privacy
        for one in self.devices.values() if now != before else (device,):
            one.heed(now)

    def look(self) -> None:
        """The person's own rows changed."""
        for device in self.devices.values():
            device.look()
