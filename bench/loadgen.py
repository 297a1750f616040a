"""The load: ``load/*.c`` built on demand, or ``pyload.py`` where there is no compiler; both speak the same way."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import trio

from bench import processes

HERE: Final = Path(__file__).resolve().parent
SOURCES: Final = HERE / "load"
BUILT: Final = HERE / "out"
_FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")

Generator: TypeAlias = Literal["auto", "c", "python"]
Mode: TypeAlias = Literal["ping", "fanout", "direct", "idle", "storm", "beside"]
Proto: TypeAlias = Literal["konnect", "socketio", "xmpp", "nats", "bare"]
OTHER_FILES: Final = 256  # open files of a server that are no sockets of the load: database, listeners, libraries
_STAGES: Final = {"idle": "they stay", "storm": "all are reset, and come back"}  # else: measuring
IN_PYTHON: Final = ("ping", "fanout", "direct")  # what pyload.py can do, with Konnect


class LoadFailed(Exception):
    """The load could not be made; the text is one plain sentence."""


class Served(Protocol):
    """What is asked of a server: where it listens on 127.0.0.1, and what it has cost so far."""

    @property
    def port(self) -> int: ...
    def cost(self) -> processes.Cost | None: ...


class Seat(NamedTuple):
    """One socket of the load. Roles: ``a`` sends, ``r`` receives, ``s`` receives and stops reading in phase 1, ``g`` is
    a guest that comes and goes."""

    token: str  # printable ASCII without blanks, quotes, < > & and backslash, as all fields
    conversation: str = "-"
    role: Literal["a", "r", "s", "g"] = "r"
    missed: int = 0  # storm: how many entries lie above the head
    head: int = 0  # the seq up to which it says that it has everything, as one that comes back; 0: it starts afresh

    def line(self) -> str:
        """As the generator reads it."""
        line = f"{self.token} {self.conversation} {self.role}"
        return f"{line} {self.missed} {self.head}\n" if self.missed or self.head else line + "\n"


@dataclass(slots=True)
class Phase:
    """One measured stretch: what the generator counted, and what the server's processes cost over it."""

    counts: dict[str, Any]  # see print_phase in load/tell.c
    before: processes.Cost | None
    after: processes.Cost | None


@dataclass(slots=True)
class Load:
    """What a run gave."""

    generator: str
    sign_in_s: float  # until all sockets were signed in and synced
    counts: dict[str, Any]  # see tell_result in load/tell.c
    phases: list[Phase] = field(default_factory=list)
    rss_ready: int | None = None  # bytes of the server's memory, all sockets signed in, nothing going on
    cost_before: processes.Cost | None = None  # of the server, before the first sign-in
    cost_ready: processes.Cost | None = None  # at that moment
    sign_in_cores: float = 0.0  # the generator's share of a core meanwhile


async def run_load(
    server: Served,
    mode: Mode,
    seats: Sequence[Seat],
    options: Mapping[str, float],
    *,
    proto: Proto = "konnect",
    generator: Generator = "auto",
    core: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Load:
    """Sign all *seats* in, make the load, and count.

    Args:
        server: Measured while it goes on.
        mode: See ``load/main.c``.
        seats: The sockets.
        options: See ``load/main.c``: rate, seconds, warmup, drain, patience, flight, bytes, sample, phases, connecting.
        proto: What the server speaks. All but Konnect's, and the modes idle and storm, need the C generator.
        generator: Which one; ``auto`` takes the C one if it can be built.
        core: Pin the generator to this core.
        progress: Told in a few words what goes on.

    Raises:
        LoadFailed: It could not be built or started, or the server refused it.
    """
    name, program = await trio.to_thread.run_sync(_program, generator, mode, proto, progress)
    words = [*program, "127.0.0.1", str(server.port), mode, *(f"{key}={value:g}" for key, value in options.items())]
    if proto != "konnect":
        words.append(f"proto={proto}")
    load = Load(name, 0.0, {}, cost_before=server.cost())
    async with _open_generator(words, seats, core) as (stdin, lines):
        progress(f"{len(seats)} sockets sign in")
        return await _listen(server, mode, stdin, lines, load, progress)


@asynccontextmanager
async def _open_generator(
    words: list[str], seats: Sequence[Seat], core: int | None
) -> AsyncIterator[tuple[trio.abc.SendStream, "_Lines"]]:
    """The generator, told its *seats*, for the length of a block: what it listens to, and what it says."""
    told = "".join(seat.line() for seat in seats) + "end\n"
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(_run, words)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if core is not None:
                processes.pin([process.pid], core)
            nursery.start_soon(_tell, process.stdin, told.encode())
            yield process.stdin, _Lines(process.stdout)
        finally:
            process.kill()
            nursery.cancel_scope.cancel()


class Beside:
    """A load that goes on beside what is measured; see :func:`open_beside`."""

    def __init__(self, stdin: trio.abc.SendStream, lines: "_Lines", sign_in_s: float) -> None:
        self._stdin, self._lines, self.sign_in_s = stdin, lines, sign_in_s

    async def begin(self) -> None:
        """Count from now on."""
        await self._stdin.send_all(b"b")
        await self._told("begin")

    async def end(self) -> dict[str, Any]:
        """What was counted since: see print_phase in load/tell.c."""
        await self._stdin.send_all(b"e")
        counts: dict[str, Any] = (await self._told("stretch"))["counts"]
        return counts

    async def stop(self) -> dict[str, Any]:
        """End the load; the whole result, see tell_result in load/tell.c."""
        await self._stdin.send_all(b"s")
        return await self._told("result")

    async def _told(self, event: str) -> dict[str, Any]:
        while line := await self._lines.next():
            told: dict[str, Any] = json.loads(line)
            if told["event"] == "failed":
                raise LoadFailed(told["reason"])
            if told["event"] == event:
                return told
        raise LoadFailed("the load generator ended without a result")


@asynccontextmanager
async def open_beside(
    server: Served, seats: Sequence[Seat], options: Mapping[str, float], core: int | None = None
) -> AsyncIterator[Beside]:
    """All *seats* signed in, the first of them sending by the clock, for the length of a block. Needs the C generator.

    Raises:
        LoadFailed: It could not be built or started, or the server refused it.
    """
    words = [str(await trio.to_thread.run_sync(build)), "127.0.0.1", str(server.port), "beside"]
    words += [f"{key}={value:g}" for key, value in options.items()]
    async with _open_generator(words, seats, core) as (stdin, lines):
        beside = Beside(stdin, lines, 0.0)
        beside.sign_in_s = (await beside._told("ready"))["seconds"]
        await stdin.send_all(b"g")
        yield beside


async def _run(words: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False, cwd=HERE.parent, task_status=task_status
    )


async def _tell(stdin: trio.abc.SendStream, told: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it has failed, and says why on its own
        await stdin.send_all(told)


async def _listen(
    server: Served, mode: Mode, stdin: trio.abc.SendStream, lines: "_Lines", load: Load, progress: Callable[[str], None]
) -> Load:
    begun: processes.Cost | None = None
    costs: list[tuple[processes.Cost | None, processes.Cost | None]] = []
    while line := await lines.next():
        told = json.loads(line)
        match told["event"]:
            case "failed":
                raise LoadFailed(told["reason"])
            case "ready":
                load.sign_in_s, load.sign_in_cores = told["seconds"], told["cpu"]
                load.cost_ready = server.cost()
                load.rss_ready = load.cost_ready.server_rss if load.cost_ready else None
                if mode in IN_PYTHON:
                    progress("warming up")
                await stdin.send_all(b"go\n")
            case "begin":
                progress(_STAGES.get(mode, "measuring"))
                begun = server.cost()
            case "end":
                costs.append((begun, server.cost()))
            case "result":
                load.counts = told
                load.phases = [Phase(counts, *cost) for counts, cost in zip(told["phases"], costs, strict=True)]
                return load
    raise LoadFailed("the load generator ended without a result")


class _Lines:
    """A stream's lines."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream, self._rest = stream, b""

    async def next(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._rest:
            data = await self._stream.receive_some()
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def _program(generator: Generator, mode: Mode, proto: Proto, progress: Callable[[str], None]) -> tuple[str, list[str]]:
    only_c = mode not in IN_PYTHON or proto != "konnect"
    if generator == "python" and only_c:
        raise LoadFailed(f"{mode} over {proto} needs the load generator in C: use --generator c, and a C compiler")
    if generator != "python":
        try:
            return "c", [str(build())]
        except LoadFailed as problem:
            if generator == "c" or only_c:
                raise
            progress(f"{problem}; now with python")
    return "python", [sys.executable, "-m", "bench.pyload"]


def need_files(sockets: int) -> None:
    """Raise this process's limit of open files to what it may be; servers and generators that it starts inherit that.

    Raises:
        LoadFailed: Even that is too low for *sockets*.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < sockets + OTHER_FILES:
        raise LoadFailed(f"{sockets} sockets need a higher limit of open files: it is {most} (ulimit -Hn)")


def build() -> Path:
    """The C generator, compiled when one of its sources has changed. Blocking: two seconds the first time.

    Raises:
        LoadFailed: There is no compiler, no epoll (Linux only), or it did not compile.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        raise LoadFailed("the load generator in C needs Linux; --generator python needs none, but is slower")
    folder = BUILT if os.access(HERE, os.W_OK) else Path(tempfile.gettempdir()) / f"konnect-load-{os.getuid()}"
    program = folder / f"load-{_fingerprint()}"
    if program.exists():
        return program
    if not compiler:
        raise LoadFailed("there is no C compiler (cc): install one; --generator python needs none, but is slower")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{program.name}-{os.getpid()}"
    words = [compiler, *_FLAGS, "-o", str(draft), *map(str, sorted(SOURCES.glob("*.c")))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"bench/load does not compile: {done.stderr.strip()[:400]}")
    draft.replace(program)
    return program


def _fingerprint() -> str:
    digest = hashlib.sha256(repr(_FLAGS).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
