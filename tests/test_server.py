"""The server opens everything in order, says in one sentence what stops it, drains, and leaves nothing open."""

import gc
import os
import signal
import socket
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest
import trio

from konnect_client import open_client, register
from konnect_server import server as room
from konnect_server.caller import Caller
from konnect_server.config import Config
from konnect_server.connection import Connection
from konnect_server.reader import Reader
from konnect_server.server import StartError, konnect_version, open_server, serve
from konnect_server.session import Session
from konnect_server.walk import Walk
from storage.errors import StorageError
from storage.keys import KeysUnfit

LIMIT_S = 60.0


@pytest.fixture
def config(dsn: str, folder: Path) -> Config:
    return Config(
        port=0, database_url=dsn, data=str(folder), unsafe_no_fsync=True, drain_s=1.0, log_level="error"
    )  # fmt: skip


def with_(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, **changes)


async def until_said(said: list[str], words: str) -> None:
    with trio.fail_after(LIMIT_S):
        while not any(words in line for line in said):
            await trio.sleep(0.01)


async def connections(dsn: str) -> int:
    """How many connections the database has, besides this one."""
    with psycopg.connect(dsn, autocommit=True) as control:
        row = control.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


# --- what stops a start ---


async def test_a_busy_port_is_one_sentence_that_says_what_to_do(config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1 port {port}.*--port"):
            async with open_server(with_(config, port=port), lambda line: None):
                pass


async def test_a_database_that_is_not_durable_is_refused(config: Config) -> None:
    """The test cluster runs without fsync: only who says so explicitly may use it."""
    with pytest.raises(StartError, match="fsync is off"):
        async with open_server(with_(config, unsafe_no_fsync=False), lambda line: None):
            pass


async def test_a_database_that_is_not_there_is_one_sentence(config: Config) -> None:
    with pytest.raises(StorageError, match="no connection to PostgreSQL") as caught:
        async with open_server(with_(config, database_url="postgresql://127.0.0.1:1/nothing"), lambda line: None):
            pass
    assert "\n" not in str(caught.value)


async def test_a_keys_folder_that_cannot_be_is_one_sentence(config: Config, folder: Path) -> None:
    (folder / "a file").write_text("not a folder")
    with pytest.raises(KeysUnfit) as caught:
        async with open_server(with_(config, keys=str(folder / "a file")), lambda line: None):
            pass
    assert "\n" not in str(caught.value)


async def test_serve_turns_what_beneath_stops_it_into_a_start_error(config: Config) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartError, match="no connection to PostgreSQL"), allow_unwrapped=True, flatten_subgroups=True
    ):
        await serve(
            with_(config, database_url="postgresql://127.0.0.1:1/nothing"), dev=False, announce=lambda line: None
        )


async def test_what_was_opened_is_closed_when_a_later_step_fails(config: Config, dsn: str, folder: Path) -> None:
    """The port is free again, and no connection to the database stays (an unclosed socket fails the test)."""
    (folder / "a file").write_text("not a folder")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for broken in ({"keys": str(folder / "a file")}, {"unsafe_no_fsync": False}):
        with pytest.raises((KeysUnfit, StartError)):
            async with open_server(with_(config, port=port, **broken), lambda line: None):
                pass
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert await connections(dsn) == 0


# --- serving ---


async def test_it_serves_http_on_the_port_that_it_says(config: Config) -> None:
    async with open_server(config, lambda line: None) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200


async def test_web_apps_of_allowed_origins_may_call(config: Config) -> None:
    app = "https://app.example.com"
    async with (
        open_server(with_(config, allowed_origins=(app,)), lambda line: None) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        answer = await http.get("/v1/auth", headers={"Origin": app})
        assert answer.headers["Access-Control-Allow-Origin"] == app
        answer = await http.get("/v1/auth", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in answer.headers


def alive() -> list[str]:
    """What a connection consists of, by type."""
    kinds = (Connection, Caller, Session, Walk, Reader)
    return sorted(type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds))


async def test_who_has_gone_leaves_nothing_for_the_garbage_collector(config: Config) -> None:
    """Thousands who went would else stay in memory until some later collection, which then stops everybody."""
    async with open_server(config, lambda line: None) as server, httpx.AsyncClient(base_url=server.url) as http:
        account = await register(http, "ann@example.com", "a long password", "Ann")
        gc.collect()
        others = alive()  # of tests before this one
        gc.disable()
        try:
            for device in range(3):
                async with open_client(server.url, token=account, device=f"device {device}") as client:
                    await client.wait_synced()
                    assert alive().count("Walk") > others.count("Walk")
            with trio.fail_after(LIMIT_S):
                while len(alive()) > len(others):
                    await trio.sleep(0.01)
        finally:
            gc.enable()


async def test_nothing_stays_open_behind_it(config: Config, dsn: str) -> None:
    async with open_server(config, lambda line: None) as server:
        port = int(server.url.rsplit(":", 1)[1])
        stays = await trio.open_tcp_stream("127.0.0.1", port)
    async with stays:
        with trio.fail_after(LIMIT_S):
            assert await stays.receive_some() == b"", "whoever was still there is hung up on"
    with socket.create_server(("127.0.0.1", port)):
        pass
    with trio.fail_after(LIMIT_S):
        while await connections(dsn):
            await trio.sleep(0.01)


async def test_while_it_drains_it_is_not_ready(config: Config) -> None:
    """Over a connection that was open before: new ones are not taken."""
    async with open_server(config, lambda line: None) as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/readyz")).status_code == 200
        server.draining = True
        answer = await http.get("/readyz")
        assert (answer.status_code, "draining" in answer.text) == (503, True)


async def test_a_drain_without_anybody_is_quick(config: Config) -> None:
    async with open_server(with_(config, drain_s=300.0), lambda line: None) as server:
        with trio.fail_after(LIMIT_S):
            await server.drain()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("chat.example.com", "http://chat.example.com:80"),
    ],
)
def test_its_address_is_one_that_a_person_can_open(host: str, url: str) -> None:
    assert room._url(host, 80) == url


async def test_a_public_address_is_announced_instead(config: Config) -> None:
    async with open_server(with_(config, public_url="https://chat.example.com"), lambda line: None) as server:
        assert server.url == "https://chat.example.com"


def test_it_has_a_version() -> None:
    assert konnect_version()


# --- signals ---


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_it(config: Config, sign: signal.Signals) -> None:
    said: list[str] = []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(config, dev=False, announce=said.append))
            await until_said(said, "is ready on http://127.0.0.1:")
            os.kill(os.getpid(), sign)
    assert "going down" in said[-1]


async def test_a_second_signal_ends_it_at_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    draining = trio.Event()

    async def never_ends(self: object) -> None:
        draining.set()
        await trio.sleep_forever()

    monkeypatch.setattr(room.Server, "drain", never_ends)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(config, dev=False, announce=said.append))
            await until_said(said, "is ready on")
            os.kill(os.getpid(), signal.SIGTERM)
            await draining.wait()
            os.kill(os.getpid(), signal.SIGTERM)


# --- dev ---


async def test_dev_makes_two_people_who_know_each_other_once(config: Config, dsn: str) -> None:
    """Twice in a row: the second start finds what the first made."""
    for _ in range(2):
        said: list[str] = []
        async with open_server(config, said.append) as server:
            await room._welcome(server, said.append)
            text = "\n".join(said)
            assert f"--url {server.url}" in text
            assert "konnect chat ann@example.com" in text
            assert "konnect chat bob@example.com" in text
    with psycopg.connect(dsn, autocommit=True) as control:
        people = control.execute("select email from account order by email").fetchall()
        talks = control.execute("select kind from conversation").fetchall()
    assert [row[0] for row in people] == ["ann@example.com", "bob@example.com"]
    assert [row[0] for row in talks] == ["direct"]
