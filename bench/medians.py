"""Several measurements of one thing: their median, and how far they lie apart."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

# A fault of one repetition is a fault: a median would hide it.
_ADDED_UP: Final = ("failures", "violations", "violation_kinds", "examples")
_ANY: Final = ("lower_bound",)  # of truth values; of all others: only if all are true


def median_run(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """*runs*, the same run repeated, as one.

    Args:
        runs: At least one, as :meth:`bench.report.Report.add` makes them.

    Returns:
        The same fields with the median of each number (maps of numbers likewise; what cannot have a median as it is in
        the first). ``ok`` only if all are; failures and violations added up. Beside them ``spread``: field ->
        [smallest, largest], and ``repetitions``: *runs* themselves. A single run is given back as it is.
    """
    if len(runs) == 1:
        return dict(runs[0])
    told: dict[str, Any] = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run[name] for run in runs if name in run]
        if name in _ADDED_UP:
            told[name] = _sum(values)
        elif all(isinstance(value, bool) for value in values):
            told[name] = any(values) if name in _ANY else all(values)
        else:
            told[name] = _median(values)
    told["spread"] = {
        name: [min(values), max(values)]
        for name, first in runs[0].items()
        if is_number(first) and len(values := [run[name] for run in runs if is_number(run.get(name))]) > 1
    }
    told["repetitions"] = [dict(run) for run in runs]
    return told


def is_number(value: object) -> bool:
    """Whether it is one that can be measured: no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _median(values: Sequence[Any]) -> Any:
    if all(is_number(value) for value in values):
        middle = statistics.median(values)
        whole = all(isinstance(value, int) for value in values) and middle == int(middle)
        return int(middle) if whole else round(middle, 3)
    if all(isinstance(value, Mapping) for value in values):
        return {name: _median([value[name] for value in values if name in value]) for name in values[0]}
    return values[0]


def _sum(values: Sequence[Any]) -> Any:
    """Of numbers, of lists, or of maps of numbers whose names may differ."""
    if isinstance(values[0], Mapping):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: sum(value.get(name, 0) for value in values) for name in names}
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
