"""One client's socket after the handshake: bytes in to whole messages, frames out, and the ways it ends.

A connection is an object, not a task. The pump calls :meth:`Connection.ready` when its socket is, the connection calls
its handler (a session, or the echo of the WebSocket test suite) directly, and nothing on that way ever waits. An idle
one is a reader, an outbox and a place on the wheel, and no more.

How it ends
-----------

Whoever wants a connection closed only marks it, for he may be in the middle of a fan-out over a dict that this very
connection's end would change (docs/hazards.md, B7). At the end of its round the pump calls ``ready(END)``: the one
place where the handler is told and where sockets are closed. ::

    OPEN ──close(), the peer's close, its mistake──> MARKED ──ready(END)──> CLOSING ──the peer's close──> LINGERING
      │                                                 │                  │                              │
      └──────────the network is gone, a deadline────────┴──────────────────┴──> LOST ──ready(END)──> CLOSED <─┘

CLOSING: our close frame is on its way, the peer's is waited for. LINGERING: both went, or the peer broke the protocol;
our half of the stream is shut, and what still comes is thrown away. Without that the kernel answers unread bytes with a
reset, which can destroy our close frame on its way. Both together last ``close_timeout_s`` at most. A peer that is slow
or silent is not waited for: its close frame is tried once.
"""

import functools
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from websockets.frames import Close as CloseBody, Frame, Opcode

from konnect_server.outbox import LOW_WATER_BYTES, OUTBOX_BYTES, Outbox
from konnect_server.reader import Control, Ended, Event, Reader, Text
from konnect_server.wheel import Deadline, Wheel
from protocol import closing, limits
from protocol.closing import Close

# What a socket may be ready for. The first four are the numbers of epoll.
IN: Final = 0x01  # bytes to read, or a new connection
OUT: Final = 0x04  # room to write
ERR: Final = 0x08
HUP: Final = 0x10
AGAIN: Final = 0x100  # the pump's own: something is left to do that the kernel does not know of
END: Final = 0x200  # the pump's own: go on with the end that was marked

RECV_BYTES: Final = 65_536  # 4 to 64 KiB cost the same for small frames, 256 KiB five times as much (allocation)
FRAMES_PER_VISIT: Final = 64  # then the other sockets have their turn (B4)
IDLE_FRAMES: Final = 1_000  # pings, pongs and empty fragments that one peer may send in a ping interval
NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 0x201 if os.uname().sysname == "Darwin" else 25)
_UNBOUNDED: Final = 2**31 - 1
_PING: Final = b"\x89\x00"
_REASON_BYTES: Final = 123  # section 5.5 of RFC 6455: a control frame carries 125 bytes, two of them the code

OPEN, MARKED, CLOSING, LINGERING, LOST, CLOSED = range(6)
_NETWORK: Final = (1006, "", b"", LOST)  # how it ends: code and reason for the handler, close frame to send, next state


class Socket(Protocol):
    """All that the pump and its connections use of a socket; the simulated world brings its own. Non-blocking."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def setblocking(self, flag: bool, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Handler(Protocol):
    """Who a connection's messages are for. Plain calls: none of them waits."""

    def received(self, payload: bytes, /) -> None:
        """One whole binary message. May push, pause and close."""

    def received_text(self, payload: bytes, /) -> None:
        """One whole text message, checked to be UTF-8."""

    def writable(self) -> None:
        """The outbox fell below ``LOW_WATER_BYTES`` after it had been at or above it."""

    def closed(self, code: int, reason: str, /) -> None:
        """The connection is over, whatever ended it: called exactly once, and nothing after it.

        *code* is ours or the peer's, 1005 when the peer gave none, 1006 when the network ended it.
        """


@dataclass(frozen=True, slots=True)
class Terms:
    """What every connection of a server has to keep to."""

    message_bytes: int = limits.FRAME_BYTES  # one message from a client
    outbox_bytes: int = OUTBOX_BYTES  # what may wait for one client before it is called slow
    ping_interval_s: float = 25.0  # of silence, then the server pings; jittered down by a fifth at most
    ping_timeout_s: float = 20.0  # of silence after that, then the peer is given up
    close_timeout_s: float = 5.0  # for the peer's part of closing


class Host(Protocol):
    """What a connection needs of the pump that it lives in."""

    now: float  # trio's time at the beginning of this turn
    terms: Terms
    wheel: Wheel
    random: random.Random
    dirty: "list[Connection]"  # outboxes to send at the next flush

    def again(self, connection: "Connection", /) -> None:
        """Call ``ready(AGAIN)`` in the next round, and wake the pump if it sleeps."""

    def end(self, connection: "Connection", /) -> None:
        """Call ``ready(END)`` at the end of this round, and wake the pump if it sleeps."""

    def watch(self, sock: Socket, mask: int, /) -> None:
        """From now on look for *mask* on *sock*."""

    def forget(self, connection: "Connection", sock: Socket, /) -> None:
        """Take the socket off the poller and the connection off the books."""


class Connection:
    """One client's socket after the handshake.

    ``push(data)`` is the outbox's own, so that the inner loop of a fan-out is one call: whole wire frames in, nothing
    raised, nothing sent before the pump's next ``flush()``. Over the bound the connection is marked to be closed with
    "slow". After :meth:`close` it does nothing.

    Args:
        sock: Non-blocking, connected, registered with the host's poller.
        host: The pump.
        peer: The client's address, as text.
        admitted: Called once, when the client has signed in or is gone.
    """

    __slots__ = (
        "_admitted", "_blocked", "_deadline", "_end", "_halted", "_handler", "_heard_at", "_host", "_idle", "_left",
        "_listed", "_low", "_mask", "_outbox", "_paused", "_pinged_at", "_reader", "_sock", "_state", "peer", "push",
    )  # fmt: skip

    def __init__(self, sock: Socket, host: Host, peer: str, admitted: Callable[[], None] | None = None) -> None:
        self._sock = sock
        self._host = host
        self.peer = peer
        self._handler: Handler = _NOBODY
        self._admitted = admitted
        self._reader = Reader(host.terms.message_bytes)
        self._outbox = Outbox(self, host.dirty.append, host.terms.outbox_bytes)
        self.push = self._outbox.push
        self._state = OPEN
        self._end = _NETWORK
        self._mask = IN  # what the poller looks for
        self._paused = False
        self._halted = False  # paused, or past the last frame that may be read
        self._left = False  # the reader may hold whole frames
        self._listed = False  # ready(AGAIN) will come
        self._blocked = False  # the kernel takes no more for now
        self._low = False  # writable() is owed
        self._idle = 0
        self._heard_at = host.now
        self._pinged_at = 0.0
        self._deadline: Deadline | None = host.wheel.add(host.now + self._interval_s(), self._due)

    # --- What handlers and actors call ---

    def push_droppable(self, data: bytes) -> None:
        """Like ``push``, but dropped without a word once the outbox is above half of its bound: typing, presence."""
        self._outbox.push_droppable(data)

    def close(self, close: "Close | tuple[int, str]") -> None:
        """Mark this connection to be closed with code and reason: what was pushed before is sent first, then the close
        frame. The first mark counts. What the peer still sends is not handled any more."""
        if self._state == OPEN:
            code, reason = close[0], close[1]
            impatient = code in (closing.SLOW.code, closing.SILENT.code)  # no use in waiting for such a peer
            if impatient:
                self._outbox.discard()
            self._mark_end(code, reason, close_frame(code, reason), LOST if impatient else CLOSING)

    def pause(self) -> None:
        """Stop reading and parsing. A reset or hang-up still closes; the peer's silence is not held against it."""
        if self._state == OPEN:
            self._paused = self._halted = True

    def resume(self) -> None:
        """Read on, first what is here already."""
        if self._paused:
            self._paused = False
            if self._state == OPEN:
                self._read_on()

    def signed_in(self) -> None:
        """The client is no stranger any more: it stops counting against the bound on those who are."""
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            admitted()

    @property
    def outbox_bytes(self) -> int:
        """What waits to be sent."""
        return self._outbox.size_bytes

    @property
    def closed(self) -> bool:
        """True from the moment it is marked to be closed, or the network is known to be gone."""
        return self._state != OPEN

    # --- What the gateway and the pump call ---

    def start(self, handler: Handler, data: bytes) -> None:
        """Begin with what came behind the handshake, in the pump's next round."""
        self._handler = handler
        if data:
            self._reader.feed(data)
            self._left = True
            self._again()

    def ready(self, mask: int) -> None:
        """Do what the socket is ready for, within bounds."""
        if mask >= AGAIN:
            if mask == AGAIN:
                self._go_on()
            else:
                self._finish()
            return
        if mask & OUT and self._blocked:
            self._unblock()
        if mask & IN:
            self._readable()
        if mask & (ERR | HUP) and (self._paused or not mask & IN):  # else recv has told, or will (B5)
            self._lose()

    def flush(self) -> None:
        """Offer what waits to the kernel, if it did not say "later"."""
        if not self._blocked:
            self._send()

    def crashed(self) -> None:
        """A call of ours raised: a bug, which must cost the other connections nothing."""
        if self._state == OPEN:
            self.close(closing.CRASHED)
        elif self._state != MARKED:
            self._lose()

    def abandon(self) -> None:
        """Close without a word to the peer: the pump stops."""
        self._lose()

    def overflowed(self) -> None:
        """The outbox is over its bound: this client does not read."""
        self.close(closing.SLOW)

    def __repr__(self) -> str:
        return f"<Connection {self.peer}, {type(self._handler).__name__}>"

    # --- In ---

    def _readable(self) -> None:
        if self._halted:
            if self._paused:
                self._watch(self._mask & ~IN)
            elif self._state == LINGERING:
                self._throw_away()
            return
        if self._left:  # whole frames are here: first those, so that the buffer stays small
            self._parse()
            return
        try:
            data = self._sock.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        self._heard_at = self._host.now
        self._reader.feed(data)
        self._parse()

    def _parse(self) -> None:
        read = self._reader.read
        received = self._handler.received
        for _ in range(FRAMES_PER_VISIT):
            found = read()
            if type(found) is bytes:
                received(found)
            elif found is None:
                self._left = False
                return
            else:
                self._rare(found)
            if self._halted:  # by what was just called (B7)
                self._left = True
                return
        self._left = True
        self._again()

    def _rare(self, event: bytes | Event) -> None:
        if type(event) is Control:
            if event.answer:
                self.push(event.answer)
            if event.idle:
                self._idle += 1
                if self._idle > IDLE_FRAMES:
                    self.close(closing.FLOOD)
        elif type(event) is Text:
            self._handler.received_text(event.payload)
        elif type(event) is Ended:
            if self._state == OPEN:
                self._mark_end(event.code, event.reason, event.answer, LINGERING)
            else:
                self._linger()

    def _read_on(self) -> None:
        self._halted = False
        self._watch(self._mask | IN)
        if self._left:
            self._again()

    def _go_on(self) -> None:
        self._listed = False
        if self._low and self._state == OPEN:
            self._low = False
            self._handler.writable()
        if self._left and not self._halted:
            self._parse()

    def _throw_away(self) -> None:
        try:
            if self._sock.recv(RECV_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lose()

    # --- Out ---

    def _send(self) -> None:
        box = self._outbox
        before = box.size_bytes
        while box.size_bytes:
            data = box.take()
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                count = 0
            except OSError:
                self._lose()
                return
            box.sent(count)
            if count < len(data):
                self._blocked = True
                self._watch(self._mask | OUT)
                break
        else:
            box.clear()
            if self._state == LINGERING:
                self._shut()
        if before >= LOW_WATER_BYTES > box.size_bytes:
            self._low = True
            self._again()

    def _unblock(self) -> None:
        """The kernel takes more again."""
        before = self._outbox.size_bytes
        self._blocked = False
        self._send()
        if not self._blocked:
            self._watch(self._mask & ~OUT)
        if self._outbox.size_bytes < before:  # the peer's TCP made room: slow the peer may be, but it is there
            self._heard_at = self._host.now

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._host.watch(self._sock, mask)

    def _again(self) -> None:
        if not self._listed:
            self._listed = True
            self._host.again(self)

    # --- The end ---

    def _mark_end(self, code: int, reason: str, frame: bytes, then: int) -> None:
        self._state = MARKED
        self._halted = True
        self._end = code, reason, frame, then
        self._outbox.seal()
        self._host.end(self)

    def _finish(self) -> None:
        """The one place where sockets are closed and handlers told."""
        if self._state == MARKED:
            self._begin_end()
        if self._state == LOST:
            self._drop()
        handler, self._handler = self._handler, _NOBODY
        handler.closed(self._end[0], self._end[1])

    def _begin_end(self) -> None:
        frame, self._state = self._end[2:]
        self._paused = False
        if self._state == LOST:
            self._outbox.append_last(frame)
            with suppress(OSError):  # let the kernel take it although it is full by our bound: read later, it tells why
                self._sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, _UNBOUNDED)
            self._send()
            return
        if self._state == CLOSING:
            self._read_on()
        self._watch(self._mask | IN)
        self._set_deadline(trio.current_time() + self._host.terms.close_timeout_s)
        self._outbox.append_last(frame)
        self.flush()

    def _linger(self) -> None:
        """Both close frames went, or ours is the last word: nothing that comes now matters."""
        self._state = LINGERING
        self._halted = True
        if not self._outbox.size_bytes:
            self._shut()

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """The network is gone, or was waited for long enough."""
        if self._state < LOST:
            self._state = LOST
            self._halted = True
            self._paused = False
            self._outbox.seal()
            self._outbox.clear()
            self._host.end(self)

    def _drop(self) -> None:
        self._state = CLOSED
        self.signed_in()
        self._host.forget(self, self._sock)
        self._sock.close()
        if self._deadline is not None:
            self._host.wheel.cancel(self._deadline)
        # Three circles of references end here, so that memory is free at once and not at some later collection.
        self._deadline = None
        self._outbox = _SEALED
        self.push = _SEALED.push

    # --- Time ---

    def _set_deadline(self, at: float) -> None:
        if self._deadline is not None:
            self._host.wheel.move(self._deadline, at)

    def _interval_s(self) -> float:
        return self._host.terms.ping_interval_s * (0.8 + 0.2 * self._host.random.random())

    def _due(self) -> None:
        """The wheel's call: see whether the peer is there, or stop waiting for its part of the closing."""
        if self._state == OPEN:
            self._probe(trio.current_time())
        elif self._state != MARKED:
            self._lose()

    def _probe(self, now: float) -> None:
        self._idle = 0
        if self._paused and not self._blocked:  # that nothing is heard is our own doing; but who takes nothing either,
            self._heard_at = now  # while we wait for room before we read on, may be long gone
        terms = self._host.terms
        if self._pinged_at > self._heard_at:
            self.close(closing.SILENT)
        elif now - self._heard_at >= 0.8 * terms.ping_interval_s:
            self.push(_PING)
            self._again()  # the pump's next turn sends it
            self._pinged_at = now
            self._set_deadline(now + terms.ping_timeout_s)
        else:
            self._set_deadline(self._heard_at + self._interval_s())


class _Nobody:
    """Stands in for a handler that has been told of the end, or is not there yet."""

    def received(self, payload: bytes, /) -> None:
        pass

    def received_text(self, payload: bytes, /) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str, /) -> None:
        pass

    def overflowed(self) -> None:
        pass


_NOBODY: Final = _Nobody()
_SEALED: Final = Outbox(_NOBODY, len, 0)
_SEALED.seal()


@functools.lru_cache(64)
def close_frame(code: int, reason: str) -> bytes:
    """A close frame of the server's; the reason is cut where it is longer than a control frame may be."""
    text = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    return Frame(Opcode.CLOSE, CloseBody(code, text).serialize()).serialize(mask=False)
