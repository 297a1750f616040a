"""One connection's commands and answers, on the simulated database and a virtual clock; the link is the test's hand."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from konnect_server import conversation as conversation_room, session as room, walk
from konnect_server.outbox import LOW_WATER_BYTES
from konnect_server.people.rules import RULES
from konnect_server.presence import Presence
from konnect_server.receipts import Receipts, Spread
from konnect_server.session import FAREWELL_S, Desk, Session
from konnect_server.telemetry import REGISTRY
from konnect_server.wheel import TICK_S, Wheel
from protocol import closing, frames, limits
from protocol.errors import Unauthorized
from protocol.frames import TypingEvent
from storage.errors import StorageRefused, StorageUnavailable
from tests.deck import MOST, Deck, open_deck, until
from tests.fakes import ANN, BOB, CID, DAN, HALL, ROOM, Frame, counted, uid, unwire

EPOCH_S = 1_767_225_600
LINEAGE, SIGN_IN = uid(7000), uid(8000)


class Token(NamedTuple):
    """What a token says; as text, its three parts."""

    user: UUID
    sign_in: UUID
    expires_at_s: int


def token(user: UUID, *, sign_in: UUID = SIGN_IN, lasts_s: int = 900) -> str:
    return f"{user}|{sign_in}|{EPOCH_S + int(trio.current_time()) + lasts_s}"


class Stage:
    """A process without sockets: everything a session stands on."""

    def __init__(self, deck: Deck, presence: Presence | None = None) -> None:
        self.deck, self.store = deck, deck.store
        self.wheel = Wheel()
        self.rung: list[TypingEvent] = []
        self.due_at: list[int] = []
        self.presence = deck.presence = presence or Presence(5.0, trio.current_time, lambda change: None)
        self.receipts = Receipts(deck.store, self._tell_receipt, deck.flush)
        self.desk = Desk(
            store=deck.store, stretches=deck.stretches, registry=deck.registry, presence=self.presence,
            receipts=self.receipts, wheel=self.wheel,
            verify=self._verify, lineage=lambda: LINEAGE, new_id=counted(), now=trio.current_time,
            wall_ms=lambda: int((EPOCH_S + trio.current_time()) * 1000), flush=deck.flush, typing=self._typing,
            messages_per_s=10.0, messages_burst=20, commands_per_s=5.0, commands_burst=40, sockets_per_user=3,
            group_members=MOST, room_members=MOST, sooner=self.due_at.append, search_languages=("english",),
            hello_timeout_s=10.0,
        )  # fmt: skip

    def _verify(self, text: str) -> Token:
        user, sign_in, expires_at_s = text.split("|") if text.count("|") == 2 else ("", "", "0")
        if int(expires_at_s) <= EPOCH_S + trio.current_time():
            raise Unauthorized("the token has ended")
        return Token(UUID(user), UUID(sign_in), int(expires_at_s))

    def _typing(self, event: TypingEvent) -> None:
        self.rung.append(event)
        self.deck.registry.typing(event)

    def _tell_receipt(self, spread: Spread) -> None:
        self.deck.registry.receipt(spread)

    def call(self) -> "Phone":
        """A new connection."""
        return Phone(self)

    async def phone(self, user: UUID, device: str = "phone", **hello: Any) -> "Phone":
        """A connection that has said hello and is up to date."""
        one = self.call()
        one.hello(user, device, **hello)
        await until(lambda: one.of("synced") or one.ended)
        assert one.open
        return one


class Phone:
    """The link of one session, and the client at its other end."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.frames: list[Frame] = []
        self.ended: tuple[int, str] | None = None
        self.paused = False
        self.outbox_bytes = 0
        self.admitted = 0
        self.queue: list[bytes] = []  # what the client sent and nobody has read
        self._number = 0
        self.session = Session(self, stage.desk)

    # what the session calls

    def push(self, data: bytes) -> None:
        if self.ended is None:
            self.frames += unwire(data)

    def push_droppable(self, data: bytes) -> None:
        self.push(data)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.stage.deck.nursery.start_soon(self._read_on)

    def close(self, close: closing.Close) -> None:
        if self.ended is None:
            self.ended = close.code, close.reason

    def signed_in(self) -> None:
        self.admitted += 1

    # what the client does

    async def _read_on(self) -> None:
        self.read()

    def read(self) -> None:
        """The session reads what was sent, as far as it wants to."""
        while self.queue and not self.paused and self.ended is None:
            self.session.received(self.queue.pop(0))

    def raw(self, payload: bytes) -> None:
        self.queue.append(payload)
        self.read()

    def send(self, t: str, /, **fields: Any) -> int:
        """Send a command; its id."""
        self._number += 1
        plain = {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}
        self.raw(msgpack.packb({"t": t, "id": self._number, **plain}))
        return self._number

    def hello(self, user: UUID, device: str = "phone", **more: Any) -> int:
        return self.send("hello", token=more.pop("token", None) or token(user), device=device, **more)

    def say(self, conversation: UUID, key: str, text: str = "hi") -> int:
        return self.send("message.send", conversation=conversation, key=key, text=text)

    def reply(self, number: int) -> Frame | None:
        """The answer to command *number*, if it came; there must be no second one."""
        found = [frame for frame in self.frames if frame["t"] in ("ok", "error") and frame["id"] == number]
        assert len(found) <= 1, "a command is answered once"
        return found[0] if found else None

    async def answer(self, number: int) -> Frame:
        """Wait for the answer to command *number*."""
        await until(lambda: self.reply(number))
        reply = self.reply(number)
        assert reply is not None
        return reply

    async def ask(self, t: str, /, **fields: Any) -> Frame:
        return await self.answer(self.send(t, **fields))

    async def error(self, t: str, /, **fields: Any) -> str:
        """The code of the error that answers a command."""
        reply = await self.ask(t, **fields)
        assert reply["t"] == "error"
        assert isinstance(reply["code"], str)
        return reply["code"]

    def hang_up(self) -> None:
        """The connection is gone."""
        self.ended = self.ended or (1006, "")
        self.session.closed(*self.ended)

    def of(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["t"] == kind]

    @property
    def open(self) -> bool:
        """Nobody has ended the connection."""
        return self.ended is None

    @property
    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.frames if frame["t"] == "entry"]


@asynccontextmanager
async def open_stage(**changes: Any) -> AsyncIterator[Stage]:
    async with open_deck() as deck:
        stage = Stage(deck)
        stage.desk = msgspec.structs.replace(stage.desk, **changes)
        deck.nursery.start_soon(stage.receipts.run)
        deck.nursery.start_soon(stage.wheel.run)
        yield stage


# --- signing in ---


async def test_hello_is_answered_and_ends_in_synced(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        one = stage.call()
        number = one.hello(ANN)
        assert one.admitted == 1, "no stranger any more"
        await until(lambda: one.of("synced"))
        assert one.frames[0] == {"t": "ok", "id": number, "result": {"user": str(ANN), "session": str(one.session.id)}}
        assert stage.deck.came == [ANN]


async def test_hello_is_answered_before_anything_else_and_once(autojump_clock: MockClock) -> None:
    """Its answer waits for what the walk has to say; whatever comes sooner, takes it along."""
    async with open_stage() as stage:
        shut = stage.deck.store.shut("standing")
        one = stage.call()
        hello = one.hello(ANN)
        await shut.reached.wait()
        assert one.frames == []
        ping = one.send("ping")
        assert [frame["id"] for frame in one.of("ok")] == [hello, ping]
        shut.open()
        await until(lambda: one.of("synced"))
        assert [frame["id"] for frame in one.of("ok")] == [hello, ping]


async def test_hello_is_answered_while_the_database_is_away(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.store.failing["standing"] = StorageUnavailable("away")
        one = stage.call()
        one.hello(ANN)
        await until(lambda: one.frames)
        assert [frame["t"] for frame in one.frames] == ["ok"]
        del stage.store.failing["standing"]
        await until(lambda: one.of("synced"))


@pytest.mark.parametrize(
    ("payload", "code", "close"),
    [
        ({"t": "ping", "id": 7}, "hello_first", closing.HELLO_FIRST),
        ({"t": "message.send", "id": 7, "conversation": str(ROOM), "key": "k", "text": "t"}, "hello_first",
         closing.HELLO_FIRST),
        ({"t": "dance", "id": 7}, "unknown_command", closing.BAD_HELLO),
        ({"t": "hello", "id": 7, "device": "d"}, "invalid", closing.BAD_HELLO),
        ({"t": "hello", "id": 7, "token": "no", "device": "d"}, "unauthorized", closing.UNAUTHORIZED),
        ({"t": "hello", "id": 7, "token": 5, "device": "d"}, "invalid", closing.BAD_HELLO),
    ],
)  # fmt: skip
async def test_what_is_no_good_hello_is_told_why_and_closed(
    autojump_clock: MockClock, payload: Frame, code: str, close: closing.Close
) -> None:
    async with open_stage() as stage:
        one = stage.call()
        one.raw(msgpack.packb(payload))
        [reply] = one.frames
        assert (reply["t"], reply["id"], reply["code"]) == ("error", 7, code)
        assert one.ended == (close.code, close.reason)
        one.hang_up()
        assert one.admitted == 0
        assert stage.deck.registry.users == {}


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x82\xa1t\xa5hello", b"\xff" * 100])
async def test_garbage_before_hello_is_told_so_and_closed(autojump_clock: MockClock, payload: bytes) -> None:
    async with open_stage() as stage:
        one = stage.call()
        one.raw(payload)
        [reply] = one.frames
        assert (reply["t"], reply["id"], reply["code"]) == ("error", None, "bad_frame")
        assert one.ended == closing.BAD_HELLO[:2]


async def test_a_text_message_is_told_so(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        one = stage.call()
        one.session.received_text(b"hello?")
        assert one.frames[0]["code"] == "binary_only"
        assert one.ended == closing.BAD_HELLO[:2]
        ann = await stage.phone(ANN)
        ann.session.received_text(b"{}")
        assert ann.frames[-1]["code"] == "binary_only"
        assert ann.open, "once signed in it costs the one message"


async def test_a_bad_cursor_is_told_so_and_closed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        one = stage.call()
        number = one.hello(ANN, cursor="nonsense")
        assert (one.frames[0]["id"], one.frames[0]["code"]) == (number, "bad_cursor")
        assert one.ended == closing.BAD_HELLO[:2]


@pytest.mark.parametrize(
    ("code", "reason", "counted"),
    [(4001, "slow", "slow"), (1006, "", "network"), (1009, "", "protocol"), (4999, "bye", "client")],
)
async def test_why_sockets_end_is_counted(autojump_clock: MockClock, code: int, reason: str, counted: str) -> None:
    """By words of ours only: a client's own would be labels without bound."""
    before = REGISTRY.get_sample_value("konnect_sockets_closed_total", {"reason": counted})
    assert before is not None
    async with open_stage() as stage:
        stage.call().session.closed(code, reason)
    assert REGISTRY.get_sample_value("konnect_sockets_closed_total", {"reason": counted}) == before + 1


async def test_no_hello_in_time_is_closed(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        one, ann = stage.call(), await stage.phone(ANN)
        await trio.sleep(9.9)
        assert one.open
        await until(lambda: one.ended)
        assert one.ended == closing.HELLO_TIMEOUT[:2]
        assert ann.open
        assert stage.deck.flushes, "the close must leave"


async def test_a_second_hello_is_an_error(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = await stage.phone(ANN)
        assert await ann.error("hello", token=token(ANN), device="other") == "hello_twice"
        assert ann.open


async def test_the_same_device_replaces_its_older_socket(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        old = await stage.phone(ANN)
        new = await stage.phone(ANN)
        assert old.ended == closing.REPLACED[:2]
        old.hang_up()
        assert stage.deck.registry.users[ANN].devices == {"phone": new.session}
        assert stage.deck.went == [], "she was here all the time"


async def test_a_hello_that_comes_late_does_not_replace_a_newer_socket(autojump_clock: MockClock) -> None:
    """The phone gave up on a connection and opened another; the hello of the first arrives last."""
    async with open_stage() as stage:
        old = stage.call()
        new = await stage.phone(ANN)
        old.hello(ANN)
        assert old.ended == closing.REPLACED[:2]
        assert new.open


async def test_sockets_of_one_person_are_bounded_and_the_same_device_is_none_more(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        for device in ("a", "b", "c"):
            await stage.phone(ANN, device)
        one = stage.call()
        number = one.hello(ANN, "d")
        assert one.frames[0]["code"] == "too_many_sockets"
        assert one.reply(number)
        assert one.ended == closing.TOO_MANY_SOCKETS[:2]
        await stage.phone(ANN, "c")
        await stage.phone(BOB, "d")


# --- the token ---


async def test_the_socket_ends_with_its_token(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = stage.call()
        ann.hello(ANN, token=token(ANN, lasts_s=60))
        await trio.sleep(59)
        assert ann.open
        await until(lambda: ann.ended)
        assert ann.ended == closing.TOKEN_EXPIRED[:2]


async def test_who_ends_the_own_sign_in_is_answered_before_the_socket_ends(autojump_clock: MockClock) -> None:
    """Others in the process learn of the end as soon as it is stored; a socket of it that asked for nothing goes."""
    async with open_stage() as stage:
        phone, tablet = await stage.phone(ANN), await stage.phone(ANN, "tablet")
        stored = trio.Event()

        async def ask() -> frames.Done:
            stage.deck.registry.sign_out(SIGN_IN, ANN)
            stage.deck.registry.sign_out(SIGN_IN, ANN)
            await stored.wait()
            return frames.Done()

        phone.session.read(frames.SessionRevoke(id=90, session=SIGN_IN), ask)
        phone.session.read(frames.AccountDelete(id=91, key="d"), ask)
        await until(lambda: tablet.ended)
        assert tablet.ended == (4502, "signed_out")
        more = phone.send("session.revoke", session=uid(8001))
        await trio.sleep(FAREWELL_S - 1)
        assert phone.open
        stored.set()
        await until(lambda: phone.ended)
        assert [phone.reply(number) for number in (90, 91)] == [
            {"t": "ok", "id": number, "result": {}} for number in (90, 91)
        ]
        assert phone.reply(more) is None, "nothing new is read, or it could put off the end"
        assert phone.ended == (4502, "signed_out")


async def test_a_sign_in_that_ended_waits_for_no_answer_for_ever(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        phone = await stage.phone(ANN)
        phone.session.read(frames.AccountDelete(id=90, key="d"), trio.sleep_forever)
        stage.deck.registry.sign_out(SIGN_IN, ANN)
        await trio.sleep(FAREWELL_S + 2 * TICK_S)
        assert phone.ended == (4502, "signed_out")
        assert phone.reply(90) is None


async def test_a_renewed_token_keeps_it_open(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = stage.call()
        ann.hello(ANN, token=token(ANN, lasts_s=60))
        await trio.sleep(50)
        reply = await ann.ask("auth.renew", token=token(ANN, sign_in=uid(8001), lasts_s=100))
        assert reply["result"]["expires_in_s"] in (99, 100)
        assert ann.session.sign_in == uid(8001)
        await trio.sleep(99)
        assert ann.open
        await until(lambda: ann.ended)
        assert ann.ended == closing.TOKEN_EXPIRED[:2]


async def test_a_token_that_is_no_good_renews_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = stage.call()
        ann.hello(ANN, token=token(ANN, lasts_s=60))
        assert await ann.error("auth.renew", token=token(BOB)) == "unauthorized"
        assert await ann.error("auth.renew", token="no") == "unauthorized"
        await trio.sleep(60 + TICK_S)
        assert ann.ended == closing.TOKEN_EXPIRED[:2]


# --- messages ---


async def test_two_people_talk(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, bob = await stage.phone(ANN), await stage.phone(BOB)
        reply = await ann.ask("message.send", conversation=ROOM, key="k", text="hello Bob")
        assert reply["result"]["seq"] == 2
        entry, ok = ann.frames[-2:]
        assert (entry["t"], entry["key"], ok["t"]) == ("entry", "k", "ok"), "one's own entry, then the ok"
        assert bob.frames[-1] == entry


async def test_membership_changes_are_entries(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, bob, cid = await stage.phone(ANN), await stage.phone(BOB), await stage.phone(CID)
        assert (await ann.ask("conversation.add", conversation=ROOM, key="a", user=CID))["result"]["seq"] == 2
        await until(lambda: cid.seqs == [2])
        assert cid.frames[-1]["t"] == "cursor"
        assert await bob.error("conversation.remove", conversation=ROOM, key="r", user=CID) == "forbidden"
        assert (await ann.ask("conversation.remove", conversation=ROOM, key="r", user=CID))["result"]["seq"] == 3
        assert (await bob.ask("conversation.leave", conversation=ROOM, key="l"))["result"]["seq"] == 4
        assert (ann.seqs, bob.seqs, cid.seqs) == ([2, 3, 4], [2, 3, 4], [2, 3])


async def test_who_sends_too_fast_is_not_read_and_nothing_is_refused_or_reordered(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        began = trio.current_time()
        numbers = [ann.say(ROOM, f"k{number}") for number in range(60)]
        ping = ann.send("ping")
        assert ann.paused
        for number in [*numbers, ping]:
            assert (await ann.answer(number))["t"] == "ok"
        assert trio.current_time() - began >= 4.0, "40 above the burst at 10 a second"
        assert [frame["key"] for frame in ann.of("entry")] == [f"k{number}" for number in range(60)]
        assert not ann.paused


async def test_other_commands_too_fast_are_told_when_to_come_again(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = await stage.phone(ANN)
        await trio.sleep(60)
        numbers = [ann.send("ping") for _ in range(50)]
        replies = [await ann.answer(number) for number in numbers]
        assert [reply["t"] for reply in replies] == ["ok"] * 40 + ["error"] * 10
        assert {reply["code"] for reply in replies[40:]} == {"rate_limited"}
        await trio.sleep(replies[40]["retry_after_ms"] / 1000)
        assert (await ann.ask("ping"))["t"] == "ok"


async def test_a_flood_of_commands_is_read_slower_and_each_is_answered_once(autojump_clock: MockClock) -> None:
    """Beyond a bounded number of refusals even to refuse costs too much: the socket rests meanwhile."""
    async with open_stage() as stage:
        ann = await stage.phone(ANN)
        await trio.sleep(60)
        numbers = [ann.send("ping") for _ in range(400)]
        assert ann.paused
        replies = [await ann.answer(number) for number in numbers]
        assert {reply.get("code", "ok") for reply in replies} == {"ok", "rate_limited"}
        assert ann.open


async def test_too_many_frames_that_are_none_end_the_connection(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = await stage.phone(ANN)
        for _ in range(room.REFUSALS_BURST):
            ann.raw(b"\xc1")
        assert ann.open
        assert all(frame["code"] == "bad_frame" for frame in ann.of("error"))
        ann.raw(b"\xc1")
        assert ann.ended == closing.FLOOD[:2]
        assert len(ann.of("error")) == room.REFUSALS_BURST + 1


async def test_a_full_inbox_stops_the_reading_until_there_is_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_room, "INBOX_LIMIT", 3)
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        door = stage.store.shut("append")
        numbers = [ann.say(ROOM, f"k{number}") for number in range(10)]
        await door.reached.wait()
        assert ann.paused
        assert len(ann.queue) == 6, "one under way, three in the inbox"
        door.open()
        for number in numbers:
            assert (await ann.answer(number))["t"] == "ok"
        assert ann.seqs == list(range(2, 12))
        assert not ann.paused


async def test_a_socket_paused_for_two_reasons_is_read_when_both_are_gone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_room, "INBOX_LIMIT", 1)
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        door = stage.store.shut("append")
        ann.say(ROOM, "first")
        await door.reached.wait()
        ann.say(ROOM, "second")
        assert ann.paused
        ann.session._rest(5.0)
        door.open()
        await until(lambda: len(ann.seqs) == 2)
        assert ann.paused, "the inbox has room, but the socket rests"
        await trio.sleep(5 + TICK_S)
        assert not ann.paused


# --- what asks the database ---


async def test_opening_a_conversation_tells_of_it_before_the_answer(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann, bob = await stage.phone(ANN), await stage.phone(BOB)
        number = ann.send("conversation.create", key="g", title="Club", members=[str(BOB), str(BOB), str(ANN)])
        made = (await ann.answer(number))["result"]["conversation"]
        told = [frame["t"] for frame in ann.frames]
        assert told[-4:] == ["conversation", "entry", "cursor", "ok"]
        assert ann.frames[-4]["members"] == [str(ANN), str(BOB)]
        assert ann.frames[-3]["kind"] == "created"
        await until(lambda: bob.seqs == [1])
        assert bob.of("conversation")[0]["conversation"] == made
        again = await ann.ask("conversation.create", key="g", title="Club", members=[str(BOB)])
        assert again["result"] == {"conversation": made}
        assert await ann.error("conversation.create", key="g", title="Other", members=[]) == "key_reused"


async def test_a_direct_conversation_is_the_same_for_both(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann, bob = await stage.phone(ANN), await stage.phone(BOB)
        numbers = ann.send("conversation.direct", user=BOB), bob.send("conversation.direct", user=ANN)
        first, second = await ann.answer(numbers[0]), await bob.answer(numbers[1])
        assert first["result"] == second["result"]
        assert await ann.error("conversation.direct", user=ANN) == "invalid"
        assert await ann.error("conversation.direct", user=uid(999)) == "unknown_user"


async def test_reading_commands(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        await stage.deck.say(ROOM, BOB, "2", "3", "4")
        ann, cid = await stage.phone(ANN), await stage.phone(CID)
        page = (await ann.ask("history", conversation=ROOM, limit=2))["result"]
        assert ([entry["seq"] for entry in page["entries"]], page["more"]) == ([3, 4], True)
        page = (await ann.ask("history", conversation=ROOM, before=3, limit=5))["result"]
        assert ([entry["seq"] for entry in page["entries"]], page["more"]) == ([1, 2], False)
        assert await cid.error("history", conversation=ROOM) == "not_a_member"
        [one] = (await ann.ask("conversation.list"))["result"]["conversations"]
        assert one["conversation"] == str(ROOM)
        assert (await ann.ask("conversation.get", conversation=ROOM))["result"]["head"] == 4
        assert await cid.error("conversation.get", conversation=ROOM) == "not_a_member"
        users = (await ann.ask("user.get", users=[str(BOB), str(uid(999))]))["result"]["users"]
        assert [user["id"] for user in users] == [str(BOB)]


async def test_few_reads_run_at_once_and_many_stop_the_reading(autojump_clock: MockClock) -> None:
    async with open_stage(commands_burst=100) as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        door = stage.store.shut("history")
        numbers = [ann.send("history", conversation=ROOM) for _ in range(60)]
        await door.reached.wait()
        await trio.sleep(1)
        assert stage.store.calls.count("history") == room.READS_AT_ONCE
        assert ann.paused
        assert len(ann.queue) == 60 - room.READS_AT_ONCE - room.READS_WAITING
        door.open()
        for number in numbers:
            assert (await ann.answer(number))["t"] == "ok"
        assert not ann.paused


async def test_answers_of_reads_wait_for_a_slow_client_one_by_one(autojump_clock: MockClock) -> None:
    """Each may be a page of 256 KiB: several at once would make an honest client "slow"."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        ann.outbox_bytes = LOW_WATER_BYTES
        numbers = [ann.send("history", conversation=ROOM) for _ in range(3)]
        await trio.sleep(1)
        assert [ann.reply(number) for number in numbers] == [None] * 3
        ann.outbox_bytes = 0
        push = ann.push

        def fills(data: bytes) -> None:
            push(data)
            ann.outbox_bytes = LOW_WATER_BYTES

        ann.session.push = fills
        for count in (1, 2, 3):
            ann.outbox_bytes = 0
            ann.session.writable()
            await trio.sleep(1)
            assert sum(ann.reply(number) is not None for number in numbers) == count


async def test_a_read_waits_out_a_short_absence_of_storage_and_tells_of_a_long_one(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        stage.store.failing["history"] = StorageUnavailable("away")
        number = ann.send("history", conversation=ROOM)
        await trio.sleep(3)
        assert ann.reply(number) is None
        del stage.store.failing["history"]
        assert (await ann.answer(number))["t"] == "ok"
        stage.store.failing["history"] = StorageUnavailable("away")
        assert await ann.error("history", conversation=ROOM) == "unavailable"
        stage.store.failing["create_group"] = StorageRefused("never")
        assert await ann.error("conversation.create", key="g", title="Club", members=[]) == "invalid"


async def test_a_crash_in_a_read_ends_this_connection_alone(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, bob = await stage.phone(ANN), await stage.phone(BOB)
        stage.store.failing["history"] = RuntimeError("a bug")
        ann.send("history", conversation=ROOM)
        await until(lambda: ann.ended)
        assert ann.ended == closing.CRASHED[:2]
        ann.hang_up()
        assert (await bob.ask("message.send", conversation=ROOM, key="k", text="still here"))["t"] == "ok"


# --- what passes by ---


async def test_typing_reaches_the_others_and_not_oneself(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, bob, cid = await stage.phone(ANN), await stage.phone(BOB), await stage.phone(CID)
        assert (await ann.ask("typing", conversation=ROOM))["result"] == {}
        assert bob.of("typing") == [{"t": "typing", "conversation": str(ROOM), "user": str(ANN)}]
        assert ann.of("typing") == []
        assert await cid.error("typing", conversation=ROOM) == "not_a_member"
        assert len(stage.rung) == 1


async def test_typing_before_one_is_up_to_date_is_no_mistake(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that typed right after hello was told to be none, for its conversation was not live for it yet."""
    monkeypatch.setattr(walk, "FIRST_STATES", 0)
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        door = stage.store.shut("states")
        ann = stage.call()
        ann.hello(ANN)
        await door.reached.wait()
        number = ann.send("typing", conversation=ROOM)
        reply = ann.reply(number)
        assert reply is not None
        assert reply["t"] == "ok"
        assert stage.rung == [], "nobody is told: that it is hers is not known here yet"


async def test_receipts_are_answered_and_told(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, tablet, bob = await stage.phone(ANN), await stage.phone(ANN, "tablet"), await stage.phone(BOB)
        reply = await bob.ask("receipt", conversation=ROOM, delivered=1, read=9)
        assert reply["result"] == {"delivered": 1, "read": 1}
        told = {"t": "receipt", "conversation": str(ROOM), "user": str(BOB), "delivered": 1, "read": 1}
        assert ann.of("receipt") == tablet.of("receipt") == [told]


async def test_who_watches_hears_and_who_watches_anew_hears_only_of_those(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB, CID, DAN)
        ann, _ = await stage.phone(ANN), await stage.phone(BOB)
        watched = await ann.ask("presence.watch", users=[str(BOB), str(CID), str(ANN), str(uid(999))])
        assert watched["result"] == {"online": [str(BOB)]}
        cid = await stage.phone(CID)
        assert ann.of("presence") == [{"t": "presence", "user": str(CID), "state": "online"}]
        assert (await ann.ask("presence.watch", users=[str(DAN)]))["result"] == {"online": []}
        cid.hang_up()
        await trio.sleep(6)
        stage.presence.sweep()
        assert len(ann.of("presence")) == 1
        assert await ann.error("presence.watch", users=[str(BOB)], conversation=ROOM) == "invalid"


async def test_the_members_of_a_conversation_may_be_watched_by_a_member(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB, CID)
        ann, _, dan = await stage.phone(ANN), await stage.phone(BOB), await stage.phone(DAN)
        assert (await ann.ask("presence.watch", conversation=ROOM))["result"] == {"online": [str(BOB)]}
        assert await dan.error("presence.watch", conversation=ROOM) == "not_a_member"
        await stage.phone(CID)
        assert [frame["user"] for frame in ann.of("presence")] == [str(CID)]


async def test_partners_are_followed_without_asking_even_when_no_longer_watched(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.other.open_direct(HALL, ANN, BOB)
        bob = await stage.phone(BOB)
        ann = await stage.phone(ANN)
        assert ann.frames[-1] == {"t": "presence", "user": str(BOB), "state": "online"}, "after synced"
        await ann.ask("presence.watch", users=[str(BOB)])
        await ann.ask("presence.watch")
        bob.hang_up()
        await trio.sleep(6)
        stage.presence.sweep()
        assert ann.of("presence")[-1]["state"] == "offline"


async def test_ping(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        ann = await stage.phone(ANN)
        result = (await ann.ask("ping", data={"any": [1, "thing"]}))["result"]
        assert result["data"] == {"any": [1, "thing"]}
        assert abs(result["at_ms"] - (EPOCH_S + trio.current_time()) * 1000) < 1000
        assert set((await ann.ask("ping"))["result"]) == {"at_ms"}
        assert await ann.error("ping", data="x" * (limits.PING_BYTES + 1)) == "invalid"


# --- the end ---


async def test_nothing_of_a_closed_connection_is_left(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        await stage.deck.other.open_direct(HALL, ANN, BOB)
        ann = await stage.phone(ANN)
        await ann.ask("presence.watch", users=[str(CID), str(DAN)])
        door = stage.store.shut("history")
        for _ in range(10):
            ann.send("history", conversation=ROOM)
        await door.reached.wait()
        ann.hang_up()
        door.open()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.deck.registry.conversations == {}
        assert stage.deck.registry.users == {}
        assert stage.presence._followers == {}
        assert len(stage.wheel) == 0
        assert stage.deck.went == [ANN]
        assert not ann.of("ok")[2:], "nobody answers into the void"


@pytest.mark.parametrize(
    ("door", "command"),
    [
        ("presences", ("presence.watch", {"users": [str(BOB)]})),
        ("states", ("presence.watch", {"conversation": str(ROOM)})),
        ("open_direct", ("conversation.direct", {"user": str(BOB)})),
    ],
)
async def test_an_answer_that_comes_as_the_session_ends_leaves_nothing(
    autojump_clock: MockClock, door: str, command: tuple[str, Frame]
) -> None:
    """The read's task was runnable when the socket closed: it went on up to its next wait, followed people's presence
    and started a walk, for a session that was gone; nobody would ever have ended either."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        shut = stage.store.shut(door)
        ann.send(command[0], **command[1])
        await shut.reached.wait()
        shut.open()
        ann.hang_up()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.presence._followers == {}
        assert stage.deck.registry.conversations == {}


async def test_a_message_that_waits_for_its_turn_is_not_sent_for_one_who_is_gone(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, bob = await stage.phone(ANN), await stage.phone(BOB)
        numbers = [ann.say(ROOM, f"k{number}") for number in range(22)]
        await ann.answer(numbers[19])
        ann.hang_up()
        await trio.sleep(5)
        assert bob.seqs == list(range(2, 22))
        assert stage.deck.registry.users.keys() == {BOB}


async def test_answers_held_by_a_long_walk_stop_the_reading(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends while a walk is under way is answered after it, for the entry comes before its ok."""
    monkeypatch.setattr(room, "ANSWERS_WAITING", 2)
    monkeypatch.setattr(walk, "FIRST_STATES", 0)
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        door = stage.store.shut("states")
        ann = stage.call()
        ann.hello(ANN)
        await door.reached.wait()
        numbers = [ann.say(ROOM, f"k{number}") for number in range(3)]
        await until(lambda: ann.paused)
        assert [ann.reply(number) for number in numbers] == [None] * 3
        door.open()
        for number in numbers:
            await ann.answer(number)
        assert ann.frames.index(ann.of("synced")[0]) < ann.frames.index(await ann.answer(numbers[0]))
        assert not ann.paused
        await until(lambda: ann.seqs == [2, 3, 4] or ann.of("conversation")[0]["head"] == 4)


def test_every_command_has_a_handler() -> None:
    handled: set[type[frames.Command]] = {*room._HANDLERS, frames.MessageSend}
    assert handled == set(get_args(frames.AnyCommand))
    actions = set(get_args(frames.AnyAction)) - {frames.MessageSend}
    own = set(get_args(frames.AnyPersonal))
    [act] = {room._HANDLERS[one] for one in actions}
    [keep] = {room._HANDLERS[one] for one in own}
    [people] = {room._HANDLERS[one] for one in RULES}
    by_name: dict[str, Callable[..., None]] = {
        one.__name__: call for one, call in room._HANDLERS.items() if one not in actions | own | set(RULES)
    }
    assert len({*by_name.values(), act, keep, people}) == len(by_name) + 3
