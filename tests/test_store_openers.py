"""First messages and matches in PostgreSQL: what is stored, what becomes of two that meet, and races."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from konnect_server.ids import uuid7
from protocol.errors import Refused
from protocol.frames import MatchList, MatchUnmatch, OpenerIgnore, OpenerList, OpenerSend, OpenerSent
from storage import openers
from storage.database import Database, open_database
from storage.openers import Changed, Terms

TERMS = Terms(per_day=1_000)


async def people(database: Database, count: int) -> list[UUID]:
    """So many accounts, in the order of their ids."""
    rows = await database.fetch_all(
        "insert into account (id, email, name, password_hash, created_at_ms) "
        "select gen_random_uuid(), gen_random_uuid() || '@example.com', 'P' || i, '-', 0 from generate_series(1, %s) i "
        "returning id",
        count,
    )
    return sorted(row[0] for row in rows)


async def send(
    database: Database, author: UUID, user: UUID, text: str = "hi", *, key: str | None = None, terms: Terms = TERMS
) -> Changed:
    command = OpenerSend(id=1, key=key or str(user), user=user, text=text)
    return await openers.send_opener(database, author, command, terms, uuid7(), uuid7())


async def release(database: Database, receiver: UUID, terms: Terms = TERMS) -> openers.Released:
    """As if the time had come."""
    await database.execute("update opener set release_at_ms = 0 where state = 'waiting' and receiver = %s", receiver)
    return await openers.release_openers(database, receiver, uuid7(), terms)


async def shown(database: Database, person: UUID) -> list[str]:
    """What the list shows, by the text."""
    page = await openers.opener_list(database, person, OpenerList(id=1, limit=100))
    return sorted(one.text for one in page.openers)


async def own(database: Database, person: UUID, what: str) -> dict[str, Any]:
    """The person's rows of a kind."""
    rows = await database.fetch_all(
        "select subject, value from personal where person = %s and what = %s and value is not null", person, what
    )
    return dict(rows)


async def number(database: Database, person: UUID) -> int:
    row = await database.fetch_one("select number from account where id = %s", person)
    assert row is not None
    return int(row[0])


async def log(database: Database, conversation: UUID | None) -> list[tuple[Any, ...]]:
    return await database.fetch_all(
        "select seq, kind, author, text from entry where conversation = %s order by seq", conversation
    )


async def code_of(coming: Any) -> str:
    """The code of the error that *coming* ends with."""
    with pytest.raises(Refused) as caught:
        await coming
    return caught.value.code


# --- Sending ----------------------------------------------------------------------------------------------------------


async def test_one_first_message_for_each_person_and_a_repeat_gets_its_first_answer(database: Database) -> None:
    ann, bob, cid = await people(database, 3)
    assert await send(database, ann, bob, key="k") == Changed(0, True)
    assert (await send(database, ann, bob, key="k")).error is None
    assert await code_of(send(database, ann, cid, key="k")) == "key_reused"
    assert await code_of(send(database, ann, bob, key="l")) == "already_answered"
    matched = await send(database, bob, ann, key="k")
    assert matched.conversation is not None
    assert (await send(database, ann, bob, key="k")).conversation is None, "the first answer was that there is no match"
    again = await send(database, bob, ann, key="k")
    assert (again.conversation, again.seq, again.number) == (matched.conversation, 0, matched.number)
    assert await code_of(send(database, ann, bob, key="m")) == "already_answered"
    sent = await openers.openers_sent(database, ann, OpenerSent(id=1), TERMS)
    assert [(one.user, one.text) for one in sent.openers] == [(bob, "hi")]


async def test_as_many_a_day_as_the_house_says(database: Database) -> None:
    """Counted in the database, by the days of UTC."""
    ann, *others = await people(database, 5)
    two = Terms(per_day=2)
    for one in others[:2]:
        await send(database, ann, one, terms=two)
    assert await code_of(send(database, ann, others[2], terms=two)) == "too_many"
    assert (await openers.openers_sent(database, ann, OpenerSent(id=1), two)).left == 0
    await database.execute("update opener set at_ms = at_ms - 86400000 where author = %s", ann)
    assert (await send(database, ann, others[2], terms=two)).new


async def test_who_knows_each_other_sends_none_and_who_has_paused_neither(database: Database) -> None:
    ann, bob, cid = await people(database, 3)
    await database.execute("insert into contact values (%s, %s), (%s, %s)", ann, bob, bob, ann)
    assert await code_of(send(database, ann, bob)) == "already_met"
    await database.execute("update account set standing = 'paused' where id = %s", ann)
    assert await code_of(send(database, ann, cid)) == "paused"


async def test_pages_of_what_was_sent_are_complete_and_stable(database: Database) -> None:
    ann, *others = await people(database, 8)
    for one in others:
        await send(database, ann, one)
    await database.execute("update opener set at_ms = 5")  # all at one time: the receivers tell them apart
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await openers.openers_sent(database, ann, OpenerSent(id=1, cursor=cursor, limit=3), TERMS)
        seen += [one.user for one in page.openers]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == others
    assert await code_of(openers.openers_sent(database, ann, OpenerSent(id=1, cursor="x"), TERMS)) == "bad_cursor"


# --- Releasing --------------------------------------------------------------------------------------------------------


async def test_it_is_shown_at_its_release_with_a_notification_and_put_away(database: Database) -> None:
    ann, bob, cid = await people(database, 3)
    await send(database, ann, cid, "one")
    await send(database, bob, cid, "two")
    assert not (await openers.release_openers(database, cid, uuid7(), TERMS)).changed, "it is too early"
    assert await shown(database, cid) == []
    assert (await release(database, cid)).changed
    assert not (await release(database, cid)).changed, "done twice"
    assert await shown(database, cid) == ["one", "two"]
    rows = await own(database, cid, "opener")
    assert sorted(one["text"] for one in rows.values()) == ["one", "two"]
    assert {frozenset(one) for one in rows.values()} == {frozenset({"text", "day"})}
    [told] = (await own(database, cid, "notification")).values()
    assert (set(told), told["kind"]) == ({"kind", "at_ms"}, "opener"), "one for all of them, that names nobody"

    first, second = sorted(rows)
    away = OpenerIgnore(id=1, key="a", opener=UUID(first))
    done = await openers.ignore_opener(database, cid, away)
    assert (await openers.ignore_opener(database, cid, away)).number == done.number
    assert set(await own(database, cid, "opener")) == {second}
    assert "read" not in next(iter((await own(database, cid, "notification")).values()))
    await openers.ignore_opener(database, cid, OpenerIgnore(id=1, key="b", opener=UUID(second)))
    assert next(iter((await own(database, cid, "notification")).values()))["read"]
    assert await shown(database, cid) == []
    for stranger, opener in ((ann, first), (cid, str(uuid4()))):
        asked = OpenerIgnore(id=1, key="c", opener=UUID(opener))
        assert (await openers.ignore_opener(database, stranger, asked)).number == 0, "it is passed over"


async def test_pages_of_what_waits_are_complete_and_stable(database: Database) -> None:
    """One that comes in between moves nothing."""
    ann, *others = await people(database, 9)
    for one in others[:-1]:
        await send(database, one, ann)
    await release(database, ann)
    first = await openers.opener_list(database, ann, OpenerList(id=1, limit=3))
    await send(database, others[-1], ann)
    await release(database, ann)
    rest = await openers.opener_list(database, ann, OpenerList(id=1, limit=100, cursor=first.cursor))
    assert (len(first.openers), first.count, rest.count, rest.cursor) == (3, 7, 8, None)
    ids = [one.opener for one in (*first.openers, *rest.openers)]
    assert ids == sorted(set(ids))
    assert len(ids) in (7, 8)


async def test_more_than_one_is_shown_at_once_wait_and_are_not_lost(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(openers, "OPENERS", 2)
    ann, *others = await people(database, 4)
    for one in others:
        await send(database, one, ann)
    await release(database, ann)
    page = await openers.opener_list(database, ann, OpenerList(id=1))
    assert page.count == 2
    [(waits,)] = await database.fetch_all(
        "select count(*) from opener o where receiver = %s and state = 'waiting' and release_at_ms > now_ms() "
        "and exists (select from job where kind = 'opener.release' and due_at_ms = o.release_at_ms)",
        ann,
    )
    assert waits == 1, "and somebody comes for it"
    await openers.ignore_opener(database, ann, OpenerIgnore(id=1, key="a", opener=page.openers[0].opener))
    await release(database, ann)
    assert (await openers.opener_list(database, ann, OpenerList(id=1))).count == 2


async def test_while_one_of_the_two_is_away_it_waits(database: Database) -> None:
    for standing in ("paused", "suspended", "leaving"):
        ann, bob = await people(database, 2)
        await send(database, ann, bob)
        for away in (ann, bob):
            await database.execute("update account set standing = %s where id = %s", standing, away)
            assert not (await release(database, bob)).changed
            await database.execute("update account set standing = 'active' where id = %s", away)
        assert (await release(database, bob)).changed


async def test_what_was_sent_while_one_blocked_the_other_is_never_shown(database: Database) -> None:
    """Nor what waited when the block came; what was shown stays, or the block would say whose it was."""
    for back in (False, True):
        ann, bob, cid, dan = await people(database, 4)
        block = (ann, bob) if back else (bob, ann)
        await send(database, cid, bob, "shown")
        await release(database, bob)
        await send(database, dan, bob, "waits")
        await database.execute("insert into block values (%s, %s)", *block)
        await database.execute("insert into block values (%s, %s), (%s, %s)", bob, cid, bob, dan)
        assert await send(database, ann, bob) == Changed(0, True)
        for _ in range(2):
            await release(database, bob)
            assert await shown(database, bob) == ["shown"]
            await database.execute("delete from block")
        assert (await send(database, bob, ann)).conversation, "who writes to who wrote, matches"


@pytest.mark.parametrize("hour", [0, 11, 23])
async def test_the_daily_release_is_the_next_time_that_it_is_that_hour(database: Database, hour: int) -> None:
    at, day, h = 1_700_000_000_000, 86_400_000, 3_600_000
    terms = json.dumps({"release": "daily", "hour": hour})
    sql = "select next_release(%s, %s::json)"
    for now in (at, at - at % day + hour * h, at - at % day + hour * h - 1):
        [(then,)] = await database.fetch_all(sql, now, terms)
        assert (then % day, 0 < then - now <= day) == (hour * h, True)


# --- Matching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("talked", [False, True])
async def test_two_who_have_written_to_each_other_match(database: Database, released: bool, talked: bool) -> None:
    """They have a direct conversation with both messages in it, and are told of one another."""
    ann, bob = await people(database, 2)
    if talked:
        await database.execute("select open_direct(%s, %s, %s)", uuid7(), ann, bob)
    await send(database, ann, bob, "first")
    if released:
        await release(database, bob)
    made = await send(database, bob, ann, "second")
    assert (made.other, made.made, made.seq) == (ann, not talked, 3)
    assert await log(database, made.conversation) == [
        (1, "created", ann if talked else bob, None), (2, "message", ann, "first"), (3, "message", bob, "second"),
    ]  # fmt: skip
    for one, other in ((ann, bob), (bob, ann)):
        [(match, value)] = (await own(database, one, "match")).items()
        assert (value["user"], value["conversation"]) == (str(other), str(made.conversation))
        told = [row for row in (await own(database, one, "notification")).values() if row["kind"] == "match"]
        assert [(row["user"], row["conversation"]) for row in told] == [(str(other), str(made.conversation))]
        assert await own(database, one, "opener") == {}
        assert await shown(database, one) == []
        [listed] = (await openers.match_list(database, one, MatchList(id=1))).matches
        assert (str(listed.match), listed.user, listed.conversation) == (match, other, made.conversation)
        sent = (await openers.openers_sent(database, one, OpenerSent(id=1), TERMS)).openers
        assert [(row.user, str(row.match)) for row in sent] == [(other, match)]
        [(yes,)] = await database.fetch_all("select answered(%s, %s)", one, other)
        assert yes
    if released:
        told = [row for row in (await own(database, bob, "notification")).values() if row["kind"] == "opener"]
        assert [row["read"] for row in told] == [True]
    await release(database, bob)
    await release(database, ann)
    assert await shown(database, ann) == await shown(database, bob) == []


async def test_who_put_it_away_and_writes_by_chance_matches(database: Database) -> None:
    ann, bob = await people(database, 2)
    await send(database, ann, bob)
    await release(database, bob)
    [opener] = await own(database, bob, "opener")
    await openers.ignore_opener(database, bob, OpenerIgnore(id=1, key="a", opener=UUID(opener)))
    assert (await send(database, bob, ann)).conversation


async def test_two_who_wrote_while_one_was_away_match_at_the_release(database: Database) -> None:
    ann, bob = await people(database, 2)
    await send(database, ann, bob)
    await database.execute("update account set standing = 'leaving' where id = %s", ann)
    assert (await send(database, bob, ann)).conversation is None
    assert (await release(database, bob)).both == []
    await database.execute("update account set standing = 'active' where id = %s", ann)
    released = await release(database, bob)
    assert (released.changed, released.both) == (False, [ann])
    made = await openers.match_openers(database, bob, ann, uuid7(), uuid7())
    assert made is not None
    assert await openers.match_openers(database, bob, ann, uuid7(), uuid7()) is None
    assert [text for *_, text in await log(database, made.conversation)] == [None, "hi", "hi"]


async def test_an_end_is_for_both_and_closes_the_conversation(database: Database) -> None:
    """Both keep the history; the other is not told who ended it; a repeat and a second end change nothing."""
    ann, bob, cid = await people(database, 3)
    await send(database, ann, bob)
    made = await send(database, bob, ann)
    [match] = await own(database, ann, "match")
    end = MatchUnmatch(id=1, key="e", match=UUID(match))
    assert await code_of(openers.end_match(database, cid, end)) == "unknown_match"
    ended = await openers.end_match(database, ann, end)
    assert (ended.other, ended.conversation, ended.seq) == (bob, made.conversation, 4)
    assert (await openers.end_match(database, ann, end)).seq == 0
    assert (await openers.end_match(database, bob, end)).seq == 0
    for one in (ann, bob):
        assert await own(database, one, "match") == {}
        [listed] = (await openers.match_list(database, one, MatchList(id=1))).matches
        assert (listed.by_me, isinstance(listed.ended_at_ms, int)) == (one == ann, True)
    [(shut,)] = await database.fetch_all("select shut from conversation where id = %s", made.conversation)
    assert shut
    assert await code_of(send(database, ann, bob, key="again")) == "already_answered"
    [(yes,)] = await database.fetch_all("select answered(%s, %s)", ann, bob)
    assert yes


async def test_pages_of_matches_are_complete(database: Database) -> None:
    me, *others = await people(database, 7)
    for one in others:
        await send(database, one, me)
        await send(database, me, one)
    seen: list[UUID] = []
    cursor = None
    while True:
        page = await openers.match_list(database, me, MatchList(id=1, cursor=cursor, limit=2))
        seen += [one.user for one in page.matches]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == others[::-1]


# --- Races ------------------------------------------------------------------------------------------------------------


async def test_ten_thousand_pairs_that_write_at_once_from_both_sides_match_once_each(
    database: Database, dsn: str
) -> None:
    """Four connections, two for each half of the pairs, that go through them in the same order, one for the one side of
    a pair and one for the other: they meet at many of them. Many calls in one statement, each a transaction of its own,
    for the way to the database is not what is tested."""
    pairs, batch = 10_000, 250
    await database.execute(
        "create table pair as select i, gen_random_uuid() as a, gen_random_uuid() as b from generate_series(1, %s) i",
        pairs,
    )
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) "
        "select p, p || '@example.com', 'P', '-', 0 from pair cross join lateral (values (a), (b)) v(p)"
    )
    await database.execute("create index on pair (i)")
    await database.execute(
        """
        create procedure write_all(p_from integer, p_to integer, p_back boolean) language plpgsql as $$
        declare r record; n integer;
        begin
            for n in p_from .. p_to loop
                select case when p_back = (n % 2 = 0) then b else a end as author,
                       case when p_back = (n % 2 = 0) then a else b end as user into r from pair where i = n;
                perform send_opener(r.author, json_build_object('t', 'opener.send', 'id', 1, 'key', 'k', 'user', r.user,
                    'text', r.author || ' wrote'), '{"per_day": 5, "release": "random", "within_h": 24}',
                    uuidv7(), uuidv7());
                commit;
            end loop;
        end $$
        """
    )

    async def write(first: int, back: bool) -> None:
        async with open_database(dsn, size=1, timeout_s=60) as opened:
            for start in range(first, pairs, 2 * batch):
                await opened.execute("call write_all(%s, %s, %s)", start + 1, start + batch, back)

    async with trio.open_nursery() as nursery:
        for first in (0, batch):
            for back in (False, True):
                nursery.start_soon(write, first, back)

    [counts] = await database.fetch_all(
        "select (select count(*) from matched where ended_at_ms is null), (select count(*) from matched),"
        "(select count(*) from opener where state = 'matched'), (select count(*) from opener where completed),"
        "(select count(*) from direct)"
    )
    assert counts == (pairs, pairs, 2 * pairs, pairs, pairs)
    [broken] = await database.fetch_all(
        "select count(*) from pair p join direct d on d.low = least(a, b) and d.high = greatest(a, b) "
        "where (select array_agg(coalesce(text, kind) order by seq) from entry where conversation = d.conversation) "
        "  not in (array['created', a || ' wrote', b || ' wrote'], array['created', b || ' wrote', a || ' wrote']) "
        "or (select max(seq) from entry where conversation = d.conversation) <> 3"
    )
    assert broken == (0,)
    [told] = await database.fetch_all("select count(*), count(distinct person) from personal where what = 'match'")
    assert told == (2 * pairs, 2 * pairs)
    [second] = await database.fetch_all(
        "select count(*) from opener o join pair p on p.a = o.author where o.completed"
    )
    assert 0 < second[0] < pairs, "each side was the second somewhere"


async def test_putting_away_and_matching_at_once(database: Database) -> None:
    for _ in range(20):
        ann, bob = await people(database, 2)
        await send(database, ann, bob)
        await release(database, bob)
        [opener] = await own(database, bob, "opener")

        async def put_away(bob: UUID = bob, opener: str = opener) -> None:
            await openers.ignore_opener(database, bob, OpenerIgnore(id=1, key="a", opener=UUID(opener)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put_away)
            nursery.start_soon(send, database, bob, ann)
        assert await own(database, bob, "opener") == {}
        assert len((await openers.match_list(database, bob, MatchList(id=1))).matches) == 1


async def test_a_release_and_a_first_message_at_once(database: Database) -> None:
    """Whoever comes second, it is matched and not shown, or shown and then matched."""
    for _ in range(20):
        ann, bob = await people(database, 2)
        await send(database, ann, bob)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(release, database, bob)
            nursery.start_soon(send, database, bob, ann)
        assert await own(database, bob, "opener") == {}
        assert len(await own(database, ann, "match")) == len(await own(database, bob, "match")) == 1


async def test_both_end_a_match_at_once(database: Database) -> None:
    ann, bob = await people(database, 2)
    await send(database, ann, bob)
    await send(database, bob, ann)
    [match] = await own(database, ann, "match")
    ended: list[Changed] = []

    async def end(person: UUID) -> None:
        ended.append(await openers.end_match(database, person, MatchUnmatch(id=1, key="e", match=UUID(match))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end, ann)
        nursery.start_soon(end, bob)
    assert sorted(one.seq for one in ended) == [0, 4]


# --- Who may write to whom --------------------------------------------------------------------------------------------


async def test_the_rule_of_the_house_says_who_opens_a_conversation(database: Database) -> None:
    """The answer to who may not is the same of a stranger, of who blocked one, and of nobody."""

    async def opens(person: UUID, other: UUID) -> str:
        [(answer,)] = await database.fetch_all("select open_direct(%s, %s, %s)", uuid7(), person, other)
        return str(answer.get("error", "opened"))

    ann, bob, cid, dan, eve = await people(database, 5)
    await database.execute("insert into contact values (%s, %s), (%s, %s)", ann, cid, cid, ann)
    await database.execute("insert into block values (%s, %s)", eve, ann)
    await send(database, ann, dan)
    await send(database, dan, ann)
    for rule, answers in (
        ("matches", {bob: "not_allowed_to_write", cid: "not_allowed_to_write", dan: "opened"}),
        ("contacts", {bob: "not_allowed_to_write", cid: "opened", dan: "opened"}),
        ("anyone", {bob: "opened", cid: "opened", dan: "opened"}),
    ):
        await openers.set_write_rule(database, rule)  # type: ignore[arg-type]
        nobody = "unknown_user" if rule == "anyone" else "not_allowed_to_write"
        assert {one: await opens(ann, one) for one in answers} == answers, rule
        assert await opens(ann, eve) == await opens(ann, uuid4()) == nobody


async def test_a_group_is_no_way_round_the_rule_of_the_house(database: Database) -> None:
    """Whom one may not write to one does not take into a conversation either: as if there were nobody."""

    async def takes(person: UUID, other: UUID) -> tuple[str, str]:
        members = json.dumps([str(person), str(other)])
        made = await database.fetch_all(
            "select create_group(%s, %s, %s, 'Club', 'all', %s::json, 10)", uuid7(), person, str(uuid4()), members
        )
        mine = uuid7()
        await database.fetch_all(
            "select create_group(%s, %s, %s, 'Mine', 'all', %s::json, 10)", mine, person, str(mine),
            json.dumps([str(person)]),
        )  # fmt: skip
        added = await database.fetch_all(
            "select change_member('add', %s, %s, %s, %s, 10)", mine, person, str(uuid4()), other
        )
        return str(made[0][0].get("error", "made")), str(added[0][0].get("error", "added"))

    ann, bob, cid, dan, eve = await people(database, 5)
    await database.execute("insert into contact values (%s, %s), (%s, %s)", ann, cid, cid, ann)
    for other in (dan, eve):
        await send(database, ann, other)
        await send(database, other, ann)
    match = next(one for one, value in (await own(database, ann, "match")).items() if value["user"] == str(eve))
    await openers.end_match(database, eve, MatchUnmatch(id=1, key="over", match=UUID(match)))
    no, yes = ("unknown_user", "unknown_user"), ("made", "added")
    for rule, answers in (
        ("matches", {bob: no, cid: no, dan: yes, eve: no}),
        ("contacts", {bob: no, cid: yes, dan: yes, eve: no}),
        ("anyone", {bob: yes, cid: yes, dan: yes, eve: no}),
    ):
        await openers.set_write_rule(database, rule)  # type: ignore[arg-type]
        assert {one: await takes(ann, one) for one in answers} == answers, rule


async def test_who_ended_a_match_is_written_to_again_only_as_a_contact(database: Database) -> None:
    ann, bob = await people(database, 2)
    await send(database, ann, bob)
    await send(database, bob, ann)
    [match] = await own(database, ann, "match")

    async def may() -> bool:
        [(yes,)] = await database.fetch_all("select may_write(%s, %s) and may_write(%s, %s)", ann, bob, bob, ann)
        return bool(yes)

    standing = {}
    for rule in ("anyone", "contacts", "matches"):
        await openers.set_write_rule(database, rule)
        standing[rule] = await may()
    await openers.end_match(database, ann, MatchUnmatch(id=1, key="e", match=UUID(match)))
    ended = {}
    for rule in standing:
        await openers.set_write_rule(database, rule)  # type: ignore[arg-type]
        ended[rule] = await may()
    await database.execute("insert into contact values (%s, %s), (%s, %s)", ann, bob, bob, ann)
    contacts = {}
    for rule in standing:
        await openers.set_write_rule(database, rule)  # type: ignore[arg-type]
        contacts[rule] = await may()
    assert standing == {"anyone": True, "contacts": True, "matches": True}
    assert ended == {"anyone": False, "contacts": False, "matches": False}
    assert contacts == {"anyone": True, "contacts": True, "matches": False}


# --- Leaving ----------------------------------------------------------------------------------------------------------


async def test_who_is_erased_leaves_no_first_message_and_matches_that_ended(database: Database) -> None:
    ann, bob, cid, dan = await people(database, 4)
    await send(database, ann, bob, "ann's, shown")
    await release(database, bob)
    await send(database, ann, cid, "ann's, waiting")
    await send(database, dan, ann, "dan's")
    await send(database, ann, dan, "ann's, matched")
    [(export,)] = await database.fetch_all("select export_openers(%s)", ann)
    assert sorted(one["text"] for one in export["openers_sent"]) == ["ann's, matched", "ann's, shown", "ann's, waiting"]
    assert [one["user"] for one in export["matches"]] == [str(dan)]
    await database.execute("select erase_openers(%s)", ann)
    await database.execute("update account set standing = 'deleted' where id = %s", ann)
    assert await shown(database, bob) == [] == list((await own(database, bob, "opener")).values())
    assert not (await release(database, cid)).changed
    [listed] = (await openers.match_list(database, dan, MatchList(id=1))).matches
    assert (listed.deleted, isinstance(listed.ended_at_ms, int)) == (True, True)
    assert await own(database, dan, "match") == {}
    [(left,)] = await database.fetch_all("select count(*) from opener where author = %s or text like 'ann%%'", ann)
    assert left == 0
    sent = await openers.openers_sent(database, dan, OpenerSent(id=1), TERMS)
    assert [one.text for one in sent.openers] == ["dan's"]
