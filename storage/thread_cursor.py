"""Where a page of threads ended: the newest message of its last, as an opaque text."""

import base64
import binascii

import msgspec

from protocol.errors import BadCursor
from protocol.frames import OneThread
from protocol.limits import SEQ_MAX


def text_after(last: OneThread) -> str:
    """The cursor of the page that follows *last*."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(last.replies.last_seq)).decode()


def place(cursor: str | None) -> int:
    """Below which seq the newest messages of the page's threads are.

    Raises:
        BadCursor
    """
    if cursor is None:
        return SEQ_MAX
    try:
        seq = msgspec.msgpack.decode(base64.b64decode(cursor, altchars=b"-_", validate=True), type=int)
    except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
    if not 0 <= seq <= SEQ_MAX:  # what the database cannot take
        raise BadCursor("this cursor was not written by a Konnect server")
    return seq
