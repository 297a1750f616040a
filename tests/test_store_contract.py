"""One contract for all who call themselves a ``Store``: PostgreSQL, and the simulated world's fake.

Each test runs against both. What the fake could get wrong would make the simulated world lie, so a last test draws
operations at random and compares every answer.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

import msgspec
import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from protocol import limits
from protocol.errors import (
    AlreadyAMember,
    BadCursor,
    ConversationFull,
    Forbidden,
    KeyReused,
    NotAMember,
    Refused,
    UnknownUser,
    WrongKind,
)
from protocol.frames import (
    ConversationHandover,
    ConversationPhoto,
    ConversationSlowMode,
    ConversationTitle,
    ConversationTopic,
    Entry,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    MemberBan,
    MemberRole,
    MemberUnban,
    MessageDelete,
    MessageEdit,
    MessageReact,
    Receipt,
    RequestAnswer,
)
from storage.actions import FUNCTIONS, Deed
from storage.database import open_database
from storage.postgres_store import open_store
from storage.rows import Answer, Made, NewMessage, OthersReceipt, Raise, Range, Rules, Standing, State
from storage.store import Change, Store
from tests.simulate.actions import ACTIONS
from tests.simulate.agenda import Agenda
from tests.simulate.database import Body, Call, FakeDatabase, Upload
from tests.simulate.faults import WELL
from tests.simulate.functions import append_messages, change_member, move_receipts, open_direct, settle_direct
from tests.simulate.links import join_by_link, revoke_link
from tests.simulate.personal import set_personal
from tests.simulate.store import FakeStore

MOST = 5  # members of a group in these tests
PAGE = 1_000_000


def uid(number: int) -> UUID:
    """A UUID that is easy to read and sorts as its number does."""
    return UUID(int=(0x01987654_3210_7000_8000 << 48) + number)


ANN, BOB, CID, DAN, EVE, FAY = people = [uid(n) for n in range(1, 7)]
G, H, D = uid(101), uid(102), uid(103)


# --- What is tested ---------------------------------------------------------------------------------------------------

Held: TypeAlias = (
    tuple[Literal["append"], Sequence[NewMessage]]
    | tuple[Literal["change"], Change, UUID, UUID, str, UUID]
    | tuple[Literal["direct"], UUID, UUID, UUID]
    | tuple[Literal["receipts"], Sequence[Raise]]
    | tuple[Literal["act"], UUID, Deed]
    | tuple[Literal["link"], UUID, LinkJoin | LinkRevoke]
    | tuple[Literal["settle"], UUID, UUID, bool]
)  # fmt: skip


class Bench(Protocol):
    """A store, a second process' store on the same database, and a hand in the database itself."""

    store: Store
    other: Store

    async def add_account(self, person: UUID, name: str) -> None:
        """Make a person."""

    async def hold(self, write: Held) -> Callable[[], Awaitable[None]]:
        """Run *write* up to its commit; the call returned commits it."""

    async def until_waiting(self, count: int = 1) -> None:
        """Wait until *count* transactions wait for a lock."""

    async def age(self, conversation: UUID, seq: int, by_ms: int) -> None:
        """Let an entry, and what slow mode knows of its conversation, have been stored so much earlier."""

    async def add_photo(self, photo: UUID, owner: UUID) -> None:
        """Make an upload of kind photo that is done."""

    async def set_personal(self, person: UUID, what: str, subject: str, value: Any) -> int:
        """Set a row of a person's own; the number that a device has to be told up to."""

    async def add_upload(self, upload: UUID, owner: UUID, kind: str, state: str = "ready") -> None:
        """Let *owner* have announced a file, which is done if *state* is "ready"."""

    async def uses(self, upload: UUID) -> list[tuple[UUID, int]]:
        """Where *upload* is named."""

    async def settle(self, one: UUID, other: UUID, shut: bool) -> tuple[UUID, int] | None:
        """Close the direct conversation of two people, or open it again: by a block, or its end. Where the entry
        stands; None: nothing changed."""


class FakeBench:
    """Two handles on one fake."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.store: Store = FakeStore(database)
        self.other: Store = FakeStore(database)

    async def add_account(self, person: UUID, name: str) -> None:
        self.database.add_account(person, name)

    async def hold(self, write: Held) -> Callable[[], Awaitable[None]]:
        db = self.database
        body: Body[Any]
        match write:
            case ("append", messages):
                body = append_messages(db, messages, {})
            case ("change", change, conversation, author, key, user):
                body = change_member(db, change, conversation, author, key, user, MOST)
            case ("direct", new_id, author, user):
                body = open_direct(db, new_id, author, user)
            case ("receipts", moves):
                body = move_receipts(db, moves)
            case ("act", author, action):
                body = ACTIONS[type(action)](db, author, action, Rules())
            case ("link", person, LinkJoin() as command):
                body = join_by_link(db, person, command, Rules())
            case ("link", person, LinkRevoke() as command):
                body = revoke_link(db, person, command)
            case ("settle", one, other, shut):
                body = settle_direct(db, one, other, shut)
        call: Call[Any] = Call()
        db.holding = True
        db.begin(body, WELL, call)
        assert db.in_flight == 1
        db.holding = False

        async def commit() -> None:
            db.let_go()
            await call.wait()

        return commit

    async def until_waiting(self, count: int = 1) -> None:
        with trio.fail_after(60):
            while self.database.waiting < count:
                await trio.lowlevel.checkpoint()

    async def age(self, conversation: UUID, seq: int, by_ms: int) -> None:
        log = self.database.tables.entries[conversation]
        log[seq - 1] = msgspec.structs.replace(log[seq - 1], at_ms=log[seq - 1].at_ms - by_ms)
        slowed = self.database.tables.slowed
        slowed.update({place: at_ms - by_ms for place, at_ms in slowed.items() if place[0] == conversation})

    async def add_photo(self, photo: UUID, owner: UUID) -> None:
        self.database.tables.photos[photo] = owner

    async def set_personal(self, person: UUID, what: str, subject: str, value: Any) -> int:
        return set_personal(self.database.tables, self.database.now_ms(), person, what, subject, value)

    async def add_upload(self, upload: UUID, owner: UUID, kind: str, state: str = "ready") -> None:
        self.database.tables.uploads[upload] = Upload(owner, kind, state)

    async def uses(self, upload: UUID) -> list[tuple[UUID, int]]:
        return sorted((c, seq) for one, c, seq in self.database.tables.uses if one == upload)

    async def settle(self, one: UUID, other: UUID, shut: bool) -> tuple[UUID, int] | None:
        call: Call[tuple[UUID, int] | None] = Call()
        self.database.begin(settle_direct(self.database, one, other, shut), WELL, call)
        return await call.wait()


class PostgresBench:
    """Two stores on one real database, and a plain connection."""

    def __init__(self, store: Store, other: Store, dsn: str) -> None:
        self.store, self.other, self.dsn = store, other, dsn
        self.control = psycopg.connect(dsn, autocommit=True)
        self.holder = psycopg.connect(dsn)

    async def add_account(self, person: UUID, name: str) -> None:
        self.control.execute(
            "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, %s, '-', 0)",
            (person, f"{person}@example.com", name),
        )

    async def hold(self, write: Held) -> Callable[[], Awaitable[None]]:
        match write:
            case ("append", messages):
                self.holder.execute("select append_messages(%s, '[]')", (msgspec.json.encode(messages).decode(),))
            case ("change", *parameters):
                self.holder.execute("select change_member(%s, %s, %s, %s, %s, %s)", (*parameters, MOST))
            case ("direct", *parameters):
                self.holder.execute("select open_direct(%s, %s, %s)", parameters)
            case ("receipts", moves):
                self.holder.execute("select move_receipts(%s)", (msgspec.json.encode(moves).decode(),))
            case ("act", author, action):
                texts = [msgspec.json.encode(one).decode() for one in (action, Rules())]
                function = FUNCTIONS[type(action)].replace("$1", "%s").replace("$2", "%s").replace("$3", "%s")
                self.holder.execute(function.encode(), (author, *texts))
            case ("link", person, LinkJoin() as command):
                texts = [msgspec.json.encode(one).decode() for one in (command, Rules())]
                self.holder.execute("select join_by_link(%s, %s, %s)", (person, *texts))
            case ("link", person, LinkRevoke() as command):
                self.holder.execute("select revoke_link(%s, %s)", (person, msgspec.json.encode(command).decode()))
            case ("settle", one, other, shut):
                self._settle(self.holder, one, other, shut)

        async def commit() -> None:
            self.holder.commit()

        return commit

    async def until_waiting(self, count: int = 1) -> None:
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        with trio.fail_after(60):
            while (row := self.control.execute(waiting).fetchone()) is not None and row[0] < count:
                await trio.sleep(0.005)

    async def age(self, conversation: UUID, seq: int, by_ms: int) -> None:
        self.control.execute(
            "update entry set at_ms = at_ms - %s where conversation = %s and seq = %s", (by_ms, conversation, seq)
        )
        self.control.execute("update slowed set at_ms = at_ms - %s where conversation = %s", (by_ms, conversation))

    async def add_photo(self, photo: UUID, owner: UUID) -> None:
        self.control.execute(
            "insert into upload (id, owner, kind, state, size_bytes, content_type, sha256, tries, kept, created_at_ms, "
            "due_at_ms) values (%s, %s, 'photo', 'ready', 1, 'image/png', %s, 1, 1, 0, 0)",
            (photo, owner, bytes(32)),
        )

    async def set_personal(self, person: UUID, what: str, subject: str, value: Any) -> int:
        text = None if value is None else msgspec.json.encode(value).decode()
        row = self.control.execute("select set_personal(%s, %s, %s, %s)", (person, what, subject, text)).fetchone()
        assert row is not None
        return int(row[0])

    async def add_upload(self, upload: UUID, owner: UUID, kind: str, state: str = "ready") -> None:
        self.control.execute(
            "insert into upload (id, owner, kind, state, size_bytes, content_type, sha256, tries, kept, created_at_ms,"
            " due_at_ms) values (%s, %s, %s, %s, 1, 'x/y', sha256(''), 1, case %s when 'ready' then 1 end, 0, 0)",
            (upload, owner, kind, state, state),
        )

    async def uses(self, upload: UUID) -> list[tuple[UUID, int]]:
        rows = self.control.execute(
            "select conversation, seq from upload_use where upload = %s order by 1, 2", (upload,)
        )
        return rows.fetchall()

    async def settle(self, one: UUID, other: UUID, shut: bool) -> tuple[UUID, int] | None:
        def in_thread() -> Any:
            with psycopg.connect(self.dsn) as connection:
                return self._settle(connection, one, other, shut)

        found = await trio.to_thread.run_sync(in_thread)
        return None if found is None else (UUID(found["conversation"]), found["seq"])

    def _settle(self, connection: psycopg.Connection[Any], one: UUID, other: UUID, shut: bool) -> Any:
        connection.execute("select lock_pair(%s, %s)", (one, other))
        if shut:
            sql = "insert into block (person, blocked) values (%s, %s) on conflict do nothing"
        else:
            sql = "delete from block where person = %s and blocked = %s"
        connection.execute(sql.encode(), (one, other))
        row = connection.execute("select settle_direct(%s, %s)", (one, other)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self.control.close()
        self.holder.close()


@asynccontextmanager
async def fake_bench() -> AsyncIterator[FakeBench]:
    """A fake whose every call goes well."""
    agenda = Agenda()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agenda.run)
        yield FakeBench(FakeDatabase(agenda))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def postgres_bench(dsn: str) -> AsyncIterator[PostgresBench]:
    """The real one."""
    async with (
        open_database(dsn) as first,
        open_database(dsn) as second,
        open_store(first, 2) as store,
        open_store(second, 2) as other,
    ):
        bench = PostgresBench(store, other, dsn)
        try:
            yield bench
        finally:
            bench.close()


@pytest.fixture(params=["fake", "postgres"])
def place(request: pytest.FixtureRequest) -> str | None:
    """Where the real database is; None for the fake."""
    dsn: str | None = request.getfixturevalue("dsn") if request.param == "postgres" else None
    return dsn


@pytest.fixture
async def bench(place: str | None) -> AsyncIterator[Bench]:
    """A store with six people in it."""
    async with fake_bench() if place is None else postgres_bench(place) as made:
        for number, person in enumerate(people, 1):
            await made.add_account(person, f"person {number}")
        yield made


# --- Helpers ----------------------------------------------------------------------------------------------------------


def say(conversation: UUID, author: UUID, key: str, text: str = "hi") -> NewMessage:
    return NewMessage(conversation, author, key, text)


async def group(
    store: Store, *members: UUID, conversation: UUID = G, history: Literal["all", "from_join"] = "all"
) -> UUID:
    made = await store.create_group(conversation, members[0], f"make {conversation}", "club", history, members, MOST)
    return made.conversation


async def talk(store: Store, conversation: UUID, author: UUID, *keys: str) -> list[int | None]:
    appendix = await store.append(0, [say(conversation, author, key, f"text of {key}") for key in keys], {})
    return [answer.seq for answer in appendix.answers]


async def log(store: Store, conversation: UUID) -> list[Entry]:
    return await store.log_after(1, conversation, 0, 500)


def _bytes(entries: Sequence[Entry]) -> int:
    return sum(len(entry.text.encode()) for entry in entries if isinstance(entry.text, str))


async def seqs(store: Store, person: UUID, conversation: UUID) -> list[int]:
    page = await store.visible(person, [Range(conversation, 1, PAGE)], PAGE)
    return [entry.seq for entry in page.entries]


async def state(store: Store, person: UUID, conversation: UUID, recent: int = 1) -> State:
    [one] = await store.states(person, [conversation], recent)
    return one


# --- Appending --------------------------------------------------------------------------------------------------------


async def test_a_batch_is_numbered_in_its_order_without_gaps(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, BOB, ANN, conversation=H)
    batch = [say(G, ANN, "1"), say(H, BOB, "1"), say(G, BOB, "2"), say(G, ANN, "3"), say(H, ANN, "2")]
    appendix = await bench.store.append(0, batch, {})
    assert [answer.seq for answer in appendix.answers] == [2, 2, 3, 4, 3]
    assert all(answer.new and not answer.reused and answer.at_ms for answer in appendix.answers)
    stored = [(entry.seq, entry.author, entry.key) for entry in await log(bench.store, G)]
    assert stored[1:] == [(2, ANN, "1"), (3, BOB, "2"), (4, ANN, "3")]


async def test_what_append_returned_is_visible_to_a_second_connection(bench: Bench) -> None:
    """docs/hazards.md, A1: in a pipeline the answer comes before the commit."""
    await group(bench.store, ANN, BOB)
    for number in range(20):
        [seq] = await talk(bench.store, G, ANN, f"k{number}")
        assert [entry.seq for entry in await bench.other.log_after(0, G, number + 1, 10)] == [seq]


async def test_what_comes_back_is_what_was_said(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    texts = ["plain", "𝄞 ünïcode \u200d\ufeff", "\"quo\" \\ and {braces} 'single' %s $1", "\x01\x7f\r\n\t", "x" * 8192]
    appendix = await bench.store.append(0, [say(G, ANN, text[:64], text) for text in texts], {})
    entries = (await log(bench.other, G))[1:]
    assert [(e.text, e.key, e.kind, e.author) for e in entries] == [(t, t[:64], "message", ANN) for t in texts]
    assert [e.at_ms for e in entries] == [a.at_ms for a in appendix.answers]


async def test_a_repeated_key_gets_the_first_answer(bench: Bench) -> None:
    """Across batches, within one, and from another process; it spends no number."""
    await group(bench.store, ANN, BOB)
    first = (await bench.store.append(0, [say(G, ANN, "a"), say(G, ANN, "b"), say(G, ANN, "a")], {})).answers
    assert [(answer.seq, answer.new) for answer in first] == [(2, True), (3, True), (2, False)]
    again = (await bench.other.append(0, [say(G, ANN, "b"), say(G, ANN, "c"), say(G, ANN, "a")], {})).answers
    assert [(answer.seq, answer.new) for answer in again] == [(3, False), (4, True), (2, False)]
    assert not any(answer.reused for answer in again)
    assert [again[2].at_ms, again[0].at_ms] == [first[0].at_ms, first[1].at_ms]


async def test_a_key_belongs_to_its_author_and_conversation(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    batch = [say(G, ANN, "k", "1"), say(G, BOB, "k", "2"), say(H, ANN, "k", "3")]
    appendix = await bench.store.append(0, batch, {})
    assert [(answer.seq, answer.new) for answer in appendix.answers] == [(2, True), (3, True), (2, True)]


async def test_a_key_with_other_content_is_told_apart(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    answers = (await bench.store.append(0, [say(G, ANN, "k", "one"), say(G, ANN, "k", "two")], {})).answers
    assert [(answer.seq, answer.new, answer.reused) for answer in answers] == [(2, True, False), (2, False, True)]
    [again] = (await bench.store.append(0, [say(G, ANN, "k", "three")], {})).answers
    assert (again.seq, again.new, again.reused) == (2, False, True)
    assert len(await log(bench.store, G)) == 2


async def test_only_members_are_stored_and_the_others_stay_in_order(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    batch = [say(G, ANN, "1"), say(G, CID, "x"), say(H, ANN, "y"), say(G, BOB, "2")]
    appendix = await bench.store.append(0, batch, {})
    assert appendix.answers[1] == appendix.answers[2] == Answer(new=False, reused=False)
    assert [answer.seq for answer in appendix.answers] == [2, None, None, 3]


async def test_a_repeat_after_a_removal_still_gets_its_first_answer(bench: Bench) -> None:
    """docs/hazards.md, A11: the key comes first, then membership."""
    await group(bench.store, ANN, BOB)
    assert await talk(bench.store, G, BOB, "k") == [2]
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert await talk(bench.store, G, BOB, "k", "new") == [2, None]


async def test_append_tells_what_others_stored_above_the_head(bench: Bench) -> None:
    """docs/hazards.md, A3: others' entries come with our own answer, a removal among them."""
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    await talk(bench.other, G, BOB, "b1", "b2")
    await bench.other.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    await talk(bench.other, H, BOB, "h1")
    appendix = await bench.store.append(0, [say(G, ANN, "a1"), say(H, ANN, "a2")], {G: 2, H: 1})
    assert [answer.seq for answer in appendix.answers] == [5, 3]
    assert [(e.conversation, e.seq, e.kind) for e in appendix.missed] == [
        (G, 3, "message"), (G, 4, "member.removed"), (H, 2, "message"),
    ]  # fmt: skip
    assert appendix.missed[1].user == BOB
    assert (await bench.store.append(0, [say(G, ANN, "a1")], {G: 5})).missed == []


async def test_what_was_missed_is_bounded(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await bench.other.append(0, [say(G, BOB, f"k{n}") for n in range(600)], {})
    appendix = await bench.store.append(0, [say(G, ANN, "mine")], {G: 1})
    assert appendix.answers[0].seq == 602
    assert [entry.seq for entry in appendix.missed] == list(range(2, 502))


async def test_an_empty_append_is_nothing(bench: Bench) -> None:
    appendix = await bench.store.append(0, [], {})
    assert (appendix.answers, appendix.missed) == ([], [])


async def test_the_log_is_read_from_a_head_in_order(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, *"abcdef")
    assert [entry.seq for entry in await bench.store.log_after(1, G, 3, 2)] == [4, 5]
    assert await bench.store.log_after(1, G, 7, 10) == []
    assert await bench.store.log_after(1, H, 0, 10) == []


# --- Races of appends -------------------------------------------------------------------------------------------------


async def test_the_same_key_from_two_processes_is_stored_once(bench: Bench) -> None:
    """docs/hazards.md, A2: a snapshot from before the wait would not see the key, and the batch would fail."""
    await group(bench.store, ANN, BOB)
    commit = await bench.hold(("append", [say(G, ANN, "k"), say(G, ANN, "l")]))
    answers: list[Answer] = []

    async def second() -> None:
        answers.extend((await bench.other.append(0, [say(G, ANN, "k"), say(G, BOB, "m")], {G: 1})).answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert [(answer.seq, answer.new) for answer in answers] == [(2, False), (4, True)]
    assert [entry.seq for entry in await log(bench.store, G)] == [1, 2, 3, 4]


async def test_a_retry_that_begins_before_the_first_commits_gets_the_first_answers(bench: Bench) -> None:
    """docs/hazards.md, A7: the answer was lost, the transaction still runs; a re-read would find nothing."""
    await group(bench.store, ANN, BOB)
    batch = [say(G, ANN, "1"), say(G, BOB, "2"), say(G, ANN, "3")]
    commit = await bench.hold(("append", batch))
    assert await bench.store.log_after(1, G, 1, 10) == []
    answers: list[Answer] = []

    async def retry() -> None:
        answers.extend((await bench.store.append(0, batch, {G: 1})).answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(retry)
        await bench.until_waiting()
        await commit()
    assert [(answer.seq, answer.new) for answer in answers] == [(2, False), (3, False), (4, False)]


async def test_what_others_committed_while_we_waited_is_missed_not_skipped(bench: Bench) -> None:
    """docs/hazards.md, A3 under A2's wait: the missed entries are read after the lock."""
    await group(bench.store, ANN, BOB)
    commit = await bench.hold(("append", [say(G, BOB, "b")]))
    missed: list[int] = []
    own: list[int | None] = []

    async def second() -> None:
        appendix = await bench.other.append(0, [say(G, ANN, "a")], {G: 1})
        missed.extend(entry.seq for entry in appendix.missed)
        own.extend(answer.seq for answer in appendix.answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (missed, own) == ([2], [3])


async def test_an_entry_has_the_time_at_which_its_turn_came(bench: Bench) -> None:
    """Taken before the wait it would lie before that of the entry that was waited for."""
    await group(bench.store, ANN, BOB)
    commit = await bench.hold(("append", [say(G, BOB, "b")]))
    answers: list[Answer] = []

    async def second() -> None:
        answers.extend((await bench.other.append(0, [say(G, ANN, "a")], {G: 1})).answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await bench.until_waiting()
        begun_ms = (await bench.store.standing(ANN, None)).at_ms
        while (waited_ms := (await bench.store.standing(ANN, None)).at_ms) == begun_ms:
            await trio.sleep(0.001)
        await commit()
    [answer] = answers
    assert answer.at_ms is not None
    assert answer.at_ms >= waited_ms


async def test_nothing_is_stored_after_the_authors_removal(bench: Bench) -> None:
    """docs/hazards.md, A2: the member was removed while the append waited for the row."""
    await group(bench.store, ANN, BOB)
    commit = await bench.hold(("change", "remove", G, ANN, "out", BOB))
    answers: list[Answer] = []

    async def append() -> None:
        answers.extend((await bench.other.append(0, [say(G, BOB, "late"), say(G, ANN, "fine")], {})).answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append)
        await bench.until_waiting()
        await commit()
    assert [answer.seq for answer in answers] == [None, 3]


async def test_a_removal_that_waits_comes_after_the_message(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    commit = await bench.hold(("append", [say(G, BOB, "in time")]))
    places: list[int] = []

    async def remove() -> None:
        places.append((await bench.other.change_member(0, "remove", G, ANN, "out", BOB, MOST)).seq)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        await bench.until_waiting()
        await commit()
    assert places == [3]
    assert await seqs(bench.store, BOB, G) == [1, 2, 3]


async def test_batches_that_name_the_same_conversations_never_deadlock(bench: Bench) -> None:
    """docs/hazards.md, B11: rows are locked in id order, whatever the batch's order."""
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)

    async def many(store: Store, lane: int, name: str, order: Sequence[UUID]) -> None:
        for number in range(15):
            await store.append(lane, [say(one, ANN, f"{name}{number}") for one in order], {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(many, bench.store, 0, "a", (G, H))
        nursery.start_soon(many, bench.store, 1, "b", (H, G))
        nursery.start_soon(many, bench.other, 0, "c", (H, G))
        nursery.start_soon(many, bench.other, 1, "a", (G, H))
    for conversation in (G, H):
        entries = await log(bench.store, conversation)
        assert [entry.seq for entry in entries] == list(range(1, 47))
        assert len({entry.key for entry in entries}) == 46


# --- Members ----------------------------------------------------------------------------------------------------------


async def test_adding_somebody_is_an_entry_and_a_repeat_changes_nothing(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    before = (await bench.store.standing(CID, None)).number
    added = await bench.store.change_member(0, "add", G, BOB, "k", CID, MOST)
    assert (added.seq, added.new) == (2, True)
    entry = (await log(bench.store, G))[1]
    assert (entry.kind, entry.author, entry.key, entry.user) == ("member.added", BOB, "k", CID)
    assert entry.at_ms == added.at_ms
    again = await bench.other.change_member(0, "add", G, BOB, "k", CID, MOST)
    assert (again.seq, again.at_ms, again.new) == (2, added.at_ms, False)
    after = (await bench.store.standing(CID, None)).number
    assert before is not None
    assert after is not None
    assert after > before
    assert (await state(bench.store, ANN, G)).members == [ANN, BOB, CID]


async def test_a_repeated_add_does_not_undo_a_removal(bench: Bench) -> None:
    """docs/hazards.md, A11, for membership: the key's first answer, although the person is out again."""
    await group(bench.store, ANN, BOB)
    await bench.store.change_member(0, "add", G, BOB, "k", CID, MOST)
    await bench.store.change_member(0, "remove", G, ANN, "out", CID, MOST)
    again = await bench.store.change_member(0, "add", G, BOB, "k", CID, MOST)
    assert (again.seq, again.new) == (2, False)
    assert (await state(bench.store, ANN, G)).members == [ANN, BOB]


async def test_changes_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    direct = (await store.open_direct(D, ANN, BOB)).conversation

    async def refused(kind: type[Refused], change: Change, conversation: UUID, author: UUID, user: UUID) -> Refused:
        with pytest.raises(kind) as caught:
            await store.change_member(0, change, conversation, author, "k", user, MOST)
        return caught.value

    problem = await refused(NotAMember, "add", G, CID, DAN)
    assert isinstance(problem, NotAMember)
    assert (problem.user, problem.conversation) == (CID, G)
    await refused(NotAMember, "add", H, ANN, BOB)
    await refused(WrongKind, "add", direct, ANN, CID)
    await refused(WrongKind, "leave", direct, ANN, ANN)
    await refused(UnknownUser, "add", G, ANN, uid(99))
    await refused(AlreadyAMember, "add", G, ANN, BOB)
    await refused(Forbidden, "remove", G, BOB, ANN)
    problem = await refused(NotAMember, "remove", G, ANN, CID)
    assert isinstance(problem, NotAMember)
    assert problem.user == CID
    assert len(await log(store, G)) == 1
    await store.change_member(0, "leave", G, BOB, "bye", BOB, MOST)
    await refused(NotAMember, "leave", G, BOB, BOB)


async def test_a_key_of_a_message_or_another_change_is_reused(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")
    with pytest.raises(KeyReused):
        await bench.store.change_member(0, "add", G, ANN, "k", CID, MOST)
    await bench.store.change_member(0, "add", G, ANN, "l", CID, MOST)
    with pytest.raises(KeyReused):
        await bench.store.change_member(0, "remove", G, ANN, "l", CID, MOST)
    with pytest.raises(KeyReused):
        await bench.store.change_member(0, "add", G, ANN, "l", DAN, MOST)
    [answer] = (await bench.store.append(0, [say(G, ANN, "l")], {})).answers
    assert (answer.seq, answer.new, answer.reused) == (3, False, True)


async def test_a_group_has_its_most_members(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID, DAN)
    await bench.store.change_member(0, "add", G, ANN, "k", EVE, MOST)
    with pytest.raises(ConversationFull):
        await bench.store.change_member(0, "add", G, ANN, "l", FAY, MOST)
    await bench.store.change_member(0, "leave", G, BOB, "bye", BOB, MOST)
    assert (await bench.store.change_member(0, "add", G, ANN, "l", FAY, MOST)).seq == 4


async def test_two_adds_for_the_last_place_do_not_both_succeed(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID, DAN)
    commit = await bench.hold(("change", "add", G, ANN, "k", EVE))
    outcomes: list[str] = []

    async def add() -> None:
        with pytest.raises(ConversationFull):
            await bench.other.change_member(0, "add", G, BOB, "k", FAY, MOST)
        outcomes.append("full")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await bench.until_waiting()
        await commit()
    assert outcomes == ["full"]


async def test_the_longest_standing_member_inherits(bench: Bench) -> None:
    await group(bench.store, ANN, CID, BOB)
    await bench.store.change_member(0, "add", G, ANN, "k", DAN, MOST)
    await bench.store.change_member(0, "leave", G, ANN, "bye", ANN, MOST)
    assert (await state(bench.store, BOB, G)).owner == CID
    await bench.store.change_member(0, "remove", G, CID, "out", BOB, MOST)
    await bench.store.change_member(0, "remove", G, CID, "me", CID, MOST)
    assert (await state(bench.store, DAN, G)).owner == DAN
    await bench.store.change_member(0, "leave", G, DAN, "bye", DAN, MOST)
    assert (await state(bench.store, DAN, G)).owner is None


# --- Opening conversations --------------------------------------------------------------------------------------------


async def test_a_group_begins_with_its_first_entry(bench: Bench) -> None:
    made = await bench.store.create_group(G, ANN, "k", "club", "from_join", [ANN, CID, BOB], MOST)
    assert made == Made(G, True)
    [entry] = await log(bench.store, G)
    assert (entry.seq, entry.kind, entry.author, entry.key, entry.title) == (1, "created", ANN, "k", "club")
    assert entry.members == [ANN, CID, BOB]
    seen = await state(bench.store, BOB, G)
    assert (seen.kind, seen.title, seen.owner, seen.history) == ("group", "club", ANN, "from_join")
    assert (seen.members, seen.head, seen.first_seq, seen.unread) == ([ANN, CID, BOB], 1, 1, 0)
    assert seen.names == {ANN: "person 1", BOB: "person 2", CID: "person 3"}


async def test_a_repeated_create_finds_the_first(bench: Bench) -> None:
    assert (await bench.store.create_group(G, ANN, "k", "club", "all", [ANN, BOB], MOST)).new
    assert await bench.other.create_group(H, ANN, "k", "club", "all", [ANN, BOB], MOST) == Made(G, False)
    assert (await bench.store.create_group(H, BOB, "k", "club", "all", [BOB, ANN], MOST)).conversation == H
    for title, history, members in (
        ("pub", "all", [ANN, BOB]), ("club", "from_join", [ANN, BOB]), ("club", "all", [ANN, CID]),
    ):  # fmt: skip
        with pytest.raises(KeyReused):
            await bench.store.create_group(uid(105), ANN, "k", title, history, members, MOST)  # type: ignore[arg-type]  # the loop's str
    assert len((await bench.store.standing(ANN, None)).spans) == 2


async def test_groups_that_are_refused_leave_nothing(bench: Bench) -> None:
    with pytest.raises(UnknownUser) as caught:
        await bench.store.create_group(G, ANN, "k", "club", "all", [ANN, uid(99), BOB], MOST)
    assert caught.value.user == uid(99)
    with pytest.raises(ConversationFull):
        await bench.store.create_group(G, ANN, "k", "club", "all", people, MOST)
    with pytest.raises(UnknownUser):
        await bench.store.create_group(G, uid(98), "k", "club", "all", [uid(98)], MOST)
    assert (await bench.store.standing(ANN, None)).spans == []
    assert (await bench.store.standing(ANN, None)).number == 0
    assert (await bench.store.create_group(G, ANN, "k", "club", "all", [ANN, BOB], MOST)).new


async def test_a_create_repeated_while_the_first_commits_makes_one_group(bench: Bench) -> None:
    made: list[Made] = []

    async def create(store: Store, new_id: UUID) -> None:
        made.append(await store.create_group(new_id, ANN, "k", "club", "all", [ANN, BOB, CID], MOST))

    async with trio.open_nursery() as nursery:
        for number, store in enumerate((bench.store, bench.other) * 3):
            nursery.start_soon(create, store, uid(200 + number))
    assert sum(one.new for one in made) == 1
    assert len({one.conversation for one in made}) == 1
    assert len((await bench.store.standing(BOB, None)).spans) == 1


async def test_people_who_create_groups_with_each_other_never_deadlock(bench: Bench) -> None:
    """docs/hazards.md, B11: everybody's row in id order, the author's own no earlier."""

    async def create(store: Store, start: int, order: Sequence[UUID]) -> None:
        for number in range(10):
            await store.create_group(uid(start + number), order[0], f"k{start + number}", "club", "all", order, MOST)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create, bench.store, 300, [ANN, BOB, CID])
        nursery.start_soon(create, bench.other, 320, [CID, BOB, ANN])
        nursery.start_soon(create, bench.store, 340, [BOB, CID, ANN])
        nursery.start_soon(create, bench.other, 360, [CID, ANN, BOB])
    assert len((await bench.store.standing(ANN, None)).spans) == 40


async def test_there_is_one_direct_conversation_of_two_people(bench: Bench) -> None:
    assert await bench.store.open_direct(D, ANN, BOB) == Made(D, True)
    assert await bench.other.open_direct(G, BOB, ANN) == Made(D, False)
    assert (await bench.store.open_direct(G, ANN, CID)).conversation == G
    [entry] = await log(bench.store, D)
    assert (entry.kind, entry.author, entry.members) == ("created", ANN, [ANN, BOB])
    seen = await state(bench.store, BOB, D)
    assert (seen.kind, seen.title, seen.owner, seen.members) == ("direct", None, None, [ANN, BOB])
    assert [span.partner for span in (await bench.store.standing(BOB, None)).spans] == [ANN]
    with pytest.raises(UnknownUser):
        await bench.store.open_direct(H, ANN, uid(99))


async def test_a_race_for_a_direct_conversation_makes_one(bench: Bench) -> None:
    commit = await bench.hold(("direct", D, ANN, BOB))
    made: list[Made] = []

    async def open_too() -> None:
        made.append(await bench.other.open_direct(H, BOB, ANN))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_too)
        await bench.until_waiting()
        await commit()
    assert made == [Made(D, False)]


async def test_any_key_is_free_in_a_direct_conversation(bench: Bench) -> None:
    """The first entry's own key must not stand in a client's way."""
    await bench.store.open_direct(D, ANN, BOB)
    for key in ("direct", "created", str(ANN)):
        [answer] = (await bench.store.append(0, [say(D, ANN, key)], {})).answers
        assert (answer.new, answer.reused) == (True, False)


# --- Spans ------------------------------------------------------------------------------------------------------------


async def test_a_newcomer_sees_the_past_or_not(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H, history="from_join")
    for conversation in (G, H):
        await talk(bench.store, conversation, ANN, "1", "2")
        await bench.store.change_member(0, "add", conversation, ANN, "in", CID, MOST)
        await talk(bench.store, conversation, ANN, "3")
    assert await seqs(bench.store, CID, G) == [1, 2, 3, 4, 5]
    assert await seqs(bench.store, CID, H) == [4, 5]
    assert (await state(bench.store, CID, G)).first_seq == 1
    assert (await state(bench.store, CID, H)).first_seq == 4
    spans = (await bench.store.standing(CID, None)).spans
    assert [(s.conversation, s.joined, s.since, s.until, s.last_seq) for s in spans] == [
        (G, 4, 1, None, 5), (H, 4, 4, None, 5),
    ]  # fmt: skip


async def test_stretches_are_what_the_log_holds_whoever_reads(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    await talk(bench.store, G, ANN, *"23456")
    pages = await bench.store.stretches([Range(G, 3, 5), Range(H, 1, 9), Range(G, 9, 12), Range(G, 3, 3)], PAGE)
    assert [[(e.conversation, e.seq) for e in page.entries] for page in pages] == [
        [(G, 3), (G, 4), (G, 5)], [(H, 1)], [], [(G, 3)],
    ]  # fmt: skip
    assert not any(page.cut for page in pages)
    assert pages[0].entries == (await log(bench.store, G))[2:5]
    [cut, other] = await bench.store.stretches([Range(G, 2, 6), Range(G, 5, 5)], 500)
    assert ([e.seq for e in cut.entries], cut.cut) == ([2, 3], True)
    assert ([e.seq for e in other.entries], other.cut) == ([5], False), "each has its own bound"
    [one] = await bench.store.stretches([Range(G, 2, 6)], 1)
    assert ([e.seq for e in one.entries], one.cut) == ([2], True)


async def test_an_absence_stays_invisible(bench: Bench) -> None:
    """docs/hazards.md, A10: removed and added again while away; spans know both."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "2")
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 3
    await talk(bench.store, G, ANN, "4", "5")
    await bench.store.change_member(0, "add", G, ANN, "in", BOB, MOST)  # 6
    await talk(bench.store, G, ANN, "7")
    assert await seqs(bench.store, BOB, G) == [1, 2, 3, 6, 7]
    spans = (await bench.store.standing(BOB, None)).spans
    assert [(s.joined, s.since, s.until, s.last_seq) for s in spans] == [(1, 1, 3, 7), (6, 6, None, 7)]
    page = await bench.store.history(BOB, G, None, 10)
    assert ([entry.seq for entry in page.entries], page.more) == ([1, 2, 3, 6, 7], False)
    seen = await state(bench.store, BOB, G, recent=3)
    assert (seen.first_seq, seen.joined, seen.head) == (6, 6, 7)
    assert [entry.seq for entry in seen.recent] == [3, 6, 7]


async def test_who_was_removed_sees_nothing_later(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await talk(bench.store, G, ANN, "2")
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 3
    await talk(bench.store, G, ANN, "4")
    seen = await state(bench.store, BOB, G, recent=5)
    assert (seen.head, seen.until, seen.members, seen.names, seen.receipts) == (3, 3, [], {}, [])
    assert [entry.seq for entry in seen.recent] == [1, 2, 3]
    assert seen.unread == 1
    assert [entry.seq for entry in (await bench.store.history(BOB, G, None, 10)).entries] == [1, 2, 3]
    assert (await bench.store.listing(BOB, None, 10)).conversations == []


async def test_who_was_never_a_member_sees_nothing(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    assert await seqs(bench.store, CID, G) == []
    assert await bench.store.states(CID, [G, H], 3) == []
    with pytest.raises(NotAMember):
        await bench.store.history(CID, G, None, 10)
    with pytest.raises(NotAMember):
        await bench.store.history(ANN, H, None, 10)


# --- States -----------------------------------------------------------------------------------------------------------


async def test_unread_counts_messages_of_others_above_ones_read_cursor(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "2", "3")
    await talk(bench.store, G, BOB, "4")
    await bench.store.change_member(0, "add", G, ANN, "in", CID, MOST)  # 5, no message
    await talk(bench.store, G, ANN, "6")
    assert (await state(bench.store, BOB, G)).unread == 3
    await bench.store.raise_receipts([Raise(G, BOB, 0, 2)])
    seen = await state(bench.store, BOB, G)
    assert (seen.unread, seen.read, seen.delivered) == (2, 2, 2)
    assert (await state(bench.store, ANN, G)).unread == 1
    assert (await state(bench.store, CID, G)).unread == 1, "the past is no news to a newcomer"


async def test_states_come_in_the_order_asked_with_as_many_entries(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, BOB, ANN, conversation=H)
    await talk(bench.store, G, ANN, "2", "3")
    states = await bench.store.states(ANN, [H, uid(999), G], 2)
    assert [one.conversation for one in states] == [H, G]
    assert [[entry.seq for entry in one.recent] for one in states] == [[1], [2, 3]]
    assert [one.recent for one in await bench.store.states(ANN, [H, G], 0)] == [[], []]
    assert await bench.store.states(ANN, [], 2) == []


async def test_states_show_the_others_receipts(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await talk(bench.store, G, ANN, "2", "3")
    await bench.store.raise_receipts([Raise(G, ANN, 3, 1), Raise(G, CID, 2, 0)])
    assert (await state(bench.store, BOB, G)).receipts == [Receipt(ANN, 3, 1), Receipt(CID, 2, 0)]
    await bench.store.change_member(0, "remove", G, ANN, "out", CID, MOST)
    assert (await state(bench.store, BOB, G)).receipts == [Receipt(ANN, 3, 1)]


# --- Pages ------------------------------------------------------------------------------------------------------------


async def test_a_page_follows_its_ranges_in_order(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    await talk(bench.store, G, ANN, *"2345")
    await talk(bench.store, H, ANN, *"234")
    page = await bench.store.visible(BOB, [Range(H, 2, 3), Range(G, 4, 99), Range(H, 4, 4)], PAGE)
    assert [(entry.conversation, entry.seq) for entry in page.entries] == [(H, 2), (H, 3), (G, 4), (G, 5), (H, 4)]
    assert not page.cut
    assert (await bench.store.visible(BOB, [], PAGE)).entries == []


async def test_a_page_is_cut_by_bytes_and_goes_on(bench: Bench) -> None:
    """Bounded in bytes, never empty while something is left, and together whole."""
    await group(bench.store, ANN, BOB)
    sizes = (10, 3000, 10, 500, 8000, 1)
    await bench.store.append(
        0, [say(G, ANN, f"k{size_bytes}{n}", "é" * size_bytes) for n, size_bytes in enumerate(sizes)], {}
    )
    for size_bytes in (1, 700, 2_000, 8_000):
        found: list[int] = []
        pages = 0
        cut = True
        while cut:
            page = await bench.store.visible(BOB, [Range(G, (found or [0])[-1] + 1, 99)], size_bytes)
            assert len(page.entries) == 1 or _bytes(page.entries) <= size_bytes
            found += [entry.seq for entry in page.entries]
            cut = page.cut
            pages += 1
        assert found == [1, 2, 3, 4, 5, 6, 7]
        assert pages > 1


async def test_the_past_comes_by_pages_oldest_first(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, *"234567")
    page = await bench.store.history(BOB, G, None, 3)
    assert ([entry.seq for entry in page.entries], page.more) == ([5, 6, 7], True)
    page = await bench.store.history(BOB, G, 5, 3)
    assert ([entry.seq for entry in page.entries], page.more) == ([2, 3, 4], True)
    page = await bench.store.history(BOB, G, 2, 3)
    assert ([entry.seq for entry in page.entries], page.more) == ([1], False)
    page = await bench.store.history(BOB, G, 1, 3)
    assert (page.entries, page.more) == ([], False)
    page = await bench.store.history(BOB, G, limits.SEQ_MAX, 7)
    assert (len(page.entries), page.more) == (7, False)


async def test_a_page_of_the_past_is_bounded_in_bytes(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    texts = [say(G, ANN, f"k{n}", "𝄞" * 8_000) for n in range(20)]
    await bench.store.append(0, texts, {})
    seen: list[int] = []
    more, before = True, None
    while more:
        page = await bench.store.history(BOB, G, before, 100)
        assert _bytes(page.entries) <= limits.PAGE_BYTES
        seen = [entry.seq for entry in page.entries] + seen
        more, before = page.more, seen[0]
    assert seen == list(range(1, 22))


async def test_conversations_are_listed_last_active_first(bench: Bench) -> None:
    made = [uid(400 + number) for number in range(7)]
    for number, conversation in enumerate(made):
        await bench.store.create_group(conversation, ANN, f"k{number}", "club", "all", [ANN, BOB], MOST)
    await trio.sleep(0.003)  # the database's clock counts milliseconds
    await talk(bench.store, made[2], BOB, "up")
    found, cursor, pages = [], None, 0
    while True:
        page = await bench.other.listing(ANN, cursor, 3)
        found += [(one.conversation, [entry.seq for entry in one.recent]) for one in page.conversations]
        pages += 1
        if (cursor := page.cursor) is None:
            break
    assert pages == 3
    assert found[0] == (made[2], [2])
    assert sorted(found) == sorted([(one, [2] if one == made[2] else [1]) for one in made])
    assert (await bench.store.listing(CID, None, 3)).conversations == []
    with pytest.raises(BadCursor):
        await bench.store.listing(ANN, "no such cursor", 3)


# --- Receipts ---------------------------------------------------------------------------------------------------------


async def test_cursors_only_rise_and_are_clamped(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, *"2345")
    store = bench.store
    [first] = await store.raise_receipts([Raise(G, BOB, 3, 2)])
    assert (first.member, first.delivered, first.read, first.rose, first.members) == (True, 3, 2, True, 2)
    [same] = await store.raise_receipts([Raise(G, BOB, 1, 1)])
    assert (same.delivered, same.read, same.rose) == (3, 2, False)
    [mixed] = await store.raise_receipts([Raise(G, BOB, 4, 0)])
    assert (mixed.delivered, mixed.read, mixed.rose) == (4, 2, True)
    [high] = await store.raise_receipts([Raise(G, BOB, 0, 99)])
    assert (high.delivered, high.read, high.rose) == (5, 5, True), "read implies delivered; clamped to what exists"
    seen = await state(store, BOB, G)
    assert (seen.delivered, seen.read) == (5, 5)


async def test_only_members_have_cursors(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    await bench.store.change_member(0, "remove", H, ANN, "out", BOB, MOST)
    moves = [Raise(G, CID, 1, 1), Raise(H, BOB, 2, 2), Raise(uid(99), ANN, 1, 1), Raise(G, ANN, 1, 1)]
    raised = await bench.store.raise_receipts(moves)
    assert [(one.member, one.rose) for one in raised] == [(False, False), (False, False), (False, False), (True, True)]
    assert await bench.store.raise_receipts([]) == []


async def test_cursors_rise_whoever_writes_first(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, *"2345")
    await bench.store.raise_receipts([Raise(G, BOB, 1, 1)])
    commit = await bench.hold(("receipts", [Raise(G, BOB, 5, 2)]))
    answers: list[tuple[int, int]] = []

    async def raise_too() -> None:
        [one] = await bench.other.raise_receipts([Raise(G, BOB, 4, 4)])
        answers.append((one.delivered, one.read))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_too)
        await bench.until_waiting()
        await commit()
    assert answers == [(5, 4)]


async def test_a_return_makes_the_absence_no_news(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 2
    await talk(bench.store, G, ANN, "3", "4")
    await bench.store.change_member(0, "add", G, ANN, "in", BOB, MOST)  # 5
    seen = await state(bench.store, BOB, G)
    assert (seen.unread, seen.read, seen.delivered) == (0, 5, 5)


async def test_receipts_come_by_time(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await talk(bench.store, G, ANN, "2")
    await bench.store.raise_receipts([Raise(G, BOB, 2, 2)])
    now_ms = (await bench.store.standing(ANN, None)).at_ms
    assert await bench.store.receipts_since(ANN, 0) == [OthersReceipt(G, BOB, 2, 2)]
    assert await bench.store.receipts_since(BOB, 0) == [OthersReceipt(G, BOB, 2, 2)], "one's own, for other devices"
    assert await bench.store.receipts_since(DAN, 0) == []
    assert await bench.store.receipts_since(ANN, now_ms + 60_000) == []
    await bench.store.change_member(0, "remove", G, ANN, "out", CID, MOST)
    assert await bench.store.receipts_since(CID, 0) == []


# --- The rest ---------------------------------------------------------------------------------------------------------


async def test_moved_names_what_went_on_without_the_asker(bench: Bench) -> None:
    """docs/hazards.md, A5: the one question that finds what a lost bell did not tell."""
    await group(bench.store, ANN, BOB)
    await group(bench.store, ANN, BOB, conversation=H)
    await talk(bench.store, G, ANN, "2", "3")
    number = (await bench.store.standing(BOB, None)).number
    assert number is not None
    moved = await bench.other.moved({G: 1, H: 1, uid(99): 0}, {ANN: 1, BOB: number, uid(98): 0})
    assert (moved.conversations, moved.people) == ({G: 3}, [ANN])
    moved = await bench.other.moved({}, {})
    assert (moved.conversations, moved.people) == ({}, [])


async def test_lineage_tells_a_restored_database(bench: Bench) -> None:
    """docs/hazards.md, A12."""
    await bench.store.add_lineage(uid(50))
    await bench.store.add_lineage(uid(50))  # a retry
    assert (await bench.other.standing(ANN, uid(50))).known
    assert not (await bench.other.standing(ANN, uid(51))).known
    assert (await bench.other.standing(ANN, None)).known


async def test_no_number_is_given_out_again_by_a_restored_database(bench: Bench) -> None:
    """docs/hazards.md, A12: a client whose cursor holds a lost number would take what a new one marks for told."""
    begun_ms = (await bench.store.standing(BOB, None)).at_ms
    await group(bench.store, ANN, BOB)
    before = await bench.store.standing(BOB, None)
    assert before.number is not None
    assert before.number >= begun_ms
    assert [span.number for span in before.spans] == [before.number]
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    later = await bench.store.standing(BOB, None)
    assert later.number is not None
    assert later.number > before.number
    assert [span.number for span in later.spans] == [later.number]


async def test_standing_of_somebody_unknown(bench: Bench) -> None:
    standing = await bench.store.standing(uid(99), None)
    assert (standing.number, standing.spans) == (None, [])


async def test_users_that_exist_are_named(bench: Bench) -> None:
    users = await bench.store.users(ANN, [BOB, uid(99), ANN, BOB])
    assert sorted((user.id, user.name) for user in users) == [(ANN, "person 1"), (BOB, "person 2")]
    assert await bench.store.users(ANN, []) == []


async def test_processes_know_of_each_other(bench: Bench) -> None:
    assert await bench.store.beat(uid(60)) == []
    assert await bench.other.beat(uid(61)) == [uid(60)]
    assert await bench.store.beat(uid(60)) == [uid(61)]
    await bench.other.leave(uid(61))
    await bench.other.leave(uid(61))
    assert await bench.store.beat(uid(60)) == []


# --- The same answers -------------------------------------------------------------------------------------------------

_people = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 9])  # 9: nobody
_places = st.sampled_from(
    [0, 1, 0, 1, 2, 3]
)  # two groups that exist, one that may, and a conversation that hardly does
_keys = st.sampled_from("abcdefghijkl")
_BEFORE: tuple[tuple[Any, ...], ...] = (
    ("create", 0, 0, "first", "club", "all", [1, 2]),
    ("create", 1, 1, "first", "pub", "from_join", [2]),
)
_texts = st.sampled_from(["hi", "ho", "ünïcode 𝄞", "x" * 300])
_cursors = st.integers(0, 12)
_message = st.tuples(_places, _people, _keys, _texts)
_emoji = st.sampled_from(["👍", "👩‍👩‍👧", "a", "\"\\", "é", "ﬀ", "𝄞"])
_seqs = st.integers(1, 9)
_within = st.sampled_from([-1, 0, 1_000_000])
_operation = st.one_of(
    st.tuples(st.just("append"), st.lists(_message, min_size=1, max_size=4), st.just({})),
    st.tuples(st.just("edit"), _places, _people, _keys, _seqs, _texts, _within),
    st.tuples(st.just("edit"), _places, _people, _keys, _seqs, _texts, st.just(-1)),
    st.tuples(st.just("delete"), _places, _people, _keys, _seqs),
    st.tuples(st.just("react"), _places, _people, _keys, _seqs, _emoji, st.booleans()),
    st.tuples(st.just("react"), _places, _people, _keys, _seqs, _emoji, st.just(True)),
    st.tuples(st.just("role"), _places, _people, _keys, _people, st.sampled_from(["admin", "admin", "member"])),
    st.tuples(st.just("owner"), _places, _people, _keys, _people),
    st.tuples(
        st.just("ban"), _places, _people, _keys, _people, st.sampled_from([None, "spam"]),
        st.sampled_from([None, 1, 2**60]),
    ),
    st.tuples(st.just("unban"), _places, _people, _keys, _people),
    st.tuples(
        st.just("set"), _places, _people, _keys,
        st.sampled_from([("title", "new"), ("title", "club"), ("topic", "tea"), ("topic", None), ("photo", None)]),
    ),
    st.tuples(st.just("slow"), _places, _people, _keys, st.sampled_from([0, 10_000])),
    st.tuples(st.just("link"), _places, _people, _keys, st.sampled_from([None, 1, 2]), st.booleans()),
    st.tuples(st.just("unlink"), _places, _people, _keys, st.integers(0, 3)),
    st.tuples(st.just("by link"), st.integers(0, 3), _keys, st.integers(0, 3)),
    st.tuples(st.just("by link"), st.integers(0, 3), _keys, st.integers(0, 3)),
    st.tuples(st.just("answer"), _places, _people, _keys, _people, st.booleans()),
    st.tuples(st.just("links"), _people, _places, st.integers(0, 3)),
    st.tuples(st.just("members"), _people, _places, st.integers(0, 6), st.integers(1, 3)),
    st.tuples(st.just("bans"), _people, _places, st.none() | st.integers(2, 12), st.integers(1, 2)),
    st.tuples(st.just("edits"), _people, _places, _seqs, _cursors),
    st.tuples(st.just("reactions"), _people, _places, _seqs, st.none() | _emoji, st.integers(1, 3)),
    st.tuples(
        st.just("stretches"), st.lists(st.tuples(_places, _cursors, _cursors), max_size=3), st.sampled_from([1, 900])
    ),
    st.tuples(st.just("append"), st.lists(_message, max_size=5), st.dictionaries(_places, _cursors, max_size=3)),
    st.tuples(st.just("append"), st.lists(_message, min_size=1, max_size=3), st.just({})),
    st.tuples(st.just("change"), st.sampled_from(["add", "remove"]), _places, _people, _keys, _people),
    st.tuples(st.just("leave"), _places, _people, _keys),
    st.tuples(
        st.just("create"), _places, _people, _keys, st.sampled_from(["club", 'p"u\\b\n']),
        st.sampled_from(["all", "from_join"]), st.lists(_people, max_size=5, unique=True),
    ),
    st.tuples(st.just("direct"), st.integers(10, 12), st.sampled_from([(0, 1), (1, 0), (2, 1), (0, 9)])),
    st.tuples(
        st.just("raise"),
        st.lists(st.tuples(_places, _people, _cursors, _cursors), max_size=3, unique_by=lambda move: move[:2]),
    ),
    st.tuples(st.just("states"), _people, st.integers(0, 4)),
    st.tuples(st.just("standing"), _people),
    st.tuples(
        st.just("visible"), _people, st.lists(st.tuples(_places, _cursors, _cursors), max_size=3),
        st.sampled_from([1, 450, 9000]),
    ),
    st.tuples(st.just("history"), _people, _places, st.none() | st.integers(1, 12), st.integers(1, 5)),
    st.tuples(st.just("since"), _people, st.sampled_from([0, 2**60])),
    st.tuples(st.just("log"), _places, _cursors, st.integers(1, 5)),
    st.tuples(st.just("listing"), _people, st.integers(1, 3)),
    st.tuples(st.just("unread"), _people),
    st.tuples(st.just("readers"), _people, _places, st.integers(1, 9), st.integers(1, 2)),
    st.tuples(st.just("moved"), st.dictionaries(_places, _cursors), st.dictionaries(_people, _cursors)),
)  # fmt: skip


class Player:
    """Runs drawn operations against one store, and says what came of them without what may differ: times."""

    def __init__(self, store: Store, base: int) -> None:
        self.store = store
        self.codes: list[str] = []  # of links, in the order of their making
        self._base = base

    def _id(self, number: int) -> UUID:
        return uid(self._base + number)

    def _place(self, number: int) -> UUID:
        return uid(self._base + 100 + number)

    def code(self, number: int) -> str:
        return self.codes[number] if number < len(self.codes) else "nothing"

    def uncoded(self, link: Link) -> Link:
        return msgspec.structs.replace(link, code=str(self.codes.index(link.code)))

    async def play(self, operation: tuple[Any, ...]) -> object:
        """What *operation* answers."""
        try:
            return _timeless(msgspec.to_builtins(await self._play(operation)))
        except Refused as problem:
            return problem.code, str(problem) if isinstance(problem, NotAMember | UnknownUser | AlreadyAMember) else ""

    async def _play(self, operation: tuple[Any, ...]) -> object:
        store, person, place = self.store, self._id, self._place
        match operation:
            case "append", messages, heads:
                batch = [say(place(c), person(a), key, text) for c, a, key, text in messages]
                named = {c for c, *_ in messages}
                return await store.append(0, batch, {place(c): head for c, head in sorted(heads.items()) if c in named})
            case "change", change, c, author, key, user:
                return await store.change_member(0, change, place(c), person(author), key, person(user), 3)
            case "leave", c, author, key:
                return await store.change_member(1, "leave", place(c), person(author), key, person(author), 3)
            case "create", c, author, key, title, history, others:
                if await store.log_after(0, place(c), 0, 1):
                    return None  # a new id is new
                members = dict.fromkeys([person(author), *(person(one) for one in others)])
                return await store.create_group(place(c), person(author), key, title, history, [*members], 3)
            case "direct", c, (author, user):
                if await store.log_after(0, place(c), 0, 1):
                    return None
                return await store.open_direct(place(c), person(author), person(user))
            case "raise", moves:
                return [
                    (
                        one.member, one.rose, one.members, one.arrived, one.hidden,
                        one.member and (one.delivered, one.read),
                    )
                    for one in await store.raise_receipts([Raise(place(c), person(p), d, r) for c, p, d, r in moves])
                ]
            case "states", p, recent:
                return await store.states(person(p), [place(c) for c in (3, 1, 0, 2, 10, 11, 12)], recent)
            case "standing", p:
                return _ranked(await store.standing(person(p), None))
            case "visible", p, ranges, size_bytes:
                wanted = [Range(place(c), low, high) for c, low, high in ranges]
                return await store.visible(person(p), wanted, size_bytes)
            case "history", p, c, before, limit:
                return await store.history(person(p), place(c), before, limit)
            case "edit", c, author, key, seq, text, within_s:
                return await store.act(
                    0, person(author), MessageEdit(id=0, conversation=place(c), key=key, seq=seq, text=text),
                    Rules(edit_within_s=within_s),
                )  # fmt: skip
            case "delete", c, author, key, seq:
                action = MessageDelete(id=0, conversation=place(c), key=key, seq=seq)
                return await store.act(1, person(author), action, Rules())
            case "react", c, author, key, seq, emoji, on:
                rules = Rules(reactions=4, reactions_of_one=2, reaction_users=2)
                reaction = MessageReact(id=0, conversation=place(c), key=key, seq=seq, emoji=emoji, on=on)
                return await store.act(0, person(author), reaction, rules)
            case "role", c, author, key, user, role:
                promote = MemberRole(id=0, conversation=place(c), key=key, user=person(user), role=role)
                return await store.act(0, person(author), promote, Rules(admins=1))
            case "owner", c, author, key, user:
                handover = ConversationHandover(id=0, conversation=place(c), key=key, user=person(user))
                return await store.act(0, person(author), handover, Rules(admins=1))
            case "ban", c, author, key, user, reason, until_ms:
                ban = MemberBan(
                    id=0, conversation=place(c), key=key, user=person(user), reason=reason, until_ms=until_ms
                )
                return await store.act(0, person(author), ban, Rules())
            case "unban", c, author, key, user:
                unban = MemberUnban(id=0, conversation=place(c), key=key, user=person(user))
                return await store.act(1, person(author), unban, Rules())
            case "set", c, author, key, (what, value):
                kinds = {"title": ConversationTitle, "topic": ConversationTopic, "photo": ConversationPhoto}
                setting = kinds[what](id=0, conversation=place(c), key=key, **{what: value})
                return await store.act(0, person(author), setting, Rules())
            case "slow", c, author, key, seconds:
                slow = ConversationSlowMode(id=0, conversation=place(c), key=key, seconds=seconds)
                return await store.act(0, person(author), slow, Rules())
            case "link", c, author, key, uses, approval:
                make = LinkCreate(id=0, conversation=place(c), key=key, uses=uses, approval=approval)
                link = await store.create_link(person(author), make, Rules(links=3))
                if link.code not in self.codes:
                    self.codes.append(link.code)
                return self.uncoded(link)
            case "unlink", c, author, key, n:
                revoke = LinkRevoke(id=0, conversation=place(c), key=key, code=self.code(n))
                return await store.revoke_link(person(author), revoke)  # type: ignore[func-returns-value]
            case "by link", p, key, n:
                by_link = LinkJoin(id=0, code=self.code(n), key=key)
                return await store.join_by_link(person(p), by_link, Rules(3, requests=1))
            case "answer", c, author, key, user, accept:
                answer = RequestAnswer(id=0, conversation=place(c), key=key, user=person(user), accept=accept)
                return await store.act(0, person(author), answer, Rules(3))
            case "links", p, c, n:
                shown = await store.links(person(p), place(c))
                asking = await store.requests(person(p), place(c), (0, UUID(int=0)), 2)
                asked = sorted((str(one.user), self.codes.index(one.code)) for one in asking.requests)
                codes = sorted(self.codes.index(one.code) for one in shown)
                return codes, asked, asking.more, await store.preview_link(person(p), self.code(n))
            case "members", p, c, joined, limit:
                return await store.members(person(p), place(c), (joined, 0), limit)
            case "bans", p, c, before, limit:
                return await store.bans(person(p), place(c), before, limit)
            case "edits", p, c, seq, after:
                return await store.edits(person(p), place(c), seq, after)
            case "reactions", p, c, seq, emoji, limit:
                reacted, cursor, more = [], None, True
                while more:
                    part = await store.reactions(person(p), place(c), seq, emoji, cursor, limit)
                    reacted.append(part)
                    cursor, more = part.cursor, part.cursor is not None
                return reacted
            case "stretches", ranges, size_bytes:
                return await store.stretches([Range(place(c), low, high) for c, low, high in ranges], size_bytes)
            case "since", p, since_ms:
                found = await store.receipts_since(person(p), since_ms)
                return sorted(found, key=lambda one: (one.conversation, one.user))
            case "log", c, head, limit:
                return await store.log_after(1, place(c), head, limit)
            case "listing", p, limit:
                found_states, cursor, more = [], None, True
                while more:
                    page = await store.listing(person(p), cursor, limit)
                    found_states += page.conversations
                    cursor, more = page.cursor, page.cursor is not None
                return sorted(found_states, key=lambda one: one.conversation)
            case "readers", p, c, seq, limit:
                reached, cursor, more = [], None, True
                while more:
                    some = await store.readers(person(p), place(c), seq, cursor, limit)
                    reached.append(some)
                    cursor, more = some.cursor, some.cursor is not None
                return reached
            case "unread", p:
                return await store.unread_total(person(p))
            case "moved", heads, numbers:
                moved = await store.moved(
                    {place(c): head for c, head in heads.items()}, {person(p): number for p, number in numbers.items()}
                )
                return moved.conversations, sorted(moved.people)
        raise AssertionError(operation)


def _ranked(standing: Standing) -> Standing:
    """*standing* with its numbers, which hold times, in their order only."""
    ranks = {number: rank for rank, number in enumerate(sorted({one.number for one in standing.spans}))}
    spans = [msgspec.structs.replace(span, number=ranks[span.number]) for span in standing.spans]
    number = None if standing.number is None else len([one for one in ranks if one <= standing.number])
    return msgspec.structs.replace(standing, spans=spans, number=number)


def _timeless(value: Any) -> Any:
    """*value* without its times."""
    if isinstance(value, dict):
        times = ("at_ms", "active_at_ms", "edited_at_ms", "retry_after_ms")
        return {key: _timeless(one) for key, one in value.items() if key not in times}
    if isinstance(value, list | tuple):
        return [_timeless(one) for one in value]
    return value


_base = itertools.count(1_000, 1_000)  # every example has people and conversations of its own


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(_operation, min_size=40, max_size=60))
async def test_the_fake_answers_as_postgresql_does(dsn: str, operations: list[tuple[Any, ...]]) -> None:
    """Whatever the operations: the simulated world is only as true as this."""
    base = next(_base)
    async with postgres_bench(dsn) as real, fake_bench() as fake:
        for number in range(4):
            await real.add_account(uid(base + number), f"person {number}")
            await fake.add_account(uid(base + number), f"person {number}")
        one, two = Player(real.store, base), Player(fake.store, base)
        for operation in (*_BEFORE, *operations):
            assert await two.play(operation) == await one.play(operation), operation


async def test_what_is_unread_is_counted_up_to_a_bound(bench: Bench) -> None:
    """A first start after a year in busy groups counted every message of it, and no query ended in time."""
    await group(bench.store, ANN, BOB)
    for first in range(0, limits.UNREAD + 200, 400):
        await talk(bench.store, G, BOB, *(f"k{first + n}" for n in range(400)))
    assert (await state(bench.store, ANN, G)).unread == limits.UNREAD - 1, "the first entry is no message"
    assert (await state(bench.store, BOB, G)).unread == 0
    await bench.store.raise_receipts([Raise(G, ANN, 1_000, 1_000)])
    assert (await state(bench.store, ANN, G)).unread == 201


async def test_the_past_is_found_behind_a_long_absence(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "before")
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    await talk(bench.store, G, ANN, *(f"k{n}" for n in range(500)))
    await bench.store.change_member(0, "add", G, ANN, "in", BOB, MOST)
    page = await bench.store.history(BOB, G, None, 3)
    assert ([entry.seq for entry in page.entries], page.more) == ([2, 3, 504], True)
    page = await bench.store.history(BOB, G, 504, 3)
    assert ([entry.seq for entry in page.entries], page.more) == ([1, 2, 3], False)
    assert [entry.seq for entry in (await state(bench.store, BOB, G, recent=3)).recent] == [2, 3, 504]
