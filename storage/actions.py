"""Actions, as every store has them: which SQL function stores which command, and what its refusals mean.

To add one: a Struct in its noun's module of ``protocol/frames/`` (also in ``AnyAction``), an SQL function (author,
command, rules) in a new migration (0005_messages.sql says what it is made of), its row in ``FUNCTIONS``, its twin in
``tests/simulate``, its tests in docs/features.md. Between the socket and the database nothing else knows one action
from another.
"""

from typing import TYPE_CHECKING, Final, Literal, LiteralString
from uuid import UUID

from protocol.errors import (
    Forbidden,
    KeyReused,
    MessageDeleted,
    NotAMember,
    Refused,
    TooLate,
    TooManyReactions,
    UnknownMessage,
)
from protocol.frames import (
    AnyAction,
    Command,
    ConversationAdd,
    ConversationLeave,
    ConversationRemove,
    Entry,
    MessageDelete,
    MessageEdit,
    MessageReact,
)
from storage.rows import Acted, Rules

if TYPE_CHECKING:
    from storage.store import Store

FUNCTIONS: Final[dict[type[Command], LiteralString]] = {
    MessageEdit: "select edit_message($1::uuid, $2::json, $3::json)",
    MessageDelete: "select delete_message($1::uuid, $2::json, $3::json)",
    MessageReact: "select react_to_message($1::uuid, $2::json, $3::json)",
}
MEMBERSHIP: Final = (ConversationAdd, ConversationRemove, ConversationLeave)
_FORBIDDEN: Final[dict[type[Command], str]] = {
    MessageEdit: "only its author may edit a message",
    MessageDelete: "only its author, and the owner of the group, may delete a message",
}


async def change_member(store: "Store", lane: int, author: UUID, action: AnyAction, rules: Rules) -> Acted:
    """A membership change as an action: these have a function with other arguments, older than actions are."""
    change: Literal["add", "remove", "leave"]
    match action:
        case ConversationAdd(user=user):
            change = "add"
        case ConversationRemove(user=user):
            change = "remove"
        case ConversationLeave():
            change, user = "leave", author
        case _:
            raise AssertionError(f"{action} changes no membership")
    outcome = await store.change_member(
        lane, change, action.conversation, author, action.key, user, rules.group_members
    )
    if not outcome.new:
        return Acted(outcome.seq, outcome.at_ms)
    entry = Entry(
        conversation=action.conversation, seq=outcome.seq,
        kind="member.added" if change == "add" else "member.removed",
        author=author, key=action.key, at_ms=outcome.at_ms, user=user,
    )  # fmt: skip
    return Acted(outcome.seq, outcome.at_ms, entry)


def refusal(code: str, author: UUID, action: AnyAction) -> Refused:
    """What the *code* that a function of ``FUNCTIONS`` answered with stands for."""
    match code:
        case "key_reused":
            return KeyReused(action.key)
        case "forbidden":
            return Forbidden(_FORBIDDEN[type(action)])
        case "message_deleted":
            return MessageDeleted("the message was deleted")
        case "too_late":
            return TooLate("the time in which a message may be edited is over")
        case "too_many_reactions":
            return TooManyReactions("you, or all together, have reacted with as many emoji as a message may have")
    return reading_refusal(code, author, action.conversation, getattr(action, "seq", 0))


def reading_refusal(code: str | None, person: UUID, conversation: UUID, seq: int) -> Refused:
    """The same, for functions that read about a message."""
    match code:
        case "not_a_member":
            return NotAMember(person, conversation)
        case "unknown_message":
            return UnknownMessage(conversation, seq)
    raise AssertionError(f"the database answered {code!r}")
