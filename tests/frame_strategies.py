"""Hypothesis strategies for frames, made from the types themselves: whatever the types allow."""

import re
from typing import Any, get_args
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import NODEFAULT, UNSET, Raw, Struct, inspect

from protocol import frames
from protocol.frames.content import speaks

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # what a text of the protocol may hold
TEXT = st.text(CHARACTERS)
COMMANDS: tuple[type[frames.Command], ...] = get_args(frames.AnyCommand)
EVENTS: tuple[type[frames.Event], ...] = get_args(frames.AnyEvent)

# Anything MessagePack can say, as a client's library would write it; sizes kept small.
INTEGERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
ENCODABLE: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | INTEGERS, inner, max_size=4),
    max_leaves=12,
)


def struct_of(cls: type[Struct], **fixed: Any) -> st.SearchStrategy[Any]:
    """Any value of *cls*; *fixed* fields stand as given."""
    described = inspect.type_info(cls)
    assert isinstance(described, inspect.StructType)
    chosen = {
        field.name: st.just(fixed[field.name]) if field.name in fixed else _field(field) for field in described.fields
    }
    return st.fixed_dictionaries(chosen).map(
        lambda values: cls(**_mend(cls, {name: one for name, one in values.items() if one is not NODEFAULT}))
    )


def _mend(cls: type[Struct], values: dict[str, Any]) -> dict[str, Any]:
    """*values* of *cls*, changed where its fields must fit each other."""
    match cls:
        case frames.Entity:
            wanted = {"link": ("url",), "mention": ("user",)}.get(values["kind"], ())
            values = {name: one for name, one in values.items() if name not in ("url", "user") or name in wanted}
            return {**{name: "tel:1" if name == "url" else UUID(int=1) for name in wanted}, **values}
        case frames.Attachment:
            wrong = {
                "photo": ("duration_ms", "waveform"),
                "video": ("waveform",),
                "voice": ("width", "height", "blurhash"),
                "file": ("width", "height", "blurhash", "duration_ms", "waveform"),
            }[values["kind"]]
            return {name: one for name, one in values.items() if name not in wrong}
        case frames.Content:
            return {**values, "media": [*{one.id: one for one in values.get("media", ())}.values()]}
        case frames.PollCreate:
            options = [*dict.fromkeys(values["options"])]
            return {**values, "options": options if len(options) > 1 else ["x", "y"]}
        case frames.MessageSend | frames.MessageSchedule:
            text, content = values.get("text", ""), values.get("content")
            if content is not None:
                fitting = [one for one in content.entities if one.offset + one.length <= len(text)]
                content = msgspec.structs.replace(content, entities=fitting, forwarded=UNSET)
                values = {**values, "content": content}
            return values if text or speaks(content) else {**values, "text": "x"}
        case frames.MessageEdit:
            size = len(values["text"])
            return {
                **values,
                "entities": [one for one in values.get("entities", ()) if one.offset + one.length <= size],
            }
        case frames.Whereabouts:
            both = {"latitude", "longitude"} <= {name for name, one in values.items() if one is not UNSET}
            return values if both else {name: one for name, one in values.items() if name == "city"}
        case frames.Experience:
            years = sorted(values[name] for name in ("from_year", "to_year") if isinstance(values.get(name), int))
            return {**values, "from_year": years[0], "to_year": years[1]} if len(years) == 2 else values
        case frames.ConversationCreate if values.get("kind", "group") == "group":
            return {name: one for name, one in values.items() if name != "public"}  # by invitation only
        case frames.Reportable:
            first = next((name for name, one in values.items() if one is not None), None)
            return {"user": UUID(int=1)} if first is None else {first: values[first]}
        case frames.ProfileFilter:
            ages = sorted(values[name] for name in ("age_from", "age_to") if isinstance(values.get(name), int))
            return {**values, "age_from": ages[0], "age_to": ages[1]} if len(ages) == 2 else values
        case frames.ProfileUpdate:
            photos = values.get("photos")
            if isinstance(photos, list):
                values = {**values, "photos": [*{one.int: one for one in photos}.values()]}
            return {**values, "birthday": "2000-02-29"} if isinstance(values.get("birthday"), str) else values
        case _:
            return values


def command_map(cls: type[frames.Command]) -> st.SearchStrategy[dict[str, Any]]:
    """A command as a client writes it: a map, with any of its optional fields left out, and unknown ones beside."""
    described = inspect.type_info(cls)
    assert isinstance(described, inspect.StructType)
    required = {field.name: _of_type(field.type) for field in described.fields if field.required}
    optional = {field.name: _of_type(field.type) for field in described.fields if not field.required}
    known = st.fixed_dictionaries(required, optional=optional).map(lambda values: _mend(cls, values))
    extra = st.dictionaries(st.text("xyz", min_size=1, max_size=3), ENCODABLE, max_size=2)
    return st.builds(lambda a, b: {**b, **a, "t": described.tag}, known, extra).map(plain)


def plain(value: Any) -> Any:
    """*value* as plain MessagePack data: ids are text, what was encoded already is what it says."""
    match value:
        case Raw():
            return msgspec.msgpack.decode(value)
        case dict():
            return {plain(key): plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case bytes() | None | bool() | int() | float() | str():
            return value
        case _:
            return msgspec.to_builtins(value)


def _field(field: inspect.Field) -> st.SearchStrategy[Any]:
    """A value, or NODEFAULT for "left out"."""
    given = _of_type(field.type)
    return given if field.required else st.just(NODEFAULT) | given


def _of_type(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.Metadata(extra_json_schema={"format": "uuid"}):
            return st.uuids().map(str)
        case inspect.Metadata(type=bare):
            return _of_type(bare)
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=least, le=most):
            return st.integers(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
        case inspect.FloatType(ge=float() | int() as least, le=float() | int() as most):
            return st.floats(least, most)
        case inspect.StrType(min_length=least, max_length=int(most), pattern=str(pattern)) if pattern.endswith(
            "(?![\\s\\S])"
        ):
            shape = pattern if not least else pattern.replace("]+(?!", f"]{{{least},}}(?!")
            return _short(st.from_regex(shape, fullmatch=True), most)
        case inspect.StrType(min_length=least, max_length=most, pattern=str(pattern)) if "(?!" in pattern:
            return _text(least or 0, most).filter(lambda text: re.search(pattern, text))  # others only forbid U+0000
        case inspect.StrType(min_length=least, max_length=most):
            return _text(least or 0, most)
        case inspect.NoneType():
            return st.none()
        case inspect.UUIDType():
            return st.uuids()
        case inspect.AnyType():
            return ENCODABLE
        case inspect.RawType():
            return ENCODABLE.map(lambda value: Raw(msgspec.msgpack.encode(value)))
        case inspect.ListType(item_type=item, min_length=least):
            return st.lists(_of_type(item), min_size=least or 0, max_size=(least or 0) + 3)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_of_type(key), _of_type(value), max_size=3)
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.UnionType(types=kinds):
            return st.one_of([_of_type(each) for each in kinds])
        case inspect.StructType(cls=cls):
            return struct_of(cls)
        case _:
            raise TypeError(f"no strategy for {kind}")


def _short(texts: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    def fits(text: str) -> bool:
        return len(text) <= most

    return texts.filter(fits)


def _text(least: int, most: int | None) -> st.SearchStrategy[str]:
    short = st.text(CHARACTERS, min_size=least, max_size=most)
    return short if most is None else short | CHARACTERS.map(lambda one: one * most)
