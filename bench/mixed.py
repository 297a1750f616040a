"""W6, a town that chats: thousands of users in groups of all sizes, everything that phones do, for minutes.

Messages of real chat logs at a steady rate, typing, receipts, presence, and sockets that drop and come back with heads
and cursor. Every phone's transcript is checked throughout. See ``bench/crowd_plan.py`` for who is in which group and
who speaks, ``bench/crowd_phone.py`` for what a phone does, ``bench/crowd_ledger.py`` for what is checked.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import msgspec
import trio
from msgspec.structs import replace

from bench.accounts import Person, write_group, write_people
from bench.crowd import Orders, User
from bench.crowd_course import BACK_WITHIN, MIB, Course, run_crowd
from bench.crowd_plan import draw_groups, read_texts
from bench.loadgen import Load, Phase
from bench.memory import slope_kib_per_minute
from bench.options import Common, common_without, finish
from bench.progress import say
from bench.replay import EXCERPT
from bench.report import Report
from bench.server import open_database_of, open_server

USERS: Final = 2000
GROUPS: Final = 200
RATE: Final = 50.0  # messages a second
MINUTES: Final = 10.0
DROP_SHARE: Final = 0.01  # of the sockets, a minute
AWAY_S: Final = (0.5, 20.0)  # after a drop; half of them are away for longer than presence's grace of 10 s
SEED: Final = 20
SETTLE_S: Final = 60.0
LEAVE_OUT_S: Final = 120.0  # of the slope: a server that fills its caches is not leaking
_LOG: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Town(msgspec.Struct, frozen=True):
    """How large, how busy, and how long."""

    users: int = USERS
    groups: int = GROUPS
    rate: float = RATE
    drop_share: float = DROP_SHARE
    away_s: tuple[float, float] = AWAY_S
    seed: int = SEED
    texts: tuple[str, ...] = ()  # said one after the other, again and again; none: those of the excerpt


async def measure(options: Common, town: Town) -> Report:
    """One run on one server: ``options.seconds`` of it are measured, after ``options.warmup``.

    Raises:
        LoadFailed: The crowd could not be made, or was refused.
        ServerFailed: The server did not start.
    """
    texts = list(town.texts) or read_texts([EXCERPT])
    random = Random(town.seed)
    groups = draw_groups(random, town.users, town.groups)
    settings = {
        "users": town.users, "groups": town.groups, "memberships": sum(map(len, groups)), "rate": town.rate,
        "drop_share_per_minute": town.drop_share, "seconds": options.seconds, "texts": len(texts), "seed": town.seed,
        "pin": options.pin,
    }  # fmt: skip
    report = Report("mixed", "delivery", settings)
    limits = options.limits | {"group_members": str(max(len(groups[0]), 2))}
    async with open_server(limits, options.server_core) as server:
        say(f"{town.users} users move in")
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", town.users)
            conversations = [
                str(await trio.to_thread.run_sync(write_group, dsn, [people[place] for place in members]))
                for members in groups
            ]
        orders = Orders(
            host="127.0.0.1", port=server.port, users=_users(people, groups), groups=conversations, texts=texts,
            rate=town.rate, warmup=options.warmup, seconds=options.seconds, settle=SETTLE_S,
            drop_share=town.drop_share, away=town.away_s, seed=random.getrandbits(32),
        )  # fmt: skip
        course = await run_crowd(server, orders, options.load_core)
    _add(report, course)
    return report


def _users(people: Sequence[Person], groups: Sequence[Sequence[int]]) -> list[User]:
    users = [User(str(person.user), person.token, []) for person in people]
    for place, members in enumerate(groups):
        for member in members:
            users[member].groups.append(place)
    return users


def _add(report: Report, course: Course) -> None:
    result, samples = course.result, course.samples
    counts = result["phases"][0]
    load = Load("python", course.sign_in_s, result, rss_ready=course.ready)
    phase = Phase(counts, course.before, course.after)
    seconds = counts["seconds"]
    slope_from_s = min(LEAVE_OUT_S, seconds / 5)
    run = report.add(
        "everybody", load, phase, "delivery", counts["deliveries"],
        ack={word: round(counts["ack"][word], 3) for word in ("p50_ms", "p99_ms", "p999_ms", "max_ms")},
        messages_per_s=round(result["sent"] / seconds, 2),
        acks_per_s=round(counts["acks"] / seconds, 2),
        caught_up=result["caught_up"],
        drops=result["drops"],
        redials=result["redials"],
        violations=result["violations"],
        violation_kinds=result["kinds"],
        examples=result["examples"],
        settle_s=round(result["settle_s"], 2),
        asked=result["asked"],
        events=result["events"],
        decoded_whole=result["sampled"],
        rss_each_half_minute_mib=[
            [round(sample.seconds), round(sample.size_bytes / MIB, 2)] for sample in course.each_half_minute
        ],
        rss_slope_kib_per_minute=slope_kib_per_minute([one for one in samples if one.seconds >= slope_from_s]),
        rss_slope_from_s=round(slope_from_s, 1),
        rss_empty_before_mib=_mib(course.empty),
        rss_empty_after_mib=_mib(course.left),
        left_behind=course.left_behind,
        rss_empty_ratio=round(course.left / course.empty, 3) if course.left and course.empty else None,
    )  # fmt: skip
    if course.left and course.empty:
        run["back_within_10_percent"] = course.left <= course.empty * BACK_WITHIN
    report.remarks += _remarks(run)


def _remarks(run: dict[str, Any]) -> list[str]:
    remarks = [
        f"{run['messages_per_s']:g} messages/s sent; {run['drops']} drops, {run['caught_up']} entries caught up with; "
        f"acknowledged within {run['ack']['p50_ms']:g} ms (p50), {run['ack']['p99_ms']:g} ms (p99)",
        f"{run['violations']} violations" + "".join(f"\n    {example}" for example in run["examples"]),
    ]
    if run["rss_empty_ratio"] is not None and run["rss_mib"] is not None:
        remarks.append(
            f"memory: {run['rss_empty_before_mib']:g} MiB empty, {run['rss_ready_mib']:g} signed in, "
            f"{run['rss_mib']:g} at the end, growing by {run['rss_slope_kib_per_minute']} KiB a minute; "
            f"{run['rss_empty_after_mib']:g} when all had gone, {run['rss_empty_ratio']:.0%} of before, with "
            + ", ".join(f"{count} {name}" for name, count in run["left_behind"].items())
        )
    return remarks


def _mib(size: int | None) -> float | None:
    return None if size is None else round(size / MIB, 2)


@click.command()
@click.option("--users", type=click.IntRange(3, 50_000), default=USERS, show_default=True, help="One socket each.")
@click.option("--groups", type=click.IntRange(1, 10_000), default=GROUPS, show_default=True, help="Of Zipf sizes.")
@click.option(
    "--rate", type=click.FloatRange(0.1), default=RATE, show_default=True, help="Messages a second, all in all."
)
@click.option("--minutes", type=click.FloatRange(0.05), default=MINUTES, show_default=True, help="Measured.")
@click.option(
    "--drop",
    type=click.FloatRange(0, 10),
    default=DROP_SHARE,
    show_default=True,
    help="Share of the sockets that drop each minute.",
)
@click.option("--logs", type=_LOG, multiple=True, metavar="FILE...",
              help="Chat logs to take the texts from; without it, the excerpt of the replay.")  # fmt: skip
@click.argument("more_logs", type=_LOG, nargs=-1, metavar="")
@click.option("--seed", type=click.IntRange(1), default=SEED, show_default=True, help="Everything is drawn from it.")
@common_without("seconds", "payload", "generator")
def main(
    common: Common, users: int, groups: int, rate: float, minutes: float, drop: float, logs: tuple[Path, ...],
    more_logs: tuple[Path, ...], seed: int,
) -> None:  # fmt: skip
    """Measure a town that chats (W6); prints one JSON line. Every phone's transcript is checked: violations must be 0.

    Rate and latency are those of deliveries to phones that were connected; what a phone caught up with after a drop
    counts in the rate only. The server's memory is told each half minute, and before and after everybody was there.
    """
    if more_logs and not logs:
        raise click.UsageError(f"{more_logs[0]}: chat logs are named after --logs")
    options = replace(common, seconds=60 * minutes)
    try:
        texts = tuple(read_texts([*logs, *more_logs] or [EXCERPT]))
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    town = Town(users, groups, rate, drop, seed=seed, texts=texts)

    async def run() -> Report:
        return await measure(options, town)

    finish(run, options)


if __name__ == "__main__":
    main()
