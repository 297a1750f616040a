"""Posts, reactions to them and comments, as the server tells of them."""

from dataclasses import dataclass

from konnect_client.parts import Frame, take, take_each, take_ids, take_maybe, take_or


@dataclass(frozen=True, slots=True)
class PostReaction:
    """With what people reacted to a post."""

    emoji: str
    count: int
    mine: bool

    @classmethod
    def parse(cls, frame: Frame) -> "PostReaction":
        return cls(take(frame, "emoji", str), take(frame, "count", int), take(frame, "mine", bool))


@dataclass(frozen=True, slots=True)
class Post:
    """A post, as one is shown it."""

    id: str  # later ones have higher ones
    author: str
    at_ms: int
    audience: str  # "everyone", "followers" or "contacts"
    text: str = ""
    photos: tuple[str, ...] = ()  # media, in their order
    edited_at_ms: int | None = None
    comments: int = 0
    reactions: tuple[PostReaction, ...] = ()

    @classmethod
    def parse(cls, frame: Frame) -> "Post":
        return cls(
            id=take(frame, "id", str), author=take(frame, "author", str), at_ms=take(frame, "at_ms", int),
            audience=take(frame, "audience", str), text=take_or(frame, "text", str, ""),
            photos=take_ids(frame, "photos") if "photos" in frame else (),
            edited_at_ms=take_maybe(frame, "edited_at_ms", int), comments=take_or(frame, "comments", int, 0),
            reactions=take_each(frame, "reactions", PostReaction.parse) if "reactions" in frame else (),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PostPage:
    """A part of the posts asked for, newest first; the next part comes by ``cursor``, unless it is None."""

    posts: tuple[Post, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "PostPage":
        return cls(take_each(frame, "posts", Post.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class OnePostReaction:
    """Somebody's reaction to a post."""

    user: str
    emoji: str
    at_ms: int

    @classmethod
    def parse(cls, frame: Frame) -> "OnePostReaction":
        return cls(take(frame, "user", str), take(frame, "emoji", str), take(frame, "at_ms", int))


@dataclass(frozen=True, slots=True)
class PostReactionPage:
    """A part of who reacted to a post, newest first; the next part comes by ``cursor``, unless it is None."""

    reactions: tuple[OnePostReaction, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "PostReactionPage":
        return cls(take_each(frame, "reactions", OnePostReaction.parse), take_maybe(frame, "cursor", str))


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a post."""

    id: str  # later ones have higher ones
    author: str
    text: str
    at_ms: int
    edited_at_ms: int | None = None

    @classmethod
    def parse(cls, frame: Frame) -> "Comment":
        return cls(
            take(frame, "id", str), take(frame, "author", str), take(frame, "text", str), take(frame, "at_ms", int),
            take_maybe(frame, "edited_at_ms", int),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommentPage:
    """A part of the comments on a post, oldest first; the next part comes by ``cursor``, unless it is None."""

    comments: tuple[Comment, ...]
    cursor: str | None

    @classmethod
    def parse(cls, frame: Frame) -> "CommentPage":
        return cls(take_each(frame, "comments", Comment.parse), take_maybe(frame, "cursor", str))
