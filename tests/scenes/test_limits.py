"""Too much, too fast, too slow: each has its answer, and costs the others nothing."""

import contextlib
import itertools

import trio
from trio_websocket import ConnectionClosed

from tests.running import LIMIT_S, House, World, create_group, open_house


async def until(true: object) -> None:
    """Wait for something inside the server that no frame tells of."""
    assert callable(true)
    with trio.fail_after(LIMIT_S):
        while not true():
            await trio.sleep(0.01)


# --- too fast ---


async def test_who_sends_messages_too_fast_is_slowed_and_nothing_is_reordered(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with (
        open_house(world, messages_per_s=200.0, messages_burst=20) as house,
        house.phone(ann) as hers,
        house.phone(bob) as his,
    ):
        club = await create_group(hers, bob)
        began = trio.current_time()
        numbers = [await hers.send("message.send", conversation=club, key=f"k{n}", text=f"{n}") for n in range(120)]
        assert await his.say(club, "k", "not slowed") > 1
        for number in numbers:
            assert (await hers.answer(number))["t"] == "ok"
        assert trio.current_time() - began >= 0.4, "a hundred above the burst at 200 a second"
        said = [frame.get("text") for frame in hers.of("entry", club) if frame["author"] == str(ann)][1:]
        assert said == [str(n) for n in range(120)]


async def test_other_commands_too_fast_are_told_when_to_come_again(world: World) -> None:
    [ann] = await world.people("Ann")
    async with open_house(world, commands_per_s=20.0, commands_burst=10) as house, house.phone(ann) as hers:
        numbers = [await hers.send("ping") for _ in range(30)]
        replies = [await hers.answer(number) for number in numbers]
        limited = [reply for reply in replies if reply["t"] == "error"]
        assert len(limited) >= 10
        assert {reply["code"] for reply in limited} == {"rate_limited"}
        assert all(0 < reply["retry_after_ms"] <= 1_000 for reply in limited)
        await trio.sleep(limited[-1]["retry_after_ms"] / 1000)
        await hers.result("ping")


async def test_a_flood_is_answered_command_by_command(world: World) -> None:
    """A thousand commands in one go: each gets its one answer, while others talk."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with (
        open_house(world, commands_per_s=500.0, commands_burst=50) as house,
        house.phone(ann) as hers,
        house.phone(bob) as his,
        house.phone(cid) as theirs,
    ):
        club = await create_group(his, cid)
        numbers = [await hers.send("ping", data=n) for n in range(1_000)]
        for n in range(50):
            await his.say(club, f"k{n}")
        await theirs.has(club, 51)
        replies = [await hers.answer(number) for number in numbers]
        assert {reply.get("code", "ok") for reply in replies} == {"ok", "rate_limited"}
        assert all(r["result"]["data"] == n for n, r in enumerate(replies) if r["t"] == "ok")


async def test_too_many_frames_that_are_none_close_with_flood(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.phone(ann) as hers:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(500):
                await hers.socket.send_message(b"\xc1")
        assert await hers.end() == (4008, "flood")
        assert len(hers.of("error")) >= 100


# --- too many ---


async def test_sockets_of_one_person_are_bounded(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with (
        open_house(world, sockets_per_user=2) as house,
        house.phone(ann, "a") as first,
        house.phone(ann, "b") as second,
        house.phone(bob),
    ):
        async with house.call() as third:
            number = await third.send("hello", token=ann.token, device="c")
            assert (await third.answer(number))["code"] == "too_many_sockets"
            assert await third.end() == (4504, "too_many_sockets")
        async with house.phone(ann, "b"):
            assert await second.end() == (4500, "replaced"), "the same device takes its own place"
            await first.result("ping")


async def test_a_group_has_so_many_members_and_no_more(world: World) -> None:
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with open_house(world, group_members=3) as house, house.phone(ann) as hers:
        refused = await hers.error(
            "conversation.create", key="g", title="Club", members=[str(one) for one in (bob, cid, dan)]
        )
        assert refused == "conversation_full"
        club = await create_group(hers, bob, cid)
        assert await hers.error("conversation.add", conversation=club, key="k", user=dan.id) == "conversation_full"
        await hers.result("conversation.remove", conversation=club, key="r", user=cid.id)
        await hers.result("conversation.add", conversation=club, key="k", user=dan.id)


async def test_a_thousand_members_talk(house: House, world: World) -> None:
    people = await world.crowd(1_000)
    async with house.phone(people[0]) as hers, house.phone(people[999]) as his:
        club = await create_group(hers, *people[1:])
        await his.has(club, 1)
        await hers.say(club, "k")
        await his.has(club, 2)
        [state] = his.of("conversation")
        assert len(state["members"]) == 1_000
        assert "names" not in state
        assert "receipts" not in state


# --- too slow ---


async def test_a_client_that_never_reads_is_closed_and_the_others_go_on(world: World) -> None:
    """Nothing that it missed is lost: it comes back, and has it all."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with (
        open_house(world) as house,
        house.phone(bob) as his,
        house.phone(cid) as theirs,
    ):
        async with house.phone(ann) as hers:
            club = await create_group(his, ann, cid)
            await hers.has(club, 1)
            heads = dict(hers.heads)
            hers.hold_back()
            for n in itertools.count():
                await his.say(club, f"k{n}", "x" * 8_000)
                if ann.id not in house.core.registry.users:
                    break
            last = n + 2
            await theirs.has(club, last)
            assert theirs.closed is None
        async with house.phone(ann, heads=heads) as hers:
            await hers.has(club, last)
            assert hers.seqs(club) == list(range(2, last + 1))


async def test_a_half_open_connection_is_found_by_ping(world: World) -> None:
    """The peer's machine is gone and nobody said so: no answer to a ping, and it is closed; its person is offline."""
    ann, bob = await world.people("Ann", "Bob")
    async with (
        open_house(world, ping_interval_s=0.2, ping_timeout_s=0.2, presence_grace_s=0.0) as house,
        house.phone(bob) as his,
        house.phone(ann) as hers,
    ):
        club = await create_group(his, ann)
        await hers.has(club, 1)
        await his.result("presence.watch", users=[str(ann)])
        hers.hold_back()
        for n in range(20):  # what it does not read fills its client, so that it answers no ping
            await his.say(club, f"k{n}")
        await until(lambda: ann.id not in house.core.registry.users)
        await his.until(lambda: his.of("presence") and his.of("presence")[-1]["state"] == "offline")
        await hers.drop()


async def test_pages_wait_for_a_slow_client_and_do_not_close_it(world: World) -> None:
    """docs/hazards.md, B1: a long past, a small outbox, a client that reads now and then."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world) as house:
        async with house.phone(bob) as his:
            club = await create_group(his, ann)
        await world.long_log(club, bob, 3_000, "x" * 1_000)
        async with (
            house.phone(bob, heads={club: 3_001}) as his,
            house.phone(ann, heads={club: 1}, synced=False) as hers,
        ):
            for _ in range(20):
                hers.hold_back()
                await trio.sleep(0.01)
                await his.say(club, f"live {_}")
                hers.read_on()
            await hers.saw("synced")
            await hers.has(club, 3_021)
            assert hers.seqs(club) == list(range(2, 3_022))


async def test_answers_of_many_reads_do_not_make_an_honest_client_slow(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world) as house:
        async with house.phone(ann) as hers:
            club = await create_group(hers, bob)
        await world.long_log(club, ann, 200, "𝄞" * 2_000)
    async with open_house(world) as house, house.phone(ann, heads={club: 201}) as hers:
        hers.hold_back()
        numbers = [await hers.send("history", conversation=club, limit=100) for _ in range(20)]
        await trio.sleep(0.3)
        hers.read_on()
        for number in numbers:
            assert (await hers.answer(number))["t"] == "ok"
