"""What can be typed besides messages."""

import shlex
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from konnect_client import Account, Client, Conversation
from konnect_server.chat.room import Room
from konnect_server.chat.text import harmless

HELP: Final = """\
/list                     your conversations
/open N                   talk in conversation N of the list
/direct USER-ID           open the conversation with somebody
/group TITLE USER-ID ...  open a group; quote a title of several words
/add USER-ID              take somebody into the group
/remove USER-ID           put somebody out of the group
/leave                    leave the group
/who                      who is in the conversation, and online; with their ids
/history [N]              the last N entries
/me                       who and where you are, with your id
/quit                     leave (or Ctrl-D, or Ctrl-C)
//text                    a line that begins with /text"""
HISTORY_MOST: Final = 100


class Misused(Exception):
    """A line was not understood; the text says how it goes."""


class Chat(Protocol):
    """What commands need of the chat."""

    client: Client
    account: Account
    me: str
    open: Room | None
    rooms: dict[str, Room]
    listed: list[Room]

    def stop(self) -> None: ...
    def show(self, *lines: str) -> None: ...
    def name(self, user: str) -> str: ...
    def closed(self, room: Room) -> None: ...
    async def list(self) -> None: ...
    async def enter(self, room: Room) -> None: ...
    async def show_again(self, entries: int) -> None: ...


async def obey(chat: Chat, line: str) -> None:
    """Do what *line*, which begins with a slash, says.

    Raises:
        Misused: It says nothing that is known.
        ServerRefused: The server does not let one.
    """
    try:
        word, *rest = shlex.split(line)
    except ValueError as problem:
        raise Misused(f"{problem}: quotes come in pairs".lower()) from problem
    command = COMMANDS.get(word)
    if command is None:
        raise Misused(f"{harmless(word)} is not known; /help says what is")
    await command(chat, rest)


async def _help(chat: Chat, rest: list[str]) -> None:
    chat.show(*HELP.splitlines())


async def _list(chat: Chat, rest: list[str]) -> None:
    await chat.list()


async def _open(chat: Chat, rest: list[str]) -> None:
    number = _number(rest, "/open N")
    if not 1 <= number <= len(chat.listed):
        raise Misused(f"there is no conversation {number} in the list; /list shows it")
    await chat.enter(chat.listed[number - 1])


async def _direct(chat: Chat, rest: list[str]) -> None:
    (user,) = _exactly(rest, 1, "/direct USER-ID")
    await _enter(chat, await chat.client.direct(user))


async def _group(chat: Chat, rest: list[str]) -> None:
    if not rest:
        raise Misused("it goes: /group TITLE USER-ID ...")
    await _enter(chat, await chat.client.create(rest[0], rest[1:]))


async def _add(chat: Chat, rest: list[str]) -> None:
    (user,) = _exactly(rest, 1, "/add USER-ID")
    await chat.client.add(_opened(chat).id, user)


async def _remove(chat: Chat, rest: list[str]) -> None:
    (user,) = _exactly(rest, 1, "/remove USER-ID")
    await chat.client.remove(_opened(chat).id, user)


async def _leave(chat: Chat, rest: list[str]) -> None:
    room = _opened(chat)
    await chat.client.leave(room.id)
    chat.closed(room)
    chat.show("-- you left; /list shows your other conversations")


async def _who(chat: Chat, rest: list[str]) -> None:
    found = await chat.client.conversation(_opened(chat).id, recent=0)
    await chat.client.names(found.members)
    online = chat.client.online_users
    for member in found.members:
        state = "you" if member == chat.me else "online" if member in online else "offline"
        read = "" if member == chat.me else _read(found, member)
        chat.show(f"  {member}  {chat.name(member)} ({state}{read})")


def _read(conversation: Conversation, member: str) -> str:
    """Whether somebody has read everything, where that is told."""
    for receipt in conversation.receipts:
        if receipt.user == member:
            return ", has read all" if receipt.read >= conversation.head else ", has not read all"
    return ""


async def _history(chat: Chat, rest: list[str]) -> None:
    entries = _number(rest, "/history [N]") if rest else 50
    await chat.show_again(min(max(1, entries), HISTORY_MOST))


async def _me(chat: Chat, rest: list[str]) -> None:
    state = chat.client.state
    chat.show(f"  {chat.me}  {chat.name(chat.me)} ({state.phase}: {state.reason})")


async def _quit(chat: Chat, rest: list[str]) -> None:
    chat.stop()


COMMANDS: Final[dict[str, Callable[[Chat, list[str]], Awaitable[None]]]] = {
    "/help": _help,
    "/list": _list,
    "/open": _open,
    "/direct": _direct,
    "/group": _group,
    "/add": _add,
    "/remove": _remove,
    "/leave": _leave,
    "/who": _who,
    "/history": _history,
    "/me": _me,
    "/quit": _quit,
}


async def _enter(chat: Chat, conversation: str) -> None:
    room = chat.rooms.get(conversation)
    if room is None:
        room = chat.rooms[conversation] = Room.of(await chat.client.conversation(conversation, recent=0))
    await chat.enter(room)


def _opened(chat: Chat) -> Room:
    if chat.open is None:
        raise Misused("no conversation is open: /list shows yours, /open N opens one")
    return chat.open


def _exactly(rest: list[str], count: int, usage: str) -> list[str]:
    if len(rest) != count:
        raise Misused(f"it goes: {usage}")
    return rest


def _number(rest: list[str], usage: str) -> int:
    (word,) = _exactly(rest, 1, usage)
    if not word.isdecimal():
        raise Misused(f"it goes: {usage}")
    return int(word)
