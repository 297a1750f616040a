"""Bugs to plant, one at a time, so that a world that finds nothing means something.

Each is what somebody might well write, or what the first version of such a server gets wrong (docs/hazards.md names
most of them). They are patched in from here; the product has no switch for any. tests/test_simulate.py holds that each
is found within 200 seeds.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import msgspec

from konnect_server.bus import Bus
from konnect_server.connection import LOST, Connection
from konnect_server.conversation import Acting, Conversation, Posting
from konnect_server.receipts import Spread
from konnect_server.registry import Registry
from konnect_server.session import Session
from konnect_server.walk import Walk
from konnect_server.writer import Writer
from protocol import codec
from protocol.errors import Unavailable
from protocol.frames import Entry, Joined, LinkJoin, Privacy, RoomJoin
from storage.errors import StorageUnavailable
from storage.rows import (
    Acted,
    Answer,
    Appendix,
    NewMessage,
    PersonalPage,
    Raise,
    Raised,
    Rules,
    Seen,
    Span,
    Standing,
)
from tests.simulate import actions, functions, links, members, messages, personal, privacy
from tests.simulate.database import Body, FakeDatabase, LinkRow, Stored, Tables, Transaction
from tests.simulate.store import FakeStore

Patch = tuple[object, str, object]
PLANTS: Final[dict[str, tuple[str, Callable[[], Sequence[Patch]]]]] = {}


def plant(meaning: str) -> Callable[[Callable[[], Sequence[Patch]]], Callable[[], Sequence[Patch]]]:
    """Register a bug under its function's name."""

    def register(make: Callable[[], Sequence[Patch]]) -> Callable[[], Sequence[Patch]]:
        PLANTS[make.__name__] = meaning, make
        return make

    return register


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Inside the block the product has the bug *name*; None: none."""
    with ExitStack() as stack:
        if name is not None:
            for target, attribute, replacement in PLANTS[name][1]():
                stack.enter_context(patch.object(target, attribute, replacement))
        yield


# --- storage ----------------------------------------------------------------------------------------------------------


@plant("the store answers before the commit (A1)")
def answer_before_commit() -> Sequence[Patch]:
    original = FakeDatabase._computed

    def computed(self: FakeDatabase, transaction: Transaction[Any]) -> None:
        transaction.call.succeed(transaction.value)
        original(self, transaction)

    return [(FakeDatabase, "_computed", computed)]


@plant("an append does not look whether the key is stored")
def forget_keys() -> Sequence[Patch]:
    def nothing(tables: Tables, name: functions.Name) -> Stored | None:
        return None

    return [(functions, "known", nothing)]


@plant("an append reads before it waits for the lock (A2)")
def read_before_the_lock() -> Sequence[Patch]:
    original = functions.append_messages

    def append(db: FakeDatabase, messages: Sequence[NewMessage], heads: Mapping[Any, int]) -> Body[Appendix]:
        body = original(db, messages, heads)
        locks = next(body)
        try:
            next(body)
        except StopIteration as end:
            yield locks
            return end.value  # type: ignore[no-any-return]  # the body's own
        raise AssertionError("an append takes its locks at once")

    return [(functions, "append_messages", append)]


@plant("an append asks for the membership first, then for the key (A11)")
def membership_before_the_key() -> Sequence[Patch]:
    original = functions.known

    def known(tables: Tables, name: functions.Name) -> Stored | None:
        return original(tables, name) if tables.span(name[0], name[1]) is not None else None

    return [(functions, "known", known)]


@plant("an action that changes nothing does not keep its key (A11)")
def forget_what_was_settled() -> Sequence[Patch]:
    original = messages.settle_action

    def settle(*arguments: Any) -> tuple[Acted, Callable[[], None]]:
        return original(*arguments)[0], lambda: None

    return [(messages, "settle_action", settle)]


@plant("an edit, a deletion or a reaction is an entry, and the message's row stays as it was (C5)")
def leave_the_row() -> Sequence[Patch]:
    return [(Tables, "rewrite", lambda self, entry: None)]


# --- the writer -------------------------------------------------------------------------------------------------------


@plant("after an unknown outcome the batch goes in again under new keys")
def resend_with_new_keys() -> Sequence[Patch]:
    original = Writer._append

    async def append(self: Writer, batches: Any) -> None:
        tried = False
        store_append = self._store.append

        async def again(lane: int, messages: Sequence[NewMessage], heads: Mapping[Any, int]) -> Appendix:
            nonlocal tried
            if tried:
                messages = [msgspec.structs.replace(m, key=m.key + "+") for m in messages]
            tried = True
            return await store_append(lane, messages, heads)

        with patch.object(self._store, "append", again):
            await original(self, batches)

    return [(Writer, "_append", append)]


@plant("after an unknown outcome the log is read instead of the batch sent again (A7)")
def read_instead_of_resend() -> Sequence[Patch]:
    original = Writer._append

    async def append(self: Writer, batches: Any) -> None:
        store = self._store
        store_append = store.append

        async def once(lane: int, messages: Sequence[NewMessage], heads: Mapping[Any, int]) -> Appendix:
            try:
                return await store_append(lane, messages, heads)
            except StorageUnavailable:
                answers = []
                for message in messages:
                    log = await store.log_after(lane, message.conversation, 0, 10_000)
                    found = [e for e in log if (e.author, e.key) == (message.author, message.key)]
                    seq, at_ms = (found[0].seq, found[0].at_ms) if found else (None, None)
                    answers.append(Answer(False, False, seq, at_ms))
                return Appendix(answers, [])

        with patch.object(store, "append", once):
            await original(self, batches)

    return [(Writer, "_append", append)]


@plant("after an unknown outcome the batch is forgotten")
def forget_the_batch() -> Sequence[Patch]:
    async def append(self: Writer, batches: Any) -> None:
        heads = {conversation.id: conversation.head for conversation, _ in batches if conversation.head is not None}
        messages = [
            NewMessage(conversation.id, one.author, one.key, one.text, one.content)
            for conversation, ones in batches
            for one in ones
        ]
        try:
            outcome = await self._store.append(self._lane, messages, heads)
        except StorageUnavailable:
            for conversation, _ in batches:
                self._contain(conversation, conversation._done)
        else:
            self._hand_back(batches, outcome)

    return [(Writer, "_append", append)]


# --- conversations ----------------------------------------------------------------------------------------------------


@plant("the answer goes out before the entry (A4)")
def answer_before_the_entry() -> Sequence[Patch]:
    original = Conversation._follow

    def follow(self: Conversation, others: Any, own: Any, answers: Sequence[tuple[Any, bytes]], due: int) -> None:
        for reader, data in answers:
            reader.push(data)
        original(self, others, own, [], due)

    return [(Conversation, "_follow", follow)]


@plant("one's own entries are delivered without what others stored before them (A3)")
def forget_what_was_missed() -> Sequence[Patch]:
    original = Conversation._follow

    def follow(self: Conversation, others: Sequence[Entry], own: Sequence[Entry], answers: Any, due: int) -> None:
        if own and self.head is not None:
            self.head = own[0].seq - 1
        original(self, [] if own else others, own, answers, due)

    return [(Conversation, "_follow", follow)]


@plant("who was given pages ahead of this process is live at once (A9)")
def forget_the_pages_end() -> Sequence[Patch]:
    def attach(self: Conversation, reader: Any, through: int) -> None:
        self._walking.pop(reader, None)
        self._live[reader] = reader.push

    return [(Conversation, "attach", attach)]


@plant("the head is what a newcomer read, not what was delivered (A5)")
def head_from_the_log() -> Sequence[Patch]:
    original = Conversation.walk

    def walk(self: Conversation, reader: Any, last_seq: int) -> None:
        original(self, reader, last_seq)
        self.head = max(self.head or 0, last_seq)

    return [(Conversation, "walk", walk)]


@plant("who was removed goes on listening")
def ignore_removals() -> Sequence[Patch]:
    original = Conversation._membership

    def membership(self: Conversation, entry: Entry) -> None:
        if entry.kind not in ("member.removed", "member.banned"):
            original(self, entry)

    return [(Conversation, "_membership", membership)]


@plant("storage that does not answer is answered with an error, and the next message overtakes (A8)")
def error_instead_of_close() -> Sequence[Patch]:
    def gave_up(self: Conversation, pieces: Sequence[Posting | Acting]) -> None:
        for piece in pieces:
            piece.reader.answer(self.id, codec.error(piece.id, Unavailable("storage does not answer")))
        self._done()

    return [(Conversation, "gave_up", gave_up)]


@plant("a conversation that nobody needs stays in memory")
def keep_idle_conversations() -> Sequence[Patch]:
    return [(Registry, "idle", lambda self, conversation: None)]


# --- coming back ------------------------------------------------------------------------------------------------------


@plant("live frames are sent while the pages are on their way")
def deliver_before_the_page() -> Sequence[Patch]:
    def hold(self: Walk, conversation: Any, seq: int, data: bytes) -> None:
        self._walker.push(data)

    return [(Walk, "hold", hold)]


@plant("what was held during the last page is forgotten at the switch")
def forget_what_was_held() -> Sequence[Patch]:
    original = Walk._finish

    def finish(self: Walk, *arguments: Any) -> None:
        self._held = []
        original(self, *arguments)

    return [(Walk, "_finish", finish)]


@plant("a restored database is not noticed (A12)")
def ignore_the_lineage() -> Sequence[Patch]:
    original = Walk._plan

    def plan(self: Walk, standing: Standing) -> Any:
        return original(self, msgspec.structs.replace(standing, known=True))

    return [(Walk, "_plan", plan)]


@plant("a membership that began and ended while one was away, or between two looks, is not told (C4)")
def forget_who_came_and_went() -> Sequence[Patch]:
    original = Walk._plan_one

    def plan_one(self: Walk, conversation: UUID, spans: Sequence[Span], told: int) -> Iterator[Any]:
        return original(self, conversation, spans, 1 << 60)

    return [(Walk, "_plan_one", plan_one)]


# --- what is one's own ------------------------------------------------------------------------------------------------


@plant("a late repeat of what changed something of one's own is done again (A11)")
def forget_what_was_kept() -> Sequence[Patch]:
    return [(personal, "known", lambda tables, name: None)]


@plant("the cursor of a first start claims rows of one's own that were not told yet (C8)")
def claim_untold_rows() -> Sequence[Patch]:
    def progress(self: Walk) -> str:
        self._rows = max(self._rows, self._told or 0)
        return self._write_cursor(self._told, 0 if self._cursor is None else self._cursor.receipts_ms)

    return [(Walk, "_progress_cursor", progress)]


@plant("what changes one's own is carried out as it comes, a few at a time (C9)")
def keep_in_any_order() -> Sequence[Patch]:
    return [(Session, "read_in_order", Session.read)]


@plant("what changes one's own is answered before the device is told of it")
def answer_before_the_state() -> Sequence[Patch]:
    async def told_up_to(self: Session, number: int) -> None:
        return None

    return [(Session, "told_up_to", told_up_to)]


@plant("a row of one's own that is gone is not told")
def forget_what_is_gone() -> Sequence[Patch]:
    original = personal.personal_rows

    def rows(tables: Tables, person: UUID, above: int, through: int, gone: bool, *rest: int) -> PersonalPage:
        return original(tables, person, above, through, False, *rest)

    return [(personal, "personal_rows", rows)]


# --- rooms and links --------------------------------------------------------------------------------------------------


def _as_it_was(db: FakeDatabase, **tables: Any) -> Any:
    """*db* with these tables as they are now; what else is read, and all that is written, is the database's own."""
    before = copy.copy(db.tables)
    for name, value in tables.items():
        setattr(before, name, value)
    return SimpleNamespace(tables=before, now_ms=db.now_ms)


@plant("who comes by a link is not held against the bans")
def forget_bans_at_the_link() -> Sequence[Patch]:
    return [(links, "barred", lambda tables, conversation, person, at_ms: False)]


@plant("a repeated join counts its person once more")
def count_a_repeat() -> Sequence[Patch]:
    def join(db: FakeDatabase, author: UUID, action: RoomJoin, rules: Rules) -> Body[Acted | functions.Refusal]:
        answer, commit = yield from members.join_room(db, author, action, rules)
        row = db.tables.conversations.get(action.conversation)
        if not isinstance(answer, Acted) or answer.entry is not None or row is None:
            return answer, commit

        def count() -> None:
            row.member_count += 1

        return answer, count

    return [(actions, "ACTIONS", {**actions.ACTIONS, RoomJoin: join})]


@plant("the members of a room are counted before the wait for the lock (A2)")
def count_before_the_lock() -> Sequence[Patch]:
    original = links.join_by_link

    def counted(db: FakeDatabase, place: UUID, body: Body[Any]) -> Body[Any]:
        row = db.tables.conversations[place]
        count = row.member_count + 1
        answer, commit = yield from body
        if commit is None or row.kind == "group":
            return answer, commit

        def store() -> None:
            commit()
            log = db.tables.entries[place]
            if log[-1].kind == "member.added":
                log[-1] = msgspec.structs.replace(log[-1], count=count)

        return answer, store

    def join(db: FakeDatabase, author: UUID, action: RoomJoin, rules: Rules) -> Body[Acted | functions.Refusal]:
        body = members.join_room(db, author, action, rules)
        if action.conversation not in db.tables.conversations:
            return (yield from body)
        return (yield from counted(db, action.conversation, body))

    def join_by_link(
        db: FakeDatabase, person: UUID, command: LinkJoin, rules: Rules
    ) -> Body[Joined | functions.Refusal]:
        row, body = db.tables.links.get(command.code), original(db, person, command, rules)
        return (yield from body) if row is None else (yield from counted(db, row.name[0], body))

    return [(actions, "ACTIONS", {**actions.ACTIONS, RoomJoin: join}), (links, "join_by_link", join_by_link)]


@plant("a link's uses are counted outside the lock (A2)")
def uses_before_the_lock() -> Sequence[Patch]:
    original = links.join_by_link

    def join(db: FakeDatabase, person: UUID, command: LinkJoin, rules: Rules) -> Body[Joined | functions.Refusal]:
        row = db.tables.links.get(command.code)
        old = {} if row is None else {command.code: copy.copy(row)}
        answer, commit = yield from original(_as_it_was(db, links=old), person, command, rules)
        if row is None or commit is None:
            return answer, commit

        def store() -> None:
            commit()
            row.link = old[command.code].link

        return answer, store

    return [(links, "join_by_link", join)]


@plant("a link that was revoked lets in who was on the way")
def revoked_before_the_lock() -> Sequence[Patch]:
    original = links._over

    def over(row: LinkRow, at_ms: int) -> bool:
        return original(LinkRow(row.name, row.link), at_ms)

    return [(links, "_over", over)]


@plant("a request stays when its person has become a member in another way")
def keep_the_request() -> Sequence[Patch]:
    original = functions.begin_span

    def begin(tables: Tables, conversation: UUID, person: UUID, seq: int, at_ms: int) -> None:
        asked = tables.requests.get((conversation, person))
        original(tables, conversation, person, seq, at_ms)
        if asked is not None:
            tables.requests[conversation, person] = asked

    return [(functions, "begin_span", begin), (members, "begin_span", begin), (links, "begin_span", begin)]


@plant("who joined by a link is answered before being told of it")
def answer_before_the_conversation() -> Sequence[Patch]:
    async def told_of(self: Session, conversation: UUID, seq: int = 0) -> None:
        return None

    return [(Session, "told_of", told_of)]


@plant("a process tells how many people a room has when they come, and not when they go")
def forget_who_left_the_room() -> Sequence[Patch]:
    original = FakeStore.publish_rooms

    async def publish(self: FakeStore, node: UUID, people: Mapping[UUID, int]) -> None:
        await original(self, node, {room: count for room, count in people.items() if count})

    return [(FakeStore, "publish_rooms", publish)]


# --- privacy ----------------------------------------------------------------------------------------------------------


@plant("how far one has read is told to those who hide it themselves")
def tell_those_who_hide() -> Sequence[Patch]:
    original = Registry.receipt

    def receipt(self: Registry, spread: Spread) -> None:
        original(self, spread)
        found = self.conversations.get(spread.event.conversation)
        for reader in found.readers() if found is not None and spread.to_all and not spread.hidden else ():
            if reader.user != spread.event.user and not reader.privacy.read_receipts:
                reader.receipt(spread.event.conversation, spread.event.user, codec.wire(spread.event))

    return [(Registry, "receipt", receipt)]


@plant("the process that stores a receipt does not ask whether its person hides reading")
def tell_of_those_who_hide() -> Sequence[Patch]:
    original = functions.move_receipts

    def move(db: FakeDatabase, moves: Sequence[Raise]) -> Body[list[Raised]]:
        raised, commit = yield from original(db, moves)
        return [msgspec.structs.replace(one, hidden=False) for one in raised], commit

    return [(functions, "move_receipts", move)]


@plant("each session goes by what it read itself of its person's switches")
def switches_of_each_session() -> Sequence[Patch]:
    def heed(self: Registry, seat: Any, privacy: Privacy, number: int, unseen: frozenset[UUID] = frozenset()) -> None:
        seat.heed(privacy, unseen)

    return [(Registry, "heed", heed)]


@plant("who hides is shown as online to those who begin to look")
def show_who_hides() -> Sequence[Patch]:
    original = privacy.presences

    def presences(tables: Tables, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        shown = copy.copy(tables)
        shown.privacy = {person: tables.privacy[person]} if person in tables.privacy else {}
        return original(shown, person, users)

    return [(privacy, "presences", presences)]


# --- processes and sockets --------------------------------------------------------------------------------------------


@plant("nobody asks what went on without us, and bells get lost (A5)")
def trust_the_bells() -> Sequence[Patch]:
    async def ask(self: Bus) -> None:
        return None

    return [(Bus, "_ask", ask)]


@plant("a socket that reads on is not called for the frames that are here already (B4)")
def forget_whole_frames() -> Sequence[Patch]:
    def read_on(self: Connection) -> None:
        self._halted = False
        self._watch(self._mask | 1)

    return [(Connection, "_read_on", read_on)]


@plant("what an append's fan-out pushed waits for the next unrelated input (B6)")
def forget_to_flush() -> Sequence[Patch]:
    original = Writer.__init__

    def init(self: Writer, *arguments: Any) -> None:
        original(self, *arguments)
        self._flush = lambda: None

    return [(Writer, "__init__", init)]


@plant("a page that waits for room is not woken")
def forget_who_waits_for_room() -> Sequence[Patch]:
    return [(Session, "writable", lambda self: None)]


@plant("a slow reader is closed in the middle of a fan-out (B7)")
def close_inside_the_fan_out() -> Sequence[Patch]:
    def overflowed(self: Connection) -> None:
        self._state = LOST
        self._drop()
        self._handler.closed(4001, "slow")

    return [(Connection, "overflowed", overflowed)]
