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
from protocol.frames.blocks import (
    Block as Block,
    Blocked as Blocked,
    BlockList as BlockList,
    Blocks as Blocks,
    OneBlock as OneBlock,
    Unblock as Unblock,
)
from protocol.frames.contacts import (
    ContactAnswer as ContactAnswer,
    ContactList as ContactList,
    ContactRemove as ContactRemove,
    ContactRequest as ContactRequest,
    ContactRequests as ContactRequests,
    Contacts as Contacts,
    ContactWithdraw as ContactWithdraw,
    OneContact as OneContact,
    OwnContact as OwnContact,
    OwnRequest as OwnRequest,
    Requested as Requested,
    WaitingRequest as WaitingRequest,
    WaitingRequests as WaitingRequests,
)
from protocol.frames.content import (
    Attachment as Attachment,
    Contact as Contact,
    Content as Content,
    Entity as Entity,
    Forwarded as Forwarded,
    Location as Location,
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
from protocol.frames.devices import (
    DeviceList as DeviceList,
    DeviceRegister as DeviceRegister,
    Devices as Devices,
    DeviceUnregister as DeviceUnregister,
    Platform as Platform,
    PushDevice as PushDevice,
)
from protocol.frames.entries import (
    Appended as Appended,
    Entry as Entry,
    EntryEvent as EntryEvent,
    Reaction as Reaction,
)
from protocol.frames.feed import (
    Feed as Feed,
    FeedList as FeedList,
    Met as Met,
    ProfileFilter as ProfileFilter,
    ProfileSearch as ProfileSearch,
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
from protocol.frames.follows import (
    Follow as Follow,
    Followers as Followers,
    Following as Following,
    Follows as Follows,
    OneFollow as OneFollow,
    Unfollow as Unfollow,
)
from protocol.frames.leaving import (
    AccountDelete as AccountDelete,
    AccountExport as AccountExport,
    AccountGet as AccountGet,
    AccountPause as AccountPause,
    AccountReturn as AccountReturn,
    AccountStanding as AccountStanding,
    Exporting as Exporting,
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
from protocol.frames.matches import (
    ListedMatch as ListedMatch,
    Match as Match,
    Matches as Matches,
    MatchList as MatchList,
    MatchUnmatch as MatchUnmatch,
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
    MessageForward as MessageForward,
    MessagePin as MessagePin,
    MessageReact as MessageReact,
    MessageReactions as MessageReactions,
    MessageReader as MessageReader,
    MessageReaders as MessageReaders,
    MessageSend as MessageSend,
    OneReaction as OneReaction,
    Reactions as Reactions,
    Readers as Readers,
    Source as Source,
    Version as Version,
    Versions as Versions,
)
from protocol.frames.notifications import (
    ListedNotification as ListedNotification,
    NotificationList as NotificationList,
    NotificationRead as NotificationRead,
    Notifications as Notifications,
    NotificationSettings as NotificationSettings,
)
from protocol.frames.openers import (
    ListedOpener as ListedOpener,
    Opener as Opener,
    OpenerAccepted as OpenerAccepted,
    OpenerIgnore as OpenerIgnore,
    OpenerList as OpenerList,
    Openers as Openers,
    OpenerSend as OpenerSend,
    OpenerSent as OpenerSent,
    OwnOpener as OwnOpener,
    SentOpeners as SentOpeners,
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
from protocol.frames.polls import (
    OneVote as OneVote,
    Poll as Poll,
    PollClose as PollClose,
    PollCreate as PollCreate,
    PollOption as PollOption,
    PollVote as PollVote,
    PollVoters as PollVoters,
    Votes as Votes,
)
from protocol.frames.posts import (
    CommentCreate as CommentCreate,
    CommentDelete as CommentDelete,
    CommentEdit as CommentEdit,
    CommentList as CommentList,
    CommentMade as CommentMade,
    Comments as Comments,
    OneComment as OneComment,
    OnePost as OnePost,
    OnePostReaction as OnePostReaction,
    Post as Post,
    PostAudience as PostAudience,
    PostCreate as PostCreate,
    PostDelete as PostDelete,
    PostEdit as PostEdit,
    PostGet as PostGet,
    PostList as PostList,
    PostMade as PostMade,
    PostReact as PostReact,
    PostReaction as PostReaction,
    PostReactionList as PostReactionList,
    PostReactions as PostReactions,
    Posts as Posts,
    PostTagged as PostTagged,
    Timeline as Timeline,
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
from protocol.frames.profiles import (
    Audience as Audience,
    Experience as Experience,
    OwnProfile as OwnProfile,
    Profile as Profile,
    ProfileFound as ProfileFound,
    ProfileGet as ProfileGet,
    ProfilePhoto as ProfilePhoto,
    ProfileUpdate as ProfileUpdate,
    Prompt as Prompt,
    Visibility as Visibility,
    Whereabouts as Whereabouts,
)
from protocol.frames.receipts import (
    Cursors as Cursors,
    Receipt as Receipt,
    ReceiptEvent as ReceiptEvent,
    ReceiptMove as ReceiptMove,
)
from protocol.frames.replies import (
    Replies as Replies,
    ThreadNow as ThreadNow,
)
from protocol.frames.reports import (
    Evidence as Evidence,
    OneReport as OneReport,
    Report as Report,
    Reportable as Reportable,
    ReportClose as ReportClose,
    Reported as Reported,
    ReportList as ReportList,
    Reports as Reports,
)
from protocol.frames.retention import (
    ConversationRetention as ConversationRetention,
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
from protocol.frames.scheduled import (
    LaterMessage as LaterMessage,
    MessageSchedule as MessageSchedule,
    MessageScheduled as MessageScheduled,
    MessageUnschedule as MessageUnschedule,
    Scheduled as Scheduled,
    ScheduledMessage as ScheduledMessage,
    ScheduledPage as ScheduledPage,
)
from protocol.frames.search import (
    Found as Found,
    Hit as Hit,
    Search as Search,
    SearchKind as SearchKind,
    SearchLanguage as SearchLanguage,
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
from protocol.frames.sign_ins import (
    OneSession as OneSession,
    SessionList as SessionList,
    SessionRevoke as SessionRevoke,
    SessionRevokeAll as SessionRevokeAll,
    Sessions as Sessions,
    SessionsEnded as SessionsEnded,
)
from protocol.frames.states import (
    Draft as Draft,
    Hidden as Hidden,
    Notification as Notification,
    Notify as Notify,
    Notifying as Notifying,
    Settings as Settings,
    StateEvent as StateEvent,
    StateKind as StateKind,
)
from protocol.frames.suggestions import (
    AnswerHistory as AnswerHistory,
    MatchHistory as MatchHistory,
    MatchPass as MatchPass,
    MatchSuggest as MatchSuggest,
    PastAnswer as PastAnswer,
    Reason as Reason,
    Suggestion as Suggestion,
    Suggestions as Suggestions,
)
from protocol.frames.threads import (
    OneThread as OneThread,
    OwnThread as OwnThread,
    ThreadFollow as ThreadFollow,
    ThreadHistory as ThreadHistory,
    ThreadList as ThreadList,
    ThreadRead as ThreadRead,
    Threads as Threads,
)
from protocol.frames.unread import (
    Unread as Unread,
    UnreadGet as UnreadGet,
)

AnyCommand = (
    Hello | Ping | AuthRenew | ConversationDirect | ConversationCreate | ConversationList | ConversationGet
    | ConversationAdd | ConversationRemove | ConversationLeave | MessageSend | MessageEdit | MessageDelete
    | MessageReact | MessageEdits | MessageReactions | HistoryGet | ReceiptMove | Typing | PresenceWatch | UserGet
    | DeviceRegister | DeviceUnregister | DeviceList | NotificationList | NotificationRead | NotificationSettings
    | UnreadGet | MessageReaders | PrivacySet | PrivacyGet | PresenceGet
    | DraftSet | DraftClear | ConversationMute | ConversationArchive | ConversationPin | ConversationMarkUnread
    | ConversationNickname | ConversationFolder | ConversationNotify | MessageHide
    | MessageSchedule | MessageUnschedule | MessageScheduled | ConversationRetention
    | PollCreate | PollVote | PollClose | PollVoters
    | MessageForward | MessagePin
    | ThreadList | ThreadHistory | ThreadFollow | ThreadRead
    # members and what they may set
    | MemberRole | ConversationHandover | MemberBan | MemberUnban | MemberBans
    | ConversationTitle | ConversationTopic | ConversationPhoto | ConversationSlowMode | RoomJoin | RoomLeave
    # finding rooms, and who is in them
    | RoomList | RoomOnline | MemberList
    # links and requests
    | LinkCreate | LinkList | LinkRevoke | LinkPreview | LinkJoin | RequestList | RequestAnswer
    | Search
    # profiles
    | ProfileGet | ProfileUpdate
    | FeedList | ProfileSearch
    # accounts
    | SessionList | SessionRevoke | SessionRevokeAll
    # openers and matches
    | OpenerSend | OpenerList | OpenerSent | OpenerIgnore | MatchList | MatchUnmatch
    # suggestions
    | MatchSuggest | MatchPass | MatchHistory
    # part E: blocks and reports
    | Block | Unblock | BlockList | Report | ReportList | ReportClose
    # contacts, follows and posts
    | ContactRequest
    | ContactAnswer
    | ContactWithdraw
    | ContactRemove
    | ContactRequests
    | ContactList
    | Follow
    | Unfollow
    | Followers
    | Following
    | PostCreate
    | PostEdit
    | PostGet
    | PostList
    | PostTagged
    | Timeline
    | PostReact
    | PostReactionList
    | PostDelete
    | CommentCreate
    | CommentEdit
    | CommentDelete
    | CommentList
    # leaving
    | AccountGet | AccountPause | AccountExport | AccountDelete | AccountReturn
)  # fmt: skip
# Commands that change what is one's own: each is stored by a function of the database of its own.
AnyPersonal = (
    DraftSet | DraftClear | ConversationMute | ConversationArchive | ConversationPin | ConversationMarkUnread
    | ConversationNickname | ConversationFolder | ConversationNotify | MessageHide
    | ThreadFollow | ThreadRead
    | NotificationRead | NotificationSettings
)  # fmt: skip
# Commands that a conversation's log takes one by one: each is stored by a function of the database of its own.
# A message is one of them when it needs a look at more than its author's membership (content.py).
AnyAction = (
    ConversationAdd | ConversationRemove | ConversationLeave | MessageEdit | MessageDelete | MessageReact | MessageSend
    | ConversationRetention | PollCreate | PollVote | PollClose
    | MessageForward | MessagePin
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
    DeviceRegister: Done,
    DeviceUnregister: Done,
    DeviceList: Devices,
    NotificationList: Notifications,
    NotificationRead: Done,
    NotificationSettings: Done,
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
    MessageSchedule: Scheduled,
    MessageUnschedule: Done,
    MessageScheduled: ScheduledPage,
    ConversationRetention: Appended,
    PollCreate: Appended,
    PollVote: Appended,
    PollClose: Appended,
    PollVoters: Votes,
    MessageForward: Appended,
    MessagePin: Appended,
    ThreadList: Threads,
    ThreadHistory: HistoryPage,
    ThreadFollow: Done,
    ThreadRead: Done,
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
    Search: Found,
    # profiles
    ProfileGet: ProfileFound,
    ProfileUpdate: ProfileFound,
    FeedList: Feed,
    ProfileSearch: Feed,
    # accounts
    SessionList: Sessions,
    SessionRevoke: Done,
    SessionRevokeAll: SessionsEnded,
    # openers and matches
    OpenerSend: OpenerAccepted,
    OpenerList: Openers,
    OpenerSent: SentOpeners,
    OpenerIgnore: Done,
    MatchList: Matches,
    MatchUnmatch: Done,
    # suggestions
    MatchSuggest: Suggestions,
    MatchPass: Done,
    MatchHistory: AnswerHistory,
    # part E: blocks and reports
    Block: Done,
    Unblock: Done,
    BlockList: Blocks,
    Report: Reported,
    ReportList: Reports,
    ReportClose: Done,
    # contacts, follows and posts
    ContactRequest: Requested,
    ContactAnswer: Done,
    ContactWithdraw: Done,
    ContactRemove: Done,
    ContactRequests: WaitingRequests,
    ContactList: Contacts,
    Follow: Done,
    Unfollow: Done,
    Followers: Follows,
    Following: Follows,
    PostCreate: PostMade,
    PostEdit: Done,
    PostDelete: Done,
    PostGet: OnePost,
    PostList: Posts,
    PostTagged: Posts,
    Timeline: Posts,
    PostReact: Done,
    PostReactionList: PostReactions,
    CommentCreate: CommentMade,
    CommentEdit: Done,
    CommentDelete: Done,
    CommentList: Comments,
    # leaving
    AccountGet: AccountStanding,
    AccountPause: Done,
    AccountExport: Exporting,
    AccountDelete: Done,
    AccountReturn: Done,
}
