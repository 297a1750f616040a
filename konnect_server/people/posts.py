"""Posts, comments and reactions, and the timeline (storage/posts.py)."""

from typing import Final

from msgspec import Struct

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol import frames
from storage import posts
from storage.posts import AnyChange, PostChange


async def _change(ground: Ground, asked: Asked, command: AnyChange) -> PostChange:
    unused_ms = ground.config.upload_unused_s * 1000
    return await posts.change(ground.database, asked.user, asked.new_id, command, unused_ms)


def _outcome(done: PostChange, result: Struct) -> Outcome:
    return Outcome(result, done.number, done.changed, jobs=done.jobs)


async def _create(ground: Ground, asked: Asked, command: frames.PostCreate) -> Outcome:
    done = await _change(ground, asked, command)
    assert done.made is not None
    return _outcome(done, frames.PostMade(done.made))


async def _comment(ground: Ground, asked: Asked, command: frames.CommentCreate) -> Outcome:
    done = await _change(ground, asked, command)
    assert done.made is not None
    return _outcome(done, frames.CommentMade(done.made))


async def _other(ground: Ground, asked: Asked, command: AnyChange) -> Outcome:
    return _outcome(await _change(ground, asked, command), frames.Done())


async def _get(ground: Ground, asked: Asked, command: frames.PostGet) -> Outcome:
    return Outcome(frames.OnePost(await posts.get(ground.database, asked.user, command.post)))


async def _list(ground: Ground, asked: Asked, command: frames.PostList) -> Outcome:
    page = await posts.listing(ground.database, asked.user, command.user, command.cursor, command.limit)
    return Outcome(page)


async def _tagged(ground: Ground, asked: Asked, command: frames.PostTagged) -> Outcome:
    return Outcome(await posts.tagged(ground.database, asked.user, command.tag, command.cursor, command.limit))


async def _timeline(ground: Ground, asked: Asked, command: frames.Timeline) -> Outcome:
    return Outcome(await posts.timeline(ground.database, asked.user, command.cursor, command.limit))


async def _reactions(ground: Ground, asked: Asked, command: frames.PostReactionList) -> Outcome:
    page = await posts.reactions(
        ground.database, asked.user, command.post, command.emoji, command.cursor, command.limit
    )
    return Outcome(page)


async def _comments(ground: Ground, asked: Asked, command: frames.CommentList) -> Outcome:
    return Outcome(await posts.comments(ground.database, asked.user, command.post, command.cursor, command.limit))


RULES: Final[Rules] = {
    frames.PostCreate: _create,
    frames.PostEdit: _other,
    frames.PostDelete: _other,
    frames.PostReact: _other,
    frames.CommentCreate: _comment,
    frames.CommentEdit: _other,
    frames.CommentDelete: _other,
    frames.PostGet: _get,
    frames.PostList: _list,
    frames.PostTagged: _tagged,
    frames.Timeline: _timeline,
    frames.PostReactionList: _reactions,
    frames.CommentList: _comments,
}
