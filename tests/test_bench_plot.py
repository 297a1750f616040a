"""Pictures are drawn of whatever results there are, and without matplotlib one sentence says how to get it.

What they look like is for people to judge.
"""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from bench.__main__ import cli
from bench.growth import over_members, over_users
from bench.loadgen import LoadFailed
from bench.medians import median_run
from bench.options import Common
from bench.plot_style import plain, ticks_between
from bench.report import Report

MINUTES = [[0, 100.0], [30, 101.0], [60, 101.5]]


def run(name: str, rate: float, **more: Any) -> dict[str, Any]:
    figures = {"rate_per_s": rate, "p50_ms": 1.0, "p99_ms": 3.0, "p999_ms": 9.0, "server_cpu_us": 2.0, "ok": True}
    return {"name": name, **figures, "lower_bound": False, "failures": {}, **more}


def line(bench: str, settings: dict[str, Any], *runs: dict[str, Any], server: str | None = None) -> str:
    whole = {"bench": bench, "unit": "delivery", "settings": settings, "runs": runs}
    return json.dumps(whole if server is None else whole | {"server": server}) + "\n"


WORKLOADS = (
    line("fanout", {"members": 1000, "rate": 0.0}, median_run([run("all read", 1e6), run("all read", 2e6)]))
    + line("fanout", {"members": 1000, "rate": 0.0}, run("all read", 5e5, ok=False), server="socketio")
    + line("idle", {"sockets": 10_000}, run("idle", 900.0, p50_ms=None, p99_ms=None, p999_ms=None, lower_bound=True))
)
GROWTH = line(
    "growth", {"over": "members", "load": "as fast as it goes"}, run("10 members", 1e5, members=10),
    median_run([run("100 members", 1e5, members=100, p99_ms=value) for value in (1.0, 2.0)]),
) + line(
    "growth", {"over": "users", "load": "busy"}, run("250 users", 1e3, users=250), run("500 users", 1e3, users=500)
)  # fmt: skip
MEMORY = line(
    "mixed", {"users": 2000, "groups": 200, "rate": 50.0},
    run("everybody", 7000.0, rss_each_half_minute_mib=MINUTES, rss_slope_kib_per_minute=12.0, rss_slope_from_s=12.0,
        rss_empty_before_mib=75.0, rss_empty_after_mib=80.0),
)  # fmt: skip


def drawn(tmp_path: Path, content: str, suffix: str) -> list[Path]:
    (tmp_path / "results.jsonl").write_text(content)
    result = CliRunner().invoke(cli, ["plot", str(tmp_path / "results.jsonl"), "-o", str(tmp_path / f"out{suffix}")])
    assert result.exit_code == 0, result.output
    return [Path(path) for path in result.output.split()]


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_each_kind_of_result_has_its_picture(tmp_path: Path, suffix: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    paths = drawn(tmp_path, WORKLOADS + GROWTH + MEMORY, suffix)
    assert [path.name for path in paths] == [f"out-{kind}{suffix}" for kind in ("workloads", "growth", "memory")]
    assert all(path.read_bytes().startswith(magic) for path in paths)


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    (path,) = drawn(tmp_path, WORKLOADS, ".svg")
    assert path.name == "out.svg"
    picture = path.read_text()
    for words in (
        "fanout, all read (1,000 members)", "konnect", "socketio", "1.5M", "500k  FAILED", "at least 900",
        "deliveries a second", "p99.9", "smallest and largest",
    ):  # fmt: skip
        assert words in picture
    (path,) = drawn(tmp_path, GROWTH, ".svg")
    for words in (
        "as fast as it goes",
        "busy",
        "One group: server CPU for each delivery",
        "A town: p99",
        "members of one group",
    ):
        assert words in path.read_text()


def test_curves_of_several_loads_carry_their_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    other = line("growth", {"over": "members", "load": "10 messages/s"}, run("10 members", 1e5, members=10))
    (path,) = drawn(tmp_path, GROWTH + other, ".svg")
    assert ">as fast as it goes<" in path.read_text()
    assert ">10 messages/s<" in path.read_text()


def test_a_workload_has_one_panel_for_all_servers(tmp_path: Path) -> None:
    """Though a peer's line of the idle names a payload, as all lines of peers do, and Konnect's does not."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    peer = line("idle", {"sockets": 10_000, "payload": 100}, run("idle", 700.0), server="socketio")
    ours = line("idle", {"sockets": 10_000}, run("idle", 900.0)).replace('"delivery"', '"sign-in"')
    (path,) = drawn(tmp_path, ours + peer.replace('"delivery"', '"sign-in"'), ".svg")
    assert path.read_text().count(">idle, idle (10,000 sockets)<") == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (17.8, 226.0, [20, 50, 100, 200]),
        (1.93, 3170.0, [10, 100, 1000]),
        (9190.0, 19_000.0, [10_000, 15_000]),
        (0.5, 8e8, [1, 100, 10_000, 1_000_000, 100_000_000]),
        (3.2, 3.4, []),
    ],
)
def test_a_logarithmic_axis_has_few_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert ticks_between(low, high, 5) == pytest.approx(ticks)


def test_figures_in_pictures_are_no_powers_of_ten() -> None:
    shown = {0: "0", 0.1549: "0.155", 1.0: "1", 17.81: "17.8", 100.0: "100", 3154.2: "3,154", 1e6: "1,000,000"}
    assert {value: plain(value) for value in shown} == shown


def test_without_matplotlib_one_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> ModuleType:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr("bench.plot.importlib.import_module", absent)
    (tmp_path / "results.jsonl").write_text(WORKLOADS)
    result = CliRunner().invoke(cli, ["plot", str(tmp_path / "results.jsonl"), "-o", str(tmp_path / "out.png")])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Error: pictures need matplotlib, which is not installed: .venv/bin/python -m pip install matplotlib"
    ]


def test_a_picture_is_png_or_svg(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(WORKLOADS)
    result = CliRunner().invoke(cli, ["plot", str(tmp_path / "results.jsonl"), "-o", "out.gif"])
    assert result.exit_code == 2
    assert "should end with .png or .svg" in result.output


# --- Growth ----------------------------------------------------------------------------------------------------------


async def test_growth_over_members_has_a_point_for_each_size() -> None:
    report = await over_members(Common(seconds=0.2, warmup=0.1), [3, 6], rate=50.0)
    told = _told(report)
    assert told["settings"]["load"] == "50 messages/s"
    assert [(one["name"], one["members"]) for one in told["runs"]] == [("3 members", 3), ("6 members", 6)]


async def test_growth_over_users_has_a_point_for_each_size() -> None:
    report = await over_users(Common(seconds=4.0, warmup=0.1), [160])
    told = _told(report)
    assert [(one["name"], one["users"], one["violations"]) for one in told["runs"]] == [("160 users", 160, 0)]


async def test_a_point_that_cannot_be_measured_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a group is too large for the machine: one has waited for the smaller ones, and keeps them."""

    async def measure(options: Common, members: int, rate: float) -> Report:
        if members > 100:
            async with trio.open_nursery():  # as run_load does: what is raised comes in a group
                raise LoadFailed("only 7 of 1000 sockets were signed in")
        report = Report("fanout", "delivery", {})
        report.adopt(run("all read", 1e5), "all read")
        return report

    monkeypatch.setattr("bench.growth.fanout.measure", measure)
    reports = [await over_members(Common(), [10, 100, 1000], rate=0.0) for _ in range(2)]
    whole = Report.of_repetitions(reports)
    assert [(one["name"], one["ok"]) for one in whole.runs] == [
        ("10 members", True), ("100 members", True), ("1000 members", False),
    ]  # fmt: skip
    assert not whole.good
    assert whole.runs[-1]["reason"] == "only 7 of 1000 sockets were signed in"
    assert whole.remarks[0] == "1: 1000 members: only 7 of 1000 sockets were signed in"
    whole.show(None)


def _told(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(report.line())
    assert (told["bench"], told["ok"]) == ("growth", True)
    return told


def test_the_bench_lists_what_is_new() -> None:
    listed = CliRunner().invoke(cli, []).output
    for name in ("mixed", "growth", "compare", "plot"):
        assert f"  {name} " in listed
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0
