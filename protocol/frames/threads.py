"""Threads: messages that belong to another one, their root, and stand in the same log.

A message is sent into a thread by ``message.send`` with ``content.thread``. What is here reads threads, and says what
one makes of them.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import Conversation, Cursor, Key, MessageSeq, Seq
from protocol.frames.replies import Replies

_Root = Annotated[
    int, Meta(ge=1, le=limits.SEQ_MAX, description="The thread's root: a message that is in no thread itself.")
]


class ThreadList(Command, frozen=True, tag="thread.list"):
    """The threads of a conversation that one is in, those whose root one may see, last active first, page by page.
    Answered with :class:`Threads`."""

    conversation: Conversation
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before; null for the first. Not the cursor of `hello`.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.THREADS_PAGE, description="At most so many threads on the page.")] = 50


class ThreadHistory(Command, frozen=True, tag="thread.history"):
    """A page of a thread's messages that one may see, oldest first, ending before *before* (or at the end). The root is
    not among them. Answered with :class:`HistoryPage`."""

    conversation: Conversation
    seq: _Root
    before: Annotated[
        Annotated[int, Meta(ge=1, le=limits.SEQ_MAX)] | None,
        Meta(description="Only messages with a smaller seq; null for the newest."),
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=limits.HISTORY_ENTRIES, description="At most so many messages on the page.")
    ] = 50


class ThreadFollow(Command, frozen=True, tag="thread.follow"):
    """Follow a thread, or let it go, whether or not one wrote in it. Who says neither follows the threads that one has
    written in, and those of one's own messages. Answered with :class:`Done`."""

    conversation: Conversation
    key: Key
    seq: _Root
    on: Annotated[bool, Meta(description="True to follow it, false to let it go.")] = True


class ThreadRead(Command, frozen=True, tag="thread.read"):
    """Raise one's read cursor in a thread. It never falls, and is clamped to the log's end. Answered with
    :class:`Done`."""

    conversation: Conversation
    key: Key
    seq: _Root
    read: Annotated[MessageSeq, Meta(description="All of the thread up to here has been read.")]


class OwnThread(Struct, frozen=True, omit_defaults=True):
    """What one makes of a thread."""

    following: (
        Annotated[
            bool,
            Meta(
                description="Whether one said to follow it; absent: one did not say, and follows it if it is one's own "
                "message's or one has written in it."
            ),
        ]
        | UnsetType
    ) = UNSET
    read: Annotated[Seq, Meta(description="One's read cursor in it.")] = 0


class OneThread(Struct, frozen=True):
    """A thread as one of the conversation's members sees it."""

    seq: Annotated[Seq, Meta(description="Its root. It may be deleted since.")]
    replies: Annotated[Replies, Meta(description="What is in it.")]
    following: Annotated[bool, Meta(description="Whether one follows it.")]
    read: Annotated[Seq, Meta(description="One's read cursor in it; 0 when one has read nothing.")]
    unread: Annotated[
        int,
        Meta(
            description="Messages of others in it above that cursor that one may see, without those that are deleted "
            f"or that one has hidden; {limits.UNREAD:,} for as many or more."
        ),
    ]


class Threads(Struct, frozen=True, omit_defaults=True):
    """A page of a conversation's threads. One without messages is not among them."""

    threads: Annotated[list[OneThread], Meta(description="Last active first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
