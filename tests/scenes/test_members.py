"""Roles, bans and what is set for all: every device folds what the database holds, however it heard of it."""

import itertools
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_client import Client, Conversation, Conversations, Entry, MemoryState, ServerRefused
from protocol import frames
from protocol.schema.catalogue import tag
from storage import actions
from storage.rows import Rules
from storage.uploads import visible_upload
from tests.client_scene import Person, all_at_once, open_scene
from tests.running import House, World

# A conversation by other ways than the server's.
SNAPSHOT = """
    select v.owner::text,
           coalesce((select json_agg(s.person order by s.joined, s.place) from span s
                     where s.conversation = v.id and s.until is null), '[]'),
           coalesce((select json_agg(s.person order by s.person) from span s
                     where s.conversation = v.id and s.until is null and s.role = 'admin'), '[]'),
           v.title, v.topic, v.slow_mode_s
    from conversation v where v.id = %s"""
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def snapshot(dsn: str, conversation: str) -> bytes:
    """*conversation* as canonical bytes, out of the database."""
    with psycopg.connect(dsn, autocommit=True) as control:
        row = control.execute(SNAPSHOT, (conversation,)).fetchone()
    assert row is not None
    return _encode(list(row))


def shown(conversation: Conversation | None) -> bytes:
    """The same, as a client shows it."""
    assert conversation is not None
    return _encode([
        conversation.owner, conversation.members, conversation.admins, conversation.title, conversation.topic,
        conversation.slow_mode_s,
    ])  # fmt: skip


class Screen:
    """One device, and what it shows."""

    def __init__(self, client: Client) -> None:
        self.client, self.conversations = client, Conversations()

    async def run(self) -> None:
        """Take in events until the client ends."""
        async for event in self.client.events:
            self.conversations.note(event)

    async def has(self, conversation: str, seq: int) -> None:
        """Wait until everything up to *seq* was shown."""
        with trio.fail_after(60):
            while (known := self.conversations.get(conversation)) is None or known.head < seq:
                await trio.sleep(0.005)


async def test_ann_makes_bob_an_admin_who_throws_cid_out(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = [await cast.person(name) for name in ("ann", "bob", "cid")]
        room = await ann.client.create("Tea", [bob.id, cid.id])
        with pytest.raises(ServerRefused, match="forbidden"):
            await bob.client.ban(room, cid.id)
        await ann.client.set_role(room, bob.id, "admin")
        await bob.client.ban(room, cid.id, reason="rude")
        heard = await cid.until(lambda event: isinstance(event, Entry) and event.kind == "member.banned")
        last = heard[-1]
        assert isinstance(last, Entry)
        assert (last.user, last.reason, last.until_ms) == (cid.id, "rude", None)
        with pytest.raises(ServerRefused, match="not_a_member"):
            await cid.client.send(room, "let me in")
        with pytest.raises(ServerRefused, match="banned"):
            await ann.client.add(room, cid.id)
        assert [(one.user, one.author) for one in (await ann.client.bans(room)).bans] == [(cid.id, bob.id)]
        await ann.client.unban(room, cid.id)
        await ann.client.add(room, cid.id)
        await cid.client.send(room, "sorry")
        await ann.client.hand_over(room, cid.id)
        state = await bob.client.conversation(room)
        assert (state.owner, state.admins) == (cid.id, tuple(sorted([ann.id, bob.id])))
        await cid.client.leave(room)
        assert (await bob.client.conversation(room)).owner == ann.id, "who has been here longer of two admins"


async def test_who_comes_back_after_a_ban_and_a_return_ends_where_all_do(dsn: str, folder: Path) -> None:
    """Bob is away while he is made an admin, banned, let in again, and given the group."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.account("bob")
        room = await ann.client.create("Tea", [bob.user.id])
        state, conversations = MemoryState(), Conversations()

        async def visit() -> None:
            async with cast.client(bob, device="phone", state=state) as client:
                async for event in client.events:
                    conversations.note(event)
                    if client.synced and not len(client.events):
                        return

        await visit()
        await ann.client.set_role(room, bob.user.id, "admin")
        await visit()
        assert shown(conversations.get(room)) == snapshot(dsn, room)
        await ann.client.ban(room, bob.user.id)
        await visit()
        known = conversations.get(room)
        assert known is not None
        assert bob.user.id not in known.members
        await ann.client.unban(room, bob.user.id)
        await ann.client.add(room, bob.user.id)
        await ann.client.hand_over(room, bob.user.id)
        await visit()
        assert shown(conversations.get(room)) == snapshot(dsn, room)


async def test_in_slow_mode_the_outbox_waits(dsn: str, folder: Path) -> None:
    """What comes too early is not lost, and keeps its place; others write meanwhile."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        await ann.client.set_slow_mode(room, 1)
        for number in range(2):
            bob.client.send_nowait(room, f"bob {number}")
        await ann.client.send(room, "ann 0")
        await ann.client.send(room, "ann 1")
        await bob.client.flush()
        page = await ann.client.history(room)
        said = [(one.text, one.at_ms) for one in page.entries if one.kind == "message"]
        own = [one for one in said if str(one[0]).startswith("bob")]
        assert [text for text, _ in own] == ["bob 0", "bob 1"]
        assert own[1][1] - own[0][1] >= 1_000
        assert said[-1][0] == "bob 1"


async def test_every_member_may_fetch_the_photo(house: House, world: World) -> None:
    """A newcomer, too, who does not see the entry that set it; and nobody else."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    photo = await world.photo(ann)
    async with house.phone(ann) as phone:
        club = (await phone.result("conversation.create", key="m", title="Club", members=[], history="from_join"))[
            "conversation"
        ]
        await phone.result("conversation.photo", conversation=club, key="p", photo=str(photo))
        assert await visible_upload(world.database, photo, bob.id) is None
        await phone.result("conversation.add", conversation=club, key="a", user=str(bob))
        assert await visible_upload(world.database, photo, bob.id) is not None
        assert await visible_upload(world.database, photo, cid.id) is None
        assert (await phone.result("conversation.get", conversation=club))["photo"] == str(photo)
        await phone.result("conversation.photo", conversation=club, key="q", photo=None)
        assert await visible_upload(world.database, photo, bob.id) is None, "cleared, and set before he came"
        assert await visible_upload(world.database, photo, ann.id) is not None


WHO = st.integers(0, 3)
OPERATION = st.one_of(
    st.tuples(st.just("role"), WHO, WHO, st.sampled_from(["admin", "admin", "member"])),
    st.tuples(st.just("hand_over"), WHO, WHO),
    st.tuples(st.just("ban"), WHO, st.integers(1, 3)),
    st.tuples(st.just("unban"), WHO, st.integers(1, 3)),
    st.tuples(st.just("add"), WHO, WHO),
    st.tuples(st.just("add"), WHO, WHO),
    st.tuples(st.just("remove"), WHO, st.integers(1, 3)),
    st.tuples(st.just("leave"), st.integers(1, 3)),
    st.tuples(st.just("title"), WHO, st.sampled_from(["Tea", "Coffee", "𝄞"])),
    st.tuples(st.just("topic"), WHO, st.sampled_from([None, "hot", "cold"])),
    st.tuples(st.just("slow_mode"), WHO, st.sampled_from(["0", "1", "2"])),
    st.tuples(st.just("drop"), WHO),
    st.tuples(st.just("wait")),
)  # fmt: skip
_example = itertools.count()
_REFUSALS = {"forbidden", "not_a_member", "already_a_member", "banned", "too_many_admins"}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=15, max_size=40))
async def test_every_device_folds_what_the_database_holds(dsn: str, folder: Path, operations: list[Any]) -> None:
    """Four people with two devices each do things at once, while connections break; whatever came of it, all who are
    still in show the same as the database by another way, and as one that starts afresh."""
    number = next(_example)
    async with open_scene(dsn, folder, commands_burst=1_000) as cast, trio.open_nursery() as devices:
        people = [await cast.person(f"{name}{number}") for name in ("ann", "bob", "cid", "dan")]
        room = await people[0].client.create("Tea", [one.id for one in people[1:]])
        screens = [[Screen(one.client), Screen(await cast.device(one, "tablet"))] for one in people]
        for screen in itertools.chain(*screens):
            devices.start_soon(screen.run)

        async def do(client: Client, name: str, _: int, *more: Any) -> None:
            await _do(client, room, name, [_of(people, one) for one in more])

        await all_at_once(operations, [[screen.client for screen in pair] for pair in screens], do)
        members = (await _anybody(people, room)).members
        last = 0
        for person in people:
            if person.id in members:
                last = (await person.client.send(room, "the end")).seq
        truth = snapshot(dsn, room)
        for person, pair in zip(people, screens, strict=True):
            if person.id in members:
                for screen in pair:
                    await screen.has(room, last)
                    assert shown(screen.conversations.get(room)) == truth
                async with cast.client(person.account, device="fresh") as client:
                    await client.wait_synced()
                    assert shown(await client.conversation(room)) == truth
        devices.cancel_scope.cancel()


def _of(people: list[Person], one: Any) -> Any:
    return people[one].id if isinstance(one, int) else one


async def _anybody(people: list[Person], room: str) -> Conversation:
    """The room by the eyes of somebody who is in it; the first is never removed by another."""
    for person in people:
        try:
            return await person.client.conversation(room)
        except ServerRefused:
            pass
    raise AssertionError("nobody is left")


async def _do(client: Client, room: str, name: str, rest: list[Any]) -> None:
    methods = {
        "role": client.set_role, "hand_over": client.hand_over, "ban": client.ban, "unban": client.unban,
        "add": client.add, "remove": client.remove, "leave": client.leave, "title": client.set_title,
        "topic": client.set_topic, "slow_mode": lambda room, seconds: client.set_slow_mode(room, int(seconds)),
    }  # fmt: skip
    try:
        await methods[name](room, *rest)  # type: ignore[operator]
    except ServerRefused as refusal:
        if refusal.code not in _REFUSALS:
            raise


# --- A thousand members -----------------------------------------------------------------------------------------------

ACTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("member.role", {"user": 1, "role": "admin"}),
    ("member.role", {"user": 2, "role": "admin"}),
    ("member.ban", {"user": 3, "reason": "spam"}),
    ("member.unban", {"user": 3}),
    ("conversation.add", {"user": 3}),
    ("conversation.remove", {"user": 3}),
    ("conversation.title", {"title": "Throng"}),
    ("conversation.topic", {"topic": "x" * 100}),
    ("conversation.slow_mode", {"seconds": 30}),
    ("message.send", {"text": "the owner is not slowed"}),
    ("conversation.slow_mode", {"seconds": 0}),
    ("conversation.handover", {"user": 1}),
    ("conversation.leave", {}),
)
READ = """
    select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::integer from pg_stat_xact_user_tables
    where relname in ('span', 'receipt', 'account', 'ban')"""  # the tables that grow with the members


async def test_a_group_of_a_thousand_stays_responsive(house: House, world: World) -> None:
    """Each action is one small entry, and no statement of it reads the thousand memberships."""
    people = await world.crowd(1_000)
    async with house.phone(people[0]) as ann, house.phone(people[5]) as eve:
        members = [str(one) for one in people[1:]]
        made = await ann.result("conversation.create", key="make", title="Crowd", members=members)
        crowd = str(made["conversation"])
        await eve.has(crowd, 1)
        await world.database.execute("analyze")
        for nth, (command, fields) in enumerate(ACTIONS):
            fields = {name: str(people[one]) if name == "user" else one for name, one in fields.items()}
            body = {"id": 1, "t": command, "conversation": crowd, "key": f"k{nth}", **fields}
            rows = _rows_read(world.dsn, people[0].id, msgspec.convert(body, type=frames.AnyCommand))
            assert 1 < rows < 30, f"{command} read {rows} rows"
            seq = (await ann.result(command, conversation=crowd, key=f"k{nth}", **fields))["seq"]
            await eve.has(crowd, seq)
            [entry] = [one for one in eve.of("entry", crowd) if one["seq"] == seq]
            assert len(msgspec.msgpack.encode(entry)) < 500, command


def _rows_read(dsn: str, author: UUID, action: Any) -> int:
    """How many rows the database reads to store *action*, which is undone."""
    with psycopg.connect(dsn) as control:
        if isinstance(action, frames.MessageSend):
            batch = [{"c": str(action.conversation), "a": str(author), "k": action.key, "x": action.text}]
            sql = "select append_messages(%s, '[]')::jsonb #- '{answers,0,error}'"
            answer = control.execute(sql.encode(), (msgspec.json.encode(batch).decode(),)).fetchone()
        elif isinstance(action, actions.MEMBERSHIP):
            change = {"conversation.add": "add", "conversation.remove": "remove", "conversation.leave": "leave"}
            user = getattr(action, "user", author)
            answer = control.execute(
                "select change_member(%s, %s, %s, %s, %s, 1000)::text",
                (change[tag(type(action))], action.conversation, author, action.key, user),
            ).fetchone()
        else:
            sql = actions.FUNCTIONS[type(action)].replace("$1", "%s").replace("$2", "%s").replace("$3", "%s")
            answer = control.execute(
                sql.encode(), (author, *(msgspec.json.encode(one).decode() for one in (action, Rules())))
            ).fetchone()
        assert answer is not None
        assert "error" not in str(answer[0]), answer
        row = control.execute(READ).fetchone()
        assert row is not None
        control.rollback()
        return int(row[0])
