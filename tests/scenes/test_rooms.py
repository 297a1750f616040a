"""Rooms and channels, with real clients."""

from pathlib import Path

import msgspec
import pytest
import trio

from konnect_client import Conversations, Entry, ServerRefused
from tests.client_scene import open_scene
from tests.running import House, World


async def test_bob_walks_into_a_room(dsn: str, folder: Path) -> None:
    """He has its event before the answer, hears what is said, and hears nothing after leaving."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        hall = await ann.client.create("Chess", kind="room", tags=["chess"], topic="openings")
        conversations = Conversations()
        joined = await bob.client.join(hall)
        for event in await bob.until(lambda event: isinstance(event, Entry) and event.seq == joined.seq):
            conversations.note(event)
        known = conversations.get(hall)
        assert known is not None
        assert (known.kind, known.topic, known.tags, known.member_count, known.members) == (
            "room", "openings", ("chess",), 2, (),
        )  # fmt: skip
        await ann.client.send(hall, "e4")
        await bob.hears("e4")
        await bob.client.send(hall, "e5")
        assert (await ann.hears("e5")).author == bob.id
        left = await bob.client.leave_room(hall)
        await bob.until(lambda event: isinstance(event, Entry) and event.seq == left.seq)
        await ann.client.send(hall, "where are you?")
        with pytest.raises(ServerRefused, match="not_a_member"):
            await bob.client.send(hall, "here")
        again = await bob.client.join(hall)
        assert again.seq == left.seq + 2
        assert "where are you?" not in bob.texts(hall)


async def test_bob_finds_a_room_and_who_is_there(dsn: str, folder: Path) -> None:
    """The head-count follows within seconds; of three members two are connected."""
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = await cast.person("ann"), await cast.person("bob"), await cast.person("cid")
        hall = await ann.client.create("Chess club", kind="room", tags=["chess"], topic="openings")
        await ann.client.create("Tea", kind="room")
        [room] = (await bob.client.rooms("open")).rooms
        assert (room.conversation, room.joined, room.member_count) == (hall, False, 1)
        assert [one.title for one in (await bob.client.rooms(tags=["Chess"])).rooms] == ["Chess club", "Tea"]
        first = await bob.client.rooms(limit=1)
        second = await bob.client.rooms(limit=1, cursor=first.cursor)
        assert ([one.title for one in (*first.rooms, *second.rooms)], second.cursor) == (["Tea", "Chess club"], None)
        await bob.client.join(hall)
        await cid.client.join(hall)
        with trio.fail_after(20):
            while (room := (await bob.client.rooms("chess")).rooms[0]).online != 3:
                await trio.sleep(0.2)
        assert room.joined
        members = (await bob.client.members(hall)).members
        assert [(one.user, one.role) for one in members] == [(ann.id, "owner"), (bob.id, "member"), (cid.id, "member")]
        online = await bob.client.members_online(hall, limit=2)
        assert [one.user for one in online.members] == [ann.id, bob.id]
        assert online.cursor is not None
        assert [one.user for one in (await bob.client.members_online(hall, cursor=online.cursor)).members] == [cid.id]


async def test_in_a_channel_the_readers_read(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        news = await ann.client.create("News", kind="channel", public=True)
        await bob.client.join(news)
        await ann.client.send(news, "extra, extra")
        heard = await bob.hears("extra, extra")
        with pytest.raises(ServerRefused, match="forbidden"):
            await bob.client.send(news, "me too")
        await bob.client.react(news, heard.seq, "👍")
        await ann.client.set_role(news, bob.id, "admin")
        await bob.client.send(news, "me too")


async def test_a_room_of_a_thousand_is_joined_by_one_small_entry(house: House, world: World) -> None:
    """No frame lists the members, and a join reads as many rows as in an empty room."""
    people = await world.crowd(1_002)
    owner, newcomer = people[0], people[-1]
    async with house.phone(owner) as ann, house.phone(newcomer) as zoe:
        made = await ann.result(
            "conversation.create", key="make", kind="room", title="Hall", members=[str(one) for one in people[1:1_001]]
        )
        hall = str(made["conversation"])
        await ann.has(hall, 1)
        seq = (await zoe.result("room.join", conversation=hall, key="j"))["seq"]
        await zoe.has(hall, seq)
        await ann.has(hall, seq)
        [entry] = [one for one in ann.of("entry", hall) if one["seq"] == seq]
        assert (entry["count"], len(msgspec.msgpack.encode(entry)) < 500) == (1_002, True)
        [event] = zoe.of("conversation", hall)
        assert (event["member_count"], event["members"]) == (1_002, [])
        assert len(msgspec.msgpack.encode(event)) < 1_000
