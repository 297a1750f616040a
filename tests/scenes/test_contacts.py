"""Contacts, follows and posts on real servers: two devices of each, live and by the cursor, over HTTP, by push."""

from pathlib import Path
from typing import Any

from tests.client_scene import open_scene
from tests.fake_fcm import FakeFcm
from tests.running import Frame, House, Phone, World, open_house
from tests.scenes.test_calls import caller
from tests.scenes.test_push import fcm, pushing, quickly, register, settled, told as pushed
from tests.test_uploads import ready

__all__ = ["fcm", "pushing", "quickly"]  # fixtures


def told(phone: Phone, *kinds: str) -> list[Frame]:
    """The newest state of what this device shows of notifications of *kinds*."""
    newest = {one["subject"]: one.get("notification") for one in phone.of("state") if one["what"] == "notification"}
    return [one for _, one in sorted(newest.items()) if one is not None and one["kind"] in kinds]


def shown(phone: Phone, what: str) -> dict[str, Any]:
    """The rows of a kind that this device shows, subject -> value."""
    newest = {one["subject"]: one.get(what) for one in phone.of("state") if one["what"] == what}
    return {subject: value for subject, value in newest.items() if value is not None}


async def test_a_request_from_its_note_to_its_end_on_all_devices(house: House, world: World) -> None:
    """One device live, one over HTTP, one by the cursor."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet, house.phone(bob) as his:
        async with house.phone(bob, "tablet") as away:
            cursor = away.cursor
        await hers.result("contact.request", key="r", user=bob.id, note="From the hike", interested=True)
        await his.until(lambda: told(his, "contact_request") and shown(his, "contact_request"))
        [row] = shown(his, "contact_request").values()
        assert (row["note"], row["interested"]) == ("From the hike", True)
        assert "note" not in told(his, "contact_request")[0]
        async with caller(house, bob) as calls:
            assert await calls.result("contact.answer", "a", user=ann.id, accept=True) == {}
        for phone, other in ((hers, bob), (tablet, bob), (his, ann)):
            await phone.until(lambda phone=phone, other=other: str(other) in shown(phone, "contact"))  # type: ignore[misc]
        await tablet.until(lambda: told(tablet, "contact_accepted"))
        await his.until(lambda: told(his, "contact_request")[0].get("read"))
        assert told(his, "contact_request")[0]["answer"] == "accepted"
        assert shown(his, "contact_request") == {}
        async with house.phone(bob, "tablet", cursor=cursor) as away:
            assert (list(shown(away, "contact")), shown(away, "contact_request")) == ([str(ann)], {})
        [contact] = (await his.result("contact.list"))["contacts"]
        assert (contact["user"], contact["state"]) == (str(ann), "online")
        await hers.result("privacy.set", key="p", last_seen="nobody")
        [contact] = (await his.result("contact.list"))["contacts"]
        assert "state" not in contact
        before = [len(told(phone, "contact_accepted", "contact_request", "follow")) for phone in (hers, his)]
        await tablet.result("contact.remove", key="x", user=bob.id)
        for phone in (hers, tablet, his):
            await phone.until(lambda phone=phone: shown(phone, "contact") == {})  # type: ignore[misc]
        assert [len(told(phone, "contact_accepted", "contact_request", "follow")) for phone in (hers, his)] == before


async def test_nothing_tells_that_a_request_was_ignored(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        await hers.result("contact.request", key="r", user=bob.id)
        waits = await hers.result("contact.requests", direction="sent")
        await his.result("contact.answer", key="a", user=ann.id, accept=False)
        assert await hers.result("contact.requests", direction="sent") == waits
        assert (await his.result("contact.requests", direction="received"))["count"] == 0
        await hers.result("ping")
        assert hers.of("state") == []


async def test_a_post_is_seen_liked_and_told_of(house: House, world: World) -> None:
    """By a follower, over both doors; its author hears of all, on both devices, once each."""
    ann, bob, eve = await world.people("Ann", "Bob", "Eve")
    photo = str(await ready(world.database, ann.id))
    async with (
        house.phone(ann) as hers, house.phone(ann, "tablet") as tablet, house.phone(bob) as his,
        caller(house, bob) as calls, caller(house, eve) as eves,
    ):  # fmt: skip
        await his.result("follow", key="f", user=ann.id)
        post = (await hers.result("post.create", key="w", audience="followers", text="#Up", photos=[photo]))["post"]
        assert [one["photos"] for one in (await calls.result("timeline"))["posts"]] == [[photo]]
        assert (await calls.http.get(f"/v1/media/{photo}")).status_code == 200
        assert (await eves.http.get(f"/v1/media/{photo}")).status_code == 404
        assert await eves.error("post.get", post=post) == "unknown_post"
        assert await eves.result("post.tagged", tag="up") == {"posts": []}
        await calls.result("post.react", "r", post=post, emoji="👍")
        comment = (await his.result("comment.create", key="c", post=post, text="!"))["comment"]
        for phone in (hers, tablet):
            await phone.until(lambda phone=phone: len(told(phone, "follow", "post_reaction", "comment")) == 3)  # type: ignore[misc]
        by_kind = {one["kind"]: one for one in told(hers, "follow", "post_reaction", "comment")}
        follow, reaction, said = (by_kind[kind] for kind in ("follow", "post_reaction", "comment"))
        assert (follow["user"], reaction["post"], reaction["emoji"]) == (str(bob), post, "👍")
        assert (said["kind"], said["comment"], said["user"]) == ("comment", comment, str(bob))
        await hers.result("post.delete", key="d", post=post)
        assert told(hers, "post_reaction", "comment") == []
        await tablet.until(lambda: told(tablet, "post_reaction", "comment") == [])
        assert (await calls.http.get(f"/v1/media/{photo}")).status_code == 404
        assert await calls.error("comment.list", post=post) == "unknown_post"
        await his.result("unfollow", key="u", user=ann.id)
        assert await calls.result("timeline") == {"posts": []}


async def test_it_is_pushed_in_the_name_of_whoever_did_it(pushing: House, world: World, fcm: FakeFcm) -> None:
    """Requests, answers, follows, comments and reactions; not what was taken back before, nor of oneself."""
    ann, bob = await world.people("Ann", "Bob")
    await register(pushing, ann, "anns")
    async with caller(pushing, ann) as hers, caller(pushing, bob) as his:
        await his.result("contact.request", "r", user=ann.id)
        await his.result("follow", "f", user=ann.id)
        post = (await hers.result("post.create", "w", audience="everyone", text="hi"))["post"]
        await his.result("post.react", "x", post=post, emoji="👍")
        await his.result("comment.create", "c", post=post, text="!")
        await hers.result("comment.create", "c", post=post, text="mine")
        await settled(world)
        kinds = [one["data"]["kind"] for one in fcm.sent]
        assert sorted(kinds) == ["comment", "contact_request", "follow", "post_reaction"]
        assert all("Bob" in str(title) + str(body) for title, body in pushed(fcm, "anns"))


async def test_the_client_shows_contacts_and_requests(dsn: str, folder: Path) -> None:
    """As rows of one's own, and by its methods."""
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        await bob.client.request_contact(ann.id, "hi")
        await ann.until(lambda _: ann.client.personal.contact_requests() != [])
        assert [(one.user, one.note) for one in ann.client.personal.contact_requests()] == [(bob.id, "hi")]
        await ann.client.answer_contact(bob.id, True)
        for one, other in ((ann, bob), (bob, ann)):
            await one.until(lambda _, one=one: one.client.personal.contacts() != [])  # type: ignore[misc]
            assert [found.user for found in one.client.personal.contacts()] == [other.id]
        assert ann.client.personal.contact_requests() == []
        assert (await bob.client.contacts()).contacts[0].state == "online"
        post = await ann.client.write_post("hi", audience="contacts")
        assert (await bob.client.post(post)).text == "hi"
        assert [one.id for one in (await ann.client.timeline()).posts] == [post]


async def test_where_only_contacts_write_their_conversation_closes_and_opens_with_it(world: World) -> None:
    """The log says so to both, without a word of who did it."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world, may_write="contacts") as house, house.phone(ann) as hers, house.phone(bob) as his:
        await hers.result("contact.request", key="1", user=bob.id)
        await his.result("contact.request", key="1", user=ann.id)
        place = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        await hers.say(place, "k", "hi")
        await hers.result("contact.remove", key="2", user=bob.id)
        for phone in (hers, his):
            await phone.until(lambda phone=phone: phone.of("entry", place)[-1]["kind"] == "conversation.closed")  # type: ignore[misc]
        assert await his.error("message.send", conversation=place, key="n", text="hello?") == "conversation_closed"
        await hers.result("contact.request", key="3", user=bob.id)
        await his.result("contact.answer", key="3", user=ann.id, accept=True)
        for phone in (hers, his):
            await phone.until(lambda phone=phone: phone.of("entry", place)[-1]["kind"] == "conversation.opened")  # type: ignore[misc]
        await his.say(place, "k", "hello")


async def test_a_block_ends_contacts_and_follows_and_hides_posts_at_once(house: House, world: World) -> None:
    """On all devices; what was reported before stays with those who look after it, and nothing else can be."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his, caller(house, bob) as calls:
        await hers.result("contact.request", key="1", user=bob.id)
        await his.result("contact.answer", key="1", user=ann.id, accept=True)
        await his.result("follow", key="f", user=ann.id)
        post = (await hers.result("post.create", key="w", audience="contacts", text="hi"))["post"]
        comment = (await hers.result("comment.create", key="c", post=post, text="!"))["comment"]
        for what in ({"post": post}, {"comment": comment}):
            await calls.result("report", str(what), what=what, reason="spam")
        await hers.result("block", key="b", user=bob.id)
        for phone in (hers, his):
            await phone.until(lambda phone=phone: shown(phone, "contact") == {})  # type: ignore[misc]
        assert await his.error("post.get", post=post) == "unknown_post"
        assert await his.result("timeline") == {"posts": []}
        assert await his.error("contact.request", key="2", user=ann.id) == "unknown_user"
        assert await hers.result("followers") == {"people": [], "count": 0}
        for what in ({"post": post}, {"comment": comment}):
            assert await calls.error("report", f"late {what}", what=what, reason="harassment") == "not_found"
    kept = await world.database.fetch_all("select what, evidence -> 'shown' ->> 'text' from report order by what")
    assert kept == [("comment", "!"), ("post", "hi")]
