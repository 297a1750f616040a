"""docs/protocol.md: the text of protocol.template.md with its tables, examples and numbers filled in."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from konnect_server.config import Config
from konnect_server.handshake import REFUSALS, SUBPROTOCOL
from protocol import frames, limits
from protocol.errors import UpgradeNeedsNewConnection
from protocol.schema import FrameTable, Tables, examples, prose, tables
from protocol.schema.catalogue import COMMANDS, EVENTS, RECORDS, RESULTS, tag
from protocol.schema.tables import anchor, field_rows
from tools.docs.bytes_explained import explained

TEMPLATE: Final = Path(__file__).with_name("protocol.template.md")
_PLACE: Final = re.compile(r"\{\{(\w+)(?: ([^}]+))?\}\}")


def protocol_md() -> str:
    """The whole document."""
    return fill(TEMPLATE.read_text("utf-8"))


def fill(template: str) -> str:
    """*template* with each ``{{word}}`` or ``{{word argument}}`` replaced.

    Raises:
        KeyError: A word, or what it asks for, is unknown.
    """
    rows = tables()
    words: dict[str, Callable[[str], str]] = {
        "commands": lambda _: "\n".join(_command(command) for command in rows.commands),
        "results": lambda _: "\n".join(_frame(result) for result in rows.results),
        "records": lambda _: "\n".join(_frame(record) for record in rows.records),
        "events": lambda _: "\n".join(_frame(event) for event in rows.events),
        "ok": lambda _: _fields(frames.Ok),
        "error": lambda _: _fields(frames.Error),
        "errors": lambda _: _errors(rows),
        "http_errors": lambda _: ", ".join(f"`{error.code}`" for error in rows.errors if not error.socket),
        "closes": lambda _: _closes(rows),
        "refusals": lambda _: _refusals(),
        "limits": lambda _: _table(
            ("What", "Name in `protocol/limits.py`", "Bound"),
            ((limit.meaning, f"`{limit.name}`", f"{limit.value:,}") for limit in rows.limits),
        ),
        "limit": lambda name: f"{getattr(limits, name):,}",
        "default": lambda name: _number(getattr(Config(), name)),
        "frame": lambda name: _json(_example(name)),
        "explained": lambda name: explained(_example(name)),
        "id": lambda name: str(getattr(examples, name)),
    }
    return _PLACE.sub(lambda match: words[match[1]](match[2] or ""), template)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


# --- Frames -----------------------------------------------------------------------------------------------------------


def _command(command: FrameTable) -> str:
    codes = ", ".join(f"[`{code}`](#{_error_anchor(code)})" for code in command.errors)
    own = f"Errors of its own: {codes}." if codes else "No errors of its own."
    return f"{_frame(command, _json(_example(f'ok.{command.name}')))}\n{own}\n"


def _frame(frame: FrameTable, answer: str = "") -> str:
    lines = [f'<a id="{frame.anchor}"></a>', f"#### `{frame.name}`", "", _linked(frame.text), ""]
    if frame.fields:
        lines += [_field_table(frame), ""]
    example = [f"> {_json(frame.example)}", f"< {answer}"] if answer else [_json(frame.example)]
    lines += ["```" if answer else "```json", *example, "```", ""]
    return "\n".join(lines)


def _field_table(frame: FrameTable) -> str:
    return _table(
        ("Field", "Type", "Limits", "If absent", "Meaning"),
        (
            (
                f"`{field.name}`",
                _type(field.type),
                field.limits,
                "refused"
                if field.required and frame.answer
                else "never"
                if field.required
                else _default(field.default),
                _linked(field.meaning),
            )
            for field in frame.fields
        ),
    )


def _fields(about: type[frames.Ok] | type[frames.Error]) -> str:
    return _table(
        ("Field", "Type", "Meaning"),
        ((f"`{row.name}`", row.type, _linked(row.meaning)) for row in field_rows(about)),
    )


def _type(kind: str) -> str:
    return re.sub(r"\b[A-Z]\w+", lambda match: f"[{match[0]}](#{_ANCHORS[match[0]]})", kind)


def _default(default: str) -> str:
    return f"`{default}`" if default else "nothing"


_ANCHORS: Final = {
    **{tag(about) or about.__name__: anchor(about) for about in (*EVENTS, *COMMANDS, *RESULTS, *RECORDS)},
    **{about.__name__: anchor(about) for about in EVENTS},
}


def _linked(text: str) -> str:
    return prose.linked(text, lambda name: f"#{_ANCHORS[name]}" if name in _ANCHORS else None)


def _example(name: str) -> dict[str, Any]:
    """The example called *name*: ``command.hello``, ``ok.hello``, ``event.entry`` or ``error``."""
    if name == "error":
        return examples.as_map(examples.ERROR)
    kind, _, wanted = name.partition(".")
    if kind == "event":
        return next(examples.as_map(examples.EVENTS[event]) for event in EVENTS if tag(event) == wanted)
    command = next(command for command in COMMANDS if tag(command) == wanted)
    return {"command": examples.COMMANDS[command], "ok": examples.answer(command)}[kind]


def _json(frame: dict[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False)


# --- Errors and close codes -------------------------------------------------------------------------------------------


def _errors(rows: Tables) -> str:
    return _table(
        ("Code", "HTTP", "Meaning", "What to do", "Again?"),
        (
            (
                f'<a id="{_error_anchor(error.code)}"></a>`{error.code}`',
                str(error.status),
                _linked(error.meaning),
                error.fix,
                "later" if error.later else "no",
            )
            for error in rows.errors
            if error.socket
        ),
    )


def _error_anchor(code: str) -> str:
    return "error-" + code.replace("_", "-")


def _closes(rows: Tables) -> str:
    return _table(
        ("Code", "Reason", "Meaning", "Come back?", "What to do"),
        (
            (f"`{close.code}`", f"`{close.reason}`", close.meaning, "yes" if close.come_back else "no", close.advice)
            for close in rows.closes
        ),
    )


def _refusals() -> str:
    """What answers a handshake that is not taken."""
    other = UpgradeNeedsNewConnection
    rows = [
        (
            refusal.status,
            refusal.code,
            refusal.detail.format("konnect.v1" if refusal is SUBPROTOCOL else "(the reason)"),
        )
        for refusal in REFUSALS
    ]
    rows.append((other.status, other.code, prose.text(other)))
    return _table(("HTTP", "`code`", "Meaning"), ((str(row[0]), f"`{row[1]}`", row[2]) for row in sorted(rows)))


# --- Tables -----------------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(heads), _row(["---"] * len(heads)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
