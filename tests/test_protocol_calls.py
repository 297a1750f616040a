"""A call takes what the socket takes, and is documented by itself."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from protocol import calls, codec, frames
from protocol.calls import CALLS, ON_SOCKET_ONLY, Call, no_call
from protocol.errors import Invalid, KonnectError, SocketOnly, UnknownCommand
from protocol.schema import openapi
from protocol.schema.catalogue import COMMANDS, tag
from protocol.schema.endpoints import ALL
from tests.frame_strategies import command_map

DOCUMENT = openapi("1.2.3")
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    LEAVES | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def bodies(draw: st.DrawFn, call: Call) -> dict[str, Any]:
    """What a client may send to *call*: right, with something wrong in it, or something missing."""
    names = call.body.__struct_fields__
    some = st.sampled_from(names) if names else st.nothing()  # a few commands take nothing
    body = {name: value for name, value in draw(command_map(call.command)).items() if name in names}
    for name in draw(st.lists(some, max_size=2)):
        body[name] = draw(JSON)
    for name in draw(st.lists(some, max_size=1)) if draw(st.booleans()) else []:
        body.pop(name, None)
    return {**draw(st.dictionaries(st.text("xyz", min_size=1, max_size=3), JSON, max_size=2)), **body}


def by_socket(call: Call, body: dict[str, Any]) -> frames.Command | str:
    """The command that a frame of *body* is, or the code it is refused with."""
    try:
        return codec.decode(msgspec.msgpack.encode({**body, "t": call.name, "id": 0}))
    except KonnectError as problem:
        return problem.code


def by_http(call: Call, body: dict[str, Any], *keys: str) -> frames.Command | str:
    """The same of a call."""
    try:
        return call.made(msgspec.json.decode(msgspec.json.encode(body), type=call.body), list(keys))
    except msgspec.ValidationError:
        return Invalid.code  # as the route says it
    except KonnectError as problem:
        return problem.code


@pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: call.name)
@given(data=st.data())
@settings(max_examples=150)
def test_both_doors_take_and_refuse_the_same(call: Call, data: st.DataObject) -> None:
    """The same command comes out of the same fields, or the same code."""
    body = data.draw(bodies(call))
    assert by_http(call, body) == by_socket(call, body)
    if isinstance(key := body.get("key"), str):  # the header stands for the field
        rest = {name: value for name, value in body.items() if name != "key"}
        assert by_http(call, rest, key) == by_http(call, body, key) == by_socket(call, body)


def test_the_key_is_said_once() -> None:
    """By header or by field; twice if they are the same."""
    leave = CALLS["conversation.leave"]
    body = {"conversation": "01a2b3c4-0000-7000-8000-000000000000"}
    made = by_socket(leave, {**body, "key": "k"})
    assert isinstance(made, frames.ConversationLeave)
    assert by_http(leave, {**body, "key": "k"}) == by_http(leave, body, "k") == by_http(leave, body, "k", "k") == made
    assert by_http(leave, {**body, "key": "k"}, "other") == by_http(leave, body, "k", "other") == "invalid"
    assert by_http(leave, body) == by_http(leave, body, "") == by_http(leave, body, "k" * 65) == "invalid"
    with pytest.raises(Invalid, match="Idempotency-Key"):
        leave.made(msgspec.convert(body, leave.body), [])


def test_a_header_means_nothing_where_there_is_no_key() -> None:
    """As any header that nobody reads."""
    assert by_http(CALLS["conversation.list"], {}, "k") == frames.ConversationList(id=0)


def test_a_null_is_no_key() -> None:
    """What the socket refuses is refused here, and not taken for absent."""
    assert by_http(CALLS["conversation.leave"], {"conversation": "01a2b3c4-0000-7000-8000-000000000000", "key": None},
                   "k") == "invalid"  # fmt: skip


# --- Which there are ---


def test_every_command_is_a_call_or_says_why_not() -> None:
    """A new one is a call by itself."""
    assert {call.command for call in CALLS.values()} | set(ON_SOCKET_ONLY) == set(COMMANDS)
    assert not {call.command for call in CALLS.values()} & set(ON_SOCKET_ONLY)
    assert {tag(one) for one in ON_SOCKET_ONLY} == {"hello", "auth.renew", "ping", "presence.watch"}


def test_a_command_that_is_added_becomes_a_call() -> None:
    """With its fields, its limits and its own check; nothing more is written by hand."""

    class Shout(frames.Command, frozen=True, tag="message.shout"):
        """Say it loud."""

        conversation: frames.Conversation
        key: frames.Key
        volume: int = 11

        def __post_init__(self) -> None:
            if self.volume > 11:
                raise ValueError("nobody can hear that")

    call = calls._call(Shout)
    assert (call.path, call.keyed) == ("/v1/call/message.shout", True)
    body = {"conversation": "01a2b3c4-0000-7000-8000-000000000000"}
    made = call.made(msgspec.convert(body, call.body), ["k"])
    assert (made.id, msgspec.to_builtins(made)) == (
        0, {"t": "message.shout", "id": 0, **body, "key": "k", "volume": 11},
    )  # fmt: skip
    with pytest.raises(Invalid, match="nobody can hear that"):
        call.made(msgspec.convert({**body, "volume": 12}, call.body), ["k"])


@pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: call.name)
def test_a_call_has_its_place_in_the_document(call: Call) -> None:
    """A path, a schema of its own for the body, the command's result."""
    operation = DOCUMENT["paths"][call.path]["post"]
    assert operation["security"] == [{"bearer": []}]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": f"#/components/schemas/{call.command.__name__}Body"}
    fields = DOCUMENT["components"]["schemas"][f"{call.command.__name__}Body"]
    assert set(fields["properties"]) == set(call.command.__struct_fields__) - {"id"}
    assert not {"t", "id", "key"} & set(fields.get("required", []))
    result = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert result == {"$ref": f"#/components/schemas/{frames.RESULTS[call.command].__name__}"}
    headers = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
    assert headers == (["Idempotency-Key"] if call.keyed else [])
    assert {"400", "401", "413", "415", "429", "500", "503"} <= set(operation["responses"])


def test_what_cannot_be_called_is_named_with_its_reason() -> None:
    """In the document, and by the error."""
    [others] = [endpoint for endpoint in ALL if endpoint.name == "call"]
    for command, why in ON_SOCKET_ONLY.items():
        assert f"`{tag(command)}`: {why}" in others.description
        problem = no_call(tag(command))
        assert isinstance(problem, SocketOnly)
        assert why in str(problem)
    assert isinstance(no_call("message.shout"), UnknownCommand)
    assert len(str(no_call("x" * 10_000))) < 200
