"""What rules about people stand on, and what comes of one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct

from konnect_server.config import Config
from protocol.frames import Command
from storage.database import Database


class Ground:
    """The same for everybody in a process."""

    def __init__(
        self, database: Database, config: Config, new_id: Callable[[], UUID], public_url: Callable[[str], str]
    ) -> None:
        """*public_url*: where everybody may get the public blob of that name, for ever (storage/blobs.py)."""
        self.database, self.config, self.new_id, self.public_url = database, config, new_id, public_url
        self.online: Callable[[UUID, bool], bool] = _nobody  # set by the core: whether (person, to a contact) is here


def _nobody(person: UUID, contact: bool) -> bool:
    return False


class Asked(Struct, frozen=True):
    """Who asked."""

    user: UUID
    sign_in: UUID | None  # by which the person came; None where nobody knows
    new_id: UUID  # for what the command may make: one for all repeats of this very command


class Outcome(Struct, frozen=True):
    """What came of a command, once it is committed."""

    result: Struct  # what its `ok` carries
    number: int = 0  # the asker is told of the own rows up to this one before the answer (storage/personal.py)
    changed: Sequence[UUID] = ()  # whose own rows changed, the asker's among them
    joined: Sequence[tuple[UUID, UUID]] = ()  # (conversation, person): who became a member of what
    stored: Sequence[tuple[UUID, int]] = ()  # (conversation, seq): logs that grew, but not by their actors
    jobs: bool = False  # there are new ones
    ended: Sequence[tuple[UUID, UUID]] = ()  # (sign-in, person): sign-ins that ended


Rule: TypeAlias = Callable[[Ground, Asked, Any], Awaitable[Outcome]]
Rules: TypeAlias = dict[type[Command], Rule]
