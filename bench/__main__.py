"""``python -m bench``: the list of benchmarks; ``python -m bench all`` runs every one, ``--quick`` in a minute."""

import functools
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from bench import (
    actions,
    compare,
    direct,
    fanout,
    feed,
    growth,
    idle,
    listing,
    mixed,
    plot,
    recommend,
    replay,
    roundtrip,
    search,
    storm,
)
from bench.chatlog import read_chatlog
from bench.gone import SETTLE_S
from bench.loadgen import LoadFailed, build
from bench.options import Common, common, plainly, repeated
from bench.replay_report import open_progress
from bench.report import Report, say
from bench.script import write_script
from bench.server import quiet_logs
from bench.stage import Stalled
from konnect_client import ClientError

Measure = Callable[[], Awaitable[Report]]
TOWN_S: Final = 60.0  # of the ten minutes that its figures need


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False, invoke_without_command=True
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Konnect's benchmarks. Each starts a server of its own with a durable database, and leaves nothing behind.

    A benchmark prints one line of JSON to standard output, and a table for people to standard error; its exit code is 1
    when anything was lost, wrong or refused. See docs/benchmarks.md.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(roundtrip.main, "roundtrip")
cli.add_command(direct.main, "direct")
cli.add_command(fanout.main, "fanout")
cli.add_command(idle.main, "idle")
cli.add_command(storm.main, "storm")
cli.add_command(mixed.main, "mixed")
cli.add_command(growth.main, "growth")
cli.add_command(replay.main, "replay")
cli.add_command(search.main, "search")
cli.add_command(feed.main, "feed")
cli.add_command(listing.main, "listing")
cli.add_command(actions.main, "actions")
cli.add_command(recommend.main, "recommend")
cli.add_command(compare.main, "compare")
cli.add_command(plot.main, "plot")


@cli.command("all")
@click.option("--quick", is_flag=True, help="A second each, smaller groups: to see that they work, not for figures.")
@common
def run_all(common: Common, quick: bool) -> None:
    """Run every benchmark, the town for a minute, and the replay of the excerpt; prints one JSON line each.

    Growth has a command of its own.
    """
    quiet_logs()
    if quick:
        common = replace(common, seconds=1.0, warmup=0.3)
    members = 200 if quick else fanout.MEMBERS
    steady = replace(common, seconds=common.seconds if quick else fanout.STEADY_S)
    slow = replace(common, seconds=2.0, payload=8000) if quick else fanout.slow_options(common)
    town = mixed.Town(users=60, groups=6, rate=20.0) if quick else mixed.Town()
    while_in_town = replace(common, seconds=2.0 if quick else TOWN_S)
    outbox_bytes = 524_288 if quick else 1 << 20
    measures: list[tuple[Common, Measure]] = [
        (common, functools.partial(roundtrip.measure, common)),
        (common, functools.partial(direct.measure, common, pairs=20 if quick else 100)),
        (common, functools.partial(fanout.measure, common, members=members)),
        (steady, functools.partial(fanout.measure, steady, members=members, rate=fanout.STEADY_RATE)),
        (slow, functools.partial(fanout.measure, slow, members=members, rate=fanout.STEADY_RATE, slow_reader=True,
                                 outbox_bytes=outbox_bytes)),
        (while_in_town, functools.partial(mixed.measure, while_in_town, town)),
    ]  # fmt: skip
    if _has_c(common):
        few = 500 if quick else None
        settle_s = 1.0 if quick else SETTLE_S
        measures += [
            (common, functools.partial(idle.measure, common, few or idle.SOCKETS, settle_s)),
            (common, functools.partial(storm.measure, common, few or storm.SOCKETS, settle_s=settle_s)),
        ]
    good = True
    for options, measure in measures:
        report = repeated(measure, options)
        report.show(options.out)
        good = good and report.good
    good = _replay(common.out) and good
    if not good:
        sys.exit(1)


def _has_c(common: Common) -> bool:
    """Whether the load generator in C is there, which idle and storm need; says why not."""
    if common.generator == "python":
        return False
    try:
        build()
    except LoadFailed as problem:
        say(f"without idle and storm: {problem}")
        return False
    return True


def _replay(out: Path | None) -> bool:
    scripts = {replay.EXCERPT.name: write_script(read_chatlog(replay.EXCERPT))}

    async def run() -> replay.Outcome:
        with open_progress() as progress:
            return await replay.replay(scripts, replay.Options(drop_every_s=3.0), progress)

    outcome = plainly(run, ClientError, Stalled)
    line = json.dumps({"bench": "replay", **outcome.told()})
    print(line, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(line + "\n")
    return outcome.good


if __name__ == "__main__":
    cli(prog_name="python -m bench")
