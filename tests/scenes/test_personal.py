"""What is one's own follows its person from device to device, and who comes back gets only what changed."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_client import Client, Draft, MemoryState, Messages, ServerRefused, Settings, StateChanged
from tests.client_scene import Cast, Person, all_at_once, open_scene

_encode = msgspec.msgpack.Encoder(order="sorted").encode

# What each person has of one's own: the rows as they stand; hidden messages out of the table that they are counted by.
ROWS = "select what, subject, value, number from personal where person = %s and value is not null"

# And what waits for its time, or could not be sent, out of the table that it is sent from.
SCHEDULED = """
select id::text, json_strip_nulls(json_build_object('conversation', conversation, 'at_ms', at_ms,
    'text', nullif(command ->> 'text', ''), 'content', command -> 'content', 'problem', problem))
from scheduled where author = %s and state in ('waiting', 'failed')
"""
KINDS = ("draft", "settings", "hidden", "scheduled")  # not notifications, which come by themselves
OF_TABLES = ("hidden", "scheduled")


def snapshot(dsn: str, person: str) -> bytes:
    """The rows of *person*'s own as canonical bytes, out of the database."""
    with psycopg.connect(dsn, autocommit=True) as control:
        rows = control.execute(ROWS, (person,)).fetchall()
        hidden = control.execute(
            "select conversation::text || '/' || seq / 1000, array_agg(seq order by seq) from hidden where person = %s"
            " group by 1",
            (person,),
        ).fetchall()
        scheduled = control.execute(SCHEDULED, (person,)).fetchall()
    found: dict[str, dict[str, Any]] = {}
    for what, subject, value, _ in rows:
        if what in KINDS and what not in OF_TABLES:
            found.setdefault(what, {})[subject] = value
    for subject, seqs in hidden:
        found.setdefault("hidden", {})[subject] = {"seqs": seqs}
    for subject, value in scheduled:
        found.setdefault("scheduled", {})[subject] = value
    return _encode(found)


def shown(client: Client) -> bytes:
    """The same, as a client shows it."""
    return _encode({what: dict(client.personal.rows(what)) for what in KINDS if client.personal.rows(what)})


async def until_shown(client: Client, dsn: str, person: str) -> None:
    """Wait until *client* shows what the database holds."""
    with trio.move_on_after(30):
        while shown(client) != snapshot(dsn, person):
            await trio.sleep(0.01)
    assert msgspec.msgpack.decode(shown(client)) == msgspec.msgpack.decode(snapshot(dsn, person))
    assert shown(client) == snapshot(dsn, person)


async def until_sent(dsn: str) -> None:
    """Wait until all that is due was sent, or could not be."""
    with trio.fail_after(30), psycopg.connect(dsn, autocommit=True) as control:
        while control.execute("select from scheduled where state = 'waiting' and at_ms <= now_ms()").fetchone():
            await trio.sleep(0.01)


async def read(client: Client) -> None:
    """Take in events until the client ends."""
    async for _ in client.events:
        pass


async def test_drafts_follow_ann_from_phone_to_laptop(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        question = await bob.client.send(room, "When?")
        async with cast.client(ann.account, device="laptop") as laptop:
            await laptop.wait_synced()
            await ann.client.set_draft(room, "At eight, or", reply_to=question.seq)
            async for event in laptop.events:
                if isinstance(event, StateChanged):
                    break
            draft = laptop.personal.draft(room)
            assert draft is not None
            assert (draft.text, draft.reply_to) == ("At eight, or", question.seq)
            await laptop.set_draft(room, "At eight, or nine?", reply_to=question.seq)
            await laptop.send(room, "At eight, or nine?")
            await laptop.clear_draft(room)
        seen = await ann.until(lambda event: event == StateChanged("draft", room, None))
        texts = [event.value and event.value["text"] for event in seen if isinstance(event, StateChanged)]
        assert texts == ["At eight, or", "At eight, or nine?", None]
        assert ann.client.personal.draft(room) is None
        await bob.hears("At eight, or nine?")
        assert not any(isinstance(event, StateChanged) for event in bob.seen), "nobody else hears of it"


async def test_a_device_that_was_never_there_is_told_all(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.account("bob")
        room, other = await ann.client.create("Tea", [bob.user.id]), await ann.client.create("Notes")
        await ann.client.set_draft(room, "half a")
        await ann.client.set_draft(other, "milk")
        await ann.client.clear_draft(other)
        await ann.client.mute(room)
        await ann.client.nickname(room, "Bobby", user=bob.user.id)
        async with cast.client(ann.account, device="tablet") as tablet:
            async for _ in tablet.events:
                if tablet.synced and not len(tablet.events):
                    break
            tablet.events.done()
            assert isinstance(tablet.personal.draft(room), Draft)
            assert tablet.personal.draft(other) is None
            assert tablet.personal.settings(room) == Settings(muted=True, nicknames={bob.user.id: "Bobby"})
            assert shown(tablet) == snapshot(dsn, ann.id)


async def test_who_comes_back_gets_only_what_changed(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann = await cast.person("ann")
        rooms = [await ann.client.create(f"room {n}") for n in range(5)]
        for room in rooms:
            await ann.client.set_draft(room, "first")
        state = MemoryState()
        told: list[list[tuple[str, Any]]] = []
        for again in range(3):
            async with cast.client(ann.account, device="laptop", state=state) as laptop:
                heard = []
                async for event in laptop.events:
                    if isinstance(event, StateChanged):
                        heard.append((event.subject, event.value and event.value["text"]))
                    if laptop.synced and not len(laptop.events):
                        break
                laptop.events.done()
                assert shown(laptop) == snapshot(dsn, ann.id)
            told.append(heard)
            await ann.client.set_draft(rooms[again], "meanwhile")
            await ann.client.set_draft(rooms[again], f"again {again}")
            await ann.client.clear_draft(rooms[4])
        assert told == [
            [(room, "first") for room in rooms],
            [(rooms[0], "again 0"), (rooms[4], None)],
            [(rooms[1], "again 1")],
        ]


async def test_a_hidden_message_shows_on_none_of_ones_devices(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        seqs = [(await bob.client.send(room, f"text {n}")).seq for n in range(4)]
        await ann.client.hide(room, seqs[1:3])
        async with cast.client(ann.account, device="tablet", recent=20) as tablet:
            messages = Messages(personal=tablet.personal)
            async for event in tablet.events:
                messages.note(event)
                if tablet.synced and not len(tablet.events):
                    break
            messages.learn((await tablet.history(room)).entries)
            tablet.events.done()
            assert [message.text for message in messages.of(room)] == ["text 0", "text 3"]
            assert (await tablet.conversation(room)).unread == 2
        assert len((await bob.client.history(room)).entries) == 5
        assert (await bob.client.conversation(room)).unread == 0


# --- all ways end alike ---

FAR_MS = 4_000_000_000_000
PERSON, NTH = st.integers(0, 1), st.integers(0, 2)
OPERATION = st.one_of(
    st.tuples(st.just("draft"), PERSON, NTH, st.sampled_from(["hi", "grüße 𝄞", "x" * 2_000, ""])),
    st.tuples(st.just("mute"), PERSON, NTH, st.booleans(), st.sampled_from([None, 5])),
    st.tuples(st.just("archive"), PERSON, NTH, st.booleans()),
    st.tuples(st.just("pin"), PERSON, NTH, st.booleans()),
    st.tuples(st.just("unread"), PERSON, NTH, st.booleans()),
    st.tuples(st.just("nickname"), PERSON, NTH, st.sampled_from([None, "Bobby", "\uffff"]), st.booleans()),
    st.tuples(st.just("folder"), PERSON, NTH, st.sampled_from([None, "Fun", "é"])),
    st.tuples(st.just("notify"), PERSON, NTH, st.sampled_from(["all", "mentions", "none"])),
    st.tuples(st.just("hide"), PERSON, NTH, st.lists(st.integers(1, 6), min_size=1, max_size=3)),
    st.tuples(st.just("schedule"), PERSON, NTH, st.sampled_from(["later", "𝄞"]), st.sampled_from([0, FAR_MS])),
    st.tuples(st.just("unschedule"), PERSON, NTH),
    st.tuples(st.just("drop"), PERSON),
    st.tuples(st.just("wait")),
)  # fmt: skip
_example = itertools.count()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=15, max_size=40))
async def test_every_device_shows_what_the_database_holds(dsn: str, folder: Path, operations: list[Any]) -> None:
    """Two people with two devices each do things at once, while connections break; whatever came of it, every device
    shows what the database holds, and so do one that starts afresh and one that was away."""
    number = next(_example)
    async with open_scene(dsn, folder, commands_burst=1_000) as cast, trio.open_nursery() as devices:
        people = [await cast.person(f"{name}{number}") for name in ("ann", "bob")]
        rooms = [await people[0].client.create(f"room {n}", [people[1].id]) for n in range(3)]
        for room in rooms:
            for n in range(3):
                await people[0].client.send(room, f"text {n}")
        away: list[MemoryState] = [MemoryState(), MemoryState()]
        for person, state in zip(people, away, strict=True):
            await come_and_go(cast, person, state)
        clients = [[one.client, await cast.device(one, "tablet")] for one in people]
        for client in itertools.chain(*clients):
            devices.start_soon(read, client)

        async def do(client: Client, name: str, who: int, room: int, *more: Any) -> None:
            await _do(client, rooms[room], people[1 - who].id, name, *more)

        await all_at_once(operations, clients, do)
        await until_sent(dsn)
        for person, pair, state in zip(people, clients, away, strict=True):
            for client in pair:
                await until_shown(client, dsn, person.id)
            await come_and_go(cast, person, state, dsn)
            await come_and_go(cast, person, MemoryState(), dsn)
        devices.cancel_scope.cancel()


async def come_and_go(cast: Cast, person: Person, state: MemoryState, dsn: str | None = None) -> None:
    """A third device comes, is brought up to date, shows what the database holds, and goes."""
    async with cast.client(person.account, device="third", state=state) as client:
        async for _ in client.events:
            if client.synced and not len(client.events):
                break
        client.events.done()
        if dsn is not None:
            assert shown(client) == snapshot(dsn, person.id)


async def _do(client: Client, room: str, other: str, name: str, *rest: Any) -> None:
    try:
        match name, rest:
            case "draft", (text,):
                await client.set_draft(room, text)
            case "mute", (on, until_ms):
                await client.mute(room, on, until_ms=until_ms)
            case "archive", (on,):
                await client.archive(room, on)
            case "pin", (on,):
                await client.pin_conversation(room, on)
            case "unread", (on,):
                await client.mark_unread(room, on)
            case "nickname", (called, of_other):
                await client.nickname(room, called, user=other if of_other else None)
            case "folder", (folder,):
                await client.put_into_folder(room, folder)
            case "notify", (level,):
                await client.notify_of(room, level)
            case "hide", (seqs,):
                await client.hide(room, seqs)
            case "schedule", (text, at_ms):
                await client.schedule(room, text, at_ms)
            case "unschedule", ():
                for one in client.personal.scheduled(room)[:1]:
                    await client.unschedule(one.id)
    except ServerRefused as refusal:
        if refusal.code not in ("unknown_message", "too_late"):
            raise
