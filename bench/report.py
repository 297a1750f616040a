"""A benchmark's result: one JSON line, the same shape for all; and a table for people beside it."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.loadgen import Load, Phase
from bench.machine import busy, commit, machine
from bench.medians import median_run
from bench.progress import say as say  # progress=report.say is how benchmarks hand it on

KONNECT: Final = "konnect"
LOWER_BOUND: Final = 0.9  # of a core: a generator this busy may be what is measured
NARROW: Final = 140  # columns of a terminal, below which the table stands upright
_MIB: Final = 1 << 20
_COLUMNS: Final = (
    ("rate_per_s", "rate/s"),
    ("p50_ms", "p50 ms"),
    ("p95_ms", "p95 ms"),
    ("p99_ms", "p99 ms"),
    ("p999_ms", "p99.9 ms"),
    ("max_ms", "max ms"),
    ("server_cpu_us", "server us"),
    ("server_cores", "server cores"),
    ("postgres_cpu_us", "PostgreSQL us"),
    ("rss_mib", "RSS MiB"),
    ("generator_cores", "generator cores"),
)  # fmt: skip
_BESIDE: Final = (("ack_p95_ms", "others' ack p95"), ("delivery_p95_ms", "delivery p95"))  # of what went on beside


_SPREAD_OF: Final = ("rate_per_s", "p50_ms", "p99_ms", "server_cpu_us", "rss_mib")  # in the table; all are in the line


class Report:
    """One benchmark's measurements. ``unit`` is what rate and CPU count: a round trip, a delivery, a message."""

    def __init__(self, bench: str, unit: str, settings: Mapping[str, Any], server: str = KONNECT) -> None:
        """*server* names what was measured; the line says so when it is not Konnect."""
        self._bench, self._unit, self._settings, self._server = bench, unit, dict(settings), server
        self._began_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._busy = busy()
        self.runs: list[dict[str, Any]] = []
        self.remarks: list[str] = []  # for people, under the table

    def add(
        self, name: str, load: Load, phase: Phase, kind: str, count: int, *, may_close: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Add one measured stretch.

        Args:
            name: What was different about it.
            load: The run it belongs to; its failures count for the stretch.
            phase: The stretch.
            kind: The latency to show first: ``ack``, ``delivery`` or ``last``.
            count: How many units were done in it.
            may_close: The slow readers of the run were to be closed.
            more: Further figures.
        """
        counts, seconds = phase.counts, float(phase.counts["seconds"])
        failures = {word: load.counts[word] for word in ("lost", "wrong", "errors", "closes")}
        run: dict[str, Any] = {"name": name, "count": count, "seconds": round(seconds, 3)}
        run["rate_per_s"] = round(count / seconds, 1)
        run |= {word: round(counts[kind][word], 3) for word in ("p50_ms", "p99_ms", "p999_ms", "max_ms")}
        run |= _cost(phase, count, seconds)
        run |= {
            "rss_ready_mib": None if load.rss_ready is None else round(load.rss_ready / _MIB, 1),
            "sign_in_s": round(load.sign_in_s, 3),
            "generator": load.generator,
            "generator_cores": round(counts["cpu"], 3),
            "lower_bound": counts["cpu"] > LOWER_BOUND,
            "failures": failures,
            "ok": not any(failures.values()) and count > 0,
        }
        run |= more
        for word in ("first_error", "first_close"):
            if load.counts[word]:
                run[word] = load.counts[word]
        self.runs.append(run)
        return run

    def adopt(self, run: Mapping[str, Any], name: str, **more: Any) -> None:
        """Take over a run of another report under a *name* of its own, with further fields."""
        self.runs.append({**run, "name": name, **more})

    @classmethod
    def of_repetitions(cls, reports: Sequence["Report"]) -> "Report":
        """Repetitions of one benchmark as one report: each run is the median of the runs of its name.

        Args:
            reports: At least one; each with the same runs in the same order.
        """
        first = reports[0]
        if len(reports) == 1:
            return first
        merged = cls(first._bench, first._unit, first._settings, first._server)
        merged._began_at, merged._busy = first._began_at, first._busy
        merged.remarks = [f"{n}: {words}" for n, report in enumerate(reports, 1) for words in report.remarks]
        merged.runs = [median_run(runs) for runs in zip(*(report.runs for report in reports), strict=True)]
        return merged

    @property
    def good(self) -> bool:
        """True when every run did what it should."""
        return bool(self.runs) and all(run["ok"] for run in self.runs)

    def line(self) -> str:
        """All of it as one line of JSON."""
        return json.dumps(
            {
                "bench": self._bench,
                **({} if self._server == KONNECT else {"server": self._server}),
                "unit": self._unit,
                "ok": self.good,
                "settings": self._settings,
                "runs": self.runs,
                "machine": machine(),
                "commit": commit(),
                "began_at": self._began_at,
                "busy_before": self._busy,
            }
        )

    def show(self, out: Path | None) -> None:
        """Print the line to standard output and a table to standard error; append the line to *out* if given."""
        line = self.line()
        print(line, flush=True)
        if out is not None:
            with out.open("a") as file:
                file.write(line + "\n")
        whom = "" if self._server == KONNECT else f" ({self._server})"
        repeated = len(self.runs[0].get("repetitions", ())) if self.runs else 0
        several = f", medians of {repeated} with smallest and largest" if repeated else ""
        table(f"{self._bench}{whom}, figures per {self._unit}{several}", self.runs)
        for words in self.remarks:
            print(f"  {words}", file=sys.stderr)


def table(title: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """*runs* for people, on standard error: a row each, or a column each where a terminal is too narrow for that."""
    console = Console(file=sys.stderr, width=None if sys.stderr.isatty() else 160)
    columns = _COLUMNS + tuple(one for one in _BESIDE if any(one[0] in run for run in runs))
    headings = ["run", *(heading for _, heading in columns), "failures"]
    rows = [_row(run, columns) for run in runs]
    if console.width < NARROW:
        headings, *rows = zip(headings, *rows, strict=True)  # type: ignore[assignment]
    shown = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if place else "left", no_wrap=place == 0)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def _row(run: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> list[str]:
    cells = [_cell(run.get(key)) for key, _ in columns]
    if run["lower_bound"]:
        cells[0] = f"at least {cells[0]}"
    for place, (key, _) in enumerate(columns):
        if key in _SPREAD_OF and key in run.get("spread", {}):
            low, high = run["spread"][key]
            cells[place] += f"\n[dim]{short(low)}..{short(high)}[/dim]"
    faults = ", ".join(f"{count} {word}" for word, count in run["failures"].items() if count)
    return [run["name"], *cells, faults or ("none" if run["ok"] else "see JSON")]


def short(value: float) -> str:
    """A number as one says it: 1.98M, 51.9k, 640, 0.25."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _cost(phase: Phase, count: int, seconds: float) -> dict[str, Any]:
    names = ("server_cpu_us", "server_cores", "postgres_cpu_us", "postgres_cores", "rss_mib")
    if phase.before is None or phase.after is None or not count:
        return dict.fromkeys(names)
    server = phase.after.server_cpu_s - phase.before.server_cpu_s
    postgres = phase.after.postgres_cpu_s - phase.before.postgres_cpu_s
    figures = (server / count * 1e6, server / seconds, postgres / count * 1e6, postgres / seconds)
    return dict(
        zip(names, [*(round(figure, 2) for figure in figures), round(phase.after.server_rss / _MIB, 1)], strict=True)
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
