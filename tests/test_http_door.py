"""The door keeps its promises on the wire: every connection has an end, every error a body, nobody is left waiting."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st
from structlog.testing import capture_logs

from konnect_server.actions.accounts import Accounts
from konnect_server.actions.passwords import Passwords
from konnect_server.http import DoorOptions, stream as stream_module
from konnect_server.http.door import CONNECTIONS
from konnect_server.remembered import Claims
from protocol.http import BODY_BYTES, HEAD_BYTES, Me
from storage.database import Database, open_database
from storage.errors import StorageRefused
from tests.http_house import ANN, NOWHERE, QUICK, House, Raw, bare_house, open_house

GET = ("GET /healthz HTTP/1.1", "Host: x")
LOGIN = ("POST /v1/auth/login HTTP/1.1", "Host: x", "Content-Type: application/json")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bare_house(tmp_path) as opened:
        yield opened


async def problem(raw: Raw, status: int, code: str) -> dict[str, str]:
    """The problem that comes next on *raw*; returns the headers."""
    found, headers, body = await raw.answer()
    assert (found, headers["content-type"], json.loads(body)["code"]) == (status, "application/problem+json", code)
    assert json.loads(body)["status"] == status
    return headers


async def health(raw: Raw) -> None:
    """A normal answer comes next on *raw*."""
    status, _, body = await raw.answer()
    assert (status, body) == (200, b'{"status":"ok"}')


# --- Requests and connections -----------------------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_the_other(house: House) -> None:
    async with await house.raw() as raw:
        for _ in range(3):
            await raw.send(*GET)
            await health(raw)


async def test_requests_sent_together_are_answered_in_their_order(house: House) -> None:
    async with await house.raw() as raw:
        await raw.stream.send_all(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        for number in range(5):
            _, _, body = await raw.answer()
            assert json.loads(body)["detail"] == f"there is nothing at /{number}"


async def test_a_request_may_come_byte_by_byte(house: House) -> None:
    body = b'{"email": 7}'
    request = "\r\n".join((*LOGIN, f"Content-Length: {len(body)}", "", "")).encode() + body
    async with await house.raw() as raw:
        for _ in range(2):  # the second time Hypercorn reads the head
            for position in range(len(request)):
                await raw.stream.send_all(request[position : position + 1])
            await problem(raw, 400, "invalid")


async def test_a_client_that_stops_sending_after_its_request_still_gets_the_answer(house: House) -> None:
    """`printf ... | nc -N` and some health checks close their half at once."""
    async with await house.raw() as raw:
        await raw.send(*GET)
        await raw.stream.send_eof()
        await health(raw)
        assert await raw.ended()


async def test_connection_close_is_obeyed(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*GET, "Connection: close")
        status, headers, _ = await raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await raw.ended()


async def test_http_1_0_is_answered_and_closed(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send("GET /healthz HTTP/1.0")
        await health(raw)
        assert await raw.ended()


async def test_a_body_that_nobody_asked_for_does_no_harm(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*GET, "Content-Length: 5", body=b"hello")
        await health(raw)


@pytest.mark.parametrize("target", ["http://example.com/healthz", "HTTPS://[::1]:8443/healthz", "http://x/healthz?a=b"])
async def test_a_whole_address_is_taken_as_its_path(house: House, target: str) -> None:
    async with await house.raw() as raw:
        await raw.send(f"GET {target} HTTP/1.1", "Host: x")
        await health(raw)


@pytest.mark.parametrize("target", ["http://example.com", "http://example.com?q", "/?q", "/"])
async def test_an_address_without_a_path_is_the_root(house: House, target: str) -> None:
    async with await house.raw() as raw:
        await raw.send(f"GET {target} HTTP/1.1", "Host: x")
        status, _, body = await raw.answer()
        assert (status, json.loads(body)["name"]) == (200, "Konnect")


@pytest.mark.parametrize("target", ["*", "healthz", "?q", "example.com:443", "ftp://x/healthz"])
async def test_what_is_no_path_is_refused(house: House, target: str) -> None:
    async with await house.raw() as raw:
        await raw.send(f"GET {target} HTTP/1.1", "Host: x")
        await problem(raw, 400, "bad_request")
        assert await raw.ended()


@pytest.mark.parametrize(
    "path", ["/healthz/", "/HEALTHZ", "/v1/auth/", "/v1//me", "/%2e%2e/healthz", "/%00", "/\u00e9"]
)
async def test_only_the_exact_path_is_here(house: House, path: str) -> None:
    """No redirects: a client that follows one would send its token to a place it did not ask for."""
    async with await house.raw() as raw:
        await raw.send(f"GET {path} HTTP/1.1", "Host: x")
        if path.isascii():
            await problem(raw, 404, "not_found")
        else:
            await problem(raw, 400, "bad_request")


@pytest.mark.parametrize(
    "host", ["", "a b", "x" * 3_000, "\u00e9.example", "[::1", "..", "x" * 70 + ".com", "@", "a:b:c"]
)
async def test_a_strange_host_upsets_nobody(house: House, host: str) -> None:
    async with await house.raw() as raw:
        await raw.send("GET /healthz HTTP/1.1", f"Host: {host}")
        await health(raw)


# --- What is not HTTP/1.1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (("GARBAGE",), 400, "bad_request"),
        (("GET /healthz HTTP/1.1",), 400, "bad_request"),  # no Host
        (("GET /healthz HTTP/1.1", "Host: x", "Host: y"), 400, "bad_request"),
        (("GET /healthz HTTP/1.1", "Host: x", "No colon"), 400, "bad_request"),
        (("GET /healthz HTTP/1.1", "Host: x", "A: b\0c"), 400, "bad_request"),
        (("GET /healthz HTTP/1.1", "Host: x", "Content-Length: -1"), 400, "bad_request"),
        (("GET /healthz HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"), 400, "bad_request"),
        (("POST /healthz HTTP/1.1", "Host: x", "Transfer-Encoding: gzip"), 400, "bad_request"),
        (("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "Content-Length: 3"), 400, "bad_request"),
        (("GET /healthz HTTP/1.1", "Host: x", "A: " + "b" * HEAD_BYTES), 431, "head_too_large"),
        (("GET /" + "b" * HEAD_BYTES + " HTTP/1.1", "Host: x"), 431, "head_too_large"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_explained_and_the_connection_ends(
    house: House, lines: tuple[str, ...], status: int, code: str
) -> None:
    for first in (True, False):  # on a fresh connection, and on one that was used
        async with await house.raw() as raw:
            if not first:
                await raw.send(*GET)
                await health(raw)
            await raw.send(*lines)
            headers = await problem(raw, status, code)
            assert headers["connection"] == "close"
            assert await raw.ended()


async def test_http_2_is_not_spoken(house: House) -> None:
    """Hypercorn would switch; one protocol less to bound and to attack."""
    async with await house.raw() as raw:
        await raw.send(*GET, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        await health(raw)
    async with await house.raw() as raw:
        await raw.stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await problem(raw, 400, "bad_request")
        assert await raw.ended()


async def test_an_upgrade_on_a_connection_that_served_http_is_told_to_open_a_new_one(house: House) -> None:
    upgrade = (
        "GET /v1/socket HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: konnect.v1",
    )  # fmt: skip
    async with await house.raw() as raw:
        await raw.send(*GET)
        await health(raw)
        await raw.send(*upgrade)
        headers = await problem(raw, 421, "upgrade_needs_new_connection")
        assert headers["connection"] == "close"
        assert await raw.ended()


@pytest.mark.parametrize("path", ["/v1/socket", "/healthz"])
async def test_without_the_socket_s_path_or_an_upgrade_it_is_plain_http(house: House, path: str) -> None:
    extra = ("Connection: Upgrade", "Upgrade: websocket") if path == "/healthz" else ()
    async with await house.raw() as raw:
        for _ in range(2):
            await raw.send(f"GET {path} HTTP/1.1", "Host: x", *extra)
            assert (await raw.answer())[0] == 200


@given(
    junk=st.one_of(
        st.binary(max_size=200),
        st.builds(b"%b %b HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b".__mod__, st.tuples(
            st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT", b"X"]),
            st.sampled_from([b"/", b"/v1/auth/login", b"/docs", b"*", b"/v1/users/x", b"http:", b"//", b"/v1/socket"]),
            st.one_of(st.binary(max_size=60), st.sampled_from([
                b"Content-Length: 7", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: websocket",
                b"Content-Type: application/json", b"Authorization: Bearer x", b"Accept: \xff", b"Origin: \0",
                b"Content-Type: multipart/form-data; boundary=", b"Cookie: \xff=;", b"Range: bytes=0-",
            ])),
            st.binary(max_size=60),
        )),
    )
)  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_comes_is_answered_or_ended_and_breaks_nothing(tmp_path: Path, junk: bytes) -> None:
    """No crash in the log, no half answer, no connection that stays."""
    async with bare_house(tmp_path, DoorOptions(keep_alive_s=0.05, body_s=0.05)) as house:
        with capture_logs() as logs, trio.fail_after(20):
            async with await house.raw() as raw:
                await raw.stream.send_all(junk)
                await raw.stream.send_eof()
                heard = b""
                try:
                    while piece := await raw.stream.receive_some():
                        heard += piece
                except trio.BrokenResourceError:
                    pass
        assert not [line for line in logs if line["log_level"] == "error"]
        if b" 5" in heard.partition(b"\r\n")[0]:
            assert b'"unavailable"' in heard  # the only 5xx of a house without a database
        for head in heard.split(b"HTTP/1.1 ")[1:]:
            if head[:1] in (b"4", b"5"):
                assert b"application/problem+json" in head.lower()


# --- Bodies that are too long or too slow -----------------------------------------------------------------------------


async def test_a_body_over_its_limit_is_refused_by_its_length_alone(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*LOGIN, f"Content-Length: {BODY_BYTES + 1}")
        await problem(raw, 413, "too_large")
        assert await raw.ended()


async def test_a_body_of_chunks_over_its_limit_is_refused_while_it_comes(house: House) -> None:
    """The client is still sending: it must see the answer, not a reset that swallows it."""
    async with await house.raw() as raw:
        await raw.send(*LOGIN, "Transfer-Encoding: chunked")
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"

        async def send_on() -> None:
            try:
                for _ in range(40):
                    await raw.stream.send_all(chunk)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_on)
            await problem(raw, 413, "too_large")


async def test_a_body_within_its_limit_is_read(house: House) -> None:
    body = b'{"email": "%s"}' % (b"x" * (BODY_BYTES - 13))
    assert len(body) == BODY_BYTES
    async with await house.raw() as raw:
        await raw.send(*LOGIN, f"Content-Length: {len(body)}", body=body)
        await problem(raw, 400, "invalid")


async def test_a_client_that_expects_100_is_told_to_go_on(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*LOGIN, "Content-Length: 2", "Expect: 100-continue")
        assert (await raw.answer())[0] == 100
        await raw.stream.send_all(b"{}")
        await problem(raw, 400, "invalid")


async def test_a_body_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async with bare_house(tmp_path, DoorOptions(body_s=0.1)) as house, await house.raw() as raw:
        await raw.send(*LOGIN, "Content-Length: 10", body=b"{")
        await problem(raw, 408, "request_timeout")
        assert await raw.ended()


async def test_a_head_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async with bare_house(tmp_path, DoorOptions(keep_alive_s=0.2)) as house, await house.raw() as raw:
        await raw.send(*GET)
        await health(raw)
        await raw.stream.send_all(b"GET /heal")
        headers = await problem(raw, 408, "request_timeout")
        assert headers["connection"] == "close"
        assert await raw.ended()


async def test_an_idle_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    async with bare_house(tmp_path, DoorOptions(keep_alive_s=0.2)) as house, await house.raw() as raw:
        await raw.send(*GET)
        await health(raw)
        assert await raw.ended()


async def test_a_body_that_breaks_off_is_ended(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*LOGIN, "Content-Length: 10", body=b"{")
        await raw.stream.send_eof()
        await problem(raw, 400, "bad_request")
        assert await raw.ended()


async def test_a_client_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    """Hypercorn alone would wait for it for ever, shielded from every deadline."""
    async with bare_house(tmp_path, DoorOptions(send_s=0.2)) as house, await house.raw() as raw:
        request = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
        with trio.fail_after(20):
            try:
                while True:
                    await raw.stream.send_all(request * 50)  # some 5 MB of answers each time
                    if house.door.connections == 0:
                        break
            except trio.BrokenResourceError:
                pass
            await until(lambda: house.door.connections == 0)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another task will do."""
    with trio.fail_after(20):
        while not true():
            await trio.sleep(0.005)


# --- Bugs and bounds --------------------------------------------------------------------------------------------------


async def test_a_bug_is_logged_and_answered_without_a_word_of_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Accounts, claims: Claims) -> Me:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(Accounts, "me", broken)
    token = house.tokens.sign(house.accounts.new_id(), house.accounts.new_id())
    async with await house.raw() as raw:
        with capture_logs() as logs:
            await raw.send("GET /v1/me HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
            status, headers, body = await raw.answer()
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert json.loads(body)["code"] == "internal_error"
        assert b"secret" not in body
        assert b"Traceback" not in body
        assert [line["event"] for line in logs] == ["a request failed"]
        assert str(logs[0]["exc_info"]) == "the secret inside"
        await raw.send(*GET)
        await health(raw)


async def test_a_group_of_one_error_is_that_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def grouped(self: Accounts, claims: Claims) -> Me:
        raise ExceptionGroup("from a nursery", [StorageRefused("no such text")])

    monkeypatch.setattr(Accounts, "me", grouped)
    token = house.tokens.sign(house.accounts.new_id(), house.accounts.new_id())
    async with await house.raw() as raw:
        await raw.send("GET /v1/me HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
        await problem(raw, 400, "invalid")


async def test_a_crash_of_one_connection_is_its_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: object, data: bytes) -> bool:
        raise RuntimeError("a bug in the stream")

    async with await house.raw() as other, await house.raw() as raw:
        await other.send(*GET)
        await health(other)
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(stream_module.HandedStream, "send_all", broken)
            await raw.send(*GET)
            assert await raw.ended()
        assert [line["event"] for line in logs] == ["an HTTP connection crashed"]
        await other.send(*GET)
        await health(other)


async def test_what_hypercorn_itself_cannot_answer_has_a_body_too(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error before Quart's own nets: Hypercorn's answer to it is empty."""
    from quart_trio.asgi import TrioASGIHTTPConnection

    async def broken(self: object, receive: object, send: object) -> None:
        raise RuntimeError("outside of every handler")

    monkeypatch.setattr(TrioASGIHTTPConnection, "__call__", broken)
    async with await house.raw() as raw:
        with caplog.at_level(logging.ERROR, "konnect.http"):
            await raw.send(*GET)
            await problem(raw, 500, "internal_error")
        assert "Error in ASGI Framework" in caplog.text
        assert await raw.ended()


async def test_connections_are_bounded_and_the_next_is_told_to_come_back(tmp_path: Path) -> None:
    async with bare_house(tmp_path, DoorOptions(connections=2)) as house:
        async with await house.raw() as first, await house.raw() as second, await house.raw() as third:
            for raw in (first, second):
                await raw.send(*LOGIN, "Content-Length: 2", "Expect: 100-continue")
                assert (await raw.answer())[0] == 100  # its body is still to come
            await third.send(*GET)
            headers = await problem(third, 503, "unavailable")
            assert (headers["connection"], headers["retry-after"]) == ("close", "2")
            assert await third.ended()
            for raw in (first, second):
                await raw.stream.send_all(b"{}")
                await problem(raw, 400, "invalid")
        await until(lambda: house.door.connections == 0)
        async with await house.raw() as fourth:
            await fourth.send(*GET)
            await health(fourth)


async def test_a_connection_that_waits_for_nothing_makes_room_for_a_new_one(tmp_path: Path) -> None:
    """Else a few clients that keep their connections open would shut everybody else out."""
    async with (
        bare_house(tmp_path, DoorOptions(connections=2)) as house,
        await house.raw() as first, await house.raw() as second, await house.raw() as third,
    ):  # fmt: skip
        for raw in (first, second):
            await raw.send(*GET)
            await health(raw)
        await trio.testing.wait_all_tasks_blocked()
        await third.send(*GET)
        await health(third)
        assert await first.ended()
        await second.send(*GET)
        await health(second)


async def test_open_connections_are_counted(house: House) -> None:
    async with await house.raw() as raw:
        await raw.send(*GET)
        await health(raw)
        assert house.door.connections == 1
        assert [sample.value for metric in CONNECTIONS.collect() for sample in metric.samples] == [1.0]
    await until(lambda: house.door.connections == 0)


async def test_a_socket_that_died_before_it_was_served_is_let_go(house: House) -> None:
    raw = await house.raw()
    await raw.send(*GET)
    await raw.stream.aclose()
    await until(lambda: house.door.connections == 0)
    async with await house.raw() as other:
        await other.send(*GET)
        await health(other)


# --- Draining ---------------------------------------------------------------------------------------------------------


class HeldPasswords(Passwords):
    """Comparisons that end when the test says so."""

    def __init__(self) -> None:
        super().__init__(QUICK)
        self.begun = trio.Event()
        self.go_on = trio.Event()

    def _matches(self, password_hash: str, password: bytes) -> bool:
        trio.from_thread.run_sync(self.begun.set)
        trio.from_thread.run(self.go_on.wait)
        return super()._matches(password_hash, password)


async def test_draining_lets_a_request_in_flight_finish_and_closes_the_rest(database: Database, tmp_path: Path) -> None:
    passwords = HeldPasswords()
    async with (
        open_house(database, tmp_path, passwords=passwords) as house, house.client() as http, await house.raw() as idle,
    ):  # fmt: skip
        await http.post("/v1/auth/register", json=ANN)
        await idle.send(*GET)
        await health(idle)
        answers: list[int] = []

        async def login() -> None:
            wanted = {"email": "ann@example.com", "password": "correct horse"}
            answers.append((await http.post("/v1/auth/login", json=wanted)).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(login)
            await passwords.begun.wait()
            nursery.start_soon(house.door.drain, 20)
            assert await idle.ended()
            async with await house.raw() as late:
                await late.send(*GET)
                await problem(late, 503, "unavailable")
                assert await late.ended()
            assert answers == []
            passwords.go_on.set()
        assert answers == [200]
        assert house.door.connections == 0


async def test_draining_ends_at_its_deadline_whatever_is_under_way(database: Database, tmp_path: Path) -> None:
    passwords = HeldPasswords()
    async with open_house(database, tmp_path, passwords=passwords) as house, await house.raw() as raw:
        body = b'{"email": "ann@example.com", "password": "correct horse"}'
        await raw.send(*LOGIN, f"Content-Length: {len(body)}", body=body)
        await passwords.begun.wait()
        await house.door.drain(0.05)
        assert await raw.ended()
        await until(lambda: house.door.connections == 0)
        passwords.go_on.set()


async def test_draining_does_not_wait_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    async with bare_house(tmp_path, DoorOptions(send_s=3600)) as house, await house.raw() as raw:
        with trio.move_on_after(0.3):
            while True:
                await raw.stream.send_all(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert house.door.connections == 1
        with trio.fail_after(20):
            await house.door.drain(0.05)
            await until(lambda: house.door.connections == 0)


async def test_an_answer_while_draining_says_that_the_connection_ends(house: House) -> None:
    """A request that was read before the drain began."""
    async with await house.raw() as raw:
        await raw.send(*GET)
        await health(raw)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.door.drain, 20)
            assert await raw.ended()


async def test_a_door_that_is_cancelled_closes_at_once(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_database(NOWHERE) as database:
            with trio.CancelScope() as scope:
                async with open_house(database, tmp_path, DoorOptions(send_s=3600)) as house:
                    raw = await house.raw()
                    with trio.move_on_after(0.3):
                        while True:
                            await raw.stream.send_all(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                    scope.cancel()
                    await trio.sleep_forever()
            assert house.door.connections == 0
            await raw.stream.aclose()
