"""What was to be reached and what was: each gate and goal with today's ratio, for people, as JSON and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct, to_builtins
from rich.table import Table

from bench.peers.kinds import KONNECT, TITLES

Results = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]  # (workload, server) -> its runs, see Report.runs


class Aim(Struct, frozen=True):
    """One ratio of Konnect's figure to a peer's, and what it must and should be."""

    row: str  # for people
    workload: str
    run: int  # which of the workload's runs
    figure: str  # a field of the run
    unit: str
    against: str | None  # None: the figure is held against nobody's
    better: Literal["more", "less"]
    gate: float
    goal: float
    at_most: float | None = None  # the goal's bound on Konnect's own figure


class Line(Struct, frozen=True):
    """An aim and what became of it; figures are None when one of the two was not measured."""

    aim: Aim
    konnect: float | None
    peer: float | None
    ratio: float | None
    gate: bool
    goal: bool
    remarks: tuple[str, ...]


def _aims(row: str, place: tuple[str, int], figure: str, unit: str, better: Literal["more", "less"],
          **against: tuple[float, ...]) -> list[Aim]:  # fmt: skip
    return [Aim(row, *place, figure, unit, peer, better, *numbers) for peer, numbers in against.items()]


AIMS: Final = (
    *_aims("W1, 1 in flight", ("roundtrip", 0), "rate_per_s", "/s", "more",
           socketio=(0.7, 1.0), ejabberd=(2, 3), bare=(0.25, 0.4)),
    *_aims("W1, 10 in flight", ("roundtrip", 1), "rate_per_s", "/s", "more", socketio=(1.2, 3), ejabberd=(2.5, 6)),
    *_aims("W2, 1,000 members, most", ("fanout", 0), "rate_per_s", "/s", "more",
           socketio=(2, 6), ejabberd=(5, 15), nats=(0.3, 1.0)),
    *_aims("W2, 1,000 members at 100/s: p99", ("fanout-100", 0), "p99_ms", "ms", "less", bare=(3, 1.5)),
    *_aims("W2, 1,000 members at 100/s: server CPU", ("fanout-100", 0), "server_cpu_us", "us", "less",
           bare=(1.6, 1.3)),
    *_aims("W3, 1 in flight", ("direct", 0), "rate_per_s", "/s", "more", socketio=(1.5, 2.5), ejabberd=(5, 10)),
    *_aims("W3, 1 in flight: p99 of the acknowledgement", ("direct", 0), "p99_ms", "ms", "less",
           socketio=(1.0, 0.5), ejabberd=(1.0, 0.5)),
    *_aims("W3, 10 in flight", ("direct", 1), "rate_per_s", "/s", "more", socketio=(2, 3), ejabberd=(6, 12)),
    *_aims("W4, RSS of an idle user", ("idle", 0), "rss_per_socket_kib", "KiB", "less",
           socketio=(0.7, 0.3, 5), ejabberd=(0.3, 0.12, 5)),
    *_aims("W4, sign-ins", ("idle", 0), "rate_per_s", "/s", "more", socketio=(3, 6), ejabberd=(2, 4)),
    *_aims("W5, storm", ("storm", 0), "seconds", "s", "less", socketio=(0.5, 0.2), ejabberd=(0.6, 0.25)),
    *_aims("W5, storm, 20 missed each", ("storm-missed", 0), "seconds", "s", "less",
           socketio=(0.5, 0.2), ejabberd=(0.6, 0.25)),
    Aim("W5, memory when all have gone, to that before", "storm", 0, "rss_empty_ratio", "", None, "less", 1.1, 1.1),
    Aim("W5, 20 missed each: the same", "storm-missed", 0, "rss_empty_ratio", "", None, "less", 1.1, 1.1),
)  # fmt: skip


def judge(results: Results, aims: Iterable[Aim] = AIMS) -> list[Line]:
    """The ratio for each of *aims*. A run that is missing or failed gives no figure; without one, nothing holds."""
    return [_judge(aim, results) for aim in aims]


def _judge(aim: Aim, results: Results) -> Line:
    konnect, remarks = _figure(results, aim, KONNECT)
    peer: float | None = None
    if aim.against is None:
        ratio = konnect
    else:
        peer, more = _figure(results, aim, aim.against)
        remarks += more
        ratio = konnect / peer if konnect is not None and peer else None
    if konnect is None or ratio is None:
        return Line(aim, konnect, peer, None, False, False, tuple(remarks))
    gate, goal = (ratio >= bound if aim.better == "more" else ratio <= bound for bound in (aim.gate, aim.goal))
    return Line(
        aim, konnect, peer, ratio, gate, goal and (aim.at_most is None or konnect <= aim.at_most), tuple(remarks)
    )


def _figure(results: Results, aim: Aim, server: str) -> tuple[float | None, list[str]]:
    runs = results.get((aim.workload, server), ())
    run = runs[aim.run] if len(runs) > aim.run else None
    if run is None or run.get(aim.figure) is None:
        return None, [f"{TITLES[server]}: not measured"]
    if not run["ok"]:
        return None, [f"{TITLES[server]}: failed, {faults(run)}"]
    bounded = bool(run.get("lower_bound")) and aim.figure == "rate_per_s"
    return run[aim.figure], [f"{TITLES[server]}: at least; the generator was the limit"] if bounded else []


def faults(run: Mapping[str, Any]) -> str:
    """What a failed run failed in."""
    told = ", ".join(f"{count} {word}" for word, count in run["failures"].items() if count)
    return told or "nothing was done"


# --- Shown -----------------------------------------------------------------------------------------------------------

_HEADINGS: Final = ("workload", "Konnect", "against", "", "ratio", "gate", "goal", "remarks")


def as_text(lines: Sequence[Line], small: bool = False) -> Table:
    """The table for a terminal; *small*: of a run that only shows that it works."""
    title = "What to reach, and the ratios of a short run with few people" if small else "What to reach, and the ratios"
    shown = Table(title=title, title_justify="left")
    for place, heading in enumerate(_HEADINGS):
        shown.add_column(heading, justify="right" if place in (1, 3, 4) else "left")
    for line in lines:
        cells = _cells(line)
        for place, holds in ((5, line.gate), (6, line.goal)):
            cells[place] = f"[{'green' if holds else 'red' if place == 5 else 'yellow'}]{cells[place]}[/]"
        shown.add_row(*cells)
    return shown


def as_markdown(lines: Sequence[Line]) -> str:
    """The table for docs/performance.md."""
    rows = [_HEADINGS, ("---",) * len(_HEADINGS), *(_cells(line) for line in lines)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The table for programs."""
    told: list[dict[str, Any]] = to_builtins(lines)
    return told


def figure(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cells(line: Line) -> list[str]:
    aim = line.aim
    sign = "≥" if aim.better == "more" else "≤"
    goal = f"{sign} {aim.goal:g}" + (f", ≤ {aim.at_most:g} {aim.unit}" if aim.at_most is not None else "")
    return [
        aim.row,
        _with_unit(line.konnect, aim.unit),
        "" if aim.against is None else TITLES[aim.against],
        "" if aim.against is None else _with_unit(line.peer, aim.unit),
        "-" if line.ratio is None else f"{line.ratio:.2f}",
        f"{sign} {aim.gate:g}: {_word(line.gate)}",
        f"{goal}: {_word(line.goal)}",
        "; ".join(line.remarks),
    ]


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return figure(value) + (unit if unit in ("/s", "") else f" {unit}")


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"
