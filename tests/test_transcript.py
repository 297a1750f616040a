"""Whatever the interleaving of live frames, drops and pages: a client's transcript equals the log.

Two processes' cores (sessions, walks, conversations, writers, buses) on the simulated database and a virtual clock;
what happens, and when which answer is held back, is drawn. The simulated world (tests/simulate) goes further, down to
torn frames; this is the promise in one page, and hypothesis shrinks what breaks it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st
from trio.testing import MockClock

from konnect_server import walk as walk_room, writer as writer_room
from tests.deck import until
from tests.fakes import ANN, BOB, CID, HALL, ROOM, Frame, counted, people
from tests.simulate.agenda import Agenda
from tests.simulate.database import FakeDatabase
from tests.test_bus import Node, Wire
from tests.test_session import LINEAGE, Phone, Stage

READS = ["log_after", "standing", "states", "visible", "stretches", "receipts_since", "moved"]
DOORS = ["append", "change_member", *READS]
PLACES = [ROOM, HALL]
EVERYBODY = [ANN, BOB, CID]


class Client:
    """A device that keeps what it was told over all its connections, and checks each frame."""

    def __init__(self, user: UUID) -> None:
        self.user = user
        self.heads: dict[str, int] = {}
        self.began: dict[str, int] = {}  # the head with which each conversation was first told
        self.log: dict[str, dict[int, Frame]] = {}
        self.cursor: str | None = None
        self.phone: Phone | None = None
        self._seen = 0
        self._connection: dict[str, list[int]] = {}

    def call(self, stage: Stage) -> None:
        """Connect to this process; a connection that is there is replaced."""
        self.drop()
        self.phone = stage.call()
        self._seen, self._connection = 0, {}
        more: dict[str, Any] = {} if self.cursor is None else {"cursor": self.cursor}
        self.phone.hello(self.user, f"device {self.user}", heads=self.heads, recent=0, **more)

    def drop(self) -> None:
        """Lose the connection; what came before it counts."""
        if self.phone is not None:
            self.read()
            self.phone.hang_up()
            self.phone = None

    def read(self) -> None:
        """Take in what came."""
        phone = self.phone
        if phone is None:
            return
        for frame in phone.frames[self._seen :]:
            self._take(frame)
        self._seen = len(phone.frames)

    def _take(self, frame: Frame) -> None:
        match frame["t"]:
            case "conversation":
                place = frame["conversation"]
                self.heads[place] = frame["head"]
                self.began.setdefault(place, frame["head"])
            case "entry":
                place, seq = frame["conversation"], frame["seq"]
                assert seq == self.heads.get(place, -1) + 1, f"entry {seq} after {self.heads.get(place)}"
                passed = self._connection.setdefault(place, [])
                assert not passed or seq > passed[-1], f"entry {seq} twice on one connection"
                passed.append(seq)
                self.heads[place] = seq
                known = self.log.setdefault(place, {}).setdefault(seq, frame)
                assert known == frame, "the log does not change"
            case "synced" | "progress" | "cursor":
                self.cursor = frame["cursor"]
            case "rewound":
                raise AssertionError("nothing was restored")

    @property
    def synced(self) -> bool:
        return self.phone is not None and self.phone.ended is None and bool(self.phone.of("synced"))


class Town:
    """Two processes and three people with one device each."""

    def __init__(self, nursery: trio.Nursery) -> None:
        agenda = Agenda()
        nursery.start_soon(agenda.run)
        self.database = FakeDatabase(agenda)
        for person in people:
            self.database.add_account(person, "somebody")
        self.wire = Wire()
        self.nodes = [Node(number, self.wire, self.database, nursery) for number in (0, 1)]
        self.stages = [Stage(node.deck, node.presence) for node in self.nodes]
        new_id = counted()  # one for both, so that the newer session has the higher id, wherever it is
        for stage in self.stages:
            stage.desk = msgspec.structs.replace(stage.desk, new_id=new_id)
        for node, stage in zip(self.nodes, self.stages, strict=True):
            nursery.start_soon(node.run)
            nursery.start_soon(stage.receipts.run)
            nursery.start_soon(stage.wheel.run)
        self.clients = [Client(person) for person in EVERYBODY]
        self.sent = 0

    async def begin(self) -> None:
        deck = self.nodes[0].deck
        await deck.other.add_lineage(LINEAGE)
        await deck.group(ROOM, *EVERYBODY)
        await deck.group(HALL, *EVERYBODY, history="from_join")

    # --- what may happen ---

    def come(self, client: int, process: int) -> None:
        self.clients[client].call(self.stages[process])

    def drop(self, client: int) -> None:
        self.clients[client].drop()

    def say(self, client: int, place: int, count: int) -> None:
        """Some messages of a device that is connected."""
        phone = self.clients[client].phone
        for _ in range(count):
            self.sent += 1
            if phone is not None and phone.ended is None:
                phone.say(PLACES[place], f"k{self.sent}", f"text {self.sent}")

    def change(self, what: str, place: int, client: int) -> None:
        """The owner adds or removes somebody, if connected."""
        self.sent += 1
        phone = self.clients[0].phone
        if phone is not None and phone.ended is None:
            phone.send(f"conversation.{what}", conversation=PLACES[place], key=f"c{self.sent}", user=EVERYBODY[client])

    def shut(self, process: int, door: str) -> None:
        if door not in self.nodes[process].deck.store._doors:
            self.nodes[process].deck.store.shut(door)

    def open(self, process: int, door: str) -> None:
        found = self.nodes[process].deck.store._doors.pop(door, None)
        if found is not None:
            found.open()

    def full(self, client: int, is_full: bool) -> None:
        """The outbox is over its low-water mark, or has drained."""
        phone = self.clients[client].phone
        if phone is not None and phone.ended is None:
            phone.outbox_bytes = 1 << 20 if is_full else 0
            if not is_full:
                phone.session.writable()

    def cut(self, is_cut: bool) -> None:
        self.wire.cut = is_cut

    # --- and how it ends ---

    async def settle(self) -> None:
        """The faults stop; everybody is connected, and complete."""
        self.cut(False)
        for process in (0, 1):
            for door in DOORS:
                self.open(process, door)
        for number in range(len(self.clients)):
            self.full(number, False)
        await until(self.complete)

    def complete(self) -> bool:
        for number, client in enumerate(self.clients):
            client.read()
            if client.phone is None or client.phone.ended is not None:
                client.call(self.stages[number % 2])
            if not client.synced:
                return False
        return all(
            self.expected(client, place) == self.told(client, place) for client in self.clients for place in PLACES
        )

    def told(self, client: Client, place: UUID) -> list[int]:
        return sorted(client.log.get(str(place), {}))

    def expected(self, client: Client, place: UUID) -> list[int]:
        """What the person may see, above where the device began."""
        began = client.began.get(str(place))
        if began is None:
            return []
        spans = self.database.tables.spans[place].get(client.user, [])
        log = self.database.tables.entries[place]
        return [one.seq for one in log if one.seq > began and any(span.shows(one.seq) for span in spans)]


CLIENT, PROCESS, PLACE = st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)
STEPS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("come"), CLIENT, PROCESS),
    st.tuples(st.just("drop"), CLIENT),
    st.tuples(st.just("say"), CLIENT, PLACE, st.integers(1, 9)),
    st.tuples(st.just("change"), st.sampled_from(["add", "remove"]), PLACE, st.integers(1, 2)),
    st.tuples(st.just("shut"), PROCESS, st.sampled_from(DOORS)),
    st.tuples(st.just("open"), PROCESS, st.sampled_from(DOORS)),
    st.tuples(st.just("full"), CLIENT, st.booleans()),
    st.tuples(st.just("cut"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.02, 0.3, 1.5])),
)


@contextmanager
def small_bounds() -> Iterator[None]:
    """Pages of a few entries, so that a short story meets their edges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk_room, "PAGE_ENTRIES", 4)
        patch.setattr(walk_room, "HELD_BYTES", 900)
        patch.setattr(walk_room, "STATES_AT_ONCE", 2)
        patch.setattr(writer_room, "CATCH_UP_ENTRIES", 3)
        yield


async def _live(steps: list[tuple[Any, ...]]) -> None:
    async with trio.open_nursery() as nursery:
        town = Town(nursery)
        await town.begin()
        await trio.sleep(2.0)  # the processes know of each other
        for name, *arguments in steps:
            if name == "wait":
                await trio.sleep(*arguments)
            else:
                call: Callable[..., None] = getattr(town, name)
                call(*arguments)
            for client in town.clients:
                client.read()
        await town.settle()
        nursery.cancel_scope.cancel()


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=60))
def test_a_clients_transcript_equals_the_log(steps: list[tuple[Any, ...]]) -> None:
    """Every connection sees each conversation in order without a gap or a repeat; all connections together see what the
    person may see, and nothing else."""
    with small_bounds():
        trio.run(_live, steps, clock=MockClock(autojump_threshold=0))
