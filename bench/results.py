"""Results that benchmarks have written: files of JSON lines, gathered by what was measured.

One *series* is one run of one benchmark with one set of settings on one server, however often it was repeated: in one
line by ``--reps``, or in several lines of one file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.medians import is_number, median_run
from bench.report import KONNECT


class Key(NamedTuple):
    """What was measured: all lines of a file that agree in it are repetitions of one series."""

    server: str
    bench: str
    settings: str  # as JSON with sorted names
    run: str


@dataclass(slots=True)
class Series:
    """The repetitions of one run. ``singles`` has the runs as :meth:`bench.report.Report.add` makes them."""

    key: Key
    unit: str
    settings: dict[str, Any]
    singles: list[dict[str, Any]] = field(default_factory=list)

    @property
    def median(self) -> dict[str, Any]:
        """All repetitions as one, see :func:`bench.medians.median_run`."""
        return median_run(self.singles)

    @property
    def good(self) -> bool:
        """False when one of the repetitions failed: its figures are no figures."""
        return all(single.get("ok", True) for single in self.singles)

    def values(self, name: str) -> list[float]:
        """The figure *name* of each repetition that has it."""
        return [single[name] for single in self.singles if is_number(single.get(name))]


@dataclass(slots=True)
class Results:
    """All that a file, or several, hold."""

    series: dict[Key, Series] = field(default_factory=dict)
    machines: list[dict[str, Any]] = field(default_factory=list)  # each different one once
    commits: list[str] = field(default_factory=list)  # likewise
    skipped: int = 0  # lines of other shapes, such as the replay's


class NoResults(Exception):
    """A file holds nothing that can be read; the text is one plain sentence."""


def read_results(paths: Iterable[Path]) -> Results:
    """The results in the files at *paths*, in the order of their lines.

    Raises:
        NoResults: A file cannot be read, a line of it is no JSON, or there is no result in any of them.
    """
    paths = list(paths)
    results = gather(line for path in paths for line in _lines(path))
    if not results.series:
        raise NoResults(f"there is no benchmark's result in {', '.join(map(str, paths))}")
    return results


def gather(lines: Iterable[Mapping[str, Any]]) -> Results:
    """The results in *lines*, as :meth:`bench.report.Report.line` writes them; may be empty."""
    results = Results()
    for line in lines:
        if isinstance(line.get("runs"), list) and "bench" in line:
            _take(results, line)
        else:
            results.skipped += 1
    return results


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise NoResults(f"{path} cannot be read: {problem}") from problem
    for number, text in enumerate(content.splitlines(), start=1):
        if text.strip():
            try:
                line = json.loads(text)
            except json.JSONDecodeError as problem:
                raise NoResults(f"{path}, line {number}, is no JSON: {problem}") from problem
            yield line if isinstance(line, dict) else {}


def _take(results: Results, line: Mapping[str, Any]) -> None:
    settings = dict(line.get("settings", {}))
    told = json.dumps(settings, sort_keys=True)
    for run in line["runs"]:
        key = Key(line.get("server", KONNECT), line["bench"], told, run.get("name", ""))
        series = results.series.setdefault(key, Series(key, line.get("unit", ""), settings))
        series.singles += run.get("repetitions", [run])
    if (machine := line.get("machine")) and machine not in results.machines:
        results.machines.append(machine)
    if (commit := line.get("commit")) and commit not in results.commits:
        results.commits.append(commit)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which two maps differ: name -> what either has, None where it has none."""
    return {
        name: (one.get(name), other.get(name))
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    }


def pairs(before: Results, after: Results) -> Iterator[tuple[Series, Series]]:
    """The series of both that are to be compared.

    First those that agree in everything. Of what is left, those of the same server, benchmark and run whose settings
    differ, if there is exactly one on either side.
    """
    left, right = dict(before.series), dict(after.series)
    for key in before.series:
        if key in right:
            yield left.pop(key), right.pop(key)
    for key, series in left.items():
        mine = [one for one in left if _loosely(one) == _loosely(key)]
        others = [one for one in right if _loosely(one) == _loosely(key)]
        if len(mine) == len(others) == 1:
            yield series, right[others[0]]


def _loosely(key: Key) -> tuple[str, str, str]:
    return key.server, key.bench, key.run
