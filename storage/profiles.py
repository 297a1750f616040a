"""Profiles: tables ``profile`` and ``profile_photo`` (migrations/0019).

What one person sees of another comes from one function of the database, ``profile_shown``, as a map; whoever lists
people calls that in their own SQL, and makes answers of the maps by ``konnect_server/people/shown.py``.
"""

from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import HandleTaken, Invalid, KeyReused, TooYoung, UnknownUser
from protocol.frames import ProfileUpdate
from storage import media
from storage.database import Queries


class ProfileRules(Struct, frozen=True):
    """What a deployment asks of profiles."""

    minimum_age: int  # years, of who gives a birthday
    reserved: Sequence[str]  # handles that nobody gets
    unused_ms: int  # how long a photo is kept that no profile shows any more


class FoundProfile(Struct, frozen=True):
    """A profile as the database knows it: see ``profile_shown`` and ``own_profile``."""

    profile: dict[str, Any]
    own: dict[str, Any] | None = None  # of who asked


class UpdatedProfile(Struct, frozen=True):
    """One's profile after a change."""

    number: int  # a device that was told up to it knows
    new: bool  # changed by this very call
    found: FoundProfile


class _Answer(Struct, frozen=True):
    error: str | None = None
    missing: UUID | None = None
    number: int = 0
    new: bool = False
    found: FoundProfile | None = None


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_found: Final = msgspec.json.Decoder(FoundProfile).decode
_answer: Final = msgspec.json.Decoder(_Answer).decode
_FIND: Final[LiteralString] = "select find_profile(%s, %s, %s)::text"


async def find_profile(db: Queries, asker: UUID, user: UUID | None, handle: str | None) -> FoundProfile:
    """The profile of *user*, of who has *handle*, or without both the asker's own, as *asker* may see it.

    Raises:
        UnknownUser: There is nobody, or nobody that *asker* may see.
    """
    row = await db.fetch_one(_FIND, asker, user, handle)
    assert row is not None
    if row[0] is None:
        raise UnknownUser(user or handle or asker)
    return _found(row[0])


_UPDATE: Final[LiteralString] = "select update_profile(%s, %s::json, %s::json)::text"


async def update_profile(db: Queries, person: UUID, command: ProfileUpdate, rules: ProfileRules) -> UpdatedProfile:
    """Change *person*'s profile, once for each key; a repeat gets it as it stands.

    Raises:
        HandleTaken, TooYoung, UnknownUser, KeyReused: As they say.
        UnknownMedium, NotReady, WrongUse: Of its photos.
        Invalid: The birthday is still to come.
    """
    row = await db.fetch_one(_UPDATE, person, _json(command).decode(), _json(rules).decode())
    assert row is not None
    answer = _answer(row[0])
    if answer.error is None:
        assert answer.found is not None
        return UpdatedProfile(answer.number, answer.new, answer.found)
    if problem := media.refusal(answer.error, answer.missing):
        raise problem
    match answer.error:
        case "handle_taken":
            raise HandleTaken(str(command.handle))
        case "too_young":
            raise TooYoung(f"this server is for people of {rules.minimum_age} years and more")
        case "birthday_ahead":
            raise Invalid("it is still to come - at `$.birthday`")
        case "unknown_user":
            raise UnknownUser(person)
        case "key_reused":
            raise KeyReused(command.key)
    raise AssertionError(f"the database answered {answer.error!r}")
