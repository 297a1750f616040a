"""The crowd at work: its process, started and listened to, and what the server's memory and CPU are meanwhile."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec
import trio

from bench import processes
from bench.crowd import SIGN_IN_WITHIN_S, TICK_S, TYPES_FOR_S, Orders
from bench.loadgen import LoadFailed
from bench.machine import ROOT
from bench.memory import Sample
from bench.progress import note, say
from bench.server import ServerProcess

SHOW_EVERY_S: Final = 30.0
REST_S: Final = 2.0  # the empty server, before it is looked at
EMPTY_WITHIN_S: Final = 45.0  # after everybody has gone; presence lets go after 10 s
BACK_WITHIN: Final = 1.10  # of its memory before
MIB: Final = 1 << 20


@dataclass(slots=True)
class Course:
    """What was seen of the server while the crowd was at it. Memory in bytes, None where it cannot be told."""

    empty: int | None = None
    ready: int | None = None
    left: int | None = None
    left_behind: dict[str, int] = field(default_factory=dict)  # what the server still counts after all have gone
    sign_in_s: float = 0.0
    before: processes.Cost | None = None
    after: processes.Cost | None = None
    samples: list[Sample] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def each_half_minute(self) -> list[Sample]:
        """The samples of every half minute, and the last one."""
        return [
            sample
            for sample in self.samples
            if sample.seconds % SHOW_EVERY_S < TICK_S / 2 or sample is self.samples[-1]
        ]


async def run_crowd(server: ServerProcess, orders: Orders, core: int | None) -> Course:
    """Let the crowd of *orders* come to *server*, and go again.

    Args:
        server: Empty, nobody has been there yet.
        orders: What the crowd is told.
        core: Pin the crowd to this core.

    Raises:
        LoadFailed: The crowd could not go on, or came to no end.
    """
    course = Course()
    await trio.sleep(REST_S)
    course.empty = _rss(server)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(_start)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if core is not None:
                processes.pin([process.pid], core)
            say(f"{len(orders.users)} sockets sign in")
            nursery.start_soon(_tell, process.stdin, msgspec.json.encode(orders) + b"\n")
            patience = SIGN_IN_WITHIN_S + orders.warmup + orders.seconds + TYPES_FOR_S + orders.settle + 60
            with trio.move_on_after(patience):
                async for line in _lines(process.stdout):
                    await _heard(course, line, server, process.stdin, orders)
        finally:
            process.kill()
            nursery.cancel_scope.cancel()
    if not course.result:
        raise LoadFailed("the crowd ended without a result")
    say("the server empties")
    course.left = await _emptied(server, course.empty)
    course.left_behind = await _gauges(server)
    return course


async def _start(task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(
        [sys.executable, "-m", "bench.crowd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False, cwd=ROOT,
        task_status=task_status,
    )  # fmt: skip


async def _tell(stdin: trio.abc.SendStream, told: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it has failed, and says why on its own
        await stdin.send_all(told)


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[dict[str, Any]]:
    """The JSON object of each line that comes."""
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line)


async def _heard(
    course: Course, told: dict[str, Any], server: ServerProcess, stdin: trio.abc.SendStream, orders: Orders
) -> None:
    match told["event"]:
        case "failed":
            raise LoadFailed(told["reason"])
        case "ready":
            course.sign_in_s, course.ready = told["seconds"], _rss(server)
            say("warming up")
            await stdin.send_all(b"go\n")
        case "begin":
            say("measuring")
            course.before = server.cost()
            _sample(course, 0.0, course.before)
        case "tick":
            cost = server.cost()
            _sample(course, told["seconds"], cost)
            if told["seconds"] % SHOW_EVERY_S < TICK_S / 2 or told["seconds"] >= orders.seconds:
                note(_going(told, cost))
        case "end":
            course.after = server.cost()
            say("everybody comes back")
        case "result":
            course.result = told


def _going(told: dict[str, Any], cost: processes.Cost | None) -> str:
    delivered = told["live"] + told["caught_up"]
    words = f"{delivered / told['seconds']:,.0f} deliveries/s, {told['drops']} drops, {told['violations']} violations"
    return words if cost is None else f"{words}, {cost.server_rss / MIB:.1f} MiB"


def _sample(course: Course, seconds: float, cost: processes.Cost | None) -> None:
    if cost is not None:
        course.samples.append(Sample(seconds, cost.server_rss))


async def _emptied(server: ServerProcess, before: int | None) -> int | None:
    """The server's memory after everybody has gone: once it is back, or when there has been time enough for it."""
    if before is None:
        return None
    left = _rss(server)
    with trio.move_on_after(EMPTY_WITHIN_S):
        while left is not None and left > before * BACK_WITHIN:
            await trio.sleep(1)
            left = _rss(server)
    return left


async def _gauges(server: ServerProcess) -> dict[str, int]:
    """The server's own count of sockets, people and conversations: whether memory is held by something, or by none."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        lines = (await http.get("/metrics", timeout=10)).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("konnect_"))
    return {name: int(float(values[f"konnect_{name}"])) for name in ("sockets", "people", "conversations")}


def _rss(server: ServerProcess) -> int | None:
    cost = server.cost()
    return cost.server_rss if cost else None
