"""What mails say: as text and as HTML, short, in plain English. Whatever comes from somebody is escaped."""

from collections.abc import Sequence
from html import escape
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from konnect_server.one_time_codes import LIFE_MS

Kind: TypeAlias = Literal[
    "sign_in", "sign_up", "password", "email_old", "email_new", "email_taken", "password_changed", "email_changed"
]
MINUTES: Final = LIFE_MS // 60_000
_NOT_YOU: Final = "If you did not ask for this, do nothing: without the code nothing happens."
_TELL_NOBODY: Final = f"It is good for {MINUTES} minutes and for one use. Tell it to nobody."


class _Words(Struct, frozen=True):
    """A mail's subject and its lines; ``{app}`` is who sends it, ``{name}`` whom it is for."""

    subject: str
    before: str
    after: Sequence[str] = ()


_WORDS: Final[dict[Kind, _Words]] = {
    "sign_in": _Words(
        "Your code for {app}", "Hello {name}, this is your code to sign in, or to confirm this address:",
        (_TELL_NOBODY, _NOT_YOU),
    ),
    "sign_up": _Words(
        "Your code for {app}", "Somebody, hopefully you, wants to sign up with this address. This is the code:",
        (_TELL_NOBODY, _NOT_YOU),
    ),
    "password": _Words(
        "A new password for {app}", "Hello {name}, this is your code to choose a new password:",
        (_TELL_NOBODY, "If you did not ask for this, do nothing: your password stays as it is."),
    ),
    "email_old": _Words(
        "Your address at {app} is to change",
        "Hello {name}, you asked for another e-mail address. This is the code of your old one:",
        (_TELL_NOBODY, "If it was not you, somebody is signed in as you: change your password now."),
    ),
    "email_new": _Words(
        "Confirm this address for {app}", "Somebody, hopefully you, wants to use this address. This is the code:",
        (_TELL_NOBODY, _NOT_YOU),
    ),
    "email_taken": _Words(
        "You have an account at {app}",
        "Hello {name}, somebody, perhaps you, wanted to use this address for another account. It has one already, so "
        "nothing was changed.",
    ),
    "password_changed": _Words(
        "Your password for {app} was changed",
        "Hello {name}, your password was changed, and your other devices were signed out.",
        ("If it was not you, ask for a new password now, by a code to this address.",),
    ),
    "email_changed": _Words(
        "Your address at {app} was changed",
        "Hello {name}, your account has another e-mail address now; this one is not used any more.",
        ("If it was not you, tell whoever runs {app}.",),
    ),
}  # fmt: skip


class Worded(Struct, frozen=True):
    """What a mail says."""

    subject: str
    text: str
    html: str


def worded(kind: Kind, *, app: str, name: str = "", code: str = "") -> Worded:
    """The mail of that *kind*. *name*: of whom it is for; *code*: set apart, where it has one."""
    words, names = _WORDS[kind], {"app": _line(app), "name": _line(name)}
    lines = [line.format(**names).replace("Hello ,", "Hello,") for line in (words.before, *words.after)]
    parts = [lines[0], *([f"    {code}"] if code else []), *lines[1:], names["app"]]
    return Worded(
        words.subject.format(**names), "\n\n".join(parts) + "\n", _html(lines[0], code, lines[1:], names["app"])
    )


def _html(first: str, code: str, rest: Sequence[str], app: str) -> str:
    big = (
        '<p style="font:600 28px/1.4 ui-monospace,monospace;letter-spacing:.2em;margin:20px 0">'
        f"{escape(code)}</p>"
    )  # fmt: skip
    paragraphs = "".join(f'<p style="margin:0 0 12px">{escape(line)}</p>' for line in rest)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"></head>'
        '<body style="font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:24px auto;padding:0 16px">'
        f'<p style="margin:0 0 12px">{escape(first)}</p>{big if code else ""}{paragraphs}'
        f'<p style="color:#777;margin:24px 0 0">{escape(app)}</p></body></html>\n'
    )


def _line(text: str) -> str:
    """*text* on one line: it may stand in a header."""
    return " ".join(text.split())
