"""What is sent arrives once and in order, whatever happens in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_client import (
    ClientClosed,
    ConnectFailed,
    Content,
    Delivery,
    Entry,
    Location,
    MemoryJournal,
    MemoryState,
    OutboxFull,
    OutboxUnwritable,
    Sent,
    ServerRefused,
    TooLarge,
)
from konnect_client.journal import FileJournal
from tests.client_peer import ANN, BOB, HALL, ROOM, Frame, Peer, Wire, client_of, numbered_keys


@pytest.fixture
async def peer() -> Peer:
    peer = Peer()
    peer.room()
    return peer


async def test_a_message_is_acknowledged_and_comes_as_an_entry(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        sent = await client.send(ROOM, "hi", key="my-key")
        assert sent == Sent(seq=2, at_ms=int(trio.current_time() * 1000))
        entries = [event async for event in _until_entry(client.events)]
        assert (entries[-1].author, entries[-1].key, entries[-1].text) == (ANN, "my-key", "hi")


async def _until_entry(events: AsyncIterator[object]) -> AsyncIterator[Entry]:
    async for event in events:
        if isinstance(event, Entry):
            yield event
            return


async def test_a_handle_follows_its_message(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        message = client.send_nowait(ROOM, "hi")
        assert message.delivery is Delivery.PENDING
        assert client.pending == (message,)
        assert await message.wait() == Sent(2, int(trio.current_time() * 1000))
        assert message.delivery.value == "sent"
        assert len(client.pending) == 0


async def test_several_messages_are_on_their_way_at_once(peer: Peer, autojump_clock: MockClock) -> None:
    peer.frozen = False
    async with client_of(peer, window=16) as client:
        await client.wait_synced()
        peer.frozen = True
        handles = [client.send_nowait(ROOM, f"text {number}") for number in range(40)]
        await wait_all_tasks_blocked()
        assert len(peer.asked("message.send")) == 16
        peer.frozen = False
        peer.thawed.set()
        for handle in handles:
            await handle.wait()
    assert peer.texts() == [f"text {number}" for number in range(40)]
    assert len(peer.asked("message.send")) == 40


@pytest.mark.parametrize("point", ["unread", "stored", "entry shown", "answered"])
async def test_a_connection_lost_at_any_point_doubles_nothing(
    peer: Peer, point: str, autojump_clock: MockClock
) -> None:
    """The train enters the tunnel before, while or after the server stores the second of three messages."""
    lost: list[Frame] = []

    def lose(wire: Wire, frame: Frame) -> bool:
        if frame["t"] != "message.send" or frame["text"] != "b" or lost:
            return False
        lost.append(frame)
        if point == "stored":
            peer.append(ROOM, {"kind": "message", "author": ANN, "key": frame["key"], "text": "b"})
        elif point == "entry shown":
            peer.store(wire, frame)
        elif point == "answered":
            entry = peer.store(wire, frame)
            peer.ok(wire, frame, seq=entry["seq"], at_ms=entry["at_ms"])
        wire.drop()
        return True

    peer.interfere = lose
    async with client_of(peer) as client:
        handles = [client.send_nowait(ROOM, text) for text in "abc"]
        assert [(await handle.wait()).seq for handle in handles] == [2, 3, 4]
        assert peer.dialled == 2
    assert peer.texts() == ["a", "b", "c"]


async def test_new_messages_wait_behind_repeated_ones(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        await client.wait_synced()
        peer.frozen = True
        old = [client.send_nowait(ROOM, f"old {number}") for number in range(3)]
        await wait_all_tasks_blocked()
        peer.drop_all()
        new = client.send_nowait(ROOM, "new")
        peer.frozen = False
        peer.thawed.set()
        await new.wait()
        assert [handle.key for handle in old] == [frame["key"] for frame in peer.asked("message.send")[3:6]]
    assert peer.texts() == ["old 0", "old 1", "old 2", "new"]


async def test_an_answer_moves_no_head(peer: Peer, autojump_clock: MockClock) -> None:
    """The answer names seq 4 while entries 2 and 3 of others are still on their way: they are shown, not dropped."""
    async with client_of(peer) as client:
        await client.wait_synced()
        held: list[Frame] = []

        def answer_first(wire: Wire, frame: Frame) -> bool:
            if frame["t"] != "message.send":
                return False
            bobs = {"kind": "message", "author": BOB, "text": "two", "key": "b2"}
            held.append(peer.append(ROOM, bobs))
            held.append(peer.append(ROOM, {**bobs, "text": "three", "key": "b3"}))
            own = peer.append(ROOM, {"kind": "message", "author": ANN, "key": frame["key"], "text": "four"})
            peer.ok(wire, frame, seq=own["seq"], at_ms=0)
            held.append(own)
            return True

        peer.interfere = answer_first
        assert (await client.send(ROOM, "four")).seq == 4
        for entry in held:
            peer.broadcast(entry)
        texts = []
        async for event in client.events:
            if isinstance(event, Entry):
                texts.append(event.text)
                if event.text == "four":
                    break
        assert texts == ["two", "three", "four"]


@pytest.mark.parametrize("code", ["not_a_member", "invalid", "key_reused", "some_new_code"])
async def test_a_refusal_fails_its_message_only(peer: Peer, code: str, autojump_clock: MockClock) -> None:
    def refuse(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "message.send" and frame["text"] == "b":
            peer.error(wire, frame, code)
            return True
        return False

    peer.interfere = refuse
    async with client_of(peer) as client:
        handles = [client.send_nowait(ROOM, text) for text in "abc"]
        await client.flush()
        assert [handle.delivery.value for handle in handles] == ["sent", "failed", "sent"]
        with pytest.raises(ServerRefused) as refused:
            await client.send(ROOM, "b")
        assert refused.value.code == code
        assert refused.value.message == "about message.send"
    assert peer.texts() == ["a", "c"]


@pytest.mark.parametrize("code", ["rate_limited", "unavailable", "internal_error"])
async def test_a_later_answer_reorders_nothing(peer: Peer, code: str, autojump_clock: MockClock) -> None:
    """The first of three in flight is told to come later, and so are those behind it."""
    denied: list[str] = []

    def deny(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "message.send" and trio.current_time() < 5:
            denied.append(frame["text"])
            peer.error(wire, frame, code, retry_after_ms=5_000)
            return True
        return False

    peer.interfere = deny
    async with client_of(peer) as client:
        await client.wait_open()
        for text in "abcde":
            client.send_nowait(ROOM, text)
        await client.flush()
    assert denied == ["a", "b", "c", "d", "e"][: len(denied)]
    assert peer.texts() == ["a", "b", "c", "d", "e"]
    assert peer.dialled == 1


async def test_send_waits_for_room_first_come_first_served(
    peer: Peer, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with client_of(peer, outbox_messages=2) as client:
        await client.wait_synced()
        peer.frozen = True
        for text in "abcdef":
            nursery.start_soon(client.send, ROOM, text)
            await wait_all_tasks_blocked()
        assert [message.text for message in client.pending] == ["a", "b"]
        with pytest.raises(OutboxFull):
            client.send_nowait(ROOM, "no room")
        peer.frozen = False
        peer.thawed.set()
        while len(peer.texts()) < 6:
            await wait_all_tasks_blocked()
    assert peer.texts() == ["a", "b", "c", "d", "e", "f"]


async def test_who_waits_for_room_is_told_of_the_end(
    peer: Peer, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with client_of(peer, outbox_messages=1) as client:
        await client.wait_synced()
        peer.frozen = True
        client.send_nowait(ROOM, "a")
        told = []

        async def wait_for_room() -> None:
            with pytest.raises(ClientClosed, match="replaced"):
                await client.send(ROOM, "b")
            told.append(True)

        nursery.start_soon(wait_for_room)
        await wait_all_tasks_blocked()
        peer.drop_all(4500, "replaced")
        await client.wait_closed()
        await wait_all_tasks_blocked()
        assert told == [True]


async def test_a_send_that_nobody_waits_for_any_more_is_sent(peer: Peer, autojump_clock: MockClock) -> None:
    peer.refuse_connects.append(ConnectFailed("unreachable", "no net"))
    async with client_of(peer) as client:
        with trio.move_on_after(0.1):
            await client.send(ROOM, "hi")
        assert len(client.pending) == 1
        await client.flush()
    assert peer.texts() == ["hi"]


async def test_what_could_never_be_sent_is_refused_at_once(peer: Peer, autojump_clock: MockClock) -> None:
    async with client_of(peer) as client:
        with pytest.raises(TooLarge):
            await client.send(ROOM, "x" * 70_000)
        with pytest.raises(ValueError, match="surrogates"):
            client.send_nowait(ROOM, "\ud800")
        assert client.pending == ()


async def test_a_restart_goes_on_with_the_same_keys_in_order(
    peer: Peer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The phone dies in the tunnel with three messages unsent, of which the server has one."""
    path = tmp_path / "outbox"
    async with client_of(peer, outbox_path=path) as client:
        await client.wait_synced()

        def swallow(wire: Wire, frame: Frame) -> bool:
            if frame["t"] == "message.send":
                if frame["text"] == "a":
                    peer.append(ROOM, {"kind": "message", "author": ANN, "key": frame["key"], "text": "a"})
                wire.drop()
                return True
            return False

        peer.interfere = swallow
        old = [client.send_nowait(ROOM, text) for text in "abc"]
        await wait_all_tasks_blocked()
    assert [message.delivery for message in old] == [Delivery.PENDING] * 3
    with pytest.raises(ClientClosed):
        await old[0].wait()
    peer.interfere = lambda wire, frame: False
    async with client_of(peer, outbox_path=path, new_key=numbered_keys("n")) as client:
        assert [message.key for message in client.pending] == ["k1", "k2", "k3"]
        await client.send(ROOM, "d")
        assert client.pending == ()
    assert peer.texts() == ["a", "b", "c", "d"]
    journal = FileJournal(path)
    assert (journal.load(), journal.user) == ([], ANN)
    journal.close()


async def test_an_outbox_in_use_is_said_plainly(peer: Peer, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with client_of(peer, outbox_path=tmp_path / "outbox"):
        pass
    journal = FileJournal(tmp_path / "outbox")
    with pytest.raises(OutboxUnwritable, match="in use"):
        async with client_of(peer, outbox_path=tmp_path / "outbox"):
            pass
    journal.close()


async def test_a_thousand_messages_cross_a_bad_line(peer: Peer, autojump_clock: MockClock) -> None:
    dice = Random(7)

    def unlucky(wire: Wire, frame: Frame) -> bool:
        if frame["t"] == "message.send" and dice.random() < 0.02:
            wire.drop()
            return True
        return False

    peer.interfere = unlucky
    async with client_of(peer) as client:
        for number in range(1_000):
            client.send_nowait(ROOM, str(number))
        await client.flush()
    assert peer.texts() == [str(number) for number in range(1_000)]
    assert peer.dialled > 5


# --- whatever happens -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def unkind(peer: Peer, dice: Random, badness: float) -> AsyncIterator[None]:
    """For the length of the block, *peer* loses, repeats, delays and denies whatever *dice* say."""

    def interfere(wire: Wire, frame: Frame) -> bool:
        if peer.unread and dice.random() < 0.5:
            late = peer.unread.popleft()  # a connection that was lost is still being read
            if late["t"] == "message.send":
                peer.store(None, late)
        if dice.random() > badness:
            return False
        match dice.choice(("lose", "lose after", "repeat", "say", "mute", "later")):
            case "lose":
                wire.drop(dice.choice((1006, 4000, 4001, 4003)))
            case "lose after" if frame["t"] == "message.send":
                peer.store(wire, frame)
                wire.drop()
            case "repeat":
                for entry in peer.logs[ROOM][-3:]:
                    if wire.signed_in and entry["seq"] <= wire.heads.get(ROOM, 0):
                        wire.push(entry)
                return False
            case "say":
                peer.say(f"bob {len(peer.logs[ROOM])}")
                return False
            case "mute":
                wire.mute = True  # what is sent still arrives, nothing comes back
                return False
            case "later" if frame["t"] == "message.send":
                peer.error(wire, frame, "unavailable", dice.randint(0, 3_000))
                wire.drop(4003, "unavailable")  # so that nothing behind it passes
            case _:
                return False
        return True

    peer.interfere = interfere
    yield
    peer.interfere = lambda wire, frame: False


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), badness=st.floats(0.0, 0.5), restarts=st.integers(0, 3), window=st.integers(1, 20))
def test_whatever_happens_each_message_is_there_once_and_in_order(
    seed: int, badness: float, restarts: int, window: int
) -> None:
    """Losses before and after storing, repeats, silence, restarts: the log holds each message once and in order, and
    what the application saw, over its restarts, is the log."""
    trio.run(live, seed, badness, restarts, window, clock=MockClock(autojump_threshold=0))


async def live(seed: int, badness: float, restarts: int, window: int) -> None:
    dice = Random(seed)
    peer, journal, state, new_key = Peer(), MemoryJournal(), MemoryState(), numbered_keys()
    peer.room()
    peer.room(HALL)
    said: dict[str, list[str]] = {ROOM: [], HALL: []}
    seen: dict[str, dict[int, str]] = {ROOM: {}, HALL: {}}

    async def read(events: AsyncIterator[object]) -> None:
        async for event in events:
            if isinstance(event, Entry) and event.text is not None:
                assert seen[event.conversation].get(event.seq, event.text) == event.text
                seen[event.conversation][event.seq] = event.text

    for life in range(restarts + 1):
        async with (
            client_of(peer, journal=journal, state=state, random=dice, new_key=new_key, window=window) as client,
            trio.open_nursery() as nursery,
            unkind(peer, dice, badness),
        ):
            nursery.start_soon(read, client.events)
            for _ in range(dice.randint(0, 30)):
                conversation = dice.choice((ROOM, HALL))
                text = f"ann {len(said[conversation])}"
                said[conversation].append(text)
                client.send_nowait(conversation, text)
                await trio.sleep(dice.choice((0, 0, 0.01, 1)))
            if life == restarts:
                peer.interfere = lambda wire, frame: False
                await client.flush()
                client.reconnect()
                await wait_all_tasks_blocked()
                await client.wait_synced()
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    for conversation, texts in said.items():
        assert peer.texts(conversation, author=ANN) == texts
    complete = {
        name: {entry["seq"]: entry["text"] for entry in log if entry["kind"] == "message"}
        for name, log in peer.logs.items()
    }
    first_seen = {name: min(entries, default=0) for name, entries in seen.items()}
    for name, entries in complete.items():
        # what was said before the conversation was first announced comes with the announcement, not as entries
        assert seen[name] == {seq: text for seq, text in entries.items() if seen[name] and seq >= first_seen[name]}


async def test_content_is_sent_with_and_without_a_text(
    peer: Peer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """After a restart as well; a text that is empty is left out."""
    path, place = tmp_path / "outbox", Content(location=Location(48.25, 16.5))
    peer.frozen = True
    async with client_of(peer, outbox_path=path) as client:
        client.send_nowait(ROOM, content=place)
        client.send_nowait(ROOM, "here", content=place)
        client.send_nowait(ROOM, "plain")
    peer.frozen = False
    peer.thawed.set()
    async with client_of(peer, outbox_path=path, new_key=numbered_keys("other")) as client:
        await client.flush()
    sent = [frame for frame in peer.received if frame["t"] == "message.send"][-3:]
    said = {"content": {"location": {"lat": 48.25, "lon": 16.5}}}
    assert [{name: frame[name] for name in ("text", "content") if name in frame} for frame in sent] == [
        said, {"text": "here", **said}, {"text": "plain"},
    ]  # fmt: skip


async def test_what_is_done_to_messages_keeps_its_place_and_its_key(
    peer: Peer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Edits, deletions and reactions wait in the outbox file like messages, over a restart too, and are done once."""
    path = tmp_path / "outbox"
    peer.say("theirs")
    peer.frozen = True
    async with client_of(peer, outbox_path=path) as client, trio.open_nursery() as nursery:
        client.send_nowait(ROOM, "mine")
        for call in (
            partial(client.edit, ROOM, 3, "edited"),
            partial(client.react, ROOM, 2, "👍"),
            partial(client.react, ROOM, 2, "👍", on=False),
            partial(client.delete, ROOM, 3),
        ):
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    peer.frozen = False
    peer.thawed.set()
    lost = 2

    def interfere(wire: Wire, frame: Frame) -> bool:
        nonlocal lost
        if frame["t"] == "message.react" and lost:
            lost -= 1
            wire.mute = True  # done, and the answer is lost
            peer._message_react(wire, frame)
            wire.drop()
            return True
        return False

    peer.interfere = interfere
    async with client_of(peer, outbox_path=path, new_key=numbered_keys("other")) as client:
        assert [message.t for message in client.pending] == [
            "message.send", "message.edit", "message.react", "message.react", "message.delete",
        ]  # fmt: skip
        await client.flush()
        assert client.pending == ()
    assert [(entry["kind"], entry.get("of"), entry.get("on")) for entry in peer.logs[ROOM][2:]] == [
        ("message", None, None), ("message.edited", 3, None), ("message.reacted", 2, True),
        ("message.reacted", 2, False), ("message.deleted", 3, None),
    ]  # fmt: skip
