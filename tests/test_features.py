"""docs/features.md names tests that exist, and commands that exist."""

import re
from pathlib import Path

import pytest
from msgspec import Struct

from protocol.schema.catalogue import COMMANDS, EVENTS, tag

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "features.md").read_text("utf-8")
TESTS = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| Command")]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_proved_by_something(row: str) -> None:
    assert "::test_" in row


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_tests_exist(file: str, name: str) -> None:
    """A renamed test must not leave the table behind."""
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text("utf-8"))


@pytest.mark.parametrize("name", re.findall(r"^\| `([\w.]+)`", TEXT, re.MULTILINE))
def test_the_commands_and_events_exist(name: str) -> None:
    assert name in {tag(frame) for frame in (*COMMANDS, *EVENTS)}


@pytest.mark.parametrize("frame", [*COMMANDS, *EVENTS], ids=tag)
def test_nothing_is_missing(frame: type[Struct]) -> None:
    """Every command and event has its row."""
    firsts = [row.split("|")[1] for row in ROWS]
    assert any(f"`{tag(frame)}`" in first for first in firsts)
