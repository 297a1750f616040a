"""Where a page ended, as an opaque text: the places that its order goes by, packed."""

import base64
import binascii
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from protocol.errors import BadCursor
from protocol.limits import SEQ_MAX

T = TypeVar("T")
_Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
_Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]

# Of members: the entry by which the last one joined, and the place among those who joined by it.
MEMBERS: Final = msgspec.msgpack.Decoder(tuple[_Seq, _Small])
# Of rooms: how many interests the last one shares, when it was active, and its id.
ROOMS: Final = msgspec.msgpack.Decoder(tuple[_Small, _Seq, UUID])

# Of requests: when the last one was filed, and by whom.
REQUESTS: Final = msgspec.msgpack.Decoder(tuple[_Seq, UUID])

_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


def text_of(place: tuple[object, ...]) -> str:
    """The cursor of the page that follows *place*."""
    return base64.urlsafe_b64encode(_pack(place)).decode()


def place_of(cursor: str | None, form: msgspec.msgpack.Decoder[T], start: T) -> T:
    """After which place the page begins; *start* where there is no cursor.

    Raises:
        BadCursor
    """
    if cursor is None:
        return start
    try:
        return form.decode(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
        raise BadCursor("this cursor was not written by a Konnect server") from problem
