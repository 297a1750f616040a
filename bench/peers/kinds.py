"""The servers of a comparison: what each is called, how it is opened, and which workloads it can take part in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from bench.peers import bare, ejabberd, nats, socketio
from bench.peers.host import Host
from bench.peers.install import MISSING

KONNECT: Final = "konnect"
ROOMS: Final = frozenset({"fanout"})
ALL: Final = frozenset({"roundtrip", "fanout", "direct", "idle", "storm"})


class Kind(NamedTuple):
    """One kind of peer."""

    name: str  # in results and on the command line
    title: str  # for people
    version: Callable[[], str]
    open: Callable[[int | None, int | None], AbstractAsyncContextManager[Host]]  # core of the server, of its database
    workloads: frozenset[str]

    def missing(self) -> str | None:
        """What it lacks here, as one sentence; None when it can run."""
        return MISSING[self.name]()


PEERS: Final = (
    Kind("socketio", "Socket.IO", socketio.version, socketio.open_socketio, ALL),
    Kind("ejabberd", "ejabberd", ejabberd.version, ejabberd.open_ejabberd, ALL),
    Kind("nats", "NATS", nats.version, nats.open_nats, ROOMS),
    Kind("bare", "C", bare.version, bare.open_bare, ROOMS | {"roundtrip"}),
)
TITLES: Final = {KONNECT: "Konnect"} | {kind.name: kind.title for kind in PEERS}
