"""All rules about people, by command."""

from typing import Final

from konnect_server.people import (
    blocks,
    contacts,
    feed,
    leaving,
    openers,
    posts,
    profiles,
    reports,
    sessions,
    suggestions,
)
from konnect_server.people.ground import Rules

RULES: Final[Rules] = {
    **profiles.RULES,
    **feed.RULES,
    **sessions.RULES,
    # openers and matches
    **openers.RULES,
    **suggestions.RULES,
    # blocks and reports
    **blocks.RULES,
    **reports.RULES,
    # contacts, follows and posts
    **contacts.RULES,
    **posts.RULES,
    **leaving.RULES,
}
