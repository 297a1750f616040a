"""docs/vectors.json as somebody who writes a client would use it: with our codec, and with another MessagePack."""

import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import msgspec
import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from protocol import codec, errors, frames
from protocol.schema import answers
from protocol.schema.catalogue import COMMANDS, EVENTS, tag

FILE = Path(__file__).parents[1] / "docs" / "vectors.json"
VECTORS = json.loads(FILE.read_text("utf-8"))
ACCEPTED: list[dict[str, Any]] = VECTORS["accepted"]
REFUSED: list[dict[str, Any]] = VECTORS["refused"]
CLIENT = [vector for vector in ACCEPTED if vector["sender"] == "client"]
SERVER = [vector for vector in ACCEPTED if vector["sender"] == "server"]
RESULT_OF = {tag(command): frames.RESULTS[command] for command in COMMANDS}


def name_of(vector: dict[str, Any]) -> str:
    """Its name, for pytest."""
    return str(vector["name"])


def restored(value: Any) -> Any:
    """*value* with ``{"$bytes": hex}`` as the binary data that it stands for."""
    match value:
        case {"$bytes": data}:
            return bytes.fromhex(data)
        case dict():
            return {key: restored(item) for key, item in value.items()}
        case list():
            return [restored(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("vector", ACCEPTED, ids=name_of)
def test_another_library_reads_the_same(vector: dict[str, Any]) -> None:
    """hex and json are one frame, told twice."""
    found = msgpack.unpackb(bytes.fromhex(vector["hex"]))
    assert found == restored(vector["json"])
    assert found["t"] == vector["t"]


@pytest.mark.parametrize("vector", CLIENT, ids=name_of)
def test_a_client_s_frame_is_accepted(vector: dict[str, Any]) -> None:
    """As it stands, and as another library packs its JSON."""
    command = codec.decode(bytes.fromhex(vector["hex"]))
    assert tag(type(command)) == vector["t"]
    again = codec.decode(msgpack.packb(restored(vector["json"])))
    assert _fields(command) == _fields(again)
    assert command.id == vector["json"]["id"]


@pytest.mark.parametrize("vector", SERVER, ids=name_of)
def test_a_server_s_frame_is_what_our_types_say(vector: dict[str, Any]) -> None:
    """Read into its Struct and written again, it is the same bytes (of an ``ok``, its result is)."""
    payload = bytes.fromhex(vector["hex"])
    kinds: dict[str, Any] = {tag(event): event for event in EVENTS} | {"error": frames.Error, "ok": frames.Ok}
    frame = msgspec.msgpack.decode(payload, type=kinds[vector["t"]])
    again = msgspec.msgpack.encode(frame)
    if vector["t"] != "ok":
        assert again == payload
    assert msgspec.msgpack.decode(again) == msgspec.msgpack.decode(payload)
    if vector["t"] == "ok" and vector["name"].startswith("ok to "):
        result = RESULT_OF[vector["name"].removeprefix("ok to ").partition(":")[0]]
        carried = msgspec.msgpack.decode(payload, type=dict[str, msgspec.Raw])["result"]
        assert msgspec.msgpack.encode(msgspec.msgpack.decode(carried, type=result)) == bytes(carried)


@pytest.mark.parametrize("vector", [vector for vector in ACCEPTED if "wire_hex" in vector], ids=name_of)
def test_the_whole_websocket_frame_is_right(vector: dict[str, Any]) -> None:
    """A client's is masked, a server's is not (RFC 6455, section 5.1)."""
    reader = StreamReader()
    reader.feed_data(bytes.fromhex(vector["wire_hex"]))
    parsing = Frame.parse(reader.read_exact, mask=vector["sender"] == "client")
    with pytest.raises(StopIteration) as end:
        next(parsing)
    frame = end.value.value
    assert (frame.opcode, frame.fin, bytes(frame.data).hex()) == (Opcode.BINARY, True, vector["hex"])


@pytest.mark.parametrize("vector", REFUSED, ids=name_of)
def test_what_is_refused_is_refused_so(vector: dict[str, Any]) -> None:
    """With the code that the file names, under the id that it names."""
    payload = bytes.fromhex(vector["hex"])
    with pytest.raises(errors.KonnectError) as refused:
        codec.decode(payload)
    assert refused.value.code == vector["code"]
    assert codec.claimed_id(payload) == vector["id"]
    if "json" in vector:
        assert msgpack.unpackb(payload) == restored(vector["json"])


def test_names_are_unique() -> None:
    """Somebody will file an issue about "vector so-and-so"."""
    names = [vector["name"] for vector in (*ACCEPTED, *REFUSED)]
    assert len(set(names)) == len(names)


def test_every_frame_has_a_vector() -> None:
    """Several for most: each command, its ok, each event, each error of the socket."""
    assert {vector["t"] for vector in CLIENT} == {tag(command) for command in COMMANDS}
    assert {vector["t"] for vector in SERVER} == {tag(event) for event in EVENTS} | {"ok", "error"}
    answered = {vector["name"].partition(":")[0] for vector in SERVER}
    assert answered >= {f"ok to {tag(command)}" for command in COMMANDS}
    codes = {vector["json"]["code"] for vector in SERVER if vector["t"] == "error"}
    assert codes == {error.code for error in answers.on_socket()}
    assert {vector["code"] for vector in REFUSED} == {"bad_frame", "unknown_command", "invalid"}
    assert sum("wire_hex" in vector for vector in ACCEPTED) >= 2 * len(COMMANDS)


def test_every_field_is_in_a_vector() -> None:
    """Optional ones, too, on both sides."""
    seen: dict[str, set[str]] = {}
    for vector in ACCEPTED:
        seen.setdefault(f"{vector['sender']} {vector['t']}", set()).update(vector["json"])
    told: list[type[msgspec.Struct]] = [*EVENTS, frames.Error]
    for sender, kinds in (("client", list[type[msgspec.Struct]](COMMANDS)), ("server", told)):
        for kind in kinds:
            assert seen[f"{sender} {tag(kind)}"] >= set(kind.__struct_fields__)


def _fields(command: Any) -> dict[str, Any]:
    values = {name: getattr(command, name) for name in command.__struct_fields__}
    return {name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in values.items()}
