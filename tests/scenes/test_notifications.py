"""What one is told of in the app, and what one has set: on real servers."""

import json
from typing import Any
from uuid import UUID

import pytest
import trio

from konnect_server.push import gatherer as gatherer_room
from protocol.limits import NOTIFICATIONS
from tests.running import Frame, House, Phone, World, create_group
from tests.scenes.test_calls import caller
from tests.scenes.test_push import settled


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatherer_room, "GATHER_S", 0.05)


async def told(phone: Phone, count: int) -> list[Frame]:
    """So many notifications, as they came by ``state``, the newest state of each."""

    def newest() -> dict[str, Frame]:
        return {one["subject"]: one for one in phone.of("state") if one["what"] == "notification"}

    await phone.until(lambda: len(newest()) >= count)
    return [one for _, one in sorted(newest().items())]


async def listed(phone: Phone, **more: Any) -> Frame:
    return await phone.result("notification.list", **more)


async def test_added_and_reactions(house: House, world: World) -> None:
    """Who is taken into a group is told, and whose message is reacted to; who does it is not. Live, by the list, and by
    the walk of who comes back."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers:
        async with house.phone(bob) as his:
            club = await create_group(hers, bob)
            await told(his, 1)
            await hers.result("conversation.add", conversation=club, key="a", user=cid.id)
            seq = await his.say(club, "k", "listen")
            await hers.result("message.react", conversation=club, key="r", seq=seq, emoji="👍")
            await his.result("message.react", conversation=club, key="r", seq=seq, emoji="🎉")
            added, reaction = await told(his, 2)
            cursor = his.cursor
        assert added["notification"] == {
            "kind": "added", "at_ms": added["notification"]["at_ms"], "conversation": club, "seq": 1, "user": str(ann),
        }  # fmt: skip
        assert reaction["notification"] == {
            "kind": "reaction", "at_ms": reaction["notification"]["at_ms"], "conversation": club, "seq": seq + 1,
            "of": seq, "user": str(ann), "emoji": "👍",
        }  # fmt: skip
        await settled(world)
        assert await listed(hers) == {"notifications": [], "unread": 0, "settings": {}}
    async with house.phone(cid) as cids, caller(house, bob) as http:
        assert [one["notification"]["kind"] for one in await told(cids, 1)] == ["added"]
        page = await http.result("notification.list")
        assert page["unread"] == 2
        assert [(one["id"], one["kind"]) for one in page["notifications"]] == [
            (reaction["subject"], "reaction"), (added["subject"], "added"),
        ]  # fmt: skip
    async with house.phone(bob, cursor=cursor, heads={club: 1}) as his:
        assert {one["subject"] for one in his.of("state")} <= {reaction["subject"]}, "what the cursor has not told"
    async with house.phone(bob, "new") as his:
        assert [one["subject"] for one in his.of("state")] == [added["subject"], reaction["subject"]]


async def test_read_is_read_on_all_devices(house: House, world: World) -> None:
    """Some by their ids, or all up to one; a repeat changes nothing, and its key means no other."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(bob, "tablet") as also_his:
        for n in range(5):
            await create_group(hers, bob, key=f"g{n}")
        ids = [one["subject"] for one in await told(his, 5)]
        await told(also_his, 5)

        def read(phone: Phone) -> list[bool]:
            newest = {one["subject"]: one for one in phone.of("state") if one["what"] == "notification"}
            return [newest[one]["notification"].get("read", False) for one in ids]

        unknown = str(UUID(int=7))
        assert await his.result("notification.read", key="a", ids=[ids[3].upper(), unknown]) == {}
        assert read(his) == [False, False, False, True, False], "told before the answer"
        await also_his.until(lambda: read(also_his) == read(his))
        assert (await listed(his))["unread"] == 4
        assert [one["id"] for one in (await listed(his, unread_only=True))["notifications"]] == [
            ids[4], ids[2], ids[1], ids[0],
        ]  # fmt: skip
        await his.result("notification.read", key="b", through=ids[1])
        assert read(his) == [True, True, False, True, False]
        await his.result("notification.read", key="b", through=ids[1])
        assert await his.error("notification.read", key="b", through=ids[4]) == "key_reused"
        assert await his.result("notification.read", key="nothing") == {}
        assert await his.error("notification.read", key="c", ids=["x"]) == "invalid"
        await hers.result("notification.read", key="d", through=ids[4])
        assert (await listed(his))["unread"] == 2, "nobody reads another's"


async def test_pages(house: House, world: World) -> None:
    (bob,) = await world.people("Bob")
    async with house.phone(bob) as his:
        for n in range(7):
            await world.database.fetch_one(
                "select add_notification(%s, %s, %s::json, 200)", bob.id, str(UUID(int=n + 1)),
                json.dumps({"kind": "added", "at_ms": n, "read": n % 2 == 0}),
            )  # fmt: skip
        seen: list[int] = []
        cursor = None
        while True:
            page = await listed(his, limit=3, **({} if cursor is None else {"cursor": cursor}))
            seen += [one["at_ms"] for one in page["notifications"]]
            cursor = page.get("cursor")
            if cursor is None:
                break
        assert seen == [6, 5, 4, 3, 2, 1, 0]
        assert [one["at_ms"] for one in (await listed(his, limit=2, unread_only=True))["notifications"]] == [5, 3]
        assert await his.error("notification.list", cursor="nonsense") == "bad_cursor"
        assert await his.error("notification.list", limit=101) == "invalid"


async def test_only_so_many_are_kept(house: House, world: World) -> None:
    """The oldest go, on all devices, and who comes later does not hear of them."""
    (bob,) = await world.people("Bob")
    async with house.phone(bob) as his:
        for n in range(NOTIFICATIONS + 3):
            await world.database.fetch_one(
                "select add_notification(%s, %s, %s::json, %s)", bob.id, str(UUID(int=n + 1)),
                json.dumps({"kind": "added", "at_ms": n}), NOTIFICATIONS,
            )  # fmt: skip
        house.core.registry.changed(bob.id)
        gone = {str(UUID(int=n + 1)) for n in range(3)}
        await his.until(
            lambda: {one["subject"] for one in his.of("state") if "notification" not in one} == gone
        )
        assert (await listed(his))["unread"] == NOTIFICATIONS
    async with house.phone(bob, "new") as his:
        assert len(his.of("state")) == NOTIFICATIONS


async def test_mentions_and_replies(house: House, world: World) -> None:
    """By name, or all; an answer to one's own message; one that is both is one. Never one's own, nor who left."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    await world.database.execute("alter table entry add column if not exists content json")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob, cid, dan)
        await told(his, 1)
        async with house.phone(dan) as dans:
            await dans.result("conversation.leave", conversation=club, key="l")
        first = await his.say(club, "k", "who comes?")
        await settled(world)
        said: list[dict[str, Any]] = [
            {"reply_to": first},
            {"entities": [{"kind": "mention", "offset": 0, "length": 1, "user": str(one)} for one in (bob, dan, ann)]},
            {"reply_to": first, "entities": [{"kind": "mention", "offset": 0, "length": 1, "user": str(bob)}]},
            {"mention_all": "all"},
            {"mention_all": "here"},
            {"entities": [{"kind": "bold", "offset": 0, "length": 1}]},
        ]
        seqs = []
        for content in said:
            [(seq,)] = await world.database.fetch_all(
                "update conversation set last_seq = last_seq + 1 where id = %s returning last_seq",
                UUID(club),
            )
            seqs.append(seq)
            await world.database.execute(
                "insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, content) "
                "values (%s, %s, 'message', %s, %s, gen_random_uuid(), gen_random_uuid(), now_ms(), 'x', %s::json)",
                UUID(club), seq, ann.id, f"s{seq}", json.dumps(content),
            )  # fmt: skip
        await hers.say(club, "end", "done")  # its fan-out is what has the log looked at
        await settled(world)
        house.core.registry.changed(bob.id)
        found = [(one["notification"]["kind"], one["notification"]["seq"]) for one in await told(his, 5)]
        found = [one for one in found if one[0] != "added"]
        assert sorted(found, key=lambda one: one[1]) == [
            ("reply", seqs[0]), ("mention", seqs[1]), ("mention", seqs[2]), ("mention", seqs[3]),
        ]  # fmt: skip
        assert (await listed(hers))["unread"] == 0
    async with house.phone(cid) as cids, house.phone(dan) as dans:
        assert [one["seq"] for one in (await listed(cids))["notifications"]] == [seqs[3], 1]
        assert [one["kind"] for one in (await listed(dans))["notifications"]] == ["added"]


async def test_settings_are_kept_and_told(house: House, world: World) -> None:
    (ann,) = await world.people("Ann")
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as also:

        async def now() -> Frame:
            settings: Frame = (await listed(hers))["settings"]
            return settings

        await hers.result(
            "notification.settings", key="a", quiet_from=1350, quiet_to=420, timezone="Europe/Berlin",
            hide_content=True,
        )  # fmt: skip
        all_of_it = {"quiet_from": 1350, "quiet_to": 420, "timezone": "Europe/Berlin", "hide_content": True}
        assert await now() == all_of_it
        await also.until(lambda: [one.get("notifying") for one in also.of("state")] == [all_of_it])
        await hers.result("notification.settings", key="b", timezone="Europe/Berlin")
        await hers.result("notification.settings", key="a", **all_of_it)
        assert await now() == {"timezone": "Europe/Berlin"}, "a repeat undoes nothing"
        assert await hers.error("notification.settings", key="a", hide_content=True) == "key_reused"
        for wrong in (
            {"quiet_from": 1440}, {"quiet_to": -1}, {"quiet_from": "22:30"}, {"timezone": "Nowhere/Atlantis"},
            {"timezone": "Europe/Berlin\n"}, {"timezone": "a\0b"}, {"timezone": ""}, {"hide_content": None},
        ):  # fmt: skip
            assert await hers.error("notification.settings", key="w", **wrong) == "invalid", wrong
        assert await now() == {"timezone": "Europe/Berlin"}
        await hers.result("notification.settings", key="c")
        assert await now() == {}
        await also.until(lambda: "notifying" not in also.of("state")[-1])


@pytest.mark.parametrize(
    ("quiet_from", "quiet_to", "quiet"),
    [(-60, 60, True), (60, 120, False), (-120, -60, False), (0, 0, False), (60, -60, False), (-60, -120, True)],
)
async def test_quiet_hours(world: World, quiet_from: int, quiet_to: int, quiet: bool) -> None:
    """On both sides of midnight, wherever it is now: minutes from now, in a zone of the person's own."""
    [(answer,)] = await world.database.fetch_all(
        "select is_quiet((m + 1440 + %s) %% 1440, (m + 1440 + %s) %% 1440, 'Asia/Tokyo') from (select "
        "extract(hour from t)::integer * 60 + extract(minute from t)::integer "
        "from (select now() at time zone 'Asia/Tokyo') as x(t)) as y(m)",
        quiet_from, quiet_to,
    )  # fmt: skip
    assert answer is quiet


async def test_nothing_is_asked_of_who_does_not_concern_it(house: House, world: World) -> None:
    """A plain message of a group without devices makes neither rows nor jobs."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        club = await create_group(hers, bob)
        await settled(world)
        before = await world.database.fetch_all("select count(*) from personal")
        for n in range(20):
            await hers.say(club, f"k{n}")
        await settled(world)
        assert await world.database.fetch_all("select count(*) from personal") == before
        assert await world.database.fetch_all("select count(*) from job") == [(0,)]
    await trio.lowlevel.checkpoint()
