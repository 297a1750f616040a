"""Two people, from a mail with a code to the end of an account: what each does, and what the other one sees of it."""

import io
import zipfile
from typing import Any
from uuid import UUID

import httpx
import trio

from protocol import closing
from tests import samples
from tests.leaving_kit import fetch, upload
from tests.running import LIMIT_S, House, Person, World, open_house
from tests.scenes.test_mail import code, open_http


class SignedUp(Person):
    """Somebody who came by a code."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.name, self.id = answer["user"]["name"], UUID(answer["user"]["id"])
        self._token = answer["access_token"]

    @property
    def token(self) -> str:
        return str(self._token)


async def sign_up(http: httpx.AsyncClient, name: str) -> SignedUp:
    """By the code in the mail that lies in the tray."""
    email = f"{name.lower()}@example.com"
    assert (await http.post("/v1/auth/code", json={"email": email})).status_code == 202
    body = {"email": email, "code": await code(http, 1, email), "name": name, "device": "phone"}
    made = await http.post("/v1/auth/verify", json=body)
    assert made.status_code == 201, made.text
    return SignedUp(made.json())


async def test_ann_and_bob_meet_fall_out_and_part(world: World) -> None:
    async with open_house(world, dev=True) as house, open_http(house) as http:
        ann, bob = await sign_up(http, "Ann"), await sign_up(http, "Bob")
        await _live(house, ann, bob)


async def _live(house: House, ann: SignedUp, bob: SignedUp) -> None:
    async with house.phone(ann) as hers, house.phone(bob) as his:
        # Each shows who one is; then each is in the other's feed.
        for phone, person, picture in ((hers, ann, samples.png(1)), (his, bob, samples.png(2))):
            photo = await upload(house, person, "profile_photo", picture, "image/png", "")
            await phone.result(
                "profile.update", key="p", first_name=person.name, birthday="1999-05-17", photos=[photo],
                interests=["hiking"], location={"city": "Vienna", "latitude": 48.2, "longitude": 16.4},
            )  # fmt: skip
        met: dict[str, Any] = {}
        with trio.fail_after(LIMIT_S):
            while not met.get("online"):  # which the server writes down about once a second
                [met] = (await hers.result("feed.list", filter={"age_from": 20, "within_km": 30}))["people"]
        assert (met["profile"]["user"], met["common"]) == (str(bob), ["hiking"])
        [him_too] = (await his.result("feed.list"))["people"]
        assert (him_too["profile"]["user"], him_too["profile"]["name"]) == (str(ann), "Ann")
        async with httpx.AsyncClient(trust_env=False) as anybody:
            assert (await anybody.get(met["profile"]["photos"][0]["url"])).content == samples.png(2)
        [found] = (await his.result("profile.search", query="vienn"))["people"]
        assert found["profile"]["name"] == "Ann"

        # First messages from both sides: nothing before the second, and then a match, with both in a conversation.
        assert await hers.result("opener.send", key="o", user=bob.id, text="Do you climb?") == {}
        assert (await his.result("opener.list"))["openers"] == []
        matched = await his.result("opener.send", key="o", user=ann.id, text="You look kind")
        pair = matched["conversation"]
        for phone, other in ((hers, bob), (his, ann)):
            await phone.until(lambda phone=phone: any("match" in one for one in phone.of("state")))  # type: ignore[misc]
            [match] = [one["match"] for one in phone.of("state") if "match" in one]
            assert (match["user"], match["conversation"]) == (str(other), pair)
            await phone.has(pair, 3)
            assert [one.get("text") for one in phone.of("entry", pair)][-2:] == ["Do you climb?", "You look kind"]
        await hers.say(pair, "m", "Both true")
        await his.has(pair, 4)
        for phone in (hers, his):
            assert (await phone.result("feed.list"))["people"] == [], "they have met"

        # It ends, for both; what was said stays.
        await his.result("match.unmatch", key="u", match=matched["match"])
        await hers.has(pair, 5)
        assert await hers.error("message.send", conversation=pair, key="late", text="But") == "conversation_closed"
        [past] = (await hers.result("match.list"))["matches"]
        assert "ended_at_ms" in past
        assert "by_me" not in past

        # Contacts, after all; and so they may write again.
        await hers.result("contact.request", key="c", user=bob.id, note="Friends?", interested=True)
        await his.until(lambda: any("contact_request" in one for one in his.of("state")))
        await his.result("contact.answer", key="a", user=ann.id, accept=True)
        [contact] = (await hers.result("contact.list"))["contacts"]
        assert (contact["user"], contact["state"]) == (str(bob), "online")
        await hers.has(pair, 6)
        await hers.say(pair, "again", "Hello, friend")

        # He follows her and sees what she posts, with its photo, which nobody else gets.
        await his.result("follow", key="f", user=ann.id)
        photo = await upload(house, ann, "photo", samples.png(3), "image/png", "peak.png")
        post = await hers.result("post.create", key="po", text="On top #hiking", photos=[photo], audience="contacts")
        [seen] = (await his.result("timeline"))["posts"]
        assert (seen["id"], seen["text"]) == (post["post"], "On top #hiking")
        assert await fetch(house, bob, photo) == samples.png(3)
        await his.result("comment.create", key="co", post=post["post"], text="Wonderful")
        await hers.until(lambda: any(one.get("notification", {}).get("kind") == "comment" for one in hers.of("state")))

        # She blocks him: nothing of her is there any more, as if she had never been.
        await hers.result("block", key="b", user=bob.id)
        assert await his.error("profile.get", user=ann.id) == "unknown_user"
        assert await his.error("post.get", post=post["post"]) == "unknown_post"
        assert (await his.result("timeline"))["posts"] == []
        assert (await his.result("profile.search", query="vienn"))["people"] == []
        assert (await his.result("feed.list"))["people"] == []
        assert (await his.result("contact.list"))["contacts"] == []
        assert await fetch(house, bob, photo) == 404
        assert await his.error("message.send", conversation=pair, key="why", text="Why?") == "conversation_closed"

        # A copy of everything, and the end.
        export = (await hers.result("account.export", key="e"))["export"]
        await hers.until(lambda: any(one.get("notification", {}).get("medium") == export for one in hers.of("state")))
        content = await fetch(house, ann, export)
        assert isinstance(content, bytes)
        copy = zipfile.ZipFile(io.BytesIO(content))
        assert copy.testzip() is None
        assert {"profile.json", "openers.json", "posts.json", "entries.json"} <= set(copy.namelist())
        [peak] = [name for name in copy.namelist() if name.startswith(f"media/{photo}/")]
        assert copy.read(peak) == samples.png(3)
        assert await hers.result("account.delete", key="d") == {}
        assert (await hers.end())[0] == closing.SIGNED_OUT.code
        page = await his.result("history", conversation=pair, limit=10)
        assert [one["text"] for one in page["entries"] if one["kind"] == "message"][-1] == "Hello, friend"
    async with httpx.AsyncClient(base_url=house.url, trust_env=False) as http:
        me = await http.get("/v1/me", headers={"Authorization": f"Bearer {ann.token}"})
        assert me.status_code == 401
