"""Repetitions become medians, two files are compared by them, and what is noise is called so."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from bench.__main__ import cli
from bench.compare import difference
from bench.medians import median_run
from bench.report import Report, short
from bench.results import gather, pairs

MACHINE = {"cpu": "one", "cores": 2}


def single(rate: float, **more: Any) -> dict[str, Any]:
    return {
        "name": "1 in flight", "rate_per_s": rate, "p50_ms": 1000 / rate, "generator": "c", "lower_bound": False,
        "failures": {"lost": 0, "errors": 0}, "ok": True, "ack": {"p50_ms": 2.0, "p99_ms": rate}, **more,
    }  # fmt: skip


def line(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
    settings = {"pairs": 100, "payload": 100}
    whole = {"bench": "direct", "unit": "message", "ok": True, "settings": settings, "runs": list(runs)}
    return whole | {"machine": MACHINE, "commit": "abc"} | more


def written(path: Path, *lines: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return str(path)


# --- Medians ---------------------------------------------------------------------------------------------------------


def test_a_run_of_repetitions_has_medians_spread_and_all_of_them() -> None:
    runs = [single(100.0, drops=3), single(130.0, drops=4), single(120.0, drops=9)]
    whole = median_run(runs)
    assert (whole["name"], whole["rate_per_s"], whole["drops"]) == ("1 in flight", 120.0, 4)
    assert whole["ack"] == {"p50_ms": 2.0, "p99_ms": 120.0}
    assert whole["spread"]["rate_per_s"] == [100.0, 130.0]
    assert whole["repetitions"] == runs
    assert whole["ok"] is True


def test_a_fault_of_one_repetition_is_not_hidden_by_a_median() -> None:
    failed = {
        "ok": False,
        "failures": {"lost": 5, "errors": 0},
        "violations": 5,
        "examples": ["x"],
        "lower_bound": True,
    }
    whole = median_run([single(1.0, violations=0, examples=[]), single(2.0, **failed), single(3.0, violations=0)])
    assert (whole["ok"], whole["lower_bound"], whole["violations"]) == (False, True, 5)
    assert whole["failures"] == {"lost": 5, "errors": 0}
    assert whole["examples"] == ["x"]


def test_one_repetition_stays_as_it_is() -> None:
    assert median_run([single(1.0)]) == single(1.0)


def test_what_is_not_known_everywhere_has_no_median() -> None:
    whole = median_run([single(1.0, rss_mib=None), single(2.0, rss_mib=None)])
    assert whole["rss_mib"] is None
    assert "rss_mib" not in whole["spread"]


def test_a_report_of_repetitions_is_one_line() -> None:
    reports = []
    for rate in (10.0, 30.0, 20.0):
        report = Report("direct", "message", {"pairs": 1})
        report.adopt(single(rate), "a")
        report.adopt(single(rate * 2), "b")
        report.remarks.append("fine")
        reports.append(report)
    whole = Report.of_repetitions(reports)
    told = json.loads(whole.line())
    assert [(run["name"], run["rate_per_s"]) for run in told["runs"]] == [("a", 20.0), ("b", 40.0)]
    assert "server" not in told
    assert whole.remarks == ["1: fine", "2: fine", "3: fine"]
    assert Report.of_repetitions(reports[:1]) is reports[0]
    assert json.loads(Report("direct", "message", {}, server="nats").line())["server"] == "nats"


@pytest.mark.parametrize(("value", "words"), [(1_980_000, "1.98M"), (51_900, "51.9k"), (640, "640"), (0.25, "0.25")])
def test_numbers_are_said_shortly(value: float, words: str) -> None:
    assert short(value) == words


def test_repetitions_are_measured_on_fresh_servers(tmp_path: Path) -> None:
    """The real thing: two servers, two runs, one line; the table and the progress on standard error."""
    out = tmp_path / "out.jsonl"
    words = ["roundtrip", "--sockets", "2", "--flight", "1", "--seconds", "0.2", "--warmup", "0", "--reps", "2"]
    result = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.output
    (run,) = json.loads(out.read_text())["runs"]
    assert json.loads(result.stdout) == json.loads(out.read_text())
    assert len(run["repetitions"]) == 2
    low, high = run["spread"]["rate_per_s"]
    assert low <= run["rate_per_s"] <= high
    assert "1 of 2: measuring, 0.2 s" in result.stderr
    assert "2 of 2: 2 sockets sign in" in result.stderr
    assert "medians of 2" in result.stderr


# --- Comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "more_is_better", "verdict"),
    [
        ([10, 11, 12], [13, 14, 15], True, "better"),
        ([10, 11, 12], [13, 14, 15], False, "worse"),
        ([13, 14, 15], [10, 11, 12], True, "worse"),
        ([10, 11, 13], [13, 14, 15], True, "noise"),
        ([10, 20], [14, 15], True, "noise"),
        ([10, 11], [20], True, "once"),
        ([10], [10], True, "noise"),
    ],
)
def test_a_difference_within_the_spread_is_noise(
    a: list[float], b: list[float], more_is_better: bool, verdict: str
) -> None:
    assert difference("rate_per_s", more_is_better, a, b).verdict == verdict


@given(st.lists(st.floats(1, 1e6), min_size=1), st.lists(st.floats(1, 1e6), min_size=1), st.booleans())
def test_a_comparison_the_other_way_round_says_the_opposite(a: list[float], b: list[float], more: bool) -> None:
    one, other = difference("x", more, a, b), difference("x", more, b, a)
    opposite = {"better": "worse", "worse": "better"}
    assert other.verdict == opposite.get(one.verdict, one.verdict)
    assert one.ratio is not None
    assert other.ratio is not None
    assert one.ratio * other.ratio == pytest.approx(1)


def test_nothing_through_nothing_is_no_ratio() -> None:
    assert difference("x", True, [0.0], [1.0]).ratio is None


def test_lines_and_repetitions_of_one_benchmark_are_one_series() -> None:
    results = gather([line(single(1.0)), line(median_run([single(2.0), single(3.0)])), {"bench": "replay", "ok": True}])
    (series,) = results.series.values()
    assert series.values("rate_per_s") == [1.0, 2.0, 3.0]
    assert results.skipped == 1


def test_what_differs_in_its_settings_is_compared_only_if_there_is_one_of_it() -> None:
    small, large = {"pairs": 100, "payload": 100}, {"pairs": 100, "payload": 200}
    before = gather([line(single(1.0), settings=small)])
    assert len(list(pairs(before, gather([line(single(1.0), settings=large)])))) == 1
    both = gather([line(single(1.0), settings=large), line(single(1.0), settings={"pairs": 7})])
    assert list(pairs(before, both)) == []
    assert list(pairs(before, gather([line(single(1.0), server="nats")]))) == []


def test_compare_prints_ratios_noise_and_what_differs(tmp_path: Path) -> None:
    a = written(tmp_path / "a.json", *(line(single(rate)) for rate in (100.0, 101.0, 102.0)))
    other = {"machine": MACHINE | {"cpu": "two"}, "commit": "def", "settings": {"pairs": 100, "payload": 200}}
    b = written(
        tmp_path / "b.json", *(line(single(rate, lower_bound=True), **other) for rate in (200.0, 202.0, 204.0)),
        line(single(1.0), bench="fanout", machine=None, commit="123"),
    )  # fmt: skip
    result = CliRunner().invoke(cli, ["compare", a, b])
    assert result.exit_code == 0, result.output
    for words in (
        "2.000", "better", "101 (100 .. 102)", "202 (200 .. 204)", "A: commit abc", "B: commit def, 123",

        "the machines differ: cpu is one in A, two in B", "the settings differ: payload is 100 in A, 200 in B",
        "B was measured at 2 commits", "only in B: fanout", "in B the load generator was at its limit",
    ):  # fmt: skip
        assert words in result.output

    told = json.loads(CliRunner().invoke(cli, ["compare", a, b, "--json"]).output)
    (run,) = told["runs"]
    assert run["metrics"]["rate_per_s"] == {
        "a": {"median": 101.0, "min": 100.0, "max": 102.0, "times": 3},
        "b": {"median": 202.0, "min": 200.0, "max": 204.0, "times": 3},
        "ratio": 2.0,
        "verdict": "better",
    }
    assert told["commits"] == {"a": ["abc"], "b": ["def", "123"]}
    assert len(told["only_in_b"]) == 1


def test_compare_says_that_a_failed_run_is_no_figure(tmp_path: Path) -> None:
    a = written(tmp_path / "a.json", line(single(1.0, ok=False)))
    result = CliRunner().invoke(cli, ["compare", a, a])
    assert "FAILED in A" in result.output
    assert "noise" in result.output


@pytest.mark.parametrize(("content", "words"), [("{", "line 1, is no JSON"), ("{}\n[1]\n", "no benchmark's result")])
def test_a_file_that_holds_no_results_is_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    result = CliRunner().invoke(cli, ["compare", str(path), str(path)])
    assert result.exit_code == 1
    assert words in result.output
