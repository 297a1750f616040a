"""The server goes away and comes back, and nobody has to do anything about it."""

from pathlib import Path
from urllib.parse import urlsplit

import trio

from konnect_client import Phase
from tests.client_scene import Cast, Person, open_house


async def test_the_server_is_replaced_while_people_talk(dsn: str, folder: Path) -> None:
    """Drained and started again, three times: everyone comes back, with what they wrote in between, once, in order."""
    people: list[Person] = []
    room, port = "", 0
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:  # the people outlast the houses
            for life in range(3):
                async with open_house(dsn, folder, port=port, drain_s=0.5) as server:
                    if not people:
                        port = urlsplit(server.url).port or 0
                        cast = Cast(server, nursery)
                        people = [await cast.person(name) for name in ("alice", "bob")]
                        room = await people[0].client.direct(people[1].id)
                    alice, bob = people
                    for number in range(5):
                        await alice.client.send(room, f"alice in life {life}: {number}")
                        bob.client.send_nowait(room, f"bob in life {life}: {number}")
                    await bob.client.flush()
                    await server.drain()
                alice.client.send_nowait(room, f"alice after life {life}")
                bob.client.send_nowait(room, f"bob after life {life}")
                assert alice.client.state.phase is not Phase.CLOSED
            async with open_house(dsn, folder, port=port):
                await alice.client.flush()
                await bob.client.flush()
                last = (await alice.client.history(room, limit=1)).entries[0].text or ""
                for person in people:
                    await person.hears(last)
                nursery.cancel_scope.cancel()
    assert alice.texts(room) == bob.texts(room)
    for name in ("alice", "bob"):
        assert [text for text in alice.texts(room) if text.startswith(name)] == [
            line
            for life in range(3)
            for line in (*(f"{name} in life {life}: {number}" for number in range(5)), f"{name} after life {life}")
        ]
