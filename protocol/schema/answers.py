"""Which errors may answer which command: what a client has to be ready for."""

from typing import Final

from protocol import errors, frames

# Before a command is looked at, a frame may be refused for these; the ``id`` of the answer may be null.
FRAME_ERRORS: Final[tuple[type[errors.KonnectError], ...]] = (
    errors.BadFrame,
    errors.BinaryOnly,
    errors.UnknownCommand,
)

# Any command may be answered by these.
COMMON_ERRORS: Final[tuple[type[errors.KonnectError], ...]] = (
    errors.Invalid,
    errors.HelloFirst,
    errors.RateLimited,
    errors.Unavailable,
    errors.InternalError,
)

ERRORS: Final[dict[type[frames.Command], tuple[type[errors.KonnectError], ...]]] = {
    frames.Hello: (errors.Unauthorized, errors.BadCursor, errors.HelloTwice, errors.TooManySockets),
    frames.Ping: (),
    frames.AuthRenew: (errors.Unauthorized,),
    frames.ConversationDirect: (errors.UnknownUser,),
    frames.ConversationCreate: (errors.UnknownUser, errors.ConversationFull, errors.KeyReused),
    frames.ConversationList: (errors.BadCursor,),
    frames.ConversationGet: (errors.NotAMember,),
    frames.ConversationAdd: (
        errors.NotAMember,
        errors.WrongKind,
        errors.UnknownUser,
        errors.AlreadyAMember,
        errors.ConversationFull,
        errors.KeyReused,
        errors.Forbidden,
        errors.Banned,
    ),
    frames.ConversationRemove: (
        errors.NotAMember,
        errors.Forbidden,
        errors.WrongKind,
        errors.KeyReused,
    ),
    frames.ConversationLeave: (errors.NotAMember, errors.WrongKind, errors.KeyReused),
    frames.MessageSend: (errors.NotAMember, errors.KeyReused, errors.Forbidden, errors.SlowMode),
    frames.MessageEdit: (
        errors.NotAMember,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.Forbidden,
        errors.TooLate,
        errors.KeyReused,
    ),
    frames.MessageDelete: (errors.NotAMember, errors.UnknownMessage, errors.Forbidden, errors.KeyReused),
    frames.MessageReact: (
        errors.NotAMember,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.TooManyReactions,
        errors.KeyReused,
    ),
    frames.MessageEdits: (errors.NotAMember, errors.UnknownMessage),
    frames.MessageReactions: (errors.NotAMember, errors.UnknownMessage, errors.BadCursor),
    frames.HistoryGet: (errors.NotAMember,),
    frames.ReceiptMove: (errors.NotAMember,),
    frames.Typing: (errors.NotAMember,),
    frames.PresenceWatch: (errors.NotAMember,),
    frames.UserGet: (),
    # members and what they may set
    frames.MemberRole: (
        errors.NotAMember,
        errors.WrongKind,
        errors.Forbidden,
        errors.TooManyAdmins,
        errors.KeyReused,
    ),
    frames.ConversationHandover: (
        errors.NotAMember,
        errors.WrongKind,
        errors.Forbidden,
        errors.TooManyAdmins,
        errors.KeyReused,
    ),
    frames.MemberBan: (
        errors.NotAMember,
        errors.WrongKind,
        errors.Forbidden,
        errors.UnknownUser,
        errors.KeyReused,
    ),
    frames.MemberUnban: (errors.NotAMember, errors.WrongKind, errors.Forbidden, errors.KeyReused),
    frames.MemberBans: (errors.NotAMember, errors.Forbidden),
    frames.ConversationTitle: (errors.NotAMember, errors.WrongKind, errors.Forbidden, errors.KeyReused),
    frames.ConversationTopic: (errors.NotAMember, errors.WrongKind, errors.Forbidden, errors.KeyReused),
    frames.ConversationPhoto: (
        errors.NotAMember,
        errors.WrongKind,
        errors.Forbidden,
        errors.UnknownMedium,
        errors.NotReady,
        errors.WrongUse,
        errors.KeyReused,
    ),
    frames.RoomJoin: (
        errors.NotFound,
        errors.AlreadyAMember,
        errors.Banned,
        errors.ConversationFull,
        errors.KeyReused,
    ),
    frames.RoomLeave: (errors.NotAMember, errors.WrongKind, errors.KeyReused),
    frames.ConversationSlowMode: (errors.NotAMember, errors.WrongKind, errors.Forbidden, errors.KeyReused),
    # finding rooms, and who is in them
    frames.RoomList: (errors.BadCursor,),
    frames.RoomOnline: (errors.NotAMember, errors.BadCursor),
    frames.MemberList: (errors.NotAMember, errors.BadCursor),
    # links and requests
    frames.LinkCreate: (
        errors.NotAMember,
        errors.WrongKind,
        errors.Forbidden,
        errors.TooManyLinks,
        errors.KeyReused,
    ),
    frames.LinkList: (errors.NotAMember, errors.Forbidden),
    frames.LinkRevoke: (errors.NotAMember, errors.Forbidden, errors.UnknownLink, errors.KeyReused),
    frames.LinkPreview: (errors.UnknownLink, errors.LinkOver, errors.Banned),
    frames.LinkJoin: (
        errors.UnknownLink,
        errors.LinkOver,
        errors.AlreadyAMember,
        errors.Banned,
        errors.ConversationFull,
        errors.TooManyRequests,
        errors.KeyReused,
    ),
    frames.RequestList: (errors.NotAMember, errors.Forbidden, errors.BadCursor),
    frames.RequestAnswer: (
        errors.NotAMember,
        errors.Forbidden,
        errors.UnknownRequest,
        errors.Banned,
        errors.ConversationFull,
        errors.KeyReused,
    ),
}


def on_socket() -> set[type[errors.KonnectError]]:
    """Every error that may come over the socket; the others of the catalogue belong to HTTP alone."""
    return {*FRAME_ERRORS, *COMMON_ERRORS, *(error for own in ERRORS.values() for error in own)}
