"""Who asks to be let in, and who hears of it: on real servers, live and later, in the app and by push."""

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from storage import pushes, requests
from storage.database import Database
from storage.requests import Asked, Over
from tests.client_scene import open_scene
from tests.fake_fcm import FakeFcm
from tests.running import Frame, House, Person, Phone, World, create_group, open_house, open_process
from tests.scenes.test_calls import caller
from tests.scenes.test_push import fcm, pushing, quickly, register, settled, told as pushed, until_seated

__all__ = ["fcm", "pushing", "quickly"]  # fixtures


async def ask_for_it(phone: Phone, *members: Person, admins: tuple[Person, ...] = ()) -> tuple[str, str]:
    """A group with a link by which one asks: its id and the code."""
    club = await create_group(phone, *members)
    for one in admins:
        await phone.result("member.role", conversation=club, key=f"role {one}", user=one.id, role="admin")
    code = (await phone.result("link.create", conversation=club, key="n", approval=True))["link"]["code"]
    return club, code


def requests_of(phone: Phone, *kinds: str) -> list[Frame]:
    """What this device shows of notifications of *kinds*, the newest state of each."""
    newest = {one["subject"]: one["notification"] for one in phone.of("state") if "notification" in one}
    return [one for _, one in sorted(newest.items()) if one["kind"] in (kinds or ("request", "declined"))]


async def listed(phone: Phone) -> list[Frame]:
    """The same, as the server lists it."""
    found = (await phone.result("notification.list"))["notifications"]
    return [
        {name: value for name, value in one.items() if name != "id"} for one in reversed(found)
        if one["kind"] in ("request", "declined")
    ]  # fmt: skip


async def test_all_who_may_answer_hear_of_it(house: House, world: World) -> None:
    """The owner live, an admin who was away by the cursor, on all devices; a member does not; a repeat says nothing."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet, house.phone(cid) as cids:
        async with house.phone(bob) as bobs:
            club, code = await ask_for_it(hers, bob, cid, admins=(bob,))
            await bobs.until(lambda: requests_of(bobs, "added"))
            cursor, heads = bobs.cursor, dict(bobs.heads)
        async with house.phone(dan) as dans:
            assert (await dans.result("link.join", code=code, key="j"))["requested"]
            await hers.until(lambda: requests_of(hers))
            await tablet.until(lambda: requests_of(tablet))
            await dans.result("link.join", code=code, key="j")
            await dans.result("link.join", code=code, key="again")
            await settled(world)
            assert requests_of(dans) == []
        [request] = requests_of(hers)
        assert request == {"kind": "request", "at_ms": request["at_ms"], "conversation": club, "user": str(dan)}
        assert await listed(hers) == requests_of(hers) == requests_of(tablet)
        page = await hers.result("request.list", conversation=club)
        assert (page["count"], [one["at_ms"] for one in page["requests"]]) == (1, [request["at_ms"]])
        assert await listed(cids) == requests_of(cids) == []
        async with house.phone(bob, cursor=cursor, heads=heads) as bobs:
            assert requests_of(bobs) == [request]


async def test_one_answers_and_nobody_has_anything_to_do(house: House, world: World) -> None:
    """Whoever was told sees how it ended, as read; who joins hears by the conversation, who is declined is told so."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with house.phone(ann) as hers, house.phone(bob) as bobs, house.phone(cid) as cids:
        club, code = await ask_for_it(hers, bob, admins=(bob,))
        async with house.phone(dan) as dans:
            await cids.result("link.join", code=code, key="j")
            await dans.result("link.join", code=code, key="j")
            await bobs.until(lambda: len(requests_of(bobs)) == 2)
            assert (await hers.result("request.list", conversation=club))["count"] == 2
            await bobs.result("request.answer", conversation=club, key="q", user=dan.id, accept=False)
            assert (await hers.result("request.list", conversation=club))["count"] == 1
            await dans.until(lambda: requests_of(dans))
            [no] = requests_of(dans)
            assert no == {"kind": "declined", "at_ms": no["at_ms"], "conversation": club, "title": "Club"}
            cursor = dans.cursor
        await bobs.result("request.answer", conversation=club, key="r", user=cid.id, accept=True)
        await cids.until(lambda: club in cids.heads)
        await hers.until(lambda: all("answer" in one for one in requests_of(hers)))
        await bobs.until(lambda: all("answer" in one for one in requests_of(bobs)))
        for phone in (hers, bobs):
            told = {one["user"]: (one["read"], one["answer"]) for one in requests_of(phone)}
            assert told == {str(cid): (True, "accepted"), str(dan): (True, "declined")}
            assert await listed(phone) == requests_of(phone)
        assert (await hers.result("notification.list"))["unread"] == 0
        assert (await hers.result("request.list", conversation=club))["count"] == 0
        async with house.phone(dan, cursor=cursor) as dans:
            await dans.result("link.join", code=code, key="once more")
            await hers.until(lambda: len(requests_of(hers)) == 3)
            assert requests_of(hers)[-1].get("read", False) is False
            await hers.result("conversation.add", conversation=club, key="a", user=dan.id)
            await bobs.until(lambda: len(requests_of(bobs)) == 3 and requests_of(bobs)[-1].get("read"))
            assert requests_of(bobs)[-1]["answer"] == "accepted", "however somebody gets in"


async def test_each_job_may_be_done_twice_and_a_late_one_tells_nothing(house: House, world: World) -> None:
    """An answer that overtakes the telling: nobody is told of what is over."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as bobs:
        club, code = await ask_for_it(hers)
        await bobs.result("link.join", code=code, key="j")
        await hers.until(lambda: requests_of(hers))
        await settled(world)
        asked = await payload(world.database, "request", Asked)
        before = await listed(hers)
        assert await requests.tell_request(world.database, asked) == [ann.id]
        assert await listed(hers) == before
        await hers.result("request.answer", conversation=club, key="q", user=bob.id, accept=False)
        await bobs.until(lambda: requests_of(bobs))
        await settled(world)
        over = await payload(world.database, "request.over", Over)
        before, his = await listed(hers), await listed(bobs)
        assert set(await requests.tell_answer(world.database, over)) == {ann.id, bob.id}
        assert await requests.tell_request(world.database, asked) == []
        assert (await listed(hers), await listed(bobs)) == (before, his)
        await settled(world)
        # What a process that is too slow has left to do: it was answered meanwhile.
        late = Asked(UUID(club), cid.id, UUID(int=7))
        assert await requests.tell_request(world.database, late) == []


async def payload(database: Database, kind: str, type_: type[Any]) -> Any:
    [(found,)] = await database.fetch_all("select payload::text from job where kind = %s", kind)
    return msgspec.json.decode(found, type=type_)


async def test_killed_before_anybody_was_told(world: World) -> None:
    """The job stands in the commit of the request: another process does it."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_process(world) as first, first.phone(ann) as hers, first.phone(bob) as bobs:
        _, code = await ask_for_it(hers)
        await world.database.execute("alter table personal rename to elsewhere")  # so that it cannot be told yet
        await bobs.send("link.join", code=code, key="j")
        while not await world.database.fetch_all("select from job where kind = 'request'"):
            pass
        first.kill()
    await world.database.execute("alter table elsewhere rename to personal")
    await world.database.execute("update job set due_at_ms = 0 where kind = 'request'")  # its lease has ended
    async with open_house(world) as house, house.phone(ann) as hers:
        await hers.until(lambda: requests_of(hers))
        assert len(await listed(hers)) == 1


async def test_many_admins_are_told_in_one_statement(house: House, world: World) -> None:
    """Fifty: each once, with the room that a full list has made."""
    ann, *others = await world.crowd(60)
    async with house.phone(ann) as hers, house.phone(others[-1]) as asks:
        club, code = await ask_for_it(hers, *others[:55])
        await world.database.execute(
            "update span set role = 'admin' where conversation = %s and person = any (%s)",
            UUID(club), [one.id for one in others[:50]],
        )  # fmt: skip
        await settled(world)
        await world.database.execute(
            "select add_notification(%s, md5(n::text)::uuid::text, '{\"kind\": \"added\", \"at_ms\": 1}', 200) "
            "from generate_series(1, 200) n",
            ann.id,
        )
        await world.database.execute(
            "create function note_statement() returns trigger language plpgsql as $$ begin "
            "insert into noted values (tg_op); return null; end $$"
        )
        await world.database.execute("create table noted (what text)")
        await world.database.execute(
            "create trigger noted after insert on personal for each statement execute function note_statement()"
        )
        await asks.result("link.join", code=code, key="j")
        await hers.until(lambda: requests_of(hers))
        await settled(world)
        rows = await world.database.fetch_all(
            "select person from personal where what = 'notification' and value ->> 'kind' = 'request'"
        )
        assert sorted(row[0] for row in rows) == sorted(one.id for one in [ann, *others[:50]])
        [(statements,)] = await world.database.fetch_all("select count(*) from noted")
        assert statements <= 3, "the rows of all, and one for what went from the one full list"
        [(kept,)] = await world.database.fetch_all(
            "select count(*) from personal where what = 'notification' and value is not null and person = %s", ann.id
        )
        assert kept == 200


async def test_it_is_pushed_to_who_may_answer_as_they_have_set_it(
    pushing: House, world: World, fcm: FakeFcm
) -> None:
    """Muted, quiet, content hidden, connected: as with messages. A member's phone is silent."""
    people = ann, bob, cid, dan, eve, fay = await world.people("Ann", "Bob", "Cid", "Dan", "Eve", "Fay")
    for one in people[:-1]:
        await register(pushing, one, f"phone {one}")
    async with pushing.phone(ann, "desk") as hers, pushing.phone(fay) as fays:
        club, code = await ask_for_it(hers, bob, cid, dan, eve, admins=(bob, cid, dan))
        async with caller(pushing, cid) as http:
            await http.result("notification.settings", "s", hide_content=True)
        async with caller(pushing, dan) as http:
            await http.result("conversation.mute", "m", conversation=club, on=True)
        await settled(world)
        async with pushing.phone(bob) as bobs:
            await bobs.until(lambda: club in bobs.heads)
            await until_seated(world, bob)
            await fays.result("link.join", code=code, key="j")
            await bobs.until(lambda: requests_of(bobs))
        await settled(world)  # he has gone, and may have overlooked it
    assert pushed(fcm, f"phone {ann}") == pushed(fcm, f"phone {bob}") == [("Club", "Fay asks to join")]
    assert pushed(fcm, f"phone {cid}") == [("Club", "")]
    assert pushed(fcm, f"phone {dan}") == pushed(fcm, f"phone {eve}") == []
    sent = next(one for one in fcm.sent if one["token"] == f"phone {ann}")
    assert (sent["data"]["kind"], sent["data"]["conversation"]) == ("request", club)
    assert sent["android"]["collapse_key"] == f"request:{club}"


async def test_an_answer_is_pushed_and_what_is_over_is_not(
    pushing: House, world: World, fcm: FakeFcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fay is declined, and told by push. Who is connected for long enough is not told by push at all."""
    monkeypatch.setattr(pushes, "PATIENCE_MS", 300)
    monkeypatch.setattr(requests, "PATIENCE_MS", 300)
    ann, fay = await world.people("Ann", "Fay")
    await register(pushing, ann, "anns")
    await register(pushing, fay, "fays", platform="ios")
    async with pushing.phone(ann) as hers:
        club, code = await ask_for_it(hers)
        await until_seated(world, ann)
        async with caller(pushing, fay) as http:
            await http.result("link.join", "j", code=code)
        await hers.until(lambda: requests_of(hers))
        await settled(world)
        await hers.result("request.answer", conversation=club, key="q", user=fay.id, accept=False)
        await settled(world)
    assert pushed(fcm, "anns") == []
    assert pushed(fcm, "fays") == [("Club", "You were not let in")]
    assert fcm.sent[-1]["data"]["kind"] == "declined"


async def test_a_push_that_failed_is_tried_again(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Only for who was not told; a dead token is forgotten."""
    fcm.busy, fcm.retry_after = 1, "1"
    ann, bob, fay = await world.people("Ann", "Bob", "Fay")
    await register(pushing, ann, "busy-phone")
    await register(pushing, ann, "gone-phone", "old")
    await register(pushing, bob, "bobs")
    async with pushing.phone(ann, "desk") as hers:
        _, code = await ask_for_it(hers, bob, admins=(bob,))
        async with caller(pushing, fay) as http:
            await http.result("link.join", "j", code=code)
        await settled(world)
    assert len(pushed(fcm, "busy-phone")) == len(pushed(fcm, "bobs")) == 1
    assert fcm.asked.count("gone-phone") == 1


async def test_the_client_shows_it(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        club = await ann.client.create("Hiking")
        link = await ann.client.create_link(club, approval=True)
        await bob.client.join_by_link(link.code)
        await ann.until(lambda _: [one.kind for one in ann.client.personal.notifications()] == ["request"])
        [request] = ann.client.personal.notifications()
        assert (request.user, request.conversation, request.answer) == (bob.id, club, None)
        assert (await ann.client.requests(club)).count == 1
        await ann.client.answer_request(club, bob.id, False)
        await ann.until(lambda _: ann.client.personal.notifications()[0].read)
        assert ann.client.personal.notifications()[0].answer == "declined"
        await bob.until(lambda _: [one.kind for one in bob.client.personal.notifications()] == ["declined"])
        assert bob.client.personal.notifications()[0].title == "Hiking"
