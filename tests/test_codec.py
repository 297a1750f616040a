"""The codec survives any bytes, and what it writes is read by another implementation of MessagePack."""

import math
import struct
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import msgspec
import pytest
from hypothesis import example, given, strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from protocol import codec, errors, frames, limits
from protocol.errors import KonnectError
from tests.frame_strategies import COMMANDS, ENCODABLE, EVENTS, TEXT, command_map, plain, struct_of

FRAMES = st.one_of(
    [struct_of(event) for event in EVENTS]
    + [st.builds(frames.Ok, st.integers(0, 2**53 - 1), struct_of(result)) for result in set(frames.RESULTS.values())]
    + [struct_of(frames.Error)]
)
MAPS = st.one_of([command_map(command) for command in COMMANDS])
CANONICAL = "01a1ee56-5e00-7000-8000-0000000000d1"


def outcome(payload: bytes) -> frames.AnyCommand | KonnectError:
    """What comes of *payload*; anything but a command or a KonnectError fails the test by itself."""
    try:
        return codec.decode(payload)
    except KonnectError as problem:
        return problem


def texts(value: Any) -> list[str]:
    """Every text inside *value*, a command as plain data."""
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in texts(item)]
        case dict():
            return [text for pair in value.items() for item in pair for text in texts(item)]
        case _:
            return []


def read(wire: bytes) -> Any:
    """The one binary frame in *wire*, unpacked by another MessagePack than ours."""
    return msgpack.unpackb(unframed(wire), strict_map_key=False, timestamp=0)


def unframed(wire: bytes) -> bytes:
    """The payload of an unmasked, final, binary WebSocket frame that is all of *wire* (RFC 6455, section 5.2)."""
    assert wire[0] == 0x82
    short = wire[1]
    if short < 126:
        size, head = short, 2
    elif short == 126:
        size, head = struct.unpack("!H", wire[2:4])[0], 4
        assert size >= 126, "the shortest form is required"
    else:
        size, head = struct.unpack("!Q", wire[2:10])[0], 10
        assert short == 127
        assert size >= 65_536, "the shortest form is required"
    assert len(wire) == head + size
    return wire[head:]


# --- In: any bytes ----------------------------------------------------------------------------------------------------


@given(payload=st.binary(max_size=200))
@example(payload=b"")
@example(payload=b"\xc0")
@example(payload=b"\xc1")
def test_any_bytes_are_a_command_or_an_error(payload: bytes) -> None:
    """Never another exception, and never one from looking for the id."""
    outcome(payload)
    found = codec.claimed_id(payload)
    assert found is None or 0 <= found < 2**53


@given(data=st.data(), sound=MAPS)
def test_a_damaged_frame_is_a_command_or_an_error(data: st.DataObject, sound: dict[str, Any]) -> None:
    """Bytes flipped, cut out and put in, where the decoder has gone far already."""
    payload = bytearray(msgspec.msgpack.encode(sound))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload)))
        match data.draw(st.sampled_from(["flip", "cut", "put"])):
            case "flip" if at < len(payload):
                payload[at] = data.draw(st.integers(0, 255))
            case "cut":
                del payload[at : at + data.draw(st.integers(1, 4))]
            case _:
                payload[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    outcome(bytes(payload))
    codec.claimed_id(bytes(payload))


@given(
    tag=st.sampled_from([str(command.__struct_config__.tag) for command in COMMANDS]) | TEXT | ENCODABLE,
    fields=st.dictionaries(
        st.sampled_from(sorted({field for command in COMMANDS for field in command.__struct_fields__})), ENCODABLE
    ),
)
def test_any_values_in_known_fields_are_a_command_or_an_error(tag: Any, fields: dict[str, Any]) -> None:
    """Ours are the fields, anybody's are the values."""
    payload = msgspec.msgpack.encode({"t": tag, **fields})
    found = outcome(payload)
    number = fields.get("id")
    sound = type(number) is int and 0 <= number < 2**53
    assert codec.claimed_id(payload) == (number if sound else None)
    if isinstance(found, frames.Command):
        assert sound
    else:
        assert found.code in {"invalid", "unknown_command", "bad_frame"}


@pytest.mark.parametrize("depth", [10, 500, 1_500, 5_000, 30_000])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1x", b"\x81\x01", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize("field", [b"\xa2id", b"\xa4data", b"\xa7unknown", b"\xa1t"])
def test_deep_nesting_is_answered(depth: int, opening: bytes, field: bytes) -> None:
    """However deep: no crash of the interpreter, no RecursionError."""
    nested = opening * depth + b"\xc0"
    outcome(b"\x83\xa1t\xa4ping\xa2id\x01" + field + nested)
    outcome(nested)
    codec.claimed_id(b"\x83\xa1t\xa4ping\xa2id\x01" + field + nested)


@pytest.mark.parametrize("head", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
@pytest.mark.parametrize("size", [2**16, 2**27, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("field", ["id", "t", "data", "members", "heads", "text", "unknown"])
@pytest.mark.parametrize("tag", ["ping", "hello", "conversation.create", "message.send", "nothing"])
def test_a_claimed_length_costs_nothing(head: bytes, size: int, field: str, tag: str) -> None:
    """A head may claim 4 GiB: it is refused, and no memory is taken for it."""
    claimed = head + size.to_bytes(4, "big") + b"\x01"
    payload = b"\x83" + msgpack.packb("t") + msgpack.packb(tag) + b"\xa2id\x07" + msgpack.packb(field) + claimed
    problem = outcome(payload)
    assert isinstance(problem, KonnectError)
    assert problem.code in {"bad_frame", "invalid", "unknown_command"}
    codec.claimed_id(payload)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
    ],
    ids=[
        "ff",
        "cut short",
        "cut in three",
        "high surrogate",
        "low surrogate",
        "overlong",
        "above 10ffff",
        "five bytes",
    ],
)
def test_what_is_not_utf_8_is_refused_under_its_id(text: bytes) -> None:
    """In a field or in ``t``. The name of an unknown field is not looked at."""
    packed = bytes((0xA0 | len(text),)) + text
    for payload in (
        b"\x83\xa1t\xaaauth.renew\xa2id\x07\xa5token" + packed,
        b"\x83\xa2id\x07\xa1t\xaaauth.renew\xa5token" + packed,
    ):
        problem = outcome(payload)
        assert isinstance(problem, errors.BadFrame)
        assert codec.claimed_id(payload) == 7
    assert isinstance(outcome(b"\x82\xa2id\x07\xa1t" + packed), errors.BadFrame)
    assert isinstance(outcome(b"\x83\xa1t\xa4ping\xa2id\x07" + packed + b"\x01"), frames.Ping)


@pytest.mark.parametrize("code", [-1, 0, 1, 5, 127, -128])
@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 12, 3, 0])
@pytest.mark.parametrize("field", ["id", "t", "key", "text", "conversation"])
def test_an_extension_type_is_refused(code: int, size: int, field: str) -> None:
    """Timestamps, too, sound or not."""
    sent = {"t": "message.send", "id": 7, "conversation": CANONICAL, "key": "k", "text": "x"}
    payload = msgpack.packb({**sent, field: msgpack.ExtType(code, b"\xff" * size)} if code >= 0 else sent)
    if code < 0:
        del sent[field]
        ext = b"\xc7" + bytes((size,)) + struct.pack("b", code) + b"\xff" * size
        payload = bytes((0x80 | (len(sent) + 1),)) + msgpack.packb(sent)[1:] + msgpack.packb(field) + ext
    problem = outcome(payload)
    assert isinstance(problem, errors.Invalid | errors.BadFrame)


def test_of_a_repeated_field_the_last_counts() -> None:
    """As in most decoders; only ``t`` must not change its mind."""
    command = codec.decode(b"\x83\xa2id\x01\xa1t\xa4ping\xa2id\x02")
    assert isinstance(command, frames.Ping)
    assert command.id == 2
    assert codec.claimed_id(b"\x83\xa2id\x01\xa1t\xa4ping\xa2id\x02") == 2
    assert isinstance(outcome(b"\x83\xa1t\xa4ping\xa1t\xa5hello\xa2id\x02"), errors.Invalid)


@pytest.mark.parametrize(
    "number", [math.nan, math.inf, -math.inf, 1.0, 0.5, -1, 2**53, 2**63, 2**64 - 1, -(2**63), True]
)
def test_an_id_is_a_whole_number_below_2_to_the_53(number: float) -> None:
    """A client whose numbers are floats can still tell its ids apart."""
    payload = msgpack.packb({"t": "ping", "id": number})
    assert isinstance(outcome(payload), errors.Invalid)
    assert codec.claimed_id(payload) is None


def test_the_id_of_a_refused_frame_is_found_wherever_it_stands() -> None:
    """Before or after what is wrong."""
    for payload in (
        msgpack.packb({"id": 7, "t": "message.send", "text": 5}),
        msgpack.packb({"text": 5, "t": "message.send", "id": 7}),
        msgpack.packb({"t": "no such thing", "id": 7}),
        msgpack.packb({"id": 7}),
    ):
        assert isinstance(outcome(payload), KonnectError)
        assert codec.claimed_id(payload) == 7


def test_an_error_names_what_is_wrong() -> None:
    """Enough for the one who writes the client; never more of the frame than that."""
    unknown = outcome(msgpack.packb({"t": "x" * 60_000, "id": 7}))
    assert isinstance(unknown, errors.UnknownCommand)
    assert len(str(unknown)) < 200
    missing = outcome(msgpack.packb({"t": "message.send", "id": 7}))
    assert "conversation" in str(missing)
    wrong = outcome(msgpack.packb({"t": "message.send", "id": 7, "conversation": CANONICAL, "key": "k", "text": "a\0"}))
    assert "$.text" in str(wrong)


# --- In: what a client may write --------------------------------------------------------------------------------------


@given(sent=MAPS)
def test_a_command_means_the_same_to_both_libraries(sent: dict[str, Any]) -> None:
    """Packed by the library a mobile client would use; nothing is lost, changed or made up."""
    payload = msgpack.packb(sent)
    command = codec.decode(payload)
    assert isinstance(command, frames.Command)
    found = plain({name: getattr(command, name) for name in command.__struct_fields__ if name in sent})
    assert _comparable(found) == _comparable({name: sent[name] for name in found})


@given(payload=st.binary(max_size=64) | MAPS.map(msgpack.packb))
def test_any_accepted_text_can_be_stored(payload: bytes) -> None:
    """No U+0000, which PostgreSQL refuses, and no lone surrogate, which is not UTF-8 (docs/hazards.md, B2)."""
    command = outcome(payload)
    if isinstance(command, frames.Command):
        fields = {name: getattr(command, name) for name in command.__struct_fields__ if name != "data"}
        values = {name: one for name, one in fields.items() if one is not msgspec.UNSET}
        for text in texts(plain(values)):
            assert "\0" not in text
            text.encode("utf-8")


# --- Out --------------------------------------------------------------------------------------------------------------


@given(frame=FRAMES)
def test_every_frame_of_the_server_survives_the_wire(frame: msgspec.Struct) -> None:
    """As read by another MessagePack: a map of texts, ``t`` first, and every value as it was."""
    found = read(codec.wire(frame))
    assert next(iter(found)) == "t"
    assert found["t"] == frame.__struct_config__.tag
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if name in found:
            expected = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
            assert _comparable(found[name]) == _comparable(expected)
        else:
            assert value in (msgspec.UNSET, None, False, {}, [], "all", "text", True)


@given(entry=struct_of(frames.Entry))
def test_an_entry_goes_out_as_its_event(entry: frames.Entry) -> None:
    """The short way says the same as the long one, in no more bytes."""
    event = frames.EntryEvent(**{name: getattr(entry, name) for name in entry.__struct_fields__})
    short, long = unframed(codec.entry(entry)), unframed(codec.wire(event))
    assert list(msgpack.unpackb(short).items()) == list(msgpack.unpackb(long).items())
    assert len(short) == len(long) - 2 * (len(msgpack.unpackb(short)) < 16)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_payload_of_any_size_gets_the_right_head(size: int) -> None:
    """Read by the WebSocket core that the product stands on, in its client's place."""
    payload = b"\xab" * size
    wire = codec.message(payload)
    assert unframed(wire) == payload
    reader = StreamReader()
    reader.feed_data(wire)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as end:
        next(parsing)
    frame = end.value.value
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.BINARY, True, payload)


@given(number=st.integers(0, 2**53 - 1), result=struct_of(frames.Appended))
def test_ok_carries_its_id_and_result(number: int, result: frames.Appended) -> None:
    """As any client reads it."""
    assert read(codec.ok(number, result)) == {
        "t": "ok",
        "id": number,
        "result": {"seq": result.seq, "at_ms": result.at_ms},
    }


def test_an_error_carries_its_code_and_when_to_come_again() -> None:
    """``retry_after_ms`` only where time helps; ``id`` null where none could be read."""
    assert read(codec.error(7, errors.RateLimited(250))) == {
        "t": "error",
        "id": 7,
        "code": "rate_limited",
        "message": "too many commands; try again in 250 ms",
        "retry_after_ms": 250,
    }
    assert read(codec.error(None, errors.BadFrame("no map"))) == {
        "t": "error",
        "id": None,
        "code": "bad_frame",
        "message": "no map",
    }


@given(value=ENCODABLE)
def test_a_ping_gets_its_data_back_byte_for_byte(value: Any) -> None:
    """Whatever it is, in whatever encoding the client chose."""
    data = msgpack.packb(value)
    ping = codec.decode(b"\x83\xa1t\xa4ping\xa2id\x01\xa4data" + data)
    assert isinstance(ping, frames.Ping)
    assert bytes(ping.data) == data
    assert codec.ok(1, frames.Pong(5, ping.data)).endswith(b"\xa4data" + data)


def test_a_ping_without_data_gets_none_back() -> None:
    """Absent is not null."""
    ping = codec.decode(msgpack.packb({"t": "ping", "id": 1}))
    assert isinstance(ping, frames.Ping)
    assert bytes(ping.data) == b""
    assert len(msgpack.packb("x" * (limits.PING_BYTES - 3))) == limits.PING_BYTES


def _comparable(value: Any) -> Any:
    """*value* with NaN equal to itself, and -0.0 not to 0.0."""
    match value:
        case float():
            return struct.pack("!d", value)
        case dict():
            return {key: _comparable(item) for key, item in value.items()}
        case list():
            return [_comparable(item) for item in value]
        case _:
            return value
