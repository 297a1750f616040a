"""The replay of a real chat log: nothing lost, doubled or reordered, through drops of the network and kills.

Real processes, real sockets, a real and durable PostgreSQL. Each test waits for what it wants to see; the only times
in here are how long the clients and the trouble-makers wait.
"""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.chatlog import read_chatlog
from bench.replay import EXCERPT, Options, Outcome, main, replay
from bench.replay_report import Lines, Silent, show
from bench.script import Script, write_script
from bench.transcript import Verdict

HASTY = (0.05, 1.0)  # clients that come back quickly, so that tests are short


def scripts(lines: int | None = None) -> dict[str, Script]:
    return {EXCERPT.name: write_script(read_chatlog(EXCERPT), lines)}


def assert_kept(outcome: Outcome) -> None:
    """The promise, and that the run was not an empty one."""
    told = outcome.told()
    assert told["ok"], told
    assert [told[fault] for fault in ("lost", "doubled", "reordered", "foreign", "altered")] == [0] * 5
    assert not told["not_back"]
    assert told["compared"] > told["messages"] * told["people"] / 4


async def test_the_excerpt_arrives_whole_though_connections_drop() -> None:
    """A fifth of the people lose their connections again and again, some stay away for a while."""
    played = scripts()
    options = Options(speed=40, drop=0.2, drop_every_s=0.7, away_s=1.0, reconnect_s=HASTY)
    outcome = await replay(played, options, Silent())
    assert_kept(outcome)
    assert outcome.drops > 5
    assert outcome.messages == played[EXCERPT.name].says == 156
    assert set(outcome.changed) == {"edit", "react", "delete"}


async def test_killing_the_server_loses_nothing() -> None:
    """SIGKILL in the middle, more than once; every client comes back by itself."""
    options = Options(speed=20, drop=0.1, drop_every_s=2.0, away_s=0.5, reconnect_s=HASTY, kill_server_every_s=2.5)
    outcome = await replay(scripts(lines=80), options, Silent())
    assert_kept(outcome)
    assert outcome.kills["server"] >= 1


async def test_killing_postgres_loses_nothing() -> None:
    """SIGKILL to the database half-way: the server starts it again, and what was in flight is repeated."""
    options = Options(speed=30, drop=0.1, drop_every_s=2.0, away_s=0.5, reconnect_s=HASTY, kill_postgres=True)
    outcome = await replay(scripts(lines=80), options, Silent())
    assert_kept(outcome)
    assert outcome.kills["postgres"] == 1


async def test_several_logs_are_replayed_at_the_same_time_by_the_same_people() -> None:
    """A nick that occurs in two logs is one account with one client, in two groups."""
    one = write_script(read_chatlog(EXCERPT), 40)
    options = Options(drop=0.5, drop_every_s=0.3, away_s=0.3, reconnect_s=HASTY)
    outcome = await replay({"first": one, "second": one}, options, Silent())
    assert_kept(outcome)
    assert outcome.people == len(one.people) + 1
    assert outcome.messages == 2 * one.says


# --- The command -----------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        result = CliRunner().invoke(main, ["--url", f"http://127.0.0.1:{sock.getsockname()[1]}", "--lines", "5"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "does not answer" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-file.txt"], "does not exist"),
        (["--drop", "2"], "is not in the range"),
        (["--url", "http://127.0.0.1:1", "--kill-postgres"], "leave out --url"),
    ],
)
def test_misuse_is_said_plainly(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert said in result.output


def outcome(**faults: int) -> Outcome:
    verdict = Verdict(compared=24)
    for fault, count in faults.items():
        setattr(verdict, fault, count)
    return Outcome(7, 3, 1, 10, 8, 1.0, 2.0, 0.5, verdict=verdict)


@pytest.mark.parametrize("fault", ["lost", "doubled", "reordered", "foreign", "altered"])
def test_any_fault_makes_the_outcome_bad(fault: str) -> None:
    assert outcome().good
    assert not outcome(**{fault: 1}).good


def test_who_did_not_come_back_makes_the_outcome_bad() -> None:
    bad = outcome()
    bad.not_back.append("ann: waiting")
    assert not bad.good


def test_the_outcome_is_shown_as_a_table_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = outcome(lost=3).told() | {"kills": {"server": 2}, "examples": ["ann never saw 3 entries"]}
    show(told, as_json=True)
    assert json.loads(capsys.readouterr().out) == told
    show(told, as_json=False)
    table = capsys.readouterr().out
    for words in ("FAILED", "lost", "kills of the server", "ann never saw 3 entries"):
        assert words in table


def test_progress_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Lines()
    progress.begin("lines are said", 2)
    progress.step()
    progress.note(drops=4)
    progress.step()
    assert capsys.readouterr().err.splitlines() == ["lines are said: 0/2", "lines are said: 2/2, 4 drops"]


def test_the_excerpt_names_its_source_and_licence() -> None:
    text = (Path(EXCERPT).parent / "README.md").read_text()
    assert "Kummerfeld" in text
    assert "CC BY 4.0" in text
