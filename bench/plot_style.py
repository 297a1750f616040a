"""What all pictures have in common: black, greys, and how a workload is called."""

from typing import Any, Final

from bench.report import KONNECT
from bench.results import Series

BLACK, GREY, PALE = "#111111", "#8a8a8a", "#d0d0d0"
STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": GREY, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelcolor": "#333333",
    "xtick.color": "#333333", "ytick.color": "#333333", "svg.fonttype": "none",
}  # fmt: skip


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
