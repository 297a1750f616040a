"""Two files of results side by side: what became faster, what slower, and what is only noise.

A difference counts when the repetitions of the two sides do not overlap: the worst of one is better than the best of
the other. With three repetitions a side, chance alone does that in one of ten comparisons; with five in one of 126.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.results import NoResults, Results, Series, differing, pairs, read_results

Verdict: TypeAlias = Literal["better", "worse", "noise", "once"]

# Field, heading, and whether more of it is better.
METRICS: Final = (
    ("rate_per_s", "rate/s", True),
    ("p50_ms", "p50 ms", False),
    ("p99_ms", "p99 ms", False),
    ("server_cpu_us", "server CPU us", False),
    ("rss_mib", "RSS MiB", False),
)
_STYLES: Final = {"better": "green", "worse": "red", "noise": "dim", "once": ""}
_MARKS: Final = {"better": "better", "worse": "WORSE", "noise": "noise", "once": "measured once"}


@dataclass(slots=True, frozen=True)
class Side:
    """One figure on one side."""

    median: float
    smallest: float
    largest: float
    times: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Side":
        """Of at least one value."""
        return cls(round(statistics.median(values), 6), min(values), max(values), len(values))

    def told(self) -> dict[str, float]:
        """As JSON."""
        return {"median": self.median, "min": self.smallest, "max": self.largest, "times": self.times}


@dataclass(slots=True, frozen=True)
class Difference:
    """One figure on both sides."""

    metric: str
    a: Side
    b: Side
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        """B through A; None when A is 0."""
        return self.b.median / self.a.median if self.a.median else None

    def told(self) -> dict[str, Any]:
        """As JSON."""
        ratio = None if self.ratio is None else round(self.ratio, 4)
        return {"a": self.a.told(), "b": self.b.told(), "ratio": ratio, "verdict": self.verdict}


def difference(metric: str, more_is_better: bool, a: Sequence[float], b: Sequence[float]) -> Difference:
    """Judge the repetitions of one figure, at least one a side.

    ``noise``: the ranges overlap. ``once``: they do not, but one side was measured once only, so nobody can tell.
    """
    one, other = Side.of(a), Side.of(b)
    verdict: Verdict
    if one.smallest <= other.largest and other.smallest <= one.largest:
        verdict = "noise"
    elif min(one.times, other.times) < 2:
        verdict = "once"
    else:
        verdict = "better" if (other.median > one.median) == more_is_better else "worse"
    return Difference(metric, one, other, verdict)


def differences(a: Series, b: Series) -> list[Difference]:
    """All figures that both sides have."""
    found = []
    for metric, _, more_is_better in METRICS:
        one, other = a.values(metric), b.values(metric)
        if one and other:
            found.append(difference(metric, more_is_better, one, other))
    return found


def warnings(a: Results, b: Results, compared: Sequence[tuple[Series, Series]]) -> list[str]:
    """What is to be known before the figures are believed, a sentence each."""
    found = []
    for name, results in (("A", a), ("B", b)):
        if len(results.machines) > 1:
            found.append(f"{name} was measured on {len(results.machines)} different machines")
        if len(results.commits) > 1:
            found.append(f"{name} was measured at {len(results.commits)} commits")
        if results.skipped:
            found.append(f"{name} has {results.skipped} lines that are no benchmark's, left out")
    if a.machines and b.machines and a.machines[0] != b.machines[0]:
        found += [
            f"the machines differ: {name} is {one} in A, {other} in B"
            for name, (one, other) in differing(a.machines[0], b.machines[0]).items()
        ]
    for one, other in compared:
        where = f"{one.key.bench}, {one.key.run}" + _peer(one)
        for name, (was, now) in differing(one.settings, other.settings).items():
            found.append(f"{where}: the settings differ: {name} is {was} in A, {now} in B")
        generators = [sorted({str(run.get("generator")) for run in side.singles}) for side in (one, other)]
        if generators[0] != generators[1]:
            found.append(
                f"{where}: the load came from {', '.join(generators[0])} in A, {', '.join(generators[1])} in B"
            )
        for name, side in (("A", one), ("B", other)):
            if not side.good:
                found.append(f"{where}: FAILED in {name}, its figures are no figures")
            if any(run.get("lower_bound") for run in side.singles):
                found.append(f"{where}: in {name} the load generator was at its limit, the server may be faster")
    return list(dict.fromkeys(found))


def told(a: Results, b: Results) -> dict[str, Any]:
    """The whole comparison as JSON."""
    compared = list(pairs(a, b))
    keys = {series.key for pair in compared for series in pair}
    return {
        "runs": [
            {
                "server": one.key.server, "bench": one.key.bench, "run": one.key.run, "unit": one.unit,
                "settings": {"a": one.settings, "b": other.settings}, "ok": one.good and other.good,
                "metrics": {found.metric: found.told() for found in differences(one, other)},
            }
            for one, other in compared
        ],
        "commits": {"a": a.commits, "b": b.commits},
        "warnings": warnings(a, b, compared),
        "only_in_a": [_named(key) for key in a.series if key not in keys],
        "only_in_b": [_named(key) for key in b.series if key not in keys],
    }  # fmt: skip


def show(a: Results, b: Results, console: Console) -> None:
    """The whole comparison as a table."""
    compared = list(pairs(a, b))
    table = Table(title="B through A; in brackets the smallest and the largest", title_justify="left")
    for heading in ("benchmark", "figure", "A", "B"):
        table.add_column(heading, justify="right" if heading in "AB" else "left")
    table.add_column("B/A", justify="right")
    table.add_column("")
    headings = {metric: heading for metric, heading, _ in METRICS}
    for one, other in compared:
        name = f"{one.key.bench}, {one.key.run}{_peer(one)}\n{_settings(one)}"
        for found in differences(one, other):
            ratio = "-" if found.ratio is None else f"{found.ratio:.3f}"
            style = _STYLES[found.verdict]
            table.add_row(
                name, headings[found.metric], _side(found.a), _side(found.b), Text(ratio, style), Text(
                    _MARKS[found.verdict], style
                ),
            )  # fmt: skip
            name = ""
        table.add_section()
    console.print(table)
    keys = {series.key for pair in compared for series in pair}
    for side, results in (("A", a), ("B", b)):
        console.print(f"{side}: commit {', '.join(results.commits) or 'unknown'}", markup=False, highlight=False)
        for key in results.series:
            if key not in keys:
                console.print(f"  only in {side}: {_named(key)}", markup=False, highlight=False)
    for words in warnings(a, b, compared):
        console.print(f"! {words}", markup=False, highlight=False)


def _side(side: Side) -> str:
    if side.times == 1:
        return _number(side.median)
    return f"{_number(side.median)} [dim]({_number(side.smallest)} .. {_number(side.largest)})[/dim]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _settings(series: Series) -> str:
    return f"[dim]{', '.join(f'{name} {value}' for name, value in series.settings.items())}[/dim]"


def _peer(series: Series) -> str:
    return "" if series.key.server == "konnect" else f" ({series.key.server})"


def _named(key: Any) -> str:
    return f"{key.bench}, {key.run} ({key.server}) {key.settings}"


@click.command()
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The comparison as one JSON object.")
def main(a: Path, b: Path, as_json: bool) -> None:
    """Compare two files of results, A before and B after: ratios B/A, and whether they are more than noise.

    Repetitions (--reps, or several lines of the same benchmark) are compared by their medians; a difference counts
    only if the smallest and largest of both sides do not overlap.
    """
    try:
        before, after = read_results([a]), read_results([b])
    except NoResults as problem:
        raise click.ClickException(str(problem)) from None
    if as_json:
        print(json.dumps(told(before, after)))
        return
    show(before, after, Console(width=None if sys.stdout.isatty() else 140))


if __name__ == "__main__":
    main()
