"""Jobs that tell of requests to be let in: those who may answer, and who was declined."""

from collections.abc import Callable
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from konnect_server.push.driver import Push
from konnect_server.push.sender import Sender
from konnect_server.push.words import BODY_CHARS, TITLE_CHARS, TTL_S, cut
from storage import requests
from storage.database import Database
from storage.requests import Asked, Over, RequestContent


class Pushing(Struct, frozen=True):
    """What a job of kind "request.push" is given: a notification, and the devices that are to be told."""

    notification: UUID
    devices: list[tuple[UUID, str]]


class Requests:
    """Does jobs of kinds "request", "request.over" and "request.push"."""

    def __init__(self, database: Database, sender: Sender, changed: Callable[[UUID], None]) -> None:
        """*changed*: told whose own rows changed."""
        self._database, self._sender, self._changed = database, sender, changed
        self.wake: Callable[[], None] = lambda: None  # told that there are jobs

    async def tell(self, payload: Raw) -> None:
        """Put a request into the lists of all who may answer it."""
        self._tell(await requests.tell_request(self._database, msgspec.json.decode(payload, type=Asked)))

    async def over(self, payload: Raw) -> None:
        """A request was answered: nobody has anything to do any more."""
        self._tell(await requests.tell_answer(self._database, msgspec.json.decode(payload, type=Over)))

    def _tell(self, people: list[UUID]) -> None:
        for person in people:
            self._changed(person)
        self.wake()

    async def push(self, payload: Raw) -> None:
        """Send it to these devices; one whose socket is open is looked at again, for it may be a dead one.

        Raises:
            Again, ServiceLocked
        """
        pushing = msgspec.json.decode(payload, type=Pushing)
        found = await requests.contents(self._database, pushing.notification, pushing.devices)
        await self._sender.send_each(
            [(content, _push(content, pushing.notification)) for content in found if not content.wait],
            lambda rest: Pushing(pushing.notification, rest),
            [content for content in found if content.wait],
        )


def _push(content: RequestContent, notification: UUID) -> Push:
    said = f"{content.name} asks to join" if content.kind == "request" else "You were not let in"
    return Push(
        token=content.token, platform=content.platform, title=cut(content.title, TITLE_CHARS),
        body="" if content.hide else cut(said, BODY_CHARS), collapse=f"{content.kind}:{content.conversation}",
        badge=content.badge, ttl_s=TTL_S,
        data={"kind": content.kind, "conversation": str(content.conversation), "notification": str(notification)},
    )  # fmt: skip
