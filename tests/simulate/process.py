"""One server process of a simulated world: the product's core on simulated surroundings, started, drained or killed."""

from random import Random
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import trio

from konnect_server.config import Config
from konnect_server.core import Core, World as CoreWorld, open_core
from protocol import closing
from protocol.errors import Unauthorized
from tests.simulate.database import FakeDatabase
from tests.simulate.doorbell import FakeDoorbell, Street
from tests.simulate.faults import SeededFaults
from tests.simulate.network import Listener, Poller
from tests.simulate.store import FakeStore


class Ground(Protocol):
    """What a process stands on."""

    nursery: trio.Nursery
    database: FakeDatabase
    faults: SeededFaults
    street: Street
    config: Config
    chance: Random
    accept_trouble: float

    def rng(self, name: str) -> Random:
        """A generator of its own for *name*."""

    def new_id(self) -> UUID:
        """A UUIDv7 that the seed determines."""

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace."""


class Claims(NamedTuple):
    """What a simulated token says."""

    user: UUID
    sign_in: UUID
    expires_at_s: int


class Process:
    """One server process: the product's core on simulated surroundings."""

    def __init__(self, world: Ground, number: int) -> None:
        self.world, self.number = world, number
        self.name = f"server{number}"
        self.core: Core | None = None
        self.listener: Listener | None = None
        self.up = False
        self._store: FakeStore | None = None
        self._door: FakeDoorbell | None = None
        self._scope = trio.CancelScope()
        self._lives = 0
        self._task_count = 0

    def start(self) -> None:
        """Start, unless it is up."""
        if not self.up:
            self.up = True
            self._lives += 1
            self.world.say(self.name, "starts")
            self._scope = trio.CancelScope()
            self.world.nursery.start_soon(self._live, self._scope)

    async def _live(self, scope: trio.CancelScope) -> None:
        world = self.world
        rng = world.rng(f"{self.name} life {self._lives}")
        ended: dict[UUID, None] = {}

        def verify(token: str) -> Claims:
            user, sign_in, expires_at_s, _ = token.split("|")
            claims = Claims(UUID(user), UUID(sign_in), int(expires_at_s))
            if claims.expires_at_s * 1000 <= world.database.now_ms() or claims.sign_in in ended:
                raise Unauthorized("the token has ended")
            return claims

        self._store = store = FakeStore(world.database, world.faults)
        self._door = door = FakeDoorbell(world.street)
        poller = Poller(rng)
        surroundings = CoreWorld(
            store=store, doorbell=door, poller=poller, hand_over=lambda sock, head, peer: sock.close(), verify=verify,
            sign_in_ended=lambda sign_in: ended.update({sign_in: None}), randomness=rng, new_id=world.new_id,
            wall_ms=world.database.now_ms,
        )  # fmt: skip
        with scope:
            async with open_core(world.config, surroundings) as core:
                core.pump._clock = Stopwatch(rng).now
                self.listener = listener = Listener(poller, rng)
                listener.trouble = world.accept_trouble
                core.gateway.listen([listener])
                self.core = core
                self._task_count = len(core.registry._nursery.child_tasks)
                await trio.sleep_forever()

    def kill(self, silently: float = 0.0) -> None:
        """The process is gone, without a word. *silently*: share of the connections whose clients are not told."""
        if self.up:
            self.world.say(self.name, "is killed")
            self.up = False
            self.core = None
            rng = self.world.chance
            if self._store is not None:
                self._store.kill(rng)
            if self.listener is not None:
                self.listener.kill(lambda: rng.random() < silently)
                self.listener = None
            if self._door is not None:
                self._door.take_down()
                self._door = None
            self._scope.cancel()

    def drain(self) -> None:
        """The process is asked to go, and goes."""
        if self.up and self.core is not None:
            self.world.say(self.name, "drains")
            self.world.nursery.start_soon(self._drain, self.core)

    async def _drain(self, core: Core) -> None:
        core.gateway.stop_accepting()
        self.listener = None
        await core.settle()
        with trio.move_on_after(self.world.config.drain_s):
            await core.gateway.close_all(closing.DRAINING, batch=3, every_s=0.25)
        if self.core is core:
            self.kill()

    def leftovers(self) -> str | None:
        """What is still in memory although nobody is connected; None: nothing."""
        core = self.core
        if core is None:
            return None
        found = {
            "connections": len(core.pump.connections),
            "conversations": len(core.registry.conversations),
            "people": len(core.registry.users),
            "followed": len(core.presence._followers),
            "online": len(core.presence._here) + len(core.presence._leaving),
            "receipts": len(core.receipts._pending),
            "strangers": core.gateway.strangers.count,
            "deadlines": len(core.wheel),
            "tasks": len(core.registry._nursery.child_tasks) - self._task_count,
        }
        left = {what: count for what, count in found.items() if count}
        return f"{self.name}: {left}" if left else None


class Stopwatch:
    """The clock by which the pump measures its turns: each look takes a while, and some take too long."""

    def __init__(self, rng: Random) -> None:
        self._random = rng.random
        self._now = 0.0

    def now(self) -> float:
        """Seconds."""
        draw = self._random()
        self._now += 0.01 if draw < 0.02 else 0.00002
        return self._now
