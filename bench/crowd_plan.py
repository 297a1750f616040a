"""Who is in which group and what they say: the world of W6, drawn from a seed.

*Sizes* follow Zipf's law: the k-th group has 1/k of the largest one's members, and at least three; the largest holds a
quarter of all users. With 2,000 users and 200 groups these are 500, 250, 167, 125, 100, 83 ... 3, all in all some 2,940
memberships; the members of each are drawn from all users, so that some are in five groups and about a fifth in none,
who are only there, as many are.

*Who speaks*: each message comes from a membership drawn from all of them, so that a group is as busy as it is large.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from bench.chatlog import Said, read_chatlog

LARGEST_SHARE: Final = 4  # the largest group holds one in so many of the users
SMALLEST: Final = 3
TEXT_CHARS: Final = 8192  # the protocol's bound


def group_sizes(users: int, groups: int) -> list[int]:
    """The sizes of *groups* groups, the largest first; no group is larger than *users*."""
    largest = max(users // LARGEST_SHARE, SMALLEST)
    return [min(users, max(SMALLEST, round(largest / place))) for place in range(1, groups + 1)]


def draw_groups(random: Random, users: int, groups: int) -> list[list[int]]:
    """The members of each group, as places among the users; the first of each owns it."""
    return [random.sample(range(users), size) for size in group_sizes(users, groups)]


def read_texts(paths: Sequence[Path]) -> list[str]:
    """All that was said in the chat logs at *paths*, in that order, nothing empty.

    Raises:
        OSError: A log cannot be read.
        ValueError: Nobody says anything in any of them.
    """
    texts = [line.text[:TEXT_CHARS] for path in paths for line in read_chatlog(path) if isinstance(line, Said)]
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError("nobody says anything in these chat logs")
    return texts
