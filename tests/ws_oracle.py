"""The reader beside websockets' core alone, for the property test and the fuzzer: the same bytes, the same outcome.

The core is fed as it comes, without any of the reader's shortcuts. Two differences are meant, and allowed here:

* the reader may know earlier that a connection failed, from a frame's head or from the beginning of its text; then
  the core must come to the same once the frame is filled up;
* a close between two fragments is a legal control frame (RFC 6455, section 5.4), which the core refuses. And the core
  counts control frames between fragments against the limit of their message.
"""

import codecs
import itertools
import logging
from collections.abc import Iterable
from typing import Any

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from konnect_server.reader import Control, Ended, Reader, Text

_quiet = logging.getLogger("tests.ws_oracle")
_quiet.setLevel(logging.CRITICAL)

Outcome = list[tuple[Any, ...]]


def by_reader(pieces: Iterable[bytes], limit: int) -> tuple[Outcome, Ended | None]:
    """What the product's reader makes of a stream that comes in *pieces*."""
    reader, out, end = Reader(limit), [], None
    for piece in pieces:
        reader.feed(piece)
        while (found := reader.read()) is not None:
            assert end is None, "something came after the end"
            match found:
                case bytes():
                    out.append(("binary", found))
                case Text(payload):
                    out.append(("text", payload))
                case Control(answer, _):
                    if answer:
                        out.append(("pong", answer))
                case Ended():
                    end = found
    return out, end


class Core:
    """websockets' core alone, with the messages put together and the text checked, fragment by fragment."""

    def __init__(self, limit: int) -> None:
        self.core = ServerProtocol(state=State.OPEN, max_size=limit, logger=_quiet)
        self.out: Outcome = []
        self.end: tuple[int, bytes] | None = None  # code, close frame
        self._parts: list[bytes] = []
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        if self.end is not None:
            return
        self.core.receive_data(data)
        writes = self.core.data_to_send()
        for event in self.core.events_received():
            assert isinstance(event, Frame)
            match event.opcode:
                case Opcode.PING:
                    self.out.append(("pong", writes.pop(0)))
                case Opcode.PONG:
                    pass
                case Opcode.CLOSE:
                    assert self.core.close_rcvd is not None
                    self.end = int(self.core.close_rcvd.code), writes[0]
                case _:
                    if not self._data(event):
                        self.end = 1007, b""
                        return
        if self.end is None and self.core.close_sent is not None:
            received = self.core.close_rcvd
            if received is not None:  # a close between two fragments
                payload = b"" if received.code == 1005 else received.serialize()
                self.end = int(received.code), bytes((0x88, len(payload))) + payload
            else:
                self.end = int(self.core.close_sent.code), b""

    def _data(self, frame: Frame) -> bool:
        if frame.opcode is Opcode.TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        if self._decoder is not None:
            try:
                self._decoder.decode(bytes(frame.data), frame.fin)
            except UnicodeDecodeError:
                return False
        self._parts.append(bytes(frame.data))
        if frame.fin:
            kind = "binary" if self._decoder is None else "text"
            self.out.append((kind, b"".join(self._parts)))
            self._parts, self._decoder = [], None
        return True


def compare(stream: bytes, cuts: Iterable[int], limit: int) -> None:
    """Feed *stream*, cut at *cuts*, to both and raise AssertionError where they differ."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    out, end = by_reader(pieces, limit)
    core = Core(limit)
    core.feed(stream)
    problem = core.core.parser_exc
    if isinstance(problem, PayloadTooBig) and (problem.size or 0) <= 125 and len(out) >= len(core.out):
        assert out[: len(core.out)] == core.out  # it may have counted a control frame in: no more can be said
        return
    if end is not None and end.reason == "control frame too long":
        core.feed(bytes(limit + 14))
        assert core.end is not None
        assert core.end[0] in (1002, 1009)
    elif end is not None:
        core.feed(bytes(limit + 14))  # let it see the whole frame that the reader condemned early
        assert core.end is not None
        assert core.end[0] == end.code
        if not end.failed:
            assert core.end[1] == end.answer
        else:
            assert end.answer[:1] == b"\x88"
            assert int.from_bytes(end.answer[2:4], "big") == end.code
            assert end.answer[4:].decode() == end.reason
    else:
        assert core.end is None
    assert out == core.out
