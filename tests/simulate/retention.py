"""The SQL functions of ``storage/migrations/0008_later.sql`` about messages that disappear once more, over the fake's
tables."""

from collections.abc import Callable
from uuid import UUID

from msgspec import UNSET

from protocol.frames import ConversationRetention, Entry
from storage.rows import Acted, Rules
from storage.scheduled import ExpireMessages
from tests.simulate import threads
from tests.simulate.database import Body, FakeDatabase, Stored
from tests.simulate.functions import Refusal
from tests.simulate.messages import Begun, begin_action, end_action, erase_message, settle_action


def set_retention(
    db: FakeDatabase, author: UUID, action: ConversationRetention, rules: Rules
) -> Body[Acted | Refusal]:
    """Say how long messages are kept that are sent from now on."""
    tables, digest = db.tables, ("retention", action.seconds)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    row = tables.conversations[action.conversation]
    if not tables.may(action.conversation, author, "retention"):
        return Refusal("forbidden"), None
    kept_s = action.seconds or None
    if kept_s == row.retention_s:
        return settle_action(tables, author, action, digest, begun.seq - 1)

    def changes() -> None:
        row.retention_s = kept_s

    return end_action(
        tables, author, action, digest, begun, "conversation.retention", changes, retention_s=kept_s or UNSET
    )


def expire_messages(db: FakeDatabase, author: UUID, action: ExpireMessages, rules: Rules) -> Body[Acted | Refusal]:
    """Blank what has come to its end, and say so in one entry."""
    tables, conversation = db.tables, action.conversation
    yield [("conversation", conversation)]
    now, row, log = db.now_ms(), tables.conversations[conversation], tables.entries[conversation]
    rows = tables.expiring.get(conversation, {})
    due = sorted((at_ms, seq) for seq, at_ms in rows.items() if at_ms <= now)[: rules.expired]
    gone = sorted(seq for _, seq in due if not log[seq - 1].deleted)
    changes: list[Callable[[], None]] = []
    for seq in gone:
        change = yield from erase_message(tables, log[seq - 1], row.last_seq + 1)
        changes.append(change)
    shows = threads.left(tables, conversation, gone, rules)

    def sweep() -> None:
        for _, seq in due:
            del rows[seq]
        tables.expiry.pop(conversation, None)
        if rows:
            tables.expiry[conversation] = min(rows.values())

    last = row.last_seq
    if not gone:
        return Acted(last, log[last - 1].at_ms), sweep
    entry = Entry(
        conversation=conversation, seq=last + 1, kind="messages.expired", author=author, key=f"expired:{last + 1}",
        at_ms=now, messages=gone, threads=shows,
    )  # fmt: skip

    def commit() -> None:
        for change in changes:
            change()
        threads.show(tables, conversation, shows, entry.seq)
        sweep()
        tables.keys[conversation, author, entry.key] = Stored(entry.seq, now, ("expired",))
        log.append(entry)
        row.last_seq = entry.seq

    return Acted(entry.seq, now, entry), commit
