"""Roles of members, and who is barred."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Conversation, Cursor, Key, Seq


class MemberRole(Command, frozen=True, tag="member.role"):
    """Make a member of a group an admin, or an admin a plain member again; its owner and admins may (docs/roles.md).
    Nobody changes the owner's role: see `conversation.handover`. Answered with :class:`Appended`: where the entry
    `member.role` stands; when it is so already, nothing is stored, and the answer names the newest entry."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whose role.")]
    role: Annotated[Literal["admin", "member"], Meta(description="What the person is to be.")]


class ConversationHandover(Command, frozen=True, tag="conversation.handover"):
    """Make another member the owner of a group; its owner may, and is an admin from then on. Answered with
    :class:`Appended`: where the entry `conversation.owner` stands."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="The new owner, a member now.")]


class MemberBan(Command, frozen=True, tag="member.ban"):
    """Remove somebody from a group, and bar the person from coming back; its owner and admins may, and nobody bans the
    owner. Also somebody who is no member. Of somebody who is banned it changes reason and end. Answered with
    :class:`Appended`: where the entry `member.banned` stands, which all members see."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whom to ban.")]
    reason: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.REASON_CHARS, pattern=NO_NUL)] | None,
        Meta(description="Why, in words."),
    ] = None
    until_ms: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="Until when: Unix milliseconds (UTC), by the database's clock; null for ever."),
    ] = None


class MemberUnban(Command, frozen=True, tag="member.unban"):
    """Lift a ban before its end; the group's owner and admins may. The person may then be added or join again.
    Answered with :class:`Appended`: where the entry `member.unbanned` stands; when there is no ban, nothing is stored,
    and the answer names the newest entry."""

    conversation: Conversation
    key: Key
    user: Annotated[UUID, Meta(description="Whose ban to lift.")]


class MemberBans(Command, frozen=True, tag="member.bans"):
    """Who is banned from a group now, newest first, page by page; its owner and admins may ask. Answered with
    :class:`Bans`."""

    conversation: Conversation
    before: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="Only bans with a smaller seq: the last one's on the page before; null for the newest."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.BANS_PAGE, description="At most so many bans on the page.")] = 50


class Ban(Struct, frozen=True, omit_defaults=True):
    """That somebody is barred."""

    user: Annotated[UUID, Meta(description="Who is banned.")]
    author: Annotated[UUID, Meta(description="By whom.")]
    seq: Annotated[Seq, Meta(description="The entry `member.banned` that says so.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]
    reason: Annotated[str, Meta(description="Why; absent when nothing was said.")] | UnsetType = UNSET
    until_ms: Annotated[int, Meta(description="Until when: Unix milliseconds (UTC); absent: for ever.")] | UnsetType = (
        UNSET
    )


class Bans(Struct, frozen=True):
    """A page of the bans of a conversation."""

    bans: Annotated[list[Ban], Meta(description="Newest first.")]
    more: Annotated[bool, Meta(description="Older bans exist: ask again, `before` the last of these.")]


class MemberList(Command, frozen=True, tag="member.list"):
    """Who belongs to a conversation, with role and name, in order of joining, page by page; its members may ask.
    Answered with :class:`Members`."""

    conversation: Conversation
    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.MEMBERS_PAGE, description="At most so many people on the page.")] = 50


class Member(Struct, frozen=True):
    """A member of a conversation."""

    user: Annotated[UUID, Meta(description="Who it is.")]
    name: Annotated[str, Meta(description="The person's name.")]
    role: Annotated[Literal["owner", "admin", "member"], Meta(description="What the person is there.")]
    joined: Annotated[Seq, Meta(description="The entry by which the person joined.")]


class Members(Struct, frozen=True, omit_defaults=True):
    """A page of the members of a conversation."""

    members: Annotated[list[Member], Meta(description="In order of joining.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
