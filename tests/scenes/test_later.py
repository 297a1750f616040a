"""What happens later by itself, on real servers: sent once, whatever was restarted meanwhile."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from konnect_client import Entry, ServerRefused
from tests.client_scene import open_scene
from tests.processes import open_scene as open_processes
from tests.running import World, create_group, open_process


def soon(in_s: float) -> int:
    return int((time.time() + in_s) * 1000)


async def test_ann_says_it_at_the_right_time(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        at_ms = soon(0.6)
        number = await ann.client.schedule(room, "the kettle boils", at_ms)
        never = await ann.client.schedule(room, "oops", soon(0.6))
        later = await ann.client.schedule(room, "tomorrow", soon(86_400))
        await ann.client.unschedule(never)
        page = await ann.client.scheduled()
        assert [(one.id, one.text, one.problem) for one in page.scheduled] == [
            (number, "the kettle boils", None), (later, "tomorrow", None),
        ]  # fmt: skip
        entry = await bob.hears("the kettle boils")
        assert (entry.author, entry.key) == (ann.id, f"scheduled:{number}")
        assert at_ms <= entry.at_ms < at_ms + 1_000
        heard = await ann.until(lambda event: isinstance(event, Entry) and event.key == f"scheduled:{number}")
        assert heard
        assert [one.id for one in (await ann.client.scheduled(room)).scheduled] == [later]
        with pytest.raises(ServerRefused, match="too_late"):
            await ann.client.unschedule(number)
        assert [one.text for one in (await bob.client.history(room)).entries if one.kind == "message"] == [
            "the kettle boils"
        ]


async def test_what_waits_is_sent_over_restarts_and_by_two_processes(world: World) -> None:
    """Fifty messages, due while processes are killed and started again: each is there, once."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_processes(world) as scene, AsyncExitStack() as stack:
        first, one = await scene.processes(2)
        phone = await scene.phone(first, ann)
        club = await create_group(phone, bob)

        async def schedule(number: int, in_s: float) -> None:
            fields: dict[str, Any] = {"conversation": club, "key": f"s{number}", "text": f"text {number}"}
            await phone.result("message.schedule", at_ms=soon(in_s), **fields)

        for number in range(50):
            await schedule(number, 0.5 + 0.05 * number)
        await trio.sleep(0.7)
        first.kill()  # some are sent, and some of what was taken is not
        two = await stack.enter_async_context(open_process(world))
        his = await stack.enter_async_context(one.phone(bob, "phone"))
        other = await stack.enter_async_context(two.phone(bob, "tablet"))
        with trio.fail_after(60):  # what the killed one had taken is free after its lease
            for each in (his, other):
                await each.has(club, 51)
        texts = [text for _, text in (await world.log(club))[1:]]
        assert sorted(texts, key=str) == sorted(f"text {number}" for number in range(50))
        await trio.sleep(1.0)
        assert len(await world.log(club)) == 51
