"""Clients that do not keep to the protocol: each must be answered or closed, and cost the others nothing."""

from random import Random
from typing import Any, Final, Protocol

import msgspec
import trio

from tests.simulate import websocket
from tests.simulate.agenda import Agenda
from tests.simulate.network import Pipe
from tests.simulate.truth import Violation
from tests.simulate.websocket import BINARY, CLOSE, TEXT, Framer, frame

PATIENCE_S: Final = 40.0  # by then the server has answered or closed

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


class Street(Protocol):
    """What a rude client needs of the world."""

    agenda: Agenda
    active: bool

    def connect(self, device: Any) -> Pipe | None:
        """A new connection to some process."""

    def say(self, who: str, what: str, *details: Any) -> None:
        """For the trace."""


class Rude:
    """One rude client: it connects, misbehaves in one way, waits for what comes of it, and begins again."""

    def __init__(self, world: Street, rng: Random) -> None:
        self.world, self.rng = world, rng
        self.name = "rude"
        self.pipe: Pipe | None = None
        self._manner = ""
        self._framer = Framer()
        self._began = 0.0

    def start(self) -> None:
        """Begin."""
        self.world.agenda.after(self.rng.random(), self._connect)

    def _connect(self) -> None:
        if not self.world.active:
            return
        self._framer = Framer()
        self._manner = self.rng.choice(
            (
                "no http",
                "silent",
                "half a request",
                "garbage",
                "text",
                "no hello",
                "bad hello",
                "huge",
                "unmasked",
                "fragments",
            )
        )
        self._began = trio.current_time()
        self.pipe = self.world.connect(self)
        if self.pipe is None:
            self.start()
        else:
            self.world.agenda.after(PATIENCE_S, self._impatient, self.pipe)

    def _impatient(self, pipe: Pipe) -> None:
        if pipe is self.pipe and not pipe.lost:
            raise Violation(f"a client with the manner {self._manner!r} was neither closed nor sent away")

    def opened(self) -> None:
        """The connection stands."""
        assert self.pipe is not None
        match self._manner:
            case "no http":
                self.pipe.send(self.rng.randbytes(50))
            case "half a request":
                self.pipe.send(websocket.REQUEST[:60])
            case "silent":
                pass
            case _:
                self.pipe.send(websocket.REQUEST)

    def data(self, data: bytes) -> None:
        """Bytes came."""
        was_up = self._framer.upgraded
        try:
            messages = self._framer.feed(data)
        except websocket.BadServer:
            return  # refused at the door
        if self._framer.upgraded and not was_up:
            self._misbehave()
        for opcode, payload in messages:
            if opcode == BINARY:
                got = _decode(payload)
                self.world.say(self.name, self._manner, got)
                if got["t"] != "error":
                    raise Violation(f"a client with the manner {self._manner!r} was told {got}")
            elif opcode == CLOSE:
                self.world.say(self.name, self._manner, "closed", int.from_bytes(payload[:2], "big"), payload[2:])

    def _misbehave(self) -> None:
        assert self.pipe is not None
        rng, send = self.rng, self.pipe.send
        match self._manner:
            case "garbage":
                for _ in range(3):
                    send(frame(BINARY, rng.randbytes(rng.randrange(40)), rng))
            case "text":
                send(frame(TEXT, b'{"t":"hello"}', rng))
            case "no hello":
                send(frame(BINARY, _encode({"t": "ping", "id": 1}), rng))
            case "bad hello":
                send(frame(BINARY, _encode({"t": "hello", "id": 1, "token": "", "device": 5}), rng))
            case "huge":
                send(frame(BINARY, bytes(70_000), rng))
            case "unmasked":
                send(b"\x82\x05hello")
            case "fragments":
                for _ in range(50):
                    send(frame(0, b"more", rng, final=False))

    def ended(self) -> None:
        """The connection is over."""
        self.pipe = None
        self.start()
