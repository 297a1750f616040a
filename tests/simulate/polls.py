"""The SQL functions of ``storage/migrations/0008_later.sql`` about polls once more, over the fake's tables."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol.frames import Entry, OneVote, Poll, PollClose, PollCreate, PollOption, PollVote, Votes
from storage.rows import Acted, Rules
from storage.scheduled import NOBODY
from tests.simulate.database import Body, FakeDatabase, Stored, Tables
from tests.simulate.functions import Refusal, visible_message
from tests.simulate.messages import Begun, begin_action, end_action, settle_action


def create_poll(db: FakeDatabase, author: UUID, action: PollCreate, rules: Rules) -> Body[Acted | Refusal]:
    """Ask something."""
    poll = Poll(
        action.question, [PollOption(text, 0) for text in action.options], 0, action.multiple, action.anonymous
    )
    digest = ("poll", msgspec.json.encode(poll))
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    return end_action(db.tables, author, action, digest, begun, "message", poll=poll)


def _poll(tables: Tables, person: UUID, conversation: UUID, seq: int) -> tuple[Entry, Poll] | Refusal:
    message = visible_message(tables, conversation, person, seq)
    if message is None:
        return Refusal("unknown_message")
    if message.deleted:
        return Refusal("message_deleted")
    return Refusal("unknown_poll") if message.poll is UNSET else (message, message.poll)


def vote_poll(db: FakeDatabase, author: UUID, action: PollVote, rules: Rules) -> Body[Acted | Refusal]:
    """Choose."""
    tables, new = db.tables, sorted(set(action.options))
    digest = ("vote", action.seq, tuple(new))
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    found = _poll(tables, author, action.conversation, action.seq)
    if isinstance(found, Refusal):
        return found, None
    message, poll = found
    if poll.closed:
        return Refusal("poll_closed"), None
    if (new and new[-1] >= len(poll.options)) or (len(new) > 1 and not poll.multiple):
        return Refusal("no_such_option"), None
    votes = tables.votes.get((action.conversation, action.seq), {})
    old = votes[author].options if author in votes else []
    if old == new:
        return settle_action(
            tables, author, action, digest, action.seq if message.changed is UNSET else message.changed
        )
    counts = [one.count + (place in new) - (place in old) for place, one in enumerate(poll.options)]
    voters = poll.voters + bool(new) - bool(old)
    options = [PollOption(one.text, count) for one, count in zip(poll.options, counts, strict=True)]
    now = msgspec.structs.replace(
        message, poll=msgspec.structs.replace(poll, options=options, voters=voters), changed=begun.seq
    )

    def changes() -> None:
        rows = tables.votes.setdefault((action.conversation, action.seq), {})
        rows.pop(author, None)
        if new:
            rows[author] = OneVote(author, new, begun.seq, begun.at_ms)
        tables.rewrite(now)

    if not poll.anonymous:
        return end_action(
            tables, author, action, digest, begun, "poll.voted", changes, of=action.seq, counts=counts, voters=voters,
            options=new,
        )  # fmt: skip
    entry = Entry(
        conversation=action.conversation, seq=begun.seq, kind="poll.voted", author=NOBODY, key=f"vote:{begun.seq}",
        at_ms=begun.at_ms, of=action.seq, counts=counts, voters=voters,
    )  # fmt: skip

    def commit() -> None:
        changes()
        tables.keys[action.conversation, author, action.key] = Stored(begun.seq, begun.at_ms, digest)
        tables.entries[action.conversation].append(entry)
        row = tables.conversations[action.conversation]
        row.last_seq, row.active_at_ms = begun.seq, begun.at_ms

    return Acted(begun.seq, begun.at_ms, entry), commit


def close_poll(db: FakeDatabase, author: UUID, action: PollClose, rules: Rules) -> Body[Acted | Refusal]:
    """Let nobody vote any more."""
    tables, digest = db.tables, ("close", action.seq)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    found = _poll(tables, author, action.conversation, action.seq)
    if isinstance(found, Refusal):
        return found, None
    message, poll = found
    if author != message.author and not tables.may(action.conversation, author, "delete"):
        return Refusal("forbidden"), None
    if poll.closed:
        assert message.changed is not UNSET
        return settle_action(tables, author, action, digest, message.changed)
    now = msgspec.structs.replace(message, poll=msgspec.structs.replace(poll, closed=True), changed=begun.seq)
    return end_action(
        tables, author, action, digest, begun, "poll.closed", lambda: tables.rewrite(now), of=action.seq
    )


def poll_voters(
    tables: Tables, person: UUID, conversation: UUID, seq: int, after: int, limit: int
) -> Votes | Refusal:
    """Who chose what, above *after*."""
    if person not in tables.spans.get(conversation, {}):
        return Refusal("not_a_member")
    message = visible_message(tables, conversation, person, seq)
    if message is None:
        return Refusal("unknown_message")
    if message.poll is UNSET:
        return Refusal("unknown_poll")
    rows = tables.votes.get((conversation, seq), {})
    mine = rows[person].options if person in rows else []
    votes = sorted((one for one in rows.values() if one.seq > after), key=lambda one: one.seq)
    votes = [] if message.poll.anonymous else votes
    return Votes(votes[:limit], mine, len(votes) > limit)
