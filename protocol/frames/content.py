"""What a message can be beside its text: parts of the text, whom it mentions, media, a place, a contact, an answer.

Nothing here is HTML. Parts of a text are ranges in code points; what they look like is the client's business.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.fields import NO_NUL, MessageSeq

# Only what opens a page, a mail or a telephone: nothing that runs, and no white space to hide the rest behind.
# An end is "no more of anything": in Python, "$" is also before a last newline.
URL: Final = "^([Hh][Tt][Tt][Pp][Ss]?://|[Mm][Aa][Ii][Ll][Tt][Oo]:|[Tt][Ee][Ll]:)[^\\u0000-\\u0020\\u007f-\\u00a0]+(?![\\s\\S])"
PHONE: Final = "^\\+?[0-9 ().\\-]+(?![\\s\\S])"
_Side = Annotated[int, Meta(ge=1, le=limits.MEDIA_SIDE, description="Of a photo or video, in pixels, as it is shown.")]


class Entity(Struct, frozen=True, omit_defaults=True):
    """A part of the text that is more than text. Parts may overlap."""

    kind: Annotated[
        Literal["bold", "italic", "underline", "strike", "code", "pre", "link", "mention"],
        Meta(description="What it is. `link` has a `url`, `mention` a `user`, the others neither."),
    ]
    offset: Annotated[
        int, Meta(ge=0, le=limits.TEXT_CHARS - 1, description="Where it begins, in code points of the text from 0.")
    ]
    length: Annotated[
        int, Meta(ge=1, le=limits.TEXT_CHARS, description="How many code points; it ends within the text.")
    ]
    url: (
        Annotated[
            str,
            Meta(
                max_length=limits.URL_CHARS,
                pattern=URL,
                description="Of `link`: where it leads; `http`, `https`, `mailto` or `tel`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    user: Annotated[UUID, Meta(description="Of `mention`: who.")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.url is UNSET) is (self.kind == "link"):
            raise ValueError("a `link` has a `url`, and nothing else has one")
        if (self.user is UNSET) is (self.kind == "mention"):
            raise ValueError("a `mention` has a `user`, and nothing else has one")


class Location(Struct, frozen=True, omit_defaults=True):
    """A place on the earth (WGS 84)."""

    lat: Annotated[float, Meta(ge=-90, le=90, description="Degrees north.")]
    lon: Annotated[float, Meta(ge=-180, le=180, description="Degrees east.")]
    label: (
        Annotated[
            str, Meta(min_length=1, max_length=limits.LABEL_CHARS, pattern=NO_NUL, description="What is there.")
        ]
        | UnsetType
    ) = UNSET
    accuracy_m: (
        Annotated[float, Meta(ge=0, le=limits.ACCURACY_M, description="It is within so many metres.")] | UnsetType
    ) = UNSET


class Contact(Struct, frozen=True, omit_defaults=True):
    """A card with somebody's name, and ways to reach that person."""

    name: Annotated[
        str, Meta(min_length=1, max_length=limits.LABEL_CHARS, pattern=NO_NUL, description="As it is shown.")
    ]
    phone: (
        Annotated[str, Meta(min_length=1, max_length=limits.PHONE_CHARS, pattern=PHONE, description="To call.")]
        | UnsetType
    ) = UNSET
    email: (
        Annotated[
            str,
            Meta(
                max_length=limits.EMAIL_CHARS,
                pattern="^[^@\\u0000-\\u0020\\u007f-\\u00a0]+@[^@\\u0000-\\u0020\\u007f-\\u00a0]+(?![\\s\\S])",
                description="To write to.",
            ),
        ]
        | UnsetType
    ) = UNSET
    user: Annotated[UUID, Meta(description="The person's id here, if it is somebody of this server.")] | UnsetType = (
        UNSET
    )


class Attachment(Struct, frozen=True, omit_defaults=True):
    """A medium that the message shows: an upload of one's own that is done. What is said of its look is the sender's
    word, for others to lay out the message before they have it."""

    id: Annotated[UUID, Meta(description="The upload's id, from `POST /v1/uploads`.")]
    kind: Annotated[Literal["photo", "voice", "video", "file"], Meta(description="As it was announced.")]
    width: _Side | UnsetType = UNSET
    height: _Side | UnsetType = UNSET
    duration_ms: (
        Annotated[int, Meta(ge=0, le=limits.DURATION_MS, description="Of a voice note or video, in milliseconds.")]
        | UnsetType
    ) = UNSET
    blurhash: (
        Annotated[
            str,
            Meta(
                min_length=6,
                max_length=limits.BLURHASH_CHARS,
                pattern="^[0-9A-Za-z#$%*+,\\-.:;=?@\\[\\]^_{|}~]+(?![\\s\\S])",
                description="Of a photo or video: what to show until it is there (https://blurha.sh).",
            ),
        ]
        | UnsetType
    ) = UNSET
    waveform: Annotated[
        list[Annotated[int, Meta(ge=0, le=255)]],
        Meta(max_length=limits.WAVEFORM, description="Of a voice note: how loud it is, at even distances, 0 to 255."),
    ] = []

    def __post_init__(self) -> None:
        seen, heard = self.kind in ("photo", "video"), self.kind in ("voice", "video")
        if not seen and not (self.width is self.height is self.blurhash is UNSET):
            raise ValueError("only a photo or video has `width`, `height` and `blurhash`")
        if not heard and self.duration_ms is not UNSET:
            raise ValueError("only a voice note or video has `duration_ms`")
        if self.waveform and self.kind != "voice":
            raise ValueError("only a voice note has a `waveform`")


class Forwarded(Struct, frozen=True):
    """Whose words these are."""

    author: Annotated[UUID, Meta(description="Who said it first. Where, is not told.")]


class Content(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a message is beside its text. Absent of a message that is text and nothing else."""

    reply_to: (
        Annotated[
            MessageSeq,
            Meta(description="The message of the same conversation that this one answers. It may be deleted since."),
        ]
        | UnsetType
    ) = UNSET
    entities: Annotated[
        list[Entity], Meta(max_length=limits.ENTITIES, description="Parts of the text that are more than text.")
    ] = []
    mention_all: (
        Annotated[
            Literal["here", "all"], Meta(description="Whom it mentions besides: who is here now, or everybody.")
        ]
        | UnsetType
    ) = UNSET
    media: Annotated[
        list[Attachment],
        Meta(max_length=limits.MEDIA, description="Photos, videos, voice notes, files: each once, in order."),
    ] = []
    location: Annotated[Location, Meta(description="A place.")] | UnsetType = UNSET
    contact: Annotated[Contact, Meta(description="Somebody's card.")] | UnsetType = UNSET
    thread: (
        Annotated[
            MessageSeq,
            Meta(
                description="The root of the thread that it belongs to: a message of the same conversation that is in "
                "no thread itself. This stays when the message is deleted."
            ),
        ]
        | UnsetType
    ) = UNSET
    forwarded: (
        Annotated[Forwarded, Meta(description="Whose words these are; only `message.forward` makes it.")] | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        if len(self.media) > 1 and len({one.id.int for one in self.media}) < len(self.media):
            raise ValueError("`media` names an upload twice")


NOTHING: Final = Content()


def speaks(content: Content | None) -> bool:
    """Whether *content* says something without any text."""
    return content is not None and (
        bool(content.media) or content.location is not UNSET or content.contact is not UNSET
    )


def needs_a_look(content: Content) -> bool:
    """Whether storing *content* needs a look at more than its author's membership: then it is an action."""
    return content.reply_to is not UNSET or bool(content.media) or content.thread is not UNSET


def check(text: str, content: Content | None) -> None:
    """Whether a client may say so. Raises ValueError, in the words that msgspec completes."""
    if not text and not speaks(content):
        raise ValueError("a message needs `text`, or media, a location or a contact - at `$.text`")
    if content is None:
        return
    if content.forwarded is not UNSET:
        raise ValueError("`forwarded` is what `message.forward` makes - at `$.content.forwarded`")
    check_entities(text, content.entities)


def check_entities(text: str, entities: Sequence[Entity]) -> None:
    """Whether all *entities* lie within *text*. Raises ValueError."""
    size = len(text)
    for number, one in enumerate(entities):
        if one.offset + one.length > size:
            raise ValueError(f"an entity ends behind the text - at `$.entities[{number}]`")
