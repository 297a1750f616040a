"""One line being typed: bytes of the keyboard in, whole lines out."""

import codecs
import re
from typing import Final

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|[^\[O])")
_PARTIAL_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)?\Z")
LINE_CHARS: Final = 8_192  # a message has no more


class LineEditor:
    """Knows the keys people use in a line: backspace, arrows, Home, End, Delete, Ctrl-A, E, B, F, K, U, W, D."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self.ended = False  # Ctrl-D on an empty line
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._unread = ""

    def feed(self, data: bytes) -> list[str]:
        """Take in what came from the keyboard; the lines that were finished."""
        self._unread += self._decode(data)
        lines: list[str] = []
        while self._unread and not self.ended:
            if self._unread[0] == "\x1b":
                if _PARTIAL_ESCAPE.match(self._unread):
                    break  # the rest comes with the next bytes
                escape = _ESCAPE.match(self._unread)
                key = escape.group() if escape else self._unread[0]
            else:
                key = self._unread[0]
            self._unread = self._unread[len(key) :]
            if key in "\r\n":
                lines.append(self.text)
                self.text, self.cursor = "", 0
            else:
                self._press(key)
        return lines

    def _press(self, key: str) -> None:
        match key:
            case "\x7f" | "\b":
                self._erase(self.cursor - 1, self.cursor)
            case "\x1b[3~":
                self._erase(self.cursor, self.cursor + 1)
            case "\x15":  # Ctrl-U
                self._erase(0, self.cursor)
            case "\x0b":  # Ctrl-K
                self._erase(self.cursor, len(self.text))
            case "\x17":  # Ctrl-W
                self._erase(self.text[: self.cursor].rstrip().rfind(" ") + 1, self.cursor)
            case "\x01" | "\x1b[H" | "\x1bOH" | "\x1b[1~":
                self.cursor = 0
            case "\x05" | "\x1b[F" | "\x1bOF" | "\x1b[4~":
                self.cursor = len(self.text)
            case "\x02" | "\x1b[D" | "\x1bOD":
                self.cursor = max(0, self.cursor - 1)
            case "\x06" | "\x1b[C" | "\x1bOC":
                self.cursor = min(len(self.text), self.cursor + 1)
            case "\x04":  # Ctrl-D
                if self.text:
                    self._erase(self.cursor, self.cursor + 1)
                else:
                    self.ended = True
            case "\t":
                self._insert(" ")
            case _ if key.isprintable() and len(self.text) < LINE_CHARS:
                self._insert(key)
            case _:
                pass  # another key: nothing happens

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _erase(self, start: int, end: int) -> None:
        start, end = max(0, start), min(len(self.text), end)
        self.text = self.text[:start] + self.text[end:]
        self.cursor = min(start, len(self.text))
