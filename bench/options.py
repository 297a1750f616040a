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
    def limits(self) -> dict[str, str]:
        """The server's settings: no rate limit in the way."""
        return dict(LIFTED)


def common(function: F) -> F:
    """Give a click command the options of :class:`Common`, as one argument ``common``."""

    @functools.wraps(function)
    def wrapped(
        seconds: float, warmup: float, payload: int, pin: bool, generator: Generator, out: Path | None, **own: Any
    ) -> Any:
        return function(common=Common(seconds, warmup, payload, pin, generator, out), **own)

    for option in (
        click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Append the JSON line to a file."),
        click.option("--generator", type=click.Choice(["auto", "c", "python"]), default="auto", show_default=True,
                     help="The load generator; python is slower and needs no compiler."),
        click.option("--pin", is_flag=True, help="The server on one core, generator and PostgreSQL on another."),
        click.option("--payload", type=click.IntRange(16, 8000), default=100, show_default=True, help="Bytes."),
        click.option("--warmup", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds before."),
        click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds measured."),
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def finish(measure: Callable[[], Awaitable[Report]], out: Path | None) -> None:
    """Run a benchmark, show its report; end with 1 when something failed, with one sentence where that is enough."""
    quiet_logs()
    report = plainly(measure)
    report.show(out)
    if not report.good:
        raise click.exceptions.Exit(1)


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
