"""Full text search over one's own conversations."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Cursor, Seq

SearchKind = Literal["text", "link", "photo", "voice", "video", "file", "location", "contact"]
SearchLanguage = Literal[
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "estonian", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip


class Search(Command, frozen=True, tag="search"):
    """Find messages in one's conversations: all that `history` would show, and nothing else. Answered with
    :class:`Found`.

    A query is words, all of which a message must have: `dinner`; phrases: `"good morning"`; words or phrases that it
    must not have: `-rain`; beginnings of words: `umb*`. The last word counts as a beginning, too, while no space
    follows it. Upper and lower case are the same. Words are found by their stems as well, in the languages that the
    server is set to (`search_languages`): `meeting` finds `meetings`. A message is found about a second after it was
    stored, by the text that it has now."""

    query: Annotated[
        str,
        Meta(max_length=limits.SEARCH_CHARS, pattern=NO_NUL, description="May be left out beside other conditions."),
    ] = ""
    conversation: Annotated[UUID | None, Meta(description="Only there; null: in all of one's conversations.")] = None
    author: Annotated[UUID | None, Meta(description="Only messages of this person.")] = None
    kind: Annotated[SearchKind | None, Meta(description="Only messages with such content.")] = None
    from_ms: Annotated[
        Annotated[AtMs, Meta(ge=0, le=limits.SEQ_MAX)] | None, Meta(description="Only what was stored then or later.")
    ] = None
    to_ms: Annotated[
        Annotated[AtMs, Meta(ge=0, le=limits.SEQ_MAX)] | None, Meta(description="Only what was stored before then.")
    ] = None
    order: Annotated[
        Literal["newest", "rank"],
        Meta(description="The newest first; or, of the newest 100 that match, those that match best first."),
    ] = "newest"
    language: Annotated[
        SearchLanguage | None,
        Meta(
            description="By whose stems to seek; null: by those of all that the server is set to. One that it is not "
            "set to: words are sought as they are written."
        ),
    ] = None
    cursor: Annotated[
        Cursor | None, Meta(description="Of the page before, of the same search; null for the first.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=limits.SEARCH_HITS, description="At most so many hits on the page.")] = 20


class Hit(Struct, frozen=True, omit_defaults=True):
    """A message that was found. To see it where it stands: `history` with `around` its seq."""

    conversation: Annotated[UUID, Meta(description="Where it was said.")]
    seq: Annotated[Seq, Meta(description="The message's number in the log.")]
    author: Annotated[UUID, Meta(description="Who said it.")]
    at_ms: Annotated[AtMs, Meta(description="When it was stored: Unix milliseconds (UTC), by the database's clock.")]
    snippet: Annotated[
        str,
        Meta(
            description="A piece of its text around the first place that matches, of about 160 code points; `…` stands "
            "where something is left out. Plain text: nothing in it is markup."
        ),
    ]
    highlights: Annotated[
        list[Annotated[list[int], Meta(min_length=2, max_length=2)]],
        Meta(description="The places in the snippet that match: [offset, length], in code points; at most 32."),
    ] = []


class Found(Struct, frozen=True, omit_defaults=True):
    """A page of what was found."""

    hits: Annotated[list[Hit], Meta(description="In the order that was asked for.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
