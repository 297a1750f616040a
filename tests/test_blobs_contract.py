"""Where media lie: a folder and an S3 store keep the same promises, through the addresses that they sign."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from storage import blob_links
from storage.blobs import Blobs, Terms, incoming_key, is_key, media_key, public_key
from storage.database import open_database
from storage.errors import BlobsUnavailable
from storage.folder_blobs import STALE_S, FolderBlobs
from storage.s3_blobs import Bucket, open_s3_blobs
from tests.http_house import NOWHERE, open_house
from tests.moto_s3 import new_bucket, running_s3

BODY = b"0123456789" * 1000
TERMS = Terms(len(BODY), "image/png", hashlib.sha256(BODY).digest())


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "s3"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    """A place whose signed addresses answer: the folder's behind a real HTTP door."""
    if request.param == "s3":
        async with open_s3_blobs(new_bucket(request.getfixturevalue("s3"))) as opened:
            yield opened
    else:
        async with open_database(NOWHERE) as database, open_house(database, tmp_path) as house:
            secret = blob_links.secret_of(house.tokens.refresh_secret)
            yield FolderBlobs(tmp_path / "media", secret, house.url)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


async def put(http: httpx.AsyncClient, blobs: Blobs, key: str, body: bytes = BODY) -> None:
    """Send *body* to *key*, as a client does."""
    terms = Terms(len(body), "image/png", hashlib.sha256(body).digest())
    ticket = await blobs.sign_upload(key, terms, 60)
    answer = await http.put(ticket.url, content=body, headers=ticket.headers)
    assert answer.is_success, answer.text


async def test_what_is_sent_to_a_signed_address_is_there(blobs: Blobs, http: httpx.AsyncClient) -> None:
    key = incoming_key(uuid4())
    assert await blobs.head(key) is None
    assert await blobs.digest(key) is None
    assert await blobs.read(key, 0, 10) == b""
    await put(http, blobs, key)
    assert await blobs.head(key) == len(BODY)
    assert await blobs.digest(key) == TERMS.sha256
    assert await blobs.read(key, 3, 5) == b"34567"
    assert await blobs.read(key, len(BODY) - 2, 100) == b"89"
    assert await blobs.read(key, len(BODY) + 5, 100) == b""


@pytest.mark.parametrize("size_bytes", [10, 9_000_000], ids=["small", "of several parts"])
async def test_what_the_server_makes_itself_is_stored_whole(blobs: Blobs, size_bytes: int) -> None:
    """From its beginning, however it was read before; again, for whoever did it first was killed."""
    key, body = media_key(uuid4(), 1), os.urandom(size_bytes)
    with tempfile.TemporaryFile() as file:
        file.write(body)
        await blobs.store(key, file, "application/zip")
        await blobs.store(key, file, "application/zip")
        assert not file.closed
    assert await blobs.head(key) == len(body)
    assert await blobs.digest(key) == hashlib.sha256(body).digest()


async def test_a_copy_is_not_touched_by_what_comes_later(blobs: Blobs, http: httpx.AsyncClient) -> None:
    """The address may be used again while its signature lasts; the medium must not change with it."""
    upload = uuid4()
    await put(http, blobs, incoming_key(upload))
    assert await blobs.copy(incoming_key(upload), media_key(upload, 1), "image/png")
    assert await blobs.copy(incoming_key(upload), media_key(upload, 1), "image/png"), "again, for it was killed"
    await put(http, blobs, incoming_key(upload), b"something else")
    assert await blobs.read(media_key(upload, 1), 0, 10) == BODY[:10]
    await blobs.delete(incoming_key(upload))
    await blobs.delete(incoming_key(upload))
    assert await blobs.head(incoming_key(upload)) is None
    assert await blobs.head(media_key(upload, 1)) == len(BODY)
    assert not await blobs.copy(incoming_key(upload), media_key(upload, 2), "image/png")
    assert await blobs.head(media_key(upload, 2)) is None
    await blobs.tidy()
    assert await blobs.head(media_key(upload, 1)) == len(BODY)


async def test_a_download_is_an_attachment_and_takes_ranges(blobs: Blobs, http: httpx.AsyncClient) -> None:
    upload = uuid4()
    await put(http, blobs, incoming_key(upload))
    await blobs.copy(incoming_key(upload), media_key(upload, 1), "image/png")
    url = await blobs.sign_download(media_key(upload, 1), "image/png", 'Grüße "1".png', 60)
    whole = await http.get(url)
    assert (whole.status_code, whole.content) == (200, BODY)
    assert whole.headers["content-type"] == "image/png"
    disposition = whole.headers["content-disposition"]
    assert disposition == "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.png"
    part = await http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, BODY[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(BODY)}"
    beyond = await http.get(url, headers={"Range": f"bytes={len(BODY)}-"})
    assert beyond.status_code == 416


async def test_a_public_name_has_an_address_for_ever(blobs: Blobs, http: httpx.AsyncClient) -> None:
    upload = uuid4()
    await put(http, blobs, incoming_key(upload))
    key = public_key(upload, TERMS.sha256, "png")
    await blobs.copy(incoming_key(upload), key, "image/png")
    answer = await http.get(blobs.public_url(key))
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "attachment"


async def test_without_a_signature_nothing_else_is_given(blobs: Blobs, http: httpx.AsyncClient) -> None:
    """Neither what is incoming nor what was checked."""
    upload = uuid4()
    await put(http, blobs, incoming_key(upload))
    await blobs.copy(incoming_key(upload), media_key(upload, 1), "image/png")
    for key in (incoming_key(upload), media_key(upload, 1)):
        signed = await blobs.sign_download(key, "image/png", "x", 60)
        assert (await http.get(signed)).status_code == 200
        assert (await http.get(signed.split("?")[0])).status_code == 403
        assert (await http.put(signed.split("?")[0], content=b"x")).status_code == 403


async def test_addresses_are_signed_with_all_that_they_allow(blobs: Blobs) -> None:
    ticket = await blobs.sign_upload(incoming_key(uuid4()), TERMS, 60)
    query = urlsplit(ticket.url).query
    if "X-Amz-SignedHeaders" in query:
        assert "content-length%3Bcontent-type%3Bhost%3Bx-amz-checksum-sha256" in query
        assert "X-Amz-Expires=60" in query
        assert set(ticket.headers) == {"Content-Type", "x-amz-checksum-sha256"}
    else:
        assert set(ticket.headers) == {"Content-Type"}
    assert ticket.headers["Content-Type"] == "image/png"


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_keys() -> None:
    upload = uuid4()
    for key in (incoming_key(upload), media_key(upload, 1000), public_key(upload, TERMS.sha256, "jpg")):
        assert is_key(key)


@pytest.mark.parametrize(
    "text",
    ["", "media", "media/", "/media/x", "media/../x", "media/..", "media/.x", "media/x/y", "other/x", "media/x\0",
     "media/x\n",
     "MEDIA/x", "media/x.part/", "media/%2e%2e", "media\\x", "media/x..y", "incoming/ü", "media//x", "../media/x",
     "media/x.0123456789abcdef.part", "media/" + "x" * 500],
)  # fmt: skip
async def test_what_is_no_key_names_no_file(text: str, tmp_path: Path) -> None:
    """Not even for a caller of ours."""
    assert not is_key(text)
    blobs = FolderBlobs(tmp_path, b"secret", "http://x")
    with pytest.raises(ValueError, match="not a blob's key"):
        await blobs.head(text)
    assert blobs.verify("GET", text, "") is None


# --- The folder alone -------------------------------------------------------------------------------------------------


async def test_folders_and_files_are_closed_to_others(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "media", b"secret", "http://x")
    async with blobs.writing("media/x-1") as file:
        await file.write(b"hello")
        await file.keep()
    assert (tmp_path / "media" / "media").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "media" / "media" / "x-1").stat().st_mode & 0o777 == 0o600
    assert await blobs.read("media/x-1", 0, 99) == b"hello"


async def test_a_body_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, b"secret", "http://x")
    with pytest.raises(RuntimeError):
        async with blobs.writing("media/x-1") as file:
            await file.write(b"hello")
            raise RuntimeError
    assert list((tmp_path / "media").iterdir()) == []


async def test_parts_of_killed_processes_go_and_fresh_ones_stay(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, b"secret", "http://x")
    old, fresh = tmp_path / "incoming" / "a.0.part", tmp_path / "incoming" / "b.0.part"
    for part in (old, fresh):
        part.write_bytes(b"x")
    os.utime(old, (0, old.stat().st_mtime - STALE_S - 60))
    await blobs.tidy()
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["b.0.part"]


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "media", b"secret", "http://x")
    (tmp_path / "media" / "incoming").rmdir()
    (tmp_path / "media" / "incoming").write_bytes(b"")
    with pytest.raises(BlobsUnavailable, match="the media folder cannot be used: Not a directory"):
        await blobs.head("incoming/x")


async def test_a_cdn_stands_before_public_names(tmp_path: Path) -> None:
    key = public_key(uuid4(), TERMS.sha256, "png")
    name = key.removeprefix("public/")
    assert FolderBlobs(tmp_path, b"", "http://x", "https://cdn.example.com/p").public_url(key) == (
        f"https://cdn.example.com/p/{name}"
    )
    assert FolderBlobs(tmp_path, b"", "http://x").public_url(key) == f"http://x/v1/public/{name}"
    for bucket, base in (
        (Bucket(name="media"), "https://media.s3.us-east-1.amazonaws.com/public"),
        (Bucket(name="media", endpoint="http://s3:9000"), "http://s3:9000/media/public"),
        (Bucket(name="media", public_base="https://cdn.example.com"), "https://cdn.example.com"),
    ):
        async with open_s3_blobs(bucket) as blobs:
            assert blobs.public_url(key) == f"{base}/{name}"


# --- S3 alone ---------------------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_is_told() -> None:
    """Nothing listens there: an error of ours, not boto's."""
    bucket = Bucket(name="media", endpoint="http://127.0.0.1:1", access_key="x", secret_key="y")
    async with open_s3_blobs(bucket) as blobs:
        with pytest.raises(BlobsUnavailable, match="the media store"):
            await blobs.delete("media/x-1")


async def test_a_bucket_that_is_not_there_is_no_missing_blob(s3: str) -> None:
    """Else a typing mistake would let the sweep forget everything."""
    bucket = Bucket(name="no-such-bucket", endpoint=s3, access_key="x", secret_key="y")
    async with open_s3_blobs(bucket) as blobs:
        with pytest.raises(BlobsUnavailable):
            await blobs.delete("media/x-1")


def test_the_server_does_not_import_the_client_of_a_store_that_it_does_not_use() -> None:
    """It takes 0.1 s of every start."""
    script = "import sys, konnect_server.server; sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
