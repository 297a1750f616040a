"""Accounts over HTTP, against the real door; its misfortunes are added on the way."""

import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from konnect_client import (
    AccessToken,
    ServerRefused,
    ServerUnreachable,
    SignedOut,
    TokenUnavailable,
    login,
    register,
    resume,
)
from storage.database import Database
from tests.http_house import House, open_house

EMAIL, PASSWORD = "ann@example.com", "correct horse"
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
async def house(database: Database, folder: Path) -> AsyncIterator[House]:
    async with open_house(database, folder) as opened:
        yield opened


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client() as client:
        yield client


async def test_registering_signs_in(http: httpx.AsyncClient) -> None:
    account = await register(http, EMAIL, PASSWORD, "Ann", device="phone")
    assert account.user.name == "Ann"
    assert (await account.me())["email"] == EMAIL
    token = await account()
    assert token.expires_in_s is not None
    assert 800 < token.expires_in_s <= 900
    assert "ey" not in repr(token)  # a token in a log is a sign-in given away


async def test_signing_in_again(http: httpx.AsyncClient) -> None:
    made = await register(http, EMAIL, PASSWORD, "Ann")
    again = await login(http, EMAIL, PASSWORD)
    assert again.user == made.user


async def test_a_refusal_has_the_servers_code(http: httpx.AsyncClient) -> None:
    await register(http, EMAIL, PASSWORD, "Ann")
    for attempt, code in (
        (register(http, EMAIL, PASSWORD, "Ann"), "email_taken"),
        (register(http, "nonsense", PASSWORD, "Ann"), "invalid"),
        (login(http, EMAIL, "wrong"), "bad_credentials"),
        (login(http, "nobody@example.com", PASSWORD), "bad_credentials"),
    ):
        with pytest.raises(ServerRefused) as refused:
            await attempt
        assert refused.value.code == code
        assert refused.value.message


async def test_a_good_token_is_given_out_again_and_a_refused_one_is_not(http: httpx.AsyncClient) -> None:
    account = await register(http, EMAIL, PASSWORD, "Ann")
    first = (await account()).text
    assert (await account()).text == first
    account.refuse("another")
    assert (await account()).text == first
    account.refuse(first)
    second = (await account()).text
    assert second != first
    account.refuse(first)
    assert (await account()).text == second


async def test_the_refresh_token_is_kept_where_nobody_else_can_read_it(http: httpx.AsyncClient, folder: Path) -> None:
    path = folder / "deep" / "ann.token"
    account = await register(http, EMAIL, PASSWORD, "Ann", path=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = json.loads(path.read_text())
    account.refuse((await account()).text)
    await account()
    after = json.loads(path.read_text())
    assert after["user"] == before["user"] == {"id": account.user.id, "name": "Ann"}
    assert after["refresh_token"] != before["refresh_token"]


async def test_a_restart_is_still_signed_in(http: httpx.AsyncClient, folder: Path) -> None:
    path = folder / "ann.token"
    user = (await register(http, EMAIL, PASSWORD, "Ann", path=path)).user
    for _ in range(3):
        account = resume(http, path)
        assert account is not None
        assert account.user == user
        assert (await account.me())["name"] == "Ann"


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"refresh_token": 1}', b"\xff"])
async def test_a_file_that_is_no_sign_in_is_none(http: httpx.AsyncClient, folder: Path, content: bytes | None) -> None:
    path = folder / "ann.token"
    if content is not None:
        path.write_bytes(content)
    assert resume(http, path) is None


async def test_logout_ends_it_here_and_there(http: httpx.AsyncClient, folder: Path) -> None:
    path = folder / "ann.token"
    account = await register(http, EMAIL, PASSWORD, "Ann", path=path)
    copy = resume(http, path)
    assert copy is not None
    await account.logout()
    assert not path.exists()
    for ended in (account, copy):
        with pytest.raises(SignedOut):
            await ended()
    await account.logout()  # repeating it does no harm


async def test_a_stolen_refresh_token_ends_the_sign_in(http: httpx.AsyncClient, folder: Path) -> None:
    """A copy that lags two rotations behind comes back: the server ends the sign-in, and the account hears of it."""
    path = folder / "ann.token"
    account = await register(http, EMAIL, PASSWORD, "Ann", path=path)
    thief = resume(http, path)
    assert thief is not None
    for _ in range(2):
        account.refuse((await account()).text)
        await account()
    with pytest.raises(SignedOut):
        await thief()
    account.refuse((await account()).text)
    with pytest.raises(SignedOut, match="unauthorized"):
        await account()
    assert not path.exists()


class Losing(httpx.AsyncBaseTransport):
    """The network loses the answers to the next ``lost`` requests."""

    def __init__(self) -> None:
        self.real, self.lost, self.sent = httpx.AsyncHTTPTransport(), 0, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        response = await self.real.handle_async_request(request)
        if self.lost:
            self.lost -= 1
            await response.aclose()
            raise httpx.ReadError("the answer was lost")
        return response

    async def aclose(self) -> None:
        await self.real.aclose()


async def test_a_refresh_whose_answer_was_lost_is_repeated(house: House, folder: Path) -> None:
    network = Losing()
    async with httpx.AsyncClient(base_url=house.url, transport=network) as http:
        account = await register(http, EMAIL, PASSWORD, "Ann", path=folder / "ann.token")
        account.refuse((await account()).text)
        network.lost = 1
        with pytest.raises(TokenUnavailable, match="lost"):
            await account()
        token = await account()
        account.refuse(token.text)
        assert (await account()).text != token.text


async def test_a_cancelled_caller_does_not_tear_a_refresh(house: House, folder: Path) -> None:
    """The server has replaced the refresh token; the answer must reach the file, or the sign-in is lost."""
    network = Losing()
    async with httpx.AsyncClient(base_url=house.url, transport=network) as http:
        account = await register(http, EMAIL, PASSWORD, "Ann", path=folder / "ann.token")
        token = (await account()).text
        account.refuse(token)
        before = (folder / "ann.token").read_text()
        sent = network.sent

        async def ask(scope: trio.CancelScope) -> None:
            with scope:
                await account()

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(ask, scope)
            while network.sent == sent:
                await trio.lowlevel.checkpoint()
            scope.cancel()
        assert (folder / "ann.token").read_text() != before
        assert network.sent == sent + 1
        await account()
        assert network.sent == sent + 1


async def test_two_tasks_that_need_a_token_refresh_once(house: House) -> None:
    network = Losing()
    async with httpx.AsyncClient(base_url=house.url, transport=network) as http:
        account = await register(http, EMAIL, PASSWORD, "Ann")
        account.refuse((await account()).text)
        sent = network.sent
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(account)
        assert network.sent == sent + 1


# --- answers of other makes -------------------------------------------------------------------------------------------


def scripted(*answers: httpx.Response | Exception) -> httpx.AsyncClient:
    """A server that gives these answers."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return httpx.AsyncClient(base_url="http://server.example", transport=httpx.MockTransport(answer))


def signed_in(number: int, expires_in_s: int = 900) -> httpx.Response:
    return httpx.Response(
        200,
        json={
            "user": {"id": "u", "name": "Ann"}, "access_token": f"a{number}", "refresh_token": f"r{number}",
            "expires_in_s": expires_in_s,
        },
    )  # fmt: skip


def problem(status: int, code: str, **more: object) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": f"it is {code}", **more})


async def test_a_token_is_replaced_when_most_of_its_life_is_over(autojump_clock: MockClock) -> None:
    async with scripted(signed_in(1), signed_in(2)) as http:
        account = await login(http, EMAIL, PASSWORD)
        assert await account() == AccessToken("a1", 900)
        await trio.sleep(500)
        assert await account() == AccessToken("a1", 400)
        await trio.sleep(100)
        assert await account() == AccessToken("a2", 900)


@pytest.mark.parametrize(
    ("answer", "after_s"),
    [
        (problem(429, "rate_limited", retry_after_ms=2_500), 2.5),
        (problem(503, "unavailable"), 1.0),
        (httpx.Response(503, headers={"Retry-After": "7"}, json={"code": "unavailable", "title": "Unavailable"}), 7.0),
        (problem(500, "internal_error"), 1.0),
        (problem(404, "not_found"), None),
        (httpx.Response(502, text="<html>bad gateway</html>"), None),
        (httpx.Response(200, text="<html>sign in to this hotel's network</html>"), None),
        (httpx.Response(200, json={"welcome": "to another server"}), None),
        (httpx.Response(200, json=[1]), None),
        (httpx.Response(302, headers={"Location": "http://portal.example"}), None),
        (httpx.ConnectError("no route"), None),
        (httpx.ReadTimeout(""), None),
        (httpx.RemoteProtocolError("nonsense"), None),
    ],
)
async def test_trouble_on_the_way_signs_nobody_out(answer: httpx.Response | Exception, after_s: float | None) -> None:
    async with scripted(signed_in(1), answer, signed_in(2)) as http:
        account = await login(http, EMAIL, PASSWORD)
        account.refuse("a1")
        with pytest.raises(TokenUnavailable) as unavailable:
            await account()
        assert unavailable.value.retry_after_s == after_s
        assert str(unavailable.value)
        assert (await account()).text == "a2"


async def test_an_ended_sign_in_stays_ended() -> None:
    async with scripted(signed_in(1), problem(401, "unauthorized")) as http:
        account = await login(http, EMAIL, PASSWORD)
        account.refuse("a1")
        for _ in range(3):
            with pytest.raises(SignedOut):
                await account()


async def test_a_server_that_answers_nothing_is_left_in_time(autojump_clock: MockClock) -> None:
    async def silence(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/auth/login":
            return signed_in(1)
        await trio.sleep_forever()
        raise AssertionError

    async with httpx.AsyncClient(base_url="http://server.example", transport=httpx.MockTransport(silence)) as http:
        account = await login(http, EMAIL, PASSWORD)
        account.refuse("a1")
        with pytest.raises(TokenUnavailable, match="within"):
            await account()


async def test_signing_in_at_something_else_is_said_plainly() -> None:
    async with scripted(httpx.Response(200, json={"user": "ann"})) as http:
        with pytest.raises(ServerUnreachable, match="Konnect"):
            await login(http, EMAIL, PASSWORD)
    async with scripted(httpx.ConnectError("connection refused")) as http:
        with pytest.raises(ServerUnreachable, match=r"server\.example.*refused"):
            await login(http, EMAIL, PASSWORD)


async def test_a_logout_that_reaches_nobody_is_said() -> None:
    async with scripted(signed_in(1), httpx.ConnectError("no route"), httpx.Response(204)) as http:
        account = await login(http, EMAIL, PASSWORD)
        with pytest.raises(ServerUnreachable):
            await account.logout()
        await account.logout()
