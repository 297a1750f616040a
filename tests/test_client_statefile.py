"""The file that says how far the application is."""

import stat
from pathlib import Path

import pytest

from konnect_client import Heads, MemoryState, Saved, StateFile
from tests.client_peer import ANN, ROOM

SAVED = Saved(ANN, Heads({ROOM: 7}, "cursor"))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    store = StateFile(path)
    assert store.load() is None
    store.save(Saved(ANN, Heads()))
    store.save(SAVED)
    assert StateFile(path).load() == SAVED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_torn_at_any_byte_is_a_fresh_start(tmp_path: Path) -> None:
    path = tmp_path / "state"
    StateFile(path).save(SAVED)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert StateFile(path).load() is None


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'{"user": 1, "cursor": null, "heads": {}}',
        b'{"user": "a", "cursor": null, "heads": {"c": -1}}',
        b'{"user": "a", "cursor": null, "heads": {"c": true}}',
        b"\xff",
    ],
)
def test_a_file_that_means_something_else_is_a_fresh_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    assert StateFile(path).load() is None


def test_a_crash_while_saving_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    StateFile(path).save(SAVED)

    def crash(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="No space"):
        StateFile(path).save(Saved(ANN, Heads({ROOM: 9})))
    assert StateFile(path).load() == SAVED


def test_memory_keeps_a_copy() -> None:
    store = MemoryState()
    assert store.load() is None
    heads = Heads({ROOM: 1})
    store.save(Saved(ANN, heads))
    heads.seqs[ROOM] = 2
    loaded = store.load()
    assert loaded == Saved(ANN, Heads({ROOM: 1}))
