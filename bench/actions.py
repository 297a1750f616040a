"""A conversation of a thousand members who are all connected: does it stay responsive under each action?

While one member writes an ordinary message ten times a second, some fifty of one action are done, one after another, by
people who may; then of the next one. Responsive means: an action's own answer, and the acknowledgement of the ordinary
messages meanwhile, come in time; the latter compared with a row in which nobody does anything else. Needs the load
generator in C, which holds the thousand sockets and writes the ordinary messages.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import click
import trio
from msgspec.structs import replace

from bench.actions_past import Past, write_past
from bench.actions_rows import COUNTS, Play, rows_of
from bench.archive import index_archive
from bench.asker import figures
from bench.loadgen import Beside, Seat, open_beside
from bench.options import Common, common_without, finish
from bench.processes import Cost
from bench.progress import part
from bench.report import Report
from bench.server import ServerProcess, open_database_of, open_server

MEMBERS: Final = 1_000
RATE: Final = 10.0  # ordinary messages a second
COUNT: Final = 50
ROW_S: Final = 3.0
BASELINE_S: Final = 10.0
SETTLE_S: Final = 0.4  # after a row's last action: what it set going is still counted there
ACTION_MS: Final = 100.0  # gates, of the 95th of a hundred
ACK_MS: Final = 50.0
NOTED: Final = 2.0  # times the baseline's acknowledgement: no failure, but named
BASELINE: Final = "nothing beside"


async def measure(
    options: Common, kind: str, members: int, count: int, which: str, baseline_s: float = BASELINE_S
) -> Report:
    """One run on a fresh server: the baseline, and a row for each action; *which* of them: "changes", "questions" or
    "all"."""
    settings = {
        "kind": kind, "part": which, "members": members, "rate": RATE, "count": count, "seconds": options.seconds,
        "pin": options.pin,
    }  # fmt: skip
    report = Report("actions", "action", settings)
    # Askers do not answer pings between two questions.
    limits = options.limits | {"group_members": str(members + count), "ping_interval_s": "600"}
    async with open_server(limits, options.server_core) as server:
        part("writing the past")
        async with open_database_of(server) as dsn:
            past = await trio.to_thread.run_sync(write_past, dsn, server.folder / "keys", kind, members, count)
            await trio.to_thread.run_sync(index_archive, dsn)
        part(f"{members} members sign in")
        load = {"rate": RATE, "bytes": float(options.payload), "drain": 30.0}
        async with open_beside(server, _seats(past), load, options.load_core) as beside:
            play = await trio.to_thread.run_sync(Play, server.port, past)
            try:
                await _measure(report, server, beside, play, options, count, which, baseline_s)
            finally:
                play.close()
            result = await beside.stop()
    failures = {word: result[word] for word in ("lost", "wrong", "errors", "closes")}
    report.runs[0]["failures"] = failures
    report.runs[0]["ok"] = report.runs[0]["ok"] and not any(failures.values())
    report.remarks += _remarks(report)
    return report


def _seats(past: Past) -> list[Seat]:
    place = str(past.conversation)
    members = [Seat(one.token, place, "r" if nth else "a", head=past.last_seq) for nth, one in enumerate(past.members)]
    return members + [Seat(one.token, place, "g") for one in past.guests]


async def _measure(
    report: Report, server: ServerProcess, beside: Beside, play: Play, options: Common, count: int, which: str,
    baseline_s: float,
) -> None:  # fmt: skip
    part(BASELINE)
    await trio.sleep(options.warmup)
    await beside.begin()
    before = server.cost()
    await trio.sleep(baseline_s)
    quiet = _cores(before, server.cost(), baseline_s)
    counts = await beside.end()
    ack_ms = counts["ack"]["p95_ms"]
    report.adopt(
        {word: round(counts["ack"][word], 2) for word in ("p50_ms", "p95_ms", "p99_ms", "max_ms")}
        | {"count": counts["acks"], "lower_bound": False, "failures": {}, "ok": ack_ms < ACK_MS},
        BASELINE, **_told(counts), **_named(quiet, ("server_cores", "postgres_cores")),
    )  # fmt: skip
    for name, row in rows_of(play, which).items():
        part(name)
        often = min(count, COUNTS.get(name, count))
        await beside.begin()
        before, began = server.cost(), time.perf_counter()
        times = await trio.to_thread.run_sync(play.do, row, often, options.seconds / often)
        await trio.sleep(SETTLE_S)
        seconds = time.perf_counter() - began
        spent = _cores(before, server.cost(), seconds)
        counts = await beside.end()
        run = figures(times, ACTION_MS)
        run |= _named([(one - other) * seconds / often * 1e6 for one, other in zip(spent, quiet, strict=True)],
                      ("server_cpu_us", "postgres_cpu_us"), 0)  # fmt: skip
        told = _told(counts)
        run["ok"] = run["ok"] and told["ack_p95_ms"] < ACK_MS
        report.adopt(run, name, **told)


def _told(counts: dict[str, Any]) -> dict[str, Any]:
    """Of the ordinary messages."""
    return {
        "ack_p95_ms": round(counts["ack"]["p95_ms"], 2), "delivery_p95_ms": round(counts["delivery"]["p95_ms"], 2),
        "last_p95_ms": round(counts["last"]["p95_ms"], 2), "messages": counts["acks"],
        "generator_cores": round(counts["cpu"], 3),
    }  # fmt: skip


def _cores(before: Cost | None, after: Cost | None, seconds: float) -> list[float]:
    if before is None or after is None:
        return []
    return [
        (after.server_cpu_s - before.server_cpu_s) / seconds, (after.postgres_cpu_s - before.postgres_cpu_s) / seconds
    ]  # fmt: skip


def _named(values: Sequence[float], names: Sequence[str], digits: int = 3) -> dict[str, float]:
    return {name: round(value, digits) for name, value in zip(names, values, strict=False)}


def _remarks(report: Report) -> list[str]:
    noted_ms = NOTED * report.runs[0]["ack_p95_ms"]
    remarks = [f"an action's own p95 is to be below {ACTION_MS:g} ms, the ordinary messages' below {ACK_MS:g} ms"]
    for run in report.runs[1:]:
        if run["p95_ms"] >= ACTION_MS:
            remarks.append(f"does not hold: {run['name']}, answered within {run['p95_ms']} ms (p95)")
        if run["ack_p95_ms"] >= ACK_MS:
            remarks.append(f"does not hold: {run['name']}, ordinary messages within {run['ack_p95_ms']} ms (p95)")
    if all(run["ok"] for run in report.runs):
        remarks.append("all rows hold")
    slower = [run["name"] for run in report.runs[1:] if run["ack_p95_ms"] >= noted_ms]
    if slower:
        remarks.append(f"ordinary messages wait more than {NOTED:g} times as long beside: {', '.join(slower)}")
    return remarks


@click.command()
@click.option("--kind", type=click.Choice(["group", "room"]), default="group", show_default=True,
              help="A group, whose members are listed, or a room, where they are counted.")  # fmt: skip
@click.option("--members", type=click.IntRange(50, 10_000), default=MEMBERS, show_default=True, help="All connected.")
@click.option("--count", type=click.IntRange(4, 50), default=COUNT, show_default=True, help="Of each action.")
@click.option("--part", "which", type=click.Choice(["all", "changes", "questions"]), default="all", show_default=True,
              help="Only what changes the conversation, or the rest: each takes two and a half minutes.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0.2), default=ROW_S, show_default=True, help="Of a row, at least.")
@common_without("generator", "seconds")
def main(common: Common, kind: str, members: int, count: int, which: str, seconds: float) -> None:
    """Measure a conversation of a thousand under each action; prints one JSON line.

    Fails when an action's p95 is 100 ms or more, or that of the ordinary messages' acknowledgement meanwhile 50 ms.
    """

    async def run() -> Report:
        return await measure(replace(common, seconds=seconds), kind, members, count, which)

    finish(run, common)


if __name__ == "__main__":
    main()
