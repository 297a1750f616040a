"""Accounts by mail, on a real server over HTTP: every answer is checked against the OpenAPI document."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from konnect_client import Account, ServerRefused, ask_code, ask_password_code, login, register, reset_password, verify
from protocol.http import BY_NAME
from tests.http_house import conforms
from tests.mail_stands import open_brevo, open_smtp
from tests.running import LIMIT_S, House, World, open_house

SIGNED_OUT = (4502, "signed_out")


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    """A server as `konnect dev` runs it."""
    async with open_house(world, dev=True) as made:
        yield made


@asynccontextmanager
async def open_http(house: House, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's client."""
    async with httpx.AsyncClient(
        base_url=house.url, headers=headers, event_hooks={"response": [conforms]}, trust_env=False, timeout=20
    ) as http:
        yield http


async def tray(http: httpx.AsyncClient, count: int, to: str) -> list[dict[str, Any]]:
    """Wait until so many mails to an address lie in the tray; the newest first."""
    with trio.fail_after(LIMIT_S):
        while True:
            found = [mail for mail in (await http.get("/dev/mail")).json()["mails"] if mail["to"] == to]
            if len(found) >= count:
                return found
            await trio.sleep(0.02)


async def code(http: httpx.AsyncClient, count: int, to: str) -> str:
    """The code in the newest of so many mails."""
    found = re.search(r"^    (\d{6})$", (await tray(http, count, to))[0]["text"], re.MULTILINE)
    assert found is not None
    return found[1]


def bearer(answer: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_from_sign_up_by_a_code_to_another_address(house: House) -> None:
    """Each endpoint, with each of its answers that is no error."""
    async with open_http(house) as http:
        asked = await http.post("/v1/auth/code", json={"email": "ann@example.com"})
        assert (asked.status_code, asked.json()) == (202, {"expires_in_s": 600})
        body: dict[str, Any] = {"email": "ann@example.com", "code": await code(http, 1, "ann@example.com")}
        nameless = await http.post("/v1/auth/verify", json=body)
        assert (nameless.status_code, nameless.json()["code"]) == (409, "name_needed")
        made = await http.post("/v1/auth/verify", json={**body, "name": "Ann", "device": "phone"})
        assert (made.status_code, made.json()["user"]["email_verified"]) == (201, True)
        used = await http.post("/v1/auth/verify", json={**body, "name": "Ann"})
        assert (used.status_code, used.json()["code"]) == (401, "bad_code")

        await http.post("/v1/auth/code", json={"email": "ann@example.com"})
        again = await http.post("/v1/auth/verify", json={**body, "code": await code(http, 2, "ann@example.com")})
        assert (again.status_code, again.json()["user"]) == (200, made.json()["user"])

        reset = await http.post("/v1/auth/password/reset", json={"email": "ann@example.com"})
        assert reset.status_code == 202
        chosen = {**body, "code": await code(http, 3, "ann@example.com"), "password": "correct horse"}
        assert (await http.post("/v1/auth/password", json=chosen)).status_code == 204
        assert (await http.get("/v1/me", headers=bearer(again))).status_code == 401
        signed_in = await http.post("/v1/auth/login", json={"email": "ann@example.com", "password": "correct horse"})
        changed = {"old": "correct horse", "password": "another horse"}
        assert (await http.post("/v1/auth/password", json=changed, headers=bearer(signed_in))).status_code == 204
        wrong = await http.post("/v1/auth/password", json=changed, headers=bearer(signed_in))
        assert (wrong.status_code, wrong.json()["code"]) == (401, "bad_credentials")

        moving = {"email": "ann@example.org", "password": "another horse"}
        assert (await http.post("/v1/auth/email", json=moving, headers=bearer(signed_in))).status_code == 202
        codes = {
            "old_code": await code(http, 6, "ann@example.com"), "new_code": await code(http, 1, "ann@example.org"),
        }  # fmt: skip
        moved = await http.post("/v1/auth/email/confirm", json=codes, headers=bearer(signed_in))
        assert (moved.status_code, moved.json()["email"]) == (200, "ann@example.org")
        assert (await http.get("/v1/me", headers=bearer(signed_in))).json() == moved.json()
        assert (await tray(http, 7, "ann@example.com"))[0]["subject"] == "Your address at Konnect was changed"


async def test_who_registers_confirms_the_address_and_stays_signed_in(house: House, world: World) -> None:
    async with open_http(house) as http:
        made = await http.post(
            "/v1/auth/register", json={"email": "ann@example.com", "password": "correct horse", "name": "Ann"}
        )
        assert (made.status_code, made.json()["user"]["email_verified"]) == (201, False)
        body = {"email": "ann@example.com", "code": await code(http, 1, "ann@example.com")}
        confirmed = await http.post("/v1/auth/verify", json=body, headers=bearer(made))
        assert (confirmed.status_code, confirmed.content) == (204, b"")
        me = (await http.get("/v1/me", headers=bearer(made))).json()
        assert (me["email_verified"], me["has_password"], me["standing"], me["role"]) == (
            True, True, "active", "person",
        )  # fmt: skip


async def test_a_reset_closes_the_sockets_of_all_sign_ins(house: House) -> None:
    async with open_http(house) as http, house.call() as phone:
        made = await http.post(
            "/v1/auth/register", json={"email": "ann@example.com", "password": "correct horse", "name": "Ann"}
        )
        await phone.send("hello", token=made.json()["access_token"], device="phone")
        await phone.saw("synced")
        await http.post("/v1/auth/password/reset", json={"email": "ann@example.com"})
        body = {"email": "ann@example.com", "password": "another horse"}
        found = await code(http, 2, "ann@example.com")
        assert (await http.post("/v1/auth/password", json={**body, "code": found})).status_code == 204
        assert await phone.end() == SIGNED_OUT


async def test_the_answers_do_not_tell_who_has_an_account(house: House) -> None:
    async with open_http(house) as http:
        await http.post(
            "/v1/auth/register", json={"email": "ann@example.com", "password": "correct horse", "name": "Ann"}
        )
        answers = []
        for email in ("ann@example.com", "nobody@example.com"):
            body = {"email": email, "code": "000000", "password": "another horse", "name": "Eve"}
            seen = []
            for path in ("code", "password/reset", "verify", "password"):
                answer = await http.post(f"/v1/auth/{path}", json=body)
                seen.append((path, answer.status_code, answer.json(), sorted(answer.headers.keys())))
            answers.append(seen)
        assert answers[0] == answers[1]


async def test_codes_are_limited_by_address_and_by_network(world: World) -> None:
    """By a 429 that says when to come again."""
    async with open_house(world, codes_per_s=0.001, codes_burst=8) as house, open_http(house) as http:
        for path in ("code", "password/reset"):
            for number in range(4):
                answer = await http.post(f"/v1/auth/{path}", json={"email": f"n{number}@example.com"})
                assert answer.status_code == 202
        refused = await http.post("/v1/auth/code", json={"email": "another@example.com"})
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
    async with open_house(world, codes_per_hour=2) as house, open_http(house) as http:
        statuses = [
            (await http.post("/v1/auth/code", json={"email": "Ann@example.com"})).status_code for _ in range(3)
        ]
        assert statuses == [202, 202, 429]


@pytest.mark.parametrize("path", ["code", "verify", "password", "password/reset", "email", "email/confirm"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"email": "a\\u0000@b.cd", "code": "123456"}'])
async def test_nonsense_gets_a_clear_error(house: House, path: str, body: bytes) -> None:
    async with open_http(house) as http:
        answer = await http.post(f"/v1/auth/{path}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 401)
        assert answer.json()["code"] in ("invalid", "bad_request", "unauthorized")


async def test_the_tray_is_a_page_for_people_and_shown_by_dev_alone(house: House, world: World) -> None:
    async with open_http(house) as http:
        assert "None yet" in (await http.get("/dev/mail", headers={"Accept": "text/html"})).text
        await http.post(
            "/v1/auth/register",
            json={"email": "ann@example.com", "password": "correct horse", "name": "<b>Ann</b> & co"},
        )
        found = await code(http, 1, "ann@example.com")
        page = await http.get("/dev/mail", headers={"Accept": "text/html,*/*"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script" not in page.headers["content-security-policy"]
        assert found in page.text
        assert "&lt;b&gt;Ann&lt;/b&gt; &amp; co" in page.text
        assert "<b>Ann" not in page.text
    assert not [endpoint for endpoint in BY_NAME.values() if endpoint.path.startswith("/dev")]
    async with open_house(world) as serving, open_http(serving) as http:
        assert (await http.get("/dev/mail")).status_code == 404


async def test_a_server_mails_by_smtp_and_tries_again(world: World) -> None:
    with open_smtp() as server:
        server.answers.append("451 4.3.0 try again")
        mail: dict[str, Any] = {
            "mail_driver": "smtp", "smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_tls": "none",
            "mail_from": "Chat <chat@example.com>",
        }  # fmt: skip
        async with open_house(world, **mail) as house, open_http(house) as http:
            await http.post("/v1/auth/code", json={"email": "ann@example.com"})
            with trio.fail_after(LIMIT_S):
                while not server.tried:
                    await trio.sleep(0.01)
                while not server.mails:  # it was to be tried again some seconds later: now
                    await world.database.execute("update job set due_at_ms = 0 where kind = 'mail' and attempts = 1")
                    await trio.sleep(0.01)
            [(to, message)] = server.mails
            assert (to, message["From"]) == (["ann@example.com"], "Chat <chat@example.com>")
            body = message.get_body(("plain",))
            assert body is not None
            found = re.search(r"\d{6}", body.get_content())
            assert found is not None
            made = await http.post(
                "/v1/auth/verify", json={"email": "ann@example.com", "code": found[0], "name": "Ann"}
            )
            assert made.status_code == 201
        assert (server.tried, len(server.mails)) == (2, 1)


async def test_a_mail_that_is_not_taken_is_kept_as_dead(world: World) -> None:
    """By Brevo; whoever runs the server finds out why."""
    with open_brevo() as brevo:
        mail: dict[str, Any] = {"mail_driver": "brevo", "brevo_key": "the-key", "brevo_endpoint": brevo.url}
        async with open_house(world, **mail) as house, open_http(house) as http:
            for name in ("nobody", "ann"):
                await http.post("/v1/auth/code", json={"email": f"{name}@example.com"})
            with trio.fail_after(LIMIT_S):
                while not brevo.sent or await world.database.fetch_one(
                    "select from job where state = 'dead' and problem like '400 email is not valid%%'"
                ) is None:  # fmt: skip
                    await trio.sleep(0.02)
        assert [sent["to"] for sent in brevo.sent] == [[{"email": "ann@example.com"}]]


async def test_the_client_speaks_all_of_it(house: House) -> None:
    async with open_http(house) as http:
        await ask_code(http, "ann@example.com")
        found = await code(http, 1, "ann@example.com")
        with pytest.raises(ServerRefused) as caught:
            await verify(http, "ann@example.com", found)
        assert caught.value.code == "name_needed"
        ann: Account = await verify(http, "ann@example.com", found, name="Ann", device="phone")
        await ask_password_code(http, "ann@example.com")
        await reset_password(http, "ann@example.com", await code(http, 2, "ann@example.com"), "correct horse")
        ann = await login(http, "ann@example.com", "correct horse")
        await ann.change_password("correct horse", "another horse")
        await ann.change_email("ann@example.org", "another horse")
        me = await ann.confirm_email(await code(http, 5, "ann@example.com"), await code(http, 1, "ann@example.org"))
        assert me["email"] == "ann@example.org"
        bob = await register(http, "bob@example.com", "correct horse", "Bob")
        await bob.confirm("bob@example.com", await code(http, 1, "bob@example.com"))
        assert (await bob.me())["email_verified"] is True
