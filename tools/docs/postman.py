"""docs/postman/: every endpoint as a Postman collection (format v2.1), and the environment that it is used with.

Made from the endpoints and the examples of the documents. Run from top to bottom it is one story: three people make
accounts, one of them signs in, calls every command and sends a file. What later requests need, tokens and ids, is kept
in variables by the scripts of those before.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from protocol import frames
from protocol.calls import CALLS
from protocol.http import Endpoint
from protocol.schema import examples
from protocol.schema.endpoints import ALL

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_ABOUT: Final = """\
Konnect over HTTP: accounts, and every command of the socket as a call.

Choose the environment `Konnect, on this machine` and set `base_url`. "Run collection" goes through all of it on any \
server and leaves three fresh accounts there. To try single requests with an account that exists, set `email` and \
`password` (`make run` has the two that stand there), send `login`, and set `bob` and `cleo` to ids of others."""

# Values of the examples -> the variable that stands for them.
_VARIABLES: Final = {
    str(examples.ANN): "ann",
    str(examples.BOB): "bob",
    str(examples.CLEO): "cleo",
    str(examples.MATCH): "match",
    str(examples.DIRECT): "direct",
    str(examples.GROUP): "group",
    str(examples.SCHEDULED): "scheduled",
    str(examples.ROOM): "room",
    str(examples.POST): "post",
    str(examples.COMMENT): "comment",
    examples.CODE: "code",
    examples.REFRESH_TOKEN: "refresh_token",
    "ann@example.com": "email",
    "correct horse battery": "password",
}
ENVIRONMENT: Final = {
    "base_url": "http://127.0.0.1:8080",
    "email": "ann@example.com",
    "password": "konnect-demo",
    **dict.fromkeys(("access_token", "refresh_token", "ann", "bob", "cleo", "direct", "group"), ""),
    **dict.fromkeys(("message", "poll", "scheduled", "upload", "upload_url", "medium_url"), ""),
    **dict.fromkeys(("access_token", "refresh_token", "ann", "bob", "cleo", "direct", "group", "room"), ""),
    **dict.fromkeys(("code", "cleo_token"), ""),
    **dict.fromkeys(("match",), ""),
    **dict.fromkeys(("post", "comment"), ""),
    **dict.fromkeys(("message", "upload", "upload_url", "medium_url"), ""),
}
_SECRET: Final = frozenset({"cleo_token", "password", "access_token", "refresh_token"})

# What a later request needs of an answer: variable -> where it stands.
_TOKENS: Final = {"access_token": "access_token", "refresh_token": "refresh_token", "ann": "user.id"}
_KEPT: Final = {
    "register": {**_TOKENS, "email": "user.email"},
    "login": _TOKENS,
    "refresh": {"access_token": "access_token", "refresh_token": "refresh_token"},
    "beginUpload": {"upload": "id", "upload_url": "url"},
    "finishUpload": {"medium_url": "url"},
    "callMessageSend": {"message": "seq"},
    "callLinkCreate": {"code": "link.code"},
    "callPostCreate": {"post": "post"},
    "callCommentCreate": {"comment": "comment"},
    "callPollCreate": {"poll": "seq"},
    "callMessageSchedule": {"scheduled": "scheduled"},
}
# A file that Postman can hold: the documents' example is a picture.
_FILE: Final = "What a day!"
_FILE_TYPE: Final = "application/octet-stream"
_ANNOUNCED: Final = {
    "kind": "file", "size_bytes": len(_FILE), "content_type": _FILE_TYPE, "sha256": sha256(_FILE.encode()).hexdigest(),
    "name": "day.txt",
}  # fmt: skip
_SIGNED: Final = {"putBlob": "{{upload_url}}", "getBlob": "{{medium_url}}"}  # whole addresses, as they came
# The story ends no sign-in and deletes no message that it still needs, and adds whom it has removed.
_BEFORE: Final = {
    "logout": "login", "callConversationRemove": "callConversationAdd", "putBlob": "finishUpload",
    "callRoomLeave": "callRoomJoin",
    **dict.fromkeys(["callLinkPreview", "callLinkJoin"], "callLinkRevoke"),
    **dict.fromkeys(
        ["callConversationTitle", "callConversationTopic", "callConversationPhoto", "callConversationSlowMode",
         "callConversationHandover"],
        "callConversationLeave",
    ),
}  # fmt: skip
_LAST: Final = "callMessageDelete"
LEFT_OUT: Final = {
    "sendNotification": "it needs the operator's token, which no person of the story has",
    "socket": "Postman opens it otherwise",
    **dict.fromkeys(("verify", "setPassword", "confirmEmail"), "it needs a code out of a mail"),
    "callAccountDelete": "it would end the account of the story",
    **dict.fromkeys(("callReportList", "callReportClose"), "they are for moderators, whom the operator makes"),
    "publicBlob": "only profile photos are public, and a picture cannot stand in a collection",
}


def collection() -> dict[str, Any]:
    """The collection, ready for JSON."""
    folders: dict[str, list[dict[str, Any]]] = {"auth": list(_others())}
    for endpoint in _in_order():
        if endpoint.name == "callContactAnswer":
            folders["contact"].append(_asked_by_cleo())
        folders.setdefault(_folder(endpoint), []).append(_request(endpoint))
    folders["conversation"] += _more()
    folders["opener"] += _back()
    folders["post"].append(_another_post())
    return {
        "info": {"name": "Konnect", "description": _ABOUT, "schema": SCHEMA},
        "auth": _bearer(),
        "item": [{"name": name, "item": requests} for name, requests in folders.items()],
    }


def environment() -> dict[str, Any]:
    """The environment, ready for JSON."""
    return {
        "name": "Konnect, on this machine",
        "values": [
            {"key": name, "value": value, "type": "secret" if name in _SECRET else "default", "enabled": True}
            for name, value in ENVIRONMENT.items()
        ],
        "_postman_variable_scope": "environment",
    }


def _in_order() -> list[Endpoint]:
    found = [endpoint for endpoint in ALL if endpoint.answers and endpoint.name not in LEFT_OUT]
    for name, later in _BEFORE.items():
        moved = next(endpoint for endpoint in found if endpoint.name == name)
        found.remove(moved)
        found.insert([endpoint.name for endpoint in found].index(later), moved)
    return sorted(found, key=lambda endpoint: endpoint.name == _LAST)


def _folder(endpoint: Endpoint) -> str:
    """The noun: of a command what stands before its point."""
    named = {call.path: call.name.partition(".")[0] for call in CALLS.values()}
    return named.get(endpoint.path, endpoint.tag)


def _others() -> Iterator[dict[str, Any]]:
    """The two other people of the story."""
    [register] = [endpoint for endpoint in ALL if endpoint.name == "register"]
    for name in ("Bob", "Cleo"):
        body = {**examples.REQUESTS[register.request], "name": name} if register.request else {}
        kept = {name.lower(): "user.id", **({"cleo_token": "access_token"} if name == "Cleo" else {})}
        yield {**_request(register, body, kept), "name": f"register: {name}"}


def _more() -> Iterator[dict[str, Any]]:
    """Another group, for what comes after the first one was left; and a room, to leave and to join."""
    [create] = [endpoint for endpoint in ALL if endpoint.name == "callConversationCreate"]
    yield {**_request(create), "name": "conversation.create: another"}
    body = {"kind": "room", "title": "Hiking", "members": [], "tags": ["hiking"]}
    yield {**_request(create, body, {"room": "conversation"}), "name": "conversation.create: a room"}


def _back() -> Iterator[dict[str, Any]]:
    """Cleo's first message to Ann, who wrote to her: they match."""
    [send] = [endpoint for endpoint in ALL if endpoint.name == "callOpenerSend"]
    made = _request(send, {"user": str(examples.ANN), "text": "Do you still play the viola?"}, {"match": "match"})
    yield {**made, "name": "opener.send: Cleo", "request": {**made["request"], "auth": _bearer("cleo_token")}}


def _asked_by_cleo() -> dict[str, Any]:
    """A request that Ann can answer."""
    [ask] = [endpoint for endpoint in ALL if endpoint.name == "callContactRequest"]
    made = _request(ask, {"user": str(examples.ANN)})
    made["request"]["auth"] = _bearer("cleo_token")
    return {**made, "name": "contact.request: of Cleo"}


def _another_post() -> dict[str, Any]:
    """What is commented on once the first one is deleted."""
    [create] = [endpoint for endpoint in ALL if endpoint.name == "callPostCreate"]
    return {**_request(create), "name": "post.create: another"}


def _request(
    endpoint: Endpoint, body: dict[str, Any] | None = None, kept: dict[str, str] | None = None
) -> dict[str, Any]:
    """One request with the script that judges its answer and keeps what others need."""
    if endpoint.name == "beginUpload":
        body = _ANNOUNCED
    elif body is None and endpoint.request is not None:
        body = examples.REQUESTS[endpoint.request]
        if endpoint.name == "callMessageSend":  # the first of the story, which answers nothing
            body = {name: value for name, value in body.items() if name != "content"}
    if endpoint.name == "callPostCreate" and body is not None:  # a picture cannot stand in a collection
        body = {name: value for name, value in body.items() if name != "photos"}
    if endpoint.name == "callMessageForward" and body is not None:  # what was said in this story
        body = {**body, "source": {"conversation": str(examples.DIRECT), "seq": 42}}
    headers = [{"key": "Content-Type", "value": "application/json"}] if body is not None else []
    headers += [{"key": header.name, "value": "{{$guid}}"} for header in endpoint.headers]
    if endpoint.name == "putBlob":
        headers.append({"key": "Content-Type", "value": _FILE_TYPE})
    request: dict[str, Any] = {
        "method": endpoint.method,
        "header": headers,
        "url": _url(endpoint),
        "description": endpoint.description,
    }
    if endpoint.auth != "bearer":
        request["auth"] = {"type": "noauth"}
    if endpoint.name == "callLinkJoin":  # not of Ann, whose group it is
        request["auth"] = _bearer("cleo_token")
    if body is not None:
        raw = _filled(body)
        if endpoint.name == "register":
            raw = raw.replace("{{email}}", "{{$guid}}@example.com")  # an account that nobody has
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    if endpoint.name == "putBlob":
        request["body"] = {"mode": "raw", "raw": _FILE, "options": {"raw": {"language": "text"}}}
    status = next(iter(endpoint.answers))
    script = [f'pm.test("{status}", () => pm.response.to.have.status({status}));']
    keep = _kept(endpoint) if kept is None else kept
    script += [f'pm.environment.set("{name}", pm.response.json().{where});' for name, where in keep.items()]
    return {
        "name": next((call.name for call in CALLS.values() if call.path == endpoint.path), endpoint.name),
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": script}}],
        "request": request,
        "response": [],
    }


def _url(endpoint: Endpoint) -> dict[str, Any]:
    if signed := _SIGNED.get(endpoint.name):
        return {"raw": signed, "host": [signed], "path": [""]}
    path = endpoint.path.replace("{id}", "{{upload}}" if endpoint.tag == "media" else "{{bob}}")
    return {"raw": "{{base_url}}" + path, "host": ["{{base_url}}"], "path": path.strip("/").split("/")}


def _kept(endpoint: Endpoint) -> dict[str, str]:
    """What the answer of *endpoint* brings for others: tokens, or the conversation that was opened."""
    for answer in endpoint.answers.values():
        if answer.body is frames.Opened and isinstance(answer.example, frames.Opened):
            return {_VARIABLES[str(answer.example.conversation)]: "conversation"}
    return dict(_KEPT.get(endpoint.name, {}))


def _filled(body: dict[str, Any]) -> str:
    text = json.dumps(body, indent=2, ensure_ascii=False)
    for value, variable in _VARIABLES.items():
        text = text.replace(json.dumps(value), f'"{{{{{variable}}}}}"')
    text = re.sub(r'"seqs": \[[^\]]*\]', '"seqs": [{{message}}]', text)
    text = text.replace(f'"seq": {examples.POLL_SEQ}', '"seq": {{poll}}')
    return re.sub(r'"seq": \d+', '"seq": {{message}}', text)


def _bearer(variable: str = "access_token") -> dict[str, Any]:
    return {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}]}
