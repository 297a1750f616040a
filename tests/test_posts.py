"""Posts, comments and reactions, as the database keeps them: who sees what, races, pages, what is left of them."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
import trio

from konnect_server.ids import uuid7
from protocol import frames
from protocol.errors import Invalid, KeyReused, NotReady, UnknownComment, UnknownMedium, UnknownPost, WrongUse
from storage import posts, uploads
from storage.database import Database, Queries
from storage.posts import AnyChange, PostChange, tag_of, tags_of
from tests.people_kit import in_order, outcome
from tests.test_contacts import answer, ask, block, do as relate, follow, remove, rows, unfollow
from tests.test_uploads import person, ready

UNUSED_MS = 3_600_000


async def do(db: Queries, who: UUID, command: AnyChange) -> PostChange:
    return await posts.change(db, who, uuid7(), command, UNUSED_MS)


async def write(
    db: Queries, who: UUID, text: str = "hi", audience: Any = "everyone", photos: tuple[UUID, ...] = (), key: str = ""
) -> UUID:
    made = await do(db, who, frames.PostCreate(
        id=1, key=key or str(uuid7()), audience=audience, text=text, photos=list(photos),
    ))  # fmt: skip
    assert made.made is not None
    return made.made


async def comment(db: Queries, who: UUID, post: UUID, text: str = "!", key: str = "") -> UUID:
    made = await do(db, who, frames.CommentCreate(id=1, key=key or str(uuid7()), post=post, text=text))
    assert made.made is not None
    return made.made


async def react(db: Queries, who: UUID, post: UUID, emoji: str = "👍", on: bool = True) -> PostChange:
    return await do(db, who, frames.PostReact(id=1, key=str(uuid7()), post=post, emoji=emoji, on=on))


async def delete(db: Queries, who: UUID, post: UUID) -> PostChange:
    return await do(db, who, frames.PostDelete(id=1, key=str(uuid7()), post=post))


async def befriend(db: Database, one: UUID, other: UUID) -> None:
    await relate(db, one, ask(other, str(uuid7())))
    await relate(db, other, answer(one, key=str(uuid7())))


async def ways_in(db: Database, who: UUID, author: UUID, post: UUID, photo: UUID, tag: str) -> dict[str, bool]:
    """Every way to learn of a post, and whether it tells *who* anything of it."""
    by_list = await outcome(posts.listing(db, who, author, None, 50))
    tries: dict[str, Callable[[], Awaitable[Any]]] = {
        "get": lambda: posts.get(db, who, post),
        "reactions": lambda: posts.reactions(db, who, post, None, None, 50),
        "comments": lambda: posts.comments(db, who, post, None, 50),
        "react": lambda: react(db, who, post),
        "take back": lambda: react(db, who, post, on=False),
        "comment": lambda: comment(db, who, post),
    }
    seen = {name: await outcome(act()) != "unknown_post" for name, act in tries.items()}
    return {
        **seen,
        "list": not isinstance(by_list, str) and post in [one.id for one in by_list.posts],
        "tag": post in [one.id for one in (await posts.tagged(db, who, tag, None, 50)).posts],
        "photo": await uploads.visible_upload(db, photo, who) is not None,
        "evidence": "error" not in str(await db.fetch_one(
            "select post_evidence(%s, json_build_object('post', %s::uuid))::text", who, post)),
    }  # fmt: skip


async def test_who_sees_a_post_is_decided_when_it_is_read(database: Database) -> None:
    """A follower, a contact, a stranger; one who stopped or was removed, and one who is blocked: every way there is."""
    db = database
    ann, fan, pal, eve = [await person(db) for _ in range(4)]
    await relate(db, fan, follow(ann))
    await befriend(db, pal, ann)
    made: dict[str, tuple[UUID, UUID]] = {}
    for audience in ("everyone", "followers", "contacts"):
        photo = await ready(db, ann)
        made[audience] = await write(db, ann, f"#{audience}", audience, (photo,)), photo

    async def check(who: UUID, *audiences: str) -> None:
        for audience, (post, photo) in made.items():
            ways = await ways_in(db, who, ann, post, photo, audience)
            assert set(ways.values()) == {audience in audiences}, (audience, ways)

    await check(ann, "everyone", "followers", "contacts")
    await check(fan, "everyone", "followers")
    await check(pal, "everyone", "contacts")
    await check(eve, "everyone")
    await relate(db, fan, unfollow(ann))
    await relate(db, ann, remove(pal))
    await check(fan, "everyone")
    await check(pal, "everyone")
    await block(db, ann, eve)
    await block(db, fan, ann)
    await check(eve)
    await check(fan)
    await db.execute("update account set standing = 'suspended' where id = %s", ann)
    await check(pal)


async def test_the_timeline_has_those_followed_as_far_as_one_sees_them(database: Database) -> None:
    db = database
    ann, bob, cid, eve = [await person(db) for _ in range(4)]
    await relate(db, ann, follow(bob))
    await relate(db, ann, follow(cid, "of Cid"))
    await befriend(db, ann, cid)
    own = await write(db, ann, audience="contacts")
    shown = [
        await write(db, bob, audience="followers"), await write(db, cid, audience="contacts"),
        await write(db, bob, audience="everyone"),
    ]  # fmt: skip
    await write(db, bob, audience="contacts")
    await write(db, eve)

    async def timeline() -> list[UUID]:
        return [one.id for one in (await posts.timeline(db, ann, None, 50)).posts]

    assert await timeline() == sorted([*shown, own], reverse=True)
    await relate(db, ann, remove(cid))
    assert await timeline() == sorted([shown[2], shown[0], own], reverse=True)
    await block(db, bob, ann)
    assert await timeline() == [own]


async def test_pages_hold_each_post_once_while_others_post(database: Database) -> None:
    db = database
    ann, bob, cid = [await person(db) for _ in range(3)]
    await relate(db, ann, follow(bob))
    await relate(db, ann, follow(cid, "of Cid"))
    old = [await write(db, (bob, cid, ann)[number % 3], "#x") for number in range(10)]

    async def of_tag(cursor: str | None) -> frames.Posts:
        return await posts.tagged(db, ann, "x", cursor, 3)

    async def of_all(cursor: str | None) -> frames.Posts:
        return await posts.timeline(db, ann, cursor, 3)

    for ask_page in (of_all, of_tag):
        found: list[UUID] = []
        cursor: str | None = None
        while True:
            page = await ask_page(cursor)
            found += [one.id for one in page.posts]
            if (cursor := page.cursor) is None:
                break
            await write(db, bob, "#x #late")
        assert found[-10:] == sorted(old, reverse=True)
        assert len(set(found)) == len(found)
    listed = await posts.listing(db, ann, bob, None, 2)
    assert [one.text for one in listed.posts] == ["#x #late"] * 2
    assert listed.cursor is not None


async def test_a_page_of_a_hashtag_looks_at_so_many_and_the_next_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = database
    ann, eve = await person(db), await person(db)
    seen = await write(db, ann, "#x")
    for _ in range(5):
        await write(db, ann, "#x", "contacts")
    monkeypatch.setattr(posts, "TAGGED_LOOK", 2)
    found: list[UUID] = []
    cursor: str | None = None
    for _ in range(4):
        page = await posts.tagged(db, eve, "X", cursor, 5)
        found += [one.id for one in page.posts]
        cursor = page.cursor
    assert (found, cursor) == ([seen], None)


async def test_people_whom_one_may_not_see_are_in_no_list_and_no_count(database: Database) -> None:
    """Of a post that both may see."""
    db = database
    ann, bob, eve = [await person(db) for _ in range(3)]
    post = await write(db, ann)
    for who in (bob, eve):
        await comment(db, who, post)
        await react(db, who, post)
    await block(db, eve, bob)
    for who, count in ((bob, 1), (eve, 1), (ann, 2)):
        shown = await posts.get(db, who, post)
        assert (shown.comments, shown.reactions[0].count) == (count, count)
        assert len((await posts.comments(db, who, post, None, 50)).comments) == count
        assert len((await posts.reactions(db, who, post, None, None, 50)).reactions) == count
    hers = (await posts.comments(db, eve, post, None, 50)).comments[0].id
    for command in (
        frames.CommentDelete(id=1, key="d", comment=hers), frames.CommentEdit(id=1, key="e", comment=hers, text="x")
    ):  # fmt: skip
        with pytest.raises(UnknownComment):
            await do(db, bob, command)


async def test_a_deleted_post_leaves_nothing(database: Database) -> None:
    """Its photos are orphans, its comments, reactions, hashtags and notifications are gone."""
    db = database
    ann, bob = await person(db), await person(db)
    photo = await ready(db, ann)
    post = await write(db, ann, "#x", photos=(photo,))
    await react(db, bob, post)
    await comment(db, bob, post)
    assert sorted(kind for _, kind in await rows(db, ann)) == ["comment", "post_reaction"]
    used = await uploads.upload_of(db, photo, ann)
    assert used is not None
    assert used.used
    await delete(db, ann, post)
    assert await rows(db, ann) == []
    for table in ("post", "post_tag", "post_reaction", "post_reaction_told", "comment", "upload_use"):
        assert await db.fetch_all(f"select 1 from {table}") == [], table
    left = await uploads.upload_of(db, photo, ann)
    assert left is not None
    assert not left.used
    assert await uploads.visible_upload(db, photo, bob) is None
    with pytest.raises(UnknownPost):
        await posts.get(db, bob, post)


async def test_photos_are_ones_own_ready_and_used_as_long_as_a_post_names_them(database: Database) -> None:
    db = database
    ann, bob = await person(db), await person(db)
    photo, other = await ready(db, ann), await ready(db, ann)
    with pytest.raises(UnknownMedium):
        await write(db, bob, photos=(photo,))
    with pytest.raises(WrongUse):
        await write(db, ann, photos=(await ready(db, ann, "profile_photo"),))
    with pytest.raises(WrongUse):
        await write(db, ann, photos=(await ready(db, ann, "file"),))
    with pytest.raises(NotReady):
        new = uploads.NewUpload(uuid7(), ann, "photo", 10, "image/png", bytes(32), "", 0, UNUSED_MS)
        await uploads.insert_upload(db, new, 1 << 30)
        await write(db, ann, photos=(new.id,))
    assert await db.fetch_all("select 1 from post") == []
    first, second = await write(db, ann, "", photos=(other, photo)), await write(db, ann, photos=(photo,))
    assert (await posts.get(db, bob, first)).photos == [other, photo]
    await do(db, ann, frames.PostEdit(id=1, key="e", post=first, photos=[other]))
    assert await uploads.visible_upload(db, photo, bob) is not None, "the second names it"
    await delete(db, ann, second)
    assert await uploads.visible_upload(db, photo, bob) is None
    with pytest.raises(Invalid):
        await do(db, ann, frames.PostEdit(id=1, key="f", post=first, photos=[]))


async def test_of_a_deletion_and_a_comment_at_once_nothing_is_left(database: Database) -> None:
    """In both orders; a reaction alike."""
    db = database
    ann, bob = await person(db), await person(db)
    for late in (True, False):
        for act in (comment, react):
            post = await write(db, ann)

            async def add(on: Queries, act: Any = act, post: UUID = post) -> Any:
                return await act(on, bob, post)

            async def end(on: Queries, post: UUID = post) -> Any:
                return await delete(on, ann, post)

            first, second = await in_order(db, *((end, add) if late else (add, end)))
            assert (second == "unknown_post") is late
            assert first != "unknown_post"
            assert await db.fetch_all("select 1 from comment union all select 1 from post_reaction") == []
            assert await rows(db, ann) == []


async def test_to_react_twice_at_once_is_once_and_tells_once(database: Database) -> None:
    db = database
    ann, bob = await person(db), await person(db)
    post = await write(db, ann)
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(react, db, bob, post)
    [reaction] = (await posts.get(db, bob, post)).reactions
    assert (reaction.emoji, reaction.count, reaction.mine) == ("👍", 1, True)
    await react(db, bob, post, on=False)
    await react(db, bob, post, "🎉")
    assert await rows(db, ann) == [("notification", "post_reaction")]
    await react(db, ann, post)
    assert await rows(db, ann) == [("notification", "post_reaction")], "not of oneself"
    for emoji in "abcd":
        await react(db, bob, post, emoji)
    assert await outcome(react(db, bob, post, "e")) == "too_many_reactions"
    page = await posts.reactions(db, ann, post, None, None, 4)
    rest = await posts.reactions(db, ann, post, None, page.cursor, 4)
    assert sorted(one.emoji for one in (*page.reactions, *rest.reactions)) == ["a", "b", "c", "d", "🎉", "👍"]
    assert (len(page.reactions), rest.cursor) == (4, None)
    assert [one.user for one in (await posts.reactions(db, ann, post, "👍", None, 4)).reactions] == [ann]


async def test_whose_post_it_is_may_delete_any_comment_and_others_their_own(database: Database) -> None:
    db = database
    ann, bob, cid = [await person(db) for _ in range(3)]
    post = await write(db, ann)
    one, two = await comment(db, bob, post, "one"), await comment(db, bob, post, "two")
    assert len(await rows(db, ann)) == 2
    with pytest.raises(UnknownComment):
        await do(db, cid, frames.CommentDelete(id=1, key="c", comment=one))
    with pytest.raises(UnknownComment):
        await do(db, ann, frames.CommentEdit(id=1, key="c", comment=one, text="mine"))
    await do(db, bob, frames.CommentEdit(id=1, key="c", comment=two, text="2"))
    await do(db, ann, frames.CommentDelete(id=1, key="d", comment=one))
    assert [one.text for one in (await posts.comments(db, cid, post, None, 50)).comments] == ["2"]
    await do(db, bob, frames.CommentDelete(id=1, key="d", comment=two))
    assert await rows(db, ann) == []


async def test_comments_come_page_by_page_while_more_are_written(database: Database) -> None:
    db = database
    ann = await person(db)
    post = await write(db, ann)
    made = [await comment(db, ann, post) for _ in range(5)]
    page = await posts.comments(db, ann, post, None, 3)
    made.append(await comment(db, ann, post))
    rest = await posts.comments(db, ann, post, page.cursor, 3)
    assert [one.id for one in (*page.comments, *rest.comments)] == sorted(made)
    assert rest.cursor is None


async def test_a_repeat_gets_the_first_id_whatever_became_of_it(database: Database) -> None:
    """From two processes at once, too."""
    db = database
    ann = await person(db)
    found: list[UUID] = []

    async def once() -> None:
        found.append(await write(db, ann, key="k"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(once)
    assert len(set(found)) == 1
    one = await comment(db, ann, found[0], key="c")
    assert await comment(db, ann, found[0], key="c") == one
    await delete(db, ann, found[0])
    assert await write(db, ann, key="k") == found[0]
    assert await comment(db, ann, found[0], key="c") == one
    assert await db.fetch_all("select 1 from post") == []
    with pytest.raises(KeyReused):
        await write(db, ann, "other", key="k")


async def test_an_edit_changes_what_it_names(database: Database) -> None:
    db = database
    ann, bob = await person(db), await person(db)
    post = await write(db, ann, "#old")
    await do(db, ann, frames.PostEdit(id=1, key="a", post=post, text="#new"))
    assert [(await posts.tagged(db, bob, tag, None, 5)).posts != [] for tag in ("old", "new")] == [False, True]
    await do(db, ann, frames.PostEdit(id=1, key="b", post=post, audience="contacts"))
    assert await outcome(posts.get(db, bob, post)) == "unknown_post"
    shown = await posts.get(db, ann, post)
    assert (shown.text, shown.audience) == ("#new", "contacts")
    with pytest.raises(UnknownPost):
        await do(db, bob, frames.PostEdit(id=1, key="a", post=post, text="his"))
    with pytest.raises(UnknownPost):
        await delete(db, bob, post)


def test_hashtags_are_taken_out_of_a_text() -> None:
    """Of any script, in lower case, composed, each once; not inside a word, an address or an entity."""
    assert tags_of("#Hi #hi, #Größe! #日本語 (#a_1)") == ["hi", "größe", "日本語", "a_1"]
    assert tags_of("a#b https://x/#c ##d &#39; # e") == []
    assert tags_of("#Cafe\u0301") == ["café"] == [tag_of("#CAFÉ")]
    assert tags_of("#" + "x" * 65) == []
    assert len(tags_of(" ".join(f"#t{number}" for number in range(99)))) == 30


async def test_whoever_is_erased_leaves_no_post_comment_or_reaction(database: Database) -> None:
    db = database
    ann, bob = await person(db), await person(db)
    photo = await ready(db, ann)
    own = await write(db, ann, "mine", photos=(photo,))
    his = await write(db, bob, "his")
    await comment(db, bob, own)
    await comment(db, ann, his, "hers")
    await react(db, ann, his, "🎉")
    row = await db.fetch_one("select export_posts(%s)::text", ann)
    assert row is not None
    for one in (str(own), str(photo), "hers", "🎉"):
        assert one in row[0]
    assert len(await rows(db, bob)) == 2
    await db.execute("select erase_posts(%s)", ann)
    assert await rows(db, bob) == await rows(db, ann) == []
    assert await db.fetch_all("select id from post") == [(his,)]
    assert await db.fetch_all("select 1 from made where person = %s", ann) == []
    for table in ("post_tag", "post_reaction", "post_reaction_told", "comment", "upload_use"):
        assert await db.fetch_all(f"select 1 from {table}") == [], table
