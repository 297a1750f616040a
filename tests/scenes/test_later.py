"""What happens later by itself, on real servers: sent once, gone everywhere, whatever was restarted meanwhile."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio

from konnect_client import Client, Content, Entry, Location, MemoryState, Messages, ServerRefused
from tests.client_scene import open_scene
from tests.processes import open_scene as open_processes
from tests.running import World, create_group, open_process
from tests.scenes.test_messages import fresh, shown


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


async def test_what_waits_shows_on_all_devices(dsn: str, folder: Path) -> None:
    """Ann's laptop is connected, her tablet comes back, a third one starts afresh: each shows what waits, and why one
    could not be sent, without asking; what was sent or taken back is gone."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room, other = await bob.client.create("Tea", [ann.id]), await bob.client.create("Coffee", [ann.id])
        state = MemoryState()
        seen: list[list[Any]] = []

        async def look() -> None:
            async with cast.client(ann.account, device="tablet", state=state) as tablet:
                async for _ in tablet.events:
                    if tablet.synced and not len(tablet.events):
                        break
                tablet.events.done()
                seen.append(tablet.personal.scheduled())

        async def shows(client: Client, *ids: str) -> None:
            with trio.fail_after(30):
                while tuple(one.id for one in client.personal.scheduled()) != ids:
                    await anext(client.events)

        late, far = soon(86_400), soon(2 * 86_400)
        async with cast.client(ann.account, device="laptop") as laptop:
            await laptop.wait_synced()
            content = Content(location=Location(52.5, 13.4))
            second = await ann.client.schedule(room, "the day after", far, content=content)
            first = await ann.client.schedule(room, "tomorrow", late)
            await shows(ann.client, first, second)
            await shows(laptop, first, second)
            assert laptop.personal.scheduled(room) == list((await laptop.scheduled()).scheduled)
            assert laptop.personal.scheduled(room)[1].content == content
            assert laptop.personal.scheduled(other) == []
            await look()
            await laptop.unschedule(first)
            await shows(laptop, second)
            failing = await laptop.schedule(room, "to nobody", soon(0.7))
            await bob.client.remove(room, ann.id)
            await shows(laptop, failing, second)
            while laptop.personal.scheduled()[0].problem is None:
                await anext(laptop.events)
            await shows(ann.client, failing, second)
            while ann.client.personal.scheduled() != laptop.personal.scheduled():
                await anext(ann.client.events)
            await look()
            async with cast.client(ann.account, device="third") as third:
                await shows(third, failing, second)
                assert third.personal.scheduled() == laptop.personal.scheduled()
            await bob.client.add(room, ann.id)
            await laptop.unschedule(failing)
            sent = await laptop.schedule(room, "it is time", soon(0.3))
            await shows(laptop, sent, second)
            await bob.hears("it is time")
            await shows(laptop, second)
            await look()
        assert [[one.id for one in each] for each in seen] == [[first, second], [failing, second], [second]]
        assert [one.problem for one in seen[1]] == ["not_a_member", None]
        with pytest.raises(ServerRefused, match="too_late"):
            await ann.client.unschedule(sent)


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


async def test_new_conversations_begin_with_what_the_server_says(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder, retention_s=3_600) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        direct, room = await ann.client.direct(bob.id), await ann.client.create("Tea", [bob.id])
        for one in (direct, room):
            assert (await bob.client.conversation(one)).retention_s == 3_600
        sent = await ann.client.send(room, "not for ever")
        heard = await bob.hears("not for ever")
        assert heard.expires_at_ms == sent.at_ms + 3_600_000
        await ann.client.retention(room, 0)
        assert (await bob.client.conversation(room)).retention_s is None
    async with open_scene(dsn, folder) as cast:
        cid = await cast.person("cid")
        assert (await cid.client.conversation(await cid.client.create("Notes"))).retention_s is None
        with psycopg.connect(dsn, autocommit=True) as control:
            rows = control.execute("select retention_s from conversation where id = %s", (direct,)).fetchall()
        assert rows == [(3_600,)], "what is there stays as it is"


async def test_what_disappears_is_gone_on_every_device(dsn: str, folder: Path) -> None:
    """Bob's phone hears it live, his tablet comes back when it is gone, another one starts afresh; all show the same as
    the database holds, byte for byte: what stays, and nothing of what does not."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        live, back, state = Messages(), Messages(), MemoryState()
        await ann.client.send(room, "this stays")
        await ann.client.retention(room, 1)
        gone = [await ann.client.send(room, f"gone {n}", content=Content(reply_to=2)) for n in range(5)]
        await bob.client.react(room, gone[0].seq, "👍")
        await ann.client.edit(room, gone[1].seq, "gone all the same")
        await ann.client.delete(room, gone[2].seq)
        async with cast.client(bob.account, device="tablet", state=state, recent=20) as client:
            async for event in client.events:
                back.note(event)
                if client.synced and not len(client.events):
                    break
        await ann.client.retention(room, 0)
        await bob.client.send(room, "this stays, too")
        ended: set[int] = set()
        with trio.fail_after(30):
            async for event in bob.client.events:
                live.note(event)
                if isinstance(event, Entry):
                    ended |= set(event.messages)
                    if event.kind == "messages.expired":
                        assert event.author == str(UUID(int=0))
                if len(ended) == 4:
                    break
        async with cast.client(bob.account, device="tablet", state=state) as client:
            async for event in client.events:
                back.note(event)
                if client.synced and not len(client.events):
                    break
        with psycopg.connect(dsn, autocommit=True) as control:
            rows = control.execute(
                "select seq, text, detail ->> 'deleted' from entry where conversation = %s and kind = 'message'"
                " order by seq",
                (room,),
            ).fetchall()
            left = control.execute(
                "select (select count(*) from reaction),"
                " (select count(*) from version where text is not null or content is not null)"
            ).fetchall()
        assert [text for _, text, _ in rows if text is not None] == ["this stays", "this stays, too"]
        assert left == [(0, 0)]
        async with fresh(cast, bob, room) as other:
            for messages in (live, back, other):
                assert [(one.seq, one.text, "true" if one.deleted else None) for one in messages.of(room)] == rows
            assert shown(live, room) == shown(back, room) == shown(other, room)
