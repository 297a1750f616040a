"""Keeps one conversation in order: what waits -> one append -> encode once -> deliver.

An actor without a task of its own. It is always in one of two states: *idle*, or *busy* with exactly one piece of
work that it gave to its writer (a batch to append, an action, a stretch of log to read). The writer's task
does the work, together with that of many other conversations in one commit, and calls back; the call delivers,
answers, and hands over the next piece. So all that touches the state are plain calls: nothing can interrupt a fan-out,
and an idle conversation is a small object. (docs/decisions/0001: what this saves against a task per conversation.)

Whoever listens here is a *reader*: a session. ``live`` readers get what is delivered; ``walking`` ones are still being
brought up to date by pages and are only told that something went by; ``ahead`` ones were given pages beyond what this
process has delivered and join the live ones when delivery has passed that point (docs/hazards.md, A9).

``head`` is what was delivered *here*. It is never taken from the conversation's newest entry, or an entry that another
process stored meanwhile would be skipped (A5). It is None until the first walk or append has said where we stand.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, takewhile
from typing import Final, Protocol, cast
from uuid import UUID

from msgspec import UNSET

from protocol import closing, codec
from protocol.errors import ConversationClosed, Forbidden, Invalid, KeyReused, KonnectError, NotAMember, SlowMode
from protocol.frames import Appended, Content, Entry, Privacy
from storage.actions import Deed
from storage.rows import Acted, Answer, Appendix

INBOX_LIMIT: Final = 256  # postings that wait; beyond it the senders' sockets are not read
BATCH_LIMIT: Final = 256  # postings of one conversation in one append
MEMBERSHIP: Final = frozenset({"member.added", "member.removed", "member.banned"})
# After these, what was said before is not to be told any more.
ALTERS: Final = frozenset({"message.edited", "message.deleted", "messages.expired"})


class Author(Protocol):
    """Who posted something and takes the answer: a session, or a call over HTTP. Nothing here waits or raises."""

    def answer(self, conversation: UUID, data: bytes) -> None:
        """Send an answer, not before one's own entries that it speaks of."""

    def go_on(self) -> None:
        """There is room in the inbox again: read the socket."""

    def close(self, close: closing.Close) -> None:
        """End the connection: there will be no answer."""


class Reader(Author, Protocol):
    """A session, as a conversation sees it. None of these calls waits or raises."""

    user: UUID

    @property
    def privacy(self) -> Privacy:
        """The person's switches; all off while they are not known."""

    @property
    def unseen(self) -> frozenset[UUID]:
        """Who is not seen by the person: nothing is told of them but what they write."""

    def push(self, data: bytes) -> None:
        """Send *data* (whole wire frames) to the device."""

    def push_droppable(self, data: bytes) -> None:
        """Send *data*, or forget it when the device is slow."""

    def hold(self, conversation: UUID, seq: int, data: bytes) -> None:
        """While walking: the entry *seq* was delivered to the live readers."""

    def lost(self, conversation: UUID, seq: int) -> None:
        """The reader's person was removed by the entry *seq*; nothing follows."""

    def receipt(self, conversation: UUID, user: UUID, data: bytes) -> None:
        """Send *data*, which tells how far *user* is; not before the conversation is told of."""


class Posting:
    """One message on its way into the log; *content* is what it is beside its text, which may be empty then."""

    __slots__ = ("author", "content", "id", "key", "reader", "text")

    def __init__(
        self, reader: Author, command_id: int, author: UUID, key: str, text: str, content: Content | None = None
    ) -> None:
        self.reader, self.id, self.author, self.key, self.text = reader, command_id, author, key, text
        self.content = content


class Acting:
    """One action on its way into the log: any command that changes the conversation, but a message that needs no look
    at more than its author's membership."""

    __slots__ = ("action", "author", "id", "reader")

    def __init__(self, reader: Author, author: UUID, action: Deed) -> None:
        self.reader, self.id, self.author, self.action = reader, action.id, author, action


class Work(Protocol):
    """The writer, as a conversation sees it: takes one piece of work, and calls back when it is done."""

    def append(self, conversation: "Conversation", postings: Sequence[Posting]) -> None:
        """Store *postings*; then ``appended``, ``refused`` or ``gave_up``."""

    def act(self, conversation: "Conversation", acting: Acting) -> None:
        """Store an action; then ``acted``, ``refused`` or ``gave_up``."""

    def catch_up(self, conversation: "Conversation") -> None:
        """Read the log above the head; then ``caught_up`` or ``gave_up``."""


class House(Protocol):
    """What a conversation tells the rest of the house."""

    def joined(self, conversation: UUID, user: UUID) -> None:
        """*user* became a member: the person's sessions here look."""

    def sessions_of(self, user: UUID) -> Iterable[Reader]:
        """The person's sessions in this process."""

    def parted(self, user: UUID, others: Sequence[Reader]) -> None:
        """*user* is no member any more; *others* listen here."""

    def altered(self, conversation: UUID) -> None:
        """Messages that were delivered before read otherwise now."""

    def stored(self, conversation: UUID, seq: int) -> None:
        """We stored up to *seq*: ring the other processes."""

    def idle(self, conversation: "Conversation") -> None:
        """Nobody listens and nothing waits."""


class Conversation:
    """One conversation's order in this process."""

    __slots__ = (
        "_ahead", "_busy", "_due", "_house", "_inbox", "_live", "_owed", "_rung", "_under_way", "_waiting",
        "_walking", "_work", "head", "id",
    )  # fmt: skip

    def __init__(self, conversation: UUID, work: Work, house: House) -> None:
        self.id = conversation
        self.head: int | None = None
        self._work, self._house = work, house
        self._live: dict[Reader, Callable[[bytes], None]] = {}  # -> its push: the fan-out's inner loop looks nothing up
        self._ahead: dict[Reader, int] = {}  # -> the last seq it was given by pages
        self._walking: dict[Reader, int] = {}  # -> the log's end as it read it
        self._inbox: list[Posting | Acting] = []  # short; a deque takes 760 bytes even when it is empty, as most are
        self._waiting: dict[Author, None] = {}  # whose socket is not read until the inbox has room
        self._busy = False
        self._under_way: Sequence[Posting | Acting] = ()  # what the writer has of us
        self._rung = 0  # the highest seq that somebody said exists
        self._owed: list[tuple[Author, bytes]] = []  # answers that wait until delivery has reached ...
        self._due = 0  # ... this seq

    # --- readers ---

    def walk(self, reader: Reader, last_seq: int) -> None:
        """*reader* is being brought up to date; *last_seq* is the log's end as it last read it, its person a member
        then: it has heard of every removal up to there, and of the return after it."""
        self._walking[reader] = last_seq
        if self.head is None:
            self.head = last_seq  # nobody was delivered anything here, and this reader's pages cover all up to it

    def attach(self, reader: Reader, through: int) -> None:
        """*reader* has everything up to *through* and is live from there."""
        self._walking.pop(reader, None)
        if self.head is None or through > self.head:
            self._ahead[reader] = through
            self.ring(through)
        else:
            self._live[reader] = reader.push

    def detach(self, reader: Reader) -> None:
        """*reader* is gone, or no longer a member. If it waits for room in the inbox, it still does."""
        self._live.pop(reader, None)
        self._ahead.pop(reader, None)
        self._walking.pop(reader, None)
        self._rest()

    def position(self, reader: Reader) -> int:
        """Up to where *reader*, who listens, has everything."""
        return self._ahead.get(reader, self.head or 0)

    def readers(self) -> list[Reader]:
        """All who listen, in any way."""
        return [*self._live, *self._ahead, *self._walking]

    @property
    def live(self) -> Iterable[Reader]:
        """Those who hear what passes now."""
        return chain(self._live, self._ahead)

    # --- work coming in ---

    def post(self, piece: Posting | Acting) -> bool:
        """Queue *piece*. False when the inbox is full with it: the caller's socket is not read until ``go_on``."""
        self._inbox.append(piece)
        if not self._busy:
            self._next()
        if len(self._inbox) < INBOX_LIMIT:
            return True
        self._waiting[piece.reader] = None
        return False

    def has_room(self, author: Author) -> bool:
        """Whether a piece may come now; if not, ``go_on`` tells *author* when to ask again."""
        if len(self._inbox) < INBOX_LIMIT:
            return True
        self._waiting[author] = None
        return False

    def ring(self, seq: int) -> None:
        """Somebody says that the log has reached *seq*."""
        self._rung = max(self._rung, seq)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if self._inbox:
            self._busy = True
            first = self._inbox[0]
            if isinstance(first, Acting):
                self._under_way = [self._inbox.pop(0)]
                self._work.act(self, first)
            else:
                batch = cast(list[Posting], list(islice(takewhile(_is_posting, self._inbox), BATCH_LIMIT)))
                del self._inbox[: len(batch)]
                self._under_way = batch
                self._work.append(self, batch)
            self._let_go_on()
        elif self.head is not None and self._rung > self.head:
            self._busy = True
            self._work.catch_up(self)

    def _let_go_on(self) -> None:
        if self._waiting and len(self._inbox) < INBOX_LIMIT:
            waiting, self._waiting = self._waiting, {}
            for reader in waiting:
                reader.go_on()

    def _done(self) -> None:
        self._busy = False
        self._under_way = ()
        self._next()
        self._rest()

    def _rest(self) -> None:
        if not (self._busy or self._inbox or self._live or self._ahead or self._walking):
            self._house.idle(self)

    # --- work coming back; called by the writer, no await between commit and last push ---

    def appended(self, postings: Sequence[Posting], outcome: Appendix) -> None:
        """*postings* were committed, or answered from what stood already."""
        own: list[Entry] = []
        answers: list[tuple[Author, bytes]] = []
        due = 0
        for posting, answer in zip(postings, outcome.answers, strict=True):
            if answer.refused:
                data = codec.error(posting.id, Invalid("this text cannot be stored"))
            elif answer.error is not None:
                data = codec.error(posting.id, _held_back(answer))
            elif answer.seq is None or answer.at_ms is None:
                data = codec.error(posting.id, NotAMember(posting.author, self.id))
            elif answer.reused:
                data = codec.error(posting.id, KeyReused(posting.key))
            else:
                data = codec.ok(posting.id, Appended(answer.seq, answer.at_ms))
                due = max(due, answer.seq)
                if answer.new:
                    own.append(Entry(conversation=self.id, seq=answer.seq, kind="message", author=posting.author,
                                     key=posting.key, at_ms=answer.at_ms, text=posting.text or UNSET,
                                     content=posting.content or UNSET,
                                     expires_at_ms=answer.expires_at_ms or UNSET))  # fmt: skip
            answers.append((posting.reader, data))
        self._follow(outcome.missed, own, answers, due)

    def acted(self, acting: Acting, outcome: Acted) -> None:
        """An action was committed, or answered from what stood already."""
        own = [] if outcome.entry is None else [outcome.entry]
        ok = codec.ok(acting.id, Appended(outcome.seq, outcome.at_ms))
        self._follow([], own, [(acting.reader, ok)], outcome.seq)

    def refused(self, pieces: Sequence[Posting | Acting], problem: KonnectError) -> None:
        """Storage can never take these; nothing was stored."""
        for piece in pieces:
            piece.reader.answer(self.id, codec.error(piece.id, problem))
        self._done()

    def caught_up(self, entries: Sequence[Entry]) -> None:
        """The log above the head, as far as one read goes."""
        if not entries and self.head is not None:
            self._rung = self.head  # a bell for what never came to be
            for reader, _ in self._owed:
                reader.close(closing.BEHIND)  # an answer for what is gone: the database is not the one that gave it
            self._owed.clear()
        self._follow(entries, [], [], 0)

    def crash(self) -> None:
        """A bug of ours stopped this actor. What was delivered to whom is not certain now, so everybody comes back."""
        askers = [piece.reader for piece in (*self._under_way, *self._inbox)] + [reader for reader, _ in self._owed]
        for reader in dict.fromkeys([*self.readers(), *askers, *self._waiting]):
            reader.close(closing.BEHIND)

    def gave_up(self, pieces: Sequence[Posting | Acting]) -> None:
        """Storage did not answer for long. The outcome is unknown, and an error answer could be overtaken by the same
        author's next message; so the authors' sockets close, what else they had queued here is forgotten, and their
        clients repeat everything unanswered in order (docs/hazards.md, A8)."""
        gone = {piece.reader: None for piece in pieces} | {reader: None for reader, _ in self._owed}
        self._owed.clear()
        for reader in gone:
            reader.close(closing.UNAVAILABLE)
        self._inbox = [piece for piece in self._inbox if piece.reader not in gone]
        self._busy = False
        self._under_way = ()
        self._let_go_on()
        if self._inbox:
            self._next()
        # Otherwise what was rung for waits for the next sweep: to read at once would spin while storage is away.
        self._rest()

    # --- delivery ---

    def _follow(
        self, others: Sequence[Entry], own: Sequence[Entry], answers: Sequence[tuple[Author, bytes]], due: int
    ) -> None:
        """Deliver what others stored and then our own, give the answers, which speak of entries up to *due*, go on.

        When another process is further ahead than one append tells, or the entries were stored by a call whose answer
        was lost, what lies between is read first; the answers wait, for an ``ok`` must not overtake an ``entry``."""
        if own or due > (self.head or 0):
            self._due = due
            self._house.stored(self.id, due)
        self._owed += answers
        if self._deliver([*others, *own]):
            owed, self._owed = self._owed, []
            for reader, data in owed:
                reader.answer(self.id, data)
            self._done()
        else:
            self._work.catch_up(self)

    def _deliver(self, entries: Sequence[Entry]) -> bool:
        """Deliver what follows the head without a gap. False when an owed answer speaks of something further on."""
        if any(entry.kind in ALTERS for entry in entries):
            self._house.altered(self.id)  # before anybody hears of it
        if self.head is None:  # nobody has ever listened here
            for entry in entries:
                self.head = entry.seq
                if entry.kind in MEMBERSHIP:
                    self._membership(entry)
            return True
        frames: list[bytes] = []
        for entry in entries:
            if entry.seq <= self.head + len(frames):
                continue
            if entry.seq > self.head + len(frames) + 1:
                break
            frames.append(codec.entry(entry))
            if entry.kind in MEMBERSHIP:
                self._spread(frames)
                frames = []
                self._membership(entry)
        if frames:
            self._spread(frames)
        return not self._owed or self.head >= self._due

    def _spread(self, frames: Sequence[bytes]) -> None:
        """Give *frames*, the entries after the head, to every reader: the same bytes object for all. Readers' calls
        only mark and append; nobody joins or leaves while this runs."""
        first = (self.head or 0) + 1
        self.head = last = first + len(frames) - 1
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        for push in self._live.values():
            push(data)
        for reader, through in list(self._ahead.items()):
            if last > through:
                reader.push(b"".join(frames[max(through - first + 1, 0) :]))
            if last >= through:
                del self._ahead[reader]
                self._live[reader] = reader.push
        for reader in self._walking:
            for seq, frame in enumerate(frames, first):
                reader.hold(self.id, seq, frame)

    def _membership(self, entry: Entry) -> None:
        if not isinstance(entry.user, UUID):
            return
        if entry.kind == "member.added":
            self._house.joined(self.id, entry.user)
            return
        self._house.parted(entry.user, self.readers())
        for reader in self._house.sessions_of(entry.user):
            if reader not in self._live:
                knows = self._ahead.get(reader, self._walking.get(reader))
                if knows is not None and knows >= entry.seq:  # has come back since, and was read so
                    continue  # (who does not listen yet is told: what it is about to read may be older than this entry)
            self._live.pop(reader, None)
            self._ahead.pop(reader, None)
            self._walking.pop(reader, None)
            reader.lost(self.id, entry.seq)


def _is_posting(piece: Posting | Acting) -> bool:
    return isinstance(piece, Posting)


def _held_back(answer: Answer) -> KonnectError:
    """Why a member may not write now."""
    if answer.error == "slow_mode":
        return SlowMode(answer.retry_after_ms)
    if answer.error == "conversation_closed":
        return ConversationClosed("you two may not write to each other now")
    return Forbidden("only its owner and admins write in a channel")
