"""Bytes to frames and back: one decoder for all commands, and ``wire``, which prepares a frame for many sockets.

Server frames are unmasked, so the same bytes object, WebSocket header included, serves every socket (RFC 6455,
section 5.1: only a client masks).
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from protocol.errors import BadFrame, Invalid, KonnectError, UnknownCommand
from protocol.frames import AnyCommand, Entry, Error, Ok

_decode: Final[Callable[[bytes], AnyCommand]] = msgspec.msgpack.Decoder(AnyCommand).decode
_decode_answer: Final[Callable[[memoryview], Ok | Error]] = msgspec.msgpack.Decoder(Ok | Error).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class _Loose(Struct):
    """Enough of a refused frame to answer it under its own id."""

    id: Any = None
    t: Any = None


_decode_loose: Final = msgspec.msgpack.Decoder(_Loose).decode
_TAGS: Final = frozenset(str(cls.__struct_config__.tag) for cls in AnyCommand.__args__)


def decode(payload: bytes) -> AnyCommand:
    """One command from one message's bytes.

    Raises:
        BadFrame: Not one MessagePack map with texts as keys, not UTF-8, or nested too deep.
        UnknownCommand: A map whose ``t`` names no command.
        Invalid: A field is missing, of the wrong type or out of bounds; the text says which.
    """
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _explain(payload, problem) from problem


def claimed_id(payload: bytes) -> int | None:
    """The ``id`` of a frame that :func:`decode` refused, if one can be read."""
    try:
        found = _decode_loose(payload).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if type(found) is int and 0 <= found < 2**53 else None


def _explain(payload: bytes, problem: Exception) -> KonnectError:
    if isinstance(problem, UnicodeDecodeError):
        return BadFrame("a text in the message is not UTF-8")
    if isinstance(problem, RecursionError):
        return BadFrame("the message is nested too deep")
    if not isinstance(problem, msgspec.ValidationError):
        return BadFrame("the message is not one MessagePack map with texts as keys")
    try:
        loose = _decode_loose(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadFrame("the message is not one MessagePack map with texts as keys")
    if isinstance(loose.t, str) and loose.t not in _TAGS:
        return UnknownCommand(f"no command is called {loose.t[:64]!r}")
    return Invalid(str(problem))


def wire(frame: Struct) -> bytes:
    """*frame* as one unmasked binary WebSocket message, header and all, ready for any socket."""
    return message(_encode(frame))


def message(payload: bytes) -> bytes:
    """*payload* behind the header of a final, binary, unmasked WebSocket frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x82, size)) + payload
    if size < 65_536:
        return b"\x82\x7e" + size.to_bytes(2, "big") + payload
    return b"\x82\x7f" + size.to_bytes(8, "big") + payload


def entry(of: Entry) -> bytes:
    """The wire form of the event that tells *of*: what ``wire(EntryEvent(...))`` says, without the copy.

    The pairs' own bytes stand behind a new head with the one pair ``t: entry`` more. msgspec writes a head of three
    bytes for a type of more than 15 fields, however few of them are there (map 16); up to 15 pairs need one byte.
    """
    body = _encode(of)
    pairs = body[2] + 1
    head = bytes((0x80 | pairs,)) if pairs < 16 else bytes((0xDE, 0, pairs))
    return message(head + b"\xa1t\xa5entry" + body[3:])


def ok(command_id: int, result: Struct) -> bytes:
    """The wire form of the answer to a command that succeeded."""
    return message(_encode(Ok(command_id, result)))


def error(command_id: int | None, problem: KonnectError) -> bytes:
    """The wire form of the answer to a command that did not."""
    after = problem.retry_after_ms
    return message(_encode(Error(command_id, problem.code, str(problem), UNSET if after is None else after)))


def answer(data: bytes) -> Ok | Error:
    """The frame that :func:`ok` or :func:`error` made *data* of, for who gets answers and has no socket."""
    start = {126: 4, 127: 10}.get(data[1], 2)
    return _decode_answer(memoryview(data)[start:])
