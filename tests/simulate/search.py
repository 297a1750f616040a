"""Search once more, over the fake's tables: every message that one may see is looked at. It knows words as they are
written and no stems; what it finds is what PostgreSQL finds where stems say nothing else."""

import re
from typing import Final
from uuid import UUID

from protocol.frames import Entry, Found, Hit, Search
from storage import search_cursor, snippets
from storage.search_cursor import After, Place
from storage.search_query import Term, parse
from tests.simulate.database import Tables
from tests.simulate.functions import Refusal, visible

_WORD: Final = re.compile(r"\w+")


def search_messages(tables: Tables, person: UUID, query: Search, ranked: int) -> Found | Refusal:
    """A page of what matches."""
    mine = tables.joined.get(person, {})
    if query.conversation is not None and query.conversation not in mine:
        return Refusal("not_a_member", person)
    by_rank = query.order == "rank"
    after = search_cursor.place(query.cursor, by_rank)
    terms = parse(query.query)
    found = [
        (place, entry)
        for conversation in ([query.conversation] if query.conversation else mine)
        for entry in visible(tables, conversation, person, 1, len(tables.entries[conversation]))
        if entry.seq not in tables.hidden.get((person, conversation), ()) and _matches(entry, query, terms)
        and (place := Place(entry.at_ms, conversation, entry.seq))
        and (after is None or place < (after.top if by_rank and after.top else after.last))
    ]
    found.sort(key=lambda one: one[0], reverse=True)
    page = [(0.0, place, entry) for place, entry in found]
    if by_rank:
        page = sorted(((_rank(entry, terms), place, entry) for place, entry in found[:ranked]), reverse=True, key=_by)
        if after is not None:
            page = [one for one in page if _by(one) < (after.rank, after.last)]
    hits = [_hit(entry, terms) for _, _, entry in page[: query.limit]]
    if len(page) <= query.limit:
        return Found(hits)
    rank, last, _ = page[query.limit - 1]
    if not by_rank:
        return Found(hits, search_cursor.text_of(After(last)))
    top = found[0][0]
    first = after.top if after is not None else Place(top.at_ms, top.conversation, top.seq + 1)
    return Found(hits, search_cursor.text_of(After(last, rank, first)))


def _by(one: tuple[float, Place, Entry]) -> tuple[float, Place]:
    return one[:2]


def _matches(entry: Entry, query: Search, terms: list[Term]) -> bool:
    if entry.kind != "message" or entry.deleted or not isinstance(entry.text, str):
        return False
    kinds = {"text"} | ({"link"} if re.search("https?://", entry.text, re.IGNORECASE) else set())
    return (
        query.author in (None, entry.author)
        and (query.kind is None or query.kind in kinds)
        and (query.from_ms is None or entry.at_ms >= query.from_ms)
        and (query.to_ms is None or entry.at_ms < query.to_ms)
        and all(bool(_places(entry.text, term)) != term.negative for term in terms)
    )


def _places(text: str, term: Term) -> list[tuple[int, int]]:
    words = [(one.group().lower(), one.span()) for one in _WORD.finditer(text)]
    wanted = _WORD.findall(term.text.lower())
    if not wanted:
        return []
    found: list[tuple[int, int]] = []
    if term.phrase:
        for start in range(len(words) - len(wanted) + 1):
            if [word for word, _ in words[start : start + len(wanted)]] == wanted:
                found += [place for _, place in words[start : start + len(wanted)]]
        return found
    for one in wanted:
        here = [place for word, place in words if word == one or (term.prefix and word.startswith(one))]
        if not here:
            return []
        found += here
    return found


def _rank(entry: Entry, terms: list[Term]) -> float:
    assert isinstance(entry.text, str)
    found = sum(len(_places(entry.text, term)) for term in terms if not term.negative)
    return found / (1 + len(_WORD.findall(entry.text)))


def _hit(entry: Entry, terms: list[Term]) -> Hit:
    assert isinstance(entry.text, str)
    text = entry.text
    found = snippets.union(place for term in terms if not term.negative for place in _places(text, term))
    snippet, places = snippets.cut(text, found)
    return Hit(entry.conversation, entry.seq, entry.author, entry.at_ms, snippet, places)
