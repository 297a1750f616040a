"""A peer as the benchmarks see it: a process of its own on a port, its cost, its end; its database beside it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from bench import processes

START_WITHIN_S: Final = 60.0


class PeerFailed(Exception):
    """A peer did not start, or is gone; the text says what it said last."""


class Peer:
    """One running peer. See :func:`open_peer`."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path, postgres: int | None) -> None:
        self.name, self.port = name, port
        self.folder = log.parent
        self._process, self._log, self._postgres = process, log, postgres

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cost(self) -> processes.Cost | None:
        """CPU and memory of its whole process tree, and of its database's, so far; None where they cannot be told."""
        return processes.cost(self.pid, self._postgres)

    def check(self) -> None:
        """Raises:
        PeerFailed: It has ended.
        """
        if self._process.poll() is not None:
            raise PeerFailed(f"{self.name} ended with {self._process.returncode}: {self._last_words()}")

    async def until_it_listens(self) -> None:
        """Raises:
        PeerFailed: It ended, or was not there in time.
        """
        with trio.move_on_after(START_WITHIN_S):
            while True:
                self.check()
                with suppress(OSError):
                    stream = await trio.open_tcp_stream("127.0.0.1", self.port)
                    await stream.aclose()
                    return
                await trio.sleep(0.05)
        raise PeerFailed(f"{self.name} did not listen within {START_WITHIN_S:g} s: {self._last_words()}")

    async def stop(self) -> None:
        """SIGKILL to its process group: nothing of it is kept, and ejabberd's own end takes nine seconds."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await trio.to_thread.run_sync(self._process.wait)

    def _last_words(self) -> str:
        said = self._log.read_text(errors="replace") if self._log.exists() else ""
        return " ".join(said.splitlines()[-5:])[-600:] or "it said nothing"


@asynccontextmanager
async def open_peer(
    name: str,
    port: int,
    command: Sequence[str],
    *,
    folder: Path,
    core: int | None,
    environment: Mapping[str, str] | None = None,
    postgres: int | None = None,
) -> AsyncIterator[Peer]:
    """Start *command* and wait until it listens on *port*; it has ended when the block has.

    Args:
        name: For messages.
        port: Of 127.0.0.1.
        command: Program and arguments.
        folder: Where it runs and where its words are kept.
        core: Pin it to this core from its first instruction on, so that it counts its cores right (Linux only).
        environment: Added to ours.
        postgres: The process id of its database.

    Raises:
        PeerFailed: It did not start.
    """
    log = folder / f"{name}.log"
    process = await trio.to_thread.run_sync(_spawn, command, folder, core, log, environment or {})
    peer = Peer(name, port, process, log, postgres)
    try:
        await peer.until_it_listens()
        yield peer
    finally:
        with trio.CancelScope(shield=True):
            await peer.stop()


@asynccontextmanager
async def open_folder() -> AsyncIterator[Path]:
    """A temporary folder that PostgreSQL's own user may enter; removed when the block ends."""
    folder = await trio.to_thread.run_sync(_make_folder)
    try:
        yield folder
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(shutil.rmtree, folder, True)


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="konnect-peer-"))
    folder.chmod(0o755)
    return folder


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _spawn(
    command: Sequence[str], folder: Path, core: int | None, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    with open(log, "ab") as output:
        try:
            return subprocess.Popen(
                [*pinned, *command], env={**os.environ, **environment}, cwd=folder,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        except OSError as problem:
            raise PeerFailed(f"{command[0]} could not be started: {problem.strerror}") from None
