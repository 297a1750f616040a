"""A copy of everything of a person's own, by a job: a zip that is their medium for some days (docs/decisions/0027).

It is made in a file without a name, page by page, and is never whole in memory; what a process that is killed has made
of it goes with the process, and whoever takes the job then makes it anew. What it holds follows from the database: a
file for each function ``export_<noun>(person)`` that there is.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import IO, Any, Final
from uuid import UUID

import msgspec
import trio
from msgspec import Raw, Struct

from konnect_server.actions.media import file_name, key_of
from konnect_server.jobs import Again
from storage import exports, leaving, uploads
from storage.blobs import Blobs, media_key
from storage.database import Database
from storage.errors import BlobsUnavailable, StorageUnavailable

LEASE_S: Final = 900.0  # of such a job: media of some gigabytes are read and written in it
WORK_S: Final = 840.0
RETRY_S: Final = 5.0
PIECE_BYTES: Final = 1 << 20
ENTRIES: Final = 2_000  # of a log that are looked through at once
PAGE: Final = 100
PREFIX: Final = "export_"

README: Final = """\
This is a copy of everything of yours.

Each .json file holds one kind of things: entries.json what you said and did in conversations, with the conversation's
id and the place (seq) in its log; versions.json what your messages said before you edited them; own_rows.json drafts,
settings, notifications and what else your devices hold. The folder media/ has your files, under their ids, which
uploads.json explains. Times are Unix milliseconds (UTC).
"""


class Asked(Struct, frozen=True):
    """What a job of kind "account.export" is given."""

    export: UUID
    person: UUID


class Export:
    """Does jobs of kind "account.export"."""

    def __init__(
        self, database: Database, blobs: Blobs, *, kept_days: int, changed: Callable[[UUID], None],
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        """*changed*: told whose own rows changed. *wake*: told that there are jobs."""
        self._database, self._blobs, self._kept_ms = database, blobs, kept_days * 86_400_000
        self._changed, self._wake = changed, wake

    async def make(self, payload: Raw) -> None:
        """Make it, put it into the store, and tell its person. May be done twice.

        Raises:
            Again: Storage or the store of media does not answer.
        """
        asked = msgspec.json.decode(payload, type=Asked)
        try:
            with tempfile.TemporaryFile(prefix="konnect-export-") as file:
                await self._write(asked.person, file)
                await self._keep(asked, file)
        except (StorageUnavailable, BlobsUnavailable) as problem:
            raise Again(RETRY_S, why=str(problem)) from problem

    async def _keep(self, asked: Asked, file: IO[bytes]) -> None:
        db, key = self._database, media_key(asked.export, 1)
        size_bytes = file.seek(0, 2)
        sha256 = await trio.to_thread.run_sync(_digest, file)
        name = f"konnect-{asked.export.hex[:8]}.zip"
        if not await exports.announce(
            db, asked.export, asked.person, name, size_bytes, sha256, round(LEASE_S * 1000)
        ):  # fmt: skip
            return
        await self._blobs.store(key, file, "application/zip")  # type: ignore[arg-type]  # a file of bytes
        if await exports.end(db, asked.export, asked.person, self._kept_ms):
            self._changed(asked.person)
            self._wake()
        else:
            await self._blobs.delete(key)  # who asked was erased meanwhile

    async def _write(self, person: UUID, file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("README.txt", README)
            for function in await leaving.functions(self._database, PREFIX):
                text = await exports.noun(self._database, function, person)
                await _put(made, f"{function.removeprefix(PREFIX)}.json", text.encode())
            await self._write_list(made, "entries.json", self._entries(person))
            await self._write_list(made, "versions.json", self._versions(person))
            await self._write_media(made, person)

    async def _write_list(self, made: zipfile.ZipFile, name: str, rows: AsyncIterator[Raw]) -> None:
        """A JSON list, a line each, as the rows come."""
        with made.open(name, "w", force_zip64=True) as inside:
            waiting, first = bytearray(b"["), True
            async for row in rows:
                waiting += (b"\n" if first else b",\n") + bytes(row)
                first = False
                if len(waiting) >= PIECE_BYTES:
                    await trio.to_thread.run_sync(inside.write, bytes(waiting))
                    waiting.clear()
            await trio.to_thread.run_sync(inside.write, bytes(waiting) + b"\n]\n")

    async def _stretches(self, person: UUID) -> AsyncIterator[tuple[UUID, int, exports.Stretch]]:
        at = UUID(int=0)
        while found := await leaving.conversations(self._database, person, at, PAGE):
            for conversation in found:
                after = 0
                while True:
                    stretch = await exports.entries(self._database, person, conversation, after, ENTRIES)
                    yield conversation, after, stretch
                    after = stretch.through
                    if stretch.done:
                        break
            at = found[-1]

    async def _entries(self, person: UUID) -> AsyncIterator[Raw]:
        async for _, _, stretch in self._stretches(person):
            for entry in stretch.entries:
                yield entry

    async def _versions(self, person: UUID) -> AsyncIterator[Raw]:
        async for conversation, after, stretch in self._stretches(person):
            if stretch.entries:
                for version in await exports.versions(self._database, person, conversation, after, ENTRIES):
                    yield version

    async def _write_media(self, made: zipfile.ZipFile, person: UUID) -> None:
        after = UUID(int=0)
        while rows := await uploads.ready_of(self._database, person, after, PAGE):
            for row in rows:
                info = zipfile.ZipInfo(f"media/{row.id}/{file_name(row)}")  # such files are packed already
                with made.open(info, "w", force_zip64=True) as inside:
                    start = 0
                    while piece := await self._blobs.read(key_of(row), start, PIECE_BYTES):
                        await trio.to_thread.run_sync(inside.write, piece)
                        start += len(piece)
            after = rows[-1].id


async def _put(made: zipfile.ZipFile, name: str, data: bytes) -> None:
    await trio.to_thread.run_sync(made.writestr, name, data)


def _digest(file: IO[bytes]) -> bytes:
    file.seek(0)
    found: Any = hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        found.update(piece)
    digest: bytes = found.digest()
    return digest
