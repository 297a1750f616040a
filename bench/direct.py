"""Durable messages one to one: each acknowledged only once it is on disk, and delivered to the other."""

from collections.abc import Sequence

import click
import trio

from bench.accounts import write_pairs, write_people
from bench.loadgen import Proto, Seat, Served, run_load
from bench.options import Common, common, finish
from bench.report import Report, say
from bench.server import open_database_of, open_server


async def measure(options: Common, pairs: int = 100, flights: Sequence[int] = (1, 10)) -> Report:
    """One run for each of *flights*, on one server."""
    report = Report("direct", "message", {"pairs": pairs, "payload": options.payload, "pin": options.pin})
    async with open_server(options.limits, options.server_core) as server:
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", 2 * pairs)
            conversations = await trio.to_thread.run_sync(write_pairs, dsn, people)
        seats = [
            Seat(person.token, str(conversations[place // 2]), "r" if place % 2 else "a")
            for place, person in enumerate(people)
        ]
        await add_runs(report, server, seats, options, flights)
    return report


async def add_runs(
    report: Report, server: Served, seats: Sequence[Seat], options: Common, flights: Sequence[int],
    proto: Proto = "konnect",
) -> None:  # fmt: skip
    """Measure a server that runs already, which speaks *proto*, once for each of *flights*."""
    for flight in flights:
        load = await run_load(
            server, "direct", seats, options.load | {"flight": flight},
            generator=options.generator, core=options.load_core, progress=say, proto=proto,
        )  # fmt: skip
        phase = load.phases[0]
        delivery = phase.counts["delivery"]
        report.add(
            f"{flight} in flight", load, phase, "ack", phase.counts["acks"], flight=flight,
            deliveries_per_s=round(phase.counts["deliveries"] / phase.counts["seconds"], 1),
            delivery={word: round(delivery[word], 3) for word in ("p50_ms", "p99_ms", "p999_ms", "max_ms")},
        )  # fmt: skip


@click.command()
@click.option("--pairs", type=click.IntRange(1), default=100, show_default=True, help="How many pairs talk.")
@click.option("--flight", type=click.IntRange(1, 1000), multiple=True, default=(1, 10), show_default=True,
              help="Messages not yet acknowledged, of each author; may be given several times.")  # fmt: skip
@common
def main(common: Common, pairs: int, flight: tuple[int, ...]) -> None:
    """Measure durable one-to-one messages; prints one JSON line. Latency is that of the acknowledgement."""

    async def run() -> Report:
        return await measure(common, pairs, flight)

    finish(run, common)


if __name__ == "__main__":
    main()
