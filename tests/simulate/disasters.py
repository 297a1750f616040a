"""What goes wrong with the servers and the database of a simulated world, drawn from its seed."""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.simulate.agenda import Agenda
from tests.simulate.client import Device
from tests.simulate.database import FakeDatabase, Tables
from tests.simulate.faults import SeededFaults
from tests.simulate.phone import Phone
from tests.simulate.process import Process
from tests.simulate.truth import Truth


class Victim(Protocol):
    """What disasters befall."""

    agenda: Agenda
    chance: Random
    database: FakeDatabase
    faults: SeededFaults
    truth: Truth
    processes: list[Process]
    devices: list[Device]
    phones: list[Phone]
    active: bool
    active_s: float
    may_rewind: bool

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace."""


class Disasters:
    """The disasters of one world."""

    def __init__(self, world: Victim) -> None:
        self._world = world
        self._copy: Tables | None = None

    def plan(self) -> None:
        """Draw what will go wrong, and when."""
        world = self._world
        chance, after = world.chance, world.agenda.after
        for process in world.processes:
            for _ in range(chance.choice((0, 0, 1, 1, 2))):
                silently = chance.choice((0.0, 0.0, 0.5))
                after(
                    chance.uniform(0.5, self._world.active_s), self._restart, process, silently, chance.random() < 0.3
                )
        if chance.random() < 0.25:
            after(chance.uniform(0.5, self._world.active_s), self._outage, chance.choice((0.5, 2.0, 7.0, 20.0)))
        if chance.random() < 0.1:
            self._plan_restore()

    def _restart(self, process: Process, silently: float, gently: bool) -> None:
        if not self._world.active:
            return
        if gently:
            process.drain()
            self._world.agenda.after(7.0, process.start)
        else:
            process.kill(silently)
            self._world.agenda.after(self._world.chance.uniform(0.05, 1.5), process.start)

    def _outage(self, length_s: float) -> None:
        if self._world.active:
            self._world.say("database", "goes down for", length_s)
            self._world.database.abort_all()
            self._world.faults.out = True
            self._world.agenda.after(length_s, self._back)

    def _back(self) -> None:
        self._world.say("database", "is back")
        self._world.faults.out = False

    def _plan_restore(self) -> None:
        """A backup is taken while all servers are down, and put back some time later."""
        at = self._world.chance.uniform(0.2, 0.4) * self._world.active_s
        self._world.agenda.after(at, self._back_up)
        self._world.agenda.after(at + self._world.chance.uniform(0.3, 0.5) * self._world.active_s, self._restore)

    def _all_down(self, then: Callable[[], None]) -> None:
        for process in self._world.processes:
            process.kill()
        self._world.database.abort_all()
        then()
        for process in self._world.processes:
            self._world.agenda.after(0.3, process.start)

    def _back_up(self) -> None:
        def take() -> None:
            self._copy = self._world.database.tables.copy()

        self._world.say("database", "is backed up")
        self._all_down(take)

    def _restore(self) -> None:
        def put_back() -> None:
            assert self._copy is not None
            self._world.database.restore(self._copy)
            self._world.may_rewind = True
            self._world.truth.forget()
            for device in self._world.devices:
                device.forgive()

        self._world.say("database", "is restored from the backup")
        for phone in self._world.phones:
            phone.forgive()
        for device in self._world.devices:
            device.drop()  # what is on its way to it tells of a past that never was
        self._all_down(put_back)
