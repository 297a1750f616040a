"""The command: what it teaches, what it prints, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio

from konnect_server import __version__
from konnect_server.config import Config, keys, load_config
from storage.migrate import FOLDER

ROOT = Path(__file__).parent.parent
COMMANDS = ["serve", "dev", "migrate", "check-config", "user", "version", "chat"]
MIGRATIONS = [path.name for path in sorted(FOLDER.glob("*.sql"))]


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """What went wrong: exactly one line on stderr that is no traceback."""
        assert self.code != 0
        lines = [line for line in self.err.splitlines() if line.startswith("konnect: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("konnect: ")


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")} | dict(more)


async def konnect(*arguments: str, **environ: str) -> Ended:
    """Run the command to its end."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "konnect_server", *arguments],
            cwd=ROOT, env=_environment(environ), capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class Running(NamedTuple):
    process: trio.Process
    url: str
    said: list[str]

    async def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(sign)
        with trio.fail_after(30):
            return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str, **environ: str) -> AsyncIterator[Running]:
    """A server on a free port, once it said where it is."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "konnect_server", *arguments, "--port", "0"],
        cwd=ROOT, env=_environment(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    found = trio.Event()
    complaints = bytearray()

    async def read() -> None:
        text = b""
        async for chunk in process.stdout:  # type: ignore[union-attr]
            text += chunk
            said[:] = text.decode().splitlines()
            if b"is ready on" in text:
                found.set()
        found.set()

    async def drain() -> None:
        async for chunk in process.stderr:  # type: ignore[union-attr]
            complaints.extend(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(drain)
        try:
            with trio.fail_after(60):
                await found.wait()
            address = re.search(r"is ready on (http://\S+)", "\n".join(said))
            assert address is not None, complaints.decode()
            yield Running(process, address[1], said)
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.terminate()
                    with trio.move_on_after(20):
                        await process.wait()
                    process.kill()
                await process.wait()


class TestTeaching:
    async def test_no_command_shows_what_there_is(self) -> None:
        ended = await konnect()
        assert ended.code == 2
        for command in COMMANDS:
            assert command in ended.out

    @pytest.mark.parametrize("command", COMMANDS)
    async def test_each_command_has_examples(self, command: str) -> None:
        ended = await konnect(command, "--help")
        assert ended.code == 0
        assert f"konnect {command}" in ended.out.split("Example", 1)[-1]

    async def test_every_setting_is_a_flag_with_its_meaning(self) -> None:
        ended = await konnect("serve", "--help")
        words = " ".join(ended.out.replace("-\n", "-").split())
        for key in keys():
            assert f"{key.flag} " in words
            assert key.meaning.split()[0] in words

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["serf"], "No such command 'serf'"),
            (["serve", "--prot", "1"], "No such option '--prot'"),
            (["serve", "extra"], "Got unexpected extra argument"),
            (["migrate", "--config"], "'--config' requires an argument"),
        ],
    )
    async def test_a_slip_is_answered_in_one_line(self, arguments: list[str], said: str) -> None:
        ended = await konnect(*arguments)
        assert ended.code == 2
        assert said in ended.sentence()
        assert "--help explains" in ended.err


class TestVersion:
    async def test_it_says_which(self) -> None:
        ended = await konnect("version")
        assert ended.code == 0
        assert ended.out.startswith(f"Konnect {__version__} (Python {sys.version.split()[0]}")
        assert json.loads((await konnect("version", "--json")).out)["konnect"] == __version__


class TestCheckConfig:
    async def test_it_shows_every_setting_its_value_and_its_source(self, tmp_path: Path) -> None:
        file = tmp_path / "konnect.toml"
        file.write_text("port = 1\nlog_level = 'debug'\n")
        arguments = ["check-config", "--config", str(file), "--port", "2"]
        ended = await konnect(*arguments, KONNECT_HOST="::1", KONNECT_DATABASE_URL="postgresql://u:hunter2@h/d")
        rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in ended.out.splitlines()}
        assert set(rows) == {key.name for key in keys()}
        assert rows["port"] == ["2", "--port"]
        assert rows["host"] == ['"::1"', "KONNECT_HOST"]
        assert rows["log_level"] == ['"debug"', f"log_level in {file}"]
        assert rows["database_url"] == ["(hidden)", "KONNECT_DATABASE_URL"]
        assert rows["drain_s"] == ["8.0", "default"]
        answer = json.loads((await konnect(*arguments, "--json")).out)
        assert answer["config"]["port"] == 2
        assert answer["sources"]["port"] == "--port"
        assert "hunter2" not in ended.out + ended.err

    async def test_its_example_is_a_configuration(self, tmp_path: Path) -> None:
        file = tmp_path / "konnect.toml"
        file.write_text((await konnect("check-config", "--example")).out)
        assert load_config(path=file) == Config()

    async def test_what_is_wrong_is_one_sentence(self, tmp_path: Path) -> None:
        ended = await konnect("check-config", KONNECT_PORT="x")
        assert ended.code == 2
        assert ended.sentence() == 'KONNECT_PORT is "x", but must be a whole number from 0 to 65535'
        (tmp_path / "k.toml").write_text("prot = 1")
        ended = await konnect("serve", "--config", str(tmp_path / "k.toml"))
        assert ended.sentence().endswith("has the unknown key prot: did you mean port?")
        assert (await konnect("dev", KONNECT_PROT="1")).sentence().endswith("did you mean KONNECT_PORT?")


class TestMigrate:
    async def test_it_applies_what_is_missing(self, empty_dsn: str) -> None:
        environ = {"KONNECT_DATABASE_URL": empty_dsn}
        ended = await konnect("migrate", "--check", "--json", **environ)
        assert (ended.code, json.loads(ended.out)) == (1, {"missing": MIGRATIONS})
        ended = await konnect("migrate", **environ)
        assert (ended.code, ended.out.splitlines()) == (0, MIGRATIONS)
        ended = await konnect("migrate", **environ)
        assert (ended.code, ended.out) == (0, "The schema is up to date.\n")
        assert json.loads((await konnect("migrate", "--json", **environ)).out) == {"applied": []}
        assert (await konnect("migrate", "--check", **environ)).code == 0

    async def test_the_embedded_database_too(self, folder: Path) -> None:
        environ = {"KONNECT_DATA": str(folder), "KONNECT_UNSAFE_NO_FSYNC": "1"}
        assert (await konnect("migrate", **environ)).out.splitlines() == MIGRATIONS
        assert (await konnect("migrate", "--check", **environ)).code == 0

    async def test_a_database_that_does_not_answer_is_one_sentence(self) -> None:
        ended = await konnect("migrate", "--database-url", "postgresql://nobody@127.0.0.1:1/x")
        assert ended.code == 1
        assert "no connection to PostgreSQL" in ended.sentence()


class TestUser:
    async def test_the_operator_makes_people_and_lets_them_in(self, dsn: str, folder: Path) -> None:
        environ = {
            "KONNECT_DATABASE_URL": dsn, "KONNECT_UNSAFE_NO_FSYNC": "true", "KONNECT_DATA": str(folder),
        }  # fmt: skip

        async def user(*arguments: str) -> dict[str, Any]:
            ended = await konnect("user", *arguments, "--json", **environ)
            assert ended.code == 0, ended.err
            found: dict[str, Any] = json.loads(ended.out)
            return found

        made = await user("create", "ann@example.com", "--name", "Ann")
        assert (made["email"], made["name"], made["standing"], made["role"]) == (
            "ann@example.com", "Ann", "active", "person",
        )  # fmt: skip
        assert (await user("role", "Ann@example.com", "admin"))["role"] == "admin"
        async with running("serve", **environ) as server, httpx.AsyncClient(base_url=server.url) as http:
            code = (await user("code", made["id"]))["code"]
            signed_in = await http.post("/v1/auth/verify", json={"email": "ann@example.com", "code": code})
            assert (signed_in.status_code, signed_in.json()["user"]["role"]) == (200, "admin")
            deleted = await user("delete", "ann@example.com", "--yes")
            assert (deleted["standing"], deleted["ended"]) == ("leaving", 1)
            refresh = {"refresh_token": signed_in.json()["refresh_token"]}
            assert (await http.post("/v1/auth/refresh", json=refresh)).status_code == 401

    async def test_what_the_operator_cannot_do_is_one_sentence(self, dsn: str, empty_dsn: str, folder: Path) -> None:
        environ = {"KONNECT_DATABASE_URL": dsn, "KONNECT_DATA": str(folder)}
        await konnect("user", "create", "ann@example.com", "--name", "Ann", **environ)
        for arguments, said in (
            (["create", "Ann@example.com", "--name", "Ann"], "has an account already"),
            (["create", "no address", "--name", "Ann"], "no address"),
            (["suspend", "nobody@example.com"], "no account of nobody@example.com"),
            (["restore", "0198f7a0-0000-7000-8000-000000000000"], "there is no account of"),
            (["role", "ann@example.com", "king"], "'king' is not one of"),
            (["code", "ann@example.com"], "the keys of the servers are needed"),
        ):
            ended = await konnect("user", *arguments, **environ)
            assert said in ended.sentence()
        ended = await konnect("user", "suspend", "ann@example.com", **{**environ, "KONNECT_DATABASE_URL": empty_dsn})
        assert "konnect migrate" in ended.sentence()
        asked = await konnect("user", "delete", "ann@example.com", **environ)
        assert (asked.code, "Delete the account" in asked.err) == (130, True), "nobody says yes on a closed input"

    async def test_the_operator_works_beside_a_server_with_its_own_database(self, folder: Path) -> None:
        """The embedded one is shared, and stays when the command has ended."""
        environ = {"KONNECT_DATA": str(folder)}
        async with running("dev", **environ) as server, httpx.AsyncClient(base_url=server.url) as http:
            suspended = await konnect("user", "suspend", "ann@example.com", **environ)
            assert suspended.out == "ann@example.com is suspended; sign-ins that ended: 1.\n", suspended.err
            login = {"email": "ann@example.com", "password": "konnect-demo"}
            assert (await http.post("/v1/auth/login", json=login)).json()["code"] == "account_suspended"
            restored = await konnect("user", "restore", "ann@example.com", **environ)
            assert restored.out == "ann@example.com is active.\n"
            assert (await http.post("/v1/auth/login", json=login)).status_code == 200
            assert (await http.get("/dev/mail")).status_code == 200
            assert any("/dev/mail" in line for line in server.said)
            assert await server.end() == 0


class TestServe:
    async def test_it_serves_until_sigterm_and_ends_with_0(self, dsn: str, folder: Path) -> None:
        environ = {"KONNECT_DATABASE_URL": dsn, "KONNECT_UNSAFE_NO_FSYNC": "true", "KONNECT_DATA": str(folder)}
        async with running("serve", **environ) as server, httpx.AsyncClient(base_url=server.url) as http:
            for path in ("/healthz", "/readyz", "/", "/openapi.json"):
                assert (await http.get(path)).status_code == 200, path
            assert "konnect_" in (await http.get("/metrics")).text
            assert await server.end() == 0
        keys_folder = folder / "keys"
        assert {oct(path.stat().st_mode)[-3:] for path in keys_folder.iterdir()} == {"600"}

    async def test_ctrl_c_is_as_good(self, dsn: str, folder: Path) -> None:
        environ = {"KONNECT_DATABASE_URL": dsn, "KONNECT_UNSAFE_NO_FSYNC": "true", "KONNECT_DATA": str(folder)}
        async with running("serve", **environ) as server:
            assert await server.end(signal.SIGINT) == 0

    async def test_the_embedded_database_is_allowed_and_said_to_be_for_one_machine(self, folder: Path) -> None:
        async with running("serve", "--data", str(folder)) as server:
            assert sum("meant for one machine" in line for line in server.said) == 1
            assert await server.end() == 0
        assert not (folder / "postgres" / "postmaster.pid").exists(), "PostgreSQL was stopped too"

    async def test_a_busy_port_is_one_sentence(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = await konnect("serve", "--port", str(port), "--data", str(folder))
        assert ended.code == 1
        assert f"127.0.0.1 port {port}: Address already in use" in ended.sentence()

    async def test_a_database_that_does_not_answer_is_one_sentence(self, folder: Path) -> None:
        url = "postgresql://nobody@127.0.0.1:1/x"
        ended = await konnect("serve", "--port", "0", "--database-url", url, "--data", str(folder))
        assert ended.code == 1
        assert "no connection to PostgreSQL" in ended.sentence()

    async def test_a_database_that_could_lose_what_was_acknowledged_is_refused(self, dsn: str, folder: Path) -> None:
        ended = await konnect("serve", "--port", "0", "--database-url", dsn, "--data", str(folder))
        assert ended.code == 1
        assert "fsync is off" in ended.sentence()

    async def test_a_data_folder_that_cannot_be_used_is_one_sentence(self, folder: Path) -> None:
        (folder / "data").write_text("a file")
        ended = await konnect("serve", "--port", "0", "--data", str(folder / "data"))
        assert ended.code == 1
        assert "data" in ended.sentence()


class TestDev:
    async def test_two_demo_people_can_sign_in(self, folder: Path) -> None:
        async with running("dev", "--data", str(folder), "--unsafe-no-fsync") as server:
            said = "\n".join(server.said)
            async with httpx.AsyncClient(base_url=server.url) as http:
                for email in ("ann@example.com", "bob@example.com"):
                    assert f"konnect chat {email}" in said
                    answer = await http.post("/v1/auth/login", json={"email": email, "password": "konnect-demo"})
                    assert answer.status_code == 200
            assert await server.end() == 0
        async with running("dev", "--data", str(folder), "--unsafe-no-fsync") as server:
            assert await server.end() == 0, "a second time the demo people are there already"
