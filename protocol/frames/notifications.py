"""What one is told of in the app, and when and how one is told by push."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, Cursor, Key
from protocol.frames.states import Notification, Notifying

TimeOfDay = Annotated[int, Meta(ge=0, le=1439, description="A time of day on the wall: minutes after midnight.")]


class NotificationList(Command, frozen=True, tag="notification.list"):
    """One page of what one was told in the app, newest first; the last 200 are kept. Answered with
    :class:`Notifications`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.NOTIFICATIONS_PAGE, description="At most so many on the page.")] = 50
    unread_only: Annotated[bool, Meta(description="Leave out what was read.")] = False


class NotificationRead(Command, frozen=True, tag="notification.read"):
    """Mark notifications as read, for all of one's devices: those of `ids`, and all up to `through`. What is not there
    (any more) is passed over. Answered with :class:`Done`."""

    key: Key
    ids: Annotated[
        list[UUID], Meta(max_length=limits.NOTIFICATIONS_PAGE, description="Which ones.")
    ] = msgspec.field(default_factory=list)
    through: Annotated[UUID | None, Meta(description="This one and all that are older; null for none.")] = None


class NotificationSettings(Command, frozen=True, tag="notification.settings"):
    """Say when and how one is told by push, all at once: what is left out is as if it had never been set. What happens
    in quiet hours is not pushed later, either: the list and the badge have it. Answered with :class:`Done`."""

    key: Key
    quiet_from: Annotated[
        TimeOfDay | None, Meta(description="From then on no push until `quiet_to`; null: no quiet hours.")
    ] = None
    quiet_to: Annotated[TimeOfDay | None, Meta(description="When the quiet ends; null: no quiet hours.")] = None
    timezone: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.TIMEZONE_CHARS,
            pattern=NO_NUL,
            description="Where the quiet hours are meant, as the IANA calls it: `Europe/Berlin`.",
        ),
    ] = "UTC"
    hide_content: Annotated[bool, Meta(description="Pushes tell who wrote, not what.")] = False


class ListedNotification(Notification, frozen=True, kw_only=True, omit_defaults=True):
    """A notification, and its id."""

    id: Annotated[UUID, Meta(description="Its id: later ones have higher ones.")]


class Notifications(Struct, frozen=True, omit_defaults=True):
    """One page of what one was told."""

    notifications: Annotated[list[ListedNotification], Meta(description="Newest first.")]
    unread: Annotated[int, Meta(description="How many of all that are kept were not read.")]
    settings: Annotated[Notifying, Meta(description="When and how one is told by push.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
