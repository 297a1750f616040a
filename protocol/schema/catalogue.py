"""The frames as lists, in the order of their unions."""

from typing import Final, get_args

from msgspec import Struct

from protocol import frames

COMMANDS: Final[tuple[type[frames.Command], ...]] = get_args(frames.AnyCommand)
EVENTS: Final[tuple[type[frames.Event], ...]] = get_args(frames.AnyEvent)
RESULTS: Final[tuple[type[Struct], ...]] = tuple(dict.fromkeys(frames.RESULTS[command] for command in COMMANDS))
RECORDS: Final[tuple[type[Struct], ...]] = (
    frames.Entry,
    frames.Reaction,
    frames.Receipt,
    frames.User,
    frames.Version,
    frames.ScheduledMessage,
    frames.Poll,
    frames.PollOption,
    frames.OneVote,
    frames.OneReaction,
    frames.MessageReader,
    frames.PersonPresence,
    frames.Draft,
    frames.Settings,
    frames.Hidden,
    frames.OwnThread,
    frames.LaterMessage,
    frames.Replies,
    frames.ThreadNow,
    frames.OneThread,
    frames.Content,
    frames.Entity,
    frames.Attachment,
    frames.Location,
    frames.Contact,
    frames.Forwarded,
    frames.Source,
    frames.Ban,
    frames.Member,
    frames.Link,
    frames.Request,
    frames.Room,
    frames.PushDevice,
    frames.ListedNotification,
    frames.Notification,
    frames.Notifying,
    frames.Hit,
    # people to meet
    frames.Met,
    frames.Suggestion,
    frames.Reason,
    frames.PastAnswer,
    frames.ProfileFilter,
    # profiles
    frames.Profile,
    frames.OwnProfile,
    frames.ProfilePhoto,
    frames.Visibility,
    frames.Whereabouts,
    frames.Experience,
    frames.Prompt,
    # accounts
    frames.OneSession,
    # openers and matches
    frames.Opener,
    frames.ListedOpener,
    frames.OwnOpener,
    frames.Match,
    frames.ListedMatch,
    # part E: blocks and reports
    frames.Blocked,
    frames.OneBlock,
    frames.Reportable,
    frames.Evidence,
    frames.OneReport,
    # contacts, follows and posts
    frames.OneContact,
    frames.WaitingRequest,
    frames.OwnContact,
    frames.OwnRequest,
    frames.OneFollow,
    frames.Post,
    frames.PostReaction,
    frames.OnePostReaction,
    frames.OneComment,
)  # nested in the others


def tag(frame: type[Struct]) -> str:
    """What stands in ``t``; the empty text for a Struct that is no frame of its own."""
    return str(frame.__struct_config__.tag or "")
