"""What messages say now: folded from entries, whatever of them comes twice, late or out of date.

A message comes as it stood when the server read it, and ``changed`` says up to which entry that was. So a change with a
seq that is not above it is in there already, and of two copies of one message the one with the higher ``changed`` is
newer. A deletion is the last change. With these rules a client that was away and gets entries in order, one that reads
the past while changes pass, and one that starts afresh end with the same messages, byte for byte.

No input, no output; bounded by how many messages of a conversation are kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from konnect_client.content import Content
from konnect_client.events import AnyEvent, ConversationChanged, Rewound
from konnect_client.model import Entry, Reaction
from konnect_client.personal import Personal

KEPT: Final = 1_000  # messages of one conversation


class Messages:
    """The messages of one's conversations, as entries of kind ``message`` that say what each says now."""

    def __init__(self, kept: int = KEPT, *, personal: Personal | None = None) -> None:
        """*kept*: how many messages of a conversation to keep; beyond it the oldest are forgotten. *personal*:
        ``client.personal``; what one has deleted for oneself is then not shown."""
        self._kept, self._personal = kept, personal
        self._of: dict[str, dict[int, Entry]] = {}

    def note(self, event: AnyEvent) -> None:
        """Take in an event, as it comes from :attr:`Client.events`.

        A ``ConversationChanged`` forgets what was known of its conversation: what changed in an absence is not told.
        """
        match event:
            case Entry():
                self._take(event)
            case ConversationChanged(conversation):
                self._of[conversation.id] = {}
                self.learn(conversation.recent)
            case Rewound(conversation=None):
                self._of.clear()
            case Rewound(conversation=str(conversation)):
                self._of.pop(conversation, None)
            case _:
                pass

    def learn(self, entries: Iterable[Entry]) -> None:
        """Take in entries of the past, as they come from ``history``: newer copies win, whichever came first.

        Not those that were asked for before a ``ConversationChanged`` of their conversation, which came meanwhile.
        """
        for entry in entries:
            if entry.kind == "message":
                self._keep(entry)

    def get(self, conversation: str, seq: int) -> Entry | None:
        """What message *seq* is now; None when it is not known here."""
        return None if self._is_hidden(conversation, seq) else self._of.get(conversation, {}).get(seq)

    def of(self, conversation: str) -> Iterator[Entry]:
        """The messages of *conversation* that are known here, oldest first."""
        known = self._of.get(conversation, {})
        return (known[seq] for seq in sorted(known) if not self._is_hidden(conversation, seq))

    def last(self, conversation: str) -> Entry | None:
        """What a list shows of *conversation*, as ``conversation.list`` does: the last message known here that is in no
        thread."""
        return next((one for one in reversed(tuple(self.of(conversation))) if not one.in_thread), None)

    def _is_hidden(self, conversation: str, seq: int) -> bool:
        return self._personal is not None and self._personal.is_hidden(conversation, seq)

    def _take(self, entry: Entry) -> None:
        if entry.kind == "message":
            self._keep(entry)
        else:
            self._change(entry)
        known = self._of.get(entry.conversation, {})
        for now in entry.threads:
            root = known.get(now.seq)
            if root is not None and not root.deleted and entry.seq > root.changed:
                known[now.seq] = replace(root, replies=now.replies, changed=entry.seq)

    def _change(self, entry: Entry) -> None:
        known = self._of.get(entry.conversation, {})
        for seq in entry.messages if entry.kind == "messages.expired" else ():
            if (gone := known.get(seq)) is not None and not gone.deleted and entry.seq > gone.changed:
                known[seq] = _blank(gone, entry.seq)
        message = None if entry.of is None else known.get(entry.of)
        if message is None or message.deleted or entry.seq <= message.changed:
            return
        match entry:
            case Entry(kind="message.edited", text=str(text)):
                message = replace(
                    message, text=text, content=entry.content, edited_at_ms=entry.at_ms, changed=entry.seq
                )
            case Entry(kind="message.edited"):
                return  # the text is gone with a deletion that is on its way here
            case Entry(kind="message.deleted"):
                message = _blank(message, entry.seq)
            case Entry(kind="poll.voted", voters=int(voters)) if message.poll is not None:
                options = tuple(
                    replace(one, count=count) for one, count in zip(message.poll.options, entry.counts, strict=False)
                )
                poll = replace(message.poll, options=options, voters=voters)
                message = replace(message, poll=poll, changed=entry.seq)
            case Entry(kind="poll.closed") if message.poll is not None:
                message = replace(message, poll=replace(message.poll, closed=True), changed=entry.seq)
            case Entry(kind="message.pinned", on=bool(on)):
                message = replace(message, pinned=on, changed=entry.seq)
            case Entry(kind="message.reacted", emoji=str(emoji)):
                reactions = _with(message.reactions, Reaction(emoji, entry.count or 0, entry.users))
                message = replace(message, reactions=reactions, changed=entry.seq)
            case _:
                return
        known[message.seq] = message

    def _keep(self, message: Entry) -> None:
        known = self._of.setdefault(message.conversation, {})
        old = known.get(message.seq)
        if old is None or message.changed > old.changed:
            known[message.seq] = message
            if len(known) > self._kept:
                del known[min(known)]


def _blank(message: Entry, seq: int) -> Entry:
    """*message* once entry *seq* has taken away what it said; in which thread it was is still known."""
    thread = None if message.content is None else message.content.thread
    return replace(
        message, text=None, content=None if thread is None else Content(thread=thread), edited_at_ms=None,
        reactions=(), expires_at_ms=None, pinned=False, poll=None, replies=None, threads=(), deleted=True, changed=seq,
    )  # fmt: skip


def _with(reactions: Iterable[Reaction], now: Reaction) -> tuple[Reaction, ...]:
    """*reactions* with what *now* is of its emoji."""
    others = [one for one in reactions if one.emoji != now.emoji]
    return tuple(sorted([*others, now] if now.count else others, key=lambda one: one.emoji))
