"""The client against what is published: it reads the test vectors, and the server's codec reads its commands."""

import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_client import Content, ConversationChanged, Entity, Entry, Heads, Location, Rewound
from konnect_client.blocks import BlockPage, ReportPage
from konnect_client.contacts import ContactPage, FollowPage, WaitingPage
from konnect_client.feed import FeedPage
from konnect_client.model import (
    AccountStanding,
    BanPage,
    Conversation,
    ConversationPage,
    FoundPage,
    HistoryPage,
    Invitation,
    Joined,
    Link,
    MemberPage,
    PersonPresence,
    Privacy,
    ReactionPage,
    ReaderPage,
    RequestPage,
    RoomPage,
    ScheduledPage,
    Sent,
    SignIn,
    Unread,
    Version,
    Votes,
    take,
)
from konnect_client.notifications import NotificationPage, PushDevice
from konnect_client.openers import MatchPage, OpenerPage, OwnOpenerPage
from konnect_client.pack import pack, unpack
from konnect_client.posts import CommentPage, Post, PostPage, PostReactionPage
from konnect_client.profiles import FoundProfile
from konnect_client.suggestions import AnswerPage, SuggestionPage
from konnect_client.threads import ThreadPage
from konnect_client.timeline import Timeline
from protocol import codec, frames
from tests.client_peer import BOB, ROOM, Peer, client_of
from tests.simulate.phone import as_frame

VECTORS = json.loads((Path(__file__).parents[1] / "docs" / "vectors.json").read_text("utf-8"))
SERVER = [vector for vector in VECTORS["accepted"] if vector["sender"] == "server"]
EVENTS = [vector for vector in SERVER if vector["t"] not in ("ok", "error")]
ANSWERS = [vector for vector in SERVER if vector["t"] == "ok"]
CLIENT = [vector for vector in VECTORS["accepted"] if vector["sender"] == "client"]


def name_of(vector: dict[str, Any]) -> str:
    """Its name, for pytest."""
    return str(vector["name"])


@pytest.mark.parametrize("vector", EVENTS, ids=name_of)
def test_every_event_is_understood(vector: dict[str, Any]) -> None:
    frame = unpack(bytes.fromhex(vector["hex"]))
    conversation: Any = frame.get("conversation")
    heads = Heads({conversation: frame["seq"] - 1}) if frame["t"] == "entry" else Heads()
    events = Timeline(heads).apply(frame)
    assert events
    match events[0]:
        case Entry(seq=seq, text=text, user=user, title=title, members=members):
            assert (seq, text, user, title) == tuple(frame.get(name) for name in ("seq", "text", "user", "title"))
            assert members == tuple(frame.get("members", ()))
            assert as_frame(events[0]) == {name: value for name, value in frame.items() if name != "t"}
            assert heads.seqs == {conversation: seq}
        case ConversationChanged(conversation=Conversation(head=head, names=names, recent=recent, owner=owner)):
            assert (head, names, owner) == (frame["head"], frame.get("names", {}), frame.get("owner"))
            assert [entry.seq for entry in recent] == [entry["seq"] for entry in frame.get("recent", [])]
            assert heads.seqs == {conversation: head}
        case Rewound(conversation=forgotten):
            assert forgotten == conversation
        case _:
            assert heads.cursor == frame.get("cursor")


@pytest.mark.parametrize("vector", ANSWERS, ids=name_of)
def test_every_answer_is_understood(vector: dict[str, Any]) -> None:
    frame = unpack(bytes.fromhex(vector["hex"]))
    result = take(frame, "result", dict)
    match result:
        case {"messages": messages, "conversations": conversations}:
            assert Unread.parse(result) == Unread(messages, conversations)
        case {"conversations": listed}:
            assert [found.id for found in ConversationPage.parse(result).conversations] == [
                one["conversation"] for one in listed
            ]
        case {"entries": entries}:
            assert len(HistoryPage.parse(result).entries) == len(entries)
        case {"head": head}:
            assert Conversation.parse(result).head == head
        case {"standing": standing}:
            account = AccountStanding.parse(result)
            assert (account.standing, account.leaving_until_ms) == (standing, result.get("leaving_until_ms"))
        case {"export": str()}:
            pass
        case {"openers": listed, "count": count}:
            openers = OpenerPage.parse(result)
            assert ([one.text for one in openers.openers], openers.count) == ([one["text"] for one in listed], count)
        case {"openers": listed, "left": left}:
            own_page = OwnOpenerPage.parse(result)
            assert ([one.user for one in own_page.openers], own_page.left) == ([one["user"] for one in listed], left)
        case {"matches": listed}:
            assert [one.id for one in MatchPage.parse(result).matches] == [one["match"] for one in listed]
        case {"match": str(), "conversation": str()}:
            pass
        case {"versions": versions}:
            assert [Version.parse(one).text for one in versions] == [one.get("text") for one in versions]
        case {"bans": bans}:
            assert [one.user for one in BanPage.parse(result).bans] == [one["user"] for one in bans]
        case {"members": [{"role": _}, *_] as members}:
            assert [one.user for one in MemberPage.parse(result).members] == [one["user"] for one in members]
        case {"rooms": rooms}:
            assert [one.title for one in RoomPage.parse(result).rooms] == [one["title"] for one in rooms]
        case {"links": links}:
            assert [Link.parse(one).code for one in links] == [one["code"] for one in links]
        case {"link": link}:
            assert Link.parse(link).uses == link.get("uses")
        case {"approval": approval}:
            assert Invitation.parse(result).approval == approval
        case {"contact": bool()}:
            pass
        case {"contacts": listed}:
            assert [one.state for one in ContactPage.parse(result).contacts] == [one.get("state") for one in listed]
        case {"requests": [{"interested": _}, *_] as waiting}:
            assert [one.note for one in WaitingPage.parse(result).requests] == [one["note"] for one in waiting]
        case {"people": [{"at_ms": _}, *_], "count": count}:
            assert FollowPage.parse(result).count == count
        case {"posts": listed}:
            posts = PostPage.parse(result).posts
            assert [(one.id, one.text, list(one.photos), one.comments) for one in posts] == [
                (one["id"], one["text"], one["photos"], one["comments"]) for one in listed
            ]
            assert [len(one.reactions) for one in posts] == [len(one["reactions"]) for one in listed]
        case {"post": dict(post)}:
            assert Post.parse(post).text == post["text"]
        case {"reactions": [{"user": _, "emoji": _, "at_ms": _, **rest}, *_] as listed} if "seq" not in rest:
            assert [one.user for one in PostReactionPage.parse(result).reactions] == [one["user"] for one in listed]
        case {"comments": listed}:
            assert [one.text for one in CommentPage.parse(result).comments] == [one["text"] for one in listed]
        case {"requests": requests}:
            assert [one.user for one in RequestPage.parse(result).requests] == [one["user"] for one in requests]
        case {"conversation": _, "seq": seq}:
            assert Joined.parse(result).seq == seq
        case {"people": [{"profile": _, "score": _}, *_] as people}:
            suggested = SuggestionPage.parse(result).people
            assert [(one.met.profile.user, one.score, [w.kind for w in one.why]) for one in suggested] == [
                (one["profile"]["user"], one["score"], [w["kind"] for w in one["why"]]) for one in people
            ]
        case {"people": [{"status": _}, *_] as people}:
            assert [(one.user, one.status) for one in AnswerPage.parse(result).people] == [
                (one["user"], one["status"]) for one in people
            ]
        case {"people": [{"profile": _}, *_] as people}:
            assert [(one.profile.user, list(one.common), one.online) for one in FeedPage.parse(result).people] == [
                (one["profile"]["user"], one.get("common", []), one.get("online", False)) for one in people
            ]
        case {"people": people}:
            assert [PersonPresence.parse(one).user for one in people] == [one["user"] for one in people]
        case {"profile": {"user": user, "photos": photos} as shown}:
            found_profile = FoundProfile.parse(result)
            assert (found_profile.profile.user, found_profile.profile.distance_km) == (user, shown.get("distance_km"))
            assert [one.url for one in found_profile.profile.photos] == [one["url"] for one in photos]
            own = result.get("own", {})
            assert (found_profile.own.percent if found_profile.own else None) == own.get("percent")
        case {"last_seen": str(), "typing": bool()}:
            assert Privacy.parse(result).last_seen == result["last_seen"]
        case {"readers": readers}:
            assert [one.read for one in ReaderPage.parse(result).readers] == [one["read"] for one in readers]
        case {"reactions": reactions}:
            found = ReactionPage.parse(result)
            assert [one.emoji for one in found.reactions] == [one["emoji"] for one in reactions]
            assert found.cursor == result.get("cursor")
        case {"votes": listed, "mine": mine}:
            votes = Votes.parse(result)
            assert [list(one.options) for one in votes.votes] == [one["options"] for one in listed]
            assert list(votes.mine) == mine
        case {"threads": listed}:
            assert [(one.seq, one.replies.count, one.following, one.read, one.unread) for one in ThreadPage.parse(
                result
            ).threads] == [
                (one["seq"], one["replies"]["count"], one["following"], one["read"], one["unread"]) for one in listed
            ]  # fmt: skip
        case {"scheduled": list(listed)}:
            page = ScheduledPage.parse(result)
            assert [(one.id, one.text, one.problem) for one in page.scheduled] == [
                (one["scheduled"], one["text"], one.get("problem")) for one in listed
            ]
        case {"notifications": listed, "unread": unread}:
            told = NotificationPage.parse(result)
            assert [one.id for one in told.notifications] == [one["id"] for one in listed]
            assert (told.unread, told.settings.timezone) == (unread, result["settings"].get("timezone"))
        case {"blocks": blocks}:
            assert [one.user for one in BlockPage.parse(result).blocks] == [one["user"] for one in blocks]
        case {"reports": reports}:
            assert [one.id for one in ReportPage.parse(result).reports] == [one["report"] for one in reports]
        case {"report": str()}:
            pass  # the id alone
        case {"devices": devices}:
            assert [PushDevice.parse(one).device for one in devices] == [one["device"] for one in devices]
        case {"hits": hits}:
            shown = FoundPage.parse(result)
            assert [(one.seq, one.snippet) for one in shown.hits] == [(one["seq"], one["snippet"]) for one in hits]
            assert [[list(place) for place in one.highlights] for one in shown.hits] == [
                one.get("highlights", []) for one in hits
            ]
        # accounts
        case {"sessions": sessions}:
            assert [(SignIn.parse(one).id, SignIn.parse(one).current) for one in sessions] == [
                (one["session"], one["current"]) for one in sessions
            ]
        case {"count": int()} if set(result) == {"count"}:
            pass  # given as it is
        case {"seq": seq, "at_ms": at_ms}:
            assert Sent.parse(result) == Sent(seq, at_ms)
        case _:
            assert set(result) <= {
                "user", "session", "at_ms", "data", "expires_in_s", "conversation", "delivered", "read", "online",
                "users", "scheduled", "last_seen_ms", "post", "comment",
            }  # fmt: skip


@pytest.mark.parametrize("vector", CLIENT, ids=name_of)
def test_a_clients_frame_is_packed_as_another_library_reads_it(vector: dict[str, Any]) -> None:
    assert unpack(bytes.fromhex(vector["hex"]))["t"] == vector["t"]
    if "$bytes" not in json.dumps(vector["json"]):
        assert msgpack.unpackb(pack(vector["json"])) == vector["json"]


async def test_every_command_of_the_client_is_one_that_the_server_takes(autojump_clock: MockClock) -> None:
    """With the server's own codec, limits and all; and no command of the server is left out."""
    peer = Peer()
    peer.room()
    async with client_of(peer) as client:
        await client.wait_synced()
        await client.send(ROOM, "hi")
        await client.direct(BOB)
        await client.create("Tea", [BOB], history="from_join")
        await client.conversations(cursor="0")
        await client.conversation(ROOM)
        await client.add(ROOM, BOB)
        await client.remove(ROOM, BOB)
        await client.leave(ROOM)
        await client.edit(ROOM, 2, "hello")
        await client.react(ROOM, 2, "👍")
        await client.react(ROOM, 2, "👍", on=False)
        await client.forward(ROOM, ROOM, 2)
        await client.pin(ROOM, 2)
        await client.send(ROOM, content=Content(location=Location(48.2, 16.4)))
        await client.edit(ROOM, 2, "hello", entities=[Entity("bold", 0, 5)], mention_all="here")
        await client.edits(ROOM, 2)
        await client.reactions(ROOM, 2, emoji="👍")
        await client.delete(ROOM, 2)
        await client.set_role(ROOM, BOB, "admin")
        await client.hand_over(ROOM, BOB)
        await client.ban(ROOM, BOB, reason="spam", until_ms=2**50)
        await client.unban(ROOM, BOB)
        await client.bans(ROOM, before=9)
        await client.create("Chess", kind="room", tags=["chess"], topic="moves", public=True)
        await client.join(ROOM)
        await client.leave_room(ROOM)
        await client.create_link(ROOM, uses=2, expires_at_ms=2**50)
        await client.links(ROOM)
        await client.revoke_link(ROOM, "c")
        await client.preview_link("c")
        await client.join_by_link("c")
        await client.requests(ROOM, cursor="p2")
        await client.answer_request(ROOM, BOB, False)
        await client.rooms("te", tags=["tea"], limit=2)
        await client.members_online(ROOM, cursor="p2")
        await client.members(ROOM, limit=5)
        await client.set_title(ROOM, "Tea")
        await client.set_topic(ROOM, "hot")
        await client.set_photo(ROOM, BOB)
        await client.set_slow_mode(ROOM, 30)
        await client.history(ROOM, before=2)
        await client.set_draft(ROOM, "See", reply_to=2)
        await client.set_draft(ROOM, "See you")
        await client.set_draft(ROOM, "")
        await client.mute(ROOM, until_ms=5)
        await client.mute(ROOM, on=False)
        await client.archive(ROOM)
        await client.pin_conversation(ROOM)
        await client.mark_unread(ROOM)
        await client.nickname(ROOM, "the room")
        await client.nickname(ROOM, None, user=BOB)
        await client.put_into_folder(ROOM, "Friends")
        await client.put_into_folder(ROOM, None)
        await client.notify_of(ROOM, "mentions")
        await client.hide(ROOM, [2])
        await client.unschedule(await client.schedule(ROOM, "later", 2_114_380_800_000))
        await client.scheduled(ROOM)
        await client.retention(ROOM, 60)
        asked = await client.ask_people(ROOM, "When?", ["8", "9"])
        await client.vote(ROOM, asked.seq, [1])
        assert (await client.votes(ROOM, asked.seq)).mine == (1,)
        await client.close_poll(ROOM, asked.seq)
        await client.send(ROOM, "so?", content=Content(thread=2))
        await client.threads(ROOM, cursor="0")
        await client.thread_history(ROOM, 2, before=9)
        await client.follow_thread(ROOM, 2, on=False)
        await client.read_thread(ROOM, 2, 9)
        await client.register_device("phone", "android", "token")
        await client.devices()
        await client.unregister_device("phone")
        await client.notifications(cursor="0", unread_only=True)
        await client.read_notifications([BOB])
        await client.read_notifications(through=BOB)
        await client.set_notifying(quiet_from=1350, quiet_to=420, timezone="Europe/Berlin", hide_content=True)
        await client.set_notifying()
        await client.history(ROOM, around=2)
        await client.search("hi", conversation=ROOM, author=BOB, kind="text", from_ms=1, to_ms=2, order="rank")
        await client.watch([BOB], conversation=None)
        await client.watch(conversation=ROOM)
        await client.names(["01900000-0000-7000-8000-0000000000cc"])
        await client.readers(ROOM, 2)
        await client.unread()
        await client.presence([BOB])
        await client.set_privacy(read_receipts=False, last_seen="contacts", typing=True)
        assert (await client.privacy()).last_seen == "everyone"
        assert (await client.profile(BOB)).profile.user == BOB
        await client.profile(handle="bob")
        [met] = (await client.feed(age_from=20, interests=["hiking"])).people
        assert (met.profile.name, met.common) == ("Ann", ("hiking",))
        assert (await client.search_profiles("ann", cursor="more")).people == ()
        changed = await client.update_profile(
            first_name="Ann", bio=None, birthday="1999-05-17", location={"city": "Vienna"}, photos=[],
            experience=[{"title": "Guide"}], visibility={"bio": "nobody"},
        )  # fmt: skip
        assert changed.own is not None
        assert changed.own.visibility == {"bio": "nobody"}
        assert (await client.account()).standing == "active"
        await client.pause_account()
        await client.pause_account(False)
        assert await client.export_account() == BOB
        await client.delete_account()
        await client.return_account()
        assert await client.send_opener(BOB, "hi") is None
        assert [one.text for one in (await client.openers()).openers] == ["hello"]
        await client.ignore_opener(BOB)
        assert (await client.openers_sent(cursor="p2")).left == 4
        assert (await client.matches(limit=3)).matches == ()
        await client.unmatch(BOB)
        [suggested] = (await client.suggestions(within_km=50)).people
        assert (suggested.score, suggested.why[1].city, suggested.met.common) == (0.25, "Vienna", ("hiking",))
        await client.pass_over(BOB)
        await client.pass_over(BOB, False)
        [past] = (await client.answers(limit=5)).people
        assert (past.user, past.status, past.score) == (BOB, "pending", 0.25)
        # accounts
        assert [one.device for one in await client.sign_ins()] == ["phone"]
        await client.revoke_sign_in(BOB)
        assert await client.revoke_other_sign_ins() == 2
        await client.block(BOB)
        await client.unblock(BOB)
        assert [one.name for one in (await client.blocks(limit=10)).blocks] == ["Bob"]
        report = await client.report({"message": {"conversation": ROOM, "seq": 2}}, "spam", "look")
        [shown] = (await client.reports("open", limit=10)).reports
        assert (shown.id, shown.evidence and shown.evidence.shown) == (report, {"name": "Bob"})
        await client.close_report(report, "warned", "once")
        assert not await client.request_contact(BOB, "hi", interested=True)
        await client.answer_contact(BOB, True)
        await client.withdraw_contact(BOB)
        await client.remove_contact(BOB)
        await client.contact_requests("sent", cursor="p2")
        await client.contacts(limit=5)
        await client.follow(BOB)
        await client.unfollow(BOB)
        await client.followers(BOB)
        await client.following(cursor="p2")
        post = await client.write_post("hi", audience="everyone", photos=[BOB])
        await client.edit_post(post, text="hello", photos=[])
        assert (await client.post(post)).id == post
        await client.posts(BOB)
        await client.tagged("hi")
        await client.timeline(cursor="p2")
        await client.react_to_post(post, "👍", on=False)
        await client.post_reactions(post, emoji="👍")
        comment = await client.comment(post, "!")
        await client.edit_comment(comment, "?")
        await client.comments(post)
        await client.delete_comment(comment)
        await client.delete_post(post)
        await client.ping()
        client.receipt(ROOM, delivered=2, read=1)
        client.typing(ROOM)
        await client.ask("auth.renew", token="t")
        await wait_all_tasks_blocked()
        client.reconnect()
        await client.wait_synced()
    sent = {frame["t"] for frame in peer.received}
    for frame in peer.received:
        assert codec.decode(msgpack.packb(frame)).id == frame["id"]
    known = {str(command.__struct_config__.tag) for command in frames.AnyCommand.__args__}
    assert sent == known
