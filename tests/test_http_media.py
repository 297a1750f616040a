"""Media over HTTP, as a client meets them: real sockets, and the addresses that the server signs."""

import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import trio

from konnect_server.actions.media_sweep import sweep_media
from konnect_server.http import DoorOptions, blob_door
from konnect_server.ids import uuid7
from storage import uploads
from storage.blobs import Blobs, incoming_key
from storage.database import Database
from storage.errors import BlobsUnavailable
from storage.folder_blobs import FolderBlobs, Writing
from storage.s3_blobs import open_s3_blobs
from storage.uploads import Use
from tests import samples
from tests.http_house import ANN, TERMS, House, open_house
from tests.moto_s3 import new_bucket, running_s3
from tests.running import Person, Place, open_process, open_world
from tests.test_http_accounts import bearer, problem

PNG = samples.png()
BIG = samples.MP4 + os.urandom(1 << 20) * 30


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "s3"])
async def house(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> AsyncIterator[House]:
    if request.param == "folder":
        async with open_house(database, tmp_path) as opened:
            yield opened
    else:
        bucket = new_bucket(request.getfixturevalue("s3"))
        async with open_s3_blobs(bucket) as blobs, open_house(database, tmp_path, blobs=blobs) as opened:
            yield opened


@pytest.fixture
async def folder_house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database, tmp_path) as opened:
        yield opened


class Client:
    """A person with an HTTP client."""

    def __init__(self, http: httpx.AsyncClient, body: dict[str, Any]) -> None:
        self.http, self.id, self.headers = http, UUID(body["user"]["id"]), bearer(body)

    async def begin(
        self, data: bytes, kind: str = "photo", content_type: str = "image/png", **more: Any
    ) -> httpx.Response:
        """Announce *data*."""
        wanted = {
            "kind": kind, "size_bytes": len(data), "content_type": content_type, "sha256": samples.sha256(data), **more,
        }  # fmt: skip
        return await self.http.post("/v1/uploads", json=wanted, headers=self.headers)

    async def ticket(
        self, data: bytes, kind: str = "photo", content_type: str = "image/png", **more: Any
    ) -> dict[str, Any]:
        """Announce *data*, which must be allowed."""
        answer = await self.begin(data, kind, content_type, **more)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def send(self, ticket: dict[str, Any], data: bytes) -> httpx.Response:
        """Send *data* to the signed address, as it stands: no token, no base."""
        return await self.http.put(ticket["url"], content=data, headers=ticket["headers"])

    async def done(self, ticket: dict[str, Any]) -> httpx.Response:
        """Say that it was sent."""
        return await self.http.post(f"/v1/uploads/{ticket['id']}/done", headers=self.headers)

    async def upload(
        self, data: bytes, kind: str = "photo", content_type: str = "image/png", **more: Any
    ) -> dict[str, Any]:
        """The whole walk."""
        ticket = await self.ticket(data, kind, content_type, **more)
        assert (await self.send(ticket, data)).is_success
        answer = await self.done(ticket)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def find(self, medium: str) -> httpx.Response:
        """Ask for a medium."""
        return await self.http.get(f"/v1/media/{medium}", headers=self.headers)


async def sign_up(http: httpx.AsyncClient, name: str = "Ann") -> Client:
    made = await http.post("/v1/auth/register", json={**ANN, "name": name, "email": f"{name}@example.com"})
    return Client(http, made.json())


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client() as client:
        yield client


@pytest.fixture
async def ann(http: httpx.AsyncClient) -> Client:
    return await sign_up(http)


@pytest.fixture
async def folder_ann(folder_house: House) -> AsyncIterator[Client]:
    async with folder_house.client() as client:
        yield await sign_up(client)


def stored(folder: Path) -> list[str]:
    """The files of a house's media folder."""
    return sorted(str(path.relative_to(folder / "media")) for path in (folder / "media").rglob("*") if path.is_file())


async def conversation_of(database: Database, *people: UUID) -> UUID:
    """A group in which an entry 1 is visible to *people*."""
    made = uuid7()
    await database.execute("insert into conversation (id, kind, title) values (%s, 'group', 'x')", made)
    for person in people:
        await database.execute(
            "insert into span (conversation, person, joined, since, number) values (%s, %s, 1, 1, 0)", made, person
        )
    return made


# --- The whole walk ---------------------------------------------------------------------------------------------------


async def test_a_photo_from_one_phone_to_another(house: House, http: httpx.AsyncClient, ann: Client) -> None:
    """Announce, send, done; named in an entry, the other one finds it and downloads it, and a stranger does not."""
    bob, eve = await sign_up(http, "Bob"), await sign_up(http, "Eve")
    ticket = await ann.ticket(PNG, name="holiday.png")
    assert ticket["method"] == "PUT"
    assert ticket["expires_in_s"] == 900
    assert (await ann.send(ticket, PNG)).is_success
    done = (await ann.done(ticket)).json()
    assert (done["id"], done["kind"], done["size_bytes"]) == (ticket["id"], "photo", len(PNG))
    assert (done["content_type"], done["sha256"], done["name"]) == ("image/png", samples.sha256(PNG), "holiday.png")
    assert done["expires_in_s"] == 300
    await problem(await bob.find(done["id"]), 404, "unknown_medium")
    conversation = await conversation_of(house.database, ann.id, bob.id)
    await uploads.attach(house.database, ann.id, UUID(done["id"]), Use(conversation, 1))
    found = await bob.find(done["id"])
    assert found.status_code == 200
    download = await http.get(found.json()["url"])
    assert (download.status_code, download.content) == (200, PNG)
    assert download.headers["content-type"] == "image/png"
    assert download.headers["content-disposition"] == "attachment; filename*=UTF-8''holiday.png"
    await problem(await eve.find(done["id"]), 404, "unknown_medium")


async def test_a_profile_photo_is_everybodys_under_a_name_for_ever(http: httpx.AsyncClient, ann: Client) -> None:
    eve = await sign_up(http, "Eve")
    medium = await ann.upload(samples.JPEG, "profile_photo", "image/jpg")
    assert medium["content_type"] == "image/jpeg"
    assert medium["expires_in_s"] is None
    assert samples.sha256(samples.JPEG) in medium["url"]
    assert (await eve.find(medium["id"])).json() == medium
    answer = await http.get(medium["url"])
    assert (answer.status_code, answer.content) == (200, samples.JPEG)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("kind", "content_type", "data"),
    [
        ("photo", "image/webp", samples.WEBP), ("photo", "image/heic", samples.HEIC),
        ("photo", "image/gif", samples.GIF),
        ("voice", "audio/ogg; codecs=opus", samples.OGG), ("voice", "audio/mp4", samples.M4A),
        ("voice", "audio/webm;codecs=opus", samples.WEBM), ("video", "video/mp4", samples.MP4),
        ("video", "video/webm", samples.WEBM), ("file", "text/html", samples.DISGUISED["html"]),
        ("file", "application/pdf", samples.DISGUISED["a document"]), ("profile_photo", "image/avif", samples.AVIF),
    ],
)  # fmt: skip
async def test_every_kind_goes_round(ann: Client, kind: str, content_type: str, data: bytes) -> None:
    medium = await ann.upload(data, kind, content_type)
    answer = await ann.http.get(medium["url"])
    assert answer.content == data
    expected = "application/octet-stream" if kind == "file" else content_type.split(";")[0]
    assert answer.headers["content-type"] == expected, "a file is served as nothing that a browser would run"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_done_may_be_repeated_and_by_two_at_once(house: House, ann: Client) -> None:
    ticket = await ann.ticket(PNG)
    await ann.send(ticket, PNG)
    answers: list[httpx.Response] = []

    async def one() -> None:
        answers.append(await ann.done(ticket))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
    answers.append(await ann.done(ticket))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.json()["sha256"] for answer in answers}) == 1
    assert (await ann.http.get(answers[-1].json()["url"])).content == PNG


async def test_the_medium_stays_what_was_checked(ann: Client) -> None:
    """The upload's address is still good; what comes to it now changes nothing."""
    medium_ticket = await ann.ticket(PNG)
    await ann.send(medium_ticket, PNG)
    url = (await ann.done(medium_ticket)).json()["url"]
    await ann.send(medium_ticket, PNG)
    assert (await ann.http.get(url)).content == PNG
    assert (await ann.done(medium_ticket)).status_code == 200


@pytest.mark.parametrize("kind", ["photo", "profile_photo"])
async def test_what_is_swapped_during_the_check_is_not_the_medium(
    house: House, ann: Client, kind: str, monkeypatch: Any
) -> None:
    """Somebody says done, and sends a page to the same address while the photo is looked at. A check of what is
    incoming would find a photo and keep a page; this one looks at what it keeps."""
    ticket = await ann.ticket(PNG, kind)
    await ann.send(ticket, PNG)
    blobs, page = house.media._blobs, samples.DISGUISED["html"]
    digest = blobs.digest

    async def digest_then_swap(key: str) -> bytes | None:
        found = await digest(key)
        await put_blob(house, incoming_key(UUID(ticket["id"])), page)
        return found

    monkeypatch.setattr(blobs, "digest", digest_then_swap)
    done = await ann.done(ticket)
    assert done.status_code == 200
    assert (await ann.http.get(done.json()["url"])).content == PNG


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"size_bytes": 0}, 400, "invalid"),
        ({"size_bytes": TERMS.photo_bytes + 1}, 413, "too_large"),
        ({"kind": "poster"}, 400, "invalid"),
        ({"sha256": "0" * 63}, 400, "invalid"),
        ({"sha256": "A" * 64}, 400, "invalid"),
        ({"content_type": "image/svg+xml"}, 422, "wrong_type"),
        ({"content_type": "text/html"}, 422, "wrong_type"),
        ({"content_type": "video/mp4"}, 422, "wrong_type"),
        ({"content_type": "image"}, 400, "invalid"),
        ({"content_type": "image/png\r\nX-Evil: 1"}, 400, "invalid"),
        ({"name": "../x"}, 400, "invalid"),
        ({"name": "a\nb"}, 400, "invalid"),
    ],
)
async def test_what_cannot_be_announced(folder_ann: Client, changes: dict[str, Any], status: int, code: str) -> None:
    await problem(await folder_ann.begin(PNG, **changes), status, code)


async def test_without_a_token_nothing_is_begun_done_or_found(folder_ann: Client) -> None:
    folder_ann.headers = {}
    await problem(await folder_ann.begin(PNG), 401, "unauthorized")
    await problem(await folder_ann.done({"id": uuid4()}), 401, "unauthorized")
    await problem(await folder_ann.find(str(uuid4())), 401, "unauthorized")


async def test_done_before_the_upload(ann: Client) -> None:
    ticket = await ann.ticket(PNG)
    await problem(await ann.done(ticket), 409, "upload_missing")
    await problem(await ann.find(ticket["id"]), 409, "not_ready")
    await ann.send(ticket, PNG)
    assert (await ann.done(ticket)).status_code == 200


async def test_anothers_upload_is_as_if_it_were_not_there(http: httpx.AsyncClient, ann: Client) -> None:
    eve = await sign_up(http, "Eve")
    ticket = await ann.ticket(PNG)
    await ann.send(ticket, PNG)
    theirs, nobodys = await eve.done(ticket), await eve.done({"id": uuid4()})
    bodies = [{**answer.json(), "detail": ""} for answer in (theirs, nobodys)]
    assert bodies[0] == bodies[1]
    await problem(theirs, 404, "unknown_medium")
    await problem(await eve.find(ticket["id"]), 404, "unknown_medium")
    await problem(await eve.done({"id": "not-an-id"}), 400, "invalid")
    assert (await ann.done(ticket)).status_code == 200


async def put_blob(house: House, key: str, data: bytes) -> None:
    """Bytes in a place that no signature would have let in: what a store that checks nothing would hold."""
    blobs: Blobs = house.media._blobs
    if isinstance(blobs, FolderBlobs):
        async with blobs.writing(key) as file:
            await file.write(data)
            await file.keep()
    else:
        client, bucket = blobs._client, blobs._bucket  # type: ignore[attr-defined]
        await trio.to_thread.run_sync(lambda: client.put_object(Bucket=bucket, Key=key, Body=data))


@pytest.mark.parametrize(
    ("data", "code"),
    [(PNG + b"x", "wrong_size"), (PNG[:-1], "wrong_size"), (PNG[:-1] + b"x", "wrong_checksum")],
    ids=["longer", "shorter", "other bytes"],
)
async def test_what_was_not_announced_is_thrown_away(house: House, ann: Client, data: bytes, code: str) -> None:
    """Whatever the store let in; then the right bytes may be sent again."""
    ticket = await ann.ticket(PNG)
    await put_blob(house, incoming_key(UUID(ticket["id"])), data)
    await problem(await ann.done(ticket), 422, code)
    assert await house.media._blobs.head(incoming_key(UUID(ticket["id"]))) is None
    await problem(await ann.done(ticket), 409, "upload_missing")
    await ann.send(ticket, PNG)
    assert (await ann.done(ticket)).status_code == 200


@pytest.mark.parametrize("what", samples.DISGUISED)
@pytest.mark.parametrize("kind", ["photo", "profile_photo"])
async def test_a_page_under_a_photos_name_is_refused(
    folder_house: House, folder_ann: Client, tmp_path: Path, kind: str, what: str
) -> None:
    """With an honest checksum; nothing of it stays, and nothing of it was public for a moment."""
    data = samples.DISGUISED[what]
    ticket = await folder_ann.ticket(data, kind, "image/jpeg")
    assert (await folder_ann.send(ticket, data)).status_code == 204
    await problem(await folder_ann.done(ticket), 422, "wrong_type")
    assert stored(tmp_path) == []


async def test_a_page_under_a_photos_name_is_refused_in_a_bucket_too(ann: Client) -> None:
    data = samples.DISGUISED["svg"]
    ticket = await ann.ticket(data, "photo", "image/png")
    assert (await ann.send(ticket, data)).is_success
    await problem(await ann.done(ticket), 422, "wrong_type")


@pytest.mark.parametrize(
    ("kind", "content_type", "data"),
    [
        ("photo", "image/png", samples.JPEG), ("voice", "audio/ogg", samples.MP3), ("voice", "audio/mp4", PNG),
        ("video", "video/mp4", samples.MKV), ("video", "video/webm", samples.MP4), ("photo", "image/heic", samples.MP4),
    ],
)  # fmt: skip
async def test_a_type_must_be_the_true_one(folder_ann: Client, kind: str, content_type: str, data: bytes) -> None:
    ticket = await folder_ann.ticket(data, kind, content_type)
    await folder_ann.send(ticket, data)
    await problem(await folder_ann.done(ticket), 422, "wrong_type")


async def test_two_at_the_quotas_edge(house: House, ann: Client) -> None:
    """Two requests, room for one."""
    terms = msgspec.structs.replace(TERMS, quota_bytes=len(PNG) * 3 // 2)
    house.media._terms = terms
    codes: list[int] = []

    async def one() -> None:
        codes.append((await ann.begin(PNG)).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert sorted(codes) == [201, 409]
    await problem(await ann.begin(PNG), 409, "quota_exceeded")


async def test_too_many_requests_are_slowed(database: Database, tmp_path: Path) -> None:
    options = DoorOptions(uploads_per_person=0.01, upload_burst_per_person=2)
    async with open_house(database, tmp_path, options) as house, house.client() as http:
        ann, bob = await sign_up(http), await sign_up(http, "Bob")
        for _ in range(2):
            await ann.ticket(PNG)
        await problem(await ann.begin(PNG), 429, "rate_limited")
        await problem(await ann.done({"id": uuid4()}), 429, "rate_limited")
        await bob.ticket(PNG)


async def test_a_store_that_is_away_is_told(folder_house: House, folder_ann: Client, monkeypatch: Any) -> None:
    ticket = await folder_ann.ticket(PNG)
    await folder_ann.send(ticket, PNG)

    async def away(*_: object) -> int:
        raise BlobsUnavailable("away")

    monkeypatch.setattr(folder_house.media._blobs, "head", away)
    await problem(await folder_ann.done(ticket), 503, "unavailable")
    monkeypatch.undo()
    assert (await folder_ann.done(ticket)).status_code == 200


# --- The folder's own addresses ---------------------------------------------------------------------------------------


async def test_every_character_of_a_signature_counts(folder_house: House, folder_ann: Client) -> None:
    """Over real HTTP: uploads and downloads alike."""
    ticket = await folder_ann.ticket(PNG)
    medium = await folder_ann.upload(samples.png(1))
    for url, method in ((ticket["url"], "PUT"), (medium["url"], "GET"), (medium["url"], "HEAD")):
        start = url.index("signature=") + len("signature=")
        for at in range(start, len(url)):
            forged = url[:at] + ("0" if url[at] != "0" else "1") + url[at + 1 :]
            answer = await folder_ann.http.request(
                method, forged, content=PNG if method == "PUT" else None, headers=ticket["headers"]
            )
            assert answer.status_code == 403
        assert (await folder_ann.http.request(method, url[: start - 1])).status_code == 403
    await problem(await folder_ann.done(ticket), 409, "upload_missing")


async def test_an_address_is_good_for_its_time(folder_house: House, folder_ann: Client) -> None:
    blobs = folder_house.media._blobs
    assert isinstance(blobs, FolderBlobs)
    ticket, medium = await folder_ann.ticket(PNG), await folder_ann.upload(samples.png(1))
    own = folder_house.door._app.app._blobs  # type: ignore[attr-defined]  # the clock of the door
    now = own._wall_s()
    own._wall_s = lambda: now + 301
    await problem(await folder_ann.http.get(medium["url"]), 403, "bad_link")
    own._wall_s = lambda: now + 901
    await problem(await folder_ann.send(ticket, PNG), 403, "bad_link")
    own._wall_s = lambda: now
    assert (await folder_ann.send(ticket, PNG)).status_code == 204


async def test_an_address_is_good_for_one_thing(folder_ann: Client) -> None:
    """An upload's does not give, a medium's does not take; neither under another name."""
    ticket, medium = await folder_ann.ticket(PNG), await folder_ann.upload(samples.png(1))
    await problem(await folder_ann.http.get(ticket["url"]), 403, "bad_link")
    await problem(await folder_ann.http.put(medium["url"], content=PNG), 403, "bad_link")
    other = ticket["url"].replace(ticket["id"], str(uuid4()))
    await problem(await folder_ann.http.put(other, content=PNG, headers=ticket["headers"]), 403, "bad_link")
    await problem(await folder_ann.http.post(ticket["url"]), 405, "method_not_allowed")
    await problem(await folder_ann.http.delete(medium["url"]), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/blobs/media/../../keys/refresh.secret", "/v1/blobs/media/%2e%2e/%2e%2e/keys/refresh.secret",
        "/v1/blobs/media/..%2f..%2fkeys%2frefresh.secret", "/v1/public/../../keys/refresh.secret",
        "/v1/public/..%2fmedia%2fx", "/v1/public/%2e%2e/media/x", "/v1/public//etc/passwd", "/v1/public/x%00.png",
        "/v1/blobs//etc/passwd", "/v1/blobs/keys/refresh.secret", "/v1/public/", "/v1/blobs/", "/v1/public/x.html",
        "/v1/public/..", "/v1/blobs/media/..", "/v1/public/%70.png", "/v1/public/p.svg", "/v1/public/p",
        "/v1/blobs/media/%5c..%5cx", "/v1/public/\u2025/x.png", "/v1/public/p.png/", "/v1/public/p.jpg.part",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_no_name_leads_out_of_the_folder(folder_house: House, tmp_path: Path, path: str, method: str) -> None:
    """As bytes on the wire, for clients that tidy nothing."""
    (tmp_path / "media" / "public" / "p").write_bytes(b"secret")
    (tmp_path / "media" / "public" / "p.svg").write_bytes(b"secret")
    async with await folder_house.raw() as raw:
        length = ["Content-Length: 3"] if method == "PUT" else []
        await raw.stream.send_all(
            "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *length, "", "abc" if length else ""]).encode()
        )
        status, _, body = await raw.answer(head_only=method == "HEAD")
        assert status in (400, 404, 405)
        assert b"secret" not in body.replace(b"refresh.secret", b"")
    assert stored(tmp_path) == ["public/p", "public/p.svg"]


async def test_what_is_served_can_do_nothing(folder_ann: Client) -> None:
    """Headers of a download: no guessing of types, no scripts, no frame, no cache for what is private."""
    medium = await folder_ann.upload(samples.DISGUISED["html"], "file", "text/html", name='"; x.html')
    answer = await folder_ann.http.get(medium["url"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%22%3B%20x.html"
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    refused = await folder_ann.http.get(medium["url"] + "0")
    assert refused.headers["content-security-policy"].endswith("sandbox")
    assert refused.headers["cache-control"] == "no-store"


async def test_parts_and_heads(folder_ann: Client) -> None:
    data = bytes(range(256)) * 4096
    medium = await folder_ann.upload(data, "file", "application/x-data")
    get = folder_ann.http.get
    head = await folder_ann.http.head(medium["url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
    assert head.headers["accept-ranges"] == "bytes"
    parts = (("0-0", 0, 1), ("1000-", 1000, None), ("-5", len(data) - 5, None), ("7-600000", 7, 600_001))
    for header, start, end in parts:
        part = await get(medium["url"], headers={"Range": f"bytes={header}"})
        assert (part.status_code, part.content) == (206, data[start:end])
    beyond = await get(medium["url"], headers={"Range": f"bytes={len(data)}-"})
    await problem(beyond, 416, "bad_range")
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    both = await get(medium["url"], headers={"Range": "bytes=0-1,4-5"})
    assert (both.status_code, both.content) == (200, data)
    same = {"Range": "bytes=0-1", "If-Range": head.headers["etag"]}
    assert (await get(medium["url"], headers=same)).status_code == 206
    assert (await get(medium["url"], headers={**same, "If-Range": '"x"'})).status_code == 200


async def test_a_download_that_broke_off_is_gone_on_with(folder_house: House, folder_ann: Client) -> None:
    """As a phone does it on a train."""
    medium = await folder_ann.upload(BIG[:3_000_000], "file", "application/x-data")
    parts = urlsplit(medium["url"])
    async with await folder_house.raw() as raw:
        await raw.send(f"GET {parts.path}?{parts.query} HTTP/1.1", "Host: x")
        head = b""
        while b"\r\n\r\n" not in head or len(head) < 500_000:
            head += await raw.stream.receive_some(10_000)
    got = head.split(b"\r\n\r\n", 1)[1]
    rest = await folder_ann.http.get(medium["url"], headers={"Range": f"bytes={len(got)}-"})
    assert got + rest.content == BIG[:3_000_000]


async def test_a_public_photo_that_one_has_is_not_sent_again(folder_ann: Client) -> None:
    medium = await folder_ann.upload(samples.JPEG, "profile_photo", "image/jpeg")
    etag = (await folder_ann.http.get(medium["url"])).headers["etag"]
    again = await folder_ann.http.get(medium["url"], headers={"If-None-Match": f'"x", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert again.headers["cache-control"].endswith("immutable")
    other = "1" if medium["url"][-5] == "0" else "0"
    await problem(await folder_ann.http.get(medium["url"][:-5] + other + ".jpg"), 404, "not_found")


async def test_a_cdn_may_stand_before_public_photos(database: Database, tmp_path: Path) -> None:
    async with open_house(database, tmp_path, cdn_base="https://cdn.example.com/p") as house, house.client() as http:
        ann = await sign_up(http)
        medium = await ann.upload(samples.JPEG, "profile_photo", "image/jpeg")
        name = medium["url"].removeprefix("https://cdn.example.com/p/")
        assert (await http.get(f"/v1/public/{name}")).content == samples.JPEG
        assert (await ann.upload(PNG))["url"].startswith(house.url), "what is private goes by no CDN"


async def test_nothing_is_here_where_a_bucket_holds_media(database: Database, tmp_path: Path, s3: str) -> None:
    async with (
        open_s3_blobs(new_bucket(s3)) as blobs,
        open_house(database, tmp_path, blobs=blobs) as house,
        house.client() as http,
    ):
        await problem(await http.put("/v1/blobs/incoming/x", content=b"x"), 404, "not_found")
        await problem(await http.get("/v1/public/x.png"), 404, "not_found")


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content-Length": "{longer}"}, PNG + b"x", 422, "wrong_size"),
        ({"Content-Length": "{shorter}"}, PNG[:-1], 422, "wrong_size"),
        ({"Content-Type": "text/html"}, PNG, 403, "bad_link"),
        ({}, PNG[:-1] + b"x", 422, "wrong_checksum"),
    ],
    ids=["longer", "shorter", "another type", "other bytes"],
)
async def test_an_address_takes_what_it_was_signed_for(
    folder_ann: Client, tmp_path: Path, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    ticket = await folder_ann.ticket(PNG)
    given = {**ticket["headers"], **{name: value for name, value in headers.items() if "{" not in value}}
    await problem(await folder_ann.http.put(ticket["url"], content=body, headers=given), status, code)
    assert stored(tmp_path) == []
    assert (await folder_ann.send(ticket, PNG)).status_code == 204


@pytest.mark.parametrize(("extra", "status"), [(b"", 204), (b"x", 422)], ids=["all", "one byte more"])
async def test_a_body_may_come_in_chunks(folder_house: House, folder_ann: Client, extra: bytes, status: int) -> None:
    """Its length is then known at its end alone, and judged as it grows."""
    ticket = await folder_ann.ticket(PNG)

    async def pieces() -> AsyncIterator[bytes]:
        for byte in PNG + extra:
            yield bytes([byte])

    answer = await folder_ann.http.put(ticket["url"], content=pieces(), headers=ticket["headers"])
    assert answer.status_code == status


def request_lines(ticket: dict[str, Any], length: int, *more: str) -> list[str]:
    """The head of an upload."""
    parts = urlsplit(ticket["url"])
    kind = ticket["headers"]["Content-Type"]
    head = [f"PUT {parts.path}?{parts.query} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {length}"]
    return [*head, *more]


async def test_an_upload_that_breaks_off_leaves_nothing_and_is_sent_again(
    folder_house: House, folder_ann: Client, tmp_path: Path
) -> None:
    ticket = await folder_ann.ticket(BIG, "video", "video/mp4")
    async with await folder_house.raw() as raw:
        await raw.send(*request_lines(ticket, len(BIG)), body=BIG[:1_000_000])
        while not (parts := stored(tmp_path)):
            await trio.sleep(0.01)
        assert parts[0].endswith(".part")
    with trio.fail_after(30):
        while stored(tmp_path):
            await trio.sleep(0.01)
    await problem(await folder_ann.done(ticket), 409, "upload_missing")
    assert (await folder_ann.send(ticket, BIG)).status_code == 204
    assert (await folder_ann.done(ticket)).status_code == 200


async def test_the_newest_of_two_uploads_to_one_address_wins(
    folder_house: House, folder_ann: Client, tmp_path: Path
) -> None:
    """The older one's client is a phone that lost its network and does not know it yet."""
    ticket = await folder_ann.ticket(PNG)
    async with await folder_house.raw() as raw:
        await raw.send(*request_lines(ticket, len(PNG)), body=PNG[:10])
        while not stored(tmp_path):
            await trio.sleep(0.01)
        assert (await folder_ann.send(ticket, PNG)).status_code == 204
        status, headers, _ = await raw.answer()
        assert (status, headers["connection"]) == (503, "close")
    assert stored(tmp_path) == [incoming_key(UUID(ticket["id"]))]


async def test_so_many_uploads_at_once(
    folder_house: House, folder_ann: Client, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(blob_door, "UPLOADS_AT_ONCE", 1)
    one, other = await folder_ann.ticket(PNG), await folder_ann.ticket(samples.png(1))
    async with await folder_house.raw() as raw:
        await raw.send(*request_lines(one, len(PNG)), body=PNG[:10])
        while not stored(tmp_path):
            await trio.sleep(0.01)
        refused = await folder_ann.send(other, samples.png(1))
        await problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        await raw.stream.send_all(PNG[10:])
        assert (await raw.answer())[0] == 204
    assert (await folder_ann.send(other, samples.png(1))).status_code == 204


async def test_a_client_that_asks_first_is_told_to_go_on(folder_house: House, folder_ann: Client) -> None:
    """``Expect: 100-continue``, as curl sends it before a long body."""
    ticket = await folder_ann.ticket(PNG)
    async with await folder_house.raw() as raw:
        await raw.send(*request_lines(ticket, len(PNG), "Expect: 100-continue"))
        assert (await raw.answer())[0] == 100
        await raw.stream.send_all(PNG)
        assert (await raw.answer())[0] == 204


async def test_a_refusal_does_not_wait_for_the_body(folder_house: House, folder_ann: Client) -> None:
    """And is seen, though the client is still sending; the connection ends with it."""
    ticket = await folder_ann.ticket(BIG, "video", "video/mp4")
    async with await folder_house.raw() as raw:
        lines = request_lines(ticket, len(BIG))
        lines[0] = lines[0].replace("signature=", "signature=0")
        await raw.send(*lines, body=BIG[:500_000])
        status, headers, body = await raw.answer()
        assert (status, headers["connection"]) == (403, "close")
        assert b"bad_link" in body
        assert await raw.ended()


async def test_a_client_that_pauses_too_long_is_sent_away(database: Database, tmp_path: Path) -> None:
    async with open_house(database, tmp_path, DoorOptions(upload_pause_s=0.3)) as house, house.client() as http:
        ticket = await (await sign_up(http)).ticket(PNG)
        async with await house.raw() as raw:
            await raw.send(*request_lines(ticket, len(PNG)), body=PNG[:10])
            assert (await raw.answer())[0] == 408
        with trio.fail_after(30):
            while stored(tmp_path):
                await trio.sleep(0.01)


async def test_a_client_that_drips_is_sent_away_in_the_end(database: Database, tmp_path: Path) -> None:
    """Each pause is short, and all together are not."""
    options = DoorOptions(upload_pause_s=5, upload_s=0.5)
    async with open_house(database, tmp_path, options) as house, house.client() as http:
        ticket = await (await sign_up(http)).ticket(BIG, "video", "video/mp4")
        async with await house.raw() as raw, trio.open_nursery() as nursery:
            await raw.send(*request_lines(ticket, len(BIG)))

            async def drip() -> None:
                while True:
                    await raw.stream.send_all(b"x")
                    await trio.sleep(0.02)

            nursery.start_soon(drip)
            assert (await raw.answer())[0] == 408
            nursery.cancel_scope.cancel()


async def test_a_slow_disk_slows_the_client(folder_house: House, folder_ann: Client, monkeypatch: Any) -> None:
    """What it cannot take waits in the client, not in memory."""
    going = trio.Event()
    write = Writing.write

    async def slow(self: Writing, data: bytes) -> None:
        await going.wait()
        await write(self, data)

    monkeypatch.setattr(Writing, "write", slow)
    ticket = await folder_ann.ticket(BIG, "video", "video/mp4")
    async with await folder_house.raw() as raw, trio.open_nursery() as nursery:
        sent = 0

        async def send() -> None:
            nonlocal sent
            await raw.send(*request_lines(ticket, len(BIG)))
            while sent < len(BIG):
                await raw.stream.send_all(BIG[sent : sent + 65_536])
                sent += 65_536

        nursery.start_soon(send)
        before = -1
        with trio.fail_after(30):
            while sent != before:  # until nothing moves any more
                before = sent
                await trio.sleep(0.5)
        assert sent < 20 << 20, "a few hundred KiB of ours; the rest is the kernel's"
        assert (await folder_ann.http.get("/healthz")).status_code == 200
        going.set()
        assert (await raw.answer())[0] == 204
    assert (await folder_ann.done(ticket)).status_code == 200


async def test_a_full_disk_is_told(folder_ann: Client, tmp_path: Path, monkeypatch: Any) -> None:
    """And leaves nothing behind that would keep it full."""
    ticket = await folder_ann.ticket(PNG)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        await problem(await folder_ann.send(ticket, PNG), 503, "unavailable")
    assert stored(tmp_path) == []
    assert (await folder_ann.send(ticket, PNG)).status_code == 204


async def test_web_apps_of_allowed_origins_may_upload(database: Database, tmp_path: Path) -> None:
    origin = "https://app.example.com"
    async with open_house(database, tmp_path, DoorOptions(allowed_origins=(origin,))) as house, house.client() as http:
        ann = await sign_up(http)
        ticket = await ann.ticket(PNG)
        asks = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        preflight = await http.options(ticket["url"], headers=asks)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        assert "Content-Type" in preflight.headers["access-control-allow-headers"]
        sent = await http.put(ticket["url"], content=PNG, headers={**ticket["headers"], "Origin": origin})
        assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (204, origin)
        other = await http.options(ticket["url"], headers={**asks, "Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"


# --- The sweep --------------------------------------------------------------------------------------------------------


async def test_orphans_go_blob_and_row_and_what_is_named_stays(house: House, ann: Client) -> None:
    blobs, database = house.media._blobs, house.database
    kinds = ("photo", "photo", "profile_photo")
    named, unused, portrait = [await ann.upload(samples.png(n), kind) for n, kind in enumerate(kinds)]
    pending = await ann.ticket(PNG)
    await ann.send(pending, PNG)
    conversation = await conversation_of(database, ann.id)
    await uploads.attach(database, ann.id, UUID(named["id"]), Use(conversation, 1))
    await database.execute("update upload set due_at_ms = 0, incoming_until_ms = 0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep_media, house.media, 0.01)
        with trio.fail_after(30):
            while await database.fetch_one("select count(*) from upload") != (1,):
                await trio.sleep(0.01)
            while await uploads.left_over(database, 1):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert (await ann.http.get(named["url"])).content == samples.png(0)
    for gone in (unused, portrait):
        assert (await ann.http.get(gone["url"])).status_code in (403, 404)
        await problem(await ann.find(gone["id"]), 404, "unknown_medium")
    assert await blobs.head(incoming_key(UUID(pending["id"]))) is None
    await problem(await ann.done(pending), 404, "unknown_medium")


async def test_what_comes_late_to_an_address_is_cleared(
    folder_house: House, folder_ann: Client, tmp_path: Path
) -> None:
    """After done, while the signature still lasts, somebody sends it all again; and a check was killed before."""
    ticket = await folder_ann.ticket(PNG)
    await folder_ann.send(ticket, PNG)
    await uploads.begin_try(folder_house.database, UUID(ticket["id"]), folder_ann.id, 0)
    await put_blob(folder_house, f"media/{ticket['id']}-1", PNG)
    assert (await folder_ann.done(ticket)).status_code == 200
    await folder_ann.send(ticket, PNG)
    assert len(stored(tmp_path)) == 3
    await folder_house.media.sweep(10)
    assert len(stored(tmp_path)) == 3, "it may still come"
    await folder_house.database.execute("update upload set incoming_until_ms = 0")
    await folder_house.media.sweep(10)
    assert stored(tmp_path) == [f"media/{ticket['id']}-2"]


async def test_a_sweep_that_is_killed_is_finished_by_the_next(
    folder_house: House, folder_ann: Client, tmp_path: Path, monkeypatch: Any
) -> None:
    """The blob goes first: a row is left, and with it what is still to do."""
    await folder_ann.upload(PNG)
    database = folder_house.database
    await database.execute("update upload set due_at_ms = 0")

    async def killed(*_: object) -> None:
        raise BlobsUnavailable("away")

    monkeypatch.setattr(folder_house.media._blobs, "delete", killed)
    with pytest.raises(BlobsUnavailable):
        await folder_house.media.sweep(10)
    assert stored(tmp_path) != []
    assert await database.fetch_one("select state from upload") == ("doomed",)
    monkeypatch.undo()
    await database.execute("update upload set due_at_ms = 0")  # RETRY_S later
    await folder_house.media.sweep(10)
    assert stored(tmp_path) == []
    assert await database.fetch_one("select count(*) from upload") == (0,)


async def test_the_sweep_outlives_a_store_that_is_away(folder_house: House, monkeypatch: Any) -> None:
    tried = 0
    again = trio.Event()

    async def away(at_most: int) -> int:
        nonlocal tried
        tried += 1
        if tried == 3:
            again.set()
        raise BlobsUnavailable("away")

    monkeypatch.setattr(folder_house.media, "sweep", away)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep_media, folder_house.media, 0.001)
        with trio.fail_after(30):
            await again.wait()
        nursery.cancel_scope.cancel()


# --- Whole servers ----------------------------------------------------------------------------------------------------


def as_client(person: Person, http: httpx.AsyncClient) -> Client:
    return Client(http, {"user": {"id": str(person.id)}, "access_token": person.token})


def calling(place: Place) -> httpx.AsyncClient:
    """A client of a whole server."""
    return httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=60)


@pytest.mark.parametrize("driver", ["folder", "s3"])
async def test_a_server_that_is_killed_forgets_no_upload(dsn: str, folder: Path, s3: str, driver: str) -> None:
    """Killed after the announcement, in the middle of the body, and before done: what is signed and stored goes on."""
    settings: dict[str, Any] = {}
    if driver == "s3":
        bucket = new_bucket(s3)
        settings = {
            "s3_bucket": bucket.name, "s3_endpoint": s3, "s3_access_key": "test", "s3_secret_key": "test",
        }  # fmt: skip
    async with open_world(dsn, folder) as world:
        (ann,) = await world.people("Ann")
        async with open_process(world, **settings) as first, calling(first) as http:
            ticket = await as_client(ann, http).ticket(BIG, "video", "video/mp4")
            if driver == "folder":
                stream = await trio.open_tcp_stream("127.0.0.1", first.port)
                head = "\r\n".join([*request_lines(ticket, len(BIG)), "", ""]).encode()
                await stream.send_all(head + BIG[:2_000_000])
                while not stored(folder):
                    await trio.sleep(0.01)
            first.kill()
            await first.process.wait()
            if driver == "folder":
                await stream.aclose()
                assert all(name.endswith(".part") for name in stored(folder))
        settings["port"] = first.port  # addresses were signed for this one
        async with open_process(world, **settings) as second, calling(second) as http:
            client = as_client(ann, http)
            await problem(await client.done(ticket), 409, "upload_missing")
            assert (await client.send(ticket, BIG)).is_success
            second.kill()
            await second.process.wait()
        async with open_process(world, **settings) as third, calling(third) as http:
            done = await as_client(ann, http).done(ticket)
            assert done.status_code == 200
            assert (await http.get(done.json()["url"])).content == BIG
            assert await third.stop() == 0


def _status(pid: int, name: str) -> int:
    """A number of /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


async def test_a_long_upload_costs_the_others_nothing(dsn: str, folder: Path) -> None:
    """30 MiB in, checked, and out again: pings are answered meanwhile, and memory does not grow with the file."""
    async with (
        open_world(dsn, folder) as world,
        open_process(world) as server,
        calling(server) as http,
        calling(server) as other,
    ):
        (ann,) = await world.people("Ann")
        client = as_client(ann, http)
        await client.upload(PNG)
        before = _status(server.process.pid, "VmRSS")
        longest, pings = 0.0, 0

        async def ping() -> None:
            nonlocal longest, pings
            while True:
                began = trio.current_time()
                assert (await other.get("/healthz")).status_code == 200
                longest, pings = max(longest, trio.current_time() - began), pings + 1
                await trio.sleep(0.01)

        async with server.phone(ann) as phone, trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            medium = await client.upload(BIG, "video", "video/mp4")
            assert (await http.get(medium["url"])).content == BIG
            await phone.result("ping")
            nursery.cancel_scope.cancel()
        assert pings >= 5
        assert longest < 5.0
        if Path("/proc/self/status").exists():
            assert _status(server.process.pid, "VmHWM") - before < 20 << 20
