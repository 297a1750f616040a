"""Profiles: one's own, and what one may see of those of others."""

from typing import Final

import msgspec
from msgspec import UNSET

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from konnect_server.people.shown import shown
from protocol.frames import OwnProfile, ProfileFound, ProfileGet, ProfileUpdate
from storage import profiles
from storage.profiles import FoundProfile, ProfileRules

# Whoever had one of these would be taken for the house.
RESERVED: Final = (
    "abuse", "admin", "administrator", "api", "contact", "deleted", "help", "info", "konnect", "legal", "mod",
    "moderator", "moderators", "official", "operator", "postmaster", "privacy", "root", "security", "staff", "support",
    "system", "team", "webmaster",
)  # fmt: skip


async def _get(ground: Ground, asked: Asked, command: ProfileGet) -> Outcome:
    found = await profiles.find_profile(ground.database, asked.user, command.user, command.handle)
    return Outcome(_found(ground, found))


async def _update(ground: Ground, asked: Asked, command: ProfileUpdate) -> Outcome:
    config = ground.config
    rules = ProfileRules(config.minimum_age, (*RESERVED, *config.reserved_handles), config.upload_unused_s * 1000)
    updated = await profiles.update_profile(ground.database, asked.user, command, rules)
    return Outcome(
        _found(ground, updated.found), number=updated.number, changed=(asked.user,) if updated.new else ()
    )


def _found(ground: Ground, found: FoundProfile) -> ProfileFound:
    own = UNSET if found.own is None else msgspec.convert(found.own, OwnProfile)
    return ProfileFound(shown(ground, found.profile), own)


RULES: Final[Rules] = {ProfileGet: _get, ProfileUpdate: _update}
