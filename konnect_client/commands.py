"""What a client can ask the server for, each command by its name."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

import trio

from konnect_client.backoff import Backoff
from konnect_client.blocks import BlockPage, ReportPage
from konnect_client.calls import Call, Calls
from konnect_client.connector import Connector
from konnect_client.contacts import ContactPage, FollowPage, WaitingPage
from konnect_client.content import Content
from konnect_client.errors import ClientClosed, ServerRefused
from konnect_client.events import PresenceChanged
from konnect_client.feed import FeedPage
from konnect_client.inbox import Inbox
from konnect_client.model import (
    AccountStanding,
    BanPage,
    Conversation,
    ConversationPage,
    Entry,
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
    take_each,
    take_ids,
)
from konnect_client.notifications import NotificationPage, PushDevice
from konnect_client.openers import MatchPage, OpenerPage, OwnOpenerPage
from konnect_client.pack import pack
from konnect_client.people import People
from konnect_client.posts import CommentPage, Post, PostPage, PostReactionPage
from konnect_client.profiles import FoundProfile
from konnect_client.receipts import Receipts
from konnect_client.states import Phase
from konnect_client.suggestions import AnswerPage, SuggestionPage
from konnect_client.threads import ThreadPage

TYPING_EVERY_S: Final = 3.0
TYPING_REMEMBERED: Final = 1_000
LOOKUP_USERS: Final = 100
HIGHEST_ID: Final = 2**53 - 1


class Commands:
    """Commands and their answers; each is repeated over connections until it is answered."""

    def __init__(
        self,
        connector: Connector,
        calls: Calls,
        receipts: Receipts,
        people: People,
        inbox: Inbox,
        *,
        nursery: trio.Nursery,
        new_key: Callable[[], str],
        new_backoff: Callable[[], Backoff],
    ) -> None:
        self._connector, self._calls, self._receipts, self._people, self._inbox = (
            connector, calls, receipts, people, inbox,
        )  # fmt: skip
        self._nursery, self._new_key, self._new_backoff = nursery, new_key, new_backoff
        self._watched: dict[str, Any] | None = None
        self._watch_asks = 0
        self._typed_at: dict[str, float] = {}
        connector.on_open = self._opened

    async def ask(self, kind: str, /, **fields: object) -> Mapping[str, Any]:
        """Send any command that may be repeated and wait for its result, over as many connections as it takes.

        ``rate_limited`` and ``unavailable`` are waited out. Use a cancel scope to wait for less. Commands of several
        tasks may overtake one another.

        Args:
            kind: The command's name, such as ``conversation.get``.
            fields: Its fields; None ones are left out.

        Raises:
            ServerRefused, TooLarge, ValueError, ClientClosed: As the names say.
        """
        return await self._ask({"t": kind} | {name: value for name, value in fields.items() if value is not None})

    async def _ask(self, command: dict[str, object]) -> Mapping[str, Any]:
        self._connector.check_alive()
        pack({**command, "id": HIGHEST_ID})
        call = Call(command, self._new_backoff())
        self._calls.add(call)
        self._connector.kick()
        try:
            return await call.wait()
        finally:
            if not call.answered:
                self._calls.give_up(call)

    async def ping(self) -> int:
        """Ask the server for its time: Unix milliseconds. Raises NotOpen, ServerRefused."""
        call = Call({"t": "ping"})
        self._connector.ask_first(call)
        return take(await call.wait(), "at_ms", int)

    # --- Conversations ------------------------------------------------------------------------------------------------

    async def direct(self, user: str) -> str:
        """The id of the one conversation with *user*, made on first use."""
        return take(await self.ask("conversation.direct", user=str(user)), "conversation", str)

    async def create(
        self,
        title: str,
        members: Iterable[str] = (),
        *,
        kind: str = "group",
        history: str = "all",
        topic: str | None = None,
        tags: Iterable[str] | None = None,
        public: bool | None = None,
        key: str | None = None,
    ) -> str:
        """Create a group, a "room" or a "channel"; its id. *history* "from_join" hides the past from newcomers. *tags*
        are interests; *public* is for channels. Repeats with *key* make one."""
        result = await self.ask(
            "conversation.create", key=key or self._new_key(), kind=kind, title=title,
            members=[str(member) for member in members], history=history, topic=topic,
            tags=None if tags is None else [*tags], public=public,
        )  # fmt: skip
        return take(result, "conversation", str)

    async def conversations(self, limit: int = 50, cursor: str | None = None) -> ConversationPage:
        """One page of one's conversations, last active first."""
        page = ConversationPage.parse(await self.ask("conversation.list", limit=limit, cursor=cursor))
        for conversation in page.conversations:
            self._people.learn(conversation.names)
        return page

    async def all_conversations(self) -> AsyncIterator[Conversation]:
        """All of one's conversations, last active first, read page by page."""
        page = await self.conversations()
        while True:
            for conversation in page.conversations:
                yield conversation
            if page.cursor is None:
                return
            page = await self.conversations(cursor=page.cursor)

    async def conversation(self, conversation: str, *, recent: int = 1) -> Conversation:
        """A conversation's present state, with its last *recent* entries (up to 20)."""
        found = Conversation.parse(await self.ask("conversation.get", conversation=str(conversation), recent=recent))
        self._people.learn(found.names)
        return found

    async def add(self, conversation: str, user: str, *, key: str | None = None) -> Sent:
        """Add *user* to a group."""
        return await self._change("conversation.add", conversation, key, user=str(user))

    async def remove(self, conversation: str, user: str, *, key: str | None = None) -> Sent:
        """Remove *user* from a group."""
        return await self._change("conversation.remove", conversation, key, user=str(user))

    async def leave(self, conversation: str, *, key: str | None = None) -> Sent:
        """Leave a group."""
        return await self._change("conversation.leave", conversation, key)

    async def join(self, conversation: str, *, key: str | None = None) -> Sent:
        """Become a member of a room, or of a public channel."""
        return await self._change("room.join", conversation, key)

    async def leave_room(self, conversation: str, *, key: str | None = None) -> Sent:
        """Leave a room or a channel."""
        return await self._change("room.leave", conversation, key)

    async def set_role(self, conversation: str, user: str, role: str, *, key: str | None = None) -> Sent:
        """Make a member "admin" or "member"."""
        return await self._change("member.role", conversation, key, user=str(user), role=role)

    async def hand_over(self, conversation: str, user: str, *, key: str | None = None) -> Sent:
        """Make another member the owner, and oneself an admin."""
        return await self._change("conversation.handover", conversation, key, user=str(user))

    async def ban(
        self,
        conversation: str,
        user: str,
        *,
        reason: str | None = None,
        until_ms: int | None = None,
        key: str | None = None,
    ) -> Sent:
        """Remove *user* and bar the person from coming back until *until_ms* (Unix milliseconds), or for ever."""
        return await self._change(
            "member.ban", conversation, key, user=str(user), reason=reason, until_ms=until_ms
        )

    async def unban(self, conversation: str, user: str, *, key: str | None = None) -> Sent:
        """Lift a ban."""
        return await self._change("member.unban", conversation, key, user=str(user))

    async def bans(self, conversation: str, *, before: int | None = None, limit: int = 50) -> BanPage:
        """Who is banned now, newest first: one page, below seq *before*."""
        return BanPage.parse(
            await self.ask("member.bans", conversation=str(conversation), before=before, limit=limit)
        )

    async def members(self, conversation: str, *, limit: int = 50, cursor: str | None = None) -> MemberPage:
        """Who belongs to a conversation, in order of joining: one page."""
        return MemberPage.parse(
            await self.ask("member.list", conversation=str(conversation), limit=limit, cursor=cursor)
        )

    async def members_online(self, conversation: str, *, limit: int = 50, cursor: str | None = None) -> MemberPage:
        """Who of them is connected now: one page, which may be short though others follow."""
        return MemberPage.parse(
            await self.ask("room.online", conversation=str(conversation), limit=limit, cursor=cursor)
        )

    async def rooms(
        self, query: str | None = None, *, tags: Iterable[str] = (), limit: int = 50, cursor: str | None = None
    ) -> RoomPage:
        """Rooms and channels that everybody may join, those first that share most of *tags*: one page. *query*: words
        that begin words of title, topic or tags."""
        return RoomPage.parse(await self.ask("room.list", query=query, tags=[*tags], limit=limit, cursor=cursor))

    # --- openers and matches ---

    async def send_opener(self, user: str, text: str, *, key: str | None = None) -> tuple[str, str] | None:
        """Send a first message, which does not say who wrote it; if the two match by it: match, conversation."""
        taken = await self.ask("opener.send", key=key or self._new_key(), user=str(user), text=text)
        return (take(taken, "match", str), take(taken, "conversation", str)) if "match" in taken else None

    async def openers(self, *, limit: int = 50, cursor: str | None = None) -> OpenerPage:
        """First messages that were released to one: one page."""
        return OpenerPage.parse(await self.ask("opener.list", limit=limit, cursor=cursor))

    async def openers_sent(self, *, limit: int = 50, cursor: str | None = None) -> OwnOpenerPage:
        """First messages that one sent, the newest first: one page."""
        return OwnOpenerPage.parse(await self.ask("opener.sent", limit=limit, cursor=cursor))

    async def ignore_opener(self, opener: str, *, key: str | None = None) -> None:
        """Put a first message away for ever; who sent it is not told."""
        await self.ask("opener.ignore", key=key or self._new_key(), opener=str(opener))

    async def matches(self, *, limit: int = 50, cursor: str | None = None) -> MatchPage:
        """All matches that one ever had, the newest first: one page."""
        return MatchPage.parse(await self.ask("match.list", limit=limit, cursor=cursor))

    async def unmatch(self, match: str, *, key: str | None = None) -> None:
        """End a match, for both."""
        await self.ask("match.unmatch", key=key or self._new_key(), match=str(match))

    # --- suggestions ---

    async def suggestions(
        self, *, limit: int = 10, cursor: str | None = None, **conditions: object
    ) -> SuggestionPage:
        """People of whom it is likely that both say yes: one page. *conditions* as for :meth:`feed`."""
        return SuggestionPage.parse(await self.ask("match.suggest", filter=conditions, limit=limit, cursor=cursor))

    async def pass_over(self, user: str, on: bool = True, *, key: str | None = None) -> None:
        """Have somebody not be shown any more, or take that back."""
        await self.ask("match.pass", key=key or self._new_key(), user=str(user), on=on)

    async def answers(self, *, limit: int = 20, cursor: str | None = None) -> AnswerPage:
        """Whom one has written to or passed over, and what became of it, the newest first: one page."""
        return AnswerPage.parse(await self.ask("match.history", limit=limit, cursor=cursor))

    async def create_link(
        self,
        conversation: str,
        *,
        expires_at_ms: int | None = None,
        uses: int | None = None,
        approval: bool = False,
        key: str | None = None,
    ) -> Link:
        """Make a link by which people join. With *approval* they file a request."""
        made = await self.ask(
            "link.create", conversation=str(conversation), key=key or self._new_key(), expires_at_ms=expires_at_ms,
            uses=uses, approval=approval,
        )  # fmt: skip
        return Link.parse(take(made, "link", dict))

    async def links(self, conversation: str) -> tuple[Link, ...]:
        """The links that are not revoked."""
        return take_each(await self.ask("link.list", conversation=str(conversation)), "links", Link.parse)

    async def revoke_link(self, conversation: str, code: str, *, key: str | None = None) -> None:
        """End a link for ever."""
        await self.ask("link.revoke", conversation=str(conversation), key=key or self._new_key(), code=code)

    async def preview_link(self, code: str) -> Invitation:
        """Where a link leads."""
        return Invitation.parse(await self.ask("link.preview", code=code))

    async def join_by_link(self, code: str, *, key: str | None = None) -> Joined:
        """Become a member by a link, or file a request."""
        return Joined.parse(await self.ask("link.join", code=code, key=key or self._new_key()))

    async def requests(self, conversation: str, *, limit: int = 50, cursor: str | None = None) -> RequestPage:
        """Who asks to be let in, oldest first: one page."""
        return RequestPage.parse(
            await self.ask("request.list", conversation=str(conversation), limit=limit, cursor=cursor)
        )

    async def answer_request(self, conversation: str, user: str, accept: bool, *, key: str | None = None) -> Sent:
        """Let in somebody who asked, or do not."""
        return await self._change("request.answer", conversation, key, user=str(user), accept=accept)

    async def set_title(self, conversation: str, title: str, *, key: str | None = None) -> Sent:
        """Give a group another title."""
        return await self._change("conversation.title", conversation, key, title=title)

    async def set_topic(self, conversation: str, topic: str | None, *, key: str | None = None) -> Sent:
        """Say what a group is about; None for nothing."""
        return await self._change("conversation.topic", conversation, key, topic=topic)

    async def set_photo(self, conversation: str, photo: str | None, *, key: str | None = None) -> Sent:
        """Give a group another photo, an upload of one's own; None for none."""
        return await self._change("conversation.photo", conversation, key, photo=photo)

    async def set_slow_mode(self, conversation: str, seconds: int, *, key: str | None = None) -> Sent:
        """Let plain members write one message in so many seconds; 0 ends it. The client's outbox keeps to it."""
        return await self._change("conversation.slow_mode", conversation, key, seconds=seconds)


    async def history(
        self, conversation: str, *, before: int | None = None, around: int | None = None, after: int | None = None,
        limit: int = 50,
    ) -> HistoryPage:  # fmt: skip
        """A page of the past, oldest first: ending before seq *before*, or at the end; or what stands around seq
        *around*; or beginning behind seq *after*."""
        return HistoryPage.parse(
            await self.ask(
                "history", conversation=str(conversation), before=before, around=around, after=after, limit=limit
            )
        )

    async def search(
        self, query: str = "", *, conversation: str | None = None, author: str | None = None, kind: str | None = None,
        from_ms: int | None = None, to_ms: int | None = None, order: str = "newest", language: str | None = None,
        limit: int = 20, cursor: str | None = None,
    ) -> FoundPage:  # fmt: skip
        """Messages in one's conversations that match, the newest first, or (*order* "rank") the best: one page.
        What *query* may say: see the command ``search``."""
        return FoundPage.parse(
            await self.ask(
                "search", query=query, conversation=conversation, author=author, kind=kind, from_ms=from_ms,
                to_ms=to_ms, order=order, language=language, limit=limit, cursor=cursor,
            )
        )  # fmt: skip

    async def walk_back(self, conversation: str, *, before: int | None = None, page: int = 100) -> AsyncIterator[Entry]:
        """All of the past that one may see, newest first, read in pages of up to *page* entries as it is asked for."""
        while True:
            part = await self.history(conversation, before=before, limit=page)
            for entry in reversed(part.entries):
                yield entry
            if not part.more or not part.entries:
                return
            before = part.entries[0].seq

    async def edits(self, conversation: str, seq: int) -> tuple[Version, ...]:
        """All that message *seq* has said, oldest first."""
        found: list[Version] = []
        more = True
        while more:
            after = found[-1].seq if found else None
            page = await self.ask("message.edits", conversation=str(conversation), seq=seq, after=after)
            versions = take_each(page, "versions", Version.parse)
            found += versions
            more = take(page, "more", bool) and bool(versions)
        return tuple(found)

    async def reactions(
        self, conversation: str, seq: int, *, emoji: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> ReactionPage:
        """Who reacted to message *seq*, with *emoji* or at all: one page."""
        return ReactionPage.parse(
            await self.ask(
                "message.reactions", conversation=str(conversation), seq=seq, emoji=emoji, limit=limit, cursor=cursor
            )
        )

    async def threads(self, conversation: str, *, limit: int = 50, cursor: str | None = None) -> ThreadPage:
        """The threads of a conversation, last active first: one page."""
        return ThreadPage.parse(
            await self.ask("thread.list", conversation=str(conversation), limit=limit, cursor=cursor)
        )

    async def thread_history(
        self, conversation: str, seq: int, *, before: int | None = None, limit: int = 50
    ) -> HistoryPage:
        """A page of the messages of the thread whose root is *seq*, oldest first, ending before *before*, or at the
        end."""
        return HistoryPage.parse(
            await self.ask("thread.history", conversation=str(conversation), seq=seq, before=before, limit=limit)
        )

    async def retention(self, conversation: str, seconds: int, *, key: str | None = None) -> Sent:
        """Keep messages that are sent from now on for *seconds*, then let them disappear; 0: keep them for ever."""
        return await self._change("conversation.retention", conversation, key, seconds=seconds)

    async def ask_people(
        self, conversation: str, question: str, options: Iterable[str], *, multiple: bool = False,
        anonymous: bool = False, key: str | None = None,
    ) -> Sent:  # fmt: skip
        """Send a poll of 2 to 12 *options*."""
        return await self._change(
            "poll.create", conversation, key, question=question, options=list(options), multiple=multiple,
            anonymous=anonymous,
        )  # fmt: skip

    async def vote(self, conversation: str, seq: int, options: Iterable[int], *, key: str | None = None) -> Sent:
        """Choose in poll *seq*, by places from 0; nothing takes one's vote back."""
        return await self._change("poll.vote", conversation, key, seq=seq, options=list(options))

    async def close_poll(self, conversation: str, seq: int, *, key: str | None = None) -> Sent:
        """End poll *seq*."""
        return await self._change("poll.close", conversation, key, seq=seq)

    async def votes(self, conversation: str, seq: int, *, after: int = 0, limit: int = 50) -> Votes:
        """Who chose what in poll *seq*, and what one chose oneself: one page."""
        return Votes.parse(
            await self.ask("poll.voters", conversation=str(conversation), seq=seq, after=after, limit=limit)
        )

    async def schedule(
        self, conversation: str, text: str, at_ms: int, *, content: Content | None = None, key: str | None = None
    ) -> str:
        """Have a message sent at *at_ms* (Unix milliseconds), by the server; the scheduled message's id. Repeats with
        *key* are one."""
        result = await self.ask(
            "message.schedule", conversation=str(conversation), key=key or self._new_key(), at_ms=at_ms, text=text,
            content=None if content is None else content.frame(),
        )  # fmt: skip
        return take(result, "scheduled", str)

    async def unschedule(self, scheduled: str) -> None:
        """Take a scheduled message back. Raises ServerRefused (``too_late``: it was sent)."""
        await self.ask("message.unschedule", scheduled=str(scheduled))

    async def scheduled(
        self, conversation: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> ScheduledPage:
        """One's own messages that wait for their time, and those that could not be sent: one page."""
        asked = None if conversation is None else str(conversation)
        page = await self.ask("message.scheduled", conversation=asked, limit=limit, cursor=cursor)
        return ScheduledPage.parse(page)

    async def readers(
        self, conversation: str, seq: int, *, limit: int = 50, cursor: str | None = None
    ) -> ReaderPage:
        """Whom message *seq* has reached, and who of them has read it: one page."""
        return ReaderPage.parse(
            await self.ask("message.readers", conversation=str(conversation), seq=seq, limit=limit, cursor=cursor)
        )

    async def unread(self) -> Unread:
        """What is unread over all one's conversations: a badge."""
        return Unread.parse(await self.ask("unread.get"))

    def receipt(self, conversation: str, *, delivered: int = 0, read: int = 0) -> None:
        """Raise one's cursors: the newest of each conversation is told to the server as soon as that is possible."""
        self._connector.check_alive()
        self._receipts.move(str(conversation), delivered, read)
        self._connector.kick()

    def typing(self, conversation: str, what: str = "text", *, on: bool = True) -> None:
        """Tell the others that one is typing ("text") or recording ("voice", "media"); call it at each keystroke. Told
        every 3 s, and only while open. Not *on*: one has stopped, which is told if they know that one began."""
        now = trio.current_time()
        if self._connector.states.present.phase is not Phase.OPEN:
            return
        if on:
            if now < self._typed_at.get(conversation, 0.0):
                return
            if len(self._typed_at) >= TYPING_REMEMBERED:
                self._typed_at.clear()
            self._typed_at[conversation] = now + TYPING_EVERY_S
        elif self._typed_at.pop(conversation, None) is None:
            return
        command: dict[str, Any] = {"t": "typing", "conversation": str(conversation)}
        if what != "text":
            command["what"] = what
        if not on:
            command["on"] = False
        self._calls.add(Call(command))
        self._connector.kick()

    # --- Notifications ------------------------------------------------------------------------------------------------

    async def register_device(self, device: str, platform: str, token: str) -> None:
        """Let *device*, as in ``open_client``, take pushes by *token*; at each start, for tokens change. *platform*:
        "android", "ios" or "web"."""
        await self.ask("device.register", device=device, platform=platform, token=token)

    async def unregister_device(self, device: str) -> None:
        """Send no more pushes to *device*."""
        await self.ask("device.unregister", device=device)

    async def devices(self) -> tuple[PushDevice, ...]:
        """One's own devices that take pushes, registered last first."""
        return take_each(await self.ask("device.list"), "devices", PushDevice.parse)

    async def notifications(
        self, limit: int = 50, cursor: str | None = None, *, unread_only: bool = False
    ) -> NotificationPage:
        """One page of what one was told in the app, newest first."""
        return NotificationPage.parse(
            await self.ask("notification.list", limit=limit, cursor=cursor, unread_only=unread_only)
        )

    async def read_notifications(
        self, ids: Iterable[str] = (), *, through: str | None = None, key: str | None = None
    ) -> None:
        """Mark notifications as read: these, up to 100, and all up to *through*."""
        named = [str(one) for one in ids]
        await self.ask("notification.read", key=key or self._new_key(), through=through, ids=named)

    async def set_notifying(
        self, *, quiet_from: int | None = None, quiet_to: int | None = None, timezone: str = "UTC",
        hide_content: bool = False, key: str | None = None,
    ) -> None:  # fmt: skip
        """Say when and how one is told by push, all at once. *quiet_from*, *quiet_to*: minutes after midnight."""
        await self.ask(
            "notification.settings", key=key or self._new_key(), quiet_from=quiet_from, quiet_to=quiet_to,
            timezone=timezone, hide_content=hide_content,
        )  # fmt: skip

    async def privacy(self) -> Privacy:
        """How one's switches stand."""
        return Privacy.parse(await self.ask("privacy.get"))

    async def set_privacy(
        self, *, read_receipts: bool | None = None, last_seen: str | None = None, typing: bool | None = None,
        key: str | None = None,
    ) -> None:  # fmt: skip
        """Turn switches of one's privacy, those that are given: *last_seen* is "everyone", "contacts" or "nobody"."""
        await self.ask(
            "privacy.set", key=key or self._new_key(), read_receipts=read_receipts, last_seen=last_seen, typing=typing
        )

    # --- Profiles ----------------------------------------------------------------------------------------------------

    async def profile(self, user: str | None = None, *, handle: str | None = None) -> FoundProfile:
        """What one may see of the profile of *user*, or of who has *handle*; without both, one's own."""
        found = await self.ask("profile.get", user=None if user is None else str(user), handle=handle)
        return FoundProfile.parse(found)

    async def update_profile(self, *, key: str | None = None, **changes: object) -> FoundProfile:
        """Change one's profile: *changes* are fields of ``profile.update`` (docs/protocol.md), None clears one, and
        what is not named stays."""
        command = {"t": "profile.update", "key": key or self._new_key(), **changes}
        return FoundProfile.parse(await self._ask(command))

    async def feed(self, *, limit: int = 10, cursor: str | None = None, **conditions: object) -> FeedPage:
        """A page of people to meet; *conditions* are fields of ``ProfileFilter`` (docs/protocol.md), the same for all
        pages. With conditions that few fit a page may be empty and still have a cursor."""
        return FeedPage.parse(await self.ask("feed.list", filter=conditions, limit=limit, cursor=cursor))

    async def search_profiles(
        self, query: str = "", *, limit: int = 10, cursor: str | None = None, **conditions: object
    ) -> FeedPage:
        """A page of the people whose profiles have all words of *query*, and fit *conditions* as for :meth:`feed`."""
        found = await self.ask("profile.search", query=query, filter=conditions, limit=limit, cursor=cursor)
        return FeedPage.parse(found)

    async def sign_ins(self) -> tuple[SignIn, ...]:
        """Where one is signed in, used last first."""
        return take_each(await self.ask("session.list"), "sessions", SignIn.parse)

    async def revoke_sign_in(self, sign_in: str) -> None:
        """End one of one's sign-ins; its sockets close with `signed_out`."""
        await self.ask("session.revoke", session=sign_in)

    async def revoke_other_sign_ins(self) -> int:
        """End all of one's sign-ins but this one; how many."""
        return take(await self.ask("session.revoke_all"), "count", int)
    # --- Blocks and reports -------------------------------------------------------------------------------------------

    async def block(self, user: str, *, key: str | None = None) -> None:
        """Neither of the two is shown to the other any more, but in conversations that they share."""
        await self.ask("block", key=key or self._new_key(), user=str(user))

    async def unblock(self, user: str, *, key: str | None = None) -> None:
        """Take a block back."""
        await self.ask("unblock", key=key or self._new_key(), user=str(user))

    async def blocks(self, *, limit: int = 50, cursor: str | None = None) -> BlockPage:
        """Whom one has blocked, last first: one page."""
        return BlockPage.parse(await self.ask("block.list", limit=limit, cursor=cursor))

    async def report(
        self, what: Mapping[str, Any], reason: str, text: str = "", *, key: str | None = None
    ) -> str:
        """Report something to the moderators; the report's id. *what*: one of ``message`` (with ``conversation`` and
        ``seq``), ``user``, ``post``, ``comment``, ``conversation``."""
        made = await self.ask("report", key=key or self._new_key(), what=dict(what), reason=reason, text=text)
        return take(made, "report", str)

    async def reports(self, state: str = "open", *, limit: int = 20, cursor: str | None = None) -> ReportPage:
        """Reports that are "open" or "closed": one page, for moderators."""
        return ReportPage.parse(await self.ask("report.list", state=state, limit=limit, cursor=cursor))

    async def close_report(self, report: str, verdict: str, note: str = "", *, key: str | None = None) -> None:
        """Say what came of a report: "dismissed", "warned", "removed" or "suspended"; for moderators."""
        await self.ask("report.close", key=key or self._new_key(), report=report, verdict=verdict, note=note)
    # --- Leaving ------------------------------------------------------------------------------------------------------

    async def account(self) -> AccountStanding:
        """How one's account stands."""
        return AccountStanding.parse(await self.ask("account.get"))

    async def pause_account(self, on: bool = True, *, key: str | None = None) -> None:
        """Be met by nobody new, or again."""
        await self.ask("account.pause", key=key or self._new_key(), on=on)

    async def export_account(self, *, key: str | None = None) -> str:
        """Have a copy made of everything of one's own; the id of the medium that it becomes. A notification of kind
        "export" tells when."""
        return take(await self.ask("account.export", key=key or self._new_key()), "export", str)

    async def delete_account(self, *, key: str | None = None) -> None:
        """Leave: all sign-ins end, this one too, and some days later the account is erased."""
        await self.ask("account.delete", key=key or self._new_key())

    async def return_account(self, *, key: str | None = None) -> None:
        """Take :meth:`delete_account` back."""
        await self.ask("account.return", key=key or self._new_key())

    # --- People -------------------------------------------------------------------------------------------------------

    async def names(self, users: Iterable[str]) -> dict[str, str]:
        """The names of *users*, id -> name; asked for only where they are not known. Unknown people are left out."""
        wanted = list(users)
        unknown = self._people.unknown(wanted)
        found: dict[str, str] = {}
        for start in range(0, len(unknown), LOOKUP_USERS):
            result = await self.ask("user.get", users=unknown[start : start + LOOKUP_USERS])
            found |= take_each(result, "users", lambda user: (take(user, "id", str), take(user, "name", str)))
        self._people.learn(found)
        return {user: name for user in wanted if (name := self.name(user) or found.get(user))}

    def name(self, user: str) -> str | None:
        """The name of *user* if it is known here. Plain memory."""
        return self._people.names.get(user)

    async def presence(self, users: Iterable[str]) -> tuple[PersonPresence, ...]:
        """Who of *users* (up to 100) is online, and when the others last were; without those one may not see."""
        found = await self.ask("presence.get", users=[str(user) for user in users])
        return take_each(found, "people", PersonPresence.parse)

    @property
    def online_users(self) -> frozenset[str]:
        """Who is known to be online; nobody while there is no connection."""
        return frozenset(self._people.online)

    async def watch(self, users: Iterable[str] = (), *, conversation: str | None = None) -> tuple[str, ...]:
        """Hear of the presence of *users*, or of a conversation's members, besides one's direct partners; over new
        connections, too. Replaces the watch before; neither ends it. Returns who of them is online now."""
        asked: dict[str, Any] = {"users": [str(user) for user in users]}
        if conversation is not None:
            asked["conversation"] = str(conversation)
        self._watched = asked
        return await self._watch(asked)

    async def _watch(self, asked: dict[str, Any]) -> tuple[str, ...]:
        self._watch_asks += 1  # a new connection repeats this command by itself
        try:
            online = take_ids(await self.ask("presence.watch", **asked), "online")
        finally:
            self._watch_asks -= 1
        self._people.online.update(dict.fromkeys(online))
        return online

    def _opened(self) -> None:
        if self._watched is not None and self._watch_asks == 0:
            self._nursery.start_soon(self._watch_again)

    async def _watch_again(self) -> None:
        """Repeat the watch on a new connection, and tell the application who is online now."""
        asked = None
        while self._watched is not None and asked != self._watched:  # another one may have been asked meanwhile
            asked = self._watched
            try:
                online = await self._watch(asked)
                self._inbox.put(tuple(PresenceChanged(user, online=True) for user in online), 0)
            except ServerRefused:
                if self._watched is asked:
                    self._watched = None  # one is no member any more
            except ClientClosed:
                return

    # --- Contacts, follows and posts ----------------------------------------------------------------------------------

    async def request_contact(
        self, user: str, note: str = "", *, interested: bool = False, key: str | None = None
    ) -> bool:
        """Ask *user* to be one's contact; whether the two are contacts now, else the request waits."""
        result = await self.ask(
            "contact.request", user=str(user), note=note, interested=interested, key=key or self._new_key()
        )
        return take(result, "contact", bool)

    async def answer_contact(self, user: str, accept: bool, *, key: str | None = None) -> None:
        """Accept the request of *user*, or ignore it."""
        await self.ask("contact.answer", user=str(user), accept=accept, key=key or self._new_key())

    async def withdraw_contact(self, user: str, *, key: str | None = None) -> None:
        """Take one's request to *user* back."""
        await self.ask("contact.withdraw", user=str(user), key=key or self._new_key())

    async def remove_contact(self, user: str, *, key: str | None = None) -> None:
        """Be contacts with *user* no more."""
        await self.ask("contact.remove", user=str(user), key=key or self._new_key())

    async def contact_requests(
        self, direction: str = "received", *, limit: int = 50, cursor: str | None = None
    ) -> WaitingPage:
        """Requests that wait, "received" or "sent", newest first: one page."""
        return WaitingPage.parse(
            await self.ask("contact.requests", direction=direction, limit=limit, cursor=cursor)
        )

    async def contacts(self, *, limit: int = 50, cursor: str | None = None) -> ContactPage:
        """One's contacts, newest first, and who of them is online: one page."""
        return ContactPage.parse(await self.ask("contact.list", limit=limit, cursor=cursor))

    async def follow(self, user: str, *, key: str | None = None) -> None:
        """Follow *user*: the posts stand in one's timeline then."""
        await self.ask("follow", user=str(user), key=key or self._new_key())

    async def unfollow(self, user: str, *, key: str | None = None) -> None:
        """Follow *user* no more."""
        await self.ask("unfollow", user=str(user), key=key or self._new_key())

    async def followers(self, user: str | None = None, *, limit: int = 50, cursor: str | None = None) -> FollowPage:
        """Who follows *user*, or oneself: one page."""
        whose = None if user is None else str(user)
        return FollowPage.parse(await self.ask("followers", user=whose, limit=limit, cursor=cursor))

    async def following(self, user: str | None = None, *, limit: int = 50, cursor: str | None = None) -> FollowPage:
        """Whom *user*, or oneself, follows: one page."""
        whose = None if user is None else str(user)
        return FollowPage.parse(await self.ask("following", user=whose, limit=limit, cursor=cursor))

    async def write_post(
        self, text: str = "", *, audience: str, photos: Iterable[str] = (), key: str | None = None
    ) -> str:
        """Write a post for "everyone", "followers" or "contacts"; its id."""
        result = await self.ask(
            "post.create", audience=audience, text=text, photos=[str(one) for one in photos],
            key=key or self._new_key(),
        )  # fmt: skip
        return take(result, "post", str)

    async def edit_post(
        self, post: str, *, text: str | None = None, audience: str | None = None,
        photos: Iterable[str] | None = None, key: str | None = None,
    ) -> None:  # fmt: skip
        """Change one's own post: what is given."""
        named = None if photos is None else [str(one) for one in photos]
        await self.ask(
            "post.edit", post=str(post), text=text, audience=audience, photos=named, key=key or self._new_key()
        )

    async def delete_post(self, post: str, *, key: str | None = None) -> None:
        """Delete one's own post, and what hangs on it."""
        await self.ask("post.delete", post=str(post), key=key or self._new_key())

    async def post(self, post: str) -> Post:
        """One post. Raises ServerRefused (``unknown_post``)."""
        return Post.parse(take(await self.ask("post.get", post=str(post)), "post", dict))

    async def posts(self, user: str, *, limit: int = 20, cursor: str | None = None) -> PostPage:
        """The posts of *user* that one may see, newest first: one page."""
        return PostPage.parse(await self.ask("post.list", user=str(user), limit=limit, cursor=cursor))

    async def tagged(self, tag: str, *, limit: int = 20, cursor: str | None = None) -> PostPage:
        """The posts with hashtag *tag*, newest first: one page."""
        return PostPage.parse(await self.ask("post.tagged", tag=tag, limit=limit, cursor=cursor))

    async def timeline(self, *, limit: int = 20, cursor: str | None = None) -> PostPage:
        """One's own posts and those of whom one follows, newest first: one page."""
        return PostPage.parse(await self.ask("timeline", limit=limit, cursor=cursor))

    async def react_to_post(self, post: str, emoji: str, *, on: bool = True, key: str | None = None) -> None:
        """React to a post with *emoji*, or take that back."""
        await self.ask("post.react", post=str(post), emoji=emoji, on=on, key=key or self._new_key())

    async def post_reactions(
        self, post: str, *, emoji: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> PostReactionPage:
        """Who reacted to a post, with *emoji* or at all: one page."""
        return PostReactionPage.parse(
            await self.ask("post.reactions", post=str(post), emoji=emoji, limit=limit, cursor=cursor)
        )

    async def comment(self, post: str, text: str, *, key: str | None = None) -> str:
        """Comment on a post; the comment's id."""
        result = await self.ask("comment.create", post=str(post), text=text, key=key or self._new_key())
        return take(result, "comment", str)

    async def edit_comment(self, comment: str, text: str, *, key: str | None = None) -> None:
        """Change one's own comment."""
        await self.ask("comment.edit", comment=str(comment), text=text, key=key or self._new_key())

    async def delete_comment(self, comment: str, *, key: str | None = None) -> None:
        """Delete one's own comment, or any on one's own post."""
        await self.ask("comment.delete", comment=str(comment), key=key or self._new_key())

    async def comments(self, post: str, *, limit: int = 50, cursor: str | None = None) -> CommentPage:
        """The comments on a post, oldest first: one page."""
        return CommentPage.parse(await self.ask("comment.list", post=str(post), limit=limit, cursor=cursor))

    async def _change(self, kind: str, conversation: str, key: str | None, **fields: object) -> Sent:
        return Sent.parse(await self.ask(kind, conversation=str(conversation), key=key or self._new_key(), **fields))
