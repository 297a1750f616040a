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
    ),
    frames.ConversationRemove: (
        errors.NotAMember,
        errors.Forbidden,
        errors.WrongKind,
        errors.KeyReused,
    ),
    frames.ConversationLeave: (errors.NotAMember, errors.WrongKind, errors.KeyReused),
    frames.MessageSend: (
        errors.NotAMember,
        errors.KeyReused,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.InAThread,
        errors.UnknownMedium,
        errors.NotReady,
        errors.WrongUse,
    ),
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
    frames.DraftSet: (errors.NotAMember, errors.KeyReused),
    frames.DraftClear: (errors.NotAMember, errors.KeyReused),
    frames.ConversationMute: (errors.NotAMember, errors.KeyReused),
    frames.ConversationArchive: (errors.NotAMember, errors.KeyReused),
    frames.ConversationPin: (errors.NotAMember, errors.TooManyOfOnesOwn, errors.KeyReused),
    frames.ConversationMarkUnread: (errors.NotAMember, errors.KeyReused),
    frames.ConversationNickname: (errors.NotAMember, errors.TooManyOfOnesOwn, errors.KeyReused),
    frames.ConversationFolder: (errors.NotAMember, errors.KeyReused),
    frames.ConversationNotify: (errors.NotAMember, errors.KeyReused),
    frames.MessageHide: (errors.NotAMember, errors.UnknownMessage, errors.KeyReused),
    frames.MessageSchedule: (
        errors.NotAMember,
        errors.TooManyScheduled,
        errors.UnknownMedium,
        errors.NotReady,
        errors.WrongUse,
        errors.KeyReused,
    ),
    frames.MessageUnschedule: (errors.UnknownScheduled, errors.TooLate),
    frames.MessageScheduled: (errors.BadCursor,),
    frames.ThreadList: (errors.NotAMember, errors.BadCursor),
    frames.ThreadHistory: (errors.NotAMember, errors.UnknownMessage, errors.InAThread),
    frames.ThreadFollow: (errors.NotAMember, errors.UnknownMessage, errors.InAThread, errors.KeyReused),
    frames.ThreadRead: (errors.NotAMember, errors.UnknownMessage, errors.InAThread, errors.KeyReused),
    frames.PollCreate: (errors.NotAMember, errors.KeyReused),
    frames.PollVote: (
        errors.NotAMember,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.UnknownPoll,
        errors.PollClosed,
        errors.KeyReused,
    ),
    frames.PollClose: (
        errors.NotAMember,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.UnknownPoll,
        errors.Forbidden,
        errors.KeyReused,
    ),
    frames.PollVoters: (errors.NotAMember, errors.UnknownMessage, errors.UnknownPoll),
    frames.ConversationRetention: (errors.NotAMember, errors.Forbidden, errors.KeyReused),
    frames.MessageForward: (errors.NotAMember, errors.UnknownMessage, errors.MessageDeleted, errors.KeyReused),
    frames.MessagePin: (
        errors.NotAMember,
        errors.UnknownMessage,
        errors.MessageDeleted,
        errors.Forbidden,
        errors.TooManyPins,
        errors.KeyReused,
    ),
}


def on_socket() -> set[type[errors.KonnectError]]:
    """Every error that may come over the socket; the others of the catalogue belong to HTTP alone."""
    return {*FRAME_ERRORS, *COMMON_ERRORS, *(error for own in ERRORS.values() for error in own)}
