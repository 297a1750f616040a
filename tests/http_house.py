"""A Konnect with an HTTP door and nothing else: a tiny listener for a gateway, real loopback, real database."""

import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import msgspec
import trio
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no types

from konnect_server.actions.accounts import Accounts
from konnect_server.actions.media import Media, MediaTerms
from konnect_server.actions.office import Office
from konnect_server.actions.passwords import HashCost, Passwords
from konnect_server.http import DoorOptions, HttpDoor, open_http_door
from konnect_server.ids import uuid7
from konnect_server.telemetry import exposition
from konnect_server.tokens import Tokens
from protocol.errors import Unavailable
from protocol.frames import Command
from protocol.http import ENDPOINTS
from protocol.schema import openapi
from storage import blob_links
from storage.blobs import Blobs
from storage.database import Database, open_database
from storage.folder_blobs import FolderBlobs

PATTERNS = {each.path: re.compile(re.sub(r"\{\w+\}", "[^/]+", each.path)) for each in ENDPOINTS if "{" in each.path}
QUICK = HashCost(rounds=1, memory_kib=8, lanes=1)
VERSION = "1.2.3"
DOCUMENT = openapi(VERSION)
NOWHERE = "host=127.0.0.1 port=1 dbname=x user=x"  # nothing listens; what needs no database needs none in a test either
TERMS = MediaTerms(
    photo_bytes=2 << 20, voice_bytes=2 << 20, video_bytes=40 << 20, file_bytes=40 << 20, quota_bytes=100 << 20,
    upload_url_s=900, download_url_s=300, pending_s=7200, unused_s=86_400,
)  # fmt: skip
ANN = {"email": "ann@example.com", "password": "correct horse", "name": "Ann"}


class House:
    """What a test of the door needs."""

    def __init__(self, database: Database, folder: Path, passwords: Passwords | None) -> None:
        self.database = database
        self.tokens = Tokens(folder / "keys")
        self.told: list[tuple[UUID, UUID]] = []
        self.accounts = Accounts(
            database, self.tokens, passwords or Passwords(QUICK), new_id=uuid4,
            signed_out=lambda sign_in, user: self.told.append((sign_in, user)),
        )  # fmt: skip
        self.not_ready: str | None = None
        self.door: HttpDoor
        self.media: Media
        self.port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client whose every answer is checked against the OpenAPI document."""
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, event_hooks={"response": [conforms]}, trust_env=False, timeout=20
        )

    async def raw(self) -> "Raw":
        """A bare connection."""
        return Raw(await trio.open_tcp_stream("127.0.0.1", self.port))


@asynccontextmanager
async def open_house(
    database: Database, folder: Path, options: DoorOptions | None = None, *, passwords: Passwords | None = None,
    blobs: Blobs | None = None, terms: MediaTerms = TERMS, cdn_base: str = "",
) -> AsyncIterator[House]:  # fmt: skip
    """A house whose door is open. *blobs*: where media lie, if not in a folder of the house's own."""
    house = House(database, folder, passwords)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    house.port = listener.getsockname()[1]
    own = FolderBlobs(folder / "media", blob_links.secret_of(house.tokens.refresh_secret), house.url, cdn_base)
    house.media = Media(database, blobs or own, terms, new_id=uuid7)
    async with (
        open_http_door(
            msgspec.structs.replace(options or DoorOptions(), version=VERSION),
            accounts=house.accounts, media=house.media, blobs=None if blobs else own, tokens=house.tokens,
            database=database, call=nobody_answers,
            ready=lambda: house.not_ready, metrics=exposition,
            office=Office(database, uuid7),
        ) as door,
        trio.open_nursery() as nursery,
    ):  # fmt: skip
        house.door = door
        nursery.start_soon(_accept, listener, nursery, door.hand_over)
        yield house
        await door.drain(0.5)
        nursery.cancel_scope.cancel()


async def nobody_answers(user: UUID, command: Command, sign_in: UUID) -> msgspec.Struct:
    """There is a door here and nothing behind it; tests of calls run a whole server."""
    raise Unavailable("nothing lives behind this door")


@asynccontextmanager
async def bare_house(folder: Path, options: DoorOptions | None = None) -> AsyncIterator[House]:
    """A house without a database."""
    async with open_database(NOWHERE) as database, open_house(database, folder, options) as house:
        yield house


async def _accept(listener: socket.socket, nursery: trio.Nursery, hand_over: Callable[..., None]) -> None:
    with listener:
        while True:
            await trio.lowlevel.wait_readable(listener)
            sock, peer = listener.accept()
            nursery.start_soon(_read_head, sock, str(peer), hand_over)


async def _read_head(sock: socket.socket, peer: str, hand_over: Callable[..., None]) -> None:
    """Like the gateway: collects the head, then lets go."""
    sock.setblocking(False)
    head = b""
    try:
        while b"\r\n\r\n" not in head:
            await trio.lowlevel.wait_readable(sock)
            piece = sock.recv(65_536)
            if not piece:
                break
            head += piece
    except (OSError, trio.Cancelled):
        sock.close()
        raise
    hand_over(sock, head, peer)


class Raw:
    """A client that can misbehave."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def __aenter__(self) -> "Raw":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def send(self, *lines: str, body: bytes = b"") -> None:
        """A request: its lines without the ends, a blank line, a body."""
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers, body."""
        with trio.fail_after(20):
            while b"\r\n\r\n" not in self._buffer:
                self._buffer += await self._more()
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = 0 if head_only else int(headers.get("content-length", 0))
            while len(rest) < size:
                rest += await self._more()
            self._buffer = rest[size:]
            return int(first.split()[1]), headers, rest[:size]

    async def ended(self) -> bool:
        """True when the server hangs up with nothing more to say."""
        with trio.fail_after(20):
            try:
                return not self._buffer and await self.stream.receive_some() == b""
            except trio.BrokenResourceError:
                return not self._buffer

    async def _more(self) -> bytes:
        data = await self.stream.receive_some()
        assert data, f"the server hung up after {self._buffer!r}"
        return bytes(data)


async def conforms(response: httpx.Response) -> None:
    """Fail unless the document promises this answer."""
    await response.aread()
    path, method = response.request.url.path, response.request.method.lower()
    if path.startswith("/v1/call/") and path not in DOCUMENT["paths"]:
        path = "/v1/call/{command}"
    path = next((known for known, pattern in PATTERNS.items() if pattern.fullmatch(path)), path)
    operation = DOCUMENT["paths"].get(path, {}).get(method)
    if operation is None:
        return
    promised = operation["responses"].get(str(response.status_code))
    assert promised is not None, f"{method} {path} answered {response.status_code}, which the document does not know"
    content = promised.get("content", {})
    if not content:
        assert response.content == b""
        return
    if "*/*" in content:
        return
    media = response.headers["content-type"]
    assert media in content, f"{method} {path} answered {media}, the document promises {list(content)}"
    if media.endswith("json"):
        schema = {**content[media]["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(json.loads(response.content))
