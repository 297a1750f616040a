"""Threads, as the server tells of them: messages that belong to another one, their root.

A message says in its content in which thread it is, and is sent so: ``client.send(place, text,
content=Content(thread=root))``.
"""

from dataclasses import dataclass

from konnect_client.parts import (
    Frame,
    take,
    take_each,
    take_ids,
    take_maybe,
    take_or,
    take_part,
    take_seq,
)


@dataclass(frozen=True, slots=True)
class Replies:
    """What a thread has, of messages that are not deleted."""

    count: int
    last_seq: int
    last_at_ms: int
    users: tuple[str, ...]  # the first few who wrote there

    @classmethod
    def parse(cls, frame: Frame) -> "Replies":
        return cls(
            take(frame, "count", int), take_seq(frame, "last_seq"), take(frame, "last_at_ms", int),
            take_ids(frame, "users"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ThreadNow:
    """What root *seq* shows after an entry."""

    seq: int
    replies: Replies | None = None  # None: nothing is left

    @classmethod
    def parse(cls, frame: Frame) -> "ThreadNow":
        return cls(take_seq(frame, "seq"), take_part(frame, "replies", Replies.parse))


@dataclass(frozen=True, slots=True)
class OwnThread:
    """What one makes of a thread."""

    following: bool | None = None  # None: one did not say
    read: int = 0  # one's read cursor in it

    @classmethod
    def parse(cls, frame: Frame) -> "OwnThread":
        return cls(take_maybe(frame, "following", bool), take_or(frame, "read", int, 0))


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as one sees it."""

    seq: int  # of its root
    replies: Replies
    following: bool
    read: int  # one's cursor in it
    unread: int  # messages of others above it

    @classmethod
    def parse(cls, frame: Frame) -> "Thread":
        return cls(
            take_seq(frame, "seq"), Replies.parse(take(frame, "replies", dict)), take(frame, "following", bool),
            take_seq(frame, "read"), take_seq(frame, "unread"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some of a conversation's threads, last active first."""

    threads: tuple[Thread, ...]
    cursor: str | None = None  # asks for the next page; None on the last

    @classmethod
    def parse(cls, frame: Frame) -> "ThreadPage":
        return cls(take_each(frame, "threads", Thread.parse), take_maybe(frame, "cursor", str))
