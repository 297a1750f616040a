"""What is one's own: rows that all of one's devices hold alike, told by the event ``state``."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Event
from protocol.frames.blocks import Blocked
from protocol.frames.contacts import OwnContact, OwnRequest
from protocol.frames.fields import AtMs, MessageSeq
from protocol.frames.leaving import AccountStanding
from protocol.frames.matches import Match
from protocol.frames.openers import Opener
from protocol.frames.privacy import Privacy
from protocol.frames.profiles import OwnProfile
from protocol.frames.scheduled import LaterMessage
from protocol.frames.threads import OwnThread

StateKind = Literal[
    "draft", "settings", "hidden",
    "notification", "notifying",
    "privacy",
    "thread",
    "scheduled",
    # profiles
    "profile",
    "opener", "match",
    "block",
    "contact", "contact_request",
    "account",  # leaving
]  # fmt: skip
Notify = Literal["all", "mentions", "none"]


class Draft(Struct, frozen=True, omit_defaults=True):
    """What one has begun to write in a conversation."""

    text: Annotated[str, Meta(description="As far as it is written.")]
    at_ms: Annotated[AtMs, Meta(description="When it was last set: Unix milliseconds (UTC), by the database's clock.")]
    reply_to: Annotated[int, Meta(description="The message that it is to answer.")] | UnsetType = UNSET


class Settings(Struct, frozen=True, omit_defaults=True):
    """What one has set for a conversation. Absent is what nobody has set: not muted, not archived, and so on."""

    muted: Annotated[bool, Meta(description="No notifications, until `muted_until_ms` if that is there.")] = False
    muted_until_ms: (
        Annotated[AtMs, Meta(description="When the muting ends: Unix milliseconds (UTC); absent: never.")] | UnsetType
    ) = UNSET
    archived: Annotated[bool, Meta(description="Shown apart from the others.")] = False
    pinned_at_ms: (
        Annotated[AtMs, Meta(description="When it was pinned, above all others; absent: it is not.")] | UnsetType
    ) = UNSET
    unread: Annotated[bool, Meta(description="Marked as unread by hand, whatever the cursors say.")] = False
    nickname: Annotated[str, Meta(description="What one calls it.")] | UnsetType = UNSET
    nicknames: Annotated[dict[UUID, str], Meta(description="Person -> what one calls that person here.")] = {}
    folder: Annotated[str, Meta(description="The folder that one has put it into.")] | UnsetType = UNSET
    notify: Annotated[Notify, Meta(description="Of what to be notified while it is not muted.")] = "all"


class Hidden(Struct, frozen=True):
    """Messages that one has deleted for oneself. They show nowhere, and do not count as unread."""

    seqs: Annotated[
        list[MessageSeq],
        Meta(
            description=f"Their numbers in the log, rising; all of one block of {limits.HIDDEN_BLOCK:,}: the subject "
            "names it."
        ),
    ]


class Notification(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something one is told of in the app."""

    kind: Annotated[
        Literal[
            "mention", "reply", "reaction", "added", "operator", "request", "declined",
            "opener", "match", "contact_request", "contact_accepted", "follow", "comment", "post_reaction", "export",
        ],
        Meta(
            description="A message that names one; one that answers one's own; a reaction to one's own; somebody took "
            "one into a group; word from who runs the app; somebody asks to be let into a conversation that one "
            "administers; one was not let in; a first message, by nobody who is named; a match; somebody would like to "
            "be one's contact, or is now; follows one; commented on one's post; reacted to it; or the copy of one's "
            "data is ready. Ignore a kind that you do not know."
        ),
    ]
    at_ms: Annotated[AtMs, Meta(description="When it happened: Unix milliseconds (UTC), by the database's clock.")]
    read: Annotated[bool, Meta(description="Whether one has read it.")] = False
    conversation: (
        Annotated[UUID, Meta(description="Where, if in a conversation; of `match`: the one of the two.")] | UnsetType
    ) = UNSET
    seq: (
        Annotated[int, Meta(description="Of what an entry there says: which one.")] | UnsetType
    ) = UNSET
    of: Annotated[int, Meta(description="Of `reply` and `reaction`: one's own message.")] | UnsetType = UNSET
    user: (
        Annotated[UUID, Meta(description="Who did it; absent of `operator`, `declined`, `opener` and `export`.")]
        | UnsetType
    ) = UNSET
    post: Annotated[UUID, Meta(description="Of `comment` and `post_reaction`: one's own post.")] | UnsetType = UNSET
    comment: Annotated[UUID, Meta(description="Of `comment`: which one.")] | UnsetType = UNSET
    emoji: Annotated[str, Meta(description="Of `reaction` and `post_reaction`: with what.")] | UnsetType = UNSET
    medium: Annotated[UUID, Meta(description="Of `export`: what `GET /v1/media/{id}` gives.")] | UnsetType = UNSET
    title: (
        Annotated[
            str, Meta(description="Of `operator`: what it is about. Of `declined`: what the conversation is called.")
        ]
        | UnsetType
    ) = UNSET
    body: Annotated[str, Meta(description="Of `operator`: what is said.")] | UnsetType = UNSET
    data: Annotated[dict[str, str], Meta(description="Of `operator`: for the app.")] = {}
    answer: (
        Annotated[
            Literal["accepted", "declined"],
            Meta(
                description="Of `request` and `contact_request`: how it ended, and then there is nothing to do; "
                "absent: it waits."
            ),
        ]
        | UnsetType
    ) = UNSET


class Notifying(Struct, frozen=True, omit_defaults=True):
    """When and how one is told by push. Absent is what nobody has set."""

    quiet_from: (
        Annotated[int, Meta(description="From then on there is no push: minutes after midnight.")] | UnsetType
    ) = UNSET
    quiet_to: Annotated[int, Meta(description="When the quiet ends: minutes after midnight.")] | UnsetType = UNSET
    timezone: Annotated[str, Meta(description="Where these times are meant; UTC if absent.")] | UnsetType = UNSET
    hide_content: Annotated[bool, Meta(description="Pushes tell who wrote, not what.")] = False


class StateEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="state"):
    """A row of one's own: as it stands now, whatever it was before. It comes to all of one's devices, before the answer
    to the command that set it; who comes back gets those that changed since the cursor, who starts afresh gets all. Its
    value stands in the field that `what` names; when that is absent, the row is gone."""

    what: Annotated[StateKind, Meta(description="Of which kind it is. Ignore a kind that you do not know.")]
    subject: Annotated[
        str,
        Meta(
            description="Which one of its kind. Of `draft` and `settings`: the conversation's id. Of `hidden`: "
            f"`{{conversation}}/{{block}}`, messages block * {limits.HIDDEN_BLOCK:,} and up. Of `notification`: its "
            "id; later ones have higher ones. Of `notifying`, `privacy`, `profile` and `account`: empty, there is one. "
            "Of "
            "`thread`: `{conversation}/{root}`. Of `scheduled`: the scheduled message's id; the row is gone once that "
            "was sent or taken back. Of `opener`: a first message's id; the row is gone once one has put it away, or "
            "it became part of a match. Of `match`: its id; the row is gone once it ended. Of `block`: the id of whom "
            "one has blocked. Of `contact` and `contact_request`: the other person's id; a request is gone once it was "
            "answered or withdrawn."
        ),
    ]
    draft: Annotated[Draft, Meta(description="Of `draft`: its value.")] | UnsetType = UNSET
    settings: Annotated[Settings, Meta(description="Of `settings`: its value.")] | UnsetType = UNSET
    hidden: Annotated[Hidden, Meta(description="Of `hidden`: its value.")] | UnsetType = UNSET
    thread: Annotated[OwnThread, Meta(description="Of `thread`: its value.")] | UnsetType = UNSET
    notification: Annotated[Notification, Meta(description="Of `notification`: its value.")] | UnsetType = UNSET
    notifying: Annotated[Notifying, Meta(description="Of `notifying`: its value.")] | UnsetType = UNSET
    privacy: Annotated[Privacy, Meta(description="Of `privacy`: its value.")] | UnsetType = UNSET
    scheduled: Annotated[LaterMessage, Meta(description="Of `scheduled`: its value.")] | UnsetType = UNSET
    # profiles
    profile: Annotated[OwnProfile, Meta(description="Of `profile`: its value.")] | UnsetType = UNSET
    opener: Annotated[Opener, Meta(description="Of `opener`: its value.")] | UnsetType = UNSET
    match: Annotated[Match, Meta(description="Of `match`: its value.")] | UnsetType = UNSET
    block: Annotated[Blocked, Meta(description="Of `block`: its value.")] | UnsetType = UNSET
    contact: Annotated[OwnContact, Meta(description="Of `contact`: its value.")] | UnsetType = UNSET
    contact_request: Annotated[OwnRequest, Meta(description="Of `contact_request`: its value.")] | UnsetType = UNSET
    # leaving
    account: Annotated[AccountStanding, Meta(description="Of `account`: its value.")] | UnsetType = UNSET
