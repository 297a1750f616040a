"""What is known of people: their names, and who is online."""

from collections.abc import Iterable, Mapping
from typing import Final

from konnect_client.events import AnyEvent, ConversationChanged, PresenceChanged

NAMES: Final = 10_000  # beyond, the name learnt first is forgotten, and looked up again where it is wanted


class People:
    """Learns from what comes by."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.online: dict[str, None] = {}

    def note(self, event: AnyEvent) -> None:
        """Take over what *event* says of people."""
        match event:
            case ConversationChanged(conversation=conversation):
                self.learn(conversation.names)
            case PresenceChanged(user=user, online=True):
                self.online[user] = None
            case PresenceChanged(user=user):
                self.online.pop(user, None)
            case _:
                pass

    def learn(self, names: Mapping[str, str]) -> None:
        """Remember *names*, id -> name."""
        for user, name in names.items():
            self.names.pop(user, None)
            self.names[user] = name
        while len(self.names) > NAMES:
            del self.names[next(iter(self.names))]

    def unknown(self, users: Iterable[str]) -> list[str]:
        """Those of *users* whose names are not known, each once."""
        return [user for user in dict.fromkeys(users) if user not in self.names]
