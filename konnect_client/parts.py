"""Fields of a frame's map, each read as what it must be."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from konnect_client.errors import ProtocolViolation

Frame = Mapping[str, Any]
T = TypeVar("T")
_MISSING: Final = object()


def take(frame: Frame, name: str, kind: type[T]) -> T:
    """Field *name* of *frame*, which must be a *kind* (a bool is no int)."""
    value = frame.get(name, _MISSING)
    if type(value) is not kind:
        what = "is missing" if value is _MISSING else f"is a {type(value).__name__}, not a {kind.__name__}"
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame {what}")
    return value


def take_or(frame: Frame, name: str, kind: type[T], default: T) -> T:
    """Like :func:`take`, with *default* for a missing field."""
    return take(frame, name, kind) if name in frame else default


def take_maybe(frame: Frame, name: str, kind: type[T]) -> T | None:
    """Like :func:`take`, with None for a missing or null field."""
    return None if frame.get(name) is None else take(frame, name, kind)


def take_seq(frame: Frame, name: str) -> int:
    """A position in a log: an integer that is not negative."""
    value = take(frame, name, int)
    if value < 0:
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame is negative")
    return value


def take_ids(frame: Frame, name: str) -> tuple[str, ...]:
    """A list of ids."""
    ids = take(frame, name, list)
    if not all(isinstance(one, str) for one in ids):
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame holds something that is no id")
    return tuple(ids)


def take_ints(frame: Frame, name: str) -> tuple[int, ...]:
    """A list of whole numbers."""
    found = take(frame, name, list)
    if not all(type(one) is int for one in found):
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame holds something that is no int")
    return tuple(found)


def take_number(frame: Frame, name: str) -> float:
    """A number, whole or not."""
    value = frame.get(name)
    return float(value) if type(value) is int else take(frame, name, float)


def take_each(frame: Frame, name: str, read: Callable[[Frame], T]) -> tuple[T, ...]:
    """A list of maps, each read with *read*."""
    parts = take(frame, name, list)
    if not all(isinstance(part, dict) for part in parts):
        raise ProtocolViolation(f"field {name!r} of a {frame.get('t', 'part')!r} frame holds something that is no map")
    return tuple(read(part) for part in parts)


def take_part(frame: Frame, name: str, read: Callable[[Frame], T]) -> T | None:
    """A map, read with *read*; None when it is missing or null."""
    return None if frame.get(name) is None else read(take(frame, name, dict))


def without_defaults(**fields: Any) -> dict[str, Any]:
    """*fields* as they travel: those that say nothing are left out."""
    return {name: value for name, value in fields.items() if value is not None and value != []}
