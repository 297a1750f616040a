"""The SQL functions of ``storage/migrations/0008_later.sql`` about scheduled messages once more, over the fake's
tables."""

import json
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol import limits
from protocol.frames import MessageSchedule, MessageSend, ScheduledMessage, ScheduledPage
from protocol.frames.content import NOTHING
from storage import page_cursor
from storage.rows import Acted, Rules
from storage.scheduled import Due, DueMessage, Filed, SendScheduled
from tests.simulate.database import Body, FakeDatabase, ScheduledRow, Tables
from tests.simulate.functions import Refusal
from tests.simulate.messages import Begun, begin_action, find_media, send_message
from tests.simulate.personal import set_personal

SHOWN: Final = ("waiting", "failed")
_SPACES: Final = {False: 8, True: 11}  # that json_build_object() writes and msgspec does not


def schedule_message(
    db: FakeDatabase, new_id: UUID, author: UUID, command: MessageSchedule
) -> Body[Filed | Refusal]:
    """Keep a message until its time."""
    tables = db.tables
    name = (author, command.key, command.conversation)
    digest = ("schedule", command.at_ms, command.text, command.content)
    if command.conversation in tables.conversations:
        yield [("conversation", command.conversation)]
    for one in tables.scheduled.values():
        if one.name == name:
            number = tables.personal[author]["scheduled", str(one.id)].number
            return (Refusal("key_reused") if one.digest != digest else Filed(one.id, one.at_ms, number)), None
    begun = yield from begin_action(db, author, command, digest)
    if isinstance(begun, Acted):
        return Refusal("key_reused"), None
    if not isinstance(begun, Begun):
        return begun, None
    if command.at_ms > begun.at_ms + limits.SCHEDULED_AHEAD_MS:
        return Refusal("too_far_ahead"), None
    place = (author, command.conversation)
    mine = [one for one in tables.scheduled.values() if (one.author, one.conversation) == place and one.state in SHOWN]
    if len(mine) >= limits.SCHEDULED:
        return Refusal("too_many_scheduled"), None
    yield [("account", author)]
    media = yield from find_media(tables, author, command.content or NOTHING)
    if isinstance(media, Refusal):
        return media, None
    row = ScheduledRow(
        new_id, author, command.conversation, command.key, digest, command.at_ms, command.at_ms,
        command=MessageSend(
            id=0, conversation=command.conversation, key=f"scheduled:{new_id}", text=command.text,
            content=command.content,
        ),
    )  # fmt: skip

    now_ms = db.now_ms()
    number = _number(tables, now_ms, row)

    def commit() -> None:
        tables.scheduled[new_id] = row
        _show(tables, now_ms, row)

    return Filed(new_id, command.at_ms, number), commit


def unschedule_message(db: FakeDatabase, author: UUID, scheduled_id: UUID) -> Body[int | Refusal]:
    """Take it back."""
    yield [("account", author)]
    row = db.tables.scheduled.get(scheduled_id)
    if row is None or row.author != author:
        return Refusal("unknown_scheduled"), None
    yield [("scheduled", scheduled_id)]
    row = db.tables.scheduled[scheduled_id]
    if row.state == "sent":
        return Refusal("too_late"), None
    now_ms = db.now_ms()
    gone = msgspec.structs.replace(row, state="gone", command=None, problem=None)

    def commit() -> None:
        db.tables.scheduled[scheduled_id] = gone
        _show(db.tables, now_ms, gone)

    return _number(db.tables, now_ms, gone), commit


def _value(row: ScheduledRow) -> dict[str, Any] | None:
    """The row of one's own that shows it; None: it shows no more."""
    if row.command is None:
        return None
    value: dict[str, Any] = {"conversation": str(row.conversation), "at_ms": row.at_ms}
    if row.command.text:
        value["text"] = row.command.text
    if row.command.content is not None:
        value["content"] = json.loads(msgspec.json.encode(row.command.content))
    if row.problem is not None:
        value["problem"] = row.problem
    return value


def _show(tables: Tables, at_ms: int, row: ScheduledRow) -> None:
    """Within the commit; the account is locked."""
    set_personal(tables, at_ms, row.author, "scheduled", str(row.id), _value(row))


def _number(tables: Tables, at_ms: int, row: ScheduledRow) -> int:
    """What that will have as its number."""
    old = tables.personal.get(row.author, {}).get(("scheduled", str(row.id)))
    if (None if old is None else old.value) == _value(row):
        return 0 if old is None else old.number
    return max(tables.accounts[row.author].number + 1, at_ms)


def scheduled_messages(
    tables: Tables, author: UUID, conversation: UUID | None, after: tuple[int, UUID], limit: int, size_bytes: int
) -> ScheduledPage:
    """One's own that wait or have failed, by their time."""
    rows = sorted(
        (one.at_ms, one.id)
        for one in tables.scheduled.values()
        if one.author == author and one.state in SHOWN and conversation in (None, one.conversation)
        and (one.at_ms, one.id) > after
    )  # fmt: skip
    page: list[ScheduledMessage] = []
    size = 0
    for at_ms, one in rows[:limit]:
        row = tables.scheduled[one]
        command = row.command
        assert command is not None
        stored: dict[str, Any] = {"conversation": row.conversation, "key": command.key, "text": command.text}
        if command.content is not None:
            stored["content"] = command.content
        size += len(msgspec.json.encode(stored)) + _SPACES[command.content is not None] + 200
        if page and size > size_bytes:
            break
        page.append(
            ScheduledMessage(
                row.conversation, at_ms, command.text, command.content or UNSET, row.problem, scheduled=one
            )
        )
    if len(page) == len(rows):
        return ScheduledPage(page)
    return ScheduledPage(page, page_cursor.SCHEDULED.text_of((page[-1].at_ms, page[-1].scheduled)))


def send_scheduled(db: FakeDatabase, author: UUID, action: SendScheduled, rules: Rules) -> Body[Acted | Refusal]:
    """The message and the mark that it was sent, in one commit."""
    tables = db.tables
    yield [("conversation", action.conversation)]
    yield [("account", author)]
    yield [("scheduled", action.scheduled)]
    row = tables.scheduled.get(action.scheduled)
    if row is not None and row.seq is not None:
        return Acted(row.seq, tables.entries[row.conversation][row.seq - 1].at_ms), None
    if row is None or row.state != "waiting":
        return Refusal("unknown_scheduled"), None
    assert row.command is not None
    answer, send = yield from send_message(db, author, row.command, rules)
    now_ms = db.now_ms()
    if isinstance(answer, Refusal):
        failed = msgspec.structs.replace(row, state="failed", problem=answer.code)
        return answer, lambda: _keep(tables, now_ms, failed)
    sent = msgspec.structs.replace(row, state="sent", command=None, seq=answer.seq)

    def commit() -> None:
        if send is not None:
            send()
        _keep(tables, now_ms, sent)

    return answer, commit


def _keep(tables: Tables, at_ms: int, row: ScheduledRow) -> None:
    tables.scheduled[row.id] = row
    _show(tables, at_ms, row)


def take_due(db: FakeDatabase, limit: int, lease_ms: int) -> Body[Due]:
    """Take what is due, and pass by what somebody holds."""
    tables, now = db.tables, db.now_ms()
    due = [
        one
        for one in sorted(tables.scheduled.values(), key=lambda one: (one.due_ms, one.id))
        if one.state == "waiting" and one.due_ms <= now and not db.held(("scheduled", one.id))
    ][:limit]
    expired = [
        one
        for one, due_ms in sorted(tables.expiry.items(), key=lambda item: (item[1], item[0]))
        if due_ms <= now and not db.held(("expiry", one))
    ][: limit - len(due)]
    yield [("scheduled", one.id) for one in due] + [("expiry", one) for one in expired]
    taken = {one.id: now + lease_ms for one in due}
    waiting = [taken.get(one.id, one.due_ms) for one in tables.scheduled.values() if one.state == "waiting"]
    waiting += [now + lease_ms if one in expired else due_ms for one, due_ms in tables.expiry.items()]

    def commit() -> None:
        for one, due_ms in taken.items():
            _replace(tables, one, due_ms=due_ms)
        for conversation in expired:
            if conversation in tables.expiry:
                tables.expiry[conversation] = now + lease_ms

    by_time = sorted(due, key=lambda one: (one.at_ms, one.id))
    found = [DueMessage(one.id, one.author, one.conversation) for one in by_time]
    return Due(found, sorted(expired), max(0, min(waiting) - now) if waiting else None), commit


def _replace(tables: Tables, scheduled_id: UUID, **changes: Any) -> None:
    """Rows are replaced, not changed."""
    tables.scheduled[scheduled_id] = msgspec.structs.replace(tables.scheduled[scheduled_id], **changes)
