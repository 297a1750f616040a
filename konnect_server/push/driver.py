"""What a push driver is: takes pushes for devices, and says what became of each."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct


class Push(Struct, frozen=True, kw_only=True):
    """One push for one device."""

    token: str  # what the device registered
    platform: Literal["android", "ios", "web"]
    title: str
    body: str = ""  # empty: the title is all that is told
    collapse: str = ""  # a newer push with the same one takes this one's place on the device; at most 64 bytes
    badge: int | None = None  # what the app's icon shows
    data: dict[str, str] = {}
    ttl_s: int  # a device that is away for longer is not told


class Outcome(Struct, frozen=True):
    """What became of a push.

    sent: the service has it. gone: the token reaches nobody any more. later: try again, after ``after_s`` seconds if
    the service said so. refused: this very push is not taken. locked: the service does not let us in, whatever we send.
    """

    kind: Literal["sent", "gone", "later", "refused", "locked"]
    why: str = ""
    after_s: float | None = None


SENT = Outcome("sent")


class Driver(Protocol):
    """A way to reach devices."""

    name: str

    async def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """Hand over *pushes*; what became of each, in their order. Whatever happens on the way is an outcome: an
        exception is a bug."""
