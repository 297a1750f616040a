"""The Postman collection, run from top to bottom against a real server by a small reading of Postman's rules."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from protocol.calls import CALLS
from protocol.schema.endpoints import ALL
from tests.http_house import conforms
from tests.running import House, World
from tools.docs.documents import ROOT
from tools.docs.postman import LEFT_OUT, SCHEMA

FOLDER = ROOT / "docs" / "postman"
COLLECTION = json.loads((FOLDER / "konnect.postman_collection.json").read_text("utf-8"))
ENVIRONMENT = json.loads((FOLDER / "konnect.postman_environment.json").read_text("utf-8"))

# The two kinds of lines that the scripts consist of.
EXPECT = re.compile(r'pm\.test\("(\d+)", \(\) => pm\.response\.to\.have\.status\((\d+)\)\);')
KEEP = re.compile(r'pm\.environment\.set\("(\w+)", pm\.response\.json\(\)\.([\w.]+)\);')


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each request with the name of its folder, in order."""
    for folder in COLLECTION["item"]:
        for item in folder["item"]:
            yield folder["name"], item


class Runner:
    """Sends requests as Postman does: variables filled in, scripts run after the answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.variables: dict[str, str] = {one["key"]: one["value"] for one in ENVIRONMENT["values"]}

    def filled(self, text: str) -> str:
        """*text* with each ``{{name}}`` replaced; one that is unknown or not set yet is a mistake in the order."""

        def one(match: re.Match[str]) -> str:
            value = str(uuid4()) if match[1] == "$guid" else self.variables[match[1]]
            assert value, f"{match[1]} is not set"
            return value

        return re.sub(r"\{\{([^}]+)\}\}", one, text)

    async def send(self, item: dict[str, Any]) -> httpx.Response:
        """Send one, and do what its script says."""
        request = item["request"]
        headers = {one["key"]: self.filled(one["value"]) for one in request["header"]}
        auth = request.get("auth", COLLECTION["auth"])
        if auth["type"] == "bearer":
            headers["Authorization"] = "Bearer " + self.filled(auth["bearer"][0]["value"])
        url = request["url"]
        assert url["raw"] == "/".join([*url["host"], *url["path"]]) or url["path"] == [""]
        content = self.filled(request["body"]["raw"]) if "body" in request else None
        answer = await self.http.request(request["method"], self.filled(url["raw"]), headers=headers, content=content)
        [event] = item["event"]
        assert event["listen"] == "test"
        for line in event["script"]["exec"]:
            if expected := EXPECT.fullmatch(line):
                assert expected[1] == expected[2]
                assert answer.status_code == int(expected[1]), f"{item['name']}: {answer.text}"
            elif keep := KEEP.fullmatch(line):
                found = answer.json()
                for step in keep[2].split("."):
                    found = found[step]
                self.variables[keep[1]] = str(found)
            else:
                raise AssertionError(f"a line that nobody reads: {line}")
        return answer


async def test_the_collection_runs_on_a_server(house: House, world: World) -> None:
    """Every answer has the status that its script expects, and the shape that the OpenAPI document promises."""
    async with httpx.AsyncClient(event_hooks={"response": [conforms]}, trust_env=False, timeout=60) as http:
        runner = Runner(http)
        runner.variables["base_url"] = house.url
        for _, item in requests():
            await runner.send(item)
        answers = {item["name"]: await runner.send(item) for _, item in requests()}  # and once more: nothing is used up
    assert runner.variables["ann"] == answers["me"].json()["id"]
    assert [seq for seq, _ in await world.log(runner.variables["group"])] == [1, 2, 3, 4, 5]
    assert (await world.log(runner.variables["direct"]))[-1][0] == answers["poll.close"].json()["seq"]


def test_every_endpoint_and_every_command_is_in_it() -> None:
    """All but what is left out with a reason, and the address of what cannot be called."""
    names = {item["name"] for _, item in requests()}
    wanted = {next((call.name for call in CALLS.values() if call.path == one.path), one.name) for one in ALL}
    calls = {call.path: call.name for call in CALLS.values()}
    left_out = {calls.get(one.path, one.name) for one in ALL if one.name in LEFT_OUT}
    assert wanted - names == {*left_out, "call"}
    assert {name.partition(": ")[0] for name in names} <= wanted
    assert names | left_out >= set(CALLS)


def test_each_noun_has_its_folder() -> None:
    named = {item["name"]: folder for folder, item in requests()}
    assert all(named[call] == call.partition(".")[0] for call in CALLS if call in named)
    folders = [folder["name"] for folder in COLLECTION["item"]]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("item", [item for _, item in requests()], ids=lambda item: item["name"])
def test_a_request_has_what_the_format_asks_for(item: dict[str, Any]) -> None:
    """The members of Postman's collection format v2.1."""
    assert COLLECTION["info"]["schema"] == SCHEMA
    assert set(item) == {"name", "event", "request", "response"}
    assert set(item["request"]) <= {"method", "header", "url", "description", "auth", "body"}
    if "body" in item["request"] and item["name"] != "putBlob":
        assert item["request"]["body"]["mode"] == "raw"
        json.loads(item["request"]["body"]["raw"].replace("{{message}}", "2").replace("{{poll}}", "3"))
        assert {"key": "Content-Type", "value": "application/json"} in item["request"]["header"]
    call = CALLS.get(item["name"].partition(": ")[0])
    needs_key = call is not None and call.keyed
    assert ({"key": "Idempotency-Key", "value": "{{$guid}}"} in item["request"]["header"]) == needs_key


def test_secrets_are_marked_and_empty() -> None:
    """Nobody publishes a token by sharing the environment."""
    values = {one["key"]: one for one in ENVIRONMENT["values"]}
    assert {name for name, one in values.items() if one["type"] == "secret"} == {
        "password", "access_token", "refresh_token", "cleo_token",
    }  # fmt: skip
    assert values["access_token"]["value"] == values["refresh_token"]["value"] == ""
    assert ENVIRONMENT["_postman_variable_scope"] == "environment"
