"""The fake ``Store``: one server process's handle on a shared :class:`FakeDatabase`, with faults on the way.

It answers as ``storage.postgres_store`` does (tests/test_store_contract.py holds both to it), and fails in all the ways
a database behind a network can. Killing the handle is what the death of its process does: nobody hears the answers any
more, and each transaction in flight commits later or is rolled back.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

from protocol import limits
from protocol.errors import (
    AlreadyAMember,
    Banned,
    ConversationFull,
    Forbidden,
    KeyReused,
    NotAMember,
    UnknownUser,
    WrongKind,
)
from protocol.frames import (
    AnyPersonal,
    Bans,
    Conversations,
    ConversationState,
    Entry,
    Found,
    History,
    HistoryPage,
    Invitation,
    Joined,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    MessageSchedule,
    MessageScheduled,
    Privacy,
    PrivacySet,
    Reactions,
    Readers,
    ScheduledPage,
    Search,
    Threads,
    Unread,
    User,
    Versions,
    Votes,
)
from storage import (
    actions,
    page_cursor,
    personal as commands,
    scheduled as scheduled_rows,
)
from storage.actions import Deed
from storage.rows import (
    Acted,
    Appendix,
    Changed,
    Kept,
    Made,
    MemberPage,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    PersonalPage,
    Raise,
    Raised,
    Range,
    RequestPage,
    RoomPage,
    Rules,
    Seen,
    Standing,
    State,
    shown,
)
from storage.scheduled import Due, Filed
from storage.store import PLAIN, Change
from tests.simulate import (
    actions as fake_actions,
    functions,
    links,
    members,
    messages,
    personal,
    polls,
    privacy,
    rooms,
    scheduled,
    search,
    threads,
)
from tests.simulate.database import Body, Call, FakeDatabase, Tables, Transaction
from tests.simulate.faults import Faults, Plan
from tests.simulate.functions import Refusal

T = TypeVar("T")

TIMEOUT_S: Final = 5.0  # a caller waits no longer than this
ALIVE_MS: Final = 5_000  # a process that beat within this is there
DEAD_MS: Final = 15_000  # one that has not within this is dead


class FakeStore:
    """What one process sees of the database. ``kill`` it with its process; a restarted one gets a new handle."""

    def __init__(self, database: FakeDatabase, faults: Faults | None = None) -> None:
        self.database = database
        self.faults = faults or Faults()
        self.dead = False
        self._lanes: set[int] = set()
        self._live: list[Transaction[Any]] = []

    def kill(self, rng: Random) -> None:
        """The process is gone. What it had in flight goes on without it, or is rolled back."""
        self.dead = True
        for transaction in self._live:
            if not transaction.ended and rng.random() < 0.5:
                self.database.abort(transaction, "the client went away")
        self._live.clear()

    # --- Writing ---

    async def append(self, lane: int, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Appendix:
        """See :meth:`storage.store.Store.append`."""
        return await self._on_lane(lane, lambda db: functions.append_messages(db, messages, heads))

    async def act(self, lane: int, author: UUID, action: Deed, rules: Rules) -> Acted:
        """See :meth:`storage.store.Store.act`."""
        if isinstance(action, actions.MEMBERSHIP):
            return await actions.change_member(self, lane, author, action, rules)
        body = fake_actions.ACTIONS[type(action)]
        answer = await self._on_lane(lane, lambda db: body(db, author, action, rules))
        if isinstance(answer, Refusal):
            raise actions.refusal(answer.code, author, action, answer.missing, answer.retry_after_ms, answer.seq)
        return answer

    async def change_member(
        self, lane: int, change: Change, conversation: UUID, author: UUID, key: str, user: UUID, most: int,
        room_most: int | None = None,
    ) -> Changed:  # fmt: skip
        """See :meth:`storage.store.Store.change_member`."""
        answer = await self._on_lane(
            lane, lambda db: functions.change_member(db, change, conversation, author, key, user, most, room_most)
        )
        if isinstance(answer, Refusal):
            _refuse(answer, conversation=conversation, key=key, user=user, most=most)
        return answer

    async def create_group(
        self, new_id: UUID, author: UUID, key: str, title: str, history: History, members: Sequence[UUID], most: int,
        more: NewKind = PLAIN,
    ) -> Made:  # fmt: skip
        """See :meth:`storage.store.Store.create_group`."""
        answer = await self._write(
            lambda db: functions.create_group(db, new_id, author, key, title, history, members, most, more)
        )
        if isinstance(answer, Refusal):
            _refuse(answer, conversation=new_id, key=key, most=most)
        return answer

    async def open_direct(self, new_id: UUID, author: UUID, user: UUID) -> Made:
        """See :meth:`storage.store.Store.open_direct`."""
        answer = await self._write(lambda db: functions.open_direct(db, new_id, author, user))
        if isinstance(answer, Refusal):
            _refuse(answer, conversation=new_id, user=user)
        return answer

    async def keep(self, person: UUID, command: AnyPersonal, rules: Rules) -> Kept:
        """See :meth:`storage.store.Store.keep`."""
        body = personal.COMMANDS[type(command)]
        answer = await self._write(lambda db: body(db, person, command, rules))
        if isinstance(answer, personal.No):
            raise commands.refusal(answer.code, answer.missing or person, answer.seq, command)
        return answer

    async def schedule(self, new_id: UUID, author: UUID, command: MessageSchedule) -> Filed:
        """See :meth:`storage.store.Store.schedule`."""
        answer = await self._write(lambda db: scheduled.schedule_message(db, new_id, author, command))
        if isinstance(answer, Refusal):
            raise scheduled_rows.refusal(answer.code, author, command.conversation, command.key, missing=answer.missing)
        return answer

    async def unschedule(self, author: UUID, scheduled_id: UUID) -> int:
        """See :meth:`storage.store.Store.unschedule`."""
        answer = await self._write(lambda db: scheduled.unschedule_message(db, author, scheduled_id))
        if isinstance(answer, Refusal):
            raise scheduled_rows.refusal(answer.code, author, scheduled_id, "", scheduled_id)
        return answer

    async def take_due(self, limit: int, lease_s: float) -> Due:
        """See :meth:`storage.store.Store.take_due`."""
        return await self._write(lambda db: scheduled.take_due(db, limit, int(lease_s * 1000)))

    async def raise_receipts(self, moves: Sequence[Raise]) -> list[Raised]:
        """See :meth:`storage.store.Store.raise_receipts`."""
        return await self._write(lambda db: functions.move_receipts(db, moves))

    async def add_lineage(self, lineage: UUID) -> None:
        """See :meth:`storage.store.Store.add_lineage`."""
        await self._write(lambda db: _statement(lambda: db.tables.lineages.setdefault(lineage)))

    async def beat(self, node: UUID) -> list[UUID]:
        """See :meth:`storage.store.Store.beat`."""

        def body(db: FakeDatabase) -> Body[list[UUID]]:
            now = db.now_ms()
            others = [one for one, at_ms in db.tables.nodes.items() if one != node and now - at_ms < ALIVE_MS]
            yield []

            def commit() -> None:
                db.tables.nodes[node] = now
                for dead, at_ms in list(db.tables.nodes.items()):
                    if now - at_ms > DEAD_MS:
                        privacy.clear_seats(db.tables, dead, at_ms)
                        rooms.forget(db.tables, dead)

            return others, commit

        return await self._write(body)

    async def leave(self, node: UUID) -> None:
        """See :meth:`storage.store.Store.leave`."""

        def effect(db: FakeDatabase) -> None:
            privacy.clear_seats(db.tables, node, db.now_ms())
            rooms.forget(db.tables, node)

        await self._write(lambda db: _statement(lambda: effect(db)))

    async def create_link(self, author: UUID, command: LinkCreate, rules: Rules) -> Link:
        """See :meth:`storage.store.Store.create_link`."""
        answer = await self._write(lambda db: links.create_link(db, author, command, rules))
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, author, command.conversation, command.key)
        return answer

    async def revoke_link(self, author: UUID, command: LinkRevoke) -> None:
        """See :meth:`storage.store.Store.revoke_link`."""
        answer = await self._write(lambda db: links.revoke_link(db, author, command))
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, author, command.conversation, command.key)

    async def join_by_link(self, person: UUID, command: LinkJoin, rules: Rules) -> Joined:
        """See :meth:`storage.store.Store.join_by_link`."""
        answer = await self._write(lambda db: links.join_by_link(db, person, command, rules))
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, person, answer.missing, command.key)
        return answer

    async def publish_rooms(self, node: UUID, people: Mapping[UUID, int]) -> None:
        """See :meth:`storage.store.Store.publish_rooms`."""
        await self._write(lambda db: rooms.publish_rooms(db, node, people))

    # --- Reading ---

    async def log_after(self, lane: int, conversation: UUID, head: int, limit: int) -> list[Entry]:
        """See :meth:`storage.store.Store.log_after`."""
        with self._lane(lane):
            return await self._read(lambda db: functions.log_after(db.tables, conversation, head, limit))

    async def standing(
        self, person: UUID, lineage: UUID | None, told: int = 0, known: int | None = None
    ) -> Standing:
        """See :meth:`storage.store.Store.standing`."""
        return await self._read(lambda db: functions.standing(db.tables, db.now_ms(), person, lineage, told, known))

    async def personal(
        self, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
    ) -> PersonalPage:
        """See :meth:`storage.store.Store.personal`."""
        return await self._read(
            lambda db: personal.personal_rows(db.tables, person, above, through, gone, limit, size_bytes)
        )

    async def first_standing(self, person: UUID, recent: int, most: int) -> Standing:
        """See :meth:`storage.store.Store.first_standing`."""
        return await self._read(lambda db: functions.first_standing(db.tables, db.now_ms(), person, recent, most))

    async def states(self, person: UUID, conversations: Sequence[UUID], recent: int) -> list[State]:
        """See :meth:`storage.store.Store.states`."""
        return await self._read(lambda db: functions.conversation_states(db.tables, person, conversations, recent))

    async def visible(self, person: UUID, ranges: Sequence[Range], size_bytes: int) -> Page:
        """See :meth:`storage.store.Store.visible`."""
        return await self._read(lambda db: functions.visible_entries(db.tables, person, ranges, size_bytes))

    async def stretches(self, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
        """See :meth:`storage.store.Store.stretches`."""
        return await self._read(lambda db: functions.log_stretches(db.tables, ranges, size_bytes))

    async def history(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> HistoryPage:
        """See :meth:`storage.store.Store.history`."""
        answer = await self._read(
            lambda db: functions.history_page(db.tables, person, conversation, before, limit, limits.PAGE_BYTES)
        )
        if isinstance(answer, Refusal):
            raise NotAMember(person, conversation)
        return answer

    async def around(self, person: UUID, conversation: UUID, at: int, older: int, newer: int) -> HistoryPage:
        """See :meth:`storage.store.Store.around`."""
        answer = await self._read(
            lambda db: functions.history_around(db.tables, person, conversation, at, older, newer, limits.PAGE_BYTES)
        )
        if isinstance(answer, Refusal):
            raise NotAMember(person, conversation)
        return answer

    async def search(self, person: UUID, query: Search, languages: Sequence[str]) -> Found:
        """See :meth:`storage.store.Store.search`."""
        answer = await self._read(
            lambda db: search.search_messages(db.tables, person, query, limits.SEARCH_RANKED)
        )
        if isinstance(answer, Refusal):
            assert query.conversation is not None
            raise NotAMember(person, query.conversation)
        return answer

    async def edits(self, person: UUID, conversation: UUID, seq: int, after: int) -> Versions:
        """See :meth:`storage.store.Store.edits`."""
        answer = await self._read(
            lambda db: messages.message_edits(
                db.tables, person, conversation, seq, after, limits.VERSIONS_PAGE, limits.PAGE_BYTES
            )
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, seq)
        return answer

    async def reactions(
        self, person: UUID, conversation: UUID, seq: int, emoji: str | None, cursor: str | None, limit: int
    ) -> Reactions:
        """See :meth:`storage.store.Store.reactions`."""
        after = page_cursor.REACTIONS.place_of(cursor)
        answer = await self._read(
            lambda db: messages.message_reactions(db.tables, person, conversation, seq, emoji, after, limit)
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, seq)
        found, more = answer
        return Reactions(found, page_cursor.REACTIONS.text_of((found[-1].emoji, found[-1].seq)) if more else None)

    async def votes(self, person: UUID, conversation: UUID, seq: int, after: int, limit: int) -> Votes:
        """See :meth:`storage.store.Store.votes`."""
        answer = await self._read(lambda db: polls.poll_voters(db.tables, person, conversation, seq, after, limit))
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, seq)
        return answer

    async def threads(self, person: UUID, conversation: UUID, cursor: str | None, limit: int) -> Threads:
        """See :meth:`storage.store.Store.threads`."""
        (below,) = page_cursor.THREADS.place_of(cursor)
        answer = await self._read(
            lambda db: threads.conversation_threads(db.tables, person, conversation, below, limit)
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, 0)
        found, more = answer
        return Threads(found, page_cursor.THREADS.text_of((found[-1].replies.last_seq,)) if more else None)

    async def thread(
        self, person: UUID, conversation: UUID, seq: int, before: int | None, limit: int
    ) -> HistoryPage:
        """See :meth:`storage.store.Store.thread`."""
        answer = await self._read(
            lambda db: threads.thread_page(db.tables, person, conversation, seq, before, limit, limits.PAGE_BYTES)
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, seq)
        return answer

    async def scheduled(self, author: UUID, command: MessageScheduled) -> ScheduledPage:
        """See :meth:`storage.store.Store.scheduled`."""
        after = page_cursor.SCHEDULED.place_of(command.cursor)
        return await self._read(
            lambda db: scheduled.scheduled_messages(
                db.tables, author, command.conversation, after, command.limit, limits.PAGE_BYTES
            )
        )

    async def bans(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> Bans:
        """See :meth:`storage.store.Store.bans`."""
        below = limits.SEQ_MAX if before is None else before
        answer = await self._read(
            lambda db: members.member_bans(db.tables, db.now_ms(), person, conversation, below, limit)
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, 0)
        return answer

    async def links(self, person: UUID, conversation: UUID) -> list[Link]:
        """See :meth:`storage.store.Store.links`."""
        answer = await self._read(lambda db: links.conversation_links(db.tables, person, conversation))
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, person, conversation)
        return answer

    async def preview_link(self, person: UUID, code: str) -> Invitation:
        """See :meth:`storage.store.Store.preview_link`."""
        answer = await self._read(lambda db: links.preview_link(db.tables, db.now_ms(), person, code))
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, person, None)
        return answer

    async def requests(self, person: UUID, conversation: UUID, after: tuple[int, UUID], limit: int) -> RequestPage:
        """See :meth:`storage.store.Store.requests`."""
        answer = await self._read(
            lambda db: links.join_requests(db.tables, db.now_ms(), person, conversation, after, limit)
        )
        if isinstance(answer, Refusal):
            raise actions.link_refusal(answer.code, person, conversation)
        return answer

    async def members(self, person: UUID, conversation: UUID, after: tuple[int, int], limit: int) -> MemberPage:
        """See :meth:`storage.store.Store.members`."""
        answer = await self._read(lambda db: rooms.member_page(db.tables, person, conversation, after, limit))
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, 0)
        return answer

    async def rooms(
        self, person: UUID, query: str | None, tags: Sequence[str], after: tuple[int, int, UUID], limit: int
    ) -> RoomPage:
        """See :meth:`storage.store.Store.rooms`."""
        return await self._read(
            lambda db: rooms.room_list(db.tables, db.now_ms(), person, query, tags, after, limit)
        )

    async def readers(self, person: UUID, conversation: UUID, seq: int, cursor: str | None, limit: int) -> Readers:
        """See :meth:`storage.store.Store.readers`."""
        (after,) = page_cursor.READERS.place_of(cursor)
        answer = await self._read(
            lambda db: messages.message_readers(db.tables, person, conversation, seq, after, limit)
        )
        if isinstance(answer, Refusal):
            raise actions.reading_refusal(answer.code, person, conversation, seq)
        found, more = answer
        return Readers(found, page_cursor.READERS.text_of((found[-1].user,)) if more else None)

    async def listing(self, person: UUID, cursor: str | None, limit: int) -> Conversations:
        """See :meth:`storage.store.Store.listing`."""
        below = page_cursor.LISTING.place_of(cursor)
        return await self._read(lambda db: _listing(db, person, below, limit))

    async def set_privacy(self, person: UUID, command: PrivacySet) -> int:
        """See :meth:`storage.store.Store.set_privacy`."""
        answer = await self._write(lambda db: privacy.set_privacy(db, person, command))
        if isinstance(answer, Refusal):
            _refuse(answer, conversation=person, key=command.key, user=person)
        return answer

    async def privacy(self, person: UUID) -> Privacy:
        """See :meth:`storage.store.Store.privacy`."""
        return await self._read(lambda db: db.tables.privacy.get(person, Privacy()))

    async def presences(self, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        """See :meth:`storage.store.Store.presences`."""
        return await self._read(lambda db: privacy.presences(db.tables, person, users))

    async def take_seats(self, node: UUID, came: Sequence[UUID], went: Mapping[UUID, int]) -> None:
        """See :meth:`storage.store.Store.take_seats`."""
        await self._write(lambda db: privacy.take_seats(db, node, came, went))

    async def unread_total(self, person: UUID) -> Unread:
        """See :meth:`storage.store.Store.unread_total`."""
        return await self._read(lambda db: functions.unread_total(db.tables, db.now_ms(), person))

    async def receipts_since(self, person: UUID, since_ms: int) -> list[OthersReceipt]:
        """See :meth:`storage.store.Store.receipts_since`."""
        return await self._read(lambda db: functions.receipts_since(db.tables, person, since_ms))

    async def moved(self, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
        """See :meth:`storage.store.Store.moved`."""
        return await self._read(lambda db: functions.moved(db.tables, heads, numbers))

    async def users(self, person: UUID, ids: Sequence[UUID]) -> list[User]:
        """See :meth:`storage.store.Store.users`."""
        return await self._read(
            lambda db: [User(p, db.tables.accounts[p].name) for p in dict.fromkeys(ids) if p in db.tables.accounts]
        )

    # --- On the way ---

    async def _on_lane(self, lane: int, body: Callable[[FakeDatabase], Body[T]]) -> T:
        with self._lane(lane):
            return await self._write(body)

    def _lane(self, lane: int) -> "_Lane":
        return _Lane(self._lanes, lane)

    async def _write(self, body: Callable[[FakeDatabase], Body[T]]) -> T:
        plan = self.faults.draw(write=True)
        database, call = self.database, Call[T]()
        if self.dead or plan.fate == "before":
            database.agenda.after(plan.before_s, call.fail, "no connection")
        else:
            transaction = database.begin(body(database), plan, call)
            if not transaction.ended:
                self._live.append(transaction)
                if len(self._live) > 32:
                    self._live = [one for one in self._live if not one.ended]
            database.give_up_on(call, TIMEOUT_S)
        return await call.wait()

    async def _read(self, function: Callable[[FakeDatabase], T]) -> T:
        plan = self.faults.draw(write=False)
        call = Call[T]()
        if plan.before_s:
            self.database.agenda.after(plan.before_s, self._snapshot, function, plan, call)
        else:
            self._snapshot(function, plan, call)
        return await call.wait()

    def _snapshot(self, function: Callable[[FakeDatabase], T], plan: Plan, call: Call[T]) -> None:
        agenda = self.database.agenda
        if self.dead or plan.fate == "before":
            call.fail("no connection")
        elif plan.fate != "well":
            agenda.after(plan.answer_s, call.fail, "the connection was lost")
        elif plan.answer_s:
            agenda.after(plan.answer_s, call.succeed, function(self.database))
        else:
            call.succeed(function(self.database))


class _Lane:
    """One of the dedicated connections, which serve one caller at a time."""

    def __init__(self, busy: set[int], lane: int) -> None:
        self._busy = busy
        self._lane = lane

    def __enter__(self) -> None:
        if self._lane in self._busy:
            raise AssertionError(f"lane {self._lane} has two callers at once")
        self._busy.add(self._lane)

    def __exit__(self, *exc: object) -> None:
        self._busy.remove(self._lane)


def _statement(effect: Callable[[], object]) -> Body[None]:
    """One plain statement that needs no lock."""
    yield []

    def commit() -> None:
        effect()

    return None, commit


def _refuse(
    refusal: Refusal, *, conversation: UUID, key: str = "", user: UUID | None = None, most: int = 0
) -> NoReturn:
    """The error that a code of the SQL functions stands for."""
    match refusal.code:
        case "not_a_member":
            assert refusal.missing is not None
            raise NotAMember(refusal.missing, conversation)
        case "already_a_member":
            assert user is not None
            raise AlreadyAMember(user, conversation)
        case "unknown_user":
            missing = refusal.missing or user
            assert missing is not None
            raise UnknownUser(missing)
        case "key_reused":
            raise KeyReused(key)
        case "wrong_kind":
            raise WrongKind("a direct conversation has its two members for ever")
        case "forbidden":
            raise Forbidden("only the owner may remove somebody else")
        case "banned":
            raise Banned("the person is banned from this conversation")
        case "conversation_full":
            raise ConversationFull(f"a group has at most {most} members")
    raise AssertionError(refusal)


def _listing(db: FakeDatabase, person: UUID, below: tuple[int, UUID], limit: int) -> Conversations:
    tables = db.tables
    places = sorted(
        (
            (tables.conversations[one].active_at_ms, one)
            for one in tables.joined.get(person, {})
            if tables.span(one, person) is not None and (tables.conversations[one].active_at_ms, one) < below
        ),
        reverse=True,
    )
    page = places[:limit]
    states = functions.conversation_states(tables, person, [one for _, one in page], 1)
    last = [entry for state in states if (entry := _last_message(tables, person, state)) is not None]
    more = len(places) > limit
    views = [shown(state, ConversationState) for state in states]
    return Conversations(views, page_cursor.LISTING.text_of(page[-1]) if more else None, last)


def _last_message(tables: Tables, person: UUID, state: State) -> Entry | None:
    """What a list shows of it: the last message that is in no thread and not hidden, where that is not the last entry
    and there is one near the end."""
    span = tables.span(state.conversation, person)
    if span is None:
        return None
    hidden = tables.hidden.get((person, state.conversation), ())
    near = tables.entries[state.conversation][span.since - 1 : state.head][: -limits.PREVIEW - 1 : -1]
    shown = (one for one in near if one.kind == "message" and threads.root_of(one) is None and one.seq not in hidden)
    last = next(shown, None)
    return None if last is None or last.seq == state.head else last
