"""Everything the core asks of storage, as one type: PostgreSQL behind it in life, a fake in the simulated world.

Every function either returns what is committed, or raises :class:`storage.errors.StorageUnavailable` (outcome unknown,
the same call again is safe), :class:`storage.errors.StorageRefused` (can never succeed) or a
:class:`protocol.errors.Refused` (the caller may not). The contract tests in tests/test_store_contract.py hold for both.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol
from uuid import UUID

from protocol.frames import (
    AnyPersonal,
    Bans,
    Conversations,
    Entry,
    Found,
    History,
    HistoryPage,
    Invitation,
    Joined,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    MessageSchedule,
    MessageScheduled,
    Privacy,
    PrivacySet,
    Reactions,
    Readers,
    ScheduledPage,
    Search,
    Threads,
    Unread,
    User,
    Versions,
    Votes,
)
from storage.actions import Deed
from storage.rows import (
    Acted,
    Appendix,
    Changed,
    Kept,
    Made,
    MemberPage,
    Moved,
    NewKind,
    NewMessage,
    OthersReceipt,
    Page,
    PersonalPage,
    Raise,
    Raised,
    Range,
    RequestPage,
    RoomPage,
    Rules,
    Seen,
    Standing,
    State,
)
from storage.scheduled import Due, Filed

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

    async def act(self, lane: int, author: UUID, action: Deed, rules: Rules) -> Acted:
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
            UnknownUser, NotAllowedToWrite
        """

    async def standing(
        self, person: UUID, lineage: UUID | None, told: int = 0, known: int | None = None
    ) -> Standing:
        """What a resume starts from.

        Args:
            person: Who comes back.
            lineage: The one that the client's cursor names.
            told: Up to which number the client was told of the person's own rows.
            known: Up to which number the asker knows the spans: they are left out if none has changed since.
        """

    async def personal(
        self, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
    ) -> PersonalPage:
        """The person's own rows with above < number <= through, in that order: at most *limit*, up to about
        *size_bytes* (at least one if there is any). *gone*: those that are gone, too."""

    async def keep(self, person: UUID, command: AnyPersonal, rules: Rules) -> Kept:
        """Change what is the person's own. The key is looked at first, then all else (docs/hazards.md, A11).

        Raises:
            Refused: As ``protocol/schema/answers.py`` says of each command.
        """

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

    async def around(self, person: UUID, conversation: UUID, at: int, older: int, newer: int) -> HistoryPage:
        """A page of the past around a place, oldest first: the newest *older* entries below seq *at*, and the oldest
        *newer* from it on, each of the two up to half a page's bytes.

        Raises:
            NotAMember: *person* was never a member.
        """

    async def search(self, person: UUID, query: Search, languages: Sequence[str]) -> Found:
        """A page of the messages that match *query* and that *person* may see.

        Args:
            languages: By whose stems words are sought, beside the words as they are written.

        Raises:
            NotAMember: *person* was never a member of the one conversation to search in.
            BadCursor
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

    async def votes(self, person: UUID, conversation: UUID, seq: int, after: int, limit: int) -> Votes:
        """A page of the votes of poll *seq*, those above *after*; and what *person* chose.

        Raises:
            NotAMember, UnknownMessage: As above.
            UnknownPoll
        """

    async def threads(self, person: UUID, conversation: UUID, cursor: str | None, limit: int) -> Threads:
        """A page of the threads of a conversation, last active first.

        Raises:
            NotAMember: *person* is none now.
            BadCursor
        """

    async def thread(
        self, person: UUID, conversation: UUID, seq: int, before: int | None, limit: int
    ) -> HistoryPage:
        """A page of the messages of thread *seq*, oldest first.

        Raises:
            NotAMember, UnknownMessage: As above.
            InAThread: *seq* is the root of none, and cannot be.
        """

    async def schedule(self, new_id: UUID, author: UUID, command: MessageSchedule) -> Filed:
        """Keep a message until its time. *new_id*: its id, if it is new.

        Raises:
            NotAMember, TooManyScheduled, KeyReused, UnknownMedium, NotReady, WrongUse
            Invalid: Its time is too far ahead.
        """

    async def unschedule(self, author: UUID, scheduled_id: UUID) -> int:
        """Take a scheduled message back. The number up to which a device has to be told to know of it.

        Raises:
            UnknownScheduled
            TooLate: It was sent.
        """

    async def scheduled(self, author: UUID, command: MessageScheduled) -> ScheduledPage:
        """A page of *author*'s messages that wait for their time, or could not be sent.

        Raises:
            BadCursor
        """

    async def take_due(self, limit: int, lease_s: float) -> Due:
        """Take what is due now, at most *limit*, for this process to do; who has not done it within *lease_s* may find
        that another process does it."""

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

    async def readers(self, person: UUID, conversation: UUID, seq: int, cursor: str | None, limit: int) -> Readers:
        """A page of those whom message *seq* has reached.

        Raises:
            NotAMember: *person* is no member now.
            UnknownMessage: As above.
            BadCursor
        """

    async def listing(self, person: UUID, cursor: str | None, limit: int) -> Conversations:
        """One page of the conversations *person* is in, last active first.

        Raises:
            BadCursor
        """

    async def set_privacy(self, person: UUID, command: PrivacySet) -> int:
        """Turn the switches that *command* names. The number up to which a device has to be told to know of it.

        Raises:
            KeyReused
        """

    async def privacy(self, person: UUID) -> Privacy:
        """How the person's switches stand."""

    async def presences(self, person: UUID, users: Sequence[UUID]) -> list[Seen]:
        """Those of *users* whose presence *person* may see, each once, in that order: they share a conversation now,
        and the switches of both allow it."""

    async def take_seats(self, node: UUID, came: Sequence[UUID], went: Mapping[UUID, int]) -> None:
        """Who is at process *node* now, and who went so many milliseconds ago and was then last seen."""

    async def unread_total(self, person: UUID) -> Unread:
        """What is unread over all that *person* is in."""

    async def raise_receipts(self, moves: Sequence[Raise]) -> list[Raised]:
        """Raise cursors, clamped to what exists; one move per person and conversation. Answers in the same order."""

    async def receipts_since(self, person: UUID, since_ms: int) -> list[OthersReceipt]:
        """Receipts written after *since_ms* in the person's conversations, as far as they are shown."""

    async def moved(self, heads: Mapping[UUID, int], numbers: Mapping[UUID, int]) -> Moved:
        """Which conversations are above these heads, which people above these numbers."""

    async def users(self, person: UUID, ids: Sequence[UUID]) -> list[User]:
        """Those of *ids* that exist, as far as *person* may see them, or has ever shared a conversation with them."""

    async def add_lineage(self, lineage: UUID) -> None:
        """Write a lineage row, before any cursor names it."""

    async def beat(self, node: UUID) -> list[UUID]:
        """Say that process *node* is there; which others said so within the last 5 seconds. Of who has not for 15
        seconds, the people were last seen at the last beat."""

    async def leave(self, node: UUID) -> None:
        """Say that process *node* goes; its people were last seen now."""
