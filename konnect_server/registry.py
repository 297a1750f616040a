"""Who is live in this process: id -> actor. Starts each once, stops it when idle, contains a crash."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec
import structlog
import trio

from konnect_server.conversation import Conversation, Reader, Work
from konnect_server.passed import Passed
from konnect_server.presence import Presence
from konnect_server.receipts import Spread
from konnect_server.stretches import Stretches
from konnect_server.user import Device, User
from protocol import closing
from protocol.codec import wire
from protocol.frames import Privacy, TypingEvent
from storage.errand import Errand

log = structlog.get_logger("konnect.registry")


class Seat(Reader, Device, Protocol):
    """A session, as the registry sees it: both a conversation's reader and a person's device."""


class Bells(Protocol):
    """What the registry tells the other processes; each call is plain and may be lost."""

    def stored(self, conversation: UUID, seq: int) -> None:
        """The log of *conversation* reached *seq*."""

    def person(self, user: UUID) -> None:
        """*user*'s own rows changed."""

    def typing(self, event: TypingEvent) -> None:
        """Somebody is typing."""

    def receipt(self, spread: Spread) -> None:
        """Somebody's cursors rose."""

    def replaced(self, seat: Seat) -> None:
        """*seat* is the newest socket of its device."""


class Watch(Protocol):
    """Who hears of what passes, to do something about it later. Each call is plain and costs next to nothing."""

    def stored(self, conversation: UUID) -> None:
        """We stored something in *conversation*."""

    def seat(self, user: UUID, device: str) -> None:
        """A socket of *device* opened or closed here."""


class Registry:
    """The live actors of this process. All calls but ``spawn``'s task are plain."""

    def __init__(
        self,
        lanes: Sequence[Work],
        nursery: trio.Nursery,
        came: Callable[[UUID], None],
        went: Callable[[UUID], None],
        flush: Callable[[], None],
    ) -> None:
        """*lanes*: the writers; a conversation always uses the same one. *came* and *went*: a person's first session
        opened here, the last one closed."""
        self.lanes, self._nursery, self._came, self._went, self._flush = lanes, nursery, came, went, flush
        self.conversations: dict[UUID, Conversation] = {}
        self.users: dict[UUID, User] = {}
        self.bells: Bells | None = None  # set by the bus
        self.watch: Watch | None = None  # set by who makes both, where somebody wants to know
        self.presence: Presence | None = None  # the same
        self.stretches: Stretches | None = None  # set by who makes both
        self.moved: Callable[[UUID], None] = lambda conversation: None  # told of each log that grew by our hand
        self.passed = Passed()
        self._errands: dict[Errand, None] = {}  # under way
        self._beginning: list[Errand] = []  # yet to begin, all at once

    # --- conversations ---

    def conversation(self, conversation: UUID) -> Conversation:
        """The live conversation of that id, started if need be. It stops by itself when nobody listens."""
        found = self.conversations.get(conversation)
        if found is None:
            lane = self.lanes[conversation.int % len(self.lanes)]
            found = self.conversations[conversation] = Conversation(conversation, lane, self)
        return found

    def idle(self, conversation: Conversation) -> None:
        """Nobody listens and nothing waits: forget it."""
        if self.conversations.get(conversation.id) is conversation:
            del self.conversations[conversation.id]

    def contain(self, conversation: Conversation, call: Callable[[], None]) -> None:
        """Run *call* of *conversation*. A crash stops that conversation, whose readers come back, and nothing else."""
        if self.conversations.get(conversation.id) is not conversation:
            return  # it crashed, or was left, while its work was under way
        try:
            call()
        except Exception:  # one of the three broad catches: around an actor
            log.exception("a conversation crashed", conversation=str(conversation.id))
            self.idle(conversation)
            conversation.crash()

    def stored(self, conversation: UUID, seq: int) -> None:
        """The log of *conversation* reached *seq* by our hand."""
        if self.bells is not None:
            self.bells.stored(conversation, seq)
        if self.watch is not None:
            self.watch.stored(conversation)
        self.moved(conversation)

    def parted(self, user: UUID, others: Sequence[Reader]) -> None:
        """*user* left a conversation to which *others* listen."""
        if self.presence is not None:
            self.presence.part(user, others)

    def stored_elsewhere(self, conversation: UUID, seq: int) -> None:
        """The log of *conversation* reached *seq*, but not by its actor: who listens, here and elsewhere, reads it."""
        found = self.conversations.get(conversation)
        if found is not None:
            found.ring(seq)
        self.stored(conversation, seq)

    def altered(self, conversation: UUID) -> None:
        """Messages that were delivered before read otherwise now: nobody is given them as they were."""
        if self.stretches is not None:
            self.stretches.forget(conversation)

    def joined(self, conversation: UUID, user: UUID) -> None:
        """*user* became a member."""
        self.changed(user)
        if self.watch is not None:
            self.watch.stored(conversation)  # one that was just made was stored by no conversation

    def changed(self, user: UUID) -> None:
        """*user*'s own rows changed; the person's devices, here and elsewhere, look. (storage/personal.py)"""
        found = self.users.get(user)
        if found is not None:
            found.look()
        if self.bells is not None:
            self.bells.person(user)

    def heed(self, seat: Seat, privacy: Privacy, number: int, unseen: frozenset[UUID] = frozenset()) -> None:
        """*seat* has read how its person's switches stand, and who is *unseen*, when the person's number was
        *number*."""
        found = self.users.get(seat.user)
        if found is not None and found.devices.get(seat.device) is seat:  # else it was replaced, and closes
            found.heed(seat, privacy, number, unseen)

    def sessions_of(self, user: UUID) -> Iterable[Reader]:
        """The person's sessions here."""
        found = self.users.get(user)
        return [] if found is None else list(found.devices.values())  # type: ignore[arg-type]  # only Seats enter

    # --- people ---

    def enter(self, seat: Seat) -> None:
        """*seat* signed in; an older socket of the same device is closed."""
        user = self.users.get(seat.user)
        if user is None:
            user = self.users[seat.user] = User(seat.user)
            self._came(seat.user)
        older = user.devices.get(seat.device)
        user.devices[seat.device] = seat
        if older is not None:
            older.close(closing.REPLACED)
        if self.bells is not None:
            self.bells.replaced(seat)
        if self.watch is not None and older is None:
            self.watch.seat(seat.user, seat.device)

    def leave(self, seat: Seat) -> None:
        """*seat* is gone."""
        user = self.users.get(seat.user)
        if user is None or user.devices.get(seat.device) is not seat:
            return  # replaced before
        del user.devices[seat.device]
        if self.watch is not None:
            self.watch.seat(seat.user, seat.device)
        if not user.devices:
            del self.users[seat.user]
            self._went(seat.user)

    def sign_out(self, sign_in: UUID, user: UUID) -> None:
        """A sign-in was ended: its sockets close."""
        found = self.users.get(user)
        for device in list(found.devices.values()) if found is not None else []:
            if device.sign_in == sign_in:
                device.sign_out()
        self._flush()

    # --- what passes by ---

    def typing(self, event: TypingEvent) -> None:
        """Tell the others in the conversation, here, that somebody is typing: those who see whoever it is."""
        found = self.conversations.get(event.conversation)
        if found is not None:
            data = wire(event)
            for reader in found.live:
                if reader.user != event.user and reader.privacy.typing and event.user not in reader.unseen:
                    reader.push_droppable(data)

    def receipt(self, spread: Spread) -> None:
        """Tell the members here, or only the person's own devices, that cursors rose. Where reading is hidden, by
        either side, only a delivery is told: an event that says nothing new would tell when somebody read."""
        event = spread.event
        found = self.conversations.get(event.conversation) if spread.to_all else None
        readers = self.sessions_of(event.user) if not spread.to_all else [] if found is None else found.readers()
        data = wire(event)
        delivery = wire(msgspec.structs.replace(event, read=0)) if spread.arrived else b""
        open_ = delivery if spread.hidden else data  # for the others who see reading
        self.passed.add(event.conversation, event.user, spread.to_all, data, open_, delivery)
        for reader in readers:
            if event.user in reader.unseen:
                continue
            told = data if reader.user == event.user else open_ if reader.privacy.read_receipts else delivery
            if told:
                reader.receipt(event.conversation, event.user, told)

    # --- tasks ---

    def spawn(self, close: Callable[[closing.Close], None], run: Callable[[], Awaitable[None]]) -> trio.CancelScope:
        """Run *run* as a task of one session; its scope cancels it. A crash closes that session by *close*."""
        scope = trio.CancelScope()

        async def in_scope() -> None:
            with scope:
                await self._contained(close, run)
            self._flush()  # what a task pushed would else wait for the next unrelated input

        self._nursery.start_soon(in_scope)
        return scope

    def errand(self, close: Callable[[closing.Close], None], run: Callable[[], Awaitable[None]]) -> Errand:
        """:meth:`spawn` without a task for as long as *run* waits for answers alone. It begins in a while."""

        async def to_its_end() -> None:
            try:
                await self._contained(close, run)
                self._flush()
            finally:
                self._errands.pop(errand, None)

        errand = Errand(to_its_end(), self._nursery)
        self._beginning.append(errand)
        if len(self._beginning) == 1:
            self._nursery.start_soon(self._begin)
        return errand

    async def _begin(self) -> None:
        beginning, self._beginning = self._beginning, []
        for errand in beginning:
            if not errand.ended:
                self._errands[errand] = None
                errand.begin()

    def stop(self) -> None:
        """The nursery closes: end what it does not know of. An errand that ends may let others go on, to where they
        wait next."""
        for errand in self._beginning:
            errand.cancel()
        while self._errands:
            self._errands.popitem()[0].cancel()

    async def _contained(self, close: Callable[[closing.Close], None], run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception:  # the same catch as in contain, for an actor's tasks
            log.exception("a session's task crashed")
            close(closing.CRASHED)
