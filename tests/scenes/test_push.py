"""Who is told by push: on real servers, a real database, and an FCM on this machine."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio

from konnect_server import jobs as jobs_room
from konnect_server.push import gatherer as gatherer_room, sender as sender_room
from storage import pushes
from tests.fake_fcm import FakeFcm, open_fcm
from tests.running import LIMIT_S, House, Person, Phone, World, create_group, open_house, open_process
from tests.scenes.test_calls import caller

NEVER_S = 1.2  # long enough for what must not come: a look, a job, a call


@pytest.fixture
def fcm() -> Iterator[FakeFcm]:
    with open_fcm() as fake:
        yield fake


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a second in life takes less here."""
    monkeypatch.setattr(gatherer_room, "GATHER_S", 0.05)
    monkeypatch.setattr(jobs_room, "POLL_S", 0.1)
    monkeypatch.setattr(jobs_room, "BACKOFF_S", 0.05)
    monkeypatch.setattr(sender_room, "WAIT_S", 0.2)


def on(fcm: FakeFcm, folder: Path) -> dict[str, Any]:
    """A server's configuration."""
    return {
        "push_driver": "firebase", "firebase_credentials": fcm.account(folder), "firebase_endpoint": fcm.url,
        "presence_grace_s": 0.0,
    }  # fmt: skip


@pytest.fixture
async def pushing(world: World, fcm: FakeFcm, tmp_path: Path) -> AsyncIterator[House]:
    """A server that sends pushes."""
    async with open_house(world, **on(fcm, tmp_path)) as house:
        yield house


async def until(true: Callable[[], Any]) -> None:
    with trio.fail_after(LIMIT_S):
        while not true():
            await trio.sleep(0.01)


async def register(house: House, person: Person, token: str, device: str = "phone", platform: str = "android") -> None:
    async with caller(house, person) as http:
        await http.result("device.register", device=device, platform=platform, token=token)


async def direct(phone: Phone, other: Person) -> str:
    return str((await phone.result("conversation.direct", user=other.id))["conversation"])


def told(fcm: FakeFcm, token: str) -> list[tuple[str, str]]:
    """Title and line of all that this token was sent."""
    return [
        (one["notification"]["title"], one["notification"].get("body", "")) for one in fcm.sent if one["token"] == token
    ]


async def settled(world: World) -> None:
    """Nothing is left to look at or to send."""
    with trio.fail_after(LIMIT_S):
        while True:
            [(busy,)] = await world.database.fetch_all(
                "select (select count(*) from push) + (select count(*) from job where state = 'waiting') + "
                "(select count(*) from conversation c where last_seq > coalesce("
                "(select seq from pushed where conversation = c.id), 0))"
            )
            if not busy:
                return
            await trio.sleep(0.02)


async def test_who_is_away_is_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Bob's phone is off; Ann writes; he is told who and what, and how much waits. She is not."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    await register(pushing, ann, "anns", "tablet")
    async with pushing.phone(ann) as hers:
        room = await direct(hers, bob)
        seq = await hers.say(room, "k", "See you at eight?")
        await until(lambda: fcm.sent)
        await settled(world)
    [push] = fcm.sent
    assert push["token"] == "bobs"
    assert push["notification"] == {"title": "Ann", "body": "See you at eight?"}
    assert push["data"] == {
        "kind": "message", "conversation": room, "seq": str(seq), "author": str(ann), "count": "1", "mention": "0",
    }  # fmt: skip
    assert push["android"]["collapse_key"] == room
    assert push["android"]["notification"]["notification_count"] == 1


async def test_who_reads_is_not_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Bob's phone is open and takes the message; his tablet is not, and is told. By device, not by person."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "phones")
    await register(pushing, bob, "tablets", "tablet", "ios")
    async with pushing.phone(ann) as hers, pushing.phone(bob, "phone") as his:
        room = await direct(hers, bob)
        await his.until(lambda: room in his.heads)
        await until_seated(world, bob)
        seq = await hers.say(room, "k")
        await his.has(room, seq)
        await his.result("receipt", conversation=room, delivered=seq)
        await until(lambda: fcm.sent)
        await settled(world)
        assert [one["token"] for one in fcm.sent] == ["tablets"]
        async with caller(pushing, bob) as http:
            listed = (await http.result("device.list"))["devices"]
        assert {one["device"]: one.get("connected", False) for one in listed} == {"phone": True, "tablet": False}


async def until_seated(world: World, person: Person) -> None:
    with trio.fail_after(LIMIT_S):
        while None is await world.database.fetch_one(
            "select from device where account = %s and node is not null", person.id
        ):
            await trio.sleep(0.01)


async def test_a_thread_is_told_to_who_follows_it(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Bob began it, Cid did not say anything in it, Dan is mentioned."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    for person, token in ((bob, "bobs"), (cid, "cids"), (dan, "dans")):
        await register(pushing, person, token)
    async with pushing.phone(ann) as hers:
        club = await create_group(hers, bob, cid, dan)
        async with caller(pushing, bob) as http:
            root = (await http.result("message.send", "r", conversation=club, text="Where?"))["seq"]
        await until(lambda: {one["token"] for one in fcm.sent} >= {"cids", "dans"})
        await settled(world)
        fcm.sent.clear()
        mention = {"kind": "mention", "offset": 0, "length": 3, "user": str(dan)}
        await hers.result(
            "message.send", conversation=club, key="a", text="Dan knows",
            content={"thread": root, "entities": [mention]},
        )
        await until(lambda: {one["token"] for one in fcm.sent} >= {"bobs", "dans"})
        await settled(world)
        assert {one["token"] for one in fcm.sent} == {"bobs", "dans"}


async def test_what_was_read_meanwhile_is_not_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    """On another device, before the push went out."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "busy-phone")
    fcm.busy, fcm.retry_after = 1, "1"
    async with pushing.phone(ann) as hers, pushing.phone(bob, "desk") as his:
        room = await direct(hers, bob)
        seq = await hers.say(room, "k")
        await until(lambda: fcm.asked == ["busy-phone"])
        await his.until(lambda: room in his.heads)
        await his.has(room, seq)
        await his.result("receipt", conversation=room, read=seq)
        await settled(world)
    assert (fcm.asked, fcm.sent) == (["busy-phone"], [])


async def test_a_dead_socket_is_told_in_the_end(
    pushing: House, world: World, fcm: FakeFcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob's phone lost its network, and its socket does not know yet: he is told once it is found out."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers:
        async with pushing.phone(bob) as his:
            room = await direct(hers, bob)
            await his.until(lambda: room in his.heads)
            await until_seated(world, bob)
            await hers.say(room, "k", "are you there?")
            await trio.sleep(NEVER_S)
            assert fcm.sent == [], "it may have taken it: it is waited for"
        await until(lambda: fcm.sent)
    assert told(fcm, "bobs") == [("Ann", "are you there?")]


async def test_an_open_socket_that_says_nothing_is_believed_at_last(
    pushing: House, world: World, fcm: FakeFcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never says what it took, but answers pings, is no dead one."""
    monkeypatch.setattr(pushes, "PATIENCE_MS", 300)
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers, pushing.phone(bob) as his:
        room = await direct(hers, bob)
        await his.until(lambda: room in his.heads)
        await until_seated(world, bob)
        await hers.say(room, "k")
        await settled(world)
    assert fcm.sent == []


async def test_many_messages_are_one_push(pushing: House, world: World, fcm: FakeFcm) -> None:
    """While the first is on its way, more come: one push tells of all, with the newest."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "busy-phone")
    fcm.busy, fcm.retry_after = 1, "2"
    async with pushing.phone(ann) as hers:
        room = await direct(hers, bob)
        await hers.say(room, "k0", "0")
        await until(lambda: fcm.asked)
        for n in range(1, 6):
            await hers.say(room, f"k{n}", str(n))
        await settled(world)
        assert told(fcm, "busy-phone") == [("Ann", "5")]
        assert fcm.sent[0]["data"]["count"] == "6"
        await hers.say(room, "k6", "6")
        await settled(world)
    assert [line for _, line in told(fcm, "busy-phone")] == ["5", "6"]
    assert fcm.sent[1]["data"]["count"] == "1"
    assert fcm.sent[1]["android"]["notification"]["notification_count"] == 7


async def test_only_messages_are_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Not edits, reactions and members; not what was deleted before it went out."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers:
        club = await create_group(hers, bob)
        await hers.result("conversation.add", conversation=club, key="a", user=cid.id)
        seq = await hers.say(club, "k", "one")
        await settled(world)
        assert told(fcm, "bobs") == [("Club", "Ann: one")]
        await hers.result("message.edit", conversation=club, key="e", seq=seq, text="two")
        await hers.result("message.react", conversation=club, key="r", seq=seq, emoji="👍")
        await settled(world)
        fcm.busy, fcm.retry_after = 1, "1"
        await register(pushing, bob, "busy-1")
        gone = await hers.say(club, "k2", "do not read this")
        await until(lambda: "busy-1" in fcm.asked)
        await hers.result("message.delete", conversation=club, key="d", seq=gone)
        await settled(world)
    assert len(fcm.sent) == 1


async def test_dead_tokens_are_forgotten(pushing: House, world: World, fcm: FakeFcm) -> None:
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "gone-phone")
    await register(pushing, bob, "good", "tablet")
    async with pushing.phone(ann) as hers:
        room = await direct(hers, bob)
        await hers.say(room, "k")
        await settled(world)
        async with caller(pushing, bob) as http:
            assert [one["device"] for one in (await http.result("device.list"))["devices"]] == ["tablet"]
        await hers.say(room, "k2")
        await settled(world)
    assert fcm.asked.count("gone-phone") == 1
    assert len(told(fcm, "good")) == 2


async def test_a_token_moves_to_who_registered_it_last(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Two people share a tablet: what is Bob's is not told there once Cid has signed in."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    await register(pushing, bob, "shared", "tablet")
    await register(pushing, cid, "shared", "tablet")
    async with pushing.phone(ann) as hers:
        await hers.say(await direct(hers, bob), "k", "for Bob")
        await hers.say(await direct(hers, cid), "k", "for Cid")
        await settled(world)
    assert told(fcm, "shared") == [("Ann", "for Cid")]


async def test_who_signed_out_is_not_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    """The device goes with the sign-in by which it was registered, over the socket and over HTTP; others stay."""
    ann, bob = await world.people("Ann", "Bob")
    await world.database.execute(
        "insert into sign_in (id, account, basis, token_hash, created_at_ms, used_at_ms) "
        "values (%s, %s, sha256('a'), sha256('b'), 0, 0)",
        bob.sign_in, bob.id,
    )  # fmt: skip
    other = Person(world.tokens, "Bob")
    other.id = bob.id
    await register(pushing, bob, "by-http")
    async with pushing.phone(bob, "second") as his:
        await his.result("device.register", device="second", platform="web", token="by-socket")
    await register(pushing, other, "stays", "third")
    async with pushing.phone(ann) as hers, caller(pushing, bob) as http:
        room = await direct(hers, bob)
        answer = await http.http.post("/v1/auth/logout")
        assert answer.status_code == 204
        await hers.say(room, "k")
        await settled(world)
    assert {one["token"] for one in fcm.sent} == {"stays"}


async def test_unregistered_is_not_told(pushing: House, world: World, fcm: FakeFcm) -> None:
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers, caller(pushing, bob) as http:
        room = await direct(hers, bob)
        assert await http.result("device.unregister", device="phone") == {}
        assert await http.result("device.unregister", device="phone") == {}
        await hers.say(room, "k")
        await settled(world)
    assert fcm.asked == []


async def test_bad_credentials_fail_loudly_and_are_tried_again(pushing: House, world: World, fcm: FakeFcm) -> None:
    """The job is kept with what was wrong; when that is mended, what is still owed goes out."""
    fcm.good_credentials = False
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers:
        await hers.say(await direct(hers, bob), "k", "hello")
        with trio.fail_after(LIMIT_S):
            sql = "select problem from job where kind = 'push' and problem is not null"
            while not (found := await world.database.fetch_all(sql)):
                await trio.sleep(0.02)
        assert "ServiceLocked" in found[0][0]
        assert "Invalid JWT Signature" in found[0][0]
        fcm.good_credentials = True
        await settled(world)
    assert told(fcm, "bobs") == [("Ann", "hello")]


# --- what one has set ---


async def test_settings_of_a_conversation(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Muted for ever or for a while, and none: not told. A while that is over: told."""
    [now_ms] = [row[0] for row in await world.database.fetch_all("select now_ms()")]
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    settings: list[tuple[str, str]] = [
        ("for ever", '{"muted": true}'),
        ("a while", f'{{"muted": true, "muted_until_ms": {now_ms + 3_600_000}}}'),
        ("over", f'{{"muted": true, "muted_until_ms": {now_ms - 1}}}'),
        ("none", '{"notify": "none"}'),
        ("mentions", '{"notify": "mentions"}'),
        ("pinned", '{"pinned_at_ms": 1}'),
    ]
    async with pushing.phone(ann) as hers:
        room = await direct(hers, bob)
        for name, value in settings:
            await world.database.fetch_one(
                "select set_personal(%s, 'settings', %s, %s::json)", bob.id, room, value
            )
            await hers.say(room, name, name)
            await settled(world)
    assert [line for _, line in told(fcm, "bobs")] == ["over", "pinned"]


async def test_mentions_only(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Bob wants to hear of what names him; by `all`, too."""
    ann, bob = await world.people("Ann", "Bob")
    await world.database.execute("alter table entry add column if not exists content json")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers, pushing.phone(bob, "desk") as his:
        club = await create_group(hers, bob)
        await his.until(lambda: club in his.heads)
        await his.result("conversation.notify", conversation=club, key="n", level="mentions")
        await hers.say(club, "k", "nothing for Bob")
        await settled(world)
        assert fcm.asked == []
        [(seq,)] = await world.database.fetch_all(
            "update conversation set last_seq = last_seq + 1 where id = %s returning last_seq", UUID(club)
        )
        await world.database.execute(
            "insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, content) "
            "values (%s, %s, 'message', %s, 'm', gen_random_uuid(), gen_random_uuid(), now_ms(), 'all of you', "
            "'{\"mention_all\": \"all\"}')",
            UUID(club), seq, ann.id,
        )  # fmt: skip
        await hers.say(club, "k2", "and more")
        await settled(world)
    assert told(fcm, "bobs") == [("Club", "Ann: and more")]
    assert (fcm.sent[0]["data"]["mention"], fcm.sent[0]["data"]["count"]) == ("1", "2")


async def test_content_is_hidden_on_request(pushing: House, world: World, fcm: FakeFcm) -> None:
    """The title says who; what was said is not there, nor in the data."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs", platform="ios")
    async with pushing.phone(ann) as hers, caller(pushing, bob) as http:
        await http.result("notification.settings", "s", hide_content=True)
        await hers.say(await direct(hers, bob), "k", "a secret")
        await settled(world)
    assert told(fcm, "bobs") == [("Ann", "")]
    assert "a secret" not in repr(fcm.sent)


async def test_quiet_hours_are_quiet(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Nothing goes out, then or later; when they are over, what comes then does."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    [(minute,)] = await world.database.fetch_all(
        "select extract(hour from t)::integer * 60 + extract(minute from t)::integer "
        "from (select now() at time zone 'Asia/Tokyo') n(t)"
    )
    async with pushing.phone(ann) as hers, caller(pushing, bob) as http:
        room = await direct(hers, bob)
        quiet = {"quiet_from": (minute - 60) % 1440, "quiet_to": (minute + 60) % 1440, "timezone": "Asia/Tokyo"}
        await http.result("notification.settings", "s", **quiet)
        await hers.say(room, "k", "late")
        await settled(world)
        await http.result("notification.settings", "t")
        await hers.say(room, "k2", "in the morning")
        await settled(world)
    assert told(fcm, "bobs") == [("Ann", "in the morning")]


async def test_what_quiet_hours_kept_back_is_in_the_badge_and_in_the_app(
    pushing: House, world: World, fcm: FakeFcm
) -> None:
    """Three messages of two conversations at night, one of them a mention: the list has it at once, and the first push
    in the morning carries the badge with all of them, though it tells of its own message alone."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann) as hers, caller(pushing, bob) as http:
        room, club = await direct(hers, bob), await create_group(hers, bob)
        await settled(world)
        await http.result("notification.settings", "s", quiet_from=0, quiet_to=1439)
        [(minute,)] = await world.database.fetch_all("select extract(hour from now() at time zone 'UTC')::integer * 60")
        if minute >= 23 * 60:  # so that it is quiet at any time
            await http.result("notification.settings", "s2", quiet_from=720, quiet_to=719)
        await hers.say(room, "k1", "late")
        await hers.say(club, "k2", "later")
        mention = {"kind": "mention", "offset": 0, "length": 4, "user": str(bob)}
        await hers.result(
            "message.send", conversation=club, key="k3", text="@Bob", content={"entities": [mention]}
        )
        await settled(world)
        page = await http.result("notification.list")
        assert [one["kind"] for one in page["notifications"]] == ["mention", "added"]
        assert (await http.result("unread.get"))["messages"] == 3
        assert fcm.sent == []
        await http.result("notification.settings", "t")
        await settled(world)
        assert fcm.sent == [], "their end brings none of it"
        await hers.say(room, "k4", "in the morning")
        await settled(world)
    [push] = fcm.sent
    assert push["notification"] == {"title": "Ann", "body": "in the morning"}
    assert push["data"]["count"] == "1"
    assert push["android"]["notification"]["notification_count"] == 4


# --- several processes, kills ---


async def test_two_processes_know_of_each_others_sockets(
    world: World, fcm: FakeFcm, tmp_path: Path
) -> None:
    """Bob's phone is connected to the one, Ann writes at the other: he is not told. He goes, and is told."""
    ann, bob = await world.people("Ann", "Bob")
    setting = on(fcm, tmp_path)
    async with open_house(world, **setting) as one, open_house(world, **setting) as other:
        await register(one, bob, "bobs")
        async with other.phone(ann) as hers:
            async with one.phone(bob) as his:
                room = await direct(hers, bob)
                await his.until(lambda: room in his.heads)
                await until_seated(world, bob)
                seq = await hers.say(room, "k", "seen")
                await his.has(room, seq)
                await his.result("receipt", conversation=room, delivered=seq)
                await settled(world)
                assert fcm.sent == []
            with trio.fail_after(LIMIT_S):
                while None is not await world.database.fetch_one("select from device where node is not null"):
                    await trio.sleep(0.01)
            await hers.say(room, "k2", "away")
            await settled(world)
    assert told(fcm, "bobs") == [("Ann", "away")]


async def test_killed_after_the_commit_before_the_look(world: World, fcm: FakeFcm, tmp_path: Path) -> None:
    """Nobody has noted it any more: the next process finds it at its start, and tells it once."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_process(world) as first, first.phone(ann) as hers:
        async with caller(first, bob) as http:
            await http.result("device.register", device="phone", platform="ios", token="bobs")
        room = await direct(hers, bob)
        await hers.say(room, "k0", "told before")
        await settled(world)
        await hers.say(room, "k", "almost lost")  # it has yet to look: a second passes before it does
        first.kill()
    assert await world.database.fetch_one("select from push") is None
    async with open_house(world, **on(fcm, tmp_path)):
        await settled(world)
    async with open_house(world, **on(fcm, tmp_path)):
        await settled(world)
    assert told(fcm, "bobs") == [("Ann", "almost lost")]


async def test_a_crowd_is_told_in_parts(pushing: House, world: World, fcm: FakeFcm) -> None:
    """1,000 members with a device each: in jobs of a hundred; everybody once, however often somebody writes."""
    ann, *others = await world.crowd(1_000)
    await world.database.execute(
        "insert into device (account, device, platform, token, token_hash, at_ms) "
        "select id, 'phone', 'android', 't' || id, sha256(convert_to('t' || id, 'UTF8')), 0 from account"
    )
    async with pushing.phone(ann) as hers:
        club = await create_group(hers, *others)
        began = trio.current_time()
        await hers.say(club, "k", "all of you")
        assert trio.current_time() - began < 1.0, "who writes waits for none of it"
        await settled(world)
        [(count,)] = await world.database.fetch_all("select count(*) from job where kind = 'push'")
    assert count == 10
    assert sorted(one["token"] for one in fcm.sent) == sorted(f"t{one}" for one in others)


async def test_the_badge_never_drifts(pushing: House, world: World) -> None:
    """Against a recount from the lists, whatever was said, read, left and joined."""
    ann, bob, cid = people = await world.people("Ann", "Bob", "Cid")
    async with pushing.phone(ann) as hers, pushing.phone(bob) as his, pushing.phone(cid) as cids:
        rooms = [await direct(hers, bob), await direct(his, cid), await create_group(hers, bob, cid)]
        for n, (phone, room) in enumerate(itertools.product((hers, his, cids), rooms)):
            if not (phone is hers and room == rooms[1]) and not (phone is cids and room == rooms[0]):
                for m in range(n):
                    await phone.say(room, f"k{n}.{m}")
        await his.result("receipt", conversation=rooms[2], read=5)
        await cids.result("conversation.leave", conversation=rooms[2], key="l")
        await hers.say(rooms[2], "after")
        await hers.result("conversation.add", conversation=rooms[2], key="a", user=cid.id)
        await hers.say(rooms[2], "again")
        for person, phone in zip(people, (hers, his, cids), strict=True):
            listed = (await phone.result("conversation.list"))["conversations"]
            recount = sum(one["unread"] for one in listed)
            assert await world.database.fetch_one("select push_badge(%s, 1000)", person.id) == (recount,)
            assert recount > 0




async def test_the_default_driver_says_what_it_would_send(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world) as house:
        await register(house, bob, "bobs-token")
        async with house.phone(ann) as hers:
            await hers.say(await direct(hers, bob), "k", "secret words")
            await settled(world)
    said = capsys.readouterr()
    assert "secret words" not in said.out + said.err
    assert "bobs-token" not in said.out + said.err
