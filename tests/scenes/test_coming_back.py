"""A client comes back after any gap, and is brought up to date by one call."""

import itertools
from uuid import UUID, uuid4

import trio

from konnect_server import cursor as cursors
from konnect_server.cursor import Cursor
from tests.running import House, Phone, World, create_group, open_house


def texts(phone: Phone, club: str) -> list[str]:
    return [frame["text"] for frame in phone.of("entry", club) if "text" in frame]


async def test_alice_loses_her_signal_bob_writes_alice_comes_back(house: House, world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        async with house.phone(alice) as hers:
            club = await create_group(hers, bob)
            await hers.say(club, "k", "into the tunnel")
            heads, cursor = dict(hers.heads), hers.cursor
            await hers.drop()
        for n in range(3):
            await his.say(club, f"k{n}", f"are you there? {n}")
        async with house.phone(alice, heads=heads, cursor=cursor) as hers:
            assert texts(hers, club) == [f"are you there? {n}" for n in range(3)]
            assert hers.of("conversation") == [], "she knows it"
            await his.say(club, "k9", "ah, there you are")
            await hers.has(club, 6)


async def test_thousands_missed_come_in_pages_while_others_go_on_talking(house: House, world: World) -> None:
    """Entries in order without a gap (checked as they come), a cursor to keep after each page, then live."""
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        clubs = [await create_group(his, alice, key=f"g{n}") for n in range(3)]
        for club, count in zip(clubs, (3_000, 1_200, 7), strict=True):
            await world.long_log(club, bob, count)

        async def chatter() -> None:
            for n in itertools.count():
                await his.say(clubs[n % 3], f"live {n}")
                await trio.sleep(0.002)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter)
            async with house.phone(alice, heads=dict.fromkeys(clubs, 1)) as hers:
                assert len(hers.of("progress")) >= 9
                goals = dict(hers.heads)
                assert all(goals[club] >= least for club, least in zip(clubs, (3_001, 1_201, 8), strict=True))
                for club in clubs:
                    await hers.has(club, goals[club] + 20)
                nursery.cancel_scope.cancel()
        for club in clubs:
            log = [text for seq, text in await world.log(club) if 1 < seq <= hers.heads[club]]
            assert texts(hers, club) == log


async def test_who_breaks_off_half_way_goes_on_from_there(house: House, world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        club = await create_group(his, alice)
        await world.long_log(club, bob, 2_000, "x" * 500)
        heads: dict[str, int] = {club: 1}
        cursor: str | None = None
        transcript: list[str] = []
        for _ in range(3):
            async with house.phone(alice, heads=heads, cursor=cursor, synced=False) as hers:
                progress = await hers.saw("progress", 2)
                assert progress[-1]["cursor"]
                await hers.drop()
                transcript += texts(hers, club)
                heads, cursor = dict(hers.heads), hers.cursor
        async with house.phone(alice, heads=heads, cursor=cursor) as hers:
            transcript += texts(hers, club)
        assert transcript == [text for seq, text in await world.log(club) if seq > 1]


async def test_a_first_start_is_told_what_there_is(house: House, world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        clubs = [await create_group(his, alice, key=f"g{n}") for n in range(60)]
        await his.say(clubs[7], "k1", "one")
        await his.say(clubs[7], "k2", "two")
        await his.result("receipt", conversation=clubs[7], read=3)
        async with house.phone(alice, recent=2) as hers:
            assert {frame["conversation"] for frame in hers.of("conversation")} == set(clubs)
            [state] = hers.of("conversation", clubs[7])
            assert (state["head"], state["unread"], [entry["seq"] for entry in state["recent"]]) == (3, 2, [2, 3])
            assert state["receipts"] == [{"user": str(bob), "delivered": 3, "read": 3}]
            assert hers.of("entry") == []
            await his.say(clubs[7], "k3", "three")
            await hers.has(clubs[7], 4)
        async with house.phone(alice, "tablet", recent=0) as hers:
            assert all("recent" not in state for state in hers.of("conversation"))


async def test_a_head_above_the_log_is_rewound(house: House, world: World) -> None:
    """The database was restored from a copy that is older than what the client has."""
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        club, other = [await create_group(his, alice, key=key) for key in ("a", "b")]
    async with house.phone(alice, heads={club: 99, other: 1}) as hers:
        assert hers.of("rewound") == [{"t": "rewound", "conversation": club}]
        [state] = hers.of("conversation")
        assert (state["conversation"], state["head"]) == (club, 1)
        kinds = [frame["t"] for frame in hers.frames]
        assert kinds.index("rewound") < kinds.index("conversation")


async def test_a_cursor_of_a_future_that_never_was_rewinds_everything(house: House, world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        club = await create_group(his, alice)
        await his.say(club, "k")
    lost = cursors.encode(Cursor(uuid4(), 5, 5))
    async with house.phone(alice, heads={club: 1}, cursor=lost) as hers:
        assert hers.of("rewound") == [{"t": "rewound"}]
        assert [state["head"] for state in hers.of("conversation", club)] == [2]
        kept = hers.cursor
    async with house.phone(alice, heads={club: 2}, cursor=kept) as hers:
        assert hers.of("rewound") == [], "the new one is of this database"


async def test_a_cursor_outlives_the_server(world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with open_house(world) as house, house.phone(bob) as his, house.phone(alice) as hers:
        club = await create_group(his, alice)
        await hers.has(club, 1)
        cursor = hers.cursor
    async with open_house(world) as house, house.phone(bob) as his:
        await his.say(club, "k")
        async with house.phone(alice, heads={club: 1}, cursor=cursor) as hers:
            assert hers.seqs(club) == [2]
            assert hers.of("rewound") == []


async def test_missed_receipts_are_told_and_old_ones_are_not(house: House, world: World) -> None:
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        club = await create_group(his, alice)
        async with house.phone(alice) as hers:
            await hers.has(club, 1)
            cursor = hers.cursor
        await his.say(club, "k")
        await his.result("receipt", conversation=club, read=2)
        async with house.phone(alice, heads={club: 1}, cursor=cursor) as hers:
            assert {"t": "receipt", "conversation": club, "user": str(bob), "delivered": 2, "read": 2} in hers.frames
            read = cursors.decode(hers.cursor or "")
        later = cursors.encode(Cursor(read.lineage, read.number, read.receipts_ms + 120_000))
        async with house.phone(alice, heads={club: 2}, cursor=later) as hers:
            assert hers.of("receipt") == []


async def test_removed_and_added_again_while_away(house: House, world: World) -> None:
    """docs/hazards.md, A10."""
    alice, bob = await world.people("Alice", "Bob")
    async with house.phone(bob) as his:
        club = await create_group(his, alice)
        await his.result("conversation.remove", conversation=club, key="out", user=alice.id)
        await his.say(club, "k", "not for Alice")
        await his.result("conversation.add", conversation=club, key="in", user=alice.id)
        await his.say(club, "k2", "welcome back")
        async with house.phone(alice, heads={club: 1}) as hers:
            assert hers.seqs(club) == [2, 4, 5]
            [state] = hers.of("conversation", club)
            assert (state["head"], state["first_seq"]) == (3, 4)
            assert "not for Alice" not in str(hers.frames)


async def test_many_devices_of_many_people_come_back_at_once(house: House, world: World) -> None:
    people = await world.crowd(40)
    async with house.phone(people[0]) as first:
        club = await create_group(first, *people[1:])
        await world.long_log(club, people[0], 300)
        done: list[UUID] = []

        async def comes(number: int) -> None:
            async with house.phone(people[number], heads={club: number}) as phone:
                await phone.has(club, 301)
                assert phone.seqs(club) == list(range(number + 1, 302))
                done.append(people[number].id)

        async with trio.open_nursery() as nursery:
            for number in range(1, 40):
                nursery.start_soon(comes, number)
        assert len(done) == 39


async def test_a_row_that_came_before_a_cut_and_is_gone_since_is_told_as_gone(house: House, world: World) -> None:
    """The first start was cut between the rows and the cursor that counts them: the client has the rows, and the cursor
    that was told before the first of them."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann, "tablet") as tablet:
        club = await create_group(tablet, bob)
        await tablet.result("draft.set", conversation=club, key="d", text="Mo")
        async with house.phone(ann) as phone:
            [draft] = [state for state in phone.of("state") if state["what"] == "draft"]
            assert draft["draft"]["text"] == "Mo"
            kinds = [frame["t"] for frame in phone.frames]
            assert kinds.index("progress") < kinds.index("state")
            first = phone.of("progress")[0]["cursor"]
        await tablet.result("draft.clear", conversation=club, key="c")
    async with house.phone(ann, heads={club: 1}, cursor=first) as phone:
        assert [state for state in phone.of("state") if state["what"] == "draft"] == [
            {"t": "state", "what": "draft", "subject": club}
        ]
