"""Structs as JSON Schema: what both documents share.

msgspec's own generator is not used because it cannot describe a ``Raw`` field that has a default. The output keeps to
what JSON Schema draft 07 (AsyncAPI) and 2020-12 (OpenAPI 3.1) have in common; so a description beside a reference is
written as ``allOf``, which draft 07 would otherwise ignore.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from protocol.schema import prose

Schema = dict[str, Any]
REF: Final = "#/components/schemas/"


def components(structs: Iterable[type[Struct]]) -> dict[str, Schema]:
    """One schema for each of *structs* and for every Struct inside them, by class name, sorted."""
    found: dict[str, Schema] = {}
    waiting = list(structs)
    while waiting:
        cls = waiting.pop()
        if cls.__name__ not in found:
            described = inspect.type_info(cls)
            assert isinstance(described, inspect.StructType)
            found[cls.__name__] = _struct(described, waiting)
    return dict(sorted(found.items()))


def of_type(kind: Any) -> Schema:
    """The schema of any type that a field may have; Structs inside it are references."""
    return _schema(inspect.type_info(kind), [])


def reference(cls: type[Struct]) -> Schema:
    """A reference to the component of *cls*."""
    return {"$ref": REF + cls.__name__}


def _struct(described: inspect.StructType, inside: list[type[Struct]]) -> Schema:
    properties: dict[str, Schema] = {}
    required = []
    if described.tag_field is not None:
        properties[described.tag_field] = {"const": described.tag, "description": "Names the type of this frame."}
        required.append(described.tag_field)
    for field in ordered(described):
        properties[field.encode_name] = _field(field, inside)
        if field.required:
            required.append(field.encode_name)
    schema: Schema = {"type": "object", "title": described.cls.__name__}
    if described.cls.__doc__:
        schema["description"] = prose.text(described.cls)
    schema["properties"] = properties
    if required:
        schema["required"] = required
    return schema


def ordered(described: inspect.StructType) -> list[inspect.Field]:
    """The fields of *described*; a command's ``id``, which comes last by inheritance, first."""
    return sorted(described.fields, key=lambda field: field.encode_name != "id")


def _field(field: inspect.Field, inside: list[type[Struct]]) -> Schema:
    schema = _schema(field.type, inside)
    default = default_of(field)
    return schema if default is NODEFAULT else {**schema, "default": default}


def default_of(field: inspect.Field) -> Any:
    """What an absent field means, as JSON; NODEFAULT when it is required, or when absence is a meaning of its own."""
    if field.default_factory is not NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    if field.default is NODEFAULT or isinstance(field.default, msgspec.Raw):
        return NODEFAULT
    return msgspec.to_builtins(field.default)


def _schema(kind: inspect.Type, inside: list[type[Struct]]) -> Schema:
    match kind:
        case inspect.Metadata(type=bare, extra_json_schema=extra):
            schema = _schema(bare, inside)
            if not extra:
                return schema
            return {"allOf": [schema], **extra} if "$ref" in schema else {**schema, **extra}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", "format": "int64", **_bounds(kind, minimum="ge", maximum="le")}
        case inspect.FloatType():
            return {"type": "number", "format": "double", **_bounds(kind, minimum="ge", maximum="le")}
        case inspect.StrType():
            return {
                "type": "string",
                **_bounds(kind, minLength="min_length", maxLength="max_length", pattern="pattern"),
            }
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.UUIDType():
            return {"type": "string", "format": "uuid"}
        case inspect.AnyType() | inspect.RawType():
            return {}
        case inspect.LiteralType(values=(single,)):
            return {"const": single}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case inspect.ListType(item_type=item):
            bounds = _bounds(kind, minItems="min_length", maxItems="max_length")
            return {"type": "array", "items": _schema(item, inside), **bounds}
        case inspect.DictType(key_type=key, value_type=value):
            bounds = _bounds(kind, minProperties="min_length", maxProperties="max_length")
            names = _schema(key, inside)
            named = {} if names == {"type": "string"} else {"propertyNames": names}
            return {"type": "object", **named, "additionalProperties": _schema(value, inside), **bounds}
        case inspect.UnionType(types=kinds):
            return {"anyOf": [_schema(each, inside) for each in kinds]}
        case inspect.StructType(cls=cls):
            inside.append(cls)
            return reference(cls)
        case _:
            raise TypeError(f"no schema for {kind}")


def _bounds(kind: inspect.Type, **names: str) -> Schema:
    given = {keyword: getattr(kind, attribute) for keyword, attribute in names.items()}
    return {keyword: value for keyword, value in given.items() if value is not None}
