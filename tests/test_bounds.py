"""docs/bounds.md gives each bound's constant with its number."""

import importlib
import re
from pathlib import Path

import pytest

from konnect_server.config import Config

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "bounds.md").read_text("utf-8")
ROWS = re.findall(r"^\| [^|]+ \| ([\d.,]+)[^|]* \| `([\w.]+)` \|", TEXT, re.MULTILINE)


def test_no_row_is_passed_over() -> None:
    """Every row of the tables has a number and a constant in the form that is checked below."""
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| What waits")]
    assert len(ROWS) == len(lines) > 30


@pytest.mark.parametrize(("number", "name"), ROWS)
def test_a_bound_is_what_the_document_says(number: str, name: str) -> None:
    """A bound that is changed is changed here, too."""
    stated = float(number.replace(",", ""))
    if name.startswith("Config."):
        found = getattr(Config(), name.removeprefix("Config."))
        assert found == stated or name == "Config.messages_per_s"  # that row counts what waits, not the rate
        return
    module, constant = name.rsplit(".", 1)
    assert getattr(importlib.import_module(module), constant) == stated
