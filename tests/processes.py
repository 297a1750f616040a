"""Several server processes on one database: together, without a doorbell, behind a connection that breaks.

Run as a module it is the command ``konnect`` whose doorbell is mute: ``python -m tests.processes serve``.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from konnect_server.cli import main
from konnect_server.postgres_doorbell import PostgresDoorbell
from tests.running import LIMIT_S, Person, Phone, Place, Process, World, open_process

SCENE_S = 180.0


class Scene:
    """Processes and phones, one after the other; all end with the scene, the newest first."""

    def __init__(self, world: World, stack: AsyncExitStack) -> None:
        self._world, self._stack = world, stack
        self._started = 0

    async def processes(self, count: int, *, mute: bool = False, **changes: Any) -> list[Process]:
        """So many more server processes, once all of the scene know of each other. *mute*: they ring no bell."""
        module = "tests.processes" if mute else "konnect_server"
        made = [
            await self._stack.enter_async_context(open_process(self._world, module=module, **changes))
            for _ in range(count)
        ]
        self._started += count
        if self._started > 1:
            await acquainted(self._world, self._started)
        return made

    async def phone(self, place: Place, person: Person, device: str = "phone") -> Phone:
        """A phone that is up to date. Not to be asked for inside a block that opens another one."""
        return await self._stack.enter_async_context(place.phone(person, device))


@asynccontextmanager
async def open_scene(world: World) -> AsyncIterator[Scene]:
    """A stage for processes and phones; no scene hangs for ever."""
    with trio.fail_after(SCENE_S):
        async with AsyncExitStack() as stack:
            yield Scene(world, stack)


async def acquainted(world: World, count: int) -> None:
    """Wait until *count* processes know of each other: each has asked who is there since all of them were. Before that
    nobody rings for anybody, and only the sweep brings what the others store."""
    beats = "select id, beat, now() from node where beat > now() - interval '4 seconds'"
    with trio.fail_after(LIMIT_S):
        while len(rows := await world.database.fetch_all(beats)) < count:
            await trio.sleep(0.05)
        since = {row[0]: row[1] for row in rows}
        asked = dict.fromkeys(since, 0)
        while any(times < 2 for times in asked.values()):  # of two, the first one's answer has come
            await trio.sleep(0.05)
            for node, beat, _ in await world.database.fetch_all(beats):
                if node in since and beat > since[node]:
                    since[node] = beat
                    asked[node] += 1


class Line:
    """The line between servers and PostgreSQL: a relay that can lose an answer, and cut."""

    def __init__(self, dsn: str) -> None:
        self._target = conninfo_to_dict(dsn)
        self._marker: bytes | None = None
        self._losses = 0
        self._cut_at_once = False
        self.dsn = ""
        self.asked = 0  # how often a request with the marker passed
        self.lost = trio.Event()  # all the losses that were ordered have happened
        self._more = trio.Event()

    def lose_answers(self, marker: bytes, times: int = 1, *, cut_at_once: bool = False) -> None:
        """The next so many connections that ask for something with *marker* in it are cut: when PostgreSQL answers,
        which it does once it has committed, or as soon as the question has passed."""
        self._marker, self._losses, self._cut_at_once = marker, times, cut_at_once

    async def was_asked(self, times: int) -> None:
        """Wait until so many requests with the marker have passed."""
        with trio.fail_after(LIMIT_S):
            while self.asked < times:
                await self._more.wait()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Line"]:
        """Relaying until the block ends."""
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(self._listen)
            port = listeners[0].socket.getsockname()[1]
            changes = {"host": "127.0.0.1", "hostaddr": "", "port": port, "sslmode": "disable", "gssencmode": "disable"}
            self.dsn = make_conninfo(**{**self._target, **changes})
            yield self
            nursery.cancel_scope.cancel()

    async def _listen(self, task_status: trio.TaskStatus[Sequence[trio.SocketListener]]) -> None:
        await trio.serve_tcp(self._relay, 0, host="127.0.0.1", task_status=task_status)

    async def _relay(self, near: trio.SocketStream) -> None:
        async with await self._reach() as far, near, trio.open_nursery() as nursery:
            wire = _Wire(self, near, far, nursery.cancel_scope)
            nursery.start_soon(wire.questions)
            nursery.start_soon(wire.answers)

    async def _reach(self) -> trio.SocketStream:
        host, port = str(self._target["host"]), int(str(self._target.get("port") or 5432))
        if host.startswith("/"):
            return await trio.open_unix_socket(f"{host}/.s.PGSQL.{port}")
        return await trio.open_tcp_stream(host, port)

    def _passes(self, seen: bytes | bytearray) -> bool:
        """True when the connection on which *seen* passed is to lose its answer."""
        if self._marker is None or self._marker not in seen:
            return False
        self.asked += 1
        more, self._more = self._more, trio.Event()
        more.set()
        if self._losses == 0:
            return False
        self._losses -= 1
        return True


class _Wire:
    """One connection through the line."""

    def __init__(self, line: Line, near: trio.SocketStream, far: trio.SocketStream, scope: trio.CancelScope) -> None:
        self._line, self._near, self._far, self._scope = line, near, far, scope
        self._doomed = False

    async def questions(self) -> None:
        """From the server to PostgreSQL."""
        try:
            async for data in self._near:
                self._doomed = self._doomed or self._line._passes(data)
                await self._far.send_all(data)
                if self._doomed and self._line._cut_at_once:
                    self._cut()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._scope.cancel()

    async def answers(self) -> None:
        """From PostgreSQL to the server."""
        try:
            async for data in self._far:
                if self._doomed:
                    self._cut()
                await self._near.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._scope.cancel()

    def _cut(self) -> None:
        if self._line._losses == 0:
            self._line.lost.set()
        self._scope.cancel()


def _be_mute() -> None:
    assert callable(PostgresDoorbell.ring)
    PostgresDoorbell.ring = lambda self, bells: None  # type: ignore[method-assign]


if __name__ == "__main__":
    _be_mute()
    main()
