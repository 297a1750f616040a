"""One simulated world: server processes, a dozen devices, a database, and what goes wrong, all drawn from a seed."""

import contextlib
import hashlib
import itertools
import math
from collections.abc import Callable, MutableMapping
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import structlog
import trio

from konnect_server.config import Config
from storage.rows import NewKind
from tests.simulate import deterministic
from tests.simulate.agenda import Agenda
from tests.simulate.behaviour import Behaviour
from tests.simulate.bounds import CRASH, crashes, overheard, small_bounds
from tests.simulate.client import Device
from tests.simulate.database import Call, FakeDatabase
from tests.simulate.disasters import Disasters
from tests.simulate.doorbell import Street
from tests.simulate.faults import WELL, SeededFaults
from tests.simulate.functions import create_group, open_direct
from tests.simulate.network import Pipe, SeededWeather
from tests.simulate.phone import Phone
from tests.simulate.process import Process
from tests.simulate.rooms import ALIVE_MS
from tests.simulate.rude import Rude
from tests.simulate.truth import Truth, Violation

EPOCH_MS: Final = 1_767_225_600_000
COUNTED_S: Final = 75.0  # all counts of heads are told again each minute
SETTLE_S: Final = 90.0  # after the faults stop, everybody must be complete within it
BURSTS: Final = 2  # devices that then say many things at once
PROMPT_S: Final = 0.95  # below the second after which a sweep would hide that something was forgotten
LIMIT_S: Final = 600.0  # no world lasts longer

CONFIG: Final = Config(
    messages_per_s=20.0, messages_burst=10, commands_per_s=20.0, commands_burst=30, sockets_per_user=50,
    group_members=6, ping_interval_s=2.0, ping_timeout_s=2.0, presence_grace_s=2.0, hello_timeout_s=10.0,
    outbox_bytes=65_536, log_writers=2, drain_s=2.0, edit_within_s=4, room_members=5,
)  # fmt: skip


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


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed, self.options = seed, options
        self.agenda = Agenda(self.rng("agenda"))
        self.chance = chance = self.rng("chance")
        self.trace: list[str] = []
        self.may_rewind = False
        self.crashes: list[str] = []
        self.leaks: list[str] = []  # of what was to be hidden
        self._hash = hashlib.blake2b(digest_size=8)
        self._ids = self.rng("ids")
        self._count = itertools.count()
        self.people: list[UUID] = []
        self.devices: list[Device] = []
        self.phones: list[Phone] = []
        self.behaviours: list[Behaviour] = []
        self.codes: list[str] = []  # of links that were made
        self.processes: list[Process] = []
        self.reached: dict[Pipe, Process] = {}  # each connection's process
        self.active = True
        self.accept_trouble = chance.choice((0.0, 0.0, 0.1))
        self.active_s = chance.uniform(5.0, 9.0)
        self.small = chance.random() < 0.75
        self.config = msgspec.structs.replace(CONFIG, outbox_bytes=16_384) if self.small else CONFIG
        self.crash_rate = chance.choice((0.0, 0.0, 0.0, 0.01))
        more = self.rng("rooms and privacy")
        self.sociable = more.random() < 0.6  # there are rooms and channels
        self.secretive = more.random() < 0.5  # people turn their privacy's switches

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
        self.reached[pipe] = process
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

    def pass_on(self, code: str) -> None:
        """A link was made: some hear of it, and come at about the same time."""
        self.codes.append(code)
        for behaviour in self.behaviours:
            if self.chance.random() < 0.4:
                self.agenda.after(self.chance.random() * 0.25, behaviour.try_link, code)

    def turned(self, device: Device) -> None:
        """*device* was told that a switch of its person's privacy was turned: others type in the next moment."""
        for behaviour in self.behaviours:
            if behaviour.device is not device and self.chance.random() < 0.5:
                self.agenda.after(self.chance.random() * 0.1, behaviour.echo)

    def turns(self, device: Device) -> None:
        """*device* turns a switch: other devices of the person come back at about the same time."""
        for other in self.devices:
            if other.person == device.person and other is not device and self.chance.random() < 0.4:
                self.agenda.after(self.chance.random() * 0.2, self._come_anew, other)

    def _come_anew(self, device: Device) -> None:
        if self.active:
            device.drop(back=False)
            device.connect()

    def provoke(self, user: str, place: str) -> None:
        """*user* is about to be sent away from *place*: some devices of theirs come back at about the same time."""
        for behaviour in self.behaviours:
            if behaviour.device.me == user and self.chance.random() < 0.5:
                self.agenda.after(self.chance.random() * 0.15, behaviour.come_back, place)

    def sign_out(self, device: Device) -> None:
        """End the device's sign-in at some process, as the HTTP door does."""
        cores = [process.core for process in self.processes if process.core is not None]
        if cores:
            self.say(device.name, "is signed out")
            device.signed_out = True
            self.chance.choice(cores).sign_out(device.sign_in, device.person)

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
        self.truth = Truth(self.database, self.config.group_members, self.config.room_members)
        self.faults = SeededFaults(self.rng("storage"), chance.choice((0.0, 0.02, 0.1)))
        self.weather = SeededWeather(
            self.rng("weather"), chance.choice((0.0, 0.1, 0.4)), chance.choice((0.0, 0.03, 0.1))
        )
        self.street = Street(self.agenda, self.rng("street"), chance.choice((0.0, 0.2, 0.6, 1.0)))
        self.people = [self.new_id() for _ in range(chance.randint(4, 6))]
        for number, person in enumerate(self.people):
            self.database.add_account(person, f"person {number}")
        for _ in range(2):
            members = chance.sample(self.people, chance.randint(2, len(self.people)))
            history = chance.choice(("all", "from_join"))
            body = create_group(self.database, self.new_id(), members[0], self.key(), "a group", history, members, 6)  # type: ignore[arg-type]  # choice gives str
            self.database.begin(body, WELL, Call())
        for kind in ("room", "channel") if self.sociable else ():
            more = NewKind(kind, None, ["Chess", kind], True)
            members = chance.sample(self.people, chance.choice((1, 1, 2, 3)))
            history = chance.choice(("all", "from_join"))
            body = create_group(
                self.database, self.new_id(), members[0], self.key(), f"a {kind}", history, members, 5, more  # type: ignore[arg-type]
            )
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
        Disasters(self).plan()
        await trio.sleep(self.active_s)
        self._heal()
        await self._until(self._unfinished, SETTLE_S, "not complete after the faults stopped")
        await self._burst()
        for device in self.devices:
            device.drop()
        for phone in self.phones:
            phone.drop()
        await trio.sleep(0.05)
        await self._until(self._unfinished, SETTLE_S, "not complete after the last reconnect")
        await self._until(self._miscounted, COUNTED_S, "heads are miscounted with everybody at rest")
        if len(self.processes) == 1:  # others' people are known by bells, which may be lost
            await trio.sleep(0.2)
            for device in self.devices:
                device.judge_presence()
        for device in self.devices:
            device.judge_complete()
            device.judge_order()
        for phone in self.phones:
            phone.judge()
        problem = self.truth.judge_logs() or self.truth.judge_scheduled()
        if problem:
            raise Violation(problem)
        for device in self.devices:
            device.retired = True
            device.drop(self.chance.choice(("reset", "close")), back=False)
        for phone in self.phones:
            phone.retire()
        await self._until(self._leftovers, 30.0, "left in memory with nobody connected")

    async def _burst(self) -> None:
        """In good weather everything is answered promptly, also what comes faster than it may and is read late."""
        loud = {device: device.pipe for device in self.devices[:BURSTS] if device.burst(13, self.key)}
        await trio.sleep(PROMPT_S)
        for device, pipe in loud.items():
            stands = pipe is not None and pipe is device.pipe and not pipe.lost  # no end of a token, no network lost
            if device.unanswered and stands:
                raise Violation(f"{device.name}: {device.unanswered} of 13 not answered within {PROMPT_S} s")
        await self._until(self._unfinished, SETTLE_S, "not complete after a burst")

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
        if self.leaks:
            raise Violation(self.leaks[0])

    def _unfinished(self) -> str | None:
        everybody: list[Device | Phone] = [*self.devices, *self.phones]
        for one in everybody:
            problem = one.unfinished()
            if problem:
                return f"{one.name}: {problem}"
        return self.truth.waits()

    def overhear(self, session: Any, event: dict[str, Any]) -> None:
        """A session sends what passes and is gone: nothing that a switch hides. (Others may hear of it late.)"""
        viewer, secrecy = session.user, self.truth.secrecy
        if len(self.processes) == 1 and self.database.tables.switched:
            user = self.truth.id(event["user"])
            if event["t"] == "typing":
                problem = secrecy.judge_typing(viewer, user)
            else:
                problem = secrecy.judge_presence(viewer, user, event["state"], event.get("last_seen_ms"))
            if problem:
                self.say("world", "VIOLATION", viewer, "is told", event, "which", problem)
                self.leaks.append(f"{viewer} is told {event}, which {problem}")

    def _miscounted(self) -> str | None:
        """Which public conversation's head-count is not what it should be; None: none."""
        tables = self.database.tables
        alive = [node for node, at_ms in tables.nodes.items() if self.database.now_ms() - at_ms < ALIVE_MS]
        everybody: list[Device | Phone] = [*self.devices, *self.phones]
        for place in tables.listed:
            seats = {
                (one.person, self.reached[pipe]) for one in everybody
                if (pipe := one.pipe) is not None and tables.span(place, one.person) is not None
            }  # fmt: skip
            counted = sum(tables.room_online.get((place, node), 0) for node in alive)
            if counted != len(seats):
                return f"{counted} in {place}, and should be {len(seats)}"
        return None

    def _leftovers(self) -> str | None:
        for process in self.processes:
            problem = process.leftovers()
            if problem:
                return problem
        return f"{self.database.in_flight} transactions" if self.database.in_flight else None

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


def run_seed(seed: int, options: Options = Options()) -> Result:  # noqa: B008 - immutable
    """Run one world to its end.

    Args:
        seed: Determines all of it.
        options: Whether to keep a trace.

    Returns:
        How it went; ``problem`` is None when every promise was kept.
    """
    world = World(seed, options)

    def listen(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if method in ("error", "exception", "critical") and CRASH not in str(event.get("exception")):
            world.crashes.append(f"{event} {event.get('exc_info')!r}")
        world.say("log", f"{method}: {event.get('event')}", event)
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, listen], cache_logger_on_first_use=False)
    problem: str | None = None
    with (
        small_bounds() if world.small else contextlib.nullcontext(),
        overheard(world.overhear),
        crashes(world.crash_rate, world.chance, lambda: world.active),
    ):
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
