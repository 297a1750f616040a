"""Who will both say yes: the real dating experiment, or a made world of any size.

The experiment's data carry no licence, so they are no part of this project; where they are not, the simulator is asked.
"""

import importlib
import json
import math
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from bench.dating import PAIR, Dating, NoDating, read_dating
from bench.dating_allowed import Allowed, allowed
from bench.dating_run import ALL_TERMS, BASELINES, Course, Judge, Judged, baselines
from bench.plot import DPI, HOW_TO_GET, NoMatplotlib
from bench.plot_style import BLACK, GREY, PALE, STYLE
from bench.progress import part
from konnect_server.recommend.mutual import MORE

BESIDE: Final = Path(__file__).parents[2] / "shared" / "data" / "speed-dating"
GOAL: Final = 0.75  # of AUC
BOOTSTRAP: Final = 1_000
SMALL: Final = 2_000  # people of the made world, where the data are not
# What is said of a term, and of what comes in bundles.
BUNDLES: Final[dict[str, tuple[str, ...]]] = {
    "all of the pair": PAIR,
    "taste and drift": ("taste", "drift"),
    "all seen of both": MORE,
}


class Outcome:
    """All that one run of the experiment found."""

    def __init__(self, dating: Dating, rounds: int) -> None:
        judge = Judge(dating)
        known = baselines(dating)
        part("each event by the others")
        course = Course(dating)
        score = course.foretell()
        part("drawing events again")
        self.baselines = {name: judge.judge(known[name], rounds) for name in BASELINES}
        self.model = judge.judge(score, rounds)
        part("as a server could say it")
        self.served = {name: judge.judge(one, rounds) for name, one in course.as_served().items()}
        self.gain = judge.difference(score, known["reciprocal"], rounds)
        self.waves = dict(zip(dating.waves, judge.of_each_wave(score), strict=True))
        part("what the data allow")
        self.allowed: Allowed = allowed(dating)
        self.without: dict[str, Judged] = {}
        self.alone: dict[str, Judged] = {}
        for name, terms in {**{term: (term,) for term in ALL_TERMS}, **BUNDLES}.items():
            part(f"without {name}")
            self.without[name] = judge.judge(course.foretell(terms))
            if name != "leaning":  # it is a start of selectivity and popularity, nothing by itself
                rest = [term for term in ALL_TERMS if term not in terms]
                self.alone[name] = judge.judge(course.foretell(rest))
        self.dates, self.events = len(judge.rows), len(dating.waves)

    def told(self) -> dict[str, Any]:
        """As one JSON object; what is not known is null."""
        return {
            "bench": "recommend",
            "dates": self.dates,
            "events": self.events,
            "baselines": {name: _told(judged) for name, judged in self.baselines.items()},
            "model": _told(self.model) | {"auc_above_reciprocal_interval": [_plain(end) for end in self.gain]},
            "served": {name: _told(judged) for name, judged in self.served.items()},
            "without": {name: _told(judged, False) for name, judged in self.without.items()},
            "alone": {name: _told(judged, False) for name, judged in self.alone.items()},
            "waves": {name: _plain(value) for name, value in self.waves.items()},
            "allowed": {
                "auc_if_all_were_known": [_plain(value) for value in self.allowed.known],
                "auc_if_learned": [_plain(value) for value in self.allowed.learned],
                "spread_said": _plain(self.allowed.spreads.said),
                "spread_got": _plain(self.allowed.spreads.got),
                "correlation": _plain(self.allowed.correlation),
            },
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _told(judged: Judged, intervals: bool = True) -> dict[str, Any]:
    told: dict[str, Any] = {"auc": _plain(judged.auc), "ndcg_at_5": _plain(judged.ndcg)}
    if intervals:
        told["auc_interval"] = [_plain(end) for end in judged.auc_interval]
        told["ndcg_at_5_interval"] = [_plain(end) for end in judged.ndcg_interval]
    return told


def show(outcome: Outcome, console: Console) -> None:
    """Tables for people."""
    table = Table(title=f"Both say yes: {outcome.dates} dates, the second halves of {outcome.events} events")
    for heading in ("", "AUC", "95 %", "NDCG@5", "95 %"):
        table.add_column(heading, justify="left" if not heading else "right")
    served = ((f"as a server could, {name}", judged) for name, judged in outcome.served.items())
    for name, judged in (*outcome.baselines.items(), ("the model", outcome.model), *served):
        table.add_row(name, f"{judged.auc:.3f}", _range(judged.auc_interval), f"{judged.ndcg:.3f}",
                      _range(judged.ndcg_interval))  # fmt: skip
    console.print(table)
    console.print(
        "Intervals: whole events drawn again. NDCG@5: a group is one person's dates of the second half, women's and "
        "men's alike; who has no match is in no mean."
    )
    console.print(f"AUC above reciprocal, on the same draws: {_range(outcome.gain)}")
    table = Table(title="What each feature adds")
    for heading in ("", "AUC without", "adds", "NDCG@5 without", "AUC alone"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, judged in outcome.without.items():
        alone = outcome.alone.get(name)
        table.add_row(name, f"{judged.auc:.4f}", f"{outcome.model.auc - judged.auc:+.4f}", f"{judged.ndcg:.4f}",
                      "" if alone is None else f"{alone.auc:.3f}")  # fmt: skip
    console.print(table)
    console.print(
        "Alone, what knows nothing of an event's level may be below 0.5: its weights come of the other events, and "
        "where those match often, this one does so less."
    )
    known, learned = outcome.allowed.known, outcome.allowed.learned
    console.print(
        f"What the data allow, were people but selectivity and popularity: AUC {known[0]:.3f} ± {known[1]:.3f} "
        f"if all of it was known, {learned[0]:.3f} ± {learned[1]:.3f} if it is learned from first halves like these."
    )
    if outcome.model.auc < GOAL:
        console.print(f"The goal of {GOAL} is not reached.")


def _range(interval: tuple[float, float]) -> str:
    return "" if any(math.isnan(end) for end in interval) else f"{interval[0]:.3f} to {interval[1]:.3f}"


def draw(outcome: Outcome, path: Path) -> None:
    """The scores with their intervals, and what each feature adds.

    Raises:
        NoMatplotlib: It is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figure_of = importlib.import_module("matplotlib.figure").Figure
    except ImportError as problem:
        raise NoMatplotlib(HOW_TO_GET) from problem
    every = {**outcome.baselines, "the model": outcome.model}
    with matplotlib.rc_context(STYLE):
        figure = figure_of(layout="constrained", figsize=(8.5, 6))
        upper, lower = figure.subplots(2, 1)
        for at, (name, judged) in enumerate(every.items()):
            colour = BLACK if name == "the model" else GREY
            upper.plot(judged.auc_interval, [at, at], color=colour, linewidth=1.2)
            upper.plot([judged.auc], [at], "o", color=colour, markersize=5)
            upper.annotate(f"{judged.auc:.3f}", (judged.auc, at), (0, 6), textcoords="offset points", ha="center",
                           fontsize=8)  # fmt: skip
        upper.axvline(0.5, color=PALE, linewidth=1)
        upper.set_yticks(range(len(every)), list(every))
        upper.set_ylim(-0.5, len(every) - 0.3)
        upper.set_title(f"AUC of {outcome.dates} dates, with 95 % intervals over events")
        names = list(outcome.without)[::-1]
        lower.barh(names, [outcome.model.auc - outcome.without[name].auc for name in names], color=GREY)
        lower.axvline(0, color=BLACK, linewidth=0.8)
        lower.set_title("What each feature adds to it: the model minus the model without")
        figure.savefig(path, dpi=DPI)


def _read(people: Path, dates: Path) -> Dating:
    dating = read_dating(people, dates)
    if len(dating.waves) < 2:
        raise NoDating(f"{dates} holds one event only; each is foretold by what was learned of the others")
    return dating


@click.command()
@click.option("--people", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What each said before; with --dates. If none is given, the data beside this project.")  # fmt: skip
@click.option(
    "--dates", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Who met whom, and what they said."
)
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw to this .png or .svg.")
@click.option(
    "--bootstrap", type=click.IntRange(0), default=BOOTSTRAP, show_default=True, help="Draws of the intervals."
)
@click.option(
    "--size", type=click.IntRange(100), help="People of a made world, with hidden tastes, in place of the experiment."
)
def main(
    people: Path | None, dates: Path | None, as_json: bool, plot: Path | None, bootstrap: int, size: int | None
) -> None:
    """Foretell which dates of a real experiment both wanted to repeat; or, with --size, who fits whom in a made world.

    Within an event the first half of the dates is known, the second is foretold; weights are learned of other events.
    """
    if (people is None) != (dates is None):
        raise click.UsageError("--people and --dates come together")
    if people is None or dates is None:
        people, dates = BESIDE / "people.csv", BESIDE / "dates.csv"
        if not size and not (people.exists() and dates.exists()):
            click.echo(
                "The data of the dating experiment are not here, and none were named with --people and --dates: this "
                f"is the simulator instead, with {SMALL:,} people.",
                err=True,
            )
            size = SMALL
    if size:
        importlib.import_module("bench.recommend_world").run_world(size, as_json)
        return
    try:
        outcome = Outcome(_read(people, dates), bootstrap)
        show(outcome, Console(stderr=True))
        if plot is not None:
            draw(outcome, plot)
    except (NoDating, NoMatplotlib) as problem:
        raise click.ClickException(str(problem)) from None
    if as_json:
        click.echo(json.dumps(outcome.told()))


if __name__ == "__main__":
    main()
