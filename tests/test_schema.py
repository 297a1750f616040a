"""Both published documents are valid, whole, and say what the decoder does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]  # no types
from openapi_spec_validator import OpenAPIV31SpecValidator

from protocol import closing, errors, frames, http, limits
from protocol.schema import answers, asyncapi, examples, openapi, prose, shapes, tables
from protocol.schema.catalogue import COMMANDS, EVENTS, RECORDS, RESULTS, tag
from protocol.schema.endpoints import ALL as ENDPOINTS
from protocol.schema.tables import field_rows

DATA = Path(__file__).parent / "data" / "asyncapi"
VECTORS = json.loads((Path(__file__).parents[1] / "docs" / "vectors.json").read_text("utf-8"))
ASYNCAPI = asyncapi()
OPENAPI = openapi("1.2.3")


def references(document: Any) -> Iterator[str]:
    """Every ``$ref`` in *document*."""
    match document:
        case dict():
            if "$ref" in document:
                yield document["$ref"]
            for item in document.values():
                yield from references(item)
        case list():
            for item in document:
                yield from references(item)


def resolve(document: Any, reference: str) -> Any:
    """What *reference* points at inside *document*."""
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def validator(kind: type[Draft7Validator] | type[Draft202012Validator], document: Any, schema: Any) -> Any:
    """A validator of *schema*, whose references point into *document*."""
    return kind({**schema, "components": document["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER)


# --- AsyncAPI ---------------------------------------------------------------------------------------------------------


def test_the_asyncapi_document_is_valid() -> None:
    """Judged by the official schema of AsyncAPI 3.0.0."""
    schema = json.loads((DATA / "3.0.0.json").read_text("utf-8"))
    problems = [f"{problem.json_path}: {problem.message}" for problem in Draft7Validator(schema).iter_errors(ASYNCAPI)]
    assert not problems


def test_the_judge_of_asyncapi_documents_is_awake() -> None:
    """A document with a mistake is refused, or the test above would say nothing."""
    schema = json.loads((DATA / "3.0.0.json").read_text("utf-8"))
    broken = json.loads(json.dumps(ASYNCAPI))
    broken["operations"]["command.hello"]["action"] = "receives"
    assert list(Draft7Validator(schema).iter_errors(broken))


@pytest.mark.parametrize("document", [ASYNCAPI, OPENAPI], ids=["asyncapi", "openapi"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """And is JSON through and through."""
    found = set(references(document))
    assert found
    for reference in found:
        assert resolve(document, reference)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@pytest.mark.parametrize("document", [ASYNCAPI, OPENAPI], ids=["asyncapi", "openapi"])
def test_every_component_is_used(document: dict[str, Any]) -> None:
    """What nobody refers to is a leftover."""
    used = set(references(document))
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in used


def test_the_socket_is_described() -> None:
    """Address, subprotocol, binary messages."""
    channel = ASYNCAPI["channels"]["socket"]
    assert channel["address"] == "/v1/socket"
    headers = channel["bindings"]["ws"]["headers"]
    assert headers["properties"]["Sec-WebSocket-Protocol"]["const"] == "konnect.v1"
    assert ASYNCAPI["defaultContentType"] == "application/msgpack"
    assert {message["contentType"] for message in ASYNCAPI["components"]["messages"].values()} == {
        "application/msgpack"
    }


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_every_command_is_described_with_its_replies(command: type[frames.Command]) -> None:
    """What is sent, what comes back, which errors; in words of the docstring."""
    name = tag(command)
    operation = ASYNCAPI["operations"][f"command.{name}"]
    assert operation["action"] == "receive"
    assert operation["description"] == prose.text(command)
    (sent,) = [resolve(ASYNCAPI, message["$ref"]) for message in operation["messages"]]
    assert resolve(ASYNCAPI, sent["$ref"])["payload"]["$ref"].endswith(f"/{command.__name__}")
    replies = [message["$ref"].rpartition("/")[2] for message in operation["reply"]["messages"]]
    assert replies == [f"ok.{name}", "error"]
    ok = ASYNCAPI["components"]["messages"][f"ok.{name}"]["payload"]
    assert ok["properties"]["result"]["$ref"].endswith(f"/{frames.RESULTS[command].__name__}")
    assert {error.code for error in (*answers.ERRORS[command], *answers.COMMON_ERRORS)} == set(operation["x-errors"])


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_every_event_is_described(event: type[frames.Event]) -> None:
    """As something the server sends by itself."""
    operation = ASYNCAPI["operations"][f"event.{tag(event)}"]
    assert operation["action"] == "send"
    assert "reply" not in operation
    assert operation["description"] == prose.text(event)


def test_nothing_else_is_described() -> None:
    """As many operations as commands and events; as many messages as those, an ok for each command, and the error."""
    assert len(ASYNCAPI["operations"]) == len(COMMANDS) + len(EVENTS)
    messages = ASYNCAPI["components"]["messages"]
    assert len(messages) == 2 * len(COMMANDS) + len(EVENTS) + 1
    assert set(ASYNCAPI["channels"]["socket"]["messages"]) == set(messages)


def test_errors_close_codes_and_limits_are_listed() -> None:
    """All of them, for generators of clients."""
    listed = {row["code"]: row for row in ASYNCAPI["x-errors"]}
    assert set(listed) == {error.code for error in answers.on_socket()}
    assert {row["code"] for row in ASYNCAPI["x-close-codes"]} == {close.code for close in closing.ALL}
    assert all(row["comeBack"] == (row["code"] < 4500) for row in ASYNCAPI["x-close-codes"])
    assert ASYNCAPI["x-limits"]["FRAME_BYTES"] == limits.FRAME_BYTES


@pytest.mark.parametrize("name", ASYNCAPI["components"]["messages"])
def test_every_example_fits_its_schema(name: str) -> None:
    """The examples are what people copy."""
    message = ASYNCAPI["components"]["messages"][name]
    judge = validator(Draft7Validator, ASYNCAPI, message["payload"])
    assert message["examples"]
    for example in message["examples"]:
        judge.validate(example["payload"])


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["name"])
def test_the_schema_accepts_what_the_codec_accepts(vector: dict[str, Any]) -> None:
    """A client that checks against the document before it sends is never stricter than the server."""
    kinds: list[type[msgspec.Struct]] = [*EVENTS, frames.Error] if vector["sender"] == "server" else list(COMMANDS)
    named = {tag(kind): kind.__name__ for kind in kinds}
    schema: dict[str, Any]
    if vector["t"] in named:
        schema = {"$ref": f"#/components/schemas/{named[vector['t']]}"}
    else:
        command = vector["name"].removeprefix("ok to ").partition(":")[0]
        message = ASYNCAPI["components"]["messages"].get(f"ok.{command}")
        schema = message["payload"] if message else {"properties": {"t": {"const": "ok"}}}
    validator(Draft7Validator, ASYNCAPI, schema).validate(vector["json"])


UNSAYABLE = {
    "id is a float",  # JSON Schema takes 2.0 for an integer
    "ping with data too long",  # a bound in bytes of MessagePack
    "message.send with an empty text",  # empty is right beside media, a location or a contact
}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS["refused"] if "json" in vector and "$bytes" not in json.dumps(vector["json"])],
    ids=lambda vector: vector["name"],
)
def test_the_schema_refuses_what_the_codec_refuses(vector: dict[str, Any]) -> None:
    """So a client can find its mistake before it sends it."""
    kinds = [{"$ref": f"#/components/schemas/{command.__name__}"} for command in COMMANDS]
    judge = validator(Draft7Validator, ASYNCAPI, {"anyOf": kinds})
    assert judge.is_valid(vector["json"]) == (vector["name"] in UNSAYABLE)


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


def test_the_openapi_document_is_valid() -> None:
    """OpenAPI 3.1, judged by openapi-spec-validator."""
    assert [str(problem) for problem in OpenAPIV31SpecValidator(OPENAPI).iter_errors()] == []
    assert OPENAPI["openapi"] == "3.1.0"
    assert OPENAPI["info"]["version"] == "1.2.3"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_declares_all_its_answers(endpoint: http.Endpoint) -> None:
    """Those that are errors with their codes, and nothing left undeclared."""
    operation = OPENAPI["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.name
    assert operation["summary"]
    declared = {error.status: error for error in (*endpoint.errors, *http.COMMON_ERRORS)}
    assert set(operation["responses"]) == {str(status) for status in (*endpoint.answers, *declared)}
    for error in (*endpoint.errors, *http.COMMON_ERRORS):
        content = operation["responses"][str(error.status)]["content"]["application/problem+json"]
        assert error.code in content["schema"]["allOf"][1]["properties"]["code"]["enum"]
        assert content["examples"][error.code]["value"]["code"] == error.code
    assert bool(operation["security"]) == (endpoint.auth != "none")
    in_path = {part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")}
    named = {"path": in_path, "header": {header.name for header in endpoint.headers}}
    for place, names in named.items():
        assert {each["name"] for each in operation.get("parameters", []) if each["in"] == place} == names


def test_nothing_else_is_in_the_paths() -> None:
    """As many operations as endpoints."""
    assert sum(len(methods) for methods in OPENAPI["paths"].values()) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_example_of_a_body_fits_its_schema(endpoint: http.Endpoint) -> None:
    """By JSON Schema 2020-12, which OpenAPI 3.1 uses, and by the Struct that reads it."""
    operation = OPENAPI["paths"][endpoint.path][endpoint.method.lower()]
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for body in (*bodies, *operation["responses"].values()):
        for content in body.get("content", {}).values():
            shown = [content["example"]] if "example" in content else []
            shown += [example["value"] for example in content.get("examples", {}).values()]
            for example in shown:
                validator(Draft202012Validator, OPENAPI, content["schema"]).validate(example)
    if endpoint.request:
        msgspec.convert(operation["requestBody"]["content"]["application/json"]["example"], endpoint.request)


@pytest.mark.parametrize("error", errors.catalogue(), ids=lambda error: error.code)
def test_an_example_of_a_problem_is_one(error: type[errors.KonnectError]) -> None:
    """With the members of RFC 9457 and our code."""
    problem = msgspec.convert(examples.problem(error), http.Problem)
    assert (problem.code, problem.status) == (error.code, error.status)
    assert problem.title != problem.detail


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_the_tables_are_whole() -> None:
    """A row for every frame, error, close code and bound."""
    rows = tables()
    assert [row.name for row in rows.commands] == [tag(command) for command in COMMANDS]
    assert [row.name for row in rows.events] == [tag(event) for event in EVENTS]
    assert [row.name for row in rows.results] == [result.__name__ for result in RESULTS]
    assert [row.name for row in rows.records] == [record.__name__ for record in RECORDS]
    assert [row.code for row in rows.errors] == [error.code for error in errors.catalogue()]
    assert [row.code for row in rows.closes] == [close.code for close in closing.ALL]
    assert all(row.advice.endswith(".") for row in rows.closes)
    constants = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert {row.name: row.value for row in rows.limits} == constants
    assert all(row.meaning.endswith(".") for row in rows.limits)


def test_every_anchor_is_its_own() -> None:
    """One page shows all frames; a link must lead to one of them."""
    rows = tables()
    anchors = [row.anchor for row in (*rows.commands, *rows.events, *rows.results, *rows.records)]
    assert len(set(anchors)) == len(anchors)


def test_the_bytes_beside_an_example_are_the_example() -> None:
    """As hex, ready to paste into a decoder."""
    rows = tables()
    for row in (*rows.commands, *rows.events, *rows.results, *rows.records):
        assert msgspec.msgpack.decode(bytes.fromhex(row.example_hex)) == row.example


def test_tables_are_ready_for_json() -> None:
    """The server's own page is made from them."""
    rows = tables()
    assert msgspec.json.decode(msgspec.json.encode(rows), type=type(rows)) == rows


def test_a_field_is_told_in_plain_words() -> None:
    """For people who write clients in any language."""
    hello = {row.name: row for row in field_rows(frames.Hello)}
    assert next(iter(hello)) == "id"
    assert (hello["heads"].type, hello["heads"].limits) == ("map of id to whole number", "up to 1,000 keys")
    assert (hello["token"].required, hello["token"].limits) == (True, "1 to 4,096 characters")
    assert (hello["cursor"].type, hello["cursor"].default) == ("text or null", "null")
    entry = {row.name: row for row in field_rows(frames.Entry)}
    assert entry["seq"].limits == "0 to 2^63 - 1"
    assert (entry["text"].required, entry["text"].default) == (False, "")
    page = {row.name: row for row in field_rows(frames.HistoryPage)}
    assert page["entries"].type == "list of Entry"
    users = {row.name: row for row in field_rows(frames.UserGet)}
    assert users["users"].limits == "1 to 100 items"


# --- Shapes and prose -------------------------------------------------------------------------------------------------


def test_a_shape_that_nobody_has_described_is_an_error() -> None:
    """Better than a document that says nothing about a field."""
    with pytest.raises(TypeError, match="no schema"):
        shapes.of_type(bytearray)


def test_a_described_reference_is_still_read_by_draft_07() -> None:
    """There, what stands beside a ``$ref`` is ignored."""
    described = msgspec.defstruct(
        "Holder",
        [("user", Annotated[frames.User, msgspec.Meta(description="Who it is.")])],
        namespace={"__doc__": "Holds."},
    )
    schema = shapes.components([described])
    assert schema["Holder"]["properties"]["user"] == {
        "allOf": [{"$ref": "#/components/schemas/User"}],
        "description": "Who it is.",
    }
    assert set(schema) == {"Holder", "User"}


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        (":class:`Opened` and ``code``.", "`Opened` and `code`."),
        ("One\n    line.\n\n    And\n    another.", "One line.\n\nAnd another."),
        ("", ""),
    ],
)
def test_docstrings_are_tidied(written: str, tidied: str) -> None:
    """Marks of Python's documentation are none of a client's."""
    assert prose.tidy(written) == tidied


@pytest.mark.parametrize(
    ("whole", "first"),
    [
        ("One sentence.", "One sentence"),
        ("One. Two.", "One"),
        ("At 4.5 ms. Two.", "At 4.5 ms"),
        ("One\n\nTwo.", "One"),
        ("Is it? Yes.", "Is it?"),
    ],
)
def test_the_first_sentence_is_the_summary(whole: str, first: str) -> None:
    """Numbers with a point do not end it."""
    assert prose.first_sentence(whole) == first


def test_what_runs_for_a_frame_does_not_import_the_documents() -> None:
    """A client that ships ``protocol`` alone, and the server's start, pay nothing for them."""
    script = "import sys, protocol.codec, protocol.closing; sys.exit('protocol.schema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=DATA.parents[2]).returncode == 0
