"""Profiles: who somebody is, for others to see as far as the person lets them."""

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, Key

# One line with something on it, without control characters.
_LINE: Final = "^(?![\\s\\S]*[\\u0000-\\u001f\\u007f-\\u009f])[\\s\\S]*\\S"
_EARLIEST: Final = "1900-01-01"

Handle = Annotated[
    str,
    Meta(
        min_length=limits.HANDLE_MIN_CHARS,
        max_length=limits.HANDLE_CHARS,
        pattern="^[a-z0-9_.]+(?![\\s\\S])",
        description="A name that is the person's alone: lower-case letters, digits, `_` and `.`.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS, pattern=_LINE)]
Birthday = Annotated[
    str,
    Meta(
        min_length=10,
        max_length=10,
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}(?![\\s\\S])",
        extra_json_schema={"format": "date"},
        description="A day, as `2001-12-31`, from 1900 on.",
    ),
]
Gender = Annotated[str, Meta(min_length=1, max_length=limits.GENDER_CHARS, pattern=_LINE)]
City = Annotated[str, Meta(min_length=1, max_length=limits.CITY_CHARS, pattern=_LINE, description="What it is called.")]
Bio = Annotated[str, Meta(min_length=1, max_length=limits.BIO_CHARS, pattern=NO_NUL)]
Skill = Annotated[str, Meta(min_length=1, max_length=limits.SKILL_CHARS, pattern=_LINE)]
Goal = Annotated[str, Meta(min_length=1, max_length=limits.GOAL_CHARS, pattern=_LINE)]
Language = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=3,
        pattern="^[a-z]+(?![\\s\\S])",
        description="A code of ISO 639: `de`, `en`, `gsw`.",
    ),
]
WebLink = Annotated[
    str,
    Meta(
        max_length=limits.PROFILE_LINK_CHARS,
        pattern="^[Hh][Tt][Tt][Pp][Ss]://[^\\u0000-\\u0020\\u007f-\\u00a0]+(?![\\s\\S])",
        description="An address that begins with `https://`.",
    ),
]
Year = Annotated[int, Meta(ge=1900, le=2200)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Audience = Literal["everyone", "contacts", "nobody"]
_Seen = Audience | UnsetType


class Whereabouts(Struct, frozen=True, omit_defaults=True):
    """Where somebody is. Others are shown the city, and of the place nothing but how far away it is: from the middle of
    one cell of a grid (5 km) to the middle of another, rounded up to a band."""

    city: City | UnsetType = UNSET
    latitude: Annotated[Latitude, Meta(description="Degrees north (WGS 84).")] | UnsetType = UNSET
    longitude: Annotated[Longitude, Meta(description="Degrees east.")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.latitude is UNSET) is not (self.longitude is UNSET):
            raise ValueError("`latitude` and `longitude` go together")


class Experience(Struct, frozen=True, omit_defaults=True):
    """Something that one does, or did."""

    title: Annotated[
        str, Meta(min_length=1, max_length=limits.EXPERIENCE_CHARS, pattern=_LINE, description="As what.")
    ]
    organisation: (
        Annotated[str, Meta(min_length=1, max_length=limits.EXPERIENCE_CHARS, pattern=_LINE, description="Where.")]
        | UnsetType
    ) = UNSET
    from_year: Annotated[Year, Meta(description="Since which year.")] | UnsetType = UNSET
    to_year: Annotated[Year, Meta(description="Until which year; absent: until now.")] | UnsetType = UNSET
    text: (
        Annotated[
            str,
            Meta(min_length=1, max_length=limits.EXPERIENCE_TEXT_CHARS, pattern=NO_NUL, description="More about it."),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.from_year, int) and isinstance(self.to_year, int) and self.to_year < self.from_year:
            raise ValueError("`to_year` is before `from_year`")


class Prompt(Struct, frozen=True):
    """A question that one has answered."""

    question: Annotated[
        str, Meta(min_length=1, max_length=limits.PROMPT_CHARS, pattern=_LINE, description="It.")
    ]
    answer: Annotated[
        str, Meta(min_length=1, max_length=limits.ANSWER_CHARS, pattern=NO_NUL, description="One's answer.")
    ]


class Visibility(Struct, frozen=True, omit_defaults=True):
    """Who sees which part of a profile. The first name and the handle are seen by everyone who sees the person at all.
    A match counts as a contact. In searches and filters only what everyone sees is looked at."""

    last_name: Annotated[_Seen, Meta(description="The last name.")] = UNSET
    photos: Annotated[_Seen, Meta(description="The photos.")] = UNSET
    bio: Annotated[_Seen, Meta(description="What one says of oneself.")] = UNSET
    birthday: Annotated[_Seen, Meta(description="The age; nobody else is shown the day.")] = UNSET
    gender: Annotated[_Seen, Meta(description="The gender.")] = UNSET
    city: Annotated[_Seen, Meta(description="The city.")] = UNSET
    distance: Annotated[
        _Seen, Meta(description="How far away one is. One sees it of nobody from whom one hides it.")
    ] = UNSET
    interests: Annotated[_Seen, Meta(description="The interests.")] = UNSET
    skills: Annotated[_Seen, Meta(description="The skills.")] = UNSET
    goals: Annotated[_Seen, Meta(description="The goals.")] = UNSET
    languages: Annotated[_Seen, Meta(description="The languages.")] = UNSET
    experience: Annotated[_Seen, Meta(description="The experience.")] = UNSET
    links: Annotated[_Seen, Meta(description="The links.")] = UNSET
    prompts: Annotated[_Seen, Meta(description="The prompts.")] = UNSET


class ProfileGet(Command, frozen=True, tag="profile.get"):
    """What one may see of somebody's profile, by id or by handle; by neither it is one's own. Answered with
    :class:`ProfileFound`; a person that one may not see is answered as one that there is not."""

    user: Annotated[UUID | None, Meta(description="Whose it is; null: one's own, or by `handle`.")] = None
    handle: Annotated[Handle | None, Meta(description="The same, by handle; `user` does not count beside it.")] = None


class ProfileUpdate(Command, frozen=True, tag="profile.update"):
    """Change one's profile: what is absent stays as it is, null clears. All of it is done or nothing. With a first name
    the account is called by it, and by the last name too if everyone may see that. One's devices hear of it by the
    event ``state``. Answered with :class:`ProfileFound`: one's own, as it stands now."""

    key: Key
    handle: Annotated[
        Handle | UnsetType | None, Meta(description="The handle; the one before is free at once.")
    ] = UNSET
    first_name: Annotated[Name | UnsetType | None, Meta(description="The first name.")] = UNSET
    last_name: Annotated[Name | UnsetType | None, Meta(description="The last name.")] = UNSET
    bio: Annotated[Bio | UnsetType | None, Meta(description="What one says of oneself.")] = UNSET
    birthday: Annotated[
        Birthday | UnsetType | None,
        Meta(description="The day of birth, as `2001-12-31`; refused of who is younger than this server lets in."),
    ] = UNSET
    gender: Annotated[
        Gender | UnsetType | None, Meta(description="`woman`, `man`, `nonbinary`, or in words of one's own.")
    ] = UNSET
    location: Annotated[
        Whereabouts | UnsetType | None, Meta(description="Where one is; replaces all that was said of it.")
    ] = UNSET
    interests: Annotated[
        Annotated[list[Skill], Meta(max_length=limits.INTERESTS)] | UnsetType | None,
        Meta(description="What one likes."),
    ] = UNSET
    skills: Annotated[
        Annotated[list[Skill], Meta(max_length=limits.INTERESTS)] | UnsetType | None,
        Meta(description="What one can do."),
    ] = UNSET
    goals: Annotated[
        Annotated[list[Goal], Meta(max_length=limits.GOALS)] | UnsetType | None, Meta(description="What one is after.")
    ] = UNSET
    languages: Annotated[
        Annotated[list[Language], Meta(max_length=limits.LANGUAGES)] | UnsetType | None,
        Meta(description="Which languages one speaks: codes of ISO 639."),
    ] = UNSET
    experience: Annotated[
        Annotated[list[Experience], Meta(max_length=limits.EXPERIENCES)] | UnsetType | None,
        Meta(description="What one does, or did."),
    ] = UNSET
    links: Annotated[
        Annotated[list[WebLink], Meta(max_length=limits.PROFILE_LINKS)] | UnsetType | None,
        Meta(description="Where else one is found: addresses that begin with `https://`."),
    ] = UNSET
    prompts: Annotated[
        Annotated[list[Prompt], Meta(max_length=limits.PROMPTS)] | UnsetType | None,
        Meta(description="Questions that one answers."),
    ] = UNSET
    photos: Annotated[
        Annotated[list[UUID], Meta(max_length=limits.PROFILE_PHOTOS)] | UnsetType | None,
        Meta(
            description="Uploads of one's own of kind `profile_photo` that are done, in order; the first is the main."
        ),
    ] = UNSET
    visibility: Annotated[
        Visibility | UnsetType | None,
        Meta(description="Who sees what; parts that are absent stay as they are, null: all as nobody has set it."),
    ] = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.birthday, str):
            try:
                date.fromisoformat(self.birthday)
            except ValueError:
                raise ValueError("`birthday` is no day that there was") from None
            if self.birthday < _EARLIEST:
                raise ValueError(f"`birthday` is before {_EARLIEST}")
        if isinstance(self.photos, list) and len({str(photo) for photo in self.photos}) < len(self.photos):
            raise ValueError("`photos` names one twice")


class ProfilePhoto(Struct, frozen=True):
    """A photo of a profile."""

    id: Annotated[UUID, Meta(description="The medium's id.")]
    url: Annotated[str, Meta(description="Where everybody may get it, for ever the same.")]


class Profile(Struct, frozen=True, omit_defaults=True):
    """What the asker sees of somebody. Absent is what there is not, and what the asker may not see: nothing tells
    which."""

    user: Annotated[UUID, Meta(description="Who it is.")]
    name: Annotated[str, Meta(description="What the person is called in conversations.")]
    handle: Annotated[str, Meta(description="The person's handle.")] | UnsetType = UNSET
    first_name: Annotated[str, Meta(description="The first name.")] | UnsetType = UNSET
    last_name: Annotated[str, Meta(description="The last name.")] | UnsetType = UNSET
    bio: Annotated[str, Meta(description="What the person says.")] | UnsetType = UNSET
    age: Annotated[int, Meta(description="In whole years.")] | UnsetType = UNSET
    gender: Annotated[str, Meta(description="The gender.")] | UnsetType = UNSET
    city: Annotated[str, Meta(description="The city.")] | UnsetType = UNSET
    distance_km: (
        Annotated[
            int,
            Meta(description="At most so far away: between cells of a grid of 5 km, rounded up to one of few bands."),
        ]
        | UnsetType
    ) = UNSET
    interests: Annotated[list[str], Meta(description="What the person likes.")] = []
    skills: Annotated[list[str], Meta(description="What the person can do.")] = []
    goals: Annotated[list[str], Meta(description="What the person is after.")] = []
    languages: Annotated[list[str], Meta(description="Codes of ISO 639.")] = []
    experience: Annotated[list[Experience], Meta(description="What the person does, or did.")] = []
    links: Annotated[list[str], Meta(description="Where else the person is found.")] = []
    prompts: Annotated[list[Prompt], Meta(description="Questions that the person answers.")] = []
    photos: Annotated[list[ProfilePhoto], Meta(description="In order, the main one first.")] = []


class OwnProfile(Struct, frozen=True, omit_defaults=True):
    """One's own profile, as one has set it."""

    visibility: Annotated[Visibility, Meta(description="Who sees what; all parts are there.")]
    percent: Annotated[int, Meta(description="How much of it is there, 0 to 100.")]
    complete: Annotated[bool, Meta(description="Whether enough is there to be shown in the feed.")]
    missing: Annotated[
        list[str],
        Meta(description="What is not there, by its field (`city` of `location`); what the feed needs comes first."),
    ] = []
    handle: Annotated[str, Meta(description="The handle.")] | UnsetType = UNSET
    first_name: Annotated[str, Meta(description="The first name.")] | UnsetType = UNSET
    last_name: Annotated[str, Meta(description="The last name.")] | UnsetType = UNSET
    bio: Annotated[str, Meta(description="What one says of oneself.")] | UnsetType = UNSET
    birthday: Annotated[str, Meta(description="The day, as `2001-12-31`.")] | UnsetType = UNSET
    gender: Annotated[str, Meta(description="The gender.")] | UnsetType = UNSET
    city: Annotated[str, Meta(description="The city.")] | UnsetType = UNSET
    latitude: Annotated[Latitude, Meta(description="Degrees north, as it was given.")] | UnsetType = UNSET
    longitude: Annotated[Longitude, Meta(description="Degrees east, as it was given.")] | UnsetType = UNSET
    interests: Annotated[list[str], Meta(description="What one likes.")] = []
    skills: Annotated[list[str], Meta(description="What one can do.")] = []
    goals: Annotated[list[str], Meta(description="What one is after.")] = []
    languages: Annotated[list[str], Meta(description="Codes of ISO 639.")] = []
    experience: Annotated[list[Experience], Meta(description="What one does, or did.")] = []
    links: Annotated[list[str], Meta(description="Where else one is found.")] = []
    prompts: Annotated[list[Prompt], Meta(description="Questions that one answers.")] = []
    photos: Annotated[
        list[UUID], Meta(description="Their media, the main one first; `profile.get` says where to get them.")
    ] = []


class ProfileFound(Struct, frozen=True, omit_defaults=True):
    """A profile."""

    profile: Annotated[Profile, Meta(description="What the asker sees of it.")]
    own: Annotated[OwnProfile, Meta(description="Of one's own: all of it, as it was set.")] | UnsetType = UNSET
