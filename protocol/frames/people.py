"""People, as others see them."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command


class UserGet(Command, frozen=True, tag="user.get"):
    """Names of people by id. Unknown ids are left out. Answered with :class:`Users`."""

    users: Annotated[
        list[UUID], Meta(min_length=1, max_length=limits.LOOKUP_USERS, description="Whose names to look up.")
    ]


class User(Struct, frozen=True, omit_defaults=True):
    """A person, as others see them."""

    id: Annotated[UUID, Meta(description="The person's id.")]
    name: Annotated[str, Meta(description="The name that others see.")]


class Users(Struct, frozen=True):
    """The people that were found."""

    users: Annotated[list[User], Meta(description="In no particular order.")]
