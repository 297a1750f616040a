"""The Firebase driver, through Google's own client, against an FCM on this machine."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from konnect_server.push import firebase
from konnect_server.push.driver import Push
from konnect_server.push.firebase import CredentialsUnfit, FirebaseDriver
from tests.fake_fcm import FakeFcm, open_fcm


@pytest.fixture
def fcm() -> Iterator[FakeFcm]:
    with open_fcm() as fake:
        yield fake


@pytest.fixture
def driver(fcm: FakeFcm, tmp_path: Path) -> Iterator[FirebaseDriver]:
    with closing(FirebaseDriver(fcm.account(tmp_path), fcm.url)) as made:
        yield made


def push(token: str = "t", platform: Literal["android", "ios", "web"] = "android", **more: Any) -> Push:
    return Push(token=token, platform=platform, title="Ann", ttl_s=60, **more)


async def test_each_platform_gets_what_it_knows(driver: FirebaseDriver, fcm: FakeFcm) -> None:
    """Title, line, place, badge and data; nothing of the other platforms."""
    given = {"body": "See you at eight?", "collapse": "c1", "badge": 3, "data": {"seq": "42"}}
    pushes = [push("a", "android", **given), push("i", "ios", **given), push("w", "web", **given)]
    assert [one.kind for one in await driver.send(pushes)] == ["sent"] * 3
    android, ios, web = (next(one for one in fcm.sent if one["token"] == token) for token in "aiw")
    for one in (android, ios, web):
        assert one["notification"] == {"title": "Ann", "body": "See you at eight?"}
        assert one["data"] == {"seq": "42"}
        assert len({"android", "apns", "webpush"} & set(one)) == 1
    assert (android["android"]["collapse_key"], android["android"]["ttl"]) == ("c1", "60s")
    assert android["android"]["notification"] == {"tag": "c1", "notification_count": 3}
    assert ios["apns"]["headers"]["apns-collapse-id"] == "c1"
    assert ios["apns"]["payload"]["aps"]["badge"] == 3
    assert (web["webpush"]["headers"]["TTL"], web["webpush"]["notification"]) == ("60", {"tag": "c1"})


async def test_a_push_without_a_line_has_a_title_alone(driver: FirebaseDriver, fcm: FakeFcm) -> None:
    await driver.send([push(badge=0), push("i", "ios", badge=0)])
    assert [one["notification"] for one in fcm.sent] == [{"title": "Ann"}] * 2
    assert next(one for one in fcm.sent if "apns" in one)["apns"]["payload"]["aps"]["badge"] == 0


async def test_what_became_of_each_is_told_in_order(driver: FirebaseDriver, fcm: FakeFcm) -> None:
    tokens = ["one", "gone-1", "busy-1", "nonsense-1", "foreign-1", "two"]
    outcomes = await driver.send([push(token) for token in tokens])
    assert [one.kind for one in outcomes] == ["sent", "gone", "later", "gone", "refused", "sent"]
    assert outcomes[2].after_s == 1.0
    assert sorted(one["token"] for one in fcm.sent) == ["one", "two"]


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_later_is_for_the_queue_to_decide(driver: FirebaseDriver, fcm: FakeFcm, status: int) -> None:
    """Google's client would sleep in its thread for as long as Retry-After says, up to four times."""
    fcm.busy_status, fcm.retry_after, fcm.busy = status, "30", 99
    began = time.monotonic()
    [outcome] = await driver.send([push("busy")])
    assert (outcome.kind, outcome.after_s, fcm.asked) == ("later", 30.0, ["busy"])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("said", "after_s"), [(None, None), ("soon", None), ("99999", 600.0), ("-5", None)])
async def test_retry_after_is_believed_within_reason(
    driver: FirebaseDriver, fcm: FakeFcm, said: str | None, after_s: float | None
) -> None:
    fcm.retry_after = said
    [outcome] = await driver.send([push("busy")])
    assert (outcome.kind, outcome.after_s) == ("later", after_s)


async def test_bad_credentials_lock_it(driver: FirebaseDriver, fcm: FakeFcm) -> None:
    fcm.good_credentials = False
    outcomes = await driver.send([push("one"), push("gone")])
    assert [one.kind for one in outcomes] == ["locked", "locked"]
    assert "Invalid JWT Signature" in outcomes[0].why
    assert fcm.asked == []


async def test_another_project_is_no_dead_token(fcm: FakeFcm, tmp_path: Path) -> None:
    """A wrong address must not have all tokens forgotten."""
    with closing(FirebaseDriver(fcm.account(tmp_path), fcm.url + "/elsewhere")) as driver:
        [outcome] = await driver.send([push("one")])
    assert outcome.kind == "locked"


async def test_nobody_there_is_later(fcm: FakeFcm, tmp_path: Path) -> None:
    with open_fcm() as other:
        url = other.url
    with closing(FirebaseDriver(fcm.account(tmp_path), url)) as driver:
        assert [one.kind for one in await driver.send([push("one")])] == ["later"]


async def test_it_works_in_threads_of_its_own(driver: FirebaseDriver, fcm: FakeFcm) -> None:
    """So many at once, and the event loop goes on."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        outcomes = await driver.send([push(f"t{n}") for n in range(200)])
        nursery.cancel_scope.cancel()
    assert {one.kind for one in outcomes} == {"sent"}
    assert len(fcm.sent) == 200
    assert turns > 10
    assert driver._limiter.total_tokens == firebase.THREADS


def test_credentials_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnfit, match="cannot be used"):
        FirebaseDriver(str(tmp_path / "nothing.json"))
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(CredentialsUnfit, match="cannot be used"):
        FirebaseDriver(str(tmp_path / "empty.json"))
