"""What one person is shown of another: an answer made from the map that the database's ``profile_shown`` gives."""

from typing import Any
from uuid import UUID

import msgspec

from konnect_server.people.ground import Ground
from protocol.frames import Profile
from storage.blobs import EXTENSIONS, public_key


def shown(ground: Ground, profile: dict[str, Any]) -> Profile:
    """*profile*, a map of ``profile_shown`` (migrations/0019), with the addresses of its photos."""
    photos = [_photo(ground, photo) for photo in profile.get("photos", ())]
    return msgspec.convert({**profile, "photos": photos}, Profile)


def _photo(ground: Ground, photo: dict[str, str]) -> dict[str, str]:
    key = public_key(UUID(photo["id"]), bytes.fromhex(photo["sha256"]), EXTENSIONS[photo["content_type"]])
    return {"id": photo["id"], "url": ground.public_url(key)}
