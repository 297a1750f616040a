"""Jobs that release first messages to those they are for."""

from collections.abc import Callable
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from konnect_server.people.ground import Ground
from konnect_server.people.openers import terms_of
from storage import openers


class Releasing(Struct, frozen=True):
    """What a job of kind "opener.release" is given."""

    receiver: UUID


class Releases:
    """Does jobs of kind "opener.release"."""

    def __init__(
        self,
        ground: Ground,
        *,
        changed: Callable[[UUID], None],
        joined: Callable[[UUID, UUID], None],
        stored: Callable[[UUID, int], None],
    ) -> None:
        """*changed*, *joined*, *stored*: as of a :class:`~konnect_server.people.ground.Outcome`."""
        self._ground, self._changed, self._joined, self._stored = ground, changed, joined, stored
        self.wake: Callable[[], None] = lambda: None  # told that there are jobs

    async def release(self, payload: Raw) -> None:
        """Show the receiver what waits and is due, or match the two where both have written. May be done twice."""
        receiver = msgspec.json.decode(payload, type=Releasing).receiver
        ground = self._ground
        released = await openers.release_openers(
            ground.database, receiver, ground.new_id(), terms_of(ground.config)
        )
        for author in released.both:
            matched = await openers.match_openers(
                ground.database, receiver, author, ground.new_id(), ground.new_id()
            )
            if matched is None or matched.conversation is None:
                continue
            self._stored(matched.conversation, matched.seq)
            for person in (receiver, author):
                if matched.made:
                    self._joined(matched.conversation, person)
                self._changed(person)
        if released.changed:
            self._changed(receiver)
        self.wake()
