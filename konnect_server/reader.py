"""Bytes from one client to whole messages: the common frame by hand, every other one through websockets' core.

The common frame (final, binary, masked, within the limit) is what nearly all traffic is made of. It is recognised by
its first two bytes and unmasked by the library's C function. For every other frame (text, fragments, control frames,
and all that is wrong) the sans-I/O core of ``websockets`` decides; it is made when it is needed and dropped again. It
is fed frame by frame, so that reading can stop between any two of them. A property test feeds any bytes, however cut,
to this reader and to the core alone, and compares what comes out.

The section numbers are RFC 6455's.
"""

import codecs
import logging
from typing import Final, NamedTuple

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was built without a C compiler
    from websockets.utils import apply_mask

_NEVER: Final = 1 << 62  # more bytes than any buffer holds
_COMMON: Final = 0x82  # FIN, no reserved bit, opcode 2 (section 5.2)
_OPCODES: Final = frozenset(Opcode)
_CONTROL_BYTES: Final = 125  # what a control frame carries at most (section 5.5)
_VIEW_BYTES: Final = 16_384  # longer payloads are unmasked without a copy before; shorter ones are quicker to copy
_Utf8: Final = codecs.getincrementaldecoder("utf-8")

_quiet: Final = logging.getLogger("konnect.websocket")
_quiet.setLevel(logging.ERROR)  # the core tells of each connection's end; that is the pump's to do


class Text(NamedTuple):
    """A whole text message, checked to be UTF-8."""

    payload: bytes


class Control(NamedTuple):
    """A ping, a pong, or a fragment that completes nothing."""

    answer: bytes  # the frame to send back (a pong), or nothing
    idle: bool  # it brought no content: many of these are a flood


class Ended(NamedTuple):
    """The peer closed the connection or broke the protocol. Nothing after it is read."""

    answer: bytes  # the close frame to send: the echo of the peer's, or the one that says what was wrong
    code: int  # the peer's (1005 when it gave none), or that of the failure
    reason: str
    failed: bool  # the peer broke the protocol


Event = Text | Control | Ended


class Reader:
    """The receiving half of one WebSocket connection after its handshake. No I/O.

    ::

        reader.feed(data)
        while (found := reader.read()) is not None:
            ...

    Args:
        limit_bytes: The longest message that is accepted, judged on the heads of its frames before memory is taken.
    """

    __slots__ = ("_buffer", "_fragmented", "_limit", "_need", "_position", "_rare")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._buffer: bytes | bytearray = b""
        self._position = 0  # where the next frame begins in the buffer
        self._need = 2  # bytes that must be there, from the position on, before it is worth looking again
        self._rare: _Rare | None = None
        self._fragmented = False  # some fragments of a message are here, its last is not

    def feed(self, data: bytes) -> None:
        """Take *data* from the network. The cost is proportional to *data*, however the stream is cut. After
        :class:`Ended` it is dropped."""
        buffer, position = self._buffer, self._position
        if position == len(buffer):
            self._buffer = data
            self._position = 0
        elif type(buffer) is bytearray:
            if position:
                del buffer[:position]  # moves no bytes
                self._position = 0
            buffer += data
        else:
            self._buffer = grown = bytearray(memoryview(buffer)[position:])
            grown += data
            self._position = 0

    def read(self) -> bytes | Event | None:
        """The next binary message's payload, or what else came; None when more bytes are needed first, and for ever
        after :class:`Ended`."""
        buffer, position = self._buffer, self._position
        have = len(buffer) - position
        if have < self._need:
            if not have or self._need == _NEVER:
                self._rest()
            return None
        if buffer[position] != _COMMON or self._fragmented:
            return self._read_rare()
        length = buffer[position + 1] - 0x80
        start = position + 6  # of the payload: behind two bytes of head and the mask
        if length > 125:
            start += 2 if length == 126 else 8
            if have < start - position - 4:
                self._need = start - position - 4
                return None
            length = int.from_bytes(buffer[position + 2 : start - 4], "big")
        if not 0 <= length <= self._limit:  # below 0: not masked
            return self._read_rare()
        end = start + length
        if end > len(buffer):
            self._need = end - position
            return None
        self._position = end
        self._need = 2
        if length < _VIEW_BYTES:
            return apply_mask(buffer[start:end], buffer[start - 4 : start])
        with memoryview(buffer) as view:
            return apply_mask(view[start:end], buffer[start - 4 : start])

    def _rest(self) -> None:
        """At the end of all that came: keep nothing that is not needed, for most connections are idle."""
        self._buffer = b""
        self._position = 0
        if not self._fragmented:
            self._rare = None

    def _read_rare(self) -> bytes | Event | None:
        """Cut off the next frame and let the core judge it; where the head alone is wrong, without waiting for more."""
        buffer, position = self._buffer, self._position
        have = len(buffer) - position
        rare = self._rare
        if rare is None:
            rare = self._rare = _Rare(self._limit)
        first, second = buffer[position], buffer[position + 1]
        if first & 0x0F not in _OPCODES or second < 0x80:
            return self._end(rare, 2)
        length, start = second & 0x7F, position + 6
        if length > 125:
            start += 2 if length == 126 else 8
            if have < start - position - 4:
                self._need = start - position - 4
                return None
            length = int.from_bytes(buffer[position + 2 : start - 4], "big")
        if first & 0x08:
            if length > _CONTROL_BYTES:
                rare.core.fail(CloseCode.PROTOCOL_ERROR, "control frame too long")
                return self._end(rare, 0)
        elif length > self._limit - (rare.core.current_size or 0):
            rare.core.fail(CloseCode.MESSAGE_TOO_BIG, f"longer than {self._limit} bytes")
            return self._end(rare, 0)
        end = start + length
        if end > len(buffer):
            self._need = end - position
            if rare.is_text(first):  # section 8.1: text that is wrong already need not be waited for either
                self._need = have + 1
                if len(buffer) > start and not rare.peek(buffer, start):
                    return self._end(rare, 0)
            return None
        if self._fragmented and first & 0x0F == Opcode.CLOSE:
            # A control frame may come between two fragments, a close too (section 5.4). The core takes that for a
            # mistake, so it is asked as if no fragments had come: nobody will want them any more.
            rare = _Rare(self._limit)
        event = rare.receive(buffer[position:end])
        if event is None:
            return self._end(rare, 0)
        self._position = end
        self._need = 2
        if event.__class__ is Ended:
            self._stop()
        else:
            self._fragmented = rare.core.current_size is not None
        return event

    def _end(self, rare: "_Rare", head_bytes: int) -> Event:
        """The connection failed; *head_bytes* of the next frame are what the core has to see to say so."""
        if head_bytes:
            event = rare.receive(self._buffer[self._position : self._position + head_bytes])
            assert event is None, "the core accepts what the reader thought it would refuse"
        self._stop()
        return rare.failure()

    def _stop(self) -> None:
        self._fragmented = False
        self._need = _NEVER
        self._rest()


class _Rare:
    """The core, and the message whose fragments it gives."""

    __slots__ = ("_checked", "_decoder", "_parts", "core")

    def __init__(self, limit_bytes: int) -> None:
        # The core counts a control frame between two fragments as a part of their message; this gives it room for one.
        self.core = ServerProtocol(state=State.OPEN, max_size=limit_bytes + _CONTROL_BYTES, logger=_quiet)
        self._parts: list[bytes] = []
        self._decoder: codecs.IncrementalDecoder | None = None  # while a text message is in progress
        self._checked = 0  # bytes of the frame in progress that the decoder has seen

    def is_text(self, first: int) -> bool:
        """Whether the frame that begins with the byte *first* is acceptable here and holds text."""
        if self.core.current_size is None:
            return first in (0x01, 0x81)
        return self._decoder is not None and first in (0x00, 0x80)

    def peek(self, buffer: bytes | bytearray, start: int) -> bool:
        """Check what has come of a text frame's payload; False when it cannot become UTF-8 any more."""
        shift = self._checked & 3
        mask = buffer[start - 4 : start]
        new = apply_mask(buffer[start + self._checked :], mask[shift:] + mask[:shift])
        if self._decoder is None:
            self._decoder = _Utf8()
        self._checked += len(new)
        return self._decodes(new, last=False)

    def receive(self, data: bytes | bytearray) -> bytes | Event | None:
        """What one whole frame means; None: it breaks the protocol, see :meth:`failure`."""
        self.core.receive_data(data)
        events = self.core.events_received()
        if not events:
            return None
        frame = events[0]
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.CLOSE:
            return self._ended(self.core.close_rcvd, failed=False)
        if frame.opcode is Opcode.PING or frame.opcode is Opcode.PONG:
            return Control(b"".join(self.core.data_to_send()), idle=True)
        return self._data(frame)

    def _data(self, frame: Frame) -> bytes | Event | None:
        """A text message, or a fragment."""
        data = bytes(frame.data)
        if frame.opcode is Opcode.TEXT and self._decoder is None:
            self._decoder = _Utf8()
        checked, self._checked = self._checked, 0
        if self._decoder is not None and not self._decodes(data[checked:], last=frame.fin):
            return None
        if data:
            self._parts.append(data)
        if not frame.fin:
            return Control(b"", idle=not data)
        payload = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._decoder is None:
            return payload
        self._decoder = None
        return Text(payload)

    def _decodes(self, data: bytes, *, last: bool) -> bool:
        assert self._decoder is not None
        try:
            self._decoder.decode(data, last)
        except UnicodeDecodeError:
            self.core.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
            return False
        return True

    def failure(self) -> Ended:
        """What to tell the peer about its mistake."""
        return self._ended(self.core.close_sent, failed=True)

    def _ended(self, close: Close | None, *, failed: bool) -> Ended:
        assert close is not None
        return Ended(b"".join(self.core.data_to_send()), int(close.code), close.reason, failed)
