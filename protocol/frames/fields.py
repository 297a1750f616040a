"""Field types that frames share: ids, numbers, texts, with their limits."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol import limits

# PostgreSQL cannot store U+0000, so no string of the protocol may hold it (docs/hazards.md, B2).
NO_NUL = "^[^\\u0000]*$"
Id = Annotated[
    int, Meta(ge=0, le=2**53 - 1, description="The client's number for this command; the answer repeats it.")
]
Seq = Annotated[
    int, Meta(ge=0, le=limits.SEQ_MAX, description="A place in a conversation's log; 0 is before the first.")
]
# An id that comes in numbers and becomes a key: as text, for hash(UUID) is not seeded, and a thousand ids made to
# collide would hold everybody up (docs/hazards.md, C1).
IdText = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        description="An id.",
        extra_json_schema={"format": "uuid"},
    ),
]
AtMs = Annotated[int, Meta(description="Unix time in milliseconds (UTC), by the database's clock.")]
Conversation = Annotated[UUID, Meta(description="The conversation's id.")]
_KEY_MEANING = (
    "The client's idempotency key: unique per author and conversation for ever. A repeat is answered as the first was."
)
Key = Annotated[str, Meta(min_length=1, max_length=limits.KEY_CHARS, pattern=NO_NUL, description=_KEY_MEANING)]
# These two without a pattern that is checked: see MessageSend.
SentKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.KEY_CHARS,
        description=_KEY_MEANING,
        extra_json_schema={"pattern": NO_NUL},
    ),
]
Text = Annotated[
    str,
    Meta(
        max_length=limits.TEXT_CHARS,
        description="The message. Its length is counted in code points, not bytes. It is empty only beside media, a "
        "location or a contact.",
        extra_json_schema={"pattern": NO_NUL},
    ),
]
Title = Annotated[
    str, Meta(min_length=1, max_length=limits.TITLE_CHARS, pattern=NO_NUL, description="What the group is called.")
]
Topic = Annotated[
    str, Meta(min_length=1, max_length=limits.TOPIC_CHARS, pattern=NO_NUL, description="What the group is about.")
]
Token = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TOKEN_CHARS,
        pattern=NO_NUL,
        description="An access token, from `/v1/auth/register`, `login` or `refresh`.",
    ),
]
Device = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.DEVICE_CHARS,
        pattern=NO_NUL,
        description="Names this device among the person's own: the same after each reconnect, another on each device.",
    ),
]
Cursor = Annotated[
    str, Meta(max_length=limits.CURSOR_CHARS, pattern=NO_NUL, description="Opaque: keep it, send it back unchanged.")
]
History = Literal["all", "from_join"]
Kind = Literal["direct", "group", "room", "channel"]
Tag = Annotated[
    str, Meta(min_length=1, max_length=limits.TAG_CHARS, pattern=NO_NUL, description="An interest, in a word or two.")
]
EntryKind = Literal[
    "created", "message", "member.added", "member.removed", "message.edited", "message.deleted", "message.reacted",
    "member.role", "member.banned", "member.unbanned", "conversation.owner",
    "conversation.title", "conversation.topic", "conversation.photo", "conversation.slow_mode",
    "message.pinned",
    "conversation.retention", "messages.expired",
    "poll.voted", "poll.closed",
    "conversation.closed", "conversation.opened",
]  # fmt: skip
MessageSeq = Annotated[int, Meta(ge=1, le=limits.SEQ_MAX, description="The message's number in the log.")]
Emoji = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.REACTION_CHARS,
        pattern="^(?![\\s\\S]*[\\u0000-\\u001f\\u007f-\\u009f])",
        description="The reaction: an emoji, or any short text without control characters, compared as it is spelt.",
    ),
]
