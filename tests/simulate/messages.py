"""The SQL functions of ``storage/migrations/0005_messages.sql`` once more, over the fake's tables."""

from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from protocol.frames import (
    AnyAction,
    Command,
    Entry,
    EntryKind,
    LinkCreate,
    LinkRevoke,
    MessageDelete,
    MessageEdit,
    MessageReact,
    OneReaction,
    Reaction,
    Version,
    Versions,
)
from storage.rows import Acted, Rules
from tests.simulate import functions
from tests.simulate.database import Body, FakeDatabase, Key, Reacted, Stored, Tables
from tests.simulate.functions import Refusal, visible

VERSION_OVERHEAD: Final = 200
Keyed: TypeAlias = AnyAction | LinkCreate | LinkRevoke  # what is said of a conversation, with a key
Digest: TypeAlias = tuple[Any, ...]


class Begun(NamedTuple):
    """An action may go on, as entry *seq* at *at_ms*."""

    seq: int
    at_ms: int


def begin_action(
    db: FakeDatabase, author: UUID, action: Keyed, digest: Digest
) -> Generator[list[Key], None, Begun | Acted | Refusal]:
    """The lock, the key, the membership."""
    tables, conversation = db.tables, action.conversation
    row = tables.conversations.get(conversation)
    if row is None:
        return Refusal("not_a_member", author)
    yield [("conversation", conversation)]
    name = (conversation, author, action.key)
    old = functions.known(tables, name) or tables.settled.get(name)
    if old is not None:
        return Refusal("key_reused") if old.digest != digest else Acted(old.seq, old.at_ms)
    if tables.span(conversation, author) is None:
        return Refusal("not_a_member", author)
    return Begun(row.last_seq + 1, db.now_ms())


def visible_message(tables: Tables, conversation: UUID, person: UUID, seq: int) -> Entry | None:
    """The message at that place, if there is one that *person* may see."""
    found = visible(tables, conversation, person, seq, seq)
    return found[0] if found and found[0].kind == "message" else None


def end_action(
    tables: Tables, author: UUID, action: AnyAction, digest: Digest, begun: Begun, kind: EntryKind,
    changes: Callable[[], None], text: str | UnsetType = UNSET, **detail: Any,
) -> tuple[Acted, Callable[[], None]]:  # fmt: skip
    """The action's entry, and what the commit does."""
    entry = Entry(
        conversation=action.conversation, seq=begun.seq, kind=kind, author=author, key=action.key, at_ms=begun.at_ms,
        text=text, **detail,
    )  # fmt: skip

    def commit() -> None:
        changes()
        tables.keys[action.conversation, author, action.key] = Stored(begun.seq, begun.at_ms, digest)
        tables.entries[action.conversation].append(entry)
        row = tables.conversations[action.conversation]
        row.last_seq, row.active_at_ms = begun.seq, begun.at_ms

    return Acted(begun.seq, begun.at_ms, entry), commit


def settle_action(
    tables: Tables, author: UUID, action: Keyed, digest: Digest, seq: int
) -> tuple[Acted, Callable[[], None]]:
    """Keep the key of an action that changes nothing."""
    at_ms = tables.entries[action.conversation][seq - 1].at_ms

    def commit() -> None:
        tables.settled[action.conversation, author, action.key] = Stored(seq, at_ms, digest)

    return Acted(seq, at_ms), commit


def edit_message(db: FakeDatabase, author: UUID, action: MessageEdit, rules: Rules) -> Body[Acted | Refusal]:
    """Give a message another text."""
    tables, digest = db.tables, ("edit", action.seq, action.text)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    message = visible_message(tables, action.conversation, author, action.seq)
    if message is None:
        return Refusal("unknown_message"), None
    if message.deleted:
        return Refusal("message_deleted"), None
    if message.author != author:
        return Refusal("forbidden"), None
    if tables.conversations[action.conversation].guarded and not tables.may(action.conversation, author, "write"):
        return Refusal("forbidden"), None
    within = rules.edit_within_s
    if within == 0 or (within > 0 and begun.at_ms - message.at_ms > within * 1000):
        return Refusal("too_late"), None
    now = msgspec.structs.replace(message, text=action.text, edited_at_ms=begun.at_ms, changed=begun.seq)

    def changes() -> None:
        versions = tables.versions.setdefault((action.conversation, action.seq), {action.seq: message.text})
        versions[begun.seq] = UNSET
        tables.rewrite(now)

    return end_action(
        tables, author, action, digest, begun, "message.edited", changes, text=action.text, of=action.seq
    )  # fmt: skip


def delete_message(db: FakeDatabase, author: UUID, action: MessageDelete, rules: Rules) -> Body[Acted | Refusal]:
    """Delete a message for everybody."""
    tables, digest = db.tables, ("delete", action.seq)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    message = visible_message(tables, action.conversation, author, action.seq)
    if message is None:
        return Refusal("unknown_message"), None
    if author != message.author and not tables.may(action.conversation, author, "delete"):
        return Refusal("forbidden"), None
    if message.deleted:
        assert message.changed is not UNSET
        return settle_action(tables, author, action, digest, message.changed)
    now = msgspec.structs.replace(
        message, text=UNSET, edited_at_ms=UNSET, reactions=[], deleted=True, changed=begun.seq
    )

    def changes() -> None:
        place = (action.conversation, action.seq)
        for seq in tables.versions.get(place, {}):
            if seq != action.seq:
                edit = tables.entries[action.conversation][seq - 1]
                tables.rewrite(msgspec.structs.replace(edit, text=UNSET, deleted=True))
            else:
                tables.versions[place][seq] = UNSET
        tables.reactions.pop(place, None)
        tables.rewrite(now)

    return end_action(tables, author, action, digest, begun, "message.deleted", changes, of=action.seq)


def react_to_message(db: FakeDatabase, author: UUID, action: MessageReact, rules: Rules) -> Body[Acted | Refusal]:
    """React to a message, or take a reaction back."""
    tables, digest = db.tables, ("react", action.seq, action.emoji, action.on)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    message = visible_message(tables, action.conversation, author, action.seq)
    if message is None:
        return Refusal("unknown_message"), None
    if message.deleted:
        return Refusal("message_deleted"), None
    rows = dict(tables.reactions.get((action.conversation, action.seq), {}))
    mine = (action.emoji, author)
    if action.on == (mine in rows):
        return settle_action(
            tables, author, action, digest, action.seq if message.changed is UNSET else message.changed
        )
    others = [one for one in message.reactions if one.emoji != action.emoji]
    if action.on:
        new = len(others) == len(message.reactions)
        own = sum(person == author for _, person in rows)
        if (new and len(others) >= rules.reactions) or own >= rules.reactions_of_one:
            return Refusal("too_many_reactions"), None
        rows[mine] = Reacted(begun.seq, begun.at_ms)
    else:
        del rows[mine]
    users = sorted((row.seq, person) for (emoji, person), row in rows.items() if emoji == action.emoji)
    first = [person for _, person in users[: rules.reaction_users]]
    if users:
        others.append(Reaction(action.emoji, len(users), first))
    now = msgspec.structs.replace(
        message, reactions=sorted(others, key=lambda one: one.emoji), changed=begun.seq
    )

    def changes() -> None:
        tables.reactions[action.conversation, action.seq] = rows
        tables.rewrite(now)

    return end_action(
        tables, author, action, digest, begun, "message.reacted", changes,
        of=action.seq, emoji=action.emoji, on=action.on, count=len(users), users=first,
    )  # fmt: skip


ACTIONS: Final[dict[type[Command], Callable[[FakeDatabase, UUID, Any, Rules], Body[Acted | Refusal]]]] = {
    MessageEdit: edit_message,
    MessageDelete: delete_message,
    MessageReact: react_to_message,
}


# --- Reading ----------------------------------------------------------------------------------------------------------


def message_edits(
    tables: Tables, person: UUID, conversation: UUID, seq: int, after: int, limit: int, size_bytes: int
) -> Versions | Refusal:
    """All that a message has said, above *after*."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member")
    message = visible_message(tables, conversation, person, seq)
    if message is None:
        return Refusal("unknown_message")
    log = tables.entries[conversation]
    said = [
        Version(one, log[one - 1].at_ms, first if one == seq else log[one - 1].text)
        for one, first in tables.versions.get((conversation, seq), {seq: message.text}).items()
        if one > after
    ]
    fitting: list[Version] = []
    total = 0
    for version in said[:limit]:
        total += VERSION_OVERHEAD + (0 if version.text is UNSET else len(version.text.encode()))
        if fitting and total > size_bytes:
            break
        fitting.append(version)
    return Versions(fitting, len(fitting) < len(said))


def message_reactions(
    tables: Tables, person: UUID, conversation: UUID, seq: int, emoji: str | None, after: tuple[str, int], limit: int
) -> tuple[list[OneReaction], bool] | Refusal:
    """Who reacted, above *after*; and whether there are more."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member")
    if visible_message(tables, conversation, person, seq) is None:
        return Refusal("unknown_message")
    rows = sorted(
        (one, row.seq, who, row.at_ms)
        for (one, who), row in tables.reactions.get((conversation, seq), {}).items()
        if emoji in (None, one) and (one, row.seq) > after
    )
    found = [OneReaction(who, one, at, at_ms) for one, at, who, at_ms in rows[:limit]]
    return found, len(rows) > limit
