"""The opaque cursor: which database wrote it, the person's number, and up to when receipts are known."""

import base64
import binascii
from typing import Annotated, Final
from uuid import UUID

import msgspec

from protocol.errors import BadCursor

_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what the database can be asked with: a client may forge
_FORM: Final = 1  # raised when the fields change meaning; an old form is then read by its own rules


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """What a client carries for the server from one connection to the next."""

    lineage: UUID  # a row that the database had when this was written; unknown later means restored from an older copy
    number: _Whole  # the person's number; all rows of one's own up to it were sent
    receipts_ms: _Whole  # database time; receipts written before it were sent
    form: int = _FORM


_decode: Final = msgspec.msgpack.Decoder(Cursor).decode
_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


def encode(cursor: Cursor) -> str:
    """*cursor* as the text that travels."""
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def decode(text: str) -> Cursor:
    """The cursor in *text*.

    Raises:
        BadCursor: Not one that a Konnect server wrote.
    """
    try:
        cursor = _decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
    if cursor.form != _FORM:
        raise BadCursor("this cursor was written by another version of Konnect")
    return cursor
