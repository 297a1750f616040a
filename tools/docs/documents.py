"""Which files are made from the protocol and the settings, and whether they still say what it says."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from protocol.schema import asyncapi, openapi
from tools.docs.configuration import configuration_md
from tools.docs.markdown import protocol_md
from tools.docs.postman import collection, environment
from tools.docs.vectors import vectors

ROOT: Final = Path(__file__).resolve().parents[2]


def _version() -> str:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def _pretty(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _vectors() -> str:
    """One vector a line, so that a change shows as one."""
    document = vectors()
    lines = ["{", f' "about": {json.dumps(document["about"], indent=2)},']
    lines.append(f' "subprotocol": {json.dumps(document["subprotocol"])},')
    for part in ("accepted", "refused"):
        rows = ",\n".join("  " + json.dumps(vector) for vector in document[part])
        lines.append(f' "{part}": [\n{rows}\n ]{"," if part == "accepted" else ""}')
    return "\n".join([*lines, "}"]) + "\n"


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "docs/protocol.md": protocol_md,
    "docs/configuration.md": configuration_md,
    "docs/vectors.json": _vectors,
    "docs/asyncapi.json": lambda: _pretty(asyncapi()),
    "docs/openapi.json": lambda: _pretty(openapi(_version())),
    "docs/postman/konnect.postman_collection.json": lambda: _pretty(collection()),
    "docs/postman/konnect.postman_environment.json": lambda: _pretty(environment()),
}


def stale(root: Path = ROOT) -> list[str]:
    """The documents below *root* that are missing or differ from what would be written now."""
    return [path for path, write in DOCUMENTS.items() if _read(root / path) != write()]


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None
