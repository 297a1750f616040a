"""What one is told of in the app, and when and how one is told by push."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import Cursor, IdText, Key
from protocol.frames.states import Notification, Notifying

TimeOfDay = Annotated[
    str,
    Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9](?![\\s\\S])",
        description="A time of day on the wall, from `00:00` to `23:59`.",
    ),
]


class NotificationList(Command, frozen=True, tag="notification.list"):
    """One page of what one was told in the app, newest first; the last 200 are kept. Answered with
    :class:`Notifications`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.NOTIFICATIONS_PAGE, description="At most so many on the page.")] = 50
    unread_only: Annotated[bool, Meta(description="Leave out what was read.")] = False


class NotificationRead(Command, frozen=True, tag="notification.read"):
    """Mark notifications as read, for all of one's devices: those of `ids`, or all up to `through`. What is not there
    (any more) is passed over. Answered with :class:`Done`."""

    key: Key
    ids: Annotated[
        list[IdText], Meta(max_length=limits.NOTIFICATIONS_PAGE, description="Which ones.")
    ] = msgspec.field(default_factory=list)
    through: Annotated[IdText | None, Meta(description="The newest of those that are read, all before it too.")] = None

    def __post_init__(self) -> None:
        if bool(self.ids) is (self.through is not None):
            raise ValueError("name either `ids` or `through`")


class NotificationSettings(Command, frozen=True, tag="notification.settings"):
    """Change when and how one is told by push; what is left out stays. Answered with :class:`Done`."""

    key: Key
    quiet_from: (
        Annotated[TimeOfDay | None, Meta(description="From then on no push until `quiet_to`; null: no quiet hours.")]
        | UnsetType
    ) = UNSET
    quiet_to: Annotated[TimeOfDay | None, Meta(description="When the quiet ends; beside `quiet_from`.")] | UnsetType = (
        UNSET
    )
    timezone: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limits.TIMEZONE_CHARS,
                pattern="^[A-Za-z0-9_+/\\-]+(?![\\s\\S])",
                description="Where the quiet hours are meant, as the IANA calls it: `Europe/Berlin`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    hide_content: Annotated[bool, Meta(description="Pushes tell who wrote, not what.")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        both = (self.quiet_from, self.quiet_to)
        if len({one if one in (UNSET, None) else "time" for one in both}) > 1:
            raise ValueError("`quiet_from` and `quiet_to` go together")


class ListedNotification(Notification, frozen=True, kw_only=True, omit_defaults=True):
    """A notification, and its id."""

    id: Annotated[UUID, Meta(description="Its id: later ones have higher ones.")]


class Notifications(Struct, frozen=True, omit_defaults=True):
    """One page of what one was told."""

    notifications: Annotated[list[ListedNotification], Meta(description="Newest first.")]
    unread: Annotated[int, Meta(description="How many of all that are kept were not read.")]
    settings: Annotated[Notifying, Meta(description="When and how one is told by push.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
