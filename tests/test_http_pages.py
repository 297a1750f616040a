"""What is true of every answer, and the pages that people and machines read."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from quart_trio import QuartTrio

from konnect_server.actions.office import Office
from konnect_server.http import DoorOptions
from konnect_server.http.app import make_app
from konnect_server.http.blob_door import ENDPOINTS as BLOBS
from konnect_server.http.inside import Inside
from konnect_server.http.pages import docs_page
from konnect_server.ids import uuid7
from protocol import closing
from protocol.errors import catalogue
from protocol.http import BY_NAME
from protocol.schema import asyncapi
from protocol.schema.catalogue import COMMANDS, EVENTS, tag
from protocol.schema.endpoints import ALL as ENDPOINTS
from storage.database import Database
from tests.http_house import DOCUMENT, VERSION, House, bare_house, nobody_answers, open_house

GETS = [endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET" and not endpoint.parameters]
READABLE = [path for path in GETS if path not in ("/v1/me", "/readyz")]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bare_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client() as client:
        yield client


# --- Every answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*READABLE, "/nothing", "/v1/me"])
async def test_every_answer_has_the_headers_that_keep_browsers_from_harm(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] in ("no-store", "public, max-age=300")
    assert "server" not in answer.headers
    assert "date" in answer.headers


@pytest.mark.parametrize("path", READABLE)
async def test_head_is_get_without_the_body(http: httpx.AsyncClient, path: str) -> None:
    got, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # which counts as it goes
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/auth/login", {"POST", "OPTIONS"}),
        ("/v1/me", {"GET", "HEAD", "OPTIONS"}),
        ("/", {"GET", "HEAD", "OPTIONS"}),
        ("/v1/users/x", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_other_methods_are_named(http: httpx.AsyncClient, path: str, methods: set[str]) -> None:
    options = await http.request("OPTIONS", path)
    assert (options.status_code, options.content) == (200, b"")
    assert set(options.headers["allow"].split(", ")) == methods
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW", "GET" if "GET" not in methods else "POST"):
        refused = await http.request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
        assert set(refused.headers["allow"].split(", ")) == methods
        assert method in refused.json()["detail"]


async def test_options_of_nothing_is_not_found(http: httpx.AsyncClient) -> None:
    assert (await http.request("OPTIONS", "/nothing")).json()["code"] == "not_found"


async def test_each_error_links_to_its_explanation(http: httpx.AsyncClient) -> None:
    problem = (await http.get("/nothing")).json()
    page = (await http.get("/docs")).text
    assert problem["type"].startswith("/docs#")
    assert f'id="{problem["type"].partition("#")[2]}"' in page


# --- CORS -------------------------------------------------------------------------------------------------------------

ORIGIN = "https://app.example.com"


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        ((), ORIGIN, None),
        ((ORIGIN,), ORIGIN, ORIGIN),
        ((ORIGIN,), "https://evil.example.com", None),
        ((ORIGIN,), ORIGIN + ".evil.com", None),
        ((ORIGIN,), "null", None),
        (("*",), "https://anybody.example.com", "*"),
        (("*",), None, None),
    ],
)
async def test_browsers_of_other_origins_are_let_in_only_if_named(
    tmp_path: Path, allowed: tuple[str, ...], origin: str | None, answer: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    async with bare_house(tmp_path, DoorOptions(allowed_origins=allowed)) as house, house.client() as http:
        for path in ("/v1/auth", "/v1/me", "/nothing"):  # errors too, or an app could not read why
            found = await http.get(path, headers=headers)
            assert found.headers.get("access-control-allow-origin") == answer
            assert "access-control-allow-credentials" not in found.headers
            assert ("Origin" in found.headers.get("vary", "")) == (bool(allowed) and "*" not in allowed)
        asked = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = await http.request("OPTIONS", "/v1/auth/login", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers.get("access-control-allow-origin") == answer
        if answer:
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-allow-headers"] == "Authorization, Content-Type, Idempotency-Key"
            assert preflight.headers["access-control-max-age"] == "600"
        else:
            assert "access-control-allow-methods" not in preflight.headers


# --- The server itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1/auth", "/v1/users", "/v1/socket"])
async def test_where_there_is_nothing_to_do_there_is_something_to_read(http: httpx.AsyncClient, path: str) -> None:
    index = (await http.get(path)).json()
    assert (index["name"], index["version"]) == ("Konnect", VERSION)
    for name, link in index["links"].items():
        if name not in ("register", "login", "ready"):
            assert (await http.get(link)).status_code == 200, name


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("*/*", False),
        ("application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("image/png", False),
        ("", False),
        (";;;,q=", False),
    ],
)
async def test_the_root_is_a_page_for_browsers_and_json_for_others(house: House, accept: str, html: bool) -> None:
    async with httpx.AsyncClient(base_url=house.url, trust_env=False) as http:
        answer = await http.get("/", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")
    assert answer.headers["vary"] == "Accept"


async def test_ready_says_why_not(database: Database, tmp_path: Path) -> None:
    async with open_house(database, tmp_path) as house, house.client() as http:
        assert (await http.get("/readyz")).json() == {"status": "ok"}
        house.not_ready = "the doorbell is away"
        refused = await http.get("/readyz")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.json()["detail"] == "the doorbell is away"
        assert (await http.get("/healthz")).status_code == 200
        house.not_ready = None
        assert (await http.get("/readyz")).status_code == 200


async def test_asking_for_readiness_often_costs_the_database_little(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetch_one = Database.fetch_one

    async def counted(self: Database, sql: str, *values: object, timeout_s: float | None = None) -> object:
        asked.append(sql)
        return await fetch_one(self, sql, *values, timeout_s=timeout_s)

    monkeypatch.setattr("konnect_server.http.about.READY_S", 3600.0)
    monkeypatch.setattr(Database, "fetch_one", counted)
    async with open_house(database, tmp_path) as house, house.client() as http:
        for _ in range(20):
            assert (await http.get("/readyz")).status_code == 200
    assert asked == ["select 1"]


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient) -> None:
    await http.get("/nothing")
    answer = await http.get("/metrics")
    assert answer.headers["content-type"] == BY_NAME["metrics"].answers[200].media
    assert re.search(r'^konnect_http_requests_total\{endpoint="none",status="404"\} [1-9]', answer.text, re.MULTILINE)
    assert re.search(r"^konnect_http_connections \d", answer.text, re.MULTILINE)
    assert "konnect_http_request_seconds_bucket" in answer.text


async def test_the_documents_are_those_of_the_protocol(http: httpx.AsyncClient) -> None:
    assert (await http.get("/openapi.json")).json() == json.loads(json.dumps(DOCUMENT))
    assert (await http.get("/asyncapi.json")).json() == json.loads(json.dumps(asyncapi()))


async def test_the_keys_are_public(house: House, http: httpx.AsyncClient) -> None:
    kid = (await http.get("/.well-known/jwks.json")).json()["keys"][0]["kid"]
    house.tokens.rotate()
    keys = (await http.get("/.well-known/jwks.json")).json()["keys"]
    assert [key["kid"] for key in keys][1:] == [kid]
    assert all(set(key) == {"kid", "x", "kty", "crv", "alg", "use"} for key in keys)


async def test_routes_and_document_name_the_same_endpoints(house: House) -> None:
    app: QuartTrio = make_app(
        Inside(
            DoorOptions(), house.accounts, house.media, house.tokens, house.database, nobody_answers, lambda: None,
            lambda: b"", Office(house.database, uuid7),
        )
    )
    routed = {
        (rule.endpoint, method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    before = {(name, method) for (_, method), name in BLOBS.items()}  # these never reach the framework
    documented = {(endpoint.name, endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert {(name, method) for name, method, _ in documented - routed} == before
    assert routed <= documented
    for (area, _), name in BLOBS.items():
        assert BY_NAME[name].path.startswith(area)


# --- The page ---------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Notes what a page holds, and that its tags are balanced."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.metas: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs)
        self.tags.add(tag)
        self.attributes |= set(given)
        if (name := given.get("id")) is not None:
            self.ids.append(name)
        if (link := given.get("href")) is not None:
            self.links.append(link)
        if tag == "meta":
            self.metas.append(given)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/docs", "/"])
async def test_a_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient, path: str) -> None:
    async with httpx.AsyncClient(base_url=http.base_url, trust_env=False) as browser:
        answer = await browser.get(path, headers={"Accept": "text/html"})
    page = Reader(answer.text)
    assert {"charset": "utf-8"} in page.metas
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not page.attributes & {"src", "srcset", "style", "onclick", "onload"}
    assert all(link.startswith(("#", "/")) and not link.startswith("//") for link in page.links)
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert "prefers-color-scheme: dark" in style[1]


async def test_every_link_on_the_page_leads_somewhere(http: httpx.AsyncClient) -> None:
    page = Reader((await http.get("/docs")).text)
    assert len(set(page.ids)) == len(page.ids)
    for link in set(page.links):
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert (await http.get(link)).status_code == 200, link


def test_the_page_names_every_endpoint_frame_error_and_close_code() -> None:
    text = docs_page(VERSION).body.decode()
    ids = set(Reader(text).ids)
    assert {f"http-{endpoint.name}" for endpoint in ENDPOINTS} <= ids
    assert {f"error-{error.code}" for error in catalogue()} <= ids
    assert {"command-" + tag(command).replace(".", "-") for command in COMMANDS} <= ids
    assert {"event-" + tag(event).replace(".", "-") for event in EVENTS} <= ids
    assert all(f"<code>{close.code}</code>" in text and close.reason in text for close in closing.ALL)


def test_examples_name_the_address_that_clients_use() -> None:
    text = docs_page(VERSION, "https://chat.example.com/").body.decode()
    assert "curl https://chat.example.com/v1/auth/register" in text
    assert "wss://chat.example.com/v1/socket" in text
    assert "127.0.0.1" not in text


def test_nothing_in_the_structs_can_break_the_page() -> None:
    """Everything is escaped: the version is a stand-in for any text that comes from elsewhere."""
    text = docs_page("<script>alert(1)</script>", 'https://x"><script>').body.decode()
    assert "<script" not in text
    Reader(text)
