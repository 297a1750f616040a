"""The opaque cursor: what was written is read again, anything else is a clear error."""

import base64
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, strategies as st

from konnect_server import cursor as cursors
from konnect_server.cursor import Cursor
from protocol import limits
from protocol.errors import BadCursor
from tests.fakes import uid

WHOLE = st.integers(0, 2**63 - 1)


@given(lineage=st.uuids(), number=WHOLE, receipts_ms=WHOLE)
def test_a_cursor_survives_the_way_to_the_client_and_back(lineage: UUID, number: int, receipts_ms: int) -> None:
    cursor = Cursor(lineage, number, receipts_ms)
    text = cursors.encode(cursor)
    assert cursors.decode(text) == cursor
    assert len(text) <= limits.CURSOR_CHARS
    assert text.isascii()
    assert not set(text) & set("+/= "), "may stand in an address, too"


@given(text=st.text(max_size=100) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_a_bad_cursor(text: str) -> None:
    with pytest.raises(BadCursor):
        cursors.decode(text)


@given(cut=st.integers(0, 40))
def test_a_cursor_cut_short_is_a_bad_one(cut: int) -> None:
    text = cursors.encode(Cursor(uid(1), 1, 1_767_225_600_000))
    with pytest.raises(BadCursor):
        cursors.decode(text[: min(cut, len(text) - 1)])


@pytest.mark.parametrize(("number", "receipts_ms"), [(-1, 0), (0, -1), (2**63, 0), (0, 2**63), (2**64 - 1, 0)])
def test_a_forged_cursor_cannot_ask_the_database_what_it_cannot_answer(number: int, receipts_ms: int) -> None:
    """A number beyond the database's own reached it, as a type that no function takes: the session crashed."""
    forged = msgspec.msgpack.encode([uid(1).bytes, number, receipts_ms, 1])
    with pytest.raises(BadCursor):
        cursors.decode(base64.urlsafe_b64encode(forged).decode())


def test_a_cursor_of_another_form_says_so() -> None:
    newer = msgspec.msgpack.encode([uid(1).bytes, 1, 1, 2, "more"])
    with pytest.raises(BadCursor, match="another version"):
        cursors.decode(base64.urlsafe_b64encode(newer).decode())
