"""What breaks beneath or inside: PostgreSQL goes away, a bug of ours. The others go on, and nothing is lost."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from konnect_server import commands, receipts, session, walk, writer
from konnect_server.conversation import Conversation
from konnect_server.session import Session
from protocol import frames
from storage.embedded import EmbeddedPostgres, open_embedded
from tests.running import House, Person, Phone, World, create_group, open_house, open_postgres, open_world, prepare

# --- PostgreSQL ---


async def crash(server: EmbeddedPostgres) -> None:
    """SIGKILL to the postmaster and all of its children."""
    pid = server.pid
    assert pid is not None
    os.killpg(os.getpgid(pid), signal.SIGKILL)


async def send_all(phone: Phone, club: str, name: str, count: int) -> list[int]:
    return [
        await phone.send("message.send", conversation=club, key=f"{name}{n}", text=f"{name}{n}") for n in range(count)
    ]


async def test_postgresql_is_killed_with_messages_in_flight(folder: Path) -> None:
    """No error, no loss, no repeat, everybody's order kept: the batch of unknown outcome is sent again when it is back
    (it is watched, and started again)."""
    async with open_embedded(folder / "pg") as postgres, open_world(postgres.dsn, folder) as world:
        await prepare(postgres)
        ann, bob = await world.people("Ann", "Bob")
        async with open_house(world, unsafe_no_fsync=False) as house, house.phone(ann) as hers, house.phone(bob) as his:
            club = await create_group(hers, bob)
            await his.has(club, 1)
            for life in range(2):
                numbers = {
                    hers: await send_all(hers, club, f"a{life}.", 200),
                    his: await send_all(his, club, f"b{life}.", 200),
                }
                await hers.answer(numbers[hers][20])
                await crash(postgres)
                for phone, sent in numbers.items():
                    for number in sent:
                        assert (await phone.answer(number))["t"] == "ok"
            assert await hers.say(club, "last", "we are back") == 802
            await his.has(club, 802)
            log = await world.log(club)
            assert [seq for seq, _ in log] == list(range(1, 803))
            assert [frame.get("text") for frame in hers.of("entry", club)] == [text for _, text in log]
            assert hers.of("entry", club) == his.of("entry", club)
            for name in ("a0.", "a1.", "b0.", "b1."):
                assert [text for _, text in log if str(text).startswith(name)] == [f"{name}{n}" for n in range(200)]


async def test_postgresql_that_stays_away_ends_the_authors_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author is sent away without an answer, comes back and repeats with the same keys: stored once, in order."""
    for room in (writer, walk, commands, receipts):
        monkeypatch.setattr(room, "GIVE_UP_S", 0.5)
    async with open_postgres(folder / "pg") as postgres, open_world(postgres.dsn, folder) as world:
        ann, bob = await world.people("Ann", "Bob")
        async with open_house(world) as house, house.phone(bob) as his:
            async with house.phone(ann) as hers:
                club = await create_group(hers, bob)
                await his.has(club, 1)
                heads = dict(hers.heads)
                await postgres.stop()
                numbers = await send_all(hers, club, "k", 20)
                assert await hers.end() == (4003, "unavailable")
                assert [hers.reply(number) for number in numbers] == [None] * 20
                history = await his.send("history", conversation=club)
                assert (await his.answer(history))["code"] == "unavailable", "to read may fail, and says so"
            async with house.phone(ann, "elsewhere", synced=False) as hers:
                assert await hers.end() == (4003, "unavailable"), "nobody can be brought up to date now"
            await postgres.start()
            async with house.phone(ann, heads=heads) as hers:
                for n in range(20):
                    await hers.say(club, f"k{n}", f"k{n}")
                await his.has(club, 21)
                assert [frame["text"] for frame in his.of("entry", club)[1:]] == [f"k{n}" for n in range(20)]


# --- a bug of ours ---


async def friends(world: World, count: int) -> Sequence[Person]:
    return await world.people(*(f"friend {n}" for n in range(count)))


async def test_a_crash_of_one_conversation_is_contained(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/hazards.md, A6: committed, and the fan-out crashes. Its readers come back and have everything; another
    conversation of the same lane never notices."""
    ann, bob, cid = await friends(world, 3)
    async with house.phone(bob) as his, house.phone(cid) as theirs:
        other = await create_group(his, cid, key="other")
        async with house.phone(ann) as hers:
            club = await create_group(hers, cid)
            await theirs.has(club, 1)
            heads = dict(hers.heads)
            spread = Conversation._spread

            def bug(self: Conversation, data: Sequence[bytes]) -> None:
                if self.id == UUID(club):
                    raise RuntimeError("planted")
                spread(self, data)

            monkeypatch.setattr(Conversation, "_spread", bug)
            await hers.send("message.send", conversation=club, key="k", text="committed")
            assert await hers.end() == (4002, "behind")
            assert await theirs.end() == (4002, "behind")
            await his.say(other, "k")
            monkeypatch.undo()
        async with house.phone(ann, heads=heads) as hers:
            assert [frame["text"] for frame in hers.of("entry", club)] == ["committed"]
            assert await hers.say(club, "k", "committed") == 2
            assert await hers.say(club, "k2") == 3


async def test_a_crash_of_one_session_is_contained(house: House, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await friends(world, 2)
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(his, ann)
        await hers.has(club, 1)
        ping = Session._ping

        def bug(self: Session, command: frames.Ping) -> None:
            if self.user == ann.id:
                raise RuntimeError("planted")
            ping(self, command)

        handlers: dict[Any, Any] = session._HANDLERS
        monkeypatch.setitem(handlers, frames.Ping, bug)
        await his.result("ping")
        await hers.send("ping")
        assert await hers.end() == (4007, "crashed")
        await his.result("ping")
        await his.say(club, "k")
    async with house.phone(ann, heads={club: 1}) as hers:
        assert hers.seqs(club) == [2]


async def test_a_crash_of_one_sessions_task_is_contained(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await friends(world, 2)
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(his, ann)
        store = house.core._store
        states = store.states

        async def bug(person: UUID, conversations: Sequence[UUID], recent: int) -> object:
            if person == ann.id:
                raise RuntimeError("planted")
            return await states(person, conversations, recent)

        monkeypatch.setattr(store, "states", bug)
        await hers.send("conversation.get", conversation=club)
        assert await hers.end() == (4007, "crashed")
        await his.result("conversation.get", conversation=club)
