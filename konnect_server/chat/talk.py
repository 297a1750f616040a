"""The chat itself: shows what comes, sends what is typed."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import trio

from konnect_client import (
    Account,
    Client,
    ClientClosed,
    ConversationChanged,
    Entry,
    Event,
    OutboxFull,
    OutboxUnwritable,
    Outgoing,
    Phase,
    PresenceChanged,
    Rewound,
    ServerRefused,
    TooLarge,
    TypingSeen,
    Violation,
)
from konnect_server.chat.commands import Misused, obey
from konnect_server.chat.console import Console
from konnect_server.chat.room import Room, day_of, entry_lines, names_in
from konnect_server.chat.text import harmless

HISTORY: Final = 20  # entries shown when a conversation is opened
PATIENCE_S: Final = 5.0  # an absence of the connection that is not worth a line
ANSWER_S: Final = 15.0
NAMES_S: Final = 5.0
LAST_WORDS_S: Final = 5.0
TYPING_SHOWN_S: Final = 5.0


class Talk:
    """One person's chat, from the first line on the screen to the last."""

    def __init__(self, console: Console, client: Client, account: Account) -> None:
        self.console, self.client, self.account = console, client, account
        self.me = account.user.id
        self.open: Room | None = None
        self.rooms: dict[str, Room] = {}
        self.listed: list[Room] = []
        self._unsent: dict[Outgoing, None] = {}
        self._typing: dict[str, float] = {}  # who is, until when that is shown
        self._here: dict[str, None] = {}  # who was said to be online
        self._day = ""
        self._screen = trio.Lock()  # an event is not shown in the middle of a history
        self._handling = False
        self._handled = trio.Event()
        self._enough = trio.Event()

    # --- The course of things -----------------------------------------------------------------------------------------

    async def run(self) -> str | None:
        """Talk until /quit, the end of what is typed, :meth:`stop`, or the end of the client, and then says why."""
        self.console.on_typing = self._tell_typing
        async with trio.open_nursery() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._watch_states)
            tasks.start_soon(self._stop_with_client)
            tasks.start_soon(self._work)
            await self._enough.wait()
            await self._say_goodbye()
            tasks.cancel_scope.cancel()
        state = self.client.state
        return state.reason if state.phase is Phase.CLOSED else None

    def stop(self) -> None:
        """Let it be enough; unsent lines get a moment."""
        self._enough.set()

    async def _work(self) -> None:
        with suppress(ClientClosed):
            await self._begin()
            self._tasks.start_soon(self._read_events)
            while (line := await self.console.read_line()) is not None:
                await self._typed(line)
                if self._enough.is_set():
                    return
        self.stop()

    async def _begin(self) -> None:
        self.show(f"You are {self.name(self.me)}. /help says what you can do.")
        waiting = self.client.pending
        if waiting:
            self.show(f"-- sending {len(waiting)} unsent from last time")
        for message in waiting:
            self._follow(message)
        await self.client.wait_synced()
        await self.list()
        if self.listed:
            await self.enter(self.listed[0])
        else:
            self.show(f"Nobody to talk to yet: /direct USER-ID opens a conversation. Your own id is {self.me}.")

    async def _stop_with_client(self) -> None:
        await self.client.wait_closed()
        self.stop()

    async def _say_goodbye(self) -> None:
        """Give what is unsent a moment, show what still came, and say what becomes of the rest."""
        with trio.move_on_after(LAST_WORDS_S), suppress(ClientClosed):
            await self.client.flush()
            while len(self.client.events) or self._handling:
                await self._handled.wait()
        kept = len(self.client.pending)
        if kept:
            self.show(f"-- {kept} unsent {'line is' if kept == 1 else 'lines are'} kept, and sent next time")

    # --- What is typed ------------------------------------------------------------------------------------------------

    async def _typed(self, line: str) -> None:
        try:
            if line.startswith("/") and not line.startswith("//"):
                with trio.fail_after(ANSWER_S):
                    await obey(self, line)
            elif line.strip():
                self._say(line.removeprefix("/") if line.startswith("//") else line)
        except (Misused, OutboxFull, OutboxUnwritable, TooLarge) as problem:
            self.show(f"! {problem}")
        except ServerRefused as refusal:
            self.show(f"! {harmless(refusal.message)}")
        except trio.TooSlowError:
            self.show("! no answer; try again when the connection is back")

    def _say(self, text: str) -> None:
        if self.open is None:
            raise Misused("no conversation is open: /list shows yours, /open N opens one")
        message = self.client.send_nowait(self.open.id, text)
        if not self.console.is_terminal:
            self.show(f"\u2026 {harmless(text)}")
        self._follow(message)

    def _follow(self, message: Outgoing) -> None:
        """Show *message* as unsent until it is sent, or say why it was not."""
        self._unsent[message] = None
        self._tasks.start_soon(self._see_through, message)
        self.refresh()

    async def _see_through(self, message: Outgoing) -> None:
        try:
            await message.wait()
        except ServerRefused as refusal:
            self.show(f"! not sent ({refusal.code}): {harmless(message.text)}")
        except ClientClosed:
            return
        del self._unsent[message]
        self.refresh()

    def _tell_typing(self, typed: str) -> None:
        if self.open is not None and typed and not typed.startswith("/"):
            self.client.typing(self.open.id)

    # --- What comes ---------------------------------------------------------------------------------------------------

    async def _read_events(self) -> None:
        async for event in self.client.events:
            self._handling = True
            async with self._screen:
                await self._happened(event)
            self._handling = False
            self._handled.set()
            self._handled = trio.Event()

    async def _happened(self, event: Event) -> None:
        match event:
            case Entry():
                await self._entry_came(event)
            case ConversationChanged(conversation=conversation):
                known = self.rooms.get(conversation.id)
                room = self.rooms[conversation.id] = known or Room.of(conversation)
                room.title, room.members = conversation.title, list(conversation.members)
                if known is None and not (conversation.recent and conversation.recent[-1].author == self.me):
                    await self._learn(room.members)
                    self.show(f"* a new conversation: {self.called(room)} (/list)")
                if room is self.open and room.shown < conversation.head:
                    await self._show_history(room, HISTORY)
            case PresenceChanged(user=user, online=online) if (user in self._here) != online:
                if online:
                    self._here[user] = None
                else:
                    del self._here[user]
                if self.open is not None and user in self.open.members and user != self.me:
                    await self._learn([user])
                    self.show(f"* {self.name(user)} is {'online' if online else 'offline'}")
            case TypingSeen(conversation=conversation, user=user):
                if self.open is not None and conversation == self.open.id:
                    self._typing[user] = trio.current_time() + TYPING_SHOWN_S
                    self._tasks.start_soon(self._forget_typing)
                    self.refresh()
            case Rewound(conversation=conversation):
                self.show("-- the server went back to an older copy of its data; what is missing was lost there")
                for room in self.rooms.values():
                    if conversation in (None, room.id):
                        room.shown = 0
            case Violation(message=message):
                self.show(f"-- the server said something strange ({harmless(message)}); connecting again")
            case _:
                pass

    async def _entry_came(self, entry: Entry) -> None:
        room = self.rooms.get(entry.conversation)
        if room is None:
            return  # left meanwhile
        room.apply(entry)
        if self._typing.pop(entry.author, None) is not None:
            self.refresh()
        if room is self.open:
            await self._show_entries(room, [entry])
        elif entry.kind == "message" and entry.author != self.me:
            if entry.content is None or entry.content.thread is None:
                room.unread += 1
            await self._learn([*names_in([entry]), *room.members])
            first, *more = entry_lines(entry, self.me, self.name)
            self.show(f"[{self.called(room)}] {first}", *more)

    async def _forget_typing(self) -> None:
        await trio.sleep(TYPING_SHOWN_S)
        now = trio.current_time()
        self._typing = {user: until for user, until in self._typing.items() if until > now}
        self.refresh()

    async def _watch_states(self) -> None:
        """Say when the connection is away for longer than a moment, and when it is back."""
        with self.client.states() as states:
            async for state in states:
                self.refresh()
                if state.phase is Phase.OPEN:
                    continue
                with trio.move_on_after(PATIENCE_S) as patience:
                    async for following in states:
                        self.refresh()
                        if following.phase is Phase.OPEN:
                            break
                if not patience.cancelled_caught:
                    continue
                self.show(f"-- no connection ({self.client.state.reason}); trying again and again")
                async for following in states:
                    self.refresh()
                    if following.phase is Phase.OPEN:
                        self._here.clear()
                        self.show("-- connected again")
                        break

    # --- What is shown ------------------------------------------------------------------------------------------------

    def show(self, *lines: str) -> None:
        """Show *lines*, for good."""
        self.console.show(*lines)

    def refresh(self) -> None:
        """Draw the live lines anew: what is unsent, who is typing, the prompt."""
        lines = [f"  \u2026 {harmless(message.text)}" for message in self._unsent]
        if self._typing:
            lines.append(f"  {', '.join(self.name(user) for user in self._typing)} \u2026 typing")
        called = self.called(self.open) if self.open else "no conversation"
        state = "" if self.client.state.phase is Phase.OPEN else f" ({self.client.state.phase})"
        self.console.set_live(lines, f"{called}{state}> ")

    def name(self, user: str) -> str:
        """What to call somebody: the name, where it is known."""
        known = self.account.user.name if user == self.me else self.client.name(user)
        return harmless(known) if known else f"user \u2026{user[-8:]}"

    def called(self, room: Room) -> str:
        """What to call a conversation."""
        return room.called(self.me, self.name)

    async def _learn(self, users: Iterable[str]) -> None:
        with trio.move_on_after(NAMES_S):
            await self.client.names(users)

    async def list(self) -> None:
        """Show one's conversations, last active first."""
        page = await self.client.conversations(limit=50)
        self.listed = []
        for conversation in page.conversations:
            room = self.rooms.setdefault(conversation.id, Room.of(conversation))
            room.title, room.members, room.unread = conversation.title, list(conversation.members), conversation.unread
            self.listed.append(room)
        await self._learn(dict.fromkeys(member for room in self.listed if not room.title for member in room.members))
        for number, room in enumerate(self.listed, 1):
            unread = f"  {room.unread} unread" if room.unread else ""
            self.show(f"{number:>3}  {self.called(room)}{unread}")
        if page.cursor is not None:
            self.show("     and more, less recent ones")

    async def enter(self, room: Room) -> None:
        """Open *room*: show its last entries, and who is there."""
        async with self._screen:
            self.open, self._day, room.shown = room, "", 0
            self._typing.clear()
            await self._learn(room.members[:100])
            self.show(f"-- {self.called(room)}")
            await self._show_history(room, HISTORY)
            self._here = dict.fromkeys(await self.client.watch(conversation=room.id))
            here = [self.name(user) for user in self._here if user != self.me]
            if here:
                self.show(f"* online: {', '.join(here)}")
            self.refresh()

    async def show_again(self, entries: int) -> None:
        """Show the last *entries* of the open conversation once more."""
        if self.open is None:
            raise Misused("no conversation is open")
        async with self._screen:
            self.open.shown = 0
            await self._show_history(self.open, entries)

    async def _show_history(self, room: Room, entries: int) -> None:
        page = await self.client.history(room.id, limit=entries)
        fresh = [entry for entry in page.entries if entry.seq > room.shown]
        if page.more and fresh and fresh[0].seq > room.shown + 1:
            self.show("   (older ones: /history 100)")
        await self._show_entries(room, fresh)

    async def _show_entries(self, room: Room, entries: Sequence[Entry]) -> None:
        await self._learn(names_in(entries))
        lines: list[str] = []
        for entry in entries:
            if entry.seq <= room.shown:
                continue
            if day_of(entry) != self._day:
                self._day = day_of(entry)
                lines.append(f"-- {self._day}")
            lines += entry_lines(entry, self.me, self.name)
            room.shown = entry.seq
        if lines:
            room.unread = 0
            self.client.receipt(room.id, read=room.shown)
            self.show(*lines)

    def closed(self, room: Room) -> None:
        """One is no member of *room* any more."""
        self.rooms.pop(room.id, None)
        if self.open is room:
            self.open = None
        self.refresh()
