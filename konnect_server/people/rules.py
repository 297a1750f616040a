"""All rules about people, by command."""

from typing import Final

from konnect_server.people import profiles, sessions
from konnect_server.people.ground import Rules

RULES: Final[Rules] = {
    **profiles.RULES,
    **sessions.RULES,
}
