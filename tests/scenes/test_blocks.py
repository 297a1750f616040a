"""Somebody blocks somebody: on one server and on two, live and later."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from konnect_client import Entry, Event, ServerRefused
from konnect_client.conversations import Conversations
from tests.client_scene import Person as Actor, open_scene as client_scene
from tests.processes import open_scene
from tests.running import Frame, House, Person, Phone, World, create_group

SILENT = pytest.mark.parametrize("mute", [False, True], ids=["by the bell", "by the sweep"])


def presence(phone: Phone, of: Person) -> list[str]:
    """What *phone* was told of a person's presence, live."""
    return [frame["state"] for frame in phone.of("presence") if frame["user"] == str(of)]


def by(phone: Phone, kind: str, of: Person) -> list[Frame]:
    return [frame for frame in phone.of(kind) if frame["user"] == str(of)]


def _is(kind: str, event: Event) -> bool:
    return isinstance(event, Entry) and event.kind == kind


def _blocks(ann: Actor, users: list[str], event: Event) -> bool:
    return list(ann.client.personal.blocked()) == users


async def pair_and_club(hers: Phone, his: Phone, bob: Person, *more: Person) -> tuple[str, str]:
    """A direct conversation of two, and a group, in which each has said something."""
    pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
    club = await create_group(hers, bob, *more)
    await his.has(pair, 1)
    await his.has(club, 1)
    for place in (pair, club):
        await hers.say(place, "a", "by Ann")
        await his.say(place, "b", "by Bob")
        await hers.has(place, 3)
    return pair, club


async def test_neither_sees_the_other_any_more_and_what_they_write_in_a_group_stays(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        pair, club = await pair_and_club(hers, his, bob, cid)
        await cids.has(club, 3)
        await hers.result("presence.watch", users=[str(bob), str(cid)])
        await his.result("presence.watch", users=[str(ann), str(cid)])
        await cids.result("receipt", conversation=club, read=3)
        told = len(his.frames)
        await hers.result("block", key="b", user=bob.id)
        await his.until(lambda: presence(his, ann)[-1:] == ["offline"])
        assert presence(hers, bob)[-1:] == ["offline"], "to the blocker before the answer"
        await his.has(pair, 4)
        kinds = {(frame["t"], frame.get("kind")) for frame in his.frames[told:]}
        assert kinds <= {("presence", None), ("entry", "conversation.closed"), ("cursor", None)}, "nothing tells who"
        assert str(ann) not in str([frame for frame in his.frames[told:] if frame["t"] == "entry"])

        for phone, other in ((hers, bob), (his, ann)):
            quiet, heard = len(phone.frames), len(phone.of("typing"))
            assert (await phone.result("presence.get", users=[str(other), str(cid)]))["people"] == [
                {"user": str(cid), "state": "online"}
            ]
            assert (await phone.result("presence.watch", users=[str(other)]))["online"] == []
            online = (await phone.result("room.online", conversation=club))["members"]
            assert str(other) not in [one["user"] for one in online]
            state = await phone.result("conversation.get", conversation=club)
            assert str(other) not in [one["user"] for one in state["receipts"]]
            assert state["names"][str(other)], "what the other says there needs a name"
            seq = 2 if phone is hers else 3
            readers = (await phone.result("message.readers", conversation=club, seq=seq))["readers"]
            assert str(other) not in [one["user"] for one in readers]
            assert await phone.error("message.send", conversation=pair, key="x", text="!") == "conversation_closed"
            assert (await phone.result("conversation.get", conversation=pair))["closed"]
            there = his if phone is hers else hers
            await there.result("typing", conversation=club)
            await there.result("receipt", conversation=club, read=3)
            await cids.result("typing", conversation=club)
            await phone.saw("typing", heard + 1)
            seen = [frame for frame in phone.frames[quiet:] if frame["t"] in ("typing", "receipt", "presence")]
            assert str(other) not in [frame["user"] for frame in seen]

        assert await his.say(club, "b2", "still here") == 4
        await hers.has(club, 4)
        await hers.result("unblock", key="u", user=bob.id)
        await his.has(pair, 5)
        await his.until(lambda: presence(his, ann)[-1:] == ["online"])
        assert (await his.result("presence.get", users=[str(ann)]))["people"] == [{"user": str(ann), "state": "online"}]
        assert await hers.say(pair, "a2", "again") == 6
        await his.until(lambda: by(his, "receipt", ann))
        await hers.result("typing", conversation=pair)
        await his.until(lambda: by(his, "typing", ann))


@SILENT
async def test_it_holds_in_other_processes(world: World, mute: bool) -> None:
    """Ann blocks by one process; her tablet and Bob are on the other."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2, mute=mute)
        hers, tablet = await scene.phone(one, ann), await scene.phone(two, ann, "tablet")
        his, cids = await scene.phone(two, bob), await scene.phone(two, cid)
        pair, club = await pair_and_club(hers, his, bob, cid)
        await his.until(lambda: presence(his, ann)[-1:] == ["online"])
        await tablet.until(lambda: presence(tablet, bob)[-1:] == ["online"])
        await hers.result("block", key="b", user=bob.id)
        await his.until(lambda: presence(his, ann)[-1:] == ["offline"])
        await tablet.until(lambda: presence(tablet, bob)[-1:] == ["offline"])
        await his.has(pair, 4)
        await tablet.until(lambda: [one["subject"] for one in tablet.of("state") if "block" in one] == [str(bob)])
        before = len(his.frames)
        await tablet.result("typing", conversation=club)
        await cids.result("typing", conversation=club)
        await his.until(lambda: by(his, "typing", cid))
        assert str(ann) not in [frame.get("user") for frame in his.frames[before:] if frame["t"] == "typing"]


async def test_who_comes_back_or_starts_afresh_sees_nothing_either(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        pair, club = await pair_and_club(hers, his, bob)
        cursor, heads = his.cursor, dict(his.heads)
    async with house.phone(ann) as hers:
        await hers.result("block", key="b", user=bob.id)
        await hers.result("receipt", conversation=club, read=3)
        returning: dict[str, Any] = {"cursor": cursor, "heads": heads}
        for more in (returning, {}):
            async with house.phone(bob, f"with {len(more)}", **more) as his:
                assert by(his, "presence", ann) == []
                assert by(his, "receipt", ann) == []
                for state in his.of("conversation"):
                    assert state.get("receipts", []) == []
                await his.has(pair, 4)
        async with house.phone(ann, "tablet") as tablet:
            assert [frame["subject"] for frame in tablet.of("state")] == [str(bob)]


async def test_a_mention_a_reply_and_a_reaction_of_the_other_are_not_told(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        _, club = await pair_and_club(hers, his, bob, cid)
        await cids.has(club, 3)
        await hers.result("block", key="b", user=bob.id)
        named = {"text": "hey you", "content": {"entities": [
            {"kind": "mention", "offset": 0, "length": 3, "user": str(ann)}
        ]}}  # fmt: skip
        for key, content in (("r", {"reply_to": 2}), ("m", {"mention_all": "all"})):
            await his.result("message.send", conversation=club, key=key, text="!", content=content)
        await his.result("message.send", conversation=club, key="n", **named)
        await his.result("message.react", conversation=club, key="x", seq=2, emoji="+", on=True)
        await cids.result("message.send", conversation=club, key="n", **named)

        async def told(phone: Phone) -> list[tuple[str, str]]:
            found = (await phone.result("notification.list"))["notifications"]
            return [(one["kind"], one["user"]) for one in found if one["kind"] != "added"]

        with trio.fail_after(20):
            while await told(hers) != [("mention", str(cid))]:
                assert str(bob) not in [user for _, user in await told(hers)]
                await trio.sleep(0.02)
        assert ("mention", str(bob)) in await told(cids), "to others it is"


async def test_whom_one_does_not_see_one_does_not_find(house: House, world: World) -> None:
    """As if there were no such person; but who is seen to belong is seen to belong."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        await hers.result("block", key="b", user=bob.id)
        for phone, other in ((hers, bob), (his, ann)):
            assert await phone.result("user.get", users=[str(other), str(cid)]) == {
                "users": [{"id": str(cid), "name": "Cid"}]
            }
            assert await phone.error("conversation.direct", user=other.id) == "unknown_user"
            made: dict[str, Any] = {"key": "k", "title": "Club"}
            assert await phone.error("conversation.create", **made, members=[str(other)]) == "unknown_user"
            club = (await phone.result("conversation.create", **made, members=[str(cid)]))["conversation"]
            assert await phone.error("conversation.add", conversation=club, key="a", user=other.id) == "unknown_user"
        await hers.result("unblock", key="u", user=bob.id)
        pair = (await his.result("conversation.direct", user=ann.id))["conversation"]
        await his.result("block", key="b", user=ann.id)
        assert await hers.result("conversation.direct", user=bob.id) == {"conversation": pair}, "the one that is there"
        assert (await hers.result("user.get", users=[str(bob)]))["users"], "with whom one has spoken has a name"


async def test_blocks_are_listed_kept_by_their_keys_and_bounded(house: House, world: World) -> None:
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet:
        for one in (bob, cid, dan):
            await hers.result("block", key=f"b {one}", user=one.id)
        await hers.result("block", key=f"b {bob}", user=bob.id)
        assert await hers.error("block", key=f"b {bob}", user=cid.id) == "key_reused"
        assert await hers.error("block", key="me", user=ann.id) == "invalid"
        assert await hers.error("block", key="nobody", user="01900000-0000-7000-8000-0000000000cc") == "unknown_user"
        page = await hers.result("block.list", limit=2)
        assert [one["name"] for one in page["blocks"]] == ["Dan", "Cid"]
        page = await hers.result("block.list", limit=2, cursor=page["cursor"])
        assert ([one["name"] for one in page["blocks"]], page.get("cursor")) == (["Bob"], None)
        await hers.result("unblock", key="u", user=bob.id)
        await hers.result("unblock", key="v", user=bob.id)
        await hers.result("block", key=f"b {bob}", user=bob.id)
        await tablet.until(lambda: [one["subject"] for one in tablet.of("state") if "block" not in one] == [str(bob)])
        assert len((await hers.result("block.list"))["blocks"]) == 2, "a repeat undoes nothing"
        await world.database.execute(
            "insert into account (id, email, name, password_hash, created_at_ms) "
            "select gen_random_uuid(), n || '@x', 'x', '-', 0 from generate_series(1, 998) n"
        )
        await world.database.execute(
            "insert into block (person, blocked) select %s, id from account where name = 'x'", ann.id
        )
        assert await hers.error("block", key="most", user=bob.id) == "too_many"


async def test_two_who_block_each_other_at_once_both_do(house: House, world: World) -> None:
    """And one's end of it leaves the other's standing."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        await his.has(pair, 1)
        for n in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(hers.result, "block", key=f"b{n}", user=bob.id))
                nursery.start_soon(partial(his.result, "block", key=f"b{n}", user=ann.id))
            assert await hers.error("message.send", conversation=pair, key="x", text="!") == "conversation_closed"
            await hers.result("unblock", key=f"u{n}", user=bob.id)
            assert await hers.error("message.send", conversation=pair, key="x", text="!") == "conversation_closed"
            assert (await his.result("presence.get", users=[str(ann)]))["people"] == []
            await his.result("unblock", key=f"u{n}", user=ann.id)
            await hers.say(pair, f"k{n}")


async def test_a_client_that_folds_events_ends_where_one_that_starts_afresh_begins(dsn: str, folder: Path) -> None:
    async with client_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        pair = await ann.client.direct(bob.id)
        folded = Conversations()
        for nth, change in enumerate((ann.client.block, ann.client.unblock, ann.client.block), 1):
            await change(bob.id)
            await bob.until(partial(_is, "conversation.closed" if nth % 2 else "conversation.opened"))
            await ann.until(partial(_blocks, ann, [bob.id] if nth % 2 else []))
        for event in bob.seen:
            folded.note(event)
        afresh = Conversations()
        other = await cast.device(bob, "tablet")
        with trio.fail_after(20):
            async for event in other.events:
                afresh.note(event)
                if afresh.get(pair) is not None:
                    break
        was, now = folded.get(pair), afresh.get(pair)
        assert was is not None
        assert now is not None
        assert (was.closed, was.head, was.members) == (now.closed, now.head, now.members)
        assert now.closed
        with pytest.raises(ServerRefused, match="conversation_closed"):
            await bob.client.ask("message.send", conversation=pair, key="k", text="!")


async def test_what_the_other_writes_in_a_group_is_pushed_to_others_alone(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(bob) as his:
        async with house.phone(ann) as hers, house.phone(cid) as cids:
            club = await create_group(hers, bob, cid)
            await hers.result("block", key="b", user=bob.id)
            for phone in (hers, cids):
                await phone.result("device.register", device="phone", platform="web", token=f"token {id(phone)}")
            await his.has(club, 1)
        await his.say(club, "k", "to all")
        owed: list[tuple[Any, ...]] = []
        with trio.fail_after(20):
            while not owed:
                owed = await world.database.fetch_all(  # of the jobs, which stay when they are done
                    "select distinct (d ->> 0)::uuid from job, json_array_elements(payload -> 'devices') d "
                    "where kind = 'push' and payload ->> 'conversation' = %s",
                    club,
                )
                await trio.sleep(0.02)
        assert owed == [(cid.id,)]


async def test_a_block_ends_a_match_for_both(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        await world.database.execute(
            "insert into matched (id, low, high, conversation) values (gen_random_uuid(), %s, %s, %s)",
            *sorted((ann.id, bob.id)), pair,
        )  # fmt: skip
        await hers.result("block", key="b", user=bob.id)
        for phone, mine in ((hers, True), (his, None)):
            [match] = (await phone.result("match.list"))["matches"]
            assert match["ended_at_ms"]
            assert match.get("by_me") == mine
