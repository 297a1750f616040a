"""A peer that runs, with a database of its own where it has one, and the ways to seat people at it."""

from abc import ABC
from typing import ClassVar

from bench.loadgen import Proto, Seat
from bench.peers.peer import Peer


def name(number: int) -> str:
    """What the *number*-th person is called."""
    return f"u{number}"


class Host(ABC):  # which of the methods a peer has depends on what it can do
    """Blocking methods write accounts, rooms and messages, and tell the load generator's sockets for them.

    Each may be called once, on a fresh host. What a peer cannot do raises ``NotImplementedError``: ``kinds.py`` says
    which workloads are for whom.
    """

    proto: ClassVar[Proto]  # the load generator's name for what it speaks

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def people(self, count: int) -> list[Seat]:
        """*count* people who belong to nothing."""
        raise NotImplementedError

    def group(self, members: int) -> list[Seat]:
        """One room of *members*; the first is the author."""
        raise NotImplementedError

    def pairs(self, pairs: int) -> list[Seat]:
        """*pairs* conversations of two; of each the author first, then the reader."""
        raise NotImplementedError

    def returning(self, groups: int, members: int, missed: int, size_bytes: int) -> list[Seat]:
        """*groups* rooms of *members* each, with *missed* messages of *size_bytes* in each that none of them has seen.

        The text of the n-th begins with n in 16 hexadecimal digits, by which the load generator knows it.
        """
        raise NotImplementedError
