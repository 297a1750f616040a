"""One user's phone in the crowd: what it keeps over its drops, what it answers, what it sends by itself.

It keeps what docs/protocol.md tells a client to keep: heads, cursor, and what is not acknowledged, which is sent again
in the same order with the same keys after each ``hello``. While somebody looks at one conversation, its entries are
read; those of the others are delivered. Either is told two seconds after the first entry that it speaks of, with the
newest number and with one receipt of a conversation on its way at a time, as a phone does that spares its battery.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import msgspec

from bench.crowd_ledger import Ledger, Message
from bench.crowd_link import BINARY, CLOSE, PING, PONG, Link, LinkEnded

DEVICE: Final = "bench"
RECEIPT_AFTER_S: Final = 2.0
LOOKS_FOR_S: Final = 30.0  # on average, before another conversation is looked at
SAMPLE: Final = 64  # one in so many live entries is decoded whole and compared; of those caught up with, all are


class Heard(msgspec.Struct, gc=False):
    """A frame of the server's, as far as each is decoded; fields that it does not have are empty."""

    t: str
    id: int | None = None
    conversation: str = ""
    seq: int = 0
    head: int = 0
    key: str = ""
    author: str = ""
    cursor: str = ""
    code: str = ""
    message: str = ""
    result: msgspec.Raw = msgspec.Raw()


class Stored(msgspec.Struct, gc=False):
    """The part of an acknowledgement that counts."""

    seq: int


_heard: Final = msgspec.msgpack.Decoder(Heard)
_stored: Final = msgspec.msgpack.Decoder(Stored)
_pack: Final = msgspec.msgpack.Encoder().encode


class House(Protocol):
    """What a phone asks of the crowd."""

    ledger: Ledger
    counts: "Counts"
    random: Random

    def now(self) -> float:
        """The monotonic clock, in seconds."""

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Call *what* in *seconds* from now."""

    def dirty(self, phone: "Phone") -> None:
        """The phone's link has something to send."""

    def synced(self, phone: "Phone") -> None:
        """The phone has everything."""


@dataclass(slots=True)
class Counts:
    """What went through all phones. ``measured``: only then entries count for latency and rates."""

    measured: bool = False
    sent: int = 0
    events: dict[str, int] = field(default_factory=dict)  # by frame type, whatever came besides entries
    asked: dict[str, int] = field(default_factory=dict)  # commands by type
    errors: int = 0
    first_error: str = ""
    sampled: int = 0


@dataclass(slots=True)
class _Receipt:
    """One's own cursors in a conversation: how far they may be told, were told, and whether a telling is under way."""

    delivered: int = 0
    read: int = 0
    told: tuple[int, int] = (0, 0)
    waits: bool = False
    under_way: bool = False


class Phone:
    """See the module. ``link`` is None while it is away."""

    def __init__(self, house: House, user: str, token: str, conversations: list[str]) -> None:
        self._house, self.user, self._token, self.conversations = house, user, token, conversations
        self.link: Link | None = None
        self.live = False
        self.heads: dict[str, int] = {}
        self.outbox: dict[str, Message] = {}
        self._cursor: str | None = None
        self._known = frozenset(conversations)
        self._front = house.random.choice(conversations) if conversations else ""
        self._receipts = {conversation: _Receipt() for conversation in conversations}
        self._asked: dict[int, tuple[str, str]] = {}  # id -> command, and the key or conversation that it is about
        self._next_id = 0

    # --- Connections --------------------------------------------------------------------------------------------------

    def connected(self, link: Link) -> None:
        """A new connection is being made."""
        self.link, self.live = link, False
        self._asked, self._next_id = {}, 0

    def disconnected(self) -> None:
        """The connection is over. What became of what was under way is not known, and it is told again."""
        self.link, self.live = None, False
        for message in self.outbox.values():
            message.undisturbed = False
        for receipt in self._receipts.values():
            if receipt.under_way:
                receipt.under_way, receipt.told = False, (0, 0)

    def readable(self) -> None:
        """Handle what has come.

        Raises:
            LinkEnded: The connection is over, by the server's close frame or without one.
        """
        link = self.link
        assert link is not None
        fresh = not link.upgraded
        frames = link.receive()
        if fresh and link.upgraded:
            self._say_hello()
        now = self._house.now()
        for first, payload in frames:
            if first == BINARY:
                self._heard(payload, now)
            elif first == PING:
                link.push(payload, PONG)
                self._house.dirty(self)
            elif first == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                raise LinkEnded(f"{code} {payload[2:].decode(errors='replace')}".rstrip())
            elif first != PONG:
                raise LinkEnded(f"a frame that cannot be: first byte {first:02x}")

    # --- What is sent -------------------------------------------------------------------------------------------------

    def say(self, message: Message) -> None:
        """Send *message*, now or when it is back; acknowledged or not, it is the outbox's until then."""
        self.outbox[message.key] = message
        self._house.ledger.said(message)
        self._house.counts.sent += self._house.counts.measured
        if self.live:
            self._send(message)
        else:
            message.undisturbed = False

    def type(self, conversation: str) -> None:
        """Tell that one is typing, if connected."""
        if self.live:
            self._ask("typing", "", conversation=conversation)

    def look_elsewhere(self) -> None:
        """Turn to another of one's conversations, which is read at once and whose members are watched."""
        self._house.later(self._house.random.expovariate(1 / LOOKS_FOR_S), self.look_elsewhere)
        if len(self.conversations) > 1:
            self._front = self._house.random.choice(self.conversations)
            if self.live:
                self._watch()
                self._raise(self._front, self.heads.get(self._front, 0), 0.0)

    def _say_hello(self) -> None:
        hello: dict[str, Any] = {"token": self._token, "device": DEVICE, "heads": self.heads, "recent": 0}
        if self._cursor is not None:
            hello["cursor"] = self._cursor
        self._ask("hello", "", **hello)

    def _send(self, message: Message) -> None:
        self._ask(
            "message.send", message.key, conversation=message.conversation, key=message.key, text=message.text
        )  # fmt: skip

    def _watch(self) -> None:
        if self._front:
            self._ask("presence.watch", "", conversation=self._front)

    def _ask(self, command: str, about: str, **fields: Any) -> None:
        assert self.link is not None
        number, self._next_id = self._next_id, self._next_id + 1
        self._asked[number] = command, about
        asked = self._house.counts.asked
        asked[command] = asked.get(command, 0) + 1
        self.link.push(_pack({"t": command, "id": number, **fields}))
        self._house.dirty(self)

    # --- Receipts -----------------------------------------------------------------------------------------------------

    def _raise(self, conversation: str, seq: int, after_s: float = RECEIPT_AFTER_S) -> None:
        """Everything up to *seq* is here, and read if it is looked at: tell so soon."""
        receipt = self._receipts[conversation]
        receipt.delivered = max(receipt.delivered, seq)
        if conversation == self._front:
            receipt.read = receipt.delivered
        if not receipt.waits and not receipt.under_way and (receipt.delivered, receipt.read) != receipt.told:
            receipt.waits = True
            self._house.later(after_s, lambda: self._tell_receipt(conversation))

    def _tell_receipt(self, conversation: str) -> None:
        receipt = self._receipts[conversation]
        receipt.waits = False
        if self.live and not receipt.under_way:
            receipt.under_way, receipt.told = True, (receipt.delivered, receipt.read)
            self._ask(
                "receipt", conversation, conversation=conversation, delivered=receipt.delivered, read=receipt.read
            )  # fmt: skip

    # --- What is heard ------------------------------------------------------------------------------------------------

    def _heard(self, payload: bytes, now: float) -> None:
        frame = _heard.decode(payload)
        match frame.t:
            case "entry":
                self._entry(frame, payload, now)
                return
            case "ok":
                self._ok(frame, now)
                return
            case "error":
                self._error(frame)
                return
            case "synced":
                self._cursor, self.live = frame.cursor, True
                self._watch()
                self._house.synced(self)
            case "progress" | "cursor":
                self._cursor = frame.cursor
            case "conversation":
                self._conversation(frame)
            case "rewound":
                self._house.ledger.blame("altered", f"{self.user} was told that the database went back")
        events = self._house.counts.events
        events[frame.t] = events.get(frame.t, 0) + 1

    def _entry(self, frame: Heard, payload: bytes, now: float) -> None:
        house, conversation = self._house, frame.conversation
        ledger = house.ledger
        head = ledger.seen(self.user, conversation, self.heads.get(conversation), frame.seq, frame.key)
        if conversation not in self._known:
            return
        self.heads[conversation] = head
        message = ledger.messages.get(frame.key)
        if house.counts.measured:
            if not self.live:
                ledger.caught_up += 1
                self._compare(payload, message)
            else:
                ledger.live += 1
                if message is not None and message.undisturbed:
                    ledger.delivery.note(now - message.due)
                if not ledger.live % SAMPLE:
                    self._compare(payload, message)
        if frame.author != self.user:
            self._raise(conversation, head)

    def _compare(self, payload: bytes, message: Message | None) -> None:
        """Decode an entry whole, as a phone in another language would, and hold it against what was sent."""
        self._house.counts.sampled += 1
        whole = msgpack.unpackb(payload)
        said = (whole["kind"], whole["author"], whole.get("text"))
        if message is not None and said != ("message", message.author, message.text):
            self._house.ledger.blame("altered", f"{self.user} got {said} for {message}")

    def _ok(self, frame: Heard, now: float) -> None:
        command, about = self._asked.pop(frame.id if frame.id is not None else -1, ("", ""))
        match command:
            case "message.send":
                message, ledger = self.outbox.pop(about), self._house.ledger
                first = ledger.answered(message, _stored.decode(frame.result).seq)
                if first and message.undisturbed and self._house.counts.measured:
                    ledger.ack.note(now - message.due)
            case "receipt":
                receipt = self._receipts[about]
                receipt.under_way = False
                self._raise(about, 0)
            case "hello":
                for message in self.outbox.values():
                    self._send(message)
            case "":
                self._house.ledger.blame("foreign", f"{self.user} got an answer to {frame.id}, which it did not ask")

    def _error(self, frame: Heard) -> None:
        command, about = self._asked.pop(frame.id if frame.id is not None else -1, ("", ""))
        counts = self._house.counts
        counts.errors += 1
        counts.first_error = counts.first_error or f"{command}: {frame.code}: {frame.message}"
        if command == "receipt":
            self._receipts[about].under_way = False

    def _conversation(self, frame: Heard) -> None:
        conversation = frame.conversation
        if conversation not in self._known:
            self._house.ledger.blame("foreign", f"{self.user} was told of {conversation}, which is not its own")
        elif conversation in self.heads:
            self._house.ledger.blame("lost", f"{self.user} was told of {conversation} anew instead of what it missed")
        self.heads[conversation] = frame.head
