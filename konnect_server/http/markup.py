"""HTML by hand: a few pieces that the pages are put together from. Everything that comes in as text is escaped."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final, NamedTuple

STYLE: Final = files(__package__).joinpath("style.css").read_text("utf-8")
_STYLE_HASH: Final = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_CODE: Final = re.compile(r"`([^`]+)`")
_JSON_TOKEN: Final = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?)')

# No script runs, nothing is loaded from anywhere, nobody may frame the page.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Page(NamedTuple):
    """A whole page, ready to be sent."""

    body: bytes


def page(title: str, body: str) -> Page:
    """A document around *body*, with the style inside."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
    )
    return Page(f"{head}<body>\n{body}\n</body>\n</html>\n".encode())


def words(text: str) -> str:
    """One line of prose: `back quotes` become code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def prose(text: str) -> str:
    """Paragraphs, parted by empty lines."""
    return "".join(f"<p>{words(part)}</p>" for part in text.split("\n\n"))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself on a narrow screen. Cells are HTML already; a row's first may be ``<tr ...>``."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def block(text: str, caption: str = "") -> str:
    """Text as it is, in a box, with a caption above."""
    above = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{above}<pre><code>{escape(text, quote=False)}</code></pre></figure>"


def json_block(value: Any, caption: str = "") -> str:
    """A value as JSON, coloured a little."""
    above = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{above}<pre><code>{_coloured(compact_json(value))}</code></pre></figure>"


def compact_json(value: Any) -> str:
    """A value as JSON on one line if it is short, else one member a line."""
    flat = json.dumps(value, ensure_ascii=False)
    return flat if len(flat) <= 76 else json.dumps(value, ensure_ascii=False, indent=2)


def _coloured(text: str) -> str:
    pieces, end = [], 0
    for match in _JSON_TOKEN.finditer(text):
        pieces.append(escape(text[end : match.start()], quote=False))
        quoted, colon, _, number = match.groups()
        kind = "k" if colon else "s" if quoted else "n" if number else "l"
        pieces.append(f'<span class="{kind}">{escape(quoted or match[0], quote=False)}</span>{colon or ""}')
        end = match.end()
    pieces.append(escape(text[end:], quote=False))
    return "".join(pieces)
