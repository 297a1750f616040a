"""How the cost of a delivery, and its latency, grow: W2 over the members of a group, W6 over the users of a town.

Three curves, each a line of JSON whose runs are the points: fan-out as fast as it goes, fan-out by the clock, and the
town. A curve that is flat in CPU per delivery says that nothing in the server is looked through, copied or locked once
for every member.
"""

import functools
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from bench import fanout, mixed
from bench.loadgen import LoadFailed
from bench.options import Common, common, repeated
from bench.plot import NoMatplotlib, draw
from bench.progress import part
from bench.report import Report
from bench.results import gather
from bench.server import quiet_logs

MEMBERS: Final = (10, 30, 100, 300, 1000, 3000, 10_000)
USERS: Final = (250, 500, 1000, 2000, 4000)
RATE: Final = 10.0  # messages a second by the clock, so that 10,000 members mean 100,000 deliveries a second
CLOCK_S: Final = 20.0  # CPU is told in hundredths of a second: a small group needs some time to cost any
USERS_A_GROUP: Final = 10  # as in W6: 2,000 users, 200 groups
SAYS_EVERY_S: Final = 80.0  # each user; half as often as in W6, since a town of 4,000 has four times its deliveries
TOWN_S: Final = 30.0


async def over_members(options: Common, members: Sequence[int], rate: float) -> Report:
    """W2 for each of *members*, each on a fresh server; *rate* as in :func:`bench.fanout.measure`."""
    load = f"{rate:g} messages/s" if rate else "as fast as it goes"
    settings = {"over": "members", "load": load, "payload": options.payload, "pin": options.pin}
    report = Report("growth", "delivery", settings)
    for count in members:
        part(f"{count} members, {load}")
        await _point(report, f"{count} members", fanout.measure(options, members=count, rate=rate), members=count)
    return report


async def over_users(options: Common, users: Sequence[int]) -> Report:
    """W6 for each of *users*, each on a fresh server, with a group for every ten of them, for ``options.seconds``."""
    load = f"everybody says something every {SAYS_EVERY_S:g} s"
    settings = {"over": "users", "load": load, "seconds": options.seconds, "pin": options.pin}
    report = Report("growth", "delivery", settings)
    for count in users:
        part(f"{count} users")
        town = mixed.Town(users=count, groups=max(1, count // USERS_A_GROUP), rate=count / SAYS_EVERY_S)
        await _point(report, f"{count} users", mixed.measure(options, town), users=count)
    return report


async def _point(report: Report, name: str, measured: Awaitable[Report], **size: int) -> None:
    """One point of a curve. Where no load can be made, at sizes too large for the machine, it is a failed one, with
    the reason: the others stay."""
    try:
        report.adopt((await measured).runs[0], name, **size)
    except* LoadFailed as group:
        problem: BaseException = group
        while isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        report.adopt({"ok": False, "lower_bound": False, "failures": {}, "reason": str(problem)}, name, **size)
        report.remarks.append(f"{name}: {problem}")


@click.command()
@click.option("--members", type=click.IntRange(2, 50_000), multiple=True, default=MEMBERS, show_default=True,
              help="Sizes of the group; may be given several times.")  # fmt: skip
@click.option("--users", type=click.IntRange(3, 50_000), multiple=True, default=USERS, show_default=True,
              help="Sizes of the town; may be given several times.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0.1), default=RATE, show_default=True,
              help="Messages a second to the group by the clock.")  # fmt: skip
@click.option("--clock-seconds", type=click.FloatRange(0.1), default=CLOCK_S, show_default=True,
              help="How long a group by the clock is measured; --seconds is for the other.")  # fmt: skip
@click.option("--town-seconds", type=click.FloatRange(1), default=TOWN_S, show_default=True,
              help="How long each town is measured.")  # fmt: skip
@click.option("--only", type=click.Choice(["members", "users"]), help="One of the two.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path),
              help="Draw the curves, too: a file that ends with .png or .svg.")  # fmt: skip
@common
def main(
    common: Common, members: tuple[int, ...], users: tuple[int, ...], rate: float, clock_seconds: float,
    town_seconds: float, only: str | None, picture: Path | None,
) -> None:  # fmt: skip
    """Measure how cost and latency grow with members and users; prints a JSON line for each curve."""
    quiet_logs()
    curves: list[tuple[Common, Callable[[], Awaitable[Report]]]] = []
    if only != "users":
        clock = replace(common, seconds=clock_seconds)
        curves.append((common, functools.partial(over_members, common, members, 0.0)))
        curves.append((clock, functools.partial(over_members, clock, members, rate)))
    if only != "members":
        town = replace(common, seconds=town_seconds)
        curves.append((town, functools.partial(over_users, town, users)))
    reports = []
    for options, measure in curves:
        report = repeated(measure, options)
        report.show(options.out)
        reports.append(report)
    if picture is not None:
        _draw(reports, picture)
    if not all(report.good for report in reports):
        raise click.exceptions.Exit(1)


def _draw(reports: Sequence[Report], picture: Path) -> None:
    try:
        draw(gather(json.loads(report.line()) for report in reports), picture)
    except NoMatplotlib as problem:
        raise click.ClickException(str(problem)) from None


if __name__ == "__main__":
    main()
