"""What all frames are made of: a command, its one answer, an event."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.frames.fields import Id


class Command(Struct, frozen=True, tag_field="t", kw_only=True):
    """What a client asks for."""

    id: Id


class Ok(Struct, frozen=True, tag_field="t", tag="ok"):
    """The one answer to a command that succeeded."""

    id: Id
    result: Annotated[Any, Meta(description="A map; which one depends on the command.")]


class Error(Struct, frozen=True, tag_field="t", tag="error", omit_defaults=True):
    """The one answer to a command that did not. ``id`` is null when the frame had none that could be read."""

    id: Annotated[int | None, Meta(description="The command's id; null when the frame had none that could be read.")]
    code: Annotated[str, Meta(description="Stable, for machines: see the table of errors.")]
    message: Annotated[str, Meta(description="For people, in English; may change.")]
    retry_after_ms: (
        Annotated[
            int,
            Meta(
                description="Of `rate_limited` and `slow_mode`: milliseconds until the same command would be accepted."
            ),
        ]
        | UnsetType
    ) = UNSET


class Event(Struct, frozen=True, tag_field="t", kw_only=True, omit_defaults=True):
    """What the server tells by itself."""


class Done(Struct, frozen=True):
    """Nothing more to say."""
