"""docs/hazards.md names tests and planted bugs that exist, and every hazard."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "hazards.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([ABC]\d+) \|.*$", TEXT, re.MULTILINE)
TESTS = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)
PLANTS = re.findall(r"planted: `(\w+)`", TEXT)


def test_every_hazard_has_its_row() -> None:
    """A1 to A13 lose or reorder, B1 to B13 hang or stall, the rest were found while building."""
    assert ROWS[:13] == [f"A{n}" for n in range(1, 14)]
    assert ROWS[13:26] == [f"B{n}" for n in range(1, 14)]


@pytest.mark.parametrize("row", [line for line in TEXT.splitlines() if re.match(r"\| [ABC]\d", line)])
def test_every_row_is_shown_by_something(row: str) -> None:
    """A cure that nothing holds is a hope."""
    assert "::test_" in row or "planted:" in row


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_tests_exist(file: str, name: str) -> None:
    """A renamed test must not leave the table behind."""
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text("utf-8"))


@pytest.mark.parametrize("name", PLANTS)
def test_the_planted_bugs_exist(name: str) -> None:
    """They are functions of tests/simulate/plants.py."""
    assert re.search(rf"def {name}\(", (ROOT / "tests" / "simulate" / "plants.py").read_text("utf-8"))
