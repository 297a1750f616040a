"""Who may do what in a conversation: table ``permission`` of the database once more, as plain data.

The database decides, by its function ``may`` (migrations/0009_roles.sql); this copy is what the simulated world decides
by, and what the documents are checked against. A test holds all three to each other.
"""

from types import MappingProxyType
from typing import Final, Literal

Role = Literal["owner", "admin", "member"]

_ADMIN: Final = frozenset(
    ["write", "add", "remove", "ban", "role", "title", "topic", "photo", "slow_mode", "delete", "pin", "retention",
     "links", "hurry"]
)  # fmt: skip
_OWNER: Final = _ADMIN | {"owner"}

# (kind of conversation, role there) -> what that role may do.
PERMISSIONS: Final = MappingProxyType(
    {
        ("direct", "member"): frozenset(["write", "pin", "retention"]),
        ("group", "member"): frozenset(["write", "add"]),
        ("group", "admin"): _ADMIN,
        ("group", "owner"): _OWNER,
        ("room", "member"): frozenset(["write"]),
        ("room", "admin"): _ADMIN,
        ("room", "owner"): _OWNER,
        ("channel", "admin"): _ADMIN,
        ("channel", "owner"): _OWNER,
    }
)


def may(kind: str, role: Role | None, what: str) -> bool:
    """Whether *role* may do *what* in a conversation of that kind; None: no member."""
    return role is not None and what in PERMISSIONS.get((kind, role), ())
