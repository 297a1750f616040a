"""The pages that people read: the small one at ``/``, and ``/docs``, made from the same Structs as both documents."""

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from konnect_server.http.markup import Page, block, json_block, page, prose, table, words
from protocol.calls import PATH
from protocol.errors import BadCredentials, KonnectError
from protocol.http import TAGS, Endpoint, Index
from protocol.schema import examples, tables
from protocol.schema.endpoints import ALL as ENDPOINTS
from protocol.schema.tables import ErrorRow, FieldRow, FrameTable, Tables, field_rows
from storage.mail_tray import TrayMail

ADDRESS: Final = "http://127.0.0.1:8080"  # in examples, where the operator has named no public address
_TAG_TITLES: Final = {
    "auth": "Accounts",
    "people": "People",
    "calls": "Calls",
    "media": "Media",
    "operator": "The operator",
    "socket": "The socket's door",
    "server": "The server",
}


def welcome_page(index: Index) -> Page:
    """What a browser sees at ``/``."""
    readable = {endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET"}
    links = "".join(
        f'<dt>{escape(name)}</dt><dd><a href="{escape(link)}"><code>{escape(link)}</code></a></dd>'
        for name, link in index.links.items()
        if link in readable
    )
    return page(
        index.name,
        f'<main class="welcome"><h1>{escape(index.name)}</h1>'
        f'<p class="lead">{escape(index.description)}</p><p>Version {escape(index.version)} is running. '
        f'Start with <a href="/docs">the documentation</a>.</p><dl>{links}</dl></main>',
    )


class Tray(Struct, frozen=True):
    """The mails that were sent to nobody, the last first."""

    mails: list[TrayMail]


def mail_page(tray: Tray) -> Page:
    """What a browser sees at ``/dev/mail``: each mail as its text has it, for a mail's HTML brings its own style."""
    articles = "".join(
        f'<article id="mail-{mail.id}"><header><h3>{escape(mail.subject)}</h3>'
        f'<span class="sum">to {escape(mail.to)}, {_when(mail.at_ms)}</span></header>{block(mail.text)}</article>'
        for mail in tray.mails
    )
    none = "<p>None yet. Ask for one: <code>POST /v1/auth/code</code>.</p>"
    return page(
        "Mail",
        '<main class="welcome"><h1>Mail</h1><p class="lead">What this server would send: nothing of it left the '
        f"machine. The newest comes first; load the page again for more.</p>{articles or none}</main>",
    )


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def docs_page(version: str, public_url: str = "") -> Page:
    """What people read at ``/docs``. Some milliseconds of work: make it once and keep it.

    Args:
        version: Of the server that serves it.
        public_url: Where clients find it, for the examples.
    """
    address = (public_url or ADDRESS).rstrip("/")
    rows = tables()
    sections = [
        _start(address),
        *(_endpoints(name, text, address) for name, text in TAGS.items()),
        _socket(rows, address),
        _frames("commands", "Commands", rows.commands, "What a client sends. Each has an `id` and one answer."),
        _frames("results", "Results", rows.results, "What the `result` of an `ok` holds, by command."),
        _frames("events", "Events", rows.events, "What the server tells by itself. Events carry no `id`."),
        _frames("records", "Records", rows.records, "What results and events are made of."),
        _errors(rows.errors),
        _closes(rows),
        _limits(rows),
    ]
    return page(
        "Konnect: documentation",
        f'<div class="layout">{_navigation(version, rows)}<main>{"".join(sections)}</main></div>',
    )


def _navigation(version: str, rows: Tables) -> str:
    parts = [f'<nav aria-label="Contents"><a class="brand" href="/">Konnect<small>{escape(version)}</small></a>']
    parts.append(_nav_list("Start", [("#start", "The first minute")]))
    for tag, title in _TAG_TITLES.items():
        links = [
            (f"#http-{endpoint.name}", _badge(endpoint) + _short(endpoint))
            for endpoint in ENDPOINTS
            if endpoint.tag == tag
        ]
        parts.append(_nav_list(title, links))
    parts.append(_nav_list("The socket", [("#protocol", "How it works")]))
    parts.append(_nav_list("Commands", [(f"#{frame.anchor}", escape(frame.name)) for frame in rows.commands]))
    parts.append(_nav_list("Events", [(f"#{frame.anchor}", escape(frame.name)) for frame in rows.events]))
    more = [
        ("#results", "Results"),
        ("#records", "Records"),
        ("#errors", "Errors"),
        ("#closes", "Close codes"),
        ("#limits", "Limits"),
    ]
    return "".join([*parts, _nav_list("Look up", more), "</nav>"])


def _short(endpoint: Endpoint) -> str:
    """The path, for a narrow column; of a call what is called."""
    return escape(endpoint.path.removeprefix(f"{PATH}/"))


def _nav_list(title: str, links: list[tuple[str, str]]) -> str:
    items = "".join(f'<li><a href="{escape(target)}">{label}</a></li>' for target, label in links)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def _badge(endpoint: Endpoint) -> str:
    return f'<span class="method {endpoint.method.lower()}">{endpoint.method}</span>'


# --- The first minute -------------------------------------------------------------------------------------------------


def _start(address: str) -> str:
    wanted = {"email": "ann@example.com", "password": "correct horse battery", "name": "Ann"}
    hello = {"t": "hello", "id": 1, "token": "<access_token>", "device": "ann-phone"}
    refresh = {"refresh_token": "<refresh_token>"}
    socket = address.replace("http", "ws", 1) + "/v1/socket"
    return (
        '<section id="start"><h1>Konnect</h1><p class="lead">A realtime messaging server. Accounts are made over HTTP; '
        "people talk on one WebSocket, in MessagePack frames. What was acknowledged is never lost, never doubled and "
        'never reordered.</p><ul class="pills"><li><a href="/openapi.json">openapi.json</a></li>'
        '<li><a href="/asyncapi.json">asyncapi.json</a></li><li><a href="#errors">errors</a></li>'
        f'<li><a href="#closes">close codes</a></li></ul><h3>The first minute</h3><ol class="steps">'
        f"<li>Make an account. The answer brings an access token and a refresh token."
        f"{block(_curl(address, 'POST', '/v1/auth/register', wanted))}</li>"
        f"<li>Open <code>{escape(socket)}</code> with the subprotocol <code>konnect.v1</code> and send "
        f"<code>hello</code> as one binary message, a MessagePack map. It is answered with <code>ok</code>, "
        f"what was missed, <code>synced</code>, and then live events.{json_block(hello)}</li>"
        "<li>Send a message. Its <code>ok</code> comes once it is on disk; a repeat with the same <code>key</code> "
        f"gets the same answer.{json_block(_example(examples.COMMANDS, 'message.send'))}</li>"
        "<li>Before the access token's 15 minutes are over, get the next one and hand it to the socket with "
        f"<code>auth.renew</code>.{block(_curl(address, 'POST', '/v1/auth/refresh', refresh))}"
        "</li></ol></section>"
    )


def _example(found: dict[Any, dict[str, Any]], name: str) -> dict[str, Any]:
    return next(example for example in found.values() if example["t"] == name)


# --- HTTP -------------------------------------------------------------------------------------------------------------


def _endpoints(tag: str, text: str, address: str) -> str:
    articles = "".join(_endpoint(endpoint, address) for endpoint in ENDPOINTS if endpoint.tag == tag)
    return f'<section id="tag-{tag}"><h2>{escape(_TAG_TITLES[tag])}</h2>{prose(text)}{articles}</section>'


def _endpoint(endpoint: Endpoint, address: str) -> str:
    auth = {"none": "", "bearer": "access token needed", "optional": "access token taken",
            "operator": "operator's token needed"}[endpoint.auth]
    parts = [
        f'<article id="http-{endpoint.name}"><header>{_badge(endpoint)}<h3><code>{escape(endpoint.path)}</code></h3>'
        f'<span class="sum">{escape(endpoint.summary)}</span>'
        + (f'<span class="auth">{auth}</span>' if auth else "")
        + f"</header>{prose(endpoint.description)}"
    ]
    if endpoint.parameters:
        rows = [
            (f"<code>{escape(p.name)}</code>", "id" if p.kind is UUID else "text", words(p.description))
            for p in endpoint.parameters
        ]
        parts.append("<h4>In the path</h4>" + table(("Name", "Type", "Meaning"), rows))
    if endpoint.headers:
        rows = [(f"<code>{escape(each.name)}</code>", "text", words(each.description)) for each in endpoint.headers]
        parts.append("<h4>In a header</h4>" + table(("Name", "Type", "Meaning"), rows))
    body = None
    if endpoint.request:
        parts.append("<h4>Body</h4>" + _fields(field_rows(endpoint.request)))
        body = examples.REQUESTS[endpoint.request]
    path = endpoint.path.replace("{id}", str(examples.PHOTO if endpoint.tag == "media" else examples.BOB))
    path = path.replace("{area}", "media").replace("{name}", f"{examples.PHOTO}-1")
    if endpoint.answers and endpoint.name != "socket":
        tokens = {"bearer": "$ACCESS_TOKEN", "operator": "$OPERATOR_TOKEN"}
        headers = [f"Authorization: Bearer {tokens[endpoint.auth]}"] if endpoint.auth in tokens else []
        headers += [f"{header.name}: {header.example}" for header in endpoint.headers]
        parts.append(block(_curl(address, endpoint.method, path, body, headers), "Try it"))
    for status, answer in endpoint.answers.items():
        if answer.body:
            parts.append(json_block(examples.body(answer), f"{status}: {answer.description}"))
        else:
            parts.append(f"<p><code>{status}</code> {words(answer.description)}</p>")
    if endpoint.errors:
        parts.append(f"<h4>Errors of its own</h4>{_codes(endpoint.errors)}")
    return "".join([*parts, "</article>"])


def _curl(address: str, method: str, path: str, body: Any = None, headers: Sequence[str] = ()) -> str:
    lines = [f"curl {address}{path}"]
    if body is not None:
        lines.append(f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body, ensure_ascii=False))}")
    elif method == "POST":
        lines[0] = f"curl -X POST {address}{path}"
    elif method == "PUT":
        lines[0] = f"curl -T holiday.jpg {address}{path}"
    lines += [f'-H "{header}"' for header in headers]
    return " \\\n  ".join(lines)


def _codes(errors: tuple[type[KonnectError], ...]) -> str:
    items = (f'<li><a href="#error-{error.code}"><code>{error.code}</code></a></li>' for error in errors)
    return f'<ul class="codes">{"".join(items)}</ul>'


def _fields(rows: list[FieldRow]) -> str:
    if not rows:
        return "<p>No fields.</p>"
    lines = []
    for row in rows:
        need = (
            ""
            if row.required
            else f"<small>{f'default {words(row.default)}' if row.default else 'may be absent'}</small>"
        )
        limits = f"<small>{words(row.limits)}</small>" if row.limits else ""
        lines.append((f"<code>{escape(row.name)}</code>{need}", words(row.type) + limits, words(row.meaning)))
    return table(("Field", "Type", "Meaning"), lines, "fields")


# --- The socket -------------------------------------------------------------------------------------------------------


def _socket(rows: Tables, address: str) -> str:
    socket = address.replace("http", "ws", 1) + "/v1/socket"
    common = [row.code for row in rows.errors if row.socket and not any(row.code in c.errors for c in rows.commands)]
    ping, pong = {"t": "ping", "id": 7}, {"t": "ok", "id": 7, "result": {"at_ms": examples.AT_MS}}
    refused = {"t": "error", "id": 7, "code": "rate_limited", "message": "too many commands ...", "retry_after_ms": 300}
    links = ", ".join(f'<a href="#error-{code}"><code>{code}</code></a>' for code in common)
    return (
        f'<section id="protocol"><h2>The socket</h2><p>One WebSocket at <code>{escape(socket)}</code>, subprotocol '
        "<code>konnect.v1</code>, without compression. Each binary message is one MessagePack map whose type stands "
        "in <code>t</code>; ids are UUIDs as text, times Unix milliseconds. A command carries <code>id</code>, a "
        "number of the client's, and gets exactly one <code>ok</code> or <code>error</code> with it. Unknown "
        "fields are ignored, in both directions.</p>"
        f'<div class="pair">{json_block(ping, "a command")}{json_block(pong, "its answer")}</div>'
        f"{json_block(refused, 'or an error')}"
        "<p><code>hello</code> comes first, within 10 seconds. With <code>heads</code> and <code>cursor</code> it says "
        "what the client has; then comes what it missed, <code>synced</code>, and live events. Every connection sees "
        "each conversation's entries in the order of their <code>seq</code>, without a gap.</p>"
        f"<p>Errors that any command may be answered with: {links}.</p></section>"
    )


def _frames(anchor: str, title: str, frames: list[FrameTable], text: str) -> str:
    return f'<section id="{anchor}"><h2>{title}</h2>{prose(text)}{"".join(map(_frame, frames))}</section>'


def _frame(frame: FrameTable) -> str:
    parts = [
        f'<article id="{escape(frame.anchor)}"><header><h3><code>{escape(frame.name)}</code></h3>',
        f'<span class="sum">{words(frame.summary)}</span></header>',
        _linked(prose(rest)) if (rest := frame.text.removeprefix(frame.summary).removeprefix(".").strip()) else "",
        _fields(frame.fields),
        json_block(frame.example, "For example"),
    ]
    if "t" in frame.example:
        parts.append(f"<details><summary>the same as MessagePack</summary>{block(frame.example_hex)}</details>")
    if frame.errors:
        items = "".join(f'<li><a href="#error-{code}"><code>{code}</code></a></li>' for code in frame.errors)
        parts.append(f'<h4>Errors of its own</h4><ul class="codes">{items}</ul>')
    return "".join([*parts, "</article>"])


def _linked(html: str) -> str:
    """*html* with each result and record that it names made a link."""
    for kind in (*examples.RESULTS, *examples.RECORDS):
        name = f"<code>{kind.__name__}</code>"
        html = html.replace(name, f'<a href="#{kind.__name__.lower()}">{name}</a>')
    return html


# --- Look up ----------------------------------------------------------------------------------------------------------


def _errors(rows: list[ErrorRow]) -> str:
    lines = [
        (
            f'<code id="error-{row.code}">{row.code}</code>',
            str(row.status),
            words(row.meaning) + f"<small>{words(row.fix)}</small>",
            "yes" if row.later else "no",
            "both" if row.socket else "HTTP",
        )
        for row in rows
    ]
    return (
        '<section id="errors"><h2>Errors</h2><p>Over HTTP an error is <code>application/problem+json</code> (RFC '
        "9457); on the socket it is the frame <code>error</code>. The code is stable and for machines, the text is for "
        "people.</p>"
        f"{json_block(examples.problem(BadCredentials), 'over HTTP')}"
        f"{table(('Code', 'HTTP', 'Meaning, and what to do', 'Later?', 'Where'), lines)}"
        "<p>Later: the same request, with the same key, may succeed after a while.</p></section>"
    )


def _closes(rows: Tables) -> str:
    lines = [
        (
            f"<code>{row.code}</code>",
            f"<code>{escape(row.reason)}</code>",
            words(row.meaning) + f"<small>{words(row.advice)}</small>",
        )
        for row in rows.closes
    ]
    return (
        '<section id="closes"><h2>Close codes</h2><p>4000 to 4499: come back, with a delay that has some chance in it. '
        "4500 to 4999: stay away until something changes. Codes below 4000 are those of RFC 6455.</p>"
        f"{table(('Code', 'Reason', 'Meaning, and what to do'), lines)}</section>"
    )


def _limits(rows: Tables) -> str:
    lines = [(f"<code>{escape(row.name)}</code>", f"{row.value:,}", words(row.meaning)) for row in rows.limits]
    return f'<section id="limits"><h2>Limits</h2>{table(("Name", "Value", "Meaning"), lines)}</section>'
