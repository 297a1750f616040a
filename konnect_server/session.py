"""One connection's conversation with the server: typed frames in, answers out. Knows no bytes and no sockets.

Everything the link calls is a plain call. What needs the database runs as a task of this session, a few at a time, and
is cancelled with it; what changes a conversation goes into that conversation's inbox.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, get_args
from uuid import UUID

import msgspec
import trio

from konnect_server import cursor as cursors
from konnect_server.actions import conversations as actions
from konnect_server.actions.office import Office
from konnect_server.commands import HANDLERS, Ask, Then, insist, sending
from konnect_server.conversation import Acting, Posting
from konnect_server.limiter import TokenBucket
from konnect_server.outbox import LOW_WATER_BYTES
from konnect_server.people.ground import Ground
from konnect_server.presence import Presence
from konnect_server.receipts import Receipts
from konnect_server.registry import Registry
from konnect_server.stretches import Stretches
from konnect_server.telemetry import counter
from konnect_server.walk import Walk
from konnect_server.wheel import Deadline, Wheel
from protocol import closing, codec, frames
from protocol.errors import (
    BadCursor,
    BinaryOnly,
    HelloFirst,
    HelloTwice,
    Invalid,
    KonnectError,
    NotAMember,
    RateLimited,
    TooManySockets,
    Unauthorized,
    Unavailable,
)
from storage.errand import by_task
from storage.rows import Seen
from storage.store import Store

READS_AT_ONCE: Final = 4  # tasks of one session that ask the database
READS_WAITING: Final = 32  # commands that wait for one of these; beyond it the socket is not read
ANSWERS_WAITING: Final = 256  # answers that wait for the end of a walk; beyond it the socket is not read
REFUSALS_PER_S: Final = 10.0  # frames that cannot be accepted, before the connection is closed for a flood
REFUSALS_BURST: Final = 100
FAREWELL_S: Final = 5.0  # the longest wait for the answer to a command that ended the own sign-in

CLOSED: Final = counter("konnect_sockets_closed_total", "Sockets that ended, by why.", ("reason",))
_WHY: Final = {
    **{one.code: CLOSED.labels(one.reason) for one in closing.ALL},
    **dict.fromkeys((1002, 1007, 1009), CLOSED.labels("protocol")),  # it broke RFC 6455, or sent more than it may
    1006: CLOSED.labels("network"),
}
_BY_CLIENT: Final = CLOSED.labels("client")

_Read: TypeAlias = tuple[frames.Command, Ask, Then | None, bool]  # the last: in order
_ENDING: Final = (frames.SessionRevoke, frames.AccountDelete, frames.AccountReturn)  # may end the sign-in they come by
_IN_ORDER: Final = get_args(frames.AnyPersonal)  # what of a session is carried out in the order of coming
_UNKNOWN: Final = frames.Privacy(False, "nobody", False)  # in doubt, everything is hidden
_NOBODY: Final = UUID(int=0)
_INBOX, _RATE, _READS, _ANSWERS, _ENDED = 1, 2, 4, 8, 16  # why the socket is not read


class Claims(Protocol):
    """What a good access token says."""

    @property
    def user(self) -> UUID: ...
    @property
    def sign_in(self) -> UUID: ...
    @property
    def expires_at_s(self) -> int: ...


class Link(Protocol):
    """The connection beneath, as its session sees it. None of these calls waits or raises."""

    @property
    def outbox_bytes(self) -> int:
        """What waits to be sent."""

    def push(self, data: bytes) -> None:
        """Send *data* (whole wire frames)."""

    def push_droppable(self, data: bytes) -> None:
        """Send *data*, or forget it when the device is slow."""

    def pause(self) -> None:
        """Do not read."""

    def resume(self) -> None:
        """Read again."""

    def close(self, close: closing.Close) -> None:
        """End the connection, after what was pushed."""

    def signed_in(self) -> None:
        """The client is no stranger any more."""


class Desk(msgspec.Struct, frozen=True):
    """What every session of a process shares."""

    store: Store
    registry: Registry
    presence: Presence
    receipts: Receipts
    stretches: Stretches
    wheel: Wheel
    verify: Callable[[str], Claims]  # raises Unauthorized
    lineage: Callable[[], UUID]  # this server's newest
    new_id: Callable[[], UUID]
    now: Callable[[], float]  # seconds, monotonic
    wall_ms: Callable[[], int]  # Unix milliseconds
    flush: Callable[[], None]
    typing: Callable[[frames.TypingEvent], None]  # here and elsewhere
    messages_per_s: float
    messages_burst: float
    commands_per_s: float
    commands_burst: float
    sockets_per_user: int
    group_members: int
    room_members: int
    search_languages: Sequence[str]
    hello_timeout_s: float
    sooner: Callable[[int], None]  # something was given to this server that is due then, Unix milliseconds
    office: Office | None = None
    people: Ground | None = None
    signed_out: Callable[[UUID, UUID], None] = lambda sign_in, user: None  # told of sign-ins that a command ended


class Session:
    """One connection, from its first frame to its end."""

    def __init__(self, link: Link, desk: Desk) -> None:
        self._link, self._desk = link, desk
        self.push: Callable[[bytes], None] = link.push
        self.push_droppable = link.push_droppable
        self.close = link.close
        self.id = desk.new_id()
        self.user = _NOBODY
        self.sign_in: UUID = _NOBODY
        self.device = ""
        self.gone = False
        self.privacy = _UNKNOWN
        self.unseen: frozenset[UUID] = frozenset()  # who does not see the person, and is not seen
        self._walk: Walk | None = None
        self._messages = TokenBucket(desk.messages_per_s, desk.messages_burst)
        self._commands = TokenBucket(desk.commands_per_s, desk.commands_burst)
        self._refusals: TokenBucket | None = None  # most connections never need one
        self._paused = 0
        self._stalled: frames.Command | None = None  # over its rate, and nothing may overtake it
        self._reads: list[_Read] = []  # a deque takes 600 bytes even when it is empty
        self._reading: dict[int, trio.CancelScope] = {}
        self._ordered = False  # one of those that go in order is under way
        self._read_count = 0
        self._farewells = 0  # commands without an answer that may end our own sign-in
        self._signed_out = False  # it has ended, and the socket closes with their answers
        self._watched: list[UUID] = []
        self._room: trio.Event | None = None
        # For the hello; from then on for the token's end.
        self._deadline: Deadline | None = desk.wheel.add(desk.now() + desk.hello_timeout_s, self._overdue)

    @property
    def desk(self) -> Desk:
        """What commands stand on."""
        return self._desk

    # --- what the link calls ---

    def received(self, payload: bytes) -> None:
        """One message."""
        try:
            command = codec.decode(payload)
        except KonnectError as problem:
            self._refuse(codec.claimed_id(payload), problem)
            return
        if self._walk is None:
            if isinstance(command, frames.Hello):
                self._hello(command)
            else:
                self.push(codec.error(command.id, HelloFirst("say hello first")))
                self.close(closing.HELLO_FIRST)
        elif isinstance(command, frames.MessageSend):
            self._send(command)
        elif isinstance(command, _IN_ORDER):
            self._in_order(command)
        else:
            wait_s = self._commands.take(self._desk.now())
            if wait_s:
                self.push(codec.error(command.id, RateLimited(math.ceil(wait_s * 1000))))
                if self._refused_too_often():
                    self._rest(wait_s)
            else:
                _HANDLERS[type(command)](self, command)

    def received_text(self, payload: bytes) -> None:
        """A text message, which no frame is."""
        self._refuse(None, BinaryOnly("frames are binary messages"))

    def writable(self) -> None:
        """The outbox has drained."""
        if self._room is not None:
            self._room.set()

    def closed(self, code: int, reason: str) -> None:
        """The connection is gone."""
        self.gone = True
        _WHY.get(code, _BY_CLIENT).inc()
        if self._deadline is not None:
            self._desk.wheel.cancel(self._deadline)
        for scope in self._reading.values():
            scope.cancel()
        self._reads.clear()
        if self._walk is not None:
            self._walk.stop()
            self._desk.presence.unfollow(self, [*self._walk.partners, *self._watched])
            self._desk.registry.leave(self)
        # All three know us: circles that only the garbage collector would find, long after thousands have gone.
        self._deadline = self._walk = None
        self.push = self._link.push

    def _refuse(self, command_id: int | None, problem: KonnectError) -> None:
        """Answer a frame that is no command. Before hello it ends the connection; after it, only too many do."""
        self.push(codec.error(command_id, problem))
        if self._walk is None:
            self.close(closing.BAD_HELLO)
        elif self._refused_too_often():
            self.close(closing.FLOOD)

    def _refused_too_often(self) -> bool:
        if self._refusals is None:
            self._refusals = TokenBucket(REFUSALS_PER_S, REFUSALS_BURST)
        return self._refusals.take(self._desk.now()) > 0

    # --- signing in ---

    def _hello(self, command: frames.Hello) -> None:
        desk = self._desk
        try:
            claims = desk.verify(command.token)
            cursor = None if command.cursor is None else cursors.decode(command.cursor)
        except (Unauthorized, BadCursor) as problem:
            self.push(codec.error(command.id, problem))
            self.close(closing.UNAUTHORIZED if isinstance(problem, Unauthorized) else closing.BAD_HELLO)
            return
        person = desk.registry.users.get(claims.user)
        if person and command.device not in person.devices and len(person.devices) >= desk.sockets_per_user:
            refusal = TooManySockets(f"{len(person.devices)} sockets are open for this person")
            self.push(codec.error(command.id, refusal))
            self.close(closing.TOO_MANY_SOCKETS)
            return
        newest = person.devices.get(command.device) if person else None
        if newest is not None and newest.id > self.id:  # opened after us: it is our hello that comes late
            self.close(closing.REPLACED)
            return
        self.user, self.sign_in, self.device = claims.user, claims.sign_in, command.device
        self._expire(claims.expires_at_s)
        heads = {conversation.lower(): seq for conversation, seq in command.heads.items()}
        self._walk = Walk(self, desk.store, desk.registry, desk.lineage, heads, cursor, command.recent, desk.stretches)
        self._link.signed_in()
        desk.registry.enter(self)
        self.push = partial(self._greet, codec.ok(command.id, frames.Welcome(self.user, self.id)))
        self._walk.start()

    def _greet(self, welcome: bytes, data: bytes) -> None:
        """The first push answers the hello. It leaves together with the first that the walk has to say: a send of its
        own would be a tenth of what a sign-in costs."""
        self.push = self._link.push
        self.push(welcome)
        if data:
            self.push(data)

    def heed(self, privacy: frames.Privacy, unseen: frozenset[UUID]) -> None:
        """The person's switches stand so, and these people are not seen, as far as is known here."""
        before, self.privacy = self.privacy, privacy
        presence, turned = self._desk.presence, unseen - self.unseen
        self.unseen = unseen
        if turned:
            presence.turn_away(self, sorted(turned))
            self._watched = [user for user in self._watched if user not in unseen]
        presence.came(self.user, privacy.last_seen)
        if privacy.last_seen != before.last_seen and self._walk is not None:
            presence.unfollow(self, [*self._walk.partners, *self._watched])  # who hides sees nobody
            self._watch_again()

    def greet(self) -> None:
        """Answer the hello now, if nothing was pushed since."""
        self.push(b"")

    def _renew(self, command: frames.AuthRenew) -> None:
        try:
            claims = self._desk.verify(command.token)
            if claims.user != self.user:
                raise Unauthorized("the token is somebody else's")
        except Unauthorized as problem:
            self.push(codec.error(command.id, problem))
            return
        self.sign_in = claims.sign_in
        self.push(codec.ok(command.id, frames.Renewed(self._expire(claims.expires_at_s))))

    def _expire(self, at_s: int) -> int:
        """End the connection when the token ends; how many seconds that is from now."""
        left_s = max(0.0, at_s - self._desk.wall_ms() / 1000)
        if self._deadline is not None:
            self._desk.wheel.move(self._deadline, self._desk.now() + left_s)
        return int(left_s)

    def _overdue(self) -> None:
        self.close(closing.HELLO_TIMEOUT if self._walk is None else closing.TOKEN_EXPIRED)
        self._desk.flush()

    # --- messages and what else goes into a log ---

    def _send(self, command: frames.MessageSend) -> None:
        wait_s = self._messages.take(self._desk.now())
        if wait_s:
            self._stall(command, wait_s)
            return
        self.post(command.conversation, sending(self, self.user, command))

    def _in_order(self, command: frames.Command) -> None:
        """Carry out a command that nothing may overtake."""
        wait_s = self._commands.take(self._desk.now())
        if wait_s:
            self._stall(command, wait_s)
        else:
            _HANDLERS[type(command)](self, command)

    def _stall(self, command: frames.Command, wait_s: float) -> None:
        """Not refused, or what follows would overtake it: the socket is not read until it may go."""
        self._stalled = command
        self._rest(wait_s)

    def post(self, conversation: UUID, piece: Posting | Acting) -> None:
        """Put *piece* into the conversation's inbox. If that is full with it, the socket is not read."""
        if not self._desk.registry.conversation(conversation).post(piece):
            self._pause(_INBOX)

    def _ping(self, command: frames.Ping) -> None:
        data = command.data if bytes(command.data) else msgspec.UNSET
        self.push(codec.ok(command.id, frames.Pong(self._desk.wall_ms(), data)))

    def _typing(self, command: frames.Typing) -> None:
        if self._walk is None or not self._walk.may_hear(command.conversation):
            self.push(codec.error(command.id, NotAMember(self.user, command.conversation)))
            return
        if self.privacy.typing and command.conversation in self._walk.attached.keys() - self._walk.large:
            event = frames.TypingEvent(
                conversation=command.conversation, user=self.user, what=command.what, on=command.on
            )
            self._desk.typing(event)
        self.push(codec.ok(command.id, frames.Done()))

    def _hello_again(self, command: frames.Hello) -> None:
        self.push(codec.error(command.id, HelloTwice("this connection has said hello")))

    # --- what asks the database: tasks, a few at a time ---

    def _watch(self, command: frames.PresenceWatch) -> None:
        if command.users and command.conversation is not None:
            self.push(codec.error(command.id, Invalid("name users or a conversation, not both")))
            return
        self.read(command, lambda: self._to_watch(command), self._watching)

    async def told_of(self, conversation: UUID, seq: int = 0) -> None:
        """Wait until what the person just opened, or joined by the entry *seq*, has reached this device."""
        if self._walk is not None:
            await self._walk.told_of(conversation, seq)

    async def told_up_to(self, number: int) -> None:
        """Wait until what is the person's own up to *number* has reached this device."""
        if self._walk is not None and (self._walk.number is None or self._walk.number < number):
            await self._walk.settle()

    async def _to_watch(self, command: frames.PresenceWatch) -> list[Seen]:
        users = command.users
        if command.conversation is not None:
            asked = frames.ConversationGet(id=command.id, conversation=command.conversation, recent=0)
            users = (await actions.get(self._desk.store, self.user, asked)).members
        return await self._desk.store.presences(self.user, users) if users else []

    def _watch_again(self) -> None:
        """What this device may see has changed: ask once more for whom it watches."""
        watched = list(self._watched)
        if not watched:
            return

        async def ask() -> None:
            try:
                seen = await insist(lambda: self._desk.store.presences(self.user, watched), self._desk.now)
            except Unavailable:
                self.close(closing.UNAVAILABLE)  # it may see now whom it may not
                return
            if not self.gone and self._watched == watched:
                await self._watching(seen)

        self._desk.registry.spawn(self.close, ask)

    async def _watching(self, people: Sequence[Seen]) -> frames.Online:
        presence, partners = self._desk.presence, self._walk.partners if self._walk is not None else {}
        presence.unfollow(self, [user for user in self._watched if user not in partners])
        if self.privacy.last_seen != "everyone":  # since it was asked
            people = [one for one in people if one.contact and self.privacy.last_seen == "contacts"]
        people = [one for one in people if one.user not in self.unseen]
        self._watched = [one.user for one in people]
        online = [one.user for one in people if presence.follow(self, [one.user], one.contact)]
        here = set(map(str, online))
        seen = {one.user: one.last_seen_ms for one in people if one.last_seen_ms and str(one.user) not in here}
        return frames.Online(online, seen)

    def read(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """Answer *command* with what *ask* finds, put through *then*."""
        self._read(command, ask, then, False)

    def read_in_order(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """The same, after all that came so before it; without an answer from storage the connection ends, and the
        client repeats all of them in order."""
        self._read(command, ask, then, True)

    def _read(self, command: frames.Command, ask: Ask, then: Then | None, in_order: bool) -> None:
        self._reads.append((command, ask, then, in_order))
        self._farewells += isinstance(command, _ENDING)
        if len(self._reads) >= READS_WAITING:
            self._pause(_READS)
        self._start_reads()

    def _start_reads(self) -> None:
        while len(self._reading) < READS_AT_ONCE:
            place = next((nth for nth, one in enumerate(self._reads) if not (one[3] and self._ordered)), None)
            if place is None:
                break
            read = self._reads.pop(place)
            self._ordered = self._ordered or read[3]
            self._read_count += 1
            run = partial(self._run_read, self._read_count, *read)
            self._reading[self._read_count] = self._desk.registry.spawn(self.close, run)
        if len(self._reads) < READS_WAITING:
            self._go_on(_READS)

    async def _run_read(
        self, number: int, command: frames.Command, ask: Ask, then: Then | None, in_order: bool
    ) -> None:  # fmt: skip
        try:
            found = await insist(ask, self._desk.now)
            await trio.lowlevel.checkpoint_if_cancelled()  # else one that is gone would begin to follow, or to walk
            data = codec.ok(command.id, found if then is None else await then(found))
        except KonnectError as problem:
            if in_order and isinstance(problem, Unavailable):
                self.close(closing.UNAVAILABLE)  # nothing after it begins
                return
            data = codec.error(command.id, problem)
        await self.room()  # an answer may be a page: several at once would make an honest client "slow"
        self.push(data)
        self._farewells -= isinstance(command, _ENDING)
        if self._signed_out and not self._farewells:
            self.close(closing.SIGNED_OUT)
        del self._reading[number]
        if in_order:
            self._ordered = False
        self._start_reads()

    def sign_out(self) -> None:
        """The sign-in that this connection came by has ended, and so does the connection.

        Who ended it by a command that came by this very socket gets the answer first: others in this process, the sweep
        of sign-ins above all, learn of it as soon as it is stored.
        """
        if not self._farewells:
            self.close(closing.SIGNED_OUT)
        elif not self._signed_out:
            self._signed_out = True
            self._pause(_ENDED)  # else more of them could put off the end
            self._desk.wheel.add(self._desk.now() + FAREWELL_S, self._farewell_overdue)

    def _farewell_overdue(self) -> None:
        self.close(closing.SIGNED_OUT)
        self._desk.flush()

    # --- reading the socket, or not ---

    def _pause(self, why: int) -> None:
        if not self._paused:
            self._link.pause()
        self._paused |= why

    def _go_on(self, why: int) -> None:
        if self._paused & why:
            self._paused &= ~why
            if not self._paused:
                self._link.resume()

    def _rest(self, wait_s: float) -> None:
        """Do not read the socket for a while."""
        self._pause(_RATE)
        self._desk.wheel.add(self._desk.now() + wait_s, self._rested)

    def _rested(self) -> None:
        if self.gone:
            return
        self._go_on(_RATE)
        stalled, self._stalled = self._stalled, None
        if isinstance(stalled, frames.MessageSend):
            self._send(stalled)
        elif stalled is not None:
            self._in_order(stalled)
        self._desk.flush()

    # --- what conversations and the walk call ---

    @property
    def number(self) -> int | None:
        """The person's number up to which this device was told; None while it is on its first way."""
        return None if self._walk is None else self._walk.number

    def hold(self, conversation: UUID, seq: int, data: bytes) -> None:
        """A frame went by while this session walks."""
        if self._walk is not None:
            self._walk.hold(conversation, seq, data)

    def lost(self, conversation: UUID, seq: int) -> None:
        """The person was removed from a conversation."""
        if self._walk is not None:
            self._walk.lost(conversation, seq)
            self._watch_again()  # of whom one has seen by that conversation alone

    def receipt(self, conversation: UUID, user: UUID, data: bytes) -> None:
        """Somebody's cursors rose."""
        if self._walk is not None:
            self._walk.receipt(conversation, user, data)

    def answer(self, conversation: UUID, data: bytes) -> None:
        """Send an answer, after one's own entries."""
        if self._walk is not None and not self.gone:
            self._walk.answer(conversation, data)

    def go_on(self) -> None:
        """A full inbox has room again."""
        self._go_on(_INBOX)

    def look(self) -> None:
        """The person's own rows changed."""
        if self._walk is not None and not self.gone:
            self._walk.look()

    def tell_cursor(self) -> None:
        """There is a new lineage."""
        if self._walk is not None and not self.gone:
            self._walk.tell_cursor()

    def flush(self) -> None:
        """Let what was pushed leave now."""
        self._desk.flush()

    async def room(self) -> None:
        """Wait until the outbox has room for a page."""
        if self._link.outbox_bytes >= LOW_WATER_BYTES:
            self._desk.flush()
        if self._link.outbox_bytes >= LOW_WATER_BYTES:
            await by_task()  # and look again: it takes a moment
        while self._link.outbox_bytes >= LOW_WATER_BYTES:
            if self._room is None or self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()

    def online(self, partners: Sequence[UUID]) -> list[UUID]:
        """Follow these people's presence; those who are online now."""
        if self.privacy.last_seen == "nobody":
            return []
        return self._desk.presence.follow(self, [one for one in partners if one not in self.unseen])

    def hold_answers(self, waiting: int) -> None:
        """So many answers wait for the end of a walk."""
        if waiting > ANSWERS_WAITING:
            self._pause(_ANSWERS)
        elif not waiting:
            self._go_on(_ANSWERS)


_HANDLERS: Final[dict[type[frames.Command], Callable[[Session, Any], None]]] = {
    **HANDLERS,
    frames.Hello: Session._hello_again,
    frames.Ping: Session._ping,
    frames.AuthRenew: Session._renew,
    frames.Typing: Session._typing,  # a session knows who is a member
    frames.PresenceWatch: Session._watch,
}
