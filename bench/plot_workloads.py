"""Rates and latencies of each workload, all servers that were measured one beneath the other."""

import importlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from bench.plot_style import BLACK, caption, colour_of, label_logarithmic, plain
from bench.report import short
from bench.results import Series

_QUANTILES: Final = (("p50_ms", "p50", "o"), ("p99_ms", "p99", "s"), ("p999_ms", "p99.9", "D"))  # field, word, mark
_ROOM_FOR_WORDS: Final = 0.7  # at the right of the latencies, as a share of their own width
_UNITS: Final = {
    "round trip": "round trips",
    "message": "messages",
    "delivery": "deliveries",
    "sign-in": "sign-ins",
    "socket": "sockets",
}


def draw_workloads(figure: Any, every: list[Series]) -> None:
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
        left.set_title(caption(row[0]))
        _bars(left, row)
        _dots(right, row)
        for panel in (left, right):
            panel.set_ylim(len(row) - 0.4, -0.6)
    _explain(panels[0][1])


def _by_workload(every: Sequence[Series]) -> Iterator[Iterator[Series]]:
    def workload(one: Series) -> tuple[str, object]:
        # Not all settings: a peer may have some of its own.
        return caption(one), None if one.unit == "sign-in" else one.settings.get("payload")  # nobody says a word there

    order = list(dict.fromkeys(map(workload, every)))
    for _, group in groupby(sorted(every, key=lambda one: order.index(workload(one))), key=workload):
        yield group


def _bars(panel: Any, row: Sequence[Series]) -> None:
    """The rate of each server, with smallest and largest where it was repeated."""
    widest = max((max(one.values("rate_per_s"), default=0.0) for one in row), default=0.0) or 1.0
    for place, one in enumerate(row):
        run = one.median
        rate = run.get("rate_per_s") or 0.0
        panel.barh(place, rate, height=0.62, color=colour_of(one))
        low, high = run.get("spread", {}).get("rate_per_s", (rate, rate))
        if high > low:
            panel.plot([low, high], [place, place], color="white", linewidth=3.2, solid_capstyle="butt")
            panel.plot([low, high], [place, place], color=BLACK, linewidth=1.2, solid_capstyle="butt")
        words = ("at least " if run.get("lower_bound") else "") + short(rate)
        words += "" if one.good else "  FAILED"
        panel.text(max(rate, high) + widest * 0.015, place, words, va="center")
    panel.set_xlim(0, widest * 1.3)
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
        found = [(run[name], mark) for name, _, mark in _QUANTILES if run.get(name)]
        if not found:
            continue
        colour = colour_of(one)
        panel.plot([found[0][0], found[-1][0]], [place, place], color=colour, linewidth=1)
        for at, mark in found:
            panel.plot(at, place, mark, color=colour, markersize=5)
        panel.annotate(
            " · ".join(plain(at) for at, _ in found) + " ms", (found[-1][0], place), (9, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    low, high = panel.get_xlim()
    label_logarithmic(panel.xaxis, most=5)
    panel.set_xlim(low, high * (high / low) ** _ROOM_FOR_WORDS)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


def _explain(panel: Any) -> None:
    """What the marks mean, once, above the first of the latencies: beside marks that coincide there is no room."""
    panel.set_title("Latency in milliseconds, logarithmic")
    line = importlib.import_module("matplotlib.lines").Line2D
    marks = [
        line([], [], linestyle="", marker=mark, color=BLACK, markersize=5, label=word) for _, word, mark in _QUANTILES
    ]
    panel.legend(handles=marks, loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, frameon=False, borderpad=0,
                 handletextpad=0.1, columnspacing=1.0, fontsize=8)  # fmt: skip
