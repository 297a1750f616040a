"""Small honest stand-ins for the neighbours that a room names, for tests of one room alone.

Each does what its protocol says and remembers what it was told; none of them pretends that something happened.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import msgpack  # type: ignore[import-untyped]

from konnect_server.conversation import Acting, Conversation, Posting, Reader
from protocol import closing
from protocol.frames import ConversationAdd, ConversationLeave, ConversationRemove, Entry, EntryKind, Privacy
from storage.rows import Answer
from storage.store import Change

Frame = dict[str, Any]


def uid(number: int) -> UUID:
    """A UUIDv7 that is easy to read and sorts as its number does."""
    return UUID(int=(0x01987654_3210_7000_8000 << 48) + number)


ANN, BOB, CID, DAN, EVE = people = [uid(n) for n in range(1, 6)]
ROOM, HALL, PAIR = uid(101), uid(102), uid(103)


def unwire(data: bytes) -> Iterator[Frame]:
    """The frames in *data* (unmasked WebSocket messages), read as a client's MessagePack library reads them."""
    at = 0
    while at < len(data):
        assert data[at] == 0x82, "a whole binary message"
        size, at = data[at + 1], at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        yield msgpack.unpackb(data[at : at + size])
        at += size


def entry(
    seq: int, kind: EntryKind = "message", author: UUID = ANN, *, user: UUID | None = None, key: str = ""
) -> Entry:
    """An entry of ROOM's log."""
    more: dict[str, Any] = {"text": f"text {seq}"} if kind == "message" else {"user": user}
    return Entry(conversation=ROOM, seq=seq, kind=kind, author=author, key=key or f"k{seq}", at_ms=seq, **more)


def stored(seq: int) -> Answer:
    """Storage's answer to a message that this very call stored."""
    return Answer(new=True, reused=False, seq=seq, at_ms=seq)


def found(seq: int) -> Answer:
    """Storage's answer to a key that stood already."""
    return Answer(new=False, reused=False, seq=seq, at_ms=seq)


def changing(
    reader: Reader, number: int, author: UUID, key: str, change: Change, user: UUID, conversation: UUID = ROOM
) -> Acting:
    """A membership change on its way into the log, as command *number*."""
    match change:
        case "add":
            return Acting(reader, author, ConversationAdd(id=number, conversation=conversation, key=key, user=user))
        case "remove":
            return Acting(reader, author, ConversationRemove(id=number, conversation=conversation, key=key, user=user))
    return Acting(reader, author, ConversationLeave(id=number, conversation=conversation, key=key))


class FakeReader:
    """A session, as conversations, the registry and presence see it. Pushes are kept as frames, in their order."""

    def __init__(self, user: UUID, device: str = "phone", session: int = 1) -> None:
        self.user, self.device, self.id = user, device, uid(1000 + session)
        self.sign_in = uid(2000)
        self.number: int | None = 0
        self.frames: list[Frame] = []
        self.given: list[bytes] = []  # the very objects
        self.held: list[int] = []
        self.left: list[tuple[UUID, int]] = []
        self.looks = self.cursors = self.resumed = 0
        self.ended: closing.Close | None = None
        self.slow = False
        self.privacy = Privacy()
        self.unseen: frozenset[UUID] = frozenset()

    def push(self, data: bytes) -> None:
        self.given.append(data)
        self.frames += unwire(data)

    def push_droppable(self, data: bytes) -> None:
        if not self.slow:
            self.push(data)

    def hold(self, conversation: UUID, seq: int, data: bytes) -> None:
        self.held.append(seq)

    def lost(self, conversation: UUID, seq: int) -> None:
        self.left.append((conversation, seq))

    def heed(self, privacy: Privacy, unseen: frozenset[UUID] = frozenset()) -> None:
        self.privacy, self.unseen = privacy, unseen

    def receipt(self, conversation: UUID, user: UUID, data: bytes) -> None:
        self.push(data)

    def answer(self, conversation: UUID, data: bytes) -> None:
        self.push(data)

    def go_on(self) -> None:
        self.resumed += 1

    def look(self) -> None:
        self.looks += 1

    def tell_cursor(self) -> None:
        self.cursors += 1

    def sign_out(self) -> None:
        self.close(closing.SIGNED_OUT)

    def close(self, close: closing.Close) -> None:
        self.ended = self.ended or close

    @property
    def seqs(self) -> list[int]:
        """The entries it was given."""
        return [frame["seq"] for frame in self.frames if frame["t"] == "entry"]

    @property
    def story(self) -> list[str]:
        """What it was given, in short: ``entry 5``, ``ok 1``, ``error 2 not_a_member``."""
        return [_short(frame) for frame in self.frames]


def _short(frame: Frame) -> str:
    match frame["t"]:
        case "entry":
            return f"entry {frame['seq']}"
        case "ok":
            return f"ok {frame['id']}"
        case "error":
            return f"error {frame['id']} {frame['code']}"
    return str(frame["t"])


class FakeWork:
    """A writer that does nothing by itself: the test takes the pieces of work and brings what came of them."""

    def __init__(self) -> None:
        self.pieces: deque[Sequence[Posting] | Acting | None] = deque()  # None: a stretch of log to read

    def append(self, conversation: Conversation, postings: Sequence[Posting]) -> None:
        self.pieces.append(postings)

    def act(self, conversation: Conversation, acting: Acting) -> None:
        self.pieces.append(acting)

    def catch_up(self, conversation: Conversation) -> None:
        self.pieces.append(None)

    def take_postings(self) -> Sequence[Posting]:
        """The one piece of work, which must be an append."""
        [piece] = self.pieces
        assert isinstance(piece, Sequence)
        self.pieces.clear()
        return piece

    def take_acting(self) -> Acting:
        """The one piece of work, which must be an action."""
        [piece] = self.pieces
        assert isinstance(piece, Acting)
        self.pieces.clear()
        return piece

    def take_read(self) -> None:
        """The one piece of work, which must be reading the log."""
        assert list(self.pieces) == [None]
        self.pieces.clear()


class FakeHouse:
    """The rest of the house, as one conversation sees it."""

    def __init__(self) -> None:
        self.sessions: list[FakeReader] = []
        self.rung: list[tuple[UUID, int]] = []
        self.came: list[UUID] = []
        self.altered_here: list[UUID] = []
        self.parts: list[tuple[UUID, list[UUID]]] = []
        self.rested = 0

    def joined(self, conversation: UUID, user: UUID) -> None:
        self.came.append(user)

    def sessions_of(self, user: UUID) -> Iterable[Reader]:
        return [one for one in self.sessions if one.user == user]

    def parted(self, user: UUID, others: Sequence[Reader]) -> None:
        self.parts.append((user, [one.user for one in others]))

    def altered(self, conversation: UUID) -> None:
        self.altered_here.append(conversation)

    def stored(self, conversation: UUID, seq: int) -> None:
        self.rung.append((conversation, seq))

    def idle(self, conversation: Conversation) -> None:
        self.rested += 1


def counted(start: int = 10_000) -> Callable[[], UUID]:
    """A source of new ids: one after the other."""
    numbers = iter(range(start, 1 << 40))
    return lambda: uid(next(numbers))
