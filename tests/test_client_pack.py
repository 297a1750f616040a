"""Frames and bytes, and the values in frames."""

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, strategies as st

from konnect_client import ProtocolViolation, TooLarge
from konnect_client.model import Conversation, ConversationPage, Entry, HistoryPage, Receipt, Sent
from konnect_client.pack import FRAME_BYTES, pack, unpack
from tests.client_peer import ANN, BOB, ROOM

ENTRY: dict[str, Any] = {
    "conversation": ROOM, "seq": 4, "kind": "message", "author": ANN, "key": "k", "at_ms": 17, "text": "hi",
}  # fmt: skip
CONVERSATION: dict[str, Any] = {
    "conversation": ROOM, "kind": "group", "title": "Tea", "members": [ANN, BOB], "head": 4, "first_seq": 1,
    "unread": 2, "read": 1, "delivered": 3, "names": {ANN: "Ann"}, "history": "from_join", "owner": ANN,
    "receipts": [{"user": BOB, "delivered": 4, "read": 2}], "recent": [ENTRY],
}  # fmt: skip


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none())))
def test_a_frame_survives_the_wire(frame: dict[str, object]) -> None:
    assert unpack(pack(frame)) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_a_violation(payload: bytes) -> None:
    """Whatever a server sends, the client goes on."""
    try:
        frame = unpack(payload)
    except ProtocolViolation:
        return
    assert all(isinstance(name, str) for name in frame)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", msgpack.packb([1]), msgpack.packb({1: 2}), msgpack.packb({b"t": 1}), msgpack.packb({"t": 1}) + b"\0",
     b"\x81\xa1\xff\x01", b"\x81" * 2000, msgpack.packb("t")],
)  # fmt: skip
def test_what_is_no_map_is_a_violation(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        unpack(payload)


def test_a_frame_longer_than_the_server_reads_is_refused_here() -> None:
    assert len(pack({"t": "x" * (FRAME_BYTES - 6)})) == FRAME_BYTES
    with pytest.raises(TooLarge, match="65536"):
        pack({"t": "x" * (FRAME_BYTES - 5)})


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        pack({"text": "\ud800"})


def test_an_entry_is_read_whole() -> None:
    assert Entry.parse(ENTRY | {"new": 1}) == Entry(ROOM, 4, "message", ANN, "k", 17, "hi")
    created = Entry.parse({**ENTRY, "kind": "created", "text": None, "title": "Tea", "members": [ANN]})
    assert (created.text, created.title, created.members) == (None, "Tea", (ANN,))
    assert Entry.parse({**ENTRY, "kind": "member.added", "user": BOB}).user == BOB


def test_a_conversation_is_read_whole() -> None:
    assert Conversation.parse(CONVERSATION) == Conversation(
        id=ROOM, kind="group", title="Tea", members=(ANN, BOB), head=4, first_seq=1, unread=2, read_seq=1,
        delivered_seq=3, names={ANN: "Ann"}, receipts=(Receipt(BOB, 4, 2),), recent=(Entry.parse(ENTRY),),
        history="from_join", owner=ANN,
    )  # fmt: skip


def test_what_a_conversation_may_leave_out_has_a_default() -> None:
    left_out = ("names", "history", "owner", "receipts", "recent")
    bare = Conversation.parse({k: v for k, v in CONVERSATION.items() if k not in left_out} | {"title": None})
    assert (bare.names, bare.receipts, bare.recent) == ({}, (), ())
    assert (bare.history, bare.owner, bare.title) == ("all", None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "4"), ("seq", True), ("seq", -1), ("seq", 1.0), ("text", 4), ("author", None), ("members", [1]),
     ("members", "ab"), ("conversation", b"x")],
)  # fmt: skip
def test_a_mistyped_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ProtocolViolation, match=field):
        Entry.parse({**ENTRY, field: value})


@pytest.mark.parametrize("field", ["conversation", "seq", "kind", "author", "at_ms"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"{field}.*missing"):
        Entry.parse({name: value for name, value in ENTRY.items() if name != field})


@pytest.mark.parametrize(("field", "value"), [("names", {ANN: 1}), ("receipts", [1]), ("recent", {}), ("head", None)])
def test_a_mistyped_part_of_a_conversation_is_named(field: str, value: object) -> None:
    with pytest.raises(ProtocolViolation, match=field):
        Conversation.parse({**CONVERSATION, field: value})


def test_answers_are_read() -> None:
    assert Sent.parse({"seq": 3, "at_ms": 5}) == Sent(3, 5)
    assert HistoryPage.parse({"entries": [ENTRY], "more": True}).more
    assert ConversationPage.parse({"conversations": [CONVERSATION]}).cursor is None
    assert ConversationPage.parse({"conversations": [], "cursor": "c"}).cursor == "c"
