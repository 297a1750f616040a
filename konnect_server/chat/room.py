"""One conversation as the chat knows it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from konnect_client import Conversation, Entry
from konnect_server.chat.text import harmless, lines_of

Named = Callable[[str], str]


@dataclass(slots=True)
class Room:
    """A conversation, and up to where it has been shown."""

    id: str
    title: str | None
    members: list[str]
    shown: int = 0  # the last seq that is on the screen
    unread: int = 0

    @classmethod
    def of(cls, conversation: Conversation) -> "Room":
        return cls(conversation.id, conversation.title, list(conversation.members), unread=conversation.unread)

    def called(self, me: str, named: Named) -> str:
        """What to call it: a group's title, or the others' names."""
        if self.title:
            return harmless(self.title)
        return ", ".join(named(member) for member in self.members if member != me) or "only you"

    def apply(self, entry: Entry) -> None:
        """Take over who came and went."""
        if entry.kind == "member.added" and entry.user is not None and entry.user not in self.members:
            self.members.append(entry.user)
        elif entry.kind == "conversation.title":
            self.title = entry.title
        elif entry.kind in ("member.removed", "member.banned") and entry.user in self.members:
            self.members.remove(entry.user)


def entry_lines(entry: Entry, me: str, named: Named) -> list[str]:
    """An entry as it is shown: the local time, who, and what."""
    at = datetime.fromtimestamp(entry.at_ms / 1000).astimezone().strftime("%H:%M")
    author = named(entry.author)
    match entry.kind:
        case "message" if entry.deleted:
            return [f"{at} * {author} said something that is deleted now"]
        case "message":
            mark = " \u2713" if entry.author == me else ""
            first, *more = lines_of(entry.text or "")
            return [f"{at} {author}: {first}{mark}", *(f"      {line}" for line in more)]
        case "created":
            return [f"{at} * {author} opened this conversation"]
        case "member.added":
            return [f"{at} * {author} added {named(entry.user or '')}"]
        case "member.removed" if entry.user == entry.author:
            return [f"{at} * {author} left"]
        case "member.removed":
            return [f"{at} * {author} removed {named(entry.user or '')}"]
        case "member.role" if entry.role == "admin":
            return [f"{at} * {author} made {named(entry.user or '')} an admin"]
        case "member.role":
            return [f"{at} * {author} made {named(entry.user or '')} a plain member"]
        case "member.banned":
            why = f": {harmless(entry.reason)}" if entry.reason else ""
            return [f"{at} * {author} banned {named(entry.user or '')}{why}"]
        case "member.unbanned":
            return [f"{at} * {author} lifted the ban of {named(entry.user or '')}"]
        case "conversation.title":
            return [f"{at} * {author} called this conversation {harmless(entry.title or '')}"]
        case "conversation.topic":
            return [f"{at} * {author} set the topic: {harmless(entry.topic or 'none')}"]
        case "conversation.photo":
            return [f"{at} * {author} {'changed' if entry.photo else 'removed'} the photo"]
        case "conversation.slow_mode" if entry.seconds:
            return [f"{at} * {author} switched slow mode on: a message in {entry.seconds} s"]
        case "conversation.slow_mode":
            return [f"{at} * {author} switched slow mode off"]
        case "conversation.owner":
            return [f"{at} * {author} handed this conversation over to {named(entry.owner or '')}"]
        case "message.edited" if entry.text is not None:
            first, *more = lines_of(entry.text)
            return [f"{at} * {author} changed an earlier message: {first}", *(f"      {line}" for line in more)]
        case "message.edited":
            return [f"{at} * {author} changed a message that is deleted now"]
        case "message.deleted":
            return [f"{at} * {author} deleted an earlier message"]
        case "message.reacted":
            verb = "reacted with" if entry.on else "took back"
            return [f"{at} * {author} {verb} {harmless(entry.emoji or '')}"]
        case _:
            return [f"{at} * {author}: {harmless(entry.kind)}"]  # from a newer server


def day_of(entry: Entry) -> str:
    """The local date of an entry, to be shown where it changes."""
    return datetime.fromtimestamp(entry.at_ms / 1000).astimezone().strftime("%A, %d %B %Y")


def names_in(entries: Iterable[Entry]) -> dict[str, None]:
    """Everybody who is named in *entries*, in order."""
    found: dict[str, None] = {}
    for entry in entries:
        found |= dict.fromkeys(user for user in (entry.author, entry.user) if user)
    return found
