"""Round trips: how fast the server answers. Sockets ping with 100 bytes, one or ten of them in flight on each."""

from collections.abc import Sequence

import click
import trio

from bench.accounts import write_people
from bench.loadgen import Proto, Seat, Served, run_load
from bench.options import Common, common, finish
from bench.report import Report, say
from bench.server import open_database_of, open_server


async def measure(options: Common, sockets: int = 50, flights: Sequence[int] = (1, 10)) -> Report:
    """One run for each of *flights*, on one server."""
    report = Report("roundtrip", "round trip", {"sockets": sockets, "payload": options.payload, "pin": options.pin})
    async with open_server(options.limits, options.server_core) as server:
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", sockets)
        seats = [Seat(person.token) for person in people]
        await add_runs(report, server, seats, options, flights)
    return report


async def add_runs(
    report: Report, server: Served, seats: Sequence[Seat], options: Common, flights: Sequence[int],
    proto: Proto = "konnect",
) -> None:  # fmt: skip
    """Measure a server that runs already, which speaks *proto*, once for each of *flights*."""
    for flight in flights:
        load = await run_load(
            server, "ping", seats, options.load | {"flight": flight},
            generator=options.generator, core=options.load_core, progress=say, proto=proto,
        )  # fmt: skip
        phase = load.phases[0]
        report.add(f"{flight} in flight", load, phase, "ack", phase.counts["acks"], flight=flight)


@click.command()
@click.option("--sockets", type=click.IntRange(1), default=50, show_default=True, help="How many sockets ping.")
@click.option("--flight", type=click.IntRange(1, 1000), multiple=True, default=(1, 10), show_default=True,
              help="Pings in flight on each; may be given several times.")  # fmt: skip
@common
def main(common: Common, sockets: int, flight: tuple[int, ...]) -> None:
    """Measure round trips; prints one JSON line."""

    async def run() -> Report:
        return await measure(common, sockets, flight)

    finish(run, common)


if __name__ == "__main__":
    main()
