"""nats-server: subjects in memory. Nothing is stored and nothing acknowledged, so it is a peer for fan-out alone."""

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bench.loadgen import Seat
from bench.peers.host import Host
from bench.peers.install import NotInstalled, missing_nats, nats_program
from bench.peers.peer import free_port, open_folder, open_peer

# No limit in the way, no log, no second port. The rest is as it comes.
_CONFIGURATION: Final = """\
listen: "127.0.0.1:{port}"
max_connections: 65536
max_pending: 268435456
write_deadline: "60s"
"""


class Nats(Host):
    """A running nats-server; nobody needs to be let in."""

    proto = "nats"

    def group(self, members: int) -> list[Seat]:
        return [Seat("-", "room", "r" if place else "a") for place in range(members)]


def version() -> str:
    """Its version, as it says itself.

    Raises:
        NotInstalled: There is none.
    """
    program = nats_program()
    if program is None:
        raise NotInstalled(missing_nats() or "nats-server is missing")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+(?:\.\d+)+)", done.stdout + done.stderr)
    return found[1] if found else "unknown"


@asynccontextmanager
async def open_nats(core: int | None, database_core: int | None) -> AsyncIterator[Nats]:
    """A fresh nats-server for the length of a block; it has no database to put on *database_core*.

    Raises:
        NotInstalled: It is not there.
        PeerFailed: It did not start.
    """
    program = nats_program()
    if program is None:
        raise NotInstalled(missing_nats() or "nats-server is missing")
    async with open_folder() as folder:
        port = free_port()
        configuration = folder / "nats.conf"
        configuration.write_text(_CONFIGURATION.format(port=port))
        async with open_peer(
            "nats-server", port, [program, "--config", str(configuration)], folder=folder, core=core
        ) as peer:
            yield Nats(peer)
