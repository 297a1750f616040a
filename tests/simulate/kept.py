"""What a simulated client keeps: for good, and for the length of a connection."""

from typing import Any, TypeAlias

import msgspec

Frame: TypeAlias = dict[str, Any]


class Queued(msgspec.Struct):
    """Something durable that the person wants done, until it is answered."""

    t: str
    fields: Frame
    tries: int = 0  # connections on which it was sent

    @property
    def conversation(self) -> str:
        """Which it is for; empty when it makes one."""
        return str(self.fields.get("conversation", ""))


class Known(msgspec.Struct):
    """A conversation as this client knows it."""

    kind: str
    head: int
    members: dict[str, None]
    receipts: dict[str, tuple[int, int]]
    left: bool = False
    own: dict[str, int] = {}  # keys of one's own entries that were seen -> seq
    owner: str | None = None
    admins: dict[str, None] = {}
    messages: dict[int, Frame] = {}  # seq -> the message as this client shows it; replaced, never changed
    shared: Frame = {}  # what is set for all, as in the event `conversation`; replaced, never changed


class Kept(msgspec.Struct):
    """What outlives a restart."""

    device: str
    conversations: dict[str, Known] = {}
    cursor: str | None = None
    outbox: list[Queued] = []
    base: int | None = None  # the person's number that the first cursor named
    rows: dict[str, Frame] = {}  # what is one's own: "what subject" -> value

    def copy(self) -> "Kept":
        """As written to disk now."""
        conversations = {
            conversation: Known(
                known.kind, known.head, dict(known.members), dict(known.receipts), known.left, dict(known.own),
                known.owner, dict(known.admins), dict(known.messages), known.shared,
            )
            for conversation, known in self.conversations.items()
        }
        outbox = [Queued(one.t, one.fields, one.tries) for one in self.outbox]
        return Kept(self.device, conversations, self.cursor, outbox, self.base, dict(self.rows))


class Asked(msgspec.Struct):
    """A command that was sent on this connection."""

    t: str
    fields: Frame
    queued: Queued | None
    joined: int | None  # the entry that had made us a member of its conversation
    places: dict[str, int | None] = {}  # conversation -> the same, of all, when one is to be opened
    told: int = 0  # up to which number of one's own rows we had been told then
    tops: dict[str, int] = {}  # conversation -> the log's end, of those that the answer may tell of
    hidden: dict[str, object] = {}  # person -> since when who must not be told of, when this was asked
