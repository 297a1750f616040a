"""Receipts on their way to disk: cursors that only rise, written at most once a second per member, newest wins."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog
import trio

from protocol import codec, limits
from protocol.errors import NotAMember, Unavailable
from protocol.frames import Cursors, ReceiptEvent
from storage.errors import StorageUnavailable
from storage.rows import Raise, Raised
from storage.store import Store

EVERY_S: Final = 1.0  # per member and conversation
GATHER_S: Final = 0.02  # what comes within it goes into one statement
BATCH_ROWS: Final = 512
GIVE_UP_S: Final = 10.0
WAITING: Final = 20_000  # commands that wait; beyond it they are answered "try later"

log = structlog.get_logger("konnect.receipts")


class Spread(msgspec.Struct, frozen=True):
    """What came of a move of cursors, for those who may know."""

    event: ReceiptEvent
    to_all: bool  # else to the person's own devices only
    hidden: bool = False  # the person hides reading
    arrived: bool = True  # the delivered cursor rose


class Asker(Protocol):
    """A session, as receipts see it."""

    user: UUID

    def push(self, data: bytes) -> None:
        """Send *data* (whole wire frames)."""


class _Pending:
    __slots__ = ("askers", "delivered", "read")

    def __init__(self) -> None:
        self.delivered = self.read = 0
        self.askers: list[tuple[Asker, int]] = []  # with the id of the command to answer


class Receipts:
    """Gathers, writes, answers, tells. ``run`` is its task; ``move`` is a plain call."""

    def __init__(
        self, store: Store, tell: Callable[[Spread], None], flush: Callable[[], None]
    ) -> None:
        """*tell*: spreads what came of a move."""
        self._store, self._tell, self._flush = store, tell, flush
        self._pending: dict[tuple[UUID, UUID], _Pending] = {}
        self._written: dict[tuple[UUID, UUID], float] = {}  # when, in that order; forgotten after EVERY_S
        self._waiting = 0
        self._writing = False
        self._work = trio.Event()

    def move(self, asker: Asker, command_id: int, conversation: UUID, delivered: int, read: int) -> None:
        """Raise the asker's cursors. The answer comes when they are on disk."""
        if self._waiting >= WAITING:
            asker.push(codec.error(command_id, Unavailable("too many receipts wait to be stored")))
            return
        self._waiting += 1
        pending = self._pending.setdefault((conversation, asker.user), _Pending())
        pending.delivered = max(pending.delivered, delivered, read)
        pending.read = max(pending.read, read)
        pending.askers.append((asker, command_id))
        self._work.set()

    @property
    def quiet(self) -> bool:
        """Nothing waits to be written, and nothing is being written."""
        return not (self._pending or self._writing)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            await trio.sleep(GATHER_S)
            due = self._take(trio.current_time())
            if due:
                self._writing = True
                await self._write(due)
                self._writing = False
            if not self._pending:
                self._work = trio.Event()

    def _take(self, now: float) -> list[tuple[tuple[UUID, UUID], _Pending]]:
        for who, at in list(self._written.items()):
            if at + EVERY_S > now:
                break
            del self._written[who]
        ready = [who for who in self._pending if who not in self._written][:BATCH_ROWS]
        for who in ready:
            self._written[who] = now
        due = [(who, self._pending.pop(who)) for who in ready]
        self._waiting -= sum(len(pending.askers) for _, pending in due)
        return due

    async def _write(self, due: Sequence[tuple[tuple[UUID, UUID], _Pending]]) -> None:
        moves = [Raise(conversation, user, pending.delivered, pending.read) for (conversation, user), pending in due]
        give_up_at = trio.current_time() + GIVE_UP_S
        while True:
            try:
                outcome = await self._store.raise_receipts(moves)
            except StorageUnavailable as problem:
                log.warning("storage does not answer", problem=str(problem))
                if trio.current_time() > give_up_at:
                    for _, pending in due:
                        for asker, command_id in pending.askers:
                            asker.push(codec.error(command_id, Unavailable("the receipt could not be stored")))
                    break
                await trio.sleep(0.5)
            else:
                for ((conversation, user), pending), raised in zip(due, outcome, strict=True):
                    self._finish(conversation, user, pending, raised)
                break
        self._flush()

    def _finish(self, conversation: UUID, user: UUID, pending: _Pending, raised: Raised) -> None:
        if raised.rose:
            event = ReceiptEvent(conversation=conversation, user=user, delivered=raised.delivered, read=raised.read)
            self._tell(Spread(event, raised.members <= limits.NAMED_MEMBERS, raised.hidden, raised.arrived))
        for asker, command_id in pending.askers:
            if raised.member:
                asker.push(codec.ok(command_id, Cursors(raised.delivered, raised.read)))
            else:
                asker.push(codec.error(command_id, NotAMember(user, conversation)))
