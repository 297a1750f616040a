"""Profiles: one's own, and what one may see of others'."""

from collections.abc import Mapping
from dataclasses import dataclass

from konnect_client.errors import ProtocolViolation
from konnect_client.parts import Frame, take, take_each, take_maybe, take_number, take_or, take_part


def texts(frame: Frame, name: str) -> tuple[str, ...]:
    """The texts of a list that may be absent."""
    found = take_or(frame, name, list, [])
    if not all(isinstance(one, str) for one in found):
        raise ProtocolViolation(f"field {name!r} of a profile holds something that is no text")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Experience:
    """Something that somebody does, or did."""

    title: str
    organisation: str | None = None
    from_year: int | None = None
    to_year: int | None = None  # None: until now
    text: str | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Experience":
        return cls(
            take(frame, "title", str), take_maybe(frame, "organisation", str), take_maybe(frame, "from_year", int),
            take_maybe(frame, "to_year", int), take_maybe(frame, "text", str),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question that somebody has answered."""

    question: str
    answer: str

    @classmethod
    def parse(cls, frame: Frame) -> "Prompt":
        return cls(take(frame, "question", str), take(frame, "answer", str))


@dataclass(frozen=True, slots=True)
class ProfilePhoto:
    """A photo of a profile."""

    id: str
    url: str  # for ever the same

    @classmethod
    def parse(cls, frame: Frame) -> "ProfilePhoto":
        return cls(take(frame, "id", str), take(frame, "url", str))


@dataclass(frozen=True, slots=True)
class PersonProfile:
    """What one sees of somebody. None, or empty: there is nothing, or nothing that one may see."""

    user: str
    name: str  # what the person is called in conversations
    handle: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    bio: str | None = None
    age: int | None = None
    gender: str | None = None
    city: str | None = None
    distance_km: int | None = None  # at most so far away
    interests: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    experience: tuple[Experience, ...] = ()
    links: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    photos: tuple[ProfilePhoto, ...] = ()  # the main one first

    @classmethod
    def parse(cls, frame: Frame) -> "PersonProfile":
        return cls(
            user=take(frame, "user", str), name=take(frame, "name", str), handle=take_maybe(frame, "handle", str),
            first_name=take_maybe(frame, "first_name", str), last_name=take_maybe(frame, "last_name", str),
            bio=take_maybe(frame, "bio", str), age=take_maybe(frame, "age", int),
            gender=take_maybe(frame, "gender", str), city=take_maybe(frame, "city", str),
            distance_km=take_maybe(frame, "distance_km", int), interests=texts(frame, "interests"),
            skills=texts(frame, "skills"), goals=texts(frame, "goals"), languages=texts(frame, "languages"),
            experience=_experience(frame), links=texts(frame, "links"), prompts=_prompts(frame),
            photos=take_each(frame, "photos", ProfilePhoto.parse) if "photos" in frame else (),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnProfile:
    """One's own profile, as one has set it. ``photos``: ids; the command ``profile`` says where they are."""

    visibility: Mapping[str, str]  # part -> "everyone", "contacts" or "nobody"
    percent: int
    complete: bool  # enough to be shown in the feed
    missing: tuple[str, ...] = ()  # by field, what the feed needs first
    handle: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    bio: str | None = None
    birthday: str | None = None  # as 2001-12-31
    gender: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    interests: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    experience: tuple[Experience, ...] = ()
    links: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    photos: tuple[str, ...] = ()

    @classmethod
    def parse(cls, frame: Frame) -> "OwnProfile":
        visibility = take(frame, "visibility", dict)
        if not all(isinstance(one, str) for pair in visibility.items() for one in pair):
            raise ProtocolViolation("field 'visibility' of a profile holds something that is no text")
        return cls(
            visibility=visibility, percent=take(frame, "percent", int), complete=take(frame, "complete", bool),
            missing=texts(frame, "missing"), handle=take_maybe(frame, "handle", str),
            first_name=take_maybe(frame, "first_name", str), last_name=take_maybe(frame, "last_name", str),
            bio=take_maybe(frame, "bio", str), birthday=take_maybe(frame, "birthday", str),
            gender=take_maybe(frame, "gender", str), city=take_maybe(frame, "city", str),
            latitude=take_number(frame, "latitude") if "latitude" in frame else None,
            longitude=take_number(frame, "longitude") if "longitude" in frame else None,
            interests=texts(frame, "interests"), skills=texts(frame, "skills"), goals=texts(frame, "goals"),
            languages=texts(frame, "languages"), experience=_experience(frame), links=texts(frame, "links"),
            prompts=_prompts(frame), photos=texts(frame, "photos"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """A profile that was asked for; ``own``: all of it, if it is one's own."""

    profile: PersonProfile
    own: OwnProfile | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "FoundProfile":
        return cls(PersonProfile.parse(take(frame, "profile", dict)), take_part(frame, "own", OwnProfile.parse))


def _experience(frame: Frame) -> tuple[Experience, ...]:
    return take_each(frame, "experience", Experience.parse) if "experience" in frame else ()


def _prompts(frame: Frame) -> tuple[Prompt, ...]:
    return take_each(frame, "prompts", Prompt.parse) if "prompts" in frame else ()
