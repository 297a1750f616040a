"""Where lines are typed and shown: a terminal, or a plain pipe.

On a terminal the last lines are *live*: what is not sent yet, who is typing, the line being typed. What is shown goes
above them. On a pipe each line that comes is typed, and what is shown is just written.
"""

import os
import shutil
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio

from konnect_server.chat.line_editor import LineEditor
from konnect_server.chat.text import cut, tail, width

READ_BYTES: Final = 4_096
LIVE_LINES: Final = 8  # of what is not sent yet; older ones are counted


class Console(Protocol):
    """What the chat needs of its surroundings."""

    is_terminal: bool
    on_typing: Callable[[str], None]  # told the line being typed, as far as it is

    async def read_line(self) -> str | None:
        """The next line that was typed; None at the end."""

    def show(self, *lines: str) -> None:
        """Show *lines*, for good. Raises BrokenPipeError when nobody reads any more."""

    def set_live(self, lines: Sequence[str], prompt: str) -> None:
        """What stands below: *lines*, then the line being typed behind *prompt*. A pipe shows neither."""


class PlainConsole:
    """A pipe or a file at one end at least."""

    is_terminal = False

    def __init__(self) -> None:
        self.on_typing: Callable[[str], None] = _nothing
        self._fd = sys.stdin.fileno()
        self._unread = b""
        self._at_end = False

    async def read_line(self) -> str | None:
        while b"\n" not in self._unread and not self._at_end:
            data = await read_some(self._fd)
            self._unread += data
            self._at_end = not data
        line, _, self._unread = self._unread.partition(b"\n")
        if not line and self._at_end and not self._unread:
            return None
        await trio.lowlevel.checkpoint()
        return line.removesuffix(b"\r").decode("utf-8", "replace")

    def show(self, *lines: str) -> None:
        for line in lines:
            print(line)
        sys.stdout.flush()

    def set_live(self, lines: Sequence[str], prompt: str) -> None:
        pass


class TerminalConsole:
    """A terminal at both ends."""

    is_terminal = True

    def __init__(self) -> None:
        self.on_typing: Callable[[str], None] = _nothing
        self._fd = sys.stdin.fileno()
        self._editor = LineEditor()
        self._typed: list[str] = []
        self._live: Sequence[str] = ()
        self._prompt = "> "
        self._rows_above_cursor = 0

    async def read_line(self) -> str | None:
        while not self._typed:
            if self._editor.ended:
                return None
            data = await read_some(self._fd)
            if not data:
                return None
            self._typed += self._editor.feed(data)
            self._write(self._erasing() + self._drawing())
            self.on_typing(self._editor.text)
        await trio.lowlevel.checkpoint()
        return self._typed.pop(0)

    def show(self, *lines: str) -> None:
        self._write(self._erasing() + "".join(line + "\n" for line in lines) + self._drawing())

    def set_live(self, lines: Sequence[str], prompt: str) -> None:
        if (lines, prompt) != (self._live, self._prompt):
            before = self._erasing()
            self._live, self._prompt = lines, prompt
            self._write(before + self._drawing())

    def leave(self) -> None:
        """Take the live lines away."""
        self._write(self._erasing())

    def _erasing(self) -> str:
        up = f"\x1b[{self._rows_above_cursor}A" if self._rows_above_cursor else ""
        self._rows_above_cursor = 0
        return f"\r{up}\x1b[J"

    def _drawing(self) -> str:
        """The live lines, each in one row, and the cursor at its place in the line being typed."""
        columns = max(10, shutil.get_terminal_size().columns - 1)
        shown = [cut(line, columns) for line in self._live[-LIVE_LINES:]]
        if len(self._live) > LIVE_LINES:
            shown[0] = f"({len(self._live) - LIVE_LINES + 1} more above)"
        prompt = cut(self._prompt, columns // 2)
        before = tail(self._editor.text[: self._editor.cursor], columns - width(prompt))
        after = self._editor.text[self._editor.cursor :]
        room = columns - width(prompt) - width(before)
        after = cut(after, room) if room > 0 else ""
        back = f"\x1b[{width(after)}D" if after else ""
        self._rows_above_cursor = len(shown)
        return "".join(line + "\n" for line in shown) + prompt + before + after + back

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _nothing(typed: str) -> None:
    pass


@asynccontextmanager
async def open_console() -> AsyncIterator[Console]:
    """The console of this process, as it was before when the block ends."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding shows a mark, and the chat goes on
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield PlainConsole()
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)  # keys come one by one; Ctrl-C and Ctrl-Z still work
    terminal = TerminalConsole()
    try:
        yield terminal
    finally:
        terminal.leave()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def read_some(fd: int) -> bytes:
    """What can be read from *fd* now, waiting for something; empty at the end. No thread is left behind."""
    try:
        await trio.lowlevel.wait_readable(fd)
    except PermissionError:
        await trio.lowlevel.checkpoint()  # a plain file: the poller does not take it, and it never waits
    return os.read(fd, READ_BYTES)
