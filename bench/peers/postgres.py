"""The PostgreSQL of a peer: the one that comes with Konnect, durable, in a temporary folder, with the same settings."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import trio

from bench import processes
from storage.embedded import open_embedded

# Who may come over TCP: whoever is on this machine, which is the benchmark's alone while it runs.
_HBA: Final = "local all all trust\nhost all all 127.0.0.0/8 trust\n"


class Database(NamedTuple):
    """Where a peer finds its database."""

    dsn: str  # libpq's, over the Unix socket
    folder: Path  # of the Unix socket
    address: str | None  # of TCP, where it was asked for
    pid: int


PORT: Final = 5432
USER: Final = "konnect"  # role and database


@contextmanager
def writing(dsn: str) -> Iterator[psycopg.Connection]:
    """A transaction of much that is new, for the length of a block; afterwards PostgreSQL knows how much. Blocking.

    It would find out by itself, but not before the load has begun.
    """
    with psycopg.connect(dsn) as connection:
        yield connection
        connection.execute("analyze")


@asynccontextmanager
async def open_postgres(folder: Path, *, core: int | None, tcp: bool = False) -> AsyncIterator[Database]:
    """A fresh PostgreSQL for the length of a block; ``fsync`` and ``synchronous_commit`` are on.

    Args:
        folder: An empty one that others may enter; the caller removes it.
        core: Pin it to this core.
        tcp: It also listens on an address of the loopback network that nobody else uses.

    Raises:
        EmbeddedError: It did not start.
    """
    address, settings = None, {}
    if tcp:
        address = f"127.{77 + secrets.randbelow(100)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        hba = folder / "pg_hba.conf"
        await trio.to_thread.run_sync(hba.write_text, _HBA)
        hba.chmod(0o644)
        settings = {"listen_addresses": address, "hba_file": str(hba)}
    async with open_embedded(folder, settings=settings) as embedded:
        pid = embedded.pid
        assert pid is not None
        if core is not None:
            processes.pin_tree(pid, core)
        sockets = embedded.dsn.partition("host='")[2].partition("'")[0]
        yield Database(embedded.dsn, Path(sockets), address, pid)
