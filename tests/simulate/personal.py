"""The SQL functions of ``storage/migrations/0006_personal.sql`` once more, over the fake's tables."""

import json
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import available_timezones

import msgspec

from protocol.frames import (
    AnyPersonal,
    Command,
    ConversationArchive,
    ConversationFolder,
    ConversationMarkUnread,
    ConversationMute,
    ConversationNickname,
    ConversationNotify,
    ConversationPin,
    DraftClear,
    DraftSet,
    MessageHide,
    NotificationRead,
    NotificationSettings,
    StateEvent,
    ThreadFollow,
    ThreadRead,
)
from storage.rows import Kept, Personal as PersonalRow, PersonalPage, Rules
from tests.simulate import threads
from tests.simulate.database import Body, FakeDatabase, KeptKey, Key, Personal, Tables
from tests.simulate.functions import visible

ROW_OVERHEAD: Final = 100


def set_personal(tables: Tables, at_ms: int, person: UUID, what: str, subject: str, value: Any) -> int:
    """Set a row, within a commit whose transaction holds the account's lock. The number that a device has to reach."""
    rows = tables.personal.setdefault(person, {})
    old = rows.get((what, subject))
    if (None if old is None else old.value) == value:
        return 0 if old is None else old.number
    number = tables.accounts[person].raise_number(at_ms)
    rows[what, subject] = Personal(value, number)
    return number


class No(NamedTuple):
    """A refusal, as the SQL answers it: a code, and whom or what it is about."""

    code: str
    missing: UUID | None = None
    seq: int = 0


def known(tables: Tables, name: tuple[UUID, str, str]) -> KeptKey | None:
    """What a key of (person, scope, key) stands for; None for a new one."""
    return tables.personal_keys.get(name)


def _begin(
    db: FakeDatabase, person: UUID, command: AnyPersonal
) -> Generator[list[Key], None, tuple[tuple[Any, ...], Kept | No | None]]:
    """The lock, the key, the membership: the command's digest, and the answer if it is one already."""
    tables = db.tables
    said = {**msgspec.to_builtins(command), "id": 0, "key": ""}
    digest = (msgspec.json.encode(said),)
    yield [("account", person)]
    old = known(tables, (person, _scope(command), command.key))
    if old is not None:
        return digest, No("key_reused") if old.digest != digest else Kept(old.number, False)
    if isinstance(command, NotificationRead | NotificationSettings):
        return digest, None
    if person not in tables.spans.get(command.conversation, {}):
        return digest, No("not_a_member", person)
    return digest, None


def _scope(command: AnyPersonal) -> str:
    """Within what a key stands for one command."""
    if isinstance(command, NotificationRead | NotificationSettings):
        return "notification"
    return str(command.conversation)


def _end(
    db: FakeDatabase, person: UUID, command: AnyPersonal, digest: tuple[Any, ...], what: str, rows: dict[str, Any],
    then: Callable[[], object] = lambda: None,
) -> tuple[Kept, Callable[[], None]]:  # fmt: skip
    """Rows to set, subject -> value, and the key to keep."""
    tables, at_ms, account = db.tables, db.now_ms(), db.tables.accounts[person]
    number, told = account.number, 0
    for subject, value in rows.items():  # as set_personal does; the account is locked, so it comes to the same later
        old = tables.personal.get(person, {}).get((what, subject))
        if (None if old is None else old.value) == value:
            told = max(told, 0 if old is None else old.number)
        else:
            number = told = max(number + 1, at_ms)

    def commit() -> None:
        for subject, value in rows.items():
            set_personal(tables, at_ms, person, what, subject, value)
        tables.personal_keys[person, _scope(command), command.key] = KeptKey(told, digest)
        then()

    return Kept(told, True), commit


def set_draft(db: FakeDatabase, person: UUID, command: DraftSet | DraftClear, rules: Rules) -> Body[Kept | No]:
    """Keep, or throw away, what one has begun to write."""
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    value = None
    if isinstance(command, DraftSet):
        value = {"text": command.text, "at_ms": db.now_ms()}
        if command.reply_to is not None:
            value["reply_to"] = command.reply_to
    return _end(db, person, command, digest, "draft", {str(command.conversation): value})


def change_settings(db: FakeDatabase, person: UUID, command: Any, rules: Rules) -> Body[Kept | No]:
    """Change one's settings of a conversation."""
    tables = db.tables
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    subject = str(command.conversation)
    row = tables.personal.get(person, {}).get(("settings", subject))
    old: dict[str, Any] = {} if row is None or row.value is None else row.value
    change: dict[str, Any]
    match command:
        case ConversationMute(on=on, until_ms=until_ms):
            change = {"muted": on, "muted_until_ms": until_ms if on else None}
        case ConversationArchive(on=on):
            change = {"archived": on}
        case ConversationPin(on=on):
            change = {"pinned_at_ms": old.get("pinned_at_ms", db.now_ms()) if on else None}
        case ConversationMarkUnread(on=on):
            change = {"unread": on}
        case ConversationFolder(folder=folder):
            change = {"folder": folder}
        case ConversationNotify(level=level):
            change = {"notify": None if level == "all" else level}
        case ConversationNickname(user=None, name=name):
            change = {"nickname": name}
        case ConversationNickname(user=UUID() as user, name=name):
            if user not in tables.spans[command.conversation]:
                return No("not_a_member", user), None
            names = {**old.get("nicknames", {}), str(user): name}
            change = {"nicknames": {one: called for one, called in names.items() if called is not None}}
        case _:
            raise AssertionError(command)
    new = {name: value for name, value in {**old, **change}.items() if value not in (None, False, {})}
    pinned = sum(
        1 for (what, _), one in tables.personal.get(person, {}).items()
        if what == "settings" and one.value is not None and "pinned_at_ms" in one.value
    )  # fmt: skip
    if len(new.get("nicknames", {})) > rules.nicknames or (
        "pinned_at_ms" in new and "pinned_at_ms" not in old and pinned >= rules.pinned
    ):
        return No("too_many"), None
    return _end(db, person, command, digest, "settings", {subject: new or None})


def hide_messages(db: FakeDatabase, person: UUID, command: MessageHide, rules: Rules) -> Body[Kept | No]:
    """Delete messages for oneself."""
    tables, size = db.tables, rules.hidden_block
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    for seq in sorted(set(command.seqs)):
        if not any(one.kind == "message" for one in visible(tables, command.conversation, person, seq, seq)):
            return No("unknown_message", seq=seq), None
    hidden = sorted(tables.hidden.get((person, command.conversation), set()) | set(command.seqs))
    rows = {
        f"{command.conversation}/{block}": {"seqs": [seq for seq in hidden if seq // size == block]}
        for block in sorted({seq // size for seq in command.seqs})
    }

    def then() -> None:
        tables.hidden[person, command.conversation] = set(hidden)

    return _end(db, person, command, digest, "hidden", rows, then)


def mark_thread(db: FakeDatabase, person: UUID, command: ThreadFollow | ThreadRead, rules: Rules) -> Body[Kept | No]:
    """Follow a thread or let it go; raise one's read cursor in it."""
    tables, place = db.tables, command.conversation
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    if (no := threads.problem(tables, place, person, command.seq)) is not None:
        return No(no.code, seq=no.seq), None
    value = dict(threads.own(tables, person, place, command.seq))
    if isinstance(command, ThreadFollow):
        value["following"] = command.on
    else:
        value["read"] = max(value.get("read", 0), min(command.read, tables.conversations[place].last_seq))
    return _end(db, person, command, digest, "thread", {f"{place}/{command.seq}": value})


COMMANDS: Final[dict[type[Command], Callable[[FakeDatabase, UUID, Any, Rules], Body[Kept | No]]]] = {
    DraftSet: set_draft,
    DraftClear: set_draft,
    MessageHide: hide_messages,
    ThreadFollow: mark_thread,
    ThreadRead: mark_thread,
    **dict.fromkeys(
        (
            ConversationMute, ConversationArchive, ConversationPin, ConversationMarkUnread, ConversationNickname,
            ConversationFolder, ConversationNotify,
        ),
        change_settings,
    ),
}  # fmt: skip


def read_notifications(db: FakeDatabase, person: UUID, command: NotificationRead, rules: Rules) -> Body[Kept | No]:
    """Mark notifications as read."""
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    ids = {str(one) for one in command.ids}
    through = str(command.through or "")
    mine = {
        subject: {**row.value, "read": True}
        for (what, subject), row in sorted(db.tables.personal.get(person, {}).items())
        if what == "notification" and row.value is not None and not row.value.get("read")
        and (subject in ids or subject <= through)
    }  # fmt: skip
    return _end(db, person, command, digest, "notification", mine)


def change_notifying(db: FakeDatabase, person: UUID, command: NotificationSettings, rules: Rules) -> Body[Kept | No]:
    """Change when and how one is told by push."""
    digest, answer = yield from _begin(db, person, command)
    if answer is not None:
        return answer, None
    if command.timezone not in available_timezones():
        return No("unknown_timezone"), None
    value = {
        "quiet_from": command.quiet_from, "quiet_to": command.quiet_to,
        "timezone": None if command.timezone == "UTC" else command.timezone,
        "hide_content": command.hide_content or None,
    }  # fmt: skip
    kept = {name: one for name, one in value.items() if one is not None}
    return _end(db, person, command, digest, "notifying", {"": kept or None})


COMMANDS[NotificationRead] = read_notifications
COMMANDS[NotificationSettings] = change_notifying


def personal_rows(
    tables: Tables, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
) -> PersonalPage:
    """Rows of one's own, in the order of their last change."""
    found = sorted(
        (row.number, what, subject, row.value)
        for (what, subject), row in tables.personal.get(person, {}).items()
        if above < row.number <= through and (gone or row.value is not None)
    )
    fitting: list[PersonalRow] = []
    total = 0
    for number, what, subject, value in found[:limit]:
        total += ROW_OVERHEAD + len(subject.encode()) + (0 if value is None else len(_json(value)))
        if fitting and total > size_bytes:
            break
        shown = {"what": what, "subject": subject} | ({} if value is None else {what: value})
        fitting.append(PersonalRow(number, msgspec.convert(shown, StateEvent)))
    return PersonalPage(fitting, len(fitting) < len(found))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
