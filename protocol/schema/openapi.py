"""The HTTP endpoints as an OpenAPI 3.1 document. Every operation declares every answer it may give."""

from typing import Any, Final

from msgspec import Struct

from protocol import http
from protocol.errors import KonnectError, RateLimited, Unauthorized
from protocol.schema import endpoints, examples, prose, shapes

_DESCRIPTION: Final = """\
Accounts and sign-ins for Konnect, what an operator needs, and every command of the socket as a call, for who holds
none. What people do with each other travels on the socket, `/v1/socket`, which `/asyncapi.json` describes.

Bodies are JSON objects; unknown fields are ignored, in both directions. Every error is `application/problem+json`
(RFC 9457) with a stable `code`. An address that does not exist answers 404 `not_found`, a method that an address does
not have 405 `method_not_allowed`."""


def openapi(version: str) -> dict[str, Any]:
    """The document, ready for JSON. Some milliseconds of work: make it once and keep it.

    Args:
        version: Of the server that serves it.
    """
    paths: dict[str, dict[str, Any]] = {}
    structs: list[type[Struct]] = [http.Problem]
    for endpoint in endpoints.ALL:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
        structs += [answer.body for answer in endpoint.answers.values() if answer.body]
        structs += [endpoint.request] if endpoint.request else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Konnect HTTP",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": name, "description": text} for name, text in http.TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": shapes.components(structs),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token, from register, login or refresh.",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the server is configured with: `operator_token`.",
                },
            },
        },
    }


def _operation(endpoint: http.Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "security": {"none": [], "bearer": [{"bearer": []}], "optional": [{}, {"bearer": []}],
                     "operator": [{"operator": []}]}[endpoint.auth],
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": parameter.name,
            "in": "path",
            "required": True,
            "description": parameter.description,
            "schema": shapes.of_type(parameter.kind),
        }
        for parameter in endpoint.parameters
    ]
    parameters += [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": shapes.of_type(header.kind),
            "example": header.example,
        }
        for header in endpoint.headers
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.request:
        operation["requestBody"] = {
            "required": endpoint.request_required,
            "description": prose.text(endpoint.request),
            "content": {
                "application/json": {
                    "schema": shapes.reference(endpoint.request),
                    "example": examples.REQUESTS[endpoint.request],
                }
            },
        }
    answers = {str(status): _answer(answer) for status, answer in endpoint.answers.items()}
    operation["responses"] = {**answers, **_problems(endpoint)}
    return operation


def _answer(answer: http.Answer) -> dict[str, Any]:
    if answer.media is None:
        return {"description": answer.description}
    if answer.body is not None:
        content = {"schema": shapes.reference(answer.body), "example": examples.body(answer)}
    else:
        content = {"schema": {"type": "object" if answer.media == "application/json" else "string"}}
    return {"description": answer.description, "content": {answer.media: content}}


def _problems(endpoint: http.Endpoint) -> dict[str, Any]:
    """The answers that are errors, one for each HTTP status, which may stand for several codes."""
    by_status: dict[int, list[type[KonnectError]]] = {}
    for error in dict.fromkeys((*endpoint.errors, *http.COMMON_ERRORS)):
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, errors: list[type[KonnectError]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "\n\n".join(f"`{error.code}`: {prose.text(error)}" for error in errors),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        shapes.reference(http.Problem),
                        {"properties": {"code": {"enum": [error.code for error in errors]}}},
                    ]
                },
                "examples": {
                    error.code: {"summary": prose.summary(error), "value": examples.problem(error)} for error in errors
                },
            }
        },
    }
    headers = {}
    if RateLimited in errors:
        headers["Retry-After"] = {"description": "Seconds to wait, rounded up.", "schema": {"type": "integer"}}
    if Unauthorized in errors:
        headers["WWW-Authenticate"] = {"description": "The scheme: `Bearer`.", "schema": {"type": "string"}}
    return {**response, "headers": headers} if headers else response
