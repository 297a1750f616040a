"""Join links and requests, with real clients."""

from pathlib import Path

import pytest

from konnect_client import Conversations, Entry, ServerRefused
from storage.uploads import visible_upload
from tests.client_scene import open_scene
from tests.running import House, World


async def test_ann_sends_bob_a_link(dsn: str, folder: Path) -> None:
    """He sees where it leads, and is in; she hears of it at once."""
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = await cast.person("ann"), await cast.person("bob"), await cast.person("cid")
        club = await ann.client.create("Hiking")
        link = await ann.client.create_link(club, uses=1)
        where = await bob.client.preview_link(link.code)
        assert (where.title, where.kind, where.member_count, where.joined) == ("Hiking", "group", 1, False)
        conversations = Conversations()
        joined = await bob.client.join_by_link(link.code)
        for event in await bob.until(lambda event: isinstance(event, Entry) and event.seq == joined.seq):
            conversations.note(event)
        known = conversations.get(club)
        assert known is not None
        assert (known.members, known.head) == ((ann.id, bob.id), joined.seq)
        await ann.until(lambda event: isinstance(event, Entry) and event.user == bob.id)
        await bob.client.send(club, "here I am")
        await ann.hears("here I am")
        with pytest.raises(ServerRefused, match="link_over"):
            await cid.client.join_by_link(link.code)
        assert [one.used for one in await ann.client.links(club)] == [1]
        await ann.client.revoke_link(club, link.code)
        assert await ann.client.links(club) == ()


async def test_bob_asks_and_is_let_in(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = await cast.person("ann"), await cast.person("bob"), await cast.person("cid")
        club = await ann.client.create("Hiking")
        link = await ann.client.create_link(club, approval=True)
        asked = await bob.client.join_by_link(link.code)
        assert (asked.conversation, asked.requested, asked.seq) == (club, True, None)
        assert (await cid.client.join_by_link(link.code)).requested
        with pytest.raises(ServerRefused, match="not_a_member"):
            await bob.client.send(club, "hello?")
        page = await ann.client.requests(club, limit=1)
        assert [one.user for one in page.requests] == [bob.id]
        page = await ann.client.requests(club, cursor=page.cursor)
        assert [one.user for one in page.requests] == [cid.id]
        let_in = await ann.client.answer_request(club, bob.id, True)
        await ann.client.answer_request(club, cid.id, False)
        await bob.until(lambda event: isinstance(event, Entry) and event.seq == let_in.seq)
        await bob.client.send(club, "hello!")
        await ann.hears("hello!")
        with pytest.raises(ServerRefused, match="not_a_member"):
            await cid.client.send(club, "and I?")


async def test_a_link_into_a_group_of_a_thousand(house: House, world: World) -> None:
    """One small entry for everybody, at once."""
    people = await world.crowd(1_000)
    owner, newcomer = people[0], people[-1]
    async with house.phone(owner) as ann, house.phone(newcomer) as zoe:
        made = await ann.result(
            "conversation.create", key="make", title="Club", members=[str(one) for one in people[1:999]]
        )
        club = str(made["conversation"])
        await ann.has(club, 1)
        code = (await ann.result("link.create", conversation=club, key="n"))["link"]["code"]
        seq = (await zoe.result("link.join", code=code, key="j"))["seq"]
        await zoe.has(club, seq)
        await ann.has(club, seq)
        page = await ann.result("member.list", conversation=club, limit=100)
        assert len(page["members"]) == 100
        assert len((await ann.result("conversation.get", conversation=club))["members"]) == 1_000


async def test_everybody_may_fetch_the_photo_of_a_room(house: House, world: World) -> None:
    """It is in the list; a group's is for its members."""
    ann, bob = await world.people("Ann", "Bob")
    photo = await world.photo(ann)
    async with house.phone(ann) as phone:
        made = await phone.result("conversation.create", key="m", kind="room", title="Hall", members=[])
        await phone.result("conversation.photo", conversation=made["conversation"], key="p", photo=str(photo))
        async with house.phone(bob) as his:
            [room] = (await his.result("room.list"))["rooms"]
            assert room["photo"] == str(photo)
        assert await visible_upload(world.database, photo, bob.id) is not None
