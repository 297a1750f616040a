"""Brings one session up to date, and again whenever the person's own rows change: the one path for a first start, a
resume after any gap, and being added to a conversation while connected.

The walk reads where the person stands, registers with every conversation concerned (from then on each tells that
something went by, but sends nothing), and pages what lies above the client's heads, stopping while the outbox is full.
Nothing live is kept meanwhile, however long that takes. Only for the last short stretch are live frames held, bounded;
then, in one turn without an await, the held ones are sent, every conversation goes live, and the client is told
``synced``. (docs/hazards.md: A9, A10, B1.)
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, takewhile
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog
import trio

from konnect_server import cursor as cursors
from konnect_server.announce import as_of, present
from konnect_server.conversation import Conversation
from konnect_server.cursor import Cursor
from konnect_server.passed import Receipt
from konnect_server.registry import Registry, Seat
from konnect_server.stretches import STRETCH_ENTRIES, Stretches
from protocol import codec
from protocol.closing import UNAUTHORIZED, UNAVAILABLE
from protocol.codec import wire
from protocol.frames import (
    CursorEvent,
    Entry,
    PresenceEvent,
    Privacy,
    Progress,
    ReceiptEvent,
    Rewound,
    Synced,
)
from protocol.limits import PAGE_BYTES
from storage.errand import Errand, by_task, still_wanted
from storage.errors import StorageUnavailable
from storage.rows import OthersReceipt, Range, Span, Standing, State
from storage.store import Store

PAGE_ENTRIES: Final = 500  # entries one page asks for at most
PAGE_ROWS: Final = 500  # the same of the person's own rows
STRETCHES_AT_ONCE: Final = 64  # short ranges read together: about two pages
STATES_AT_ONCE: Final = 50  # states read in one query, fewer where each brings many entries
FIRST_STATES: Final = 50  # the same, of those that come with the standing of a first start
HELD_BYTES: Final = 262_144  # live frames kept during the last stretch; beyond it another page comes first
OVERLAP_MS: Final = 60_000  # receipts are sent again from this much before: they only rise, so repeats do no harm
GIVE_UP_S: Final = 10.0
RETRY_S: Final = 0.25
REMOVALS: Final = frozenset({"member.removed", "member.banned"})  # entries after which their `user` is no member
RECEIPTS_AT_ONCE: Final = 500  # pushed before the outbox is looked at again: about 64 KiB

log = structlog.get_logger("konnect.walk")
T = TypeVar("T")


class Walker(Seat, Protocol):
    """A session, as its walk sees it."""

    def greet(self) -> None:
        """Answer the hello now, if that was not done: the first push does it, too."""

    def flush(self) -> None:
        """Let what was pushed leave now."""

    async def room(self) -> None:
        """Wait until the outbox has room for a page."""

    def online(self, partners: Sequence[UUID]) -> list[UUID]:
        """Follow these people's presence; those who are online now."""

    def hold_answers(self, waiting: int) -> None:
        """So many answers wait for the walk: read the socket or not."""


class _Target:
    """A conversation on its way to being live for this session."""

    __slots__ = ("conversation", "joined", "last", "receipts", "through")

    def __init__(self, conversation: Conversation | None, joined: int, through: int, *, told: bool) -> None:
        self.conversation = conversation  # None: the person has left it, only its past is missing
        self.joined = joined  # the entry that began the newest membership, as far as was read
        self.through = through  # everything up to here was sent, or may not be seen
        self.last: int | None = None  # the person's removal, after which nothing follows
        # Receipts that passed before the client was told of the conversation, the newest of each member; None: it was.
        self.receipts: dict[UUID, bytes] | None = None if told else {}


class _Tell:
    """A step of the plan: tell the state of a conversation; *head* None: as it stands, else as the start of a span."""

    __slots__ = ("conversation", "head")

    def __init__(self, conversation: UUID, head: int | None) -> None:
        self.conversation, self.head = conversation, head


class Walk:
    """One session's way to being up to date: an errand, at most one at a time."""

    # Every session keeps its walk: with a dictionary of so many attributes, which no two objects share any more, it was
    # the largest part of an idle person.
    __slots__ = (
        "_afresh", "_again", "_answers", "_begun", "_cursor", "_errand", "_heads", "_heeded", "_held", "_held_bytes",
        "_left", "_lineage", "_passed", "_planned", "_receipts_ms", "_recent", "_registry", "_reopened", "_resuming",
        "_rows", "_settled", "_stale", "_states", "_stopped", "_store", "_stretches", "_targets", "_told", "_unseen",
        "_unsure", "_walker", "attached", "large", "number", "partners", "synced",
    )  # fmt: skip

    def __init__(
        self, walker: Walker, store: Store, registry: Registry, lineage: Callable[[], UUID],
        heads: Mapping[str, int], cursor: Cursor | None, recent: int, stretches: Stretches,
    ) -> None:  # fmt: skip
        """*heads*, *cursor*, *recent*: as the client's hello said. *lineage*: this server's newest."""
        self._walker, self._store, self._registry, self._lineage = walker, store, registry, lineage
        self._stretches = stretches
        self._heads, self._cursor, self._recent = heads, cursor, recent
        self._resuming = bool(heads) or cursor is not None
        self.attached: dict[UUID, Conversation] = {}
        self.number: int | None = None  # the person's number up to which this session was told
        self.synced = False
        self._receipts_ms = 0  # database time; others' receipts written before it were sent
        self.large: dict[UUID, None] = {}  # conversations with so many members that typing is not told there
        self.partners: dict[UUID, bool] = {}  # of direct conversations -> followed
        self._left: dict[UUID, int] = {}  # conversations that were told and then left -> the client's head there
        self._targets: dict[UUID, _Target] = {}
        self._told = None if cursor is None else cursor.number  # the same on the way there; None: a first start
        self._rows = 0 if cursor is None else cursor.rows  # the same of the rows of table personal
        self._afresh = cursor is None  # nothing was ever told of these: what is gone need not be
        self._reopened = False  # the person sees how far others have read, and did not before
        self._unseen: frozenset[UUID] = frozenset()  # the same of who is not seen
        self._heeded: Privacy | None = None  # the switches by which this walk went last
        self._unsure = False  # the standing was asked for with a number that means nothing
        self._held: list[tuple[UUID, int, bytes]] | None = None
        self._held_bytes = 0
        self._answers: list[bytes] = []
        self._stale = False  # something happened that a standing on its way to us may not tell of
        self._again = True
        self._planned = False  # a standing was read
        self._passed = 0  # how many receipts had passed in this process when that was asked for
        self._states: dict[UUID, State] = {}  # that came with it, yet to be told
        self._begun = False  # the client holds a cursor of this server
        self._settled: trio.Event | None = None  # somebody waits for it
        self._errand: Errand | None = None  # while it is under way
        self._stopped = False

    # --- plain calls, from the session and from conversations ---

    def look(self) -> None:
        """The person's own rows changed: walk, unless a walk that has yet to look is under way."""
        self._again = True
        self.start()

    def start(self) -> None:
        """Set out if it is not under way; not after :meth:`stop`."""
        if self._errand is None and not self._stopped:
            self._errand = self._registry.errand(self._walker.close, self._run)

    async def settle(self) -> None:
        """Look, and wait until the session is up to date."""
        self.look()
        if self._settled is None:
            self._settled = trio.Event()
        await self._settled.wait()

    async def told_of(self, conversation: UUID, seq: int = 0) -> None:
        """Wait until the client was told of *conversation*, and of its entry *seq*, by which the person joined.
        Attached, and not told of that: by a membership that ended before, of which this process has yet to hear; what
        was missed is read."""
        settled = False
        while True:
            place = self.attached.get(conversation)
            if place is not None:
                head = place.position(self._walker)
                if head >= seq:
                    return
                place.detach(self._walker)
                del self.attached[conversation]
                self._left[conversation], self._stale = head, True
            elif settled:
                return  # removed since
            await self.settle()
            settled = True

    def hold(self, conversation: UUID, seq: int, data: bytes) -> None:
        """A frame went by. Kept only during the last stretch, and only as much as is bounded."""
        if self._held is not None:
            self._held.append((conversation, seq, data))
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BYTES:
                self._held = None

    def lost(self, conversation: UUID, seq: int) -> None:
        """The person was removed by entry *seq*."""
        self._stale = True  # or the conversation would be told as one just joined
        if self.attached.pop(conversation, None) is not None:
            self._left[conversation] = seq
        target = self._targets.get(conversation)
        if target is not None and target.conversation is not None and target.last is None:
            target.last = self._left[conversation] = seq

    def may_hear(self, conversation: UUID) -> bool:
        """False when the person is no member, as far as this session knows; it does not before it is synced."""
        return not self.synced or conversation in self.attached or conversation in self._targets

    def receipt(self, conversation: UUID, user: UUID, data: bytes) -> None:
        """A receipt passed. It goes on at once, or, where the conversation was not told of yet, right after that: the
        state that tells of it may have been read before the receipt was written."""
        target = self._targets.get(conversation)
        if target is None or (target.receipts is None and target.last is None):  # else untold yet, or left
            if self._planned:  # what passes sooner is read later
                self._begin()
                self._walker.push(data)
        elif target.receipts is not None:
            target.receipts[user] = data

    def answer(self, conversation: UUID, data: bytes) -> None:
        """Send an answer; after one's own entry, which a walk may still be about to send."""
        if self._errand is None and conversation in self.attached:
            self._walker.push(data)
            return
        if conversation not in self.attached and conversation not in self._targets:
            self._stale = self._again = True  # perhaps one was added and the bell was lost, or is yet to ring
        self._answers.append(data)
        self._walker.hold_answers(len(self._answers))
        self.start()

    def tell_cursor(self) -> None:
        """The server has a new lineage: let the client's cursor name it, so that a restore of anything older than this
        moment is seen (docs/hazards.md, A12). A walk under way ends with a cursor anyway."""
        if self.synced and self._errand is None:
            self._walker.push(wire(CursorEvent(cursor=self._write_cursor(self.number, self._receipts_ms))))

    def stop(self) -> None:
        """The session is gone."""
        self._stopped = True
        if self._errand is not None:
            self._errand.cancel()
        for target in self._targets.values():
            if target.conversation is not None:
                target.conversation.detach(self._walker)
        for conversation in self.attached.values():
            conversation.detach(self._walker)
        self._targets.clear()
        self.attached.clear()

    # --- the errand ---

    async def _run(self) -> None:
        try:
            while self._again:
                self._again = False
                standing = await self._stand()
                if standing.number is None:
                    self._walker.greet()
                    self._walker.close(UNAUTHORIZED)  # a good token of somebody who is no more
                    break
                self._heed(standing.privacy or Privacy(), standing.number, frozenset(standing.unseen))
                steps = self._plan(standing)
                await self._carry_out(steps)
                await self._receipts()
                await self._personal(standing)
                await self._switch()
                self._finish(standing)
        except StorageUnavailable:
            self._walker.close(UNAVAILABLE)
        finally:
            self._errand = None
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    def _begin(self) -> None:
        """Before the first state, entry or receipt: a cursor that names this server's lineage (A12). It waits for that,
        so that both leave in one send."""
        if not self._begun:
            self._begun = True
            self._walker.push(wire(Progress(cursor=self._progress_cursor())))

    def _heed(self, read: Privacy, number: int, unseen: frozenset[UUID]) -> None:
        """Before anything is told by this standing."""
        self._registry.heed(self._walker, read, number, unseen)
        before, self._heeded = self._heeded, self._walker.privacy
        seen_again, self._unseen = self._unseen - self._walker.unseen, self._walker.unseen
        if before is None:
            return
        if seen_again:
            self.partners |= dict.fromkeys([one for one in self.partners if one in seen_again], False)
        if seen_again or (self._heeded.read_receipts and not before.read_receipts):
            self._reopened = True
        if self._heeded.last_seen != before.last_seen:
            self.partners = dict.fromkeys(self.partners, False)  # who hides follows nobody: ask again

    async def _stand(self) -> Standing:
        """Where the person stands: read after every answer that waits here, and after every removal we know of."""
        while True:
            self._stale = False
            if self._planned or self._resuming:
                standing = await self._insist(
                    lambda: self._store.standing(self._walker.user, self._asked_lineage(), self._rows, self._known())
                )
            else:
                standing = await self._stand_first()
            if not self._stale:
                return standing

    def _known(self) -> int | None:
        """Up to which number the spans need not be read again. Every open one is attached then; where the person was
        removed, a return may be older than that."""
        return self._told if self.synced and not self._left else None

    async def _stand_first(self) -> Standing:
        """The same for a first start, with the states: one question instead of two (docs/decisions/0013)."""
        self._passed = self._registry.passed.count
        most = FIRST_STATES // (1 + self._recent)
        return await self._insist(lambda: self._store.first_standing(self._walker.user, self._recent, most))

    def _asked_lineage(self) -> UUID | None:
        return None if self.synced or self._cursor is None else self._cursor.lineage

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        give_up_at = trio.current_time() + GIVE_UP_S
        while True:
            self._walker.flush()
            try:
                answer = await call()
            except StorageUnavailable as problem:
                self._walker.greet()
                self._walker.flush()
                if trio.current_time() > give_up_at:
                    raise
                log.warning("storage does not answer", problem=str(problem))
                await by_task()
                await trio.sleep(RETRY_S)
            else:
                # It may have come in the very turn in which the session ended: what follows here would register a
                # session with conversations that nobody takes off again.
                await still_wanted()
                return answer

    # --- planning: one turn, no await, so that no conversation moves unseen between the reading and the registering ---

    def _plan(self, standing: Standing) -> deque[Range | _Tell]:
        if standing.same:
            return deque()
        lost = self._cursor is not None and self._rows > (standing.number or 0)
        if not standing.known or lost:  # the cursor comes from a future that a restore undid; its heads may, too
            self._walker.push(wire(Rewound()))
            self._heads, self._cursor, self._told, self._resuming = {}, None, None, False
            self._rows, self._afresh, self._unsure = 0, True, True
        if self._told is None:  # a first start: a membership that ended before it is no news
            self._told = standing.number or 0
        steps: deque[Range | _Tell] = deque()
        for conversation, group in groupby(standing.spans, key=lambda span: span.conversation):
            spans = list(group)
            if spans[-1].large:
                self.large[conversation] = None
            else:
                self.large.pop(conversation, None)
            if spans[-1].partner is not None:
                self.partners.setdefault(spans[-1].partner, False)
            if conversation in self.attached or conversation in self._targets:
                continue
            steps.extend(self._plan_one(conversation, spans, self._told))
        theirs = {str(span.conversation) for span in standing.spans} if self._heads else ()
        for text in self._heads:
            if text not in theirs:  # a place where the person never was: it comes from such a future, too
                self._walker.push(wire(Rewound(conversation=UUID(text))))
        self._heads = {}  # from now on what is not attached is new
        self._planned = True
        self._keep_states(standing.states)
        return steps

    def _keep_states(self, states: Sequence[State]) -> None:
        """Keep *states*, which were read with the standing, and the receipts that passed since then; nobody was
        listening for them. If those are not known any more, the states are asked for again."""
        passed = self._registry.passed.since(self._passed) if states else None
        if passed is None:
            return
        self._states = {state.conversation: state for state in states}
        for receipt in passed:
            if receipt.user in self._walker.unseen:
                continue
            target = self._targets.get(receipt.conversation) if self._concerns(receipt) else None
            told = receipt.told_to(self._walker.user, sees_reading=self._walker.privacy.read_receipts)
            if told and target is not None and target.receipts is not None:
                target.receipts[receipt.user] = told

    def _concerns(self, receipt: Receipt) -> bool:
        return receipt.to_all or receipt.user == self._walker.user

    def _plan_one(self, conversation: UUID, spans: Sequence[Span], told: int) -> Iterator[Range | _Tell]:
        head, newest = self._left.get(conversation), spans[-1]
        if self._heads:
            head = self._heads.get(str(conversation), head)
        if head is not None and head > newest.last_seq:
            self._walker.push(wire(Rewound(conversation=conversation)))
            head, told = None, 0
        if newest.until is not None:
            if head is not None and head >= newest.until:
                self._left[conversation] = head
                return  # nothing of it is missing
            if head is None and newest.number <= told:
                return  # left before, and the client chose to forget it
        self._left.pop(conversation, None)
        live = self._registry.conversation(conversation) if newest.until is None else None
        known = 0 if head is None else head
        target = self._targets[conversation] = _Target(live, newest.joined, known, told=head is not None)
        target.last = newest.until
        if live is not None:
            live.walk(self._walker, newest.last_seq)
        if head is None:
            yield _Tell(conversation, None)
            return
        for span in spans:
            until = newest.last_seq if span.until is None else span.until
            if until <= head:
                continue
            if span.since > head + 1 or (span is not spans[0] and span.joined > head):
                target.receipts = {}  # what is known of it ends with an absence: no receipt before it is told again
                yield _Tell(conversation, span.since - 1)
                head = span.since - 1
            yield Range(conversation, head + 1, until)
            head = until

    # --- carrying out ---

    async def _carry_out(self, steps: deque[Range | _Tell]) -> None:
        while steps:
            first = steps[0]
            if isinstance(first, _Tell):
                await self._tell(steps)
            else:
                ranges = []
                while steps and isinstance(steps[0], Range):
                    ranges.append(steps.popleft())
                await self._planned_pages(ranges)  # type: ignore[arg-type]  # isinstance above

    async def _tell(self, steps: deque[Range | _Tell]) -> None:
        """Tell the states that come first in *steps*; who joins while connected gets the entries from joining on."""
        tells: list[_Tell] = []
        at_once = max(2, STATES_AT_ONCE // (1 + self._recent))
        while steps and len(tells) < at_once and isinstance(steps[0], _Tell):
            tells.append(steps.popleft())  # type: ignore[arg-type]  # isinstance above
        states, self._states = self._states, {}
        ids = [tell.conversation for tell in tells if tell.conversation not in states]
        if ids:
            found = await self._insist(lambda: self._store.states(self._walker.user, ids, self._recent))
            states |= {state.conversation: state for state in found}
        joined: list[Range] = []
        for tell in tells:
            await self._room()  # before each: one with many entries is as large as a page
            state, target = states[tell.conversation], self._targets[tell.conversation]
            if tell.head is not None:
                follows = None
                event = as_of(state, tell.head, tell.head + 1)
                if state.joined == target.joined:  # else there was an absence since: the pages will come to its start
                    self._learn(target, state)
            elif not _as_planned(target, state):
                # Removed, or back, since the plan was made. Nothing was told: begin anew with it when the rest is done.
                target.last = target.last or state.until
                target.through = target.last or 0
                self._again = True
                continue
            else:
                target.joined = state.joined
                self._learn(target, state)
                event, follows = present(state, joining=self.synced)
            self._begin()
            self._walker.push(wire(event))
            receipts, target.receipts = target.receipts or {}, None
            if target.last is None:
                for data in receipts.values():
                    self._walker.push(data)
            target.through = event.head
            if follows is not None:
                joined.append(follows)
        steps.extendleft(reversed(joined))

    def _learn(self, target: _Target, state: State) -> None:
        """*state* was read after the plan was made, and of the same membership."""
        if state.until is not None:
            target.last = state.until
        elif target.conversation is not None and target.last is None:
            target.conversation.walk(self._walker, state.head)  # knows of all removals up to here

    async def _planned_pages(self, ranges: list[Range]) -> None:
        """Send *ranges*, which a standing says that the person may see from end to end: short ones as stretches, which
        are shared with all who have missed the same."""
        while ranges:
            few = list(takewhile(_is_short, ranges[:STRETCHES_AT_ONCE]))
            if not few:
                longer = list(takewhile(lambda one: not _is_short(one), ranges))
                del ranges[: len(longer)]
                await self._pages(longer, progress=True)
                continue
            del ranges[: len(few)]
            rest = []
            for one, stretch in zip(few, await self._insist(partial(self._stretches.read, few)), strict=True):
                await self._room()  # before each: together they may be larger than a page
                if stretch.data:
                    self._begin()
                    self._walker.push(stretch.data)
                self._went_through(one.conversation, stretch.high)
                if stretch.cut:
                    rest.append(Range(one.conversation, stretch.high + 1, one.high))
            ranges[:0] = rest
            if not self.synced:
                self._walker.push(wire(Progress(cursor=self._progress_cursor())))

    def _went_through(self, conversation: UUID, seq: int) -> None:
        target = self._targets.get(conversation)
        if target is not None:
            target.through = max(target.through, seq)

    async def _pages(self, ranges: list[Range], *, progress: bool) -> None:
        """Send what the person may see of *ranges*, page by page."""
        while ranges:
            await self._room()
            part, rest = _first(ranges, PAGE_ENTRIES)
            page = await self._insist(lambda part=part: self._store.visible(self._walker.user, part, PAGE_BYTES))  # type: ignore[misc]
            if page.entries:
                self._begin()
                self._walker.push(b"".join(map(codec.entry, self._up_to_removals(page.entries))))
            if page.cut:
                last = page.entries[-1]
                done, unsent = _after(part, last.conversation, last.seq)
                ranges = unsent + rest
            else:
                done, ranges = part, rest
            for sent in done:
                self._went_through(sent.conversation, sent.high)
            if progress and not self.synced:  # later the newest cursor stands; this one would fall behind it
                self._walker.push(wire(Progress(cursor=self._progress_cursor())))

    def _up_to_removals(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """*entries* without those that follow the person's removal from a conversation that was to go live. The removal
        may lie below what this process ever delivered, so that nobody told of it: its place may have begun with what
        somebody else had read. What follows a return is told by the next look."""
        for entry in entries:
            target = self._targets.get(entry.conversation)
            if target is not None and target.conversation is not None:
                if target.last is not None and entry.seq > target.last:
                    continue
                removed = entry.kind in REMOVALS and entry.user == self._walker.user
                if removed and target.last is None and entry.seq > target.joined:
                    target.last = self._left[entry.conversation] = entry.seq
                    target.conversation.detach(self._walker)
                    self._again = True
            yield entry

    def _progress_cursor(self) -> str:
        """What may be kept half-way: the heads have moved, the person's own rows and the receipts were not all told."""
        return self._write_cursor(self._told, 0 if self._cursor is None else self._cursor.receipts_ms)

    def _write_cursor(self, number: int | None, receipts_ms: int) -> str:
        return cursors.encode(Cursor(self._lineage(), number or 0, receipts_ms, rows=self._rows))

    async def _receipts(self) -> None:
        """Tell others' receipts since the cursor, or all where they were hidden before; a first start has them in the
        states."""
        if not self._reopened and (self.synced or not self._resuming):
            return
        since = 0 if self._cursor is None or self._reopened else max(0, self._cursor.receipts_ms - OVERLAP_MS)
        self._reopened = False
        rows = await self._insist(lambda: self._store.receipts_since(self._walker.user, since))
        for first in range(0, len(rows), RECEIPTS_AT_ONCE):
            await self._room()
            for row in rows[first : first + RECEIPTS_AT_ONCE]:
                target = self._targets.get(row.conversation)  # none, or one that was left: joined since, and its state,
                going = target is not None and target.conversation is not None and target.last is None
                if going or row.conversation in self.attached:  # to come, has them
                    self._begin()
                    self._walker.push(wire(_receipt(row)))

    async def _personal(self, standing: Standing) -> None:
        """Tell the person's own rows up to the standing's number, in the order of their last change: what changes
        meanwhile gets a higher one, and is told by the next look. Where the standing knows of none, none is read."""
        through = standing.number or 0
        more = standing.rows > self._rows or self._unsure
        while more:
            await self._room()
            page = await self._insist(
                lambda: self._store.personal(
                    self._walker.user, self._rows, through, not self._afresh, PAGE_ROWS, PAGE_BYTES
                )
            )
            if page.rows:
                self._begin()
                self._walker.push(b"".join(wire(row.state) for row in page.rows))
                self._rows = page.rows[-1].number
            more = page.cut
            if more and not self.synced:
                self._walker.push(wire(Progress(cursor=self._progress_cursor())))
        self._rows, self._afresh, self._unsure = max(self._rows, through), False, False

    async def _room(self) -> None:
        await self._walker.room()
        await still_wanted()

    # --- the switch: from the last page's answer to `synced` there is no await ---

    async def _switch(self) -> None:
        """Page until little is left, and hold what passes while that is read."""
        while True:
            self._held, self._held_bytes = [], 0
            ranges = [
                Range(conversation, target.through + 1, goal)
                for conversation, target in self._targets.items()
                if (goal := _goal(target)) > target.through
            ]
            if not ranges:
                return
            if sum(r.high - r.low + 1 for r in ranges) > PAGE_ENTRIES:
                self._held = None
            await self._pages(ranges, progress=False)
            if self._held is not None:
                return

    def _finish(self, standing: Standing) -> None:
        self._walker.greet()  # conversations keep hold of `push`, which is another before it
        held, self._held = self._held or [], None
        if held:
            self._begin()
        self._begun = True  # by the cursor below
        for conversation, seq, data in held:
            target = self._targets[conversation]
            if seq > target.through:
                self._walker.push(data)
                target.through = seq
        for conversation, target in self._targets.items():
            if target.last is not None:
                if target.conversation is not None:
                    target.conversation.detach(self._walker)
                if target.receipts is None:
                    self._left[conversation] = target.last  # pages may have gone further, through an absence
                else:
                    self._left.pop(conversation, None)  # it was not told after all
            elif target.conversation is not None:
                self.attached[conversation] = target.conversation
                target.conversation.attach(self._walker, target.through)
        self._targets.clear()
        self.number = self._told = standing.number
        self._receipts_ms = standing.at_ms
        cursor = self._write_cursor(standing.number, standing.at_ms)
        self._walker.push(wire(CursorEvent(cursor=cursor) if self.synced else Synced(cursor=cursor)))
        self.synced = True
        new = [partner for partner, followed in self.partners.items() if not followed]
        self.partners.update(dict.fromkeys(new, True))
        for user in self._walker.online(new):
            self._walker.push_droppable(wire(PresenceEvent(user=user, state="online")))
        if not self._again:
            for data in self._answers:
                self._walker.push(data)
            self._answers.clear()
            self._walker.hold_answers(0)
        self._walker.flush()


def _is_short(one: Range) -> bool:
    return one.high - one.low < STRETCH_ENTRIES


def _receipt(row: OthersReceipt) -> ReceiptEvent:
    return ReceiptEvent(conversation=row.conversation, user=row.user, delivered=row.delivered, read=row.read)


def _goal(target: _Target) -> int:
    """Up to where this target's past must be sent before it can go live, or be left."""
    if target.last is not None:
        return target.last
    if target.conversation is None or target.conversation.head is None:
        return target.through
    return target.conversation.head


def _as_planned(target: _Target, state: State) -> bool:
    """Whether the person is still the member, or no member, that the plan was made for."""
    return state.until == target.last and (state.until is None or target.conversation is None)


def _first(ranges: Sequence[Range], entries: int) -> tuple[list[Range], list[Range]]:
    """*ranges* cut after so many entries: what comes first, and the rest."""
    part: list[Range] = []
    for nth, one in enumerate(ranges):
        size = one.high - one.low + 1
        if size > entries:
            if entries > 0:
                part.append(Range(one.conversation, one.low, one.low + entries - 1))
                one = Range(one.conversation, one.low + entries, one.high)
            return part, [one, *ranges[nth + 1 :]]
        part.append(one)
        entries -= size
    return part, []


def _after(ranges: Sequence[Range], conversation: UUID, seq: int) -> tuple[list[Range], list[Range]]:
    """*ranges* parted after one entry: what lies up to it, and the rest."""
    for nth, one in enumerate(ranges):
        if one.conversation == conversation and one.low <= seq <= one.high:
            done = [*ranges[:nth], Range(conversation, one.low, seq)]
            rest = [Range(conversation, seq + 1, one.high)] if seq < one.high else []
            return done, [*rest, *ranges[nth + 1 :]]
    raise AssertionError("the entry is none of the ranges'")
