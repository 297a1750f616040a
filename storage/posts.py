"""Posts, comments and reactions, and the timeline: tables of migrations/0023."""

import re
import unicodedata
from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from protocol.errors import (
    Invalid,
    KeyReused,
    NotReady,
    Refused,
    TooManyReactions,
    UnknownComment,
    UnknownMedium,
    UnknownPost,
    UnknownUser,
    WrongUse,
)
from protocol.frames import (
    Command,
    CommentCreate,
    CommentDelete,
    CommentEdit,
    Comments,
    OneComment,
    OnePostReaction,
    Post,
    PostCreate,
    PostDelete,
    PostEdit,
    PostReact,
    PostReactions,
    Posts,
)
from protocol.limits import COUNTED, HASHTAG_CHARS, HASHTAGS, REACTIONS, REACTIONS_OF_ONE, TAGGED_LOOK
from storage.database import Queries
from storage.page_cursor import COMMENTS, POSTS

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_TAG: Final = re.compile(r"(?<![\w#&/])#(\w+)")


def tag_of(text: str) -> str:
    """*text* as a hashtag is kept and found: without the sign, lower-case, composed (NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.removeprefix("#")).lower())


def tags_of(text: str) -> list[str]:
    """The hashtags of *text*, in its order, each once: letters of any script, digits and underscores after a ``#`` at
    the beginning of a word. One that is too long is none, and only so many count."""
    found = (tag_of(one) for one in _TAG.findall(unicodedata.normalize("NFC", text)))
    return list(dict.fromkeys(one for one in found if len(one) <= HASHTAG_CHARS))[:HASHTAGS]


class PostChange(Struct, frozen=True):
    """What came of a command about posts or comments."""

    number: int = 0  # of one's own rows
    new: bool = False  # by this very call
    made: UUID | None = None  # the post or comment that the command made, by this call or an earlier one
    changed: list[UUID] = []  # whose rows changed
    jobs: bool = False
    error: str | None = None
    missing: UUID | None = None


_change: Final = msgspec.json.Decoder(PostChange).decode
_FUNCTIONS: Final[dict[type[Command], LiteralString]] = {
    PostCreate: "select create_post(%s, %s, %s::json, %s::json)::text",
    PostEdit: "select edit_post(%s, %s, %s::json, %s::json)::text",
    PostDelete: "select delete_post(%s, %s, %s::json, %s::json)::text",
    PostReact: "select react_post(%s, %s, %s::json, %s::json)::text",
    CommentCreate: "select create_comment(%s, %s, %s::json, %s::json)::text",
    CommentEdit: "select edit_comment(%s, %s, %s::json, %s::json)::text",
    CommentDelete: "select delete_comment(%s, %s, %s::json, %s::json)::text",
}
AnyChange = PostCreate | PostEdit | PostDelete | PostReact | CommentCreate | CommentEdit | CommentDelete


async def change(db: Queries, person: UUID, new_id: UUID, command: AnyChange, unused_ms: int) -> PostChange:
    """Do what *command* says; a photo that nothing names any more is kept for *unused_ms*.

    Raises:
        UnknownPost, UnknownComment, UnknownMedium, NotReady, WrongUse, TooManyReactions, KeyReused, Invalid
    """
    text = command.text if isinstance(command, PostCreate | PostEdit) else None
    rules = {
        "tags": tags_of(text or ""), "unused_ms": unused_ms, "reactions": REACTIONS,
        "reactions_of_one": REACTIONS_OF_ONE,
    }  # fmt: skip
    row = await db.fetch_one(
        _FUNCTIONS[type(command)], person, new_id, _json(command).decode(), _json(rules).decode()
    )
    assert row is not None
    done = _change(row[0])
    if done.error is not None:
        raise _refusal(done.error, done.missing, command.key)
    return done


def _refusal(code: str, missing: UUID | None, key: str) -> Refused:
    match code:
        case "key_reused":
            return KeyReused(key)
        case "unknown_post":
            return UnknownPost("there is no such post")
        case "unknown_comment":
            return UnknownComment("there is no such comment")
        case "unknown_medium":
            assert missing is not None
            return UnknownMedium(missing)
        case "not_ready":
            return NotReady("the upload is not done yet")
        case "wrong_use":
            return WrongUse("a post shows uploads of kind photo")
        case "too_many_reactions":
            return TooManyReactions("the post has its most reactions")
        case "empty":
            return Invalid("a post has a text, or photos, or both - at `$.text`")
    raise AssertionError(f"the database answered {code!r}")


class _Page(Struct):
    error: str | None = None
    posts: list[Post] = []
    more: bool = False
    after: UUID | None = None


_page: Final = msgspec.json.Decoder(_Page).decode


def _posts(text: str) -> Posts:
    page = _page(text)
    last = page.after or (page.posts[-1].id if page.posts else None)
    return Posts(page.posts, POSTS.text_of((last,)) if page.more and last is not None else None)


class _Shown(Struct):
    post: Post | UnsetType = UNSET


_shown: Final = msgspec.json.Decoder(_Shown).decode
_GET: Final[LiteralString] = "select post_shown(%s, %s, %s)::text"


async def get(db: Queries, person: UUID, post: UUID) -> Post:
    """A post as *person* is shown it.

    Raises:
        UnknownPost
    """
    row = await db.fetch_one(_GET, person, post, COUNTED)
    assert row is not None
    found = _shown(row[0]).post
    if found is UNSET:
        raise UnknownPost("there is no such post")
    return found


_LIST: Final[LiteralString] = "select post_page(%s, %s, %s, %s, %s)::text"


async def listing(db: Queries, person: UUID, user: UUID, cursor: str | None, limit: int) -> Posts:
    """A page of *user*'s posts, the newest first.

    Raises:
        UnknownUser, BadCursor
    """
    (below,) = POSTS.place_of(cursor)
    row = await db.fetch_one(_LIST, person, user, below, limit, COUNTED)
    assert row is not None
    if _page(row[0]).error is not None:
        raise UnknownUser(user)
    return _posts(row[0])


_TIMELINE: Final[LiteralString] = "select timeline(%s, %s, %s, %s)::text"


async def timeline(db: Queries, person: UUID, cursor: str | None, limit: int) -> Posts:
    """A page of *person*'s own posts and of those whom the person follows, the newest first.

    Raises:
        BadCursor
    """
    (below,) = POSTS.place_of(cursor)
    row = await db.fetch_one(_TIMELINE, person, below, limit, COUNTED)
    assert row is not None
    return _posts(row[0])


_TAGGED: Final[LiteralString] = "select tagged_page(%s, %s, %s, %s, %s, %s)::text"


async def tagged(db: Queries, person: UUID, tag: str, cursor: str | None, limit: int) -> Posts:
    """A page of posts with hashtag *tag*, the newest first. A page may hold fewer than *limit*, and still have a next.

    Raises:
        BadCursor
    """
    (below,) = POSTS.place_of(cursor)
    row = await db.fetch_one(_TAGGED, person, tag_of(tag), below, limit, TAGGED_LOOK, COUNTED)
    assert row is not None
    return _posts(row[0])


class _ReactionRow(OnePostReaction, frozen=True):
    id: UUID


class _Reactions(Struct):
    error: str | None = None
    reactions: list[_ReactionRow] = []
    more: bool = False


_reactions: Final = msgspec.json.Decoder(_Reactions).decode
_REACTIONS: Final[LiteralString] = "select post_reaction_page(%s, %s, %s, %s, %s)::text"


async def reactions(
    db: Queries, person: UUID, post: UUID, emoji: str | None, cursor: str | None, limit: int
) -> PostReactions:
    """A page of who reacted to *post*, with *emoji* or at all, the newest first.

    Raises:
        UnknownPost, BadCursor
    """
    (below,) = POSTS.place_of(cursor)
    row = await db.fetch_one(_REACTIONS, person, post, emoji, below, limit)
    assert row is not None
    page = _reactions(row[0])
    if page.error is not None:
        raise UnknownPost("there is no such post")
    return PostReactions(
        [OnePostReaction(one.user, one.emoji, one.at_ms) for one in page.reactions],
        POSTS.text_of((page.reactions[-1].id,)) if page.more else None,
    )


class _Comments(Struct):
    error: str | None = None
    comments: list[OneComment] = []
    more: bool = False


_comments: Final = msgspec.json.Decoder(_Comments).decode
_COMMENTS: Final[LiteralString] = "select comment_page(%s, %s, %s, %s)::text"


async def comments(db: Queries, person: UUID, post: UUID, cursor: str | None, limit: int) -> Comments:
    """A page of the comments on *post*, the oldest first.

    Raises:
        UnknownPost, BadCursor
    """
    (above,) = COMMENTS.place_of(cursor)
    row = await db.fetch_one(_COMMENTS, person, post, above, limit)
    assert row is not None
    page = _comments(row[0])
    if page.error is not None:
        raise UnknownPost("there is no such post")
    return Comments(page.comments, COMMENTS.text_of((page.comments[-1].id,)) if page.more else None)
