"""The SQL functions of ``storage/migrations/0002_conversations.sql`` once more, over the fake's tables.

Those that write are transactions (see ``database.py``): they lock, compute, and return an answer with what the commit
is to do. Those that read take one snapshot. Both say the same as their SQL, which the contract tests hold them to.
"""

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol import limits
from protocol.frames import Entry, EntryKind, History, HistoryPage, Receipt as ReceiptFrame, Unread
from storage.rows import (
    Answer,
    Appendix,
    Changed,
    Made,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    Raise,
    Raised,
    Range,
    Span as SpanRow,
    Standing,
    State,
)
from storage.store import PLAIN, Change
from tests.simulate.database import (
    Account,
    Body,
    Conversation,
    FakeDatabase,
    Receipt,
    Span,
    Stored,
    Tables,
    in_order,
)

MISSED: Final = 500
ENTRY_OVERHEAD: Final = 200
_DETAIL: Final = frozenset(  # what the SQL keeps in an entry's `detail`, besides what it does of "created"
    ["of", "emoji", "on", "count", "users", "edited_at_ms", "deleted", "reactions", "changed",
     "messages", "retention_s", "expires_at_ms", "poll", "counts", "voters", "options",
     "role", "owner", "reason", "until_ms", "topic", "photo", "seconds", "replies", "threads"]
)


class Refusal(NamedTuple):
    """An error a function answers with, as the SQL does: a code, and whom it is about."""

    code: str
    missing: UUID | None = None
    retry_after_ms: int = 0
    seq: int = 0


Name: TypeAlias = tuple[UUID, UUID, str]  # conversation, author, key


def known(tables: Tables, name: Name) -> Stored | None:
    """What a key stands for; None for a new one."""
    return tables.keys.get(name)


# --- Writing ----------------------------------------------------------------------------------------------------------


def append_messages(db: FakeDatabase, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Body[Appendix]:
    """Lock the conversations, then number what is new."""
    tables = db.tables
    conversations = tables.conversations
    yield in_order("conversation", [m.conversation for m in messages if m.conversation in conversations])
    # From here on the snapshot is a new one: nothing below was read before the wait.
    at_ms = db.now_ms()
    tops: dict[UUID, int] = {}
    fresh: dict[tuple[UUID, UUID, str], Stored] = {}
    entries: list[Entry] = []
    answers: list[Answer] = []
    slowed: dict[tuple[UUID, UUID], int] = {}  # who wrote, and is slowed -> for how long
    for message in messages:
        name = (message.conversation, message.author, message.key)
        digest = ("message", message.text, message.content)
        found = known(tables, name) or fresh.get(name)
        if found is not None:
            answers.append(Answer(False, found.digest != digest, found.seq, found.at_ms))
        elif tables.span(message.conversation, message.author) is None:
            answers.append(Answer(False, False))
        elif (held := held_back(tables, message.conversation, message.author, at_ms, slowed)) is not None:
            answers.append(held)
        else:
            seq = tops.get(message.conversation, conversations[message.conversation].last_seq) + 1
            tops[message.conversation] = seq
            fresh[name] = Stored(seq, at_ms, digest)
            entries.append(
                Entry(
                    conversation=message.conversation, seq=seq, kind="message", author=message.author, key=message.key,
                    at_ms=at_ms, text=message.text or UNSET, content=message.content or UNSET,
                    expires_at_ms=(ends := tables.ends(message.conversation, at_ms)),
                )
            )  # fmt: skip
            answers.append(Answer(True, False, seq, at_ms, None if ends is UNSET else ends))
    missed = [
        entry
        for conversation, head in sorted(heads.items())
        for entry in tables.entries.get(conversation, [])[head : head + MISSED]
    ]

    def commit() -> None:
        tables.slowed.update(dict.fromkeys(slowed, at_ms))
        tables.keys.update(fresh)
        for entry in entries:
            tables.entries[entry.conversation].append(entry)
            tables.expire_later(entry)
        for conversation, top in tops.items():
            conversations[conversation].last_seq = top
            conversations[conversation].active_at_ms = at_ms

    return Appendix(answers, missed), commit


def held_back(
    tables: Tables, conversation: UUID, author: UUID, at_ms: int, slowed: dict[tuple[UUID, UUID], int]
) -> Answer | None:
    """Why a member may not write now; who may, and is slowed, is added to *slowed*."""
    row = tables.conversations[conversation]
    if not row.guarded:
        return None
    if row.shut:
        return Answer(False, False, error="conversation_closed")
    if not tables.may(conversation, author, "write"):
        return Answer(False, False, error="forbidden")
    if tables.may(conversation, author, "hurry"):
        return None
    slow_ms = row.slow_mode_s * 1000
    wait_ms = tables.slowed.get((conversation, author), 0) + slow_ms - at_ms
    if wait_ms <= 0 and (conversation, author) in slowed:
        wait_ms = slow_ms
    if wait_ms > 0:
        return Answer(False, False, error="slow_mode", retry_after_ms=wait_ms)
    if slow_ms:
        slowed[conversation, author] = slow_ms
    return None


def change_member(
    db: FakeDatabase, change: Change, conversation: UUID, author: UUID, key: str, user: UUID, most: int,
    room_most: int | None = None,
) -> Body[Changed | Refusal]:  # fmt: skip
    """Lock the conversation, then the person's row, then the person's receipt."""
    tables = db.tables
    row = tables.conversations.get(conversation)
    if row is None:
        return Refusal("not_a_member", author), None
    yield [("conversation", conversation)]
    digest = ("member", change, user)
    old = tables.keys.get((conversation, author, key)) or tables.settled.get((conversation, author, key))
    if old is not None:
        return (Refusal("key_reused") if old.digest != digest else Changed(old.seq, old.at_ms, False)), None
    if tables.span(conversation, author) is None:
        return Refusal("not_a_member", author), None
    if row.kind == "direct":
        return Refusal("wrong_kind"), None
    heir: UUID | None = None
    if change == "add":
        if not tables.may(conversation, author, "add"):
            return Refusal("forbidden"), None
        if user not in tables.accounts:
            return Refusal("unknown_user"), None
        if tables.span(conversation, user) is not None:
            return Refusal("already_a_member"), None
        if barred(tables, conversation, user, db.now_ms()):
            return Refusal("banned"), None
        if row.member_count >= (most if row.kind == "group" or room_most is None else room_most):
            return Refusal("conversation_full"), None
    else:
        no_right = user == row.owner or not tables.may(conversation, author, "remove")
        if change == "remove" and author != user and no_right:
            return Refusal("forbidden"), None
        if tables.span(conversation, user) is None:
            return Refusal("not_a_member", user), None
        if user == row.owner:
            heir = heir_of(tables, conversation, user)
    seq, at_ms = row.last_seq + 1, db.now_ms()
    count = None if row.kind == "group" else row.member_count + (1 if change == "add" else -1)
    yield [("account", user)]
    if change == "add":
        yield [("receipt", conversation, user)]
    entry = Entry(
        conversation=conversation, seq=seq, kind="member.added" if change == "add" else "member.removed",
        author=author, key=key, at_ms=at_ms, user=user, owner=UNSET if heir is None else heir,
        count=UNSET if count is None else count,
    )  # fmt: skip

    def commit() -> None:
        tables.keys[conversation, author, key] = Stored(seq, at_ms, digest)
        tables.entries[conversation].append(entry)
        if change == "add":
            begin_span(tables, conversation, user, seq, at_ms)
        else:
            end_span(tables, conversation, user, seq, at_ms)
        row.last_seq, row.active_at_ms = seq, at_ms
        if change != "add" and row.owner == user:
            row.owner = heir
            if heir is not None and (theirs := tables.span(conversation, heir)) is not None:
                theirs.role = "member"

    return Changed(seq, at_ms, True, heir, count), commit


def barred(tables: Tables, conversation: UUID, person: UUID, at_ms: int) -> bool:
    """Whether a ban holds."""
    row = tables.bans.get((conversation, person))
    return row is not None and (row.until_ms is None or row.until_ms > at_ms)


def heir_of(tables: Tables, conversation: UUID, owner: UUID) -> UUID | None:
    """Who owns it once *owner* is gone."""
    others = [person for person in tables.members(conversation) if person != owner]
    admins = [person for person in others if tables.spans[conversation][person][-1].role == "admin"]
    nobody = None if tables.conversations[conversation].kind == "group" else owner
    return next(iter(admins or others), nobody)


def begin_span(tables: Tables, conversation: UUID, person: UUID, seq: int, at_ms: int) -> None:
    """*person* becomes a member by entry *seq*."""
    row = tables.conversations[conversation]
    number = tables.accounts[person].raise_number(at_ms)
    past = tables.spans[conversation].setdefault(person, [])
    since = 1 if row.history == "all" and not past else seq
    past.append(Span(seq, since, 0, number))
    tables.joined.setdefault(person, {})[conversation] = None
    tables.receipts[conversation][person] = Receipt(seq, seq, at_ms)
    row.member_count += 1
    tables.requests.pop((conversation, person), None)


def end_span(tables: Tables, conversation: UUID, person: UUID, seq: int, at_ms: int) -> None:
    """*person* is a member no more, by entry *seq*."""
    number = tables.accounts[person].raise_number(at_ms)
    span = tables.spans[conversation][person][-1]
    span.until, span.number = seq, number
    tables.conversations[conversation].member_count -= 1


def create_group(
    db: FakeDatabase,
    new_id: UUID,
    author: UUID,
    key: str,
    title: str,
    history: History,
    members: Sequence[UUID],
    most: int,
    more: NewKind = PLAIN,
) -> Body[Made | Refusal]:
    """Lock everybody's rows; whoever holds the author's decides about the key."""
    tables = db.tables
    yield in_order("account", [p for p in (author, *members) if p in tables.accounts])
    if author not in tables.accounts:
        return Refusal("unknown_user", author), None
    digest: tuple[Any, ...] = ("group", title, history, tuple(members))
    if more.kind != "group" or more.topic is not None or more.tags:
        digest = (*digest, more.kind, more.topic, tuple(more.tags), more.public)
    old = tables.creations.get((author, key))
    if old is not None:
        return (Refusal("key_reused") if old[1] != digest else Made(old[0], False)), None
    if len(members) > most:
        return Refusal("conversation_full"), None
    for person in members:
        if person not in tables.accounts:
            return Refusal("unknown_user", person), None
    at_ms = db.now_ms()
    entry = Entry(
        conversation=new_id, seq=1, kind="created", author=author, key=key, at_ms=at_ms, title=title,
        members=list(members), topic=UNSET if more.topic is None else more.topic, tags=more.tags or UNSET,
    )  # fmt: skip

    def commit() -> None:
        tables.creations[author, key] = (new_id, digest)
        row = Conversation(
            more.kind, title, history, author, 1, at_ms, len(members), topic=more.topic, tags=more.tags,
            public=more.public,
        )
        _open(tables, new_id, row, entry, digest)

    return Made(new_id, True), commit


def open_direct(db: FakeDatabase, new_id: UUID, author: UUID, user: UUID) -> Body[Made | Refusal]:
    """Look, lock both people's rows, look again."""
    tables = db.tables
    pair = (min(author, user), max(author, user))
    found = tables.directs.get(pair)
    if found is not None:
        return Made(found, False), None
    yield in_order("account", [p for p in pair if p in tables.accounts])
    if user not in tables.accounts:
        return Refusal("unknown_user", user), None
    found = tables.directs.get(pair)
    if found is not None:
        return Made(found, False), None
    at_ms = db.now_ms()
    entry = Entry(
        conversation=new_id, seq=1, kind="created", author=author, key=f"direct:{new_id}", at_ms=at_ms,
        members=[author, user],
    )  # fmt: skip

    def commit() -> None:
        tables.directs[pair] = new_id
        _open(tables, new_id, Conversation("direct", None, "all", None, 1, at_ms, 2), entry, ("direct",))

    return Made(new_id, True), commit


def settle_direct(
    db: FakeDatabase, one: UUID, other: UUID, shut: bool
) -> Body[tuple[UUID, int] | None]:
    """Close the direct conversation of two people, or open it again; *shut* says how they are to each other now."""
    tables, pair = db.tables, (min(one, other), max(one, other))
    conversation = tables.directs.get(pair)
    if conversation is not None:
        yield [("conversation", conversation)]
    yield in_order("account", pair)
    if conversation is None and (conversation := tables.directs.get(pair)) is not None:
        yield [("conversation", conversation)]  # nobody holds what was just made; the SQL lets go, and locks in order
    if conversation is None or tables.conversations[conversation].shut == shut:
        return None, None
    row, at_ms, nobody = tables.conversations[conversation], db.now_ms(), UUID(int=0)
    kind: EntryKind = "conversation.closed" if shut else "conversation.opened"
    entry = Entry(
        conversation=conversation, seq=row.last_seq + 1, kind=kind, author=nobody, key=f"{kind}:{row.last_seq + 1}",
        at_ms=at_ms,
    )  # fmt: skip

    def commit() -> None:
        tables.keys[conversation, nobody, entry.key] = Stored(entry.seq, at_ms, (kind,))
        tables.entries[conversation].append(entry)
        row.last_seq, row.shut = entry.seq, shut
        if not shut:
            for receipt in tables.receipts[conversation].values():
                receipt.at_ms = receipt.delivered_ms = at_ms
        for person in pair:
            tables.spans[conversation][person][-1].number = tables.accounts[person].raise_number(at_ms)

    return (conversation, entry.seq), commit


def _open(tables: Tables, new_id: UUID, row: Conversation, entry: Entry, digest: tuple[Any, ...]) -> None:
    """A conversation with its first entry and first members."""
    assert entry.members is not UNSET
    tables.conversations[new_id] = row
    if row.public:
        tables.listed[new_id] = entry.at_ms
    tables.entries[new_id] = [entry]
    tables.keys[new_id, entry.author, entry.key] = Stored(1, entry.at_ms, digest)
    tables.receipts[new_id] = {}
    tables.spans[new_id] = {}
    for place, person in enumerate(entry.members, 1):
        number = tables.accounts[person].raise_number(entry.at_ms)
        tables.spans[new_id][person] = [Span(1, 1, place, number)]
        tables.joined.setdefault(person, {})[new_id] = None


def move_receipts(db: FakeDatabase, moves: Sequence[Raise]) -> Body[list[Raised]]:
    """Lock the receipts that exist, read, insert those that do not; a row inserted meanwhile is waited for."""
    tables = db.tables
    rows = [(move.conversation, move.person) for move in moves]
    yield in_order("receipt", [row for row in rows if row[1] in tables.receipts.get(row[0], {})])
    at_ms = db.now_ms()
    shy = [not tables.privacy[p].read_receipts if p in tables.privacy else False for _, p in rows]
    counts = [tables.conversations[c].member_count if c in tables.conversations else 0 for c, _ in rows]
    shut = [c in tables.conversations and tables.conversations[c].shut for c, _ in rows]
    members = [tables.span(c, p) is not None for c, p in rows]
    before = [_cursors(tables, c, p) for c, p in rows]
    asked = []
    for move in moves:
        row = tables.conversations.get(move.conversation)
        top = row.last_seq if row is not None else limits.SEQ_MAX
        asked.append((min(max(move.delivered, move.read), top), min(move.read, top)))
    yield in_order("receipt", [row for row, member in zip(rows, members, strict=True) if member])
    raised: list[Raised] = []
    rose: list[tuple[UUID, UUID, Receipt]] = []
    for index, (conversation, person) in enumerate(rows):
        delivered, read = asked[index]
        now = _cursors(tables, conversation, person)
        up = members[index] and (now is None or delivered > now[0] or read > now[1])
        if up:
            delivered, read = max(delivered, now[0] if now else 0), max(read, now[1] if now else 0)
            old = tables.receipts[conversation].get(person)
            delivered_ms = None
            if old is not None:
                delivered_ms = at_ms if delivered > old.delivered else old.delivered_ms or old.at_ms
            rose.append((conversation, person, Receipt(delivered, read, at_ms, delivered_ms)))
        else:
            delivered, read = before[index] or asked[index]
        earlier = before[index]
        arrived = up and (earlier is None or delivered != earlier[0]) and not shut[index]
        raised.append(Raised(members[index], delivered, read, up, counts[index], arrived, shy[index] or shut[index]))

    def commit() -> None:
        for conversation, person, receipt in rose:
            tables.receipts[conversation][person] = receipt

    return raised, commit


def _cursors(tables: Tables, conversation: UUID, person: UUID) -> tuple[int, int] | None:
    row = tables.receipts.get(conversation, {}).get(person)
    return None if row is None else (row.delivered, row.read)


# --- Reading ----------------------------------------------------------------------------------------------------------


def log_after(tables: Tables, conversation: UUID, head: int, limit: int) -> list[Entry]:
    """The log above *head*."""
    return tables.entries.get(conversation, [])[head : head + limit]


def standing(
    tables: Tables, at_ms: int, person: UUID, lineage: UUID | None, told: int = 0, seen: int | None = None
) -> Standing:
    """All that a resume starts from."""
    account: Account | None = tables.accounts.get(person)
    spans = [
        SpanRow(
            conversation, span.joined, span.since, tables.conversations[conversation].last_seq,
            span.number, span.until, _partner(tables, conversation, person),
            tables.conversations[conversation].member_count > limits.TYPING_MEMBERS
            or tables.conversations[conversation].shut,
        )
        for conversation in sorted(tables.joined.get(person, {}))
        for span in tables.spans[conversation][person]
    ]  # fmt: skip
    known = lineage is None or lineage in tables.lineages
    number = None if account is None else account.number
    rows = 0 if number is None or number <= told else tables.newest_row(person, told)
    same = seen is not None and all(span.number <= seen for span in spans)
    return Standing(
        at_ms, known, [] if same else spans, number, same=same, rows=rows, privacy=tables.privacy.get(person)
    )


def first_standing(tables: Tables, at_ms: int, person: UUID, recent: int, most: int) -> Standing:
    """All that a first start starts from: the first *most* of the person's conversations with it."""
    found = standing(tables, at_ms, person, None)
    now = [span.conversation for span in found.spans if span.until is None][:most]
    return msgspec.structs.replace(found, states=conversation_states(tables, person, now, recent))


def _partner(tables: Tables, conversation: UUID, person: UUID) -> UUID | None:
    if tables.conversations[conversation].kind != "direct":
        return None
    return next(other for other in tables.spans[conversation] if other != person)


def visible(tables: Tables, conversation: UUID, person: UUID, low: int, high: int) -> list[Entry]:
    """Entries low <= seq <= high that *person* may see, oldest first."""
    log = tables.entries.get(conversation, [])
    found: list[Entry] = []
    for span in tables.spans.get(conversation, {}).get(person, ()):
        top = high if span.until is None else min(high, span.until)
        found += log[max(low, span.since) - 1 : max(top, 0)]
    return found


def visible_message(tables: Tables, conversation: UUID, person: UUID, seq: int) -> Entry | None:
    """The message at that place, if there is one that *person* may see."""
    found = visible(tables, conversation, person, seq, seq)
    return found[0] if found and found[0].kind == "message" else None


def size_of(entry: Entry) -> int:
    """How large the SQL takes an entry for: its text, content and detail in bytes, and what comes with them."""
    size = ENTRY_OVERHEAD
    if entry.content is not UNSET:
        size += len(msgspec.json.encode(entry.content))
    if entry.text is not UNSET:
        size += len(entry.text.encode())
    if entry.members is not UNSET:
        ids = [str(person) for person in entry.members]
        if entry.title is UNSET:
            detail = '{"members" : ' + json.dumps(ids) + "}"
        else:
            title = json.dumps(entry.title, ensure_ascii=False)
            detail = '{"title" : ' + title + ', "members" : ' + json.dumps(ids, separators=(",", ":")) + "}"
        size += len(detail.encode())
    if more := {name: one for name, one in msgspec.to_builtins(entry).items() if name in _DETAIL}:
        size += len(json.dumps(more, ensure_ascii=False, separators=(",", ":")).encode())
    return size


def visible_entries(tables: Tables, person: UUID, ranges: Sequence[Range], size_bytes: int) -> Page:
    """A page of what *person* may see of *ranges*."""
    fitting: list[Entry] = []
    total = 0
    for one in ranges:
        for entry in visible(tables, one.conversation, person, one.low, one.high):
            total += size_of(entry)
            if fitting and total > size_bytes:
                return Page(fitting, True)
            fitting.append(entry)
    return Page(fitting, False)


def log_stretches(tables: Tables, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
    """The first entries of each of *ranges*, whoever reads them."""
    pages = []
    for one in ranges:
        fitting: list[Entry] = []
        total, cut = 0, False
        for entry in tables.entries.get(one.conversation, [])[max(one.low - 1, 0) : max(one.high, 0)]:
            total += size_of(entry)
            if fitting and total > size_bytes:
                cut = True
                break
            fitting.append(entry)
        pages.append(Page(fitting, cut))
    return pages


def history_page(
    tables: Tables, person: UUID, conversation: UUID, before: int | None, limit: int, size_bytes: int
) -> HistoryPage | Refusal:
    """The newest *limit* entries below *before*, oldest first."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member", person)
    seen = visible(tables, conversation, person, 1, limits.SEQ_MAX if before is None else before - 1)
    fitting: list[Entry] = []
    total = 0
    for entry in seen[: -limit - 1 : -1]:
        total += size_of(entry)
        if fitting and total > size_bytes:
            break
        fitting.append(entry)
    return HistoryPage(fitting[::-1], len(fitting) < len(seen))


def history_around(
    tables: Tables, person: UUID, conversation: UUID, at: int, older: int, newer: int, size_bytes: int
) -> HistoryPage | Refusal:
    """The newest *older* entries below *at*, and the oldest *newer* from it on."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member", person)
    before = visible(tables, conversation, person, 1, at - 1)[::-1]
    behind = visible(tables, conversation, person, at, limits.SEQ_MAX)
    fitting: list[list[Entry]] = []
    for seen, limit in ((before, older), (behind, newer)):
        total, half = 0, list[Entry]()
        for entry in seen[:limit]:
            total += size_of(entry)
            if half and total > size_bytes // 2:
                break
            half.append(entry)
        fitting.append(half)
    return HistoryPage(
        fitting[0][::-1] + fitting[1], len(fitting[0]) < len(before), newer=len(fitting[1]) < len(behind)
    )


def conversation_states(
    tables: Tables, person: UUID, conversations: Sequence[UUID], recent: int, named: int = limits.NAMED_MEMBERS
) -> list[State]:
    """Conversations as *person* sees them, those the person was never in left out."""
    return [
        _state(tables, person, conversation, recent, named)
        for conversation in conversations
        if person in tables.spans.get(conversation, {})
    ]


def _state(tables: Tables, person: UUID, conversation: UUID, recent: int, named: int) -> State:
    row = tables.conversations[conversation]
    last = tables.spans[conversation][person][-1]
    delivered, read = _cursors(tables, conversation, person) or (0, 0)
    seen = visible(tables, conversation, person, 1, limits.SEQ_MAX)
    above = [e for e in seen if e.seq > read]
    last_seen = seen[len(seen) - recent :] if recent < len(seen) else seen
    hidden = tables.hidden.get((person, conversation), ())
    members: list[UUID] = []
    admins: list[UUID] = []
    counted = 0
    names: dict[UUID, str] = {}
    receipts: list[ReceiptFrame] = []
    if last.until is None:
        members = tables.members(conversation)
        counted = row.member_count if row.kind in ("room", "channel") else 0
        admins = tables.admins(conversation)
        if row.member_count <= named:
            names = {other: tables.accounts[other].name for other in members}
            rows = tables.receipts[conversation]
            receipts = [
                ReceiptFrame(other, rows[other].delivered, 0 if hides(tables, person, other) else rows[other].read)
                for other in sorted(members)
                if other != person and other in rows and not row.shut
            ]
    return State(
        conversation=conversation, kind=row.kind, head=row.last_seq if last.until is None else last.until,
        first_seq=last.since, joined=last.joined, read=read, delivered=delivered,
        unread=_unread(above, person, hidden),
        active_at_ms=row.active_at_ms, history=row.history, until=last.until, title=row.title, owner=row.owner,
        retention_s=row.retention_s,
        pins=[] if last.until is not None else [
            seq for seq in sorted(tables.pins.get(conversation, ()))
            if any(span.shows(seq) for span in tables.spans[conversation][person])
        ],
        tags=row.tags, public=row.public, member_count=counted,
        members=[] if row.kind in ("room", "channel") else members, names=names, receipts=receipts, recent=last_seen,
        admins=admins, topic=row.topic, photo=row.photo, slow_mode_s=row.slow_mode_s,
        closed=row.shut,
    )  # fmt: skip


def hides(tables: Tables, person: UUID, other: UUID) -> bool:
    """Whether *person* may not see how far *other* has read: one of them hides it."""
    switched = (tables.privacy.get(one) for one in (person, other))
    return person != other and any(one is not None and not one.read_receipts for one in switched)


def _unread(above: Sequence[Entry], person: UUID, hidden: Container[int]) -> int:
    """Of the entries above the read cursor."""
    first = above[: limits.UNREAD]
    return sum(
        1 for e in first
        if e.kind == "message" and e.author != person and not e.deleted and e.seq not in hidden
        and (e.content is UNSET or e.content.thread is UNSET)
    )  # fmt: skip


def unread_total(tables: Tables, now_ms: int, person: UUID) -> Unread:
    """What is unread over all that *person* is in."""
    counts, marked = [], 0
    for conversation in tables.joined.get(person, {}):
        if (span := tables.span(conversation, person)) is not None:
            _, read = _cursors(tables, conversation, person) or (0, 0)
            row = tables.personal.get(person, {}).get(("settings", str(conversation)))
            settings = {} if row is None or row.value is None else row.value
            muted = settings.get("muted", False) and settings.get("muted_until_ms", limits.SEQ_MAX) > now_ms
            if muted or settings.get("archived", False):
                continue
            hidden = tables.hidden.get((person, conversation), ())
            counts.append(_unread(tables.entries[conversation][max(read, span.since - 1) :], person, hidden))
            marked += settings.get("unread", False) and not counts[-1]
    return Unread(min(sum(counts), limits.UNREAD_TOTAL), sum(1 for count in counts if count) + marked)


def receipts_since(
    tables: Tables, person: UUID, since_ms: int, named: int = limits.NAMED_MEMBERS
) -> list[OthersReceipt]:
    """Receipts written after *since_ms* in the person's conversations."""
    return [
        OthersReceipt(conversation, other, receipt.delivered, 0 if hides(tables, person, other) else receipt.read)
        for conversation in tables.joined.get(person, {})
        if tables.span(conversation, person) is not None
        for other, receipt in tables.receipts[conversation].items()
        if (receipt.delivered_ms or receipt.at_ms if hides(tables, person, other) else receipt.at_ms) > since_ms
        and (
            other == person
            or ((row := tables.conversations[conversation]).member_count <= named and not row.shut)
        )
    ]  # fmt: skip


def moved(tables: Tables, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
    """Whose log or number is above what the asker has delivered."""
    conversations = tables.conversations
    tops = {c: conversations[c].last_seq for c in heads if c in conversations}
    return Moved(
        {c: top for c, top in tops.items() if top > heads[c]},
        [p for p, number in numbers.items() if p in tables.accounts and tables.accounts[p].number > number],
        [c for c in tops if conversations[c].public],
    )
