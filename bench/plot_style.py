"""What all pictures have in common: black, greys, logarithmic axes that can be read, and how a workload is called."""

import importlib
import math
from typing import Any, Final

from bench.report import KONNECT
from bench.results import Series

BLACK, GREY, PALE = "#111111", "#8a8a8a", "#d0d0d0"
STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": GREY, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelcolor": "#333333",
    "xtick.color": "#333333", "ytick.color": "#333333", "svg.fonttype": "none",
}  # fmt: skip


# Steps within a decade, the finest last; each begins with 1.
_LADDERS: Final = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))


def label_logarithmic(axis: Any, most: int) -> None:
    """Plain numbers on a logarithmic *axis*, at *most* so many, and no marks between them.

    matplotlib's own labels of less than a decade are powers of ten that run into each other.
    """
    ticker = importlib.import_module("matplotlib.ticker")
    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.FixedLocator(ticks_between(low, high, most)))
    axis.set_major_formatter(lambda value, _: plain(value))
    axis.set_minor_locator(ticker.NullLocator())


def ticks_between(low: float, high: float, most: int) -> list[float]:
    """Round numbers from *low* to *high*, both above 0: the finest ladder with at *most* so many of them."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [
        [tick for decade in decades for step in ladder if low <= (tick := step * 10.0**decade) <= high]
        for ladder in _LADDERS
    ]
    few = [ticks for ticks in found if len(ticks) <= most]
    return max(few, key=len) if few else found[0][:: math.ceil(len(found[0]) / most)]


def plain(value: float) -> str:
    """Three digits that count, or all before the point, and no powers of ten: 0.155, 17.8, 3,150."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".rstrip("0").rstrip(".") if places else f"{value:,.0f}"


def colour_of(series: Series) -> str:
    """Black for Konnect, grey for others."""
    return BLACK if series.key.server == KONNECT else GREY


def caption(series: Series) -> str:
    """The workload and what made it large."""
    shown = {"members", "users", "groups", "pairs", "sockets", "missed"}
    settings = series.settings
    words = [f"{value:,} {name}" for name, value in settings.items() if name in shown and isinstance(value, int)]
    if rate := settings.get("rate"):
        words.append(f"{rate:g} messages/s")
    name = f"{series.key.bench}, {series.key.run}" if series.key.run else series.key.bench
    return f"{name} ({', '.join(words)})" if words else name
