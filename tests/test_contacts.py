"""Contacts, requests and follows, as the database keeps them: limits, races, what is left of them."""

from functools import partial
from uuid import UUID

import pytest
import trio

from konnect_server.ids import uuid7
from protocol import frames
from protocol.errors import KeyReused, RateLimited, TooManyOfOnesOwn, TooManyRequests, UnknownRequest, UnknownUser
from storage import contacts
from storage.contacts import AnyChange, ContactChange, ContactRules
from storage.database import Database, Queries
from tests.people_kit import in_order, outcome
from tests.test_uploads import person

RULES = ContactRules(requests_a_day=50, requests_waiting=500)


async def do(db: Queries, who: UUID, command: AnyChange, rules: ContactRules = RULES) -> ContactChange:
    return await contacts.change(db, who, uuid7(), command, rules)


def ask(whom: UUID, key: str = "ask", note: str = "") -> frames.ContactRequest:
    return frames.ContactRequest(id=1, key=key, user=whom, note=note)


def answer(whom: UUID, accept: bool = True, key: str = "answer") -> frames.ContactAnswer:
    return frames.ContactAnswer(id=1, key=key, user=whom, accept=accept)


def withdraw(whom: UUID, key: str = "withdraw") -> frames.ContactWithdraw:
    return frames.ContactWithdraw(id=1, key=key, user=whom)


def remove(whom: UUID, key: str = "remove") -> frames.ContactRemove:
    return frames.ContactRemove(id=1, key=key, user=whom)


def follow(whom: UUID, key: str = "follow") -> frames.Follow:
    return frames.Follow(id=1, key=key, user=whom)


def unfollow(whom: UUID, key: str = "unfollow") -> frames.Unfollow:
    return frames.Unfollow(id=1, key=key, user=whom)


async def pairs(db: Database) -> set[tuple[UUID, UUID]]:
    return {(one, other) for one, other in await db.fetch_all("select person, other from contact")}


async def rows(db: Database, who: UUID) -> list[tuple[str, str]]:
    """What the person's devices show: kind and subject, and of notifications their kind."""
    found = await db.fetch_all(
        "select what, subject, value ->> 'kind' from personal where person = %s and value is not null order by 1, 2",
        who,
    )
    return [(what, kind or subject) for what, subject, kind in found]


async def waiting(db: Database, who: UUID, sent: bool) -> list[UUID]:
    return [one.user for one in (await contacts.requests(db, who, sent, None, 50)).requests]


async def block(db: Database, who: UUID, whom: UUID) -> None:
    """What a block does, as far as contacts go."""
    async with db.transaction() as tx:
        await tx.execute("select from account where id in (%s, %s) order by id for no key update", who, whom)
        await tx.execute("insert into block (person, blocked) values (%s, %s)", who, whom)
        await tx.execute("select part_ways(%s, %s)", who, whom)


async def test_two_who_ask_each_other_at_once_are_contacts_exactly_once(database: Database) -> None:
    for turn in range(10):
        ann, bob = await person(database), await person(database)
        async with trio.open_nursery() as nursery:
            for who, whom in ((ann, bob), (bob, ann)) if turn % 2 else ((bob, ann), (ann, bob)):
                nursery.start_soon(do, database, who, ask(whom))
        assert {(ann, bob), (bob, ann)} <= await pairs(database)
        accepted = [("contact", str(one)) in await rows(database, other) for one, other in ((ann, bob), (bob, ann))]
        assert accepted == [True, True]
        told = [kind for who in (ann, bob) for what, kind in await rows(database, who) if what == "notification"]
        assert sorted(told) == ["contact_accepted", "contact_request"]
        assert [await waiting(database, who, sent) for who in (ann, bob) for sent in (True, False)] == [[]] * 4
    assert len(await pairs(database)) == 20


async def test_of_an_answer_and_a_withdrawal_at_once_the_first_stands(database: Database) -> None:
    ann, bob, cid, dan = [await person(database) for _ in range(4)]
    await do(database, ann, ask(bob))
    yes, no = await in_order(
        database, lambda db: do(db, bob, answer(ann)), lambda db: do(db, ann, withdraw(bob))
    )
    assert (yes.new, no) == (True, "unknown_request")
    assert (ann, bob) in await pairs(database)
    await do(database, cid, ask(dan))
    gone, late = await in_order(
        database, lambda db: do(db, cid, withdraw(dan)), lambda db: do(db, dan, answer(cid))
    )
    assert (gone.new, late) == (True, "unknown_request")
    assert (cid, dan) not in await pairs(database)
    assert await rows(database, dan) == []


async def test_who_is_ignored_sees_it_wait_and_can_be_accepted_later(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    await do(database, ann, ask(bob, note="hi"))
    before = await rows(database, ann)
    await do(database, bob, answer(ann, accept=False))
    assert await rows(database, ann) == before
    assert await waiting(database, ann, sent=True) == [bob]
    assert await waiting(database, bob, sent=False) == []
    assert ("contact_request", str(ann)) not in await rows(database, bob)
    told = await rows(database, bob)
    assert (await do(database, ann, ask(bob, "again"))).contact is False
    await do(database, ann, withdraw(bob))
    await do(database, ann, ask(bob, "once more"))
    assert await rows(database, bob) == told, "who ignored it is not asked again"
    assert await waiting(database, ann, sent=True) == [bob]
    await do(database, bob, answer(ann, key="yes"))
    assert (ann, bob) in await pairs(database)


async def test_a_withdrawn_request_is_gone_with_its_notification(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    await do(database, ann, ask(bob))
    assert len(await rows(database, bob)) == 2
    await do(database, ann, withdraw(bob))
    assert await rows(database, bob) == []
    assert await waiting(database, bob, sent=False) == await waiting(database, ann, sent=True) == []
    with pytest.raises(UnknownRequest):
        await do(database, bob, answer(ann))


async def test_removed_both_lose_it_and_nobody_is_notified(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    await do(database, ann, ask(bob))
    await do(database, bob, answer(ann))
    told = [one for who in (ann, bob) for one in await rows(database, who) if one[0] == "notification"]
    done = await do(database, ann, remove(bob))
    assert set(done.changed) == {ann, bob}
    assert await pairs(database) == set()
    left = [one for who in (ann, bob) for one in await rows(database, who)]
    assert left == told
    assert not (await do(database, ann, remove(bob, "again"))).changed


async def test_a_repeat_gets_the_first_answer_whatever_was_done_since(database: Database) -> None:
    """A late repeat brings nothing back."""
    ann, bob = await person(database), await person(database)
    await do(database, ann, ask(bob))
    await do(database, bob, answer(ann))
    await do(database, ann, remove(bob))
    assert not (await do(database, bob, answer(ann))).new
    assert not (await do(database, ann, ask(bob))).new
    assert await pairs(database) == set()
    await do(database, ann, follow(bob))
    await do(database, ann, unfollow(bob))
    assert not (await do(database, ann, follow(bob))).new
    assert (await contacts.follows(database, ann, ann, False, None, 50)).people == []
    with pytest.raises(KeyReused):
        await do(database, ann, ask(bob, note="other"))


async def test_requests_have_their_limits(database: Database) -> None:
    """Those that wait, those of a day, those that one person gets, and contacts."""
    ann, *others = [await person(database) for _ in range(5)]
    few = ContactRules(requests_a_day=3, requests_waiting=2, received=1, contacts=1)
    await do(database, ann, ask(others[0], "1"), few)
    await do(database, ann, ask(others[1], "2"), few)
    with pytest.raises(TooManyOfOnesOwn):
        await do(database, ann, ask(others[2], "3"), few)
    with pytest.raises(TooManyRequests):
        await do(database, others[2], ask(others[0]), few)
    await do(database, ann, withdraw(others[1]), few)
    await do(database, ann, ask(others[2], "3"), few)
    await do(database, ann, withdraw(others[2], "w2"), few)
    with pytest.raises(RateLimited) as limited:
        await do(database, ann, ask(others[3], "4"), few)
    assert 0 < (limited.value.retry_after_ms or 0) <= 86_400_000
    await do(database, others[0], answer(ann), few)
    with pytest.raises(TooManyOfOnesOwn):
        await do(database, others[1], ask(others[0]), ContactRules(3, 2, contacts=0))
    await do(database, others[3], ask(ann), few)
    with pytest.raises(TooManyOfOnesOwn):
        await do(database, ann, answer(others[3]), few)


async def test_a_block_ends_what_was_between_two_and_looks_like_nobody(database: Database) -> None:
    ann, bob, cid = [await person(database) for _ in range(3)]
    await do(database, ann, ask(bob))
    await do(database, bob, answer(ann))
    await do(database, ann, follow(bob))
    await do(database, bob, follow(ann))
    await do(database, cid, ask(bob))
    await block(database, bob, ann)
    await block(database, bob, cid)
    assert await pairs(database) == set()
    assert [one for one in await rows(database, ann) if one[0] != "notification"] == []
    assert [one for one in await rows(database, bob) if one[0] != "notification"] == []
    assert ("notification", "contact_request") in await rows(database, bob), "the one of Ann, that was answered"
    assert await waiting(database, cid, sent=True) == []
    for who in (ann, cid):
        for command in (ask(bob, "n"), follow(bob, "n")):
            with pytest.raises(UnknownUser):
                await do(database, who, command)
        for followers in (True, False):
            with pytest.raises(UnknownUser):
                await contacts.follows(database, who, bob, followers, None, 50)


async def test_whoever_is_not_seen_is_in_no_list_and_no_count(database: Database) -> None:
    """In the lists of somebody whom both may see."""
    ann, bob, eve = [await person(database) for _ in range(3)]
    for who in (bob, eve):
        await do(database, who, follow(ann))
    await do(database, ann, follow(eve))
    assert (await contacts.follows(database, bob, ann, True, None, 50)).count == 2
    await block(database, eve, bob)
    page = await contacts.follows(database, bob, ann, True, None, 50)
    assert ([one.user for one in page.people], page.count) == ([bob], 1)
    page = await contacts.follows(database, bob, ann, False, None, 50)
    assert (page.people, page.count) == ([], 0)


async def test_follow_and_unfollow_at_once_and_one_notification_for_ever(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    for turn in range(5):
        await outcome(do(database, ann, follow(bob, f"f{turn}")))
        await do(database, ann, unfollow(bob, f"u{turn}"))
    assert await rows(database, bob) == [("notification", "follow")]
    await in_order(
        database, lambda db: do(db, ann, follow(bob, "a")), lambda db: do(db, ann, unfollow(bob, "b"))
    )
    assert (await contacts.follows(database, ann, ann, False, None, 50)).count == 0
    await in_order(
        database, lambda db: do(db, ann, unfollow(bob, "c")), lambda db: do(db, ann, follow(bob, "d"))
    )
    assert (await contacts.follows(database, ann, ann, False, None, 50)).count == 1
    assert await rows(database, bob) == [("notification", "follow")]
    with pytest.raises(TooManyOfOnesOwn):
        await do(database, ann, follow(await person(database), "e"), ContactRules(50, 500, following=1))


async def test_pages_are_stable_while_more_come(database: Database) -> None:
    ann, *others = [await person(database) for _ in range(9)]
    for one in others[:6]:
        await do(database, one, ask(ann))
        await do(database, one, follow(ann))
    asked = partial(contacts.requests, database, ann, False)
    first = await asked(None, 4)
    followers = await contacts.follows(database, ann, ann, True, None, 4)
    for one in others[6:]:
        await do(database, one, ask(ann))
        await do(database, one, follow(ann))
    second = await asked(first.cursor, 4)
    assert {one.user for one in (*first.requests, *second.requests)} == set(others[:6])
    assert (len(first.requests), len(second.requests)) == (4, 2)
    assert (first.count, second.count, second.cursor) == (6, 8, None)
    rest = await contacts.follows(database, ann, ann, True, followers.cursor, 4)
    assert {one.user for one in (*followers.people, *rest.people)} == set(others[:6])
    assert (len(followers.people), len(rest.people)) == (4, 2)
    for one in others:
        await do(database, ann, answer(one, key=str(one)))
    page = await contacts.contacts(database, ann, None, 5)
    more = await contacts.contacts(database, ann, page.cursor, 5)
    assert {one.user for one in (*page.contacts, *more.contacts)} == set(others)
    assert (len(page.contacts), page.count, more.cursor) == (5, 8, None)


async def test_whoever_is_erased_is_in_nobodys_list_and_whoever_exports_has_it_all(database: Database) -> None:
    ann, bob, cid = [await person(database) for _ in range(3)]
    await do(database, ann, ask(bob, note="hi"))
    await do(database, bob, answer(ann))
    await do(database, ann, ask(cid, "2", "hello"))
    await do(database, ann, follow(cid))
    await do(database, bob, follow(ann))
    row = await database.fetch_one("select export_contacts(%s)::text", ann)
    assert row is not None
    for one in (str(bob), str(cid), "hello", "followers"):
        assert one in row[0]
    await database.execute("select erase_contacts(%s)", ann)
    assert await pairs(database) == set()
    for table, column in (
        ("contact_request", "person"), ("contact_asked", "person"), ("follow", "person"), ("follow", "followed"),
        ("follow_told", "person"), ("follow_told", "followed"), ("made", "person"),
    ):  # fmt: skip
        left = await database.fetch_all(f"select 1 from {table} where {column} = %s", ann)
        assert left == [], (table, column)
    for who in (bob, cid):
        assert [one for one in await rows(database, who) if one[0] != "notification"] == []
