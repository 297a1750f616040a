"""The reference in C: a WebSocket server of a page (``bare.c``) that stores nothing and checks nobody."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from bench.loadgen import Seat
from bench.peers.host import Host
from bench.peers.install import NotInstalled, compiler, missing_bare
from bench.peers.peer import PeerFailed, free_port, open_folder, open_peer

SOURCE: Final = Path(__file__).resolve().parent / "bare.c"
BUILT: Final = SOURCE.parent.parent / "out"
_FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


class Bare(Host):
    """The running reference; a client's first frame names its conversation."""

    proto = "bare"

    def people(self, count: int) -> list[Seat]:
        return [Seat("-", "nothing") for _ in range(count)]

    def group(self, members: int) -> list[Seat]:
        return [Seat("-", "room", "r" if place else "a") for place in range(members)]


def version() -> str:
    """The beginning of its source's checksum."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:8]


@asynccontextmanager
async def open_bare(core: int | None, database_core: int | None) -> AsyncIterator[Bare]:
    """The reference, for the length of a block; it has no database to put on *database_core*.

    Raises:
        NotInstalled: There is no compiler, or no epoll.
        PeerFailed: It did not compile or start.
    """
    if sentence := missing_bare():
        raise NotInstalled(sentence)
    program = await trio.to_thread.run_sync(build)
    async with open_folder() as folder:
        port = free_port()
        async with open_peer("bare", port, [str(program), str(port)], folder=folder, core=core) as peer:
            yield Bare(peer)


def build() -> Path:
    """The program, compiled when its source has changed. Blocking: a second the first time.

    Raises:
        NotInstalled: There is no compiler.
        PeerFailed: It did not compile.
    """
    folder = BUILT if os.access(BUILT.parent, os.W_OK) else Path(tempfile.gettempdir()) / f"konnect-bare-{os.getuid()}"
    program = folder / f"bare-{version()}"
    if program.exists():
        return program
    command = compiler()
    if command is None:
        raise NotInstalled(missing_bare() or "a C compiler is missing")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{program.name}-{os.getpid()}"
    done = subprocess.run([command, *_FLAGS, "-o", draft, SOURCE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerFailed(f"{SOURCE.name} does not compile: {done.stderr.strip()[:400]}")
    draft.replace(program)
    return program
