"""From a first message to a match and its end, on real servers: what each device is told, live and later."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from konnect_server.ids import uuid7
from storage.database import open_database
from tests.client_scene import open_scene
from tests.fake_fcm import FakeFcm
from tests.running import Frame, House, Person, Phone, World, open_house, open_process
from tests.scenes.test_calls import caller
from tests.scenes.test_push import fcm, pushing, quickly, register, settled, told as pushed, until

__all__ = ["fcm", "pushing", "quickly"]  # fixtures


async def time_has_come(world: World) -> None:
    """All first messages that wait are due."""
    await world.database.execute("update opener set release_at_ms = 0 where state = 'waiting'")
    await world.database.execute("update job set due_at_ms = 0 where kind = 'opener.release' and state = 'waiting'")


def rows(phone: Phone, what: str) -> dict[str, Frame | None]:
    """What this device shows of a kind: subject -> value; None: it is gone."""
    return {one["subject"]: one.get(what) for one in phone.of("state") if one["what"] == what}


async def sends(phone: Phone, user: Person, text: str = "hi") -> Frame:
    return await phone.result("opener.send", key=f"to {user}", user=user.id, text=text)


async def test_a_first_message_comes_at_its_release_to_all_devices(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Live, to who comes later, and by push: that there is one, not whose; its author's devices are told nothing."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    await register(pushing, bob, "bobs", "old phone")
    async with pushing.phone(ann) as hers, pushing.phone(cid) as cids, pushing.phone(bob) as his:
        async with pushing.phone(bob, "tablet") as tablet:
            cursor = tablet.cursor
        assert await sends(hers, bob, "pangolin") == {}
        assert await sends(cids, bob, "axolotl") == {}
        frames = len(his.frames)
        assert (await his.result("opener.list")) == {"openers": [], "count": 0}
        assert [frame["t"] for frame in his.frames[frames:]] == ["ok"], "nothing before that"
        await time_has_come(world)
        await his.until(lambda: len(rows(his, "opener")) == 2 and rows(his, "notification"))
        shown = rows(his, "opener")
        listed = await his.result("opener.list")
        assert {one["opener"]: {"text": one["text"], "day": one["day"]} for one in listed["openers"]} == shown
        [notice] = rows(his, "notification").values()
        assert notice == {"kind": "opener", "at_ms": notice["at_ms"]} if notice else None
        async with pushing.phone(bob, "tablet", cursor=cursor, heads={}) as tablet:
            assert rows(tablet, "opener") == shown
        await until(lambda: fcm.sent)
        await settled(world)
        assert pushed(fcm, "bobs") == [("A first message", "Somebody wrote to you")]
        [push] = fcm.sent
        assert set(push["data"]) == {"kind", "notification"}
        assert not any(word in str(push) for word in (str(ann), str(cid), "Ann", "Cid", "pangolin", "axolotl"))

        first, second = shown
        await his.result("opener.ignore", key="away", opener=first)
        assert rows(his, "opener")[first] is None, "before the answer"
        assert rows(his, "opener")[second]
        assert (await his.result("opener.list"))["count"] == 1
        assert [one["t"] for one in (*hers.of("state"), *cids.of("state"))] == []
        assert (await hers.result("opener.sent"))["openers"][0].keys() == {"user", "text", "at_ms"}


async def test_two_who_wrote_are_told_of_one_another(house: House, world: World) -> None:
    """On all devices, also one that was away: the match, a notification, the conversation with both messages in it; and
    they write on. Its end closes the conversation, for both."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(bob, "tablet") as tablet:
        cursor, heads = tablet.cursor, dict(tablet.heads)
    async with house.phone(ann) as hers, house.phone(bob) as his:
        await sends(hers, bob, "first")
        await time_has_come(world)
        await his.until(lambda: rows(his, "opener"))
        taken = await sends(his, ann, "second")
        talk = taken["conversation"]
        assert list(rows(his, "opener").values()) == [None], "it has become a message, before the answer"
        match: dict[str, Any] = {"conversation": talk}
        for phone, other in ((his, ann), (hers, bob)):
            await phone.has(talk, 3)
            [(found, value)] = rows(phone, "match").items()
            assert found == taken["match"]
            assert value == {**match, "user": str(other), "at_ms": value["at_ms"]} if value else None
            kinds = {one["kind"]: one for one in rows(phone, "notification").values() if one}
            assert (kinds["match"]["user"], kinds["match"]["conversation"]) == (str(other), talk)
            assert kinds.get("opener", {"read": True})["read"], "there is nothing left to see"
        assert await world.log(talk) == [(1, None), (2, "first"), (3, "second")]
        assert await hers.say(talk, "k", "So it was you!") == 4
        await his.has(talk, 4)
        async with house.phone(bob, "tablet", cursor=cursor, heads=heads) as tablet:
            await tablet.has(talk, 4)
            assert list(rows(tablet, "match")) == [taken["match"]]
            assert not [one for one in rows(tablet, "opener").values() if one]

        await his.result("match.unmatch", key="enough", match=taken["match"])
        await hers.has(talk, 5)
        await hers.until(lambda: rows(hers, "match")[taken["match"]] is None)
        assert hers.of("entry", talk)[-1]["kind"] == "conversation.closed"
        for phone in (hers, his):
            assert await phone.error("message.send", conversation=talk, key="late", text="?") == "conversation_closed"
            history = await phone.result("history", conversation=talk)
            assert [one.get("text") for one in history["entries"]][1:4] == ["first", "second", "So it was you!"]
        [ended] = (await hers.result("match.list"))["matches"]
        assert ended.keys() == {"match", "user", "conversation", "at_ms", "ended_at_ms"}


async def test_two_who_talk_already_find_both_messages_where_they_talk(house: House, world: World) -> None:
    """Those who listen there get them at once, in order."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        talk = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        await hers.say(talk, "k", "hello")
        await his.has(talk, 2)
        await sends(his, ann, "first")
        assert (await sends(hers, bob, "second"))["conversation"] == talk
        for phone in (hers, his):
            await phone.has(talk, 4)
            assert [one.get("text") for one in phone.of("entry", talk)][-2:] == ["first", "second"]


async def test_a_process_that_dies_before_the_release_does_not_lose_it(world: World) -> None:
    """Another one does the job."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_process(world) as first, first.phone(ann) as hers:
        await sends(hers, bob)
        first.kill()
    await time_has_come(world)
    async with open_house(world) as house, house.phone(bob) as his:
        await his.until(lambda: rows(his, "opener"))


async def test_two_processes_tell_the_two_of_a_match(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world) as one, open_process(world) as two, one.phone(ann) as hers, two.phone(bob) as his:
        await sends(hers, bob, "first")
        talk = (await sends(his, ann, "second"))["conversation"]
        await hers.until(lambda: talk in hers.heads and rows(hers, "match"))
        assert await hers.say(talk, "k", "yes") == 4
        await his.has(talk, 4)


async def test_probes_by_http_are_answered_byte_by_byte_the_same(house: House, world: World) -> None:
    """A stranger, one who blocked the asker, one who has paused, and nobody: status, headers, body."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    await world.database.execute("insert into block values (%s, %s)", bob.id, ann.id)
    await world.database.execute("update account set standing = 'paused' where id = %s", cid.id)
    seen: set[tuple[Any, ...]] = set()
    async with caller(house, ann) as hers:
        for user in (bob.id, cid.id, dan.id, uuid7()):
            for text in ("hi", "again"):
                answer = await hers.post("opener.send", {"user": user, "text": text}, f"{user} {text}")
                told = sorted((name, value) for name, value in answer.headers.items() if name not in VARYING)
                seen.add((text, answer.status_code, answer.content, tuple(told)))
    assert sorted((text, status) for text, status, *_ in seen) == [("again", 409), ("hi", 200)]


VARYING = {"date", "x-request-id"}


async def test_the_preset_dating_lets_only_a_match_write(world: World) -> None:
    """Strangers are refused as nobody is; a match opens their conversation; without the preset everybody may."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world, preset="dating") as house, house.phone(ann) as hers, house.phone(bob) as his:
        for user in (bob.id, uuid7()):
            assert await hers.error("conversation.direct", user=user) == "not_allowed_to_write"
        await sends(hers, bob)
        talk = (await sends(his, ann))["conversation"]
        assert (await hers.result("conversation.direct", user=bob.id))["conversation"] == talk
        assert await hers.say(talk, "k") == 4
    async with open_house(world) as house, house.phone(ann) as hers:
        [cid] = await world.people("Cid")
        assert (await hers.result("conversation.direct", user=cid.id))["conversation"]
        assert await hers.error("conversation.direct", user=uuid7()) == "unknown_user"


def _is_there(there: Callable[[], Any], _: Any = None) -> bool:
    return bool(there())


async def test_the_python_client_holds_what_waits_and_who_matched(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast, open_database(dsn, size=1) as database:
        ann, bob, cid = [await cast.person(name) for name in ("ann", "bob", "cid")]
        assert await ann.client.send_opener(bob.id, "first") is None
        sent = await ann.client.openers_sent()
        assert ([(one.user, one.text, one.match) for one in sent.openers], sent.left) == ([(bob.id, "first", None)], 4)
        await cid.client.send_opener(ann.id, "who?")
        await database.execute("update opener set release_at_ms = 0")
        await database.execute("update job set due_at_ms = 0 where kind = 'opener.release'")
        await ann.until(lambda _: bool(ann.client.personal.openers()))
        await bob.until(lambda _: bool(bob.client.personal.openers()))
        page = await ann.client.openers()
        assert (list(page.openers), page.count, page.cursor) == (ann.client.personal.openers(), 1, None)
        made = await bob.client.send_opener(ann.id, "second")
        assert made is not None
        await ann.hears("second")
        await bob.hears("second")
        for one, other in ((ann, bob), (bob, ann)):
            mine = one.client.personal
            if not mine.matches():
                await one.until(partial(_is_there, mine.matches))
            [match] = mine.matches()
            assert ((match.id, match.conversation), match.user) == (made, other.id)
        assert bob.client.personal.openers() == []
        await ann.client.ignore_opener(page.openers[0].id)
        await ann.until(lambda _: not ann.client.personal.openers())
        await ann.client.unmatch(made[0])
        await bob.until(lambda _: not bob.client.personal.matches())
        [ended] = (await ann.client.matches()).matches
        assert (ended.id, ended.by_me, ended.ended_at_ms is not None) == (made[0], True, True)
