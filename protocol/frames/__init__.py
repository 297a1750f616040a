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
    Text as Text,
    Title as Title,
    Token as Token,
)
from protocol.frames.messages import (
    HistoryGet as HistoryGet,
    HistoryPage as HistoryPage,
    MessageDelete as MessageDelete,
    MessageEdit as MessageEdit,
    MessageEdits as MessageEdits,
    MessageReact as MessageReact,
    MessageReactions as MessageReactions,
    MessageReader as MessageReader,
    MessageReaders as MessageReaders,
    MessageSend as MessageSend,
    OneReaction as OneReaction,
    Reactions as Reactions,
    Readers as Readers,
    Version as Version,
    Versions as Versions,
)
from protocol.frames.people import (
    User as User,
    UserGet as UserGet,
    Users as Users,
)
from protocol.frames.personal import (
    ConversationArchive as ConversationArchive,
    ConversationFolder as ConversationFolder,
    ConversationMarkUnread as ConversationMarkUnread,
    ConversationMute as ConversationMute,
    ConversationNickname as ConversationNickname,
    ConversationNotify as ConversationNotify,
    ConversationPin as ConversationPin,
    DraftClear as DraftClear,
    DraftSet as DraftSet,
    MessageHide as MessageHide,
)
from protocol.frames.presence import (
    Online as Online,
    PersonPresence as PersonPresence,
    PresenceEvent as PresenceEvent,
    PresenceGet as PresenceGet,
    Presences as Presences,
    PresenceWatch as PresenceWatch,
    Typing as Typing,
    TypingEvent as TypingEvent,
    What as What,
)
from protocol.frames.privacy import (
    LastSeen as LastSeen,
    Privacy as Privacy,
    PrivacyGet as PrivacyGet,
    PrivacySet as PrivacySet,
)
from protocol.frames.receipts import (
    Cursors as Cursors,
    Receipt as Receipt,
    ReceiptEvent as ReceiptEvent,
    ReceiptMove as ReceiptMove,
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
from protocol.frames.states import (
    Draft as Draft,
    Hidden as Hidden,
    Notify as Notify,
    Settings as Settings,
    StateEvent as StateEvent,
    StateKind as StateKind,
)
from protocol.frames.unread import (
    Unread as Unread,
    UnreadGet as UnreadGet,
)

AnyCommand = (
    Hello | Ping | AuthRenew | ConversationDirect | ConversationCreate | ConversationList | ConversationGet
    | ConversationAdd | ConversationRemove | ConversationLeave | MessageSend | MessageEdit | MessageDelete
    | MessageReact | MessageEdits | MessageReactions | HistoryGet | ReceiptMove | Typing | PresenceWatch | UserGet
    | UnreadGet | MessageReaders | PrivacySet | PrivacyGet | PresenceGet
    | DraftSet | DraftClear | ConversationMute | ConversationArchive | ConversationPin | ConversationMarkUnread
    | ConversationNickname | ConversationFolder | ConversationNotify | MessageHide
)  # fmt: skip
# Commands that a conversation's log takes one by one: each is stored by a function of the database of its own.
AnyAction = ConversationAdd | ConversationRemove | ConversationLeave | MessageEdit | MessageDelete | MessageReact
# Commands that change what is one's own: each is stored by a function of the database of its own.
AnyPersonal = (
    DraftSet | DraftClear | ConversationMute | ConversationArchive | ConversationPin | ConversationMarkUnread
    | ConversationNickname | ConversationFolder | ConversationNotify | MessageHide
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
    | StateEvent
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
    UnreadGet: Unread,
    MessageReaders: Readers,
    PrivacySet: Done,
    PrivacyGet: Privacy,
    PresenceGet: Presences,
    DraftSet: Done,
    DraftClear: Done,
    ConversationMute: Done,
    ConversationArchive: Done,
    ConversationPin: Done,
    ConversationMarkUnread: Done,
    ConversationNickname: Done,
    ConversationFolder: Done,
    ConversationNotify: Done,
    MessageHide: Done,
}
