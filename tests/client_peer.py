"""A small honest server for the client's tests, at the transport seam: no sockets, no threads, any clock.

It keeps logs and keys as the real one does, answers every command, and can be told to misbehave: see :class:`Peer`.
"""

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]
import trio

from konnect_client import AccessToken, Client, ConnectFailed, SocketEnded, open_client

ANN, BOB = "01900000-0000-7000-8000-00000000000a", "01900000-0000-7000-8000-00000000000b"
ROOM = "01900000-0000-7000-8000-000000000001"
POST = "01900000-0000-7000-8000-000000000070"
HALL = "01900000-0000-7000-8000-000000000002"

Frame = dict[str, Any]
Interfere = Callable[["Wire", Frame], bool]


class Wire:
    """The server's end of one connection. Ends when :meth:`drop` is called or the client closes."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self.to_server: deque[Frame] = deque()
        self._arrived = trio.Event()
        self._to_client: deque[bytes | str] = deque()
        self._readable = trio.Event()
        self._ended: SocketEnded | None = None
        self.client_close: tuple[int, str] | None = None
        self.heads: dict[str, int] = {}
        self.cursor: str | None = None
        self.signed_in = False
        self.mute = False  # what the server sends is lost: a half-open connection

    # the client's side, konnect_client.Socket

    async def send(self, payload: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._ended is not None:
            raise self._ended
        frame = msgpack.unpackb(payload)
        self._peer.received.append(frame)
        self.to_server.append(frame)
        self._arrived.set()

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._to_client:
            if self._ended is not None:
                raise self._ended
            self._readable = trio.Event()
            await self._readable.wait()
        payload = self._to_client.popleft()
        assert isinstance(payload, bytes)
        return payload

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()
        self.client_close = self.client_close or (code, reason)
        self._end(code, reason)

    # the server's side

    def push(self, frame: Frame | bytes) -> None:
        """Give the client a frame, or raw bytes."""
        if self._ended is None and not self.mute:
            self._to_client.append(frame if isinstance(frame, bytes) else msgpack.packb(frame))
            self._readable.set()

    def drop(self, code: int = 1006, reason: str = "") -> None:
        """End the connection; the client still gets what was pushed before, the server reads no more."""
        self.to_server.clear()
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self._ended is None:
            self._ended = SocketEnded(code, reason)
            self._readable.set()
            self._peer.wires.pop(self, None)

    async def serve(self) -> None:
        while True:
            while not self.to_server:
                self._arrived = trio.Event()
                await self._arrived.wait()
            if self._peer.frozen:
                await self._peer.thawed.wait()
                continue
            self._peer.handle(self, self.to_server.popleft())
            await trio.lowlevel.checkpoint()


class Peer:
    """One user's server.

    ``interfere(wire, frame)`` sees each command first; True means that it took care of it. ``refuse_connects`` holds
    what the next attempts fail with. ``frozen`` leaves commands unread.
    """

    def __init__(self, user: str = ANN) -> None:
        self.user = user
        self.logs: dict[str, list[Frame]] = {}
        self.members: dict[str, list[str]] = {}
        self.scheduled: dict[str, Frame] = {}
        self.receipts: dict[tuple[str, str], tuple[int, int]] = {}
        self.keys: dict[tuple[str, str, str], Frame] = {}
        self.own: dict[tuple[str, str], Frame | None] = {}  # what, subject -> value, in the order of the last change
        self.own_keys: dict[tuple[str, str], Frame] = {}  # conversation, key -> the command
        self.wires: dict[Wire, None] = {}
        self.received: list[Frame] = []  # every frame of every connection
        self.dialled = 0
        self.dialled_at: list[float] = []
        self.refuse_connects: deque[ConnectFailed] = deque()
        self.interfere: Interfere = lambda wire, frame: False
        self.watchers: list[str] = [BOB]
        self.frozen = False
        self.thawed = trio.Event()
        self.unread: deque[Frame] = deque()  # what lost connections still held; the test may handle it late
        self._cursors = itertools.count(1)
        self._new = itertools.count(100)
        self._wire_came = trio.Event()

    # what the test does

    def room(self, conversation: str = ROOM, members: tuple[str, ...] = (ANN, BOB)) -> str:
        """Make a conversation, without telling anybody."""
        self.logs[conversation] = []
        self.members[conversation] = list(members)
        self.append(conversation, {"kind": "created", "author": members[0], "key": "make"})
        return conversation

    def say(self, text: str, conversation: str = ROOM, author: str = BOB, key: str | None = None) -> Frame:
        """Somebody says something: stored, and shown to who is connected."""
        entry = self.append(conversation, {"kind": "message", "author": author, "key": key or text, "text": text})
        for wire in list(self.wires):
            self.show(wire, entry)
        return entry

    def append(self, conversation: str, entry: Frame) -> Frame:
        log = self.logs[conversation]
        at_ms = int(trio.current_time() * 1000)
        entry = {"t": "entry", "conversation": conversation, "seq": len(log) + 1, "at_ms": at_ms, **entry}
        log.append(entry)
        self.keys[conversation, entry["author"], entry["key"]] = entry
        return entry

    def show(self, wire: Wire, entry: Frame) -> None:
        if wire.signed_in:
            if entry["conversation"] not in wire.heads:
                self.introduce(wire, entry["conversation"])
            else:
                wire.push(entry)
                wire.heads[entry["conversation"]] = entry["seq"]

    def introduce(self, wire: Wire, conversation: str, recent: int = 1) -> None:
        wire.push({"t": "conversation", **self.describe(conversation, recent)})
        wire.heads[conversation] = len(self.logs[conversation])

    def describe(self, conversation: str, recent: int = 1) -> Frame:
        log = self.logs[conversation]
        return {
            "conversation": conversation, "kind": "group", "title": "the room", "members": self.members[conversation],
            "head": len(log), "first_seq": 1, "unread": 0, "read": 0, "delivered": 0, "names": {ANN: "Ann", BOB: "Bob"},
            "recent": [_part(entry) for entry in log[-recent:]] if recent else [], "some_new_field": 1,
        }  # fmt: skip

    def texts(self, conversation: str = ROOM, author: str | None = None) -> list[str]:
        """What was said, in order."""
        return [
            entry["text"] for entry in self.logs[conversation]
            if entry["kind"] == "message" and author in (None, entry["author"])
        ]  # fmt: skip

    def broadcast(self, frame: Frame) -> None:
        for wire in list(self.wires):
            wire.push(frame)

    def drop_all(self, code: int = 1006, reason: str = "") -> None:
        for wire in list(self.wires):
            wire.drop(code, reason)

    @property
    def wire(self) -> Wire:
        """The one connection there is."""
        (wire,) = self.wires
        return wire

    def asked(self, kind: str) -> list[Frame]:
        """Every command of this kind that ever came, in order."""
        return [frame for frame in self.received if frame["t"] == kind]

    def cursor(self) -> str:
        return f"cursor-{next(self._cursors)}"

    # what the server does

    def connect(self, url: str) -> AbstractAsyncContextManager[Wire]:
        """The client's seam."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Wire]:
        await trio.lowlevel.checkpoint()
        self.dialled += 1
        self.dialled_at.append(trio.current_time())
        if self.refuse_connects:
            raise self.refuse_connects.popleft()
        wire = Wire(self)
        self.wires[wire] = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.serve)
            try:
                yield wire
            finally:
                self.unread.extend(wire.to_server)
                wire.drop()
                nursery.cancel_scope.cancel()

    def handle(self, wire: Wire, frame: Frame) -> None:
        """Answer one command, unless the test interferes."""
        if not self.interfere(wire, frame):
            answer = getattr(self, "_" + frame["t"].replace(".", "_"))
            answer(wire, frame)

    def ok(self, wire: Wire, frame: Frame, **result: Any) -> None:
        wire.push({"t": "ok", "id": frame["id"], "result": result})

    def error(self, wire: Wire, frame: Frame, code: str, retry_after_ms: int | None = None) -> None:
        answer = {"t": "error", "id": frame["id"], "code": code, "message": f"about {frame['t']}"}
        wire.push(answer if retry_after_ms is None else {**answer, "retry_after_ms": retry_after_ms})

    def store(self, wire: Wire | None, frame: Frame, author: str | None = None) -> Frame:
        """Store a message once; shown to who is connected before its answer."""
        author = author or self.user
        known = self.keys.get((frame["conversation"], author, frame["key"]))
        return known or self.say(frame.get("text", ""), frame["conversation"], author, frame["key"])

    def _hello(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, user=self.user, session="s")
        wire.heads, wire.cursor = dict(frame["heads"]), frame.get("cursor")
        for conversation, log in self.logs.items():
            if self.user not in self.members[conversation]:
                continue
            if conversation not in wire.heads:
                self.introduce(wire, conversation, frame["recent"])
            for entry in log[wire.heads[conversation] :]:
                wire.push(entry)
            wire.heads[conversation] = len(log)
            wire.push({"t": "progress", "cursor": self.cursor()})
        if frame.get("cursor") is None:
            for (what, subject), value in self.own.items():
                wire.push(_state(what, subject, value))
        wire.push({"t": "synced", "cursor": self.cursor()})
        wire.signed_in = True

    def _message_send(self, wire: Wire, frame: Frame) -> None:
        entry = self.store(wire, frame)
        if entry["text"] != frame.get("text", ""):
            self.error(wire, frame, "key_reused")
        else:
            self.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])

    def _touch(self, wire: Wire, frame: Frame, kind: str, **more: Any) -> None:
        """Store an edit, a deletion or a reaction once; shown to who is connected before its answer."""
        entry = self.keys.get((frame["conversation"], self.user, frame["key"]))
        if entry is None:
            said = {"kind": kind, "author": self.user, "key": frame["key"], "of": frame["seq"], **more}
            entry = self.append(frame["conversation"], said)
            for one in list(self.wires):
                self.show(one, entry)
        self.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])

    def _conversation_retention(self, wire: Wire, frame: Frame) -> None:
        entry = self.keys.get((frame["conversation"], self.user, frame["key"]))
        if entry is None:
            kept = {"retention_s": frame["seconds"]} if frame["seconds"] else {}
            said = {"kind": "conversation.retention", "author": self.user, "key": frame["key"], **kept}
            entry = self.append(frame["conversation"], said)
            for one in list(self.wires):
                self.show(one, entry)
        self.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])

    def _poll_create(self, wire: Wire, frame: Frame) -> None:
        entry = self.keys.get((frame["conversation"], self.user, frame["key"]))
        if entry is None:
            options = [{"text": text, "count": 0} for text in frame["options"]]
            poll = {"question": frame["question"], "options": options, "voters": 0}
            said = {"kind": "message", "author": self.user, "key": frame["key"], "poll": poll}
            entry = self.append(frame["conversation"], said)
            for one in list(self.wires):
                self.show(one, entry)
        self.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])

    def _poll_vote(self, wire: Wire, frame: Frame) -> None:
        counts = [int(place in frame["options"]) for place in range(2)]
        more = {"counts": counts, "voters": int(any(counts)), "options": frame["options"]}
        self._touch(wire, frame, "poll.voted", **more)

    def _poll_close(self, wire: Wire, frame: Frame) -> None:
        self._touch(wire, frame, "poll.closed")

    def _poll_voters(self, wire: Wire, frame: Frame) -> None:
        votes = [
            {"user": entry["author"], **{name: entry[name] for name in ("options", "seq", "at_ms")}}
            for entry in self.logs[frame["conversation"]]
            if entry["kind"] == "poll.voted" and entry["of"] == frame["seq"] and entry["seq"] > frame["after"]
        ]
        mine: list[int] = next((one["options"] for one in reversed(votes) if one["user"] == self.user), [])
        self.ok(wire, frame, votes=votes[: frame["limit"]], mine=mine, more=len(votes) > frame["limit"])

    def _message_edit(self, wire: Wire, frame: Frame) -> None:
        self._touch(wire, frame, "message.edited", text=frame["text"])

    def _message_delete(self, wire: Wire, frame: Frame) -> None:
        self._touch(wire, frame, "message.deleted")

    def _message_react(self, wire: Wire, frame: Frame) -> None:
        users = [self.user] if frame["on"] else []
        more = {"emoji": frame["emoji"], "on": frame["on"], "count": len(users), "users": users}
        self._touch(wire, frame, "message.reacted", **more)

    def _message_pin(self, wire: Wire, frame: Frame) -> None:
        self._touch(wire, frame, "message.pinned", on=frame["on"])

    def _message_forward(self, wire: Wire, frame: Frame) -> None:
        source = self.logs[frame["source"]["conversation"]][frame["source"]["seq"] - 1]
        content = {"forwarded": {"author": source["author"]}}
        entry = self.store(wire, {**frame, "text": source["text"], "content": content})
        self.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])

    def _device_register(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    _device_unregister = _notification_read = _notification_settings = _device_register

    def _device_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, devices=[{"device": "phone", "platform": "ios", "at_ms": 1}])

    def _notification_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, notifications=[], unread=0, settings={})

    def _message_edits(self, wire: Wire, frame: Frame) -> None:
        log = [entry for entry in self.logs[frame["conversation"]] if frame["seq"] in (entry["seq"], entry.get("of"))]
        left = [entry for entry in log if entry["seq"] > frame.get("after", 0) and "text" in entry]
        versions = [{name: entry[name] for name in ("seq", "at_ms", "text")} for entry in left[:2]]
        self.ok(wire, frame, versions=versions, more=len(left) > 2)

    def _message_reactions(self, wire: Wire, frame: Frame) -> None:
        found = [
            {"user": entry["author"], "emoji": entry["emoji"], "seq": entry["seq"], "at_ms": entry["at_ms"]}
            for entry in self.logs[frame["conversation"]]
            if entry["kind"] == "message.reacted" and entry["of"] == frame["seq"]
            and frame.get("emoji") in (None, entry["emoji"])
        ]  # fmt: skip
        start = int(frame.get("cursor") or 0)
        end = start + frame["limit"]
        self.ok(wire, frame, reactions=found[start:end], **({"cursor": str(end)} if end < len(found) else {}))

    def set_own(self, what: str, subject: str, value: Frame | None) -> None:
        """A row of the person's own changes; shown to who is connected."""
        self.own.pop((what, subject), None)
        self.own[what, subject] = value
        for wire in list(self.wires):
            if wire.signed_in:
                wire.push(_state(what, subject, value))

    def _draft_set(self, wire: Wire, frame: Frame) -> None:
        if self.own_keys.setdefault((frame["conversation"], frame["key"]), frame) is frame:
            value: Frame = {name: frame[name] for name in ("text", "reply_to") if name in frame}
            self.set_own("draft", frame["conversation"], value | {"at_ms": 5})
        self.ok(wire, frame)

    def _draft_clear(self, wire: Wire, frame: Frame) -> None:
        if self.own_keys.setdefault((frame["conversation"], frame["key"]), frame) is frame:
            self.set_own("draft", frame["conversation"], None)
        self.ok(wire, frame)

    def _taken(self, wire: Wire, frame: Frame) -> None:
        self.own_keys.setdefault((frame["conversation"], frame["key"]), frame)
        self.ok(wire, frame)

    _conversation_mute = _conversation_archive = _conversation_pin = _conversation_mark_unread = _taken
    _conversation_nickname = _conversation_folder = _conversation_notify = _message_hide = _taken
    _thread_follow = _thread_read = _taken

    def _in_thread(self, frame: Frame, root: int) -> list[Frame]:
        return [one for one in self.logs[frame["conversation"]] if one.get("content", {}).get("thread") == root]

    def _thread_list(self, wire: Wire, frame: Frame) -> None:
        found = []
        for root in self.logs[frame["conversation"]]:
            if said := self._in_thread(frame, root["seq"]):
                users = [*dict.fromkeys(one["author"] for one in said)]
                replies = {"count": len(said), "last_seq": said[-1]["seq"], "last_at_ms": said[-1]["at_ms"]}
                found.append({
                    "seq": root["seq"], "replies": {**replies, "users": users}, "following": self.user in users,
                    "read": 0, "unread": sum(one["author"] != self.user for one in said),
                })  # fmt: skip
        self.ok(wire, frame, threads=found)

    def _thread_history(self, wire: Wire, frame: Frame) -> None:
        said = [one for one in self._in_thread(frame, frame["seq"]) if one["seq"] < (frame.get("before") or 2**63)]
        self.ok(wire, frame, entries=said[-frame["limit"] :], more=len(said) > frame["limit"])

    def _message_schedule(self, wire: Wire, frame: Frame) -> None:
        known = self.scheduled.setdefault(
            frame["key"], {"scheduled": f"01900000-0000-7000-8000-{len(self.scheduled):012}"} | {
                name: frame[name] for name in ("conversation", "at_ms", "text")
            },
        )  # fmt: skip
        self.ok(wire, frame, scheduled=known["scheduled"], at_ms=known["at_ms"])

    def _message_unschedule(self, wire: Wire, frame: Frame) -> None:
        self.scheduled = {key: one for key, one in self.scheduled.items() if one["scheduled"] != frame["scheduled"]}
        self.ok(wire, frame)

    def _message_scheduled(self, wire: Wire, frame: Frame) -> None:
        waiting = sorted(self.scheduled.values(), key=lambda one: int(one["at_ms"]))
        start = int(frame.get("cursor") or 0)
        end = start + frame["limit"]
        self.ok(wire, frame, scheduled=waiting[start:end], **({"cursor": str(end)} if end < len(waiting) else {}))

    def _search(self, wire: Wire, frame: Frame) -> None:
        word = frame["query"].strip()
        hits = [
            {
                "conversation": conversation, "seq": entry["seq"], "author": entry["author"], "at_ms": entry["at_ms"],
                "snippet": entry["text"], "highlights": [[entry["text"].index(word), len(word)]],
            }
            for conversation, log in self.logs.items()
            for entry in reversed(log)
            if word in entry.get("text", "")
        ]  # fmt: skip
        start = int(frame.get("cursor") or 0)
        end = start + frame["limit"]
        self.ok(wire, frame, hits=hits[start:end], **({"cursor": str(end)} if end < len(hits) else {}))

    def _ping(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, at_ms=int(trio.current_time() * 1000))

    def _auth_renew(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, expires_in_s=900)

    def _typing(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _receipt(self, wire: Wire, frame: Frame) -> None:
        at = self.conversation_user(frame)
        before = self.receipts.get(at, (0, 0))
        self.receipts[at] = (max(before[0], frame["delivered"]), max(before[1], frame["read"]))
        self.ok(wire, frame, delivered=self.receipts[at][0], read=self.receipts[at][1])

    def conversation_user(self, frame: Frame) -> tuple[str, str]:
        return (frame["conversation"], self.user)

    def _history(self, wire: Wire, frame: Frame) -> None:
        log = self.logs[frame["conversation"]]
        before = frame.get("before") or len(log) + 1
        entries = [entry for entry in log if entry["seq"] < before]
        page = entries[-frame["limit"] :]
        self.ok(wire, frame, entries=[_part(entry) for entry in page], more=len(page) < len(entries))

    def _conversation_list(self, wire: Wire, frame: Frame) -> None:
        names = sorted(self.logs)
        start = int(frame.get("cursor") or 0)
        end = start + frame["limit"]
        result: Frame = {"conversations": [self.describe(name) for name in names[start:end]]}
        self.ok(wire, frame, **(result | ({"cursor": str(end)} if end < len(names) else {})))

    def _conversation_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, **self.describe(frame["conversation"], frame["recent"]))

    def _conversation_direct(self, wire: Wire, frame: Frame) -> None:
        if HALL not in self.logs:
            self.room(HALL, (self.user, frame["user"]))
        self.introduce(wire, HALL)
        self.ok(wire, frame, conversation=HALL)

    def _conversation_create(self, wire: Wire, frame: Frame) -> None:
        key = ("", self.user, frame["key"])
        if key not in self.keys:
            made = f"01900000-0000-7000-8000-000000000{next(self._new)}"
            self.keys[key] = {"made": made}
            self.room(made, (self.user, *frame["members"]))
            self.introduce(wire, made)
        self.ok(wire, frame, conversation=self.keys[key]["made"])

    def _change(self, wire: Wire, frame: Frame, kind: str, user: str) -> None:
        conversation = frame["conversation"]
        known = self.keys.get((conversation, self.user, frame["key"]))
        if known is None:
            known = self.append(conversation, {"kind": kind, "author": self.user, "key": frame["key"], "user": user})
            (self.members[conversation].append if kind == "member.added" else self.members[conversation].remove)(user)
            self.show(wire, known)
        self.ok(wire, frame, seq=known["seq"], at_ms=known["at_ms"])

    def _about(self, wire: Wire, frame: Frame, kind: str, **more: Any) -> None:
        conversation = frame["conversation"]
        known = self.keys.get((conversation, self.user, frame["key"]))
        if known is None:
            known = self.append(conversation, {"kind": kind, "author": self.user, "key": frame["key"], **more})
            self.show(wire, known)
        self.ok(wire, frame, seq=known["seq"], at_ms=known["at_ms"])

    def _member_role(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.role", user=frame["user"], role=frame["role"])

    def _conversation_handover(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "conversation.owner", owner=frame["user"])

    def _member_ban(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.banned", user=frame["user"], reason=frame["reason"])

    def _member_unban(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.unbanned", user=frame["user"])

    def _conversation_title(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "conversation.title", title=frame["title"])

    def _conversation_topic(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "conversation.topic", topic=frame["topic"])

    def _conversation_photo(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "conversation.photo", photo=frame["photo"])

    def _conversation_slow_mode(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "conversation.slow_mode", seconds=frame["seconds"])

    def _room_join(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.added", user=self.user)

    def _room_leave(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.removed", user=self.user)

    def _member_bans(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, bans=[{"user": BOB, "author": ANN, "seq": 3, "at_ms": 3}], more=False)

    def _member_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, members=[{"user": BOB, "name": "Bob", "role": "admin", "joined": 1}])

    def _room_online(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, members=[])

    def _room_list(self, wire: Wire, frame: Frame) -> None:
        room = {"conversation": ROOM, "kind": "room", "title": "Tea", "member_count": 2, "online": 1, "joined": False}
        self.ok(wire, frame, rooms=[room])

    def _link_create(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, link={"code": "c", "author": ANN, "at_ms": 3, "used": 0, "approval": frame["approval"]})

    def _link_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, links=[{"code": "c", "author": ANN, "at_ms": 3, "used": 0, "approval": False}])

    def _link_revoke(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _link_preview(self, wire: Wire, frame: Frame) -> None:
        self.ok(
            wire, frame, conversation=ROOM, kind="room", title="Tea", member_count=2, approval=False, joined=False
        )

    def _link_join(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, conversation=ROOM, requested=True)

    def _request_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, requests=[{"user": BOB, "name": "Bob", "code": "c", "at_ms": 3}])

    def _request_answer(self, wire: Wire, frame: Frame) -> None:
        self._about(wire, frame, "member.added", user=frame["user"])

    def _conversation_add(self, wire: Wire, frame: Frame) -> None:
        self._change(wire, frame, "member.added", frame["user"])

    def _conversation_remove(self, wire: Wire, frame: Frame) -> None:
        self._change(wire, frame, "member.removed", frame["user"])

    def _conversation_leave(self, wire: Wire, frame: Frame) -> None:
        self._change(wire, frame, "member.removed", self.user)

    def _message_readers(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, readers=[])

    def _profile_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, profile={"user": frame.get("user", self.user), "name": "Ann", "first_name": "Ann"})

    def _feed_list(self, wire: Wire, frame: Frame) -> None:
        met = {"profile": {"user": self.user, "name": "Ann"}, "common": ["hiking"]}
        self.ok(wire, frame, people=[met] if frame.get("cursor") is None else [], cursor="more")

    _profile_search = _feed_list

    def _profile_update(self, wire: Wire, frame: Frame) -> None:
        own = {"visibility": {"bio": "nobody"}, "percent": 10, "complete": False, "missing": ["photos"]}
        self.ok(wire, frame, profile={"user": self.user, "name": "Ann"}, own=own)

    def _privacy_set(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _privacy_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, read_receipts=True, last_seen="everyone", typing=False)

    def _presence_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, people=[{"user": user, "state": "online"} for user in frame["users"]])

    def _opener_send(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    _opener_ignore = _match_unmatch = _account_pause = _account_delete = _account_return = _opener_send

    def _account_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, standing="active", at_ms=0)

    def _account_export(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, export=BOB)

    def _opener_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, openers=[{"opener": BOB, "text": "hello", "day": "2026-02-28"}], count=1)

    def _opener_sent(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, openers=[], left=4)

    def _match_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, matches=[])

    def _match_suggest(self, wire: Wire, frame: Frame) -> None:
        why = [{"kind": "interests", "values": ["hiking"]}, {"kind": "near", "city": "Vienna"}]
        one = {"profile": {"user": self.user, "name": "Ann"}, "common": ["hiking"], "score": 0.25, "why": why}
        self.ok(wire, frame, people=[one], cursor="more")

    _match_pass = _opener_send

    def _match_history(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, people=[{"user": BOB, "status": "pending", "at_ms": 3, "score": 0.25}])

    def _session_list(self, wire: Wire, frame: Frame) -> None:
        one = {"session": BOB, "device": "phone", "created_at_ms": 1, "used_at_ms": 2, "current": True}
        self.ok(wire, frame, sessions=[one])

    def _session_revoke(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _session_revoke_all(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, count=2)
    def _block(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _unblock(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _block_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, blocks=[{"user": BOB, "name": "Bob", "at_ms": 3}])

    def _report(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, report=ROOM)

    def _report_list(self, wire: Wire, frame: Frame) -> None:
        shown = {"entries": [], "versions": [{"seq": 2, "at_ms": 3, "text": "hi"}], "shown": {"name": "Bob"}}
        one = {"report": ROOM, "reporter": ANN, "what": "user", "target": BOB, "reason": "spam", "at_ms": 3}
        self.ok(wire, frame, reports=[{**one, "evidence": shown}])

    def _report_close(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    def _unread_get(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, messages=0, conversations=0)

    def _contact_request(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, contact=False)

    def _contact_requests(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, requests=[], count=0)

    def _contact_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, contacts=[{"user": BOB, "at_ms": 3, "state": "online"}], count=1)

    def _followers(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, people=[{"user": BOB, "at_ms": 3}], count=1)

    def _post_create(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, post=POST)

    def _post_get(self, wire: Wire, frame: Frame) -> None:
        post = {"id": frame["post"], "author": BOB, "at_ms": 3, "audience": "everyone", "text": "hi"}
        self.ok(wire, frame, post=post)

    def _posts(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, posts=[{"id": POST, "author": BOB, "at_ms": 3, "audience": "everyone", "text": "hi"}])

    def _post_reactions(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, reactions=[{"user": BOB, "emoji": "👍", "at_ms": 3}])

    def _comment_create(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, comment=POST)

    def _comment_list(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, comments=[{"id": POST, "author": BOB, "text": "!", "at_ms": 3}])

    def _nothing_more(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame)

    _following = _followers
    _post_list = _post_tagged = _timeline = _posts
    _contact_answer = _contact_withdraw = _contact_remove = _follow = _unfollow = _nothing_more
    _post_edit = _post_delete = _post_react = _comment_edit = _comment_delete = _nothing_more

    def _presence_watch(self, wire: Wire, frame: Frame) -> None:
        self.ok(wire, frame, online=self.watchers)

    def _user_get(self, wire: Wire, frame: Frame) -> None:
        known = {ANN: "Ann", BOB: "Bob"}
        self.ok(wire, frame, users=[{"id": user, "name": known[user]} for user in frame["users"] if user in known])


def _state(what: str, subject: str, value: Frame | None) -> Frame:
    return {"t": "state", "what": what, "subject": subject, **({} if value is None else {what: value})}


def _part(entry: Frame) -> Frame:
    return {name: value for name, value in entry.items() if name != "t"}


async def token() -> AccessToken:
    """A token that never ends."""
    return AccessToken("a-token")


def numbered_keys(prefix: str = "k") -> Callable[[], str]:
    """Makes keys k1, k2 ..."""
    numbers: Iterator[int] = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


@asynccontextmanager
async def client_of(peer: Peer, **options: Any) -> AsyncIterator[Client]:
    """A client of *peer*, deterministic. A test that hangs fails: the client's pings would go on for ever."""
    fixed: dict[str, Any] = {
        "token": token, "device": "phone", "connect": peer.connect, "random": Random(1), "new_key": numbered_keys(),
    }  # fmt: skip
    with trio.fail_after(100_000):
        async with open_client("ws://server.example/v1/socket", **(fixed | options)) as client:
            yield client
