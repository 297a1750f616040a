"""Polls: messages that ask, and what people choose."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Conversation, Key, MessageSeq, Seq

Options = Annotated[
    list[Annotated[int, Meta(ge=0, le=limits.POLL_OPTIONS - 1)]],
    Meta(max_length=limits.POLL_OPTIONS, description="Which options, by their place from 0."),
]


class PollOption(Struct, frozen=True):
    """Something to choose."""

    text: Annotated[str, Meta(description="What it says.")]
    count: Annotated[int, Meta(description="How many have chosen it.")]


class Poll(Struct, frozen=True, omit_defaults=True):
    """What a message asks, and how people have chosen so far."""

    question: Annotated[str, Meta(description="What is asked.")]
    options: Annotated[list[PollOption], Meta(description="What may be chosen, 2 to 12.")]
    voters: Annotated[int, Meta(description="How many people have chosen something.")]
    multiple: Annotated[bool, Meta(description="One may choose several.")] = False
    anonymous: Annotated[bool, Meta(description="Nobody is told who chose what.")] = False
    closed: Annotated[bool, Meta(description="Nobody may choose any more.")] = False


class PollCreate(Command, frozen=True, tag="poll.create"):
    """Ask something: a message that is a poll. Answered with :class:`Appended`."""

    conversation: Conversation
    key: Key
    question: Annotated[
        str, Meta(min_length=1, max_length=limits.QUESTION_CHARS, pattern=NO_NUL, description="What is asked.")
    ]
    options: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=limits.OPTION_CHARS, pattern=NO_NUL)]],
        Meta(min_length=2, max_length=limits.POLL_OPTIONS, description="What may be chosen, each another text."),
    ]
    multiple: Annotated[bool, Meta(description="Whether one may choose several.")] = False
    anonymous: Annotated[bool, Meta(description="Whether nobody is told who chose what.")] = False

    def __post_init__(self) -> None:
        if len(set(self.options)) < len(self.options):
            raise ValueError("`options` holds a text twice")


class PollVote(Command, frozen=True, tag="poll.vote"):
    """Choose; it replaces what one chose before, and nothing takes it back. Answered with :class:`Appended`: where the
    entry `poll.voted` stands. When it is so already nothing is stored, and the answer names the newest entry that
    changed the message (the message itself, if none did)."""

    conversation: Conversation
    key: Key
    seq: MessageSeq
    options: Options


class PollClose(Command, frozen=True, tag="poll.close"):
    """End a poll; who asked may, and the owner of the group. Closing what is closed changes nothing. Answered with
    :class:`Appended`: where the entry `poll.closed` stands."""

    conversation: Conversation
    key: Key
    seq: MessageSeq


class PollVoters(Command, frozen=True, tag="poll.voters"):
    """Who chose what, in the order of choosing, page by page; and what one chose oneself. Of an anonymous poll only the
    latter is told. Answered with :class:`Votes`."""

    conversation: Conversation
    seq: MessageSeq
    after: Annotated[Seq, Meta(description="Only votes with a higher seq: the last one's on the page before.")] = 0
    limit: Annotated[int, Meta(ge=1, le=limits.VOTES_PAGE, description="At most so many votes on the page.")] = 50


class OneVote(Struct, frozen=True):
    """What one person chose."""

    user: Annotated[UUID, Meta(description="Who.")]
    options: Options
    seq: Annotated[Seq, Meta(description="The entry `poll.voted` that says so.")]
    at_ms: AtMs


class Votes(Struct, frozen=True):
    """A page of the votes of a poll."""

    votes: Annotated[list[OneVote], Meta(description="In the order of choosing; none of an anonymous poll.")]
    mine: Options
    more: Annotated[bool, Meta(description="There are more: ask again, `after` the last of these.")]
