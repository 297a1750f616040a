"""What a message is beside its text: parts of the text, media, a place, a contact, an answer.

Each class reads itself from a frame's map with ``parse`` and is one again with ``frame``. What a newer server says
besides is left out.
"""

from dataclasses import dataclass
from typing import Any

from konnect_client.parts import (
    Frame,
    take,
    take_each,
    take_ints,
    take_maybe,
    take_number,
    take_part,
    take_seq,
    without_defaults,
)


@dataclass(frozen=True, slots=True)
class Entity:
    """A part of the text, in code points (as Python counts them)."""

    kind: str  # "bold", "italic", "underline", "strike", "code", "pre", "link", "mention"; newer servers may know more
    offset: int
    length: int
    url: str | None = None  # of a link
    user: str | None = None  # of a mention

    @classmethod
    def parse(cls, frame: Frame) -> "Entity":
        return cls(
            take(frame, "kind", str), take_seq(frame, "offset"), take_seq(frame, "length"),
            take_maybe(frame, "url", str), take_maybe(frame, "user", str),
        )  # fmt: skip

    def frame(self) -> dict[str, Any]:
        """As it travels."""
        return without_defaults(kind=self.kind, offset=self.offset, length=self.length, url=self.url, user=self.user)


@dataclass(frozen=True, slots=True)
class Location:
    """A place on the earth, in degrees (WGS 84)."""

    lat: float
    lon: float
    label: str | None = None
    accuracy_m: float | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Location":
        return cls(
            take_number(frame, "lat"), take_number(frame, "lon"), take_maybe(frame, "label", str),
            take_number(frame, "accuracy_m") if "accuracy_m" in frame else None,
        )  # fmt: skip

    def frame(self) -> dict[str, Any]:
        """As it travels."""
        return without_defaults(lat=self.lat, lon=self.lon, label=self.label, accuracy_m=self.accuracy_m)


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody's name, and ways to reach that person."""

    name: str
    phone: str | None = None
    email: str | None = None
    user: str | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Contact":
        return cls(
            take(frame, "name", str), take_maybe(frame, "phone", str), take_maybe(frame, "email", str),
            take_maybe(frame, "user", str),
        )  # fmt: skip

    def frame(self) -> dict[str, Any]:
        """As it travels."""
        return without_defaults(name=self.name, phone=self.phone, email=self.email, user=self.user)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A medium that the message shows: an upload that is done. Where to get it: ``GET /v1/media/{id}``."""

    id: str
    kind: str  # "photo", "voice", "video", "file"
    width: int | None = None  # pixels; here and below as the sender says
    height: int | None = None
    duration_ms: int | None = None
    blurhash: str | None = None
    waveform: tuple[int, ...] = ()

    @classmethod
    def parse(cls, frame: Frame) -> "Attachment":
        return cls(
            take(frame, "id", str), take(frame, "kind", str), take_maybe(frame, "width", int),
            take_maybe(frame, "height", int), take_maybe(frame, "duration_ms", int),
            take_maybe(frame, "blurhash", str), take_ints(frame, "waveform") if "waveform" in frame else (),
        )  # fmt: skip

    def frame(self) -> dict[str, Any]:
        """As it travels."""
        return without_defaults(
            id=self.id, kind=self.kind, width=self.width, height=self.height, duration_ms=self.duration_ms,
            blurhash=self.blurhash, waveform=list(self.waveform),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """All of it. What a message does not have is None, or empty."""

    reply_to: int | None = None  # seq of the message that it answers
    entities: tuple[Entity, ...] = ()
    mention_all: str | None = None  # "here", "all"
    media: tuple[Attachment, ...] = ()
    location: Location | None = None
    contact: Contact | None = None
    thread: int | None = None  # the root of the thread that it is in
    forwarded_from: str | None = None  # who said it first; None: its author

    @classmethod
    def parse(cls, frame: Frame) -> "Content":
        return cls(
            reply_to=take_maybe(frame, "reply_to", int),
            entities=take_each(frame, "entities", Entity.parse) if "entities" in frame else (),
            mention_all=take_maybe(frame, "mention_all", str),
            media=take_each(frame, "media", Attachment.parse) if "media" in frame else (),
            location=take_part(frame, "location", Location.parse),
            contact=take_part(frame, "contact", Contact.parse),
            thread=take_maybe(frame, "thread", int),
            forwarded_from=take_part(frame, "forwarded", lambda part: take(part, "author", str)),
        )

    def frame(self) -> dict[str, Any]:
        """As it travels."""
        return without_defaults(
            reply_to=self.reply_to, entities=[one.frame() for one in self.entities], mention_all=self.mention_all,
            media=[one.frame() for one in self.media],
            location=None if self.location is None else self.location.frame(),
            contact=None if self.contact is None else self.contact.frame(),
            thread=self.thread,
            forwarded=None if self.forwarded_from is None else {"author": self.forwarded_from},
        )  # fmt: skip
