"""The frame reader gives what websockets' core alone gives, however the stream is cut, and takes no memory on trust."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import DrawFn, SearchStrategy, binary, composite, integers, just, lists, one_of, sampled_from

from konnect_server import reader as module
from konnect_server.reader import Control, Ended, Reader, Text
from tests.door_kit import BINARY, CLOSE, PING, PONG, TEXT, close, frame
from tests.ws_oracle import by_reader, compare

LIMIT = 300


def read_all(data: bytes, limit: int = LIMIT) -> list[Any]:
    """All that comes out of *data*."""
    reader = Reader(limit)
    reader.feed(data)
    out = []
    while (found := reader.read()) is not None:
        out.append(found)
    return out


# --- The property ---


def _payloads() -> SearchStrategy[bytes]:
    text = sampled_from(["", "konnect", "κόσμε", "\U0001f600 ok", "ä" * 70]).map(str.encode)
    broken = sampled_from([b"\xce", b"ok\xf4\x90\x80\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf0\x9f\x98"])
    return one_of(binary(max_size=20), text, broken, binary(min_size=110, max_size=320))


@composite
def _frames(draw: DrawFn) -> bytes:
    first = draw(
        one_of(
            sampled_from([BINARY, BINARY, BINARY, TEXT, 0x02, 0x01, 0x00, 0x80, PING, PONG]), sampled_from(range(256))
        )
    )
    payload = draw(_payloads())
    if first == CLOSE and draw(integers(0, 3)):
        payload = draw(sampled_from([1000, 1001, 1004, 1005, 1006, 1011, 2999, 3000, 4999, 5000])).to_bytes(2, "big")
        payload += draw(sampled_from([b"", b"bye", b"\xff", b"x" * 123]))
    mask = draw(one_of(binary(min_size=4, max_size=4), just(None))) if draw(integers(0, 9)) == 0 else b"abcd"
    forms = [form for form, size in ((7, 125), (16, 65_535), (64, 1 << 40)) if len(payload) <= size]
    data = frame(first, payload, mask=mask, form=draw(sampled_from(forms)))
    if draw(integers(0, 19)) == 0:
        data = data[: draw(integers(0, len(data)))]
    return data


@given(lists(one_of(_frames(), _frames(), _frames(), binary(max_size=30)), max_size=8), lists(integers(0, 5000)))
def test_the_same_comes_out_as_from_the_core_alone(frames: list[bytes], cuts: list[int]) -> None:
    """Payloads, pongs, close codes and failures, for good streams and bad."""
    compare(b"".join(frames), cuts, LIMIT)


@given(binary(max_size=400), lists(integers(0, 400)))
def test_noise_too_is_understood_as_the_core_does(stream: bytes, cuts: list[int]) -> None:
    compare(stream, cuts, LIMIT)


@given(lists(_frames(), max_size=8))
def test_byte_by_byte_gives_the_same_as_whole(frames: list[bytes]) -> None:
    stream = b"".join(frames)
    assert by_reader([stream], LIMIT) == by_reader([bytes((byte,)) for byte in stream], LIMIT)


# --- The common frame ---


@pytest.mark.parametrize(
    ("form", "size"),
    [(7, size) for size in (0, 1, 3, 4, 125)]
    + [(16, size) for size in (0, 1, 125, 126, 127, 255, 256, 65_535)]
    + [(64, size) for size in (0, 1, 125, 126, 16_384, 65_535, 65_536, 100_000)],
)
def test_every_length_in_every_form(form: int, size: int) -> None:
    """RFC 6455 asks senders for the shortest form; receivers differ, the core accepts all, and so do we."""
    payload = bytes(range(256)) * (size // 256 + 1)
    assert read_all(frame(BINARY, payload[:size], form=form), 1 << 20) == [payload[:size]]


def test_frames_behind_each_other_come_one_by_one() -> None:
    assert read_all(frame(BINARY, b"one") + frame(BINARY, b"") + frame(BINARY, b"three")) == [b"one", b"", b"three"]


def test_without_the_library_s_c_function_it_is_slower_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from websockets.utils import apply_mask

    monkeypatch.setattr(module, "apply_mask", apply_mask)
    payload = bytes(range(256)) * 100
    assert read_all(frame(BINARY, payload) + frame(TEXT, b"text"), 1 << 20) == [payload, Text(b"text")]


# --- The rare frames ---


def test_text_comes_as_text() -> None:
    assert read_all(frame(TEXT, "grüße".encode())) == [Text("grüße".encode())]


def test_fragments_come_as_one_message_with_pings_between() -> None:
    """Section 5.4: control frames may come in the middle of a message."""
    data = frame(0x02, b"a") + frame(PING, b"now") + frame(0x00, b"") + frame(0x00, b"b") + frame(0x80, b"c")
    assert read_all(data + frame(BINARY, b"next")) == [
        Control(b"", idle=False),
        Control(frame(PONG, b"now", mask=None), idle=True),
        Control(b"", idle=True),
        Control(b"", idle=False),
        b"abc",
        b"next",
    ]


def test_a_pong_needs_no_answer() -> None:
    assert read_all(frame(PONG, b"?")) == [Control(b"", idle=True)]


def test_a_close_is_echoed_and_nothing_is_read_after_it() -> None:
    data = close(1000, b"bye") + frame(BINARY, b"late")
    assert read_all(data) == [Ended(close(1000, b"bye", mask=None), 1000, "bye", failed=False)]


def test_a_close_without_a_code_is_1005_and_echoed_empty() -> None:
    assert read_all(frame(CLOSE)) == [Ended(frame(CLOSE, mask=None), 1005, "", failed=False)]


def test_a_close_between_two_fragments_is_a_close() -> None:
    """A control frame like any other (section 5.4), though the core takes it for a mistake."""
    data = frame(0x02, b"a") + close(1000)
    assert read_all(data)[1] == Ended(close(1000, mask=None), 1000, "", failed=False)


def test_after_the_end_nothing_is_kept() -> None:
    reader = Reader(LIMIT)
    reader.feed(frame(CLOSE) + b"x" * 100)
    assert isinstance(reader.read(), Ended)
    for _ in range(3):
        reader.feed(b"y" * 1000)
        assert reader.read() is None
    assert len(reader._buffer) == 0


# --- Failures ---


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"x", mask=None), 1002),
        (frame(0xC2, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x8B, b"x"), 1002),
        (frame(0x09, b"x"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x02, b"x") + frame(BINARY, b"y"), 1002),
        (frame(CLOSE, b"x"), 1002),
        (close(1005), 1002),
        (close(999), 1002),
        (close(1000, b"\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(0x01, b"\xce") + frame(0x80, b"x"), 1007),
        (frame(0x01, b"\xce") + frame(0x80, b""), 1007),
        (frame(BINARY, b"x" * 301), 1009),
        (frame(0x02, b"x" * 200) + frame(0x80, b"x" * 101), 1009),
    ],
)
def test_a_mistake_has_its_code_and_ends_the_reading(data: bytes, code: int) -> None:
    *_, end = read_all(data + frame(BINARY, b"late"))
    assert isinstance(end, Ended)
    assert (end.code, end.failed) == (code, True)
    assert end.answer[:1] == b"\x88"
    assert end.answer[2:4] == code.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
        (b"\x82\xff" + b"\xff" * 8, 1009),
        (b"\x82\xfe\x01\x2d", 1009),
        (b"\x01\xff" + (1 << 62).to_bytes(8, "big"), 1009),
        (b"\x89\xff" + (1 << 40).to_bytes(8, "big"), 1002),
        (b"\x89\xfe\x00\x7e", 1002),
        (b"\x83\x80", 1002),
        (b"\x82\x01", 1002),
    ],
)
def test_a_head_that_is_wrong_is_not_waited_for(head: bytes, code: int) -> None:
    """The length is judged on the head: no memory is taken on a stranger's word."""
    tracemalloc.start()
    try:
        (end,) = read_all(head)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert isinstance(end, Ended)
    assert end.code == code


def test_text_that_is_wrong_already_is_not_waited_for() -> None:
    """Section 8.1, and the standard test suite's cases 6.4: within a fragment, too."""
    stream = frame(TEXT, "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited")
    reader = Reader(LIMIT)
    found = []
    for byte in stream:
        reader.feed(bytes((byte,)))
        found.append(reader.read())
    place = next(index for index, end in enumerate(found) if end is not None)
    assert place == 6 + 10 + 1  # the byte that cannot follow f4
    end = found[place]
    assert isinstance(end, Ended)
    assert end.code == 1007


def test_a_control_frame_is_not_counted_against_the_message_around_it() -> None:
    """A message of exactly the limit may have a ping before its last fragment."""
    data = frame(0x02, b"x" * LIMIT) + frame(PING, b"y" * 125) + frame(0x80, b"")
    assert read_all(data)[-1] == b"x" * LIMIT


# --- Costs ---


def test_sixteen_mebibytes_in_pieces_of_64_bytes() -> None:
    """Would take hours if incomplete frames were copied with each piece."""
    payload = b"0123456789abcdef" * (1 << 20)
    stream = frame(BINARY, payload) + frame(TEXT, payload)
    reader = Reader(1 << 24)
    found = []
    for place in range(0, len(stream), 64):
        reader.feed(stream[place : place + 64])
        while (message := reader.read()) is not None:
            found.append(message)
    assert found == [payload, Text(payload)]


def test_an_idle_reader_keeps_nothing() -> None:
    """Whatever came before: no buffer and no core."""
    reader = Reader(1 << 20)
    for data in (b"x" * 70_000, b"short"):
        for first in (BINARY, TEXT, PING):
            if first != PING or len(data) < 126:
                reader.feed(frame(first, data))
                while reader.read() is not None:
                    pass
                assert reader._buffer == b""
                assert reader._rare is None
