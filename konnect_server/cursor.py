"""The opaque cursor: which database wrote it, how far the person's own rows were told, and up to when receipts were."""

import base64
import binascii
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from protocol.errors import BadCursor

_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what the database can be asked with: a client may forge
_FORM: Final = 1  # raised when the fields change meaning; an old form is then read by its own rules


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """What a client carries for the server from one connection to the next."""

    lineage: UUID  # a row that the database had when this was written; unknown later means restored from an older copy
    number: _Whole  # the person's number: memberships that changed up to it were told
    receipts_ms: _Whole  # database time; receipts written before it were sent
    form: int = _FORM
    rows: _Whole = 0  # the person's number again: rows of table personal up to it were told; missing in old cursors


class _AnyForm(msgspec.Struct, array_like=True):
    """As much as all forms have in common."""

    lineage: UUID
    number: _Whole
    receipts_ms: _Whole
    form: int = _FORM
    rest: Any = None


_decode: Final = msgspec.msgpack.Decoder(Cursor).decode
_decode_any: Final = msgspec.msgpack.Decoder(_AnyForm).decode
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
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if _decode_any(raw).form == _FORM:
            return _decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
    raise BadCursor("this cursor was written by another version of Konnect")
