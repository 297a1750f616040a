"""One connection, without input or output: which frame goes out next, and what each frame that comes in means.

``next_frame`` is asked by the writer, ``receive`` is told by the reader. Order of sending: hello alone until it is
answered; then what keeps the connection (ping, token), commands, receipts, messages.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from konnect_client.calls import Call, Calls
from konnect_client.errors import NotOpen, ProtocolViolation, ServerRefused
from konnect_client.events import AnyEvent, Synced
from konnect_client.heads import Heads
from konnect_client.liveness import Pulse
from konnect_client.model import KEPT, Sent, take, take_maybe
from konnect_client.outbox import OWN, Outbox, Outgoing
from konnect_client.pack import pack, unpack
from konnect_client.receipts import Moving, Receipts
from konnect_client.timeline import Timeline

Result = Mapping[str, Any]
NEVER: Final = float("inf")


def _always() -> bool:
    return True


class Asked(NamedTuple):
    """A command that is on its way."""

    at: float
    accepted: Callable[[Result], None]
    refused: Callable[[ServerRefused, float], None]


class Session:
    """What one connection has asked and still has to say."""

    def __init__(self, outbox: Outbox, calls: Calls, receipts: Receipts, heads: Heads, now: float) -> None:
        self._outbox, self._calls, self._receipts = outbox, calls, receipts
        self._timeline = Timeline(heads)
        self._began = self._last_heard = now
        self._asked: dict[int, Asked] = {}  # by number, so in the order of asking
        self._number = 0
        self._first: deque[Call] = deque()  # pings and tokens, before they are sent
        self._first_asked: dict[Call, None] = {}  # and after
        self.user: str | None = None  # who one is, once hello was answered
        self.synced = False
        self.refusal: ServerRefused | None = None  # of hello

    @property
    def opened(self) -> bool:
        """True once hello was answered with ok."""
        return self.user is not None

    @property
    def pulse(self) -> Pulse:
        """What there is to judge its life by."""
        oldest = next(iter(self._asked.values())).at if self._asked else None
        pinged = any(call.command["t"] == "ping" for call in (*self._first, *self._first_asked))
        return Pulse(self._began, self._last_heard, self.opened, pinged, oldest)

    def hello(self, token: str, device: str, recent: int, now: float) -> bytes:
        """The first frame."""
        heads = self._timeline.heads
        command: dict[str, Any] = {
            "t": "hello", "token": token, "device": device, "heads": heads.for_hello(), "recent": recent,
        }  # fmt: skip
        if heads.cursor is not None:
            command["cursor"] = heads.cursor
        return self._ask(command, self._welcome, self._refuse_hello, now)

    def ask_first(self, call: Call) -> None:
        """Send *call*, a ping or a token, before anything else, on this connection or not at all."""
        self._first.append(call)

    def next_frame(self, now: float) -> bytes | None:
        """What to send now, or None."""
        if not self.opened:
            return None
        if self._first:
            call = self._first.popleft()
            self._first_asked[call] = None
            return self._ask(call.command, partial(self._first_accepted, call), partial(self._first_refused, call), now)
        if (again := self._calls.take(now)) is not None:
            return self._ask(
                again.command, partial(self._calls.accepted, again), partial(self._calls.refused, again), now
            )
        if (moving := self._receipts.take(now)) is not None:
            return self._ask(
                moving.command(0), partial(self._receipt_stored, moving), partial(self._receipts.refused, moving), now
            )
        if (message := self._outbox.take(now)) is not None:
            return self._ask(
                message.command(0), partial(self._message_stored, message), partial(self._outbox.refused, message), now
            )
        return None

    def next_due(self) -> float:
        """When :meth:`next_frame` may have something though nothing happened meanwhile; infinity for never."""
        if not self.opened:
            return NEVER
        return min(self._calls.next_due(), self._receipts.next_due(), self._outbox.next_due())

    def receive(self, payload: bytes, now: float, listens: Callable[[], bool] = _always) -> tuple[AnyEvent, ...]:
        """Take in one message; returns what it tells that is new.

        Args:
            payload: The message's bytes.
            now: The time, in seconds.
            listens: Asked when it is an event: False lets it go by unseen, with all heads and the cursor unmoved.

        Raises:
            ProtocolViolation: The protocol does not allow it; nothing was applied.
        """
        self._last_heard = now
        frame = unpack(payload)
        kind = take(frame, "t", str)
        if kind == "ok":
            asked = self._asked_as(take(frame, "id", int))
            asked.accepted(take(frame, "result", dict))
        elif kind == "error":
            error = ServerRefused(
                take(frame, "code", str), take(frame, "message", str), take_maybe(frame, "retry_after_ms", int)
            )
            number = take_maybe(frame, "id", int)
            if number is None:
                raise ProtocolViolation(f"the server could not read a command: {error}")
            self._asked_as(number).refused(error, now)
        elif not self.opened:
            raise ProtocolViolation(f"event {kind!r} before the answer to hello")
        elif listens():
            events = self._timeline.apply(frame)
            self.synced = self.synced or any(isinstance(event, Synced) for event in events)
            return events
        return ()

    def over(self) -> None:
        """The connection has ended: what is unanswered goes back to where it waits."""
        self._asked.clear()
        for call in (*self._first_asked, *self._first):
            call.settle(error=NotOpen("the connection ended before the answer came"))
        self._first_asked.clear()
        self._first.clear()
        self._outbox.connection_lost()
        self._calls.connection_lost()
        self._receipts.connection_lost()

    def _ask(
        self,
        command: Mapping[str, Any],
        accepted: Callable[[Result], None],
        refused: Callable[[ServerRefused, float], None],
        now: float,
    ) -> bytes:
        self._number += 1
        self._asked[self._number] = Asked(now, accepted, refused)
        return pack({**command, "id": self._number})

    def _asked_as(self, number: int) -> Asked:
        asked = self._asked.pop(number, None)
        if asked is None:
            raise ProtocolViolation(f"an answer to command {number}, which does not wait for one")
        return asked

    def _welcome(self, result: Result) -> None:
        self.user = take(result, "user", str)

    def _refuse_hello(self, error: ServerRefused, now: float) -> None:
        self.refusal = error

    def _first_accepted(self, call: Call, result: Result) -> None:
        self._first_asked.pop(call, None)
        call.settle(result=result)

    def _first_refused(self, call: Call, error: ServerRefused, now: float) -> None:
        self._first_asked.pop(call, None)
        call.settle(error=error)

    def _receipt_stored(self, moving: Moving, result: Result) -> None:
        self._receipts.accepted(moving)

    def _message_stored(self, message: Outgoing, result: Result) -> None:
        self._outbox.accepted(message, KEPT if message.t in OWN else Sent.parse(result))
