"""Every command, given by somebody about whom there is a block: none shows the other.

There is a case for each command of the protocol, and it says whether, without a block, what comes of it shows something
of the other that a block hides. Who adds a command adds its case; a command without one fails the test.

What a block hides of a person: presence and when it was last, typing, cursors, profile and posts (by what these hold),
and, outside of conversations that the two share, the very name and id.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias

import pytest
from msgspec import Struct

from protocol.schema.catalogue import COMMANDS, tag
from tests.running import Frame, House, Person, Phone, World

NOBODY: Final = "01900000-0000-7000-8000-0000000000cc"


class Stage:
    """Two people and a third: a direct conversation of the two, a group and a room of all; everybody has spoken there.
    *viewer* gives the commands; what is told is about *other*."""

    def __init__(self, world: World, viewer: Person, other: Person, third: Person) -> None:
        self.world, self.viewer, self.other, self.third = world, viewer, other, third
        self.mine: Phone
        self.theirs: Phone
        self.thirds: Phone
        self.pair = self.club = self.hall = ""
        self.photo = self.code = self.post = self.own_post = ""
        self.secrets: dict[str, str] = {}  # what stands nowhere but in what is the other's -> what it is
        self._keys = 0

    def key(self) -> str:
        """A new one."""
        self._keys += 1
        return f"k{self._keys}"

    async def set(self) -> None:
        """Make all that there is."""
        viewer, other = self.viewer, self.other
        for one in (viewer, other):
            await self.world.database.execute("update account set role = 'moderator' where id = %s", one.id)
        members = [str(viewer), str(other)]
        made: dict[str, Any] = {"key": "make", "members": members}
        self.pair = (await self.mine.result("conversation.direct", user=other.id))["conversation"]
        self.club = (await self.thirds.result("conversation.create", title="Club", **made))["conversation"]
        made = {**made, "key": "hall", "kind": "room", "tags": ["chess"]}
        self.hall = (await self.thirds.result("conversation.create", title="Hall", **made))["conversation"]
        for one in (viewer, other):
            await self.thirds.result(
                "member.role", conversation=self.club, key=f"role {one}", user=one.id, role="admin"
            )
        for place in (self.pair, self.club, self.hall):
            for phone in (self.mine, self.theirs):
                await phone.has(place, 1)
                await phone.say(place, f"first {id(phone)}", f"words {id(phone)}")
        link = await self.thirds.result("link.create", conversation=self.club, key="link", approval=True)
        self.code = link["link"]["code"]
        self.photo = str(await self.world.photo(viewer))
        await self.theirs.result("draft.set", conversation=self.club, key=self.key(), text="draft of the other")
        self.secrets["draft of the other"] = "a draft"
        await self.theirs.result("profile.update", key=self.key(), bio="about the other")
        self.secrets["about the other"] = "the profile"
        post = {"audience": "everyone", "text": "post of the other #zebra"}
        self.post = (await self.theirs.result("post.create", key=self.key(), **post))["post"]
        self.secrets["post of the other"] = "a post"
        self.own_post = (await self.mine.result("post.create", **{**post, "key": self.key(), "text": "mine"}))["post"]
        await self.theirs.result("comment.create", key=self.key(), post=self.own_post, text="comment of the other")
        self.secrets["comment of the other"] = "a comment"
        await self.theirs.result("post.react", key=self.key(), post=self.own_post, emoji="+", on=True)
        await self.theirs.result("follow", key=self.key(), user=self.viewer.id)
        await self.world.database.execute("update profile set complete = true where person = %s", other.id)
        for phone, seq in ((self.mine, 5), (self.theirs, 5), (self.thirds, 5)):
            await phone.result("receipt", conversation=self.club, read=seq)
        self.secrets[f"{other.id}@example.com"] = "the address"

    async def stir(self) -> None:
        """*other* does all that is told of whom one sees; then *third* does something that *viewer* surely hears of."""
        for place in (self.pair, self.club):
            await self.theirs.ask("typing", conversation=place)
            await self.theirs.ask("receipt", conversation=place, read=self.theirs.heads[place])
        heard = len(self.mine.of("typing"))
        await self.thirds.result("typing", conversation=self.club)
        await self.mine.until(lambda: len(self.mine.of("typing")) > heard)


Given: TypeAlias = Callable[[Stage], dict[str, Any]]


class Case(Struct, frozen=True):
    """How a command is given that could show the other; what it shows where there is no block: *shows* something that a
    block hides; *names* the other by id or name, as one who belongs to a conversation may be, also across a block."""

    given: Given
    shows: bool = False
    names: bool = False


def in_club(**more: Any) -> Given:
    return lambda s: {"conversation": s.club, **more}


def keyed(given: Given) -> Given:
    return lambda s: {"key": s.key(), **given(s)}


def in_pair(**more: Any) -> Given:
    return lambda s: {"conversation": s.pair, **more}


def about(**more: Any) -> Given:
    return lambda s: {"conversation": s.club, "user": str(s.other), **more}


def plain(**more: Any) -> Given:
    return lambda s: dict(more)


# In this order: what changes much comes late.
CASES: Final[dict[str, Case]] = {
    # Signing in is done at the beginning of each run, on one more device.
    "hello": Case(lambda s: {"token": s.viewer.token, "device": "once more"}, shows=True, names=True),
    "ping": Case(plain()),
    "auth.renew": Case(lambda s: {"token": s.viewer.token}),
    "conversation.list": Case(plain(), shows=True, names=True),
    "conversation.get": Case(in_club(recent=20), shows=True, names=True),
    "conversation.direct": Case(lambda s: {"user": str(s.other)}),
    "history": Case(in_club(), names=True),
    "search": Case(plain(query="words"), names=True),
    "unread.get": Case(plain()),
    "user.get": Case(lambda s: {"users": [str(s.other)]}, names=True),
    "member.list": Case(in_club(), names=True),
    "member.bans": Case(in_club()),
    "room.list": Case(plain(query="Hall")),
    "room.online": Case(in_club(), shows=True, names=True),
    "presence.get": Case(lambda s: {"users": [str(s.other)]}, shows=True, names=True),
    "presence.watch": Case(in_club(), shows=True, names=True),
    "receipt": Case(in_club(read=4)),
    "typing": Case(in_club()),
    "message.readers": Case(in_club(seq=4), shows=True, names=True),
    "message.edits": Case(in_club(seq=5)),
    "message.reactions": Case(in_club(seq=4)),
    "poll.voters": Case(in_club(seq=4)),
    "thread.list": Case(in_club()),
    "thread.history": Case(in_club(seq=4)),
    "link.list": Case(in_club()),
    "link.preview": Case(lambda s: {"code": s.code}),
    "request.list": Case(in_club()),
    "notification.list": Case(plain(), names=True),  # what one was told before: by an id alone
    "privacy.get": Case(plain()),
    "device.list": Case(plain()),
    "message.scheduled": Case(plain()),
    "message.send": Case(keyed(in_club(text="to all", content={"mention_all": "all"}))),
    "message.edit": Case(keyed(in_pair(seq=2, text="another"))),
    "message.react": Case(keyed(in_club(seq=5, emoji="+")), names=True),
    "message.forward": Case(keyed(lambda s: {"conversation": s.hall, "source": {"conversation": s.club, "seq": 5}}),
                            names=True),
    "message.pin": Case(keyed(in_club(seq=5))),
    "message.schedule": Case(keyed(in_pair(text="later", at_ms=4_102_444_800_000))),
    "message.unschedule": Case(plain(scheduled=NOBODY)),
    "message.hide": Case(keyed(in_club(seqs=[5]))),
    "message.delete": Case(keyed(in_pair(seq=2))),
    "draft.set": Case(keyed(in_pair(text="Mo"))),
    "draft.clear": Case(keyed(in_pair())),
    "conversation.mute": Case(keyed(in_pair(until_ms=5))),
    "conversation.archive": Case(keyed(in_pair())),
    "conversation.pin": Case(keyed(in_pair())),
    "conversation.mark_unread": Case(keyed(in_pair())),
    "conversation.nickname": Case(keyed(about(name="x")), names=True),
    "conversation.folder": Case(keyed(in_pair(folder="Fun"))),
    "conversation.notify": Case(keyed(in_pair(level="none"))),
    "thread.follow": Case(keyed(in_club(seq=5))),
    "thread.read": Case(keyed(in_club(seq=5, read=5))),
    "poll.create": Case(keyed(in_club(question="When?", options=["8", "9"]))),
    "poll.vote": Case(keyed(in_club(seq=5, options=[0]))),
    "poll.close": Case(keyed(in_club(seq=5))),
    "notification.read": Case(keyed(plain(ids=[NOBODY]))),
    "notification.settings": Case(keyed(plain(hide_content=True))),
    "device.register": Case(plain(device="phone", platform="web", token="t")),
    "device.unregister": Case(plain(device="phone")),
    "conversation.create": Case(keyed(lambda s: {"title": "Two", "members": [str(s.other)]}), names=True),
    "conversation.add": Case(keyed(about()), names=True),
    "conversation.title": Case(keyed(in_club(title="Pub"))),
    "conversation.topic": Case(keyed(in_club(topic="beer"))),
    "conversation.photo": Case(keyed(lambda s: {"conversation": s.club, "photo": s.photo})),
    "conversation.slow_mode": Case(keyed(in_club(seconds=0))),
    "conversation.retention": Case(keyed(in_pair(seconds=0))),
    "conversation.handover": Case(keyed(about())),
    "member.role": Case(keyed(about(role="admin")), names=True),
    "member.unban": Case(keyed(about())),
    "request.answer": Case(keyed(about(accept=True))),
    "link.create": Case(keyed(in_club())),
    "link.revoke": Case(keyed(lambda s: {"conversation": s.club, "code": s.code})),
    "link.join": Case(keyed(lambda s: {"code": s.code})),
    "room.join": Case(keyed(lambda s: {"conversation": s.hall})),
    "privacy.set": Case(keyed(plain(typing=True))),
    "report": Case(keyed(lambda s: {"what": {"user": str(s.other)}, "reason": "spam"})),
    "report.list": Case(plain(), shows=True, names=True),  # the copy is of what who reported was shown
    "report.close": Case(keyed(plain(report=NOBODY, verdict="warned"))),
    "block.list": Case(plain(), names=True),
    "unblock": Case(keyed(plain(user=NOBODY))),
    "block": Case(keyed(plain(user=NOBODY))),
    # profiles
    "profile.get": Case(lambda s: {"user": str(s.other)}, shows=True, names=True),
    "feed.list": Case(plain(), shows=True, names=True),
    "match.suggest": Case(plain(), shows=True, names=True),
    "profile.search": Case(plain(query="about"), shows=True, names=True),
    "profile.update": Case(keyed(plain(bio="one's own"))),
    # leaving
    "account.get": Case(plain()),
    "account.pause": Case(keyed(plain(on=False))),
    "account.export": Case(keyed(plain())),
    "account.return": Case(keyed(plain())),
    # accounts
    "session.list": Case(plain()),
    "session.revoke": Case(plain(session=NOBODY)),
    # contacts, follows and posts
    "contact.request": Case(keyed(lambda s: {"user": str(s.other)}), names=True),
    "contact.requests": Case(plain(direction="received")),
    "contact.answer": Case(keyed(lambda s: {"user": str(s.other), "accept": True})),
    "contact.withdraw": Case(keyed(lambda s: {"user": str(s.other)})),
    "contact.list": Case(plain(), names=True),
    "contact.remove": Case(keyed(lambda s: {"user": str(s.other)})),
    "follow": Case(keyed(lambda s: {"user": str(s.other)})),
    "following": Case(lambda s: {"user": str(s.viewer)}, shows=True),
    "followers": Case(lambda s: {"user": str(s.viewer)}, shows=True),
    "post.get": Case(lambda s: {"post": s.post}, shows=True, names=True),
    "post.list": Case(lambda s: {"user": str(s.other)}, shows=True, names=True),
    "post.tagged": Case(plain(tag="zebra"), shows=True, names=True),
    "timeline": Case(plain(), shows=True, names=True),
    "post.react": Case(keyed(lambda s: {"post": s.post, "emoji": "!", "on": True})),
    "post.reactions": Case(lambda s: {"post": s.own_post}, shows=True),
    "comment.list": Case(lambda s: {"post": s.own_post}, shows=True, names=True),
    "comment.create": Case(keyed(lambda s: {"post": s.post, "text": "oh"})),
    "comment.edit": Case(keyed(plain(comment=NOBODY, text="oh"))),
    "comment.delete": Case(keyed(plain(comment=NOBODY))),
    "post.create": Case(keyed(plain(text="once more", audience="everyone"))),
    "post.edit": Case(keyed(lambda s: {"post": s.own_post, "text": "mine, too"})),
    "post.delete": Case(keyed(lambda s: {"post": s.own_post})),
    "unfollow": Case(keyed(lambda s: {"user": str(s.other)})),
    # openers and matches; whom one has written to, and whom one has met, is one's own history
    "opener.send": Case(keyed(lambda s: {"user": str(s.other), "text": "Hello?"})),
    "opener.list": Case(plain()),
    "opener.sent": Case(plain(), names=True),
    "opener.ignore": Case(keyed(plain(opener=NOBODY))),
    "match.list": Case(plain(), names=True),
    "match.unmatch": Case(keyed(plain(match=NOBODY))),
    "match.pass": Case(keyed(lambda s: {"user": str(s.other)})),
    "match.history": Case(plain(), names=True),
    "member.ban": Case(keyed(about()), names=True),
    "conversation.remove": Case(keyed(about())),
    "room.leave": Case(keyed(lambda s: {"conversation": s.hall})),
    "conversation.leave": Case(keyed(in_club())),
    "session.revoke_all": Case(plain()),
    "account.delete": Case(keyed(plain())),  # after it the socket closes
}

HIDDEN: Final = {"state", "last_seen_ms", "delivered", "read", "typing", "profile", "bio", "online"}
"""Fields that, beside a person's id, tell of the person what a block hides."""


def shown(said: Any, stage: Stage, where: str = "") -> Iterator[str]:
    """Where *said*, an answer or an event, shows of the other what a block hides."""
    other = str(stage.other)
    if isinstance(said, dict):
        if other in (said.get("user"), said.get("id")) and (told := HIDDEN & said.keys()):
            yield f"{where}: {sorted(told)}"
        if where.startswith("room.online") and said.get("user") == other:
            yield where
        if said.get("t") == "typing" and said.get("user") == other:
            yield f"{where}: typing"
        for name, value in said.items():
            if name == "seen" and other in value:
                yield f"{where}.{name}"
            yield from shown(value, stage, f"{where}.{name}")
    elif isinstance(said, list):
        if other in said and where.endswith((".online", ".contacts")):
            yield where
        for value in said:
            yield from shown(value, stage, where)
    elif isinstance(said, str):
        yield from (f"{where}: {what}" for secret, what in stage.secrets.items() if secret in said)


async def walk(stage: Stage, give: Callable[[str, dict[str, Any]], Awaitable[Frame]], blocked: bool) -> dict[str, str]:
    """Give every command; which of them showed what of the other, in their answers or in events that came with them."""
    found: dict[str, str] = {}
    for command, case in CASES.items():
        begin = len(stage.mine.frames)
        answer = await give(command, case.given(stage))
        told = list(shown(answer, stage, command))
        if not case.names and str(stage.other) in str(answer.get("result")):
            told.append(f"{command}: names the other")
        if blocked:  # what is told live is another matter than what a command shows
            told += [one for frame in stage.mine.frames[begin:] for one in shown(frame, stage, f"event {frame['t']}")]
        if told:
            found[command] = "; ".join(told)
    return found


async def run(world: World, house: House, blocked: bool, by_viewer: bool) -> dict[str, str]:
    """Set the stage, block or do not, and walk."""
    viewer, other, third = await world.people("Viewer", "Zebediah", "Third")
    stage = Stage(world, viewer, other, third)
    async with AsyncExitStack() as stack:
        stage.mine, stage.theirs, stage.thirds = [
            await stack.enter_async_context(house.phone(one)) for one in (viewer, other, third)
        ]
        await stage.set()
        if blocked:
            one, of = (stage.mine, other) if by_viewer else (stage.theirs, viewer)
            await stage.mine.result("presence.watch", users=[str(other)])
            await one.result("block", key="block", user=of.id)
            await stage.mine.until(
                lambda: [f["state"] for f in stage.mine.of("presence") if f["user"] == str(other)][-1:] == ["offline"]
            )

        async def give(command: str, fields: dict[str, Any]) -> Frame:
            if command == "hello":
                async with house.phone(viewer, "once more") as phone:
                    return {"result": phone.frames}
            if command in STIRRED:
                await stage.stir()
            return await stage.mine.ask(command, **fields)

        found = await walk(stage, give, blocked)
        live = {one for frame in stage.mine.frames for one in shown(frame, stage, f"event {frame['t']}")}
        assert blocked or {"event typing: typing", "event receipt: ['delivered', 'read']"} <= live
        return found


STIRRED: Final = ("conversation.get", "message.send")  # the other is busy meanwhile; a receipt takes a second


def test_every_command_has_a_case() -> None:
    """Whoever adds a command says here what it shows, of whom a block hides."""
    assert {tag(command) for command in COMMANDS} == set(CASES)


@pytest.mark.parametrize("by_viewer", [True, False], ids=["by who asks", "by the other"])
async def test_no_command_shows_somebody_across_a_block(house: House, world: World, by_viewer: bool) -> None:
    """In its answer, or by an event meanwhile; the two share a direct conversation, a group and a room."""
    assert await run(world, house, True, by_viewer) == {}


async def test_without_a_block_each_command_shows_what_its_case_says(house: House, world: World) -> None:
    """Else the test above would find nothing, whatever is shown."""
    found = await run(world, house, False, False)
    assert set(found) == {command for command, case in CASES.items() if case.shows}, found
