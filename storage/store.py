"""Everything the core asks of storage, as one type: PostgreSQL behind it in life, a fake in the simulated world.

Every function either returns what is committed, or raises :class:`storage.errors.StorageUnavailable` (outcome unknown,
the same call again is safe), :class:`storage.errors.StorageRefused` (can never succeed) or a
:class:`protocol.errors.Refused` (the caller may not). The contract tests in tests/test_store_contract.py hold for both.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol
from uuid import UUID

from protocol.frames import (
    AnyAction,
    Bans,
    Conversations,
    Entry,
    History,
    HistoryPage,
    Invitation,
    Joined,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    Reactions,
    User,
    Versions,
)
from storage.rows import (
    Acted,
    Appendix,
    Changed,
    Made,
    MemberPage,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    Raise,
    Raised,
    Range,
    RequestPage,
    RoomPage,
    Rules,
    Standing,
    State,
)

PLAIN: Final = NewKind()
Change = Literal["add", "remove", "leave"]


class Store(Protocol):
    """What lasts, as the core sees it."""

    async def append(self, lane: int, messages: Sequence[NewMessage], heads: Mapping[UUID, int]) -> Appendix:
        """Store *messages* in the order given, each with the next number of its conversation. One commit.

        Args:
            lane: Which of the dedicated connections; one caller at a time each.
            messages: May name several conversations. Membership is checked here, under the row locks; the key first.
            heads: Conversation, of those that *messages* name -> the seq up to which the caller has delivered; what
                others stored above comes back.
        """

    async def act(self, lane: int, author: UUID, action: AnyAction, rules: Rules) -> Acted:
        """Store one action: anything but a message that changes a conversation. The key is looked at first, then
        membership, then what else may be refused (docs/hazards.md, A11).

        Raises:
            Refused: As ``protocol/schema/answers.py`` says of each action.
        """

    async def change_member(
        self, lane: int, change: Change, conversation: UUID, author: UUID, key: str, user: UUID, most: int,
        room_most: int | None = None,
    ) -> Changed:  # fmt: skip
        """Add *user* to a group, remove *user*, or leave (*user* is the author). *most*: members a group may have;
        *room_most*: a room or a channel, None: as a group.

        Raises:
            NotAMember, AlreadyAMember, WrongKind, Forbidden, UnknownUser, ConversationFull, KeyReused, Banned
        """

    async def log_after(self, lane: int, conversation: UUID, head: int, limit: int) -> list[Entry]:
        """The log above *head*, at most *limit* entries; for delivery, so not narrowed to one reader."""

    async def create_group(
        self, new_id: UUID, author: UUID, key: str, title: str, history: History, members: Sequence[UUID], most: int,
        more: NewKind = PLAIN,
    ) -> Made:  # fmt: skip
        """Create a group, a room or a channel, and its first entry. *members*: the author first, no repeats.

        Raises:
            UnknownUser, ConversationFull, KeyReused
        """

    async def open_direct(self, new_id: UUID, author: UUID, user: UUID) -> Made:
        """The one direct conversation of two people, made on first use.

        Raises:
            UnknownUser
        """

    async def standing(self, person: UUID, lineage: UUID | None) -> Standing:
        """What a resume starts from. *lineage*: the one the client's cursor names."""

    async def first_standing(self, person: UUID, recent: int, most: int) -> Standing:
        """What a first start starts from: the same, with what ``states`` would tell of the first *most* conversations
        that the person is in, in one snapshot."""

    async def states(self, person: UUID, conversations: Sequence[UUID], recent: int) -> list[State]:
        """Conversations as *person* sees them; those the person was never in are left out."""

    async def visible(self, person: UUID, ranges: Sequence[Range], size_bytes: int) -> Page:
        """What *person* may see of *ranges*, up to about *size_bytes* (at least one entry if there is any)."""

    async def stretches(self, ranges: Sequence[Range], size_bytes: int) -> list[Page]:
        """Of each of *ranges* its first entries, up to about *size_bytes* (at least one if there is any).

        Not narrowed to one reader: for callers who know from a standing that whoever gets them may see all.
        """

    async def history(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> HistoryPage:
        """A page of the past, oldest first.

        Raises:
            NotAMember: *person* was never a member.
        """

    async def edits(self, person: UUID, conversation: UUID, seq: int, after: int) -> Versions:
        """What message *seq* has said, the versions above *after*, oldest first.

        Raises:
            NotAMember: *person* was never a member.
            UnknownMessage: No message there that *person* may see.
        """

    async def reactions(
        self, person: UUID, conversation: UUID, seq: int, emoji: str | None, cursor: str | None, limit: int
    ) -> Reactions:
        """A page of the reactions to message *seq*, with *emoji* or all.

        Raises:
            NotAMember, UnknownMessage: As above.
            BadCursor
        """

    async def bans(self, person: UUID, conversation: UUID, before: int | None, limit: int) -> Bans:
        """A page of the bans that hold now, newest first, those below *before* (a ban's seq).

        Raises:
            NotAMember: *person* is none now.
            Forbidden
        """

    async def members(self, person: UUID, conversation: UUID, after: tuple[int, int], limit: int) -> MemberPage:
        """A page of the members in order of joining, those after (joined, place).

        Raises:
            NotAMember: *person* is none now.
        """

    async def rooms(
        self, person: UUID, query: str | None, tags: Sequence[str], after: tuple[int, int, UUID], limit: int
    ) -> RoomPage:
        """A page of the public conversations as *person* sees them, those after (shared, active_at_ms, conversation).
        *query*: every word of it begins a word of title, topic or tags."""

    async def create_link(self, author: UUID, command: LinkCreate, rules: Rules) -> Link:
        """Make a link; a repeat finds the first.

        Raises:
            NotAMember, WrongKind, Forbidden, Invalid, TooManyLinks, KeyReused
        """

    async def links(self, person: UUID, conversation: UUID) -> list[Link]:
        """The links that are not revoked, the oldest first.

        Raises:
            NotAMember, Forbidden
        """

    async def revoke_link(self, author: UUID, command: LinkRevoke) -> None:
        """End a link.

        Raises:
            NotAMember, Forbidden, UnknownLink, KeyReused
        """

    async def preview_link(self, person: UUID, code: str) -> Invitation:
        """Where a link leads.

        Raises:
            UnknownLink, LinkOver, Banned
        """

    async def join_by_link(self, person: UUID, command: LinkJoin, rules: Rules) -> Joined:
        """Join by a link, or ask for it. The conversation is locked, the key looked at first.

        Raises:
            UnknownLink, LinkOver, AlreadyAMember, Banned, ConversationFull, TooManyRequests, KeyReused
        """

    async def requests(self, person: UUID, conversation: UUID, after: tuple[int, UUID], limit: int) -> RequestPage:
        """A page of the requests, the oldest first, those after (at_ms, person).

        Raises:
            NotAMember, Forbidden
        """

    async def publish_rooms(self, node: UUID, people: Mapping[UUID, int]) -> None:
        """Say how many people process *node* has in public conversations now, 0 for no longer any. It counts while the
        process beats. What is active is told so, to the minute."""

    async def listing(self, person: UUID, cursor: str | None, limit: int) -> Conversations:
        """One page of the conversations *person* is in, last active first.

        Raises:
            BadCursor
        """

    async def raise_receipts(self, moves: Sequence[Raise]) -> list[Raised]:
        """Raise cursors, clamped to what exists; one move per person and conversation. Answers in the same order."""

    async def receipts_since(self, person: UUID, since_ms: int) -> list[OthersReceipt]:
        """Receipts written after *since_ms* in the person's conversations, as far as they are shown."""

    async def moved(self, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
        """Which conversations are above these heads, which people above these numbers."""

    async def users(self, ids: Sequence[UUID]) -> list[User]:
        """Those of *ids* that exist."""

    async def add_lineage(self, lineage: UUID) -> None:
        """Write a lineage row, before any cursor names it."""

    async def beat(self, node: UUID) -> list[UUID]:
        """Say that process *node* is there; which others said so within the last 5 seconds."""

    async def leave(self, node: UUID) -> None:
        """Say that process *node* goes."""
