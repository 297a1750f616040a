"""Posts, with photos, reactions, comments and hashtags; and the timeline."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Cursor, Emoji, Key

PostAudience = Literal["everyone", "followers", "contacts"]
_Post = Annotated[UUID, Meta(description="The post's id.")]
_Text = Annotated[
    str,
    Meta(
        max_length=limits.POST_CHARS,
        pattern=NO_NUL,
        description="What it says; empty only beside photos. A `#` before letters, digits and underscores makes a "
        "hashtag.",
    ),
]
_Comment = Annotated[
    str,
    Meta(min_length=1, max_length=limits.COMMENT_CHARS, pattern=NO_NUL, description="What it says."),
]
_Photos = Annotated[
    list[UUID],
    Meta(max_length=limits.POST_PHOTOS, description="Uploads of one's own, of kind `photo`, in their order."),
]
_Page = Annotated[int, Meta(ge=1, le=limits.POSTS_PAGE, description="At most so many on the page.")]
_Cursor = Annotated[Cursor | None, Meta(description="Of the page before; null for the first.")]


def _no_photo_twice(photos: list[UUID]) -> None:
    if len(set(photos)) < len(photos):
        raise ValueError("the same photo twice - at `$.photos`")


class PostCreate(Command, frozen=True, tag="post.create"):
    """Write a post. Who sees it is decided whenever somebody asks: followers and contacts are those of that moment, a
    match counts as a contact, and nobody sees it who may not see its author. Answered with :class:`PostMade`."""

    key: Key
    audience: Annotated[PostAudience, Meta(description="Who sees it.")]
    text: _Text = ""
    photos: _Photos = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        _no_photo_twice(self.photos)


class PostEdit(Command, frozen=True, tag="post.edit"):
    """Change one's own post. What is null stays as it is. Answered with :class:`Done`."""

    key: Key
    post: _Post
    text: Annotated[_Text | None, Meta(description="What it says from now on.")] = None
    photos: Annotated[_Photos | None, Meta(description="What it shows from now on.")] = None
    audience: Annotated[PostAudience | None, Meta(description="Who sees it from now on.")] = None

    def __post_init__(self) -> None:
        _no_photo_twice(self.photos or [])


class PostDelete(Command, frozen=True, tag="post.delete"):
    """Delete one's own post, with its comments and reactions, for everybody. Answered with :class:`Done`."""

    key: Key
    post: _Post


class PostGet(Command, frozen=True, tag="post.get"):
    """One post. Answered with :class:`OnePost`."""

    post: _Post


class PostList(Command, frozen=True, tag="post.list"):
    """The posts of one person that one may see, newest first, page by page. Answered with :class:`Posts`."""

    user: Annotated[UUID, Meta(description="Whose.")]
    cursor: _Cursor = None
    limit: _Page = 20


class PostTagged(Command, frozen=True, tag="post.tagged"):
    """The posts with a hashtag that one may see, newest first, page by page. A page may hold fewer than asked for and
    still have a next one. Answered with :class:`Posts`."""

    tag: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.HASHTAG_CHARS,
            pattern=NO_NUL,
            description="The hashtag, with or without its `#`, in any case.",
        ),
    ]
    cursor: _Cursor = None
    limit: _Page = 20


class Timeline(Command, frozen=True, tag="timeline"):
    """One's own posts and those of whom one follows, newest first, page by page. Answered with :class:`Posts`."""

    cursor: _Cursor = None
    limit: _Page = 20


class PostReact(Command, frozen=True, tag="post.react"):
    """React to a post with an emoji, or take that back. The first time, its author gets a notification of kind
    `post_reaction`. Answered with :class:`Done`."""

    key: Key
    post: _Post
    emoji: Emoji
    on: Annotated[bool, Meta(description="Whether one reacts so from now on.")] = True


class PostReactionList(Command, frozen=True, tag="post.reactions"):
    """Who reacted to a post, newest first, page by page, as far as one may see them. Answered with
    :class:`PostReactions`."""

    post: _Post
    emoji: Annotated[Emoji | None, Meta(description="With this only; null: with any.")] = None
    cursor: _Cursor = None
    limit: Annotated[int, Meta(ge=1, le=limits.REACTIONS_PAGE, description="At most so many on the page.")] = 50


class CommentCreate(Command, frozen=True, tag="comment.create"):
    """Comment on a post. Its author gets a notification of kind `comment`. Answered with :class:`CommentMade`."""

    key: Key
    post: _Post
    text: _Comment


class CommentEdit(Command, frozen=True, tag="comment.edit"):
    """Change one's own comment. Answered with :class:`Done`."""

    key: Key
    comment: Annotated[UUID, Meta(description="Which one.")]
    text: _Comment


class CommentDelete(Command, frozen=True, tag="comment.delete"):
    """Delete one's own comment, or any on one's own post. Answered with :class:`Done`."""

    key: Key
    comment: Annotated[UUID, Meta(description="Which one.")]


class CommentList(Command, frozen=True, tag="comment.list"):
    """The comments on a post, oldest first, page by page, as far as one may see who wrote them. Answered with
    :class:`Comments`."""

    post: _Post
    cursor: _Cursor = None
    limit: Annotated[int, Meta(ge=1, le=limits.COMMENTS_PAGE, description="At most so many on the page.")] = 50


class PostReaction(Struct, frozen=True):
    """With what people reacted to a post."""

    emoji: Annotated[str, Meta(description="With what.")]
    count: Annotated[int, Meta(description="How many of those whom one may see.")]
    mine: Annotated[bool, Meta(description="Whether one did so oneself.")]


class Post(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A post, as one is shown it."""

    id: Annotated[UUID, Meta(description="Its id: later ones have higher ones.")]
    author: Annotated[UUID, Meta(description="Who wrote it.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    audience: Annotated[PostAudience, Meta(description="Who sees it.")]
    text: Annotated[str, Meta(description="What it says.")] = ""
    photos: Annotated[list[UUID], Meta(description="Its photos, in their order: GET /v1/media/{id}.")] = []
    edited_at_ms: Annotated[AtMs, Meta(description="When it was changed last; absent: never.")] | UnsetType = UNSET
    comments: Annotated[
        int, Meta(description=f"Comments of those whom one may see; counted among the first {limits.COUNTED:,}.")
    ] = 0
    reactions: Annotated[
        list[PostReaction],
        Meta(description=f"The most frequent first; counted among the newest {limits.COUNTED:,}."),
    ] = []


class PostMade(Struct, frozen=True):
    """The post that a command made."""

    post: Annotated[UUID, Meta(description="Its id.")]


class OnePost(Struct, frozen=True):
    """A post that was asked for."""

    post: Annotated[Post, Meta(description="As one is shown it.")]


class Posts(Struct, frozen=True, omit_defaults=True):
    """One page of posts."""

    posts: Annotated[list[Post], Meta(description="Newest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class OnePostReaction(Struct, frozen=True):
    """Somebody's reaction to a post."""

    user: Annotated[UUID, Meta(description="Whose.")]
    emoji: Annotated[str, Meta(description="With what.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]


class PostReactions(Struct, frozen=True, omit_defaults=True):
    """One page of who reacted to a post."""

    reactions: Annotated[list[OnePostReaction], Meta(description="Newest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None


class CommentMade(Struct, frozen=True):
    """The comment that a command made."""

    comment: Annotated[UUID, Meta(description="Its id.")]


class OneComment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A comment on a post."""

    id: Annotated[UUID, Meta(description="Its id: later ones have higher ones.")]
    author: Annotated[UUID, Meta(description="Who wrote it.")]
    text: Annotated[str, Meta(description="What it says.")]
    at_ms: Annotated[AtMs, Meta(description="When: Unix milliseconds (UTC), by the database's clock.")]
    edited_at_ms: Annotated[AtMs, Meta(description="When it was changed last; absent: never.")] | UnsetType = UNSET


class Comments(Struct, frozen=True, omit_defaults=True):
    """One page of comments."""

    comments: Annotated[list[OneComment], Meta(description="Oldest first.")]
    cursor: Annotated[str | None, Meta(description="Asks for the next page; absent on the last.")] = None
