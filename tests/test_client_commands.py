"""Commands and what is known of people."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_client import (
    ClientClosed,
    ConnectFailed,
    ConversationChanged,
    Event,
    PresenceChanged,
    ProtocolViolation,
    ReceiptMoved,
    Sent,
    ServerRefused,
    TooLarge,
    TypingSeen,
)
from konnect_client.people import NAMES, People
from tests.client_peer import ANN, BOB, HALL, ROOM, Frame, Peer, Wire, client_of


@pytest.fixture
async def peer() -> Peer:
    peer = Peer()
    peer.room()
    return peer


class Unlucky:
    """Loses the connection at the first command of a kind, after handling it or before."""

    def __init__(self, peer: Peer, kind: str, *, handled: bool) -> None:
        self.peer, self.kind, self.handled, self.lost = peer, kind, handled, 0

    def __call__(self, wire: Wire, frame: Frame) -> bool:
        if frame["t"] != self.kind or self.lost:
            return False
        self.lost += 1
        if self.handled:
            wire.mute = True  # the answer is lost with the connection
            self.peer.interfere = lambda wire, frame: False
            self.peer.handle(wire, frame)
        wire.drop()
        return True


async def test_scheduled_messages_are_kept_once_and_read_page_by_page(peer: Peer, autojump_clock: MockClock) -> None:
    """Also when the answer to the first was lost."""
    async with client_of(peer) as client:
        await client.wait_synced()
        unlucky = Unlucky(peer, "message.schedule", handled=True)
        peer.interfere = unlucky
        first = await client.schedule(ROOM, "later", 2_000)
        assert unlucky.lost == 1
        second = await client.schedule(ROOM, "sooner", 1_000)
        page = await client.scheduled(limit=1)
        assert [(one.id, one.conversation, one.at_ms, one.text) for one in page.scheduled] == [
            (second, ROOM, 1_000, "sooner")
        ]
        rest = await client.scheduled(cursor=page.cursor)
        assert ([one.id for one in rest.scheduled], rest.cursor) == ([first], None)
        await client.unschedule(second)
        assert [one.id for one in (await client.scheduled()).scheduled] == [first]


async def test_a_direct_conversation_is_announced_before_its_answer(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        assert await client.direct(BOB) == HALL
        changed = [event for event in await queued(client.events) if isinstance(event, ConversationChanged)]
        assert [event.conversation.id for event in changed] == [ROOM, HALL]


async def queued(events: Any) -> list[Event]:
    """What waits in the inbox now."""
    return [await anext(events) for _ in range(len(events)) if len(events)]


@pytest.mark.parametrize("handled", [False, True])
async def test_a_lost_connection_makes_one_group_only(peer: Peer, handled: bool, autojump_clock: MockClock) -> None:
    peer.interfere = Unlucky(peer, "conversation.create", handled=handled)
    async with client_of(peer) as client:
        made = await client.create("Tea", [BOB], history="from_join")
    first, second = peer.asked("conversation.create")
    assert first["key"] == second["key"]
    assert {key: first[key] for key in ("kind", "title", "members", "history")} == {
        "kind": "group", "title": "Tea", "members": [BOB], "history": "from_join",
    }  # fmt: skip
    assert sorted(peer.logs) == [ROOM, made]


@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("what", ["add", "remove", "leave"])
async def test_members_are_changed_once(peer: Peer, what: str, handled: bool, autojump_clock: MockClock) -> None:
    peer.interfere = Unlucky(peer, f"conversation.{what}", handled=handled)
    async with client_of(peer) as client:
        match what:
            case "add":
                assert (await client.add(ROOM, "carl")).seq == 2
                assert peer.members[ROOM] == [ANN, BOB, "carl"]
            case "remove":
                assert (await client.remove(ROOM, BOB)).seq == 2
                assert peer.members[ROOM] == [ANN]
            case "leave":
                assert (await client.leave(ROOM)).seq == 2
                assert peer.members[ROOM] == [BOB]
    first, second = peer.asked(f"conversation.{what}")
    assert first["key"] == second["key"]


async def test_a_key_of_ones_own_repeats_a_command(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        assert await client.add(ROOM, "carl", key="mine") == await client.add(ROOM, "carl", key="mine")
        assert peer.members[ROOM] == [ANN, BOB, "carl"]
        one = await client.create("Tea", key="group")
        assert await client.create("Tea", key="group") == one


async def test_conversations_are_listed_page_by_page(peer: Peer, autojump_clock: MockClock) -> None:
    for number in range(120):
        peer.room(f"01900000-0000-7000-8000-00000001{number:04}")
    async with client_of(peer) as client:
        page = await client.conversations(limit=7)
        assert (len(page.conversations), page.cursor) == (7, "7")
        assert len([conversation async for conversation in client.all_conversations()]) == 121
        assert client.name(BOB) == "Bob"


async def test_one_conversation_is_read(peer: Peer, autojump_clock: MockClock) -> None:
    peer.say("one")
    async with client_of(peer) as client:
        found = await client.conversation(ROOM, recent=2)
        assert (found.title, found.members, found.head) == ("the room", (ANN, BOB), 2)
        assert [entry.kind for entry in found.recent] == ["created", "message"]


async def test_history_is_walked_back_to_the_start(peer: Peer, autojump_clock: MockClock) -> None:
    for number in range(250):
        peer.say(f"text {number}")
    async with client_of(peer) as client:
        page = await client.history(ROOM, limit=10)
        assert [entry.seq for entry in page.entries] == list(range(242, 252))
        assert page.more
        assert [entry.seq async for entry in client.walk_back(ROOM)] == list(range(251, 0, -1))
        assert [entry.seq async for entry in client.walk_back(ROOM, before=4, page=2)] == [3, 2, 1]
        assert len(peer.asked("history")) == 1 + 3 + 2


async def test_a_search_is_read_page_by_page(peer: Peer, autojump_clock: MockClock) -> None:
    for number in range(5):
        peer.say(f"tea {number}")
    async with client_of(peer) as client:
        first = await client.search("tea", limit=3)
        assert [(hit.conversation, hit.snippet, hit.highlights) for hit in first.hits] == [
            (ROOM, f"tea {number}", ((0, 3),)) for number in (4, 3, 2)
        ]
        rest = await client.search("tea", limit=3, cursor=first.cursor)
        assert [hit.seq for hit in rest.hits] == [first.hits[-1].seq - 1, first.hits[-1].seq - 2]
        assert rest.cursor is None


@pytest.mark.parametrize("code", ["rate_limited", "unavailable"])
async def test_a_later_answer_is_waited_out(peer: Peer, code: str, autojump_clock: MockClock) -> None:
    def busy(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "history" and trio.current_time() < 5:
            peer.error(wire, frame, code, retry_after_ms=2_000)
            return True
        return False

    peer.interfere = busy
    async with client_of(peer) as client:
        assert (await client.history(ROOM)).entries
        assert trio.current_time() > 5
        assert 2 <= len(peer.asked("history")) <= 4


async def test_a_refusal_is_raised(peer: Peer, autojump_clock: MockClock) -> None:
    def refuse(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "conversation.add":
            peer.error(wire, frame, "conversation_full")
            return True
        return False

    peer.interfere = refuse
    async with client_of(peer) as client:
        with pytest.raises(ServerRefused, match="conversation_full") as refused:
            await client.add(ROOM, "carl")
        assert not refused.value.retryable


async def test_a_command_waits_for_a_connection_and_may_be_given_up(peer: Peer, autojump_clock: MockClock) -> None:
    peer.refuse_connects.extend(ConnectFailed("unreachable", "no net") for _ in range(3))
    async with client_of(peer) as client:
        with trio.move_on_after(0.1) as scope:
            await client.history(ROOM)
        assert scope.cancelled_caught
        assert (await client.history(HALL if HALL in peer.logs else ROOM, limit=3)).entries
        assert [frame["limit"] for frame in peer.asked("history")] == [3]


async def test_a_command_that_fits_no_frame_is_refused_here(peer: Peer, autojump_clock: MockClock) -> None:
    """The server would close every connection on which it comes."""
    async with client_of(peer) as client:
        with pytest.raises(TooLarge):
            await client.create("Tea", [BOB] * 3_000)
        with pytest.raises(ValueError, match="surrogates"):
            await client.create("\ud800")


async def test_an_answer_that_makes_no_sense_is_said(peer: Peer, autojump_clock: MockClock) -> None:
    def strange(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "history":
            peer.ok(wire, frame, entries="none")
            return True
        return False

    peer.interfere = strange
    async with client_of(peer) as client:
        with pytest.raises(ProtocolViolation, match="entries"):
            await client.history(ROOM)


async def test_any_command_can_be_asked(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        assert (await client.ask("conversation.get", conversation=ROOM, recent=0, nothing=None))["head"] == 1
        assert "nothing" not in peer.asked("conversation.get")[0]


async def test_closing_answers_every_command(peer: Peer, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    told: list[int] = []

    async def ask() -> None:
        with pytest.raises(ClientClosed):
            await client.history(ROOM)
        told.append(1)

    async with client_of(peer) as client:
        await client.wait_synced()
        peer.frozen = True
        for _ in range(40):  # more than may be on their way at once
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert len(told) == 40


# --- receipts, typing -------------------------------------------------------------------------------------------------


async def test_the_newest_receipt_is_told_once_the_one_before_is_stored(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        for seq in range(1, 50):
            client.receipt(ROOM, delivered=seq, read=seq - 1)
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        assert peer.receipts[ROOM, ANN] == (49, 48)
        assert len(peer.asked("receipt")) < 49


async def test_a_lost_receipt_is_told_again(peer: Peer, autojump_clock: MockClock) -> None:
    peer.interfere = Unlucky(peer, "receipt", handled=False)
    async with client_of(peer) as client:
        client.receipt(ROOM, read=3)
        while (ROOM, ANN) not in peer.receipts:
            await trio.sleep(1)
    assert peer.receipts[ROOM, ANN] == (3, 3)


async def test_receipts_and_typing_of_others_come_as_events(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        await queued(client.events)
        peer.broadcast({"t": "receipt", "conversation": ROOM, "user": BOB, "delivered": 2, "read": 1})
        peer.broadcast({"t": "typing", "conversation": ROOM, "user": BOB})
        assert await anext(client.events) == ReceiptMoved(ROOM, BOB, 2, 1)
        assert await anext(client.events) == TypingSeen(ROOM, BOB)


async def test_what_one_does_and_that_one_has_stopped_is_told(peer: Peer, autojump_clock: MockClock) -> None:
    peer.room()
    async with client_of(peer) as client:
        await client.wait_synced()
        client.typing(ROOM, "voice")
        client.typing(ROOM, on=False)
        client.typing(ROOM, on=False)  # they know it
        client.typing(ROOM)
        await wait_all_tasks_blocked()
        told = [(frame.get("what"), frame.get("on")) for frame in peer.received if frame["t"] == "typing"]
        assert told == [("voice", None), (None, False), (None, None)]


async def test_typing_is_told_every_three_seconds_while_open(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        client.typing(ROOM)  # no connection yet: nothing to tell
        await client.wait_synced()
        for _ in range(100):
            client.typing(ROOM)
            client.typing(HALL)
            await trio.sleep(0.1)
        told = [frame["conversation"] for frame in peer.asked("typing")]
        assert told.count(ROOM) == told.count(HALL) == 4


async def test_typing_in_very_many_conversations_costs_a_bounded_amount(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        for number in range(2_500):
            client.typing(f"c{number}")
        assert len(client._typed_at) <= 1_000


# --- people -----------------------------------------------------------------------------------------------------------


async def test_names_are_learnt_and_asked_for_once(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer, recent=0) as client:
        await client.wait_synced()
        assert (client.name(ANN), client.name("carl")) == ("Ann", None)  # came with the conversation
        assert await client.names([ANN, BOB, ANN]) == {ANN: "Ann", BOB: "Bob"}
        assert peer.asked("user.get") == []
        assert await client.names([BOB, "carl"]) == {BOB: "Bob"}
        assert [frame["users"] for frame in peer.asked("user.get")] == [["carl"]]


async def test_many_names_are_asked_for_a_hundred_at_a_time(peer: Peer, autojump_clock: MockClock) -> None:
    def everyone(wire: Wire, frame: Frame) -> bool:
        if frame["t"] != "user.get":
            return False
        peer.ok(wire, frame, users=[{"id": user, "name": user.upper()} for user in frame["users"]])
        return True

    peer.interfere = everyone
    async with client_of(peer) as client:
        names = await client.names(f"u{number}" for number in range(250))
        assert names["u249"] == "U249"
        assert len(names) == 250
        assert [len(frame["users"]) for frame in peer.asked("user.get")] == [100, 100, 50]


def test_names_are_bounded() -> None:
    people = People()
    people.learn({f"u{number}": "x" for number in range(NAMES + 5)})
    assert len(people.names) == NAMES
    assert people.unknown(["u0", "u0", f"u{NAMES}"]) == ["u0"]


async def test_who_is_online_is_known_while_connected(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.broadcast({"t": "presence", "user": BOB, "state": "online"})
        peer.broadcast({"t": "presence", "user": ANN, "state": "online"})
        peer.broadcast({"t": "presence", "user": ANN, "state": "offline"})
        await wait_all_tasks_blocked()
        assert client.online_users == {BOB}
        peer.drop_all()
        await wait_all_tasks_blocked()
        assert client.online_users == frozenset()


async def test_a_watch_outlasts_its_connection(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        assert await client.watch(conversation=ROOM) == (BOB,)
        assert client.online_users == {BOB}
        await queued(client.events)
        peer.watchers = [ANN, BOB]
        client.reconnect()
        await client.wait_synced()
        await wait_all_tasks_blocked()
        assert peer.asked("presence.watch")[-1] == {
            "t": "presence.watch", "id": peer.asked("presence.watch")[-1]["id"], "users": [], "conversation": ROOM,
        }  # fmt: skip
        assert client.online_users == {ANN, BOB}
        told = [event for event in await queued(client.events) if isinstance(event, PresenceChanged)]
        assert told == [PresenceChanged(ANN, online=True), PresenceChanged(BOB, online=True)]


async def test_a_watch_that_is_refused_later_ends(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.watch([BOB])

        def refuse(wire: Wire, frame: Frame) -> bool:
            if frame["t"] == "presence.watch":
                peer.error(wire, frame, "not_a_member")
                return True
            return False

        peer.interfere = refuse
        for _ in range(3):
            client.reconnect()
            await wait_all_tasks_blocked()
        assert len(peer.asked("presence.watch")) == 2


async def test_a_watch_is_repeated_once_a_connection_however_long_it_takes(
    peer: Peer, autojump_clock: MockClock
) -> None:
    async with client_of(peer) as client:
        await client.watch([BOB])
        peer.interfere = lambda wire, frame: frame["t"] == "presence.watch"  # never answered
        for _ in range(5):
            client.reconnect()
            await wait_all_tasks_blocked()
        assert len(peer.asked("presence.watch")) == 6


async def test_sent_is_a_value(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        assert await client.send(ROOM, "a") == Sent(2, 0)
