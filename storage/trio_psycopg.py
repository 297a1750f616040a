"""psycopg 3 on Trio: how a connection waits, connects and is given up.

psycopg keeps the protocol (generators that yield "wait until readable / writable", in C) apart from the waiting, so
this is all that Trio needs. The generators are private to psycopg, hence the pin on its minor version and a test.

A query that is cancelled, or whose deadline passes, costs its connection: asking the server to stop and using the
connection on would let a late cancel request hit the next query. The server notices the closed socket by itself
(``client_connection_check_interval``). Linux and macOS only.
"""

import os
import select
import socket
from collections.abc import Generator
from typing import Any, Final, TypeVar

import psycopg
import trio
from psycopg import errors, generators
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGnotify
from psycopg.waiting import Ready, Wait
from trio.lowlevel import wait_readable, wait_writable

T = TypeVar("T")
_READ: Final = Wait.R
_WRITE: Final = Wait.W


class TrioConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """One connection, for one task at a time; made by :func:`connect`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = trio.Lock()  # type: ignore[assignment]  # psycopg's own is asyncio's

    async def wait(self, gen: Generator[Wait, Ready | int, T], interval: float = 0, timeout: float | None = None) -> T:
        """Run *gen* to its end; what interrupts it closes the connection. Deadlines are the caller's cancel scopes."""
        try:
            return await drive(gen, self.pgconn.socket)
        except (trio.Cancelled, KeyboardInterrupt):
            self.pgconn.finish()
            raise


async def connect(params: dict[str, Any]) -> TrioConnection:
    """Open one connection, trying each host and address that *params* (libpq's names) lead to.

    Autocommit. No deadline of its own: wrap the call in one.

    Raises:
        psycopg.OperationalError: None of them answered, or the last one said no.
    """
    problem: psycopg.OperationalError | None = None
    for attempt in await _attempts(params):
        try:
            connection = await _drive_connecting(TrioConnection._connect_gen(make_conninfo("", **attempt)))
        except psycopg.OperationalError as error:
            problem = error
        else:
            connection._autocommit = True
            return connection
    assert problem is not None
    raise problem


async def _attempts(params: dict[str, Any]) -> list[dict[str, Any]]:
    """One set of parameters per host and address, names looked up without blocking (libpq would block)."""
    hosts = str(params.get("host") or os.environ.get("PGHOST") or "").split(",")
    ports = str(params.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    if params.get("hostaddr") or len(ports) not in (1, len(hosts)):
        return [params]
    found: list[dict[str, Any]] = []
    problem: OSError | None = None
    for index, host in enumerate(hosts):
        port = ports[index if len(ports) > 1 else 0]
        alone = {**params, "host": host, "port": port} if host else params
        if not host or host.startswith(("/", "@")):
            found.append(alone)
            continue
        try:
            addresses = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            problem = error
        else:
            found += [{**alone, "hostaddr": address[4][0]} for address in addresses]
    if not found:
        raise errors.OperationalError(f"the host name {','.join(hosts)} is not known: {problem}") from problem
    return found


async def notifications(connection: TrioConnection) -> list[tuple[str, str]]:
    """Wait for the next (channel, payload) pairs; cancelling this wait leaves the connection as it was."""
    pgconn = connection.pgconn
    found: list[PGnotify] = []
    while not found:  # the server's parting words wake the wait too; the turn after them raises
        found = await drive(generators.notifies(pgconn), pgconn.socket)
    return [(note.relname.decode(), note.extra.decode()) for note in found]


async def drive(gen: Generator[Wait, Ready | int, T], fd: int) -> T:
    """Run a psycopg generator that waits on the one descriptor *fd*."""
    try:
        state = next(gen)
        while True:
            if state == _READ:  # the common case: a query is sent at once and only its answer is waited for
                await wait_readable(fd)
                state = gen.send(_READ)
            else:
                state = gen.send(await _ready(fd, state))
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def _drive_connecting(gen: Generator[tuple[int, Wait], Ready | int, T]) -> T:
    """The same for a generator whose descriptor may change on the way."""
    try:
        fd, state = next(gen)
        while True:
            fd, state = gen.send(await _ready(fd, state))
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def _ready(fd: int, state: int) -> int:
    if state == _READ:
        await wait_readable(fd)
        return _READ
    # Sending asks "readable or writable?" at every step and may nearly always write at once:
    # a poll costs a microsecond, a nursery some thirty.
    if ready := poll(fd, state):
        return ready
    if state == _WRITE:
        await wait_writable(fd)
        return _WRITE
    return await _either(fd)


def poll(fd: int, state: int) -> int:
    """What *fd* is ready for right now, out of *state*; errors and hang-ups count as both."""
    poller = select.poll()
    poller.register(fd, (select.POLLIN if state & _READ else 0) | (select.POLLOUT if state & _WRITE else 0))
    ready = 0
    for _, event in poller.poll(0):
        if event & ~select.POLLOUT:
            ready |= _READ & state
        if event & ~select.POLLIN:
            ready |= _WRITE & state
    return ready


async def _either(fd: int) -> int:
    ready = 0
    async with trio.open_nursery() as nursery:

        async def one(wait: Any, flag: int) -> None:
            nonlocal ready
            await wait(fd)
            ready |= flag
            nursery.cancel_scope.cancel()

        nursery.start_soon(one, wait_readable, int(_READ))
        nursery.start_soon(one, wait_writable, int(_WRITE))
    return ready
