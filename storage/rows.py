"""What storage takes and gives: plain rows, the same from PostgreSQL and from the simulated world's fake."""

from typing import Literal, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from protocol import limits
from protocol.frames import (
    Content,
    ConversationState,
    Entry,
    History,
    Kind,
    Privacy,
    Receipt,
    Request,
    StateEvent,
)


class NewMessage(
    Struct, frozen=True, omit_defaults=True,
    rename={"conversation": "c", "author": "a", "key": "k", "text": "x", "content": "j"},
):  # fmt: skip
    """A message to append."""

    conversation: UUID
    author: UUID
    key: str
    text: str  # empty: none, and then there is content
    content: Content | None = None


class Answer(Struct, frozen=True):
    """What became of one message of a batch."""

    new: bool  # stored by this very call
    reused: bool  # the key stands for other content; nothing was stored
    seq: int | None = None  # None: the author is not a member, or there is no such conversation
    at_ms: int | None = None
    expires_at_ms: int | None = None  # of a new message: when it disappears
    refused: bool = False  # storage can never take this text
    error: str | None = None  # a member, but may not write now: an error's code; "slow_mode" for retry_after_ms
    retry_after_ms: int = 0


class Appendix(Struct, frozen=True):
    """The outcome of one append."""

    answers: list[Answer]  # one per message, in the order given
    missed: list[Entry]  # others' entries above the heads given, by (conversation, seq); at most 500 a conversation


class Rules(Struct, frozen=True):
    """What a server allows; the functions of the database that store actions are given it."""

    group_members: int = limits.GROUP_MEMBERS
    edit_within_s: int = 172_800  # after its sending a message may be edited for so long; 0: never, below: for ever
    reactions_of_one: int = limits.REACTIONS_OF_ONE
    reactions: int = limits.REACTIONS
    reaction_users: int = limits.REACTION_USERS
    pinned: int = limits.PINNED
    nicknames: int = limits.NICKNAMES
    hidden_block: int = limits.HIDDEN_BLOCK
    expired: int = limits.EXPIRED
    pins: int = limits.PINS
    thread_users: int = limits.THREAD_USERS
    media_unused_ms: int = 86_400_000  # how long a medium is kept that nothing names any more
    admins: int = limits.ADMINS
    room_members: int = limits.ROOM_MEMBERS  # of a room or a channel
    links: int = limits.LINKS
    requests: int = limits.REQUESTS


class NewKind(Struct, frozen=True):
    """What is to be known of a new conversation beside what a plain group has."""

    kind: Kind = "group"
    topic: str | None = None
    tags: list[str] = []
    public: bool = False


class Acted(Struct, frozen=True):
    """The outcome of one action."""

    seq: int  # where its entry stands; or, when there was nothing to do, after which entry it stood so
    at_ms: int
    entry: Entry | None = None  # stored by this very call


class Changed(Struct, frozen=True):
    """Where the entry of a membership change stands."""

    seq: int
    at_ms: int
    new: bool
    owner: UUID | None = None  # whose the group is after it, when its owner left
    count: int | None = None  # of a room or a channel: its members after it


class Made(Struct, frozen=True):
    """A conversation that was opened, or found."""

    conversation: UUID
    new: bool


class Span(Struct, frozen=True):
    """One stretch of a person's membership; entries with since <= seq <= until are visible."""

    conversation: UUID
    joined: int  # seq of the entry that began it
    since: int
    last_seq: int  # of the conversation, in the same snapshot
    number: int  # the person's number at the last change of this stretch
    until: int | None = None
    partner: UUID | None = None  # in a direct conversation
    large: bool = False  # typing is not told: it has more than TYPING_MEMBERS members, or is closed


class Standing(Struct, frozen=True):
    """All that a resume starts from, in one snapshot."""

    at_ms: int
    known: bool  # whether the lineage asked for is one of this database's
    spans: list[Span]  # by (conversation, joined)
    number: int | None = None  # raised by every change of the person's own rows; None: there is no such person
    states: list["State"] = []  # of `first_standing`: of the first so many of them, in the same snapshot
    same: bool = False  # spans are left out: none has changed since the number that the asker named
    rows: int = 0  # the number of the newest row of table personal, if it is above what the asker was told; else 0
    privacy: Privacy | None = None  # the person's switches; None: never touched
    unseen: list[UUID] = []  # who is not seen by the person, and does not see the person


class Personal(Struct, frozen=True):
    """A row of a person's own."""

    number: int  # the person's number at its last change
    state: StateEvent


class Kept(Struct, frozen=True):
    """The outcome of a command that changes what is one's own."""

    number: int  # up to which a device has to be told to know what came of it; 0: there was nothing to do
    new: bool  # by this very call


class PersonalPage(Struct, frozen=True):
    """Rows of a person's own, in the order of their last change."""

    rows: list[Personal]
    cut: bool  # more follow


class State(Struct, frozen=True):
    """A conversation as one person sees it; after the last span's end, as it was then and without members."""

    conversation: UUID
    kind: Kind
    head: int
    first_seq: int
    joined: int
    read: int
    delivered: int
    unread: int
    active_at_ms: int
    history: History
    until: int | None = None
    title: str | None = None
    owner: UUID | None = None
    retention_s: int | None = None
    members: list[UUID] = []
    names: dict[UUID, str] = {}
    receipts: list[Receipt] = []
    recent: list[Entry] = []
    pins: list[int] = []
    admins: list[UUID] = []
    topic: str | None = None
    photo: UUID | None = None
    slow_mode_s: int = 0
    tags: list[str] = []
    public: bool = False
    member_count: int = 0
    closed: bool = False


_Shown = TypeVar("_Shown", bound=ConversationState)


def shown(state: State, form: type[_Shown]) -> _Shown:
    """*state* as it travels: in an answer, or as the event."""
    return form(
        conversation=state.conversation, kind=state.kind, title=state.title, members=state.members, head=state.head,
        first_seq=state.first_seq, unread=state.unread, read=state.read, delivered=state.delivered, names=state.names,
        receipts=state.receipts, recent=state.recent, history=state.history, owner=state.owner,
        retention_s=state.retention_s,
        pins=state.pins,
        admins=state.admins, topic=state.topic, photo=state.photo, slow_mode_s=state.slow_mode_s,
        tags=state.tags, public=state.public, member_count=state.member_count, closed=state.closed,
    )  # fmt: skip


class Range(Struct, frozen=True, rename={"conversation": "c", "low": "lo", "high": "hi"}):
    """Entries low <= seq <= high of one conversation."""

    conversation: UUID
    low: int
    high: int


class Page(Struct, frozen=True):
    """Entries by the order of the ranges asked for."""

    entries: list[Entry]
    cut: bool  # the page was full before the ranges ended


class Raise(Struct, frozen=True, rename={"conversation": "c", "person": "p", "delivered": "d", "read": "r"}):
    """Cursors to raise."""

    conversation: UUID
    person: UUID
    delivered: int
    read: int


class Raised(Struct, frozen=True):
    """One's cursors after the raise."""

    member: bool  # False: not a member, nothing was written
    delivered: int
    read: int
    rose: bool
    members: int  # of the conversation
    arrived: bool = True  # the delivered cursor rose
    hidden: bool = False  # the person hides reading


class OthersReceipt(Struct, frozen=True):
    """A receipt row."""

    conversation: UUID
    user: UUID
    delivered: int
    read: int


class MemberRow(Struct, frozen=True):
    """A member, and the place in the order of joining."""

    user: UUID
    name: str
    role: Literal["owner", "admin", "member"]
    joined: int  # seq of the entry that began it
    place: int  # among those who joined by that entry


class MemberPage(Struct, frozen=True):
    """Members in order of joining."""

    members: list[MemberRow]
    more: bool


class RoomRow(Struct, frozen=True):
    """A public conversation, and its place in the list."""

    conversation: UUID
    kind: Literal["room", "channel"]
    title: str
    member_count: int
    online: int
    joined: bool
    shared: int  # interests in common with who asks
    active_at_ms: int  # to the minute
    tags: list[str] = []
    topic: str | UnsetType = UNSET
    photo: UUID | UnsetType = UNSET


class RoomPage(Struct, frozen=True):
    """Public conversations: those first that share most interests, then by activity."""

    rooms: list[RoomRow]
    more: bool


class RequestPage(Struct, frozen=True):
    """Requests to be let in, the oldest first."""

    requests: list[Request]
    more: bool
    count: int  # of all of them


class Seen(Struct, frozen=True):
    """Somebody whose presence the asker may see."""

    user: UUID
    contact: bool
    last_seen_ms: int | None = None  # in whole minutes


class Moved(Struct, frozen=True):
    """What went on without the asker."""

    conversations: dict[UUID, int]  # -> last_seq
    people: list[UUID]
    rooms: list[UUID] = []  # which of the conversations asked about are public
