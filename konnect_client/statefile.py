"""Where the heads outlast a restart: one small file, replaced as a whole.

It says how far the *application* is: an event counts once the application has asked for the next one. So a restarted
application may see its last events again, and never misses one. A file that is missing or damaged means a fresh start.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple, Protocol

from konnect_client.heads import Heads


class Saved(NamedTuple):
    """Whose state it is, and how far it is."""

    user: str
    heads: Heads


class StateStore(Protocol):
    """What a client needs of the place where its state is kept."""

    def load(self) -> Saved | None:
        """What was saved last; None for a fresh start."""

    def save(self, saved: Saved) -> None:
        """Keep *saved* instead of what was kept. Raises OSError when that cannot be."""


class MemoryState:
    """Keeps the state as long as the object lives: for tests."""

    def __init__(self) -> None:
        self.saved: Saved | None = None

    def load(self) -> Saved | None:
        return self.saved and Saved(self.saved.user, self.saved.heads.copy())

    def save(self, saved: Saved) -> None:
        self.saved = Saved(saved.user, saved.heads.copy())


class StateFile:
    """Keeps the state in one file, readable by nobody else (mode 0600)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self) -> Saved | None:
        """What was saved last; None when there is nothing, or nothing that can be read as such.

        Raises:
            OSError: The file is there and cannot be read.
        """
        try:
            content = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        match content:
            case {"user": str(user), "cursor": None | str() as cursor, "heads": dict(seqs)}:
                rows = content.get("rows", {})  # in files of before there were any, the cursor knows of none
                if all(type(seq) is int and seq >= 0 for seq in seqs.values()) and _are_rows(rows):
                    return Saved(user, Heads(seqs, cursor, rows))
        return None

    def save(self, saved: Saved) -> None:
        """Replace the file; a crash leaves the old one or the new one.

        Raises:
            OSError: It cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(self._path.name + ".new")
        heads = saved.heads
        content = {"user": saved.user, "cursor": heads.cursor, "heads": heads.seqs, "rows": heads.rows}
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(fd)
        fresh.replace(self._path)


def _are_rows(rows: object) -> bool:
    """Whether *rows* is kind -> subject -> value."""
    return isinstance(rows, dict) and all(
        isinstance(of_kind, dict) and all(isinstance(value, dict) for value in of_kind.values())
        for of_kind in rows.values()
    )
