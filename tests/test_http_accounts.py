"""Accounts over HTTP, as a client meets them; every answer is checked against the OpenAPI document."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import trio

from konnect_server.http import DoorOptions
from konnect_server.tokens import Tokens
from protocol.schema.endpoints import ALL as ENDPOINTS
from storage.database import Database, open_database
from tests.http_house import ANN, DOCUMENT, NOWHERE, House, open_house


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database, tmp_path) as opened:
        yield opened


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client() as client:
        yield client


def bearer(signed_in: httpx.Response | dict[str, Any]) -> dict[str, str]:
    """The header for an answer's access token."""
    body = signed_in.json() if isinstance(signed_in, httpx.Response) else signed_in
    return {"Authorization": f"Bearer {body['access_token']}"}


async def test_register_login_me_and_others(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/auth/register", json=ANN)
    assert made.status_code == 201
    body = made.json()
    assert set(body) == {"user", "access_token", "refresh_token", "expires_in_s"}
    assert (body["user"]["name"], body["user"]["email"], body["expires_in_s"]) == ("Ann", "ann@example.com", 900)
    login = await http.post("/v1/auth/login", json={"email": "ANN@example.com", "password": "correct horse"})
    assert (login.status_code, login.json()["user"]) == (200, body["user"])
    me = await http.get("/v1/me", headers=bearer(login))
    assert (me.status_code, me.json()) == (200, body["user"])
    bob = (await http.post("/v1/auth/register", json={**ANN, "email": "bob@example.com", "name": "Bob"})).json()
    found = await http.get(f"/v1/users/{body['user']['id']}", headers=bearer(bob))
    assert (found.status_code, found.json()) == (200, {"id": body["user"]["id"], "name": "Ann"})
    assert UUID(body["user"]["id"])


async def test_answers_that_carry_tokens_are_not_kept_by_anybody(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/auth/register", json=ANN)
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["x-content-type-options"] == "nosniff"


async def test_refresh_brings_the_next_pair_and_a_retry_the_same_again(http: httpx.AsyncClient) -> None:
    first = (await http.post("/v1/auth/register", json=ANN)).json()
    second = await http.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    again = await http.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert second.status_code == again.status_code == 200
    assert second.json()["refresh_token"] == again.json()["refresh_token"] != first["refresh_token"]
    assert (await http.get("/v1/me", headers=bearer(again))).json() == first["user"]


async def test_a_stolen_refresh_token_ends_the_sign_in(house: House, http: httpx.AsyncClient) -> None:
    first = (await http.post("/v1/auth/register", json=ANN)).json()
    newest = first
    for _ in range(2):
        newest = (await http.post("/v1/auth/refresh", json={"refresh_token": newest["refresh_token"]})).json()
    for token in (first["refresh_token"], newest["refresh_token"]):
        refused = await http.post("/v1/auth/refresh", json={"refresh_token": token})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert (await http.get("/v1/me", headers=bearer(newest))).status_code == 401
    assert [str(user) for _, user in house.told] == [first["user"]["id"]]


@pytest.mark.parametrize("by", ["refresh token", "bearer token", "both", "bearer token and an empty object"])
async def test_logout_ends_the_sign_in_and_may_be_repeated(house: House, http: httpx.AsyncClient, by: str) -> None:
    signed_in = (await http.post("/v1/auth/register", json=ANN)).json()
    token = {"refresh_token": signed_in["refresh_token"]}
    asked: dict[str, Any] = {
        "refresh token": {"json": token},
        "bearer token": {"headers": bearer(signed_in)},
        "both": {"json": token, "headers": bearer(signed_in)},
        "bearer token and an empty object": {"json": {}, "headers": bearer(signed_in)},
    }[by]
    for _ in range(2):
        done = await http.post("/v1/auth/logout", **asked)
        assert (done.status_code, done.content) == (204, b"")
    assert len(house.told) == 1
    assert (await http.post("/v1/auth/refresh", json=token)).status_code == 401
    assert (await http.get("/v1/me", headers=bearer(signed_in))).status_code == 401


async def test_logout_with_a_refresh_token_does_not_mind_a_bearer_token_out_of_time(
    house: House, http: httpx.AsyncClient
) -> None:
    """A phone that slept for a day sends what it has."""
    signed_in = (await http.post("/v1/auth/register", json=ANN)).json()
    body = {"refresh_token": signed_in["refresh_token"]}
    done = await http.post("/v1/auth/logout", json=body, headers={"Authorization": "Bearer old"})
    assert done.status_code == 204
    assert len(house.told) == 1


async def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that *response* must be."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/docs#error-{code}")
    assert body["title"]
    assert body["detail"]
    return body


async def test_logout_of_nothing_is_refused(http: httpx.AsyncClient) -> None:
    nothing: list[dict[str, Any]] = [
        {}, {"json": {}}, {"json": {"refresh_token": "junk"}}, {"headers": {"Authorization": "Bearer junk"}},
    ]  # fmt: skip
    for asked in nothing:
        await problem(await http.post("/v1/auth/logout", **asked), 401, "unauthorized")


async def test_an_address_that_is_taken(http: httpx.AsyncClient) -> None:
    await http.post("/v1/auth/register", json=ANN)
    await problem(await http.post("/v1/auth/register", json={**ANN, "email": "Ann@Example.com "}), 409, "email_taken")


async def test_wrong_password_and_unknown_address_get_the_same_answer(http: httpx.AsyncClient) -> None:
    await http.post("/v1/auth/register", json=ANN)
    wrong = await http.post("/v1/auth/login", json={"email": "ann@example.com", "password": "wrong"})
    unknown = await http.post("/v1/auth/login", json={"email": "nobody@example.com", "password": "correct horse"})
    await problem(wrong, 401, "bad_credentials")
    assert wrong.content == unknown.content
    differing = {"date"}
    assert {k: v for k, v in wrong.headers.items() if k not in differing} == {
        k: v for k, v in unknown.headers.items() if k not in differing
    }


@pytest.mark.parametrize("path", ["/v1/me", f"/v1/users/{uuid4()}", "/v1/users/not-an-id"])
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer x", "Basic YTpi", "bearer", "é"])
async def test_what_needs_a_token_says_so(http: httpx.AsyncClient, path: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode("utf-8")}
    refused = await http.get(path, headers=headers)  # type: ignore[arg-type]  # httpx takes bytes too
    await problem(refused, 401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_the_scheme_bearer_is_taken_in_any_case(http: httpx.AsyncClient) -> None:
    token = (await http.post("/v1/auth/register", json=ANN)).json()["access_token"]
    assert (await http.get("/v1/me", headers={"Authorization": f"bEaReR  {token}"})).status_code == 200


async def test_a_token_of_another_server_is_refused(http: httpx.AsyncClient, tmp_path: Path) -> None:
    foreign = Tokens(tmp_path / "other").sign(uuid4(), uuid4())
    await problem(await http.get("/v1/me", headers={"Authorization": f"Bearer {foreign}"}), 401, "unauthorized")


async def test_people_who_are_not_there(http: httpx.AsyncClient) -> None:
    signed_in = await http.post("/v1/auth/register", json=ANN)
    unknown = str(uuid4())
    body = await problem(await http.get(f"/v1/users/{unknown}", headers=bearer(signed_in)), 404, "unknown_user")
    assert unknown in body["detail"]
    for path in ("/v1/users/7", "/v1/users/%00", "/v1/users/" + "a" * 500):
        await problem(await http.get(path, headers=bearer(signed_in)), 400, "invalid")


# --- Bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", "bad_request", "not JSON"),
        (b"{", "bad_request", "not JSON"),
        (b"\xff", "bad_request", "not JSON"),
        (b'{"email": "\xff"}', "bad_request", "not JSON"),
        (b'{"email": "\\ud800@example.com", "password": "12345678", "name": "x"}', "bad_request", "not JSON"),
        (b'{"a":' * 30_000, "too_large", "longer than 65536"),
        (b'{"a":' * 10_000, "bad_request", "not JSON"),
        (b"[]", "invalid", "Expected `object`"),
        (b"null", "invalid", "Expected `object`"),
        (b"{}", "invalid", "missing required field `email`"),
        (b'{"email": 7, "password": "12345678", "name": "x"}', "invalid", "$.email"),
        (b'{"email": "ann", "password": "12345678", "name": "x"}', "invalid", "that is an e-mail address - at `$."),
        (b'{"email": "a@b.co", "password": "1234567", "name": "x"}', "invalid", "length >= 8 - at `$.password`"),
        (b'{"email": "a@b.co", "password": "%s", "name": "x"}' % (b"x" * 257), "invalid", "length <= 256"),
        (b'{"email": "a@b.co", "password": "12345678", "name": ""}', "invalid", "$.name"),
        (b'{"email": "a@b.co", "password": "12345678", "name": "a\\u0000b"}', "invalid", "no control characters"),
        (b'{"email": "a@b.co", "password": "12345678", "name": "x", "device": "\\u0000"}', "invalid", "without U+0000"),
    ],
)  # fmt: skip
async def test_a_body_that_will_not_do_is_explained(http: httpx.AsyncClient, body: bytes, code: str, says: str) -> None:
    answer = await http.post("/v1/auth/register", content=body, headers={"Content-Type": "application/json"})
    assert says in (await problem(answer, 413 if code == "too_large" else 400, code))["detail"]


@pytest.mark.parametrize("media", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";"])
async def test_only_json_is_taken(http: httpx.AsyncClient, media: str | None) -> None:
    headers = {} if media is None else {"Content-Type": media}
    answer = await http.post("/v1/auth/login", content=b'{"email": "a@b.co", "password": "x"}', headers=headers)
    assert "Content-Type: application/json" in (await problem(answer, 415, "unsupported_media_type"))["detail"]


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
async def test_json_is_taken_by_its_other_names(http: httpx.AsyncClient, media: str) -> None:
    answer = await http.post("/v1/auth/login", content=b"{}", headers={"Content-Type": media})
    await problem(answer, 400, "invalid")


async def test_unknown_fields_are_ignored(http: httpx.AsyncClient) -> None:
    """Newer clients may send more than this server knows."""
    assert (await http.post("/v1/auth/register", json={**ANN, "colour": {"deep": [1, 2, 3]}})).status_code == 201


# --- Limits -----------------------------------------------------------------------------------------------------------


async def test_too_many_sign_ins_for_one_address_are_told_when_to_come_back(database: Database, tmp_path: Path) -> None:
    limits = DoorOptions(sign_ins_per_email=1_000, sign_ins_per_address=0.01, sign_in_burst_per_address=3)
    async with open_house(database, tmp_path, limits) as house, house.client() as http:
        wanted = {"email": "nobody@example.com", "password": "x"}
        for number in range(3):
            answer = await http.post("/v1/auth/login", json={**wanted, "email": f"{number}@example.com"})
            await problem(answer, 401, "bad_credentials")
        limited = await http.post("/v1/auth/login", json=wanted)
        body = await problem(limited, 429, "rate_limited")
        assert 90_000 < body["retry_after_ms"] <= 100_001
        assert 90 < int(limited.headers["retry-after"]) <= 101
        await problem(await http.post("/v1/auth/register", json=ANN), 429, "rate_limited")
        assert (await http.get("/v1/auth")).status_code == 200


async def test_too_many_sign_ins_for_one_e_mail_leave_others_alone(database: Database, tmp_path: Path) -> None:
    limits = DoorOptions(sign_ins_per_email=0.01, sign_in_burst_per_email=2)
    async with open_house(database, tmp_path, limits) as house, house.client() as http:
        for spelling in ("ann@example.com", " Ann@EXAMPLE.com"):
            answer = await http.post("/v1/auth/login", json={"email": spelling, "password": "x"})
            await problem(answer, 401, "bad_credentials")
        limited = await http.post("/v1/auth/login", json={"email": "ANN@example.com", "password": "x"})
        await problem(limited, 429, "rate_limited")
        assert (await http.post("/v1/auth/register", json={**ANN, "email": "bob@example.com"})).status_code == 201


async def test_refreshes_have_a_limit_of_their_own(database: Database, tmp_path: Path) -> None:
    limits = DoorOptions(refreshes_per_address=0.01, refresh_burst_per_address=2)
    async with open_house(database, tmp_path, limits) as house, house.client() as http:
        for _ in range(2):
            await problem(await http.post("/v1/auth/refresh", json={"refresh_token": "x"}), 401, "unauthorized")
        await problem(await http.post("/v1/auth/refresh", json={"refresh_token": "x"}), 429, "rate_limited")
        await problem(await http.post("/v1/auth/logout", json={"refresh_token": "x"}), 429, "rate_limited")
        assert (await http.post("/v1/auth/register", json=ANN)).status_code == 201


@pytest.mark.parametrize(("trusted", "shared"), [((), True), (("127.0.0.0/8",), False)])
async def test_forwarded_addresses_count_only_behind_a_trusted_proxy(
    database: Database, tmp_path: Path, trusted: tuple[str, ...], shared: bool
) -> None:
    """Else anybody would write a new address into each request."""
    limits = DoorOptions(sign_ins_per_address=0.01, sign_in_burst_per_address=1, trusted_proxies=trusted)
    async with open_house(database, tmp_path, limits) as house, house.client() as http:
        codes = []
        for number in range(3):
            headers = {"X-Forwarded-For": f"203.0.113.{number}"}
            wanted = {"email": f"{number}@example.com", "password": "x"}
            codes.append((await http.post("/v1/auth/login", json=wanted, headers=headers)).status_code)
        assert codes == ([401, 429, 429] if shared else [401, 401, 401])


# --- The database is away ---------------------------------------------------------------------------------------------


async def test_without_a_database_every_answer_says_so(tmp_path: Path) -> None:
    async with (
        open_database(NOWHERE, timeout_s=2) as database,
        open_house(database, tmp_path) as house,
        house.client() as http,
    ):
        access = house.tokens.sign(uuid4(), uuid4())
        headers = {"Authorization": f"Bearer {access}"}
        answers = [
            await http.post("/v1/auth/register", json=ANN),
            await http.post("/v1/auth/login", json={"email": "a@b.co", "password": "x"}),
            await http.get("/v1/me", headers=headers),
            await http.get(f"/v1/users/{uuid4()}", headers=headers),
            await http.get("/readyz"),
            await http.post("/v1/auth/logout", headers=headers),
        ]
        for answer in answers:
            await problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_many_clients_at_once(house: House) -> None:
    """Each on a connection of its own, all served."""
    done: list[int] = []

    async def one(number: int) -> None:
        async with house.client() as http:
            made = await http.post("/v1/auth/register", json={**ANN, "email": f"{number}@example.com"})
            done.append((await http.get("/v1/me", headers=bearer(made))).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(25):
            nursery.start_soon(one, number)
    assert done == [200] * 25


def test_every_endpoint_is_in_the_document() -> None:
    assert {(endpoint.path, endpoint.method.lower()) for endpoint in ENDPOINTS} == {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
