"""What a message shows of the thread that it is the root of."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.frames.fields import AtMs, Seq


class Replies(Struct, frozen=True):
    """The messages of a thread, those that are not deleted."""

    count: Annotated[int, Meta(description="How many.")]
    last_seq: Annotated[Seq, Meta(description="The last of them.")]
    last_at_ms: AtMs
    users: Annotated[
        list[UUID], Meta(description="The first 5 people who wrote there, in the order of their first message.")
    ]


class ThreadNow(Struct, frozen=True, omit_defaults=True):
    """What a root shows after an entry that changed its thread."""

    seq: Annotated[Seq, Meta(description="The root.")]
    replies: Annotated[Replies, Meta(description="What it then shows; absent when nothing is left.")] | UnsetType = (
        UNSET
    )
