"""The client: stays connected, is brought up to date, sends what is to be sent.

One task keeps the connection (``connector.py``); everything else is plain state that it works on: timeline, outbox,
calls, receipts. The application reads events from :attr:`Client.events` and calls commands from any of its tasks.
"""

import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Final

import trio

from konnect_client.backoff import CEILING_S, FLOOR_S, Backoff
from konnect_client.calls import Calls
from konnect_client.commands import Commands
from konnect_client.connector import Connector, Desks, Way
from konnect_client.content import Content, Entity
from konnect_client.errors import ClientClosed, OutboxUnwritable, ServerRefused
from konnect_client.heads import Heads
from konnect_client.inbox import BYTES as INBOX_BYTES, EVENTS as INBOX_EVENTS, Inbox
from konnect_client.journal import FileJournal, Journal, MemoryJournal
from konnect_client.liveness import Liveness
from konnect_client.model import Sent
from konnect_client.outbox import BYTES as OUTBOX_BYTES, MESSAGES as OUTBOX_MESSAGES, WINDOW, Outbox, Outgoing
from konnect_client.parts import without_defaults
from konnect_client.people import People
from konnect_client.personal import Personal
from konnect_client.receipts import Receipts
from konnect_client.savings import Savings
from konnect_client.statefile import StateFile, StateStore
from konnect_client.states import Phase, State, Watch
from konnect_client.token_desk import TokenDesk
from konnect_client.tokens import TokenSource
from konnect_client.transport import Connect, socket_url, websocket

CLOSE_WITHIN_S: Final = 3.0


class Client(Commands):
    """A Konnect user's device. Made by :func:`open_client`."""

    def __init__(
        self,
        connector: Connector,
        desks: Desks,
        *,
        nursery: trio.Nursery,
        new_key: Callable[[], str],
        new_backoff: Callable[[], Backoff],
    ) -> None:
        super().__init__(
            connector, desks.calls, desks.receipts, desks.people, desks.inbox,
            nursery=nursery, new_key=new_key, new_backoff=new_backoff,
        )  # fmt: skip
        self._outbox, self._savings = desks.outbox, desks.savings
        self._send_turn = trio.Lock()
        self.personal: Final = Personal(desks.inbox.handled)
        """What is one's own, as far as :attr:`events` has shown it: drafts, settings, hidden messages."""
        self.events: Final = desks.inbox
        """What happened, in order: ``async for event in client.events``, by one task at a time. An event counts as
        handled once the next one is asked for; see :mod:`konnect_client.events`."""

    # --- State --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The present state."""
        return self._connector.states.present

    def states(self) -> AbstractContextManager[Watch]:
        """Every state from the present one on: ``with client.states() as states: async for state in states: ...``."""
        return self._connector.states.watch()

    async def wait_open(self) -> None:
        """Wait until the client is signed in. Raises ClientClosed when that will not be."""
        await self._connector.wait_for(lambda: self.state.phase is Phase.OPEN)

    async def wait_synced(self) -> None:
        """Wait until everything that was missed is here, or in :attr:`events`. Raises ClientClosed."""
        await self._connector.wait_for(lambda: self.synced)

    async def wait_closed(self) -> State:
        """Wait until the client has stopped for good."""
        with suppress(ClientClosed):
            await self._connector.wait_for(lambda: False)
        return self.state

    @property
    def synced(self) -> bool:
        """True while connected with nothing missing."""
        return self._connector.synced

    @property
    def user(self) -> str | None:
        """One's own id; None until the first connection ever was open."""
        return self._savings.user

    @property
    def online(self) -> bool:
        """What the application said of the device's network; True at first. Says nothing of the connection."""
        return self._connector.online

    def set_online(self, online: bool) -> None:
        """Tell what the device knows of its network: without one nothing is tried; a new one is tried at once."""
        self._connector.set_online(online)

    def reconnect(self) -> None:
        """Open a new connection now: while waiting, without waiting longer; else in place of the present one."""
        self._connector.reconnect()

    async def close(self) -> None:
        """Stop for good. Unsent messages stay in the outbox file, if there is one."""
        if self.state.phase is not Phase.CLOSED:
            self._connector.close()
            await self.wait_closed()

    # --- Sending ------------------------------------------------------------------------------------------------------

    async def send(
        self, conversation: str, text: str = "", *, content: Content | None = None, key: str | None = None
    ) -> Sent:
        """Send a message and wait until the server has it on disk, over as many connections as it takes.

        Waits for room first when the outbox is full. If this call is cancelled later, the message is sent all the same.

        Args:
            conversation: Where to.
            text: What; 1 to 8,192 characters, none of them U+0000; may be empty beside media, a location or a contact.
            content: What the message is beside its text.
            key: Unique for this message in this conversation, 1 to 64 characters; made up when None.

        Returns:
            Its position and time in the conversation.

        Raises:
            ServerRefused: Refused for good (``not_a_member``, ``invalid``, ``key_reused`` ...).
            TooLarge, ValueError: It could never be sent.
            OutboxUnwritable: The outbox file could not be written; the message was not taken.
            ClientClosed: The client has stopped; if that came after the message was taken, the file still has it.
        """
        return await self._send(self._message(conversation, text, content, key))

    def _message(self, conversation: str, text: str, content: Content | None, key: str | None) -> Outgoing:
        more = {} if content is None else {"content": content.frame()}
        return Outgoing(str(conversation), key or self._new_key(), text, "message.send", more)

    async def edit(
        self, conversation: str, seq: int, text: str, *, entities: Iterable[Entity] = (),
        mention_all: str | None = None, key: str | None = None,
    ) -> Sent:  # fmt: skip
        """Give message *seq*, one's own, another text, with these entities and mentions. Sent and raising as
        :meth:`send`, in order with messages."""
        more = without_defaults(seq=seq, entities=[one.frame() for one in entities], mention_all=mention_all)
        return await self._send(Outgoing(str(conversation), key or self._new_key(), text, "message.edit", more))

    async def delete(self, conversation: str, seq: int, *, key: str | None = None) -> Sent:
        """Delete message *seq* for everybody. Sent and raising as :meth:`send`, in order with messages."""
        return await self._send(Outgoing(str(conversation), key or self._new_key(), "", "message.delete", {"seq": seq}))

    async def react(
        self, conversation: str, seq: int, emoji: str, on: bool = True, *, key: str | None = None
    ) -> Sent:
        """React to message *seq*, or take it back. Sent and raising as :meth:`send`, in order with messages."""
        more = {"seq": seq, "emoji": emoji, "on": on}
        return await self._send(Outgoing(str(conversation), key or self._new_key(), "", "message.react", more))

    # What is one's own. Each is sent and raises as :meth:`send`, in order with the conversation's messages; when
    # it returns, all of one's devices that are there have been told.

    async def set_draft(
        self, conversation: str, text: str, *, reply_to: int | None = None, key: str | None = None
    ) -> None:
        """Keep what one has begun to write; no text: throw it away. A newer one takes the place of one that waits."""
        if not text:
            await self.clear_draft(conversation, key=key)
            return
        more = {} if reply_to is None else {"reply_to": reply_to}
        await self._send(Outgoing(str(conversation), key or self._new_key(), text, "draft.set", more))

    async def clear_draft(self, conversation: str, *, key: str | None = None) -> None:
        """Throw away what one has begun to write."""
        await self._keep("draft.clear", conversation, key)

    async def mute(
        self, conversation: str, on: bool = True, *, until_ms: int | None = None, key: str | None = None
    ) -> None:
        """Mute a conversation until then (Unix milliseconds) or for ever, or hear it again."""
        await self._keep("conversation.mute", conversation, key, on=on, until_ms=until_ms)

    async def archive(self, conversation: str, on: bool = True, *, key: str | None = None) -> None:
        """Put a conversation apart, or take it back."""
        await self._keep("conversation.archive", conversation, key, on=on)

    async def pin_conversation(self, conversation: str, on: bool = True, *, key: str | None = None) -> None:
        """Pin a conversation above one's others, or let it go."""
        await self._keep("conversation.pin", conversation, key, on=on)

    async def mark_unread(self, conversation: str, on: bool = True, *, key: str | None = None) -> None:
        """Mark a conversation as unread by hand, or take the mark away."""
        await self._keep("conversation.mark_unread", conversation, key, on=on)

    async def nickname(
        self, conversation: str, name: str | None, *, user: str | None = None, key: str | None = None
    ) -> None:
        """Say what one calls a conversation, or *user* in it; None takes that back."""
        await self._keep(
            "conversation.nickname", conversation, key, name=name, user=None if user is None else str(user)
        )

    async def put_into_folder(self, conversation: str, folder: str | None, *, key: str | None = None) -> None:
        """Put a conversation into a folder; None takes it out."""
        await self._keep("conversation.folder", conversation, key, folder=folder)

    async def notify_of(self, conversation: str, level: str, *, key: str | None = None) -> None:
        """Say of which messages one is to be notified: "all", "mentions" or "none"."""
        await self._keep("conversation.notify", conversation, key, level=level)

    async def hide(self, conversation: str, seqs: Iterable[int], *, key: str | None = None) -> None:
        """Delete messages for oneself, up to 100, for ever."""
        await self._keep("message.hide", conversation, key, seqs=list(seqs))

    async def follow_thread(self, conversation: str, seq: int, on: bool = True, *, key: str | None = None) -> None:
        """Follow the thread whose root is *seq*, or let it go."""
        await self._keep("thread.follow", conversation, key, seq=seq, on=on)

    async def read_thread(self, conversation: str, seq: int, read: int, *, key: str | None = None) -> None:
        """Say that one has read all of the thread whose root is *seq*, up to message *read*."""
        await self._keep("thread.read", conversation, key, seq=seq, read=read)

    async def _keep(self, kind: str, conversation: str, key: str | None, **fields: object) -> None:
        await self._send(Outgoing(str(conversation), key or self._new_key(), "", kind, fields))

    async def forward(self, conversation: str, source: str, seq: int, *, key: str | None = None) -> Sent:
        """Send to *conversation* a copy of message *seq* of conversation *source*. Sent and raising as :meth:`send`."""
        more = {"source": {"conversation": str(source), "seq": seq}}
        return await self._send(Outgoing(str(conversation), key or self._new_key(), "", "message.forward", more))

    async def pin(self, conversation: str, seq: int, on: bool = True, *, key: str | None = None) -> Sent:
        """Pin message *seq* for everybody, or take it down. Sent and raising as :meth:`send`."""
        more = {"seq": seq, "on": on}
        return await self._send(Outgoing(str(conversation), key or self._new_key(), "", "message.pin", more))

    async def _send(self, message: Outgoing) -> Sent:
        async with self._send_turn:  # first come, first served
            while True:
                self._connector.check_alive()
                if self._outbox.has_room(message):
                    break
                await self._connector.heard_something.wait()
            self._outbox.add(message)
        self._connector.kick()
        return await message.wait()

    def send_nowait(
        self, conversation: str, text: str = "", *, content: Content | None = None, key: str | None = None
    ) -> Outgoing:
        """Take a message for sending. When this returns, it is in the outbox file, if there is one (one fsync).

        Returns:
            A handle that says whether it is pending, sent or failed, and that can be waited for.

        Raises:
            OutboxFull: As much waits as may wait.
            TooLarge, ValueError, OutboxUnwritable, ClientClosed: As in :meth:`send`.
        """
        self._connector.check_alive()
        message = self._message(conversation, text, content, key)
        self._outbox.add(message)
        self._connector.kick()
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
            inbox = Inbox(saved.heads if saved else Heads(), events=inbox_events, size_bytes=inbox_bytes)
            new_backoff = partial(Backoff, random, *reconnect_s)
            desks = Desks(
                outbox=Outbox(journal, new_backoff, messages=outbox_messages, size_bytes=outbox_bytes, window=window),
                calls=Calls(),
                receipts=Receipts(new_backoff),
                heads=inbox.handled.copy(),
                inbox=inbox,
                people=People(),
                savings=Savings(state, inbox, saved.user if saved else journal.user),
            )
            way = Way(address, connect or websocket(), device, recent, liveness or Liveness(), reconnect_s)
            connector = Connector(way, desks, TokenDesk(token, unix_time_s), random)
            client = Client(connector, desks, nursery=nursery, new_key=new_key or _random_key, new_backoff=new_backoff)
            try:
                nursery.start_soon(connector.run)
                nursery.start_soon(desks.savings.keep)
                yield client
                client.events.done()
            except BaseException as failure:
                body_failure = failure
                raise
            finally:
                with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
                    await client.close()
                connector.stop("closed")
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
