"""People are asked, on real servers: what each device shows is what the database holds."""

from pathlib import Path

import psycopg
import pytest
import trio

from konnect_client import Entry, MemoryState, Messages, ServerRefused
from tests.client_scene import open_scene
from tests.scenes.test_messages import fresh, shown


async def test_what_each_device_shows_of_a_poll(dsn: str, folder: Path) -> None:
    """Cid's phone hears all of it, his tablet is away meanwhile, another device starts afresh: all show the same, and
    the counts are those of the votes themselves."""
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = [await cast.person(name) for name in ("ann", "bob", "cid")]
        room = await ann.client.create("Cinema", [bob.id, cid.id])
        live, back, state = Messages(), Messages(), MemoryState()
        open_ = await ann.client.ask_people(room, "Which film?", ["The Third Man", "Before Sunrise"])
        secret = await ann.client.ask_people(room, "Who pays?", ["Ann", "Bob", "Cid"], multiple=True, anonymous=True)
        async with cast.client(cid.account, device="tablet", state=state, recent=20) as client:
            async for event in client.events:
                back.note(event)
                if client.synced and not len(client.events):
                    break

        async def choose(person: int, places: list[int]) -> None:
            one = (ann, bob, cid)[person].client
            await one.vote(room, open_.seq, places[:1])
            await one.vote(room, secret.seq, places)

        async with trio.open_nursery() as nursery:
            for person, places in ((0, [1, 2]), (1, [0]), (2, [1]), (1, [1, 0]), (2, [])):
                nursery.start_soon(choose, person, places)
        await bob.client.vote(room, secret.seq, [2])
        last = await ann.client.close_poll(room, open_.seq)
        with pytest.raises(ServerRefused, match="poll_closed"):
            await bob.client.vote(room, open_.seq, [0])
        with trio.fail_after(30):
            async for event in cid.client.events:
                live.note(event)
                if isinstance(event, Entry):
                    if event.kind == "poll.voted" and event.of == secret.seq:
                        assert (event.author, event.options) == ("00000000-0000-0000-0000-000000000000", None)
                    if event.seq == last.seq:
                        break
        async with cast.client(cid.account, device="tablet", state=state) as client:
            async for event in client.events:
                back.note(event)
                if client.synced and not len(client.events):
                    break
        async with fresh(cast, cid, room) as other:
            assert shown(live, room) == shown(back, room) == shown(other, room)
        with psycopg.connect(dsn, autocommit=True) as control:
            for asked in (open_, secret):
                rows = control.execute(
                    "select options from poll_vote where conversation = %s and message = %s", (room, asked.seq)
                ).fetchall()
                found = live.get(room, asked.seq)
                assert found is not None
                assert found.poll is not None
                counted = [sum(place in row[0] for row in rows) for place in range(len(found.poll.options))]
                assert ([one.count for one in found.poll.options], found.poll.voters) == (counted, len(rows))
        votes = await bob.client.votes(room, secret.seq)
        assert (votes.votes, votes.mine) == ((), (2,))
        named = await cid.client.votes(room, open_.seq)
        assert {one.user: one.options for one in named.votes}[ann.id] == (1,)
