"""The storm (W5): every socket is reset at once, and all come back at once, without jitter, until the last is synced.

People are in groups of ten. Beside the plain storm, one in which everybody has missed 20 messages of their group: these
are sent with one report after the sign-in, and every one is checked. Needs the load generator in C.
"""

from collections.abc import Sequence
from typing import Final

import click
import trio

from bench.accounts import CREATED, write_groups, write_missed, write_people
from bench.gone import SETTLE_S, memory_around, remark
from bench.loadgen import Proto, Seat, Served, need_files, run_load
from bench.options import Common, common_without, finish
from bench.report import Report, say
from bench.server import ServerProcess, open_database_of, open_server
from bench.warm import warm

SOCKETS: Final = 5_000
MISSED: Final = (0, 20)
MEMBERS: Final = 10


async def measure(
    options: Common, sockets: int = SOCKETS, missed: Sequence[int] = MISSED, settle_s: float = SETTLE_S
) -> Report:
    """One storm for each of *missed* (messages), each on a fresh server."""
    settings = {"sockets": sockets, "members": MEMBERS, "payload": options.payload, "pin": options.pin}
    report = Report("storm", "socket", settings)
    need_files(sockets)
    for count in missed:
        async with open_server(options.limits, options.server_core) as server:
            seats = await _write_seats(server, sockets, count, options.payload)
            await add_runs(report, server, seats, options, settle_s=settle_s)
    return report


async def add_runs(
    report: Report, server: Served, seats: Sequence[Seat], options: Common, proto: Proto = "konnect",
    settle_s: float = SETTLE_S,
) -> None:  # fmt: skip
    """Measure a server that runs already, which speaks *proto*, and to which nobody has been signed in yet.

    Seconds and rate are those until the last socket was signed in and synced, latency each socket's time until then;
    beside them the memory with nobody there, before and after.
    """
    await warm(len(seats))
    load = await run_load(
        server, "storm", seats, {}, proto=proto,
        generator=options.generator, core=options.load_core, progress=say,
    )  # fmt: skip
    memory = await memory_around(server, load, settle_s)
    missed = max(seat.missed for seat in seats)
    name = f"{missed} missed each" if missed else "nothing missed"
    report.add(
        name, load, load.phases[0], "synced", len(seats),
        missed=missed, entries=load.counts["deliveries"], redials=load.counts["redials"], **memory,
    )  # fmt: skip
    report.remarks.append(remark(f"storm, {name}", memory))


async def _write_seats(server: ServerProcess, sockets: int, missed: int, payload: int) -> list[Seat]:
    async with open_database_of(server) as dsn:
        people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", sockets)
        groups = await trio.to_thread.run_sync(write_groups, dsn, people, MEMBERS)
        if missed:
            authors = people[::MEMBERS]
            await trio.to_thread.run_sync(write_missed, dsn, authors, groups, missed, payload)
    return [
        Seat(person.token, str(groups[place // MEMBERS]), missed=missed, head=CREATED)
        for place, person in enumerate(people)
    ]


@click.command()
@click.option("--sockets", type=click.IntRange(2), default=SOCKETS, show_default=True, help="How many people.")
@click.option("--missed", type=click.IntRange(0, 500), multiple=True, default=MISSED, show_default=True,
              help="Messages that each has missed; may be given several times.")  # fmt: skip
@common_without("seconds", "warmup")
def main(common: Common, sockets: int, missed: tuple[int, ...]) -> None:
    """Measure how soon all are back after a storm; prints one JSON line."""

    async def run() -> Report:
        return await measure(common, sockets, missed)

    finish(run, common)


if __name__ == "__main__":
    main()
