"""Jobs that tell many people what an operator has to say: into their lists, some at a time, and by push."""

from collections.abc import Callable
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from konnect_server.push.driver import Push
from konnect_server.push.sender import Sender
from konnect_server.push.words import BODY_CHARS, TITLE_CHARS, TTL_S, cut
from storage import notices
from storage.database import Database
from storage.notices import NoticeContent


class Telling(Struct, frozen=True):
    """What a job of kind "notice" is given: a notice, and up to whom it was told."""

    notice: UUID
    after: UUID | None = None


class Pushing(Struct, frozen=True):
    """What a job of kind "notice.push" is given: a notice, and the devices that are to be told."""

    notice: UUID
    devices: list[tuple[UUID, str]]


class Notices:
    """Does jobs of kinds "notice" and "notice.push"."""

    def __init__(self, database: Database, sender: Sender, changed: Callable[[UUID], None]) -> None:
        """*changed*: told whose own rows changed."""
        self._database, self._sender, self._changed = database, sender, changed
        self.wake: Callable[[], None] = lambda: None  # told that there are jobs

    async def tell(self, payload: Raw) -> None:
        """Put the notice into the lists of the next people. The job of those who follow is made in the same commit."""
        telling = msgspec.json.decode(payload, type=Telling)
        for person in await notices.tell_notice(self._database, telling.notice, telling.after):
            self._changed(person)
        self.wake()

    async def push(self, payload: Raw) -> None:
        """Send it to these devices. Those that have to be tried again are, and only they.

        Raises:
            Again, ServiceLocked
        """
        pushing = msgspec.json.decode(payload, type=Pushing)
        due = await notices.contents(self._database, pushing.notice, pushing.devices)
        await self._sender.send_each(
            [(content, _push(content, pushing.notice)) for content in due], lambda rest: Pushing(pushing.notice, rest)
        )


def _push(content: NoticeContent, notice: UUID) -> Push:
    return Push(
        token=content.token, platform=content.platform, title=cut(content.title, TITLE_CHARS),
        body="" if content.hide else cut(content.body, BODY_CHARS), collapse=str(notice), badge=content.badge,
        data={**content.data, "kind": "operator", "notification": str(notice)}, ttl_s=TTL_S,
    )  # fmt: skip
