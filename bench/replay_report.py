"""How a replay is going, and how it went: a progress bar on a terminal, plain lines elsewhere; a table or JSON."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

LINE_EVERY_S: Final = 5.0
_ROWS: Final = (
    "lost", "doubled", "reordered", "foreign", "altered", "compared", "logs", "people", "steps", "messages", "drops",
    "register_s", "replay_s", "settle_s", "seed",
)  # fmt: skip


class Progress(Protocol):
    """What a replay tells while it runs; plain calls."""

    def begin(self, what: str, total: int) -> None:
        """A new part of the work, of *total* steps."""

    def step(self) -> None:
        """One step of it is done."""

    def note(self, **counts: int) -> None:
        """Counts to show beside it."""


class Silent:
    """Shows nothing."""

    def begin(self, what: str, total: int) -> None:
        """See :class:`Progress`."""

    def step(self) -> None:
        """See :class:`Progress`."""

    def note(self, **counts: int) -> None:
        """See :class:`Progress`."""


class Lines:
    """One plain line at each part's beginning and end, and every five seconds between."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._counts = "", 0, 0, dict[str, int]()
        self._told_at = 0.0

    def begin(self, what: str, total: int) -> None:
        """See :class:`Progress`."""
        self._what, self._total, self._done = what, total, 0
        self._tell()

    def step(self) -> None:
        """See :class:`Progress`."""
        self._done += 1
        if self._done == self._total or time.monotonic() - self._told_at >= LINE_EVERY_S:
            self._tell()

    def note(self, **counts: int) -> None:
        """See :class:`Progress`."""
        self._counts |= counts

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        print(f"{self._what}: {self._done}/{self._total}{_words(self._counts)}", file=sys.stderr, flush=True)


class Bar:
    """A bar on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._counts = bars, dict[str, int]()
        self._task: TaskID | None = None

    def begin(self, what: str, total: int) -> None:
        """See :class:`Progress`."""
        self._task = self._bars.add_task(what, total=total, counts="")

    def step(self) -> None:
        """See :class:`Progress`."""
        if self._task is not None:
            self._bars.advance(self._task)

    def note(self, **counts: int) -> None:
        """See :class:`Progress`."""
        self._counts |= counts
        if self._task is not None:
            self._bars.update(self._task, counts=_words(self._counts))


@contextmanager
def open_progress() -> Iterator[Progress]:
    """What suits standard error, for the length of a block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.fields[counts]}"), console=console) as bars:
        yield Bar(bars)


def show(told: Mapping[str, Any], as_json: bool) -> None:
    """The outcome on standard output."""
    if as_json:
        print(json.dumps(told))
        return
    table = Table(
        title="replay: " + ("all is well" if told["ok"] else "FAILED"), title_justify="left", show_header=False
    )
    for name in _ROWS:
        table.add_row(name, f"{told[name]:,}" if name != "seed" else str(told[name]))
    for what, count in told["kills"].items():
        table.add_row(f"kills of the {what}", str(count))
    table.add_row("not back", str(len(told["not_back"])))
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    for line in (*told["examples"], *told["not_back"][:10], *told["violations"]):
        console.print(f"  {line}", markup=False)


def _words(counts: Mapping[str, int]) -> str:
    return "".join(f", {count} {name}" for name, count in counts.items())
