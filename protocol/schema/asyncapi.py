"""The socket as an AsyncAPI 3.0 document, seen from the server: it receives commands and sends replies and events."""

from typing import Any, Final

from msgspec import Struct

from protocol import frames
from protocol.errors import KonnectError, catalogue
from protocol.schema import answers, examples, prose, shapes
from protocol.schema.catalogue import COMMANDS, EVENTS, tag
from protocol.schema.tables import close_rows, limit_rows

VERSION: Final = "1.0.0"  # of the protocol, whose first number is that of the subprotocol konnect.v1
SUBPROTOCOL: Final = "konnect.v1"
CONTENT_TYPE: Final = "application/msgpack"
_CHANNEL: Final = {"$ref": "#/channels/socket"}

_DESCRIPTION: Final = """\
Konnect's socket: one WebSocket with the subprotocol `konnect.v1`. Each binary message is one MessagePack map; its type
stands in `t`. Ids are UUIDv7 text, times are Unix milliseconds (UTC).

A command carries `id`, a number of the client's choice, and is answered exactly once, by `ok` or `error` with that
`id`. Events carry no `id`. `hello` comes first, within 10 seconds. Unknown fields are to be ignored.

Close codes 4000-4499 mean "come back", 4500-4999 "stay away until something changes": see `x-close-codes`. What this
document cannot say, the order of frames, resuming and safe repeats, is in `docs/protocol.md`. Who holds no socket calls
the same commands over HTTP, `POST /v1/call/...`, which `/openapi.json` describes."""


def asyncapi() -> dict[str, Any]:
    """The document, ready for JSON. Some milliseconds of work: make it once and keep it."""
    messages = {
        **{f"command.{tag(command)}": _command(command) for command in COMMANDS},
        **{f"ok.{tag(command)}": _ok(command) for command in COMMANDS},
        "error": _error(),
        **{f"event.{tag(event)}": _event(event) for event in EVENTS},
    }
    structs: list[type[Struct]] = [*COMMANDS, *frames.RESULTS.values(), frames.Error, *EVENTS]
    return {
        "asyncapi": "3.0.0",
        "id": "urn:konnect:socket:v1",
        "info": {
            "title": "Konnect socket",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "local": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "A server on one's own machine (`make run`). In public use `wss`, behind a TLS proxy.",
            }
        },
        "channels": {
            "socket": {
                "address": "/v1/socket",
                "title": "The socket",
                "description": "One per device. Binary messages only; a text message is answered with `binary_only`.",
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "headers": {
                            "type": "object",
                            "properties": {
                                "Sec-WebSocket-Protocol": {"const": SUBPROTOCOL, "description": "The subprotocol."}
                            },
                            "required": ["Sec-WebSocket-Protocol"],
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
            }
        },
        "operations": {
            **{f"command.{tag(command)}": _receive(command) for command in COMMANDS},
            **{f"event.{tag(event)}": _send(event) for event in EVENTS},
        },
        "components": {
            "messages": messages,
            "schemas": shapes.components(structs),
            "correlationIds": {
                "command": {
                    "description": "The client's number for the command; the answer repeats it.",
                    "location": "$message.payload#/id",
                }
            },
        },
        "x-close-codes": [
            {
                "code": row.code,
                "reason": row.reason,
                "meaning": row.meaning,
                "comeBack": row.come_back,
                "advice": row.advice,
            }
            for row in close_rows()
        ],
        "x-errors": [_error_row(error) for error in catalogue() if error in answers.on_socket()],
        "x-limits": {row.name: row.value for row in limit_rows()},
    }


def _message(key: str, about: type[Struct], payload: dict[str, Any], example: Any) -> dict[str, Any]:
    return {
        "name": key,
        "title": about.__name__,
        "summary": prose.summary(about),
        "description": prose.text(about),
        "contentType": CONTENT_TYPE,
        "payload": payload,
        "examples": [{"name": "example", "summary": "The MessagePack map, written as JSON.", "payload": example}],
    }


def _command(command: type[frames.Command]) -> dict[str, Any]:
    message = _message(f"command.{tag(command)}", command, shapes.reference(command), examples.COMMANDS[command])
    return {**message, "correlationId": {"$ref": "#/components/correlationIds/command"}}


def _ok(command: type[frames.Command]) -> dict[str, Any]:
    result = frames.RESULTS[command]
    payload = {
        "type": "object",
        "title": f"Ok{result.__name__}",
        "properties": {
            "t": {"const": "ok", "description": "Names the type of this frame."},
            "id": shapes.of_type(frames.Id),
            "result": shapes.reference(result),
        },
        "required": ["t", "id", "result"],
    }
    message = _message(f"ok.{tag(command)}", result, payload, examples.answer(command))
    return {
        **message,
        "description": f"Answers `{tag(command)}`. {prose.text(result)}",
        "correlationId": {"$ref": "#/components/correlationIds/command"},
    }


def _error() -> dict[str, Any]:
    message = _message("error", frames.Error, shapes.reference(frames.Error), examples.as_map(examples.ERROR))
    return {**message, "correlationId": {"$ref": "#/components/correlationIds/command"}}


def _event(event: type[frames.Event]) -> dict[str, Any]:
    example = examples.as_map(examples.EVENTS[event])
    return _message(f"event.{tag(event)}", event, shapes.reference(event), example)


def _receive(command: type[frames.Command]) -> dict[str, Any]:
    name = tag(command)
    own = [error.code for error in answers.ERRORS[command]]
    return {
        "action": "receive",
        "channel": _CHANNEL,
        "title": name,
        "summary": prose.summary(command),
        "description": prose.text(command),
        "messages": [{"$ref": f"#/channels/socket/messages/command.{name}"}],
        "reply": {
            "channel": _CHANNEL,
            "messages": [
                {"$ref": f"#/channels/socket/messages/ok.{name}"},
                {"$ref": "#/channels/socket/messages/error"},
            ],
        },
        "tags": [{"name": "command"}],
        "x-errors": [*own, *(error.code for error in answers.COMMON_ERRORS)],
    }


def _send(event: type[frames.Event]) -> dict[str, Any]:
    name = tag(event)
    return {
        "action": "send",
        "channel": _CHANNEL,
        "title": name,
        "summary": prose.summary(event),
        "description": prose.text(event),
        "messages": [{"$ref": f"#/channels/socket/messages/event.{name}"}],
        "tags": [{"name": "event"}],
    }


def _error_row(error: type[KonnectError]) -> dict[str, Any]:
    return {"code": error.code, "meaning": prose.text(error), "fix": error.fix, "httpStatus": error.status}
