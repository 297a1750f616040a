"""The SQL functions of ``storage/migrations/0014_threads.sql`` once more, over the fake's tables. It has
none of its own for threads: a message says in its content in which one it is."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from protocol import limits
from protocol.frames import Content, Entry, HistoryPage, OneThread, Replies, ThreadNow
from storage.rows import Rules
from tests.simulate.database import Tables
from tests.simulate.functions import Refusal, size_of, visible, visible_message


def root_of(entry: Entry) -> int | None:
    """The root of the thread that *entry* is in."""
    thread = UNSET if entry.kind != "message" or entry.content is UNSET else entry.content.thread
    return None if thread is UNSET else thread


def alone(entry: Entry) -> Content | UnsetType:
    """What a deleted message keeps of its content."""
    root = root_of(entry)
    return UNSET if root is None else Content(thread=root)


def messages(tables: Tables, conversation: UUID, root: int) -> Iterator[Entry]:
    """All of a thread, with those that are deleted, oldest first."""
    return (one for one in tables.entries.get(conversation, [])[root:] if root_of(one) == root)


def problem(tables: Tables, conversation: UUID, person: UUID, root: int) -> Refusal | None:
    """Whether message *root* can have a thread, as far as *person* may know."""
    message = visible_message(tables, conversation, person, root)
    if message is None:
        return Refusal("unknown_message", seq=root)
    return None if root_of(message) is None else Refusal("in_a_thread", seq=root)


def _replies(said: Sequence[tuple[UUID, int, int]], rules: Rules) -> Replies | UnsetType:
    """Of the messages (author, seq, at_ms) of a thread."""
    if not said:
        return UNSET
    users = list({str(author): author for author, _, _ in said}.values())
    return Replies(len(said), said[-1][1], said[-1][2], users[: rules.thread_users])


def _said(tables: Tables, conversation: UUID, root: int) -> list[tuple[UUID, int, int]]:
    return [(one.author, one.seq, one.at_ms) for one in messages(tables, conversation, root) if not one.deleted]


def joined(tables: Tables, root: Entry, author: UUID, seq: int, at_ms: int, rules: Rules) -> list[ThreadNow]:
    """What *root* shows once message *seq* is in its thread."""
    said = [*_said(tables, root.conversation, root.seq), (author, seq, at_ms)]
    return [ThreadNow(root.seq, _replies(said, rules))]


def left(tables: Tables, conversation: UUID, gone: Sequence[int], rules: Rules) -> list[ThreadNow]:
    """What the roots show whose messages *gone* are deleted, those roots left out that are deleted too."""
    log = tables.entries[conversation]
    roots = sorted({root for seq in gone if (root := root_of(log[seq - 1])) is not None})
    return [
        ThreadNow(root, _replies([one for one in _said(tables, conversation, root) if one[1] not in gone], rules))
        for root in roots
        if root not in gone and not log[root - 1].deleted
    ]


def show(tables: Tables, conversation: UUID, now: Sequence[ThreadNow], changed: int) -> None:
    """Let roots show what their threads have, after entry *changed*."""
    for one in now:
        root = tables.entries[conversation][one.seq - 1]
        tables.rewrite(msgspec.structs.replace(root, replies=one.replies, changed=changed))


# --- One's own of it --------------------------------------------------------------------------------------------------


def own(tables: Tables, person: UUID, conversation: UUID, root: int) -> dict[str, Any]:
    """The row of one's own."""
    row = tables.personal.get(person, {}).get(("thread", f"{conversation}/{root}"))
    return {} if row is None or row.value is None else row.value


def follows(tables: Tables, person: UUID, conversation: UUID, root: int) -> bool:
    """As one said; else if the root is one's own, or one has ever written there."""
    said: bool | None = own(tables, person, conversation, root).get("following")
    if said is not None:
        return said
    return tables.entries[conversation][root - 1].author == person or any(
        one.author == person for one in messages(tables, conversation, root)
    )


def unread(tables: Tables, person: UUID, conversation: UUID, root: int) -> int:
    """Messages of others above one's cursor there."""
    read = own(tables, person, conversation, root).get("read", 0)
    hidden = tables.hidden.get((person, conversation), ())
    seen = [
        one for one in visible(tables, conversation, person, max(root, read) + 1, limits.SEQ_MAX)
        if root_of(one) == root and not one.deleted and one.author != person and one.seq not in hidden
    ]  # fmt: skip
    return min(len(seen), limits.UNREAD)


# --- Reading ----------------------------------------------------------------------------------------------------------


def conversation_threads(
    tables: Tables, person: UUID, conversation: UUID, below: int, limit: int
) -> tuple[list[OneThread], bool] | Refusal:
    """A page of a conversation's threads, last active first."""
    if tables.span(conversation, person) is None:
        return Refusal("not_a_member")
    seen = {one.seq for one in visible(tables, conversation, person, 1, limits.SEQ_MAX)}
    roots = {root for one in tables.entries[conversation] if (root := root_of(one)) in seen and root is not None}
    found = []
    for root in sorted(roots):
        replies = _replies(_said(tables, conversation, root), Rules())
        if replies is not UNSET and replies.last_seq < below:
            found.append(OneThread(
                root, replies, follows(tables, person, conversation, root),
                own(tables, person, conversation, root).get("read", 0), unread(tables, person, conversation, root),
            ))  # fmt: skip
    found.sort(key=lambda one: -one.replies.last_seq)
    return found[:limit], len(found) > limit


def thread_page(
    tables: Tables, person: UUID, conversation: UUID, root: int, before: int | None, limit: int, size_bytes: int
) -> HistoryPage | Refusal:
    """A page of a thread's messages."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member")
    if (no := problem(tables, conversation, person, root)) is not None:
        return no
    top = limits.SEQ_MAX if before is None else before - 1
    seen = [one for one in visible(tables, conversation, person, root + 1, top) if root_of(one) == root]
    fitting: list[Entry] = []
    total = 0
    for entry in seen[: -limit - 1 : -1]:
        total += size_of(entry)
        if fitting and total > size_bytes:
            break
        fitting.append(entry)
    return HistoryPage(fitting[::-1], len(fitting) < len(seen))
