"""Blocking people."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import AtMs, Cursor, Key


class Block(Command, frozen=True, tag="block"):
    """Block *user*: from now on neither of the two is shown to the other, whoever blocked, by anything but what they
    write in conversations that they share. What they were to each other ends, and their direct conversation is closed.
    The other is told nothing. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom to block.")]


class Unblock(Command, frozen=True, tag="unblock"):
    """Take a block back. The two see each other again, unless the other one blocked, too; nothing that ended comes
    back. Answered with :class:`Done`."""

    key: Key
    user: Annotated[UUID, Meta(description="Whom one has blocked.")]


class BlockList(Command, frozen=True, tag="block.list"):
    """Whom one has blocked, last first, page by page. Answered with :class:`Blocks`."""

    cursor: Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")] = None
    limit: Annotated[int, Meta(ge=1, le=limits.BLOCKS_PAGE, description="At most so many on the page.")] = 50


class Blocked(Struct, frozen=True):
    """That one has blocked somebody."""

    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class OneBlock(Struct, frozen=True):
    """Somebody whom one has blocked."""

    user: Annotated[UUID, Meta(description="Who it is.")]
    name: Annotated[str, Meta(description="The person's name.")]
    at_ms: Annotated[AtMs, Meta(description="Since when: Unix milliseconds (UTC), by the database's clock.")]


class Blocks(Struct, frozen=True, omit_defaults=True):
    """A page of those whom one has blocked."""

    blocks: Annotated[list[OneBlock], Meta(description="Last first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
