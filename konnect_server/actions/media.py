"""Media: announce a file, check what arrived, say where to get it."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import structlog
from msgspec import Struct

from konnect_server.actions import sniff
from protocol.errors import (
    KonnectError,
    NotReady,
    TooLarge,
    Unavailable,
    UnknownMedium,
    UploadMissing,
    WrongChecksum,
    WrongSize,
    WrongType,
)
from protocol.http import BeginUpload, Medium, UploadTicket
from storage import uploads
from storage.blobs import EXTENSIONS, Blobs, Terms, incoming_key, media_key, public_key
from storage.database import Database
from storage.errors import BlobsUnavailable
from storage.uploads import NewUpload, Upload

LEASE_S: Final = 3600  # for a check, in which the sweep keeps away; the largest file takes a minute
RETRY_S: Final = 600  # until a doomed row, whose sweeper may have been killed, is given to another one
ERASED_AT_ONCE: Final = 100  # rows of one question
PUBLIC: Final = "profile_photo"
_TYPES: Final = {PUBLIC: sniff.PHOTOS, "photo": sniff.PHOTOS, "voice": sniff.VOICES, "video": sniff.VIDEOS}

_log = structlog.get_logger("konnect.media")


class MediaTerms(Struct, frozen=True, kw_only=True):
    """How large, how many, how long."""

    photo_bytes: int
    voice_bytes: int
    video_bytes: int
    file_bytes: int
    quota_bytes: int  # of one person
    upload_url_s: int
    download_url_s: int
    pending_s: int  # how long a pending upload is kept after its address has gone
    unused_s: int  # how long a ready medium is kept that nothing names

    def most_bytes(self, kind: str) -> int:
        """The largest file of *kind*."""
        return int(getattr(self, f"{'photo' if kind == PUBLIC else kind}_bytes"))


class Media:
    """The rules, over one database and one place for blobs."""

    def __init__(self, database: Database, blobs: Blobs, terms: MediaTerms, *, new_id: Callable[[], UUID]) -> None:
        self._database = database
        self._blobs = blobs
        self._terms = terms
        self._new_id = new_id

    async def begin(self, person: UUID, wanted: BeginUpload) -> UploadTicket:
        """Announce a file; its size counts from now on.

        Raises:
            TooLarge, WrongType: No file of this kind may be so large, or of this type.
            QuotaExceeded, UnknownUser: As for :func:`storage.uploads.insert_upload`.
            Unavailable: The store of media does not answer.
        """
        terms, kind = self._terms, wanted.kind
        if wanted.size_bytes > (most := terms.most_bytes(kind)):
            raise TooLarge(f"a {kind} may have at most {most} bytes")
        content_type, allowed = sniff.essence(wanted.content_type), _TYPES.get(kind)
        if allowed is not None and content_type not in allowed:
            raise WrongType(f"a {kind} is one of {', '.join(sorted(allowed))}, not {content_type}")
        new = NewUpload(
            self._new_id(), person, kind, wanted.size_bytes, content_type, bytes.fromhex(wanted.sha256), wanted.name,
            terms.upload_url_s * 1000, terms.pending_s * 1000,
        )  # fmt: skip
        await uploads.insert_upload(self._database, new, terms.quota_bytes)
        try:
            bound = Terms(new.size_bytes, _served_as(kind, content_type), new.sha256)
            ticket = await self._blobs.sign_upload(incoming_key(new.id), bound, terms.upload_url_s)
        except BlobsUnavailable as problem:
            raise _away(problem) from problem
        return UploadTicket(new.id, "PUT", ticket.url, ticket.headers, terms.upload_url_s)

    async def done(self, person: UUID, upload: UUID) -> Medium:
        """Check what arrived; may be repeated, also by two at once.

        Raises:
            UnknownMedium: There is no such upload of this person's.
            UploadMissing: Nothing has arrived.
            WrongSize, WrongChecksum, WrongType: It is not what was announced, and was deleted.
            Unavailable: The store of media does not answer; repeat it.
        """
        row = await uploads.upload_of(self._database, upload, person)
        try:
            if row is not None and row.state == "pending":
                row = await self._check(row)
            if row is None:
                raise UnknownMedium(upload)
            return await self._medium(row)
        except BlobsUnavailable as problem:
            raise _away(problem) from problem

    async def find(self, person: UUID, medium: UUID) -> Medium:
        """A medium and an address to get it from, for who may see it.

        Raises:
            UnknownMedium: There is none that *person* may see.
            NotReady: It is *person*'s own, and not done.
            Unavailable: The store of media does not answer.
        """
        row = await uploads.visible_upload(self._database, medium, person)
        if row is None:
            if await uploads.upload_of(self._database, medium, person) is not None:
                raise NotReady("the upload is not done yet")
            raise UnknownMedium(medium)
        try:
            return await self._medium(row)
        except BlobsUnavailable as problem:
            raise _away(problem) from problem

    async def _check(self, row: Upload) -> Upload | None:
        """Look at a copy that no client can write to; what is found good becomes the medium. *row* as it is then."""
        incoming = incoming_key(row.id)
        if await self._blobs.head(incoming) is None:
            return await self._unless_missing(row)
        begun = await uploads.begin_try(self._database, row.id, row.owner, LEASE_S * 1000)
        if begun is None:
            return await uploads.upload_of(self._database, row.id, row.owner)
        copy, served_as = media_key(row.id, begun.tries), _served_as(row.kind, row.content_type)
        if not await self._blobs.copy(incoming, copy, served_as):
            return await self._unless_missing(row)
        if wrong := await self._judge(row, copy):
            await self._blobs.delete(copy)
            await self._blobs.delete(incoming)
            raise wrong
        if row.kind == PUBLIC:
            await self._blobs.copy(copy, _public_key(row), served_as)
        if not await uploads.make_ready(self._database, row.id, begun.tries, self._terms.unused_s * 1000):
            await self._blobs.delete(copy)  # another check was faster; the bytes are the same
        elif row.kind == PUBLIC:
            await self._blobs.delete(copy)
        await self._blobs.delete(incoming)
        return await uploads.upload_of(self._database, row.id, row.owner)

    async def _unless_missing(self, row: Upload) -> Upload | None:
        """Nothing is there: another check was faster, which clears it, or nothing has arrived."""
        newer = await uploads.upload_of(self._database, row.id, row.owner)
        if newer is not None and newer.state == "pending":
            raise UploadMissing("nothing has arrived at the upload's address")
        return newer

    async def _judge(self, row: Upload, copy: str) -> KonnectError | None:
        size = await self._blobs.head(copy)
        if size != row.size_bytes:
            return WrongSize(f"{size} bytes arrived where {row.size_bytes} were announced")
        if await self._blobs.digest(copy) != row.sha256:
            return WrongChecksum("the SHA-256 of what arrived is not the one that was announced")
        if row.kind in _TYPES:
            types = sniff.types_of(await self._blobs.read(copy, 0, sniff.SNIFF_BYTES))
            if row.content_type not in types:
                truly = " or ".join(sorted(types)) or "of no type that is known here"
                return WrongType(f"{row.content_type} was announced, but the content is {truly}")
        return None

    async def _medium(self, row: Upload) -> Medium:
        if row.kind == PUBLIC:
            url, expires_in_s = self._blobs.public_url(_public_key(row)), None
        else:
            assert row.kept is not None
            expires_in_s = self._terms.download_url_s
            url = await self._blobs.sign_download(
                media_key(row.id, row.kept), _served_as(row.kind, row.content_type), _file_name(row), expires_in_s
            )
        kind: Any = row.kind  # the table allows no other
        return Medium(
            row.id, kind, row.size_bytes, row.content_type, row.sha256.hex(), row.name, row.created_at_ms, url,
            expires_in_s,
        )  # fmt: skip

    # --- the sweep ---

    async def sweep(self, at_most: int) -> int:
        """Delete up to *at_most* orphans, and as many left-over copies; how many rows were dealt with.

        Blobs go first and rows after them: whoever is killed in between leaves a row that says what is left to do.

        Raises:
            BlobsUnavailable, StorageError: What is left is done by a later call, here or in another process.
        """
        doomed = await uploads.doom(self._database, at_most, RETRY_S * 1000)
        for row in doomed:
            await self._delete(row)
            await uploads.forget(self._database, row.id)
        left = await uploads.left_over(self._database, at_most)
        for row in left:
            for key in (incoming_key(row.id), *_tries(row)):
                if row.kind == PUBLIC or row.kept is None or key != media_key(row.id, row.kept):
                    await self._blobs.delete(key)
            await uploads.mark_cleared(self._database, row.id)
        if doomed:
            _log.info("media that nothing names were deleted", count=len(doomed))
        return max(len(doomed), len(left))

    async def erase(self, person: UUID) -> bool:
        """Delete what lies in the store of *person*'s uploads that are doomed (``erase_rows``, migrations/0025). True
        when something may still come to the address of one: then its row stays, for the sweep or a repeat of this.

        Raises:
            BlobsUnavailable, StorageError: Repeat it.
        """
        after = UUID(int=0)
        while rows := await uploads.doomed_of(self._database, person, after, ERASED_AT_ONCE):
            for row in rows:
                await self._delete(row)
                await uploads.forget_unless_awaited(self._database, row.id)
            after = rows[-1].id
        return bool(await uploads.doomed_of(self._database, person, UUID(int=0), 1))

    async def _delete(self, row: Upload) -> None:
        keys = [incoming_key(row.id), *_tries(row)]
        if row.kind == PUBLIC:
            keys.append(_public_key(row))
        for key in keys:
            await self._blobs.delete(key)

    async def tidy(self) -> None:
        """Remove what uploads that broke off left behind. Raises BlobsUnavailable."""
        await self._blobs.tidy()


def _served_as(kind: str, content_type: str) -> str:
    """What it is stored and served as: a file of no known type never as one that a browser might run."""
    return content_type if kind in _TYPES else sniff.OPAQUE


def _public_key(row: Upload) -> str:
    return public_key(row.id, row.sha256, EXTENSIONS[row.content_type])


def key_of(row: Upload) -> str:
    """Where the bytes of a medium that is ready lie."""
    assert row.kept is not None
    return _public_key(row) if row.kind == PUBLIC else media_key(row.id, row.kept)


def file_name(row: Upload) -> str:
    """What a medium is called when somebody saves it."""
    return _file_name(row)


def _tries(row: Upload) -> list[str]:
    return [media_key(row.id, attempt) for attempt in range(1, row.tries + 1)]


def _file_name(row: Upload) -> str:
    extension = EXTENSIONS.get(row.content_type, "bin")
    return row.name or f"{row.kind}-{row.id.hex[-8:]}.{extension}"


def _away(problem: BlobsUnavailable) -> Unavailable:
    _log.warning("the store of media cannot be used", reason=str(problem))
    return Unavailable("the store of media does not answer; repeat the same request after a moment")
