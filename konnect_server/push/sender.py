"""The job that sends: reads what a few devices are owed of one conversation now, and hands it to the driver."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog
from msgspec import Raw, Struct, structs

from konnect_server.jobs import Again
from konnect_server.push.driver import Driver, Outcome, Push
from konnect_server.push.words import push_of
from konnect_server.telemetry import counter
from storage import devices, pushes
from storage.database import Database
from storage.pushes import Content, Told

WAIT_S: Final = 10.0  # until a socket that is open is looked at again, if it has not said that it took the message
RETRY_S: Final = 10.0  # when the service says "later" but not when

PUSHES: Final = counter("konnect_pushes_total", "Pushes, by what became of them.", ("outcome",))
log = structlog.get_logger("konnect.push")


class Owed(Struct, frozen=True):
    """What a job of kind "push" is given: devices that are owed a push of one conversation."""

    conversation: UUID
    devices: list[tuple[UUID, str]]


class Place(Protocol):
    """A device, as what is to be told to it says."""

    @property
    def account(self) -> UUID: ...
    @property
    def device(self) -> str: ...
    @property
    def token(self) -> str: ...


class ServiceLocked(Exception):
    """The push service does not let us in: credentials that are wrong or withdrawn. Nothing can be sent until somebody
    mends that."""


class Sender:
    """Does jobs of kind "push"."""

    def __init__(self, database: Database, driver: Driver) -> None:
        self._database, self._driver = database, driver

    async def push(self, payload: Raw) -> None:
        """Send what is owed now. What was sent is settled at once, so a repeat sends only the rest; a kill between the
        two sends twice, and the device shows it once, for both have the same place.

        Raises:
            Again: Some have to wait, or more came meanwhile.
            ServiceLocked
        """
        owed = msgspec.json.decode(payload, type=Owed)
        found = await pushes.contents(self._database, owed.conversation, owed.devices)
        due = [content for content in found if content.verdict == "send"]
        outcomes = await self.hand_over([_placed(push_of(content), owed.conversation) for content in due])
        done = [content for content in found if content.verdict == "drop"]
        later = [content for content in found if content.verdict == "wait"]
        waits: list[float] = [WAIT_S] * bool(later)
        for content, outcome in zip(due, outcomes, strict=True):
            if outcome.kind == "gone":
                await devices.forget_token(self._database, content.account, content.device, content.token)
            elif outcome.kind in ("sent", "refused"):
                done.append(content)
            else:
                later.append(content)
                waits.append(RETRY_S if outcome.after_s is None else outcome.after_s)
        more = await pushes.settle(self._database, owed.conversation, [_told(content) for content in done])
        if locked := [one.why for one in outcomes if one.kind == "locked"]:
            raise ServiceLocked(locked[0])
        rest = [*more, *((content.account, content.device) for content in later)]
        if rest:
            failed = any(one.kind == "later" for one in outcomes)
            why = next((one.why for one in outcomes if one.kind == "later"), "")
            raise Again(0.0 if more else max(waits), Owed(owed.conversation, rest), failed=failed, why=why)

    async def send_each(
        self, due: Sequence[tuple[Place, Push]], left: Callable[[list[tuple[UUID, str]]], Struct],
        waiting: Sequence[Place] = (),
    ) -> None:  # fmt: skip
        """Send each its push, and forget tokens that reach nobody: for pushes that nothing but a job owes.

        Args:
            left: The job's payload for those who have to be tried again, *waiting* among them.
            waiting: Not to be told now, but to be looked at again.

        Raises:
            Again: Some are left.
            ServiceLocked: All are, for nobody was let in.
        """
        outcomes = await self.hand_over([push for _, push in due])
        rest: list[tuple[UUID, str]] = []
        waits: list[float] = []
        for (place, _), outcome in zip(due, outcomes, strict=True):
            if outcome.kind == "gone":
                await devices.forget_token(self._database, place.account, place.device, place.token)
            elif outcome.kind in ("later", "locked"):
                rest.append((place.account, place.device))
                waits.append(RETRY_S if outcome.after_s is None else outcome.after_s)
        locked = next((one.why for one in outcomes if one.kind == "locked"), None)
        if locked is not None and len(rest) == len(due) and not waiting:
            raise ServiceLocked(locked)
        failed = bool(rest)
        rest += [(place.account, place.device) for place in waiting]
        if rest:
            why = next((one.why for one in outcomes if one.kind in ("later", "locked")), "")
            raise Again(max([*waits, *[WAIT_S] * bool(waiting)]), left(rest), failed=failed, why=why)

    async def hand_over(self, due: Sequence[Push]) -> list[Outcome]:
        """Give *due* to the driver; what became of each is counted, and logged where somebody should know."""
        outcomes = await self._driver.send(due) if due else []
        for kind, count in Counter(outcome.kind for outcome in outcomes).items():
            PUSHES.labels(kind).inc(count)
        for push, outcome in zip(due, outcomes, strict=True):
            if outcome.kind in ("refused", "locked"):
                log.error("a push was not taken", platform=push.platform, outcome=outcome.kind, why=outcome.why)
        return outcomes


def _placed(push: Push, conversation: UUID) -> Push:
    """*push* in the place of its conversation: a device shows one for each."""
    text = str(conversation)
    return structs.replace(push, collapse=text, data={**push.data, "conversation": text})


def _told(content: Content) -> Told:
    return Told(content.account, content.device, content.seq)
