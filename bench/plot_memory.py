"""The server's memory over time, and when it is empty again."""

from collections.abc import Mapping
from typing import Any

from bench.plot_style import BLACK, GREY, caption
from bench.results import Series


def draw_memory(figure: Any, every: list[Series]) -> None:
    """The server's memory over each town's run, with the empty server before and after."""
    figure.set_size_inches(8.5, 3.3 * len(every))
    panels = figure.subplots(len(every), 1, squeeze=False)
    for one, (panel,) in zip(every, panels, strict=True):
        run = one.singles[-1]
        samples = memory_of(run)
        minutes, sizes = [at / 60 for at, _ in samples], [size for _, size in samples]
        panel.plot(minutes, sizes, color=BLACK, marker="o", markersize=3, linewidth=1.2)
        panel.set_title(f"The server's memory: {caption(one)}")
        if (slope := run.get("rss_slope_kib_per_minute")) is not None:
            words = f"{slope:+,.0f} KiB a minute from minute {run['rss_slope_from_s'] / 60:.1f} on"
            panel.annotate(words, (minutes[len(minutes) // 2], max(sizes)), (0, 7), textcoords="offset points",
                           ha="center", fontsize=8)  # fmt: skip
        if (size := run.get("rss_empty_before_mib")) is not None:
            panel.plot([minutes[0], minutes[-1]], [size, size], ":", color=GREY, linewidth=1)
            panel.annotate(f"empty, before anyone came: {size:.0f} MiB", (minutes[0], size), (0, -10),
                           textcoords="offset points", fontsize=8)  # fmt: skip
        if (size := run.get("rss_empty_after_mib")) is not None:
            later = minutes[-1] * 1.06
            panel.plot(later, size, "D", color=BLACK, markersize=5, markerfacecolor="white")
            panel.annotate(f"empty again:\n{size:.0f} MiB", (later, size), (8, 0), textcoords="offset points",
                           va="center", fontsize=8)  # fmt: skip
        panel.set_xlim(-minutes[-1] * 0.03, minutes[-1] * 1.2)
        panel.set_ylim(0, max([*sizes, run.get("rss_empty_after_mib") or 0]) * 1.15)
        panel.set_xlabel("minutes")
        panel.set_ylabel("MiB")


def memory_of(run: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Seconds and MiB of each half minute; empty where there are none."""
    return [(at, size) for at, size in run.get("rss_each_half_minute_mib", ())]
