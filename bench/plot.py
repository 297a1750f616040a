"""Pictures of results: rates and latencies beside peers, growth curves, memory over time.

They are to be read in print and without colour: Konnect is black, others are grey; curves carry their names at their
ends. matplotlib is not among the project's dependencies; who wants pictures installs it.
"""

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

from bench.report import KONNECT, short
from bench.results import NoResults, Results, Series, read_results

HOW_TO_GET: Final = "pictures need matplotlib, which is not installed: .venv/bin/python -m pip install matplotlib"
DPI: Final = 160
_BLACK, _GREY, _PALE = "#111111", "#8a8a8a", "#d0d0d0"
# Field, word and where it stands beside its mark, mark.
_QUANTILES: Final = (
    ("p50_ms", "p50", "right", "o"), ("p99_ms", "p99", "center", "s"), ("p999_ms", "p99.9", "left", "D"),
)  # fmt: skip
_UNITS: Final = {"round trip": "round trips", "message": "messages", "delivery": "deliveries", "sign-in": "sign-ins"}
_CURVES: Final = (("-", "o"), ("--", "s"), (":", "D"), ("-.", "^"))
_STYLE: Final = {
    "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": _GREY, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelcolor": "#333333",
    "xtick.color": "#333333", "ytick.color": "#333333", "svg.fonttype": "none",
}  # fmt: skip


class NoMatplotlib(Exception):
    """It is not installed; the text says how to get it."""


def draw(results: Results, out: Path) -> list[Path]:
    """Draw all that *results* hold.

    Args:
        results: Of any benchmarks.
        out: Ends with .png or .svg. If there is more than one kind of picture, its name is added to this one's:
            ``out-workloads.png``, ``out-growth.png``, ``out-memory.png``.

    Returns:
        The files written.

    Raises:
        NoMatplotlib: It is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figure = importlib.import_module("matplotlib.figure").Figure
    except ImportError as problem:
        raise NoMatplotlib(HOW_TO_GET) from problem
    every = list(results.series.values())
    kinds: dict[str, tuple[list[Series], Callable[[Any, list[Series]], None]]] = {
        "workloads": ([one for one in every if one.key.bench != "growth"], _workloads),
        "growth": ([one for one in every if one.key.bench == "growth"], _growth),
        "memory": ([one for one in every if one.key.bench == "mixed" and _memory_of(one.median)], _memory),
    }
    wanted = {kind: what for kind, what in kinds.items() if what[0]}
    written = []
    with matplotlib.rc_context(_STYLE):
        for kind, (series, paint) in wanted.items():
            picture = figure(layout="constrained")
            paint(picture, series)
            path = out if len(wanted) == 1 else out.with_name(f"{out.stem}-{kind}{out.suffix}")
            picture.savefig(path, dpi=DPI)
            written.append(path)
    return written


# --- Workloads -------------------------------------------------------------------------------------------------------


def _workloads(figure: Any, every: list[Series]) -> None:
    """A row for each workload: bars of the rate at the left, quantiles of the latency at the right."""
    rows = [list(group) for group in _by_workload(every)]
    heights = [0.55 + 0.27 * len(row) for row in rows]
    figure.set_size_inches(10.5, sum(heights) + 0.75)
    repeated = any(len(one.singles) > 1 for one in every)
    spread = "; at the bars' ends the smallest and largest of the repetitions" if repeated else ""
    figure.suptitle(f"Rate and latency of each workload{spread}", x=0.01, ha="left", fontweight="bold")
    panels = figure.subplots(len(rows), 2, squeeze=False, height_ratios=heights)
    for row, (left, right) in zip(rows, panels, strict=True):
        row = sorted(row, key=lambda one: one.median.get("rate_per_s") or 0.0, reverse=True)
        left.set_title(_caption(row[0]))
        _bars(left, row)
        _dots(right, row)
        for panel in (left, right):
            panel.set_ylim(len(row) - 0.4, -0.6)
    panels[-1][1].set_xlabel("milliseconds, logarithmic")


def _by_workload(every: Sequence[Series]) -> Iterator[Iterator[Series]]:
    def workload(one: Series) -> tuple[str, object]:
        # Not all settings: a peer may have some of its own.
        return _caption(one), one.settings.get("payload")

    order = list(dict.fromkeys(map(workload, every)))
    for _, group in groupby(sorted(every, key=lambda one: order.index(workload(one))), key=workload):
        yield group


def _caption(series: Series) -> str:
    shown = {"members", "users", "groups", "pairs", "sockets", "missed"}
    settings = series.settings
    words = [f"{value:,} {name}" for name, value in settings.items() if name in shown and isinstance(value, int)]
    if rate := settings.get("rate"):
        words.append(f"{rate:g} messages/s")
    name = f"{series.key.bench}, {series.key.run}" if series.key.run else series.key.bench
    return f"{name} ({', '.join(words)})" if words else name


def _bars(panel: Any, row: Sequence[Series]) -> None:
    """The rate of each server, with smallest and largest where it was repeated."""
    widest = max((max(one.values("rate_per_s"), default=0.0) for one in row), default=0.0) or 1.0
    for place, one in enumerate(row):
        run = one.median
        rate = run.get("rate_per_s") or 0.0
        panel.barh(place, rate, height=0.62, color=_colour(one))
        low, high = run.get("spread", {}).get("rate_per_s", (rate, rate))
        if high > low:
            panel.plot([low, high], [place, place], color="white", linewidth=3.2, solid_capstyle="butt")
            panel.plot([low, high], [place, place], color=_BLACK, linewidth=1.2, solid_capstyle="butt")
        words = ("at least " if run.get("lower_bound") else "") + short(rate)
        words += "" if one.good else "  FAILED"
        panel.text(max(rate, high) + widest * 0.015, place, words, va="center")
    panel.set_xlim(0, widest * 1.2)
    panel.set_yticks(range(len(row)), [one.key.server for one in row])
    panel.tick_params(axis="y", length=0)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.set_xlabel(f"{_UNITS.get(row[0].unit, row[0].unit)} a second", loc="left")


def _dots(panel: Any, row: Sequence[Series]) -> None:
    """p50, p99 and p99.9 of each server on one line."""
    panel.set_xscale("log")
    for place, one in enumerate(row):
        run = one.median
        found = [(run[name], word, side, mark) for name, word, side, mark in _QUANTILES if run.get(name)]
        if not found:
            continue
        colour = _colour(one)
        panel.plot([found[0][0], found[-1][0]], [place, place], color=colour, linewidth=1)
        for at, word, side, mark in found:
            panel.plot(at, place, mark, color=colour, markersize=5)
            if place == 0:
                panel.annotate(word, (at, place), (0, 7), textcoords="offset points", ha=side, fontsize=7)
        panel.annotate(
            " · ".join(f"{at:.3g}" for at, *_ in found) + " ms", (found[-1][0], place), (9, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    low, high = panel.get_xlim()
    panel.set_xlim(low, high * (high / low) ** 0.45)  # room for the words
    panel.xaxis.set_major_formatter(lambda value, _: short(value))
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


# --- Growth ----------------------------------------------------------------------------------------------------------


def _growth(figure: Any, every: list[Series]) -> None:
    """A row for each thing that grows: server CPU at the left, p99 at the right, a curve for each load and server."""
    kinds = [over for over in ("members", "users") if any(one.settings.get("over") == over for one in every)]
    figure.set_size_inches(10.5, 3.4 * len(kinds) + 0.4)
    figure.suptitle("How the cost of a delivery grows", x=0.01, ha="left", fontweight="bold")
    panels = figure.subplots(len(kinds), 2, squeeze=False)
    for over, (left, right) in zip(kinds, panels, strict=True):
        curves = _curves([one for one in every if one.settings.get("over") == over], over)
        _lines(left, curves, over, "server_cpu_us")
        _lines(right, curves, over, "p99_ms")
        where = "members of one group" if over == "members" else "users, a group for every ten of them"
        if len(curves) == 1:
            where += f"; {next(iter(curves))}"
        left.set_title("Server CPU for each delivery, in microseconds")
        right.set_title("p99 of the delivery, in milliseconds")
        for panel in (left, right):
            panel.set_xlabel(where)


def _curves(every: Sequence[Series], over: str) -> dict[str, list[dict[str, Any]]]:
    """Name -> its points in order; the server is named when there are others than Konnect."""
    peers = {one.key.server for one in every} != {KONNECT}
    curves: dict[str, list[dict[str, Any]]] = {}
    for one in every:
        load = str(one.settings.get("load", ""))
        curves.setdefault(f"{one.key.server}, {load}" if peers else load, []).append(one.median)
    return {name: sorted(points, key=lambda point: float(point[over])) for name, points in curves.items()}


def _lines(panel: Any, curves: Mapping[str, Sequence[Mapping[str, Any]]], over: str, metric: str) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(visible=True, color=_PALE, linewidth=0.5)
    panel.set_axisbelow(True)
    ends: list[tuple[float, float, str]] = []
    places: set[float] = set()
    for number, (name, points) in enumerate(curves.items()):
        found = [(float(point[over]), point) for point in points if point.get(metric)]
        if not found:
            continue
        line, mark = _CURVES[number % len(_CURVES)]
        xs, ys = [at for at, _ in found], [point[metric] for _, point in found]
        places.update(xs)
        panel.plot(xs, ys, line, marker=mark, color=_BLACK, markersize=4, linewidth=1.2)
        for at, point in found:
            low, high = point.get("spread", {}).get(metric, (0, 0))
            if high > low > 0:
                panel.plot([at, at], [low, high], color=_GREY, linewidth=3, alpha=0.6, zorder=1)
        ends.append((xs[-1], ys[-1], name))
    _room(panel)
    if len(curves) > 1:
        _name_curves(panel, ends)
    ticker = importlib.import_module("matplotlib.ticker")
    panel.set_xticks(sorted(places), [f"{place:,.0f}" for place in sorted(places)])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    panel.yaxis.set_minor_locator(ticker.LogLocator(subs=(2.0, 5.0)))
    for set_formatter in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        set_formatter(lambda value, _: short(value))


def _room(panel: Any) -> None:
    """At least a decade of height, or noise would look like growth."""
    low, high = panel.get_ylim()
    if high < low * 10:
        middle = math.sqrt(low * high)
        panel.set_ylim(middle / math.sqrt(10), middle * math.sqrt(10))


def _name_curves(panel: Any, ends: Sequence[tuple[float, float, str]]) -> None:
    """Each curve's name at the right of its end, moved up where two would overlap."""
    left, right = panel.get_xlim()
    longest = max(len(name) for *_, name in ends)
    panel.set_xlim(left, right * (right / left) ** (0.018 * longest))
    low, high = panel.get_ylim()
    line = (high / low) ** 0.06  # the height of a line of text
    lowest = 0.0
    for x, y, name in sorted(ends, key=lambda end: end[1]):
        at = max(y, lowest)
        panel.annotate(name, (x, at), (7, 0), textcoords="offset points", ha="left", va="center", fontsize=8)
        lowest = at * line


# --- Memory ----------------------------------------------------------------------------------------------------------


def _memory(figure: Any, every: list[Series]) -> None:
    """The server's memory over each town's run, with the empty server before and after."""
    figure.set_size_inches(8.5, 3.3 * len(every))
    panels = figure.subplots(len(every), 1, squeeze=False)
    for one, (panel,) in zip(every, panels, strict=True):
        run = one.singles[-1]
        samples = _memory_of(run)
        minutes, sizes = [at / 60 for at, _ in samples], [size for _, size in samples]
        panel.plot(minutes, sizes, color=_BLACK, marker="o", markersize=3, linewidth=1.2)
        panel.set_title(f"The server's memory: {_caption(one)}")
        if (slope := run.get("rss_slope_kib_per_minute")) is not None:
            words = f"{slope:+,.0f} KiB a minute from minute {run['rss_slope_from_s'] / 60:.1f} on"
            panel.annotate(words, (minutes[len(minutes) // 2], max(sizes)), (0, 7), textcoords="offset points",
                           ha="center", fontsize=8)  # fmt: skip
        if (size := run.get("rss_empty_before_mib")) is not None:
            panel.axhline(size, color=_GREY, linestyle=":", linewidth=1)
            panel.annotate(f"empty, before anyone came: {size:.0f} MiB", (minutes[0], size), (0, -10),
                           textcoords="offset points", fontsize=8)  # fmt: skip
        if (size := run.get("rss_empty_after_mib")) is not None:
            later = minutes[-1] * 1.06
            panel.plot(later, size, "D", color=_BLACK, markersize=5, markerfacecolor="white")
            panel.annotate(f"empty again:\n{size:.0f} MiB", (later, size), (8, 0), textcoords="offset points",
                           va="center", fontsize=8)  # fmt: skip
        panel.set_xlim(-minutes[-1] * 0.03, minutes[-1] * 1.2)
        panel.set_ylim(0, max([*sizes, run.get("rss_empty_after_mib") or 0]) * 1.15)
        panel.set_xlabel("minutes")
        panel.set_ylabel("MiB")


def _memory_of(run: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(at, size) for at, size in run.get("rss_each_half_minute_mib", ())]


def _colour(series: Series) -> str:
    return _BLACK if series.key.server == KONNECT else _GREY


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Ends with .png or .svg; several kinds of pictures get their names added.")  # fmt: skip
def main(files: tuple[Path, ...], out: Path) -> None:
    """Draw the results in FILES: rates and latencies beside peers, growth curves, memory over time."""
    if out.suffix not in (".png", ".svg"):
        raise click.UsageError(f"{out} should end with .png or .svg")
    try:
        written = draw(read_results(files), out)
    except (NoResults, NoMatplotlib) as problem:
        raise click.ClickException(str(problem)) from None
    for path in written:
        click.echo(path)


if __name__ == "__main__":
    main()
