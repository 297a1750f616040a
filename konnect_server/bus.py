"""The doorbell between processes: says that something happened, never carries what exists nowhere else.

A bell may be lost, late, doubled or out of order. What must not be missed is asked for again by the sweep, about once a
second: "whose log, whose number is above what I delivered?" (docs/hazards.md, A5). Typing and presence may be missed.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog
import trio

from konnect_server.last_seen import LastSeenWriter
from konnect_server.presence import Change, Presence
from konnect_server.receipts import Spread
from konnect_server.registry import Registry, Seat
from protocol import closing
from protocol.frames import ReceiptEvent, TypingEvent, What
from storage.errors import StorageUnavailable
from storage.store import Store

SWEEP_S: Final = 1.0
ALONE_SLICE: Final = 1_000  # conversations and people asked about in one sweep while no other process is there
SLICE: Final = 10_000  # the same with others
LINEAGE_S: Final = 300.0
TOLD_AT_ONCE: Final = 200  # people who are sent a cursor between two looks at everything else
ROSTER_S: Final = 60.0
ROSTER_USERS: Final = 100  # people named in one bell
COUNT_S: Final = 3.0  # from one count of the people in public conversations to the next
COUNTED: Final = 20_000  # sockets looked at in one count; the next one goes on
RETOLD_S: Final = 60.0  # all counts are told again so often: a process that stood still was taken for dead
ROOMS_TOLD: Final = 1_000  # conversations told of in one
WAITING_BELLS: Final = 10_000  # beyond it bells are forgotten: the sweep finds what they told

log = structlog.get_logger("konnect.bus")


class Doorbell(Protocol):
    """A way to reach the other processes."""

    def ring(self, bells: Sequence[bytes]) -> None:
        """Send *bells* to the others, best effort. A plain call."""

    async def heard(self) -> Sequence[bytes]:
        """Wait for bells. One's own may be among them."""


class _Bell(msgspec.Struct, frozen=True, array_like=True, tag=True):
    node: UUID  # who rings


class _Stored(_Bell, frozen=True):
    conversation: UUID
    seq: int


class _Person(_Bell, frozen=True):
    user: UUID


class _Typing(_Bell, frozen=True):
    conversation: UUID
    user: UUID
    what: What = "text"
    on: bool = True


class _Receipt(_Bell, frozen=True):
    conversation: UUID
    user: UUID
    delivered: int
    read: int
    to_all: bool
    hidden: bool = True  # from an older process that does not know: in doubt
    arrived: bool = True


class _Presence(_Bell, frozen=True):
    user: UUID
    online: bool
    contacts: bool = False
    last_seen_ms: int | None = None


class _Roster(_Bell, frozen=True):
    number: int  # 1, 2, 3 ...; the same for all its parts
    users: list[UUID]
    contacts: bool = False  # these are shown to contacts only


class _Replaced(_Bell, frozen=True):
    user: UUID
    device: str
    session: UUID  # the newest


class _SignedOut(_Bell, frozen=True):
    sign_in: UUID
    user: UUID


_AnyBell = _Stored | _Person | _Typing | _Receipt | _Presence | _Roster | _Replaced | _SignedOut
_decode: Final = msgspec.msgpack.Decoder(_AnyBell).decode
_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class Bus:
    """One process's way to ring and to hear. ``run``, ``hear`` and ``sweep`` are tasks; all else are plain calls."""

    def __init__(
        self, node: UUID, doorbell: Doorbell, store: Store, registry: Registry, presence: Callable[[], Presence],
        new_id: Callable[[], UUID], signed_out: Callable[[UUID], None], flush: Callable[[], None],
    ) -> None:  # fmt: skip
        """*signed_out*: told of sign-ins that ended in other processes."""
        self.node, self._doorbell, self._store, self._registry = node, doorbell, store, registry
        self._presence, self._new_id, self._signed_out, self._flush = presence, new_id, signed_out, flush
        self._others: list[UUID] = []
        self._waiting: dict[object, _AnyBell] = {}  # what repeats is rung once
        self._work = trio.Event()
        self._asked: deque[UUID] = deque()
        self._rosters = 0
        self._rooms: dict[UUID, tuple[int, int] | None] = {}  # public ones -> the people and the head last told
        self._to_count: deque[UUID] = deque()
        self.lineage = new_id()
        self.seats: LastSeenWriter | None = None  # set by who makes both

    # --- ringing ---

    def stored(self, conversation: UUID, seq: int) -> None:
        """The log of *conversation* reached *seq*."""
        self._add(conversation, _Stored(self.node, conversation, seq))

    def person(self, user: UUID) -> None:
        """*user*'s own rows changed."""
        self._add(user, _Person(self.node, user))

    def typing(self, event: TypingEvent) -> None:
        """Somebody is typing."""
        bell = _Typing(self.node, event.conversation, event.user, event.what, event.on)
        self._add((event.conversation, event.user), bell)

    def receipt(self, spread: Spread) -> None:
        """Somebody's cursors rose."""
        event = spread.event
        key = (event.conversation, event.user, "receipt")
        waiting = self._waiting.get(key)  # not rung yet: what arrived with it arrived
        arrived = spread.arrived or (isinstance(waiting, _Receipt) and waiting.arrived)
        self._add(key, _Receipt(self.node, event.conversation, event.user, event.delivered, event.read, spread.to_all,
                                spread.hidden, arrived))  # fmt: skip

    def presence(self, change: Change) -> None:
        """One of ours came, went, or is shown to others."""
        bell = _Presence(self.node, change.user, change.online, change.contacts, change.last_seen_ms)
        self._add((change.user, "presence"), bell)

    def replaced(self, seat: Seat) -> None:
        """*seat* is the newest socket of its device."""
        self._add((seat.user, seat.device), _Replaced(self.node, seat.user, seat.device, seat.id))

    def signed_out(self, sign_in: UUID, user: UUID) -> None:
        """A sign-in ended."""
        self._add((sign_in, "signed out"), _SignedOut(self.node, sign_in, user))

    def _add(self, key: object, bell: _AnyBell) -> None:
        if self._others and len(self._waiting) < WAITING_BELLS:
            self._waiting[key] = bell
            self._work.set()

    # --- tasks ---

    async def run(self) -> None:
        """Ring what waits, a turn's bells at once."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            bells, self._waiting = self._waiting, {}
            self._doorbell.ring([_encode(bell) for bell in bells.values()])
            await trio.lowlevel.checkpoint()

    async def hear(self) -> None:
        """Act on the others' bells."""
        while True:
            for data in await self._doorbell.heard():
                try:
                    bell = _decode(data)
                except (msgspec.DecodeError, UnicodeDecodeError) as problem:
                    log.warning("a bell that cannot be read: another version?", problem=str(problem))
                    continue
                if bell.node != self.node:
                    self._act(bell)
            self._flush()

    def _act(self, bell: _AnyBell) -> None:
        registry = self._registry
        match bell:
            case _Stored():
                conversation = registry.conversations.get(bell.conversation)
                if conversation is not None:
                    conversation.ring(bell.seq)
            case _Person():
                person = registry.users.get(bell.user)
                if person is not None:
                    person.look()
            case _Typing():
                registry.typing(
                    TypingEvent(conversation=bell.conversation, user=bell.user, what=bell.what, on=bell.on)
                )
            case _Receipt():
                event = ReceiptEvent(
                    conversation=bell.conversation, user=bell.user, delivered=bell.delivered, read=bell.read
                )
                registry.receipt(Spread(event, bell.to_all, bell.hidden, bell.arrived))
            case _Presence():
                self._presence().heard(bell.node, Change(bell.user, bell.online, bell.contacts, bell.last_seen_ms))
            case _Roster():
                self._presence().listed(bell.node, bell.number, bell.users, bell.contacts)
            case _Replaced():
                person = registry.users.get(bell.user)
                device = None if person is None else person.devices.get(bell.device)
                if device is not None and device.id < bell.session:  # else the bell is late, and tells of an older one
                    device.close(closing.REPLACED)
            case _SignedOut():
                self._signed_out(bell.sign_in)
                registry.sign_out(bell.sign_in, bell.user)

    async def sweep(self, now: Callable[[], float]) -> None:
        """About once a second: say that we are there, and ask what went on without us."""
        lineage_at = now() + LINEAGE_S
        roster_at = count_at = now()
        retold_at = now() + RETOLD_S
        while True:
            await trio.sleep(SWEEP_S)
            self._presence().sweep()
            try:
                began_at = now()
                before, self._others = self._others, await self._store.beat(self.node)
                if self.seats is not None:
                    await self.seats.write(began_at)
                await self._ask()
                if now() >= count_at:
                    count_at = now() + COUNT_S
                    if now() >= retold_at:
                        retold_at = now() + RETOLD_S
                        self._rooms = dict.fromkeys(self._rooms)
                    await self._count()
                if now() >= lineage_at:
                    lineage = self._new_id()
                    await self._store.add_lineage(lineage)  # before any cursor names it
                    self.lineage, lineage_at = lineage, now() + LINEAGE_S
                    await self._tell_lineage()
            except StorageUnavailable as problem:
                log.warning("storage does not answer", problem=str(problem))
                roster_at = now()  # who did not hear of us meanwhile believes our people gone
                self._rooms = dict.fromkeys(self._rooms)  # what it knows of them is uncertain
                continue
            finally:
                self._flush()
            self._presence().gone(self._others)
            if self._others and (now() >= roster_at or set(self._others) - set(before)):
                roster_at = now() + ROSTER_S
                self._ring_roster()
            self._flush()

    def _ring_roster(self) -> None:
        self._rosters += 1
        for contacts in (False, True):
            people = self._presence().roster(contacts)
            for first in range(0, max(1, len(people)), ROSTER_USERS):  # an empty one too: it says that nobody is left
                part = people[first : first + ROSTER_USERS]
                self._add(("roster", contacts, first), _Roster(self.node, self._rosters, part, contacts))

    async def _tell_lineage(self) -> None:
        """Let every client's cursor name the new lineage, some hundreds at a time."""
        people = list(self._registry.users.values())
        for nth, person in enumerate(people, 1):
            for device in person.devices.values():
                device.tell_cursor()
            if nth % TOLD_AT_ONCE == 0:
                self._flush()
                await trio.lowlevel.checkpoint()

    async def _count(self) -> None:
        """Tell how many people some public conversations have here, where it changed; the next count goes on."""
        if not self._to_count:
            self._to_count = deque(self._rooms)
        looked, told = 0, dict[UUID, tuple[int, int]]()
        while self._to_count and looked < COUNTED and len(told) < ROOMS_TOLD:
            room = self._to_count.popleft()
            conversation = self._registry.conversations.get(room)
            readers = [] if conversation is None else conversation.readers()
            looked += len(readers)
            head = 0 if conversation is None else conversation.head or 0
            found = (len({reader.user for reader in readers}), head)
            if self._rooms.get(room) != found:
                told[room] = found
        if told:
            self._rooms.update(dict.fromkeys(told))  # uncertain until it is answered
            await self._store.publish_rooms(self.node, {room: people for room, (people, _) in told.items()})
            for room, found in told.items():
                if found == (0, 0) and room not in self._registry.conversations:
                    del self._rooms[room]  # nobody is left here
                else:
                    self._rooms[room] = found

    async def _ask(self) -> None:
        """Ask about some conversations and people; the next sweep goes on with the following ones."""
        if not self._asked:
            self._asked = deque([*self._registry.conversations, *self._registry.users])
        heads, numbers = {}, {}
        for _ in range(min(len(self._asked), SLICE if self._others else ALONE_SLICE)):
            one = self._asked.popleft()
            conversation, person = self._registry.conversations.get(one), self._registry.users.get(one)
            if conversation is not None and conversation.head is not None:
                heads[one] = conversation.head
            elif person is not None and person.number is not None:
                numbers[one] = person.number
        if heads or numbers:
            moved = await self._store.moved(heads, numbers)
            for conversation_id, seq in moved.conversations.items():
                found = self._registry.conversations.get(conversation_id)
                if found is not None:
                    found.ring(seq)
            for room in moved.rooms:
                self._rooms.setdefault(room, None)
            for user in moved.people:
                person = self._registry.users.get(user)
                if person is not None:
                    person.look()


class NoDoorbell:
    """No other process can be reached; the sweep alone finds what they do."""

    def ring(self, bells: Sequence[bytes]) -> None:
        """Forget them."""

    async def heard(self) -> Sequence[bytes]:
        """Wait for ever."""
        await trio.sleep_forever()
