"""Blobs in an S3 store, by boto3: the one module that knows it, and imports it only when a store is opened (0.1 s).

Bytes never pass through Konnect on their way in or out; only a check reads them, once. One client for all threads.
Calls run in threads of their own limit, signing too: credentials of a role may have to be renewed over the network.

The signature of an upload binds content type, length and SHA-256, as headers. A store that knows the checksum header
refuses other bytes; the check after the upload does not rely on it.

Source: Amazon S3 API reference, "PutObject", "CopyObject", "Authenticating Requests: Using Query Parameters".
"""

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import quote

import trio
from msgspec import Struct

from storage.blobs import CACHE_FOR_EVER, Terms, Ticket
from storage.errors import BlobsUnavailable

THREADS: Final = 8  # calls at once
PIECE_BYTES: Final = 1 << 20  # read and hashed at a time
_CONNECT_S: Final = 5
_READ_S: Final = 20
_GONE: Final = {"404", "NoSuchKey", "NotFound"}

T = TypeVar("T")


class Bucket(Struct, frozen=True, kw_only=True):
    """Which bucket, and how to reach it."""

    name: str
    endpoint: str = ""  # empty: Amazon's own, by region
    region: str = "us-east-1"
    access_key: str = ""  # both empty: wherever boto3 finds credentials (AWS_* variables, a role)
    secret_key: str = ""
    public_base: str = ""  # what public names hang below; empty: the bucket's own address


class S3Blobs:
    """Blobs in one bucket; made by :func:`open_s3_blobs`."""

    def __init__(self, bucket: Bucket, client: Any, errors: tuple[type[Exception], ...]) -> None:
        """*client*: boto3's. *errors*: what its calls raise when the store does not answer as hoped."""
        self._bucket = bucket.name
        self._client = client
        self._errors = errors
        self._threads = trio.CapacityLimiter(THREADS)
        own = f"{bucket.endpoint}/{bucket.name}" if bucket.endpoint else _amazon(bucket)
        self._public_base = bucket.public_base or f"{own}/public"

    async def sign_upload(self, key: str, terms: Terms, lifetime_s: int) -> Ticket:
        """See :class:`storage.blobs.Blobs`."""
        checksum = b64encode(terms.sha256).decode()
        params = {
            "Bucket": self._bucket, "Key": key, "ContentType": terms.content_type, "ContentLength": terms.size_bytes,
            "ChecksumSHA256": checksum,
        }  # fmt: skip
        url = await self._call(lambda: self._client.generate_presigned_url("put_object", params, lifetime_s))
        return Ticket(str(url), {"Content-Type": terms.content_type, "x-amz-checksum-sha256": checksum})

    async def sign_download(self, key: str, content_type: str, file_name: str, lifetime_s: int) -> str:
        """See :class:`storage.blobs.Blobs`."""
        params = {
            "Bucket": self._bucket, "Key": key, "ResponseContentType": content_type,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}",
        }  # fmt: skip
        return str(await self._call(lambda: self._client.generate_presigned_url("get_object", params, lifetime_s)))

    def public_url(self, key: str) -> str:
        """See :class:`storage.blobs.Blobs`."""
        return f"{self._public_base}/{key.removeprefix('public/')}"

    async def head(self, key: str) -> int | None:
        """See :class:`storage.blobs.Blobs`."""
        found = await self._call(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        return None if found is None else int(found["ContentLength"])

    async def read(self, key: str, start: int, length: int) -> bytes:
        """See :class:`storage.blobs.Blobs`."""

        def work() -> bytes:
            wanted = f"bytes={start}-{start + length - 1}"
            found = self._client.get_object(Bucket=self._bucket, Key=key, Range=wanted)
            with found["Body"] as body:
                return bytes(body.read(length))

        return await self._call(work, also_gone={"InvalidRange", "416"}) or b""

    async def digest(self, key: str) -> bytes | None:
        """See :class:`storage.blobs.Blobs`."""

        def work() -> bytes:
            made = hashlib.sha256()
            with self._client.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
                while piece := body.read(PIECE_BYTES):
                    trio.from_thread.check_cancelled()
                    made.update(piece)
            return made.digest()

        return await self._call(work)

    async def copy(self, source: str, target: str, content_type: str) -> bool:
        """See :class:`storage.blobs.Blobs`."""
        public = {"CacheControl": CACHE_FOR_EVER} if target.startswith("public/") else {}
        done = await self._call(
            lambda: self._client.copy_object(
                Bucket=self._bucket, Key=target, CopySource={"Bucket": self._bucket, "Key": source},
                MetadataDirective="REPLACE", ContentType=content_type, ContentDisposition="attachment", **public,
            )
        )  # fmt: skip
        return done is not None

    async def store(self, key: str, file: BinaryIO, content_type: str) -> None:
        """See :class:`storage.blobs.Blobs`. In parts, where it is large."""

        def work() -> bool:
            file.seek(0)
            extra = {"ContentType": content_type, "ContentDisposition": "attachment"}
            self._client.upload_fileobj(_Kept(file), self._bucket, key, ExtraArgs=extra)
            return True

        if not await self._call(work):
            raise BlobsUnavailable("the media store: there is no such bucket")

    async def delete(self, key: str) -> None:
        """See :class:`storage.blobs.Blobs`."""
        await self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def tidy(self) -> None:
        """See :class:`storage.blobs.Blobs`. An S3 store shows nothing of a body that broke off."""

    async def _call(self, work: Callable[[], T], also_gone: set[str] | None = None) -> T | None:
        """*work* in a thread; None where the store says that there is nothing."""
        try:
            return await trio.to_thread.run_sync(work, limiter=self._threads)
        except self._errors as problem:
            code = str(getattr(problem, "response", {}).get("Error", {}).get("Code", ""))
            if code in _GONE | (also_gone or set()):
                return None
            raise BlobsUnavailable(f"the media store: {problem}") from problem


@asynccontextmanager
async def open_s3_blobs(bucket: Bucket) -> AsyncIterator[S3Blobs]:
    """Blobs in *bucket*, which must exist; it is not asked for before the first use."""
    client, errors = await trio.to_thread.run_sync(_make_client, bucket)
    try:
        yield S3Blobs(bucket, client, errors)
    finally:
        client.close()


def _make_client(bucket: Bucket) -> tuple[Any, tuple[type[Exception], ...]]:
    import boto3  # type: ignore[import-untyped]  # no types; imported here because it takes 0.1 s
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if bucket.endpoint else "virtual"},
        # Newer boto3 adds checksums of its own by default; stores that are not Amazon's may refuse them.
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=THREADS,
    )  # fmt: skip
    client = boto3.session.Session().client(
        "s3", endpoint_url=bucket.endpoint or None, region_name=bucket.region,
        aws_access_key_id=bucket.access_key or None, aws_secret_access_key=bucket.secret_key or None, config=config,
    )  # fmt: skip
    return client, (BotoCoreError, ClientError, HTTPError)


class _Kept:
    """A file that boto3 reads, and does not close when it is done."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """It goes on."""


def _amazon(bucket: Bucket) -> str:
    return f"https://{bucket.name}.s3.{bucket.region}.amazonaws.com"
