"""Messages that wait to be sent: bounded, in order, each with its key until the server has answered it.

No input, no output: the session asks :meth:`Outbox.take` what to send next and tells what the server answered.

What keeps one author's messages of a conversation in order
-----------------------------------------------------------
Several messages travel at once on one connection, which keeps them in order. When it ends, everything unanswered is
repeated on the next one, from the first, before anything new: the server answers a key it knows with its first answer,
so repeats do no harm, and what it does not know comes in the old order. A conversation's messages are its *lane*. An
answer that says "later" (``rate_limited``, ``unavailable``, ``internal_error``) holds the lane: nothing more of it is
sent, what is on its way is waited for, and when the time has come sending starts again at the first unanswered message.
So nothing overtakes the held one but what was on its way behind it already, and a server that answers so lets nothing
behind it pass (Konnect's closes the connection instead). ``rate_limited`` speaks of the connection and holds all lanes.
A refusal that time does not help fails its one message only.

Rejected: waiting for each answer before the next message (one round trip a message: 20 messages a second at 50 ms);
repeating only the refused message (reorders what was sent behind it).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import trio

from konnect_client.backoff import Backoff
from konnect_client.errors import ClientClosed, OutboxFull, ServerRefused
from konnect_client.journal import Journal, Kept
from konnect_client.model import KEPT, Sent
from konnect_client.pack import pack

MESSAGES: Final = 1_000
BYTES: Final = 4 * 1024 * 1024
WINDOW: Final = 16  # messages on their way at once
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
DRAFTS: Final = frozenset({"draft.set", "draft.clear"})
# Commands that change what is one's own: they keep their place and their key, and stand in no log.
OWN: Final = DRAFTS | {
    "conversation.mute", "conversation.archive", "conversation.pin", "conversation.mark_unread",
    "conversation.nickname", "conversation.folder", "conversation.notify", "message.hide",
    "thread.follow", "thread.read",
}  # fmt: skip


class Delivery(StrEnum):
    """What has become of a message."""

    PENDING = "pending"  # waits, or is on its way
    SENT = "sent"  # on the server's disk
    FAILED = "failed"  # refused for good


class Outgoing:
    """One message on its way, or another command that keeps its place among them; a handle to follow it."""

    __slots__ = (
        "_settled", "conversation", "error", "in_flight", "key", "more", "result", "size_bytes", "stopped", "t", "text",
        "tried",
    )  # fmt: skip

    def __init__(
        self, conversation: str, key: str, text: str, t: str = "message.send", more: Mapping[str, Any] = _NOTHING
    ) -> None:
        """*t* is the command's name, *more* its fields beside conversation, key and text; an empty text is left out."""
        self.conversation, self.key, self.text, self.t, self.more = conversation, key, text, t, more
        self.size_bytes = len(pack(self.command(2**53 - 1)))  # refuses what could never be sent
        self.in_flight = self.tried = False
        self.result: Sent | None = None
        self.error: ServerRefused | None = None
        self.stopped: str | None = None  # why the client closed before an answer came
        self._settled = trio.Event()

    def command(self, number: int) -> dict[str, Any]:
        """The frame that sends it."""
        said = {"text": self.text} if self.text or (self.t == "message.send" and not self.more) else {}
        return {"t": self.t, "id": number, "conversation": self.conversation, "key": self.key, **said, **self.more}

    @property
    def delivery(self) -> Delivery:
        """Pending, sent or failed."""
        if self.result is not None:
            return Delivery.SENT
        return Delivery.FAILED if self.error is not None else Delivery.PENDING

    async def wait(self) -> Sent:
        """Wait until the server has it on disk.

        Raises:
            ServerRefused: The server refused it for good; it has left the outbox.
            ClientClosed: The client stopped before an answer came. The message is still in the outbox file, if there
                is one, and is sent by the next client that opens it.
        """
        await self._settled.wait()
        if self.result is not None:
            return self.result
        if self.error is not None:
            raise self.error
        raise ClientClosed(self.stopped or "closed")

    def settle(
        self, result: Sent | None = None, error: ServerRefused | None = None, stopped: str | None = None
    ) -> None:
        """Say what became of it; wakes who waits."""
        self.result, self.error, self.stopped = result, error, stopped
        self._settled.set()


@dataclass(slots=True)
class _Lane:
    """How one conversation's waiting messages are doing."""

    waiting: int = 0
    in_flight: int = 0
    held_until: float | None = None  # None: not held
    holds: int = 0  # in a row

    def sendable(self, now: float) -> bool:
        return self.held_until is None or (self.in_flight == 0 and now >= self.held_until)


class Outbox:
    """Takes messages, hands them out in order, keeps each until it is answered."""

    def __init__(
        self,
        journal: Journal,
        backoff: Callable[[], Backoff],
        *,
        messages: int = MESSAGES,
        size_bytes: int = BYTES,
        window: int = WINDOW,
    ) -> None:
        """
        Args:
            journal: Where messages outlast a restart; what it holds is taken over first, in order.
            backoff: Makes the waiting times of a lane that is told to come later without being told when.
            messages: How many messages may wait.
            size_bytes: How many bytes, as packed frames, may wait. One message is always taken.
            window: How many messages may be on their way at once.

        Raises:
            OutboxUnwritable: The journal cannot be read or written.
        """
        self._journal, self._new_backoff = journal, backoff
        self._messages, self._bytes_limit, self._window = messages, size_bytes, window
        self._all: dict[tuple[str, str], Outgoing] = {}  # (conversation, key), in order of arrival
        self._lanes: dict[str, _Lane] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._in_flight = 0
        self._size_bytes = 0
        self._held_until = 0.0  # all lanes
        self._hold_all = backoff()
        for kept in journal.load():
            message = Outgoing(*kept)
            message.tried = True  # as far as anybody knows
            self._insert(message)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def size_bytes(self) -> int:
        """Bytes of all that waits, as packed frames."""
        return self._size_bytes

    @property
    def in_flight(self) -> int:
        """How many messages are on their way."""
        return self._in_flight

    def pending(self) -> tuple[Outgoing, ...]:
        """Everything unanswered, in order."""
        return tuple(self._all.values())

    def has_room(self, message: Outgoing) -> bool:
        """True when :meth:`add` would take it."""
        fits = self._size_bytes + message.size_bytes <= self._bytes_limit or not self._all
        return len(self._all) < self._messages and fits

    def add(self, message: Outgoing) -> None:
        """Take *message*; when this returns it is on disk, if the journal is a file (one fsync).

        Raises:
            OutboxFull: As much waits as may wait.
            OutboxUnwritable: The journal could not be written; the message was not taken.
            ValueError: The key waits already in that conversation.
        """
        if (message.conversation, message.key) in self._all:
            raise ValueError(f"key {message.key!r} waits already in conversation {message.conversation}")
        if not self.has_room(message):
            raise OutboxFull(f"{len(self._all)} messages ({self._size_bytes} bytes) wait to be sent")
        self._journal.add(Kept(message.conversation, message.key, message.text, message.t, message.more))
        if message.t in DRAFTS:
            self._supersede(message)
        self._insert(message)

    def _supersede(self, draft: Outgoing) -> None:
        """Forget older drafts of the conversation that were never sent: only the newest counts, and who writes for an
        hour without a network must not fill the outbox. One that was sent may arrive at any time, so it is repeated
        before *draft*: else it could come after it, and would stand."""
        for old in [one for one in self._all.values() if one.conversation == draft.conversation]:
            if old.t in DRAFTS and not old.tried:
                self._settle(old, self._lanes[old.conversation])
                old.settle(result=KEPT)

    def take(self, now: float) -> Outgoing | None:
        """The next message to send on this connection, or None when none may be sent now.

        Cost: one step per message that is on its way, and one per message of a held lane.
        """
        if self._in_flight >= self._window or now < self._held_until:
            return None
        if self._held_until and self._in_flight:
            return None  # told to come later: first all that is on its way, then on from the first unanswered one
        self._held_until = 0.0
        for message in self._all.values():
            if message.in_flight:
                continue
            lane = self._lanes[message.conversation]
            if not lane.sendable(now):
                continue
            lane.held_until = None
            message.in_flight = message.tried = True
            lane.in_flight += 1
            self._in_flight += 1
            return message
        return None

    def next_due(self) -> float:
        """When :meth:`take` may have something that it has not now, if nothing else happens; infinity for never."""
        if self._held_until:
            return float("inf") if self._in_flight else self._held_until
        if self._in_flight >= self._window:
            return float("inf")
        held = [lane.held_until for lane in self._lanes.values() if lane.held_until is not None and not lane.in_flight]
        return min(held, default=float("inf"))

    def accepted(self, message: Outgoing, sent: Sent) -> None:
        """The server has it on disk."""
        lane = self._landed(message)
        lane.holds = 0
        self._backoffs.pop(message.conversation, None)
        self._hold_all.reset()
        self._settle(message, lane)
        message.settle(result=sent)

    def refused(self, message: Outgoing, error: ServerRefused, now: float) -> None:
        """The server refused it: for now, which holds its lane, or for good, which fails it."""
        lane = self._landed(message)
        if not error.retryable:
            self._settle(message, lane)
            message.settle(error=error)
            return
        wish = None if error.retry_after_ms is None else error.retry_after_ms / 1000
        if error.code == "rate_limited":
            self._held_until = max(self._held_until, now + self._hold_all.delay_s(wish))
        else:
            backoff = self._backoffs.setdefault(message.conversation, self._new_backoff())
            lane.held_until = max(lane.held_until or 0.0, now + backoff.delay_s(wish))

    def connection_lost(self) -> None:
        """Nothing is on its way any more: all of it is repeated, in order, on the next connection."""
        for message in self._all.values():
            message.in_flight = False
        for lane in self._lanes.values():
            lane.in_flight = 0
        self._in_flight = 0

    def belongs_to(self, user: str) -> None:
        """Write down whose messages these are."""
        self._journal.belongs_to(user)

    def stop(self, reason: str) -> None:
        """No connection will come any more: wake who waits. The journal keeps what was not answered."""
        self.connection_lost()
        for message in self._all.values():
            message.settle(stopped=reason)
        self._journal.close()

    def _insert(self, message: Outgoing) -> None:
        self._all[message.conversation, message.key] = message
        self._lanes.setdefault(message.conversation, _Lane()).waiting += 1
        self._size_bytes += message.size_bytes

    def _landed(self, message: Outgoing) -> _Lane:
        lane = self._lanes[message.conversation]
        message.in_flight = False
        lane.in_flight -= 1
        self._in_flight -= 1
        return lane

    def _settle(self, message: Outgoing, lane: _Lane) -> None:
        del self._all[message.conversation, message.key]
        lane.waiting -= 1
        self._size_bytes -= message.size_bytes
        if not lane.waiting:
            del self._lanes[message.conversation]
            self._backoffs.pop(message.conversation, None)
        self._journal.remove(message.conversation, message.key)
