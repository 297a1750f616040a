"""Small signs of life: receipts, typing, presence."""

import trio

from tests.running import House, Phone, World, create_group, open_house


def cursors_of(phone: Phone, person: object) -> list[tuple[int, int]]:
    return [(f["delivered"], f["read"]) for f in phone.of("receipt") if f["user"] == str(person)]


# --- receipts ---


async def test_receipts_rise_are_clamped_and_reach_all_devices(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(bob, "laptop") as laptop:
        club = await create_group(hers, bob)
        for n in range(4):
            await hers.say(club, f"k{n}")
        await his.has(club, 5)
        await laptop.has(club, 5)
        assert await his.result("receipt", conversation=club, delivered=5, read=2) == {"delivered": 5, "read": 2}
        for phone in (hers, his, laptop):
            await phone.saw("receipt")
            assert cursors_of(phone, bob) == [(5, 2)]
        assert await his.result("receipt", conversation=club, delivered=3, read=1) == {"delivered": 5, "read": 2}
        assert await laptop.result("receipt", conversation=club, read=2**60) == {"delivered": 5, "read": 5}
        for phone in (hers, his, laptop):
            await phone.saw("receipt", 2)
            assert cursors_of(phone, bob) == [(5, 2), (5, 5)]


async def test_receipts_are_written_at_most_once_a_second_and_each_command_is_answered(
    house: House, world: World
) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await world.long_log(club, ann, 49)
        began = trio.current_time()
        numbers = [await his.send("receipt", conversation=club, read=n) for n in range(1, 51)]
        for number in numbers:
            assert (await his.answer(number))["t"] == "ok"
        assert (await his.answer(numbers[-1]))["result"]["read"] == 50
        took = trio.current_time() - began
        await hers.saw("receipt")
        told = cursors_of(hers, bob)
        assert len(told) <= took + 2
        assert told == sorted(set(told))


async def test_in_a_big_group_a_receipt_goes_to_ones_own_devices_only(house: House, world: World) -> None:
    people = await world.crowd(102)
    async with house.phone(people[0]) as hers, house.phone(people[1]) as his, house.phone(people[1], "b") as laptop:
        club = await create_group(hers, *people[1:])
        await his.has(club, 1)
        await laptop.has(club, 1)
        await his.result("receipt", conversation=club, read=1)
        await laptop.saw("receipt")
        await hers.say(club, "k")
        await his.has(club, 2)
        assert hers.of("receipt") == []


# --- typing ---


async def test_typing_is_seen_by_the_others_alone(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as theirs:
        club = await create_group(hers, bob)
        await his.has(club, 1)
        await hers.result("typing", conversation=club)
        assert await his.saw("typing") == [{"t": "typing", "conversation": club, "user": str(ann)}]
        assert await theirs.error("typing", conversation=club) == "not_a_member"
        assert hers.of("typing") == []


# --- presence ---


async def test_partners_see_each_other_come_and_go(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(cid) as theirs:
        await hers.result("conversation.direct", user=bob.id)
        async with house.phone(bob) as his:
            await hers.saw("presence")
            await his.saw("presence")
            assert his.of("presence") == [{"t": "presence", "user": str(ann), "state": "online"}]
        await hers.saw("presence", 2)
        assert [(f["user"], f["state"]) for f in hers.of("presence")] == [(str(bob), "online"), (str(bob), "offline")]
        assert theirs.of("presence") == [], "nobody is told who does not look"


async def test_who_is_online_is_told_after_synced(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(bob) as his:
        await his.result("conversation.direct", user=ann.id)
        async with house.phone(ann) as hers:
            await hers.saw("presence")
            kinds = [frame["t"] for frame in hers.frames]
            assert kinds.index("presence") > kinds.index("synced")


async def test_a_short_drop_is_not_seen(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world, presence_grace_s=30.0) as house, house.phone(ann) as hers:
        club = await create_group(hers, bob)
        await hers.result("presence.watch", users=[str(bob)])
        for _ in range(3):
            async with house.phone(bob) as his:
                await his.say(club, f"k{_}")
                await his.drop()
            await hers.has(club, 2 + _)
        assert [frame["state"] for frame in hers.of("presence")] == ["online"]


async def test_a_conversation_may_be_watched_and_a_new_watch_replaces_the_old(house: House, world: World) -> None:
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with house.phone(ann) as hers, house.phone(bob):
        club = await create_group(hers, bob, cid)
        await create_group(hers, dan, key="another")
        assert (await hers.result("presence.watch", conversation=club))["online"] == [str(bob)]
        async with house.phone(cid):
            await hers.saw("presence")
            assert hers.of("presence")[0]["user"] == str(cid)
        await hers.saw("presence", 2)
        assert (await hers.result("presence.watch", users=[str(dan)]))["online"] == []
        async with house.phone(cid), house.phone(dan):
            await hers.saw("presence", 3)
            assert hers.of("presence")[-1]["user"] == str(dan)
        assert (await hers.result("presence.watch"))["online"] == []
        assert await hers.error("presence.watch", conversation=club, users=[str(bob)]) == "invalid"


async def test_several_devices_are_one_presence(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        await create_group(hers, bob)
        await hers.result("presence.watch", users=[str(bob)])
        async with house.phone(bob):
            async with house.phone(bob, "laptop") as laptop:
                await laptop.result("ping")
            await hers.saw("presence")
        await hers.saw("presence", 2)
        assert [frame["state"] for frame in hers.of("presence")] == ["online", "offline"]
