"""Scripted peers of the load generator: one room each, a few lines of each protocol, a fault of the test's choice."""

import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Literal, TypeAlias

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import trio

from bench.processes import Cost

ACCEPT = b"VCUCx0eCwvbuU7KLSJZfGLD8A6o="  # of the generator's key, which never changes
EVERY = 5  # every so many messages the peer does wrong

Fault: TypeAlias = Literal["none", "loses", "doubles", "reorders", "alters", "forgets to answer", "misroutes"]
FAULTS: tuple[Fault, ...] = ("none", "loses", "doubles", "reorders", "alters")


class Wire:
    """A stream that gives whole lines, sizes and WebSocket messages."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream, self._data = stream, b""

    async def until(self, end: bytes) -> bytes:
        """What comes up to and with *end*."""
        while end not in self._data:
            await self._more()
        head, _, self._data = self._data.partition(end)
        return head + end

    async def exactly(self, size: int) -> bytes:
        """The next *size* bytes."""
        while len(self._data) < size:
            await self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def message(self) -> bytes:
        """The next masked message."""
        _, size = await self.exactly(2)
        assert size & 0x80
        size &= 0x7F
        if size == 126:
            size = int.from_bytes(await self.exactly(2), "big")
        mask = await self.exactly(4)
        return bytes(byte ^ mask[at & 3] for at, byte in enumerate(await self.exactly(size)))

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self._data += data


def framed(payload: bytes, opcode: int) -> bytes:
    """One message of a server."""
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + payload


class Peer:
    """What the peers share: who is in the room, and what becomes of a message on its way.

    Members' messages leave through queues, so that a member that is written to by others is never written to twice at
    the same time. Of the connections with the numbers in *refused* (from 0) the even ones are closed at once, the odd
    ones are told that the server is too busy. *piece* bytes are sent at a time.
    """

    opcode: ClassVar[int] = 0  # of a WebSocket; 0: none
    path: ClassVar[bytes] = b""
    subprotocol: ClassVar[bytes] = b""

    def __init__(
        self, fault: Fault = "none", missed: int = 0, refused: tuple[int, ...] = (), piece: int = 1 << 20
    ) -> None:
        self.port, self.piece = 0, piece
        self.fault, self.missed, self.refused = fault, missed, refused
        self.members: dict[trio.MemorySendChannel[bytes], Any] = {}
        self.number = self.connections = 0
        self.held: deque[str] = deque()
        self.deserted = trio.Event()  # the last member has gone

    def cost(self) -> Cost | None:
        """Not asked of a peer in this process."""
        return None

    def on_its_way(self, text: str) -> list[str]:
        """What is delivered when *text* is due: with a fault, now and then something else."""
        self.number += 1
        wrong = self.number % EVERY == EVERY - 1
        if self.fault == "reorders":
            if wrong:
                self.held.append(text)
                return []
            return [text, self.held.popleft()] if self.held else [text]
        if not wrong:
            return [text]
        return {"loses": [], "doubles": [text, text], "alters": ["f" * len(text)]}.get(self.fault, [text])

    def missed_texts(self) -> list[tuple[int, str]]:
        """Number and text of what a client has missed, as it comes to it."""
        self.number = 0
        found = [(n, text) for n in range(1, self.missed + 1) for text in self.on_its_way(f"{n:016x}xxxx")]
        return [(n if self.fault == "alters" else int(text[:16], 16), text) for n, text in found]

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from its begin to its end."""
        number, self.connections = self.connections, self.connections + 1
        if number in self.refused:
            if number % 2:
                await Wire(stream).until(b"\r\n\r\n")
                await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        out, queue = trio.open_memory_channel[bytes](10_000)
        with suppress(EOFError, trio.BrokenResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream, queue)
                try:
                    wire = Wire(stream)
                    if self.opcode:
                        head = await wire.until(b"\r\n\r\n")
                        assert head.startswith(b"GET " + self.path + b" HTTP/1.1\r\n")
                        assert (b"Sec-WebSocket-Protocol: " + self.subprotocol in head) == bool(self.subprotocol)
                        out.send_nowait(
                            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
                        )
                    await self.converse(wire, out)
                except* (EOFError, trio.BrokenResourceError):
                    self.members.pop(out, None)
                    if not self.members:
                        self.deserted.set()
                    nursery.cancel_scope.cancel()

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        """Speak the protocol until EOFError."""
        raise NotImplementedError

    def say(self, out: trio.MemorySendChannel[bytes], payload: bytes | str) -> None:
        """One message to one member."""
        out.send_nowait(framed(payload.encode() if isinstance(payload, str) else payload, self.opcode))

    async def _write(self, stream: trio.SocketStream, queue: trio.MemoryReceiveChannel[bytes]) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in queue:
                for at in range(0, len(data), self.piece):
                    await stream.send_all(data[at : at + self.piece])


@asynccontextmanager
async def open_peer(peer: Peer) -> AsyncIterator[Peer]:
    """*peer*, listening for the length of a block, on the port that it had before, if it had one."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(peer.port, host="127.0.0.1")
        peer.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, peer.serve, [listener])
        yield peer
        nursery.cancel_scope.cancel()


class KonnectPeer(Peer):
    """Konnect, as far as a storm needs it."""

    opcode, path, subprotocol = 2, b"/v1/socket", b"konnect.v1"

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        hello = msgpack.unpackb(await wire.message())
        self._tell(out, t="ok", id=hello["id"], result={})
        if "heads" in hello:
            assert hello["cursor"] == "the cursor"
            ((conversation, head),) = hello["heads"].items()
            for n, text in self.missed_texts():
                where = "another" if self.fault == "misroutes" else conversation
                self._tell(out, t="entry", conversation=where, seq=head + n, kind="message", text=text)
        self._tell(out, t="synced", cursor="the cursor")
        await wire.message()

    def _tell(self, out: trio.MemorySendChannel[bytes], **frame: Any) -> None:
        self.say(out, msgpack.packb(frame))


class SocketIoPeer(Peer):
    """Socket.IO 5 over Engine.IO 4."""

    opcode, path = 1, b"/socket.io/?EIO=4&transport=websocket"

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        self.say(out, '0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
        auth = json.loads((await wire.message()).removeprefix(b"40"))
        if auth["token"] == "bad":
            self.say(out, '44{"message":"unauthorized"}')
        self.say(out, '40{"sid":"y"}')
        for room, head in auth.get("heads", {}).items():
            for n, text in self.missed_texts():
                self._entry(out, "another" if self.fault == "misroutes" else room, head + n, text)
        self.say(out, '42["synced"]')
        self.say(out, "2")
        self.members[out] = None
        ponged = False
        while True:
            packet = (await wire.message()).decode()
            if packet == "3":
                assert not ponged
                ponged = True
                continue
            match = re.fullmatch(r"42(\d+)(\[.*\])", packet)
            assert match is not None
            self._command(out, int(match[1]), *json.loads(match[2]))

    def _command(self, out: trio.MemorySendChannel[bytes], number: int, event: str, value: Any) -> None:
        if event == "ping":
            for text in self.on_its_way(value) if self.fault == "alters" else [value]:
                self.say(out, f"43{number}{json.dumps([text])}")
            return
        assert event == "send"
        assert set(value) == {"room", "key", "text"}
        if value["room"] == "forbidden":
            self.say(out, f'43{number}[{{"error":"not_a_member"}}]')
            return
        if not (self.fault == "forgets to answer" and number == 2):
            self.say(out, f'43{number}[{{"seq":{number + 1},"at_ms":1}}]')
        for text in self.on_its_way(value["text"]):
            for member in self.members:
                self._entry(member, value["room"], number + 1, text)

    def _entry(self, out: trio.MemorySendChannel[bytes], room: str, seq: int, text: str) -> None:
        entry = {"room": room, "seq": seq, "author": "ann", "key": 'k{"[,]', "text": text, "at_ms": 1}
        self.say(out, "42" + json.dumps(["entry", entry], separators=(",", ":")))


class XmppPeer(Peer):
    """XMPP over WebSocket, with one room, stream management and an archive."""

    opcode, path, subprotocol = 1, b"/ws", b"xmpp"
    old = False  # demands a session, as RFC 3921 did

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        async def stanza() -> str:
            return (await wire.message()).decode()

        open_ = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' version='1.0'/>"
        features = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>{}</stream:features>"
        assert (await stanza()).startswith("<open ")
        self.say(out, open_)
        self.say(out, features.format("<mechanisms><mechanism>PLAIN</mechanism></mechanisms>"))
        auth = re.fullmatch(r"<auth [^>]*mechanism='PLAIN'>(.*)</auth>", await stanza())
        assert auth is not None
        _, user, password = base64.b64decode(auth[1]).decode().split("\0")
        if password != "secret":
            self.say(out, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
        self.say(out, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        assert (await stanza()).startswith("<open ")
        self.say(out, open_)
        session = "<session xmlns='s'/>" if self.old else "<session xmlns='s'><optional/></session>"
        self.say(out, features.format(f"<bind xmlns='b'/>{session}<sm xmlns='urn:xmpp:sm:3'/>"))
        assert "<bind " in await stanza()
        self.say(out, f"<iq type='result' id='bind'><bind><jid>{user}@localhost/1</jid></bind></iq>")
        if self.old:
            assert "<session " in await stanza()
            self.say(out, "<iq type='result' id='session'/>")
        self.members[out] = user
        sent = 0  # stanzas that came since stream management was enabled
        while True:
            text = await stanza()
            sent += not text.startswith(("<r ", "<enable "))
            if text.startswith("<enable "):
                self.say(out, "<enabled xmlns='urn:xmpp:sm:3'/>")
                sent = 0
            elif text.startswith("<r "):
                if not (self.fault == "forgets to answer" and sent > 5):
                    self.say(out, f"<a xmlns='urn:xmpp:sm:3' h='{sent}'/>")
            else:
                self._stanza(out, user, text)

    def _stanza(self, out: trio.MemorySendChannel[bytes], user: str, text: str) -> None:
        if text.startswith("<presence") and "muc" in text:
            room = text.split("to='")[1].split("/")[0]
            for status in ("", '<status code="110"/>'):
                self.say(out, f"<presence from='{room}/{user}'><x>{status}</x></presence>")
            self.say(out, f"<message type='groupchat' from='{room}'><subject/></message>")
        elif text.startswith("<presence"):
            self.say(out, f'<presence xmlns="jabber:client" from="{user}@localhost/1" to="{user}@localhost/1"/>')
            self.say(out, "<iq type='get' from='localhost' id='hm'><ping xmlns='urn:xmpp:ping'/></iq>")
        elif "urn:xmpp:mam:2" in text:
            assert f"<max>{self.missed}</max><before/>" in text
            for _, body in self.missed_texts():
                forwarded = f"<forwarded><message type='groupchat'><body>{body}</body></message></forwarded>"
                self.say(
                    out,
                    f"<message to='{user}@localhost/1'><result xmlns='urn:xmpp:mam:2'>{forwarded}</result></message>",
                )
            self.say(out, "<iq type='result' id='archive'><fin xmlns='urn:xmpp:mam:2'/></iq>")
        elif "urn:xmpp:ping" in text:
            number, rest = text.split("id='")[1].split("'")[0].split("-")
            for data in self.on_its_way(rest) if self.fault == "alters" else [rest]:
                self.say(out, f"<iq type='result' from='localhost' id='{number}-{data}'/>")
        elif text.startswith("<message"):
            self._message(user, text)
        else:
            assert text == "<iq xmlns='jabber:client' type='result' id='hm' to='localhost'/>"

    def _message(self, user: str, text: str) -> None:
        to, kind = text.split("to='")[1].split("'")[0], text.split("type='")[1].split("'")[0]
        body = text.split("<body>")[1].split("<")[0]
        for delivered in self.on_its_way(body):
            for member, name in self.members.items():
                if kind == "groupchat" or to == f"{name}@localhost":
                    self.say(
                        member, f"<message type='{kind}' from='{user}@localhost/1'><body>{delivered}</body></message>"
                    )


class OldXmppPeer(XmppPeer):
    """One that demands a session."""

    old = True


class CuriousXmppPeer(XmppPeer):
    """One that asks whether the author is still there between a message and its acknowledgement."""

    def _message(self, user: str, text: str) -> None:
        self.say(
            next(out for out, name in self.members.items() if name == user),
            "<iq type='get' from='localhost' id='hm'><ping xmlns='urn:xmpp:ping'/></iq>",
        )
        super()._message(user, text)


class NatsPeer(Peer):
    """Core NATS."""

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        out.send_nowait(b'INFO {"server_id":"x","max_payload":1048576}\r\n')
        subject = b""
        while True:
            words = (await wire.until(b"\r\n")).split()
            match words[0]:
                case b"CONNECT":
                    options = json.loads(b" ".join(words[1:]))
                    if options.get("auth_token") == "bad":
                        out.send_nowait(b"-ERR 'Authorization Violation'\r\n")
                case b"SUB":
                    subject = words[1]
                    self.members[out] = subject
                case b"PING":
                    out.send_nowait(b"PONG\r\nPING\r\n")
                case b"PUB":
                    assert words[1] == subject
                    payload = (await wire.exactly(int(words[2]) + 2)).removesuffix(b"\r\n").decode()
                    for text in self.on_its_way(payload):
                        for member in self.members:
                            member.send_nowait(b"MSG %b 1 %d\r\n%b\r\n" % (subject, len(text), text.encode()))
                case word:
                    assert word == b"PONG"


class BarePeer(Peer):
    """The bare reference, bench/peers/bare.c."""

    opcode, path = 2, b"/"

    async def converse(self, wire: Wire, out: trio.MemorySendChannel[bytes]) -> None:
        assert await wire.message() == b"room"
        self.members[out] = None
        self.say(out, b"synced")
        while True:
            message = (await wire.message()).decode()
            for text in self.on_its_way(message[1:]):
                for member in self.members if message[0] == "m" else [out]:
                    self.say(member, message[0] + text)
