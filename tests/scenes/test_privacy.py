"""What others may see of oneself, and oneself of others: on one server and on two."""

import pytest

from tests.processes import open_scene
from tests.running import House, Phone, World, create_group

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
