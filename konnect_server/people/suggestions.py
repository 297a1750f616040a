"""Suggestions: who is shown, in which order, and the few who come by chance (docs/matching.md, "Suggestions")."""

import hashlib
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from konnect_server.people.shown import shown
from protocol.errors import Invalid
from protocol.frames import Done, MatchHistory, MatchPass, MatchSuggest, Reason, Suggestion, Suggestions
from storage import page_cursor, suggestions
from storage.feed import start_of
from storage.suggestions import Candidate, Pick, Suggested

EXPLORE: Final = 5  # every so-manieth on a page comes by chance
AGAIN: Final = 0.7  # what the score is multiplied with for each time that somebody was shown and not answered
CROWD: Final = 4.0  # so much is added to 1, and divides the score, of who was shown today as often as the house allows

_DAY_MS: Final = 86_400_000


async def _suggest(ground: Ground, asked: Asked, command: MatchSuggest) -> Outcome:
    now_ms = time.time_ns() // 1_000_000
    (since_ms,) = page_cursor.SUGGESTIONS.place_of(command.cursor)
    if command.cursor is None:
        since_ms = now_ms
    start = start_of(asked.user, now_ms)
    found = await suggestions.found(ground.database, asked.user, command.filter, since_ms, start)
    seed = f"{asked.user}:{now_ms // _DAY_MS}:{ground.config.suggest_seed}"
    picks = compose(found.found, command.limit, seed)
    people = await suggestions.shown(ground.database, asked.user, found.version, picks) if picks else []
    cursor = page_cursor.SUGGESTIONS.text_of((since_ms,)) if len(found.found) > len(picks) else None
    return Outcome(Suggestions([_suggestion(ground, one) for one in people], cursor))


def compose(found: Sequence[Candidate], limit: int, seed: str) -> list[Pick]:
    """A page of at most *limit* of *found*.

    The likeliest first, who was shown in vain before later than else, and who was shown to many today later, too: of
    two who are about as likely the one comes whom fewer have seen. Each fifth place is drawn, those whom few were shown
    before others. The draw goes by *seed* alone, so that it can be repeated. Who was shown as often today as the house
    allows comes only when nobody else is left.
    """
    ranked = sorted(found, key=lambda one: (one.crowd >= 1, -_worth(one), one.other))
    drawn = sorted(found, key=lambda one: (one.crowd >= 1, not one.new, one.times, _draw(seed, one)))
    page: list[Pick] = []
    taken = set()
    for place in range(1, min(limit, len(found)) + 1):
        by_chance = place % EXPLORE == 0
        one = next(one for one in (drawn if by_chance else ranked) if one.other not in taken)
        taken.add(one.other)
        page.append(Pick(one.other, one.score, by_chance))
    return page


def _worth(one: Candidate) -> float:
    return one.score * AGAIN**one.times / (1 + CROWD * one.crowd)


def _draw(seed: str, one: Candidate) -> bytes:
    return hashlib.sha256(f"{seed}:{one.other}".encode()).digest()


def _suggestion(ground: Ground, one: Suggested) -> Suggestion:
    person = one.person
    return Suggestion(
        shown(ground, person["profile"]), person.get("common", []), person.get("online", False),
        score=round(one.score, 4), why=msgspec.convert(one.why, list[Reason]), explored=one.explored,
    )  # fmt: skip


async def _pass(ground: Ground, asked: Asked, command: MatchPass) -> Outcome:
    if command.user == asked.user:
        raise Invalid("one cannot pass oneself over - at `$.user`")
    return Outcome(Done(), await suggestions.pass_over(ground.database, asked.user, command))


async def _history(ground: Ground, asked: Asked, command: MatchHistory) -> Outcome:
    return Outcome(await suggestions.history(ground.database, asked.user, command))


RULES: Final[Rules] = {MatchSuggest: _suggest, MatchPass: _pass, MatchHistory: _history}
