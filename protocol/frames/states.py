"""What is one's own: rows that all of one's devices hold alike, told by the event ``state``."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Event
from protocol.frames.fields import AtMs, MessageSeq
from protocol.frames.threads import OwnThread

StateKind = Literal["draft", "settings", "hidden", "thread"]
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


class StateEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="state"):
    """A row of one's own: as it stands now, whatever it was before. It comes to all of one's devices, before the answer
    to the command that set it; who comes back gets those that changed since the cursor, who starts afresh gets all. Its
    value stands in the field that `what` names; when that is absent, the row is gone."""

    what: Annotated[StateKind, Meta(description="Of which kind it is. Ignore a kind that you do not know.")]
    subject: Annotated[
        str,
        Meta(
            description="Which one of its kind. Of `draft` and `settings`: the conversation's id. Of `hidden`: "
            f"`{{conversation}}/{{block}}`, messages block * {limits.HIDDEN_BLOCK:,} and up. Of "
            "`thread`: `{conversation}/{root}`."
        ),
    ]
    draft: Annotated[Draft, Meta(description="Of `draft`: its value.")] | UnsetType = UNSET
    settings: Annotated[Settings, Meta(description="Of `settings`: its value.")] | UnsetType = UNSET
    hidden: Annotated[Hidden, Meta(description="Of `hidden`: its value.")] | UnsetType = UNSET
    thread: Annotated[OwnThread, Meta(description="Of `thread`: its value.")] | UnsetType = UNSET
