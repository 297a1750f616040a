"""The outbox file: what it holds outlasts a restart, a torn line, a damaged disk."""

import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_client import OutboxUnwritable
from konnect_client.journal import SLACK_BYTES, FileJournal, Kept, MemoryJournal
from tests.client_peer import ANN, HALL, ROOM

ONE, THREE = Kept(ROOM, "k1", "one"), Kept(ROOM, "k3", "3")
TWO = Kept(HALL, "k2", "zwei\n\u2028 \x00 \N{GRINNING FACE}")


def written(path: Path, *kept: Kept) -> bytes:
    journal = FileJournal(path)
    for one in kept:
        journal.add(one)
    journal.close()
    return path.read_bytes()


def content(path: Path) -> list[Kept]:
    journal = FileJournal(path)
    journal.close()
    return journal.load()


def test_messages_outlast_a_restart_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "outbox"
    written(path, ONE, TWO, THREE)
    assert content(path) == [ONE, TWO, THREE]


def test_other_commands_outlast_a_restart_and_messages_are_kept_as_ever(tmp_path: Path) -> None:
    """A file of an older client is read; what it would not know looks like a damaged line to it, and is kept."""
    path = tmp_path / "outbox"
    edit = Kept(ROOM, "k4", "new", "message.edit", {"seq": 7})
    react = Kept(ROOM, "k5", "", "message.react", {"seq": 7, "emoji": "\N{OWL}", "on": True})
    lines = written(path, ONE, edit, react, TWO).splitlines()
    assert lines[0].endswith(b'{"add":["%s","k1","one"]}' % ROOM.encode())
    assert content(path) == [ONE, edit, react, TWO]
    journal = FileJournal(path)
    journal.remove(ROOM, "k4")
    journal.close()
    assert content(path) == [ONE, react, TWO]


def test_a_message_with_content_outlasts_a_restart(tmp_path: Path) -> None:
    """Its text, which may be empty, and what it is beside it."""
    path = tmp_path / "outbox"
    place = Kept(ROOM, "k6", "", "message.send", {"content": {"location": {"lat": 1.5, "lon": 2}}})
    written(path, ONE, place, TWO)
    assert content(path) == [ONE, place, TWO]


def test_what_was_settled_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    written(path, ONE, TWO, THREE)
    journal = FileJournal(path)
    journal.remove(ONE.conversation, ONE.key)
    journal.remove(ROOM, "never seen")
    journal.close()
    journal.remove(TWO.conversation, TWO.key)  # too late: it is sent again, with its key
    assert content(path) == [TWO, THREE]


def test_it_knows_whose_messages_these_are(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    journal = FileJournal(path)
    assert journal.user is None
    journal.belongs_to(ANN)
    journal.close()
    assert FileJournal(path).user == ANN


def test_a_file_torn_at_any_byte_loses_no_earlier_message(tmp_path: Path) -> None:
    """A power cut may leave any part of the last line; the next message goes on a line of its own."""
    path = tmp_path / "outbox"
    whole = written(path, ONE, TWO, THREE)
    ends = [end + 1 for end, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        survivors = [ONE, TWO, THREE][: sum(end <= cut for end in ends)]
        journal = FileJournal(path)
        assert journal.load() == survivors
        journal.add(Kept(ROOM, "k9", "after"))
        journal.close()
        assert content(path) == [*survivors, Kept(ROOM, "k9", "after")]


def test_a_damaged_line_costs_only_itself_and_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    lines = written(path, ONE, TWO, THREE).splitlines(keepends=True)
    damaged = lines[1].replace(b"zwei", b"drei")
    path.write_bytes(lines[0] + damaged + lines[2])
    assert content(path) == [ONE, THREE]
    assert path.with_name("outbox.damaged").read_bytes() == damaged
    assert content(path) == [ONE, THREE]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300))
def test_any_noise_is_survived(tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(noise)
    assert content(path) == []
    path.unlink()


def test_a_line_with_a_right_checksum_and_another_meaning_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(b"%08x [1]\n" % zlib.crc32(b"[1]") + written(tmp_path / "other", ONE))
    assert content(path) == [ONE]


def test_settled_lines_are_cleared_in_time(tmp_path: Path) -> None:
    """Ten thousand messages come and go: the file stays small, and what waits stays."""
    path = tmp_path / "outbox"
    journal = FileJournal(path, fsync=lambda fd: None)
    journal.belongs_to(ANN)
    journal.add(ONE)
    for number in range(10_000):
        journal.add(Kept(HALL, str(number), "x" * 100))
        journal.remove(HALL, str(number))
    journal.close()
    assert path.stat().st_size < 2 * SLACK_BYTES
    assert content(path) == [ONE]
    assert FileJournal(path).user == ANN
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".new"] == []


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    written(path, ONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """Two writers would mix their lines."""
    path = tmp_path / "outbox"
    first = FileJournal(path)
    program = f"from konnect_client.journal import FileJournal; FileJournal({str(path)!r})"
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert "in use by another process" in second.stderr
    first.close()
    first.close()
    assert content(path) == []


def test_a_folder_in_its_place_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(OutboxUnwritable, match="cannot be opened"):
        FileJournal(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxUnwritable, match="cannot be opened"):
        FileJournal(tmp_path / "file" / "outbox")


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "outbox")
    journal.close()
    with pytest.raises(OutboxUnwritable, match="closed"):
        journal.add(ONE)


def full_disk(self: Path, target: Path) -> None:
    raise OSError(28, "No space left on device")


def failing(times: int) -> Callable[[int], None]:
    """An fsync that works *times* times."""

    def fsync(fd: int) -> None:
        nonlocal times
        times -= 1
        if times < 0:
            raise OSError(28, "No space left on device")

    return fsync


def test_a_message_that_cannot_be_written_is_not_half_there(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    journal = FileJournal(path, fsync=failing(2))  # the folder's, and the first message's
    journal.add(ONE)
    with pytest.raises(OutboxUnwritable, match="No space left"):
        journal.add(TWO)
    journal.belongs_to(ANN)  # cannot be written either; it is tried again with the next connection
    assert journal.user is None
    journal.remove(ONE.conversation, ONE.key)
    journal.close()
    assert content(path) == []


def test_a_short_write_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up in the middle of a line."""
    path = tmp_path / "outbox"
    journal = FileJournal(path)
    journal.add(ONE)
    before = path.read_bytes()
    write = os.write

    def short(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return write(fd, data[:7])

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OutboxUnwritable):
        journal.add(TWO)
    assert path.read_bytes() == before
    monkeypatch.undo()
    journal.add(TWO)
    journal.close()
    assert content(path) == [ONE, TWO]


def test_a_removal_that_is_torn_does_not_spoil_the_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox"
    journal = FileJournal(path)
    journal.add(ONE)
    write = os.write
    pieces = [7, 0]

    def short(fd: int, data: bytes) -> int:
        if not (piece := pieces.pop(0)):
            raise OSError(28, "No space left on device")
        return write(fd, data[:piece])

    monkeypatch.setattr(os, "write", short)
    journal.remove(ONE.conversation, ONE.key)
    monkeypatch.undo()
    journal.add(TWO)
    journal.close()
    assert content(path) == [ONE, TWO]  # ONE is sent again with its key
    assert not path.with_name("outbox.damaged").exists()


def test_settled_lines_that_cannot_be_cleared_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outbox"
    journal = FileJournal(path, fsync=lambda fd: None)
    journal.add(ONE)
    monkeypatch.setattr("konnect_client.journal.SLACK_BYTES", -1_000_000)
    monkeypatch.setattr(Path, "replace", full_disk)
    journal.add(TWO)
    journal.remove(ONE.conversation, ONE.key)
    journal.add(THREE)
    journal.close()
    assert content(path) == [ONE, TWO, THREE]  # ONE is sent again with its key


def test_memory_keeps_as_long_as_it_lives() -> None:
    journal = MemoryJournal()
    journal.add(ONE)
    journal.add(TWO)
    journal.remove(ONE.conversation, ONE.key)
    journal.belongs_to(ANN)
    journal.close()
    assert (journal.load(), journal.user) == ([TWO], ANN)
