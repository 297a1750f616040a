"""Frames to bytes and back, with msgpack: one map per message."""

from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # the package ships no types

from konnect_client.errors import ProtocolViolation, TooLarge

FRAME_BYTES: Final = 65_536  # the server refuses longer ones by closing the connection


def pack(frame: Mapping[str, object]) -> bytes:
    """*frame* as one message.

    Raises:
        TooLarge: It is longer than the server reads.
        ValueError: A string is not Unicode text (it holds a lone surrogate).
    """
    payload: bytes = msgpack.packb(frame, use_bin_type=True)
    if len(payload) > FRAME_BYTES:
        raise TooLarge(f"the command has {len(payload)} bytes; a frame may have {FRAME_BYTES}")
    return payload


def unpack(payload: bytes) -> dict[str, Any]:
    """The map in *payload*.

    Raises:
        ProtocolViolation: It is not exactly one MessagePack map with text keys.
    """
    try:
        frame = msgpack.unpackb(payload, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as problem:
        raise ProtocolViolation(f"a message of {len(payload)} bytes is not MessagePack: {problem}") from problem
    if not isinstance(frame, dict) or not all(isinstance(name, str) for name in frame):
        raise ProtocolViolation(f"a message of {len(payload)} bytes is not a map with text keys")
    return frame
