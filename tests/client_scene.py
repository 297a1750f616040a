"""What scenes with the real server and the real client need: the house, its people, a train that loses its signal."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from konnect_client import Account, Client, Entry, Event, Liveness, open_client, register
from konnect_server.config import Config
from konnect_server.server import Server, open_server

QUICK = Liveness(ping_after_s=0.3, ping_within_s=0.3, hello_within_s=5.0, answer_within_s=10.0)


@asynccontextmanager
async def open_house(dsn: str, folder: Path, **settings: Any) -> AsyncIterator[Server]:
    """A server on a free port, on the test's own database."""
    config = Config(**{"port": 0, "database_url": dsn, "data": str(folder), "unsafe_no_fsync": True, **settings})
    async with open_server(config, lambda text: None) as server:
        yield server


class Signal:
    """A train's signal: a relay between a client and the server that can fall silent, as a tunnel does, or break."""

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self.url = ""
        self._there = trio.Event()
        self._there.set()
        self._relays: dict[trio.CancelScope, None] = {}
        self.let_through = -1  # bytes towards the server until the tunnel; -1: no tunnel ahead

    def lose(self) -> None:
        """Into the tunnel: nothing passes, and nobody is told."""
        self._there = trio.Event()

    def find(self) -> None:
        """Out of the tunnel, and none ahead: what was on its way is gone, connections of before are dead."""
        self.let_through = -1
        for scope in self._relays:
            scope.cancel()
        self._there.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Signal"]:
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(self._listen)
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            yield self
            nursery.cancel_scope.cancel()

    async def _listen(self, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await trio.serve_tcp(self._relay, 0, host="127.0.0.1", task_status=task_status)

    async def _relay(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._relays[scope] = None
            try:
                await self._there.wait()
                far = await trio.open_tcp_stream(self._host, self._port)
                async with far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass, near, far, True, nursery.cancel_scope)
                    nursery.start_soon(self._pass, far, near, False, nursery.cancel_scope)
            finally:
                del self._relays[scope]

    async def _pass(
        self, source: trio.SocketStream, target: trio.SocketStream, up: bool, end: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                if up and self.let_through >= 0:
                    data = data[: self.let_through]
                    self.let_through -= len(data)
                    if data and self._there.is_set():
                        await target.send_all(data)
                    if self.let_through == 0:
                        self.let_through = -1
                        self.lose()
                elif self._there.is_set():
                    await target.send_all(data)
                if not self._there.is_set():
                    await trio.sleep_forever()  # until find()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        end.cancel()


class Person:
    """Somebody with an account and one device."""

    def __init__(self, account: Account, client: Client) -> None:
        self.account, self.client = account, client
        self.id = account.user.id
        self.seen: list[Event] = []

    async def until(self, there: Callable[[Event], bool]) -> list[Event]:
        """Read events up to the first that is *there*; those read by this call."""
        begin = len(self.seen)
        with trio.fail_after(30):
            async for event in self.client.events:
                self.seen.append(event)
                if there(event):
                    return self.seen[begin:]
        raise AssertionError("the client has closed")

    async def hears(self, text: str) -> Entry:
        """Read events until somebody says *text*."""
        event = (await self.until(lambda event: isinstance(event, Entry) and event.text == text))[-1]
        assert isinstance(event, Entry)
        return event

    def texts(self, conversation: str) -> list[str]:
        """What was heard in a conversation, in order."""
        return [
            event.text
            for event in self.seen
            if isinstance(event, Entry) and event.conversation == conversation and event.text is not None
        ]


class Cast:
    """The people of a scene, each with a client of their own."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server, self._nursery = server, nursery

    async def account(self, name: str, path: Path | None = None) -> Account:
        """Register *name*, who has no client yet."""
        http: httpx.AsyncClient = await self._nursery.start(self._hold_http)
        return await register(http, f"{name}@example.com", "correct horse", name.capitalize(), path=path)

    async def person(self, name: str, **options: Any) -> Person:
        """Register *name* and connect, until the end of the scene."""
        account = await self.account(name)
        client: Client = await self._nursery.start(partial(self._hold_client, account, **options))
        await client.wait_synced()
        return Person(account, client)

    async def device(self, person: Person, name: str) -> Client:
        """One more of *person*'s devices, connected until the end of the scene."""
        client: Client = await self._nursery.start(partial(self._hold_client, person.account, device=name))
        await client.wait_synced()
        return client

    def client(self, account: Account, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A client of *account*, to be opened by a block."""
        fixed = {"url": self.server.url, "device": "phone", "reconnect_s": (0.05, 0.5), "liveness": QUICK}
        settings = {**fixed, **options}
        return open_client(settings.pop("url"), token=account, **settings)

    async def _hold_http(self, *, task_status: trio.TaskStatus[httpx.AsyncClient]) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, trust_env=False, timeout=30) as http:
            task_status.started(http)
            await trio.sleep_forever()

    async def _hold_client(self, account: Account, *, task_status: trio.TaskStatus[Client], **options: Any) -> None:
        async with self.client(account, **options) as client:
            task_status.started(client)
            await trio.sleep_forever()


@asynccontextmanager
async def open_scene(dsn: str, folder: Path, **settings: Any) -> AsyncIterator[Cast]:
    """A house and its people; everything is closed with the block."""
    async with open_house(dsn, folder, **settings) as server, trio.open_nursery() as nursery:
        yield Cast(server, nursery)
        nursery.cancel_scope.cancel()


async def all_at_once(
    operations: Sequence[tuple[Any, ...]], devices: Sequence[Sequence[Client]], do: Callable[..., Awaitable[None]]
) -> None:
    """Do *operations*, each (name, person, more…) by one of the person's *devices* while others are under way: "wait"
    lets time pass, "drop" breaks the device's connection, all else is for *do* (client, name, person, more…)."""
    async with trio.open_nursery() as doing:
        for nth, (name, *rest) in enumerate(operations):
            if name == "wait":
                await trio.sleep(0.02)
                continue
            own = devices[rest[0]]
            client = own[nth % len(own)]
            if name == "drop":
                client.reconnect()
            else:
                doing.start_soon(do, client, name, *rest)
