"""Word from who runs the app: over HTTP by a token of its own, told by jobs, with push."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from konnect_server import jobs as jobs_room
from storage import notices
from tests.fake_fcm import FakeFcm
from tests.http_house import conforms
from tests.running import LIMIT_S, House, Place, World, create_group, open_house, open_process
from tests.scenes.test_notifications import told
from tests.scenes.test_push import fcm, on, quickly, register, settled, told as pushed

TOKEN = "an-operators-token-0123456789"


__all__ = ["fcm", "quickly"]  # fixtures


@pytest.fixture
async def pushing(world: World, fcm: FakeFcm, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(world, operator_token=TOKEN, **on(fcm, tmp_path)) as house:
        yield house


@asynccontextmanager
async def operator(place: Place, token: str | None = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=place.url, headers=headers, event_hooks={"response": [conforms]}, trust_env=False, timeout=60
    ) as http:
        yield http


async def send(http: httpx.AsyncClient, key: str, to: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await http.post("/v1/operator/notifications", json={"key": key, "to": to, "title": "News", **more})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def done(http: httpx.AsyncClient, key: str, to: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Repeat until all are told."""
    with trio.fail_after(LIMIT_S):
        while "done_at_ms" not in (found := await send(http, key, to, **more)):
            await trio.sleep(0.02)
    return found


async def test_one_person_is_told_in_the_list_and_by_push(pushing: House, world: World, fcm: FakeFcm) -> None:
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, bob, "bobs")
    await register(pushing, ann, "anns")
    async with operator(pushing) as http, pushing.phone(bob, "desk") as his:
        found = await send(http, "k", {"users": [str(bob)]}, body="Read this", data={"page": "groups"})
        [state] = await told(his, 1)
        assert state["subject"] == found["id"]
        assert state["notification"] == {
            "kind": "operator", "at_ms": found["at_ms"], "title": "News", "body": "Read this",
            "data": {"page": "groups"},
        }  # fmt: skip
        await settled(world)
    assert pushed(fcm, "bobs") == [("News", "Read this")]
    assert fcm.sent[0]["data"] == {"kind": "operator", "notification": found["id"], "page": "groups"}
    assert fcm.sent[0]["android"]["collapse_key"] == found["id"]
    assert pushed(fcm, "anns") == []


async def test_a_repeat_tells_nobody_twice(pushing: House, world: World, fcm: FakeFcm) -> None:
    (bob,) = await world.people("Bob")
    await register(pushing, bob, "bobs")
    async with operator(pushing) as http:
        first = await done(http, "k", {"users": [str(bob)]})
        assert first["told"] == 1
        assert await send(http, "k", {"users": [str(bob)]}) == first
        await settled(world)
        for other in ({"title": "Else"}, {"body": "x"}, {"to": {"all": True}}, {"push": False}):
            body = {"key": "k", "to": {"users": [str(bob)]}, "title": "News", **other}
            answer = await http.post("/v1/operator/notifications", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    assert len(fcm.sent) == 1


async def test_segments(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Some, the members of a conversation, who has a platform, everybody; who is not there is passed over."""
    ann, bob, cid = people = await world.people("Ann", "Bob", "Cid")
    await register(pushing, bob, "bobs", platform="ios")
    async with pushing.phone(ann) as hers:
        club = await create_group(hers, bob)
    await settled(world)
    wanted: list[tuple[dict[str, Any], set[str]]] = [
        ({"users": [str(ann), str(cid), str(ann), "01a1ee56-5e00-7000-8000-00000000000f"]}, {"Ann", "Cid"}),
        ({"conversation": club}, {"Ann", "Bob"}),
        ({"conversation": "01a1ee56-5e00-7000-8000-00000000000f"}, set()),
        ({"platform": "ios"}, {"Bob"}),
        ({"platform": "web"}, set()),
        ({"all": True}, {"Ann", "Bob", "Cid"}),
    ]
    async with operator(pushing) as http:
        for nth, (to, names) in enumerate(wanted):
            found = await done(http, f"k{nth}", to, push=False)
            assert found["told"] == len(names)
            rows = await world.database.fetch_all("select person from personal where subject = %s", found["id"])
            assert {row[0] for row in rows} == {one.id for one in people if one.name in names}
        await settled(world)
    assert fcm.asked == [], "not by push"


async def test_a_crowd_is_told_in_parts(
    pushing: House, world: World, fcm: FakeFcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is a job and a transaction of its own."""
    monkeypatch.setattr(notices, "AT_ONCE", 10)
    await world.crowd(35)
    async with operator(pushing) as http:
        assert (await done(http, "k", {"all": True}))["told"] == 35
    await settled(world)
    [(parts,)] = await world.database.fetch_all("select count(*) from job where kind = 'notice'")
    assert parts == 4


async def test_a_job_done_twice_tells_once(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Killed after its commit, before its mark."""
    (bob,) = await world.people("Bob")
    await register(pushing, bob, "bobs")
    async with operator(pushing) as http:
        found = await done(http, "k", {"users": [str(bob)]})
        await settled(world)
        await world.database.execute("update job set state = 'waiting', due_at_ms = 0 where kind = 'notice'")
        await settled(world)
        assert (await send(http, "k", {"users": [str(bob)]}))["told"] == found["told"] == 1
    assert len(fcm.sent) == 1


async def test_busy_and_dead_devices(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Only those that have to be tried again are; a dead token is forgotten; who wants little told, has it."""
    people = await world.people("Ann", "Bob", "Cid", "Dan")
    for person, token in zip(people, ("good", "busy-1", "gone-1", "hidden"), strict=True):
        await register(pushing, person, token)
    await world.database.fetch_one(
        "select set_personal(%s, 'notifying', '', %s::json)", people[3].id, '{"hide_content": true}'
    )
    async with operator(pushing) as http:
        await send(http, "k", {"all": True}, body="words")
        await settled(world)
    assert sorted(fcm.asked) == ["busy-1", "busy-1", "gone-1", "good", "hidden"]
    assert pushed(fcm, "busy-1") == pushed(fcm, "good") == [("News", "words")]
    assert pushed(fcm, "hidden") == [("News", "")]
    left = await world.database.fetch_all("select token from device order by token")
    assert [row[0] for row in left] == ["busy-1", "good", "hidden"]


async def test_nobody_else_may(pushing: House, world: World) -> None:
    """Not without a token, with somebody's access token, or with one that is nearly right."""
    (ann,) = await world.people("Ann")
    body = {"key": "k", "to": {"all": True}, "title": "News"}
    for token, status, code in (
        (None, 401, "unauthorized"), (TOKEN[:-1], 401, "unauthorized"), (ann.token, 403, "forbidden"),
    ):  # fmt: skip
        async with operator(pushing, token) as http:
            answer = await http.post("/v1/operator/notifications", json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await world.database.fetch_all("select count(*) from notice") == [(0,)]


async def test_without_a_token_nobody_may(world: World) -> None:
    """The default."""
    (ann,) = await world.people("Ann")
    async with open_house(world) as house:
        for token, status in ((None, 401), ("anything", 401), (ann.token, 403)):
            async with operator(house, token) as http:
                body = {"key": "k", "to": {"all": True}, "title": "News"}
                assert (await http.post("/v1/operator/notifications", json=body)).status_code == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": {}}, {"to": {"all": False}}, {"to": {"all": True, "platform": "ios"}}, {"to": {"users": []}},
        {"to": {"platform": "fridge"}}, {"title": ""}, {"title": "x" * 201}, {"body": "x" * 2001}, {"title": "a\0b"},
        {"data": {"from": "x"}}, {"data": {"google.x": "x"}}, {"data": {"a": "x" * 1001}}, {"data": {"a b": "x"}},
        {"data": {f"f{n}": "x" for n in range(21)}}, {"key": ""}, {"to": {"users": ["x"]}}, {"data": {"a": "\0"}},
    ],
)  # fmt: skip
async def test_what_is_refused(pushing: House, wrong: dict[str, Any]) -> None:
    async with operator(pushing) as http:
        body = {"key": "k", "to": {"all": True}, "title": "News", **wrong}
        answer = await http.post("/v1/operator/notifications", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text


async def test_killed_while_it_tells(
    world: World, fcm: FakeFcm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process goes on where the first was, and nobody is told twice."""
    monkeypatch.setattr(jobs_room, "LEASE_S", 1.0)
    await world.crowd(2_000)
    async with open_process(world, operator_token=TOKEN) as first, operator(first) as http:
        await send(http, "k", {"all": True})
        first.kill()
    await world.database.execute("update job set due_at_ms = now_ms() where state = 'waiting'")  # its leases end
    async with open_house(world, operator_token=TOKEN) as house, operator(house) as http:
        assert (await done(http, "k", {"all": True}))["told"] == 2_000
    assert await world.database.fetch_all("select count(*) from personal where what = 'notification'") == [(2_000,)]
