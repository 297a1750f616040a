"""The doorbell between simulated processes: it drops, delays, repeats and reorders."""

from collections.abc import Sequence
from random import Random

import trio

from tests.simulate.agenda import Agenda


class Street:
    """Where all doorbells hang."""

    def __init__(self, agenda: Agenda, rng: Random, loss: float) -> None:
        self._agenda, self._rng = agenda, rng
        self.loss = loss  # share of the bells that nobody hears; as many are late, as many ring twice
        self.doors: list[FakeDoorbell] = []

    def spread(self, origin: "FakeDoorbell", bells: Sequence[bytes]) -> None:
        """Carry *bells* to everybody, the one who rang included."""
        rng, loss = self._rng, self.loss
        for bell in bells:
            for door in self.doors:
                if door is origin and rng.random() < 0.8:
                    continue
                if rng.random() < loss:
                    continue
                late = rng.random() < loss
                for _ in range(2 if rng.random() < loss else 1):
                    self._agenda.after(rng.random() * (4.0 if late else 0.03), door.heard_one, bell)


class FakeDoorbell:
    """One process's doorbell."""

    def __init__(self, street: Street) -> None:
        self._street = street
        self._waiting: list[bytes] = []
        self._arrived = trio.Event()
        street.doors.append(self)

    def ring(self, bells: Sequence[bytes]) -> None:
        """See konnect_server.bus.Doorbell."""
        self._street.spread(self, bells)

    async def heard(self) -> Sequence[bytes]:
        """See konnect_server.bus.Doorbell."""
        await self._arrived.wait()
        self._arrived = trio.Event()
        waiting, self._waiting = self._waiting, []
        return waiting

    def heard_one(self, bell: bytes) -> None:
        """A bell arrives."""
        self._waiting.append(bell)
        self._arrived.set()

    def take_down(self) -> None:
        """The process is gone."""
        self._street.doors.remove(self)
