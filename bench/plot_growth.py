"""Growth curves: what a delivery costs, and how late it is, over members or users."""

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.plot_style import BLACK, GREY, PALE, label_logarithmic
from bench.report import KONNECT
from bench.results import Series

_WHERE: Final = {"members": "One group", "users": "A town"}
_CURVES: Final = (("-", "o"), ("--", "s"), (":", "D"), ("-.", "^"))


def draw_growth(figure: Any, every: list[Series]) -> None:
    """A row for each thing that grows: server CPU at the left, p99 at the right, a curve for each load and server."""
    kinds = [over for over in _WHERE if any(one.settings.get("over") == over for one in every)]
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
        left.set_title(f"{_WHERE[over]}: server CPU for each delivery, in microseconds")
        right.set_title(f"{_WHERE[over]}: p99 of the delivery, in milliseconds")
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
    panel.grid(visible=True, color=PALE, linewidth=0.5)
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
        panel.plot(xs, ys, line, marker=mark, color=BLACK, markersize=4, linewidth=1.2)
        for at, point in found:
            low, high = point.get("spread", {}).get(metric, (0, 0))
            if high > low > 0:
                panel.plot([at, at], [low, high], color=GREY, linewidth=3, alpha=0.6, zorder=1)
        ends.append((xs[-1], ys[-1], name))
    _room(panel)
    if len(curves) > 1:
        _name_curves(panel, ends)
    ticker = importlib.import_module("matplotlib.ticker")
    panel.set_xticks(sorted(places), [f"{place:,.0f}" for place in sorted(places)])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    label_logarithmic(panel.yaxis, most=7)


def _room(panel: Any) -> None:
    """At least a decade of height, or noise would look like growth."""
    low, high = panel.get_ylim()
    if high < low * 10:
        middle = math.sqrt(low * high)
        panel.set_ylim(middle / math.sqrt(10), middle * math.sqrt(10))


def _name_curves(panel: Any, ends: Sequence[tuple[float, float, str]]) -> None:
    """Each curve's name at the right of its end, moved up where two would overlap, with room above the highest."""
    left, right = panel.get_xlim()
    longest = max(len(name) for *_, name in ends)
    panel.set_xlim(left, right * (right / left) ** (0.016 * longest))
    low, high = panel.get_ylim()
    line = (high / low) ** 0.06  # the height of a line of text
    lowest = 0.0
    for x, y, name in sorted(ends, key=lambda end: end[1]):
        at = max(y, lowest)
        panel.annotate(name, (x, at), (7, 0), textcoords="offset points", ha="left", va="center", fontsize=8)
        lowest = at * line
    panel.set_ylim(low, max(high, lowest))
