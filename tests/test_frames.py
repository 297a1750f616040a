"""Each frame keeps its promises: names, limits at and around their bounds, what may be left out."""

import copy
import re
import uuid
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import msgspec
import pytest
from msgspec import Struct, inspect

from protocol import codec, errors, frames, limits
from protocol.schema import examples, prose
from protocol.schema.catalogue import COMMANDS, EVENTS, RECORDS, RESULTS, tag

ALL: tuple[type[Struct], ...] = (*COMMANDS, *EVENTS, *RESULTS, *RECORDS, frames.Ok, frames.Error)
SOME_ID = "01a1ee56-5e00-7000-8000-0000000000d1"


class Bound(NamedTuple):
    """One bound of one field: the values at it and beyond it."""

    command: type[frames.Command]
    field: str
    name: str
    within: Any
    beyond: Any


def fields_of(about: type[Struct]) -> tuple[inspect.Field, ...]:
    """The fields of *about*, without its ``t``."""
    described = inspect.type_info(about)
    assert isinstance(described, inspect.StructType)
    return described.fields


def bare(kind: inspect.Type) -> inspect.Type:
    """*kind* without remarks and without "or null"."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return bare(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
    return kind


def items(kind: inspect.Type, count: int) -> list[Any]:
    """A list of *count* ids, of places, or of parts like the example's."""
    item = bare(kind)
    if isinstance(item, inspect.StructType):
        return [examples.as_map(examples.RECORDS[item.cls])] * count
    if isinstance(item, inspect.StrType):
        if item.pattern is not None and not re.search(item.pattern, "0"):
            return [next(one for one in ("de", "https://x.example") if re.search(item.pattern, one))] * count
        return [str(number) for number in range(count)]
    if isinstance(item, inspect.IntType):
        return [item.ge or 0] * count
    """A list of *count* ids, or of parts like the example's."""
    item = bare(kind)
    if isinstance(item, inspect.StrType):
        return [str(number) for number in range(count)]
    assert isinstance(item, inspect.UUIDType)
    return [str(uuid.UUID(int=number)) for number in range(count)]


def bounds() -> list[Bound]:
    """Every bound that a type of a command states."""
    found: list[Bound] = []
    for command in COMMANDS:
        for field in fields_of(command):

            def add(name: str, within: Any, beyond: Any, command: Any = command, field: str = field.name) -> None:
                found.append(Bound(command, field, name, within, beyond))

            match bare(field.type):
                case inspect.IntType(ge=least, le=most):
                    assert least is not None
                    assert most is not None
                    add("least", least, least - 1)
                    add("most", most, most + 1)
                case inspect.StrType(max_length=int(most), pattern=str(pattern)) if pattern.endswith("(?![\\s\\S])"):
                    # The pattern says all of it, so what stands at the bounds is no matter of length.
                    told = str(examples.COMMANDS[command].get(field.name, "bob"))
                    for more in ("\0", "\n", "\U0010ffff", "x" * (most + 1)):
                        add(f"not with {more[:2]!r}", told, told + more)
                case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
                    assert most is not None
                    add("most", "x" * most, "x" * (most + 1))
                    add("most, four bytes each", "\U0010ffff" * most, "\U0010ffff" * (most + 1))
                    if least:
                        add("least", "x" * least, "x" * (least - 1))
                    if pattern is not None and "(?!" in pattern:
                        for one in (0x00, 0x0A, 0x1F, 0x7F, 0x9F):
                            add(f"no U+{one:04X}", "\U0010ffff \xa0", "a" + chr(one))
                        add("no line feed in the middle", "a ", "a\nb")
                        continue
                    add("no U+0000", "\U0010ffff\n\r\x01", "a\0")
                    add("no U+0000 before a last line feed", "a\n", "\0\n")
                case inspect.ListType(item_type=item, min_length=least, max_length=most):
                    assert most is not None
                    add("most", items(item, most), items(item, most + 1))
                    if least:
                        add("least", items(item, least), items(item, least - 1))
                case inspect.DictType(max_length=most):
                    assert most is not None
                    ids = items(inspect.UUIDType(), most + 1)
                    add("most", dict.fromkeys(ids[:-1], 1), dict.fromkeys(ids, 1))
    return found


@pytest.mark.parametrize("bound", bounds(), ids=lambda bound: f"{tag(bound.command)}.{bound.field}: {bound.name}")
def test_a_bound_holds_at_it_and_not_beyond(bound: Bound) -> None:
    """What is at the bound is taken as it is; one more is refused, and the error names the field."""
    example = {**examples.COMMANDS[bound.command], "id": 7}
    taken = codec.decode(msgpack.packb({**example, bound.field: bound.within}))
    kept = getattr(taken, bound.field)
    assert msgspec.to_builtins(kept, str_keys=True) == bound.within
    beyond = msgpack.packb({**example, bound.field: bound.beyond})
    with pytest.raises(errors.Invalid) as refused:
        codec.decode(beyond)
    assert f"$.{bound.field}" in str(refused.value)


def test_every_text_and_number_of_a_command_is_bounded() -> None:
    """A field without a bound would let a client store or ask for as much as fits a frame."""
    bounded = {(bound.command, bound.field) for bound in bounds()}
    for command in COMMANDS:
        for field in fields_of(command):
            if isinstance(bare(field.type), inspect.StrType | inspect.IntType | inspect.ListType | inspect.DictType):
                assert (command, field.name) in bounded


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_the_largest_command_fits_a_frame(command: type[frames.Command]) -> None:
    """Limits that do not fit together would be a trap. Each field alone at its bound, four bytes a character."""
    example = examples.COMMANDS[command]
    for bound in bounds():
        if bound.command is command:
            assert len(msgpack.packb({**example, bound.field: bound.within})) <= limits.FRAME_BYTES


def test_the_largest_hello_fits_a_frame() -> None:
    """All at once: the longest token, cursor and device beside a thousand heads."""
    largest = {
        bound.field: bound.within for bound in bounds() if bound.command is frames.Hello and bound.name == "most"
    }
    assert set(largest) >= {"token", "cursor", "device", "heads"}
    largest["heads"] = dict.fromkeys(largest["heads"], limits.SEQ_MAX)
    payload = msgpack.packb({**examples.COMMANDS[frames.Hello], **largest})
    assert len(payload) <= limits.FRAME_BYTES
    assert isinstance(codec.decode(payload), frames.Hello)


def test_a_ping_carries_at_most_so_many_bytes() -> None:
    """Counted as MessagePack: what comes back is what came, so its size is bounded on the way in."""
    most = {"t": "ping", "id": 7, "data": "x" * (limits.PING_BYTES - 3)}
    taken = codec.decode(msgpack.packb(most))
    assert isinstance(taken, frames.Ping)
    assert len(taken.data) == limits.PING_BYTES
    with pytest.raises(errors.Invalid, match="data"):
        codec.decode(msgpack.packb({**most, "data": "x" * (limits.PING_BYTES - 2)}))


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_a_command_needs_just_its_required_fields(command: type[frames.Command]) -> None:
    """Each is missed by name; all others have a default."""
    example = examples.COMMANDS[command]
    required = [field.name for field in fields_of(command) if field.required]
    if command in (frames.MessageSend, frames.MessageSchedule):
        required.append("text")  # or content that says something without it
    least = {"t": tag(command), **{name: example[name] for name in required}}
    assert isinstance(codec.decode(msgpack.packb(least)), command)
    for name in required:
        with pytest.raises(errors.Invalid, match=name):
            codec.decode(msgpack.packb({key: value for key, value in least.items() if key != name}))


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_unknown_fields_are_ignored(command: type[frames.Command]) -> None:
    """A newer client works with an older server."""
    example = examples.COMMANDS[command]
    assert codec.decode(msgpack.packb({**example, "new": {"deep": [1, None, b"\xff"]}})) == codec.decode(
        msgpack.packb(example)
    )


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_null_is_taken_only_where_the_type_says_so(command: type[frames.Command]) -> None:
    """Null is a value of its own, not another way to leave a field out."""
    for field in fields_of(command):
        payload = msgpack.packb({**examples.COMMANDS[command], field.name: None})
        kind = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
        nullable = isinstance(kind, inspect.RawType) or (
            isinstance(kind, inspect.UnionType) and any(isinstance(each, inspect.NoneType) for each in kind.types)
        )
        if nullable:
            assert isinstance(codec.decode(payload), command)
        else:
            with pytest.raises(errors.Invalid):
                codec.decode(payload)


@pytest.mark.parametrize("form", [SOME_ID, SOME_ID.upper()])
def test_an_id_may_come_in_capitals(form: str) -> None:
    """It is the same id, and goes out in lower case."""
    command = codec.decode(msgpack.packb({"t": "conversation.direct", "id": 1, "user": form}))
    assert isinstance(command, frames.ConversationDirect)
    assert str(command.user) == SOME_ID


@pytest.mark.parametrize(
    "form", ["", "ann", SOME_ID[:-1], SOME_ID + "0", f"{{{SOME_ID}}}", f"urn:uuid:{SOME_ID}", 7, None, 1.5]
)
def test_what_is_no_id_is_refused(form: Any) -> None:
    """With an error that names the field."""
    with pytest.raises(errors.Invalid, match="user"):
        codec.decode(msgpack.packb({"t": "conversation.direct", "id": 1, "user": form}))


def test_names_are_unique() -> None:
    """A ``t`` means one thing in each direction; a Struct's name one thing in the documents."""
    commands = [tag(command) for command in COMMANDS]
    server = [*(tag(event) for event in EVENTS), tag(frames.Ok), tag(frames.Error)]
    assert len(set(commands)) == len(commands)
    assert len(set(server)) == len(server)
    names = [about.__name__ for about in ALL]
    assert len(set(names)) == len(names)


def test_every_command_is_in_the_union_and_has_a_result() -> None:
    """Nothing is forgotten where frames are listed by hand."""
    made = {
        thing
        for thing in vars(frames).values()
        if isinstance(thing, type) and issubclass(thing, frames.Command) and thing is not frames.Command
    }
    assert made == set(COMMANDS) == set(frames.RESULTS)
    told = {
        thing
        for thing in vars(frames).values()
        if isinstance(thing, type) and issubclass(thing, frames.Event) and thing is not frames.Event
    }
    assert told == set(EVENTS)


@pytest.mark.parametrize("about", ALL, ids=lambda about: about.__name__)
def test_everything_says_what_it_means(about: type[Struct]) -> None:
    """Each frame and each field has its words in the documents, as sentences."""
    assert prose.text(about).endswith(".")
    assert prose.summary(about)[0].isupper()
    for field in fields_of(about):
        kind = field.type
        assert isinstance(kind, inspect.Metadata), f"{about.__name__}.{field.name} has no description"
        description = (kind.extra_json_schema or {}).get("description", "")
        assert description.endswith("."), f"{about.__name__}.{field.name}"


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_a_command_names_its_answer(command: type[frames.Command]) -> None:
    """Its docstring points at the result, as the documents' links need it."""
    assert f"Answered with `{frames.RESULTS[command].__name__}`" in prose.text(command)


def test_a_command_cannot_be_changed() -> None:
    """Frames are handed from room to room; nobody may alter what somebody else holds."""
    command = codec.decode(msgpack.packb(examples.COMMANDS[frames.MessageSend]))
    with pytest.raises(AttributeError):
        command.id = 8  # type: ignore[misc]  # what the test is about
    assert copy.copy(command) == command


def test_the_server_leaves_out_what_is_absent() -> None:
    """An entry of a message has no title, a state of a large group no names, a rewound of all no conversation."""
    assert msgpack.unpackb(msgspec.msgpack.encode(frames.Rewound())) == {"t": "rewound"}
    message = msgpack.unpackb(msgspec.msgpack.encode(examples.message(1, examples.ANN, "x")))
    assert set(message) == {"conversation", "seq", "kind", "author", "key", "at_ms", "text"}
    bare_state = frames.ConversationState(
        conversation=examples.GROUP,
        kind="group",
        title="x",
        members=[],
        head=1,
        first_seq=1,
        unread=0,
        read=0,
        delivered=0,
    )
    state = msgpack.unpackb(msgspec.msgpack.encode(bare_state))
    assert not {"names", "receipts", "recent", "history", "owner"} & set(state)
    assert {"title", "members", "unread", "read", "delivered"} <= set(state)


def test_ids_made_to_collide_cost_no_more_than_others() -> None:
    """Hazard C1. ``hash(UUID)`` is that of its number, without a seed: a thousand crafted ids in one ``hello`` shared
    one bucket, and decoding them took a hundred times as long, before login. As text they are hashed with the process's
    seed."""
    modulus = 2**61 - 1  # sys.hash_info.modulus: these all have the same hash as numbers
    crafted = [uuid.UUID(int=nth * modulus + 7) for nth in range(1, 1_001)]
    assert len({hash(one) for one in crafted}) == 1
    hello = {"t": "hello", "id": 1, "token": "x", "device": "d", "heads": {str(one): 1 for one in crafted}}
    heads = codec.decode(msgpack.packb(hello)).heads  # type: ignore[union-attr]  # a Hello
    assert all(type(one) is str for one in heads)
    assert len({hash(one) for one in heads}) > 990
