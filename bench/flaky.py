"""A network that drops: the client's ``connect``, with a stream beneath that can be torn at any moment.

Three ways a mobile loses its connection: the other side resets it, it ends without a goodbye, or it goes silent (what
is sent vanishes, nothing arrives) and is reset a moment later. A frame may be cut in the middle.
"""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final
from urllib.parse import urlsplit

import trio

from konnect_client import ConnectFailed, Socket, over_stream

SILENT_S: Final = 1.0  # at most, before a silent connection is reset
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets


class Wire(trio.abc.Stream):
    """A TCP stream that can be torn."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._torn = self._silent = False
        self._half = False  # the next send is cut in the middle
        self._gone = trio.Event()

    async def tear(self, random: Random) -> None:
        """Lose the connection in one of the ways, drawn from *random*."""
        match random.randrange(4):
            case 0:
                self._reset()
            case 1:
                self._end()
            case 2:
                self._half = True
                await self._reset_within(random.uniform(0, SILENT_S))
            case _:
                self._silent = True
                await self._reset_within(random.uniform(0, SILENT_S))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, or some of it, or nothing: the sender of a silent connection does not notice."""
        if self._silent:
            await trio.lowlevel.checkpoint()
            return
        if self._half and len(data) > 1:
            await self._send(bytes(data[: len(data) // 2]))
            self._reset()
        await self._send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See Trio."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.ClosedResourceError as closed:
            raise self._broken(closed) from closed

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes in; of a silent connection nothing."""
        try:
            data = await self._stream.receive_some(max_bytes)
            while self._silent:
                data = await self._stream.receive_some(max_bytes)
                if not data:
                    await self._gone.wait()
                    raise trio.BrokenResourceError("the network dropped")
        except trio.ClosedResourceError as closed:
            raise self._broken(closed) from closed
        return data

    async def aclose(self) -> None:
        """Close; a torn one is closed already."""
        await self._stream.aclose()

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.ClosedResourceError as closed:
            raise self._broken(closed) from closed

    async def _reset_within(self, delay_s: float) -> None:
        try:
            await trio.sleep(delay_s)
        finally:
            self._reset()

    def _reset(self) -> None:
        if self._stream.socket.fileno() >= 0:
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._end()

    def _end(self) -> None:
        self._torn = True
        self._stream.socket.close()
        self._gone.set()

    def _broken(self, closed: trio.ClosedResourceError) -> Exception:
        return trio.BrokenResourceError("the network dropped") if self._torn else closed


class Network:
    """One client's way to the server; ``connect`` is what the client asks for. At most one wire at a time."""

    def __init__(self) -> None:
        self.wire: Wire | None = None

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[Socket]:
        """As :data:`konnect_client.Connect`."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as problem:
            raise ConnectFailed("unreachable", f"{host}:{port} cannot be reached: {problem}") from problem
        self.wire = Wire(stream)
        try:
            async with over_stream(self.wire, f"{host}:{port}", parts.path) as opened:
                yield opened
        finally:
            self.wire = None
