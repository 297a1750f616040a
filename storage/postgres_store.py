"""The store on PostgreSQL: each function is one statement, most of them a function of the database's (migrations/0002).

Batches go in as one JSON document and come back as one: 500 rows cost 0.4 ms of our CPU so, 2.1 ms as arrays.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, LiteralString
from uuid import UUID

import msgspec
import trio

from protocol.errors import (
    AlreadyAMember,
    Banned,
    ConversationFull,
    Forbidden,
    KeyReused,
    NotAllowedToWrite,
    NotAMember,
    Refused,
    UnknownUser,
    WrongKind,
)
from protocol.frames import (
    AnyPersonal,
    Ban,
    Bans,
    Content,
    Conversations,
    ConversationState,
    Entry,
    Found,
    History,
    HistoryPage,
    Hit,
    Invitation,
    Joined,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    MessageReader,
    MessageSchedule,
    MessageScheduled,
    OneReaction,
    OneThread,
    OneVote,
    Privacy,
    PrivacySet,
    Reactions,
    Readers,
    Request,
    ScheduledMessage,
    ScheduledPage,
    Search,
    Threads,
    Unread,
    User,
    Version,
    Versions,
    Votes,
)
from protocol.limits import (
    NAMED_MEMBERS,
    PAGE_BYTES,
    PREVIEW,
    SCHEDULED,
    SCHEDULED_AHEAD_MS,
    SEARCH_RANKED,
    SEQ_MAX,
    UNREAD,
    UNREAD_TOTAL,
    VERSIONS_PAGE,
)
from storage import (
    actions,
    page_cursor,
    personal,
    scheduled,
    search_cursor,
    search_query,
    snippets,
)
from storage.actions import Deed
from storage.database import Database, OwnConnection
from storage.errors import StorageConflict
from storage.gather import Gather, Kind
from storage.rows import (
    Acted,
    Answer,
    Appendix,
    Changed,
    Kept,
    Made,
    MemberPage,
    MemberRow,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    Personal,
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

READERS_LOOKED: Final = 500  # cursors looked at for one page of message.readers
ASKING: Final = 3  # connections for the questions of those who come back
# What a first start weighs: with 21 of them in a query, those who come all at once do not all wait for one while this
# process has nothing to do (docs/performance.md, "Sign-ins").
FIRST_WEIGHT: Final = 3
_ENTRIES: Final = 62  # that weigh as much as a question without any: so eight whole pages in one query, no more
_NO_PAGE: Final = Page([], False)
_NO_PERSONAL: Final = PersonalPage([], False)

_encode: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class _Outcome(msgspec.Struct):
    """What a function of the database answers: a refusal, or where things stand."""

    error: str | None = None
    missing: UUID | None = None
    seq: int = 0
    at_ms: int = 0
    new: bool = False
    conversation: UUID | None = None
    owner: UUID | None = None
    count: int | None = None
    number: int = 0


class _ActedOrNot(msgspec.Struct):
    """What a function of an action answers."""

    error: str | None = None
    missing: UUID | None = None
    retry_after_ms: int = 0
    seq: int = 0
    at_ms: int = 0
    entry: Entry | None = None  # of a refusal, seq is the message that it is about


class _KeptOrNot(msgspec.Struct):
    """What a function of a command that changes what is one's own answers."""

    error: str | None = None
    missing: UUID | None = None
    seq: int = 0
    number: int = 0
    new: bool = False


class _Found(msgspec.Struct):
    """What a function that reads about one message, or about threads, answers."""

    error: str | None = None
    versions: list[Version] = []
    reactions: list[OneReaction] = []
    votes: list[OneVote] = []
    mine: list[int] = []
    threads: list[OneThread] = []
    entries: list[Entry] = []
    bans: list[Ban] = []
    readers: list[MessageReader] = []
    more: bool = False
    after: UUID | None = None  # of readers: where the next page begins


class _FoundMembers(msgspec.Struct):
    error: str | None = None
    members: list[MemberRow] = []
    more: bool = False


class _Linked(msgspec.Struct):
    """What a function about links answers."""

    error: str | None = None
    missing: UUID | None = None
    link: Link | None = None
    links: list[Link] = []
    invitation: Invitation | None = None
    conversation: UUID | None = None
    seq: int = 0
    at_ms: int = 0
    requests: list[Request] = []
    more: bool = False
    count: int = 0


class _ScheduledOrNot(msgspec.Struct):
    """What a function about a scheduled message answers."""

    error: str | None = None
    missing: UUID | None = None
    scheduled: UUID | None = None
    at_ms: int = 0
    number: int = 0


class _FoundScheduled(msgspec.Struct):
    scheduled: list[ScheduledMessage]
    more: bool


class _Hit(msgspec.Struct):
    conversation: UUID
    seq: int
    author: UUID
    at_ms: int
    rank: float
    text: str
    marked: list[str]

    def shown(self) -> Hit:
        """As it travels."""
        found = snippets.union(place for one in self.marked for place in snippets.ranges(one))
        snippet, places = snippets.cut(self.text, found)
        return Hit(self.conversation, self.seq, self.author, self.at_ms, snippet, places)


class _Search(msgspec.Struct):
    hits: list[_Hit]
    more: bool
    top: search_cursor.Top | None


class _MovedOne(msgspec.Struct):
    conversation: UUID
    seq: int


class _FoundState(msgspec.Struct):
    q: int  # which of the askers it is for; here and below
    state: State


class _FoundFirst(msgspec.Struct):
    standings: list[Standing]
    states: list[_FoundState]


class _FoundPage(msgspec.Struct):
    q: int
    entries: list[Entry]
    cut: bool


class _FoundPersonal(msgspec.Struct):
    q: int
    rows: list[Personal]
    cut: bool


class _FoundReceipt(msgspec.Struct):
    q: int
    conversation: UUID
    user: UUID
    delivered: int
    read: int


class _Moved(msgspec.Struct):
    conversations: list[_MovedOne]
    people: list[UUID]
    rooms: list[UUID]


class _NewRow(msgspec.Struct, omit_defaults=True):
    i: int  # place of its conversation, from 1
    o: int  # its own within that conversation, from 1
    a: UUID
    k: str
    x: str
    j: Content | None = None


class _Appended(msgspec.Struct):
    tops: list[int]
    at_ms: int
    missed: list[Entry]
    kept: list[int | None] | None = None  # for how many seconds each conversation keeps what was stored


_appendix: Final = msgspec.json.Decoder(Appendix).decode
_outcome: Final = msgspec.json.Decoder(_Outcome).decode
_acted: Final = msgspec.json.Decoder(_ActedOrNot).decode
_kept: Final = msgspec.json.Decoder(_KeptOrNot).decode
_found: Final = msgspec.json.Decoder(_Found).decode
_entries: Final = msgspec.json.Decoder(list[Entry]).decode
_found_standings: Final = msgspec.json.Decoder(list[Standing]).decode
_found_states: Final = msgspec.json.Decoder(list[_FoundState]).decode
_found_first: Final = msgspec.json.Decoder(_FoundFirst).decode
_found_pages: Final = msgspec.json.Decoder(list[_FoundPage]).decode
_found_personal: Final = msgspec.json.Decoder(list[_FoundPersonal]).decode
_found_receipts: Final = msgspec.json.Decoder(list[_FoundReceipt]).decode
_history: Final = msgspec.json.Decoder(HistoryPage | None).decode
_search: Final = msgspec.json.Decoder(_Search | None).decode
_privacy: Final = msgspec.json.Decoder(Privacy | None).decode
_seen: Final = msgspec.json.Decoder(list[Seen]).decode
_users: Final = msgspec.json.Decoder(list[User]).decode
_unread: Final = msgspec.json.Decoder(Unread).decode
_raised: Final = msgspec.json.Decoder(list[Raised]).decode
_moved: Final = msgspec.json.Decoder(_Moved).decode

_linked: Final = msgspec.json.Decoder(_Linked).decode
_members: Final = msgspec.json.Decoder(_FoundMembers).decode
_rooms: Final = msgspec.json.Decoder(RoomPage).decode
_scheduled_or_not: Final = msgspec.json.Decoder(_ScheduledOrNot).decode
_found_scheduled: Final = msgspec.json.Decoder(_FoundScheduled).decode
_due: Final = msgspec.json.Decoder(Due).decode
_appended: Final = msgspec.json.Decoder(_Appended).decode

_APPEND_NEW: Final = "select append_new($1::json, $2::uuid[], $3::bigint[], $4::integer[])"
_APPEND: Final = "select append_messages($1::json, $2::json)"
_NOBODY: Final = UUID(int=0)
_PLANNED: Final = 6  # the first five times PostgreSQL plans for the very values, then it may keep a plan for all
# Both are stable: they see the snapshot of this statement, which is one.
_FIRST: Final = """
    select json_build_object('standings', standings($1::json), 'states', conversation_states((
        select json_agg(json_build_object('q', a.q, 'p', a.p, 'r', a.r, 'c', c.conversation))
        from json_to_recordset($1::json) as a(q integer, p uuid, r integer, m integer)
        cross join lateral (
            select conversation from (
                select distinct on (conversation) conversation, until from span where person = a.p
                order by conversation, joined desc) newest
            where until is null limit a.m) c
    ), $2::integer, $3::integer))"""
_CHANGE: Final = "select change_member($1, $2::uuid, $3::uuid, $4, $5::uuid, $6::integer, $7::integer)"
_LOG_AFTER: Final = """
    select coalesce(json_agg(entry_json(e) order by e.seq), '[]')
    from (select * from entry where conversation = $1::uuid and seq > $2::bigint order by seq limit $3::integer) e"""


class PostgresStore:
    """Everything the core asks of storage, from PostgreSQL. Implements :class:`storage.store.Store`."""

    def __init__(self, database: Database, lanes: Sequence[OwnConnection], gather: Gather) -> None:
        self._database, self._lanes = database, lanes
        self._standings = Kind(gather, self._ask_standings)
        self._first = Kind(gather, self._ask_first, lambda ask: FIRST_WEIGHT)
        self._states = Kind(gather, self._ask_states, lambda ask: len(ask[1]))
        self._pages = Kind(gather, self._ask_pages, _page_weight)
        self._stretches = Kind(gather, self._ask_stretches, lambda ask: len(ask[0]))
        self._receipts = Kind(gather, self._ask_receipts)
        self._personal = Kind(gather, self._ask_personal, lambda ask: 1 + ask[4] // _ENTRIES)

    async def append(self, lane: int, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Appendix:
        """See Store."""
        try:
            return await self._append_new(lane, messages, heads)
        except StorageConflict:  # not all of them are new messages of members; nothing was stored
            return _appendix(await self._call(lane, _APPEND, _encode(messages), _encode(_rows(heads, "c", "h"))))

    async def _append_new(self, lane: int, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Appendix:
        counts: dict[UUID, int] = {}
        offsets = []
        for message in messages:
            counts[message.conversation] = offset = counts.get(message.conversation, 0) + 1
            offsets.append(offset)
        ids = sorted(counts)
        places = {conversation: place for place, conversation in enumerate(ids, 1)}
        rows = [
            _NewRow(places[one.conversation], offset, one.author, one.key, one.text, one.content)
            for one, offset in zip(messages, offsets, strict=True)
        ]
        delivered = [heads.get(conversation, "null") for conversation in ids]
        found = _appended(
            await self._call(
                lane, _APPEND_NEW, _encode(rows), _array(ids), _array(delivered), _array(map(counts.__getitem__, ids))
            )
        )
        kept = found.kept or [None] * len(ids)
        answers = [
            Answer(
                True, False, found.tops[row.i - 1] + row.o, found.at_ms,
                None if (kept_s := kept[row.i - 1]) is None else found.at_ms + kept_s * 1000,
            )
            for row in rows
        ]  # fmt: skip
        return Appendix(answers, found.missed)

    async def act(self, lane: int, author: UUID, action: Deed, rules: Rules) -> Acted:
        """See Store."""
        if isinstance(action, actions.MEMBERSHIP):
            return await actions.change_member(self, lane, author, action, rules)
        sql = actions.FUNCTIONS[type(action)]
        outcome = _acted(await self._call(lane, sql, str(author), _encode(action), _encode(rules)))
        if outcome.error is not None:
            raise actions.refusal(outcome.error, author, action, outcome.missing, outcome.retry_after_ms, outcome.seq)
        return Acted(outcome.seq, outcome.at_ms, outcome.entry)

    async def change_member(
        self, lane: int, change: Change, conversation: UUID, author: UUID, key: str, user: UUID, most: int,
        room_most: int | None = None,
    ) -> Changed:  # fmt: skip
        """See Store."""
        bounds = (str(most), str(most if room_most is None else room_most))
        outcome = _outcome(
            await self._call(lane, _CHANGE, change, str(conversation), str(author), key, str(user), *bounds)
        )
        if outcome.error is not None:
            raise _refusal(outcome, conversation=conversation, author=author, user=user, key=key)
        return Changed(outcome.seq, outcome.at_ms, outcome.new, outcome.owner, outcome.count)

    async def log_after(self, lane: int, conversation: UUID, head: int, limit: int) -> list[Entry]:
        """See Store."""
        return _entries(await self._call(lane, _LOG_AFTER, str(conversation), str(head), str(limit)))

    async def create_group(
        self, new_id: UUID, author: UUID, key: str, title: str, history: History, members: Sequence[UUID], most: int,
        more: NewKind = PLAIN,
    ) -> Made:  # fmt: skip
        """See Store."""
        outcome = _outcome(
            await self._json(
                "select create_group(%s, %s, %s, %s, %s, %s::json, %s, %s, %s, %s::json, %s)::text",
                new_id, author, key, title, history, _text(members), most, more.kind, more.topic, _text(more.tags),
                more.public,
            )
        )  # fmt: skip
        if outcome.conversation is None:
            raise _refusal(outcome, conversation=new_id, author=author, user=author, key=key)
        return Made(outcome.conversation, outcome.new)

    async def open_direct(self, new_id: UUID, author: UUID, user: UUID) -> Made:
        """See Store."""
        outcome = _outcome(await self._json("select open_direct(%s, %s, %s)::text", new_id, author, user))
        if outcome.conversation is None:
            raise _refusal(outcome, conversation=new_id, author=author, user=user, key="")
        return Made(outcome.conversation, outcome.new)

    async def standing(
        self, person: UUID, lineage: UUID | None, told: int = 0, known: int | None = None
    ) -> Standing:
        """See Store."""
        return await self._standings.ask((person, lineage, told, known))

    async def _ask_standings(
        self, lane: OwnConnection, asks: Sequence[tuple[UUID, UUID | None, int, int | None]]
    ) -> list[Standing]:
        rows = [{"p": person, "l": lineage, "n": told, "s": known} for person, lineage, told, known in asks]
        return _found_standings(await _call(lane, "select standings($1::json)", _encode(rows)))

    async def personal(
        self, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
    ) -> PersonalPage:
        """See Store."""
        return await self._personal.ask((person, above, through, gone, limit, size_bytes))

    async def _ask_personal(
        self, lane: OwnConnection, asks: Sequence[tuple[UUID, int, int, bool, int, int]]
    ) -> list[PersonalPage]:
        rows = [
            {"q": number, "p": person, "lo": above, "hi": through, "g": gone}
            for number, (person, above, through, gone, _, _) in enumerate(asks)
        ]
        limit, size_bytes = min(ask[4] for ask in asks), min(ask[5] for ask in asks)
        answers = [_NO_PERSONAL] * len(asks)
        sql: Final = "select personal_rows($1::json, $2::integer, $3::integer)"
        for found in _found_personal(await _call(lane, sql, _encode(rows), str(limit), str(size_bytes))):
            answers[found.q] = PersonalPage(found.rows, found.cut)
        return answers

    async def keep(self, person: UUID, command: AnyPersonal, rules: Rules) -> Kept:
        """See Store."""
        found = _kept(await self._json(personal.FUNCTIONS[type(command)], person, _text(command), _text(rules)))
        if found.error is not None:
            raise personal.refusal(found.error, found.missing or person, found.seq, command)
        return Kept(found.number, found.new)

    async def warm(self, lane: OwnConnection) -> None:
        """Have PostgreSQL load what it needs to answer who comes back, before anybody does: it keeps its catalogue and
        its compiled functions for each connection, and the first questions would take 20 ms more.

        Only its plans are thrown away again: they were made for the tables as they are now, and those may be empty.

        Raises:
            StorageUnavailable: No answer; nothing is lost by it.
        """
        for _ in range(_PLANNED):
            await self._ask_first(lane, [(_NOBODY, 1, 1)])
            await self._ask_standings(lane, [(_NOBODY, None, 0, None)])
        await lane.execute("discard plans")

    async def first_standing(self, person: UUID, recent: int, most: int) -> Standing:
        """See Store."""
        return await self._first.ask((person, recent, most))

    async def _ask_first(self, lane: OwnConnection, asks: Sequence[tuple[UUID, int, int]]) -> list[Standing]:
        rows = [{"q": q, "p": person, "r": recent, "m": most, "n": 0} for q, (person, recent, most) in enumerate(asks)]
        found = _found_first(await _call(lane, _FIRST, _encode(rows), str(NAMED_MEMBERS), str(UNREAD)))
        for one in found.states:
            found.standings[one.q].states.append(one.state)
        return found.standings

    async def states(self, person: UUID, conversations: Sequence[UUID], recent: int) -> list[State]:
        """See Store."""
        return await self._states.ask((person, conversations, recent)) if conversations else []

    async def _ask_states(
        self, lane: OwnConnection, asks: Sequence[tuple[UUID, Sequence[UUID], int]]
    ) -> list[list[State]]:
        rows = [
            {"q": number, "p": person, "c": one, "r": recent}
            for number, (person, conversations, recent) in enumerate(asks)
            for one in conversations
        ]
        sql: Final = "select conversation_states($1::json, $2::integer, $3::integer)"
        answers: list[list[State]] = [[] for _ in asks]
        for found in _found_states(await _call(lane, sql, _encode(rows), str(NAMED_MEMBERS), str(UNREAD))):
            answers[found.q].append(found.state)
        return answers

    async def visible(self, person: UUID, ranges: Sequence[Range], size_bytes: int) -> Page:
        """See Store."""
        return await self._pages.ask((person, ranges, size_bytes))

    async def _ask_pages(
        self, lane: OwnConnection, asks: Sequence[tuple[UUID, Sequence[Range], int]]
    ) -> list[Page]:
        rows = [
            {"q": number, "p": person, "b": size_bytes, "c": one.conversation, "lo": one.low, "hi": one.high}
            for number, (person, ranges, size_bytes) in enumerate(asks)
            for one in ranges
        ]
        answers = [_NO_PAGE] * len(asks)
        for found in _found_pages(await _call(lane, "select visible_entries($1::json)", _encode(rows))):
            answers[found.q] = Page(found.entries, found.cut)
        return answers

    async def stretches(self, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
        """See Store."""
        return await self._stretches.ask((ranges, size_bytes))

    async def _ask_stretches(
        self, lane: OwnConnection, asks: Sequence[tuple[Sequence[Range], int]]
    ) -> list[list[Page]]:
        places = [(number, one) for number, (ranges, _) in enumerate(asks) for one in ranges]
        rows = [{"q": q, "c": one.conversation, "lo": one.low, "hi": one.high} for q, (_, one) in enumerate(places)]
        size_bytes = min(size_bytes for _, size_bytes in asks)
        pages = [_NO_PAGE] * len(rows)
        sql: Final = "select log_stretches($1::json, $2::integer)"
        for found in _found_pages(await _call(lane, sql, _encode(rows), str(size_bytes))):
            pages[found.q] = Page(found.entries, found.cut)
        answers: list[list[Page]] = [[] for _ in asks]
        for (number, _), page in zip(places, pages, strict=True):
            answers[number].append(page)
        return answers

    async def history(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> HistoryPage:
        """See Store."""
        sql: Final = "select coalesce(history_page(%s, %s, %s, %s, %s)::text, 'null')"
        before = SEQ_MAX if before is None else before
        page: HistoryPage | None = _history(await self._json(sql, person, conversation, before, limit, PAGE_BYTES))
        if page is None:
            raise NotAMember(person, conversation)
        return page

    async def around(self, person: UUID, conversation: UUID, at: int, older: int, newer: int) -> HistoryPage:
        """See Store."""
        sql: Final = "select coalesce(history_around(%s, %s, %s, %s, %s, %s)::text, 'null')"
        page: HistoryPage | None = _history(
            await self._json(sql, person, conversation, at, older, newer, PAGE_BYTES)
        )
        if page is None:
            raise NotAMember(person, conversation)
        return page

    async def search(self, person: UUID, query: Search, languages: Sequence[str]) -> Found:
        """See Store."""
        by_rank = query.order == "rank"
        after = search_cursor.place(query.cursor, by_rank)
        last = None if after is None else _hit(after.last)
        top = None if after is None or after.top is None else _hit(after.top)
        sql: Final = """
            select coalesce(search_messages(
                %s, %s::uuid, %s::json, %s::regconfig[], %s::uuid, %s, %s, %s, %s::search_hit, %s::real,
                %s::search_hit, %s, %s, %s)::text, 'null')"""
        found: _Search | None = _search(
            await self._json(
                sql, person, query.conversation, _text(search_query.parse(query.query)), list(languages), query.author,
                query.kind, query.from_ms, query.to_ms, last, None if after is None else after.rank, top, by_rank,
                query.limit, SEARCH_RANKED,
            )
        )  # fmt: skip
        if found is None:
            assert query.conversation is not None
            raise NotAMember(person, query.conversation)
        cursor = None
        if found.more:
            end = found.hits[-1]
            place = search_cursor.Place(end.at_ms, end.conversation, end.seq)
            if by_rank:
                first = after.top if after is not None else None
                if found.top is not None and first is None:
                    first = found.top.place()
                cursor = search_cursor.text_of(search_cursor.After(place, end.rank, first))
            else:
                cursor = search_cursor.text_of(search_cursor.After(place))
        return Found([hit.shown() for hit in found.hits], cursor)

    async def edits(self, person: UUID, conversation: UUID, seq: int, after: int) -> Versions:
        """See Store."""
        sql: Final = "select message_edits(%s, %s, %s, %s, %s, %s)::text"
        found = _found(await self._json(sql, person, conversation, seq, after, VERSIONS_PAGE, PAGE_BYTES))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, seq)
        return Versions(found.versions, found.more)

    async def reactions(
        self, person: UUID, conversation: UUID, seq: int, emoji: str | None, cursor: str | None, limit: int
    ) -> Reactions:
        """See Store."""
        after_emoji, after_seq = page_cursor.REACTIONS.place_of(cursor)
        sql: Final = "select message_reactions(%s, %s, %s, %s::text, %s::text, %s, %s)::text"
        found = _found(await self._json(sql, person, conversation, seq, emoji, after_emoji, after_seq, limit))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, seq)
        if not found.more:
            return Reactions(found.reactions)
        last = found.reactions[-1]
        return Reactions(found.reactions, page_cursor.REACTIONS.text_of((last.emoji, last.seq)))

    async def votes(self, person: UUID, conversation: UUID, seq: int, after: int, limit: int) -> Votes:
        """See Store."""
        sql: Final = "select poll_voters(%s, %s, %s, %s, %s)::text"
        found = _found(await self._json(sql, person, conversation, seq, after, limit))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, seq)
        return Votes(found.votes, found.mine, found.more)

    async def threads(self, person: UUID, conversation: UUID, cursor: str | None, limit: int) -> Threads:
        """See Store."""
        sql: Final = "select conversation_threads(%s, %s, %s, %s, %s)::text"
        (below,) = page_cursor.THREADS.place_of(cursor)
        found = _found(await self._json(sql, person, conversation, below, limit, UNREAD))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, 0)
        if not found.more:
            return Threads(found.threads)
        return Threads(found.threads, page_cursor.THREADS.text_of((found.threads[-1].replies.last_seq,)))

    async def thread(
        self, person: UUID, conversation: UUID, seq: int, before: int | None, limit: int
    ) -> HistoryPage:
        """See Store."""
        sql: Final = "select thread_page(%s, %s, %s, %s, %s, %s)::text"
        below = SEQ_MAX if before is None else before
        found = _found(await self._json(sql, person, conversation, seq, below, limit, PAGE_BYTES))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, seq)
        return HistoryPage(found.entries, found.more)

    async def schedule(self, new_id: UUID, author: UUID, command: MessageSchedule) -> Filed:
        """See Store."""
        sql: Final = "select schedule_message(%s, %s, %s::json, %s, %s)::text"
        kept = _scheduled_or_not(await self._json(sql, new_id, author, _text(command), SCHEDULED, SCHEDULED_AHEAD_MS))
        if kept.scheduled is None:
            assert kept.error is not None
            raise scheduled.refusal(
                kept.error, author, command.conversation, command.key, missing=kept.missing
            )
        return Filed(kept.scheduled, kept.at_ms, kept.number)

    async def unschedule(self, author: UUID, scheduled_id: UUID) -> int:
        """See Store."""
        kept = _scheduled_or_not(await self._json("select unschedule_message(%s, %s)::text", author, scheduled_id))
        if kept.error is not None:
            raise scheduled.refusal(kept.error, author, scheduled_id, "", scheduled_id)
        return kept.number

    async def scheduled(self, author: UUID, command: MessageScheduled) -> ScheduledPage:
        """See Store."""
        sql: Final = "select scheduled_messages(%s, %s::uuid, %s, %s, %s, %s)::text"
        after_ms, after = page_cursor.SCHEDULED.place_of(command.cursor)
        found = _found_scheduled(
            await self._json(sql, author, command.conversation, after_ms, after, command.limit, PAGE_BYTES)
        )
        if not found.more:
            return ScheduledPage(found.scheduled)
        last = found.scheduled[-1]
        return ScheduledPage(found.scheduled, page_cursor.SCHEDULED.text_of((last.at_ms, last.scheduled)))

    async def take_due(self, limit: int, lease_s: float) -> Due:
        """See Store."""
        return _due(await self._json("select take_due(%s, %s)::text", limit, int(lease_s * 1000)))

    async def set_default_retention(self, retention_s: int | None) -> None:
        """How long conversations that are made from now on keep messages; None: for ever."""
        await self._database.execute("update terms set retention_s = %s where one", retention_s)

    async def bans(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> Bans:
        """See Store."""
        sql: Final = "select member_bans(%s, %s, %s, %s)::text"
        found = _found(await self._json(sql, person, conversation, SEQ_MAX if before is None else before, limit))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, 0)
        return Bans(found.bans, found.more)

    async def members(self, person: UUID, conversation: UUID, after: tuple[int, int], limit: int) -> MemberPage:
        """See Store."""
        sql: Final = "select member_page(%s, %s, %s, %s, %s)::text"
        found = _members(await self._json(sql, person, conversation, *after, limit))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, 0)
        return MemberPage(found.members, found.more)

    async def rooms(
        self, person: UUID, query: str | None, tags: Sequence[str], after: tuple[int, int, UUID], limit: int
    ) -> RoomPage:
        """See Store."""
        sql: Final = "select room_list(%s, %s::text, %s::text[], %s, %s, %s, %s)::text"
        return _rooms(await self._json(sql, person, query, list(tags), *after, limit))

    async def create_link(self, author: UUID, command: LinkCreate, rules: Rules) -> Link:
        """See Store."""
        sql: Final = "select create_link(%s, %s::json, %s::json)::text"
        found = _linked(await self._json(sql, author, _text(command), _text(rules)))
        if found.link is None:
            raise actions.link_refusal(str(found.error), author, command.conversation, command.key)
        return found.link

    async def links(self, person: UUID, conversation: UUID) -> list[Link]:
        """See Store."""
        found = _linked(await self._json("select conversation_links(%s, %s)::text", person, conversation))
        if found.error is not None:
            raise actions.link_refusal(found.error, person, conversation)
        return found.links

    async def revoke_link(self, author: UUID, command: LinkRevoke) -> None:
        """See Store."""
        found = _linked(await self._json("select revoke_link(%s, %s::json)::text", author, _text(command)))
        if found.error is not None:
            raise actions.link_refusal(found.error, author, command.conversation, command.key)

    async def preview_link(self, person: UUID, code: str) -> Invitation:
        """See Store."""
        found = _linked(await self._json("select preview_link(%s, %s)::text", person, code))
        if found.invitation is None:
            raise actions.link_refusal(str(found.error), person, None)
        return found.invitation

    async def join_by_link(self, person: UUID, command: LinkJoin, rules: Rules) -> Joined:
        """See Store."""
        sql: Final = "select join_by_link(%s, %s::json, %s::json)::text"
        found = _linked(await self._json(sql, person, _text(command), _text(rules)))
        if found.conversation is None:
            raise actions.link_refusal(str(found.error), person, found.missing, command.key)
        if found.seq == 0:
            return Joined(found.conversation, True)
        return Joined(found.conversation, False, found.seq, found.at_ms)

    async def requests(self, person: UUID, conversation: UUID, after: tuple[int, UUID], limit: int) -> RequestPage:
        """See Store."""
        sql: Final = "select join_requests(%s, %s, %s, %s, %s)::text"
        found = _linked(await self._json(sql, person, conversation, *after, limit))
        if found.error is not None:
            raise actions.link_refusal(found.error, person, conversation)
        return RequestPage(found.requests, found.more, found.count)

    async def publish_rooms(self, node: UUID, people: Mapping[UUID, int]) -> None:
        """See Store."""
        await self._database.execute("select publish_rooms(%s, %s::json)", node, _text(_rows(people, "c", "n")))

    async def readers(self, person: UUID, conversation: UUID, seq: int, cursor: str | None, limit: int) -> Readers:
        """See Store."""
        sql: Final = "select message_readers(%s, %s, %s, %s, %s, %s)::text"
        (after,) = page_cursor.READERS.place_of(cursor)
        found = _found(await self._json(sql, person, conversation, seq, after, limit, READERS_LOOKED))
        if found.error is not None:
            raise actions.reading_refusal(found.error, person, conversation, seq)
        if found.after is None:
            return Readers(found.readers)
        return Readers(found.readers, page_cursor.READERS.text_of((found.after,)))

    async def listing(self, person: UUID, cursor: str | None, limit: int) -> Conversations:
        """See Store."""
        after_ms, after_id = page_cursor.LISTING.place_of(cursor)
        rows = await self._database.fetch_all(
            """
            select v.active_at_ms, v.id from span s join conversation v on v.id = s.conversation
            where s.person = %s and s.until is null and (v.active_at_ms, v.id) < (%s, %s)
            order by v.active_at_ms desc, v.id desc limit %s
            """,
            person, after_ms, after_id, limit + 1,
        )  # fmt: skip
        ids = [row[1] for row in rows[:limit]]
        found = await self.states(person, ids, recent=1) if ids else []
        page: list[ConversationState] = []
        size_bytes, last = 0, ""
        for (active_at_ms, one), state in zip(rows, found, strict=False):
            if state.until is not None:
                continue  # left since the first of the two questions
            view = shown(state, ConversationState)
            size_bytes += len(_pack(view))
            if page and size_bytes > PAGE_BYTES:
                return Conversations(page, last, await self._last_messages(person, page))
            page.append(view)
            last = page_cursor.LISTING.text_of((active_at_ms, one))
        return Conversations(page, last if len(rows) > limit else None, await self._last_messages(person, page))

    async def _last_messages(self, person: UUID, states: Sequence[ConversationState]) -> list[Entry]:
        """What a list shows of each of *states* whose last entry it is not, where there is one near its end."""
        if not states:
            return []
        sql: Final = "select last_messages(%s, %s, %s, %s)::text"
        wanted = [one.conversation for one in states]
        return _entries(await self._json(sql, person, wanted, [one.head for one in states], PREVIEW))

    async def set_privacy(self, person: UUID, command: PrivacySet) -> int:
        """See Store."""
        sql: Final = "select set_privacy(%s, %s::json, '{}')::text"
        outcome = _outcome(await self._json(sql, person, _text(command)))
        if outcome.error is not None:
            raise _refusal(outcome, conversation=person, author=person, user=person, key=command.key)
        return outcome.number

    async def privacy(self, person: UUID) -> Privacy:
        """See Store."""
        return _privacy(await self._json("select coalesce(privacy_of(%s)::text, 'null')", person)) or Privacy()

    async def presences(self, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        """See Store."""
        return _seen(await self._json("select presences(%s, %s)::text", person, list(users)))

    async def take_seats(self, node: UUID, came: Sequence[UUID], went: Mapping[UUID, int]) -> None:
        """See Store."""
        sql: Final = "select take_seats(%s, %s, %s::json)"
        await self._database.execute(sql, node, list(came), _text(_rows(went, "p", "ago")))

    async def unread_total(self, person: UUID) -> Unread:
        """See Store."""
        return _unread(await self._json("select unread_total(%s, %s, %s)::text", person, UNREAD_TOTAL, UNREAD))

    async def raise_receipts(self, moves: Sequence[Raise]) -> list[Raised]:
        """See Store."""
        return _raised(await self._json("select move_receipts(%s::json)::text", _text(moves)))

    async def receipts_since(self, person: UUID, since_ms: int) -> list[OthersReceipt]:
        """See Store."""
        return await self._receipts.ask((person, since_ms))

    async def _ask_receipts(self, lane: OwnConnection, asks: Sequence[tuple[UUID, int]]) -> list[list[OthersReceipt]]:
        rows = [{"q": number, "p": person, "s": since_ms} for number, (person, since_ms) in enumerate(asks)]
        answers: list[list[OthersReceipt]] = [[] for _ in asks]
        sql: Final = "select receipts_since($1::json, $2::integer)"
        for found in _found_receipts(await _call(lane, sql, _encode(rows), str(NAMED_MEMBERS))):
            answers[found.q].append(OthersReceipt(found.conversation, found.user, found.delivered, found.read))
        return answers

    async def moved(self, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
        """See Store."""
        sql: Final = "select moved(%s::json, %s::json)::text"
        found = _moved(await self._json(sql, _text(_rows(heads, "c", "h")), _text(_rows(numbers, "p", "n"))))
        return Moved({one.conversation: one.seq for one in found.conversations}, found.people, found.rooms)

    async def users(self, person: UUID, ids: Sequence[UUID]) -> list[User]:
        """See Store."""
        return _users(await self._json("select names_for(%s, %s)::text", person, list(ids)))

    async def add_lineage(self, lineage: UUID) -> None:
        """See Store."""
        await self._database.execute("insert into lineage (id) values (%s) on conflict do nothing", lineage)

    async def beat(self, node: UUID) -> list[UUID]:
        """See Store."""
        row = await self._database.fetch_one("select beat_node(%s)", node)
        assert row is not None
        return list(row[0])

    async def leave(self, node: UUID) -> None:
        """See Store."""
        await self._database.execute("select leave_node(%s)", node)

    async def _call(self, lane: int, sql: LiteralString, *texts: str | bytes) -> bytes:
        return await _call(self._lanes[lane], sql, *texts)

    async def _json(self, sql: LiteralString, *values: object) -> str:
        # A client that hangs up in the middle must not cost a connection: a cancelled query's is closed. The query's
        # own deadline still holds.
        with trio.CancelScope(shield=True):
            row = await self._database.fetch_one(sql, *values)
        await trio.lowlevel.checkpoint_if_cancelled()  # nobody acts on the answer for a client that is gone
        assert row is not None  # each of these statements gives one row
        return str(row[0])


@asynccontextmanager
async def open_store(database: Database, lanes: int) -> AsyncIterator[PostgresStore]:
    """A store on *database* with so many dedicated connections for the log, and some for questions of many."""
    async with AsyncExitStack() as stack:
        own = [await stack.enter_async_context(database.connect_own(f"lane {lane}")) for lane in range(lanes)]
        asking = [await stack.enter_async_context(database.connect_own(f"questions {n}")) for n in range(ASKING)]
        gather = Gather()
        store = PostgresStore(database, own, gather)
        async with trio.open_nursery() as nursery:
            for one in asking:
                nursery.start_soon(_carry, store, gather, one)
            yield store
            nursery.cancel_scope.cancel()


async def _carry(store: PostgresStore, gather: Gather, lane: OwnConnection) -> None:
    with suppress(Exception):  # whatever it is: the first who ask meet it, and are told
        await store.warm(lane)
    await gather.run(lane)


async def _call(lane: OwnConnection, sql: LiteralString, *texts: str | bytes) -> bytes:
    answer = await lane.call_json(sql, *texts)
    assert answer is not None  # none of these functions gives NULL
    return answer


def _rows(numbers: Mapping[UUID, int], key: str, value: str) -> list[dict[str, object]]:
    return [{key: one, value: number} for one, number in numbers.items()]


def _hit(place: search_cursor.Place) -> str:
    """As PostgreSQL reads a row of three."""
    return f"({place.at_ms},{place.conversation},{place.seq})"


def _page_weight(ask: tuple[UUID, Sequence[Range], int]) -> int:
    return max(1, sum(one.high - one.low + 1 for one in ask[1]) // _ENTRIES)


def _array(values: Iterable[object]) -> str:
    """As PostgreSQL reads an array; for values that need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


def _text(value: object) -> str:
    return _encode(value).decode()


def _refusal(outcome: _Outcome, *, conversation: UUID, author: UUID, user: UUID, key: str) -> Refused:
    missing = author if outcome.missing is None else outcome.missing
    match outcome.error:
        case "not_a_member":
            return NotAMember(missing, conversation)
        case "already_a_member":
            return AlreadyAMember(user, conversation)
        case "unknown_user":
            return UnknownUser(user if outcome.missing is None else outcome.missing)
        case "key_reused":
            return KeyReused(key)
        case "conversation_full":
            return ConversationFull("the group has as many members as this server allows")
        case "wrong_kind":
            return WrongKind("a direct conversation has its two members for ever")
        case "forbidden":
            return Forbidden("only the owner and admins of the group may do this, and to nobody who owns it")
        case "banned":
            return Banned("the person is banned from this conversation")
        case "not_allowed_to_write":
            return NotAllowedToWrite("you two may not write to each other here, or there is no such user")
    raise AssertionError(f"the database answered {outcome.error!r}")
