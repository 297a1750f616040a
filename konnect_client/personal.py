"""What is one's own, as the server's ``state`` events say: drafts, settings of conversations, hidden messages,
threads, messages that wait for their time, one's profile.

Each row is absolute, so the newest event of a row is all that counts, and one that comes twice does no harm. The rows
are kept with the cursor (:class:`~konnect_client.heads.Heads`, the state file): what the cursor says was told does not
come again. To add a kind: a class with ``parse``, and a method of :class:`Personal`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from konnect_client.contacts import OneContact, WaitingRequest
from konnect_client.errors import ProtocolViolation
from konnect_client.heads import Heads
from konnect_client.model import AccountStanding, Frame, ScheduledMessage, take, take_maybe, take_or
from konnect_client.notifications import Notification, Notifying
from konnect_client.openers import Match, Opener
from konnect_client.profiles import OwnProfile
from konnect_client.threads import OwnThread

HIDDEN_BLOCK: Final = 1_000  # a row of hidden messages speaks of so many numbers of a log


@dataclass(frozen=True, slots=True)
class Draft:
    """What one has begun to write in a conversation."""

    text: str
    at_ms: int  # when it was last set
    reply_to: int | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Draft":
        return cls(take(frame, "text", str), take(frame, "at_ms", int), take_maybe(frame, "reply_to", int))


@dataclass(frozen=True, slots=True)
class Settings:
    """What one has set for a conversation."""

    muted: bool = False
    muted_until_ms: int | None = None  # None: for ever, if it is muted
    archived: bool = False
    pinned_at_ms: int | None = None
    unread: bool = False  # marked by hand
    nickname: str | None = None  # what one calls the conversation
    nicknames: Mapping[str, str] = field(default_factory=dict)  # person -> what one calls that person there
    folder: str | None = None
    notify: str = "all"  # or "mentions", "none"

    @classmethod
    def parse(cls, frame: Frame) -> "Settings":
        names = take_or(frame, "nicknames", dict, {})
        if not all(isinstance(one, str) for pair in names.items() for one in pair):
            raise ProtocolViolation("field 'nicknames' of settings holds something that is no text")
        return cls(
            muted=take_or(frame, "muted", bool, False),
            muted_until_ms=take_maybe(frame, "muted_until_ms", int),
            archived=take_or(frame, "archived", bool, False),
            pinned_at_ms=take_maybe(frame, "pinned_at_ms", int),
            unread=take_or(frame, "unread", bool, False),
            nickname=take_maybe(frame, "nickname", str),
            nicknames=names,
            folder=take_maybe(frame, "folder", str),
            notify=take_or(frame, "notify", str, "all"),
        )


def take_value(frame: Frame, what: str) -> Mapping[str, Any] | None:
    """The value of a ``state`` frame of kind *what*, if it is one that can be read; None: the row is gone.

    Raises:
        ProtocolViolation
    """
    value = take_maybe(frame, what, dict)
    if value is not None and (check := _CHECKS.get(what)) is not None:
        check(value)
    return value


class Personal:
    """What is one's own, as far as the application was shown it; over restarts too. Plain memory."""

    def __init__(self, heads: Heads) -> None:
        """*heads*: where the rows are kept."""
        self._heads = heads

    def rows(self, what: str) -> Mapping[str, Mapping[str, Any]]:
        """All rows of one kind, subject -> value as it came; also of kinds that this client does not know."""
        return self._heads.rows.get(what, {})

    def draft(self, conversation: str) -> Draft | None:
        """What one has begun to write there."""
        value = self.rows("draft").get(conversation)
        return None if value is None else Draft.parse(value)

    def settings(self, conversation: str) -> Settings:
        """What one has set for it."""
        return Settings.parse(self.rows("settings").get(conversation, {}))

    def thread(self, conversation: str, seq: int) -> OwnThread:
        """What one makes of the thread whose root is *seq*."""
        return OwnThread.parse(self.rows("thread").get(f"{conversation}/{seq}", {}))

    def notifications(self) -> list[Notification]:
        """What one was told in the app, newest first."""
        rows = self.rows("notification")
        return [Notification.parse({**rows[one], "id": one}) for one in sorted(rows, reverse=True)]

    def contacts(self) -> list[OneContact]:
        """One's contacts, newest first; who of them is online the server says."""
        rows = [OneContact.parse({**row, "user": one}) for one, row in self.rows("contact").items()]
        return sorted(rows, key=lambda one: (-one.at_ms, one.user))

    def contact_requests(self) -> list[WaitingRequest]:
        """Who asks to be one's contact, newest first."""
        rows = [WaitingRequest.parse({**row, "user": one}) for one, row in self.rows("contact_request").items()]
        return sorted(rows, key=lambda one: (-one.at_ms, one.user))

    def scheduled(self, conversation: str | None = None) -> list[ScheduledMessage]:
        """One's own messages that wait for their time, or could not be sent, the nearest first; of one conversation, or
        of all."""
        rows = [ScheduledMessage.parse({**row, "scheduled": one}) for one, row in self.rows("scheduled").items()]
        wanted = [one for one in rows if conversation in (None, one.conversation)]
        return sorted(wanted, key=lambda one: (one.at_ms, one.id))

    def openers(self) -> list[Opener]:
        """First messages that wait for one, in no order that tells anything."""
        rows = self.rows("opener")
        return [Opener.parse({**rows[one], "opener": one}) for one in sorted(rows)]

    def matches(self) -> list[Match]:
        """One's matches that stand, newest first."""
        rows = self.rows("match")
        return [Match.parse({**rows[one], "match": one}) for one in sorted(rows, reverse=True)]
    def blocked(self) -> dict[str, int]:
        """Whom one has blocked -> since when, Unix milliseconds."""
        return {user: take(row, "at_ms", int) for user, row in self.rows("block").items()}

    @property
    def notifying(self) -> Notifying:
        """When and how one is told by push."""
        return Notifying.parse(self.rows("notifying").get("", {}))

    @property
    def profile(self) -> OwnProfile | None:
        """One's own profile; None before one has said anything of oneself."""
        value = self.rows("profile").get("")
        return None if value is None else OwnProfile.parse(value)
    def account(self) -> AccountStanding:
        """How one's account stands."""
        return AccountStanding.parse(self.rows("account").get("", {"standing": "active", "at_ms": 0}))

    def is_hidden(self, conversation: str, seq: int) -> bool:
        """Whether one has deleted that message for oneself."""
        row = self.rows("hidden").get(f"{conversation}/{seq // HIDDEN_BLOCK}")
        return row is not None and seq in row["seqs"]

    def hidden(self, conversation: str) -> Iterator[int]:
        """The messages there that one has deleted for oneself, in no order."""
        for subject, row in self.rows("hidden").items():
            if subject.partition("/")[0] == conversation:
                yield from row["seqs"]


def _check_seqs(value: Frame) -> None:
    if not all(type(seq) is int for seq in take(value, "seqs", list)):
        raise ProtocolViolation("field 'seqs' of hidden messages holds something that is no number")


def _check_notification(value: Frame) -> None:
    Notification.parse({**value, "id": ""})


def _check_scheduled(value: Frame) -> None:
    ScheduledMessage.parse({**value, "scheduled": ""})


def _check_opener(value: Frame) -> None:
    Opener.parse({**value, "opener": ""})


def _check_match(value: Frame) -> None:
    Match.parse({**value, "match": ""})
def _check_block(value: Frame) -> None:
    take(value, "at_ms", int)


def _check_contact(value: Frame) -> None:
    OneContact.parse({**value, "user": ""})


def _check_contact_request(value: Frame) -> None:
    WaitingRequest.parse({**value, "user": ""})


_CHECKS: Final = {
    "draft": Draft.parse, "settings": Settings.parse, "hidden": _check_seqs,
    "notification": _check_notification, "notifying": Notifying.parse, "thread": OwnThread.parse,
    "scheduled": _check_scheduled,
    # profiles
    "profile": OwnProfile.parse,
    "opener": _check_opener, "match": _check_match,
    "block": _check_block,
    "contact": _check_contact, "contact_request": _check_contact_request,
    "account": AccountStanding.parse,  # leaving
}  # fmt: skip
