"""A database in memory with transactions in flight: row locks, a snapshot per statement, begin and commit apart.

It behaves as PostgreSQL in READ COMMITTED does for the functions of ``storage/migrations/``:

- A transaction is a generator. It yields the rows to lock, in order, and goes on once it holds them all; what it reads
  after that it reads as committed at that instant, so each stretch between two yields is one statement.
- What it writes is seen by nobody until it commits, which may be long after the last statement. Its locks are held
  until then, and whoever waits for one goes on with a new snapshot.
- The transaction belongs to the database and not to its caller: a caller that gives up or dies does not end it.
"""

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

import trio
from msgspec import UNSET, Struct, UnsetType

from protocol.frames import Content, Entry, History, Kind, Link, MessageSend, OneVote, Privacy
from storage import permissions
from storage.errand import Place, parked
from storage.errors import StorageUnavailable
from storage.permissions import Role
from tests.simulate.agenda import Agenda
from tests.simulate.faults import Plan

T = TypeVar("T")

LOCK_WAIT_S: Final = 6.0  # statement_timeout: the server gives up by itself

Key: TypeAlias = tuple[Any, ...]  # names a row: ("conversation", id), ("account", id), ("receipt", conversation, id)
Effects: TypeAlias = Callable[[], None]  # what the commit does
Said: TypeAlias = tuple[str | UnsetType, Content | UnsetType]
Body: TypeAlias = Generator[list[Key], None, tuple[T, Effects | None]]


class Account(Struct):
    """A person."""

    name: str
    number: int = 0

    def raise_number(self, at_ms: int) -> int:
        """As next_number() in the migrations."""
        self.number = max(self.number + 1, at_ms)
        return self.number


class Conversation(Struct):
    """A row of table conversation."""

    kind: Kind
    title: str | None
    history: History
    owner: UUID | None
    last_seq: int
    active_at_ms: int
    member_count: int
    retention_s: int | None = None
    topic: str | None = None
    photo: UUID | None = None
    slow_mode_s: int = 0
    tags: list[str] = []
    public: bool = False
    shut: bool = False

    @property
    def guarded(self) -> bool:
        """Not every member may write at any time."""
        return self.kind == "channel" or self.slow_mode_s > 0 or self.shut


class Span(Struct):
    """One stretch of a membership."""

    joined: int
    since: int
    place: int
    number: int
    until: int | None = None
    role: Literal["admin", "member"] = "member"

    def shows(self, seq: int) -> bool:
        """Whether entry *seq* may be seen through it."""
        return self.since <= seq and (self.until is None or seq <= self.until)


class Stored(Struct):
    """What a key of a conversation stands for."""

    seq: int
    at_ms: int
    digest: tuple[Any, ...]


class BanRow(Struct, frozen=True):
    """A row of table ban."""

    seq: int
    author: UUID
    at_ms: int
    reason: str | None
    until_ms: int | None


class LinkRow(Struct):
    """A row of table join_link."""

    name: tuple[UUID, UUID, str]  # conversation, author, key
    link: Link
    revoked: bool = False


class RequestRow(Struct, frozen=True):
    """A row of table join_request."""

    code: str
    at_ms: int


class Reacted(Struct, frozen=True):
    """A row of table reaction."""

    seq: int
    at_ms: int


class ScheduledRow(Struct, frozen=True):
    """A row of table scheduled."""

    id: UUID
    author: UUID
    conversation: UUID
    key: str
    digest: tuple[Any, ...]
    at_ms: int
    due_ms: int
    state: str = "waiting"
    command: MessageSend | None = None  # what to send; None once it was sent or taken back
    seq: int | None = None
    problem: str | None = None

    @property
    def name(self) -> tuple[UUID, str, UUID]:
        """What is unique for ever."""
        return self.author, self.key, self.conversation


class Upload(Struct, frozen=True):
    """A row of table upload, as far as messages look at it."""

    owner: UUID
    kind: str
    state: str = "ready"


class Receipt(Struct):
    """A row of table receipt."""

    delivered: int
    read: int
    at_ms: int
    delivered_ms: int | None = None


class Personal(Struct, frozen=True):
    """A row of table personal."""

    value: Any  # as plain data; None: it is gone
    number: int


class KeptKey(Struct, frozen=True):
    """A row of table personal_key."""

    number: int
    digest: tuple[Any, ...]


class Tables:
    """What is committed."""

    def __init__(self) -> None:
        self.accounts: dict[UUID, Account] = {}
        self.conversations: dict[UUID, Conversation] = {}
        self.directs: dict[tuple[UUID, UUID], UUID] = {}
        self.creations: dict[tuple[UUID, str], tuple[UUID, tuple[Any, ...]]] = {}
        self.spans: dict[UUID, dict[UUID, list[Span]]] = {}  # conversation -> person -> by joined
        self.joined: dict[UUID, dict[UUID, None]] = {}  # person -> conversations that the person was ever in
        self.entries: dict[UUID, list[Entry]] = {}  # conversation -> entry n at place n - 1
        self.keys: dict[tuple[UUID, UUID, str], Stored] = {}  # (conversation, author, key)
        self.settled: dict[tuple[UUID, UUID, str], Stored] = {}  # the same, of actions that stored no entry
        # (conversation, seq of the message) -> seq of each version -> the first one's text and content
        self.versions: dict[tuple[UUID, int], dict[int, Said]] = {}
        self.uploads: dict[UUID, Upload] = {}
        self.uses: dict[tuple[UUID, UUID, int], None] = {}  # (upload, conversation, seq)
        self.pins: dict[UUID, dict[int, None]] = {}  # conversation -> seqs of messages
        self.reactions: dict[tuple[UUID, int], dict[tuple[str, UUID], Reacted]] = {}  # -> emoji, person
        self.past: dict[tuple[UUID, int], list[Entry]] = {}  # what rows said before, the oldest first: for the judge
        self.receipts: dict[UUID, dict[UUID, Receipt]] = {}  # conversation -> person
        self.privacy: dict[UUID, Privacy] = {}  # of who touched a switch
        self.switched: dict[UUID, dict[str, int]] = {}  # person -> switch -> since which number so: for the judge
        self.personal: dict[UUID, dict[tuple[str, str], Personal]] = {}  # person -> what, subject
        self.hidden: dict[tuple[UUID, UUID], set[int]] = {}  # (person, conversation); replaced, never changed
        self.personal_keys: dict[tuple[UUID, str, str], KeptKey] = {}  # (person, scope, key)
        self.votes: dict[tuple[UUID, int], dict[UUID, OneVote]] = {}  # (conversation, message) -> person
        self.expiring: dict[UUID, dict[int, int]] = {}  # conversation -> seq -> when it disappears
        self.expiry: dict[UUID, int] = {}  # conversation -> when to look at it
        self.scheduled: dict[UUID, ScheduledRow] = {}
        self.bans: dict[tuple[UUID, UUID], BanRow] = {}  # conversation, person
        self.slowed: dict[tuple[UUID, UUID], int] = {}  # conversation, person -> at_ms
        self.photos: dict[UUID, UUID] = {}  # ready uploads of kind photo -> owner
        self.links: dict[str, LinkRow] = {}  # by code
        self.requests: dict[tuple[UUID, UUID], RequestRow] = {}  # conversation, person
        self.listed: dict[UUID, int] = {}  # public conversations -> when they were active, to the minute
        self.room_online: dict[tuple[UUID, UUID], int] = {}  # conversation, process -> people
        self.last_seen: dict[UUID, int] = {}
        self.seats: dict[UUID, dict[UUID, None]] = {}  # process -> its people
        self.lineages: dict[UUID, None] = {}
        self.nodes: dict[UUID, int] = {}

    def expire_later(self, entry: Entry) -> None:
        """Remember when a new message disappears, if it does."""
        if entry.expires_at_ms is not UNSET:
            self.expiring.setdefault(entry.conversation, {})[entry.seq] = entry.expires_at_ms
            due_ms = self.expiry.get(entry.conversation, entry.expires_at_ms)
            self.expiry[entry.conversation] = min(due_ms, entry.expires_at_ms)

    def ends(self, conversation: UUID, at_ms: int) -> int | UnsetType:
        """When a message disappears that is sent at that time."""
        kept_s = self.conversations[conversation].retention_s
        return UNSET if kept_s is None else at_ms + kept_s * 1000

    def rewrite(self, entry: Entry) -> None:
        """Update the row of an entry."""
        log, place = self.entries[entry.conversation], (entry.conversation, entry.seq)
        self.past.setdefault(place, []).append(log[entry.seq - 1])
        log[entry.seq - 1] = entry

    def span(self, conversation: UUID, person: UUID) -> Span | None:
        """The open span of *person*, if a member now."""
        spans = self.spans.get(conversation, {}).get(person)
        return spans[-1] if spans and spans[-1].until is None else None

    def newest_row(self, person: UUID, told: int) -> int:
        """The number of the newest row of the person's own, if it is above *told*; else 0."""
        return max((row.number for row in self.personal.get(person, {}).values() if row.number > told), default=0)

    def members(self, conversation: UUID) -> list[UUID]:
        """Who belongs now, in the order of joining."""
        open_ = [(s[-1].joined, s[-1].place, p) for p, s in self.spans[conversation].items() if s[-1].until is None]
        return [person for _, _, person in sorted(open_)]

    def role(self, conversation: UUID, person: UUID) -> Role | None:
        """What *person* is there now; None: no member."""
        span = self.span(conversation, person)
        if span is None:
            return None
        return "owner" if self.conversations[conversation].owner == person else span.role

    def may(self, conversation: UUID, person: UUID, what: str) -> bool:
        """As may() in the migrations."""
        return permissions.may(self.conversations[conversation].kind, self.role(conversation, person), what)

    def admins(self, conversation: UUID) -> list[UUID]:
        """The admins, by id."""
        return sorted(p for p in self.members(conversation) if self.spans[conversation][p][-1].role == "admin")

    def copy(self) -> "Tables":
        """All of it, as a backup has it."""
        other = Tables()
        other.accounts = copy.deepcopy(self.accounts)
        other.conversations = copy.deepcopy(self.conversations)
        other.directs = dict(self.directs)
        other.creations = dict(self.creations)
        other.spans = copy.deepcopy(self.spans)
        other.joined = {person: dict(ids) for person, ids in self.joined.items()}
        other.entries = {conversation: list(log) for conversation, log in self.entries.items()}  # replaced, not changed
        other.keys = dict(self.keys)
        other.settled = dict(self.settled)
        other.versions = {place: dict(versions) for place, versions in self.versions.items()}
        other.uploads, other.uses = dict(self.uploads), dict(self.uses)
        other.pins = {conversation: dict(pins) for conversation, pins in self.pins.items()}
        other.reactions = {place: dict(rows) for place, rows in self.reactions.items()}
        other.past = {place: list(rows) for place, rows in self.past.items()}
        other.receipts = copy.deepcopy(self.receipts)
        other.privacy = dict(self.privacy)
        other.switched = {person: dict(since) for person, since in self.switched.items()}
        other.personal = {person: dict(rows) for person, rows in self.personal.items()}
        other.hidden = dict(self.hidden)
        other.personal_keys = dict(self.personal_keys)
        other.expiring = {conversation: dict(rows) for conversation, rows in self.expiring.items()}
        other.expiry = dict(self.expiry)
        other.votes = {place: dict(rows) for place, rows in self.votes.items()}
        other.scheduled = dict(self.scheduled)
        other.bans = dict(self.bans)
        other.slowed = dict(self.slowed)
        other.photos = dict(self.photos)
        other.links = copy.deepcopy(self.links)
        other.requests = dict(self.requests)
        other.listed = dict(self.listed)
        other.room_online = dict(self.room_online)
        other.last_seen = dict(self.last_seen)
        other.seats = {node: dict(people) for node, people in self.seats.items()}
        other.lineages = dict(self.lineages)
        other.nodes = dict(self.nodes)
        return other


class Call(Generic[T]):
    """What a caller waits for."""

    def __init__(self) -> None:
        self.answered = False
        self.place = Place()
        self.error: str | None = None
        self.value: T

    def succeed(self, value: T) -> None:
        """Bring the answer, unless the caller was told something before."""
        if not self.answered:
            self.value = value
            self.answered = True
            self.place.wake()

    def fail(self, reason: str) -> None:
        """Say that the outcome is unknown."""
        if not self.answered:
            self.error = reason
            self.answered = True
            self.place.wake()

    async def wait(self) -> T:
        """The answer.

        Raises:
            StorageUnavailable: There is none.
        """
        if not self.answered:
            await parked(self.place)
        if self.error is not None:
            raise StorageUnavailable(self.error)
        return self.value


class Transaction(Generic[T]):
    """One transaction in flight."""

    def __init__(self, body: Body[T], plan: Plan, call: Call[T]) -> None:
        self.body = body
        self.plan = plan
        self.call = call
        self.held: list[Key] = []
        self.wanted: deque[Key] = deque()
        self.waits_for: Key | None = None
        self.value: T
        self.effects: Effects | None = None
        self.ended = False


class FakeDatabase:
    """The tables, the locks on their rows, and the transactions in flight. It outlives every server process."""

    def __init__(self, agenda: Agenda, epoch_ms: int = 1_767_225_600_000) -> None:
        self.agenda = agenda
        self.tables = Tables()
        self.deadlocks: list[tuple[Key, Key]] = []  # (wanted, held): a lock order was broken
        self.holding = False  # commits wait until let_go
        self._epoch_ms = epoch_ms
        self._owners: dict[Key, Transaction[Any]] = {}
        self._queues: dict[Key, deque[Transaction[Any]]] = {}
        self._live: dict[Transaction[Any], None] = {}
        self._held_back: list[Transaction[Any]] = []
        self._patience: deque[tuple[float, Call[Any]]] = deque()

    def now_ms(self) -> int:
        """The database's clock, in Unix milliseconds."""
        return self._epoch_ms + int(trio.current_time() * 1000)

    def held(self, key: Key) -> bool:
        """Whether a transaction in flight has locked that row."""
        return key in self._owners

    def add_account(self, person: UUID, name: str) -> None:
        """Make a person."""
        self.tables.accounts[person] = Account(name)

    def give_up_on(self, call: Call[Any], after_s: float) -> None:
        """Fail *call* if it has no answer *after_s* seconds from now, the same time for every call."""
        if not self._patience:
            self.agenda.after(after_s, self._lose_patience)
        self._patience.append((trio.current_time() + after_s, call))

    def _lose_patience(self) -> None:
        now = trio.current_time()
        patience = self._patience
        while patience and (patience[0][0] <= now or patience[0][1].answered):
            patience.popleft()[1].fail("no answer in time")
        if patience:
            self.agenda.after(patience[0][0] - now, self._lose_patience)

    # --- Transactions ---

    def begin(self, body: Body[T], plan: Plan, call: Call[T]) -> "Transaction[T]":
        """Start a transaction that goes as *plan* says and answers *call*."""
        transaction = Transaction(body, plan, call)
        self._live[transaction] = None
        if plan.before_s:
            self.agenda.after(plan.before_s, self._step, transaction)
        else:
            self._step(transaction)
        return transaction

    @property
    def in_flight(self) -> int:
        """Transactions that neither committed nor rolled back."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Transactions that wait for a lock."""
        return sum(transaction.waits_for is not None for transaction in self._live)

    def abort(self, transaction: Transaction[Any], reason: str = "rolled back") -> None:
        """Roll back, unless it is over."""
        if not transaction.ended:
            self._end(transaction)
            transaction.call.fail(reason)

    def abort_all(self, reason: str = "the database went down") -> None:
        """What a crash of the database does to everything in flight."""
        for transaction in list(self._live):
            self.abort(transaction, reason)

    def let_go(self) -> None:
        """Commit what was held back, and hold no more."""
        self.holding = False
        held, self._held_back = self._held_back, []
        for transaction in held:
            self._commit(transaction)

    def restore(self, backup: Tables) -> None:
        """Put an older copy in place: what was committed since is gone."""
        self.abort_all("the database was restored")
        self.tables = backup.copy()

    def _step(self, transaction: Transaction[Any]) -> None:
        """Take what locks can be taken, and run on when all are held."""
        while not transaction.ended:
            while transaction.wanted:
                key = transaction.wanted[0]
                owner = self._owners.setdefault(key, transaction)
                if owner is not transaction:
                    self._wait(transaction, key, owner)
                    return
                transaction.wanted.popleft()
                if key not in transaction.held:
                    transaction.held.append(key)
            try:
                transaction.wanted.extend(next(transaction.body))
            except StopIteration as end:
                transaction.value, transaction.effects = end.value
                self._computed(transaction)
                return

    def _wait(self, transaction: Transaction[Any], key: Key, owner: Transaction[Any]) -> None:
        ahead: Transaction[Any] | None = owner
        while ahead is not None and ahead.waits_for is not None:
            held_for = ahead.waits_for
            ahead = self._owners.get(held_for)
            if ahead is transaction:
                self.deadlocks.append((key, held_for))
                self.abort(transaction, "deadlock detected")
                return
        transaction.waits_for = key
        self._queues.setdefault(key, deque()).append(transaction)
        self.agenda.after(LOCK_WAIT_S, self._waited_too_long, transaction, key)

    def _waited_too_long(self, transaction: Transaction[Any], key: Key) -> None:
        if transaction.waits_for == key:
            self.abort(transaction, "statement timeout")

    def _computed(self, transaction: Transaction[Any]) -> None:
        plan = transaction.plan
        if plan.fate == "during":
            self.agenda.after(plan.commit_s, self.abort, transaction)
            return
        if plan.fate == "late":
            transaction.call.fail("no answer in time")
        if plan.commit_s:
            self.agenda.after(plan.commit_s, self._commit, transaction)
        else:
            self._commit(transaction)

    def _commit(self, transaction: Transaction[Any]) -> None:
        if transaction.ended:
            return
        if self.holding:
            self._held_back.append(transaction)
            return
        if transaction.effects is not None:
            transaction.effects()
        plan = transaction.plan
        if plan.fate == "after":
            self.agenda.after(plan.answer_s, transaction.call.fail, "the connection was lost")
        elif plan.answer_s:
            self.agenda.after(plan.answer_s, transaction.call.succeed, transaction.value)
        else:
            transaction.call.succeed(transaction.value)
        self._end(transaction)

    def _end(self, transaction: Transaction[Any]) -> None:
        transaction.ended = True
        transaction.body.close()
        del self._live[transaction]
        if transaction.waits_for is not None:
            self._queues[transaction.waits_for].remove(transaction)
            transaction.waits_for = None
        for key in transaction.held:
            self._release(key)

    def _release(self, key: Key) -> None:
        del self._owners[key]
        queue = self._queues.get(key)
        if queue:
            heir = queue.popleft()
            self._owners[key] = heir
            heir.waits_for = None
            self._step(heir)
        elif queue is not None:
            del self._queues[key]


def in_order(kind: str, ids: Iterable[Any]) -> list[Key]:
    """The rows *ids* of one table, each once, in id order: how every transaction takes locks."""
    return [(kind, *one) if isinstance(one, tuple) else (kind, one) for one in sorted(dict.fromkeys(ids))]
