"""What conversations are now: folded from events, whatever of it comes twice.

A conversation comes as it stands when the server reads it, which may be later than the entry it comes with: entries
that follow may tell what it shows already. Each says how things are after it, not what it adds, so applying one again
changes nothing; and a client that was away and gets entries in order ends where one that starts afresh begins.

No input, no output; bounded by the conversations that one is in.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from konnect_client.events import AnyEvent, ConversationChanged, Rewound
from konnect_client.model import Conversation, Entry


class Conversations:
    """One's conversations: members, roles, and what is set for all, as they are now. Names, receipts, counts and recent
    entries stay as they came."""

    def __init__(self) -> None:
        self._of: dict[str, Conversation] = {}

    def note(self, event: AnyEvent) -> None:
        """Take in an event, as it comes from :attr:`Client.events`."""
        match event:
            case Entry(conversation=place) if place in self._of:
                self._of[place] = _after(self._of[place], event)
            case ConversationChanged(conversation):
                self._of[conversation.id] = conversation
            case Rewound(conversation=None):
                self._of.clear()
            case Rewound(conversation=str(place)):
                self._of.pop(place, None)
            case _:
                pass

    def get(self, conversation: str) -> Conversation | None:
        """What *conversation* is now; None when it is not known here."""
        return self._of.get(conversation)

    def __iter__(self) -> Iterator[Conversation]:
        return iter(tuple(self._of.values()))


def _after(known: Conversation, entry: Entry) -> Conversation:
    """*known* after *entry*."""
    changes: dict[str, Any] = {"head": max(known.head, entry.seq)}
    user = entry.user
    match entry.kind:
        case "member.added" if user is not None:
            if not _counted(known):
                changes["members"] = (*_without(known.members, user), user)
            changes["admins"] = _without(known.admins, user)
        case "member.removed" | "member.banned" if user is not None:
            changes["members"] = _without(known.members, user)
            changes["admins"] = _without(known.admins, user)
            if entry.owner is not None:
                changes |= {"owner": entry.owner, "admins": _without(known.admins, user, entry.owner)}
            elif known.owner == user:
                changes["owner"] = None
        case "member.role" if user is not None:
            others = _without(known.admins, user)
            changes["admins"] = tuple(sorted((*others, user))) if entry.role == "admin" else others
        case "conversation.owner" if entry.owner is not None:
            others = _without(known.admins, entry.owner, entry.author)
            changes |= {"owner": entry.owner, "admins": tuple(sorted((*others, entry.author)))}
        case "conversation.title":
            changes["title"] = entry.title
        case "conversation.topic":
            changes["topic"] = entry.topic
        case "conversation.photo":
            changes["photo"] = entry.photo
        case "conversation.slow_mode":
            changes["slow_mode_s"] = entry.seconds or 0
        case "conversation.closed" | "conversation.opened":
            changes["closed"] = entry.kind == "conversation.closed"
        case "conversation.retention":
            changes["retention_s"] = entry.retention_s
        case "message.pinned" if entry.of is not None:
            pins = _unpinned(known.pins, entry.of)
            changes["pins"] = tuple(sorted((*pins, entry.of))) if entry.on else pins
        case "message.deleted" if entry.of is not None:
            changes["pins"] = _unpinned(known.pins, entry.of)
        case "messages.expired":
            changes["pins"] = _unpinned(known.pins, *entry.messages)
        case _:
            pass
    # A ban of somebody who was no member says no number: nobody left.
    if entry.kind in ("member.added", "member.removed", "member.banned") and entry.count is not None:
        changes["member_count"] = entry.count
    return replace(known, **changes)


def _counted(known: Conversation) -> bool:
    """Whether its members are counted, and not listed."""
    return known.kind in ("room", "channel")


def _unpinned(pins: tuple[int, ...], *gone: int) -> tuple[int, ...]:
    return tuple(seq for seq in pins if seq not in gone)


def _without(users: tuple[str, ...], *gone: str) -> tuple[str, ...]:
    return tuple(one for one in users if one not in gone)
