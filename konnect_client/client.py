"""The client: stays connected, is brought up to date, sends what is to be sent.

One task keeps the connection, over and over; everything else is plain state that it works on (timeline, outbox, calls,
receipts). The application reads events from :attr:`Client.events` and calls commands from any of its tasks.
"""

import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple

import trio

from konnect_client.backoff import CEILING_S, FLOOR_S, Backoff
from konnect_client.calls import Call, Calls
from konnect_client.endings import TOKEN_EXPIRED, Ending, Then, after_failure
from konnect_client.errors import (
    ClientClosed,
    ConnectFailed,
    NotOpen,
    OutboxUnwritable,
    ServerRefused,
    SignedOut,
    TokenUnavailable,
)
from konnect_client.events import PresenceChanged, Violation
from konnect_client.heads import Heads
from konnect_client.inbox import BYTES as INBOX_BYTES
from konnect_client.inbox import EVENTS as INBOX_EVENTS
from konnect_client.inbox import Inbox
from konnect_client.journal import FileJournal, Journal, MemoryJournal
from konnect_client.link import Link
from konnect_client.liveness import Liveness
from konnect_client.model import Conversation, ConversationPage, Entry, HistoryPage, Sent, take, take_each, take_ids
from konnect_client.outbox import BYTES as OUTBOX_BYTES
from konnect_client.outbox import MESSAGES as OUTBOX_MESSAGES
from konnect_client.outbox import WINDOW, Outbox, Outgoing
from konnect_client.pack import pack
from konnect_client.people import People
from konnect_client.receipts import Receipts
from konnect_client.renewal import keep_renewed
from konnect_client.session import Session
from konnect_client.statefile import Saved, StateFile, StateStore
from konnect_client.states import Phase, State, States, Watch
from konnect_client.tokens import AccessToken, Refusable, TokenSource, expires_in_s
from konnect_client.transport import Connect, Socket, socket_url, websocket
from konnect_client.wakeup import Wakeup

SAVE_EVERY_S: Final = 1.0
CLOSE_WITHIN_S: Final = 3.0
STABLE_S: Final = 5.0  # a connection that was synced and lasted so long ends a row of failed attempts
TYPING_EVERY_S: Final = 3.0
TYPING_REMEMBERED: Final = 1_000
LOOKUP_USERS: Final = 100
HIGHEST_ID: Final = 2**53 - 1

_log = logging.getLogger("konnect_client")


class Plan(NamedTuple):
    """The next attempt: why, and when."""

    reason: str
    at: float


class Client:
    """A Konnect user's device. Made by :func:`open_client`."""

    def __init__(
        self,
        url: str,
        token: TokenSource,
        device: str,
        *,
        nursery: trio.Nursery,
        outbox: Outbox,
        inbox: Inbox,
        state: StateStore | None,
        user: str | None,
        connect: Connect,
        random: Random,
        new_key: Callable[[], str],
        recent: int,
        liveness: Liveness,
        reconnect_s: tuple[float, float],
        unix_time_s: Callable[[], float],
    ) -> None:
        self._url, self._source, self._device, self._nursery = url, token, device, nursery
        self._connect, self._random, self._new_key, self._recent = connect, random, new_key, recent
        self._liveness, self._unix_time_s = liveness, unix_time_s
        self._new_backoff = partial(Backoff, random, *reconnect_s)
        self._backoff = self._new_backoff()
        self._store, self._user, self._outbox = state, user, outbox
        self._heads = inbox.handled.copy()
        self._calls, self._receipts, self._people = Calls(), Receipts(self._new_backoff), People()
        self.events: Final = inbox
        """What happened, in order: ``async for event in client.events``, by one task at a time. An event counts as
        handled once the next one is asked for; see :mod:`konnect_client.events`."""
        inbox.on_handled, inbox.on_room = self._note_handled, self._catch_up
        self._states = States()
        self._online, self._synced, self._synced_at = True, False, 0.0
        self._link: Link | None = None
        self._attempt_scope: trio.CancelScope | None = None
        self._interruption: Ending | None = None
        self._hurry, self._room, self._handled_more = Wakeup(), Wakeup(), Wakeup()
        self._send_turn = trio.Lock()
        self._unsaved = False
        self._refused_token: str | None = None
        self._refusals = 0
        self._watched: dict[str, Any] | None = None
        self._watch_asks = 0
        self._typed_at: dict[str, float] = {}

    # --- State --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The present state."""
        return self._states.present

    def states(self) -> AbstractContextManager[Watch]:
        """Every state from the present one on: ``with client.states() as states: async for state in states: ...``."""
        return self._states.watch()

    async def wait_open(self) -> None:
        """Wait until the client is signed in. Raises ClientClosed when that will not be."""
        await self._wait_for(lambda: self.state.phase is Phase.OPEN)

    async def wait_synced(self) -> None:
        """Wait until everything that was missed is here, or in :attr:`events`. Raises ClientClosed."""
        await self._wait_for(lambda: self._synced)

    async def wait_closed(self) -> State:
        """Wait until the client has stopped for good."""
        with suppress(ClientClosed):
            await self._wait_for(lambda: False)
        return self.state

    @property
    def synced(self) -> bool:
        """True while connected with nothing missing."""
        return self._synced

    @property
    def user(self) -> str | None:
        """One's own id; None until the first connection ever was open."""
        return self._user

    @property
    def online(self) -> bool:
        """What the application said of the device's network; True at first. Says nothing of the connection."""
        return self._online

    def set_online(self, online: bool) -> None:
        """Tell what the device knows of its network: without one nothing is tried; a new one is tried at once."""
        self._online = online
        if online:
            self._hurry.fire()
        elif self.state.phase is not Phase.CLOSED:
            self._interrupt(Ending(Then.COME_BACK, "offline"), goodbye=None)

    def reconnect(self) -> None:
        """Open a new connection now: while waiting, without waiting longer; else in place of the present one."""
        self._hurry.fire()
        self._interrupt(Ending(Then.AT_ONCE, "reconnect"), goodbye=None)

    async def close(self) -> None:
        """Stop for good. Unsent messages stay in the outbox file, if there is one."""
        if self.state.phase is not Phase.CLOSED:
            self._interrupt(Ending(Then.STOP, "closed"))
            self._hurry.fire()
            await self.wait_closed()

    # --- Sending ------------------------------------------------------------------------------------------------------

    async def send(self, conversation: str, text: str, *, key: str | None = None) -> Sent:
        """Send a message and wait until the server has it on disk, over as many connections as it takes.

        Waits for room first when the outbox is full. If this call is cancelled later, the message is sent all the same.

        Args:
            conversation: Where to.
            text: What; 1 to 8,192 characters, none of them U+0000.
            key: Unique for this message in this conversation, 1 to 64 characters; made up when None.

        Returns:
            Its position and time in the conversation.

        Raises:
            ServerRefused: Refused for good (``not_a_member``, ``invalid``, ``key_reused`` ...).
            TooLarge, ValueError: It could never be sent.
            OutboxUnwritable: The outbox file could not be written; the message was not taken.
            ClientClosed: The client has stopped; if that came after the message was taken, the file still has it.
        """
        message = Outgoing(str(conversation), key or self._new_key(), text)
        async with self._send_turn:  # first come, first served
            while True:
                self._check_alive()
                if self._outbox.has_room(message):
                    break
                await self._room.wait()
            self._outbox.add(message)
        self._kick()
        return await message.wait()

    def send_nowait(self, conversation: str, text: str, *, key: str | None = None) -> Outgoing:
        """Take a message for sending. When this returns, it is in the outbox file, if there is one (one fsync).

        Returns:
            A handle that says whether it is pending, sent or failed, and that can be waited for.

        Raises:
            OutboxFull: As much waits as may wait.
            TooLarge, ValueError, OutboxUnwritable, ClientClosed: As in :meth:`send`.
        """
        self._check_alive()
        message = Outgoing(str(conversation), key or self._new_key(), text)
        self._outbox.add(message)
        self._kick()
        return message

    @property
    def pending(self) -> tuple[Outgoing, ...]:
        """Unanswered messages, in order; after a restart also those of before."""
        return self._outbox.pending()

    async def flush(self) -> None:
        """Wait until every message that waits now has been answered. Raises ClientClosed."""
        for message in self._outbox.pending():
            with suppress(ServerRefused):
                await message.wait()

    # --- Commands -----------------------------------------------------------------------------------------------------

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
        self._check_alive()
        command = {"t": kind} | {name: value for name, value in fields.items() if value is not None}
        pack({**command, "id": HIGHEST_ID})
        call = Call(command, self._new_backoff())
        self._calls.add(call)
        self._kick()
        try:
            return await call.wait()
        finally:
            if not call.answered:
                self._calls.give_up(call)

    async def ping(self) -> int:
        """Ask the server for its time: Unix milliseconds. Raises NotOpen, ServerRefused."""
        if self._link is None or self.state.phase is not Phase.OPEN:
            raise NotOpen("there is no open connection")
        call = Call({"t": "ping"})
        self._link.ask_first(call)
        return take(await call.wait(), "at_ms", int)

    async def direct(self, user: str) -> str:
        """The id of the one conversation with *user*, made on first use."""
        return take(await self.ask("conversation.direct", user=str(user)), "conversation", str)

    async def create(
        self, title: str, members: Iterable[str] = (), *, history: str = "all", key: str | None = None
    ) -> str:
        """Create a group; its id. *history* "from_join" hides the past from newcomers. Repeats with *key* make one."""
        result = await self.ask(
            "conversation.create", key=key or self._new_key(), kind="group", title=title,
            members=[str(member) for member in members], history=history,
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

    async def history(self, conversation: str, *, before: int | None = None, limit: int = 50) -> HistoryPage:
        """A page of the past, oldest first, ending before seq *before*, or at the end."""
        return HistoryPage.parse(await self.ask("history", conversation=str(conversation), before=before, limit=limit))

    async def walk_back(self, conversation: str, *, before: int | None = None, page: int = 100) -> AsyncIterator[Entry]:
        """All of the past that one may see, newest first, read in pages of up to *page* entries as it is asked for."""
        while True:
            part = await self.history(conversation, before=before, limit=page)
            for entry in reversed(part.entries):
                yield entry
            if not part.more or not part.entries:
                return
            before = part.entries[0].seq

    def receipt(self, conversation: str, *, delivered: int = 0, read: int = 0) -> None:
        """Raise one's cursors: the newest of each conversation is told to the server as soon as that is possible."""
        self._check_alive()
        self._receipts.move(str(conversation), delivered, read)
        self._kick()

    def typing(self, conversation: str) -> None:
        """Tell the others that one is typing; call it at each keystroke. Told every 3 s, and only while open."""
        now = trio.current_time()
        if self.state.phase is not Phase.OPEN or now < self._typed_at.get(conversation, 0.0):
            return
        if len(self._typed_at) >= TYPING_REMEMBERED:
            self._typed_at.clear()
        self._typed_at[conversation] = now + TYPING_EVERY_S
        self._calls.add(Call({"t": "typing", "conversation": str(conversation)}))
        self._kick()

    async def watch(self, users: Iterable[str] = (), *, conversation: str | None = None) -> tuple[str, ...]:
        """Hear of the presence of *users*, or of a conversation's members, besides one's direct partners; over new
        connections, too. Replaces the watch before; neither ends it. Returns who of them is online now."""
        asked: dict[str, Any] = {"users": [str(user) for user in users]}
        if conversation is not None:
            asked["conversation"] = str(conversation)
        self._watched = asked
        return await self._watch(asked)

    @property
    def online_users(self) -> frozenset[str]:
        """Who is known to be online; nobody while there is no connection."""
        return frozenset(self._people.online)

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

    # --- Keeping connected --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connect, and again, until there is a reason to stop."""
        plan: Plan | None = Plan("start", trio.current_time())
        try:
            while plan is not None:
                plan = await self._next(plan)
        except BaseException:
            self._stop("closed")  # the block was cancelled, or a token source raised what it may not
            raise

    async def _next(self, plan: Plan) -> Plan | None:
        """Wait, or make the attempt that is due."""
        if not self._online and self._interruption is None:
            self._enter(Phase.WAITING, "offline")
            await self._hurry.wait()
        elif trio.current_time() < plan.at and self._interruption is None:
            with trio.move_on_at(plan.at):
                await self._hurry.wait()
        else:
            return await self._attempt(plan.reason)
        return Plan(plan.reason, trio.current_time())

    async def _attempt(self, reason: str) -> Plan | None:
        """One connection from its token to its end; what follows then."""
        if self._interruption is None:
            self._enter(Phase.CONNECTING, reason)
            plan: Plan | None = None
            with trio.CancelScope() as self._attempt_scope:
                plan = await self._connect_once()
            self._attempt_scope = None
        if self._interruption is None:
            return plan
        interruption, self._interruption = self._interruption, None
        return self._plan(interruption)

    async def _connect_once(self) -> Plan | None:
        try:
            token = await self._token()
        except SignedOut:
            return self._plan(Ending(Then.STOP, "signed_out"))
        except (TokenUnavailable, OSError) as failure:
            return self._plan(after_failure(failure))
        if token.text == self._refused_token:
            return self._plan(Ending(Then.STOP, "unauthorized"))
        try:
            async with self._connect(self._url) as socket:
                return await self._work(socket, token)
        except ConnectFailed as failure:
            return self._plan(after_failure(failure))

    async def _work(self, socket: Socket, token: AccessToken) -> Plan | None:
        """One open socket until its end."""
        session = Session(self._outbox, self._calls, self._receipts, self._heads, trio.current_time())
        if self.events.behind and self.events.half_empty:
            self.events.behind = False
        self._link = link = Link(session, partial(self._heard, session), self._liveness)
        hello = session.hello(token.text, self._device, self._recent, trio.current_time())
        try:
            ending = await link.run(socket, hello, partial(self._keep_renewed, token))
        finally:
            self._link = None
            session.over()
            self._people.online.clear()
            stable = self._synced and trio.current_time() - self._synced_at >= STABLE_S
            self._synced = False
        if stable:
            self._backoff.reset()
        if ending.then is Then.NEW_TOKEN or ending.code == TOKEN_EXPIRED:
            self._refused_token = token.text
            self._refuse(token.text)
        if ending.detail:
            _log.warning("the server broke the protocol: %s", ending.detail)
            self.events.put((Violation(ending.detail),), 0)
        return self._plan(ending)

    def _plan(self, ending: Ending) -> Plan | None:
        """What follows from *ending*: the state is taken at once, whatever still has to be closed."""
        delay_s = self._after(ending) if self._online or ending.then is Then.STOP else 0.0
        if delay_s is None:
            self._stop(ending.reason)
            return None
        if not self._online:
            self._enter(Phase.WAITING, "offline")
        elif delay_s > 0:
            self._enter(Phase.WAITING, ending.reason, delay_s)
        else:
            self._enter(Phase.CONNECTING, ending.reason)
        return Plan(ending.reason, trio.current_time() + delay_s)

    def _heard(self, session: Session, payload: bytes) -> None:
        """One message came in."""
        now = trio.current_time()
        was_open = session.opened
        events = session.receive(payload, now, self.events.listens)
        if session.opened and not was_open:
            self._opened(session)
        for event in events:
            self._people.note(event)
        self.events.put(events, len(payload))
        if session.synced and not self._synced:
            self._synced, self._synced_at = True, now
            self._states.changed.fire()
        self._room.fire()

    def _opened(self, session: Session) -> None:
        assert session.user is not None
        assert self._link is not None
        if self._user not in (None, session.user):
            self._link.leave(Ending(Then.STOP, "other_user"))  # before anything of the other user's is sent
            return
        self._user = session.user
        self._outbox.belongs_to(session.user)
        self._refused_token, self._refusals = None, 0
        self._enter(Phase.OPEN, "hello")
        if self._watched is not None and self._watch_asks == 0:
            self._nursery.start_soon(self._watch_again)

    async def _watch_again(self) -> None:
        """Repeat the watch on a new connection, and tell the application who is online now."""
        asked = None
        while self._watched is not None and asked != self._watched:  # another one may have been asked meanwhile
            asked = self._watched
            try:
                online = await self._watch(asked)
                self.events.put(tuple(PresenceChanged(user, online=True) for user in online), 0)
            except ServerRefused:
                if self._watched is asked:
                    self._watched = None  # one is no member any more
            except ClientClosed:
                return

    async def _watch(self, asked: dict[str, Any]) -> tuple[str, ...]:
        self._watch_asks += 1  # a new connection repeats this command by itself
        try:
            return self._present(await self.ask("presence.watch", **asked))
        finally:
            self._watch_asks -= 1

    def _present(self, result: Mapping[str, Any]) -> tuple[str, ...]:
        online = take_ids(result, "online")
        self._people.online.update(dict.fromkeys(online))
        return online

    async def _token(self) -> AccessToken:
        token = await self._source()
        return token if isinstance(token, AccessToken) else AccessToken(token, expires_in_s(token, self._unix_time_s()))

    def _refuse(self, token: str) -> None:
        source: object = self._source
        if isinstance(source, Refusable):
            source.refuse(token)

    async def _keep_renewed(self, token: AccessToken, link: Link) -> None:
        await keep_renewed(link, token, self._token, self._refuse, self._random)

    def _after(self, ending: Ending) -> float | None:
        """Seconds until the next attempt; None for never."""
        match ending.then:
            case Then.STOP:
                return None
            case Then.AT_ONCE:
                return 0.0
            case Then.NEW_TOKEN:
                self._refusals += 1
                if self._refusals > 1:
                    return None
            case Then.NEW_CURSOR:
                self._heads.cursor = self.events.handled.cursor = None
                self._note_handled()
            case Then.COME_BACK:
                pass
        return self._backoff.delay_s(ending.retry_after_s)

    def _interrupt(self, ending: Ending, goodbye: tuple[int, str] | None = (1000, "")) -> None:
        """End the present connection or attempt."""
        if self._link is not None:
            self._link.leave(ending, goodbye)
        elif self._attempt_scope is not None:
            self._interruption = ending
            self._attempt_scope.cancel()
        elif ending.then is Then.STOP:
            self._interruption = ending
        elif ending.reason == "offline":
            self._enter(Phase.WAITING, "offline")

    def _catch_up(self) -> None:
        """The application has caught up: ask again for what went by unseen."""
        if self._link is not None:
            self._link.leave(Ending(Then.AT_ONCE, "catching_up"))

    def _kick(self) -> None:
        if self._link is not None:
            self._link.kick()

    def _enter(self, phase: Phase, reason: str, retry_in_s: float | None = None) -> None:
        self._states.enter(phase, reason, online=self._online, retry_in_s=retry_in_s)

    def _stop(self, reason: str) -> None:
        """Nothing will happen any more: wake everyone who waits for something. A second call does nothing."""
        if self.state.phase is Phase.CLOSED:
            return
        self._enter(Phase.CLOSED, reason)
        self._outbox.stop(reason)
        self._calls.stop(reason)
        self.events.close()
        self._room.fire()
        self._save()

    def _check_alive(self) -> None:
        if self.state.phase is Phase.CLOSED:
            raise ClientClosed(self.state.reason)

    async def _wait_for(self, there: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not there():
            self._check_alive()
            await self._states.changed.wait()

    async def _change(self, kind: str, conversation: str, key: str | None, **fields: object) -> Sent:
        return Sent.parse(await self.ask(kind, conversation=str(conversation), key=key or self._new_key(), **fields))

    # --- Keeping the state --------------------------------------------------------------------------------------------

    def _note_handled(self) -> None:
        self._unsaved = True
        self._handled_more.fire()

    async def _keep_saved(self) -> None:
        while True:
            if not self._unsaved:
                await self._handled_more.wait()
            await trio.sleep(SAVE_EVERY_S)
            self._save()

    def _save(self) -> None:
        if self._store is None or self._user is None or not self._unsaved:
            return
        try:
            self._store.save(Saved(self._user, self.events.handled))
            self._unsaved = False
        except OSError as problem:
            _log.warning("the client's state cannot be saved: %s", problem)  # an older one repeats events, no harm


@asynccontextmanager
async def open_client(
    url: str,
    *,
    token: TokenSource,
    device: str,
    outbox_path: str | os.PathLike[str] | None = None,
    state_path: str | os.PathLike[str] | None = None,
    journal: Journal | None = None,
    state: StateStore | None = None,
    recent: int = 1,
    outbox_messages: int = OUTBOX_MESSAGES,
    outbox_bytes: int = OUTBOX_BYTES,
    window: int = WINDOW,
    inbox_events: int = INBOX_EVENTS,
    inbox_bytes: int = INBOX_BYTES,
    reconnect_s: tuple[float, float] = (FLOOR_S, CEILING_S),
    liveness: Liveness | None = None,
    connect: Connect | None = None,
    random: Random | None = None,
    new_key: Callable[[], str] | None = None,
    unix_time_s: Callable[[], float] = time.time,
) -> AsyncIterator[Client]:
    """A client for the length of a block. It connects in the background, at once, and again and again.

    Args:
        url: The server: ``https://chat.example.com``, or the socket itself, ``wss://chat.example.com/v1/socket``.
        token: Gives access tokens; an :class:`~konnect_client.accounts.Account`, or any async callable.
        device: Names this device among the user's, 1 to 64 characters; stable over restarts. A device has one
            connection: a second one with the same name ends the first for good, with "replaced".
        outbox_path: The file that keeps unsent messages over a restart; one process at a time.
        state_path: The file that keeps what the application has seen, so that a restart asks only for the rest.
        journal: In place of *outbox_path*: an object that keeps the messages.
        state: In place of *state_path*: an object that keeps the state.
        recent: How many last entries to send with a conversation that is new here, 0 to 20.
        outbox_messages: How many messages may wait to be sent.
        outbox_bytes: How many bytes of them, packed.
        window: How many messages may be on their way at once.
        inbox_events: How many events may wait for the application.
        inbox_bytes: How many bytes of them, packed.
        reconnect_s: The shortest and the longest delay before a new connection, in seconds.
        liveness: The deadlines of a connection.
        connect: The network; None for the real one.
        random: Where delays are drawn from.
        new_key: Makes idempotency keys, each different from all others ever.
        unix_time_s: The device's clock, Unix seconds; only for the end of tokens that come as plain text.

    Raises:
        ValueError: *url* is no server's address.
        OutboxUnwritable: The outbox file cannot be used; or it belongs to another user than the state file.
        OSError: The state file is there and cannot be read.
    """
    address = socket_url(url)
    if state is None and state_path is not None:
        state = StateFile(state_path)
    saved = state.load() if state is not None else None
    if journal is None:
        journal = FileJournal(outbox_path) if outbox_path is not None else MemoryJournal()
    if saved is not None and journal.user not in (None, saved.user):
        journal.close()
        raise OutboxUnwritable(f"the outbox belongs to user {journal.user}, the state to user {saved.user}")
    random = random or Random()
    body_failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            client = Client(
                address,
                token,
                device,
                nursery=nursery,
                outbox=Outbox(
                    journal, partial(Backoff, random, *reconnect_s),
                    messages=outbox_messages, size_bytes=outbox_bytes, window=window,
                ),
                inbox=Inbox(saved.heads if saved else Heads(), events=inbox_events, size_bytes=inbox_bytes),
                state=state,
                user=saved.user if saved else journal.user,
                connect=connect or websocket(),
                random=random,
                new_key=new_key or _random_key,
                recent=recent,
                liveness=liveness or Liveness(),
                reconnect_s=reconnect_s,
                unix_time_s=unix_time_s,
            )  # fmt: skip
            try:
                nursery.start_soon(client._run)
                nursery.start_soon(client._keep_saved)
                yield client
                client.events.done()
            except BaseException as failure:
                body_failure = failure
                raise
            finally:
                with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
                    await client.close()
                client._stop("closed")
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if group.exceptions != (body_failure,):
            if not isinstance(body_failure, ClientClosed):
                raise
            # the block was only told of the end; what ended the client is the news
            raise group.derive([failure for failure in group.exceptions if failure is not body_failure]) from None
    finally:
        journal.close()
    if body_failure is not None:
        raise body_failure  # the block's own, as if there were no nursery


def _random_key() -> str:
    return uuid.uuid4().hex
