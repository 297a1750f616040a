"""Commands, replies and events: what travels on the socket, with its limits in the types.

Every frame is one MessagePack map whose type stands in ``t``. A command carries the client's number ``id`` and is
answered exactly once, by :class:`Ok` or :class:`Error` with that ``id``; events carry no ``id``. Unknown fields are
ignored and new fields have defaults, so that old clients and old servers keep working. Ids are UUIDv7 text; times
are Unix milliseconds (UTC).
"""

from msgspec import Struct

from protocol.frames.base import (
    Command as Command,
    Done as Done,
    Error as Error,
    Event as Event,
    Ok as Ok,
)
from protocol.frames.conversations import (
    ConversationAdd as ConversationAdd,
    ConversationCreate as ConversationCreate,
    ConversationDirect as ConversationDirect,
    ConversationEvent as ConversationEvent,
    ConversationGet as ConversationGet,
    ConversationLeave as ConversationLeave,
    ConversationList as ConversationList,
    ConversationRemove as ConversationRemove,
    Conversations as Conversations,
    ConversationState as ConversationState,
    Opened as Opened,
)
from protocol.frames.entries import (
    Appended as Appended,
    Entry as Entry,
    EntryEvent as EntryEvent,
    Reaction as Reaction,
)
from protocol.frames.fields import (
    AtMs as AtMs,
    Conversation as Conversation,
    Cursor as Cursor,
    Device as Device,
    Emoji as Emoji,
    EntryKind as EntryKind,
    History as History,
    Id as Id,
    IdText as IdText,
    Key as Key,
    Kind as Kind,
    MessageSeq as MessageSeq,
    SentKey as SentKey,
    Seq as Seq,
    Tag as Tag,
    Text as Text,
    Title as Title,
    Token as Token,
    Topic as Topic,
)
from protocol.frames.links import (
    Invitation as Invitation,
    Joined as Joined,
    Link as Link,
    LinkCreate as LinkCreate,
    LinkJoin as LinkJoin,
    LinkList as LinkList,
    LinkMade as LinkMade,
    LinkPreview as LinkPreview,
    LinkRevoke as LinkRevoke,
    Links as Links,
    Request as Request,
    RequestAnswer as RequestAnswer,
    RequestList as RequestList,
    Requests as Requests,
)
from protocol.frames.members import (
    Ban as Ban,
    Bans as Bans,
    ConversationHandover as ConversationHandover,
    Member as Member,
    MemberBan as MemberBan,
    MemberBans as MemberBans,
    MemberList as MemberList,
    MemberRole as MemberRole,
    Members as Members,
    MemberUnban as MemberUnban,
)
from protocol.frames.messages import (
    HistoryGet as HistoryGet,
    HistoryPage as HistoryPage,
    MessageDelete as MessageDelete,
    MessageEdit as MessageEdit,
    MessageEdits as MessageEdits,
    MessageReact as MessageReact,
    MessageReactions as MessageReactions,
    MessageSend as MessageSend,
    OneReaction as OneReaction,
    Reactions as Reactions,
    Version as Version,
    Versions as Versions,
)
from protocol.frames.people import (
    User as User,
    UserGet as UserGet,
    Users as Users,
)
from protocol.frames.presence import (
    Online as Online,
    PresenceEvent as PresenceEvent,
    PresenceWatch as PresenceWatch,
    Typing as Typing,
    TypingEvent as TypingEvent,
)
from protocol.frames.receipts import (
    Cursors as Cursors,
    Receipt as Receipt,
    ReceiptEvent as ReceiptEvent,
    ReceiptMove as ReceiptMove,
)
from protocol.frames.rooms import (
    MembersOnline as MembersOnline,
    Room as Room,
    RoomJoin as RoomJoin,
    RoomLeave as RoomLeave,
    RoomList as RoomList,
    RoomOnline as RoomOnline,
    Rooms as Rooms,
)
from protocol.frames.session import (
    AuthRenew as AuthRenew,
    CursorEvent as CursorEvent,
    Hello as Hello,
    Ping as Ping,
    Pong as Pong,
    Progress as Progress,
    Renewed as Renewed,
    Rewound as Rewound,
    Synced as Synced,
    Welcome as Welcome,
)
from protocol.frames.settings import (
    ConversationPhoto as ConversationPhoto,
    ConversationSlowMode as ConversationSlowMode,
    ConversationTitle as ConversationTitle,
    ConversationTopic as ConversationTopic,
)

AnyCommand = (
    Hello | Ping | AuthRenew | ConversationDirect | ConversationCreate | ConversationList | ConversationGet
    | ConversationAdd | ConversationRemove | ConversationLeave | MessageSend | MessageEdit | MessageDelete
    | MessageReact | MessageEdits | MessageReactions | HistoryGet | ReceiptMove | Typing | PresenceWatch | UserGet
    # members and what they may set
    | MemberRole | ConversationHandover | MemberBan | MemberUnban | MemberBans
    | ConversationTitle | ConversationTopic | ConversationPhoto | ConversationSlowMode | RoomJoin | RoomLeave
    # finding rooms, and who is in them
    | RoomList | RoomOnline | MemberList
    # links and requests
    | LinkCreate | LinkList | LinkRevoke | LinkPreview | LinkJoin | RequestList | RequestAnswer
)  # fmt: skip
# Commands that a conversation's log takes one by one: each is stored by a function of the database of its own.
AnyAction = (
    ConversationAdd | ConversationRemove | ConversationLeave | MessageEdit | MessageDelete | MessageReact
    # members and what they may set
    | MemberRole | ConversationHandover | MemberBan | MemberUnban
    | ConversationTitle | ConversationTopic | ConversationPhoto | ConversationSlowMode | RoomJoin | RoomLeave
    # links and requests
    | RequestAnswer
)  # fmt: skip
AnyEvent = (
    EntryEvent
    | ConversationEvent
    | Progress
    | Synced
    | CursorEvent
    | Rewound
    | ReceiptEvent
    | TypingEvent
    | PresenceEvent
)
AnyReply = Ok | Error

# What a command's ok carries; a test checks that no command is missing.
RESULTS: dict[type[Command], type[Struct]] = {
    Hello: Welcome,
    Ping: Pong,
    AuthRenew: Renewed,
    ConversationDirect: Opened,
    ConversationCreate: Opened,
    ConversationList: Conversations,
    ConversationGet: ConversationState,
    ConversationAdd: Appended,
    ConversationRemove: Appended,
    ConversationLeave: Appended,
    MessageSend: Appended,
    MessageEdit: Appended,
    MessageDelete: Appended,
    MessageReact: Appended,
    MessageEdits: Versions,
    MessageReactions: Reactions,
    HistoryGet: HistoryPage,
    ReceiptMove: Cursors,
    Typing: Done,
    PresenceWatch: Online,
    UserGet: Users,
    # members and what they may set
    MemberRole: Appended,
    ConversationHandover: Appended,
    MemberBan: Appended,
    MemberUnban: Appended,
    MemberBans: Bans,
    ConversationTitle: Appended,
    ConversationTopic: Appended,
    ConversationPhoto: Appended,
    ConversationSlowMode: Appended,
    RoomJoin: Appended,
    RoomLeave: Appended,
    # finding rooms, and who is in them
    RoomList: Rooms,
    RoomOnline: MembersOnline,
    MemberList: Members,
    # links and requests
    LinkCreate: LinkMade,
    LinkList: Links,
    LinkRevoke: Done,
    LinkPreview: Invitation,
    LinkJoin: Joined,
    RequestList: Requests,
    RequestAnswer: Appended,
}
