"""Where a page of a message's readers ended: the last one's id, as an opaque text."""

import base64
import binascii
from uuid import UUID

from protocol.errors import BadCursor

START = UUID(int=0)  # before the first


def text_after(last: UUID) -> str:
    """The cursor of the page that follows *last*."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def place(cursor: str | None) -> UUID:
    """After whom the page begins.

    Raises:
        BadCursor
    """
    if cursor is None:
        return START
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
