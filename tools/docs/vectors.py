"""docs/vectors.json: frames as bytes and as JSON, for those who write a client in another language.

Fixed ids and times, so that the file is the same each time. Frames of the server are what our encoder writes; frames of
a client are any encoding that the server must take: the shortest, the longest, fields in another order, unknown fields.
"""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from protocol import codec, errors, frames, limits
from protocol.schema import answers, examples
from protocol.schema.catalogue import COMMANDS, EVENTS, tag
from protocol.schema.examples import ANN, AT_MS, BOB, CLEO, DIRECT, GROUP, SESSION, TOKEN

ABOUT: Final = [
    "Test vectors of Konnect's socket, subprotocol konnect.v1. docs/protocol.md explains the frames.",
    'json: the frame; {"$bytes": hex} stands for binary data, which JSON cannot say. Numbers go up to 2^63 - 1.',
    "hex: the same as MessagePack, the payload of one binary WebSocket message.",
    "wire_hex: the whole WebSocket frame (RFC 6455); a client's is masked, here with 37fa213d.",
    "accepted: frames of a client, which a server must take (hello first), and of a server, which a client must read.",
    "A client need not write a frame as it stands here: any MessagePack of the same map does, in any order of fields.",
    "refused: messages of a client, each with the code of the error and the id under which it is answered.",
]  # fmt: skip

_MASK: Final = bytes.fromhex("37fa213d")  # the example of RFC 6455, section 5.7
_UNICODE: Final = "Grüße 👩‍👩‍👧 \u202eשלום\u202c e\u0301 \U0010ffff \ufeff\t\r\n\x01\x7f"  # noqa: RUF001
_SEQ_MAX: Final = limits.SEQ_MAX
_ID_MAX: Final = 2**53 - 1

Vector = dict[str, Any]


def vectors() -> dict[str, Any]:
    """The whole file, ready for JSON."""
    return {"about": ABOUT, "subprotocol": "konnect.v1", "accepted": [*_client(), *_server()], "refused": [*_refused()]}


# --- What a client sends ----------------------------------------------------------------------------------------------


def _client() -> Iterator[Vector]:
    for command in COMMANDS:
        yield _from_client(f"{tag(command)}: as in the document", examples.COMMANDS[command], wire=True)
    direct, group, ann, bob = str(DIRECT), str(GROUP), str(ANN), str(BOB)
    hello = {"t": "hello", "id": 1, "token": TOKEN, "device": "d"}
    send = {"t": "message.send", "id": 11, "conversation": direct, "key": "m-1", "text": "x"}
    create = {"t": "conversation.create", "id": 5, "key": "c-1", "title": "x", "members": []}
    edit = {"t": "message.edit", "id": 17, "conversation": direct, "key": "e-1", "seq": 1, "text": "x"}
    react = {"t": "message.react", "id": 19, "conversation": direct, "key": "x-1", "seq": 1, "emoji": "a"}
    for name, frame in {
        "hello: nothing optional": hello,
        "hello: first start, written out": {**hello, "cursor": None, "heads": {}, "recent": 1},
        "hello: three heads, highest seq": {**hello, "heads": {direct: 0, group: 7, ann: _SEQ_MAX}},
        "hello: no recent entries": {**hello, "recent": 0},
        "hello: most recent entries": {**hello, "recent": limits.RECENT_ENTRIES},
        "hello: longest device": {**hello, "device": "d" * limits.DEVICE_CHARS},
        "hello: longest cursor": {**hello, "cursor": "c" * limits.CURSOR_CHARS},
        "hello: longest token": {**hello, "token": "t" * limits.TOKEN_CHARS},
        "ping: nothing optional": {"t": "ping", "id": 0},
        "ping: highest id": {"t": "ping", "id": _ID_MAX},
        "ping: null as data": {"t": "ping", "id": 2, "data": None},
        "ping: nested data": {"t": "ping", "id": 2, "data": {"a": [1, -1, 2**63 - 1, -(2**63), True, None, "ü", 0.5]}},
        "ping: binary data": {"t": "ping", "id": 2, "data": b"\x00\xff"},
        "message.send: shortest": send,
        "message.send: longest key": {**send, "key": "k" * limits.KEY_CHARS},
        "message.send: key of any characters": {**send, "key": "schlüssel 🔑"},
        "message.send: longest text, two bytes a character": {**send, "text": "é" * limits.TEXT_CHARS},
        "message.send: all of Unicode but U+0000": {**send, "text": _UNICODE},
        "conversation.create: alone": create,
        "conversation.create: longest title, hidden past": {
            **create, "title": "t" * limits.TITLE_CHARS, "kind": "group", "history": "from_join", "members": [bob],
        },
        "conversation.create: repeated members": {**create, "members": [bob, bob, ann]},
        "conversation.list: nothing optional": {"t": "conversation.list", "id": 6},
        "conversation.list: next page": {"t": "conversation.list", "id": 6, "cursor": "p2", "limit": 100},
        "conversation.get: no recent entries": {"t": "conversation.get", "id": 7, "conversation": group, "recent": 0},
        "history: nothing optional": {"t": "history", "id": 12, "conversation": direct},
        "history: from the end, written out": {"t": "history", "id": 12, "conversation": direct, "before": None},
        "history: bounds": {"t": "history", "id": 12, "conversation": direct, "before": _SEQ_MAX, "limit": 100},
        "receipt: only delivered": {"t": "receipt", "id": 13, "conversation": direct, "delivered": 1},
        "receipt: only read, highest": {"t": "receipt", "id": 13, "conversation": direct, "read": _SEQ_MAX},
        "message.react: an emoji of several code points": {**react, "emoji": "👩‍👩‍👧"},
        "message.react: longest, taken back": {**react, "emoji": "x" * limits.REACTION_CHARS, "on": False},
        "message.edit: longest text, highest seq": {**edit, "text": "é" * limits.TEXT_CHARS, "seq": _SEQ_MAX},
        "message.edit: with entities and a mention of all": {
            **edit, "text": "Hey, all", "entities": [{"kind": "bold", "offset": 0, "length": 3}], "mention_all": "here",
        },
        "message.pin: take it down": {
            "t": "message.pin", "id": 23, "conversation": direct, "key": "p", "seq": 1, "on": False,
        },
        "message.edits: next page": {"t": "message.edits", "id": 20, "conversation": direct, "seq": 1, "after": 43},
        "history: around a place": {"t": "history", "id": 12, "conversation": direct, "around": 40, "limit": 20},
        "history: behind a place": {"t": "history", "id": 12, "conversation": direct, "after": 0},
        "search: every condition": {
            "t": "search", "id": 60, "query": 'tea "at five" -sugar mil*', "conversation": direct, "author": str(BOB),
            "kind": "text", "from_ms": 0, "to_ms": 1_795_000_000_000, "order": "rank", "language": "german",
            "cursor": "p2", "limit": limits.SEARCH_HITS,
        },
        "account.pause: go on": {"t": "account.pause", "id": 261, "key": "a", "on": False},
        "account.pause: be met by nobody new": {"t": "account.pause", "id": 262, "key": "b", "on": True},
        "profile.get: by handle": {"t": "profile.get", "id": 201, "handle": "bob"},
        "profile.update: all that there is": {
            "t": "profile.update", "id": 202, "key": "u", "handle": "zoe_1", "first_name": "Zoë", "last_name": None,
            "bio": _UNICODE, "birthday": "2000-02-29", "gender": "woman", "location": {"city": "Ülm"},
            "interests": ["Tee"], "skills": [], "goals": ["friends"], "languages": ["gsw", "de"],
            "experience": [{"title": "Koch", "organisation": "Löwen", "from_year": 1999, "to_year": 2001, "text": "!"}],
            "links": ["https://example.com/zoë"], "prompts": [{"question": "Tee?", "answer": "Ja"}],
            "photos": [str(BOB)], "visibility": {"bio": "nobody", "last_name": "contacts"},
        },
        "feed.list: every condition, next page": {
            "t": "feed.list", "id": 205, "cursor": "p2", "limit": limits.FEED_PAGE,
            "filter": {
                "age_from": 18, "age_to": 99, "within_km": 5, "interests": ["Tee"], "skills": ["x"],
                "languages": ["de"], "genders": ["woman"], "online": True,
            },
        },
        "profile.search: conditions alone, next page": {
            "t": "profile.search", "id": 206, "filter": {"online": True}, "cursor": "p2", "limit": 1,
        },
        "opener.list: next page": {"t": "opener.list", "id": 211, "cursor": "p2", "limit": 1},
        "opener.sent: next page": {"t": "opener.sent", "id": 212, "cursor": "p2", "limit": 1},
        "match.suggest: every condition, next page": {
            "t": "match.suggest", "id": 215, "cursor": "p2", "limit": limits.SUGGEST_PAGE,
            "filter": {
                "age_from": 18, "age_to": 99, "within_km": 5, "interests": ["Tee"], "skills": ["x"],
                "languages": ["de"], "genders": ["woman"], "online": True,
            },
        },
        "match.pass: taken back": {"t": "match.pass", "id": 216, "key": "s", "user": str(BOB), "on": False},
        "match.history: next page": {"t": "match.history", "id": 217, "cursor": "p2", "limit": 1},
        "match.list: next page": {"t": "match.list", "id": 214, "cursor": "p2", "limit": 1},
        "search: photos of anybody": {"t": "search", "id": 60, "kind": "photo"},
        "message.reactions: next page of one emoji": {
            "t": "message.reactions", "id": 21, "conversation": direct, "seq": 1, "emoji": "👍", "cursor": "p2",
            "limit": 100,
        },
        "message.schedule: longest text, at once": {
            "t": "message.schedule", "id": 22, "conversation": direct, "key": "s", "at_ms": 0,
            "text": "é" * limits.TEXT_CHARS, "content": {"reply_to": 41},
        },
        "poll.create: longest, several, anonymous": {
            "t": "poll.create", "id": 26, "conversation": direct, "key": "q", "question": "?" * limits.QUESTION_CHARS,
            "options": [f"{n:x}" * limits.OPTION_CHARS for n in range(limits.POLL_OPTIONS)], "multiple": True,
            "anonymous": True,
        },
        "poll.vote: take it back": {
            "t": "poll.vote", "id": 27, "conversation": direct, "key": "v", "seq": 1, "options": [],
        },
        "poll.voters: next page": {
            "t": "poll.voters", "id": 28, "conversation": direct, "seq": 1, "after": 49, "limit": 100,
        },
        "message.send: into a thread": {**send, "content": {"thread": _SEQ_MAX}},
        "thread.list: next page": {
            "t": "thread.list", "id": 32, "conversation": direct, "cursor": "p2", "limit": 100,
        },
        "thread.history: bounds": {
            "t": "thread.history", "id": 33, "conversation": direct, "seq": 1, "before": _SEQ_MAX, "limit": 100,
        },
        "thread.read: highest": {
            "t": "thread.read", "id": 35, "conversation": direct, "key": "h", "seq": 1, "read": _SEQ_MAX,
        },
        "message.scheduled: next page of one conversation": {
            "t": "message.scheduled", "id": 24, "conversation": direct, "cursor": "p2", "limit": 100,
        },
        "conversation.create: a room": {
            **create, "kind": "room", "topic": "moves", "tags": ["chess", "x" * limits.TAG_CHARS],
        },
        "conversation.create: a public channel": {**create, "kind": "channel", "public": True},
        "conversation.photo: a medium": {
            "t": "conversation.photo", "id": 47, "conversation": group, "key": "t", "photo": str(examples.PHOTO),
        },
        "conversation.topic: nothing": {"t": "conversation.topic", "id": 46, "conversation": group, "key": "t"},
        "member.ban: nothing optional": {"t": "member.ban", "id": 42, "conversation": group, "key": "b", "user": bob},
        "member.ban: longest reason": {
            "t": "member.ban", "id": 42, "conversation": group, "key": "b", "user": bob,
            "reason": "é" * limits.REASON_CHARS, "until_ms": None,
        },
        "member.bans: next page": {"t": "member.bans", "id": 44, "conversation": group, "before": 13, "limit": 100},
        "room.list: nothing optional": {"t": "room.list", "id": 51},
        "room.list: longest query, next page": {
            "t": "room.list", "id": 51, "query": "é" * limits.QUERY_CHARS, "cursor": "p2", "limit": limits.ROOMS_PAGE,
        },
        "room.online: next page": {"t": "room.online", "id": 52, "conversation": group, "cursor": "p2", "limit": 1},
        "member.list: next page": {"t": "member.list", "id": 53, "conversation": group, "cursor": "p2", "limit": 100},
        "contact.request: nothing optional": {"t": "contact.request", "id": 200, "key": "q", "user": bob},
        "contact.requests: next page of those sent": {
            "t": "contact.requests", "id": 204, "direction": "sent", "cursor": "p2", "limit": limits.PEOPLE_PAGE,
        },
        "contact.list: next page": {"t": "contact.list", "id": 205, "cursor": "p2", "limit": 1},
        "followers: of somebody, next page": {
            "t": "followers", "id": 208, "user": bob, "cursor": "p2", "limit": limits.PEOPLE_PAGE,
        },
        "following: next page of one's own": {
            "t": "following", "id": 209, "user": None, "cursor": "p2", "limit": limits.PEOPLE_PAGE,
        },
        "post.create: longest text": {
            "t": "post.create", "id": 210, "key": "w", "audience": "contacts", "text": "é" * limits.POST_CHARS,
        },
        "post.edit: everything": {
            "t": "post.edit", "id": 211, "key": "w", "post": str(examples.POST), "text": "x", "audience": None,
            "photos": [str(examples.PHOTO)],
        },
        "post.list: next page": {"t": "post.list", "id": 214, "user": bob, "cursor": "p2", "limit": 1},
        "post.tagged: next page": {
            "t": "post.tagged", "id": 215, "tag": "é" * limits.HASHTAG_CHARS, "cursor": "p2", "limit": 1,
        },
        "timeline: next page": {"t": "timeline", "id": 216, "cursor": "p2", "limit": limits.POSTS_PAGE},
        "post.react: taken back": {
            "t": "post.react", "id": 217, "key": "w", "post": str(examples.POST), "emoji": "a", "on": False,
        },
        "post.reactions: next page": {
            "t": "post.reactions", "id": 218, "post": str(examples.POST), "emoji": None, "cursor": "p2",
            "limit": limits.REACTIONS_PAGE,
        },
        "comment.list: next page": {
            "t": "comment.list", "id": 222, "post": str(examples.POST), "cursor": "p2", "limit": 1,
        },
        "link.create: nothing optional": {"t": "link.create", "id": 54, "conversation": group, "key": "n"},
        "link.create: all bounds": {
            "t": "link.create", "id": 54, "conversation": group, "key": "n", "expires_at_ms": _SEQ_MAX,
            "uses": limits.LINK_USES, "approval": False,
        },
        "request.list: next page": {"t": "request.list", "id": 59, "conversation": group, "cursor": "p2", "limit": 100},
        "request.answer: no": {
            "t": "request.answer", "id": 60, "conversation": group, "key": "q", "user": bob, "accept": False,
        },
        "block.list: next page": {"t": "block.list", "id": 203, "cursor": "p2", "limit": limits.BLOCKS_PAGE},
        "report: a person": {"t": "report", "id": 204, "key": "p", "what": {"user": bob}, "reason": "fake"},
        "report: a conversation": {
            "t": "report", "id": 204, "key": "p", "what": {"conversation": group, "user": None}, "reason": "other",
        },
        "report.list: next page": {
            "t": "report.list", "id": 205, "state": "closed", "cursor": "p2", "limit": limits.REPORTS_PAGE,
        },
        "device.list: longest page": {"t": "device.list", "id": 82, "limit": limits.PUSH_DEVICES},
        "notification.list: next page": {
            "t": "notification.list", "id": 83, "cursor": "p2", "limit": limits.NOTIFICATIONS_PAGE,
        },
        "notification.read: one and all that are older": {
            "t": "notification.read", "id": 84, "key": "n", "through": str(examples.NOTICE),
        },
        "privacy.set: every switch": {
            "t": "privacy.set", "id": 122, "key": "p-1", "read_receipts": True, "last_seen": "nobody", "typing": False,
        },
        "typing: a voice note, ended": {
            "t": "typing", "id": 14, "conversation": direct, "what": "voice", "on": False,
        },
        "message.readers: next page": {
            "t": "message.readers", "id": 121, "conversation": group, "seq": 7, "cursor": "p2", "limit": 100,
        },
        "presence.watch: end the watch": {"t": "presence.watch", "id": 15},
        "presence.watch: a conversation": {"t": "presence.watch", "id": 15, "conversation": group},
        "an unknown field is ignored": {**send, "colour": {"deep": [1, 2, {"er": None}]}},
        "fields in another order": dict(reversed(send.items())),
    }.items():  # fmt: skip
        yield _from_client(name, frame)
    upper = {**send, "conversation": direct.upper()}
    yield _from_client("an id in capital letters", upper)
    yield _vector("the longest encoding of everything", "client", send, _widest(send))
    yield _vector("the longest encoding of a hello", "client", {**hello, "heads": {direct: 41}},
                  _widest({**hello, "heads": {direct: 41}}))  # fmt: skip


def _from_client(name: str, frame: dict[str, Any], wire: bool = False) -> Vector:
    payload = msgspec.msgpack.encode(frame)
    vector = _vector(name, "client", frame, payload)
    return {**vector, "wire_hex": masked(payload).hex()} if wire else vector


def masked(payload: bytes, mask: bytes = _MASK) -> bytes:
    """*payload* as a client's final binary frame (RFC 6455, sections 5.2 and 5.3)."""
    head = bytearray(codec.message(payload)[: -len(payload) or None])
    head[1] |= 0x80
    return bytes(head) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def _widest(value: Any) -> bytes:
    """*value* with each length and number in the widest form that MessagePack has for it."""
    match value:
        case None | bool():
            return msgspec.msgpack.encode(value)
        case int():
            return b"\xcf" + value.to_bytes(8, "big")
        case str():
            data = value.encode()
            return b"\xdb" + len(data).to_bytes(4, "big") + data
        case list():
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(_widest(item) for item in value)
        case dict():
            pairs = b"".join(_widest(key) + _widest(item) for key, item in value.items())
            return b"\xdf" + len(value).to_bytes(4, "big") + pairs
        case _:
            raise TypeError(f"no widest form of {type(value)}")


# --- What a server sends ----------------------------------------------------------------------------------------------


def _server() -> Iterator[Vector]:
    for command in COMMANDS:
        answer = examples.answer(command)
        result = examples.result(command)
        yield _from_server(f"ok to {tag(command)}: as in the document", frames.Ok(answer["id"], result), wire=True)
    for event in EVENTS:
        yield _from_server(f"event {tag(event)}: as in the document", examples.EVENTS[event], wire=True)
    for error in errors.catalogue():
        if error in answers.on_socket():
            one = examples.occurrence(error)
            after = msgspec.UNSET if one.retry_after_ms is None else one.retry_after_ms
            number = None if error in answers.FRAME_ERRORS else 11
            yield _from_server(f"error {error.code}", frames.Error(number, error.code, str(one), after), wire=True)
    bare = frames.ConversationState(
        conversation=GROUP, kind="group", title="x", members=[ANN], head=1, first_seq=1, unread=0, read=0, delivered=0
    )
    huge = frames.Entry(
        conversation=DIRECT, seq=_SEQ_MAX, kind="message", author=BOB, key="k" * limits.KEY_CHARS, at_ms=2**53 - 1,
        text=_UNICODE,
    )  # fmt: skip
    entry: dict[str, Any] = {"conversation": GROUP, "author": ANN, "key": "c-5f0d2a", "at_ms": AT_MS}
    for name, frame in {
        "ok: lowest id": frames.Ok(0, frames.Done()),
        "ok: highest id": frames.Ok(_ID_MAX, frames.Appended(_SEQ_MAX, AT_MS)),
        "ok to ping: without data": frames.Ok(2, frames.Pong(AT_MS)),
        "ok to ping: null as data": frames.Ok(2, frames.Pong(AT_MS, Raw(b"\xc0"))),
        "ok to ping: binary data": frames.Ok(2, frames.Pong(AT_MS, Raw(b"\xc4\x02\x00\xff"))),
        "ok to history: nothing": frames.Ok(12, frames.HistoryPage([], False)),
        "ok to history: unicode, highest seq": frames.Ok(12, frames.HistoryPage([huge], True)),
        "ok to conversation.list: nothing": frames.Ok(6, frames.Conversations([])),
        "ok to conversation.list: last page": frames.Ok(6, frames.Conversations([bare])),
        "ok to conversation.get: nothing optional": frames.Ok(7, bare),
        "ok to presence.watch: nobody": frames.Ok(15, frames.Online([])),
        "ok to user.get: nobody, found": frames.Ok(16, frames.Users([])),
        "ok to user.get: unicode": frames.Ok(16, frames.Users([frames.User(CLEO, "Cléo 🦉")])),
        "ok to hello: another session": frames.Ok(1, frames.Welcome(BOB, SESSION)),
        "event entry: a group is created": frames.EntryEvent(
            **entry, seq=1, kind="created", title="Hiking on Sunday", members=[ANN, BOB]
        ),
        "event entry: a direct conversation is created": frames.EntryEvent(
            **{**entry, "conversation": DIRECT}, seq=1, kind="created", members=[ANN, BOB]
        ),
        "event entry: a member is added": frames.EntryEvent(**entry, seq=2, kind="member.added", user=CLEO),
        "event entry: a member is removed": frames.EntryEvent(**entry, seq=3, kind="member.removed", user=CLEO),
        "event entry: a member leaves": frames.EntryEvent(**entry, seq=4, kind="member.removed", user=ANN),
        "event entry: a message is edited": frames.EntryEvent(
            **{**entry, "key": "e-1"}, seq=5, kind="message.edited", of=4, text="Grüße"
        ),
        "event entry: an edit of what is deleted now": frames.EntryEvent(
            **{**entry, "key": "e-1"}, seq=5, kind="message.edited", of=4, deleted=True
        ),
        "event entry: a message is deleted": frames.EntryEvent(
            **{**entry, "key": "d-1"}, seq=6, kind="message.deleted", of=4
        ),
        "event entry: somebody reacts": frames.EntryEvent(
            **{**entry, "key": "x-1"}, seq=7, kind="message.reacted", of=3, emoji="👩‍👩‍👧", on=True, count=2,
            users=[BOB, ANN],
        ),
        "event entry: the last reaction is taken back": frames.EntryEvent(
            **{**entry, "key": "x-2"}, seq=8, kind="message.reacted", of=3, emoji="👍", on=False, count=0, users=[]
        ),
        "event entry: a message that was edited and reacted to": frames.EntryEvent(
            **{**entry, "key": "m-2"}, seq=3, kind="message", text="!", edited_at_ms=AT_MS + 1,
            reactions=[frames.Reaction("a", 1, [ANN]), frames.Reaction("👍", 1_000, [BOB, ANN, CLEO])], changed=9,
        ),
        "event entry: an answer that is pinned": frames.EntryEvent(
            **{**entry, "key": "m-3"}, seq=15, kind="message", text="Yes!", content=frames.Content(
                reply_to=3, entities=[frames.Entity("bold", 0, 3)]
            ), pinned=True, changed=16,
        ),
        "event entry: somebody asks": frames.EntryEvent(
            **{**entry, "key": "q-1"}, seq=12, kind="message", poll=frames.Poll(
                "When?", [frames.PollOption("8", 2), frames.PollOption("9", 1)], 3, True, True, True
            ), changed=14,
        ),
        "event entry: a vote": frames.EntryEvent(
            **{**entry, "key": "v-1"}, seq=13, kind="poll.voted", of=12, counts=[2, 1], voters=3, options=[0, 1]
        ),
        "event entry: the last vote is taken back": frames.EntryEvent(
            **{**entry, "key": "v-2"}, seq=13, kind="poll.voted", of=12, counts=[0, 0], voters=0, options=[]
        ),
        "event entry: a poll is closed": frames.EntryEvent(
            **{**entry, "key": "z-1"}, seq=14, kind="poll.closed", of=12
        ),
        "event entry: an answer in a thread": frames.EntryEvent(
            **{**entry, "key": "m-4"}, seq=17, kind="message", text="!", content=frames.Content(thread=3),
            threads=[frames.ThreadNow(3, frames.Replies(2, 17, AT_MS, [BOB, ANN]))],
        ),
        "event entry: the root of a thread": frames.EntryEvent(
            **{**entry, "key": "m-2"}, seq=3, kind="message", text="?", changed=17,
            replies=frames.Replies(2, 17, AT_MS, [BOB, ANN]),
        ),
        "event entry: the last message of a thread is deleted": frames.EntryEvent(
            **{**entry, "key": "d-4"}, seq=18, kind="message.deleted", of=17, threads=[frames.ThreadNow(3)]
        ),
        "event entry: an answer that was deleted": frames.EntryEvent(
            **{**entry, "key": "m-4"}, seq=17, kind="message", content=frames.Content(thread=3), deleted=True,
            changed=18,
        ),
        "event entry: messages disappear from now on": frames.EntryEvent(
            **{**entry, "key": "t-1"}, seq=9, kind="conversation.retention", retention_s=60
        ),
        "event entry: a message that will disappear": frames.EntryEvent(
            **{**entry, "key": "m-9"}, seq=10, kind="message", text="psst", expires_at_ms=AT_MS + 60_000
        ),
        "event entry: it has disappeared": frames.EntryEvent(
            **{**entry, "key": "expired:11", "author": UUID(int=0)}, seq=11, kind="messages.expired", messages=[10]
        ),
        "event entry: a conversation is closed": frames.EntryEvent(
            **{**entry, "key": "conversation.closed:12", "author": UUID(int=0)}, seq=12, kind="conversation.closed"
        ),
        "event entry: it is opened again": frames.EntryEvent(
            **{**entry, "key": "conversation.opened:13", "author": UUID(int=0)}, seq=13, kind="conversation.opened"
        ),
        "event entry: a message that was deleted": frames.EntryEvent(
            **{**entry, "key": "m-2"}, seq=4, kind="message", deleted=True, changed=6
        ),
        "event entry: a member becomes an admin": frames.EntryEvent(
            **{**entry, "key": "p-1"}, seq=9, kind="member.role", user=BOB, role="admin"
        ),
        "event entry: the owner leaves": frames.EntryEvent(
            **{**entry, "key": "l-1"}, seq=10, kind="member.removed", user=ANN, owner=BOB
        ),
        "event entry: a group is handed over": frames.EntryEvent(
            **{**entry, "key": "o-1"}, seq=11, kind="conversation.owner", owner=BOB
        ),
        "event entry: somebody is banned": frames.EntryEvent(
            **{**entry, "key": "b-1"}, seq=12, kind="member.banned", user=CLEO, reason="Grüße", until_ms=AT_MS + 1
        ),
        "event entry: a ban without end or reason": frames.EntryEvent(
            **{**entry, "key": "b-2"}, seq=13, kind="member.banned", user=CLEO
        ),
        "event entry: a ban is lifted": frames.EntryEvent(
            **{**entry, "key": "u-1"}, seq=14, kind="member.unbanned", user=CLEO
        ),
        "event entry: a room is created": frames.EntryEvent(
            **entry, seq=1, kind="created", title="Chess", members=[ANN], topic="moves", tags=["chess", "🦉"]
        ),
        "event entry: somebody joins a room": frames.EntryEvent(
            **{**entry, "key": "j-1"}, seq=2, kind="member.added", user=BOB, count=2
        ),
        "event entry: another title": frames.EntryEvent(
            **{**entry, "key": "t-1"}, seq=15, kind="conversation.title", title="Grüße 🦉"
        ),
        "event entry: a topic": frames.EntryEvent(
            **{**entry, "key": "t-2"}, seq=16, kind="conversation.topic", topic="Bring water"
        ),
        "event entry: no topic": frames.EntryEvent(**{**entry, "key": "t-3"}, seq=17, kind="conversation.topic"),
        "event entry: a photo": frames.EntryEvent(
            **{**entry, "key": "t-4"}, seq=18, kind="conversation.photo", photo=examples.PHOTO
        ),
        "event entry: slow mode": frames.EntryEvent(
            **{**entry, "key": "t-5"}, seq=19, kind="conversation.slow_mode", seconds=30
        ),
        "event entry: slow mode is off": frames.EntryEvent(
            **{**entry, "key": "t-6"}, seq=20, kind="conversation.slow_mode", seconds=0
        ),
        "event conversation: all that is set": frames.ConversationEvent(
            **msgspec.structs.asdict(
                msgspec.structs.replace(bare, topic="Bring water", photo=examples.PHOTO, slow_mode_s=30, admins=[BOB],
                                        kind="room", tags=["chess"], public=True, member_count=9_000, members=[])
            )
        ),
        "event entry: unicode, highest seq": frames.EntryEvent(**msgspec.structs.asdict(huge)),
        "event entry: longest text": frames.EntryEvent(
            **{**entry, "key": "m-1"}, seq=5, kind="message", text="x" * limits.TEXT_CHARS
        ),
        "event conversation: nothing optional": frames.ConversationEvent(**msgspec.structs.asdict(bare)),
        "event conversation: a direct one": frames.ConversationEvent(
            conversation=DIRECT, kind="direct", title=None, members=[ANN, BOB], head=0, first_seq=1, unread=0, read=0,
            delivered=0, names={ANN: "Ann", BOB: "Bob"}, receipts=[frames.Receipt(BOB, 0, 0)],
        ),
        "event conversation: a closed one": frames.ConversationEvent(
            conversation=DIRECT, kind="direct", title=None, members=[ANN, BOB], head=3, first_seq=1, unread=0, read=2,
            delivered=2, names={ANN: "Ann", BOB: "Bob"}, closed=True,
        ),
        "event conversation: a hidden past": frames.ConversationEvent(
            conversation=GROUP, kind="group", title=_UNICODE, members=[BOB, ANN], head=_SEQ_MAX - 1,
            first_seq=_SEQ_MAX, unread=0, read=0, delivered=0, history="from_join", owner=BOB,
        ),
        "event conversation: with entries": frames.ConversationEvent(
            conversation=DIRECT, kind="direct", title=None, members=[ANN, BOB], head=2, first_seq=1, unread=1, read=1,
            delivered=1, recent=[examples.message(1, ANN, "?", "m-1"), examples.message(2, BOB, "!", "m-2")],
            pins=[1, 2], retention_s=60,
        ),
        "event rewound: everything": frames.Rewound(),
        "event progress: empty cursor": frames.Progress(cursor=""),
        "event synced: longest cursor": frames.Synced(cursor="c" * limits.CURSOR_CHARS),
        "event presence: gone": frames.PresenceEvent(user=BOB, state="offline"),
        "event presence: gone, and since when": frames.PresenceEvent(
            user=BOB, state="offline", last_seen_ms=1_795_000_020_000
        ),
        "event typing: a voice note is done": frames.TypingEvent(
            conversation=DIRECT, user=BOB, what="voice", on=False
        ),
        "event state: switches of privacy": frames.StateEvent(
            what="privacy", subject="", privacy=frames.Privacy(False, "nobody", True)
        ),
        "event state: somebody is blocked": frames.StateEvent(
            what="block", subject=str(BOB), block=frames.Blocked(AT_MS)
        ),
        "event state: a block is taken back": frames.StateEvent(what="block", subject=str(BOB)),
        "event state: a contact": frames.StateEvent(
            what="contact", subject=str(CLEO), contact=frames.OwnContact(AT_MS)
        ),
        "event state: somebody asks to be a contact": frames.StateEvent(
            what="contact_request", subject=str(CLEO), contact_request=frames.OwnRequest(AT_MS, "hi", True)
        ),
        "event state: a draft is gone": frames.StateEvent(what="draft", subject=str(DIRECT)),
        "event state: a muted conversation": frames.StateEvent(
            what="settings", subject=str(GROUP),
            settings=frames.Settings(muted=True, pinned_at_ms=AT_MS, unread=True, nicknames={BOB: _UNICODE}),
        ),
        "event state: a notification": frames.StateEvent(
            what="notification", subject=str(examples.NOTICE),
            notification=frames.Notification(kind="added", at_ms=AT_MS, conversation=GROUP),
        ),
        "event state: quiet hours": frames.StateEvent(
            what="notifying", subject="", notifying=frames.Notifying(1350, 420, "Europe/Berlin", True),
        ),
        "event state: hidden messages": frames.StateEvent(
            what="hidden", subject=f"{GROUP}/1", hidden=frames.Hidden([1_000, 1_999])
        ),
        "event state: a thread that is let go": frames.StateEvent(
            what="thread", subject=f"{GROUP}/3", thread=frames.OwnThread(False, 17)
        ),
        "event state: a thread that is read": frames.StateEvent(
            what="thread", subject=f"{GROUP}/3", thread=frames.OwnThread(read=17)
        ),
        "event state: a message that waits for its time": frames.StateEvent(
            what="scheduled", subject=str(examples.SCHEDULED), scheduled=frames.LaterMessage(DIRECT, AT_MS, _UNICODE),
        ),
        "event state: a message that could not be sent": frames.StateEvent(
            what="scheduled", subject=str(examples.SCHEDULED),
            scheduled=frames.LaterMessage(
                DIRECT, AT_MS, content=frames.Content(location=frames.Location(52.5, 13.4)), problem="not_a_member"
            ),
        ),
        "event state: a request to be let in": frames.StateEvent(
            what="notification", subject=str(examples.NOTICE),
            notification=frames.Notification(
                kind="request", at_ms=AT_MS, conversation=GROUP, user=BOB, read=True, answer="declined"
            ),
        ),
        "event state: an account that leaves": frames.StateEvent(
            what="account", subject="", account=frames.AccountStanding("leaving", 1_795_000_000_000, 1_796_000_000_000),
        ),
        "event state: a first message": frames.StateEvent(
            what="opener", subject=str(BOB), opener=frames.Opener(_UNICODE, "2026-02-28"),
        ),
        "event state: a match": frames.StateEvent(
            what="match", subject=str(BOB), match=frames.Match(BOB, DIRECT, 1_795_000_000_000),
        ),
        "event state: a profile": frames.StateEvent(
            what="profile", subject="",
            profile=frames.OwnProfile(
                frames.Visibility(bio="nobody"), 35, False, ["photos"], first_name="Zoë", bio=_UNICODE,
                latitude=-0.5, longitude=179.5, experience=[frames.Experience("Koch", to_year=1999)], photos=[BOB],
            ),
        ),
        "event receipt: only delivered": frames.ReceiptEvent(conversation=DIRECT, user=BOB, delivered=42, read=0),
    }.items():  # fmt: skip
        yield _from_server(name, frame)


def _from_server(name: str, frame: Struct, wire: bool = False) -> Vector:
    payload = msgspec.msgpack.encode(frame)
    vector = _vector(name, "server", msgspec.msgpack.decode(payload), payload)
    return {**vector, "wire_hex": codec.wire(frame).hex()} if wire else vector


# --- What is refused --------------------------------------------------------------------------------------------------


def _refused() -> Iterator[Vector]:
    for name, payload in {
        "an empty message": b"",
        "nil": b"\xc0",
        "a number": b"\x07",
        "a text": b"\xa4ping",
        "a list": b"\x93\xa4ping\x01\x02",
        "a reserved byte": b"\xc1",
        "a map that breaks off": b"\x82\xa1t\xa4ping\xa2id",
        "a map followed by a byte": b"\x82\xa1t\xa4ping\xa2id\x02\x00",
        "two maps": b"\x82\xa1t\xa4ping\xa2id\x02" * 2,
        "a key that is a number": b"\x82\x01\xa4ping\xa2id\x02",
        "a list that claims 4,294,967,295 items": b"\x83\xa1t\xa4ping\xa2id\x02\xa1x\xdd\xff\xff\xff\xff",
        "a text that claims 4,294,967,295 bytes": b"\x83\xa1t\xa4ping\xa2id\x02\xa1x\xdb\xff\xff\xff\xff",
        "JSON": b'{"t":"ping","id":2}',
    }.items():
        yield _refusal(name, errors.BadFrame, payload, None)
    for name, text in {"that is not UTF-8": b"\xa2\xff\xfe", "with a lone surrogate": b"\xa3\xed\xa0\x80"}.items():
        payload = b"\x83\xa1t\xaaauth.renew\xa2id\x02\xa5token" + text
        yield _refusal(f"a text {name}", errors.BadFrame, payload, 2)
    yield _refusal("no t", errors.Invalid, {"id": 2}, 2)
    yield _refusal("an empty map", errors.Invalid, {}, None)
    yield _refusal("t is null", errors.Invalid, {"t": None, "id": 2}, 2)
    yield _refusal("t is a number", errors.Invalid, {"t": 1, "id": 2}, 2)
    yield _refusal("t is binary", errors.Invalid, {"t": b"ping", "id": 2}, 2)
    yield _refusal("an unknown t", errors.UnknownCommand, {"t": "message.sent", "id": 2}, 2)
    yield _refusal("an unknown t, without id", errors.UnknownCommand, {"t": ""}, None)
    yield _refusal("an event's t", errors.UnknownCommand, {"t": "entry", "id": 2}, 2)
    for name, number in {
        "missing": ..., "null": None, "negative": -1, "over 2^53 - 1": 2**53, "the highest of 64 bits": 2**64 - 1,
        "a float": 2.0, "a text": "2", "yes": True, "a list": [2], "binary": b"2",
    }.items():  # fmt: skip
        yield _refusal(f"id is {name}", errors.Invalid, {"t": "ping"} | ({} if number is ... else {"id": number}), None)
    yield _refusal("id is an extension type", errors.Invalid, b"\x82\xa1t\xa4ping\xa2id\xd4\x05\x00", None)
    for command in COMMANDS:
        example = examples.COMMANDS[command]
        for field in command.__struct_fields__:
            if field != "id" and field in example and field in _required(command):
                left = {key: value for key, value in example.items() if key != field}
                yield _refusal(f"{tag(command)} without {field}", errors.Invalid, left, example["id"])
                null = {**example, field: None}
                yield _refusal(f"{tag(command)} with null as {field}", errors.Invalid, null, example["id"])
    yield from _out_of_bounds()


def _required(command: type[frames.Command]) -> set[str]:
    described = msgspec.inspect.type_info(command)
    assert isinstance(described, msgspec.inspect.StructType)
    return {field.name for field in described.fields if field.required}


def _out_of_bounds() -> Iterator[Vector]:
    bob = str(BOB)
    for command, field, value, name in (
        (frames.Hello, "token", "", "an empty token"),
        (frames.Hello, "token", "t" * (limits.TOKEN_CHARS + 1), "a token too long"),
        (frames.Hello, "token", "t\0", "a token with U+0000"),
        (frames.Hello, "device", "", "an empty device"),
        (frames.Hello, "device", "d" * (limits.DEVICE_CHARS + 1), "a device too long"),
        (frames.Hello, "device", "d\0", "a device with U+0000"),
        (frames.Hello, "cursor", "c" * (limits.CURSOR_CHARS + 1), "a cursor too long"),
        (frames.Hello, "cursor", "\0", "a cursor with U+0000"),
        (frames.Hello, "heads", [], "heads that are a list"),
        (frames.Hello, "heads", {"ann": 1}, "a head that is no id"),
        (frames.Hello, "heads", {str(DIRECT): -1}, "a head below 0"),
        (frames.Hello, "heads", {str(DIRECT): 2**63}, "a head above 2^63 - 1"),
        (frames.Hello, "heads", {str(DIRECT): "41"}, "a head that is a text"),
        (frames.Hello, "recent", -1, "recent below 0"),
        (frames.Hello, "recent", limits.RECENT_ENTRIES + 1, "recent too high"),
        (frames.Ping, "data", "x" * (limits.PING_BYTES - 2), "data too long"),
        (frames.ConversationDirect, "user", "bob", "a user that is no id"),
        (frames.ConversationDirect, "user", 7, "a user that is a number"),
        (frames.ConversationCreate, "key", "", "an empty key"),
        (frames.ConversationCreate, "title", "", "an empty title"),
        (frames.ConversationCreate, "title", "t" * (limits.TITLE_CHARS + 1), "a title too long"),
        (frames.ConversationCreate, "title", "t\0", "a title with U+0000"),
        (frames.ConversationCreate, "kind", "direct", "a direct conversation"),
        (frames.ConversationCreate, "history", "none", "an unknown history"),
        (frames.ConversationCreate, "members", [bob, None], "null as a member"),
        (frames.ConversationCreate, "members", bob, "a text as members"),
        (frames.ConversationList, "limit", 0, "a limit of 0"),
        (frames.ConversationList, "limit", limits.LIST_CONVERSATIONS + 1, "a limit too high"),
        (frames.ConversationGet, "recent", limits.RECENT_ENTRIES + 1, "recent too high"),
        (frames.MessageSend, "key", "", "an empty key"),
        (frames.MessageSend, "key", "k" * (limits.KEY_CHARS + 1), "a key too long"),
        (frames.MessageSend, "key", "k\0", "a key with U+0000"),
        (frames.MessageSend, "text", "", "an empty text"),
        (frames.MessageSend, "text", "x" * (limits.TEXT_CHARS + 1), "a text too long"),
        (frames.MessageSend, "text", "a\0b", "a text with U+0000"),
        (frames.MessageSend, "text", "a\0\n", "a text with U+0000 before its end of line"),
        (frames.MessageSend, "text", b"x", "a text that is binary"),
        (frames.MessageSend, "text", 1.5, "a text that is a float"),
        (frames.MessageEdit, "text", "", "an empty text"),
        (frames.MessageEdit, "text", "a\0", "a text with U+0000"),
        (frames.MessageEdit, "text", "x" * (limits.TEXT_CHARS + 1), "a text too long"),
        (frames.MessageEdit, "seq", 0, "a seq of 0"),
        (frames.MessageReact, "emoji", "", "an empty emoji"),
        (frames.MessageReact, "emoji", "x" * (limits.REACTION_CHARS + 1), "an emoji too long"),
        (frames.MessageReact, "emoji", "a\n", "an emoji with an end of line"),
        (frames.MessageReact, "emoji", "\x7f", "an emoji that is a control character"),
        (frames.MessageReact, "on", 1, "on that is a number"),
        (frames.MessageReactions, "limit", limits.REACTIONS_PAGE + 1, "a limit too high"),
        (frames.Search, "limit", limits.SEARCH_HITS + 1, "a limit too high"),
        (frames.Search, "language", "klingon", "a language that is not known"),
        (frames.HistoryGet, "before", 0, "before of 0"),
        (frames.HistoryGet, "before", 2**63, "before above 2^63 - 1"),
        (frames.HistoryGet, "limit", 0, "a limit of 0"),
        (frames.HistoryGet, "limit", limits.HISTORY_ENTRIES + 1, "a limit too high"),
        (frames.ReceiptMove, "read", -1, "read below 0"),
        (frames.ReceiptMove, "delivered", 2**63, "delivered above 2^63 - 1"),
        (frames.UserGet, "users", [], "nobody"),
        (frames.UserGet, "users", [bob] * (limits.LOOKUP_USERS + 1), "too many people"),
    ):
        example = examples.COMMANDS[command]
        yield _refusal(f"{tag(command)} with {name}", errors.Invalid, {**example, field: value}, example["id"])


def _refusal(name: str, error: type[errors.KonnectError], frame: dict[str, Any] | bytes, number: int | None) -> Vector:
    answer = {"code": error.code, "id": number}
    if isinstance(frame, bytes):
        return {"name": name, "hex": frame.hex(), **answer}
    return {"name": name, "json": _jsonable(frame), "hex": msgspec.msgpack.encode(frame).hex(), **answer}


def _vector(name: str, sender: str, frame: dict[str, Any], payload: bytes) -> Vector:
    return {"name": name, "sender": sender, "t": frame["t"], "json": _jsonable(frame), "hex": payload.hex()}


def _jsonable(value: Any) -> Any:
    """*value* with binary data as ``{"$bytes": hex}``."""
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case dict():
            return {key: _jsonable(item) for key, item in value.items()}
        case list():
            return [_jsonable(item) for item in value]
        case _:
            return value
