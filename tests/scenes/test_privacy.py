"""What others may see of oneself, and oneself of others: on one server and on two."""

import pytest
import trio

from tests.processes import open_scene
from tests.running import House, Phone, World, create_group, open_house

SILENT = pytest.mark.parametrize("mute", [False, True], ids=["by the bell", "by the sweep"])


def reads(phone: Phone, of: object) -> list[int]:
    """The read cursors that *phone* was told of a person, live."""
    return [frame["read"] for frame in phone.of("receipt") if frame["user"] == str(of)]


async def test_ones_devices_hear_of_ones_switches(house: House, world: World) -> None:
    """Before the answer; who comes back or starts afresh, too."""
    [ann] = await world.people("Ann")
    async with house.phone(ann) as phone, house.phone(ann, "tablet") as tablet:
        before = len(phone.frames)
        await phone.result("privacy.set", key="p1", read_receipts=False)
        kinds = [frame["t"] for frame in phone.frames[before:]]
        assert kinds.index("state") < kinds.index("ok")
        [state] = await tablet.saw("state")
        switches = {"read_receipts": False, "last_seen": "everyone", "typing": True}
        assert (state["what"], state["subject"], state["privacy"]) == ("privacy", "", switches)
        assert await tablet.result("privacy.get") == switches
        cursor = phone.cursor
    async with house.phone(ann, "laptop") as laptop:
        assert [frame["privacy"] for frame in laptop.of("state")] == [switches]
    async with house.phone(ann, "phone", cursor=cursor) as phone:
        assert phone.of("state") == []


async def test_who_hides_reading_hides_it_from_all_and_sees_none(house: House, world: World) -> None:
    """In a group and in a direct conversation; the others see each other; old cursors stay, new ones do not come."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with (
        house.phone(ann) as hers, house.phone(ann, "tablet") as tablet,
        house.phone(bob) as his, house.phone(cid) as cids,
    ):  # fmt: skip
        club = await create_group(hers, bob, cid)
        pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        for phone in (his, cids):
            await phone.has(club, 1)
        await his.has(pair, 1)
        for n in range(4):
            await cids.say(club, f"c{n}", "hi")
        await his.say(pair, "b", "hi")
        await hers.result("receipt", conversation=club, read=2)
        await his.until(lambda: reads(his, ann) == [2])
        await hers.result("privacy.set", key="p1", read_receipts=False)

        await hers.result("receipt", conversation=club, delivered=5, read=5)
        await hers.result("receipt", conversation=pair, read=2)
        await his.until(lambda: len(reads(his, ann)) == 3)
        assert reads(his, ann) == [2, 0, 0], "what was delivered is told, and was known to be read before"
        assert [frame["delivered"] for frame in his.of("receipt")] == [2, 5, 2]
        await tablet.until(lambda: [frame["read"] for frame in tablet.of("receipt", club)][-1:] == [5])

        await his.result("receipt", conversation=club, read=4)
        await cids.until(lambda: reads(cids, bob) == [4])
        await hers.until(lambda: reads(hers, bob) == [0])
        for phone, person, theirs in ((hers, bob, 0), (his, ann, 0), (cids, bob, 4)):
            state = await phone.result("conversation.get", conversation=club)
            assert [one["read"] for one in state["receipts"] if one["user"] == str(person)] == [theirs]
        async with house.phone(bob, "afresh") as fresh:
            [state] = fresh.of("conversation", club)
            assert [one["read"] for one in state["receipts"] if one["user"] == str(ann)] == [0]

        await hers.result("privacy.set", key="p2", read_receipts=True)
        assert 4 in reads(hers, bob), "who shows again sees again, all that there is"
        await cids.say(club, "more", "hi")
        await hers.result("receipt", conversation=club, read=6)
        await his.until(lambda: reads(his, ann)[-1:] == [6])


@SILENT
async def test_it_holds_in_other_processes(world: World, mute: bool) -> None:
    """Ann's switch is turned by one process; her tablet and Bob are on the other."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2, mute=mute)
        hers, tablet = await scene.phone(one, ann), await scene.phone(two, ann, "tablet")
        his, his_other = await scene.phone(two, bob), await scene.phone(one, bob, "tablet")
        club = await create_group(hers, bob)
        for phone in (tablet, his, his_other):
            await phone.has(club, 1)
        await his.say(club, "b1", "hi")
        await his.say(club, "b2", "hi")
        for phone in (hers, tablet):
            await phone.has(club, 3)
        await hers.result("privacy.set", key="p", read_receipts=False)
        await tablet.saw("state")
        await hers.result("receipt", conversation=club, delivered=3, read=2)
        await his_other.until(lambda: reads(his_other, ann) == [0])
        if not mute:  # else no receipt reaches another process
            await his.until(lambda: reads(his, ann) == [0])
        await hers.result("receipt", conversation=club, read=3)
        await his.result("receipt", conversation=club, delivered=3, read=3)
        await tablet.until(lambda: reads(tablet, bob) == [0])
        if not mute:
            await hers.until(lambda: reads(hers, bob) == [0])
        assert not any(reads(phone, ann)[1:] for phone in (his, his_other)), "reading alone was not told"
        state = await his.result("conversation.get", conversation=club)
        assert [(one["delivered"], one["read"]) for one in state["receipts"]] == [(3, 0)]


# --- presence ---


def states(phone: Phone, of: object) -> list[str]:
    """What *phone* was told of a person's presence, live."""
    return [frame["state"] for frame in phone.of("presence") if frame["user"] == str(of)]


async def test_presence_is_for_who_shares_a_conversation(world: World) -> None:
    """By a watch, by asking, and without asking for partners; with the minute when somebody goes."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with open_house(world, presence_grace_s=0.1) as house, house.phone(ann) as hers:
        club = await create_group(hers, bob)
        await hers.result("conversation.direct", user=dan.id)
        everybody = [str(one) for one in (bob, cid, dan, ann)]
        async with house.phone(bob) as his, house.phone(cid), house.phone(dan):
            await hers.until(lambda: states(hers, dan) == ["online"])
            watched = await hers.result("presence.watch", users=everybody)
            assert sorted(watched["online"]) == sorted([str(bob), str(dan)])
            people = (await hers.result("presence.get", users=everybody))["people"]
            assert people == [{"user": str(one), "state": "online"} for one in (bob, dan)]
            assert (await his.result("presence.watch", conversation=club))["online"] == [str(ann)]
        await hers.until(lambda: states(hers, bob) == ["offline"] and states(hers, dan) == ["online", "offline"])
        gone = {frame["user"]: frame.get("last_seen_ms", 0) for frame in hers.of("presence")}
        assert all(gone[str(one)] % 60_000 == 0 and gone[str(one)] for one in (bob, dan))
        with trio.fail_after(30):
            while True:
                people = (await hers.result("presence.get", users=everybody))["people"]
                if all("last_seen_ms" in one for one in people):
                    break
                await trio.sleep(0.1)
        assert [(one["user"], one["state"]) for one in people] == [(str(bob), "offline"), (str(dan), "offline")]
        watched = await hers.result("presence.watch", conversation=club)
        assert watched == {"online": [], "last_seen_ms": {str(bob): people[0]["last_seen_ms"]}}
        assert states(hers, cid) == []


async def test_who_hides_last_seen_is_seen_by_nobody_and_sees_nobody(house: House, world: World) -> None:
    """From the switch on, and whoever looks; and when it is turned back all is as before."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        club = await create_group(hers, bob, cid)
        await cids.has(club, 1)
        await hers.result("conversation.direct", user=bob.id)
        await hers.until(lambda: states(hers, bob) == ["online"])
        await his.until(lambda: states(his, ann) == ["online"])
        assert (await cids.result("presence.watch", users=[str(ann)]))["online"] == [str(ann)]
        assert (await hers.result("presence.watch", users=[str(cid)]))["online"] == [str(cid)]

        await hers.result("privacy.set", key="p1", last_seen="contacts")
        await cids.until(lambda: states(cids, ann) == ["offline"])
        assert states(his, ann) == ["online"]
        assert (await cids.result("presence.get", users=[str(ann), str(bob)]))["people"] == [
            {"user": str(bob), "state": "online"}
        ]
        assert (await hers.result("presence.get", users=[str(bob), str(cid)]))["people"] == [
            {"user": str(bob), "state": "online"}
        ]

        await hers.result("privacy.set", key="p2", last_seen="nobody")
        await his.until(lambda: states(his, ann) == ["online", "offline"])
        assert "last_seen_ms" not in his.of("presence")[-1]
        for phone in (his, cids):
            assert (await phone.result("presence.get", users=[str(ann)]))["people"] == []
        assert (await hers.result("presence.get", users=[str(bob), str(cid)]))["people"] == []
        assert await hers.result("presence.watch", users=[str(bob), str(cid)]) == {"online": []}
        async with house.phone(ann, "tablet") as tablet, house.phone(bob, "tablet") as another:
            assert (tablet.of("presence"), another.of("presence")) == ([], [])
            house.core.presence.sweep()
        before = len(hers.of("presence"))

        await hers.result("privacy.set", key="p3", last_seen="everyone")
        await his.until(lambda: states(his, ann) == ["online", "offline", "online"])
        await hers.until(lambda: len(hers.of("presence")) == before + 1)
        assert states(hers, bob)[-1] == "online"


@SILENT
async def test_presence_of_other_processes(world: World, mute: bool) -> None:
    """Ann is on one process, her friends on the other; she hides, comes back, and her process is killed."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2, mute=mute, presence_grace_s=0.5)
        his = await scene.phone(two, bob)
        hers, tablet = await scene.phone(one, ann), await scene.phone(two, ann, "tablet")
        await his.result("conversation.direct", user=ann.id)
        await his.until(lambda: states(his, ann)[-1:] == ["online"])
        await hers.result("privacy.set", key="p1", last_seen="nobody")
        await his.until(lambda: states(his, ann)[-1:] == ["offline"])
        assert (await his.result("presence.get", users=[str(ann)]))["people"] == []
        await hers.result("privacy.set", key="p2", last_seen="everyone")
        await his.until(lambda: states(his, ann)[-1:] == ["online"])
        await tablet.drop()
        seated = "select count(*) from seat where person = %s"
        with trio.fail_after(30):
            while (await world.database.fetch_all(seated, ann.id))[0][0] != 1:
                await trio.sleep(0.05)
        await world.database.execute("delete from last_seen where person = %s", ann.id)  # of the tablet
        one.kill()
        await his.until(lambda: states(his, ann)[-1:] == ["offline"])
        with trio.fail_after(60):
            while (await world.database.fetch_all(seated, ann.id))[0][0]:
                await trio.sleep(0.2)
        [found] = (await his.result("presence.get", users=[str(ann)]))["people"]
        assert (found["state"], found["last_seen_ms"] % 60_000) == ("offline", 0)
        assert found["last_seen_ms"] - his.of("presence")[-1]["last_seen_ms"] in (-60_000, 0, 60_000)


# --- typing ---


async def test_typing_says_what_and_that_it_ended_and_not_for_who_hides_it(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        club = await create_group(hers, bob, cid)
        for phone in (his, cids):
            await phone.has(club, 1)
        await hers.result("typing", conversation=club)
        await hers.result("typing", conversation=club, what="voice")
        await hers.result("typing", conversation=club, what="voice", on=False)
        told = [{"t": "typing", "conversation": club, "user": str(ann)} | more
                for more in ({}, {"what": "voice"}, {"what": "voice", "on": False})]  # fmt: skip
        assert await his.saw("typing", 3) == told == await cids.saw("typing", 3)
        await his.result("privacy.set", key="p", typing=False)
        await hers.result("typing", conversation=club)
        await his.result("typing", conversation=club)
        await cids.result("typing", conversation=club)
        assert [frame["user"] for frame in await hers.saw("typing")] == [str(cid)]
        assert [frame["user"] for frame in await cids.saw("typing", 4)] == [str(ann)] * 4
        await hers.result("ping")
        assert len(his.of("typing")) == 3


async def test_typing_is_not_told_where_many_are(house: House, world: World) -> None:
    ann, *crowd = await world.crowd(102)
    async with house.phone(ann) as hers, house.phone(crowd[0]) as his:
        small = await create_group(hers, *crowd[:99], key="small")
        large = await create_group(hers, *crowd[:100], key="large")
        await his.has(small, 1)
        await his.has(large, 1)
        await hers.result("typing", conversation=large)
        await hers.result("typing", conversation=small)
        assert [frame["conversation"] for frame in await his.saw("typing")] == [small]
