"""Alice on a train, Bob at home: the real client and the real server, with a signal that comes and goes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from konnect_client import Delivery, HistoryPage, Phase, PresenceChanged, ReceiptMoved, SignedOut, TypingSeen
from tests.client_scene import Cast, Person, Signal, open_scene


@pytest.fixture
def settings() -> dict[str, float]:
    """How the server differs from the defaults."""
    return {}


@pytest.fixture
async def cast(dsn: str, folder: Path, settings: dict[str, float]) -> AsyncIterator[Cast]:
    with trio.fail_after(90):
        async with open_scene(dsn, folder, **settings) as opened:
            yield opened


async def test_alice_and_bob_talk(cast: Cast) -> None:
    alice, bob = await cast.person("alice"), await cast.person("bob")
    room = await alice.client.direct(bob.id)
    assert await bob.client.direct(alice.id) == room
    sent = await alice.client.send(room, "hello bob")
    heard = await bob.hears("hello bob")
    assert (heard.seq, heard.at_ms, heard.author) == (sent.seq, sent.at_ms, alice.id)
    await bob.client.send(room, "hello alice")
    await alice.hears("hello alice")
    assert alice.texts(room) == ["hello bob", "hello alice"]
    assert await alice.client.names([bob.id]) == {bob.id: "Bob"}
    page = await bob.client.history(room)
    assert [entry.text for entry in page.entries if entry.kind == "message"] == ["hello bob", "hello alice"]
    assert isinstance(page, HistoryPage)


async def test_alice_loses_her_train_signal_bob_writes_alice_comes_back(cast: Cast) -> None:
    bob = await cast.person("bob")
    async with Signal(cast.server.url).open() as signal:
        alice = await cast.person("alice", url=signal.url)
        room = await alice.client.direct(bob.id)
        await alice.client.send(room, "entering the tunnel")
        await bob.hears("entering the tunnel")
        signal.lose()
        mine = [alice.client.send_nowait(room, f"from the tunnel {number}") for number in range(5)]
        for number in range(5):
            await bob.client.send(room, f"are you there {number}")
        assert [message.delivery for message in mine] == [Delivery.PENDING] * 5
        signal.find()
        for message in mine:
            await message.wait()
        await alice.hears("from the tunnel 4")
        await bob.hears("from the tunnel 4")
    assert alice.texts(room) == [
        "entering the tunnel",
        *(f"are you there {number}" for number in range(5)),
        *(f"from the tunnel {number}" for number in range(5)),
    ]
    assert bob.texts(room) == alice.texts(room)


@pytest.mark.parametrize("bytes_through", [1, 40, 150, 400, 700, 1_100])
async def test_the_tunnel_begins_in_the_middle_of_a_frame(cast: Cast, bytes_through: int) -> None:
    """Whatever part of ten messages the server got, each is there once and in order."""
    bob = await cast.person("bob")
    async with Signal(cast.server.url).open() as signal:
        alice = await cast.person("alice", url=signal.url)
        room = await alice.client.direct(bob.id)
        signal.let_through = bytes_through
        mine = [alice.client.send_nowait(room, f"message {number}") for number in range(10)]
        with alice.client.states() as states:
            async for state in states:
                if state.phase is Phase.WAITING or (state.phase is Phase.CONNECTING and state.reason != "start"):
                    break
        signal.find()
        for message in mine:
            await message.wait()
        await bob.hears("message 9")
    assert bob.texts(room) == [f"message {number}" for number in range(10)]


async def test_a_phone_that_dies_in_the_tunnel_goes_on_where_it_was(cast: Cast, tmp_path: Path) -> None:
    """Outbox and state are files: the restarted app repeats what was unsent, and asks for what it has not shown."""
    bob = await cast.person("bob")
    files = {"outbox_path": tmp_path / "outbox", "state_path": tmp_path / "state"}
    account = await cast.account("alice", tmp_path / "token")
    async with Signal(cast.server.url).open() as signal, cast.client(account, url=signal.url, **files) as client:
        alice = Person(account, client)
        room = await client.direct(bob.id)
        await bob.client.send(room, "first")
        await alice.hears("first")
        signal.lose()
        for number in range(3):
            client.send_nowait(room, f"unsent {number}")
        await bob.client.send(room, "second")
    async with cast.client(account, **files) as client:
        alice = Person(account, client)
        await alice.hears("unsent 2")
        assert alice.texts(room) == ["second", "unsent 0", "unsent 1", "unsent 2"]
        await client.flush()
        assert client.pending == ()


async def test_the_same_device_again_ends_the_first(cast: Cast) -> None:
    alice = await cast.person("alice")
    async with cast.client(alice.account) as second:
        await second.wait_synced()
        assert (await alice.client.wait_closed()).reason == "replaced"
        assert second.state.phase is Phase.OPEN


async def test_her_other_device_sees_what_she_writes(cast: Cast) -> None:
    alice, bob = await cast.person("alice"), await cast.person("bob")
    room = await alice.client.direct(bob.id)
    async with cast.client(alice.account, device="tablet") as tablet:
        await tablet.wait_synced()
        await alice.client.send(room, "written on the phone")
        other = Person(alice.account, tablet)
        heard = await other.hears("written on the phone")
        assert heard.author == alice.id


async def test_signing_out_ends_every_connection_of_the_sign_in(cast: Cast) -> None:
    alice = await cast.person("alice")
    await alice.account.logout()
    assert (await alice.client.wait_closed()).reason == "signed_out"
    with pytest.raises(SignedOut):
        await alice.account()


async def test_a_group_comes_and_goes(cast: Cast) -> None:
    alice, bob, carl = [await cast.person(name) for name in ("alice", "bob", "carl")]
    room = await alice.client.create("Tea", [bob.id])
    await alice.client.send(room, "without carl")
    await alice.client.add(room, carl.id)
    await bob.client.send(room, "welcome carl")
    await carl.hears("welcome carl")
    await alice.client.remove(room, carl.id)
    await alice.client.send(room, "carl has gone")
    await bob.hears("carl has gone")
    assert carl.texts(room) == ["welcome carl"]
    found = await bob.client.conversation(room, recent=20)
    assert (found.title, found.members, found.owner) == ("Tea", (alice.id, bob.id), alice.id)
    kinds = [entry.kind async for entry in bob.client.walk_back(room)]
    assert kinds[::-1] == ["created", "message", "member.added", "message", "member.removed", "message"]
    await bob.client.leave(room)
    assert room not in [one.id for one in (await bob.client.conversations()).conversations]


@pytest.mark.parametrize("settings", [{"presence_grace_s": 0.1}])
async def test_receipts_typing_and_presence_reach_the_other(cast: Cast) -> None:
    alice, bob = await cast.person("alice"), await cast.person("bob")
    room = await alice.client.direct(bob.id)
    sent = await alice.client.send(room, "read me")
    await bob.hears("read me")
    bob.client.receipt(room, read=sent.seq)
    moved = (await alice.until(lambda event: isinstance(event, ReceiptMoved) and event.user == bob.id))[-1]
    assert moved == ReceiptMoved(room, bob.id, sent.seq, sent.seq)
    bob.client.typing(room)
    await alice.until(lambda event: event == TypingSeen(room, bob.id))
    assert await alice.client.watch([bob.id]) == (bob.id,)
    assert bob.id in alice.client.online_users
    await bob.client.close()
    [*_, gone] = await alice.until(lambda event: isinstance(event, PresenceChanged) and not event.online)
    assert isinstance(gone, PresenceChanged)
    assert (gone.user, (gone.last_seen_ms or 1) % 60_000) == (bob.id, 0)
    assert bob.id not in alice.client.online_users


async def test_many_tunnels_lose_nothing(cast: Cast) -> None:
    """A long journey: sixty messages each way over a signal that breaks again and again."""
    bob = await cast.person("bob")
    async with Signal(cast.server.url).open() as signal:
        alice = await cast.person("alice", url=signal.url)
        room = await alice.client.direct(bob.id)
        for number in range(60):
            alice.client.send_nowait(room, f"a{number}")
            bob.client.send_nowait(room, f"b{number}")
            if number % 7 == 3:
                signal.let_through = 37 * number
            if number % 7 == 6:
                signal.find()
            await trio.sleep(0.01)
        signal.find()
        await alice.client.flush()
        await bob.client.flush()
        for person in (alice, bob):
            last = (await person.client.history(room, limit=1)).entries[-1]
            await person.hears(last.text or "")
    assert alice.texts(room) == bob.texts(room)
    assert [text for text in alice.texts(room) if text[0] == "a"] == [f"a{number}" for number in range(60)]
    assert [text for text in alice.texts(room) if text[0] == "b"] == [f"b{number}" for number in range(60)]
