"""What all benchmarks can be told, and how each is started and ended."""

import functools
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import trio
from msgspec import Struct

from bench.loadgen import Generator, LoadFailed
from bench.progress import open_display, repetition
from bench.report import Report
from bench.server import LIFTED, ServerFailed, other_core, quiet_logs
from storage.errors import StorageError

_PLAIN: Final = (LoadFailed, ServerFailed, StorageError, OSError)

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Common(Struct, frozen=True):
    """The options that every benchmark has."""

    seconds: float = 5.0
    warmup: float = 1.0
    payload: int = 100  # bytes
    pin: bool = False
    generator: Generator = "auto"
    out: Path | None = None
    reps: int = 1

    @property
    def server_core(self) -> int | None:
        """Where the server is pinned to."""
        return 0 if self.pin else None

    @property
    def load_core(self) -> int | None:
        """Where generator and PostgreSQL are pinned to."""
        return other_core(0) if self.pin else None

    @property
    def load(self) -> dict[str, float]:
        """The generator's share of the options."""
        return {"seconds": self.seconds, "warmup": self.warmup, "bytes": self.payload}

    @property
    def stages(self) -> dict[str, float]:
        """How long the stages of a load take, in seconds, by what ``run_load`` calls them."""
        return {"warming up": self.warmup, "measuring": self.seconds}

    @property
    def limits(self) -> dict[str, str]:
        """The server's settings: no rate limit in the way."""
        return dict(LIFTED)


_OPTIONS: Final = {
    "out": click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
                        help="Append the JSON line to a file."),
    "reps": click.option("--reps", type=click.IntRange(1, 100), default=1, show_default=True,
                         help="Measure so often, each time on a fresh server, and show medians."),
    "generator": click.option("--generator", type=click.Choice(["auto", "c", "python"]), default="auto",
                              show_default=True, help="The load generator; python is slower and needs no compiler."),
    "pin": click.option("--pin", is_flag=True, help="The server on one core, generator and PostgreSQL on another."),
    "payload": click.option("--payload", type=click.IntRange(16, 8000), default=100, show_default=True, help="Bytes."),
    "warmup": click.option("--warmup", type=click.FloatRange(0), default=1.0, show_default=True,
                           help="Seconds before."),
    "seconds": click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True,
                            help="Seconds measured."),
}  # fmt: skip


def common(function: F) -> F:
    """Give a click command the options of :class:`Common`, as one argument ``common``."""
    return common_without()(function)


def common_without(*names: str) -> Callable[[F], F]:
    """Like :func:`common`, for a command for which the options *names* mean nothing; they keep their defaults."""
    offered = [name for name in _OPTIONS if name not in names]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapped(**given: Any) -> Any:
            own = {name: value for name, value in given.items() if name not in offered}
            return function(common=Common(**{name: given[name] for name in offered}), **own)

        decorated: Any = wrapped
        for name in offered:
            decorated = _OPTIONS[name](decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def finish(measure: Callable[[], Awaitable[Report]], options: Common) -> None:
    """Run a benchmark, as often as *options* say, and show its report, of medians where there are several.

    Ends with 1 when something failed, with one sentence where that is enough.

    Args:
        measure: One repetition, with a fresh server.
        options: Of them ``reps`` and ``out`` are used here.
    """
    quiet_logs()
    report = repeated(measure, options)
    report.show(options.out)
    if not report.good:
        raise click.exceptions.Exit(1)


def repeated(measure: Callable[[], Awaitable[Report]], options: Common) -> Report:
    """The report of all repetitions of *measure*, with progress on standard error meanwhile."""

    async def run() -> Report:
        reports = []
        for number in range(1, options.reps + 1):
            repetition(f"{number} of {options.reps}" if options.reps > 1 else "")
            reports.append(await measure())
        return Report.of_repetitions(reports)

    with open_display(options.stages):
        return plainly(run)


def plainly(work: Callable[[], Awaitable[T]], *also: type[Exception]) -> T:
    """Run *work* under Trio. What it raises for a plain reason (or of the kinds in *also*) becomes one sentence and
    exit code 1, however deep in groups it lies; a bug keeps its traceback."""
    # SIGTERM ends it as Ctrl-C does, through Trio's own handler, so that no server of ours stays behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    plain: tuple[type[BaseException], ...] = (*_PLAIN, *also)
    try:
        return trio.run(work)
    except KeyboardInterrupt:
        raise click.Abort from None
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if isinstance(found, KeyboardInterrupt):
            raise click.Abort from None
        if not isinstance(found, plain):
            raise
        raise click.ClickException(str(found)) from None
    except plain as problem:
        raise click.ClickException(str(problem)) from None
