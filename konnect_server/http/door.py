"""The HTTP door: takes over sockets that somebody else accepted, serves them, and closes gently."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper

from konnect_server.actions.accounts import Accounts
from konnect_server.actions.media import Media
from konnect_server.actions.office import Office
from konnect_server.http import problems
from konnect_server.http.app import make_app
from konnect_server.http.blob_door import BlobDoor
from konnect_server.http.connection import Connection
from konnect_server.http.inside import Answering, Inside
from konnect_server.http.options import DoorOptions
from konnect_server.http.stream import HandedStream
from konnect_server.telemetry import counter, gauge
from konnect_server.tokens import Tokens
from protocol.errors import Unavailable
from protocol.http import HEAD_BYTES
from storage.database import Database
from storage.folder_blobs import FolderBlobs

_log = structlog.get_logger("konnect.http")

CONNECTIONS: Final = gauge("konnect_http_connections", "HTTP connections open now.")
TURNED_AWAY: Final = counter("konnect_http_connections_refused_total", "HTTP connections turned away.", ("reason",))


class HttpDoor:
    """Serves HTTP on sockets that are handed over; made by :func:`open_http_door`."""

    def __init__(self, inside: Inside, app: AppWrapper, nursery: trio.Nursery) -> None:
        self._inside = inside
        self._options = inside.options
        self._app = app
        self._nursery = nursery
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._open: dict[Connection, None] = {}  # the oldest first
        self._all_closed = trio.Event()
        CONNECTIONS.set_function(lambda: self.connections)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    def hand_over(self, sock: socket.socket, head: bytes, peer: str) -> None:
        """Serve HTTP on *sock* from now on. Never waits, never raises for what the network does.

        Args:
            sock: Connected, and nobody else's any more; the door closes it.
            head: What was read from it already.
            peer: The other end, for the log.
        """
        if self._inside.draining:
            self._turn_away(sock, "draining", "the server is going away")
        elif len(self._open) >= self._options.connections and not self._make_room():
            self._turn_away(sock, "full", "too many HTTP connections are open")
        else:
            stream = HandedStream(sock, head, self._options.send_s)
            connection = Connection(stream, self._app, self._config, self._context, self._options)
            self._open[connection] = None
            self._nursery.start_soon(self._serve, connection, peer)

    async def drain(self, deadline_s: float | None = None) -> None:
        """Let requests in flight finish, up to *deadline_s* seconds (by default the option's), and close everything.

        New connections are turned away with 503 from now on. May be called more than once.
        """
        self._inside.draining = True
        await self._context.terminated.set()
        for connection in list(self._open):
            connection.close_if_idle()  # the others end by themselves after their answer: ``terminated`` is set
        with trio.move_on_after(self._options.drain_s if deadline_s is None else deadline_s):
            while self._open:
                self._all_closed = trio.Event()
                await self._all_closed.wait()
        self.close()

    def close(self) -> None:
        """End every connection at once; never waits."""
        self._inside.draining = True
        for connection in self._open:
            connection.abort()

    async def _serve(self, connection: Connection, peer: str) -> None:
        try:
            await connection.serve()
        except* Exception:  # noqa: BLE001  # the catch around a connection: its crash is its own
            _log.exception("an HTTP connection crashed", peer=peer)
        finally:
            del self._open[connection]
            if not self._open:
                self._all_closed.set()

    def _make_room(self) -> bool:
        """Close the oldest connection that only waits for a next request: one that is used is worth more."""
        return any(connection.close_if_idle() for connection in self._open)

    def _turn_away(self, sock: socket.socket, reason: str, detail: str) -> None:
        TURNED_AWAY.labels(reason).inc()
        with suppress(OSError), sock:
            sock.setblocking(False)
            sock.send(problems.response(Unavailable(detail)))
            sock.shutdown(socket.SHUT_WR)


@asynccontextmanager
async def open_http_door(
    options: DoorOptions,
    *,
    accounts: Accounts,
    media: Media,
    blobs: FolderBlobs | None,
    tokens: Tokens,
    database: Database,
    call: Answering,
    ready: Callable[[], str | None],
    metrics: Callable[[], bytes],
    office: Office,
) -> AsyncIterator[HttpDoor]:
    """A door that serves until the block ends; then it drains.

    Args:
        options: What can be set.
        accounts: The rules of accounts.
        media: The rules of media.
        blobs: Where media lie, if their signed addresses are the server's own.
        tokens: Verifies bearer tokens, shows its public keys.
        database: Asked by ``/readyz``.
        call: Carries out a command of somebody who called it.
        ready: Why no traffic should come here, in one sentence; None when it may. The database is asked besides.
        metrics: The text for ``/metrics``.
        office: The rules of notifications.

    Raises:
        ValueError: A trusted proxy is neither an address nor a network.
    """
    inside = Inside(options, accounts, media, tokens, database, call, ready, metrics, office)
    app = BlobDoor(make_app(inside), blobs, options.allowed_origins)
    async with trio.open_nursery() as nursery:
        door = HttpDoor(inside, ASGIWrapper(app), nursery)
        try:
            yield door
            await door.drain()
        finally:
            door.close()


def _hypercorn_config() -> Config:
    config = Config()
    config.errorlog = logging.getLogger("konnect.http")
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_BYTES
    return config
