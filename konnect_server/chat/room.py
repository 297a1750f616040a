"""One conversation as the chat knows it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from konnect_client import Content, Conversation, Entry
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
        case "message" if entry.poll is not None:
            asked = [f"      {place}: {harmless(one.text)}" for place, one in enumerate(entry.poll.options, 1)]
            return [f"{at} {author} asks: {harmless(entry.poll.question)}", *asked]
        case "poll.voted" if entry.options is None:
            return [f"{at} * somebody voted"]
        case "poll.voted":
            return [f"{at} * {author} voted" if entry.options else f"{at} * {author} took a vote back"]
        case "poll.closed":
            return [f"{at} * {author} closed a poll"]
        case "message":
            mark = " \u2713" if entry.author == me else ""
            first, *more = lines_of(" ".join(filter(None, (entry.text, *beside(entry.content, named)))))
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
        case "conversation.retention" if entry.retention_s:
            return [f"{at} * {author} lets new messages disappear after {entry.retention_s} s"]
        case "conversation.retention":
            return [f"{at} * {author} keeps new messages for ever"]
        case "conversation.closed":
            return [f"{at} * nobody may write here now"]
        case "conversation.opened":
            return [f"{at} * you may write here again"]
        case "messages.expired":
            return [f"{at} * {len(entry.messages)} earlier messages have disappeared"]
        case "message.pinned":
            return [f"{at} * {author} {'pinned a message' if entry.on else 'took a pinned message down'}"]
        case _:
            return [f"{at} * {author}: {harmless(entry.kind)}"]  # from a newer server


def beside(content: Content | None, named: Named) -> list[str]:
    """What a message is beside its text, as far as a line of a terminal shows it; each in square brackets."""
    if content is None:
        return []
    parts = ["[in a thread]"] if content.thread is not None else []
    parts += [f"[{one.kind}]" for one in content.media]
    if (place := content.location) is not None:
        parts.append(f"[{place.label or 'place'}: {place.lat:.5f}, {place.lon:.5f}]")
    if (card := content.contact) is not None:
        parts.append(f"[{', '.join(filter(None, (card.name, card.phone, card.email)))}]")
    if content.forwarded_from is not None:
        parts.append(f"[said by {named(content.forwarded_from)}]")
    return parts


def day_of(entry: Entry) -> str:
    """The local date of an entry, to be shown where it changes."""
    return datetime.fromtimestamp(entry.at_ms / 1000).astimezone().strftime("%A, %d %B %Y")


def names_in(entries: Iterable[Entry]) -> dict[str, None]:
    """Everybody who is named in *entries*, in order."""
    found: dict[str, None] = {}
    for entry in entries:
        found |= dict.fromkeys(user for user in (entry.author, entry.user) if user)
    return found
