"""What a benchmark is doing: one bar on a terminal, plain lines elsewhere; always on standard error.

``say`` is called from anywhere in a benchmark; where nobody has opened a display, as in tests, it prints a line.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import Progress as Bars, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar

REFRESHES_PER_S: Final = 4  # few, since the machine is being measured


class Display(Protocol):
    """Where stages are shown."""

    def begin(self, words: str, seconds: float | None) -> None:
        """A new stage, the former is over; *seconds* says how long it will take, if that is known."""

    def note(self, words: str) -> None:
        """How the stage is going."""


class Lines:
    """One plain line for each stage and note."""

    def begin(self, words: str, seconds: float | None) -> None:
        """See :class:`Display`."""
        print(f"  {words}" if seconds is None else f"  {words}, {seconds:g} s", file=sys.stderr, flush=True)

    def note(self, words: str) -> None:
        """See :class:`Display`."""
        print(f"    {words}", file=sys.stderr, flush=True)


class Silence:
    """Nothing; for who tells of the work in larger parts."""

    def begin(self, words: str, seconds: float | None) -> None:
        """See :class:`Display`."""

    def note(self, words: str) -> None:
        """See :class:`Display`."""


class Bar:
    """One bar, of the stage that runs; it fills by the clock, or swings where nobody knows how long it takes."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, words: str, seconds: float | None) -> None:
        """See :class:`Display`."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(words, total=seconds, note="")

    def note(self, words: str) -> None:
        """See :class:`Display`."""
        if self._task is not None:
            self._bars.update(self._task, note=words)


class _ByTheClock(ProgressColumn):
    """How much of a stage's seconds has passed."""

    def render(self, task: Task) -> ProgressBar:
        """The bar of *task*, whose total is in seconds."""
        passed = task.elapsed or 0.0
        if task.total is None:
            return ProgressBar(total=None, pulse=True, width=30, animation_time=task.get_time())
        return ProgressBar(total=task.total, completed=min(passed, task.total), width=30)


class _Shown:
    """Where stages go now, how long those of known words take, and what they belong to."""

    def __init__(self, display: Display, seconds: Mapping[str, float]) -> None:
        self.display, self.seconds = display, seconds
        self.repetition = self.part = ""


_shown: Final = [_Shown(Lines(), {})]  # the last one counts


@contextmanager
def open_display(seconds: Mapping[str, float], plain: Display | None = None) -> Iterator[None]:
    """Show what is said within the block, as suits standard error.

    Args:
        seconds: How long the stages of these words take.
        plain: Where stages go when standard error is no terminal; lines if not given.
    """
    console = Console(stderr=True)
    with ExitStack() as stack:
        display: Display = plain or Lines()
        if console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), _ByTheClock(), TimeElapsedColumn())
            bars = Bars(
                *columns, TextColumn("{task.fields[note]}"), console=console, refresh_per_second=REFRESHES_PER_S,
                transient=True,
            )  # fmt: skip
            display = Bar(stack.enter_context(bars))
        _shown.append(_Shown(display, seconds))
        stack.callback(_shown.pop)
        yield


def repetition(words: str) -> None:
    """Stages belong to this repetition from here on, "2 of 5"; empty for none."""
    _shown[-1].repetition, _shown[-1].part = words, ""


def part(words: str) -> None:
    """Stages belong to this part of the repetition from here on, "300 members"; empty for none."""
    _shown[-1].part = words


def say(words: str) -> None:
    """A new stage of the benchmark."""
    shown = _shown[-1]
    whole = ": ".join(filter(None, (shown.repetition, shown.part, words)))
    shown.display.begin(whole, shown.seconds.get(words))


def note(words: str) -> None:
    """How the stage is going."""
    _shown[-1].display.note(words)
