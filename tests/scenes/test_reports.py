"""Somebody reports something, and moderators look at it."""

from typing import Any

from konnect_server.people.reports import UNUSED_MS
from protocol.limits import REPORTS_A_DAY
from tests import samples
from tests.leaving_kit import fetch, upload
from tests.running import House, Person, Phone, World, create_group


async def made_moderator(world: World, person: Person) -> None:
    await world.database.execute("update account set role = 'moderator' where id = %s", person.id)


def message(conversation: str, seq: int) -> dict[str, Any]:
    return {"message": {"conversation": conversation, "seq": seq}}


async def report(phone: Phone, key: str, what: dict[str, Any], **more: Any) -> str:
    """Report *what*; the report's id."""
    made = await phone.result("report", key=key, what=what, **{"reason": "harassment", **more})
    return str(made["report"])


async def test_what_was_reported_is_kept_whatever_becomes_of_it(house: House, world: World) -> None:
    """A message with its earlier words and its media; the author hears nothing of it."""
    ann, bob, mod = await world.people("Ann", "Bob", "Mod")
    await made_moderator(world, mod)
    photo = await world.photo(bob)
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(mod) as mods:
        club = await create_group(hers, bob)
        await his.has(club, 1)
        shown = {"media": [{"id": str(photo), "kind": "photo"}]}
        await his.result("message.send", conversation=club, key="k", text="rude", content=shown)
        await his.result("message.edit", conversation=club, key="e", seq=2, text="polite")
        await hers.has(club, 3)
        before = len(his.frames)
        made = await report(hers, "r", message(club, 2), text="look")
        assert his.frames[before:] == []
        await his.result("message.delete", conversation=club, key="d", seq=2)
        kinds = {frame["t"] for frame in his.frames[before:]}
        assert kinds == {"entry", "ok"}
        [one] = (await mods.result("report.list"))["reports"]
        assert (one["report"], one["reporter"], one["about"]) == (made, str(ann), str(bob))
        assert (one["reason"], one["text"]) == ("harassment", "look")
        assert (one["what"], one["target"]) == ("message", f"{club}/2")
        [copy] = one["evidence"]["entries"]
        assert (copy["text"], copy["content"]["media"][0]["id"]) == ("polite", str(photo))
        assert [version["text"] for version in one["evidence"]["versions"]] == ["rude", "polite"]
        row = await world.database.fetch_one("select used_at_ms is not null from upload where id = %s", photo)
        assert row == (True,), "no sweep takes it"


async def test_moderators_may_look_at_the_media_of_what_is_open_and_nobody_else(house: House, world: World) -> None:
    """Of a message, a profile, a post and a conversation, also after they are gone; with the closing it ends."""
    ann, bob, mod, admin = await world.people("Ann", "Bob", "Mod", "Admin")
    await made_moderator(world, mod)
    await world.database.execute("update account set role = 'admin' where id = %s", admin.id)
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(mod) as mods:
        pictures = {name: samples.png(n) for n, name in enumerate(("message", "user", "post", "conversation", "icon"))}
        media = {
            name: await upload(house, bob, "profile_photo" if name == "user" else "photo", body, "image/png", "")
            for name, body in pictures.items()
        }
        club = await create_group(his, ann)
        await his.result("conversation.photo", conversation=club, key="p", photo=media["icon"])
        for name in ("message", "conversation"):
            shown = {"media": [{"id": media[name], "kind": "photo"}]}
            await his.result("message.send", conversation=club, key=name, content=shown)
        await his.result("profile.update", key="on", first_name="Bob", photos=[media["user"]])
        posted = await his.result("post.create", key="post", text="", photos=[media["post"]], audience="everyone")
        post = posted["post"]
        await hers.has(club, 4)
        targets: dict[str, dict[str, Any]] = {
            "message": message(club, 3), "user": {"user": str(bob)}, "post": {"post": post},
            "conversation": {"conversation": club},
        }  # fmt: skip
        made = {name: await report(hers, name, what) for name, what in targets.items()}
        for seq in (3, 4):
            await his.result("message.delete", conversation=club, key=f"d{seq}", seq=seq)
        await his.result("conversation.photo", conversation=club, key="off", photo=None)
        await his.result("profile.update", key="off", photos=[])
        await his.result("post.delete", key="gone", post=post)

        evidence = {one["what"]: one["evidence"] for one in (await mods.result("report.list"))["reports"]}
        assert evidence["message"]["entries"][0]["content"]["media"][0]["id"] == media["message"]
        assert [one["id"] for one in evidence["user"]["shown"]["profile"]["photos"]] == [media["user"]]
        assert evidence["post"]["shown"]["photos"] == [media["post"]]
        assert evidence["conversation"]["shown"]["photo"] == media["icon"]
        said = [one["content"]["media"][0]["id"] for one in evidence["conversation"]["entries"] if "content" in one]
        assert set(said) == {media["message"], media["conversation"]}
        await world.database.execute("update upload set due_at_ms = 0 where used_at_ms is null")
        for name, body in pictures.items():
            for judge in (mod, admin):
                assert await fetch(house, judge, media[name]) == body, name
            if name not in ("user", "icon"):  # everybody sees photos of profiles, and members what entries name
                assert await fetch(house, ann, media[name]) == 404, name
        await mods.result("report.close", key="c", report=made["message"], verdict="removed")
        assert await fetch(house, mod, media["message"]) == pictures["message"], "another report holds it, too"
        await mods.result("report.close", key="d", report=made["conversation"], verdict="removed")
        for name in ("message", "conversation", "icon"):
            assert await fetch(house, mod, media[name]) == 404
        for name in ("user", "post"):
            assert await fetch(house, mod, media[name]) == pictures[name]


async def test_with_the_closing_the_copy_goes(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    await made_moderator(world, ann)
    photo = await world.photo(bob)
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await his.has(club, 1)
        shown = {"media": [{"id": str(photo), "kind": "photo"}]}
        await his.result("message.send", conversation=club, key="k", content=shown)
        made = await report(hers, "r", message(club, 2))
        await his.result("message.delete", conversation=club, key="d", seq=2)
        await hers.result("report.close", key="c", report=made, verdict="removed", note="gone")
        await hers.result("report.close", key="c", report=made, verdict="removed", note="gone")
        [one] = (await hers.result("report.list", state="closed"))["reports"]
        assert (one["verdict"], one["note"], one["closed_by"]) == ("removed", "gone", str(ann))
        assert "evidence" not in one
        left = await world.database.fetch_one(
            "select used_at_ms, due_at_ms > now_ms() + %s from upload where id = %s", UNUSED_MS - 600_000, photo
        )
        assert left == (None, True), "an orphan, which the sweep takes in a day"
        again = await report(hers, "again", {"user": str(bob)})
        assert again != made
        await hers.result("report.close", key="c2", report=made, verdict="dismissed")
        [one] = (await hers.result("report.list", state="closed"))["reports"]
        assert one["verdict"] == "dismissed"


async def test_the_same_again_is_one_report_and_there_are_so_many_a_day(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        club = await create_group(hers, bob)
        what = {"user": str(bob)}
        first = await report(hers, "1", what)
        assert await report(hers, "1", what) == await report(hers, "2", what, reason="spam") == first
        assert await hers.error("report", key="1", what={"conversation": club}, reason="spam") == "key_reused"
        for n in range(REPORTS_A_DAY - 1):
            await hers.say(club, f"k{n}")
            await world.database.execute(
                "insert into report (id, reporter, what, target, reason, at_ms, evidence) "
                "values (gen_random_uuid(), %s, 'post', %s, 'spam', now_ms(), '{}')", ann.id, str(n),
            )  # fmt: skip
        refused = await hers.ask("report", key="many", what={"conversation": club}, reason="spam")
        assert refused["code"] == "rate_limited"
        assert 0 < refused["retry_after_ms"] <= 86_400_000
        assert await report(hers, "3", what) == first, "what is reported already is no more"
        await world.database.execute("update report set at_ms = at_ms - 86400001")
        await report(hers, "many", {"conversation": club})


async def test_what_one_may_not_see_cannot_be_reported(house: House, world: World) -> None:
    """It looks as what does not exist."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    nobody = "01900000-0000-7000-8000-0000000000cc"
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as cids:
        club = await create_group(hers, bob)
        await hers.say(club, "k", "secret")
        await cids.result("block", key="b", user=ann.id)

        async def refused(phone: Phone, what: dict[str, Any]) -> str:
            return await phone.error("report", key="n", what=what, reason="spam")

        assert await refused(cids, message(club, 2)) == await refused(cids, message(nobody, 2)) == "unknown_message"
        assert await refused(cids, {"conversation": club}) == "not_a_member"
        assert await refused(hers, {"user": str(cid)}) == await refused(hers, {"user": nobody}) == "unknown_user"
        for what in ({"post": nobody}, {"comment": nobody}):
            assert await refused(hers, what) == "not_found"
        assert await refused(hers, message(club, 2)) == "invalid", "one's own"
        await his.has(club, 2)
        await hers.result("message.delete", conversation=club, key="d", seq=2)
        assert await refused(his, message(club, 2)) == "unknown_message"


async def test_moderators_see_and_close_reports_and_others_do_not(house: House, world: World) -> None:
    ann, bob, mod = await world.people("Ann", "Bob", "Mod")
    async with house.phone(ann) as hers, house.phone(mod) as mods:
        clubs = [await create_group(hers, bob, key=f"make {n}") for n in range(3)]
        made = [await report(hers, club, {"conversation": club}) for club in clubs]
        for phone in (hers, mods):
            assert await phone.error("report.list") == "forbidden"
            assert await phone.error("report.close", key="c", report=made[0], verdict="warned") == "forbidden"
        await made_moderator(world, mod)
        page = await mods.result("report.list", limit=2)
        assert [one["report"] for one in page["reports"]] == made[:2]
        assert page["reports"][0]["evidence"]["shown"] == {"kind": "group", "title": "Club"}
        await mods.result("report.close", key="c", report=made[0], verdict="warned")
        page = await mods.result("report.list", limit=2, cursor=page["cursor"])
        assert ([one["report"] for one in page["reports"]], page.get("cursor")) == (made[2:], None)
        await mods.result("report.close", key="d", report=made[2], verdict="warned")
        first = await mods.result("report.list", state="closed", limit=1)
        then = await mods.result("report.list", state="closed", limit=1, cursor=first["cursor"])
        assert [one["report"] for one in (*first["reports"], *then["reports"])] == [made[2], made[0]]
        unknown = "01900000-0000-7000-8000-0000000000cc"
        assert await mods.error("report.close", key="e", report=unknown, verdict="warned") == "not_found"


async def test_who_leaves_takes_along_what_was_blocked_and_reported(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        await hers.result("block", key="b", user=cid.id)
        await report(hers, "r", {"user": str(bob)}, text="look")
        await report(his, "r", {"user": str(ann)}, text="no, look")
        row = await world.database.fetch_one("select export_blocks(%s)", ann.id)
        assert row is not None
        assert [one["user"] for one in row[0]["blocks"]] == [str(cid)]
        assert [(one["text"], one["target"]) for one in row[0]["reports"]] == [("look", str(bob))]
        await world.database.execute("select erase_blocks(%s)", ann.id)
        left = await world.database.fetch_all("select reporter from report")
        assert left == [(bob.id,)], "about the person, as long as it is open"
        assert await world.database.fetch_all("select from block") == []
