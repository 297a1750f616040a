"""The SQL functions of ``storage/migrations/0013_links.sql`` about links and requests, over the fake's tables."""

from collections.abc import Callable
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import UNSET, structs

from protocol.frames import Command, Invitation, Joined, Link, LinkCreate, LinkJoin, LinkRevoke, Request, RequestAnswer
from storage.rows import Acted, RequestPage, Rules
from tests.simulate.database import Body, Conversation, FakeDatabase, LinkRow, RequestRow, Tables
from tests.simulate.functions import Refusal, barred, begin_span, known
from tests.simulate.messages import Begun, begin_action, end_action, settle_action


def create_link(db: FakeDatabase, author: UUID, command: LinkCreate, rules: Rules) -> Body[Link | Refusal]:
    """Make a link."""
    tables, conversation = db.tables, command.conversation
    digest = ("link", command.expires_at_ms, command.uses, command.approval)
    name = (conversation, author, command.key)
    begun = yield from begin_action(db, author, command, digest)
    if isinstance(begun, Acted):
        [row] = [row for row in tables.links.values() if row.name == name]
        return structs.replace(row.link, used=0), None
    if isinstance(begun, Refusal):
        return begun, None
    if tables.conversations[conversation].kind == "direct":
        return Refusal("wrong_kind"), None
    if not tables.may(conversation, author, "links"):
        return Refusal("forbidden"), None
    if command.expires_at_ms is not None and command.expires_at_ms <= begun.at_ms:
        return Refusal("over"), None
    if len(_shown(tables, conversation)) >= rules.links:
        return Refusal("too_many_links"), None
    code = uuid5(NAMESPACE_OID, f"{conversation} {author} {command.key}").hex
    link = Link(
        code, author, begun.at_ms, 0, command.approval,
        UNSET if command.expires_at_ms is None else command.expires_at_ms,
        UNSET if command.uses is None else command.uses,
    )  # fmt: skip
    _, settle = settle_action(tables, author, command, digest, begun.seq - 1)

    def commit() -> None:
        settle()
        tables.links[code] = LinkRow(name, link)

    return link, commit


def _shown(tables: Tables, conversation: UUID) -> list[Link]:
    rows = [row.link for row in tables.links.values() if row.name[0] == conversation and not row.revoked]
    return sorted(rows, key=lambda link: (link.at_ms, link.code))


def conversation_links(tables: Tables, person: UUID, conversation: UUID) -> list[Link] | Refusal:
    """The links that are not revoked."""
    if conversation not in tables.conversations or tables.role(conversation, person) is None:
        return Refusal("not_a_member")
    if not tables.may(conversation, person, "links"):
        return Refusal("forbidden")
    return _shown(tables, conversation)


def revoke_link(db: FakeDatabase, author: UUID, command: LinkRevoke) -> Body[Acted | Refusal]:
    """End a link."""
    tables, conversation, digest = db.tables, command.conversation, ("revoke", command.code)
    begun = yield from begin_action(db, author, command, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if not tables.may(conversation, author, "links"):
        return Refusal("forbidden"), None
    row = tables.links.get(command.code)
    if row is None or row.name[0] != conversation:
        return Refusal("unknown_link"), None
    answer, settle = settle_action(tables, author, command, digest, begun.seq - 1)

    def commit() -> None:
        settle()
        row.revoked = True

    return answer, commit


def _over(row: LinkRow, at_ms: int) -> bool:
    link = row.link
    return (
        row.revoked
        or (link.expires_at_ms is not UNSET and link.expires_at_ms <= at_ms)
        or (link.uses is not UNSET and link.used >= link.uses)
    )


def preview_link(tables: Tables, at_ms: int, person: UUID, code: str) -> Invitation | Refusal:
    """Where a link leads."""
    row = tables.links.get(code)
    if row is None:
        return Refusal("unknown_link")
    place = row.name[0]
    if barred(tables, place, person, at_ms):
        return Refusal("banned")
    if _over(row, at_ms):
        return Refusal("link_over")
    v = tables.conversations[place]
    assert v.kind != "direct"
    return Invitation(
        place, v.kind, v.title or "", v.member_count, row.link.approval, tables.span(place, person) is not None,
        UNSET if v.topic is None else v.topic, UNSET if v.photo is None else v.photo,
    )  # fmt: skip


def join_by_link(db: FakeDatabase, person: UUID, command: LinkJoin, rules: Rules) -> Body[Joined | Refusal]:
    """Join by a link, or ask for it."""
    tables, digest = db.tables, ("by link", command.code)
    row = tables.links.get(command.code)
    if row is None:
        return Refusal("unknown_link"), None
    place = row.name[0]
    v = tables.conversations[place]
    yield [("conversation", place)]
    name = (place, person, command.key)
    if (old := known(tables, name)) is not None:
        return (Refusal("key_reused") if old.digest != digest else Joined(place, False, old.seq, old.at_ms)), None
    if (old := tables.settled.get(name)) is not None:
        return (Refusal("key_reused") if old.digest != digest else Joined(place, True)), None
    begun = Begun(v.last_seq + 1, db.now_ms())
    if tables.span(place, person) is not None:
        return Refusal("already_a_member", place), None
    if barred(tables, place, person, begun.at_ms):
        return Refusal("banned"), None
    action = RequestAnswer(id=0, conversation=place, key=command.key, user=person, accept=True)  # for its names alone
    asked = (place, person) in tables.requests
    if not (row.link.approval and asked) and _over(row, begun.at_ms):
        return Refusal("link_over"), None
    if row.link.approval:
        if not asked and sum(one == place for one, _ in tables.requests) >= rules.requests:
            return Refusal("too_many_requests"), None
        _, settle = settle_action(tables, person, action, digest, begun.seq - 1)

        def file() -> None:
            settle()
            if not asked:
                tables.requests[place, person] = RequestRow(command.code, begun.at_ms)
                row.link = structs.replace(row.link, used=row.link.used + 1)

        return Joined(place, True), file
    if _full(v, rules):
        return Refusal("conversation_full"), None
    yield [("account", person)]
    yield [("receipt", place, person)]

    def changes() -> None:
        row.link = structs.replace(row.link, used=row.link.used + 1)
        begin_span(tables, place, person, begun.seq, begun.at_ms)

    count = v.member_count + 1 if v.kind != "group" else UNSET
    acted, commit = end_action(
        tables, person, action, digest, begun, "member.added", changes, user=person, count=count
    )  # fmt: skip
    return Joined(place, False, acted.seq, acted.at_ms), commit


def _full(row: Conversation, rules: Rules) -> bool:
    return row.member_count >= (rules.group_members if row.kind == "group" else rules.room_members)


def join_requests(
    tables: Tables, at_ms: int, person: UUID, conversation: UUID, after: tuple[int, UUID], limit: int
) -> RequestPage | Refusal:
    """The requests of those who may be let in."""
    if conversation not in tables.conversations or tables.role(conversation, person) is None:
        return Refusal("not_a_member")
    if not tables.may(conversation, person, "links"):
        return Refusal("forbidden")
    waiting = [
        (user, row)
        for (place, user), row in tables.requests.items()
        if place == conversation and not barred(tables, conversation, user, at_ms)
    ]
    rows = sorted(
        (
            Request(user, tables.accounts[user].name, row.code, row.at_ms)
            for user, row in waiting
            if (row.at_ms, user) > after
        ),
        key=lambda one: (one.at_ms, one.user),
    )
    return RequestPage(rows[:limit], len(rows) > limit, len(waiting))


def answer_request(db: FakeDatabase, author: UUID, action: RequestAnswer, rules: Rules) -> Body[Acted | Refusal]:
    """Let in who asked, or do not."""
    tables, conversation, digest = db.tables, action.conversation, ("answer", action.user, action.accept)
    begun = yield from begin_action(db, author, action, digest)
    if not isinstance(begun, Begun):
        return begun, None
    if not tables.may(conversation, author, "links"):
        return Refusal("forbidden"), None
    if (conversation, action.user) not in tables.requests:
        return Refusal("unknown_request"), None
    if not action.accept:
        answer, settle = settle_action(tables, author, action, digest, begun.seq - 1)

        def decline() -> None:
            settle()
            del tables.requests[conversation, action.user]

        return answer, decline
    if barred(tables, conversation, action.user, begun.at_ms):
        return Refusal("banned"), None
    row = tables.conversations[conversation]
    if _full(row, rules):
        return Refusal("conversation_full"), None
    yield [("account", action.user)]
    yield [("receipt", conversation, action.user)]
    return end_action(
        tables, author, action, digest, begun, "member.added",
        lambda: begin_span(tables, conversation, action.user, begun.seq, begun.at_ms), user=action.user,
        count=row.member_count + 1 if row.kind != "group" else UNSET,
    )  # fmt: skip


ACTIONS: Final[dict[type[Command], Callable[[FakeDatabase, UUID, Any, Rules], Body[Acted | Refusal]]]] = {
    RequestAnswer: answer_request,
}
