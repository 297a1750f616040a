"""A client written from the protocol's text alone, apart from ``konnect_client``: strict where an SDK forgives.

An SDK drops what it has seen before; this one says that the server is wrong. It has no tasks: the network calls it, and
so does the agenda. What it keeps over a restart is a ``Kept``, which it may also find again in an older version.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import msgspec
import trio

from konnect_server import cursor as cursors
from tests.simulate import websocket
from tests.simulate.agenda import Agenda
from tests.simulate.kept import Asked, Frame, Kept, Known, Queued
from tests.simulate.network import Pipe
from tests.simulate.truth import Truth, Violation
from tests.simulate.websocket import BINARY, CLOSE, PING, PONG, Framer, frame

PATIENCE_S: Final = 7.0  # of silence, then the connection is given up
SHORT_S: Final = 60.0  # a token that lasts less may end on its way
WINDOW: Final = 8  # commands of the outbox that may be unanswered at once

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode

# Errors that a command may get from a server that works, besides those that only a full disk of ours would explain.
_TRY_LATER: Final = ("rate_limited", "unavailable")
_ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "message.send": ("not_a_member", "unknown_message", "message_deleted", "slow_mode", "in_a_thread", "forbidden"),
    "thread.list": ("not_a_member", *_TRY_LATER),
    "thread.history": ("not_a_member", "unknown_message", "in_a_thread", *_TRY_LATER),
    "thread.follow": ("not_a_member", "unknown_message", "in_a_thread"),
    "thread.read": ("not_a_member", "unknown_message", "in_a_thread"),
    "conversation.title": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "conversation.topic": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "conversation.slow_mode": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "conversation.add": (
        "not_a_member", "already_a_member", "conversation_full", "wrong_kind", "banned", "forbidden", "rate_limited",
    ),
    "room.join": ("not_found", "already_a_member", "banned", "conversation_full", "rate_limited"),
    "room.leave": ("not_a_member", "wrong_kind", "rate_limited"),
    "room.list": _TRY_LATER,
    "room.online": ("not_a_member", *_TRY_LATER),
    "member.list": ("not_a_member", *_TRY_LATER),
    "link.create": ("not_a_member", "forbidden", "wrong_kind", "too_many_links", "invalid", *_TRY_LATER),
    "link.list": ("not_a_member", "forbidden", *_TRY_LATER),
    "link.revoke": ("not_a_member", "forbidden", "unknown_link", *_TRY_LATER),
    "link.preview": ("unknown_link", "link_over", "banned", *_TRY_LATER),
    "link.join": (
        "unknown_link", "link_over", "already_a_member", "banned", "conversation_full", "too_many_requests",
        *_TRY_LATER,
    ),
    "request.list": ("not_a_member", "forbidden", *_TRY_LATER),
    "request.answer": (
        "not_a_member", "forbidden", "unknown_request", "banned", "conversation_full", "rate_limited",
    ),
    "privacy.set": (),
    "privacy.get": _TRY_LATER,
    "presence.get": _TRY_LATER,
    "message.readers": ("not_a_member", "unknown_message", *_TRY_LATER),
    "conversation.remove": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "conversation.leave": ("not_a_member", "wrong_kind", "rate_limited"),
    "message.edit": ("not_a_member", "unknown_message", "message_deleted", "forbidden", "too_late", "rate_limited"),
    "message.delete": ("not_a_member", "unknown_message", "forbidden", "rate_limited"),
    "message.react": ("not_a_member", "unknown_message", "message_deleted", "too_many_reactions", "rate_limited"),
    "message.forward": (  # invalid: of a poll
        "not_a_member", "unknown_message", "message_deleted", "invalid", "slow_mode", "forbidden", "rate_limited",
    ),
    "message.pin": (
        "not_a_member", "unknown_message", "message_deleted", "forbidden", "too_many_pins", "rate_limited",
    ),
    "message.edits": ("not_a_member", "unknown_message", *_TRY_LATER),
    "message.reactions": ("not_a_member", "unknown_message", *_TRY_LATER),
    "message.schedule": ("not_a_member", "too_many_scheduled", *_TRY_LATER),
    "conversation.retention": ("not_a_member", "forbidden", "rate_limited"),
    "poll.create": ("not_a_member", "slow_mode", "forbidden", "rate_limited"),
    "poll.vote": (
        "not_a_member", "unknown_message", "message_deleted", "unknown_poll", "poll_closed", "invalid", "rate_limited",
    ),
    "poll.close": ("not_a_member", "unknown_message", "message_deleted", "unknown_poll", "forbidden", "rate_limited"),
    "poll.voters": ("not_a_member", "unknown_message", "unknown_poll", *_TRY_LATER),
    "message.unschedule": ("unknown_scheduled", "too_late", *_TRY_LATER),
    "message.scheduled": _TRY_LATER,
    "conversation.create": ("conversation_full", *_TRY_LATER),
    "conversation.direct": _TRY_LATER,
    "conversation.get": ("not_a_member", *_TRY_LATER),
    "conversation.list": _TRY_LATER,
    "history": ("not_a_member", *_TRY_LATER),
    "receipt": ("not_a_member", *_TRY_LATER),
    "typing": ("not_a_member", "rate_limited"),
    "presence.watch": ("not_a_member", *_TRY_LATER),
    "user.get": _TRY_LATER,
    # What is one's own is carried out in order: never too fast, never to be tried later.
    "draft.set": ("not_a_member",),
    "draft.clear": ("not_a_member",),
    "conversation.mute": ("not_a_member",),
    "conversation.archive": ("not_a_member",),
    "conversation.pin": ("not_a_member", "too_many"),
    "conversation.mark_unread": ("not_a_member",),
    "conversation.nickname": ("not_a_member",),
    "conversation.folder": ("not_a_member",),
    "conversation.notify": ("not_a_member",),
    "message.hide": ("not_a_member", "unknown_message"),
    "member.role": ("not_a_member", "forbidden", "wrong_kind", "too_many_admins", "rate_limited"),
    "conversation.handover": ("not_a_member", "forbidden", "wrong_kind", "too_many_admins", "rate_limited"),
    "member.ban": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "member.unban": ("not_a_member", "forbidden", "wrong_kind", "rate_limited"),
    "member.bans": ("not_a_member", "forbidden", *_TRY_LATER),
    "ping": ("rate_limited",),
    "auth.renew": ("unauthorized", "rate_limited"),
}

_STORED: Final = frozenset(
    (
        "message.send", "message.edit", "message.delete", "message.react",
        "conversation.add", "conversation.remove", "conversation.leave", "conversation.retention",
        "poll.create", "poll.vote", "poll.close",
        "message.forward", "message.pin",
        "member.role", "conversation.handover", "member.ban", "member.unban",
        "conversation.title", "conversation.topic", "conversation.slow_mode",
        "room.join", "room.leave", "request.answer",
    )
)  # fmt: skip


_OWN: Final = frozenset(
    (
        "draft.set", "draft.clear", "conversation.mute", "conversation.archive", "conversation.pin",
        "conversation.mark_unread", "conversation.nickname", "conversation.folder", "conversation.notify",
        "message.hide",
        "thread.follow", "thread.read",
    )
)  # fmt: skip


class Town(Protocol):
    """What a client needs of the world around it."""

    agenda: Agenda
    truth: Truth
    may_rewind: bool  # the database was restored from an older copy

    def connect(self, device: "Device") -> Pipe | None:
        """A new connection to some process; None when nobody listens."""

    def token(self, device: "Device") -> str:
        """A fresh access token."""

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace."""

    def pass_on(self, code: str) -> None:
        """A link was made: others hear of its code."""

    def turned(self, device: "Device") -> None:
        """*device* was told that a switch of its person's privacy was turned."""


COUNTED: Final = ("room", "channel")  # whose members are counted, and not listed
_SHARED: Final[Frame] = {  # what a conversation's state says for all -> unless it says something
    "title": None, "topic": None, "history": "all", "retention_s": None, "slow_mode_s": 0, "tags": [], "public": False,
    "member_count": 0, "pins": [], "closed": False,
}  # fmt: skip


class Device:
    """One device of one person."""

    def __init__(self, town: Town, person: UUID, name: str, rng: Random) -> None:
        self.town, self.person, self.rng = town, person, rng
        self.me = str(person)
        self.name = name
        self.kept = Kept(name)
        self.pipe: Pipe | None = None
        self.state: Literal["away", "connecting", "hello", "walking", "live"] = "away"
        self.eager = rng.randrange(3)  # commands go: 0 after synced, 1 after hello's ok, 2 right behind hello
        self.sign_in = UUID(int=rng.getrandbits(128))
        self.signed_out = False  # somewhere, and we may not know
        self.token_s = 900.0
        self.recent = rng.choice((0, 1, 1, 5))
        self.retired = False  # connects no more
        self.synced_count = 0
        self.backoff = 0
        self.on_synced: Callable[[], None] | None = None
        self.last_error: str | None = None
        self._orders: dict[str, list[tuple[int, str]]] = {}  # conversation -> (ms, key) of what was written there
        self._drafts: dict[str, list[str]] = {}  # conversation -> keys of the drafts that were written there
        self.scheduled: list[str] = []  # ids of scheduled messages that were answered
        self.rooms: list[str] = []  # that were found
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        """What belongs to one connection."""
        self._framer = Framer()
        self._pending: dict[int, Asked] = {}  # by id
        self._id = 0
        self._sent: dict[int, Queued] = {}  # by id: what of the outbox went on this connection and is unanswered
        self._cursors: dict[str, tuple[int, int]] = {}  # as answered to receipts
        self._expected: dict[str, tuple[int, int]] = {}  # at hello: conversation -> joined, last_seq
        self._online: dict[str, bool] = {}
        self._heard_at = 0.0
        self._short = False  # the token of this connection's hello
        self.lineage: UUID | None = None  # that the newest cursor of this connection names
        self._told = (0, 0, 0)  # number, receipts_ms and rows of the last cursor
        self._rewound = False

    # --- what goes wrong ---

    def wrong(self, what: str, *details: Any) -> Violation:
        """A broken promise, with who saw it."""
        self.town.say(self.name, "VIOLATION " + what, *details)
        return Violation(f"{self.name} ({self.me}): {what} {' '.join(map(str, details))}")

    # --- connecting ---

    def connect(self) -> None:
        """Open a connection, unless there is one."""
        if self.state != "away" or self.retired:
            return
        self._begin()
        self.state = "connecting"
        self.pipe = self.town.connect(self)
        if self.pipe is None:
            self.state = "away"
            self.come_back()
        else:
            self.town.agenda.after(PATIENCE_S, self._impatient, self.pipe)

    def come_back(self) -> None:
        """Connect again after a while."""
        self.backoff += 1
        self.town.agenda.after(self.rng.random() * min(0.4 * self.backoff, 3.0), self.connect)

    def _impatient(self, pipe: Pipe) -> None:
        if pipe is not self.pipe:
            return
        silent = trio.current_time() - self._heard_at
        if self.state != "live" or silent > PATIENCE_S:
            self.drop()
        else:
            self.town.agenda.after(PATIENCE_S, self._impatient, pipe)

    def drop(self, how: Literal["reset", "close", "vanish"] = "reset", back: bool = True) -> None:
        """End the connection from our side."""
        pipe, self.pipe = self.pipe, None
        self.state = "away"
        if pipe is not None:
            self.town.say(self.name, "drops", how)
            pipe.over = True  # we do not listen any more
            if how == "reset":
                pipe.reset()
            elif how == "close":
                pipe.send(frame(CLOSE, (1000).to_bytes(2, "big"), self.rng))
                pipe.close()
            else:
                pipe.vanish()
        if back:
            self.come_back()

    def restart(self, kept: Kept | None, back: bool = True) -> None:
        """The program ends at once, and starts again with what it kept, or as a fresh device (None)."""
        self.drop(self.rng.choice(("reset", "vanish")), back=False)
        if kept is None:
            self._count += 1
            kept = Kept(f"{self.name}/{self._count}")
        self.kept = kept.copy()
        self._forget_unsent()
        if back:
            self.come_back()

    def _forget_unsent(self) -> None:
        """What an older copy of the outbox does not know may still be stored, any time, or not."""
        left = {queued.fields.get("key") for queued in self.kept.outbox}
        known = self.town.truth.acknowledged
        for conversation, orders in self._orders.items():
            orders[:] = [one for one in orders if one[1] in left or (conversation, self.me, one[1]) in known]
        kept = self.town.truth.kept
        for conversation, keys in self._drafts.items():
            keys[:] = [one for one in keys if one in left or (self.person, conversation, one) in kept]

    # --- the network's calls ---

    def opened(self) -> None:
        """The connection stands."""
        assert self.pipe is not None
        self.pipe.send(websocket.REQUEST)

    def data(self, data: bytes) -> None:
        """Bytes came."""
        self._heard_at = trio.current_time()
        pipe = self.pipe
        was_up = self._framer.upgraded
        try:
            messages = self._framer.feed(data)
        except websocket.BadServer as problem:
            if "503" in str(problem):
                self.drop()
                return
            raise self.wrong("the server broke the WebSocket", problem) from problem
        if self._framer.upgraded and not was_up:
            self._hello()
        for opcode, payload in messages:
            if opcode == BINARY:
                self._receive(_decode(payload))
            elif opcode == PING:
                assert self.pipe is not None
                self.pipe.send(frame(PONG, payload, self.rng))
            elif opcode == CLOSE:
                self._closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())
            elif opcode != PONG:
                raise self.wrong("a message with opcode", opcode)
            if self.pipe is not pipe:
                return  # what we just did ended it

    def ended(self) -> None:
        """The connection is over."""
        self.town.say(self.name, "lost its connection")
        self.pipe = None
        self.state = "away"
        self.come_back()

    def _closed(self, code: int, reason: str) -> None:
        self.town.say(self.name, "was closed", code, reason)
        if code == 1000:
            return
        if code == 4502 or (code == 4501 and (self.signed_out or self._short)):
            self._sign_in()  # the sign-in ended, or the token did on its way
        elif not 4000 <= code < 4500 or reason in ("crashed", "flood", "hello_timeout"):
            raise self.wrong("the newest socket of a good client was closed with", code, reason)
        self.drop("close")

    def _sign_in(self) -> None:
        self.sign_in = UUID(int=self.rng.getrandbits(128))
        self.signed_out = False

    # --- sending ---

    def command(self, t: str, fields: Frame, queued: Queued | None = None) -> None:
        """Send a command now."""
        assert self.pipe is not None
        self._id += 1
        conversation = fields.get("conversation")
        joined = None if conversation is None else self.town.truth.member_since(self.person, conversation)
        self._pending[self._id] = asked = Asked(t, fields, queued, joined, told=self._told[2])
        truth = self.town.truth
        if t in ("conversation.create", "conversation.direct"):
            asked.places = {one: truth.member_since(self.person, one) for one in truth.memberships(self.person)}
        elif t in ("room.list", "member.list"):
            asked.tops = {str(one): row.last_seq for one, row in truth.tables.conversations.items()}
        elif t in ("presence.get", "presence.watch", "room.online", "message.readers"):
            asked.hidden = truth.hidden_from(self.person, "read_receipts" if t == "message.readers" else "last_seen")
        elif t == "receipt":
            truth.secrecy.asks(self.person, truth.id(fields["conversation"]), fields["read"])
        if queued is not None:
            queued.tries += 1
            self._sent[self._id] = queued
        self.town.say(self.name, "sends", t, self._id, fields)
        self.pipe.send(frame(BINARY, _encode({"t": t, "id": self._id, **fields}), self.rng))

    def queue(self, t: str, **fields: Any) -> None:
        """Want something durable: it is sent until it is answered, in order."""
        self.kept.outbox.append(Queued(t, fields))
        if t == "message.send":
            orders = self._orders.setdefault(fields["conversation"], [])
            orders.append((self.town.truth.database.now_ms(), fields["key"]))
        elif t.startswith("draft."):
            self._drafts.setdefault(fields["conversation"], []).append(fields["key"])
        self.flush()

    def flush(self) -> None:
        """Send of the outbox what may go, in order."""
        eager = {"live": 0, "walking": 1, "hello": 2}.get(self.state, 3)
        if self.eager < eager:
            return
        for queued in self.kept.outbox:
            if len(self._sent) >= WINDOW:
                break
            if not any(queued is one for one in self._sent.values()):
                self.command(queued.t, queued.fields, queued)

    def _hello(self) -> None:
        kept, truth = self.kept, self.town.truth
        self.state = "hello"
        self._expected = {
            conversation: (truth.member_since(self.person, conversation) or 0, last)
            for conversation, last in truth.memberships(self.person).items()
        }
        self._short = self.token_s < SHORT_S
        fields: Frame = {"token": self.town.token(self), "device": kept.device, "recent": self.recent}
        if kept.cursor is not None:
            fields["cursor"] = kept.cursor
        fields["heads"] = {conversation: known.head for conversation, known in kept.conversations.items()}
        if kept.cursor is not None:
            cursor = cursors.decode(kept.cursor)
            self._told = cursor.number, cursor.receipts_ms, cursor.rows
        self.command("hello", fields)
        self.flush()

    # --- receiving ---

    def _receive(self, got: Frame) -> None:
        self.town.say(self.name, "got", got)
        t = got["t"]
        if t == "ok" or t == "error":
            self._answered(got)
        elif self.state in ("connecting", "hello"):
            raise self.wrong("an event before hello's answer:", got)
        elif t in ("entry", "conversation", "state") and self.lineage is None:
            raise self.wrong("something to keep before a cursor that names the server's lineage:", got)
        elif t == "entry":
            self._entry(got)
        elif t == "conversation":
            self._conversation(got)
        elif t in ("progress", "synced", "cursor"):
            self._cursor(t, got["cursor"])
        elif t == "receipt":
            self._receipt(got)
        elif t == "state":
            self._state(got)
        elif t == "rewound":
            self._rewind(got)
        elif t == "typing":
            known = self._member(got)
            if got["user"] == self.me or known.left:
                raise self.wrong("typing that is not for us:", got)
        elif t == "presence":
            self._online[got["user"]] = got["state"] == "online"
        else:
            raise self.wrong("an unknown event:", got)

    def _member(self, got: Frame) -> Known:
        known = self.kept.conversations.get(got["conversation"])
        if known is None:
            raise self.wrong("something of a conversation that we were not told of:", got)
        return known

    def _entry(self, got: Frame) -> None:
        entry = {name: value for name, value in got.items() if name != "t"}
        known, seq = self._member(got), got["seq"]
        if seq <= known.head:
            raise self.wrong(f"doubled: entry {seq} after head {known.head}:", got)
        if seq > known.head + 1:
            raise self.wrong(f"a gap: entry {seq} after head {known.head}:", got)
        problem = self.town.truth.judge_entry(self.person, entry)
        if problem:
            raise self.wrong("an entry", problem, got)
        known.head = seq
        kind, user = got["kind"], got.get("user", "")
        if got["author"] == self.me:
            known.own[got["key"]] = seq
        if kind in ("member.added", "member.removed", "member.banned") or (
            kind == "member.role" and got["role"] == "member"
        ):
            known.admins.pop(user, None)
        elif kind == "member.role":
            known.admins[user] = None
        if kind in ("member.removed", "member.banned") and (user == known.owner or "owner" in got):
            known.owner = got.get("owner")
        elif kind == "conversation.owner":
            known.owner, known.admins[got["author"]] = got["owner"], None
        known.admins.pop(got.get("owner", ""), None)
        self._set_for_all(known, got)
        if kind == "member.added":
            known.members.pop(user, None)
            if known.kind not in COUNTED:
                known.members[user] = None
            if user == self.me:
                known.left = False
        elif kind in ("member.removed", "member.banned"):
            known.members.pop(user, None)
            if user == self.me:
                known.left = True
        elif kind == "message":
            self._show(known, entry)
        elif kind == "messages.expired":
            for gone in entry["messages"]:
                self._change(known, {**entry, "kind": "message.deleted", "of": gone})
        elif kind.startswith(("message.", "poll.")):
            self._change(known, entry)
        for now in entry.get("threads", ()):
            root = known.messages.get(now["seq"])
            if root is not None and not root.get("deleted") and seq > root.get("changed", 0):
                root = {name: value for name, value in root.items() if name != "replies"} | {"changed": seq}
                known.messages[now["seq"]] = root | ({"replies": now["replies"]} if "replies" in now else {})

    def _set_for_all(self, known: Known, got: Frame) -> None:
        """What an entry says of the whole conversation."""
        kind, now = got["kind"], dict[str, Any]()
        if kind in ("conversation.title", "conversation.topic"):
            what = kind.partition(".")[2]
            now = {what: got.get(what)}
        elif kind == "conversation.slow_mode":
            now = {"slow_mode_s": got["seconds"]}
        elif kind in ("conversation.closed", "conversation.opened"):
            now = {"closed": kind == "conversation.closed"}
        elif kind == "conversation.retention":
            now = {"retention_s": got.get("retention_s")}
        elif kind in ("member.added", "member.removed", "member.banned") and known.kind in COUNTED and "count" in got:
            now = {"member_count": got["count"]}
        elif kind in ("message.pinned", "message.deleted", "messages.expired"):
            gone = got["messages"] if kind == "messages.expired" else [got["of"]]
            pins = [seq for seq in known.shared["pins"] if seq not in gone]
            now = {"pins": sorted([*pins, *gone]) if got.get("on") else pins}
        if now:
            known.shared = known.shared | now

    def _state(self, got: Frame) -> None:
        """A row of one's own, by docs/protocol.md."""
        name, value = f"{got['what']} {got['subject']}", got.get(got["what"])
        if value is None:
            self.kept.rows.pop(name, None)
        else:
            self.kept.rows[name] = value

    def _show(self, known: Known, message: Frame) -> None:
        """Keep a message, unless a newer copy of it is here."""
        old = known.messages.get(message["seq"])
        if old is None or message.get("changed", 0) > old.get("changed", 0):
            known.messages[message["seq"]] = message

    def _change(self, known: Known, entry: Frame) -> None:
        """An edit, a deletion or a reaction, by docs/protocol.md."""
        message = known.messages.get(entry["of"])
        if message is None or message.get("deleted") or entry["seq"] <= message.get("changed", 0):
            return
        message = {**message, "changed": entry["seq"]}
        if entry["kind"] == "message.edited":
            if "text" not in entry:
                return  # a deletion follows
            message.pop("content", None)
            message |= {"text": entry["text"], "edited_at_ms": entry["at_ms"]}
            if "content" in entry:
                message["content"] = entry["content"]
        elif entry["kind"] == "message.deleted":
            thread = message.get("content", {}).get("thread")
            for name in (
                "text", "content", "edited_at_ms", "reactions", "pinned", "expires_at_ms", "poll", "replies", "threads",
            ):
                message.pop(name, None)
            message["deleted"] = True
            if thread is not None:
                message["content"] = {"thread": thread}
        elif entry["kind"] == "poll.voted":
            options = [
                {**one, "count": count} for one, count in zip(message["poll"]["options"], entry["counts"], strict=True)
            ]
            message["poll"] = {**message["poll"], "options": options, "voters": entry["voters"]}
        elif entry["kind"] == "poll.closed":
            message["poll"] = {**message["poll"], "closed": True}
        elif entry["kind"] == "message.pinned":
            message.pop("pinned", None)
            if entry["on"]:
                message["pinned"] = True
        else:
            others = [one for one in message.pop("reactions", []) if one["emoji"] != entry["emoji"]]
            if entry["count"]:
                others.append({name: entry[name] for name in ("emoji", "count", "users")})
            if others:
                message["reactions"] = sorted(others, key=lambda one: str(one["emoji"]))
        known.messages[entry["of"]] = message

    def _conversation(self, got: Frame) -> None:
        truth, conversation, head = self.town.truth, got["conversation"], got["head"]
        old = self.kept.conversations.get(conversation)
        self._judge_state(got, self._told[2])
        if old is not None:
            if head < old.head:
                raise self.wrong(f"the head went back from {old.head} to {head}:", got)
            missing = truth.next_visible(self.person, conversation, old.head, head)
            if missing is not None:
                raise self.wrong(f"entry {missing} was skipped: the head went from {old.head} to {head}:", got)
        own = {entry["key"]: entry["seq"] for entry in got.get("recent", []) if entry["author"] == self.me}
        receipts = {one["user"]: (one["delivered"], one["read"]) for one in got.get("receipts", [])}
        receipts[self.me] = got["delivered"], got["read"]
        self.kept.conversations[conversation] = Known(
            got["kind"], head, dict.fromkeys(got["members"]), receipts,
            not got.get("member_count") if got["kind"] in COUNTED else self.me not in got["members"],
            {**(old.own if old else {}), **own}, got.get("owner"), dict.fromkeys(got.get("admins", ())),
            {entry["seq"]: entry for entry in got.get("recent", []) if entry["kind"] == "message"},
            {name: got.get(name, usual) for name, usual in _SHARED.items()},
        )  # fmt: skip

    def _judge_read(self, got: Frame, told: int) -> None:
        """Check a cursor of somebody's, told by who knew of rows of one's own up to *told*."""
        secrecy, conversation = self.town.truth.secrecy, self.town.truth.id(got["conversation"])
        problem = secrecy.judge_read(self.person, told, conversation, self.town.truth.id(got["user"]), got["read"])
        if problem:
            raise self.wrong("a receipt", problem, got)

    def _judge_state(self, got: Frame, told: int) -> None:
        """Check a conversation's state, wherever it came; *told*: see :meth:`_judge_read`."""
        truth, conversation, head = self.town.truth, got["conversation"], got["head"]
        if head > truth.last_seq(conversation):
            raise self.wrong("a head above the log's end:", got)
        last = None
        for entry in got.get("recent", []):
            problem = truth.judge_entry(self.person, entry)
            if problem:
                raise self.wrong("a recent entry", problem, got)
            if last is not None and truth.next_visible(self.person, conversation, last, entry["seq"]) != entry["seq"]:
                raise self.wrong("recent entries with a gap:", got)
            last = entry["seq"]
        if last is not None and truth.next_visible(self.person, conversation, last, head) is not None:
            raise self.wrong("recent entries that end before the head:", got)
        for one in got.get("receipts", []):
            self._judge_read({**one, "conversation": conversation}, told)
        unread = truth.unread(self.person, conversation, got["read"], head)
        if got["unread"] not in unread:
            raise self.wrong(f"unread is {got['unread']} and should be in {unread}:", got)

    def _cursor(self, t: str, cursor: str) -> None:
        decoded = cursors.decode(cursor)
        told = decoded.number, decoded.receipts_ms, decoded.rows
        if any(now < before for now, before in zip(told, self._told, strict=True)) and not self._rewound:
            raise self.wrong(f"the cursor went back from {self._told} to {told}")
        self._told = told
        self.kept.cursor = cursor
        if self.kept.base is None:
            self.kept.base = decoded.number
        self.lineage = decoded.lineage
        if t == "synced":
            if self.state != "walking":
                raise self.wrong("synced twice")
            self.state = "live"
            self.backoff = 0
            self.synced_count += 1
            self._judge_synced()
            self.flush()
            if self.on_synced is not None:
                self.on_synced()
        elif (t == "progress") != (self.state == "walking"):
            raise self.wrong(t, "while", self.state)

    def _judge_synced(self) -> None:
        """Everything that was committed when we said hello is here."""
        truth = self.town.truth
        for conversation, (joined, last) in self._expected.items():
            if truth.member_since(self.person, conversation) != joined:
                continue  # left since
            known = self.kept.conversations.get(conversation)
            if known is None:
                raise self.wrong("synced without a conversation:", conversation)
            if known.head < last:
                raise self.wrong(f"synced with head {known.head} of {conversation}; the log was at {last} before hello")

    def _receipt(self, got: Frame) -> None:
        known = self._member(got)
        if known.left:
            raise self.wrong("a receipt after our removal:", got)
        delivered, read = got["delivered"], got["read"]
        if read > delivered or delivered > self.town.truth.last_seq(got["conversation"]):
            raise self.wrong("cursors that cannot be:", got)
        self._judge_read(got, self._told[2])
        before = known.receipts.get(got["user"], (0, 0))
        known.receipts[got["user"]] = max(before[0], delivered), max(before[1], read)

    def _rewind(self, got: Frame) -> None:
        conversation = got.get("conversation")
        self._rewound = True
        if not self.town.may_rewind:
            raise self.wrong("rewound, and the database was never restored:", got)
        if conversation is None:
            self.kept.conversations.clear()
            self.kept.rows.clear()
            self.kept.cursor = self.kept.base = None
        else:
            self.kept.conversations.pop(conversation, None)
        self._expected = {}

    # --- answers ---

    def _answered(self, got: Frame) -> None:
        command = self._pending.pop(got["id"], None) if got["id"] is not None else None
        if command is None:
            raise self.wrong("an answer to nothing, or a second one:", got)
        self._sent.pop(got["id"], None)
        if command.t == "hello":
            if got["t"] == "error":
                if got["code"] != "unauthorized":
                    raise self.wrong("hello was refused:", got)
                return
            if got["result"]["user"] != self.me:
                raise self.wrong("welcomed as somebody else:", got)
            self.state = "walking"
            self.flush()
            return
        if self.state == "hello":
            raise self.wrong("an answer before hello's:", got)
        if got["t"] == "error":
            self._refused(command, got)
        else:
            self._succeeded(command, got["result"])
        self.flush()

    def _refused(self, command: Asked, got: Frame) -> None:
        t, code, fields, queued = command.t, got["code"], command.fields, command.queued
        if code not in _ALLOWED[t]:
            raise self.wrong(f"{t} was refused with", code, fields)
        if code == "not_a_member" and t in ("message.send", "receipt", "history", "conversation.get", "typing"):
            now = self.town.truth.member_since(self.person, fields["conversation"])
            if command.joined is not None and now == command.joined and t != "typing":
                raise self.wrong("called no member, and was one all along:", fields)
        if t == "message.send":
            name = self.town.truth.id(fields["conversation"]), self.person, fields["key"]
            if name in self.town.truth.tables.keys:
                raise self.wrong(f"refused with {code}, and stands in the log:", fields)
            if code == "forbidden" and self.town.truth.tables.conversations[name[0]].kind != "channel":
                raise self.wrong("refused with forbidden where everybody may write:", fields)
        if queued is None:
            return
        if code in _TRY_LATER:
            self.town.agenda.after(0.5, self.flush)
            return
        self._remove(queued)
        if t == "message.send":  # an older copy of the outbox may send it again, after what came later
            orders = self._orders.get(fields["conversation"], [])
            orders[:] = [one for one in orders if one[1] != fields["key"]]
        elif t.startswith("draft."):
            keys = self._drafts.get(fields["conversation"], [])
            keys[:] = [one for one in keys if one != fields["key"]]

    def _remove(self, queued: Queued) -> None:
        self.kept.outbox = [one for one in self.kept.outbox if one is not queued]

    def _succeeded(self, command: Asked, result: Any) -> None:
        truth, t, fields, queued = self.town.truth, command.t, command.fields, command.queued
        if queued is not None:
            self._remove(queued)
        if t in _STORED:
            conversation, key = fields["conversation"], fields["key"]
            problem = truth.judge_ack(self.person, conversation, key, fields.get("text"), result)
            if problem:
                raise self.wrong(f"{t} {key}", problem)
            known = self.kept.conversations.get(conversation)
            first = queued is None or queued.tries == 1
            # Of a conversation that was left before it was ever told, nothing is.
            told = known is not None or truth.member_since(self.person, conversation) is not None
            if first and told and (known is None or known.head < result["seq"]):
                raise self.wrong(f"ok {result} before one's own entry", key, known)
        elif t in _OWN:
            problem = truth.judge_kept(self.person, fields["conversation"], fields["key"], self._told[2])
            if problem:
                raise self.wrong(f"{t} {fields['key']}", problem)
        elif t in ("conversation.create", "conversation.direct"):
            conversation = result["conversation"]
            joined = truth.member_since(self.person, conversation)
            # Who was added to it by somebody else, just now, may hear of that later.
            due = joined is not None and (joined == 1 or command.places.get(conversation) == joined)
            if due and conversation not in self.kept.conversations:
                raise self.wrong("opened, and not told of the conversation:", fields, result)
        elif t == "conversation.get":
            self._judge_state(result, command.told)
        elif t == "conversation.list":
            for state in result["conversations"]:
                self._judge_state(state, command.told)
        elif t.startswith(("room.", "link.", "request.", "member.")):
            self._judge_found(command, result)
        elif t == "privacy.set":
            problem = truth.judge_kept(self.person, "privacy", fields["key"], self._told[2])
            if problem:
                raise self.wrong(f"{t} {fields['key']}", problem)
            truth.secrecy.answered(self.person, fields["key"])
            self.town.turned(self)
        elif t in ("presence.get", "presence.watch", "message.readers"):
            self._judge_seen(command, result)
        elif t == "history":
            self._judge_history(fields, result)
        elif t == "message.edits":
            problem = truth.judge_versions(fields["conversation"], fields["seq"], result["versions"])
            if problem:
                raise self.wrong("versions", problem, fields, result)
        elif t == "message.reactions":
            places = [(one["emoji"], one["seq"]) for one in result["reactions"]]
            if places != sorted(set(places)):
                raise self.wrong("reactions out of order:", result)
        elif t == "message.schedule":
            self.scheduled.append(result["scheduled"])
            problem = truth.judge_schedule(self.person, fields, result)
            if problem:
                raise self.wrong("a scheduled message", problem, fields, result)
        elif t == "message.unschedule":
            problem = truth.judge_unschedule(fields["scheduled"])
            if problem:
                raise self.wrong("a scheduled message", problem, fields)
        elif t == "message.scheduled":
            places = [(one["at_ms"], one["scheduled"]) for one in result["scheduled"]]
            if places != sorted(set(places)):
                raise self.wrong("scheduled messages out of order:", result)
        elif t == "receipt":
            if result["delivered"] < result["read"]:
                raise self.wrong("cursors that cannot be:", result)
            before = self._cursors.get(fields["conversation"], (0, 0))
            if result["delivered"] < before[0] or result["read"] < before[1]:
                raise self.wrong("cursors fell", before, result)
            self._cursors[fields["conversation"]] = result["delivered"], result["read"]

    def _judge_history(self, fields: Frame, page: Frame) -> None:
        truth, conversation = self.town.truth, fields["conversation"]
        last = None
        for entry in page["entries"]:
            problem = truth.judge_entry(self.person, entry)
            if problem:
                raise self.wrong("an entry of the past", problem, entry)
            if last is not None and truth.next_visible(self.person, conversation, last, entry["seq"]) != entry["seq"]:
                raise self.wrong("a page of the past with a gap:", page)
            last = entry["seq"]
            known = self.kept.conversations.get(conversation)
            if known is not None and entry["seq"] in known.messages:
                self._show(known, entry)  # read before or after what passes: the newer copy counts
        if page["entries"] and not page["more"]:
            first = page["entries"][0]["seq"]
            if truth.next_visible(self.person, conversation, 0, first) != first:
                raise self.wrong("the past goes on, and the page says that it does not:", page)

    def _judge_found(self, command: Asked, result: Frame) -> None:
        """Rooms, their members, links and requests."""
        truth, t, fields = self.town.truth, command.t, command.fields
        first = command.queued is None or command.queued.tries == 1
        problem = None
        if t == "room.list":
            self.rooms = [one["conversation"] for one in result["rooms"]]
            for one in result["rooms"]:
                problem = problem or truth.judge_room(self.person, one, command.tops.get(one["conversation"], 0))
            if len(dict.fromkeys(self.rooms)) < len(self.rooms):
                problem = "has a room twice"
        elif t in ("member.list", "room.online"):
            place = fields["conversation"]
            if t == "room.online":
                self._judge_seen(command, {"online": [one["user"] for one in result["members"]]})
            problem = truth.judge_members(place, result, command.tops.get(place, 0), t == "member.list")
        elif t == "link.create":
            problem = truth.judge_link(self.person, fields, result["link"])
            if problem is None and first:
                self.town.pass_on(result["link"]["code"])
        elif t == "link.list":
            problem = truth.judge_links(fields["conversation"], result["links"])
        elif t == "link.revoke":
            problem = truth.judge_revoked(fields["code"])
        elif t == "link.join":
            problem = truth.judge_joined(self.person, fields["key"], result)
            known, place = self.kept.conversations.get(result["conversation"]), result["conversation"]
            told = known is not None or truth.member_since(self.person, place) is not None
            if first and told and not result.get("requested") and (known is None or known.head < result["seq"]):
                raise self.wrong("joined by a link before one's own entry:", result, known)
        elif t == "request.list":
            places = [(one["at_ms"], one["user"]) for one in result["requests"]]
            problem = None if places == sorted(set(places)) else "is out of order"
        if problem:
            raise self.wrong(f"{t} {problem}", fields, result)

    def _judge_seen(self, command: Asked, result: Frame) -> None:
        """Nobody is in the answer who was hidden when it was asked for, and has been ever since."""
        if command.t == "message.readers":
            seen = [one["user"] for one in result["readers"] if one["read"]]
        elif command.t == "presence.get":
            seen = [one["user"] for one in result["people"]]
        else:
            seen = [*result["online"], *result.get("last_seen_ms", {})]
        switch = "read_receipts" if command.t == "message.readers" else "last_seen"
        now = self.town.truth.hidden_from(self.person, switch)
        for user in seen:
            if user in command.hidden and command.hidden[user] == now.get(user):
                raise self.wrong(f"{command.t} tells of {user}, who is hidden:", command.fields, result)

    def forgive(self) -> None:
        """The database was restored from an older copy: what was queued and acknowledged since then may be gone."""
        self._orders.clear()
        self._drafts.clear()
        self._expected.clear()

    # --- at the end ---

    def judge_order(self) -> None:
        """One's own messages stand in the order in which they were written."""
        for conversation, orders in self._orders.items():
            problem = self.town.truth.judge_order(self.person, conversation, orders)
            if problem:
                raise self.wrong(problem)
        for conversation, keys in self._drafts.items():
            problem = self.town.truth.judge_own_order(self.person, conversation, keys)
            if problem:
                raise self.wrong(problem)

    def burst(self, count: int, key: Callable[[], str]) -> bool:
        """Say *count* things at once, in one stretch of bytes; False when there is nowhere to say them."""
        truth = self.town.truth
        places = [place for place in self.kept.conversations if truth.member_since(self.person, place) is not None]
        if not places or self.state != "live":
            return False
        place = self.rng.choice(places)
        for _ in range(count):
            self.command("message.send", {"conversation": place, "key": key(), "text": "in a burst"})
        return True

    @property
    def unanswered(self) -> int:
        """Commands of this connection that have no answer yet."""
        return len(self._pending)

    def unfinished(self) -> str | None:
        """Why this device is not up to date yet; None: it is."""
        if self.state != "live":
            return self.state
        if self.kept.outbox:
            return f"{len(self.kept.outbox)} unanswered, first {self.kept.outbox[0]}"
        if self._pending:
            return f"{len(self._pending)} without an answer, first {next(iter(self._pending.values()))}"
        truth = self.town.truth
        for conversation, last in truth.memberships(self.person).items():
            known = self.kept.conversations.get(conversation)
            if known is None or known.head < last:
                return f"head {None if known is None else known.head} of {conversation}, the log is at {last}"
        if self.kept.rows != truth.personal(self.person):
            return f"what is one's own is {self.kept.rows}, and should be {truth.personal(self.person)}"
        heads = {conversation: known.head for conversation, known in self.kept.conversations.items()}
        return truth.untold(self.person, self.kept.base or 0, heads)

    def judge_presence(self) -> None:
        """Everybody is here: each direct partner is known to be online, but where one of the two hides."""
        truth = self.town.truth
        for conversation, known in self.kept.conversations.items():
            for one in known.members if known.kind == "direct" else ():
                seen = "nobody" not in (truth.secrecy.shown(who).last_seen for who in (self.person, truth.id(one)))
                if one != self.me and bool(self._online.get(one)) != seen:
                    raise self.wrong(f"a partner who is here is{' not' * seen} shown as online:", conversation, one)

    def judge_complete(self) -> None:
        """Up to date, and nothing more than that."""
        truth = self.town.truth
        memberships = truth.memberships(self.person)
        for conversation, known in self.kept.conversations.items():
            if conversation in memberships:
                members = dict.fromkeys(map(str, truth.tables.members(truth.id(conversation))))
                listed = [] if known.kind in COUNTED else [*members]
                if [*known.members] != listed:
                    raise self.wrong("other members:", [*known.members], listed)
                fresh = truth.shared(self.person, conversation)
                if known.left or self._shared(known, fresh["first_seq"]) != self._shared_fresh(fresh):
                    raise self.wrong("another state:", known.shared, fresh)
                admins = [*map(str, truth.tables.admins(truth.id(conversation)))]
                owner = truth.tables.conversations[truth.id(conversation)].owner
                if sorted(known.admins) != admins or known.owner != (None if owner is None else str(owner)):
                    raise self.wrong("other roles:", known.owner, [*known.admins], owner, admins)
                for seq, message in known.messages.items():
                    if msgspec.msgpack.encode(message, order="sorted") != truth.canonical(conversation, seq):
                        raise self.wrong("another message:", message, truth.entry(conversation, seq))
                rows = truth.tables.receipts[truth.id(conversation)]
                for member in members:
                    row = rows.get(truth.id(member))
                    true = (row.delivered, row.read) if row is not None else (0, 0)
                    seen = known.receipts.get(member, (0, 0))
                    # Who shows again is seen with the next receipt; who hides, as far as was told before.
                    shy = member != self.me and (
                        truth.secrecy.ever(truth.id(member), "read_receipts")
                        or not truth.secrecy.shown(self.person).read_receipts
                    )
                    if seen[0] != true[0] or (seen[1] > true[1] if shy else seen[1] != true[1]):
                        raise self.wrong(f"receipts of {member} in {conversation}:", seen, true)
            elif not known.left:
                raise self.wrong("thinks that it is a member of", conversation)

    @staticmethod
    def _shared(known: Known, first_seq: int) -> bytes:
        """What is set for all, as this client shows it. Of pins those that nobody's absence hides."""
        pins = [seq for seq in known.shared["pins"] if seq >= first_seq]
        return msgspec.msgpack.encode({**known.shared, "pins": pins}, order="sorted")

    @staticmethod
    def _shared_fresh(fresh: Frame) -> bytes:
        """The same, as a fresh client is told it."""
        pins = [seq for seq in fresh.get("pins", []) if seq >= fresh["first_seq"]]
        shown = {name: fresh.get(name, usual) for name, usual in _SHARED.items()}
        return msgspec.msgpack.encode({**shown, "pins": pins}, order="sorted")
