"""Where one is signed in: a list, and what ends, at every process, within a second."""

import os
import sys

import httpx
import pytest
import trio

from konnect_server.ids import uuid7
from tests.processes import open_scene
from tests.running import LIMIT_S, ROOT, House, Person, World, open_house

SIGNED_OUT = (4502, "signed_out")


def elsewhere(person: Person) -> Person:
    """The same person, by another sign-in."""
    other = Person(person.tokens, person.name)
    other.id = person.id
    return other


async def test_one_sees_where_one_is_signed_in_and_not_where_others_are(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    tablet = elsewhere(ann)
    await world.sign_in(ann, device="phone")
    await world.sign_in(tablet, device="tablet")
    await world.sign_in(bob, device="Bob's")
    ended, idle = await world.sign_in(ann, uuid7()), await world.sign_in(ann, uuid7())
    await world.database.execute(
        "update sign_in set ended_at_ms = now_ms(), ended_by = 'logout' where id = %s", ended
    )
    await world.database.execute("update sign_in set used_at_ms = 0 where id = %s", idle)
    await world.database.execute("update sign_in set used_at_ms = used_at_ms - 60000 where id = %s", ann.sign_in)
    async with house.phone(ann) as phone:
        sessions = (await phone.result("session.list"))["sessions"]
        assert [(one["session"], one["device"], one["current"]) for one in sessions] == [
            (str(tablet.sign_in), "tablet", False), (str(ann.sign_in), "phone", True),
        ]  # fmt: skip
        assert all(one["used_at_ms"] <= one["created_at_ms"] for one in sessions)


async def test_one_revokes_a_sign_in_and_its_sockets_close_everywhere(world: World) -> None:
    """Also at a process that hears no bell; and the token of a sign-in that ended is refused at both."""
    ann, bob = await world.people("Ann", "Bob")
    tablet, desk = elsewhere(ann), elsewhere(ann)
    for one in (ann, tablet, desk, bob):
        await world.sign_in(one)
    async with open_scene(world) as scene:
        here, there = [*await scene.processes(1), *await scene.processes(1, mute=True)]
        phone, his = await scene.phone(here, ann), await scene.phone(there, bob)
        tablet_here = await scene.phone(here, tablet, "tablet")
        tablet_there = await scene.phone(there, tablet, "tablet at work")
        desk_there = await scene.phone(there, desk, "desk")
        assert await his.result("session.revoke", session=tablet.sign_in) == {}, "which is not his: nothing happens"
        assert len((await phone.result("session.list"))["sessions"]) == 3
        began = trio.current_time()
        assert await phone.result("session.revoke", session=tablet.sign_in) == {}
        assert await tablet_here.end() == SIGNED_OUT
        assert await tablet_there.end() == SIGNED_OUT
        took_s = trio.current_time() - began
        assert took_s < 3, "a second, on a machine that has nothing else to do"
        for place in (here, there):
            async with httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=20) as http:
                refused = await http.post(
                    "/v1/call/unread.get", json={}, headers={"Authorization": f"Bearer {tablet.token}"}
                )
                assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert await phone.result("session.revoke", session=tablet.sign_in) == {}, "once more does no harm"
        assert await phone.result("session.revoke_all") == {"count": 1}
        assert await desk_there.end() == SIGNED_OUT
        await phone.result("ping")
        await his.result("ping")


async def test_the_bell_alone_closes_a_socket_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the question that each process asks each half second."""
    from konnect_server.actions import sign_in_sweep

    async def never(*_: object) -> int:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(sign_in_sweep, "_look", never)
    (ann,) = await world.people("Ann")
    tablet = elsewhere(ann)
    for one in (ann, tablet):
        await world.sign_in(one)
    async with (
        open_house(world) as here, open_house(world) as there,
        here.phone(ann) as phone, there.phone(tablet, "tablet") as other,
    ):  # fmt: skip
        with trio.fail_after(LIMIT_S):
            while not here.core.bus._others:
                await trio.sleep(0.02)
        await phone.result("session.revoke", session=tablet.sign_in)
        assert await other.end() == SIGNED_OUT


async def test_a_process_that_was_just_started_refuses_what_was_revoked_before(world: World) -> None:
    """It knows what ended within the life of an access token."""
    (ann,) = await world.people("Ann")
    await world.sign_in(ann)
    await world.database.execute(
        "update sign_in set ended_at_ms = now_ms() - 60000, ended_by = 'revoked' where id = %s", ann.sign_in
    )
    headers = {"Authorization": f"Bearer {ann.token}"}
    async with (
        open_house(world) as house,
        httpx.AsyncClient(base_url=house.url, headers=headers, trust_env=False, timeout=20) as http,
    ):
        with trio.fail_after(LIMIT_S):
            while (await http.post("/v1/call/unread.get", json={})).status_code != 401:
                await trio.sleep(0.02)


async def konnect(world: World, *arguments: str) -> str:
    """Run the operator's command on the world's database; what it says."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")}
    environ |= {"KONNECT_DATABASE_URL": world.dsn, "KONNECT_DATA": str(world.folder)}
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [sys.executable, "-m", "konnect_server", *arguments], cwd=ROOT, env=environ,
            capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def test_who_is_suspended_is_thrown_out_of_a_server_that_runs(house: House, world: World) -> None:
    """The operator's command knows the database alone; the server finds what it did."""
    ann, bob = await world.people("Ann", "Bob")
    for one in (ann, bob):
        await world.sign_in(one)
    async with house.phone(ann) as phone, house.phone(bob) as his:
        assert "sign-ins that ended: 1" in await konnect(world, "user", "suspend", str(ann.id))
        assert await phone.end() == SIGNED_OUT
        await his.result("ping")
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=20) as http:
        email = f"{ann.id}@example.com"
        code = (await konnect(world, "user", "code", email)).strip()
        body = {"email": email, "code": code}
        refused = await http.post("/v1/auth/verify", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")
        await konnect(world, "user", "restore", email)
        body["code"] = (await konnect(world, "user", "code", email)).strip()
        back = await http.post("/v1/auth/verify", json=body)
        assert (back.status_code, back.json()["user"]["standing"]) == (200, "active")
