"""The SQL functions of ``storage/migrations/0009_roles.sql`` once more, over the fake's tables."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias
from uuid import UUID

from msgspec import UNSET

from protocol.frames import (
    Ban,
    Bans,
    Command,
    ConversationHandover,
    ConversationPhoto,
    ConversationSlowMode,
    ConversationTitle,
    ConversationTopic,
    EntryKind,
    MemberBan,
    MemberRole,
    MemberUnban,
    RoomJoin,
)
from protocol.schema.catalogue import tag
from storage.rows import Acted, Rules
from tests.simulate.database import BanRow, Body, FakeDatabase, Tables
from tests.simulate.functions import Refusal, barred, begin_span, end_span, known
from tests.simulate.messages import Begun, begin_action, end_action, settle_action


def set_role(db: FakeDatabase, author: UUID, action: MemberRole, rules: Rules) -> Body[Acted | Refusal]:
    """Make a member an admin, or an admin a member."""
    tables, digest, conversation = db.tables, ("role", action.user, action.role), action.conversation
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if tables.conversations[conversation].kind == "direct":
        return Refusal("wrong_kind"), None
    if not tables.may(conversation, author, "role"):
        return Refusal("forbidden"), None
    old = tables.role(conversation, action.user)
    if old is None:
        return Refusal("not_a_member", action.user), None
    if old == "owner":
        return Refusal("forbidden"), None
    if old == action.role:
        return settle_action(tables, author, action, digest, begun.seq - 1)
    if action.role == "admin" and len(tables.admins(conversation)) >= rules.admins:
        return Refusal("too_many_admins"), None

    def changes() -> None:
        tables.spans[conversation][action.user][-1].role = action.role

    return end_action(
        tables, author, action, digest, begun, "member.role", changes, user=action.user, role=action.role
    )  # fmt: skip


def hand_over(db: FakeDatabase, author: UUID, action: ConversationHandover, rules: Rules) -> Body[Acted | Refusal]:
    """The owner gives the conversation to another member."""
    tables, digest, conversation = db.tables, ("owner", action.user), action.conversation
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if tables.conversations[conversation].kind == "direct":
        return Refusal("wrong_kind"), None
    if not tables.may(conversation, author, "owner"):
        return Refusal("forbidden"), None
    old = tables.role(conversation, action.user)
    if old is None:
        return Refusal("not_a_member", action.user), None
    if old == "owner":
        return settle_action(tables, author, action, digest, begun.seq - 1)
    if old == "member" and len(tables.admins(conversation)) >= rules.admins:
        return Refusal("too_many_admins"), None

    def changes() -> None:
        tables.conversations[conversation].owner = action.user
        tables.spans[conversation][action.user][-1].role = "member"
        tables.spans[conversation][author][-1].role = "admin"

    return end_action(tables, author, action, digest, begun, "conversation.owner", changes, owner=action.user)


def ban_member(db: FakeDatabase, author: UUID, action: MemberBan, rules: Rules) -> Body[Acted | Refusal]:
    """Bar somebody."""
    tables, digest, conversation = db.tables, ("ban", action.user, action.reason, action.until_ms), action.conversation
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if tables.conversations[conversation].kind == "direct":
        return Refusal("wrong_kind"), None
    role = tables.role(conversation, action.user)
    if action.user == author or role == "owner" or not tables.may(conversation, author, "ban"):
        return Refusal("forbidden"), None
    if action.user not in tables.accounts:
        return Refusal("unknown_user", action.user), None
    if action.until_ms is not None and action.until_ms <= begun.at_ms:
        return Refusal("over"), None
    if role is not None:
        yield [("account", action.user)]

    row = tables.conversations[conversation]
    counted = role is not None and row.kind != "group"

    def changes() -> None:
        if role is not None:
            end_span(tables, conversation, action.user, begun.seq, begun.at_ms)
        tables.bans[conversation, action.user] = BanRow(
            begun.seq, author, begun.at_ms, action.reason, action.until_ms
        )

    return end_action(
        tables, author, action, digest, begun, "member.banned", changes, user=action.user,
        reason=UNSET if action.reason is None else action.reason,
        until_ms=UNSET if action.until_ms is None else action.until_ms,
        count=row.member_count - 1 if counted else UNSET,
    )  # fmt: skip


def unban_member(db: FakeDatabase, author: UUID, action: MemberUnban, rules: Rules) -> Body[Acted | Refusal]:
    """Lift a ban."""
    tables, digest, conversation = db.tables, ("unban", action.user), action.conversation
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if tables.conversations[conversation].kind == "direct":
        return Refusal("wrong_kind"), None
    if not tables.may(conversation, author, "ban"):
        return Refusal("forbidden"), None
    if (conversation, action.user) not in tables.bans:
        return settle_action(tables, author, action, digest, begun.seq - 1)

    def changes() -> None:
        del tables.bans[conversation, action.user]

    return end_action(tables, author, action, digest, begun, "member.unbanned", changes, user=action.user)


Setting: TypeAlias = ConversationTitle | ConversationTopic | ConversationPhoto | ConversationSlowMode


def set_conversation(db: FakeDatabase, author: UUID, action: Setting, rules: Rules) -> Body[Acted | Refusal]:
    """Set title, topic, photo or slow mode."""
    tables, conversation, what = db.tables, action.conversation, tag(type(action)).partition(".")[2]
    field, column = ("seconds", "slow_mode_s") if what == "slow_mode" else (what, what)
    value = getattr(action, field)
    digest = (what, value)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    row = tables.conversations[conversation]
    if row.kind == "direct":
        return Refusal("wrong_kind"), None
    if not tables.may(conversation, author, what):
        return Refusal("forbidden"), None
    if getattr(row, column) == value:
        return settle_action(tables, author, action, digest, begun.seq - 1)
    if what == "photo" and value is not None and tables.photos.get(value) != author:
        return Refusal("unknown_medium"), None

    def changes() -> None:
        setattr(row, column, value)

    more = {} if value is None else {field: value}
    kind: EntryKind = tag(type(action))  # type: ignore[assignment]  # commands and their entries are called alike
    return end_action(tables, author, action, digest, begun, kind, changes, **more)


def join_room(db: FakeDatabase, author: UUID, action: RoomJoin, rules: Rules) -> Body[Acted | Refusal]:
    """Join a public conversation by oneself."""
    tables, digest, conversation = db.tables, ("join",), action.conversation
    row = tables.conversations.get(conversation)
    if row is None:
        return Refusal("no_room"), None
    yield [("conversation", conversation)]
    name = (conversation, author, action.key)
    old = known(tables, name) or tables.settled.get(name)
    if old is not None:
        return (Refusal("key_reused") if old.digest != digest else Acted(old.seq, old.at_ms)), None
    if not row.public:
        return Refusal("no_room"), None
    if tables.span(conversation, author) is not None:
        return Refusal("already_a_member"), None
    begun = Begun(row.last_seq + 1, db.now_ms())
    if barred(tables, conversation, author, begun.at_ms):
        return Refusal("banned"), None
    if row.member_count >= rules.room_members:
        return Refusal("conversation_full"), None
    yield [("account", author)]
    yield [("receipt", conversation, author)]

    def changes() -> None:
        begin_span(tables, conversation, author, begun.seq, begun.at_ms)

    return end_action(
        tables, author, action, digest, begun, "member.added", changes, user=author, count=row.member_count + 1
    )  # fmt: skip


ACTIONS: Final[dict[type[Command], Callable[[FakeDatabase, UUID, Any, Rules], Body[Acted | Refusal]]]] = {
    MemberRole: set_role,
    ConversationHandover: hand_over,
    MemberBan: ban_member,
    MemberUnban: unban_member,
    RoomJoin: join_room,
    ConversationTitle: set_conversation,
    ConversationTopic: set_conversation,
    ConversationPhoto: set_conversation,
    ConversationSlowMode: set_conversation,
}


def member_bans(
    tables: Tables, at_ms: int, person: UUID, conversation: UUID, before: int, limit: int
) -> Bans | Refusal:
    """The bans that hold now, newest first."""
    if conversation not in tables.conversations or tables.role(conversation, person) is None:
        return Refusal("not_a_member")
    if not tables.may(conversation, person, "ban"):
        return Refusal("forbidden")
    rows = sorted(
        (
            Ban(
                user, row.author, row.seq, row.at_ms,
                UNSET if row.reason is None else row.reason, UNSET if row.until_ms is None else row.until_ms,
            )
            for (place, user), row in tables.bans.items()
            if place == conversation and row.seq < before and barred(tables, conversation, user, at_ms)
        ),
        key=lambda ban: -ban.seq,
    )  # fmt: skip
    return Bans(rows[:limit], len(rows) > limit)
