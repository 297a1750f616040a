"""Commands over HTTP, on a real server: what sockets see of them, and that both doors are one house."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio

from konnect_server import call as calls_room, commands, conversation, receipts, writer
from konnect_server.conversation import Conversation
from konnect_server.ids import uuid7
from protocol.calls import CALLS, ON_SOCKET_ONLY
from protocol.errors import catalogue
from protocol.frames import OpenerSend
from protocol.http import BODY_BYTES
from protocol.schema.catalogue import tag
from storage import openers
from storage.openers import Terms
from storage.rows import Appendix
from tests.http_house import conforms
from tests.running import House, Person, Phone, Place, World, create_group, open_house, open_postgres, open_world

STATUS = {error.code: error.status for error in catalogue()}


class Caller:
    """Somebody with an access token and no socket. Every answer is checked against the OpenAPI document."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, command: str, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        """Call *command*; *key* goes into the header."""
        plain = {name: str(value) if isinstance(value, UUID) else value for name, value in body.items()}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.http.post(f"/v1/call/{command}", json=plain, headers=headers)

    async def result(self, command: str, key: str | None = None, /, **body: Any) -> dict[str, Any]:
        """Call a command that must succeed; its result."""
        answer = await self.post(command, body, key)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def error(self, command: str, key: str | None = None, /, **body: Any) -> str:
        """Call a command that must fail; the code, which comes with its status."""
        answer = await self.post(command, body, key)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.status_code == problem["status"] == STATUS[problem["code"]]
        return str(problem["code"])


@asynccontextmanager
async def caller(place: Place, person: Person | None) -> AsyncIterator[Caller]:
    """*person*, or somebody without a token, who calls."""
    headers = {} if person is None else {"Authorization": f"Bearer {person.token}"}
    async with httpx.AsyncClient(
        base_url=place.url, headers=headers, event_hooks={"response": [conforms]}, trust_env=False, timeout=60,
        limits=httpx.Limits(max_connections=100),
    ) as http:  # fmt: skip
        yield Caller(http)


# --- what sockets see ---


async def test_each_command_is_carried_out_and_seen(house: House, world: World) -> None:
    """Ann holds no socket, Bob does."""
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    called: set[str] = set()
    async with caller(house, ann) as hers, house.phone(bob) as his:

        async def result(command: str, key: str | None = None, /, **body: Any) -> dict[str, Any]:
            called.add(command)
            return await hers.result(command, key, **body)

        direct = (await result("conversation.direct", user=bob.id))["conversation"]
        await his.until(lambda: direct in his.heads)
        assert await result("conversation.direct", user=bob.id) == {"conversation": direct}

        club = (await result("conversation.create", "make", title="Club", members=[str(bob)]))["conversation"]
        await his.has(club, 1)
        sent = await result("message.send", "m1", conversation=club, text="hello")
        assert sent["seq"] == 2
        [entry] = [frame for frame in await his.saw("entry", 1, club) if frame["seq"] == 2]
        assert (entry["author"], entry["text"], entry["key"], entry["at_ms"]) == (
            str(ann), "hello", "m1", sent["at_ms"],
        )  # fmt: skip

        assert (await result("conversation.add", "a1", conversation=club, user=cid.id))["seq"] == 3
        assert (await result("conversation.remove", "r1", conversation=club, user=cid.id))["seq"] == 4
        await his.has(club, 4)
        assert [frame["kind"] for frame in his.of("entry", club)][-2:] == ["member.added", "member.removed"]

        assert await by_socket(house, bob, "unread.get") == {"messages": 1, "conversations": 1}
        assert await result("unread.get") == {"messages": 0, "conversations": 0}
        await result("typing", conversation=club)
        assert (await his.saw("typing"))[0]["user"] == str(ann)
        await result("typing", conversation=club, what="media", on=False)
        assert (await his.saw("typing", 2))[1]["what"] == "media"
        present = await result("presence.get", users=[str(bob), str(cid), str(ann)])
        assert present == {"people": [{"user": str(bob), "state": "online"}]}
        assert await result("receipt", conversation=club, read=4) == {"delivered": 4, "read": 4}
        assert [frame["read"] for frame in await his.saw("receipt", 1, club)] == [4]

        reached = {"readers": [{"user": str(bob), "read": False}]}
        await his.result("receipt", conversation=club, delivered=2)
        assert await result("message.readers", conversation=club, seq=2) == reached

        state = await result("conversation.get", conversation=club, recent=2)
        assert (state["members"], state["head"], state["read"]) == ([str(ann), str(bob)], 4, 4)
        assert state == await by_socket(house, ann, "conversation.get", conversation=club, recent=2)
        listed = await result("conversation.list")
        assert [one["conversation"] for one in listed["conversations"]] == [club, direct]
        page = await result("history", conversation=club, before=3)
        assert [one["seq"] for one in page["entries"]] == [1, 2]
        assert page == await by_socket(house, ann, "history", conversation=club, before=3)
        found: list[dict[str, Any]] = []
        with trio.fail_after(20):
            while not found:  # the index is late, by a second or so
                found = (await result("search", query="hel", conversation=club))["hits"]
        assert [(one["seq"], one["snippet"], one["highlights"]) for one in found] == [(2, "hello", [[0, 5]])]
        page = await result("history", conversation=club, around=2, limit=2)
        assert ([one["seq"] for one in page["entries"]], page["more"], page["newer"]) == ([1, 2], False, True)
        users = await result("user.get", users=[str(bob)])
        assert users == {"users": [{"id": str(bob), "name": "Bob"}]}

        at = {"conversation": club, "seq": 2}
        assert (await result("message.edit", "e1", **at, text="hello, all"))["seq"] == 5
        assert (await result("message.react", "x1", **at, emoji="👍"))["seq"] == 6
        versions = (await result("message.edits", **at))["versions"]
        assert [one["text"] for one in versions] == ["hello", "hello, all"]
        reactions = (await result("message.reactions", **at))["reactions"]
        assert [(one["emoji"], one["user"]) for one in reactions] == [("👍", str(ann))]
        assert (await result("message.pin", "p1", **at))["seq"] == 7
        assert (await hers.result("conversation.get", conversation=club))["pins"] == [2]
        assert (await result("message.forward", "f1", conversation=club, source=at))["seq"] == 8
        assert (await result("message.delete", "d1", **at))["seq"] == 9
        kept = await result("message.schedule", "s1", conversation=club, at_ms=sent["at_ms"] + 86_400_000, text="later")
        await his.has(club, 9)
        assert [frame["kind"] for frame in his.of("entry", club)][-5:] == [
            "message.edited", "message.reacted", "message.pinned", "message", "message.deleted",
        ]  # fmt: skip
        [copy] = [frame for frame in his.of("entry", club) if frame["seq"] == 8]
        assert (copy["text"], copy["content"]) == ("hello, all", {"forwarded": {"author": str(ann)}})

        own: dict[str, dict[str, Any]] = {
            "draft.set": {"text": "Mo"}, "conversation.mute": {}, "conversation.archive": {}, "conversation.pin": {},
            "conversation.mark_unread": {}, "conversation.nickname": {"name": "Clubby", "user": str(bob)},
            "conversation.folder": {"folder": "Fun"}, "conversation.notify": {"level": "none"},
            "message.hide": {"seqs": [2]}, "draft.clear": {},
        }  # fmt: skip
        async with house.phone(ann) as phone:
            for key, (command, body) in enumerate(own.items()):
                assert await result(command, f"own {key}", conversation=club, **body) == {}
                [waits, *states] = await phone.saw("state", key + 2)
                assert (waits["what"], waits["subject"]) == ("scheduled", kept["scheduled"])
            assert [state["what"] for state in states] == ["draft", *["settings"] * 7, "hidden", "draft"]
            settings, hidden, gone = states[-3:]
            assert settings["settings"].pop("pinned_at_ms")
            assert settings["settings"] == {
                "muted": True, "archived": True, "unread": True, "nicknames": {str(bob): "Clubby"}, "folder": "Fun",
                "notify": "none",
            }  # fmt: skip
            assert hidden == {"t": "state", "what": "hidden", "subject": f"{club}/0", "hidden": {"seqs": [2]}}
            assert gone == {"t": "state", "what": "draft", "subject": club}

        assert (await result("conversation.retention", "t1", conversation=club, seconds=60))["seq"] == 10
        assert (await result("poll.create", "q1", conversation=club, question="When?", options=["8", "9"]))["seq"] == 11
        assert (await result("poll.vote", "v1", conversation=club, seq=11, options=[1]))["seq"] == 12
        voted = await result("poll.voters", conversation=club, seq=11)
        assert ([one["options"] for one in voted["votes"]], voted["mine"]) == ([[1]], [1])
        assert (await result("poll.close", "z1", conversation=club, seq=11))["seq"] == 13
        inside = {"conversation": club, "seq": 8}
        said = {"conversation": club, "text": "!", "content": {"thread": 8}}
        assert (await hers.result("message.send", "h1", **said))["seq"] == 14
        [thread] = (await result("thread.list", conversation=club))["threads"]
        assert (thread["seq"], thread["replies"]["count"], thread["following"]) == (8, 1, True)
        assert [one["seq"] for one in (await result("thread.history", **inside))["entries"]] == [14]
        async with house.phone(ann, "of threads") as phone:
            await phone.saw("state", 3)  # what stands already: settings, what is hidden, what waits
            await result("thread.read", "h2", **inside, read=14)
            await result("thread.follow", "h3", **inside, on=False)
            # Two changes of one row that follow one another closely may be told as one: what counts is how it stands.
            last = {"t": "state", "what": "thread", "subject": f"{club}/8", "thread": {"following": False, "read": 14}}
            await phone.until(lambda: phone.of("state")[-1] == last)
        waiting = (await result("message.scheduled"))["scheduled"]
        assert waiting == [{**kept, "conversation": club, "text": "later"}]
        assert await result("message.unschedule", scheduled=kept["scheduled"]) == {}

        await members_and_what_they_set(result, his, club, bob, cid)
        await rooms(result, his)
        await links(result, his, bob)
        await contacts_and_follows(result, his, ann, bob)
        await posts(result, ann)

        assert await result("device.register", device="phone", platform="web", token="t") == {}
        assert [one["device"] for one in (await result("device.list"))["devices"]] == ["phone"]
        assert await result("device.unregister", device="phone") == {}
        assert await result("notification.settings", "ns", timezone="Europe/Paris") == {}
        told = await result("notification.list", unread_only=True)
        assert told["settings"] == {"timezone": "Europe/Paris"}
        assert {one["kind"] for one in told["notifications"]} <= {"request"}, "which is read once it is answered"
        assert await result("notification.read", "nr", ids=[str(ann)]) == {}
        await openers_and_matches(result, his, world, ann, bob, cid)

        assert await result("privacy.set", "privacy1", last_seen="contacts") == {}
        switches = {"read_receipts": True, "last_seen": "contacts", "typing": True}
        assert await result("privacy.get") == switches

        await profiles(result, bob)
        await leaving(result, ann)
        await sign_ins(result, world, ann)
        await blocks_and_reports(result, world, ann, bob, cid, direct)

        left = (await result("conversation.leave", "l1", conversation=club))["seq"]
        await his.has(club, left)
        assert await hers.error("message.send", "m2", conversation=club, text="gone") == "not_a_member"
        assert await result("account.delete", "bye") == {}
    assert called == set(CALLS)


async def blocks_and_reports(
    result: Callable[..., Awaitable[dict[str, Any]]], world: World, ann: Person, bob: Person, cid: Person, direct: str
) -> None:
    """Somebody is blocked for a while, a message is reported, and a moderator closes that."""
    assert await result("block", "bl1", user=cid.id) == {}
    [block] = (await result("block.list"))["blocks"]
    assert (block["user"], block["name"]) == (str(cid), "Cid")
    assert await result("unblock", "bl2", user=cid.id) == {}
    made = (await result("report", "rp1", what={"user": str(bob)}, reason="spam", text="look"))["report"]
    await world.database.execute("update account set role = 'moderator' where id = %s", ann.id)
    [report] = (await result("report.list"))["reports"]
    assert (report["report"], report["about"], report["evidence"]["shown"]["name"]) == (made, str(bob), "Bob")
    assert await result("report.close", "rp2", report=made, verdict="dismissed") == {}
    [closed] = (await result("report.list", state="closed"))["reports"]
    assert (closed["verdict"], "evidence" in closed) == ("dismissed", False)


async def members_and_what_they_set(
    result: Callable[..., Awaitable[dict[str, Any]]], his: Phone, club: str, bob: Person, cid: Person
) -> None:
    """Roles, bans and settings, entry by entry."""
    first = (await result("member.role", "role1", conversation=club, user=bob.id, role="admin"))["seq"]
    assert (await result("member.ban", "set b1", conversation=club, user=cid.id, reason="spam"))["seq"] == first + 1
    [ban] = (await result("member.bans", conversation=club))["bans"]
    assert (ban["user"], ban["reason"], ban["seq"]) == (str(cid), "spam", first + 1)
    assert (await result("member.unban", "set u1", conversation=club, user=cid.id))["seq"] == first + 2
    assert (await result("conversation.handover", "set o1", conversation=club, user=bob.id))["seq"] == first + 3
    await his.has(club, first + 3)
    kinds = [frame["kind"] for frame in his.of("entry", club)][-4:]
    assert kinds == ["member.role", "member.banned", "member.unbanned", "conversation.owner"]
    assert (await result("conversation.title", "set t1", conversation=club, title="Pub"))["seq"] == first + 4
    assert (await result("conversation.topic", "set t2", conversation=club, topic="beer"))["seq"] == first + 5
    unchanged = await result("conversation.photo", "set t3", conversation=club, photo=None)
    assert unchanged["seq"] == first + 5, "there is none"
    assert (await result("conversation.slow_mode", "set t4", conversation=club, seconds=30))["seq"] == first + 6
    await his.has(club, first + 6)
    assert [frame["kind"] for frame in his.of("entry", club)][-3:] == [
        "conversation.title", "conversation.topic", "conversation.slow_mode",
    ]  # fmt: skip


async def profiles(result: Callable[..., Awaitable[dict[str, Any]]], bob: Person) -> None:
    """Ann's own, and Bob's, who has none."""
    named = {"first_name": "Ann", "bio": None, "location": {"city": "Vienna"}, "visibility": {"city": "nobody"}}
    changed = await result("profile.update", "profile1", **named)
    assert (changed["profile"]["first_name"], changed["own"]["city"]) == ("Ann", "Vienna")
    assert await result("profile.get") == changed
    assert await result("profile.get", user=bob.id) == {"profile": {"user": str(bob), "name": "Bob"}}
    assert await result("feed.list", filter={"age_from": 18}) == {"people": []}, "nobody's profile is complete"
    assert await result("profile.search", query="ann") == {"people": []}, "one does not find oneself"
async def openers_and_matches(
    result: Callable[..., Awaitable[dict[str, Any]]], his: Phone, world: World, ann: Person, bob: Person, cid: Person
) -> None:
    """Two that make a match, which ends; one that is put away."""
    assert await result("opener.send", "first", user=str(bob), text="Hello?") == {}
    sent = await result("opener.sent")
    assert [(one["user"], one["text"]) for one in sent["openers"]] == [(str(bob), "Hello?")]
    assert sent["left"] == 4
    talk = (await his.result("opener.send", key="second", user=str(ann), text="Hello!"))["conversation"]
    [match] = (await result("match.list"))["matches"]
    assert (match["user"], match["conversation"]) == (str(bob), talk)
    assert await result("match.unmatch", "no more", match=match["match"]) == {}
    assert (await result("match.list"))["matches"][0]["by_me"]
    assert await result("match.suggest", limit=5) == {"people": []}, "nobody's profile is complete"
    assert await result("match.pass", "not for me", user=str(cid)) == {}
    past = (await result("match.history"))["people"]
    assert [(one["user"], one["status"]) for one in past] == [(str(cid), "rejected"), (str(bob), "rejected")]

    command = OpenerSend(id=1, key="third", user=ann.id, text="Who am I?")
    await openers.send_opener(world.database, cid.id, command, Terms(), uuid7(), uuid7())
    assert await result("opener.list") == {"openers": [], "count": 0}
    await world.database.execute("update opener set release_at_ms = 0")
    await openers.release_openers(world.database, ann.id, uuid7(), Terms())
    listed = await result("opener.list")
    assert ([one["text"] for one in listed["openers"]], listed["count"]) == (["Who am I?"], 1)
    assert await result("opener.ignore", "away", opener=listed["openers"][0]["opener"]) == {}
    assert (await result("opener.list"))["count"] == 0


async def rooms(
    result: Callable[..., Awaitable[dict[str, Any]]], his: Phone
) -> None:  # fmt: skip
    """A room that Bob made, which somebody joins and leaves."""
    made = await his.result(
        "conversation.create", key="room", kind="room", title="Chess", members=[], tags=["chess"]
    )
    hall = made["conversation"]
    assert (await result("room.join", "j1", conversation=hall))["seq"] == 2
    state = await result("conversation.get", conversation=hall)
    assert (state["kind"], state["member_count"], state["members"], state["tags"]) == ("room", 2, [], ["chess"])
    [listed] = (await result("room.list", query="che", tags=["tea"]))["rooms"]
    assert (listed["conversation"], listed["member_count"], listed["joined"]) == (hall, 2, True)
    members = (await result("member.list", conversation=hall))["members"]
    assert [(one["name"], one["role"], one["joined"]) for one in members] == [("Bob", "owner", 1), ("Ann", "member", 2)]
    online = (await result("room.online", conversation=hall))["members"]
    assert "Bob" in [one["name"] for one in online]
    assert (await result("room.leave", "l2", conversation=hall))["seq"] == 3
    await his.has(hall, 3)


async def links(result: Callable[..., Awaitable[dict[str, Any]]], his: Phone, bob: Person) -> None:
    """Ann's group, which Bob joins by a link, leaves, and asks to be let in again; and his, which she joins."""
    club = (await result("conversation.create", "links", title="Secret", members=[]))["conversation"]
    link = (await result("link.create", "n1", conversation=club, uses=1))["link"]
    assert (await result("link.list", conversation=club))["links"] == [link]
    preview = await result("link.preview", code=link["code"])
    assert (preview["title"], preview["member_count"], preview["joined"]) == ("Secret", 1, True)
    assert (await his.result("link.join", code=link["code"], key="j"))["seq"] == 2
    await his.has(club, 2)
    await his.result("conversation.leave", conversation=club, key="l")
    assert await result("link.revoke", "n2", conversation=club, code=link["code"]) == {}
    other = (await result("link.create", "n3", conversation=club, approval=True))["link"]
    assert await his.result("link.join", code=other["code"], key="j2") == {"conversation": club, "requested": True}
    [request] = (await result("request.list", conversation=club))["requests"]
    assert (request["user"], request["name"], request["code"]) == (str(bob), "Bob", other["code"])
    assert (await result("request.answer", "q1", conversation=club, user=bob.id, accept=True))["seq"] == 4
    await his.has(club, 4)
    pub = (await his.result("conversation.create", key="pub", title="Pub", members=[]))["conversation"]
    code = (await his.result("link.create", key="n", conversation=pub))["link"]["code"]
    assert (await result("link.join", "j1", code=code))["seq"] == 2
    await his.has(pub, 2)


async def leaving(result: Callable[..., Awaitable[dict[str, Any]]], ann: Person) -> None:
    """A pause, a copy, and what comes of leaving by return of post: all of one's sign-ins end, so it comes last."""
    assert await result("account.get") == {"standing": "active", "at_ms": 0}
    assert await result("account.pause", "pause") == {}
    assert (await result("account.get"))["standing"] == "paused"
    assert await result("account.pause", "go on", on=False) == {}
    assert UUID((await result("account.export", "copy"))["export"])
    assert await result("account.return", "back") == {}


async def sign_ins(result: Callable[..., Awaitable[dict[str, Any]]], world: World, ann: Person) -> None:
    """Ann is signed in at three places, one of which she comes by."""
    here, there, elsewhere = ann.sign_in, uuid7(), uuid7()
    for sign_in in (here, there, elsewhere):
        await world.sign_in(ann, sign_in, str(sign_in))
    listed = (await result("session.list"))["sessions"]
    assert {(one["session"], one["device"], one["current"]) for one in listed} == {
        (str(here), str(here), True), (str(there), str(there), False), (str(elsewhere), str(elsewhere), False),
    }  # fmt: skip
    assert await result("session.revoke", session=there) == {}
    assert await result("session.revoke_all") == {"count": 1}
    assert [one["session"] for one in (await result("session.list"))["sessions"]] == [str(here)]


async def contacts_and_follows(
    result: Callable[..., Awaitable[dict[str, Any]]], his: Phone, ann: Person, bob: Person
) -> None:
    """Ann asks Bob twice, withdraws the first, and is accepted; he asks her again and is ignored, in vain."""
    assert await result("contact.request", "cr1", user=bob.id, note="hi", interested=True) == {"contact": False}
    [waits] = (await result("contact.requests", direction="sent"))["requests"]
    assert (waits["user"], waits["note"], waits["interested"]) == (str(bob), "hi", True)
    assert await result("contact.withdraw", "cw1", user=bob.id) == {}
    await his.result("contact.request", key="bob 1", user=ann.id)
    assert await result("contact.answer", "ca1", user=bob.id, accept=True) == {}
    [one] = (await result("contact.list"))["contacts"]
    assert (one["user"], one["state"]) == (str(bob), "online")
    assert await result("contact.remove", "cx1", user=bob.id) == {}
    assert await result("contact.list") == {"contacts": [], "count": 0}
    assert await result("follow", "f1", user=bob.id) == {}
    assert [one["user"] for one in (await result("following"))["people"]] == [str(bob)]
    assert (await result("followers", user=bob.id))["count"] == 1
    assert await result("unfollow", "f2", user=bob.id) == {}
    assert await result("following") == {"people": [], "count": 0}


async def posts(result: Callable[..., Awaitable[dict[str, Any]]], ann: Person) -> None:
    """Ann's own post, from its first word to its last."""
    post = (await result("post.create", "w1", audience="followers", text="Up #There"))["post"]
    assert await result("post.edit", "w2", post=post, audience="everyone") == {}
    assert await result("post.react", "w3", post=post, emoji="👍") == {}
    comment = (await result("comment.create", "w4", post=post, text="!"))["comment"]
    assert await result("comment.edit", "w5", comment=comment, text="!!") == {}
    shown = (await result("post.get", post=post))["post"]
    assert (shown["audience"], shown["comments"], shown["author"]) == ("everyone", 1, str(ann))
    for page in (await result("timeline"), await result("post.list", user=ann.id)):
        assert page == {"posts": [shown]}
    assert await result("post.tagged", tag="#there") == {"posts": [shown]}
    assert [one["emoji"] for one in (await result("post.reactions", post=post))["reactions"]] == ["👍"]
    assert [one["text"] for one in (await result("comment.list", post=post))["comments"]] == ["!!"]
    assert await result("comment.delete", "w6", comment=comment) == {}
    assert await result("post.delete", "w7", post=post) == {}
    assert await result("timeline") == {"posts": []}


async def by_socket(house: House, person: Person, command: str, **fields: Any) -> dict[str, Any]:
    async with house.phone(person, "for one question") as phone:
        return await phone.result(command, **fields)


async def test_ones_own_devices_hear_of_ones_calls(house: House, world: World) -> None:
    """A call is not a device: what it does reaches all of them."""
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers, house.phone(ann) as phone:
        club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
        await phone.has(club, 1)
        await hers.result("message.send", "k1", conversation=club, text="from elsewhere")
        await phone.has(club, 2)
        await hers.result("receipt", conversation=club, read=2)
        assert [frame["read"] for frame in await phone.saw("receipt", 1, club)] == [2]


# --- one order, one key ---


async def test_calls_and_frames_stand_in_one_order(house: House, world: World) -> None:
    """Each side waits for its answer before it says the next; the log has them as they were said, without a gap."""
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers, house.phone(ann) as phone, house.phone(bob) as his:
        club = await create_group(phone, bob)
        for n in range(10):
            assert (await hers.result("message.send", f"h{n}", conversation=club, text=f"h{n}"))["seq"] == 3 * n + 2
            assert await phone.say(club, f"s{n}", f"s{n}") == 3 * n + 3
            assert await his.say(club, f"b{n}", f"b{n}") == 3 * n + 4
        await his.has(club, 31)
        said = [text for n in range(10) for text in (f"h{n}", f"s{n}", f"b{n}")]
        assert [text for _, text in await world.log(club)][1:] == said
        assert [frame["text"] for frame in his.of("entry", club) if frame["seq"] > 1] == said


async def test_fifty_calls_at_once_leave_no_gap(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """With room for eight in the inbox: the others wait for theirs, and the inbox never holds more."""
    monkeypatch.setattr(conversation, "INBOX_LIMIT", 8)
    longest = 0
    post = Conversation.post

    def watched(self: Conversation, piece: Any) -> bool:
        nonlocal longest
        room = post(self, piece)
        longest = max(longest, len(self._inbox))
        return room

    monkeypatch.setattr(Conversation, "post", watched)
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers, house.phone(bob) as his:
        club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
        seqs: list[int] = []

        async def one(n: int) -> None:
            seqs.append((await hers.result("message.send", f"k{n}", conversation=club, text=f"t{n}"))["seq"])

        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(one, n)
        assert sorted(seqs) == list(range(2, 52))
        await his.has(club, 51)
        assert his.seqs(club)[-50:] == list(range(2, 52))
        assert longest <= 8
        assert not house.core.registry.conversations[UUID(club)]._waiting


async def test_a_repeat_is_answered_as_the_first_was_at_either_door(house: House, world: World) -> None:
    """By key, whatever brought the first."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with caller(house, ann) as hers, house.phone(ann) as phone, house.phone(bob) as his:
        club = await create_group(phone, bob, key="make")
        in_a_day = int(time.time() * 1000) + 86_400_000
        made = await his.result("conversation.create", key="r", kind="room", title="Chess", members=[])
        hall = made["conversation"]
        code = (await phone.result("link.create", key="n", conversation=club, approval=True))["link"]["code"]
        pub = await create_group(his, bob, key="pub")
        invited = (await his.result("link.create", key="n", conversation=pub))["link"]
        async with house.phone(dan) as hers_too:
            await hers_too.result("link.join", code=code, key="j")
            await phone.result("opener.send", key="dan", user=dan.id, text="hi")
            match = (await hers_too.result("opener.send", key="ann", user=ann.id, text="hi"))["match"]
        await world.database.execute("update account set role = 'moderator' where id = %s", ann.id)
        report = (await his.result("report", key="r", what={"user": str(ann)}, reason="spam"))["report"]
        async with caller(house, cid) as cids:
            await cids.result("contact.request", "of cid", user=ann.id)
        post = (await hers.result("post.create", "a post", audience="everyone", text="!"))["post"]
        comment = (await hers.result("comment.create", "a comment", post=post, text="!"))["comment"]
        steps: list[tuple[str, dict[str, Any]]] = [
            ("conversation.create", {"title": "Other", "members": [str(bob)]}),
            ("message.send", {"conversation": club, "text": "once"}),
            ("conversation.add", {"conversation": club, "user": str(cid)}),
            ("conversation.remove", {"conversation": club, "user": str(cid)}),
            ("message.edit", {"conversation": club, "seq": 2, "text": "twice"}),
            ("message.react", {"conversation": club, "seq": 2, "emoji": "👍"}),
            ("message.forward", {"conversation": club, "source": {"conversation": club, "seq": 2}}),
            ("message.pin", {"conversation": club, "seq": 2}),
            ("message.delete", {"conversation": club, "seq": 2}),
            ("draft.set", {"conversation": club, "text": "Mo"}),
            ("draft.clear", {"conversation": club}),
            ("conversation.mute", {"conversation": club, "until_ms": 5}),
            ("conversation.archive", {"conversation": club}),
            ("conversation.pin", {"conversation": club}),
            ("conversation.mark_unread", {"conversation": club}),
            ("conversation.nickname", {"conversation": club, "name": "Clubby"}),
            ("conversation.folder", {"conversation": club, "folder": "Fun"}),
            ("conversation.notify", {"conversation": club, "level": "none"}),
            ("message.hide", {"conversation": club, "seqs": [2]}),
            ("message.schedule", {"conversation": club, "at_ms": in_a_day, "text": "later"}),
            ("conversation.retention", {"conversation": club, "seconds": 60}),
            ("poll.create", {"conversation": club, "question": "When?", "options": ["8", "9"]}),
            ("poll.vote", {"conversation": club, "seq": 11, "options": [1]}),
            ("poll.close", {"conversation": club, "seq": 11}),
            ("thread.follow", {"conversation": club, "seq": 11}),
            ("thread.read", {"conversation": club, "seq": 11, "read": 12}),
            ("member.role", {"conversation": club, "user": str(bob), "role": "admin"}),
            ("member.ban", {"conversation": club, "user": str(cid)}),
            ("member.unban", {"conversation": club, "user": str(cid)}),
            ("room.join", {"conversation": hall}),
            ("room.leave", {"conversation": hall}),
            ("link.create", {"conversation": club, "approval": True}),
            ("link.revoke", {"conversation": club, "code": code}),
            ("link.join", {"code": invited["code"]}),
            ("request.answer", {"conversation": club, "user": str(dan), "accept": False}),
            ("conversation.title", {"conversation": club, "title": "Pub"}),
            ("conversation.topic", {"conversation": club, "topic": "beer"}),
            ("conversation.slow_mode", {"conversation": club, "seconds": 30}),
            ("conversation.handover", {"conversation": club, "user": str(bob)}),
            ("conversation.photo", {"conversation": club, "photo": None}),
            ("notification.read", {"through": str(ann)}),
            ("notification.settings", {"hide_content": True}),
            ("privacy.set", {"typing": False}),
            ("profile.update", {"bio": "hello", "gender": None}),
            # openers and matches
            ("opener.send", {"user": str(bob), "text": "hi"}),
            ("opener.ignore", {"opener": str(ann)}),
            ("match.unmatch", {"match": match}),
            ("match.pass", {"user": str(bob)}),
            ("block", {"user": str(dan)}),
            ("unblock", {"user": str(dan)}),
            ("report", {"what": {"user": str(dan)}, "reason": "spam"}),
            ("report.close", {"report": report, "verdict": "warned"}),
            # contacts, follows and posts
            ("contact.request", {"user": str(bob), "note": "hi"}),
            ("contact.withdraw", {"user": str(bob)}),
            ("contact.answer", {"user": str(cid), "accept": True}),
            ("contact.remove", {"user": str(cid)}),
            ("follow", {"user": str(bob)}),
            ("unfollow", {"user": str(bob)}),
            ("post.create", {"audience": "everyone", "text": "once"}),
            ("post.edit", {"post": post, "text": "twice"}),
            ("post.react", {"post": post, "emoji": "👍"}),
            ("comment.create", {"post": post, "text": "!"}),
            ("comment.edit", {"comment": comment, "text": "?"}),
            ("comment.delete", {"comment": comment}),
            ("post.delete", {"post": post}),
            # leaving
            ("account.pause", {"on": False}),
            ("account.export", {}),
            ("account.return", {}),
            ("conversation.leave", {"conversation": club}),
        ]
        once = {"account.delete"}  # after it one is signed out, at both doors
        assert {name for name, _ in steps} == {call.name for call in CALLS.values() if call.keyed} - once
        for turn, (command, body) in enumerate(steps):
            key = f"key {turn}"
            if turn % 2:
                first = await hers.result(command, key, **body)
                assert await phone.result(command, key=key, **body) == first
            else:
                first = await phone.result(command, key=key, **body)
                assert await hers.result(command, key, **body) == first
            assert await hers.result(command, **{**body, "key": key}) == first, "the key in the body is the same key"
        assert await hers.result("conversation.create", "make", title="Club", members=[str(bob)]) == {
            "conversation": club
        }
    # One's own; of threads; what is sent later; of the room; the other group; of links.
    elsewhere = 10 + 2 + 3 + 1 + 2 + 1 + 4
    elsewhere += 1  # profiles
    elsewhere += 4  # openers, matches and suggestions
    elsewhere += 4  # blocks and reports
    elsewhere += 13  # contacts, follows and posts
    elsewhere += 3  # leaving
    stored = 1 + len(steps) - elsewhere - 1  # the photo changed nothing
    assert [seq for seq, _ in await world.log(club)] == list(range(1, stored + 1))


async def test_a_key_comes_once_or_twice_the_same(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers:
        made = {"title": "Club", "members": [str(bob)]}
        assert await hers.error("conversation.create", **made) == "invalid"
        assert await hers.error("conversation.create", "a", key="b", **made) == "invalid"
        assert await hers.error("conversation.create", "", **made) == "invalid"
        assert await hers.error("conversation.create", "k" * 65, **made) == "invalid"
        assert await hers.error("conversation.create", None, key=7, **made) == "invalid"
        first = await hers.result("conversation.create", "a", key="a", **made)
        assert await hers.result("conversation.create", "a", **made) == first
        assert await hers.error("conversation.create", "a", title="Another", members=[str(bob)]) == "key_reused"
        # Two headers that differ, and one that is not ASCII.
        for keys in ([b"x", b"y"], ["schlüssel".encode()]):
            answer = await hers.http.post(
                "/v1/call/conversation.create", json=made, headers=[(b"Idempotency-Key", key) for key in keys]
            )
            assert answer.json()["code"] == "invalid"
        assert (await hers.result("conversation.create", None, key="schlüssel", **made))["conversation"]


# --- what is refused ---


async def test_both_doors_refuse_with_the_same_code(house: House, world: World) -> None:
    """Whatever is wrong with a command: its fields, or what stands in the database."""
    ann, bob, cid, dan = await world.people("Ann", "Bob", "Cid", "Dan")
    async with caller(house, ann) as hers, house.phone(ann) as phone, house.phone(bob) as his:
        club, foreign = await create_group(phone, bob), await create_group(his, cid)
        owned = await create_group(his, ann, cid, key="owned")
        direct = (await phone.result("conversation.direct", user=bob.id))["conversation"]
        await phone.say(club, "used", "first")
        nobody, send = str(uuid7()), {"conversation": club, "key": "k", "text": "x"}
        pick, behind = {"conversation": club, "key": "n"}, {"kind": "bold", "offset": 0, "length": 9}
        asked = {"question": "?", "options": ["a", "b"]}
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("message.send", {**send, "text": ""}, "invalid"),
            ("message.send", {**send, "text": "x" * 8193}, "invalid"),
            ("message.send", {**send, "text": "a\0b"}, "invalid"),
            ("message.send", {**send, "key": "a\0b"}, "invalid"),
            ("message.send", {**send, "text": 7}, "invalid"),
            ("message.send", {**send, "conversation": "club"}, "invalid"),
            ("message.send", {"conversation": club, "key": "k"}, "invalid"),
            ("message.send", {**send, "conversation": foreign}, "not_a_member"),
            ("message.send", {**send, "conversation": nobody}, "not_a_member"),
            ("message.send", {**send, "key": "used"}, "key_reused"),
            ("message.edit", {"conversation": club, "key": "n", "seq": 1, "text": "x"}, "unknown_message"),
            ("message.edit", {"conversation": club, "key": "n", "seq": 2, "text": ""}, "invalid"),
            ("message.edit", {"conversation": foreign, "key": "n", "seq": 2, "text": "x"}, "not_a_member"),
            ("message.delete", {"conversation": club, "key": "n", "seq": 99}, "unknown_message"),
            ("message.delete", {"conversation": club, "key": "n", "seq": 0}, "invalid"),
            ("message.react", {"conversation": club, "key": "n", "seq": 1, "emoji": "👍"}, "unknown_message"),
            ("message.react", {"conversation": club, "key": "n", "seq": 2, "emoji": "a\0"}, "invalid"),
            ("message.edits", {"conversation": club, "seq": 99}, "unknown_message"),
            ("message.send", {**send, "content": {"reply_to": 99}}, "unknown_message"),
            ("message.send", {**send, "content": {"media": [{"id": nobody, "kind": "photo"}]}}, "unknown_medium"),
            ("message.send", {**send, "content": {"forwarded": {"author": str(bob)}}}, "invalid"),
            ("message.send", {**send, "content": {"entities": [behind]}}, "invalid"),
            ("message.send", {"conversation": club, "key": "n", "content": {"mention_all": "all"}}, "invalid"),
            ("message.forward", {**pick, "source": {"conversation": foreign, "seq": 1}}, "unknown_message"),
            ("message.forward", pick, "invalid"),
            ("message.pin", {"conversation": club, "key": "n", "seq": 99}, "unknown_message"),
            ("message.pin", {"conversation": owned, "key": "n", "seq": 1}, "unknown_message"),
            ("message.reactions", {"conversation": foreign, "seq": 2}, "not_a_member"),
            ("device.register", {"device": "d", "platform": "fridge", "token": "t"}, "invalid"),
            ("device.register", {"device": "d", "platform": "web", "token": ""}, "invalid"),
            ("device.unregister", {"device": ""}, "invalid"),
            ("device.list", {"limit": 51}, "invalid"),
            ("notification.list", {"cursor": "x"}, "bad_cursor"),
            ("notification.read", {"key": "n", "ids": ["x"]}, "invalid"),
            ("notification.settings", {"key": "n", "timezone": "Nowhere"}, "invalid"),
            ("typing", {"conversation": club, "what": "dancing"}, "invalid"),
            ("presence.get", {"users": []}, "invalid"),
            ("presence.get", {"users": [str(ann)] * 101}, "invalid"),
            ("privacy.set", {"key": "n", "last_seen": "friends"}, "invalid"),
            ("privacy.set", {"key": "a\0b"}, "invalid"),
            ("privacy.set", {"key": "p", "typing": 1}, "invalid"),
            ("message.readers", {"conversation": foreign, "seq": 2}, "not_a_member"),
            ("message.readers", {"conversation": club, "seq": 99}, "unknown_message"),
            ("message.readers", {"conversation": club, "seq": 2, "cursor": "é"}, "bad_cursor"),
            ("message.readers", {"conversation": club, "seq": 2, "limit": 101}, "invalid"),
            ("draft.set", {"conversation": club, "key": "n", "text": ""}, "invalid"),
            ("draft.set", {"conversation": club, "key": "n", "text": "a\0b"}, "invalid"),
            ("draft.set", {"conversation": foreign, "key": "n", "text": "x"}, "not_a_member"),
            ("draft.clear", {"conversation": nobody, "key": "n"}, "not_a_member"),
            ("conversation.mute", {"conversation": club, "key": "n", "until_ms": -1}, "invalid"),
            ("conversation.mute", {"conversation": foreign, "key": "n"}, "not_a_member"),
            ("conversation.archive", {"conversation": foreign, "key": "n"}, "not_a_member"),
            ("conversation.pin", {"conversation": foreign, "key": "n"}, "not_a_member"),
            ("conversation.mark_unread", {"conversation": club, "key": "n", "on": 1}, "invalid"),
            ("conversation.nickname", {"conversation": club, "key": "n", "name": ""}, "invalid"),
            ("conversation.nickname", {"conversation": club, "key": "n", "user": nobody}, "not_a_member"),
            ("conversation.folder", {"conversation": club, "key": "n", "folder": "x" * 101}, "invalid"),
            ("conversation.notify", {"conversation": club, "key": "n", "level": "loud"}, "invalid"),
            ("message.hide", {"conversation": club, "key": "n", "seqs": []}, "invalid"),
            ("message.hide", {"conversation": club, "key": "n", "seqs": [1]}, "unknown_message"),
            ("message.hide", {"conversation": foreign, "key": "n", "seqs": [2]}, "not_a_member"),
            ("conversation.direct", {"user": str(ann)}, "invalid"),
            ("conversation.direct", {"user": nobody}, "unknown_user"),
            ("conversation.create", {"key": "n", "title": "x", "members": [nobody]}, "unknown_user"),
            ("conversation.create", {"key": "n", "title": "a\0b", "members": []}, "invalid"),
            ("conversation.create", {"key": "n", "title": "x", "members": [], "kind": "direct"}, "invalid"),
            ("conversation.create", {"key": "make", "title": "x", "members": []}, "key_reused"),
            ("search", {"query": "x", "conversation": foreign}, "not_a_member"),
            ("search", {"query": "x", "cursor": "nonsense"}, "bad_cursor"),
            ("search", {"query": ' "" - * '}, "invalid"),
            ("search", {"query": "x" * 201}, "invalid"),
            ("search", {"query": "x", "language": "klingon"}, "invalid"),
            ("search", {"query": "x", "limit": 51}, "invalid"),
            ("history", {"conversation": club, "around": 2, "before": 2}, "invalid"),
            ("history", {"conversation": club, "around": 0}, "invalid"),
            ("history", {"conversation": foreign, "around": 2}, "not_a_member"),
            ("conversation.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("conversation.list", {"limit": 0}, "invalid"),
            ("conversation.list", {"limit": 2.0}, "invalid"),
            ("conversation.get", {"conversation": foreign}, "not_a_member"),
            ("conversation.get", {"conversation": club, "recent": True}, "invalid"),
            ("conversation.add", {"conversation": club, "key": "n", "user": str(bob)}, "already_a_member"),
            ("conversation.add", {"conversation": direct, "key": "n", "user": str(cid)}, "wrong_kind"),
            ("conversation.add", {"conversation": club, "key": "n", "user": nobody}, "unknown_user"),
            ("conversation.remove", {"conversation": owned, "key": "n", "user": str(cid)}, "forbidden"),
            ("conversation.remove", {"conversation": foreign, "key": "n", "user": str(dan)}, "not_a_member"),
            ("conversation.leave", {"conversation": direct, "key": "n"}, "wrong_kind"),
            ("member.role", {"conversation": owned, "key": "n", "user": str(cid), "role": "admin"}, "forbidden"),
            ("member.role", {"conversation": club, "key": "n", "user": str(cid), "role": "admin"}, "not_a_member"),
            ("member.role", {"conversation": club, "key": "n", "user": str(bob), "role": "owner"}, "invalid"),
            ("conversation.handover", {"conversation": owned, "key": "n", "user": str(cid)}, "forbidden"),
            ("member.ban", {"conversation": club, "key": "n", "user": nobody}, "unknown_user"),
            ("member.ban", {"conversation": club, "key": "n", "user": str(bob), "reason": "a\0"}, "invalid"),
            ("member.ban", {"conversation": club, "key": "n", "user": str(bob), "reason": ""}, "invalid"),
            ("member.ban", {"conversation": club, "key": "n", "user": str(bob), "until_ms": 1}, "invalid"),
            ("member.unban", {"conversation": direct, "key": "n", "user": str(bob)}, "wrong_kind"),
            ("member.bans", {"conversation": owned}, "forbidden"),
            ("conversation.create", {"key": "n", "title": "x", "members": [], "public": True}, "invalid"),
            ("conversation.create", {"key": "n", "title": "x", "members": [], "kind": "room", "tags": [""]}, "invalid"),
            ("room.join", {"conversation": foreign, "key": "n"}, "not_found"),
            ("room.join", {"conversation": nobody, "key": "n"}, "not_found"),
            ("room.leave", {"conversation": foreign, "key": "n"}, "not_a_member"),
            ("link.create", {"conversation": direct, "key": "n"}, "wrong_kind"),
            ("link.create", {"conversation": owned, "key": "n"}, "forbidden"),
            ("link.create", {"conversation": club, "key": "n", "uses": 0}, "invalid"),
            ("link.create", {"conversation": club, "key": "n", "expires_at_ms": 1}, "invalid"),
            ("link.list", {"conversation": foreign}, "not_a_member"),
            ("link.revoke", {"conversation": club, "key": "n", "code": "x"}, "unknown_link"),
            ("link.revoke", {"conversation": owned, "key": "n", "code": "x"}, "forbidden"),
            ("link.preview", {"code": "x"}, "unknown_link"),
            ("link.preview", {"code": "a\0"}, "invalid"),
            ("link.join", {"code": "x", "key": "n"}, "unknown_link"),
            ("request.list", {"conversation": owned}, "forbidden"),
            ("request.list", {"conversation": club, "cursor": "x"}, "bad_cursor"),
            ("request.answer", {"conversation": club, "key": "n", "user": nobody, "accept": True}, "unknown_request"),
            ("room.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("room.list", {"query": "a\0"}, "invalid"),
            ("room.list", {"tags": [""]}, "invalid"),
            ("room.online", {"conversation": foreign}, "not_a_member"),
            ("room.online", {"conversation": club, "cursor": "AAAA"}, "bad_cursor"),
            ("member.list", {"conversation": foreign}, "not_a_member"),
            ("member.list", {"conversation": club, "limit": 101}, "invalid"),
            ("conversation.title", {"conversation": owned, "key": "n", "title": "x"}, "forbidden"),
            ("conversation.title", {"conversation": club, "key": "n", "title": ""}, "invalid"),
            ("conversation.topic", {"conversation": direct, "key": "n", "topic": "x"}, "wrong_kind"),
            ("conversation.topic", {"conversation": club, "key": "n", "topic": "a\0"}, "invalid"),
            ("conversation.photo", {"conversation": club, "key": "n", "photo": nobody}, "unknown_medium"),
            ("conversation.slow_mode", {"conversation": club, "key": "n", "seconds": -1}, "invalid"),
            ("conversation.slow_mode", {"conversation": club, "key": "n", "seconds": 99_999}, "invalid"),
            ("member.bans", {"conversation": club, "limit": 101}, "invalid"),
            ("history", {"conversation": foreign}, "not_a_member"),
            ("history", {"conversation": club, "before": 0}, "invalid"),
            ("receipt", {"conversation": foreign, "read": 1}, "not_a_member"),
            ("receipt", {"conversation": club, "read": -1}, "invalid"),
            ("typing", {"conversation": foreign}, "not_a_member"),
            ("message.schedule", {"conversation": foreign, "key": "n", "at_ms": 1, "text": "x"}, "not_a_member"),
            ("message.schedule", {"conversation": club, "key": "n", "at_ms": 10**15, "text": "x"}, "invalid"),
            ("message.schedule", {"conversation": club, "key": "n", "at_ms": -1, "text": "x"}, "invalid"),
            ("message.schedule", {"conversation": club, "key": "n", "at_ms": 1, "text": "a\0b"}, "invalid"),
            ("conversation.retention", {"conversation": owned, "key": "n", "seconds": 60}, "forbidden"),
            ("conversation.retention", {"conversation": club, "key": "n", "seconds": -1}, "invalid"),
            ("poll.create", {"conversation": foreign, "key": "n", **asked}, "not_a_member"),
            ("poll.create", {"conversation": club, "key": "n", "question": "?", "options": ["a"]}, "invalid"),
            ("poll.create", {"conversation": club, "key": "n", "question": "?", "options": ["a", "a"]}, "invalid"),
            ("poll.create", {"conversation": club, "key": "n", "question": "?", "options": ["a", "b\0"]}, "invalid"),
            ("poll.create", {"conversation": club, "key": "n", "question": "?", "options": ["a"] * 13}, "invalid"),
            ("poll.vote", {"conversation": club, "key": "n", "seq": 1, "options": [0]}, "unknown_message"),
            ("poll.vote", {"conversation": club, "key": "n", "seq": 1, "options": [12]}, "invalid"),
            ("poll.close", {"conversation": foreign, "key": "n", "seq": 1}, "not_a_member"),
            ("poll.voters", {"conversation": club, "seq": 1}, "unknown_message"),
            ("message.send", {**send, "content": {"thread": 99}}, "unknown_message"),
            ("message.send", {**send, "content": {"thread": 0}}, "invalid"),
            ("thread.list", {"conversation": foreign}, "not_a_member"),
            ("thread.list", {"conversation": club, "cursor": "nonsense"}, "bad_cursor"),
            ("thread.list", {"conversation": club, "limit": 101}, "invalid"),
            ("thread.history", {"conversation": foreign, "seq": 2}, "not_a_member"),
            ("thread.history", {"conversation": club, "seq": 1}, "unknown_message"),
            ("thread.history", {"conversation": club, "seq": 2, "before": 0}, "invalid"),
            ("thread.follow", {"conversation": club, "key": "n", "seq": 99}, "unknown_message"),
            ("thread.follow", {"conversation": foreign, "key": "n", "seq": 2}, "not_a_member"),
            ("thread.follow", {"conversation": club, "key": "n", "seq": 2, "on": 1}, "invalid"),
            ("thread.read", {"conversation": club, "key": "n", "seq": 1, "read": 1}, "unknown_message"),
            ("thread.read", {"conversation": club, "key": "n", "seq": 2, "read": 0}, "invalid"),
            ("message.unschedule", {"scheduled": nobody}, "unknown_scheduled"),
            ("message.scheduled", {"cursor": "nonsense"}, "bad_cursor"),
            ("message.scheduled", {"limit": 101}, "invalid"),
            ("block", {"key": "n", "user": nobody}, "unknown_user"),
            ("block", {"key": "n", "user": str(ann)}, "invalid"),
            ("unblock", {"key": "n", "user": str(ann)}, "invalid"),
            ("block.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("report", {"key": "n", "what": {"user": nobody}, "reason": "spam"}, "unknown_user"),
            ("report", {"key": "n", "what": {"user": str(ann)}, "reason": "spam"}, "invalid"),
            ("report", {"key": "n", "what": {}, "reason": "spam"}, "invalid"),
            ("report", {"key": "n", "what": {"conversation": foreign}, "reason": "spam"}, "not_a_member"),
            ("report", {"key": "n", "what": {"post": nobody}, "reason": "spam"}, "not_found"),
            ("report", {"key": "n", "what": {"message": {"conversation": club, "seq": 99}}, "reason": "spam"},
             "unknown_message"),
            ("report", {"key": "n", "what": {"user": str(bob)}, "reason": "spam", "text": "a\0"}, "invalid"),
            ("report.list", {}, "forbidden"),
            ("report.list", {"limit": 51}, "invalid"),
            ("report.close", {"key": "n", "report": nobody, "verdict": "warned"}, "forbidden"),
            # contacts, follows and posts
            ("contact.request", {"key": "n", "user": nobody}, "unknown_user"),
            ("contact.request", {"key": "n", "user": str(ann)}, "invalid"),
            ("contact.request", {"key": "n", "user": str(bob), "note": "x" * 501}, "invalid"),
            ("contact.request", {"key": "n", "user": str(bob), "note": "a\0"}, "invalid"),
            ("contact.answer", {"key": "n", "user": str(bob), "accept": True}, "unknown_request"),
            ("contact.withdraw", {"key": "n", "user": nobody}, "unknown_request"),
            ("contact.remove", {"key": "", "user": nobody}, "invalid"),
            ("contact.requests", {"direction": "lost"}, "invalid"),
            ("contact.requests", {"direction": "sent", "cursor": "x"}, "bad_cursor"),
            ("contact.list", {"cursor": "x"}, "bad_cursor"),
            ("contact.list", {"limit": 101}, "invalid"),
            ("follow", {"key": "n", "user": nobody}, "unknown_user"),
            ("follow", {"key": "n", "user": str(ann)}, "invalid"),
            ("unfollow", {"key": "n"}, "invalid"),
            ("followers", {"user": nobody}, "unknown_user"),
            ("following", {"cursor": "x"}, "bad_cursor"),
            ("post.create", {"key": "n", "audience": "everyone"}, "invalid"),
            ("post.create", {"key": "n", "audience": "all", "text": "x"}, "invalid"),
            ("post.create", {"key": "n", "audience": "everyone", "text": "x" * 5001}, "invalid"),
            ("post.create", {"key": "n", "audience": "everyone", "text": "a\0"}, "invalid"),
            ("post.create", {"key": "n", "audience": "everyone", "photos": [nobody]}, "unknown_medium"),
            ("post.create", {"key": "n", "audience": "everyone", "photos": [nobody] * 2}, "invalid"),
            ("post.edit", {"key": "n", "post": nobody, "text": "x"}, "unknown_post"),
            ("post.delete", {"key": "n", "post": nobody}, "unknown_post"),
            ("post.get", {"post": nobody}, "unknown_post"),
            ("post.list", {"user": nobody}, "unknown_user"),
            ("post.list", {"user": str(ann), "cursor": "x"}, "bad_cursor"),
            ("post.tagged", {"tag": ""}, "invalid"),
            ("post.tagged", {"tag": "a\0"}, "invalid"),
            ("timeline", {"cursor": "x"}, "bad_cursor"),
            ("timeline", {"limit": 51}, "invalid"),
            ("post.react", {"key": "n", "post": nobody, "emoji": "x"}, "unknown_post"),
            ("post.reactions", {"post": nobody}, "unknown_post"),
            ("comment.create", {"key": "n", "post": nobody, "text": "x"}, "unknown_post"),
            ("comment.create", {"key": "n", "post": nobody, "text": ""}, "invalid"),
            ("comment.edit", {"key": "n", "comment": nobody, "text": "x"}, "unknown_comment"),
            ("comment.delete", {"key": "n", "comment": nobody}, "unknown_comment"),
            ("comment.list", {"post": nobody}, "unknown_post"),
            ("user.get", {"users": []}, "invalid"),
            ("user.get", {"users": [str(ann)] * 101}, "invalid"),
            # accounts
            ("session.revoke", {"session": "x"}, "invalid"),
            ("session.revoke", {}, "invalid"),
            # people to meet
            ("feed.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("feed.list", {"filter": {"age_from": 30, "age_to": 20}}, "invalid"),
            ("feed.list", {"filter": {"within_km": 0}}, "invalid"),
            ("profile.search", {"query": "?"}, "invalid"),
            ("profile.search", {"query": "x", "cursor": "kwHA"}, "bad_cursor"),
            # profiles
            ("profile.get", {"user": nobody}, "unknown_user"),
            ("profile.get", {"handle": "nobody.at.all"}, "unknown_user"),
            ("profile.get", {"handle": "No"}, "invalid"),
            ("profile.update", {"key": "n", "handle": "admin"}, "handle_taken"),
            ("profile.update", {"key": "n", "birthday": "2024-02-29"}, "too_young"),
            ("profile.update", {"key": "n", "birthday": "2999-12-31"}, "invalid"),
            ("profile.update", {"key": "n", "birthday": "2023-02-29"}, "invalid"),
            ("profile.update", {"key": "n", "photos": [nobody]}, "unknown_medium"),
            ("profile.update", {"key": "n", "links": ["javascript:alert(1)"]}, "invalid"),
            ("profile.update", {"key": "n", "visibility": {"bio": "some"}}, "invalid"),
            # openers and matches
            ("opener.send", {"key": "n", "user": str(ann), "text": "x"}, "invalid"),
            ("opener.send", {"key": "n", "user": str(bob), "text": ""}, "invalid"),
            ("opener.send", {"key": "n", "user": str(bob), "text": "a\0b"}, "invalid"),
            ("opener.send", {"key": "n", "user": str(bob), "text": "x" * 1_001}, "invalid"),
            ("opener.list", {"limit": 101}, "invalid"),
            ("opener.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("opener.sent", {"cursor": "nonsense"}, "bad_cursor"),
            ("opener.ignore", {"key": "n", "opener": "x"}, "invalid"),
            ("match.list", {"cursor": "nonsense"}, "bad_cursor"),
            ("match.unmatch", {"key": "n", "match": nobody}, "unknown_match"),
            ("match.suggest", {"cursor": "nonsense"}, "bad_cursor"),
            ("match.suggest", {"limit": 31}, "invalid"),
            ("match.suggest", {"filter": {"age_from": 30, "age_to": 20}}, "invalid"),
            ("match.pass", {"key": "n", "user": str(ann)}, "invalid"),
            ("match.pass", {"key": "n", "user": "x"}, "invalid"),
            ("match.history", {"cursor": "nonsense"}, "bad_cursor"),
            # leaving
            ("account.pause", {"key": "n", "on": "perhaps"}, "invalid"),
            ("account.export", {"key": ""}, "invalid"),
            ("account.delete", {"key": "x" * 65}, "invalid"),
            ("account.return", {"key": 1}, "invalid"),
        ]
        for command, body, code in cases:
            assert (command, await hers.error(command, **body)) == (command, code)
            assert (command, await phone.error(command, **body)) == (command, code)
        takes_nothing = {"account.get", "unread.get", "privacy.get", "session.list", "session.revoke_all"}
        assert {command for command, _, _ in cases} == set(CALLS) - takes_nothing


@pytest.mark.parametrize("command", ON_SOCKET_ONLY, ids=tag)
async def test_what_needs_a_socket_says_so(house: House, world: World, command: Any) -> None:
    [ann] = await world.people("Ann")
    async with caller(house, ann) as hers:
        assert await hers.error(tag(command)) == "socket_only"


async def test_other_names_and_methods_are_refused(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with caller(house, ann) as hers:
        assert await hers.error("message.shout") == "unknown_command"
        answer = await hers.http.get("/v1/call/message.send")
        assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
        assert (await hers.http.options("/v1/call/message.send")).status_code == 200
        assert (await hers.http.get("/v1/call")).status_code == 200


async def test_a_call_needs_a_token(house: House, world: World) -> None:
    """Before anything else is looked at."""
    async with caller(house, None) as somebody:
        assert await somebody.error("message.send", text=7) == "unauthorized"
        somebody.http.headers["Authorization"] = "Bearer nonsense"
        assert await somebody.error("conversation.list") == "unauthorized"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "bad_request"),
        (b"{", "bad_request"),
        (b'{"title": "\xff"}', "bad_request"),
        (b'{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "bad_request"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b'{"title": "' + b"x" * BODY_BYTES + b'"}', "too_large"),
    ],
    ids=["empty", "broken", "not UTF-8", "deep", "a list", "null", "large"],
)
async def test_a_body_that_is_no_map_is_refused(house: House, world: World, content: bytes, code: str) -> None:
    [ann] = await world.people("Ann")
    async with caller(house, ann) as hers:
        answer = await hers.http.post(
            "/v1/call/conversation.create", content=content, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (STATUS[code], code)
        untyped = await hers.http.post("/v1/call/conversation.create", content=b"{}")
        assert untyped.json()["code"] == "unsupported_media_type"


async def test_unknown_fields_are_ignored(house: House, world: World) -> None:
    """``t`` and ``id`` are two of them."""
    [ann] = await world.people("Ann")
    async with caller(house, ann) as hers:
        assert await hers.result("conversation.list", t="typing", id="none", colour="red") == {"conversations": []}


async def test_who_calls_too_often_is_told_when_to_come_again(world: World) -> None:
    """As fast as one socket may send, all calls of a person together; messages and the rest apart, as there."""
    rates: dict[str, Any] = {"messages_per_s": 0.5, "messages_burst": 3, "commands_per_s": 0.25, "commands_burst": 5}
    async with open_house(world, **rates) as house:
        ann, bob = await world.people("Ann", "Bob")
        async with caller(house, ann) as hers, caller(house, bob) as his, house.phone(ann) as phone:
            club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
            for n in range(3):
                await hers.result("message.send", f"k{n}", conversation=club, text="x")
            answer = await hers.post("message.send", {"conversation": club, "text": "x"}, "k3")
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 2
            assert 0 < answer.json()["retry_after_ms"] <= 2000
            for _ in range(4):
                await hers.result("conversation.list")
            assert await hers.error("conversation.list") == "rate_limited"
            await his.result("message.send", "k", conversation=club, text="somebody else")
            await phone.say(club, "socket", "a socket has a rate of its own")


# --- what breaks ---


async def test_storage_that_stays_away_is_said_and_the_repeat_succeeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each way that a command takes: the writer, receipts, a read."""
    for room in (writer, commands, receipts):
        monkeypatch.setattr(room, "GIVE_UP_S", 0.5)
    async with open_postgres(folder / "pg") as postgres, open_world(postgres.dsn, folder) as world:
        ann, bob = await world.people("Ann", "Bob")
        async with open_house(world) as house, caller(house, ann) as hers:
            club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
            steps: list[tuple[str, str | None, dict[str, Any]]] = [
                ("message.send", "k1", {"conversation": club, "text": "once"}),
                ("conversation.create", "k2", {"title": "Other", "members": []}),
                ("receipt", None, {"conversation": club, "read": 1}),
                ("history", None, {"conversation": club}),
                ("typing", None, {"conversation": club}),
                ("conversation.leave", "k3", {"conversation": club}),
            ]
            await postgres.stop()
            for command, key, body in steps:
                answer = await hers.post(command, body, key)
                assert (command, answer.status_code, answer.json()["code"]) == (command, 503, "unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            await postgres.start()
            for command, key, body in steps:
                with trio.fail_after(30):  # the pool may have to notice that its connections are gone
                    while (answer := await hers.post(command, body, key)).status_code == 503:
                        await trio.sleep(0.1)
                assert (command, answer.status_code) == (command, 200)
            assert [seq for seq, _ in await world.log(club)] == [1, 2, 3]


async def test_a_crash_of_the_conversation_is_said_and_the_repeat_succeeds(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed, and the answer was lost in a bug of ours; those who wait for room in the inbox are told, too."""
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers:
        club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]

        def bug(self: Conversation, postings: Sequence[Any], outcome: Appendix) -> None:
            raise RuntimeError("planted")

        monkeypatch.setattr(Conversation, "appended", bug)
        monkeypatch.setattr(conversation, "INBOX_LIMIT", 1)
        codes: list[str] = []

        async def one(n: int) -> None:
            codes.append(await hers.error("message.send", f"k{n}", conversation=club, text="committed"))

        async with trio.open_nursery() as nursery:
            for n in range(6):
                nursery.start_soon(one, n)
        assert codes == ["unavailable"] * 6
        monkeypatch.undo()
        repeats = [await hers.result("message.send", f"k{n}", conversation=club, text="committed") for n in range(6)]
        assert sorted(one["seq"] for one in repeats) == [2, 3, 4, 5, 6, 7]


async def test_a_call_has_a_deadline(house: House, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever; what was under way is stored all the same, and the repeat finds it."""
    monkeypatch.setattr(calls_room, "CALL_S", 0.3)
    ann, bob = await world.people("Ann", "Bob")
    store = house.core._store
    append: Callable[..., Any] = store.append
    go = trio.Event()

    async def slow(*arguments: Any) -> Any:
        await go.wait()
        return await append(*arguments)

    async with caller(house, ann) as hers:
        club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
        monkeypatch.setattr(store, "append", slow)
        assert await hers.error("message.send", "k1", conversation=club, text="slow") == "unavailable"
        go.set()
        assert (await hers.result("message.send", "k1", conversation=club, text="slow"))["seq"] == 2
        assert await world.log(club) == [(1, None), (2, "slow")]


async def test_who_hangs_up_leaves_nothing_behind(house: House, world: World) -> None:
    """The message was said: it is stored, as one that a socket sent before it broke."""
    ann, bob = await world.people("Ann", "Bob")
    async with caller(house, ann) as hers, house.phone(bob) as his:
        club = (await hers.result("conversation.create", "k", title="Club", members=[str(bob)]))["conversation"]
        await his.has(club, 1)
        body = json.dumps({"conversation": club, "text": "bye", "key": "k1"}).encode()
        head = (
            f"POST /v1/call/message.send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ann.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        stream = await trio.open_tcp_stream("127.0.0.1", house.port)
        await stream.send_all(head.encode() + body)
        await his.has(club, 2)
        await stream.aclose()
        assert (await hers.result("message.send", "k1", conversation=club, text="bye"))["seq"] == 2


async def test_who_calls_a_server_that_goes_away_is_sent_elsewhere(house: House, world: World) -> None:
    """On a connection that was open before; nothing is taken in that may not be finished."""
    [ann] = await world.people("Ann")
    async with caller(house, ann) as hers:
        await hers.result("conversation.list")
        house.server.draining = True
        assert await hers.error("conversation.list") == "unavailable"


async def test_a_read_that_crashes_is_a_bug_of_ours(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """500, and the next call goes on."""
    [ann] = await world.people("Ann")

    async def bug(*_: Any) -> Any:
        raise RuntimeError("planted")

    async with caller(house, ann) as hers:
        monkeypatch.setattr(house.core._store, "listing", bug)
        assert await hers.error("conversation.list") == "internal_error"
        monkeypatch.undo()
        assert await hers.result("conversation.list") == {"conversations": []}


async def test_many_people_call_and_listen(house: House, world: World) -> None:
    """Ten who call and ten sockets in one group: everybody's transcript is the log."""
    people = await world.people(*(f"person {n}" for n in range(10)))
    async with caller(house, people[0]) as first, trio.open_nursery() as nursery:
        members = [str(one) for one in people]
        club = (await first.result("conversation.create", "k", title="Club", members=members))["conversation"]
        phones: list[Phone] = []

        async def listen(person: Person) -> None:
            async with house.phone(person) as phone:
                await phone.has(club, 1)
                phones.append(phone)
                await phone.has(club, 101)
                assert [frame["text"] for frame in phone.of("entry", club) if frame["seq"] > 1] == [
                    text for seq, text in await world.log(club) if seq > 1
                ]

        async def talk(person: Person) -> None:
            async with caller(house, person) as one:
                for n in range(10):
                    await one.result("message.send", f"k{n}", conversation=club, text=f"{person.name}: {n}")

        async with trio.open_nursery() as listening:
            for person in people:
                listening.start_soon(listen, person)
            with trio.fail_after(60):
                while len(phones) < len(people):
                    await trio.sleep(0.01)
            for person in people:
                nursery.start_soon(talk, person)
    log = await world.log(club)
    assert [seq for seq, _ in log] == list(range(1, 102))
    for person in people:
        said = [str(text) for _, text in log if str(text).startswith(f"{person.name}: ")]
        assert said == [f"{person.name}: {n}" for n in range(10)], "each one's own order is kept"
