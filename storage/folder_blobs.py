"""Blobs in a folder on disk, the default: the same flow as with S3, the signed addresses being the server's own.

A file is written beside its name, synced, and renamed, so that a name never has half a body, whatever is killed when.
Copies are hard links: a later upload renames another file over ``incoming/...`` and does not touch them. Folders are
0700, files 0600. Several processes of one machine may share the folder.
"""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from urllib.parse import quote

import trio
from msgspec import Struct

from storage import blob_links
from storage.blob_links import Link
from storage.blobs import Terms, Ticket, is_key
from storage.errors import BlobsUnavailable

THREADS: Final = 8  # disk calls at once
PIECE_BYTES: Final = 1 << 20  # written and hashed at a time
STALE_S: Final = 2 * 3600.0  # a part that nobody has written to for so long belongs to a process that is gone
_AREAS: Final = ("incoming", "media", "public")
_PART: Final = ".part"

T = TypeVar("T")


class FolderBlobs:
    """Blobs beneath one folder.

    Args:
        root: Made when it is missing.
        secret: Signs addresses; the same in every process that serves this folder.
        base: The server's own address, without a slash at its end.
        public_base: What public names hang below: a CDN, or the server's own ``/v1/public``.
        wall_s: Unix time.
    """

    def __init__(
        self, root: Path, secret: bytes, base: str, public_base: str = "", *, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self._secret = secret
        self._base = base
        self._public_base = public_base or f"{base}/v1/public"
        self._wall_s = wall_s
        self._threads = trio.CapacityLimiter(THREADS)
        for area in _AREAS:
            (root / area).mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- the seam ---

    async def sign_upload(self, key: str, terms: Terms, lifetime_s: int) -> Ticket:
        """See :class:`storage.blobs.Blobs`."""
        fields = {"size": str(terms.size_bytes), "type": terms.content_type, "sha256": terms.sha256.hex()}
        return Ticket(self._sign("PUT", key, fields, lifetime_s), {"Content-Type": terms.content_type})

    async def sign_download(self, key: str, content_type: str, file_name: str, lifetime_s: int) -> str:
        """See :class:`storage.blobs.Blobs`."""
        return self._sign("GET", key, {"type": content_type, "name": file_name}, lifetime_s)

    def public_url(self, key: str) -> str:
        """See :class:`storage.blobs.Blobs`."""
        return f"{self._public_base}/{key.removeprefix('public/')}"

    async def head(self, key: str) -> int | None:
        """See :class:`storage.blobs.Blobs`."""
        return await self._in_thread(lambda: _if_there(lambda: os.stat(self._path(key)).st_size))

    async def read(self, key: str, start: int, length: int) -> bytes:
        """See :class:`storage.blobs.Blobs`."""

        def work() -> bytes:
            with open(self._path(key), "rb") as file:
                return os.pread(file.fileno(), length, start)

        return await self._in_thread(lambda: _if_there(work)) or b""

    async def digest(self, key: str) -> bytes | None:
        """See :class:`storage.blobs.Blobs`."""

        def work() -> bytes:
            found = hashlib.sha256()
            with open(self._path(key), "rb") as file:
                while piece := file.read(PIECE_BYTES):
                    trio.from_thread.check_cancelled()
                    found.update(piece)
            return found.digest()

        return await self._in_thread(lambda: _if_there(work))

    async def copy(self, source: str, target: str, content_type: str) -> bool:
        """See :class:`storage.blobs.Blobs`. The type is not kept here: whoever serves a file knows it."""

        def work() -> bool:
            path = self._path(target)
            beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PART}")
            os.link(self._path(source), beside)
            os.rename(beside, path)
            beside.unlink(missing_ok=True)  # a rename between two names of one file does nothing
            _sync_folder(path.parent)
            return True

        return await self._in_thread(lambda: _if_there(work)) or False

    async def store(self, key: str, file: BinaryIO, content_type: str) -> None:
        """See :class:`storage.blobs.Blobs`. The type is not kept here: whoever serves a file knows it."""
        file.seek(0)
        async with self.writing(key) as made:
            while piece := await trio.to_thread.run_sync(file.read, PIECE_BYTES):
                await made.write(piece)
            await made.keep()

    async def delete(self, key: str) -> None:
        """See :class:`storage.blobs.Blobs`."""
        await self._in_thread(lambda: self._path(key).unlink(missing_ok=True))

    async def tidy(self) -> None:
        """See :class:`storage.blobs.Blobs`."""

        def work() -> None:
            for area in _AREAS:
                for part in (self._root / area).glob(f"*{_PART}"):
                    with suppress(FileNotFoundError):
                        if part.stat().st_mtime < self._wall_s() - STALE_S:
                            part.unlink()

        await self._in_thread(work)

    # --- for the HTTP door ---

    def verify(self, method: str, key: str, query: str) -> Link | None:
        """What the address of a request allows; None when it is not one that was signed here, or not any more."""
        return blob_links.read(self._secret, method, key, query, self._wall_s()) if is_key(key) else None

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator["Writing"]:
        """A body that arrives; without :meth:`Writing.keep` nothing of it is left when the block ends."""
        path = self._path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PART}")
        fd = await self._in_thread(lambda: os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield Writing(self, fd, part, path)
        finally:
            with trio.CancelScope(shield=True):
                await self._in_thread(lambda: _drop(fd, part))

    @asynccontextmanager
    async def reading(self, key: str) -> AsyncIterator["Reading | None"]:
        """A file that is read piece by piece, and may be deleted meanwhile; None if there is nothing."""
        fd = await self._in_thread(lambda: _if_there(lambda: os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW)))
        if fd is None:
            yield None
            return
        try:
            yield Reading(self, fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)

    # --- inside ---

    def _sign(self, method: str, key: str, fields: dict[str, str], lifetime_s: int) -> str:
        link = Link(method, key, {**fields, "expires": str(int(self._wall_s()) + lifetime_s)})
        return f"{self._base}/v1/blobs/{quote(key)}?{blob_links.query(self._secret, link)}"

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError(f"not a blob's key: {key!r}")
        return self._root / key

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._threads)
        except OSError as problem:
            full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if full else f"the media folder cannot be used: {problem.strerror}"
            raise BlobsUnavailable(what) from problem


class Writing(Struct, frozen=True):
    """A file that is being written, under a name that nobody else looks at."""

    _blobs: FolderBlobs
    _fd: int
    _part: Path
    _path: Path

    async def write(self, data: bytes | bytearray) -> None:
        """Append *data*."""
        await self._blobs._in_thread(lambda: _write_all(self._fd, data))

    async def keep(self) -> None:
        """Give it its name; it is on disk when this returns."""

        def work() -> None:
            os.fsync(self._fd)
            os.rename(self._part, self._path)
            _sync_folder(self._path.parent)

        await self._blobs._in_thread(work)


class Reading(Struct, frozen=True):
    """A file that is being read."""

    _blobs: FolderBlobs
    _fd: int
    size_bytes: int

    async def piece(self, start: int, length: int) -> bytes:
        """Up to *length* bytes from *start* on."""
        return await self._blobs._in_thread(lambda: os.pread(self._fd, length, start))


def _if_there(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except FileNotFoundError:
        return None


def _write_all(fd: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _drop(fd: int, part: Path) -> None:
    os.close(fd)
    part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
