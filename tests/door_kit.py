"""What the tests of the door share: frames by hand, a door on loopback, and sockets that fail on demand."""

import errno
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
import trio.testing

from konnect_server.connection import HUP, IN, OUT, Connection, Handler, Socket, Terms
from konnect_server.gateway import Gateway
from konnect_server.poller import Descriptor, Pollable, SystemPoller
from konnect_server.pump import Pump
from konnect_server.wheel import Wheel

MASK = b"\x37\xfa\x21\x3d"  # the one of RFC 6455, section 5.7
BINARY, TEXT, CLOSE, PING, PONG = 0x82, 0x81, 0x88, 0x89, 0x8A


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """*data* XOR *mask*, byte by byte: slow and plain."""
    return bytes(byte ^ mask[index & 3] for index, byte in enumerate(data))


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = MASK, form: int | None = None) -> bytes:
    """One frame with the first byte *first*; *form* (7, 16 or 64) forces a longer form of length than is needed."""
    size = len(payload)
    form = form or (7 if size < 126 else 16 if size < 65_536 else 64)
    bit = 0x80 if mask else 0
    if form == 7:
        head = bytes((first, bit | size))
    elif form == 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + masked(payload, mask) if mask else head + payload


def close(code: int, reason: bytes = b"", *, mask: bytes | None = MASK) -> bytes:
    """One close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason, mask=mask)


HELLO = (
    b"GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: konnect.v1\r\n\r\n"
)


class Recorder:
    """A handler that writes down what happens to it, and does what it is told on the way."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.seen: list[tuple[Any, ...]] = []
        self.on_message: Callable[[Recorder, bytes], object] | None = None
        self.on_closed: Callable[[Recorder], object] | None = None
        self._changed = trio.Event()

    def received(self, payload: bytes, /) -> None:
        self._note("binary", payload)
        if self.on_message is not None:
            self.on_message(self, payload)

    def received_text(self, payload: bytes, /) -> None:
        self._note("text", payload)

    def writable(self) -> None:
        self._note("writable")

    def closed(self, code: int, reason: str, /) -> None:
        self._note("closed", code, reason)
        if self.on_closed is not None:
            self.on_closed(self)

    def _note(self, *what: Any) -> None:
        self.seen.append(what)
        self._changed.set()
        self._changed = trio.Event()

    @property
    def messages(self) -> list[bytes]:
        """The payloads of the binary messages."""
        return [what[1] for what in self.seen if what[0] == "binary"]

    async def until(self, *what: Any) -> None:
        """Wait until *what* has happened."""
        while what not in self.seen:
            await self._changed.wait()

    async def until_closed(self) -> tuple[int, str]:
        """Wait for the end; its code and reason."""
        while not self.seen or self.seen[-1][0] != "closed":
            await self._changed.wait()
        return self.seen[-1][1], self.seen[-1][2]


class Door:
    """A whole door on loopback: real sockets, real poller."""

    def __init__(self, pump: Pump, gateway: Gateway, listener: socket.socket) -> None:
        self.pump = pump
        self.gateway = gateway
        self.port: int = listener.getsockname()[1]
        self.handlers: list[Recorder] = []
        self.handed: list[tuple[Socket, bytes, str]] = []
        self.clients: list[Client] = []
        self._handed = trio.Event()

    async def handed_over(self) -> tuple[socket.socket, bytes, str]:
        """Wait for the first socket that was handed to HTTP."""
        await self._handed.wait()
        sock, head, peer = self.handed[0]
        assert isinstance(sock, socket.socket)
        return sock, head, peer

    async def call(self) -> "Client":
        """A TCP connection to the door, silent so far."""
        client = Client(await trio.open_tcp_stream("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def connect(self) -> tuple["Client", Recorder]:
        """A client after its handshake, and its handler."""
        client = await self.call()
        await client.send(HELLO)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client, self.handlers[-1]


@asynccontextmanager
async def open_door(
    terms: Terms | None = None,
    make_handler: Callable[[Connection], Handler] | None = None,
    hand_over: Callable[[Socket, bytes, str], None] | None = None,
    poller: SystemPoller | None = None,
    clock: Callable[[], float] | None = None,
    **options: Any,
) -> AsyncIterator[Door]:
    """A door that runs until the block is left."""
    wheel = Wheel()
    extra = {} if clock is None else {"clock": clock}
    pump = Pump(poller or SystemPoller(), wheel, terms=terms, randomness=random.Random(1), **extra)
    door: Door

    def make(connection: Connection) -> Handler:
        if make_handler is not None:
            return make_handler(connection)
        door.handlers.append(Recorder(connection))
        return door.handlers[-1]

    def take(sock: Socket, head: bytes, peer: str) -> None:
        if hand_over is not None:
            hand_over(sock, head, peer)
            return
        door.handed.append((sock, head, peer))
        door._handed.set()

    gateway = Gateway(pump, make, take, **options)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    door = Door(pump, gateway, listener)
    try:
        gateway.listen([listener])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wheel.run)
            nursery.start_soon(pump.run)
            with trio.fail_after(60):  # a net, not a measure: every wait in the tests is for an event
                yield door
            nursery.cancel_scope.cancel()
    finally:
        gateway.close()
        for sock, _, _ in door.handed:
            sock.close()
        for client in door.clients:
            client.stream.socket.close()


class Client:
    """The other end of a socket, byte by byte."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        self._buffer += data
        return bool(data)

    async def head(self) -> bytes:
        """The response's head."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._more(), self._buffer
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    async def exactly(self, count: int) -> bytes:
        """The next *count* bytes."""
        while len(self._buffer) < count:
            assert await self._more(), self._buffer
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload."""
        first, size = await self.exactly(2)
        assert size < 128, "a server does not mask"
        if size > 125:
            size = int.from_bytes(await self.exactly(2 if size == 126 else 8), "big")
        return first, await self.exactly(size)

    async def rest(self) -> bytes:
        """All until the server ends the stream."""
        while await self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    async def end(self) -> None:
        """Close without a word."""
        await self.stream.aclose()

    def reset(self) -> None:
        """Close so that the server's kernel gets a reset."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.stream.socket.close()


class ScriptedSocket:
    """A socket whose kernel does as the test says: short writes, "later", resets."""

    _numbers = iter(range(1_000_000, 2_000_000))

    def __init__(self) -> None:
        self.incoming: deque[bytes | OSError] = deque()
        self.room = 1 << 40  # bytes that the kernel still takes
        self.piece = 1 << 40  # bytes that it takes at once
        self.broken: OSError | None = None  # raised by the next send
        self.hung_up = False
        self.out = bytearray()
        self.sends: list[int] = []
        self._shut = self._closed = False
        self._number = next(self._numbers)

    def is_shut(self) -> bool:
        """Our half of the stream was ended."""
        return self._shut

    def is_closed(self) -> bool:
        return self._closed

    def recv(self, size: int, /) -> bytes:
        if not self.incoming:
            raise BlockingIOError(errno.EAGAIN, "later")
        first = self.incoming.popleft()
        if isinstance(first, OSError):
            raise first
        if len(first) > size:
            self.incoming.appendleft(first[size:])
        return first[:size]

    def send(self, data: bytes | memoryview, /) -> int:
        if self.broken is not None:
            raise self.broken
        count = min(len(data), self.room, self.piece)
        if not count and len(data):
            raise BlockingIOError(errno.EAGAIN, "later")
        self.room -= count
        self.out += data[:count]
        self.sends.append(count)
        return count

    def shutdown(self, how: int, /) -> None:
        self._shut = True

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        pass

    def setblocking(self, flag: bool, /) -> None:
        pass

    def fileno(self) -> int:
        return -1 if self._closed else self._number

    def close(self) -> None:
        self._closed = True

    def state(self) -> int:
        """What a poller would see."""
        return (IN if self.incoming else 0) | (OUT if self.room else 0) | (HUP if self.hung_up else 0)


class ScriptedPoller:
    """A poller over scripted sockets."""

    def __init__(self) -> None:
        self.owners: dict[Descriptor, Pollable] = {}
        self.masks: dict[Descriptor, int] = {}
        self.polls = 0
        self._poked = trio.Event()

    def register(self, sock: Descriptor, owner: Pollable, /) -> None:
        assert sock not in self.owners
        self.owners[sock] = owner
        self.masks[sock] = IN

    def replace(self, sock: Descriptor, owner: Pollable, /) -> None:
        assert sock in self.owners
        self.owners[sock] = owner

    def modify(self, sock: Descriptor, mask: int, /) -> None:
        assert sock in self.owners
        self.masks[sock] = mask

    def unregister(self, sock: Descriptor, /) -> None:
        assert sock.fileno() >= 0, "closed before it was unregistered"
        del self.owners[sock], self.masks[sock]

    def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
        self.polls += 1
        found = []
        for sock, owner in self.owners.items():
            assert isinstance(sock, ScriptedSocket)
            mask = sock.state() & (self.masks[sock] | HUP)
            if mask:
                found.append((owner, mask))
        return found[:max_events]

    async def wait(self) -> None:
        self._poked = trio.Event()
        if self.poll(1):
            await trio.lowlevel.checkpoint()
        else:
            await self._poked.wait()

    def wake(self) -> None:
        self._poked.set()

    poke = wake  # the test changed a socket

    def close(self) -> None:
        pass


class Stage:
    """A pump over scripted sockets."""

    def __init__(self, terms: Terms | None = None, clock: Callable[[], float] | None = None) -> None:
        self.poller = ScriptedPoller()
        self.wheel = Wheel()
        clock = clock or trio.current_time
        self.pump = Pump(self.poller, self.wheel, terms=terms, randomness=random.Random(1), clock=clock)

    def connect(self, admitted: Callable[[], None] | None = None) -> tuple[ScriptedSocket, Recorder]:
        """A connection after its handshake."""
        sock = ScriptedSocket()
        self.poller.register(sock, _Nothing())
        connection = Connection(sock, self.pump, "198.51.100.7", admitted)
        self.pump.adopt(connection, sock)
        recorder = Recorder(connection)
        connection.start(recorder, b"")
        return sock, recorder

    async def settle(self) -> None:
        """Let the pump do all there is to do now."""
        self.poller.poke()
        await trio.testing.wait_all_tasks_blocked()

    def feed(self, sock: ScriptedSocket, *data: bytes | OSError) -> None:
        """Let bytes (or an error) come in."""
        sock.incoming.extend(data)
        self.poller.poke()


class _Nothing:
    def ready(self, mask: int, /) -> None:
        raise AssertionError("nobody is here yet")

    def crashed(self) -> None:
        raise AssertionError("nobody is here yet")


@asynccontextmanager
async def open_stage(terms: Terms | None = None, clock: Callable[[], float] | None = None) -> AsyncIterator[Stage]:
    """A stage that runs until the block is left."""
    stage = Stage(terms, clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.wheel.run)
        nursery.start_soon(stage.pump.run)
        await trio.testing.wait_all_tasks_blocked()
        yield stage
        nursery.cancel_scope.cancel()
    with suppress(OSError):
        stage.pump.close()
