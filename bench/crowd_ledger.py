"""What was sent, acknowledged and seen in the crowd, and every way in which that breaks the server's promise.

Each phone keeps nothing but its heads: entries that come one by one, each at head + 1, are a transcript without gap,
repeat or disorder. That all phones see the *same* entries is checked against the first one that saw each number. So at
the end a phone whose head is the conversation's last number has every acknowledged message.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from bench.histogram import Histogram

EXAMPLES: Final = 10


@dataclass(slots=True)
class Message:
    """One message that was to be said."""

    key: str
    author: str  # a user's id
    conversation: str
    text: str
    due: float  # by the monotonic clock, in seconds
    undisturbed: bool = True  # False: its author's connection broke before it was acknowledged, its age says nothing
    acknowledged: int | None = None  # its seq


class Ledger:
    """All messages, each conversation's log as the phones saw it, and what was wrong."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.logs: dict[str, dict[int, str]] = {}  # conversation -> seq -> key
        self.tops: dict[str, int] = {}  # conversation -> the highest seq that anybody saw
        self.wrongs: Counter[str] = Counter()
        self.examples: list[str] = []
        self.ack, self.delivery = Histogram(), Histogram()
        self.acknowledged = self.live = self.caught_up = 0

    @property
    def violations(self) -> int:
        """How often the promise was broken."""
        return self.wrongs.total()

    def blame(self, what: str, words: str, count: int = 1) -> None:
        """Count *count* violations of the kind *what*; a few are kept with their *words*."""
        self.wrongs[what] += count
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {words}")

    def said(self, message: Message) -> None:
        """Take *message* in when it is sent for the first time."""
        self.messages[message.key] = message

    def answered(self, message: Message, seq: int) -> bool:
        """Note the acknowledgement of *message*; True when it is the first."""
        if message.acknowledged is not None:
            if message.acknowledged != seq:
                self.blame("altered", f"{message.key} was acknowledged at {message.acknowledged} and at {seq}")
            return False
        message.acknowledged = seq
        self.acknowledged += 1
        return True

    def seen(self, user: str, conversation: str, head: int | None, seq: int, key: str) -> int:
        """Judge the entry *seq* that came to *user*, who stood at *head* (None: not of this conversation).

        Returns:
            The new head.
        """
        if head is None:
            self.blame("foreign", f"{user} got entry {seq} of {conversation}, which it does not know")
            return seq
        if seq != head + 1:
            if seq <= head:
                self.blame("doubled", f"{user} got entry {seq} of {conversation} after {head}")
                return head
            self.blame("lost", f"{user} got entry {seq} of {conversation} after {head}", seq - head - 1)
        log = self.logs.setdefault(conversation, {})
        first = log.get(seq)
        if first is None:
            log[seq] = key
            self.tops[conversation] = max(seq, self.tops.get(conversation, 0))
            self._first_seen(conversation, seq, key)
        elif first != key:
            self.blame("altered", f"{user} got {key} as entry {seq} of {conversation}, others {first}")
        return seq

    def _first_seen(self, conversation: str, seq: int, key: str) -> None:
        message = self.messages.get(key)
        if message is None:
            self.blame("foreign", f"entry {seq} of {conversation} has the key {key}, which nobody sent")
        elif message.conversation != conversation:
            self.blame("foreign", f"{key} is in {conversation} and was sent to {message.conversation}")

    def judge(self, heads: dict[str, dict[str, int]]) -> None:
        """The verdict at the end, from each user's *heads*: user -> conversation -> seq."""
        for user, own in heads.items():
            for conversation, head in own.items():
                missing = self.tops.get(conversation, 0) - head
                if missing > 0:
                    self.blame("lost", f"{user} never got the last {missing} of {conversation}", missing)
        for conversation, log in self.logs.items():
            for key, count in Counter(log.values()).items():
                if count > 1:
                    self.blame("doubled", f"{key} stands {count} times in {conversation}", count - 1)
        for message in self.messages.values():
            if message.acknowledged is None:
                self.blame("lost", f"{message.key} was never acknowledged")
            elif self.logs.get(message.conversation, {}).get(message.acknowledged) != message.key:
                self.blame("lost", f"{message.key} is acknowledged as entry {message.acknowledged} and not there")
