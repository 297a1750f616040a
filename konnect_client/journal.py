"""Where waiting messages outlast a restart: a file to which one line is appended for each message taken or settled.

A line is ``<crc32 in hex> <JSON>\\n``. A message's line is on disk (fsync) before the message is taken; the line that
removes it is not waited for, since a message that is repeated with its key does no harm. Whatever a crash leaves of
the last line, or a damaged disk of any line, is recognised by the checksum: that line is skipped, the others count,
the file is written anew without it, and the damaged bytes are kept beside it (``.damaged``), for they may hold what a
person typed. Settled lines are cleared when they outweigh the rest: atomically, by a new file.

Rejected: rewriting the whole file for each message (its cost grows with what waits); SQLite (a second format and a
second lock for one list).
"""

import json
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from konnect_client.errors import OutboxInUse, OutboxUnwritable

if sys.platform != "win32":
    import fcntl

SLACK_BYTES: Final = 256 * 1024  # settled lines that may lie about before the file is written anew


class Kept(NamedTuple):
    """One message, or another command that waits in order with messages, as the journal keeps it."""

    conversation: str
    key: str
    text: str  # empty for a command that has none
    t: str = "message.send"  # the command's name
    more: Mapping[str, Any] = MappingProxyType({})  # its other fields

    def record(self) -> list[Any]:
        """What its line says; that of a plain message has been the same since there were only messages."""
        plain = [self.conversation, self.key, self.text]
        return plain if self.t == "message.send" and not self.more else [*plain, self.t, dict(self.more)]


class Journal(Protocol):
    """What an outbox needs of its journal."""

    @property
    def user(self) -> str | None:
        """Whose messages these are, once known."""

    def load(self) -> list[Kept]:
        """Everything added and not removed, in the order of adding."""

    def add(self, kept: Kept) -> None:
        """Keep *kept*. Raises OutboxUnwritable, and then it is not kept."""

    def remove(self, conversation: str, key: str) -> None:
        """Forget one message. Never raises; what could not be forgotten is sent again with its key."""

    def belongs_to(self, user: str) -> None:
        """Write down whose messages these are. Never raises; it is tried again on the next connection."""

    def close(self) -> None:
        """Let the journal go; a second call does nothing."""


class MemoryJournal:
    """Keeps messages as long as the object lives: for tests, and for clients that need no more."""

    def __init__(self) -> None:
        self.user: str | None = None
        self._kept: dict[tuple[str, str], Kept] = {}

    def load(self) -> list[Kept]:
        return list(self._kept.values())

    def add(self, kept: Kept) -> None:
        self._kept[kept.conversation, kept.key] = kept

    def remove(self, conversation: str, key: str) -> None:
        self._kept.pop((conversation, key), None)

    def belongs_to(self, user: str) -> None:
        self.user = user

    def close(self) -> None:
        pass


class FileJournal:
    """Keeps messages in one file, used by one process at a time."""

    def __init__(self, path: str | os.PathLike[str], fsync: Callable[[int], None] = os.fsync) -> None:
        """
        Args:
            path: The file; it and its folder are made when missing, readable by nobody else (mode 0600).
            fsync: Brings a descriptor's bytes to the disk.

        Raises:
            OutboxUnwritable: It cannot be opened.
            OutboxInUse: Another process, or another journal of this one, has it open.
        """
        self._path, self._fsync = Path(path), fsync
        self.user: str | None = None
        self._kept: dict[tuple[str, str], Kept] = {}
        self._live_bytes = self._size_bytes = 0
        self._fd = -1
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise OutboxUnwritable(f"the outbox {self._path} cannot be opened: {problem.strerror}") from problem
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def load(self) -> list[Kept]:
        return list(self._kept.values())

    def add(self, kept: Kept) -> None:
        line = _line({"add": kept.record()})
        self._append(line)
        self._kept[kept.conversation, kept.key] = kept
        self._live_bytes += len(line)

    def remove(self, conversation: str, key: str) -> None:
        kept = self._kept.pop((conversation, key), None)
        if kept is None or self._fd < 0:
            return
        self._live_bytes -= len(_line({"add": kept.record()}))
        with suppress(OSError, OutboxUnwritable):  # a full disk: the message is sent again with its key, no harm
            if self._size_bytes > 2 * self._live_bytes + SLACK_BYTES:
                self._write_anew()
            else:
                self._write(_line({"remove": [conversation, key]}))

    def belongs_to(self, user: str) -> None:
        if user != self.user:
            with suppress(OutboxUnwritable):
                self._append(_line({"user": user}))
                self.user = user

    def close(self) -> None:
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    def _open(self) -> None:
        try:
            if sys.platform != "win32":
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise OutboxInUse(f"the outbox {self._path} is in use by another process") from problem
        try:
            damaged = self._read()
            if damaged:
                with self._path.with_name(self._path.name + ".damaged").open("ab") as file:
                    file.write(damaged)
                self._write_anew()
            else:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                self._size_bytes = os.fstat(self._fd).st_size
                self._fsync_folder()
        except OSError as problem:
            raise OutboxUnwritable(f"the outbox {self._path} cannot be opened: {problem.strerror}") from problem

    def _read(self) -> bytes:
        """Take over what the file holds; the damaged lines are returned."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        damaged = []
        for line in content.splitlines(keepends=True):
            record = _record(line)
            match record:
                case {"add": [str(conversation), str(key), str(text)]}:
                    self._kept.setdefault((conversation, key), Kept(conversation, key, text))
                case {"add": [str(conversation), str(key), str(text), str(t), dict(more)]}:
                    self._kept.setdefault((conversation, key), Kept(conversation, key, text, t, more))
                case {"remove": [str(conversation), str(key)]}:
                    self._kept.pop((conversation, key), None)
                case {"user": str(user)}:
                    self.user = user
                case _:
                    damaged.append(line)
        self._live_bytes = sum(len(_line({"add": kept.record()})) for kept in self._kept.values())
        return b"".join(damaged)

    def _append(self, line: bytes) -> None:
        """Write *line* and wait until it is on disk; on failure the file is as before."""
        if self._fd < 0:
            raise OutboxUnwritable(f"the outbox {self._path} is closed")
        before = self._size_bytes
        try:
            self._write(line)
            self._fsync(self._fd)
        except OSError as problem:
            self._cut(before)
            raise OutboxUnwritable(f"the outbox {self._path} cannot be written: {problem.strerror}") from problem

    def _write(self, line: bytes) -> None:
        before = self._size_bytes
        done = 0
        try:
            while done < len(line):
                done += os.write(self._fd, line[done:])
        except OSError:
            self._cut(before)
            raise
        self._size_bytes = before + len(line)

    def _cut(self, size_bytes: int) -> None:
        """No half line stays in the middle; where even that fails, the checksum tells."""
        with suppress(OSError):
            os.ftruncate(self._fd, size_bytes)
        self._size_bytes = size_bytes

    def _write_anew(self) -> None:
        """Replace the file by one that holds only what is kept."""
        fresh = self._path.with_name(self._path.name + ".new")
        lines = [_line({"user": self.user})] if self.user is not None else []
        lines += [_line({"add": kept.record()}) for kept in self._kept.values()]
        content = b"".join(lines)
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            done = 0
            while done < len(content):
                done += os.write(fd, content[done:])
            self._fsync(fd)
            fresh.replace(self._path)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size_bytes = fd, len(content)
        self._fsync_folder()

    def _fsync_folder(self) -> None:
        if sys.platform == "win32":
            return  # a folder cannot be opened there
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._fsync(folder)  # the file's name is on disk, too
        finally:
            os.close(folder)


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode()  # ASCII: no byte looks like a newline
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _record(line: bytes) -> Any:
    checksum, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text[:-1]):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
