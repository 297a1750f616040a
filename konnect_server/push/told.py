"""Jobs that push what people did about somebody: requests, matches, first messages, follows, comments."""

from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct

from konnect_server.push.driver import Push
from konnect_server.push.sender import Sender
from konnect_server.push.words import BODY_CHARS, TITLE_CHARS, TTL_S, cut
from storage import told
from storage.database import Database
from storage.told import ToldContent

# What a lock screen shows of each kind: a title, and a line; {name}: of who did it. Clients that speak another language
# have what they need in `data`.
WORDS: Final = {
    "opener": ("A first message", "Somebody wrote to you"),  # who did must not show, nor what was written
    "match": ("It is a match", "You and {name} wrote to each other"),
    "contact_request": ("{name}", "would like to be your contact"),
    "contact_accepted": ("{name}", "is your contact now"),
    "follow": ("{name}", "follows you"),
    "comment": ("{name}", "commented on your post"),
    "post_reaction": ("{name}", "reacted to your post"),
    "export": ("Your data", "The copy that you asked for is ready"),
}


class Pushing(Struct, frozen=True):
    """What a job of kind "told.push" is given: a notification, and the devices that are to be told."""

    notification: UUID
    devices: list[tuple[UUID, str]]


class Tellings:
    """Does jobs of kind "told.push"."""

    def __init__(self, database: Database, sender: Sender) -> None:
        self._database, self._sender = database, sender

    async def push(self, payload: Raw) -> None:
        """Send it to these devices; one whose socket is open is looked at again, for it may be a dead one.

        Raises:
            Again, ServiceLocked
        """
        pushing = msgspec.json.decode(payload, type=Pushing)
        found = await told.contents(self._database, pushing.notification, pushing.devices)
        await self._sender.send_each(
            [(content, _push(content, pushing.notification)) for content in found if not content.wait],
            lambda rest: Pushing(pushing.notification, rest),
            [content for content in found if content.wait],
        )


def _push(content: ToldContent, notification: UUID) -> Push:
    said = content.said
    title, line = WORDS[said.kind]
    names = {"user": said.user, "conversation": said.conversation, "post": said.post}
    return Push(
        token=content.token, platform=content.platform, title=cut(title.format(name=content.name), TITLE_CHARS),
        body="" if content.hide else cut(line.format(name=content.name), BODY_CHARS), collapse=f"told:{notification}",
        badge=content.badge, ttl_s=TTL_S,
        data={"kind": said.kind, "notification": str(notification)}
        | {name: str(one) for name, one in names.items() if one is not UNSET},
    )  # fmt: skip
