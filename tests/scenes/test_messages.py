"""Messages that change: what each device shows is what the database holds, byte for byte, however it heard of it."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_client import (
    Client,
    Contact,
    Content,
    Entity,
    Entry,
    Location,
    MemoryState,
    Messages,
    Reaction,
    ServerRefused,
)
from tests.client_scene import Cast, Person, all_at_once, open_scene
from tests.simulate.phone import as_frame

# What each message is, by other ways than the server's: its text out of the log, its reactions out of their table.
SNAPSHOT = """
    select m.seq, m.author::text, m.key, m.at_ms,
           case when d.seq is null then coalesce(e.text, m.text) end, case when d.seq is null then e.at_ms end,
           d.seq is not null,
           (select max(c.seq) from entry c
            where c.conversation = m.conversation and (c.detail ->> 'of')::bigint = m.seq),
           case when d.seq is null then case when e.seq is null then m.content else e.content end end,
           d.seq is null and (select c.detail ->> 'on' from entry c
                              where c.conversation = m.conversation and c.kind = 'message.pinned'
                                  and (c.detail ->> 'of')::bigint = m.seq order by c.seq desc limit 1) = 'true',
           (select json_agg(json_build_object('emoji', emoji, 'count', count, 'users', users)
                            order by emoji collate "C")
            from (select emoji, count(*) as count, (array_agg(person::text order by seq))[1:5] as users from reaction r
                  where r.conversation = m.conversation and r.message = m.seq group by emoji) r)
    from entry m
    left join lateral (select * from entry e where e.conversation = m.conversation and e.kind = 'message.edited'
                       and (e.detail ->> 'of')::bigint = m.seq order by e.seq desc limit 1) e on true
    left join entry d on d.conversation = m.conversation and d.kind = 'message.deleted'
        and (d.detail ->> 'of')::bigint = m.seq
    where m.conversation = %s and m.kind = 'message' order by m.seq"""
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def snapshot(dsn: str, conversation: str) -> bytes:
    """The messages of *conversation* as canonical bytes, out of the database."""
    with psycopg.connect(dsn, autocommit=True) as control:
        rows = control.execute(SNAPSHOT, (conversation,)).fetchall()
    names = (
        "seq", "author", "key", "at_ms", "text", "edited_at_ms", "deleted", "changed", "content", "pinned", "reactions",
    )  # fmt: skip
    found = []
    for row in rows:
        beside = {name: value for name, value in zip(names, row, strict=True) if value not in (None, False)}
        found.append({"conversation": conversation, "kind": "message", **beside})
    return _encode(found)


def shown(messages: Messages, conversation: str) -> bytes:
    """The same, as a client shows it."""
    return _encode([as_frame(message) for message in messages.of(conversation)])


class Screen:
    """One device, and what it shows."""

    def __init__(self, client: Client) -> None:
        self.client, self.messages, self.seen = client, Messages(), 0

    async def run(self) -> None:
        """Take in events until the client ends."""
        async for event in self.client.events:
            self.messages.note(event)
            if isinstance(event, Entry):
                self.seen = max(self.seen, event.seq)

    async def has(self, seq: int) -> None:
        """Wait until everything up to *seq* was shown."""
        with trio.fail_after(60):
            while self.seen < seq:
                await trio.sleep(0.005)


@asynccontextmanager
async def fresh(cast: Cast, person: Person, conversation: str) -> AsyncIterator[Messages]:
    """A device that starts afresh, with everything read back."""
    async with cast.client(person.account, device="fresh", recent=20) as client:
        messages = Messages()
        with trio.move_on_after(10):
            async for event in client.events:
                messages.note(event)
                if client.synced and not len(client.events):
                    break
        messages.learn([entry async for entry in client.walk_back(conversation, page=7)])
        yield messages


async def test_ann_corrects_herself_and_bob_laughs(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder, edit_within_s=3600) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        sent = await ann.client.send(room, "See you at eihgt")
        edited = await ann.client.edit(room, sent.seq, "See you at eight")
        await bob.client.react(room, sent.seq, "😂")
        await bob.client.react(room, sent.seq, "👍")
        await bob.client.react(room, sent.seq, "😂", on=False)
        heard = await ann.until(lambda event: isinstance(event, Entry) and event.seq == sent.seq + 4)
        assert [event.kind for event in heard if isinstance(event, Entry) and event.seq > sent.seq] == [
            "message.edited", "message.reacted", "message.reacted", "message.reacted",
        ]  # fmt: skip
        [message] = [one for one in (await bob.client.history(room)).entries if one.kind == "message"]
        assert (message.text, message.edited_at_ms, message.changed) == ("See you at eight", edited.at_ms, 6)
        assert message.reactions == (Reaction("👍", 1, (bob.id,)),)
        assert [one.text for one in await bob.client.edits(room, sent.seq)] == ["See you at eihgt", "See you at eight"]
        page = await ann.client.reactions(room, sent.seq)
        assert [(one.user, one.emoji) for one in page.reactions] == [(bob.id, "👍")]
        with pytest.raises(ServerRefused, match="forbidden"):
            await bob.client.delete(room, sent.seq)
        gone = await ann.client.delete(room, sent.seq)
        assert (await ann.client.delete(room, sent.seq)).seq == gone.seq
        assert [one.text for one in await ann.client.edits(room, sent.seq)] == [None, None]
        with pytest.raises(ServerRefused, match="message_deleted"):
            await bob.client.react(room, sent.seq, "😢")


async def test_nobody_may_edit_where_the_server_says_so(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder, edit_within_s=0) as cast:
        ann = await cast.person("ann")
        room = await ann.client.create("Notes")
        sent = await ann.client.send(room, "carved in stone")
        with pytest.raises(ServerRefused, match="too_late"):
            await ann.client.edit(room, sent.seq, "or not")


async def test_who_comes_back_ends_where_who_starts_afresh_does(dsn: str, folder: Path) -> None:
    """Bob knows the first messages, is away while they change, and comes back; many times over, so by pages too."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.account("bob")
        room = await ann.client.create("Tea", [bob.user.id])
        first = [(await ann.client.send(room, f"text {n}")).seq for n in range(5)]
        state, messages = MemoryState(), Messages()
        for again in range(3):
            async with cast.client(bob, device="phone", state=state) as client:
                async for event in client.events:
                    messages.note(event)
                    if client.synced and not len(client.events):
                        break
            for n in range(20):
                seq = (await ann.client.send(room, f"more {again} {n} " + "x" * 300)).seq
                await ann.client.react(room, seq, "👍")
                await ann.client.edit(room, seq, f"edited {n}")
                if n % 4 == 0:
                    await ann.client.delete(room, seq)
            await ann.client.edit(room, first[again], f"edited {again}")
        async with cast.client(bob, device="phone", state=state) as client:
            last = (await ann.client.delete(room, first[4])).seq
            async for event in client.events:
                messages.note(event)
                if isinstance(event, Entry) and event.seq == last:
                    break
        async with fresh(cast, ann, room) as other:
            assert shown(other, room) == snapshot(dsn, room)
            mine = {message.seq: message for message in messages.of(room)}
            assert [other.get(room, seq) for seq in mine] == list(mine.values())
            assert len(mine) > 60


PERSON, NTH = st.integers(0, 2), st.integers(0, 6)
CONTENT = st.sampled_from(
    [
        None, None,
        Content(entities=(Entity("bold", 0, 2), Entity("link", 0, 1, url="https://example.com/ü")), mention_all="all"),
        Content(location=Location(48.25, 16.5, "Café 𝄞", 3.5), contact=Contact("Bob", "+43 1", "b@example.com")),
        Content(reply_to=2), Content(reply_to=3, entities=(Entity("code", 1, 1),)),
    ]
)  # fmt: skip
OPERATION = st.one_of(
    st.tuples(st.just("send"), PERSON, st.sampled_from(["hi", "grüße 𝄞", "x" * 2_000]), CONTENT),
    st.tuples(
        st.just("edit"), PERSON, NTH, st.sampled_from(["edited", "again", "é" * 500]),
        st.sampled_from([(), (), (Entity("italic", 1, 3),)]),
    ),
    st.tuples(st.just("forward"), PERSON, NTH),
    st.tuples(st.just("pin"), PERSON, NTH, st.booleans()),
    st.tuples(st.just("pin"), st.just(0), NTH, st.just(True)),
    st.tuples(st.just("react"), PERSON, NTH, st.sampled_from(["👍", "a", "𝄞", "\uffff"]), st.booleans()),
    st.tuples(st.just("react"), PERSON, NTH, st.sampled_from(["👍", "a"]), st.just(True)),
    st.tuples(st.just("delete"), PERSON, NTH),
    st.tuples(st.just("drop"), PERSON),
    st.tuples(st.just("wait")),
)  # fmt: skip
_example = itertools.count()
_REFUSALS = {"forbidden", "unknown_message", "message_deleted", "too_many_reactions", "too_many_pins"}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=15, max_size=40))
async def test_every_device_shows_what_the_database_holds(dsn: str, folder: Path, operations: list[Any]) -> None:
    """Three people with two devices each do things at once, while connections break; whatever came of it, every device
    shows the same as the database by another way, and as one that starts afresh."""
    number = next(_example)
    async with open_scene(dsn, folder, commands_burst=1_000) as cast, trio.open_nursery() as devices:
        people = [await cast.person(f"{name}{number}") for name in ("ann", "bob", "cid")]
        room = await people[0].client.create("Tea", [people[1].id, people[2].id])
        screens = [[Screen(one.client), Screen(await cast.device(one, "tablet"))] for one in people]
        everybody = [screen for pair in screens for screen in pair]
        for screen in everybody:
            devices.start_soon(screen.run)

        async def do(client: Client, name: str, _: int, *more: Any) -> None:
            await _do(client, room, name, *more)

        await all_at_once(operations, [[screen.client for screen in pair] for pair in screens], do)
        last = (await people[0].client.send(room, "the end")).seq
        for screen in everybody:
            await screen.has(last)
        truth = snapshot(dsn, room)
        state = await people[2].client.conversation(room)
        for screen in everybody:
            assert shown(screen.messages, room) == truth
            assert state.pins == tuple(one.seq for one in screen.messages.of(room) if one.pinned)
        async with fresh(cast, people[1], room) as messages:
            assert shown(messages, room) == truth
        devices.cancel_scope.cancel()


async def _do(client: Client, room: str, name: str, *rest: Any) -> None:
    try:
        match name, rest:
            case "send", (text, content):
                await client.send(room, text, content=content)
            case "edit", (nth, text, entities):
                await client.edit(room, nth + 1, text, entities=entities)
            case "forward", (nth,):
                await client.forward(room, room, nth + 1)
            case "pin", (nth, on):
                await client.pin(room, nth + 1, on)
            case "react", (nth, emoji, on):
                await client.react(room, nth + 1, emoji, on)
            case "delete", (nth,):
                await client.delete(room, nth + 1)
    except ServerRefused as refusal:
        if refusal.code not in _REFUSALS:
            raise
