"""The workloads of a comparison: for Konnect and for each peer the same sockets, sizes, rates and seconds."""

from typing import Any, Final

import trio
from msgspec import Struct

from bench import direct, fanout, idle, roundtrip, storm
from bench.gone import SETTLE_S
from bench.options import Common
from bench.peers.host import Host
from bench.peers.kinds import KONNECT, PEERS, Kind
from bench.report import Report

SOCKETS: Final = 50  # of W1
PAIRS: Final = 100  # of W3
FLIGHTS: Final = (1, 10)
PEERS_SETTLE_S: Final = 1.0  # Konnect's memory alone is judged after everybody has gone

_aside: Final = trio.to_thread.run_sync  # what writes to a database blocks


class Workload(Struct, frozen=True):
    """One workload. A size that it does not know is 0."""

    name: str  # in results and on the command line
    bench: str  # the benchmark that makes it, which says who can take part
    title: str
    members: int = 0
    rate: float = 0.0
    sockets: int = 0
    missed: int = 0
    settle_s: float = SETTLE_S  # until Konnect's memory is looked at, when all have gone

    def servers(self) -> list[str]:
        """Who takes part, Konnect first."""
        return [KONNECT, *(kind.name for kind in PEERS if self.bench in kind.workloads)]


FULL: Final = (
    Workload("roundtrip", "roundtrip", "W1 round trips", sockets=SOCKETS),
    Workload("fanout", "fanout", "W2 1,000 members, most", members=1000),
    Workload("fanout-100", "fanout", "W2 1,000 members at 100/s", members=1000, rate=100),
    Workload("fanout-50", "fanout", "W2 1,000 members at 50/s", members=1000, rate=50),
    Workload("fanout-small", "fanout", "W2 100 members, most", members=100),
    Workload("direct", "direct", "W3 100 pairs", sockets=2 * PAIRS),
    Workload("idle", "idle", "W4 10,000 idle", sockets=10_000),
    Workload("storm", "storm", "W5 storm of 5,000", sockets=5000),
    Workload("storm-missed", "storm", "W5 storm of 5,000, 20 missed each", sockets=5000, missed=20),
)
QUICK: Final = (
    Workload("roundtrip", "roundtrip", "W1 round trips", sockets=SOCKETS),
    Workload("fanout", "fanout", "W2 200 members, most", members=200),
    Workload("fanout-100", "fanout", "W2 200 members at 100/s", members=200, rate=100),
    Workload("fanout-small", "fanout", "W2 100 members, most", members=100),
    Workload("direct", "direct", "W3 20 pairs", sockets=40),
    Workload("idle", "idle", "W4 1,000 idle", sockets=1000, settle_s=1.0),
    Workload("storm", "storm", "W5 storm of 500", sockets=500, settle_s=1.0),
    Workload("storm-missed", "storm", "W5 storm of 500, 20 missed each", sockets=500, missed=20, settle_s=1.0),
)


async def measure(workload: Workload, server: str, options: Common) -> Report:
    """Start *server* afresh, measure *workload* once, and stop it.

    Raises:
        NotInstalled: It is not there.
        PeerFailed, ServerFailed, LoadFailed, StorageError: It could not be measured; the text says why.
    """
    if server == KONNECT:
        return await _konnect(workload, options)
    kind = next(kind for kind in PEERS if kind.name == server)
    async with kind.open(options.server_core, options.load_core) as host:
        return await _peer(workload, kind, host, options)


async def _konnect(workload: Workload, options: Common) -> Report:
    match workload.bench:
        case "roundtrip":
            return await roundtrip.measure(options, workload.sockets, FLIGHTS)
        case "fanout":
            return await fanout.measure(options, workload.members, workload.rate)
        case "direct":
            return await direct.measure(options, workload.sockets // 2, FLIGHTS)
        case "idle":
            return await idle.measure(options, workload.sockets, workload.settle_s)
        case _:
            return await storm.measure(options, workload.sockets, (workload.missed,), workload.settle_s)


async def _peer(workload: Workload, kind: Kind, host: Host, options: Common) -> Report:
    """The same for a peer that runs. What is in the settings is what the benchmark itself would write there."""
    settings: dict[str, Any] = {"payload": options.payload, "pin": options.pin, "version": kind.version()}

    def report(unit: str, **own: Any) -> Report:
        return Report(workload.bench, unit, own | settings, server=kind.name)

    match workload.bench:
        case "roundtrip":
            told = report("round trip", sockets=workload.sockets)
            seats = await _aside(host.people, workload.sockets)
            await roundtrip.add_runs(told, host.peer, seats, options, FLIGHTS, host.proto)
        case "fanout":
            told = report("delivery", members=workload.members, rate=workload.rate)
            seats = await _aside(host.group, workload.members)
            await fanout.add_runs(told, host.peer, seats, options, workload.rate, proto=host.proto)
        case "direct":
            told = report("message", pairs=workload.sockets // 2)
            seats = await _aside(host.pairs, workload.sockets // 2)
            await direct.add_runs(told, host.peer, seats, options, FLIGHTS, host.proto)
        case "idle":
            told = report("sign-in", sockets=workload.sockets)
            seats = [seat._replace(role="r") for seat in await _aside(host.pairs, workload.sockets // 2)]
            await idle.add_runs(told, host.peer, seats, options, host.proto, PEERS_SETTLE_S)
        case _:
            told = report("socket", sockets=workload.sockets, members=storm.MEMBERS)
            groups = workload.sockets // storm.MEMBERS
            seats = await _aside(host.returning, groups, storm.MEMBERS, workload.missed, options.payload)
            await storm.add_runs(told, host.peer, seats, options, host.proto, PEERS_SETTLE_S)
    return told
