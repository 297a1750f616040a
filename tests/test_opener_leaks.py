"""What somebody finds out who looks for who wrote a first message, before the two match. As an attacker would try.

The states and the ways out are in docs/matching.md.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import combinations
from typing import Any, Final, LiteralString
from uuid import UUID, uuid4

import pytest

from konnect_server.config import ConfigError, load_config
from konnect_server.ids import uuid7
from konnect_server.push.told import WORDS
from protocol.frames import OpenerIgnore, OpenerList, OpenerSent
from storage import told
from storage.database import Database
from storage.openers import Terms, ignore_opener, opener_list, openers_sent, release_openers
from tests.test_store_openers import TERMS, code_of, number, own, people, release, send, shown

RANDOM: Final = Terms(per_day=10_000, release="random")
NOBODY_KNOWS: Final = 0.1  # so far from a half may the share of pairs in order be, of a few hundred: eight deviations


def in_order(values: Sequence[Any]) -> float:
    """Which share of all pairs stands in rising order; a half, where the order is that of a die."""
    pairs = list(combinations(values, 2))
    return float(sum(a < b for a, b in pairs)) / len(pairs)


async def everything(database: Database, person: UUID) -> str:
    """All that the person's devices are ever told of what is one's own, and all the lists."""
    rows = await database.fetch_all(
        "select what, subject, value::text, number from personal where person = %s order by number", person
    )
    received = await opener_list(database, person, OpenerList(id=1, limit=100))
    sent = await openers_sent(database, person, OpenerSent(id=1, limit=100), TERMS)
    return repr((rows, await number(database, person), received, sent))


# --- Two receivers compare notes --------------------------------------------------------------------------------------


async def test_two_receivers_who_compare_notes_find_nothing_that_links_what_they_got(database: Database) -> None:
    """The same forty wrote to both, in the same order and the same words; what was shown tells nobody's messages from
    another's, nor is any part of one list found in the other."""
    ann, bob, *writers = await people(database, 42)
    for one in writers:
        for receiver in (ann, bob):
            await send(database, one, receiver, "Hello, you!")
    notes = []
    for receiver in (ann, bob):
        await release(database, receiver)
        page = await opener_list(database, receiver, OpenerList(id=1, limit=100))
        rows = await own(database, receiver, "opener")
        [told_once] = (await own(database, receiver, "notification")).items()
        notes.append((page, rows, told_once))
    (hers, her_rows, her_notice), (his, his_rows, his_notice) = notes
    ids = [one.opener for one in (*hers.openers, *his.openers)]
    assert len(set(ids)) == 80
    assert {one.version for one in ids} == {4}, "random, and without a time"
    assert {(one.text, one.day) for one in (*hers.openers, *his.openers)} == {("Hello, you!", hers.openers[0].day)}
    assert {json.dumps(one) for one in (*her_rows.values(), *his_rows.values())} == {json.dumps(her_rows[str(ids[0])])}
    assert her_notice[0] != his_notice[0]
    assert set(her_notice[1]) == set(his_notice[1]) == {"kind", "at_ms"}
    for receiver, other in ((ann, bob), (bob, ann)):
        everything_told = await everything(database, receiver)
        assert not [one for one in (*writers, other) if str(one) in everything_told]


async def test_the_order_of_a_list_and_of_events_is_not_that_of_sending(database: Database) -> None:
    """Whoever knows who wrote first, second and third, does not know which is which."""
    ann, *writers = await people(database, 151)
    for nth, one in enumerate(writers):
        await send(database, one, ann, str(nth))
    await release(database, ann)
    listed: list[str] = []
    cursor = None
    while True:
        page = await opener_list(database, ann, OpenerList(id=1, limit=40, cursor=cursor))
        listed += [one.text for one in page.openers]
        cursor = page.cursor
        if cursor is None:
            break
    told_so = await database.fetch_all(
        "select value ->> 'text' from personal where person = %s and what = 'opener' order by number", ann
    )
    assert sorted(map(int, listed)) == list(range(150))
    for seen in (listed, [text for (text,) in told_so]):
        assert abs(in_order([int(text) for text in seen]) - 0.5) < NOBODY_KNOWS


# --- Clock in hand ----------------------------------------------------------------------------------------------------


async def test_a_random_release_does_not_follow_the_sending(database: Database) -> None:
    """It is anywhere within the time that the deployment says, so nothing is known of when one was sent but that."""
    ann, *writers = await people(database, 301)
    for one in writers:
        await send(database, one, ann, terms=RANDOM)
    rows = await database.fetch_all("select at_ms, release_at_ms - at_ms from opener order by at_ms")
    day = 86_400_000
    waits = [wait for _, wait in rows]
    assert all(0 <= wait < day for wait in waits)
    assert abs(in_order([at + wait for at, wait in rows]) - 0.5) < NOBODY_KNOWS
    quarters = [sum(q * day // 4 <= wait < (q + 1) * day // 4 for wait in waits) for q in range(4)]
    assert min(quarters) > 35, "75 each, by chance"


async def test_a_daily_release_is_one_moment_for_all(database: Database) -> None:
    """Whenever it was sent, and to whomever; what is told of the time is the day."""
    ann, *others = await people(database, 30)
    for one in others:
        await send(database, one, ann)
    [(moments, hour)] = await database.fetch_all(
        "select count(distinct release_at_ms), min(release_at_ms / 3600000 % 24) from opener"
    )
    assert (moments <= 2, hour) == (True, TERMS.hour)


def test_nobody_can_set_up_a_release_that_tells_more_than_the_day() -> None:
    """Random within an hour would say in which hour it was sent."""
    with pytest.raises(ConfigError, match="opener-within-h is 23"):
        load_config({"opener_within_h": 23})


# --- A thousand probes ------------------------------------------------------------------------------------------------


async def worlds(database: Database, me: UUID) -> dict[str, Callable[[], Awaitable[UUID]]]:
    """Everything that somebody may be to *me* without my knowing, made anew at each call."""

    async def new(sql: Any = None, *, block: str = "") -> UUID:
        [one] = await people(database, 1)
        if sql is not None:
            await database.execute(sql, one)
        if block:
            pair = (one, me) if block == "theirs" else (me, one)
            await database.execute("insert into block values (%s, %s)", *pair)
        return one

    async def full() -> UUID:
        """Has been written to by many, and has sent as many as one may."""
        one = await new()
        for other in await people(database, 5):
            await send(database, other, one)
            await send(database, one, (await people(database, 1))[0])
        await release(database, one)
        return one

    async def nobody() -> UUID:
        return uuid4()

    return {
        "stranger": new,
        "nobody": nobody,
        "blocked me": lambda: new(block="theirs"),
        "is blocked": lambda: new(block="mine"),
        "paused": lambda: new("update account set standing = 'paused' where id = %s"),
        "suspended": lambda: new("update account set standing = 'suspended' where id = %s"),
        "leaving": lambda: new("update account set standing = 'leaving' where id = %s"),
        "deleted": lambda: new("update account set standing = 'deleted' where id = %s"),
        "popular": full,
    }


_WRITTEN: Final[LiteralString] = (
    "select relname, array[n_tup_ins, n_tup_upd, n_tup_del] from pg_stat_xact_user_tables order by relname"
)


async def test_a_thousand_probes_get_one_answer(database: Database) -> None:
    """Whoever it is; and the database writes the same rows for each of them."""
    [me] = await people(database, 1)
    answers: dict[str, set[str]] = {}
    works: dict[str, set[tuple[Any, ...]]] = {}
    kinds = await worlds(database, me)
    for nth in range(1_000):
        name = list(kinds)[nth % len(kinds)]
        if nth >= 20 * len(kinds) and name == "popular":
            continue  # which takes long to make
        user = await kinds[name]()
        command = {"t": "opener.send", "id": 1, "key": str(user), "user": str(user), "text": "hi"}
        rules = {"per_day": 10_000, "release": "daily", "hour": 18, "within_h": 24}
        async with database.transaction() as one:
            before: dict[str, list[int]] = dict(await one.fetch_all(_WRITTEN))
            row = await one.fetch_one(
                "select send_opener(%s, %s::json, %s::json, %s, %s)::text",
                me, json.dumps(command), json.dumps(rules), uuid7(), uuid7(),
            )  # fmt: skip
            assert row is not None
            answers.setdefault(name, set()).add(row[0])
            after: dict[str, list[int]] = dict(await one.fetch_all(_WRITTEN))
            work = tuple((table, rows) for table, rows in after.items() if rows != before.get(table, [0, 0, 0]))
            written = tuple(
                (table, *(now - then for now, then in zip(rows, before.get(table, [0, 0, 0]), strict=True)))
                for table, rows in work
            )
            works.setdefault(name, set()).add(written)
    assert set(answers) == set(kinds)
    assert {answer for each in answers.values() for answer in each} == {'{"new": true, "number": 0}'}
    same = (("job", 1, 0, 0), ("opener", 1, 0, 0), ("personal_key", 1, 0, 0))
    assert works == {name: {same} for name in kinds}


async def test_a_second_try_gets_one_answer_whatever_became_of_the_first(database: Database) -> None:
    """Waiting, shown, put away, or never to be shown."""
    [me] = await people(database, 1)
    for make in (await worlds(database, me)).values():
        for released in (False, True):
            user = await make()
            await send(database, me, user)
            before = await openers_sent(database, me, OpenerSent(id=1, limit=1), TERMS)
            if released:
                await release(database, user)
                for opener in await own(database, user, "opener"):
                    await ignore_opener(database, user, OpenerIgnore(id=1, key=opener, opener=UUID(opener)))
            assert await code_of(send(database, me, user, key="again")) == "already_answered"
            after = await openers_sent(database, me, OpenerSent(id=1, limit=1), TERMS)
            assert (after, after.openers[0].user) == (before, user)


async def test_a_limit_counts_what_was_sent_whoever_it_was_for(database: Database) -> None:
    """Else the number that is left would say who is there."""
    [me] = await people(database, 1)
    left = []
    for make in (await worlds(database, me)).values():
        await send(database, me, await make())
        left.append((await openers_sent(database, me, OpenerSent(id=1), TERMS)).left)
    assert left == [TERMS.per_day - nth for nth in range(1, len(left) + 1)]


# --- What moves -------------------------------------------------------------------------------------------------------


async def test_nothing_of_the_receivers_moves_before_the_release_and_of_the_senders_not_then_either(
    database: Database,
) -> None:
    """No row, no number (which a client is told at each hello), no list, no count; not by a block, either."""
    ann, bob, cid = await people(database, 3)
    his, hers = await everything(database, bob), await everything(database, ann)
    await send(database, cid, bob)
    assert await everything(database, bob) == his
    await send(database, ann, bob)
    assert await everything(database, bob) == his
    hers = await everything(database, ann)
    await release_openers(database, bob, uuid7(), TERMS)  # too early
    assert await everything(database, bob) == his
    await release(database, bob)
    assert await everything(database, bob) != his
    for opener in await own(database, bob, "opener"):
        await ignore_opener(database, bob, OpenerIgnore(id=1, key=opener, opener=UUID(opener)))
    await database.execute("insert into block values (%s, %s)", bob, ann)
    await release(database, bob)
    assert await everything(database, ann) == hers


async def test_a_block_does_not_say_who_wrote(database: Database) -> None:
    """Block everybody, one by one, and look which of the messages goes: none does, for either side's block, nor does
    one come back."""
    ann, *writers = await people(database, 6)
    for one in writers:
        await send(database, one, ann)
    await release(database, ann)
    before = await everything(database, ann)
    for one in writers:
        for pair in ((ann, one), (one, ann)):
            await database.execute("insert into block values (%s, %s)", *pair)
            await release(database, ann)
            assert await everything(database, ann) == before
            await database.execute("delete from block")
            await release(database, ann)
            assert await everything(database, ann) == before


async def test_no_presence_no_conversation_no_search_no_badge_comes_of_it(database: Database) -> None:
    """All that looks at conversations finds none: there is none before the match."""
    ann, bob = await people(database, 2)
    await send(database, ann, bob, "pangolin")
    await release(database, bob)
    for person, other in ((ann, bob), (bob, ann)):
        [found] = await database.fetch_all(
            "select presences(%s, array[%s::uuid])::text, unread_total(%s)::text, relation(%s, %s), "
            "(select count(*) from span where person = %s), (select count(*) from entry)",
            person, other, person, person, other, person,
        )  # fmt: skip
        assert found == ("[]", found[1], "stranger", 0, 0)
        assert json.loads(found[1])["messages"] == 0


async def test_the_push_names_nobody_and_quotes_nothing(database: Database) -> None:
    """Nor does a job that a process claims, or that lies dead, say who wrote."""
    ann, bob = await people(database, 2)
    await database.execute(
        "insert into device (account, device, platform, token, token_hash, at_ms) "
        "values (%s, 'phone', 'web', 'bobs', sha256('bobs'), 0)",
        bob,
    )
    await send(database, ann, bob, "pangolin")
    await release(database, bob)
    [notice] = await own(database, bob, "notification")
    [content] = await told.contents(database, UUID(notice), [(bob, "phone")])
    assert (content.name, content.said.kind, content.said.user) == ("", "opener", content.said.of)
    assert not any("{name}" in words for words in WORDS["opener"])
    jobs = str(await database.fetch_all("select * from job"))
    assert str(bob) in jobs
    assert str(ann) not in jobs
    assert "pangolin" not in jobs


async def test_an_id_of_somebody_elses_is_as_good_as_none(database: Database) -> None:
    """Whoever guesses, or was told of it, does nothing with it."""
    ann, bob, cid = await people(database, 3)
    await send(database, ann, bob)
    [(waiting,)] = await database.fetch_all("select id from opener")
    for person in (bob, cid, ann):  # the first: before it is released to him
        done = await ignore_opener(database, person, OpenerIgnore(id=1, key="a", opener=waiting))
        assert (done.number, done.error) == (0, None)
    await release(database, bob)
    assert await shown(database, bob) == ["hi"]
