"""Pictures of results: rates and latencies beside peers, growth curves, memory over time.

They are to be read in print and without colour: Konnect is black, others are grey; curves carry their names at their
ends. matplotlib is not among the project's dependencies; who wants pictures installs it.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from bench.plot_growth import draw_growth
from bench.plot_memory import draw_memory, memory_of
from bench.plot_style import STYLE
from bench.plot_workloads import draw_workloads
from bench.results import NoResults, Results, Series, read_results

HOW_TO_GET: Final = "pictures need matplotlib, which is not installed: .venv/bin/python -m pip install matplotlib"
DPI: Final = 160


class NoMatplotlib(Exception):
    """It is not installed; the text says how to get it."""


def draw(results: Results, out: Path) -> list[Path]:
    """Draw all that *results* hold.

    Args:
        results: Of any benchmarks.
        out: Ends with .png or .svg. If there is more than one kind of picture, its name is added to this one's:
            ``out-workloads.png``, ``out-growth.png``, ``out-memory.png``.

    Returns:
        The files written.

    Raises:
        NoMatplotlib: It is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figure = importlib.import_module("matplotlib.figure").Figure
    except ImportError as problem:
        raise NoMatplotlib(HOW_TO_GET) from problem
    every = list(results.series.values())
    kinds: dict[str, tuple[list[Series], Callable[[Any, list[Series]], None]]] = {
        "workloads": ([one for one in every if one.key.bench != "growth"], draw_workloads),
        "growth": ([one for one in every if one.key.bench == "growth"], draw_growth),
        "memory": ([one for one in every if one.key.bench == "mixed" and memory_of(one.median)], draw_memory),
    }
    wanted = {kind: what for kind, what in kinds.items() if what[0]}
    written = []
    with matplotlib.rc_context(STYLE):
        for kind, (series, paint) in wanted.items():
            picture = figure(layout="constrained")
            paint(picture, series)
            path = out if len(wanted) == 1 else out.with_name(f"{out.stem}-{kind}{out.suffix}")
            picture.savefig(path, dpi=DPI)
            written.append(path)
    return written


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Ends with .png or .svg; several kinds of pictures get their names added.")  # fmt: skip
def main(files: tuple[Path, ...], out: Path) -> None:
    """Draw the results in FILES: rates and latencies beside peers, growth curves, memory over time."""
    if out.suffix not in (".png", ".svg"):
        raise click.UsageError(f"{out} should end with .png or .svg")
    try:
        written = draw(read_results(files), out)
    except (NoResults, NoMatplotlib) as problem:
        raise click.ClickException(str(problem)) from None
    for path in written:
        click.echo(path)


if __name__ == "__main__":
    main()
