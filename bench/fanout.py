"""One author, one group, a thousand members: how fast and how late messages reach all of them.

All sign in as clients that come back and know who is in the group: to tell each of ten thousand of ten thousand would
take longer than all that is measured here.

Without ``--rate`` the author sends as fast as it goes, with at most eight messages not yet delivered to everybody. With
a rate it sends by the clock, and a message's age counts from the moment when it was due. With ``--slow-reader`` one
member more stops reading half-way: it must be closed with "slow", and the others' delivery must not notice.
"""

from collections.abc import Sequence
from typing import Any, Final

import click
import trio
from msgspec.structs import replace

from bench.accounts import CREATED, write_group, write_people
from bench.loadgen import Load, Proto, Seat, Served, run_load
from bench.options import Common, common, finish
from bench.report import Report, say
from bench.server import open_database_of, open_server
from protocol.closing import SLOW

UNDELIVERED: Final = 8
MEMBERS: Final = 1000
STEADY_RATE: Final = 50.0  # messages a second that a group of a thousand is to bear with ease
STEADY_S: Final = 60.0
LATE_S: Final = 60.0  # after the last message: what comes within that was late, and what does not is lost
SLOW_S: Final = 40.0
SLOW_PAYLOAD: Final = 1000  # 60 KB a second for the slow reader, so that it is over 1 MiB after half of the time


async def measure(
    options: Common, members: int = 1000, rate: float = 0.0, slow_reader: bool = False, outbox_bytes: int = 1 << 20
) -> Report:
    """One run; with *slow_reader* two stretches of it, before and after the member stopped reading."""
    settings = {"members": members, "rate": rate, "payload": options.payload, "pin": options.pin}
    if slow_reader:
        settings["outbox_bytes"] = outbox_bytes
    report = Report("fanout", "delivery", settings)
    limits = options.limits | {"group_members": str(members + 1), "outbox_bytes": str(outbox_bytes)}
    async with open_server(limits, options.server_core) as server:
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", members + slow_reader)
            group = str(await trio.to_thread.run_sync(write_group, dsn, people))
        seats = [Seat(person.token, group, "r" if place else "a", head=CREATED) for place, person in enumerate(people)]
        if slow_reader:
            seats[-1] = seats[-1]._replace(role="s")
        await add_runs(report, server, seats, options, rate, slow_reader)
    return report


async def add_runs(
    report: Report, server: Served, seats: Sequence[Seat], options: Common, rate: float, slow_reader: bool = False,
    proto: Proto = "konnect",
) -> None:  # fmt: skip
    """Measure a server that runs already, which speaks *proto*."""
    load = await run_load(
        server, "fanout", seats,
        options.load | {"flight": UNDELIVERED, "rate": rate, "phases": 2 if slow_reader else 1, "drain": LATE_S},
        generator=options.generator, core=options.load_core, progress=say, proto=proto,
    )  # fmt: skip
    _add(report, load, slow_reader)


def slow_options(options: Common) -> Common:
    """*options*, long and large enough for a slow reader to be over the server's default bound."""
    return replace(options, seconds=SLOW_S, payload=SLOW_PAYLOAD)


def _add(report: Report, load: Load, slow_reader: bool) -> None:
    names = ("all read", "one stopped reading") if slow_reader else ("all read",)
    for name, phase in zip(names, load.phases, strict=True):
        counts = phase.counts
        more: dict[str, Any] = {
            "messages_per_s": round(counts["last"]["count"] / counts["seconds"], 1),
            "last_member": {word: round(counts["last"][word], 3) for word in ("p50_ms", "p99_ms", "max_ms")},
            "ack": {word: round(counts["ack"][word], 3) for word in ("p50_ms", "p99_ms", "max_ms")},
        }
        run = report.add(name, load, phase, "delivery", counts["deliveries"], **more)
        if name != "all read":
            run["slow_closed_with"] = load.counts["slow"]
            run["ok"] = run["ok"] and load.counts["slow"] == [[SLOW.code, SLOW.reason]]


@click.command()
@click.option("--members", type=click.IntRange(2, 50_000), default=1000, show_default=True, help="Author included.")
@click.option("--rate", type=click.FloatRange(0), default=0.0, help="Messages a second; 0: as fast as it goes.")
@click.option("--slow-reader", is_flag=True, help="One member more, which stops reading half-way.")
@click.option("--outbox-bytes", type=click.IntRange(65_536), default=1 << 20, show_default=True,
              help="The server's bound on what may wait for one client.")  # fmt: skip
@common
def main(common: Common, members: int, rate: float, slow_reader: bool, outbox_bytes: int) -> None:
    """Measure fan-out; prints one JSON line."""

    async def run() -> Report:
        return await measure(common, members, rate, slow_reader, outbox_bytes)

    finish(run, common)


if __name__ == "__main__":
    main()
