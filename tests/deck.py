"""A part of the house on the simulated database and a virtual clock, for tests of walk, writer, session and bus.

The store has doors: a test may hold an answer back, after it was read, until what was to race with it has happened.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import trio

from konnect_server.conversation import Conversation
from konnect_server.presence import Presence
from konnect_server.registry import Registry
from konnect_server.stretches import Stretches
from konnect_server.writer import Writer
from protocol.frames import AnyAction, AnyPersonal, Entry, History, HistoryPage, User
from storage.actions import Deed
from storage.errand import by_task
from storage.errors import StorageUnavailable
from storage.rows import (
    Acted,
    Appendix,
    Changed,
    Kept,
    Made,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    PersonalPage,
    Raise,
    Raised,
    Range,
    Rules,
    Seen,
    Standing,
    State as StateRow,
)
from storage.store import PLAIN, Change
from tests.fakes import people
from tests.simulate.agenda import Agenda
from tests.simulate.database import FakeDatabase
from tests.simulate.personal import set_personal
from tests.simulate.store import FakeStore

MOST = 50
T = TypeVar("T")


class Door:
    """Where answers of one kind wait. ``reached`` is set when the first one does."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self._open = trio.Event()

    def open(self) -> None:
        """Let them all through, and all that follow."""
        self._open.set()

    async def through(self) -> None:
        self.reached.set()
        await self._open.wait()


class DoorStore(FakeStore):
    """The simulated store, with a door before the answers of each kind of call, and a record of the calls."""

    def __init__(self, database: FakeDatabase) -> None:
        super().__init__(database)
        self.calls: list[str] = []
        self.failing: dict[str, Exception | Callable[[Any], Exception | None]] = {}
        self.lost: dict[str, int] = {}  # of so many calls the answer is lost: done, and not told
        self._doors: dict[str, Door] = {}

    def shut(self, name: str) -> Door:
        """Hold back the answers of all calls of *name* from now on."""
        self._doors[name] = door = Door()
        return door

    async def _pass(self, name: str, answer: T) -> T:
        door = self._doors.get(name)
        if door is not None:
            await door.through()
        if self.lost.get(name, 0) > 0:
            self.lost[name] -= 1
            raise StorageUnavailable("the answer was lost")
        return answer

    async def _begin(self, name: str, asked: Any) -> None:
        self.calls.append(name)
        await by_task()
        await trio.lowlevel.checkpoint()
        problem = self.failing.get(name)
        if callable(problem):
            problem = problem(asked)
        if problem is not None:
            raise problem

    async def append(self, lane: int, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Appendix:
        await self._begin("append", messages)
        return await self._pass("append", await super().append(lane, messages, heads))

    async def act(self, lane: int, author: UUID, action: Deed, rules: Rules) -> Acted:
        await self._begin("act", action)
        return await self._pass("act", await super().act(lane, author, action, rules))

    async def change_member(
        self, lane: int, change: Change, conversation: UUID, author: UUID, key: str, user: UUID, most: int,
        room_most: int | None = None,
    ) -> Changed:  # fmt: skip
        await self._begin("change_member", change)
        answer = await super().change_member(lane, change, conversation, author, key, user, most, room_most)
        return await self._pass("change_member", answer)

    async def log_after(self, lane: int, conversation: UUID, head: int, limit: int) -> list[Entry]:
        await self._begin("log_after", conversation)
        return await self._pass("log_after", await super().log_after(lane, conversation, head, limit))

    async def create_group(
        self, new_id: UUID, author: UUID, key: str, title: str, history: History, members: Sequence[UUID], most: int,
        more: NewKind = PLAIN,
    ) -> Made:  # fmt: skip
        await self._begin("create_group", key)
        answer = await super().create_group(new_id, author, key, title, history, members, most, more)
        return await self._pass("create_group", answer)

    async def open_direct(self, new_id: UUID, author: UUID, user: UUID) -> Made:
        await self._begin("open_direct", user)
        return await self._pass("open_direct", await super().open_direct(new_id, author, user))

    async def standing(
        self, person: UUID, lineage: UUID | None, told: int = 0, known: int | None = None
    ) -> Standing:
        await self._begin("standing", person)
        return await self._pass("standing", await super().standing(person, lineage, told, known))

    async def keep(self, person: UUID, command: AnyPersonal, rules: Rules) -> Kept:
        await self._begin("keep", command)
        return await self._pass("keep", await super().keep(person, command, rules))

    async def personal(
        self, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
    ) -> PersonalPage:
        await self._begin("personal", (above, through))
        return await self._pass("personal", await super().personal(person, above, through, gone, limit, size_bytes))

    async def first_standing(self, person: UUID, recent: int, most: int) -> Standing:
        await self._begin("standing", person)
        return await self._pass("standing", await super().first_standing(person, recent, most))

    async def states(self, person: UUID, conversations: Sequence[UUID], recent: int) -> list[StateRow]:
        await self._begin("states", conversations)
        return await self._pass("states", await super().states(person, conversations, recent))

    async def visible(self, person: UUID, ranges: Sequence[Range], size_bytes: int) -> Page:
        await self._begin("visible", ranges)
        return await self._pass("visible", await super().visible(person, ranges, size_bytes))

    async def stretches(self, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
        await self._begin("stretches", ranges)
        return await self._pass("stretches", await super().stretches(ranges, size_bytes))

    async def history(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> HistoryPage:
        await self._begin("history", conversation)
        return await self._pass("history", await super().history(person, conversation, before, limit))

    async def raise_receipts(self, moves: Sequence[Raise]) -> list[Raised]:
        await self._begin("raise_receipts", moves)
        return await self._pass("raise_receipts", await super().raise_receipts(moves))

    async def receipts_since(self, person: UUID, since_ms: int) -> list[OthersReceipt]:
        await self._begin("receipts_since", since_ms)
        return await self._pass("receipts_since", await super().receipts_since(person, since_ms))

    async def moved(self, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
        await self._begin("moved", (heads, numbers))
        return await self._pass("moved", await super().moved(heads, numbers))

    async def presences(self, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        await self._begin("presences", person)
        return await self._pass("presences", await super().presences(person, users))

    async def users(self, person: UUID, ids: Sequence[UUID]) -> list[User]:
        await self._begin("users", (person, ids))
        return await self._pass("users", await super().users(person, ids))

    async def beat(self, node: UUID) -> list[UUID]:
        await self._begin("beat", node)
        return await self._pass("beat", await super().beat(node))

    async def publish_rooms(self, node: UUID, people: Mapping[UUID, int]) -> None:
        await self._begin("publish_rooms", people)
        await self._pass("publish_rooms", await super().publish_rooms(node, people))  # type: ignore[func-returns-value]

    async def add_lineage(self, lineage: UUID) -> None:
        await self._begin("add_lineage", lineage)
        await super().add_lineage(lineage)


class Deck:
    """One process's writers and registry on a store of its own; ``other`` is another process's hand in the same log."""

    def __init__(self, database: FakeDatabase, nursery: trio.Nursery, lanes: int = 1) -> None:
        self.database = database
        self.nursery = nursery
        self.store = DoorStore(database)
        self.other = FakeStore(database)
        self.flushes = 0
        self.came: list[UUID] = []
        self.went: list[UUID] = []
        self.writers = [Writer(lane, self.store, Rules(MOST), self._contain, self.flush) for lane in range(lanes)]
        self.registry = Registry(self.writers, nursery, self._came, self._went, self.flush)
        self.stretches = self.registry.stretches = Stretches(self.store.stretches, trio.current_time, self._later)
        self.presence: Presence | None = None  # told of who comes and goes, if there is one

    def _later(self, at: float, call: Callable[[], None]) -> None:
        async def at_its_time() -> None:
            await trio.sleep_until(at)
            call()

        self.nursery.start_soon(at_its_time)

    def _contain(self, conversation: Conversation, call: Callable[[], None]) -> None:
        self.registry.contain(conversation, call)

    def _came(self, user: UUID) -> None:
        self.came.append(user)
        if self.presence is not None:
            self.presence.came(user)

    def _went(self, user: UUID) -> None:
        self.went.append(user)
        if self.presence is not None:
            self.presence.went(user)

    def flush(self) -> None:
        """What the pump's flush is: the end of somebody's fan-out."""
        self.flushes += 1

    def conversation(self, conversation: UUID) -> Conversation:
        """The live one of that id."""
        return self.registry.conversation(conversation)

    async def say(self, conversation: UUID, author: UUID, *texts: str, key: str = "") -> list[int | None]:
        """Another process stores messages; nobody rings."""
        named = [NewMessage(conversation, author, key or f"other {text}", text) for text in texts]
        return [answer.seq for answer in (await self.other.append(0, named, {})).answers]

    async def change(self, change: Change, conversation: UUID, author: UUID, user: UUID) -> int:
        """Another process changes a membership; nobody rings."""
        key = f"other {change} {user} {trio.current_time()} {len(self.database.tables.entries[conversation])}"
        return (await self.other.change_member(0, change, conversation, author, key, user, MOST)).seq

    async def act(self, author: UUID, action: AnyAction) -> Acted:
        """Another process stores an action; nobody rings."""
        return await self.other.act(0, author, action, Rules(MOST))

    def set(self, person: UUID, subject: UUID, text: str | None) -> int:
        """Another process sets a row of *person*'s own, a draft; nobody rings."""
        value = None if text is None else {"text": text, "at_ms": 5}
        return set_personal(self.database.tables, self.database.now_ms(), person, "draft", str(subject), value)

    async def group(self, conversation: UUID, *members: UUID, history: History = "all") -> None:
        """A group, made elsewhere."""
        await self.other.create_group(conversation, members[0], f"make {conversation}", "club", history, members, MOST)


@asynccontextmanager
async def open_deck(lanes: int = 1) -> AsyncIterator[Deck]:
    """A deck whose writers run. Everybody of ``fakes.people`` has an account."""
    agenda = Agenda()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agenda.run)
        database = FakeDatabase(agenda)
        for person in people:
            database.add_account(person, f"person {person.int & 0xFF}")
        deck = Deck(database, nursery, lanes)
        for writer in deck.writers:
            nursery.start_soon(writer.run)
        with trio.fail_after(10_000):  # virtual
            yield deck
        nursery.cancel_scope.cancel()


async def until(true: Callable[[], object]) -> None:
    """Wait, on the virtual clock, until *true* is; two minutes at most."""
    with trio.fail_after(120):
        while not true():
            await trio.sleep(0.01)
