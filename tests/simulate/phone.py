"""A person with the product's own client: ``konnect_client`` over the simulated network, and an application on top.

The application sees what the client shows it and judges that: every entry true, visible and in order, each once over
all restarts, everything said in the order of saying. Its own client next door (``client.py``) judges each frame.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol
from uuid import UUID

import msgspec
import trio

from konnect_client import (
    AccessToken,
    Client,
    ClientClosed,
    ConnectFailed,
    Content,
    ConversationChanged,
    Conversations,
    Entity,
    Entry,
    Liveness,
    MemoryJournal,
    MemoryState,
    Messages,
    Outgoing,
    Phase,
    Poll,
    Replies,
    Rewound,
    ServerRefused,
    SocketEnded,
    Violation,
    open_client,
)
from konnect_client.events import Event
from tests.simulate import truth, websocket
from tests.simulate.agenda import Agenda
from tests.simulate.network import Pipe
from tests.simulate.websocket import BINARY, CLOSE, PING, PONG, Framer, frame

LIVENESS = Liveness(ping_after_s=3.0, ping_within_s=3.0, hello_within_s=6.0, answer_within_s=30.0)


class Street(Protocol):
    """What a phone needs of the world."""

    agenda: Agenda
    truth: truth.Truth
    active: bool
    may_rewind: bool
    people: list[UUID]
    codes: list[str]  # of links that were made
    secretive: bool  # people turn their privacy's switches

    def pass_on(self, code: str) -> None:
        """A link was made: others hear of its code."""

    def connect(self, device: Any) -> Pipe | None:
        """A new connection to some process; None when nobody listens."""

    def token(self, device: "Phone") -> str:
        """A fresh access token."""

    def key(self) -> str:
        """A key that nobody has used."""

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace."""


class Cable:
    """One simulated connection as ``konnect_client.transport.Socket``."""

    def __init__(self, phone: "Phone") -> None:
        self._phone = phone
        self.name = phone.name
        self.pipe: Pipe | None = None
        self.up = trio.Event()  # the handshake is over, or the connection is
        self._framer = Framer()
        self._messages: list[bytes] = []
        self._came = trio.Event()
        self._end: tuple[int, str] | None = None

    def opened(self) -> None:
        """See tests.simulate.network.End, here and below."""
        assert self.pipe is not None
        self.pipe.send(websocket.REQUEST)

    def data(self, data: bytes) -> None:
        assert self.pipe is not None
        try:
            messages = self._framer.feed(data)
        except websocket.BadServer:
            self._finish(1006, "refused")
            return
        if self._framer.upgraded:
            self.up.set()
        for opcode, payload in messages:
            if opcode == BINARY:
                self._messages.append(payload)
                self._came.set()
            elif opcode == PING:
                self.pipe.send(frame(PONG, payload, self._phone.rng))
            elif opcode == CLOSE:
                self._finish(int.from_bytes(payload[:2], "big"), payload[2:].decode())

    def ended(self) -> None:
        self._finish(1006, "")

    def _finish(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = code, reason
        self.up.set()
        self._came.set()

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self._end is not None

    async def send(self, payload: bytes) -> None:
        """See konnect_client.transport.Socket, here and below."""
        await trio.lowlevel.checkpoint()
        if self._end is not None:
            raise SocketEnded(*self._end)
        assert self.pipe is not None
        self.pipe.send(frame(BINARY, payload, self._phone.rng))

    async def receive(self) -> bytes:
        while not self._messages:
            if self._end is not None:
                raise SocketEnded(*self._end)
            self._came = trio.Event()
            await self._came.wait()
        await trio.lowlevel.checkpoint()
        return self._messages.pop(0)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()
        if self._end is None and self.pipe is not None:
            self.pipe.send(frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), self._phone.rng))
            self._finish(code, reason)


class Phone:
    """One device with the product's client. ``run`` is its life over all restarts."""

    def __init__(self, world: Street, person: UUID, name: str, rng: Random) -> None:
        self.world, self.person, self.rng, self.name = world, person, rng, name
        self.me = str(person)
        self.sign_in = UUID(int=rng.getrandbits(128))
        self.token_s = rng.choice((900.0, 900.0, 4.0))
        self.client: Client | None = None
        self._nursery: trio.Nursery | None = None
        self.cable: Cable | None = None
        self._state = MemoryState()
        self._journal = MemoryJournal()
        self._device = name
        self._fresh = 0
        self._scope = trio.CancelScope()
        self._retired = False
        self._seen: dict[str, int] = {}
        self._left: dict[str, bool] = {}
        self._messages = Messages()  # what the application shows; over restarts, though some events come again
        self._conversations = Conversations()  # the same
        self._base: int | None = None  # the person's number when the application was shown its first
        self._sent: list[Outgoing] = []
        self._written: dict[str, list[tuple[int, str]]] = {}
        self._slow = rng.random() < 0.2  # an application that takes its time with each event
        self._healed = trio.Event()

    # --- its life ---

    async def run(self) -> None:
        """Start, end, start again."""
        await trio.sleep(self.rng.random())
        self.world.agenda.after(self.rng.random(), self._act)
        while not self._retired:
            with trio.CancelScope() as self._scope:
                await self._live()
            self.client = self._nursery = None
            self.world.say(self.name, "restarts")
            await trio.sleep(self.rng.random())

    async def _live(self) -> None:
        saved = self._state.load()
        self._seen = dict(saved.heads.seqs) if saved is not None else {}
        if saved is None or saved.heads.cursor is None:
            self._base = None
        opening = open_client(
            "ws://simulated.example/v1/socket", token=self._token, device=self._device, journal=self._journal,
            state=self._state, connect=self._connect, random=self.rng, new_key=self.world.key, reconnect_s=(0.05, 1.5),
            liveness=LIVENESS, unix_time_s=self._unix_time_s, recent=self.rng.choice((0, 1, 3)),
            inbox_events=self.rng.choice((8, 1000)), window=self.rng.choice((1, 4, 16)),
        )  # fmt: skip
        async with opening as self.client, trio.open_nursery() as self._nursery:
            async for event in self.client.events:
                self._take(event)
                if self._slow and self.rng.random() < 0.3 and not self._healed.is_set():
                    with trio.move_on_after(self.rng.random()):
                        await self._healed.wait()
        if not self._retired:
            raise self._wrong("the client stopped for good:", self.client.state)

    def _unix_time_s(self) -> float:
        return self.world.truth.database.now_ms() / 1000

    async def _token(self) -> AccessToken:
        await trio.lowlevel.checkpoint()
        return AccessToken(self.world.token(self), self.token_s)

    @asynccontextmanager
    async def _connect(self, url: str) -> AsyncIterator[Cable]:
        cable = Cable(self)
        cable.pipe = pipe = self.world.connect(cable)
        if pipe is None:
            await trio.lowlevel.checkpoint()
            raise ConnectFailed("unreachable", "nobody listens")
        try:
            with trio.move_on_after(5):
                await cable.up.wait()
            if cable.over or not cable.up.is_set():
                raise ConnectFailed("unreachable", "no handshake")
            self.cable = cable
            yield cable
        finally:
            self.cable = None
            pipe.over = True
            pipe.close()

    @property
    def pipe(self) -> Pipe | None:
        """Its connection."""
        return None if self.cable is None else self.cable.pipe

    def drop(self) -> None:
        """The connection breaks."""
        if self.cable is not None and self.cable.pipe is not None:
            self.world.say(self.name, "drops")
            self.cable.pipe.reset()

    def _act(self) -> None:
        """What its owner does, and what happens to it."""
        if not self.world.active:
            return
        self.world.agenda.after(self.rng.expovariate(2.0), self._act)
        draw = self.rng.random()
        pipe = self.cable.pipe if self.cable is not None else None
        if draw < 0.07:
            self.drop()
        elif draw < 0.10 and pipe is not None:
            pipe.blackhole()
        elif draw < 0.14:
            if self.rng.random() < 0.3:
                self._fresh += 1
                self._device = f"{self.name}/{self._fresh}"
                self._state = MemoryState()
                self._seen, self._left, self._messages, self._conversations = {}, {}, Messages(), Conversations()
            self._scope.cancel()
        elif self.client is not None and self.client.state.phase is not Phase.CLOSED:
            self._speak(self.client)

    def _speak(self, client: Client) -> None:
        if self.rng.random() < 0.12 and self._nursery is not None:
            self._nursery.start_soon(self._mingle, client)
            return
        places = [place for place in self._seen if not self._left.get(place)]
        if not places:
            return
        place = self.rng.choice(places)
        if self.rng.random() < 0.2:
            read = self.rng.randint(0, self._seen[place])
            self.world.truth.secrecy.asks(self.person, UUID(place), read)
            client.receipt(place, delivered=self._seen[place], read=read)
            return
        if self.rng.random() < 0.2 and self._nursery is not None:
            self._nursery.start_soon(self._ask, client, place)
            return
        messages = [*self._messages.of(place)][-6:]
        if messages and self.rng.random() < 0.3 and self._nursery is not None:
            self._nursery.start_soon(self._touch, client, self.rng.choice(messages))
            return
        if self.rng.random() < 0.15 and self._nursery is not None:
            self._nursery.start_soon(self._keep, client, place)
            return
        key = self.world.key()
        text, draw = f"from a phone {self.rng.randrange(100)}", self.rng.random()
        content = None
        if messages and draw < 0.15:
            content = Content(reply_to=self.rng.choice(messages).seq)
        elif messages and draw < 0.22:
            chosen = self.rng.choice(messages)
            inside = None if chosen.content is None else chosen.content.thread
            content = Content(thread=inside or chosen.seq)
        elif draw < 0.3:
            content = Content(entities=(Entity("mention", 0, 4, user=self.me),), mention_all="all")
        self._sent.append(client.send_nowait(place, text, content=content, key=key))
        self._written.setdefault(place, []).append((self.world.truth.database.now_ms(), key))

    async def _ask(self, client: Client, place: str) -> None:
        """One of the commands that are asked until they are answered."""
        judge, draw, other = self.world.truth, self.rng.random(), str(self.rng.choice(self.world.people))
        try:
            if draw < 0.3:
                page = await client.history(place, limit=self.rng.choice((2, 50)))
                for entry in page.entries:
                    self._judge(entry)
                shown = [entry for entry in page.entries if self._messages.get(place, entry.seq) is not None]
                self._messages.learn(shown)
            elif draw < 0.5 and other != self.me:
                opened = await client.direct(other)
                if self._unheard(client, opened):
                    raise self._wrong("a conversation was opened, and its event has not come:", opened)
            elif draw < 0.7:
                opened = await client.create("a phone's group", [other], key=self.world.key())
                if self._unheard(client, opened):
                    raise self._wrong("a group was created, and its event has not come:", opened)
            elif draw < 0.85:
                key = self.world.key()
                sent = await client.add(place, other, key=key)
                problem = judge.judge_ack(self.person, place, key, None, {"seq": sent.seq, "at_ms": sent.at_ms})
                if problem:
                    raise self._wrong(f"add {key}", problem)
            else:
                async for conversation in client.all_conversations():
                    for entry in conversation.recent:
                        self._judge(entry)
        except ServerRefused as refusal:
            allowed = ("not_a_member", "already_a_member", "conversation_full", "wrong_kind", "banned", "forbidden")
            if refusal.code not in allowed:
                raise self._wrong("refused:", refusal) from refusal
        except ClientClosed:
            pass

    async def _mingle(self, client: Client) -> None:
        """Find rooms, join, leave; make links, come by them, answer who asks; turn a switch of one's privacy."""
        judge, draw, key = self.world.truth, self.rng.random(), self.world.key()
        places = [place for place in self._seen if not self._left.get(place)]
        place = self.rng.choice(places) if places else None
        problem = None
        try:
            if draw < 0.3:
                page = await client.rooms(tags=["chess"], limit=self.rng.choice((1, 50)))
                if page.rooms:
                    room = self.rng.choice(page.rooms).conversation
                    sent = await client.join(room, key=key)
                    problem = judge.judge_ack(self.person, room, key, None, {"seq": sent.seq, "at_ms": sent.at_ms})
            elif draw < 0.4 and place is not None:
                await client.leave_room(place, key=key)
            elif draw < 0.55 and place is not None:
                link = await client.create_link(
                    place, uses=self.rng.choice((None, 1)), approval=self.rng.random() < 0.4, key=key
                )
                self.world.pass_on(link.code)
            elif draw < 0.75 and self.world.codes:
                await client.join_by_link(self.rng.choice(self.world.codes[-3:]), key=key)
            elif draw < 0.85 and place is not None:
                page_ = await client.requests(place)
                for one in page_.requests:
                    await client.answer_request(place, one.user, self.rng.random() < 0.7)
            elif self.world.secretive:
                await client.set_privacy(
                    read_receipts=self.rng.choice((None, True, False)),
                    last_seen=self.rng.choice((None, "everyone", "contacts", "nobody")), key=key,
                )  # fmt: skip
                judge.secrecy.answered(self.person, key)
        except ServerRefused as refusal:
            allowed = (
                "not_a_member", "already_a_member", "conversation_full", "wrong_kind", "banned", "forbidden",
                "not_found", "unknown_link", "link_over", "too_many_links", "unknown_request",
            )  # fmt: skip
            if refusal.code not in allowed:
                raise self._wrong("refused:", refusal) from refusal
        except ClientClosed:
            pass
        if problem:
            raise self._wrong("joined, and", problem)

    async def _touch(self, client: Client, message: Entry) -> None:
        """Edit a message, delete, pin, forward it, react. Cut off in the middle, the outbox sends it all the same."""
        place, seq, draw, key = message.conversation, message.seq, self.rng.random(), self.world.key()
        text = None
        try:
            if draw < 0.3:
                text = f"from a phone, again {self.rng.randrange(100)}"
                sent = await client.edit(place, seq, text, key=key)
            elif draw < 0.4:
                sent = await client.delete(place, seq, key=key)
            elif draw < 0.5:
                sent = await client.pin(place, seq, self.rng.random() < 0.7, key=key)
            elif draw < 0.6:
                sent = await client.forward(place, place, seq, key=key)
            else:
                sent = await client.react(place, seq, self.rng.choice("👍🦉"), self.rng.random() < 0.7, key=key)
        except ServerRefused as refusal:
            allowed = (
                "not_a_member", "unknown_message", "message_deleted", "forbidden", "too_many_reactions", "too_late",
                "too_many_pins", *(["invalid"] if message.poll is not None else []),  # a poll is not forwarded
            )  # fmt: skip
            if refusal.code not in allowed:
                raise self._wrong("refused:", refusal) from refusal
        except ClientClosed:
            pass
        else:
            result = {"seq": sent.seq, "at_ms": sent.at_ms}
            problem = self.world.truth.judge_ack(self.person, place, key, text, result)
            if problem:
                raise self._wrong(f"touched message {seq}", problem)

    async def _keep(self, client: Client, place: str) -> None:
        """Change something of one's own. Cut off in the middle, the outbox sends it all the same."""
        draw, key, on = self.rng.random(), self.world.key(), self.rng.random() < 0.6
        try:
            if draw < 0.5:
                await client.set_draft(place, f"begun {self.rng.randrange(100)}" if on else "", key=key)
            elif draw < 0.8:
                await client.nickname(place, self.rng.choice((None, "Bobby")), key=key)
            elif draw < 0.9:
                await client.mute(place, on, key=key)
            elif draw < 0.94:
                await client.hide(place, [self.rng.randint(1, 9)], key=key)
            elif on:
                await client.follow_thread(place, self.rng.randint(1, 9), self.rng.random() < 0.5, key=key)
            else:
                await client.read_thread(place, self.rng.randint(1, 9), self.rng.randint(1, 30), key=key)
        except ServerRefused as refusal:
            if refusal.code not in ("not_a_member", "unknown_message", "in_a_thread"):
                raise self._wrong("refused:", refusal) from refusal
        except ClientClosed:
            pass

    def _unheard(self, client: Client, conversation: str) -> bool:
        """A member of *conversation*, and its event did not come before the answer that names it."""
        waits = len(client.events) or client.events.behind or conversation in self._seen
        return not waits and self.world.truth.member_since(self.person, conversation) is not None

    # --- what the application sees ---

    def _wrong(self, what: str, *details: object) -> truth.Violation:
        self.world.say(self.name, "VIOLATION " + what, *details)
        return truth.Violation(f"{self.name} ({self.me}): {what} {' '.join(map(str, details))}")

    def _take(self, event: Event) -> None:
        self.world.say(self.name, "shown", event)
        judge = self.world.truth
        if self._base is None or event == Rewound(None):
            self._base = judge.tables.accounts[self.person].number
        self._messages.note(event)
        self._conversations.note(event)
        match event:
            case Entry(conversation=place, seq=seq):
                head = self._seen.get(place)
                if head is None or seq != head + 1:
                    raise self._wrong(f"the application was shown {seq} after {head}:", event)
                self._judge(event)
                self._seen[place] = seq
                if event.user == self.me and event.kind in ("member.added", "member.removed", "member.banned"):
                    self._left[place] = event.kind != "member.added"
            case ConversationChanged(conversation=conversation):
                head = self._seen.get(conversation.id)
                if head is not None:
                    missing = judge.next_visible(self.person, conversation.id, head, conversation.head)
                    if missing is not None:
                        raise self._wrong(f"entry {missing} was skipped:", event)
                for entry in conversation.recent:
                    self._judge(entry)
                self._seen[conversation.id] = max(head or 0, conversation.head)
                counted = conversation.kind in ("room", "channel")
                self._left[conversation.id] = (
                    not conversation.member_count if counted else self.me not in conversation.members
                )
            case Rewound(conversation=None):
                self._seen.clear()
                self._judge_rewound()
            case Rewound(conversation=str(place)):
                self._seen.pop(place, None)
                self._judge_rewound()
            case Violation():
                raise self._wrong("the client says that the server broke the protocol:", event)
            case _:
                pass

    def _judge(self, entry: Entry) -> None:
        problem = self.world.truth.judge_entry(self.person, as_frame(entry))
        if problem:
            raise self._wrong("an entry", problem, entry)

    def _judge_rewound(self) -> None:
        if not self.world.may_rewind:
            raise self._wrong("rewound, and the database was never restored")

    # --- at the end ---

    def forgive(self) -> None:
        """The database was restored from an older copy."""
        self._written.clear()
        self._sent.clear()
        self._messages = Messages()
        self._scope.cancel()  # what is on its way, or waits for the application, tells of a past that never was

    def heal(self) -> None:
        """The faults stop."""
        self._healed.set()
        self.token_s = 900.0
        if self.client is not None:
            self.client.reconnect()

    def retire(self) -> None:
        """The end."""
        self._retired = True
        self._scope.cancel()

    def unfinished(self) -> str | None:
        """Why it is not up to date yet; None: it is."""
        client = self.client
        if client is None:
            return "not running"
        if not client.synced or len(client.events):
            return f"{client.state}, {len(client.events)} events wait"
        if client.pending:
            return f"{len(client.pending)} messages wait"
        for place, last in self.world.truth.memberships(self.person).items():
            if self._seen.get(place, -1) < last:
                return f"head {self._seen.get(place)} of {place}, the log is at {last}"
        if self._own(client) != self.world.truth.personal(self.person):
            return f"shows {self._own(client)} as one's own, not {self.world.truth.personal(self.person)}"
        if self._base is not None:
            return self.world.truth.untold(self.person, self._base, self._seen)
        return None

    @staticmethod
    def _own(client: Client) -> dict[str, Any]:
        """What it shows as one's own: "what subject" -> value."""
        mine = client.personal
        return {
            f"{what} {subject}": dict(value)
            for what in ("draft", "settings", "hidden", "thread", "privacy", "scheduled")
            for subject, value in mine.rows(what).items()
        }

    def judge(self) -> None:
        """Everything that was said stands, in the order of saying; each message shows what it is, byte for byte."""
        for place in self.world.truth.memberships(self.person):
            self._judge_state(place)
            for shown in self._messages.of(place):
                seen = msgspec.msgpack.encode(as_frame(shown), order="sorted")
                if seen != self.world.truth.canonical(place, shown.seq):
                    raise self._wrong("shows another message:", shown, self.world.truth.entry(place, shown.seq))
        for message in self._sent:
            if message.result is not None:
                result = {"seq": message.result.seq, "at_ms": message.result.at_ms}
                problem = self.world.truth.judge_ack(
                    self.person, message.conversation, message.key, message.text, result
                )
                if problem:
                    raise self._wrong(f"message {message.key}", problem)
        for place, written in self._written.items():
            problem = self.world.truth.judge_order(self.person, place, written)
            if problem:
                raise self._wrong(problem)


    def _judge_state(self, place: str) -> None:
        """What it shows of a conversation is what a fresh client is told."""
        truth, known = self.world.truth, self._conversations.get(place)
        if known is None:
            raise self._wrong("does not know:", place)
        fresh = truth.shared(self.person, place)
        first = fresh["first_seq"]  # what is pinned below it an absence may hide
        seen = (
            known.kind, known.title, known.topic, known.retention_s, known.slow_mode_s, known.public,
            known.member_count, known.closed, known.owner, [*known.tags], [*known.members], [*known.admins],
            [seq for seq in known.pins if seq >= first],
        )  # fmt: skip
        true = (
            fresh["kind"], fresh.get("title"), fresh.get("topic"), fresh.get("retention_s"),
            fresh.get("slow_mode_s", 0), fresh.get("public", False), fresh.get("member_count", 0),
            fresh.get("closed", False), fresh.get("owner"),
            fresh.get("tags", []), fresh["members"], fresh.get("admins", []),
            [seq for seq in fresh.get("pins", []) if seq >= first],
        )  # fmt: skip
        if seen != true:
            raise self._wrong("shows another conversation:", place, seen, true)


def as_frame(entry: Entry) -> dict[str, Any]:
    """*entry*, as konnect_client has it, as it travels."""
    shown: dict[str, Any] = {
        "conversation": entry.conversation, "seq": entry.seq, "kind": entry.kind, "author": entry.author,
        "key": entry.key, "at_ms": entry.at_ms,
    }  # fmt: skip
    rest: dict[str, Any] = {
        "text": entry.text, "user": entry.user, "title": entry.title, "members": list(entry.members) or None,
        "of": entry.of, "emoji": entry.emoji, "on": entry.on, "edited_at_ms": entry.edited_at_ms,
        "poll": None if entry.poll is None else _poll(entry.poll), "counts": list(entry.counts) or None,
        "voters": entry.voters, "options": None if entry.options is None else list(entry.options),
        "messages": list(entry.messages) or None, "retention_s": entry.retention_s,
        "expires_at_ms": entry.expires_at_ms, "deleted": entry.deleted or None, "changed": entry.changed or None,
        "pinned": entry.pinned or None, "replies": None if entry.replies is None else _replies(entry.replies),
        "threads": [
            {"seq": one.seq} | ({} if one.replies is None else {"replies": _replies(one.replies)})
            for one in entry.threads
        ] or None,
        "content": None if entry.content is None else entry.content.frame(),
        "role": entry.role, "owner": entry.owner, "reason": entry.reason, "until_ms": entry.until_ms,
        "topic": entry.topic, "photo": entry.photo, "seconds": entry.seconds,
        "tags": list(entry.tags) or None,
        "count": entry.count,
        "reactions": [
            {"emoji": one.emoji, "count": one.count, "users": list(one.users)} for one in entry.reactions
        ] or None,
    }  # fmt: skip
    if entry.kind == "message.reacted":
        rest |= {"users": list(entry.users)}
    return shown | {name: value for name, value in rest.items() if value is not None}


def _replies(replies: Replies) -> dict[str, Any]:
    return {
        "count": replies.count, "last_seq": replies.last_seq, "last_at_ms": replies.last_at_ms,
        "users": list(replies.users),
    }  # fmt: skip


def _poll(poll: Poll) -> dict[str, Any]:
    options = [{"text": one.text, "count": one.count} for one in poll.options]
    flags = {"multiple": poll.multiple, "anonymous": poll.anonymous, "closed": poll.closed}
    return {"question": poll.question, "options": options, "voters": poll.voters} | {
        name: True for name, on in flags.items() if on
    }
