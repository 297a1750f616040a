"""Suggestions in PostgreSQL: who is shown to whom, in which order and why; and what an attacker learns by it."""

import itertools
import random
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from konnect_server.config import Config
from konnect_server.ids import uuid7
from konnect_server.people.ground import Asked, Ground
from konnect_server.people.suggestions import EXPLORE, RULES, compose
from protocol.errors import BadCursor, Invalid, KeyReused
from protocol.frames import (
    AnswerHistory,
    FeedList,
    MatchHistory,
    MatchPass,
    MatchSuggest,
    MatchUnmatch,
    OpenerSend,
    ProfileFilter,
    Suggestion,
    Suggestions,
)
from storage import feed, openers, recommender, suggestions
from storage.database import Database
from storage.openers import Terms
from storage.suggestions import Candidate
from tests.test_feed import Somebody, somebody, somebody_plain, store

NOBODY = UUID(int=0)


async def ask(database: Database, who: UUID, command: Any) -> Any:
    """The rule's answer, as the socket and HTTP get it."""
    ground = Ground(database, Config(), uuid7, lambda name: name)
    return (await RULES[type(command)](ground, Asked(who, None, uuid7()), command)).result


async def page(database: Database, who: UUID, limit: int = 10, **more: Any) -> list[Suggestion]:
    answer: Suggestions = await ask(database, who, MatchSuggest(id=1, limit=limit, **more))
    return answer.people


async def scores(database: Database, who: UUID) -> dict[UUID, float]:
    """Of everybody who might be suggested now."""
    found = await suggestions.found(database, who, ProfileFilter(), 2**52, 0)
    return {one.other: one.score for one in found.found}


async def renew(database: Database) -> None:
    """As once a day."""
    for version in (await recommender.versions(database)):
        last: UUID | None = NOBODY
        while last is not None and version.state in ("standing", "trial"):
            last = await suggestions.renew(database, version.version, last)


def plain(**parts: Any) -> Somebody:
    """Somebody who differs from others by *parts* alone."""
    one = somebody_plain(**{"interests": [], "skills": [], "languages": [], "birthday": date(1990, 1, 1), **parts})
    one.id, one.standing = uuid7(), "active"
    return one


async def crowd(database: Database, count: int, **parts: Any) -> list[Somebody]:
    made = [plain(**parts) for _ in range(count)]
    for one in made:
        await store(database, one)
    return made


async def writes(database: Database, author: UUID, receiver: UUID, state: str = "waiting") -> None:
    """A first message, as if it had been sent an hour ago."""
    await database.execute(
        "insert into opener (author, receiver, text, at_ms, release_at_ms, state) "
        "values (%s, %s, 'hi', now_ms() - 3600000, 0, %s)", author, receiver, state,
    )  # fmt: skip


async def test_who_is_new_gets_suggestions_by_the_profile_alone(database: Database) -> None:
    jazz, chess = await crowd(database, 12, interests=["Jazz"]), await crowd(database, 12, interests=["Chess"])
    asker = plain(interests=["Jazz"])
    await store(database, asker)
    people = await page(database, asker.id, 10)
    by_score = [one for one in people if not one.explored]
    assert {one.profile.user for one in by_score} <= {one.id for one in jazz}
    assert all(one.why[0].kind in ("interests", "age", "near") for one in by_score)
    assert any(reason.values == ["Jazz"] for reason in by_score[0].why)
    assert len({one.profile.user for one in people}) == 10
    assert {one.id for one in chess} & set(await scores(database, asker.id))


async def test_who_has_no_profile_at_all_gets_some_too(database: Database) -> None:
    await crowd(database, 5, interests=["Jazz"])
    asker = uuid7()
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', '-', 0)",
        asker, f"{asker}@example.com",
    )  # fmt: skip
    assert len(await page(database, asker)) == 5


async def test_ones_own_answers_move_the_order_at_once(database: Database) -> None:
    jazz, chess = await crowd(database, 8, interests=["Jazz"]), await crowd(database, 8, interests=["Chess"])
    asker = plain()
    await store(database, asker)
    before = await scores(database, asker.id)
    for one in chess[:4]:
        await writes(database, asker.id, one.id)
    for one in jazz[:4]:
        await ask(database, asker.id, MatchPass(id=1, key=str(one.id), user=one.id))
    after = await scores(database, asker.id)
    left_jazz, left_chess = {one.id for one in jazz[4:]}, {one.id for one in chess[4:]}
    assert max(before[one] for one in left_jazz | left_chess) == pytest.approx(min(before[one] for one in left_jazz))
    assert min(after[one] for one in left_chess) > max(after[one] for one in left_jazz)
    assert set(after) == left_jazz | left_chess, "whom one has answered does not come again"


async def test_what_others_answered_in_secret_moves_nothing(database: Database) -> None:
    """Neither of who was written to, nor of anybody else; also not after the day's work, nor by a release to others."""
    one, other, third = await crowd(database, 3, interests=["Jazz"])
    await crowd(database, 5)
    before = [await scores(database, who.id) for who in (one, third)]
    await writes(database, other.id, one.id)  # waits
    await writes(database, other.id, third.id, "withheld")
    await ask(database, other.id, MatchPass(id=1, key="p", user=one.id))
    await database.execute(
        "insert into contact_request (person, other, id, ignored) values (%s, %s, gen_random_uuid(), true)",
        third.id, other.id,
    )  # fmt: skip
    await database.execute("delete from contact_request where person = %s", third.id)
    await renew(database)
    assert [await scores(database, who.id) for who in (one, third)] == before
    await database.execute("update opener set state = 'released' where author = %s and receiver = %s", other.id, one.id)
    await renew(database)
    mine = await scores(database, one.id)
    assert mine == before[0], "who was written to cannot tell by whom"
    theirs = await scores(database, third.id)
    assert {who for who in theirs if theirs[who] != before[1][who]} <= {one.id}, "it is about who was written to"
    people = await page(database, one.id)
    assert not any(reason.kind == "answers" for suggested in people for reason in suggested.why)


@pytest.mark.parametrize("part", ["interests", "languages", "birthday", "distance", "city", "skills"])
async def test_what_somebody_hides_is_in_no_order_and_no_reason(database: Database, part: str) -> None:
    shares = {
        "interests": ["Jazz", "Chess"], "languages": ["de"], "skills": ["piano"], "latitude": 48.2, "longitude": 16.4,
        "city": "Vienna",
    }  # fmt: skip
    parts: dict[str, dict[str, Any]] = {
        "interests": {"interests": []}, "languages": {"languages": []}, "skills": {"skills": []},
        "birthday": {"birthday": None}, "distance": {"latitude": None, "longitude": None}, "city": {"city": None},
    }  # fmt: skip
    hiding, without = plain(**shares), plain(**{**shares, **parts[part]})
    hiding.visibility = {part: "contacts"}
    asker = plain(**shares)
    for one in (hiding, without, asker):
        await store(database, one)
    found = await scores(database, asker.id)
    assert found[hiding.id] == pytest.approx(found[without.id], abs=1e-12), "as if it was not there"
    told = {one.profile.user: one.why for one in await page(database, asker.id)}
    assert told[hiding.id] == told[without.id]
    kinds = {reason.kind for reason in told[hiding.id]}
    assert {"birthday": "age", "distance": "near"}.get(part, part) not in kinds
    if part == "city":
        assert all(reason.city is msgspec.UNSET for reason in told[hiding.id])


async def test_who_hides_the_own_distance_is_told_nobodys(database: Database) -> None:
    near, far = plain(latitude=48.2, longitude=16.4), plain(latitude=-18.1, longitude=178.4)
    asker = plain(latitude=48.2, longitude=16.4)
    asker.visibility = {"distance": "contacts"}
    for one in (near, far, asker):
        await store(database, one)
    found = await scores(database, asker.id)
    assert found[near.id] == pytest.approx(found[far.id])


async def test_blocks_pauses_and_passes_are_never_shown(database: Database) -> None:
    asker = plain(interests=["Jazz"])
    await store(database, asker)
    people = await crowd(database, 9, interests=["Jazz"])
    mine, theirs, paused, suspended, left, passed, contact, incomplete, there = people
    await database.execute("insert into block (person, blocked) values (%s, %s)", asker.id, mine.id)
    await database.execute("insert into block (person, blocked) values (%s, %s)", theirs.id, asker.id)
    for one, standing in ((paused, "paused"), (suspended, "suspended"), (left, "leaving")):
        await database.execute("update account set standing = %s where id = %s", standing, one.id)
    await ask(database, asker.id, MatchPass(id=1, key="p", user=passed.id))
    await database.execute("insert into contact (person, other) values (%s, %s)", asker.id, contact.id)
    await database.execute("update profile set complete = false where person = %s", incomplete.id)
    for _ in range(3):
        assert [one.profile.user for one in await page(database, asker.id)] == [there.id]
        shown = await feed.feed(database, asker.id, FeedList(id=1), 1_790_000_000_000)
        assert [one["profile"]["user"] for one in shown.people] == [str(there.id)]
    keys = await database.fetch_all("select person from suggest_key")
    assert {row[0] for row in keys} == {one.id for one in (asker, mine, theirs, passed, contact, there)}
    await ask(database, asker.id, MatchPass(id=1, key="q", user=passed.id, on=False))
    await database.execute("update account set standing = 'active' where id = %s", paused.id)
    assert {one.profile.user for one in await page(database, asker.id)} == {there.id, passed.id, paused.id}
    await database.execute("update account set standing = 'paused' where id = %s", asker.id)
    assert await page(database, asker.id) == [], "who pauses meets nobody new"


async def test_who_is_blocked_between_the_choice_and_the_showing_is_not_shown(database: Database) -> None:
    asker, one, other = await crowd(database, 3)
    found = await suggestions.found(database, asker.id, ProfileFilter(), 2**52, 0)
    picks = compose(found.found, 10, "")
    await database.execute("insert into block (person, blocked) values (%s, %s)", one.id, asker.id)
    shown = await suggestions.shown(database, asker.id, found.version, picks)
    assert [suggested.person["profile"]["user"] for suggested in shown] == [str(other.id)]
    assert await database.fetch_all("select other from impression") == [(other.id,)]


async def test_nobody_is_suggested_more_often_than_the_house_allows(database: Database) -> None:
    star = plain(interests=["Jazz", "Chess", "Hiking"], languages=["de"])
    await store(database, star)
    readers = await crowd(database, 25, interests=["Jazz", "Chess", "Hiking"], languages=["de"])
    await crowd(database, 15)
    await database.execute("select set_house_rule('exposure_cap', '4')")
    for reader in readers[:20]:
        assert len(await page(database, reader.id, 5)) == 5
    rows = await database.fetch_all("select other, shown from exposure where day = (now() at time zone 'utc')::date")
    counts: dict[UUID, int] = dict(rows)
    assert sum(counts.values()) == 100
    assert max(counts.values()) == 4, "and while there are others nobody has more"
    assert counts[star.id] == 4
    assert len(counts) >= 25


async def test_the_cap_follows_what_is_shown_on_average(database: Database) -> None:
    people = await crowd(database, 4)
    await database.execute(
        "insert into exposure select person, (now() at time zone 'utc')::date - 1, 10 from profile where met"
    )
    await database.execute("delete from house_rule where name = 'suggest_day'")
    assert await suggestions.begin_day(database) == [1]
    assert await suggestions.begin_day(database) == [], "once a day"
    assert await database.fetch_one("select value from house_rule where name = 'exposure_cap'") == ("50",)
    assert len(people) == 4


def test_a_page_is_the_likeliest_and_each_fifth_by_chance_and_the_new_first() -> None:
    chance = random.Random(1)
    old = [Candidate(uuid7(), chance.random(), 0, 0.0, False) for _ in range(40)]
    new = [Candidate(uuid7(), 0.0, 0, 0.0, True) for _ in range(3)]
    picks = compose([*old, *new], 15, "seed")
    assert [pick.explored for pick in picks] == [place % EXPLORE == 0 for place in range(1, 16)]
    assert {pick.other for pick in picks if pick.explored} == {one.other for one in new}, "newcomers get an audience"
    likeliest = sorted(old, key=lambda one: -one.score)[:12]
    assert [pick.other for pick in picks if not pick.explored] == [one.other for one in likeliest]
    assert compose([*new, *old], 15, "seed") == picks, "by the seed alone"
    assert compose(old, 15, "seed") != compose(old, 15, "another")


def test_who_was_shown_in_vain_or_to_many_comes_later_and_who_is_full_last() -> None:
    seen, crowded, fresh, full = uuid7(), uuid7(), uuid7(), uuid7()
    found = [
        Candidate(seen, 0.5, 3, 0.0, False),
        Candidate(crowded, 0.5, 0, 0.5, False),
        Candidate(fresh, 0.3, 0, 0.0, False),
    ]
    picks = compose([*found, Candidate(full, 0.9, 0, 1.0, True)], 4, "")
    assert [pick.other for pick in picks] == [fresh, seen, crowded, full]
    alike = [Candidate(uuid7(), 0.5, 0, shown / 20, False) for shown in (3, 1, 0, 2)]
    assert [pick.other for pick in compose(alike, 4, "")] == [alike[n].other for n in (2, 1, 3, 0)]
    assert compose([], 10, "") == []


async def test_pages_come_to_an_end_and_nobody_comes_twice(database: Database) -> None:
    asker = plain()
    await store(database, asker)
    people = {one.id for one in await crowd(database, 23)}
    seen: list[UUID] = []
    cursor: str | None = None
    for _ in range(10):
        answer: Suggestions = await ask(database, asker.id, MatchSuggest(id=1, limit=5, cursor=cursor))
        seen += [one.profile.user for one in answer.people]
        cursor = answer.cursor
        if cursor is None:
            break
    assert cursor is None
    assert sorted(seen) == sorted(people)
    with pytest.raises(BadCursor):
        await ask(database, asker.id, MatchSuggest(id=1, cursor="nonsense"))


async def test_filters_hold(database: Database) -> None:
    asker = plain(latitude=48.2, longitude=16.4)
    women = await crowd(database, 4, gender="woman", latitude=48.2, longitude=16.4)
    await crowd(database, 4, gender="man", latitude=48.2, longitude=16.4)
    await crowd(database, 4, gender="woman", latitude=-18.1, longitude=178.4)
    await store(database, asker)
    found = await page(database, asker.id, filter=ProfileFilter(genders=["Woman"], within_km=50))
    assert {one.profile.user for one in found} == {one.id for one in women}


async def test_what_was_shown_is_remembered_and_the_history_says_what_became_of_it(database: Database) -> None:
    asker = plain(interests=["Jazz"])
    await store(database, asker)
    people = await crowd(database, 6, interests=["Jazz"])
    shown = await page(database, asker.id, 6)
    rows = await database.fetch_all(
        "select other, version, source, place, explored from impression where person = %s order by place", asker.id
    )
    assert rows == [
        (one.profile.user, 1, "suggest", place, place == 5) for place, one in enumerate(shown, start=1)
    ]
    pending, accepted, parted, rejected, back, unseen = people
    for one in (pending, accepted, parted):
        await openers.send_opener(database, asker.id, _opener(one.id), Terms(per_day=9), uuid7(), uuid7())
    for one in (accepted, parted):
        changed = await openers.send_opener(database, one.id, _opener(asker.id), Terms(), uuid7(), uuid7())
        assert changed.match is not None
        match = changed.match
    await openers.end_match(database, parted.id, MatchUnmatch(id=1, key="u", match=match))
    await ask(database, asker.id, MatchPass(id=1, key="r", user=rejected.id))
    await ask(database, asker.id, MatchPass(id=1, key="b", user=back.id))
    await ask(database, asker.id, MatchPass(id=1, key="b2", user=back.id, on=False))
    past: AnswerHistory = await ask(database, asker.id, MatchHistory(id=1))
    assert {one.user: one.status for one in past.people} == {
        pending.id: "pending", accepted.id: "accepted", parted.id: "rejected", rejected.id: "rejected",
    }  # fmt: skip
    assert all(one.score is not msgspec.UNSET and 0 < one.score < 1 for one in past.people)
    pages, cursor = [], None
    for _ in range(5):
        turned: AnswerHistory = await ask(database, asker.id, MatchHistory(id=1, limit=1, cursor=cursor))
        pages += turned.people
        cursor = turned.cursor
        if cursor is None:
            break
    assert pages == past.people
    assert [one.user for one in (await ask(database, pending.id, MatchHistory(id=1))).people] == []
    assert (await ask(database, unseen.id, MatchHistory(id=1))).people == []
    found = await recommender.results(database, 7)
    assert [(one.version, one.source, one.impressions, one.openers, one.matches, one.replies) for one in found] == [
        (1, "suggest", 6, 3, 2, 0)
    ]


def _opener(user: UUID) -> OpenerSend:
    return OpenerSend(id=1, key=str(uuid7()), user=user, text="hi")


async def test_a_pass_is_ones_own_and_has_a_key(database: Database) -> None:
    one, other = await crowd(database, 2)
    with pytest.raises(Invalid):
        await ask(database, one.id, MatchPass(id=1, key="k", user=one.id))
    command = MatchPass(id=1, key="k", user=other.id)
    await ask(database, one.id, command)
    await ask(database, one.id, command)
    with pytest.raises(KeyReused):
        await ask(database, one.id, MatchPass(id=1, key="k", user=other.id, on=False))
    await ask(database, one.id, MatchPass(id=1, key="nobody", user=uuid7()))
    assert await database.fetch_all("select person, other from passed_over") == [(one.id, other.id)]
    assert [suggested.profile.user for suggested in await page(database, other.id)] == [one.id], "who knows of nothing"


async def test_a_trial_is_for_always_the_same_share_of_people(database: Database) -> None:
    [version] = await recommender.versions(database)
    number = await recommender.write(database, "candidate", version.weights, {}, {"auc": 0.7}, [])
    assert not await recommender.try_out(database, version.version, 50), "the standing one is no trial"
    assert await recommender.try_out(database, number, 30)
    people = [uuid7() for _ in range(400)]
    rows = [await database.fetch_one("select recommender_of(%s)", one) for one in people]
    again = [await database.fetch_one("select recommender_of(%s)", one) for one in people]
    assert rows == again
    on_trial = sum(row == (number,) for row in rows)
    assert 80 <= on_trial <= 160
    assert await recommender.end_trial(database)
    assert {(await database.fetch_one("select recommender_of(%s)", one)) for one in people[:50]} == {(version.version,)}
    refused = await recommender.write(database, "refused", version.weights, {}, {"auc": 0.4}, [])
    assert not await recommender.stand(database, refused)
    assert not await recommender.stand(database, 99)


async def test_versions_are_swapped_while_people_ask_and_come_and_change(database: Database) -> None:
    people = await crowd(database, 30, interests=["Jazz"])
    [version] = await recommender.versions(database)
    asked = itertools.count()
    done = trio.Event()

    async def reader(who: Somebody) -> None:
        while not done.is_set():
            assert len(await page(database, who.id, 5)) == 5
            next(asked)

    async def changer(who: Sequence[Somebody]) -> None:
        for turn in itertools.count():
            if done.is_set():
                return
            await database.execute(
                "update profile set interests = %s, updated_at_ms = now_ms() where person = %s",
                [f"Tag{turn}"], who[turn % len(who)].id,
            )  # fmt: skip
            await trio.sleep(0.01)

    stood = []
    async with trio.open_nursery() as nursery:
        for one in people[:3]:
            nursery.start_soon(reader, one)
        nursery.start_soon(changer, people[3:8])
        for turn in range(4):
            weights = {**version.weights, "bias": -3.0 - turn / 10}
            tags = [("i:jazz", [turn / 10] * 16, [0.1] * 16)]
            number = await recommender.write(database, "candidate", weights, {}, {"auc": 0.7}, tags)
            assert await recommender.stand(database, number)
            stood.append(number)
            now = next(asked)
            while next(asked) < now + 8:  # some pages by it
                await trio.sleep(0.01)
        done.set()
    found = await recommender.versions(database)
    assert [one.version for one in found if one.state == "standing"] == stood[-1:]
    used = await database.fetch_all("select distinct version from impression")
    assert {row[0] for row in used} >= set(stood)
    keys = await database.fetch_all("select count(*) from suggest_key where version = %s", stood[-1])
    assert keys == [(30,)]
    parts = await database.fetch_all("select distinct version from suggest_key")
    assert {row[0] for row in parts} == set(stood[-2:]), "the last one is kept, to go back to; older ones are not"
    assert await recommender.stand(database, stood[-2])
    assert len(await page(database, people[0].id, 5)) == 5


async def test_the_days_work_and_old_impressions(database: Database) -> None:
    one, other = await crowd(database, 2)
    await writes(database, one.id, other.id, "released")
    await database.execute(
        "insert into impression (person, other, at_ms, version, source, place, score) "
        "values (%s, %s, now_ms() - 91 * 86400000::bigint, 1, 'feed', 1, 0.1), (%s, %s, now_ms(), 1, 'feed', 1, 0.1)",
        one.id, other.id, one.id, other.id,
    )  # fmt: skip
    await renew(database)
    [(popular,)] = await database.fetch_all("select popular from suggest_key where person = %s", other.id)
    assert popular > 0
    [(key,)] = await database.fetch_all("select key::real[] from suggest_key where person = %s", other.id)
    assert key[32] == pytest.approx(popular)
    assert await suggestions.forget(database) == 1
    assert await suggestions.forget(database) == 0


async def test_people_at_random_get_pages_whatever_they_show_and_hide(database: Database) -> None:
    chance = random.Random(11)
    people = [somebody(chance, hide=0.4) for _ in range(25)]
    for one in people:
        await store(database, one)
    for one in people:
        if one.standing == "active":
            for suggested in await page(database, one.id, 30):
                assert 0 <= suggested.score <= 1
