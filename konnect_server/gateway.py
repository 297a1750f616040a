"""The door: listens, reads each request's head, lets sockets in and hands everything else to HTTP.

One port for both. The head is read into a buffer of our own and travels along to HTTP, so nothing is read twice and a
head may come byte by byte. Whoever is at the door costs little and not for long: a head is at most 16 KiB and 10
seconds, and no more than a bounded number of strangers (sockets that have not signed in yet) is let in, in total and,
if asked for, from one address. What is more gets 503 at once, unread.
"""

import errno
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import structlog
import trio

from konnect_server import handshake
from konnect_server.caller import Caller, say
from konnect_server.connection import AGAIN, IN, NOTSENT_LOWAT, Connection, Handler, Socket
from konnect_server.handshake import Refusal
from konnect_server.pump import Pump
from konnect_server.wheel import Deadline
from protocol.closing import Close

PATH: Final = "/v1/socket"
SUBPROTOCOL: Final = "konnect.v1"
HEAD_TIMEOUT_S: Final = 10.0
STRANGERS: Final = 10_000
ACCEPTS_PER_ROUND: Final = 256  # 3 ms; with 64 the kernel's queue overflows when 5,000 dial at once (C14)
ACCEPT_PAUSE_S: Final = 0.1
UNSENT_BYTES: Final = 131_072
"""What the kernel may hold of a connection that it has not sent yet: without a bound here a reader that stopped is
hidden behind up to 4 MiB of kernel memory, and the outbox never learns of it (docs/hazards.md, B13)."""

_log = structlog.get_logger("konnect.gateway")


class ListeningSocket(Protocol):
    """All that the door uses of a listening socket; the simulated world brings its own."""

    def setblocking(self, flag: bool, /) -> None: ...
    def accept(self) -> tuple[Socket, object]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


async def open_listeners(host: str, port: int, backlog: int = 4_096) -> list[socket.socket]:
    """Listening sockets on every address of *host*; port 0 takes a free one, the same for all.

    Raises:
        OSError: The name has no address, or the port is taken on one of them.
    """
    sockets: list[socket.socket] = []
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, _, _, _, address in found:
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(socket.create_server(address, family=family, backlog=backlog))
            except OSError as problem:
                if problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                    raise
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"no address of {host!r} is of this machine")
    return sockets


class Gateway:
    """The door: request heads in; connections with their handlers, or handed-over sockets, out.

    Everything happens in the pump's turns; the gateway has no task of its own.

    Args:
        pump: Owns the sockets.
        make_handler: Gives a new connection its handler (a session). Plain call.
        hand_over: Takes a socket that is not for us, with all that was read of it and the peer's address; it belongs to
            the callee from then on. Plain call; the socket is off the poller.
        path: Where the WebSocket is; None: wherever an upgrade is asked for.
        subprotocol: What a client must offer; None: what it offers first is taken.
        strangers: How many sockets may be here that have not signed in, waiting heads included.
        strangers_per_address: The same for each address; None where a proxy makes all addresses one.
    """

    def __init__(
        self,
        pump: Pump,
        make_handler: Callable[[Connection], Handler],
        hand_over: Callable[[Socket, bytes, str], None],
        *,
        path: str | None = PATH,
        subprotocol: str | None = SUBPROTOCOL,
        strangers: int = STRANGERS,
        strangers_per_address: int | None = None,
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        self._pump = pump
        self._make_handler = make_handler
        self._hand_over = hand_over
        self._path = path
        self._subprotocol = subprotocol
        self._head_timeout_s = head_timeout_s
        self.strangers = Strangers(strangers, strangers_per_address)
        self._listeners: list[_Listener] = []
        self._callers: dict[Caller, None] = {}

    def listen(self, sockets: Iterable[ListeningSocket]) -> None:
        """Accept on these sockets, which are the gateway's from now on."""
        for sock in sockets:
            sock.setblocking(False)
            self._listeners.append(_Listener(self, self._pump, sock))

    def stop_accepting(self) -> None:
        """Close the listening sockets; send away whoever's head has not come yet."""
        while self._listeners:
            self._listeners.pop().close()
        for caller in list(self._callers):
            caller.refuse(handshake.DRAINING)

    async def close_all(self, close: Close, batch: int, every_s: float) -> None:
        """Close all connections with *close*, *batch* of them every *every_s* seconds, so that they do not all come
        back at once. Returns when the last is gone: ``close_timeout_s`` after the last batch at the latest. The pump
        and the wheel must run meanwhile."""
        while waiting := [connection for connection in self._pump.connections if not connection.closed]:
            for connection in waiting[:batch]:
                connection.close(close)
            if len(waiting) > batch:
                await trio.sleep(every_s)
        await self._pump.wait_empty()

    def close(self) -> None:
        """Close everything at once, without a word to anybody: for the very end, when the pump runs no more."""
        while self._listeners:
            self._listeners.pop().close()
        for caller in list(self._callers):
            caller.close()
        self._pump.close()

    # --- What listeners and callers call ---

    def admit(self, sock: Socket, address: object) -> None:
        """Begin with a socket that was just accepted."""
        peer = _text(address)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT_BYTES)
        except OSError:  # it has gone already
            sock.close()
            return
        if not self.strangers.enter(peer):
            say(sock, handshake.TOO_MANY_STRANGERS)
            sock.close()
            return
        self._callers[Caller(sock, peer, self._pump, self._route, self._left, self._head_timeout_s)] = None

    def _route(self, caller: Caller, sock: Socket, data: bytes, head_bytes: int) -> None:
        """Let somebody in whose head is whole, or hand him over, or refuse him."""
        head = data[:head_bytes]
        wanted = handshake.is_upgrade(head, self._path)
        if wanted is None:
            caller.refuse(handshake.NOT_HTTP)
        elif not wanted:
            self._pump.poller.unregister(sock)
            caller.leave()
            self._hand_over(sock, data, caller.peer)
        elif isinstance(answer := handshake.shake(head, self._subprotocol), Refusal):
            caller.refuse(answer)
        else:
            admitted = partial(self.strangers.leave, caller.peer)
            caller.heir = connection = Connection(sock, self._pump, caller.peer, admitted)
            self._pump.adopt(connection, sock)
            caller.leave()
            connection.push(answer)
            connection.start(self._make_handler(connection), data[head_bytes:])

    def _left(self, caller: Caller) -> None:
        self._callers.pop(caller, None)
        if caller.heir is None:
            self.strangers.leave(caller.peer)


class Strangers:
    """Counts those who have not signed in yet, in total and for each address.

    Args:
        limit: In total.
        per_address: From one address; None: no limit.
    """

    def __init__(self, limit: int, per_address: int | None) -> None:
        self._limit = limit
        self._per_address = limit if per_address is None else per_address
        self._addresses: dict[str, int] = {}
        self.count = 0

    def enter(self, address: str) -> bool:
        """Count one more from *address*; False, and not counted, if that is too many."""
        here = self._addresses.get(address, 0)
        if self.count >= self._limit or here >= self._per_address:
            return False
        self.count += 1
        self._addresses[address] = here + 1
        return True

    def leave(self, address: str) -> None:
        """Count one less from *address*."""
        self.count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


class _Listener:
    """A listening socket at the pump."""

    def __init__(self, gateway: Gateway, pump: Pump, sock: ListeningSocket) -> None:
        self._gateway = gateway
        self._pump = pump
        self._sock = sock
        self._open = True
        self._resting = False  # after a failure
        self._rest = Deadline(self._resume)
        pump.poller.register(sock, self)
        pump.open_door(self)

    def ready(self, mask: int, /) -> None:
        """Somebody knocks, or may do so: let him in when all else of this round is done (B8)."""
        if mask != AGAIN:
            self._pump.last(self)
        elif self._open and not self._resting:
            self._accept()

    def crashed(self) -> None:
        """A call of ours raised: it is in the log, and the next caller may fare better."""

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue  # gone between knocking and being let in
            except OSError as problem:  # mostly: no descriptor is free. Without a pause the poller would spin (B8)
                _log.warning("accepting pauses", pause_s=ACCEPT_PAUSE_S, problem=str(problem))
                self._resting = True
                self._pump.watch(self._sock, 0)
                self._pump.wheel.move(self._rest, trio.current_time() + ACCEPT_PAUSE_S)
                return
            self._gateway.admit(sock, address)

    def _resume(self) -> None:
        self._resting = False
        self._pump.watch(self._sock, IN)

    def close(self) -> None:
        """Accept no more."""
        self._open = False
        self._pump.close_door(self)
        self._pump.wheel.cancel(self._rest)
        self._pump.poller.unregister(self._sock)
        self._sock.close()


def _text(address: object) -> str:
    """A socket address's host, for people and for counting."""
    if isinstance(address, tuple) and address and isinstance(address[0], str):
        return address[0].removeprefix("::ffff:")
    return "local"
