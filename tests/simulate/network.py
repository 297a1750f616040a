"""A network without a kernel: connections whose bytes come late, in pieces, or not at all.

The server's end is a non-blocking socket and a poller, as the pump wants them; the client's end calls back. Each
direction has at most one stretch of bytes on its way, so bytes never overtake each other. What goes wrong is asked for
from outside (``reset``, ``vanish``, ``stall``) or drawn (short reads, short writes, EAGAIN, how long a stretch takes).
"""

import errno
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import trio

from konnect_server.connection import ERR, HUP, IN, OUT
from konnect_server.poller import Descriptor, Pollable
from tests.simulate.agenda import Agenda

WINDOW_BYTES: Final = 65_536  # what a receiver's kernel holds unread


class End(Protocol):
    """The client's program at its end of a connection."""

    def opened(self) -> None:
        """The connection stands."""

    def data(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self) -> None:
        """The connection is over: closed by the server, reset, or never made."""


class Weather(Protocol):
    """How the network behaves at present."""

    def latency_s(self) -> float:
        """How long the next stretch of bytes is on its way."""

    def torn(self) -> bool:
        """Whether the next read, write or stretch is a short one."""


class Poller:
    """Which sockets of one process are ready. Only those whose state changed are looked at."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._owners: dict[Descriptor, Pollable] = {}
        self._masks: dict[Descriptor, int] = {}
        self._hot: dict[Descriptor, None] = {}  # may be ready
        self._woken = False
        self._sleeper: trio.Event | None = None
        self.closed = False

    def register(self, sock: Descriptor, owner: Pollable, /) -> None:
        """See konnect_server.poller.Poller, here and below."""
        assert sock not in self._owners
        self._owners[sock] = owner
        self._masks[sock] = IN
        self.changed(sock)

    def replace(self, sock: Descriptor, owner: Pollable, /) -> None:
        assert sock in self._owners
        self._owners[sock] = owner

    def modify(self, sock: Descriptor, mask: int, /) -> None:
        assert sock in self._owners
        self._masks[sock] = mask
        self.changed(sock)

    def unregister(self, sock: Descriptor, /) -> None:
        del self._owners[sock]
        del self._masks[sock]
        self._hot.pop(sock, None)

    def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
        found: list[tuple[Pollable, int]] = []
        for sock in list(self._hot):
            mask = sock.readiness() & (self._masks[sock] | ERR | HUP)  # type: ignore[attr-defined]  # ours, all of them
            if mask:
                found.append((self._owners[sock], mask))
            else:
                del self._hot[sock]
        if len(found) > 1:
            self._rng.shuffle(found)
        return found[:max_events]

    async def wait(self) -> None:
        while not self._woken and not self._ready():
            self._sleeper = trio.Event()
            await self._sleeper.wait()
        self._woken = False

    def _ready(self) -> bool:
        for sock in list(self._hot):
            if sock.readiness() & (self._masks[sock] | ERR | HUP):  # type: ignore[attr-defined]  # as in poll
                return True
            del self._hot[sock]
        return False

    def wake(self) -> None:
        self._woken = True
        self._rouse()

    def changed(self, sock: Descriptor) -> None:
        """The state of *sock* may have changed."""
        if sock in self._owners:
            self._hot[sock] = None
            self._rouse()

    def _rouse(self) -> None:
        if self._sleeper is not None:
            self._sleeper.set()
            self._sleeper = None

    def close(self) -> None:
        self.closed = True

    def __len__(self) -> int:
        return len(self._owners)


class ServerSocket:
    """The server's end of one connection."""

    __slots__ = (
        "_net",
        "_number",
        "_poller",
        "_torn",
        "closed",
        "fin",
        "inbox",
        "outbox",
        "pipe",
        "reset",
        "room",
        "shut",
    )

    def __init__(self, pipe: "Pipe", poller: Poller, number: int, room: int) -> None:
        self.pipe: Pipe = pipe
        self._poller = poller
        self._number = number
        self._torn = pipe.weather.torn
        self.room = room  # what our kernel holds unsent
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.fin = self.reset = self.shut = self.closed = False

    def fileno(self) -> int:
        return self._number

    def setblocking(self, flag: bool, /) -> None:
        assert not flag

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        if self.reset:
            raise OSError(errno.EINVAL, "simulated")

    def readiness(self) -> int:
        """What epoll would say of it."""
        if self.reset:
            return IN | OUT | ERR | HUP
        mask = IN if self.inbox or self.fin else 0
        if len(self.outbox) < self.room and not self.shut:
            mask |= OUT
        if self.fin and self.shut:
            mask |= HUP
        return mask

    def recv(self, size: int, /) -> bytes:
        self._check()
        if not self.inbox:
            if self.fin:
                return b""
            raise BlockingIOError
        count = min(len(self.inbox), size)
        if count > 1 and self._torn():
            count = self.pipe.rng.randrange(1, count)
        data = bytes(self.inbox[:count])
        del self.inbox[:count]
        self.pipe.to_server_moves()
        return data

    def send(self, data: bytes | memoryview, /) -> int:
        self._check()
        if self.shut:
            raise BrokenPipeError(errno.EPIPE, "simulated")
        count = min(self.room - len(self.outbox), len(data))
        if count and self._torn():
            count = self.pipe.rng.randrange(0, count)
        if not count:
            raise BlockingIOError
        self.outbox += data[:count]
        self.pipe.to_client_moves()
        return count

    def shutdown(self, how: int, /) -> None:
        self._check()
        self.shut = True
        self.pipe.to_client_moves()
        self._poller.changed(self)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self.inbox and not self.reset:
                self.pipe.reset_to_client()  # the kernel resets when unread bytes are thrown away
            else:
                self.shut = True
                self.pipe.to_client_moves()

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "simulated: closed")
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, "simulated")

    def touched(self) -> None:
        """The other end did something."""
        if not self.closed:
            self._poller.changed(self)


class Pipe:
    """One connection, seen from the client's end. ``send`` takes everything; ``end`` is called back."""

    __slots__ = (
        "_agenda",
        "_to_client",
        "_to_server",
        "end",
        "gone",
        "lost",
        "outbox",
        "over",
        "rng",
        "sock",
        "stalled",
        "weather",
    )

    def __init__(self, agenda: Agenda, weather: Weather, rng: Random, end: End) -> None:
        self._agenda, self.weather, self.rng, self.end = agenda, weather, rng, end
        self.sock: ServerSocket | None = None
        self.outbox = bytearray()
        self.gone = False  # the client closed its end
        self.over = False  # the client was told that it is over
        self.lost = False  # nothing passes any more, and nobody is told
        self.stalled = False  # the client does not read
        self._to_server = self._to_client = False  # a stretch is on its way

    # --- the client's calls ---

    def send(self, data: bytes) -> None:
        """Send all of it, some time."""
        if not self.gone:
            self.outbox += data
            self.to_server_moves()

    def close(self) -> None:
        """Close the client's end: the server reads what is on its way and then the end."""
        self.gone = self.over = True
        self.to_server_moves()

    def reset(self) -> None:
        """The connection breaks, and both ends learn of it."""
        self._break()
        if not self.over:
            self._agenda.after(self.weather.latency_s(), self._tell)

    def vanish(self) -> None:
        """The client's machine is gone: nothing passes any more, and nobody is told."""
        self.lost = self.gone = self.over = True

    def blackhole(self) -> None:
        """The network between is gone: nothing passes any more, and neither end is told."""
        self.lost = True

    def stall(self, stalled: bool) -> None:
        """Stop or go on reading."""
        self.stalled = stalled
        self.to_client_moves()

    # --- on the way ---

    def to_server_moves(self) -> None:
        """Something may be sent on its way to the server."""
        sock = self.sock
        if self._to_server or self.lost or sock is None or not (self.outbox or self.gone):
            return
        if len(sock.inbox) < WINDOW_BYTES:
            self._to_server = True
            self._agenda.after(self.weather.latency_s(), self._arrive_at_server)

    def _arrive_at_server(self) -> None:
        self._to_server = False
        sock = self.sock
        if sock is None or self.lost or sock.reset:
            return
        count = min(len(self.outbox), max(WINDOW_BYTES - len(sock.inbox), 0))
        if count > 1 and self.weather.torn():
            count = self.rng.randrange(1, count)
        if sock.closed:
            if count:
                self.reset_to_client()
            return
        sock.inbox += self.outbox[:count]
        del self.outbox[:count]
        if self.outbox:
            self.to_server_moves()
        elif self.gone:
            sock.fin = True
        sock.touched()

    def to_client_moves(self) -> None:
        """Something may be sent on its way to the client."""
        sock = self.sock
        if self._to_client or sock is None or self.lost or not (sock.outbox or sock.shut):
            return
        if self.gone and sock.outbox:  # the client's kernel resets what it has nobody for
            self._break()
        elif not (self.stalled or self.over):
            self._to_client = True
            self._agenda.after(self.weather.latency_s(), self._arrive_at_client)

    def _arrive_at_client(self) -> None:
        self._to_client = False
        sock = self.sock
        if sock is None or self.lost or self.stalled:
            return
        if self.over:
            self.to_client_moves()
            return
        count = len(sock.outbox)
        if count > 1 and self.weather.torn():
            count = self.rng.randrange(1, count)
        data = bytes(sock.outbox[:count])
        del sock.outbox[:count]
        shut = sock.shut and not sock.outbox
        sock.touched()
        if data:
            self.end.data(data)
        if shut:
            self._tell()
        else:
            self.to_client_moves()

    def reset_to_client(self) -> None:
        """The server's kernel gave up the connection."""
        if not self.over and not self.lost:
            self._agenda.after(self.weather.latency_s(), self._tell)

    def _break(self) -> None:
        sock = self.sock
        if sock is not None and not sock.reset and not self.lost:
            self._agenda.after(self.weather.latency_s(), self._reset_server)
        self.gone = True

    def _reset_server(self) -> None:
        sock = self.sock
        if sock is not None and not self.lost:
            sock.reset = True
            sock.inbox.clear()
            sock.outbox.clear()
            sock.touched()

    def _tell(self) -> None:
        if not self.over:
            self.over = self.gone = True
            self.end.ended()


class Listener:
    """The listening socket of one server process."""

    def __init__(self, poller: Poller, rng: Random) -> None:
        self._poller, self._rng = poller, rng
        self._queue: deque[Pipe] = deque()
        self._count = 10
        self.pipes: list[Pipe] = []  # those that were accepted and may still be open
        self.trouble = 0.0  # share of the calls of accept that fail
        self.open = True

    def fileno(self) -> int:
        return 3

    def setblocking(self, flag: bool, /) -> None:
        assert not flag

    def readiness(self) -> int:
        """IN while somebody waits."""
        return IN if self._queue else 0

    def knock(self, pipe: Pipe) -> None:
        """Somebody connects: as with a kernel, the connection stands before it is accepted."""
        if not self.open:
            pipe.reset_to_client()
            return
        self._queue.append(pipe)
        pipe.end.opened()
        self._poller.changed(self)

    def accept(self) -> tuple[ServerSocket, object]:
        if self._rng.random() < self.trouble:
            if self._rng.random() < 0.5:
                raise OSError(errno.EMFILE, "simulated: too many open files")
            raise ConnectionAbortedError(errno.ECONNABORTED, "simulated")
        if not self._queue:
            raise BlockingIOError
        pipe = self._queue.popleft()
        self._count += 1
        room = self._rng.choice((2_048, 16_384, 65_536, 65_536))
        pipe.sock = sock = ServerSocket(pipe, self._poller, self._count, room)
        if pipe.over and not pipe.outbox:
            sock.reset = True
        pipe.to_server_moves()
        if len(self.pipes) > 64:
            self.pipes = [one for one in self.pipes if one.sock is not None and not one.sock.closed]
        self.pipes.append(pipe)
        return sock, ("192.0.2.1", self._count)

    def close(self) -> None:
        if self.open:
            self.open = False
            while self._queue:
                self._queue.popleft().reset_to_client()

    def kill(self, silently: Callable[[], bool]) -> None:
        """The process is gone: its kernel resets every connection, or its machine is gone and nobody is told."""
        self.close()
        for pipe in self.pipes:
            if pipe.sock is not None and not pipe.sock.closed:
                pipe.sock.closed = True
                if silently():
                    pipe.blackhole()
                else:
                    pipe.reset_to_client()
        self.pipes.clear()


class SeededWeather:
    """Latency and tearing drawn from a generator; all of it may be changed at any time."""

    def __init__(self, rng: Random, torn: float, slow: float) -> None:
        self._rng = rng
        self._torn = torn
        self._slow = slow
        self.fair = False  # nothing slow, nothing torn

    def latency_s(self) -> float:
        draw = self._rng.random()
        if draw < self._slow and not self.fair:
            return -math.log(self._rng.random() + 1e-9) * 0.4
        return draw * 0.03

    def torn(self) -> bool:
        return not self.fair and self._rng.random() < self._torn
