"""Where a page ended, as an opaque text: the places that its order goes by, packed."""

import base64
import binascii
from typing import Annotated, Final, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from protocol.errors import BadCursor
from protocol.limits import FEED_PAGE, SEQ_MAX, TAGS

P = TypeVar("P", bound=tuple[object, ...])
# No wider than what the database takes: a cursor that it would refuse was not written by us.
_Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
_Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Place = Annotated[int, Meta(ge=-1, le=2**62)]  # on the circle of profiles
_Text = Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]

_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_LEAST: Final = UUID(int=0)
_MOST: Final = UUID(int=2**128 - 1)


class PageCursor(Generic[P]):
    """How the pages of one listing are turned: *form* is what places a row in its order, *start* lies before the
    first row."""

    def __init__(self, form: type[P], start: P) -> None:
        self._decode: Final = msgspec.msgpack.Decoder(form).decode
        self._start: Final = start

    def text_of(self, last: P) -> str:
        """The cursor of the page that follows the row at *last*."""
        return base64.urlsafe_b64encode(_pack(last)).decode()

    def place_of(self, cursor: str | None) -> P:
        """After which place the page begins; None is the first page.

        Raises:
            BadCursor
        """
        if cursor is None:
            return self._start
        try:
            return self._decode(base64.b64decode(cursor, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
            raise BadCursor("this cursor was not written by a Konnect server") from problem


# Conversations, the latest first: when one was active, and its id.
LISTING: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _LEAST))

# Members: the entry by which one joined, and the place among those who joined by it.
MEMBERS: Final = PageCursor(tuple[_Seq, _Small], (0, 0))

# A message's reactions: the emoji, and the entry that added it.
REACTIONS: Final = PageCursor(tuple[_Text, _Seq], ("", 0))

# Who read a message: their ids.
READERS: Final = PageCursor(tuple[UUID], (_LEAST,))

# Requests: when one was filed, and by whom.
REQUESTS: Final = PageCursor(tuple[_Seq, UUID], (0, _LEAST))

# Rooms: how many interests one shares, when it was active, and its id; the most first.
ROOMS: Final = PageCursor(tuple[_Small, _Seq, UUID], (TAGS + 1, SEQ_MAX, _MOST))

# Scheduled messages: when one is due, and its id.
SCHEDULED: Final = PageCursor(tuple[_Seq, UUID], (0, _LEAST))

# Threads, the latest first: the newest message of one.
THREADS: Final = PageCursor(tuple[_Seq], (SEQ_MAX,))

# --- openers and matches ---

# First messages that were released: their ids.
OPENERS: Final = PageCursor(tuple[UUID], (_LEAST,))

# First messages that one sent, the latest first: when, and to whom.
OPENERS_SENT: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _LEAST))

# Matches, the latest first: their ids.
MATCHES: Final = PageCursor(tuple[UUID], (_MOST,))

# --- suggestions ---

# Suggestions: when the first page was asked for.
SUGGESTIONS: Final = PageCursor(tuple[_Seq], (0,))

# Whom one has answered, the latest first: when, and whom.
ANSWERS: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _LEAST))

# --- people ---

# The feed: where the walk began and how far it came; whether it is past the end of the circle, and whether all of it is
# done; what was found and not shown yet.
FeedPlace: TypeAlias = tuple[int, int, bool, bool, list[int]]
FEED: Final[PageCursor[FeedPlace]] = PageCursor(
    tuple[_Place, _Place, bool, bool, Annotated[list[_Place], Meta(max_length=FEED_PAGE)]], (0, -1, False, False, [])
)

# People who were looked for: the same, and which part of those who are found.
SearchPlace: TypeAlias = tuple[int, int, int, bool]
PROFILES: Final[PageCursor[SearchPlace]] = PageCursor(
    tuple[_Place, Annotated[int, Meta(ge=0, le=1)], _Place, bool], (0, 0, -1, False)
)

# Blocks, the latest first: when, and whom.
BLOCKS: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _MOST))

# Reports: when one was made, and its id; those that are closed: when it was closed, the latest first.
REPORTS_OPEN: Final = PageCursor(tuple[_Seq, UUID], (0, _LEAST))
REPORTS_CLOSED: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _MOST))

# Contacts, the newest first: since when somebody is one, and who.
CONTACTS: Final = PageCursor(tuple[_Seq, UUID], (SEQ_MAX, _LEAST))

# Posts, reactions to them, requests of contacts and follows, the newest first: the id of one.
POSTS: Final = PageCursor(tuple[UUID], (_MOST,))

# Comments, the oldest first: the id of one.
COMMENTS: Final = PageCursor(tuple[UUID], (_LEAST,))
