"""Scenes: somebody looks for what was said, on a real server."""

from pathlib import Path
from typing import Any

import trio

from konnect_client import Hit
from tests.client_scene import Person, open_scene
from tests.running import House, Phone, World, create_group, open_house, open_process


async def until_found(phone: Phone, count: int = 1, /, **search: Any) -> list[dict[str, Any]]:
    """Ask until the index has so many hits."""
    with trio.fail_after(30):
        while True:
            hits: list[dict[str, Any]] = (await phone.result("search", **search))["hits"]
            if len(hits) >= count:
                return hits
            await trio.sleep(0.05)


async def test_bob_looks_for_dinner_and_reads_what_was_said_around_it(dsn: str, folder: Path) -> None:
    """By the client, from typing the first letters to the place in the past and back to the present."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        for n in range(30):
            sent = await ann.client.send(room, "Dinner at eight?" if n == 10 else f"line {n}")
            place = sent.seq if n == 10 else 12
        [hit] = await hits(bob, "dinn")
        assert (hit.conversation, hit.seq, hit.author) == (room, place, ann.id)
        assert (hit.snippet, hit.highlights) == ("Dinner at eight?", ((0, 6),))
        page = await bob.client.history(room, around=hit.seq, limit=6)
        assert [one.seq for one in page.entries] == list(range(place - 3, place + 3))
        assert (page.more, page.newer) == (True, True)
        while page.newer:
            page = await bob.client.history(room, after=page.entries[-1].seq, limit=7)
        assert page.entries[-1].text == "line 29"


async def hits(person: Person, query: str) -> tuple[Hit, ...]:
    with trio.fail_after(30):
        while True:
            page = await person.client.search(query)
            if page.hits:
                return page.hits
            await trio.sleep(0.05)


async def test_an_edit_is_found_by_its_new_word_and_a_deletion_by_none(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await hers.say(club, "m", "see you at eihgt")
        await until_found(his, query="eihgt ")
        await hers.result("message.edit", conversation=club, key="e", seq=2, text="see you at eight")
        assert (await his.result("search", query="eihgt "))["hits"] == []
        [hit] = await until_found(his, query="eight ")
        assert hit["seq"] == 2
        await hers.result("message.delete", conversation=club, key="d", seq=2)
        for query in ("eight ", "eihgt ", "see "):
            assert (await his.result("search", query=query))["hits"] == []


async def test_who_left_and_who_came_later_find_what_they_may_see(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        club = await create_group(hers, bob, history="from_join")
        await hers.say(club, "m1", "word before")  # 2
        await his.result("conversation.leave", conversation=club, key="l")  # 3
        await hers.result("conversation.add", conversation=club, key="a", user=cid.id)  # 4
        await hers.say(club, "m2", "word after")  # 5
        await until_found(hers, 2, query="word ")
        assert [hit["seq"] for hit in (await his.result("search", query="word "))["hits"]] == [2]
        assert [hit["seq"] for hit in (await cids.result("search", query="word "))["hits"]] == [5]
        assert (await cids.result("history", conversation=club, around=2))["entries"][0]["seq"] == 4


async def test_pages_stay_while_everybody_talks(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        for n in range(30):
            await hers.say(club, f"m{n}", f"tea {n}")
        await until_found(his, 30, query="tea ", limit=50)
        seen: list[int] = []
        cursor: str | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter, hers, club)
            while True:
                more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
                page = await his.result("search", query="tea ", limit=7, **more)
                seen += [hit["seq"] for hit in page["hits"]]
                cursor = page.get("cursor")
                if cursor is None:
                    break
                await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
        old = [seq for seq in seen if seq <= 31]
        assert old == list(range(31, 1, -1))
        assert seen == sorted(set(seen), reverse=True)


async def chatter(phone: Phone, conversation: str) -> None:
    for n in range(1_000):
        await phone.say(conversation, f"c{n}", f"tea again {n}")
        await trio.sleep(0.02)


async def test_what_a_killed_process_stored_is_found(world: World) -> None:
    """It had no time to index what it acknowledged, or was in the middle of it; the next process does."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_process(world) as doomed, doomed.phone(ann) as hers:
        club = await create_group(hers, bob)
        for n in range(150):
            await hers.say(club, f"m{n}", f"tea {n}")
        doomed.kill()
        await hers.end()
    async with open_house(world) as house, house.phone(bob) as his:
        await until_found(his, 50, query="tea ", limit=50)
        seen: set[int] = set()
        with trio.fail_after(30):
            while len(seen) < 150:
                cursor: dict[str, Any] = {}
                while True:
                    page = await his.result("search", query="tea ", limit=50, **cursor)
                    seen |= {hit["seq"] for hit in page["hits"]}
                    if "cursor" not in page:
                        break
                    cursor = {"cursor": page["cursor"]}
        assert seen == set(range(2, 152))
        rows = await world.database.fetch_all("select count(*) from search_text")
        assert rows == [(150,)]
