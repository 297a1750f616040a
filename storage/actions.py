"""Actions, as every store has them: which SQL function stores which command, and what its refusals mean.

To add one: a Struct in its noun's module of ``protocol/frames/`` (also in ``AnyAction``), an SQL function (author,
command, rules) in a new migration (0005_messages.sql says what it is made of), its row in ``FUNCTIONS``, its twin in
``tests/simulate``, its tests in docs/features.md. Between the socket and the database nothing else knows one action
from another.
"""

from typing import TYPE_CHECKING, Final, Literal, LiteralString, TypeAlias
from uuid import UUID

from msgspec import UNSET

from protocol.errors import (
    AlreadyAMember,
    Banned,
    ConversationClosed,
    ConversationFull,
    Forbidden,
    InAThread,
    Invalid,
    KeyReused,
    KonnectError,
    LinkOver,
    MessageDeleted,
    NotAMember,
    NotFound,
    PollClosed,
    Refused,
    SlowMode,
    TooLate,
    TooManyAdmins,
    TooManyLinks,
    TooManyPins,
    TooManyReactions,
    TooManyRequests,
    UnknownLink,
    UnknownMedium,
    UnknownMessage,
    UnknownPoll,
    UnknownRequest,
    UnknownUser,
    WrongKind,
)
from protocol.frames import (
    AnyAction,
    Command,
    Content,
    ConversationAdd,
    ConversationHandover,
    ConversationLeave,
    ConversationPhoto,
    ConversationRemove,
    ConversationRetention,
    ConversationSlowMode,
    ConversationTitle,
    ConversationTopic,
    Entry,
    MemberBan,
    MemberRole,
    MemberUnban,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessagePin,
    MessageReact,
    MessageSend,
    PollClose,
    PollCreate,
    PollVote,
    RequestAnswer,
    RoomJoin,
    RoomLeave,
)
from storage import media, scheduled
from storage.rows import Acted, Rules
from storage.scheduled import ExpireMessages, SendScheduled

if TYPE_CHECKING:
    from storage.store import Store

Deed: TypeAlias = AnyAction | SendScheduled | ExpireMessages
"""What a conversation's log takes one by one: actions, and what the server does by itself."""

FUNCTIONS: Final[dict[type[Command] | type[SendScheduled] | type[ExpireMessages], LiteralString]] = {
    MessageEdit: "select edit_message($1::uuid, $2::json, $3::json)",
    MessageDelete: "select delete_message($1::uuid, $2::json, $3::json)",
    MessageReact: "select react_to_message($1::uuid, $2::json, $3::json)",
    ExpireMessages: "select expire_messages($1::uuid, $2::json, $3::json)",
    ConversationRetention: "select set_retention($1::uuid, $2::json, $3::json)",
    PollCreate: "select create_poll($1::uuid, $2::json, $3::json)",
    PollVote: "select vote_poll($1::uuid, $2::json, $3::json)",
    PollClose: "select close_poll($1::uuid, $2::json, $3::json)",
    SendScheduled: "select send_scheduled($1::uuid, $2::json, $3::json)",
    MessageSend: "select send_message($1::uuid, $2::json, $3::json)",
    MessageForward: "select forward_message($1::uuid, $2::json, $3::json)",
    MessagePin: "select pin_message($1::uuid, $2::json, $3::json)",
    # members and what they may set
    MemberRole: "select set_role($1::uuid, $2::json, $3::json)",
    ConversationHandover: "select hand_over($1::uuid, $2::json, $3::json)",
    MemberBan: "select ban_member($1::uuid, $2::json, $3::json)",
    RoomJoin: "select join_room($1::uuid, $2::json, $3::json)",
    RequestAnswer: "select answer_request($1::uuid, $2::json, $3::json)",
    MemberUnban: "select unban_member($1::uuid, $2::json, $3::json)",
    ConversationTitle: "select set_conversation('title', $1::uuid, $2::json, $3::json)",
    ConversationTopic: "select set_conversation('topic', $1::uuid, $2::json, $3::json)",
    ConversationPhoto: "select set_conversation('photo', $1::uuid, $2::json, $3::json)",
    ConversationSlowMode: "select set_conversation('slow_mode', $1::uuid, $2::json, $3::json)",
}
MEMBERSHIP: Final = (ConversationAdd, ConversationRemove, ConversationLeave, RoomLeave)
_FORBIDDEN: Final[dict[type, str]] = {
    ConversationRetention: "only the owner and admins of the group may say how long messages are kept",
    PollClose: "only who asked, and the owner and admins of the group, may close a poll",
    MessageEdit: "only its author may edit a message, and only while the person may write there",
    MessageDelete: "only its author, and the owner and admins of the group, may delete a message",
    MessagePin: "only the owner and admins of the group may pin a message",
    # members and what they may set
    MemberRole: "only the owner and admins of the group may do this, and to nobody who owns it",
    ConversationHandover: "only the owner of the group may hand it over",
    MemberBan: "only the owner and admins of the group may ban, and neither its owner nor themselves",
    RequestAnswer: "only the owner and admins of the group may answer requests",
    MemberUnban: "only the owner and admins of the group may lift a ban",
    ConversationTitle: "only the owner and admins of the group may set its title",
    ConversationTopic: "only the owner and admins of the group may set its topic",
    ConversationPhoto: "only the owner and admins of the group may set its photo",
    ConversationSlowMode: "only the owner and admins of the group may set slow mode",
}


async def change_member(store: "Store", lane: int, author: UUID, action: AnyAction, rules: Rules) -> Acted:
    """A membership change as an action: these have a function with other arguments, older than actions are."""
    change: Literal["add", "remove", "leave"]
    match action:
        case ConversationAdd(user=user):
            change = "add"
        case ConversationRemove(user=user):
            change = "remove"
        case ConversationLeave() | RoomLeave():
            change, user = "leave", author
        case _:
            raise AssertionError(f"{action} changes no membership")
    outcome = await store.change_member(
        lane, change, action.conversation, author, action.key, user, rules.group_members, rules.room_members
    )
    if not outcome.new:
        return Acted(outcome.seq, outcome.at_ms)
    entry = Entry(
        conversation=action.conversation, seq=outcome.seq,
        kind="member.added" if change == "add" else "member.removed",
        author=author, key=action.key, at_ms=outcome.at_ms, user=user,
        owner=UNSET if outcome.owner is None else outcome.owner,
        count=UNSET if outcome.count is None else outcome.count,
    )  # fmt: skip
    return Acted(outcome.seq, outcome.at_ms, entry)


def refusal(
    code: str, author: UUID, action: Deed, missing: UUID | None = None, retry_after_ms: int = 0, seq: int = 0
) -> KonnectError:
    """What the *code* that a function of ``FUNCTIONS`` answered with stands for; *missing*: who or what is missing;
    *seq*: the message that it is about, if that is not the action's own."""
    match code:
        case "slow_mode":
            return SlowMode(retry_after_ms)
        case "key_reused":
            return KeyReused(action.key)
        case "forbidden":
            return Forbidden(_FORBIDDEN.get(type(action), "only its owner and admins write in a channel"))
        case "message_deleted":
            return MessageDeleted("the message was deleted")
        case "too_late":
            return TooLate("the time in which a message may be edited is over")
        case "too_many_reactions":
            return TooManyReactions("you, or all together, have reacted with as many emoji as a message may have")
        case "too_many_pins":
            return TooManyPins("the conversation has as many pinned messages as it may have")
        case "nothing_to_forward":
            return Invalid("there is nothing in this message that can be forwarded")
        case "conversation_closed":
            return closed()
        case "poll_closed":
            return PollClosed("the poll was closed")
        case "no_such_option":
            return Invalid("the poll has no such option, or takes no more than one - at `$.options`")
        case "unknown_scheduled" if isinstance(action, SendScheduled):
            return scheduled.refusal(code, author, action.conversation, action.key, action.scheduled)
    found = media.refusal(code, missing) or _members_refusal(code, author, action, missing)
    if found is not None:
        return found
    return reading_refusal(code, author, *((action.conversation, seq) if seq else _about(action, code)))


def closed() -> ConversationClosed:
    """Why nobody writes in a direct conversation."""
    return ConversationClosed("you two may not write to each other now")


def _members_refusal(code: str, author: UUID, action: Deed, missing: UUID | None) -> Refused | None:
    """The same, of what is about members and what they may set."""
    match code:
        case "wrong_kind":
            return WrongKind("a direct conversation has its two members for ever")
        case "too_many_admins":
            return TooManyAdmins("the conversation has as many admins as it may")
        case "unknown_user" if missing is not None:
            return UnknownUser(missing)
        case "unknown_medium" if isinstance(action, ConversationPhoto) and action.photo is not None:
            return UnknownMedium(action.photo)
        case "no_room":
            return NotFound("there is no room here that one may join")
        case "already_a_member":
            return AlreadyAMember(author, action.conversation)
        case "banned":
            return Banned("you are banned from this conversation")
        case "conversation_full":
            return ConversationFull("the conversation has as many members as this server allows")
        case "unknown_request":
            return UnknownRequest("nobody asks so to be let in here")
        case "over":
            return Invalid("the end is over already - at `$.until_ms`")
        case "not_a_member" if missing is not None:
            return NotAMember(missing, action.conversation)
    return None


def _about(action: Deed, code: str) -> tuple[UUID, int]:
    """The message that *action* is about, or answers, or forwards."""
    match action:
        case MessageSend(content=Content(reply_to=int(reply_to))):
            return action.conversation, reply_to
        case MessageForward(source=source) if code == "unknown_message":
            return source.conversation, source.seq
    return action.conversation, getattr(action, "seq", 0)


def reading_refusal(code: str | None, person: UUID, conversation: UUID, seq: int) -> Refused:
    """The same, for functions that read about a message."""
    match code:
        case "not_a_member":
            return NotAMember(person, conversation)
        case "unknown_message":
            return UnknownMessage(conversation, seq)
        case "in_a_thread":
            return InAThread(f"message {seq} is in a thread itself")
        case "unknown_poll":
            return UnknownPoll(f"message {seq} asks nothing")
        case "forbidden":
            return Forbidden("only the owner and admins of the group may ask for this")
    raise AssertionError(f"the database answered {code!r}")


def link_refusal(code: str, person: UUID, conversation: UUID | None, key: str = "") -> Refused:
    """What the *code* that a function about links answered with stands for; *conversation*: where it is known."""
    match code:
        case "key_reused":
            return KeyReused(key)
        case "forbidden":
            return Forbidden("only the owner and admins of the group may do this")
        case "wrong_kind":
            return WrongKind("a direct conversation has its two members for ever")
        case "conversation_closed":
            return closed()
        case "over":
            return Invalid("the end is over already - at `$.expires_at_ms`")
        case "too_many_links":
            return TooManyLinks("the conversation has as many join links as it may")
        case "unknown_link":
            return UnknownLink("there is no such join link")
        case "link_over":
            return LinkOver("the join link was revoked, or is used up or out of time")
        case "already_a_member" if conversation is not None:
            return AlreadyAMember(person, conversation)
        case "banned":
            return Banned("you are banned from this conversation")
        case "conversation_full":
            return ConversationFull("the conversation has as many members as this server allows")
        case "too_many_requests":
            return TooManyRequests("as many people ask to be let in as may wait")
        case "not_a_member" if conversation is not None:
            return NotAMember(person, conversation)
    raise AssertionError(f"the database answered {code!r}")
