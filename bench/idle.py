"""Idle people (W4): what a signed-in person who says nothing costs, and how fast people sign in.

Each person is one socket and belongs to one direct conversation with another of them, so that the sign-in has
something to read. 256 sign in at a time, so that the server's core has something to do while others wait for the
database: with 64 it stood still a seventh of the time. Needs the load generator in C.
"""

from collections.abc import Sequence
from typing import Final

import click
import trio

from bench.accounts import write_pairs, write_people
from bench.gone import SETTLE_S, memory_around, remark
from bench.loadgen import Load, Phase, Proto, Seat, Served, need_files, run_load
from bench.options import Common, common_without, finish
from bench.report import Report, say
from bench.server import open_database_of, open_server
from bench.warm import warm

SOCKETS: Final = 10_000
AT_ONCE: Final = 256  # of these sign in at a time
_KIB: Final = 1 << 10


async def measure(
    options: Common, sockets: int = SOCKETS, settle_s: float = SETTLE_S, at_once: int = AT_ONCE
) -> Report:
    """One run on a fresh server; *sockets* is rounded down to an even number, *at_once* of them sign in at a time."""
    sockets -= sockets % 2
    report = Report("idle", "sign-in", {"sockets": sockets, "at_once": at_once, "pin": options.pin})
    need_files(sockets)
    async with open_server(options.limits, options.server_core) as server:
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", sockets)
            pairs = await trio.to_thread.run_sync(write_pairs, dsn, people)
        seats = [Seat(person.token, str(pairs[place // 2])) for place, person in enumerate(people)]
        await add_runs(report, server, seats, options, settle_s=settle_s, at_once=at_once)
    return report


async def add_runs(
    report: Report, server: Served, seats: Sequence[Seat], options: Common, proto: Proto = "konnect",
    settle_s: float = SETTLE_S, at_once: int = AT_ONCE,
) -> None:  # fmt: skip
    """Measure a server that runs already, which speaks *proto*, and to which nobody has been signed in yet.

    The figures are those of the sign-ins; beside them the memory with nobody there, with all, and with nobody again.
    """
    await warm(len(seats))
    load = await run_load(
        server, "idle", seats, {"seconds": options.seconds, "connecting": at_once}, proto=proto,
        generator=options.generator, core=options.load_core, progress=say,
    )  # fmt: skip
    memory = await memory_around(server, load, settle_s)
    held = load.phases[0]
    counts = {"seconds": load.sign_in_s, "cpu": load.sign_in_cores, "synced": held.counts["synced"]}
    signing_in = Phase(counts, load.cost_before, load.cost_ready)
    report.add(
        "sign in and stay", load, signing_in, "synced", len(seats),
        **memory, rss_per_socket_kib=_per_socket(load, len(seats)), held_s=round(held.counts["seconds"], 1),
        held_cores=_held_cores(held),
    )  # fmt: skip
    report.remarks.append(f"each socket costs {report.runs[-1]['rss_per_socket_kib']} KiB")
    report.remarks.append(remark("idle", memory))


def _per_socket(load: Load, sockets: int) -> float | None:
    before, after = load.cost_before, load.phases[0].after
    if before is None or after is None:
        return None
    return round((after.server_rss - before.server_rss) / sockets / _KIB, 2)


def _held_cores(held: Phase) -> float | None:
    """What the server needed of a core while nobody said a word."""
    if held.before is None or held.after is None:
        return None
    return round((held.after.server_cpu_s - held.before.server_cpu_s) / float(held.counts["seconds"]), 3)


@click.command()
@click.option("--sockets", type=click.IntRange(2), default=SOCKETS, show_default=True, help="How many people.")
@click.option("--at-once", type=click.IntRange(1), default=AT_ONCE, show_default=True, help="Signing in at a time.")
@common_without("payload", "warmup")
def main(common: Common, sockets: int, at_once: int) -> None:
    """Measure idle people; prints one JSON line. --seconds: how long they stay."""

    async def run() -> Report:
        return await measure(common, sockets, at_once=at_once)

    finish(run, common)


if __name__ == "__main__":
    main()
