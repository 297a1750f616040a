"""Cursors of pages: each names the place it was made of, and what no server of ours wrote is refused by name."""

import base64
from typing import Any
from uuid import UUID

import msgspec
import pytest

from protocol.errors import BadCursor
from protocol.limits import SEQ_MAX
from storage.page_cursor import (
    LISTING,
    MEMBERS,
    REACTIONS,
    READERS,
    REQUESTS,
    ROOMS,
    SCHEDULED,
    THREADS,
    PageCursor,
)

ID = UUID(int=2**127 + 5)
PLACES: list[tuple[PageCursor[Any], tuple[object, ...]]] = [
    (LISTING, (SEQ_MAX, ID)),
    (MEMBERS, (7, 2**31 - 1)),
    (REACTIONS, ("\N{THUMBS UP SIGN}\n", SEQ_MAX)),
    (READERS, (ID,)),
    (REQUESTS, (1, ID)),
    (ROOMS, (3, 9, ID)),
    (SCHEDULED, (0, ID)),
    (THREADS, (1,)),
]


def packed(*place: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode()


@pytest.mark.parametrize(("pages", "place"), PLACES)
def test_a_cursor_names_the_place_that_it_was_made_of(pages: PageCursor[Any], place: tuple[object, ...]) -> None:
    assert pages.place_of(pages.text_of(place)) == place


@pytest.mark.parametrize(("pages", "place"), PLACES)
def test_what_is_no_cursor_is_refused(pages: PageCursor[Any], place: tuple[object, ...]) -> None:
    whole = pages.text_of(place)
    cut = [whole[4:], whole[:-4], whole + whole, packed(), packed(*place, 1)]
    for text in ["", "x", "é", "=", "AAAA", "x" * 512, *cut]:
        with pytest.raises(BadCursor):
            pages.place_of(text)


@pytest.mark.parametrize(
    ("pages", "place"),
    [
        (LISTING, (SEQ_MAX + 1, ID)),
        (LISTING, (2**63, ID)),
        (LISTING, (1, "no id")),
        (MEMBERS, (-1, 0)),
        (MEMBERS, (1, 2**31)),
        (REACTIONS, ("a\0", 1)),
        (REACTIONS, ("a\n\0", 1)),
        (REACTIONS, ("a", 2**63)),
        (READERS, (7,)),
        (SCHEDULED, (-1, ID)),
        (THREADS, (SEQ_MAX + 1,)),
        (THREADS, (True,)),
    ],
)
def test_what_the_database_cannot_take_is_refused(pages: PageCursor[Any], place: tuple[object, ...]) -> None:
    with pytest.raises(BadCursor):
        pages.place_of(packed(*place))


def test_the_first_page_begins_before_the_first_row() -> None:
    assert LISTING.place_of(None) > (SEQ_MAX - 1, ID)
    assert ROOMS.place_of(None) > (10, SEQ_MAX, ID)
    assert THREADS.place_of(None) > (SEQ_MAX - 1,)
    assert MEMBERS.place_of(None) < (1, 0)
    assert REACTIONS.place_of(None) < ("a", 1)
    assert READERS.place_of(None) < (ID,)
    assert REQUESTS.place_of(None) < (0, ID)
    assert SCHEDULED.place_of(None) < (0, ID)
