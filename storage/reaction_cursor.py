"""Where a page of reactions ended: the emoji and the seq of its last, as an opaque text."""

import base64
import binascii

import msgspec

from protocol.errors import BadCursor
from protocol.frames import OneReaction

START = ("", 0)  # before the first


def text_after(last: OneReaction) -> str:
    """The cursor of the page that follows *last*."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((last.emoji, last.seq))).decode()


def place(cursor: str | None) -> tuple[str, int]:
    """After which (emoji, seq) the page begins.

    Raises:
        BadCursor
    """
    if cursor is None:
        return START
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        emoji, seq = msgspec.msgpack.decode(packed, type=tuple[str, int])
    except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
    if "\0" in emoji or not -(2**63) <= seq < 2**63:  # what the database cannot take
        raise BadCursor("this cursor was not written by a Konnect server")
    return emoji, seq
