"""What a push says: a title and a line, as short as a lock screen shows them."""

from typing import Any, Final

from konnect_server.push.driver import Push
from storage.pushes import Content

BODY_CHARS: Final = 200
TITLE_CHARS: Final = 100
TTL_S: Final = 86_400  # a phone that was off for longer finds out when the app opens
# Of a message without words. Clients that speak another language have what they need in `data`.
_MEDIA: Final = {"photo": "Photo", "video": "Video", "voice": "Voice message", "file": "File"}


def push_of(content: Content) -> Push:
    """The push that *content* is told by."""
    title = content.name if content.kind == "direct" else content.title or content.name
    data = {
        "kind": "message", "conversation": "", "seq": str(content.newest), "author": str(content.author),
        "count": str(content.count), "mention": "1" if content.mention else "0",
    }  # fmt: skip
    return Push(
        token=content.token, platform=content.platform, title=cut(title, TITLE_CHARS),
        body="" if content.hide else cut(_line(content), BODY_CHARS), badge=content.badge, data=data, ttl_s=TTL_S,
    )  # fmt: skip


def _line(content: Content) -> str:
    said = content.text or _kind(content.content or {})
    return said if content.kind == "direct" else f"{content.name}: {said}"


def _kind(content: dict[str, Any]) -> str:
    for medium in content.get("media") or []:
        return _MEDIA.get(medium.get("kind", ""), "Message")
    for field, word in (("location", "Location"), ("contact", "Contact"), ("poll", "Poll")):
        if field in content:
            return word
    return "Message"


def cut(text: str, most: int) -> str:
    """*text* on one line, with at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
