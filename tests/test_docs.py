"""The committed documents are what the protocol makes of them, and hold together as documents."""

import json
import re
from pathlib import Path

import pytest

from konnect_server.config import Config
from protocol import closing, errors, frames
from protocol.schema import answers, tables
from protocol.schema.catalogue import COMMANDS, EVENTS, RESULTS, tag
from tools.docs import __main__ as command_line, documents, markdown
from tools.docs.bytes_explained import explained
from tools.docs.vectors import masked

ROOT = documents.ROOT
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")


@pytest.mark.parametrize("path", documents.DOCUMENTS)
def test_a_document_is_up_to_date(path: str) -> None:
    """Run ``python -m tools.docs`` when this fails, and look at what changed before you commit it."""
    assert (ROOT / path).read_text("utf-8") == documents.DOCUMENTS[path]()


@pytest.mark.parametrize("path", documents.DOCUMENTS)
def test_a_document_is_made_the_same_twice(path: str) -> None:
    """No time, no chance, no order of a set in it."""
    assert documents.DOCUMENTS[path]() == documents.DOCUMENTS[path]()


def test_a_missing_or_changed_document_is_noticed(tmp_path: Path) -> None:
    """The check can fail."""
    assert documents.stale(tmp_path) == list(documents.DOCUMENTS)
    for path, write in documents.DOCUMENTS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(write(), "utf-8")
    assert documents.stale(tmp_path) == []
    (tmp_path / "docs" / "protocol.md").write_text("something else", "utf-8")
    assert documents.stale(tmp_path) == ["docs/protocol.md"]


def test_the_command_writes_and_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit codes that a script can use, words that a person can."""
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    monkeypatch.setattr(command_line, "stale", lambda: documents.stale(tmp_path))
    assert command_line.main(["--check"]) == 1
    assert "docs/protocol.md differs" in capsys.readouterr().out
    assert not (tmp_path / "docs" / "protocol.md").exists()
    assert command_line.main([]) == 0
    assert "docs/protocol.md written" in capsys.readouterr().out
    assert command_line.main(["--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    assert command_line.main(["--nonsense"]) == 2
    assert "usage" in capsys.readouterr().err


# --- docs/protocol.md -------------------------------------------------------------------------------------------------


def section(heading: str) -> str:
    """What stands beneath a heading of the second order."""
    return PROTOCOL.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_every_command_has_its_place(command: type[frames.Command]) -> None:
    """With each field, its result, its errors and an example of both."""
    own = section("Commands").split(f"#### `{tag(command)}`\n")[1].split("\n#### ")[0]
    for field in command.__struct_fields__:
        assert f"\n| `{field}` |" in own
    assert f"(#{frames.RESULTS[command].__name__.lower()})" in own
    assert f'> {{"t": "{tag(command)}"' in own
    assert '< {"t": "ok"' in own
    for error in answers.ERRORS[command]:
        assert f"(#error-{error.code.replace('_', '-')})" in own


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_every_event_has_its_place(event: type[frames.Event]) -> None:
    """With each field and an example."""
    own = section("Events").split(f"#### `{tag(event)}`\n")[1].split("\n#### ")[0]
    for field in event.__struct_fields__:
        assert f"\n| `{field}` |" in own
    assert f'{{"t": "{tag(event)}"' in own


def test_every_result_has_its_place() -> None:
    """Once, whatever number of commands it answers."""
    for result in RESULTS:
        assert section("Results").count(f"#### `{result.__name__}`\n") == 1


def test_every_error_and_close_code_has_its_row() -> None:
    """Those of the socket in the table, those of HTTP in the line beneath it."""
    for error in errors.catalogue():
        assert f"`{error.code}`" in section("Errors")
        if error in answers.on_socket():
            assert f'<a id="error-{error.code.replace("_", "-")}"></a>`{error.code}` | {error.status} |' in section(
                "Errors"
            )
    for close in closing.ALL:
        assert f"| `{close.code}` | `{close.reason}` |" in section("Close codes")


def test_every_limit_has_its_row() -> None:
    """As the type has it."""
    for row in tables().limits:
        assert f"`{row.name}` | {row.value:,} |" in section("Limits")


def test_numbers_are_those_of_the_server() -> None:
    """What the text calls a default is the default."""
    assert "first message must be [`hello`]" in PROTOCOL
    assert f"Within {Config().hello_timeout_s:g} seconds" in PROTOCOL
    assert f"{Config().messages_per_s:g} a second" in section("How fast")
    assert f"up to {Config().outbox_bytes:,} bytes" in section("How fast")


def test_every_link_leads_somewhere() -> None:
    """To a heading or an anchor of this file, or to a file beside it."""
    headings = {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", PROTOCOL, re.MULTILINE)}
    anchors = headings | set(re.findall(r'<a id="([^"]+)">', PROTOCOL))
    links = re.findall(r"\]\(([^)]+)\)", PROTOCOL)
    assert len(links) > 100
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        else:
            assert (ROOT / "docs" / link).is_file(), link


def test_anchors_are_unique() -> None:
    """A link leads to one place."""
    anchors = re.findall(r'<a id="([^"]+)">', PROTOCOL)
    assert len(set(anchors)) == len(anchors)


def test_tables_are_tables() -> None:
    """Each row of a table has as many cells as its head."""
    width = 0
    for line in PROTOCOL.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        assert cells == width, line


def test_examples_are_frames() -> None:
    """Each line of JSON in the text can be read."""
    blocks = re.findall(r"^```(?:json)?\n(.*?)^```", PROTOCOL, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r"([<>] )?\{", line)]
    assert len(lines) > 60
    for line in lines:
        assert isinstance(json.loads(line.removeprefix("> ").removeprefix("< ")), dict)


def test_no_place_is_left_open() -> None:
    """Every mark of the template was filled."""
    assert "{{" not in PROTOCOL
    with pytest.raises(KeyError):
        markdown.fill("{{no_such_word}}")
    with pytest.raises(AttributeError):
        markdown.fill("{{limit NO_SUCH_LIMIT}}")


def test_what_happens_to_each_mistake_is_said() -> None:
    """Each close code of the server's own stands in the table of what happens when, or is the other end of one."""
    told = section("What happens when")
    for close in closing.ALL:
        assert str(close.code) in told, close.reason


# --- Bytes ------------------------------------------------------------------------------------------------------------


def test_the_bytes_explained_are_the_bytes() -> None:
    """Put together, the parts are the payload; under the mask they are what went before."""
    told = explained({"t": "ping", "id": 2})
    parts = [line.split("  ")[0].strip() for line in told.splitlines()]
    payload = bytes.fromhex("".join(parts[4:]))
    assert payload == b"\x82\xa1t\xa4ping\xa2id\x02"
    assert bytes.fromhex("".join(parts[:4])) == masked(payload)


def test_a_long_frame_is_not_explained() -> None:
    """Its head would need other words."""
    with pytest.raises(ValueError, match="short"):
        explained({"t": "x" * 200})


def _anchor(heading: str) -> str:
    """How a heading is called in a link, as Markdown readers on the web make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
