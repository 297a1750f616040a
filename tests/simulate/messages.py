"""The SQL functions of ``storage/migrations/`` 0005_messages and 0007_content once more, over the fake's tables."""

from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from protocol.frames import (
    AnyAction,
    Command,
    Content,
    Entry,
    EntryKind,
    Forwarded,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessagePin,
    MessageReact,
    MessageReader,
    MessageSend,
    OneReaction,
    PollCreate,
    Reaction,
    ThreadNow,
    Version,
    Versions,
)
from protocol.frames.content import NOTHING, speaks
from storage.rows import Acted, Rules
from tests.simulate import functions, threads
from tests.simulate.database import Body, FakeDatabase, Key, Reacted, Stored, Tables, in_order
from tests.simulate.functions import Refusal, visible_message

VERSION_OVERHEAD: Final = 200
_SAYING: Final = (MessageSend, MessageForward, PollCreate)
Digest: TypeAlias = tuple[Any, ...]


class Keyed(Protocol):
    """What has a key in a conversation."""

    @property
    def conversation(self) -> UUID: ...
    @property
    def key(self) -> str: ...


def _nothing() -> None:
    """No row is changed beside the entry."""


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
    if row.shut and not isinstance(action, MessageDelete):
        return Refusal("conversation_closed")
    if isinstance(action, _SAYING):
        held = functions.held_back(tables, conversation, author, db.now_ms(), {})
        if held is not None and not (held.error == "slow_mode" and action.key.startswith("scheduled:")):
            return Refusal(held.error or "", None, held.retry_after_ms)
    return Begun(row.last_seq + 1, db.now_ms())


def end_action(
    tables: Tables, author: UUID, action: AnyAction, digest: Digest, begun: Begun, kind: EntryKind,
    changes: Callable[[], None] = _nothing, text: str | UnsetType = UNSET, **detail: Any,
) -> tuple[Acted, Callable[[], None]]:  # fmt: skip
    """The action's entry, and what the commit does."""
    entry = Entry(
        conversation=action.conversation, seq=begun.seq, kind=kind, author=author, key=action.key, at_ms=begun.at_ms,
        text=text, **detail,
    )  # fmt: skip
    if kind == "message":
        entry = msgspec.structs.replace(entry, expires_at_ms=tables.ends(action.conversation, begun.at_ms))
    slowed: dict[tuple[UUID, UUID], int] = {}
    if kind == "message":
        functions.held_back(tables, action.conversation, author, begun.at_ms, slowed)

    def commit() -> None:
        tables.slowed.update(dict.fromkeys(slowed, begun.at_ms))
        changes()
        tables.expire_later(entry)
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


def find_media(
    tables: Tables, author: UUID, content: Content
) -> Generator[list[Key], None, list[UUID] | Refusal]:
    """Whether *author* may show what *content* names."""
    yield in_order("upload", [one.id for one in content.media if one.id in tables.uploads])
    for one in sorted(content.media, key=lambda item: item.id):
        upload = tables.uploads.get(one.id)
        if upload is None or upload.owner != author or upload.state == "doomed":
            return Refusal("unknown_medium", one.id)
        if upload.state != "ready":
            return Refusal("not_ready")
        if upload.kind != one.kind:
            return Refusal("wrong_use")
    return [one.id for one in content.media]


def send_message(db: FakeDatabase, author: UUID, action: MessageSend, rules: Rules) -> Body[Acted | Refusal]:
    """Send a message that answers another one, or shows media."""
    tables, content = db.tables, action.content or NOTHING
    digest = ("message", action.text, action.content)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if content.reply_to is not UNSET:
        message = visible_message(tables, action.conversation, author, content.reply_to)
        if message is None:
            return Refusal("unknown_message"), None
        if message.deleted:
            return Refusal("message_deleted"), None
    shows: list[ThreadNow] = []
    if content.thread is not UNSET:
        no = threads.problem(tables, action.conversation, author, content.thread)
        root = tables.entries[action.conversation][content.thread - 1] if no is None else None
        if root is None or root.deleted:
            return no or Refusal("message_deleted"), None
        shows = threads.joined(tables, root, author, begun.seq, begun.at_ms, rules)
    media = yield from find_media(tables, author, content)
    if isinstance(media, Refusal):
        return media, None

    def changes() -> None:
        tables.uses.update(dict.fromkeys((one, action.conversation, begun.seq) for one in media))
        threads.show(tables, action.conversation, shows, begun.seq)

    return end_action(
        tables, author, action, digest, begun, "message", changes,
        text=action.text or UNSET, content=action.content or UNSET, threads=shows,
    )


def edit_message(db: FakeDatabase, author: UUID, action: MessageEdit, rules: Rules) -> Body[Acted | Refusal]:
    """Give a message another text."""
    tables = db.tables
    digest = ("edit", action.seq, action.text, tuple(action.entities), action.mention_all)
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
    content: Content | UnsetType = msgspec.structs.replace(
        NOTHING if message.content is UNSET else message.content,
        entities=action.entities, mention_all=action.mention_all or UNSET,
    )  # fmt: skip
    if content == NOTHING:
        content = UNSET
    now = msgspec.structs.replace(
        message, text=action.text, content=content, edited_at_ms=begun.at_ms, changed=begun.seq
    )

    def changes() -> None:
        first = (message.text, message.content)
        versions = tables.versions.setdefault((action.conversation, action.seq), {action.seq: first})
        versions[begun.seq] = (UNSET, UNSET)
        tables.rewrite(now)

    return end_action(
        tables, author, action, digest, begun, "message.edited", changes,
        text=action.text, content=content, of=action.seq,
    )  # fmt: skip


def erase_message(
    tables: Tables, message: Entry, changed: int
) -> Generator[list[Key], None, Callable[[], None]]:
    """Take away all that *message* says, for entry *changed*; what the commit does."""
    now = msgspec.structs.replace(
        message, text=UNSET, content=threads.alone(message), edited_at_ms=UNSET, reactions=[], expires_at_ms=UNSET,
        pinned=False, poll=UNSET, replies=UNSET, threads=[], deleted=True,
        changed=changed,
    )  # fmt: skip
    media = [] if message.content is UNSET else [one.id for one in message.content.media]
    yield in_order("upload", media)
    place = (message.conversation, message.seq)

    def changes() -> None:
        for seq in tables.versions.get(place, {}):
            if seq != message.seq:
                edit = tables.entries[message.conversation][seq - 1]
                tables.rewrite(msgspec.structs.replace(edit, text=UNSET, content=UNSET, deleted=True))
            else:
                tables.versions[place][seq] = (UNSET, UNSET)
        for one in media:
            tables.uses.pop((one, *place), None)
        tables.pins.get(message.conversation, {}).pop(message.seq, None)
        tables.votes.pop(place, None)
        tables.reactions.pop(place, None)
        tables.rewrite(now)

    return changes


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
    erase = yield from erase_message(tables, message, begun.seq)
    shows = threads.left(tables, action.conversation, [action.seq], rules)

    def changes() -> None:
        erase()
        threads.show(tables, action.conversation, shows, begun.seq)

    return end_action(tables, author, action, digest, begun, "message.deleted", changes, of=action.seq, threads=shows)


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


def forward_message(db: FakeDatabase, author: UUID, action: MessageForward, rules: Rules) -> Body[Acted | Refusal]:
    """Forward a message that one may see."""
    tables, source = db.tables, action.source
    digest = ("forward", source.conversation, source.seq)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    message = visible_message(tables, source.conversation, author, source.seq)
    if message is None:
        return Refusal("unknown_message"), None
    if message.deleted:
        return Refusal("message_deleted"), None
    old = NOTHING if message.content is UNSET else message.content
    if message.text is UNSET and not speaks(old):
        return Refusal("nothing_to_forward"), None
    content = Content(
        entities=old.entities, media=old.media, location=old.location, contact=old.contact,
        forwarded=Forwarded(message.author) if old.forwarded is UNSET else old.forwarded,
    )  # fmt: skip
    media = [one.id for one in content.media]
    yield in_order("upload", media)
    if any(tables.uploads[one].state != "ready" for one in media):
        return Refusal("message_deleted"), None

    def changes() -> None:
        tables.uses.update(dict.fromkeys((one, action.conversation, begun.seq) for one in media))

    return end_action(
        tables, author, action, digest, begun, "message", changes, text=message.text, content=content
    )


def pin_message(db: FakeDatabase, author: UUID, action: MessagePin, rules: Rules) -> Body[Acted | Refusal]:
    """Pin a message for everybody, or take it down."""
    tables, digest = db.tables, ("pin", action.seq, action.on)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    message = visible_message(tables, action.conversation, author, action.seq)
    if message is None:
        return Refusal("unknown_message"), None
    if message.deleted:
        return Refusal("message_deleted"), None
    if not tables.may(action.conversation, author, "pin"):
        return Refusal("forbidden"), None
    if action.on == message.pinned:
        return settle_action(
            tables, author, action, digest, action.seq if message.changed is UNSET else message.changed
        )
    if action.on and len(tables.pins.get(action.conversation, ())) >= rules.pins:
        return Refusal("too_many_pins"), None
    now = msgspec.structs.replace(message, pinned=action.on, changed=begun.seq)

    def changes() -> None:
        pins = tables.pins.setdefault(action.conversation, {})
        if action.on:
            pins[action.seq] = None
        else:
            del pins[action.seq]
        tables.rewrite(now)

    return end_action(
        tables, author, action, digest, begun, "message.pinned", changes, of=action.seq, on=action.on
    )


Act: TypeAlias = Callable[[FakeDatabase, UUID, Any, Rules], Body[Acted | Refusal]]
ACTIONS: Final[dict[type[Command], Act]] = {
    MessageEdit: edit_message,
    MessageDelete: delete_message,
    MessageReact: react_to_message,
    MessageSend: send_message,
    MessageForward: forward_message,
    MessagePin: pin_message,
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
    now = (message.text, message.content)
    said = [
        Version(one, log[one - 1].at_ms, *(first if one == seq else (log[one - 1].text, log[one - 1].content)))
        for one, first in tables.versions.get((conversation, seq), {seq: now}).items()
        if one > after
    ]
    fitting: list[Version] = []
    total = 0
    for version in said[:limit]:
        total += VERSION_OVERHEAD + (0 if version.text is UNSET else len(version.text.encode()))
        total += 0 if version.content is UNSET else len(msgspec.json.encode(version.content))
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


def message_readers(
    tables: Tables, person: UUID, conversation: UUID, seq: int, after: UUID, limit: int
) -> tuple[list[MessageReader], bool] | Refusal:
    """Whom a message has reached, above *after*; and whether there are more."""
    if tables.span(conversation, person) is None:
        return Refusal("not_a_member")
    message = visible_message(tables, conversation, person, seq)
    if message is None:
        return Refusal("unknown_message")
    found = []
    shut = tables.conversations[conversation].shut
    for other, row in sorted(tables.receipts[conversation].items()):
        if shut and other != person:
            continue
        span = tables.span(conversation, other)
        if other > after and other != message.author and span is not None and span.joined <= seq <= row.delivered:
            found.append(MessageReader(other, row.read >= seq and not functions.hides(tables, person, other)))
    return found[:limit], len(found) > limit
