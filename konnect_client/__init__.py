"""Konnect's Python client: what a mobile SDK does, on Trio.

::

    async with httpx.AsyncClient(base_url="https://chat.example.com") as http:
        account = await login(http, "ann@example.com", "secret", path="ann.token")
        async with open_client("https://chat.example.com", token=account, device="ann-laptop") as client:
            await client.send(conversation, "hello")
            async for event in client.events:
                match event:
                    case Entry(text=str(text)):
                        print(text)

It reconnects by itself, resumes where the application is, repeats what was not acknowledged in order and with the same
keys, and shows each entry once. It imports nothing of the server. See docs/client.md.
"""

from konnect_client.accounts import (
    Account,
    Profile,
    ask_code,
    ask_password_code,
    login,
    register,
    reset_password,
    resume,
    verify,
)
from konnect_client.client import Client, open_client
from konnect_client.content import Attachment, Contact, Content, Entity, Location
from konnect_client.conversations import Conversations
from konnect_client.errors import (
    ClientClosed,
    ClientError,
    ConnectFailed,
    NotOpen,
    OutboxFull,
    OutboxInUse,
    OutboxUnwritable,
    ProtocolViolation,
    ServerRefused,
    ServerUnreachable,
    SignedOut,
    SocketEnded,
    TokenUnavailable,
    TooLarge,
)
from konnect_client.events import (
    ConversationChanged,
    Event,
    PresenceChanged,
    ReceiptMoved,
    Rewound,
    StateChanged,
    Synced,
    TypingSeen,
    Violation,
)
from konnect_client.feed import FeedPage, Met
from konnect_client.heads import Heads
from konnect_client.journal import FileJournal, Journal, MemoryJournal
from konnect_client.liveness import Liveness
from konnect_client.messages import Messages
from konnect_client.model import (
    Ban,
    BanPage,
    Conversation,
    ConversationPage,
    Entry,
    FoundPage,
    HistoryPage,
    Hit,
    Invitation,
    Joined,
    Link,
    Member,
    MemberPage,
    MessageReader,
    OneReaction,
    OneVote,
    PersonPresence,
    Poll,
    PollOption,
    Privacy,
    Reaction,
    ReactionPage,
    ReaderPage,
    Receipt,
    Request,
    RequestPage,
    Room,
    RoomPage,
    ScheduledMessage,
    ScheduledPage,
    Sent,
    SignIn,
    Unread,
    Version,
    Votes,
)
from konnect_client.notifications import Notification, NotificationPage, Notifying, PushDevice
from konnect_client.openers import Match, MatchPage, Opener, OpenerPage, OwnOpener, OwnOpenerPage
from konnect_client.outbox import Delivery, Outgoing
from konnect_client.personal import Draft, Personal, Settings
from konnect_client.profiles import Experience, FoundProfile, OwnProfile, PersonProfile, ProfilePhoto, Prompt
from konnect_client.statefile import MemoryState, Saved, StateFile, StateStore
from konnect_client.states import Phase, State
from konnect_client.threads import OwnThread, Replies, Thread, ThreadNow, ThreadPage
from konnect_client.tokens import AccessToken, TokenSource
from konnect_client.transport import Connect, Socket, over_stream, websocket

__all__ = [
    "AccessToken",
    "Account",
    "Attachment",
    "Ban",
    "BanPage",
    "Client",
    "ClientClosed",
    "ClientError",
    "Connect",
    "ConnectFailed",
    "Contact",
    "Content",
    "Conversation",
    "ConversationChanged",
    "ConversationPage",
    "Conversations",
    "Delivery",
    "Draft",
    "Entity",
    "Entry",
    "Event",
    "Experience",
    "FeedPage",
    "FileJournal",
    "FoundPage",
    "FoundProfile",
    "Heads",
    "HistoryPage",
    "Hit",
    "Invitation",
    "Joined",
    "Journal",
    "Link",
    "Liveness",
    "Location",
    "Match",
    "MatchPage",
    "Member",
    "MemberPage",
    "MemoryJournal",
    "MemoryState",
    "MessageReader",
    "Messages",
    "Met",
    "NotOpen",
    "Notification",
    "NotificationPage",
    "Notifying",
    "OneReaction",
    "OneVote",
    "Opener",
    "OpenerPage",
    "OutboxFull",
    "OutboxInUse",
    "OutboxUnwritable",
    "Outgoing",
    "OwnOpener",
    "OwnOpenerPage",
    "OwnProfile",
    "OwnThread",
    "PersonPresence",
    "PersonProfile",
    "Personal",
    "Phase",
    "Poll",
    "PollOption",
    "PresenceChanged",
    "Privacy",
    "Profile",
    "ProfilePhoto",
    "Prompt",
    "ProtocolViolation",
    "PushDevice",
    "Reaction",
    "ReactionPage",
    "ReaderPage",
    "Receipt",
    "ReceiptMoved",
    "Replies",
    "Request",
    "RequestPage",
    "Rewound",
    "Room",
    "RoomPage",
    "Saved",
    "ScheduledMessage",
    "ScheduledPage",
    "Sent",
    "ServerRefused",
    "ServerUnreachable",
    "Settings",
    "SignIn",
    "SignedOut",
    "Socket",
    "SocketEnded",
    "State",
    "StateChanged",
    "StateFile",
    "StateStore",
    "Synced",
    "Thread",
    "ThreadNow",
    "ThreadPage",
    "TokenSource",
    "TokenUnavailable",
    "TooLarge",
    "TypingSeen",
    "Unread",
    "Version",
    "Violation",
    "Votes",
    "ask_code",
    "ask_password_code",
    "login",
    "open_client",
    "over_stream",
    "register",
    "reset_password",
    "resume",
    "verify",
    "websocket",
]
