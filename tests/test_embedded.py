"""The PostgreSQL that comes along: started, shared, killed, found again, stopped."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from storage import embedded as module
from storage.database import durability, open_database
from storage.embedded import EmbeddedError, EmbeddedPostgres, open_embedded
from storage.errors import StorageUnavailable
from tests.conftest import make_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may enter everything")

ROOT = Path(__file__).parent.parent
KONNECT = """
import sys, trio
from pathlib import Path
from storage.embedded import open_embedded
async def main():
    async with open_embedded(Path(sys.argv[1]), unsafe_no_fsync=True) as server:
        print(server.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def _ask(dsn: str, sql: str = "select 42") -> object:
    async with open_database(dsn, size=1) as database:
        row = await database.fetch_one(sql)
        assert row is not None
        return row[0]


async def _until(condition: Callable[[], object]) -> None:
    """Wait for what another process does; no event comes from there."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.02)


def _gone(pid: int) -> bool:
    """True when *pid* runs no more: no such process, or a zombie whose parent does not reap."""
    return "postgres" not in module._command_line(pid)


def _logs(folder: Path) -> list[Path]:
    return [folder / "postgres.start.log", *(folder / "postgres" / "log").glob("*.log")]


@asynccontextmanager
async def _other_konnect(folder: Path) -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    """Another process on the same folder, and the id of the PostgreSQL that it uses."""
    process = subprocess.Popen([sys.executable, "-c", KONNECT, str(folder)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        line = await trio.to_thread.run_sync(process.stdout.readline)
        yield process, int(line)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_it_starts_durable_answers_and_stops_clean(folder: Path) -> None:
    async with open_embedded(folder) as server:
        pid = server.pid
        assert pid is not None
        async with open_database(server.dsn) as database:
            assert await durability(database) == []
            assert await database.fetch_one("select current_setting('listen_addresses')") == ("",)
            assert await database.fetch_one("select current_setting('unix_socket_permissions')") == ("0700",)
            await database.execute("create table kept as select 7 as n")
        assert oct((folder / "postgres").stat().st_mode)[-3:] == "700"
    assert _gone(pid)
    assert not (folder / "postgres" / "postmaster.pid").exists()
    async with open_embedded(folder) as server:
        assert await _ask(server.dsn, "select n from kept") == 7


@pytest.mark.parametrize(("memory_mb", "buffers"), [(256, 128), (1024, 128), (2048, 256), (4096, 512), (65536, 512)])
def test_its_cache_is_an_eighth_of_the_memory_within_bounds(memory_mb: int, buffers: int) -> None:
    assert module.buffers_mb(memory_mb << 20) == buffers


@pytest.mark.parametrize(("limit", "buffers"), [("1073741824\n", "128MB"), ("max\n", None), (None, None)])
async def test_a_containers_limit_is_its_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, buffers: str | None
) -> None:
    folder.mkdir(exist_ok=True)
    if limit is not None:
        (folder / "memory.max").write_text(limit)
    monkeypatch.setattr(module, "_CGROUP_MEMORY", folder / "memory.max")
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    async with open_embedded(folder / "data", unsafe_no_fsync=True) as server:
        shown = await _ask(server.dsn, "select current_setting('shared_buffers')")
        assert shown == (buffers or f"{module.buffers_mb(machine)}MB")


async def test_two_folders_are_two_servers(folder: Path) -> None:
    async with (
        open_embedded(folder / "a", unsafe_no_fsync=True) as one,
        open_embedded(folder / "b", unsafe_no_fsync=True) as two,
    ):
        assert one.pid != two.pid
        await _ask(one.dsn, "select pg_notify('x', '')")
        assert await _ask(two.dsn) == 42


async def test_two_processes_share_one_folder_and_the_last_one_stops_it(folder: Path) -> None:
    async with _other_konnect(folder) as (other, pid):
        async with open_embedded(folder, unsafe_no_fsync=True) as server:
            assert server.pid == pid
            assert await _ask(server.dsn) == 42
        assert not _gone(pid), "the other one still uses it"
        other.send_signal(signal.SIGINT)
        await trio.to_thread.run_sync(other.wait)
        assert _gone(pid)


async def test_who_started_it_may_leave_first(folder: Path) -> None:
    async with _other_konnect(folder) as (other, pid):
        async with open_embedded(folder, unsafe_no_fsync=True) as server:
            other.send_signal(signal.SIGINT)
            await trio.to_thread.run_sync(other.wait)
            assert server.pid == pid
            assert await _ask(server.dsn) == 42
        assert _gone(pid)


async def test_two_that_start_at_once_start_one(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder, unsafe_no_fsync=True) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(server.start)
    pids = {server.pid for server in servers}
    assert len(pids) == 1
    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(server.stop)
    assert all(pid is not None and _gone(pid) for pid in pids)


async def test_a_killed_server_is_started_again_with_everything_committed(folder: Path) -> None:
    async with open_embedded(folder) as server:
        dsn = server.dsn
        async with open_database(dsn) as database:
            await database.execute("create table kept as select 1 as n")
        for _ in range(2):
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with trio.fail_after(20):
                while True:
                    try:
                        assert await _ask(dsn, "select count(*) from kept") == 1
                    except StorageUnavailable:
                        await trio.sleep(0.05)
                    else:
                        if server.pid != pid:
                            break
            assert server.dsn == dsn


async def test_the_death_of_a_server_that_another_process_started_is_noticed_too(folder: Path) -> None:
    async with _other_konnect(folder) as (other, pid), open_embedded(folder, unsafe_no_fsync=True) as server:
        other.kill()
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: server.pid not in (pid, None))
        await _until(lambda: server._noted_status() == "ready")
        assert await _ask(server.dsn) == 42


async def test_a_killed_konnect_leaves_a_server_that_the_next_one_takes_over(folder: Path) -> None:
    async with _other_konnect(folder) as (other, pid):
        other.kill()
        await trio.to_thread.run_sync(other.wait)
        assert not _gone(pid)
        async with open_embedded(folder, unsafe_no_fsync=True) as server:
            assert server.pid == pid
            assert await _ask(server.dsn) == 42
        assert _gone(pid)


@pytest.mark.parametrize("whose", ["nobody", "somebody else"])
async def test_what_a_power_cut_leaves_is_cleared_away(folder: Path, whose: str) -> None:
    """Hazard B10: a stale pid file and a stale socket lock, perhaps with the number of a living process."""
    async with _other_konnect(folder) as (other, pid):
        other.kill()
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: _gone(pid))
    number = pid if whose == "nobody" else os.getpid()
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        left = folder / "postgres" / name
        lines = left.read_text().splitlines()
        left.write_text("\n".join([str(number), *lines[1:]]) + "\n")
    assert (folder / "postgres" / ".s.PGSQL.5432").is_socket()
    async with open_embedded(folder, unsafe_no_fsync=True) as server:
        assert server.pid not in (pid, os.getpid())
        assert await _ask(server.dsn) == 42


async def test_backends_that_outlive_a_killed_server_are_waited_for(folder: Path) -> None:
    """They hold its shared memory, and PostgreSQL refuses to start until they are gone."""
    async with _other_konnect(folder) as (other, pid), open_database(EmbeddedPostgres(folder).dsn) as database:
        backend = await database.fetch_one("select pg_backend_pid()")
        assert backend is not None
        os.kill(backend[0], signal.SIGSTOP)
        other.kill()
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: _gone(pid))

        async def let_go() -> None:
            await _until(lambda: any(module._STILL_THERE in log.read_text() for log in _logs(folder)))
            os.kill(backend[0], signal.SIGCONT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go)
            async with open_embedded(folder, unsafe_no_fsync=True) as server:
                assert await _ask(server.dsn) == 42


async def test_a_set_up_that_was_cut_off_is_begun_again(folder: Path) -> None:
    (folder / "postgres.new" / "base").mkdir(parents=True)
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with open_embedded(folder, unsafe_no_fsync=True) as server:
        assert await _ask(server.dsn) == 42
    assert not (folder / "postgres.new").exists()


@pytest.mark.parametrize("name", ["it's a \"quoted\" folder, with a comma", "lang-" + "g" * 120])
async def test_any_path_will_do(folder: Path, name: str) -> None:
    """A Unix socket's path has at most some hundred bytes; longer ones get a short folder of their own."""
    async with open_embedded(folder / name, unsafe_no_fsync=True) as server:
        assert await _ask(server.dsn) == 42
        sockets = server._sockets
        async with _other_konnect(folder / name) as (_, pid):
            assert pid == server.pid
    if sockets != server.data:
        assert oct(sockets.stat().st_mode)[-3:] == "700"
        sockets.rmdir()


class TestRefusals:
    """Each is one plain sentence."""

    async def _refused(self, folder: Path, said: str) -> None:
        with pytest.raises(EmbeddedError, match=said) as caught:
            async with open_embedded(folder):
                pass
        assert "\n" not in str(caught.value)

    async def test_a_file_in_the_way(self, folder: Path) -> None:
        (folder / "data").write_text("")
        await self._refused(folder / "data", "cannot be used: Not a directory")

    @not_as_root
    async def test_a_folder_that_may_not_be_written(self, folder: Path) -> None:
        (folder / "data").mkdir(mode=0o500)
        await self._refused(folder / "data", "cannot be used: Permission denied")

    @needs_root
    async def test_a_home_under_root(self, folder: Path) -> None:
        """PostgreSQL runs as another user then, who may not enter; nobody's folders are opened for it."""
        (folder / "home").mkdir(mode=0o700)
        await self._refused(folder / "home" / "data", f"may not enter {folder}/home, where the data folder is")
        assert oct((folder / "home").stat().st_mode)[-3:] == "700"

    @needs_root
    async def test_programs_in_a_home_under_root(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "home").mkdir(mode=0o700)
        programs = module._programs()
        (folder / "home" / "bin").symlink_to(programs)
        monkeypatch.setattr(module, "_programs", lambda: folder / "home" / "bin")
        await self._refused(folder / "data", f"may not enter {folder}/home, where PostgreSQL's programs are")

    async def test_a_database_of_another_version(self, folder: Path) -> None:
        async with open_embedded(folder, unsafe_no_fsync=True):
            pass
        (folder / "postgres" / "PG_VERSION").write_text("16\n")
        await self._refused(folder, "did not start: .*incompatible with server")

    async def test_no_programs(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        await self._refused(folder, "not installed here: give Konnect a database")

    @needs_root
    async def test_no_system_user_to_be_had(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SYSTEM_USER", "not a user name")
        await self._refused(folder, "could not be made: run Konnect as a normal user")

    async def test_a_start_that_fails_half_way_leaves_nothing_running(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[int] = []

        async def fail(server: EmbeddedPostgres) -> None:
            started.append(server.pid or 0)
            raise EmbeddedError("as planned")

        monkeypatch.setattr(EmbeddedPostgres, "_ensure_database", fail)
        await self._refused(folder, "as planned")
        assert _gone(started[0])

    async def test_a_socket_folder_that_somebody_else_made(self, folder: Path) -> None:
        server = EmbeddedPostgres(folder / ("x" * 120))
        sockets = Path("/tmp") / f"konnect-{hashlib.sha256(os.fsencode(server.data)).hexdigest()[:16]}"
        sockets.mkdir(mode=0o777)
        sockets.chmod(0o777)
        try:
            await self._refused(server.folder, "is not a private folder of the user")
        finally:
            sockets.rmdir()


@needs_root
async def test_root_runs_a_users_folder_as_that_user(folder: Path) -> None:
    """First `make run` as oneself, then with sudo: the database stays its owner's."""
    nobody = pwd.getpwnam("nobody")
    async with open_embedded(folder, unsafe_no_fsync=True):
        pass
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    async with open_embedded(folder, unsafe_no_fsync=True) as server:
        assert await _ask(server.dsn) == 42
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody.pw_uid
    assert {path.stat().st_uid for path in folder.iterdir()} == {nobody.pw_uid}


@needs_root
def test_a_normal_user_runs_it_as_oneself() -> None:
    nobody = pwd.getpwnam("nobody")
    folder = make_folder()
    command = [sys.executable, "-c", "import storage.embedded, trio; print(trio.__file__)"]
    who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": list[int](), "cwd": ROOT}
    try:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        try:
            if subprocess.run(command, capture_output=True, check=False, **who).returncode:  # type: ignore[call-overload]
                pytest.skip("this Python lies in a home that other users may not enter")
        except PermissionError:
            pytest.skip("this Python lies in a home that other users may not enter")
        script = KONNECT.replace("await trio.sleep_forever()", "")
        done = subprocess.run(  # type: ignore[call-overload]
            [sys.executable, "-c", script, str(folder)], capture_output=True, check=False, text=True, **who
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "postgres").stat().st_uid == nobody.pw_uid
    finally:
        shutil.rmtree(folder)


async def test_its_log_is_kept_in_its_folder(folder: Path) -> None:
    async with open_embedded(folder, unsafe_no_fsync=True) as server:
        await _ask(server.dsn)
        assert list((folder / "postgres" / "log").glob("postgres-*.log"))
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["postgres", "postgres.lock", "postgres.start.log", "postgres.users"]
