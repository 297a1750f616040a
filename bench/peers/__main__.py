"""``python -m bench.peers``: install the peers, and measure Konnect beside them (``make bench``)."""

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from bench.options import Common, common_without
from bench.peers.install import install as install_all
from bench.peers.kinds import PEERS, TITLES
from bench.peers.run import jobs_of, run_jobs, servers_of, show
from bench.peers.workloads import FULL, QUICK
from bench.server import quiet_logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Konnect beside its peers: the same loads, in turns, and the ratios. See docs/peers.md."""


@cli.command()
def install() -> None:
    """Install the peers from Debian's packages (as root) and npm's; none of them runs as a service."""
    left = install_all(click.echo)
    for sentence in left:
        click.echo(sentence, err=True)
    if left:
        sys.exit(1)
    click.echo("All peers can run.")


@cli.command()
def check() -> None:
    """Say of each peer its version, or what is missing."""
    missing = {kind.title: kind.missing() for kind in PEERS}
    for kind in PEERS:
        click.echo(f"{kind.title}: {missing[kind.title] or kind.version()}")
    if any(missing.values()):
        sys.exit(1)


@cli.command()
@click.option("--quick", is_flag=True, help="Short and small, once, in three minutes: to see that it works.")
@click.option("--reps", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds; medians are shown.")
@click.option(
    "--pin/--no-pin",
    default=True,
    show_default=True,
    help="Each server on one core, generator and PostgreSQL on another.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, show_default=True, help="Seconds measured.")
@click.option(
    "--only",
    type=click.Choice(list(TITLES)),
    multiple=True,
    help="Konnect and these; may be given several times.",
)
@click.option(
    "--workload",
    "names",
    type=click.Choice([workload.name for workload in FULL]),
    multiple=True,
    help="These alone; may be given several times.",
)
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table as Markdown.")
@common_without("reps", "pin", "seconds", "generator")
def run(
    common: Common, quick: bool, reps: int, pin: bool, seconds: float, only: tuple[str, ...], names: tuple[str, ...],
    markdown: Path | None,
) -> None:  # fmt: skip
    """Measure W1 to W5 for Konnect and all peers, round by round, and compare with what is to be reached.

    Prints one line of JSON for each workload and server and one with the table; tables for people go to standard error.
    Exit code 1: a gate does not hold; 2: something could not be measured, or failed.
    """
    quiet_logs()
    options = replace(common, reps=reps, pin=pin, seconds=seconds, generator="c")
    if quick:
        options = replace(options, reps=1, seconds=1.0, warmup=0.3)
    workloads = [workload for workload in (QUICK if quick else FULL) if not names or workload.name in names]
    jobs = jobs_of(workloads, servers_of(only))
    sys.exit(show(run_jobs(jobs, options), options, markdown, small=quick))


if __name__ == "__main__":
    cli(prog_name="python -m bench.peers")
