"""Threads on real servers: what each device shows is what the database holds, however it heard of it."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_client import (
    Client,
    Content,
    Conversations,
    Entry,
    MemoryState,
    Messages,
    OwnThread,
    ServerRefused,
    StateChanged,
)
from tests.client_scene import all_at_once, open_scene
from tests.scenes.test_messages import Screen, fresh, shown
from tests.simulate.phone import as_frame

# What each message shows of its thread, out of the log alone: what was said there and is not deleted, and the newest
# entry that changed the message, itself or by its thread.
SNAPSHOT = """
    with m as (
        select seq, author::text, at_ms, (content ->> 'thread')::bigint as thread,
               detail ->> 'deleted' is not null as deleted
        from entry where conversation = %(room)s and kind = 'message'
    ), c as (
        select e.seq, e.kind, (e.detail ->> 'of')::bigint as of, m.thread
        from entry e left join m on m.seq = (e.detail ->> 'of')::bigint
        where e.conversation = %(room)s and e.detail ->> 'of' is not null
        union all select seq, 'message', null, thread from m where thread is not null
    ), gone as (
        select of as seq, min(seq) as at from c where kind = 'message.deleted' group by of
    )
    select json_agg(json_build_object(
        'seq', m.seq, 'thread', m.thread, 'deleted', m.deleted,
        'changed', (select max(c.seq) from c where c.seq <= coalesce((select at from gone where seq = m.seq), c.seq)
                        and (c.of = m.seq or c.thread = m.seq and c.kind in ('message', 'message.deleted'))),
        'replies', case when not m.deleted then (
            select case when count(*) > 0 then json_build_object(
                'count', count(*), 'last_seq', max(seq), 'last_at_ms', (array_agg(at_ms order by seq desc))[1],
                'users', (select (array_agg(author order by first))[1:5] from (
                    select author, min(seq) as first from m s where s.thread = m.seq and not s.deleted
                    group by author) f))
            end from m s where s.thread = m.seq and not s.deleted) end) order by m.seq)
    from m"""
UNREAD = """
    select (t.content ->> 'thread')::bigint, count(*) from entry t
    where t.conversation = %s and t.kind = 'message' and t.content ->> 'thread' is not null and t.author <> %s
        and t.detail ->> 'deleted' is null
        and t.seq > coalesce((select (value ->> 'read')::bigint from personal where person = %s and what = 'thread'
                              and subject = t.conversation || '/' || (t.content ->> 'thread')), 0)
    group by 1"""
_encode = msgspec.json.Encoder(order="sorted").encode


def snapshot(dsn: str, room: str) -> bytes:
    """What the messages of *room* show of threads, as canonical bytes."""
    with psycopg.connect(dsn, autocommit=True) as control:
        row = control.execute(SNAPSHOT, {"room": room}).fetchone()
    assert row is not None
    return _encode(row[0])


def of_threads(messages: Messages, room: str) -> bytes:
    """The same, as a client shows it."""
    found = []
    for message in messages.of(room):
        frame = as_frame(message)
        found.append({
            "seq": message.seq, "thread": frame.get("content", {}).get("thread"), "deleted": message.deleted,
            "changed": message.changed or None, "replies": frame.get("replies"),
        })  # fmt: skip
    return _encode(found)


async def test_a_list_and_who_listens_show_the_same_last_message(dsn: str, folder: Path) -> None:
    """An answer in a thread is not what the list shows, nor what is done to it; it moves the conversation up."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room, other = await ann.client.create("Tea", [bob.id]), await ann.client.create("Coffee", [bob.id])
        live, known = Messages(personal=bob.client.personal), Conversations()

        async def shows() -> list[tuple[str, str | None]]:
            page = await bob.client.conversations()
            heads = {one.id: one.head for one in page.conversations}
            while {one.id: one.head for one in known} != heads:
                event = await anext(bob.client.events)
                live.note(event)
                known.note(event)
            fresh_ = Messages(personal=bob.client.personal)
            for one in page.conversations:
                fresh_.learn(one.recent)
            fresh_.learn(page.last_messages)
            found = []
            for one in page.conversations:
                last = page.last(one.id)
                assert last == live.last(one.id) == fresh_.last(one.id)
                found.append((one.id, None if last is None else last.text))
            return found

        await ann.client.send(room, "When?")
        await ann.client.send(other, "Where?")
        assert await shows() == [(other, "Where?"), (room, "When?")]
        answer = await ann.client.send(room, "At eight", content=Content(thread=2))
        assert await shows() == [(room, "When?"), (other, "Where?")]
        await ann.client.react(room, answer.seq, "👍")
        await ann.client.edit(room, answer.seq, "At nine")
        assert await shows() == [(room, "When?"), (other, "Where?")]
        await ann.client.send(room, "Tomorrow.")
        assert await shows() == [(room, "Tomorrow."), (other, "Where?")]
        await ann.client.delete(room, answer.seq)
        assert await shows() == [(room, "Tomorrow."), (other, "Where?")]


async def test_cid_answers_in_a_thread_and_bob_hears_of_it_when_he_comes_back(dsn: str, folder: Path) -> None:
    """The room's own numbers say nothing of it; Ann's laptop knows what her phone has read."""
    async with open_scene(dsn, folder) as cast:
        ann, cid, bob = await cast.person("ann"), await cast.person("cid"), await cast.account("bob")
        room = await ann.client.create("Hiking", [cid.id, bob.user.id])
        root = await ann.client.send(room, "Who brings the map?")
        state, messages = MemoryState(), Messages()

        async def comes_back() -> None:
            async with cast.client(bob, device="phone", state=state, recent=20) as client:
                async for event in client.events:
                    messages.note(event)
                    if client.synced and not len(client.events):
                        return

        await comes_back()
        inside = Content(thread=root.seq)
        first = await cid.client.send(room, "I do", content=inside)
        second = await ann.client.send(room, "Thanks", content=inside)
        await comes_back()
        shown_ = messages.get(room, root.seq)
        assert shown_ is not None
        assert shown_.replies is not None
        assert (shown_.replies.count, shown_.replies.users) == (2, (cid.id, ann.id))
        assert of_threads(messages, room) == snapshot(dsn, room)
        async with cast.client(bob, device="laptop") as laptop:
            await laptop.wait_synced()
            assert (await laptop.conversation(room)).unread == 1, "the root alone"
            [thread] = (await laptop.threads(room)).threads
            assert (thread.seq, thread.following, thread.unread) == (root.seq, False, 2)
            await laptop.send(room, "Me too", content=inside)
            [thread] = (await laptop.threads(room)).threads
            assert (thread.following, thread.unread) == (True, 2)
        await ann.client.read_thread(room, root.seq, second.seq)
        await ann.until(lambda event: isinstance(event, StateChanged) and event.what == "thread")
        async with cast.client(ann.account, device="laptop") as laptop:
            await laptop.wait_synced()
            with trio.fail_after(60):
                async for _ in laptop.events:
                    if laptop.personal.thread(room, root.seq) == OwnThread(None, second.seq):
                        break
            [thread] = (await laptop.threads(room)).threads
            assert (thread.following, thread.read, thread.unread) == (True, second.seq, 1)
            await laptop.follow_thread(room, root.seq, on=False)
            assert not (await laptop.threads(room)).threads[0].following
            page = await laptop.thread_history(room, root.seq, limit=2)
            assert ([one.text for one in page.entries], page.more) == (["Thanks", "Me too"], True)
            rest = await laptop.thread_history(room, root.seq, before=page.entries[0].seq)
            assert ([one.seq for one in rest.entries], rest.more) == ([first.seq], False)


PERSON, NTH = st.integers(0, 2), st.integers(0, 9)
OPERATION = st.one_of(
    st.tuples(st.just("send"), PERSON),
    st.tuples(st.just("answer"), PERSON, NTH),
    st.tuples(st.just("answer"), PERSON, st.integers(1, 3)),
    st.tuples(st.just("edit"), PERSON, NTH),
    st.tuples(st.just("react"), PERSON, NTH),
    st.tuples(st.just("delete"), PERSON, NTH),
    st.tuples(st.just("delete"), st.just(0), NTH),
    st.tuples(st.just("read"), PERSON, NTH, st.integers(1, 20)),
    st.tuples(st.just("follow"), PERSON, NTH, st.booleans()),
    st.tuples(st.just("drop"), PERSON),
    st.tuples(st.just("wait")),
)  # fmt: skip
_example = itertools.count()
_REFUSALS = {"forbidden", "unknown_message", "message_deleted", "in_a_thread"}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=20, max_size=45))
async def test_every_device_shows_the_threads_that_the_log_has(dsn: str, folder: Path, operations: list[Any]) -> None:
    """Three people with two devices each answer, delete, edit and read at once, while connections break, and a third
    device of one is away: whatever came of it, all show what the log says, and unread is what a recount says."""
    number = next(_example)
    async with open_scene(dsn, folder, commands_burst=1_000) as cast, trio.open_nursery() as devices:
        people = [await cast.person(f"{name}{number}") for name in ("ann", "bob", "cid")]
        room = await people[0].client.create("Tea", [people[1].id, people[2].id])
        state, back = MemoryState(), Messages()

        async def come_back() -> None:
            async with cast.client(people[2].account, device="away", state=state, recent=20) as client:
                async for event in client.events:
                    back.note(event)
                    if client.synced and not len(client.events):
                        return

        screens = [[Screen(one.client), Screen(await cast.device(one, "tablet"))] for one in people]
        everybody = [screen for pair in screens for screen in pair]
        for screen in everybody:
            devices.start_soon(screen.run)
        for n in range(3):
            await people[n].client.send(room, f"root {n}")
        await come_back()

        async def do(client: Client, name: str, _: int, *more: Any) -> None:
            await _do(client, room, name, *more)

        await all_at_once(operations, [[screen.client for screen in pair] for pair in screens], do)
        last = (await people[0].client.send(room, "the end")).seq
        for screen in everybody:
            await screen.has(last)
        await come_back()
        truth, first = snapshot(dsn, room), shown(everybody[0].messages, room)
        for screen in everybody:
            assert of_threads(screen.messages, room) == truth
            assert shown(screen.messages, room) == first
        assert shown(back, room) == first
        async with fresh(cast, people[1], room) as messages:
            assert shown(messages, room) == first
        with psycopg.connect(dsn, autocommit=True) as control:
            for person in people:
                counts: dict[int, int] = dict(control.execute(UNREAD, (room, person.id, person.id)).fetchall())
                for thread in (await person.client.threads(room)).threads:
                    assert thread.unread == counts.get(thread.seq, 0)
        devices.cancel_scope.cancel()


async def _do(client: Client, room: str, name: str, *rest: Any) -> None:
    try:
        match name, rest:
            case "send", ():
                await client.send(room, "hi")
            case "answer", (nth,):
                await client.send(room, "yes", content=Content(thread=nth + 1))
            case "edit", (nth,):
                await client.edit(room, nth + 1, "edited")
            case "react", (nth,):
                await client.react(room, nth + 1, "👍")
            case "delete", (nth,):
                await client.delete(room, nth + 1)
            case "read", (nth, through):
                await client.read_thread(room, nth + 1, through)
            case "follow", (nth, on):
                await client.follow_thread(room, nth + 1, on)
    except ServerRefused as refusal:
        if refusal.code not in _REFUSALS:
            raise


async def test_whose_answer_comes_first_is_the_same_for_all(dsn: str, folder: Path) -> None:
    """An answer and a message at once: one order, and the root's number is that of the log."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        root = (await ann.client.send(room, "?")).seq
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(_do, (ann, bob)[n % 2].client, room, "answer", root - 1)
                nursery.start_soon(_do, (ann, bob)[n % 2].client, room, "send")
        end = (await bob.client.send(room, "the end")).seq
        heard = await ann.until(lambda event: isinstance(event, Entry) and event.seq == end)
        entries = [event for event in heard if isinstance(event, Entry)]
        assert [one.seq for one in entries] == [*range(entries[0].seq, end + 1)]
        told = [one.threads[0].replies for one in entries if one.threads]
        assert [one.count for one in told if one is not None] == [*range(1, 11)]
