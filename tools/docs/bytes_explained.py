"""A frame's bytes, one line for each part, as a client sends them."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tools.docs.vectors import masked


def explained(frame: dict[str, Any]) -> str:
    """The masked WebSocket frame of *frame*, a map of texts and small numbers, with a remark beside each part."""
    payload = msgspec.msgpack.encode(frame)
    wire = masked(payload)
    if len(payload) >= 126:
        raise ValueError("only short frames are explained")
    lines = [
        (wire[:1], "final frame, binary (RFC 6455, section 5.2)"),
        (wire[1:2], f"masked, {len(payload)} bytes of payload"),
        (wire[2:6], "the mask, another one for each frame"),
        (wire[6:], "the payload under the mask; without it:"),
        *_parts(frame),
    ]
    short = [(data.hex() if len(data) <= 15 else data[:12].hex() + "...", remark) for data, remark in lines]
    width = max(len(shown) for shown, _ in short)
    return "\n".join(f"{shown:<{width}}  {remark}" for shown, remark in short)


def _parts(value: Any) -> Iterator[tuple[bytes, str]]:
    encoded = msgspec.msgpack.encode(value)
    match value:
        case dict():
            yield encoded[:1], f"a map of {len(value)}"
            for key, item in value.items():
                yield from _parts(key)
                yield from _parts(item)
        case str():
            size = len(value.encode())
            yield encoded, f'text of {size} byte{"s" if size != 1 else ""}: "{value}"'
        case int():
            yield encoded, f"the number {value}"
        case _:
            raise TypeError(f"no words for {type(value)}")
