"""A Konnect server of the bench's own: a process with its embedded, durable PostgreSQL in a temporary folder."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import structlog
import trio

from bench import processes
from storage.embedded import EmbeddedPostgres, open_embedded

START_WITHIN_S: Final = 90.0
STOP_WITHIN_S: Final = 20.0

# Above any load of ours: a benchmark measures the server, not its limits.
LIFTED: Final = {
    "messages_per_s": "1000000",
    "messages_burst": "1000000",
    "commands_per_s": "1000000",
    "commands_burst": "1000000",
    "sign_ins_per_s": "1000000",
    "sign_ins_burst": "1000000",
    "accept_backlog": "4096",
    "log_level": "warning",
    "suggest_training_hour": "-1",
}
_START: Final = "from konnect_server.cli import main; main()"


class ServerFailed(Exception):
    """The server did not start, or is gone; the text says what it said last."""


class ServerProcess:
    """One server that can be killed and started again on the same port and data. See :func:`open_server`."""

    def __init__(self, folder: Path, settings: Mapping[str, str], core: int | None) -> None:
        self.folder, self._settings, self._core = folder, dict(settings), core
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def postgres_pid(self) -> int | None:
        """The process id of its PostgreSQL; None when there is none now."""
        try:
            return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def cost(self) -> processes.Cost | None:
        """CPU and memory so far; None where they cannot be told."""
        return processes.cost(self.pid, self.postgres_pid)

    async def start(self) -> None:
        """Start the process and wait until it says that it is ready.

        Raises:
            ServerFailed: It ended, or was not ready in time.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")}
        environment |= {f"KONNECT_{name.upper()}": value for name, value in self._settings.items()}
        environment |= {"KONNECT_PORT": str(self.port), "KONNECT_DATA": str(self.folder)}
        environment.setdefault("PYTHONMALLOC", "malloc")  # as the image has it (docs/deployment.md, "Memory")
        self._process = await trio.to_thread.run_sync(_spawn, environment, self._log, self._core)
        with trio.move_on_after(START_WITHIN_S):
            async with httpx.AsyncClient(base_url=self.url) as http:
                while True:
                    self._check()
                    with suppress(httpx.HTTPError):
                        if (await http.get("/readyz", timeout=5)).status_code == 200:
                            return
                    await trio.sleep(0.05)
        raise ServerFailed(f"the server was not ready within {START_WITHIN_S:g} s: {self._last_words()}")

    async def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out; its PostgreSQL stays."""
        assert self._process is not None
        self._process.kill()
        await trio.to_thread.run_sync(self._process.wait)

    def kill_postgres(self) -> None:
        """SIGKILL to PostgreSQL's first process; the others end by themselves, and the server starts it again."""
        pid = self.postgres_pid
        if pid is None:
            raise ServerFailed("there is no PostgreSQL to kill")
        os.kill(pid, signal.SIGKILL)

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL when that does not help; its exit status."""
        if self._process is None:
            return None
        self._process.terminate()
        with trio.move_on_after(STOP_WITHIN_S):
            while self._process.poll() is None:
                await trio.sleep(0.02)
        if self._process.poll() is None:
            await self.kill()
        return self._process.returncode

    def words(self) -> str:
        """All that the server has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _check(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ServerFailed(f"the server ended with {self._process.returncode}: {self._last_words()}")

    def _last_words(self) -> str:
        return " ".join(self.words().splitlines()[-5:]) or "it said nothing"


@asynccontextmanager
async def open_server(
    settings: Mapping[str, str] | None = None, core: int | None = None
) -> AsyncIterator[ServerProcess]:
    """A fresh server for the length of a block; afterwards nothing of it is left.

    Args:
        settings: Configuration keys, as in ``konnect_server/config.py``.
        core: Pin the server to this core and its PostgreSQL to another, where there is one (Linux only).

    Raises:
        ServerFailed: It did not start.
    """
    folder = await trio.to_thread.run_sync(_make_folder)
    server = ServerProcess(folder, settings or {}, core)
    try:
        await server.start()
        if core is not None and (pid := server.postgres_pid) is not None:
            processes.pin_tree(pid, other_core(core))
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()
            await _stop_postgres(server)
            await trio.to_thread.run_sync(shutil.rmtree, folder, True)


@asynccontextmanager
async def open_database_of(server: ServerProcess) -> AsyncIterator[str]:
    """libpq's connection string of the server's database, for the length of a block."""
    async with open_embedded(server.folder) as embedded:
        yield embedded.dsn


def quiet_logs() -> None:
    """Log only what is grave, to standard error: standard output is for results."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def other_core(core: int) -> int:
    """A core that this process may use besides *core*; *core* itself when there is no other."""
    return next((one for one in sorted(os.sched_getaffinity(0)) if one != core), core)


async def _stop_postgres(server: ServerProcess) -> None:
    """Stop a PostgreSQL that outlived its server: attach to it, and leave as the last one."""
    if server.postgres_pid is not None:
        left = EmbeddedPostgres(server.folder)
        await left.start()
        await left.stop()


def _spawn(environment: dict[str, str], log: Path, core: int | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _START, "serve"]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    if core is not None:
        processes.pin([process.pid], core)
    return process


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="konnect-bench-"))
    folder.chmod(0o755)  # under root, PostgreSQL's own user must be able to enter
    return folder


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
