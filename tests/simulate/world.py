"""One simulated world: a few server processes, a dozen devices, a database, and what goes wrong, all drawn from a seed."""

import contextlib
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import structlog
import trio

from konnect_server import bus, connection, conversation, receipts, session, walk, writer
from konnect_server.config import Config
from konnect_server.core import Core, open_core
from konnect_server.core import World as CoreWorld
from protocol import closing
from protocol.errors import Unauthorized
from tests.simulate import deterministic
from tests.simulate.agenda import Agenda
from tests.simulate.behaviour import Behaviour
from tests.simulate.client import Device
from tests.simulate.database import Call, FakeDatabase, Tables
from tests.simulate.doorbell import FakeDoorbell, Street
from tests.simulate.faults import WELL, SeededFaults
from tests.simulate.functions import create_group, open_direct
from tests.simulate.network import Listener, Pipe, Poller, SeededWeather
from tests.simulate.phone import Phone
from tests.simulate.rude import Rude
from tests.simulate.store import FakeStore
from tests.simulate.truth import Truth, Violation

EPOCH_MS: Final = 1_767_225_600_000
SETTLE_S: Final = 90.0  # after the faults stop, everybody must be complete within it
LIMIT_S: Final = 600.0  # no world lasts longer

CONFIG: Final = Config(
    messages_per_s=20.0, messages_burst=10, commands_per_s=20.0, commands_burst=30, sockets_per_user=50,
    group_members=6, ping_interval_s=2.0, ping_timeout_s=2.0, presence_grace_s=2.0, hello_timeout_s=10.0,
    outbox_bytes=65_536, log_writers=2, drain_s=2.0,
)  # fmt: skip

# Bounds of the product made small, so that a small world meets them. (module, name, small value)
SMALL: Final[tuple[tuple[Any, str, object], ...]] = (
    (walk, "PAGE_BYTES", 4_096), (walk, "PAGE_ENTRIES", 5), (walk, "STATES_AT_ONCE", 2), (walk, "HELD_BYTES", 600),
    (conversation, "INBOX_LIMIT", 4), (conversation, "BATCH_LIMIT", 3), (writer, "BATCH_ROWS", 4),
    (writer, "CATCH_UP_ENTRIES", 2), (session, "READS_AT_ONCE", 1), (session, "READS_WAITING", 2),
    (session, "ANSWERS_WAITING", 2), (session, "LOW_WATER_BYTES", 2_048), (connection, "LOW_WATER_BYTES", 2_048),
    (writer, "GIVE_UP_S", 1.0), (session, "GIVE_UP_S", 1.0), (walk, "GIVE_UP_S", 2.0), (receipts, "GIVE_UP_S", 1.0), (bus, "SLICE", 3), (bus, "ALONE_SLICE", 3), (bus, "LINEAGE_S", 3.0),
)  # fmt: skip


class Claims(NamedTuple):
    """What a simulated token says."""

    user: UUID
    sign_in: UUID
    expires_at_s: int


class Result(NamedTuple):
    """How a seed went."""

    seed: int
    problem: str | None
    checks: int  # frames that were judged
    fingerprint: str  # of the whole run; the same seed gives the same
    trace: list[str]


class Options(NamedTuple):
    """What a run may be told."""

    trace: bool = False


class Process:
    """One server process: the product's core on simulated surroundings."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.name = f"server{number}"
        self.core: Core | None = None
        self.listener: Listener | None = None
        self.up = False
        self._store: FakeStore | None = None
        self._door: FakeDoorbell | None = None
        self._scope = trio.CancelScope()
        self._lives = 0

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
            config = msgspec.structs.replace(CONFIG, outbox_bytes=16_384) if world.small else CONFIG
            async with open_core(config, surroundings) as core:
                core.pump._clock = Stopwatch(rng).now
                self.listener = listener = Listener(poller, rng)
                listener.trouble = world.accept_trouble
                core.gateway.listen([listener])
                self.core = core
                self.baseline = core.registry._nursery.child_tasks
                self.task_count = len(core.registry._nursery.child_tasks)
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
        with trio.move_on_after(CONFIG.drain_s):
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
            "tasks": len(core.registry._nursery.child_tasks) - self.task_count,
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


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed, self.options = seed, options
        self.agenda = Agenda(self.rng("agenda"))
        self.chance = chance = self.rng("chance")
        self.trace: list[str] = []
        self.may_rewind = False
        self.crashes: list[str] = []
        self._hash = hashlib.blake2b(digest_size=8)
        self._ids = self.rng("ids")
        self._count = itertools.count()
        self.people: list[UUID] = []
        self.devices: list[Device] = []
        self.phones: list[Phone] = []
        self.behaviours: list[Behaviour] = []
        self.processes: list[Process] = []
        self.active = True
        self.accept_trouble = chance.choice((0.0, 0.0, 0.1))
        self.active_s = chance.uniform(5.0, 9.0)
        self.small = chance.random() < 0.75
        self.backup: Tables | None = None

    def rng(self, name: str) -> Random:
        """A generator of its own for *name*, so that one part's draws do not move another's."""
        return Random(f"{self.seed} {name}")

    def new_id(self) -> UUID:
        """A UUIDv7 that the seed determines."""
        number = (self.database.now_ms() & (1 << 48) - 1) << 80 | self._ids.getrandbits(80)
        return UUID(int=number & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)

    def key(self) -> str:
        """A key that nobody has used."""
        return f"k{next(self._count)}"

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace, and for the run's fingerprint."""
        if self.options.trace:
            line = f"{trio.current_time():9.4f} {who:<10} {what} {' '.join(map(str, details))}"
            self.trace.append(line)
            self._hash.update(line.encode())

    # --- what devices ask of it ---

    def connect(self, device: Any) -> Pipe | None:
        """A new connection to one of the processes."""
        standing = [process for process in self.processes if process.up and process.listener is not None]
        if not standing:
            return None
        process = self.chance.choice(standing)
        pipe = Pipe(self.agenda, self.weather, self.chance, device)
        self.say(getattr(device, "name", "rude"), "connects to", process.name)
        self.agenda.after(self.weather.latency_s(), self._knock, process, pipe)
        return pipe

    def _knock(self, process: Process, pipe: Pipe) -> None:
        if pipe.over:
            return
        if process.listener is None:
            pipe.reset_to_client()
        else:
            process.listener.knock(pipe)

    def token(self, device: Device | Phone) -> str:
        """A token that lasts as long as the device likes."""
        expires_at_s = math.ceil(self.database.now_ms() / 1000 + device.token_s)
        return f"{device.person}|{device.sign_in}|{expires_at_s}|{next(self._count)}"

    # --- the run ---

    async def run(self) -> None:
        """From the first process to the last goodbye."""
        async with trio.open_nursery() as self.nursery:
            self._furnish()
            for process in self.processes:
                process.start()
            with trio.fail_after(LIMIT_S):
                await self._story()
            self.nursery.cancel_scope.cancel()

    def _furnish(self) -> None:
        chance = self.chance
        self.database = FakeDatabase(self.agenda, EPOCH_MS)
        self.truth = Truth(self.database)
        self.faults = SeededFaults(self.rng("storage"), chance.choice((0.0, 0.02, 0.1)))
        self.weather = SeededWeather(self.rng("weather"), chance.choice((0.0, 0.1, 0.4)), chance.choice((0.0, 0.03, 0.1)))
        self.street = Street(self.agenda, self.rng("street"), chance.choice((0.0, 0.2, 0.6, 1.0)))
        self.people = [self.new_id() for _ in range(chance.randint(4, 6))]
        for number, person in enumerate(self.people):
            self.database.add_account(person, f"person {number}")
        for _ in range(2):
            members = chance.sample(self.people, chance.randint(2, len(self.people)))
            history = chance.choice(("all", "from_join"))
            body = create_group(self.database, self.new_id(), members[0], self.key(), "a group", history, members, 6)  # type: ignore[arg-type]  # choice gives str
            self.database.begin(body, WELL, Call())
        self.database.begin(open_direct(self.database, self.new_id(), self.people[0], self.people[1]), WELL, Call())
        self.processes = [Process(self, number) for number in range(chance.choice((1, 1, 1, 2, 2, 3)))]
        for number in range(chance.randint(8, 11)):
            person = self.people[number % len(self.people)]
            name = f"device{number}"
            device = Device(self, person, name, self.rng(name))
            self.devices.append(device)
            self.behaviours.append(Behaviour(self, device))
        for number in range(chance.choice((0, 0, 1))):
            person = self.people[-1 - number]
            phone = Phone(self, person, f"phone{number}", self.rng(f"phone{number}"))
            self.phones.append(phone)
        self.rude = [Rude(self, self.rng(f"rude{number}")) for number in range(chance.choice((0, 0, 1, 2)))]

    async def _story(self) -> None:
        await trio.sleep(0.05)
        for device in self.devices:
            self.agenda.after(self.chance.random() * 1.5, device.connect)
        for behaviour in self.behaviours:
            behaviour.start()
        for phone in self.phones:
            self.nursery.start_soon(phone.run)
        for rude in self.rude:
            rude.start()
        self._plan_disasters()
        await trio.sleep(self.active_s)
        self._heal()
        await self._until(self._unfinished, SETTLE_S, "not complete after the faults stopped")
        for device in self.devices:
            device.drop()
        for phone in self.phones:
            phone.drop()
        await trio.sleep(0.05)
        await self._until(self._unfinished, SETTLE_S, "not complete after the last reconnect")
        for device in self.devices:
            device.judge_complete()
            device.judge_order()
        for phone in self.phones:
            phone.judge()
        problem = self.truth.judge_logs()
        if problem:
            raise Violation(problem)
        for device in self.devices:
            device.retired = True
            device.drop(self.chance.choice(("reset", "close")), back=False)
        for phone in self.phones:
            phone.retire()
        await self._until(self._leftovers, 30.0, "left in memory with nobody connected")

    async def _until(self, lacking: Callable[[], str | None], limit_s: float, what: str) -> None:
        """Wait until nothing is *lacking*."""
        until = trio.current_time() + limit_s
        while problem := lacking():
            if trio.current_time() > until:
                raise Violation(f"{what}: {problem}")
            await trio.sleep(0.25)
            self._judge_crashes()
        self._judge_crashes()

    def _judge_crashes(self) -> None:
        if self.crashes:
            raise Violation(f"the server crashed inside: {self.crashes[0]}")

    def _unfinished(self) -> str | None:
        for one in (*self.devices, *self.phones):
            problem = one.unfinished()
            if problem:
                return f"{one.name}: {problem}"
        return None

    def _leftovers(self) -> str | None:
        for process in self.processes:
            problem = process.leftovers()
            if problem:
                return problem
        return f"{self.database.in_flight} transactions" if self.database.in_flight else None

    # --- what goes wrong with the servers and the database ---

    def _plan_disasters(self) -> None:
        chance, after = self.chance, self.agenda.after
        for process in self.processes:
            for _ in range(chance.choice((0, 0, 1, 1, 2))):
                silently = chance.choice((0.0, 0.0, 0.5))
                after(chance.uniform(0.5, self.active_s), self._restart, process, silently, chance.random() < 0.3)
        if chance.random() < 0.25:
            after(chance.uniform(0.5, self.active_s), self._outage, chance.choice((0.5, 2.0, 7.0, 20.0)))
        if chance.random() < 0.06:
            self._plan_restore()

    def _restart(self, process: Process, silently: float, gently: bool) -> None:
        if not self.active:
            return
        if gently:
            process.drain()
            self.agenda.after(7.0, process.start)
        else:
            process.kill(silently)
            self.agenda.after(self.chance.uniform(0.05, 1.5), process.start)

    def _outage(self, length_s: float) -> None:
        if self.active:
            self.say("database", "goes down for", length_s)
            self.database.abort_all()
            self.faults.out = True
            self.agenda.after(length_s, self._back)

    def _back(self) -> None:
        self.say("database", "is back")
        self.faults.out = False

    def _plan_restore(self) -> None:
        """A backup is taken while all servers are down, and put back some time later."""
        at = self.chance.uniform(0.2, 0.4) * self.active_s
        self.agenda.after(at, self._back_up)
        self.agenda.after(at + self.chance.uniform(0.3, 0.5) * self.active_s, self._restore)

    def _all_down(self, then: Callable[[], None]) -> None:
        for process in self.processes:
            process.kill()
        self.database.abort_all()
        then()
        for process in self.processes:
            self.agenda.after(0.3, process.start)

    def _back_up(self) -> None:
        def take() -> None:
            self.backup = self.database.tables.copy()

        self.say("database", "is backed up")
        self._all_down(take)

    def _restore(self) -> None:
        def put_back() -> None:
            assert self.backup is not None
            self.database.restore(self.backup)
            self.may_rewind = True
            self.truth.forget()
            for device in self.devices:
                device.forgive()

        self.say("database", "is restored from the backup")
        for phone in self.phones:
            phone.forgive()
        for device in self.devices:
            device.drop()  # what is on its way to it tells of a past that never was
        self._all_down(put_back)

    def _heal(self) -> None:
        """The faults stop."""
        self.say("world", "heals")
        self.active = False
        self.faults.rate = self.faults.slow = 0.0
        self.faults.out = False
        self.weather.fair = True
        self.street.loss = 0.0
        for process in self.processes:
            process.start()
            if process.listener is not None:
                process.listener.trouble = 0.0
        self.accept_trouble = 0.0
        for device in self.devices:
            if device.pipe is not None:
                device.pipe.stall(False)
            device.token_s = 900.0
            device.connect()
        for phone in self.phones:
            phone.heal()


@contextlib.contextmanager
def _small(world: World) -> Iterator[None]:
    """The product's bounds made small, for most seeds."""
    before = [(module, name, getattr(module, name)) for module, name, _ in SMALL]
    try:
        if world.small:
            for module, name, value in SMALL:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def run_seed(seed: int, options: Options = Options()) -> Result:  # noqa: B008 - immutable
    """Run one world to its end.

    Args:
        seed: Determines all of it.
        options: Whether to keep a trace.

    Returns:
        How it went; ``problem`` is None when every promise was kept.
    """
    world = World(seed, options)

    def listen(logger: Any, method: str, event: dict[str, Any]) -> Any:
        if method in ("error", "exception", "critical"):
            world.crashes.append(f"{event} {event.get('exc_info')!r}")
        world.say("log", f"{method}: {event.get('event')}", event)
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, listen], cache_logger_on_first_use=False)
    problem: str | None = None
    with _small(world):
        try:
            deterministic.run(seed, world.agenda, world.run)
        except* Violation as broken:
            problem = str(_first(broken))
        except* trio.TooSlowError:
            problem = f"did not end within {LIMIT_S} simulated seconds"
    checks = world.truth.checks if hasattr(world, "truth") else 0
    return Result(seed, problem, checks, world._hash.hexdigest(), world.trace)


def _first(group: BaseExceptionGroup[Any] | BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
