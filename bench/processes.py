"""What process trees cost: CPU time and memory, from Linux's ``/proc``; elsewhere there are no figures."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
MEASURABLE: Final = (_PROC / "self" / "stat").exists()


class Process(NamedTuple):
    """One process as ``/proc/PID/stat`` tells it."""

    pid: int
    parent: int
    cpu_s: float  # its own and that of children that have ended


class Cost(NamedTuple):
    """What a server and its database have used so far; CPU in seconds, memory in bytes."""

    server_cpu_s: float
    postgres_cpu_s: float
    server_rss: int


def tree(root: int | None, processes: Iterable[Process]) -> dict[int, Process]:
    """*root* and everything beneath it, by pid; nothing when there is no such process."""
    by_parent: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    for process in processes:
        by_parent.setdefault(process.parent, []).append(process)
        if process.pid == root:
            found[process.pid] = process
    waiting = list(found.values())
    while waiting:
        for child in by_parent.get(waiting.pop().pid, []):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child)
    return found


def cost(server: int, postgres: int | None) -> Cost | None:
    """What the tree of *server* and that of *postgres* have used; the second is never part of the first."""
    if not MEASURABLE:
        return None
    processes = _all()
    database = tree(postgres, processes)
    house = [process for pid, process in tree(server, processes).items() if pid not in database]
    return Cost(
        sum(process.cpu_s for process in house),
        sum(process.cpu_s for process in database.values()),
        sum(_rss(process.pid) for process in house),
    )


def pin(pids: Iterable[int], core: int) -> None:
    """Keep every thread of *pids*, and what they start from now on, on one core. Linux only."""
    for pid in pids:
        for thread in _threads(pid):
            try:
                os.sched_setaffinity(thread, {core})
            except ProcessLookupError:
                continue


def pin_tree(root: int, core: int) -> None:
    """Like :func:`pin` for *root* and everything beneath it."""
    pin(tree(root, _all()), core)


def _all() -> list[Process]:
    found = (_process(int(name)) for name in os.listdir(_PROC) if name.isdigit())
    return [process for process in found if process is not None]


def _process(pid: int) -> Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None  # it has ended meanwhile
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything; then state, parent ...
    return Process(pid, int(fields[1]), sum(map(int, fields[11:15])) * _TICK_S)


def _rss(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC / str(pid) / "task")]
    except OSError:
        return []
