"""Where a page of search results ended, as an opaque text."""

import base64
import binascii
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import BadCursor
from protocol.limits import SEQ_MAX

_MEANING: Final = "this cursor was not written by a Konnect server for such a search"


class Place(Struct, frozen=True, array_like=True, order=True):
    """A hit among the hits, newest first: compared as the database compares it."""

    at_ms: int
    conversation: UUID
    seq: int


class Top(Struct, frozen=True):
    """The same, as the database names it."""

    at_ms: int
    conversation: UUID
    seq: int

    def place(self) -> Place:
        """The place just above it, so that it is below."""
        return Place(self.at_ms, self.conversation, self.seq + 1)


class After(Struct, frozen=True, array_like=True):
    """The page goes on behind *last*. By rank: *rank* is that hit's, and all that counts is below *top*, so that what
    is said after the first page moves nothing."""

    last: Place
    rank: float | None = None
    top: Place | None = None


_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode: Final = msgspec.msgpack.Decoder(After).decode


def text_of(after: After) -> str:
    """*after* as it travels."""
    return base64.urlsafe_b64encode(_encode(after)).decode()


def place(cursor: str | None, by_rank: bool) -> After | None:
    """Behind which hit the page begins; None for the first page.

    Raises:
        BadCursor: Not a cursor of ours, or of a search in another order.
    """
    if cursor is None:
        return None
    try:
        after = _decode(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
        raise BadCursor(_MEANING) from problem
    ranked = after.rank is not None and -1e30 < after.rank < 1e30 and after.top is not None
    numbers = [number for one in (after.last, after.top) if one is not None for number in (one.at_ms, one.seq)]
    newest = after.rank is None and after.top is None
    if not all(0 <= number <= SEQ_MAX for number in numbers) or not (ranked if by_rank else newest):
        raise BadCursor(_MEANING)
    return after
