"""Real servers for scenes, and a client that knows nothing of the house: trio-websocket, msgpack, and a strict eye.

``open_house`` runs a server in this very process, on a port of its own; ``open_process`` runs ``konnect serve``. Both
take any database of the test cluster, so several may share one. Accounts are written straight into the database and
their tokens signed with the server's key: what registering costs is tested elsewhere.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

from konnect_server.config import Config
from konnect_server.ids import uuid7
from konnect_server.server import Server, open_server
from konnect_server.tokens import Tokens
from storage.database import Database, open_database
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from storage.postgres_store import open_store
from storage.rows import NewMessage

Frame = dict[str, Any]

LIMIT_S = 60.0  # nothing a scene waits for may take longer, on the slowest machine
ROOT = Path(__file__).parent.parent
QUIET = {"log_level": "error"}


class Wrong(AssertionError):
    """A server broke what it promises to every connection."""


class Phone:
    """One connection of a client, from the other implementation's point of view.

    What every connection is promised is checked as frames come: an entry follows the one before it without a gap, after
    the conversation's event or the head that hello named; a command is answered once.
    """

    def __init__(self, socket: WebSocketConnection, heads: Mapping[str, int]) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.heads = dict(heads)
        self.closed: tuple[int, str] | None = None
        self.wrong: Wrong | None = None
        self.cursor: str | None = None
        self._answers: dict[int, Frame] = {}
        self._asked = 0
        self._more = trio.Event()
        self._reading = trio.Event()
        self._reading.set()

    # --- reading ---

    async def run(self) -> None:
        """Read until the connection ends."""
        while True:
            await self._reading.wait()
            try:
                payload = await self.socket.get_message()
            except ConnectionClosed as end:
                code, reason = (1006, "") if end.reason is None else (end.reason.code, end.reason.reason or "")
                self.closed = code, reason
                self._tell()
                return
            try:
                self._take(msgpack.unpackb(payload))
            except Wrong as wrong:
                self.wrong = wrong
            self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, trio.Event()
        more.set()

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        kind = frame["t"]
        if kind == "entry":
            head = self.heads.get(frame["conversation"])
            if head is None or frame["seq"] != head + 1:
                raise Wrong(f"entry {frame['seq']} of {frame['conversation']} after {head}")
            self.heads[frame["conversation"]] = frame["seq"]
        elif kind == "conversation":
            self.heads[frame["conversation"]] = frame["head"]
        elif kind == "rewound":
            for gone in [frame["conversation"]] if "conversation" in frame else list(self.heads):
                self.heads.pop(gone, None)
        elif kind in ("ok", "error") and frame["id"] is not None:
            if frame["id"] in self._answers:
                raise Wrong(f"command {frame['id']} was answered twice")
            self._answers[frame["id"]] = frame
        self.cursor = frame.get("cursor", self.cursor) if kind in ("synced", "progress", "cursor") else self.cursor

    async def drop(self) -> None:
        """The network is gone: no goodbye."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.socket._stream)

    def hold_back(self) -> None:
        """Read nothing more from the socket for now."""
        self._reading = trio.Event()

    def read_on(self) -> None:
        """Read again."""
        self._reading.set()

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until *true* is, as frames come."""
        with trio.fail_after(LIMIT_S):
            while not true():
                if self.wrong is not None:
                    raise self.wrong
                assert self.closed is None, f"closed {self.closed} while waiting; the last: {self.frames[-3:]}"
                await self._more.wait()
        if self.wrong is not None:
            raise self.wrong

    async def end(self) -> tuple[int, str]:
        """Wait until the connection is closed; code and reason."""
        with trio.fail_after(LIMIT_S):
            while self.closed is None:
                await self._more.wait()
        return self.closed

    # --- asking ---

    async def send(self, t: str, /, **fields: Any) -> int:
        """Send a command; its id."""
        self._asked += 1
        plain = {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}
        await self.socket.send_message(msgpack.packb({"t": t, "id": self._asked, **plain}))
        return self._asked

    def reply(self, number: int) -> Frame | None:
        """The answer to command *number*, if it came."""
        return self._answers.get(number)

    async def answer(self, number: int) -> Frame:
        """Wait for the answer to command *number*."""
        await self.until(lambda: number in self._answers)
        return self._answers[number]

    async def ask(self, t: str, /, **fields: Any) -> Frame:
        """Send a command and wait for its answer, whatever it is."""
        return await self.answer(await self.send(t, **fields))

    async def result(self, t: str, /, **fields: Any) -> Frame:
        """Send a command that must succeed; its result."""
        reply = await self.ask(t, **fields)
        assert reply["t"] == "ok", reply
        result: Frame = reply["result"]
        return result

    async def error(self, t: str, /, **fields: Any) -> str:
        """Send a command that must fail; the code."""
        reply = await self.ask(t, **fields)
        assert reply["t"] == "error", reply
        return str(reply["code"])

    async def say(self, conversation: str, key: str, text: str = "hi") -> int:
        """Send a message; its seq, once it is stored."""
        seq: int = (await self.result("message.send", conversation=conversation, key=key, text=text))["seq"]
        return seq

    # --- what came ---

    def of(self, kind: str, conversation: str | None = None) -> list[Frame]:
        """The frames of one kind, of one conversation if it is named."""
        return [f for f in self.frames if f["t"] == kind and conversation in (None, f.get("conversation"))]

    def seqs(self, conversation: str) -> list[int]:
        """The entries that came."""
        return [frame["seq"] for frame in self.of("entry", conversation)]

    async def has(self, conversation: str, seq: int) -> None:
        """Wait until everything up to *seq* is here."""
        await self.until(lambda: self.heads.get(conversation, 0) >= seq)

    async def saw(self, kind: str, count: int = 1, conversation: str | None = None) -> list[Frame]:
        """Wait for so many frames of a kind."""
        await self.until(lambda: len(self.of(kind, conversation)) >= count)
        return self.of(kind, conversation)


class Person:
    """An account, and a sign-in."""

    def __init__(self, tokens: Tokens, name: str) -> None:
        self.tokens, self.name = tokens, name
        self.id, self.sign_in = uuid7(), uuid7()

    def __str__(self) -> str:
        return str(self.id)

    @property
    def token(self) -> str:
        return self.tokens.sign(self.id, self.sign_in)


class Place:
    """Somewhere to connect to: a server, wherever it runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/socket"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @asynccontextmanager
    async def call(self, heads: Mapping[str, int] | None = None, *, size_bytes: int = 1 << 24) -> AsyncIterator[Phone]:
        """An open connection that has not said hello."""
        async with trio.open_nursery() as nursery:
            with trio.fail_after(LIMIT_S):
                socket = await connect_websocket_url(
                    nursery, self.socket_url, subprotocols=["konnect.v1"], max_message_size=size_bytes
                )
            phone = Phone(socket, heads or {})
            nursery.start_soon(phone.run)
            try:
                yield phone
                with trio.move_on_after(1):
                    await socket.aclose()
            finally:
                await phone.drop()
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def phone(
        self, person: Person, device: str = "phone", *, heads: Mapping[str, int] | None = None, synced: bool = True,
        **hello: Any,
    ) -> AsyncIterator[Phone]:  # fmt: skip
        """A connection of *person* that has said hello, and, if not told otherwise, is up to date."""
        async with self.call(heads) as phone:
            await phone.send("hello", token=person.token, device=device, heads=dict(heads or {}), **hello)
            if synced:
                await phone.saw("synced")
            yield phone


class World:
    """One database and one keys folder, whatever servers stand on it."""

    def __init__(self, database: Database, dsn: str, folder: Path) -> None:
        self.database, self.dsn, self.folder = database, dsn, folder
        self.tokens = Tokens(folder / "keys")

    async def people(self, *names: str) -> list[Person]:
        """New accounts."""
        made = [Person(self.tokens, name) for name in names]
        for person in made:
            await self.database.execute(
                "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, %s, '-', 0)",
                person.id, f"{person.id}@example.com", person.name,
            )  # fmt: skip
        return made

    async def sign_in(self, person: Person, sign_in: UUID | None = None, device: str = "") -> UUID:
        """A row for the sign-in that *person* comes by, or for another one; which."""
        found = sign_in or person.sign_in
        await self.database.execute(
            "insert into sign_in (id, account, device, basis, token_hash, created_at_ms, used_at_ms) "
            "values (%s, %s, %s, %s, %s, now_ms(), now_ms())",
            found, person.id, device, bytes(32), bytes(32),
        )  # fmt: skip
        return found

    async def crowd(self, count: int) -> list[Person]:
        """Many accounts at once."""
        made = [Person(self.tokens, f"person {number}") for number in range(count)]
        await self.database.execute(
            "insert into account (id, email, name, password_hash, created_at_ms) "
            "select id, id || '@example.com', 'somebody', '-', 0 from unnest(%s::uuid[]) id",
            [person.id for person in made],
        )
        return made

    async def photo(self, owner: Person) -> UUID:
        """An uploaded photo of *owner*'s that nothing names yet, kept for an hour."""
        photo = uuid7()
        await self.database.execute(
            "insert into upload (id, owner, kind, state, size_bytes, content_type, sha256, tries, kept, created_at_ms, "
            "due_at_ms) values (%s, %s, 'photo', 'ready', 1, 'image/png', %s, 1, 1, 0, now_ms() + 3600000)",
            photo, owner.id, bytes(32),
        )  # fmt: skip
        return photo

    async def log(self, conversation: str) -> list[tuple[int, str | None]]:
        """The log as it lies in the database: (seq, text)."""
        sql = "select seq, text from entry where conversation = %s order by seq"
        return [(row[0], row[1]) for row in await self.database.fetch_all(sql, UUID(conversation))]

    async def long_log(self, conversation: str, author: Person, count: int, text: str = "line") -> None:
        """Store many messages, as a busy past, and ring nobody."""
        async with open_store(self.database, 1) as store:
            for first in range(0, count, 500):
                batch = [
                    NewMessage(UUID(conversation), author.id, f"past {uuid7()}", f"{text} {first + n}")
                    for n in range(min(500, count - first))
                ]
                answers = (await store.append(0, batch, {})).answers
                assert all(answer.new for answer in answers)

    def config(self, **changes: Any) -> Config:
        """A configuration for a server on this world."""
        return Config(
            **{
                "port": 0, "data": str(self.folder), "database_url": self.dsn, "unsafe_no_fsync": True,
                "presence_grace_s": 0.5, "drain_s": 2.0, "messages_per_s": 10_000.0, "messages_burst": 10_000,
                "commands_per_s": 10_000.0, "commands_burst": 10_000, **QUIET, **changes,
            }
        )  # fmt: skip


@asynccontextmanager
async def open_world(dsn: str, folder: Path) -> AsyncIterator[World]:
    """A world on a migrated database."""
    async with open_database(dsn, name="the test") as database:
        yield World(database, dsn, folder)


@asynccontextmanager
async def open_postgres(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, that it may stop and start. With fsync and all: without, a kill may lose what was
    committed."""
    server = EmbeddedPostgres(folder)
    await server.start()
    try:
        await prepare(server)
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()


async def prepare(server: EmbeddedPostgres) -> None:
    """Give it the schema."""
    async with open_database(server.dsn) as database:
        await migrate(database)


class House(Place):
    """A server in this process, with its insides at hand."""

    def __init__(self, server: Server, world: World) -> None:
        super().__init__(server.url)
        self.server, self.world = server, world
        self.core = server.core


@asynccontextmanager
async def open_house(world: World, *, dev: bool = False, **changes: Any) -> AsyncIterator[House]:
    """A server in this process, serving until the block ends. *dev*: as `konnect dev` runs it, without its people."""
    async with open_server(world.config(**changes), lambda line: None, dev=dev) as server:
        yield House(server, world)


class Process(Place):
    """A server process."""

    def __init__(self, process: trio.Process, url: str) -> None:
        super().__init__(url)
        self.process = process

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(LIMIT_S):
            return await self.process.wait()


@asynccontextmanager
async def open_process(world: World, *, module: str = "konnect_server", **changes: Any) -> AsyncIterator[Process]:
    """``konnect serve`` in a process of its own, on a free port unless one is named. *module*: stands in for it."""
    config = world.config(**changes)
    chosen = {"port", "data", "database_url", "unsafe_no_fsync", *QUIET, *changes, "presence_grace_s", "drain_s",
              "messages_per_s", "messages_burst", "commands_per_s", "commands_burst"}  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")}
    environ |= {f"KONNECT_{name.upper()}": _text(getattr(config, name)) for name in chosen}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module, "serve"], cwd=ROOT, env=environ, stdout=subprocess.PIPE
    )
    async with trio.open_nursery() as nursery:
        try:
            lines = _Lines(process)
            with trio.fail_after(LIMIT_S):
                url = await lines.address()
            nursery.start_soon(lines.drain)
            yield Process(process, url)
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
            nursery.cancel_scope.cancel()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Lines:
    """What a process says on its standard output."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._text = b""

    async def address(self) -> str:
        while b"is ready on " not in self._text or not self._text.endswith(b"\n"):
            chunk = await self._stream.receive_some()
            assert chunk, f"it ended: {self._text.decode()}"
            self._text += chunk
        return self._text.split(b"is ready on ")[1].split()[0].decode()

    async def drain(self) -> None:
        async for _ in self._stream:
            pass


async def create_group(phone: Phone, *members: Person, key: str = "make", **more: Any) -> str:
    """A group of the phone's person and these; its id."""
    made = await phone.result(
        "conversation.create", key=key, title="Club", members=[str(one) for one in members], **more
    )
    return str(made["conversation"])
