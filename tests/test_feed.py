"""People to meet and people who are looked for: against a plain reading of everybody, and as an attacker would look."""

import random
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
import pytest

from konnect_server.ids import uuid7
from protocol.errors import BadCursor
from protocol.frames import FeedList, ProfileFilter, ProfileSearch
from storage import feed
from storage.database import Database

TODAY_MS = 1_790_000_000_000
INTERESTS = ("Hiking", "cinema", "Chess", "cooking", "Jazz")
SKILLS = ("piano", "Chess", "welding")
CITIES = (("Vienna", 48.2, 16.37), ("Graz", 47.07, 15.44), ("Suva", -18.14, 178.44), ("Apia", -13.83, -171.77))
NAMES = ("Anna", "Annika", "Bob", "Chessa")
WRITE = "insert into opener (author, receiver, text, at_ms, release_at_ms) values (%s, %s, 'hi', 0, 0)"
ASK = "insert into contact_request (person, other, id) values (%s, %s, gen_random_uuid())"
FIELDS = ("birthday", "gender", "interests", "skills", "languages", "distance", "last_name", "bio", "city")


class Somebody(msgspec.Struct):
    """A person as the test has made her."""

    id: UUID
    profile: dict[str, Any]
    visibility: dict[str, str]
    standing: str = "active"
    online: bool = False
    last_seen: str = "everyone"

    def open(self, part: str, field: str | None = None) -> Any:
        """What everyone may see of a part; None: nothing."""
        hidden = self.visibility.get(part, "contacts" if part == "last_name" else "everyone") != "everyone"
        return None if hidden else self.profile[field or part]


async def store(database: Database, who: Somebody, *, complete: bool = True) -> None:
    """Write the person into the tables; a photo is not needed for *complete*."""
    p = who.profile
    await database.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, %s, '-', 0)",
        who.id, f"{who.id}@example.com", p["first_name"],
    )  # fmt: skip
    await database.execute(
        "insert into profile (person, first_name, last_name, bio, birthday, gender, city, latitude, longitude, "
        "interests, skills, languages, visibility) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::json)",
        who.id, p["first_name"], p["last_name"], p["bio"], p["birthday"], p["gender"], p["city"], p["latitude"],
        p["longitude"], p["interests"], p["skills"], p["languages"], msgspec.json.encode(who.visibility).decode(),
    )  # fmt: skip
    await database.execute("select refresh_profile(%s)", who.id)
    await database.execute("update profile set complete = %s where person = %s", complete, who.id)
    if who.standing != "active":
        await database.execute("update account set standing = %s where id = %s", who.standing, who.id)
    if who.last_seen != "everyone":
        await database.execute("insert into privacy (person, last_seen) values (%s, %s)", who.id, who.last_seen)
    if who.online:
        await database.execute("insert into node (id) values (%s) on conflict do nothing", UUID(int=7))
        await database.execute("insert into seat (node, person) values (%s, %s)", UUID(int=7), who.id)


def somebody(chance: random.Random, hide: float = 0.15) -> Somebody:
    """Drawn at random, hidden parts and all."""
    city, latitude, longitude = chance.choice(CITIES)
    profile = {
        "first_name": chance.choice(NAMES), "last_name": chance.choice(("Secret", "Mayer")), "bio": chance.choice((
            "I like jazz and mountains", "welding is art", "nothing to say")),
        "birthday": date(chance.randint(1960, 2005), chance.randint(1, 12), chance.randint(1, 28)),
        "gender": chance.choice(("woman", "Man", "nonbinary", None)), "city": city,
        "latitude": latitude + chance.uniform(-0.3, 0.3), "longitude": longitude + chance.uniform(-0.3, 0.3),
        "interests": chance.sample(INTERESTS, chance.randint(0, 3)),
        "skills": chance.sample(SKILLS, chance.randint(0, 2)),
        "languages": chance.sample(("de", "en", "fr"), chance.randint(0, 2)),
    }  # fmt: skip
    visibility = {one: chance.choice(("contacts", "nobody")) for one in FIELDS if chance.random() < hide}
    return Somebody(
        uuid7(), profile, visibility, "active" if chance.random() < 0.9 else "paused", chance.random() < 0.3,
        "everyone" if chance.random() < 0.8 else "contacts",
    )  # fmt: skip


def somebody_plain(**changes: Any) -> Somebody:
    """Ann, who shows everything."""
    who = somebody(random.Random(1), hide=0)
    return Somebody(who.id, {**who.profile, **changes}, {"last_name": "everyone"})


async def walk(
    database: Database, asker: UUID, limit: int = 10, pages: int = 500, **conditions: Any
) -> list[list[UUID]]:
    """All pages of the feed."""
    found: list[list[UUID]] = []
    cursor: str | None = None
    for _ in range(pages):
        command = FeedList(id=1, filter=ProfileFilter(**conditions), limit=limit, cursor=cursor)
        page = await feed.feed(database, asker, command, TODAY_MS)
        found.append([UUID(one["profile"]["user"]) for one in page.people])
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("it does not end")


async def search(database: Database, asker: UUID, query: str = "", limit: int = 10, **conditions: Any) -> list[UUID]:
    """All that a search finds, in its order."""
    found: list[UUID] = []
    cursor: str | None = None
    while True:
        command = ProfileSearch(id=1, query=query, filter=ProfileFilter(**conditions), limit=limit, cursor=cursor)
        page = await feed.search(database, asker, command, TODAY_MS)
        assert len(page.people) <= limit
        found += [UUID(one["profile"]["user"]) for one in page.people]
        cursor = page.cursor
        if cursor is None:
            return found


def flat(pages: Sequence[Sequence[UUID]]) -> list[UUID]:
    return [one for page in pages for one in page]


async def today(database: Database) -> date:
    row = await database.fetch_one("select (now() at time zone 'utc')::date")
    assert row is not None
    return date.fromisoformat(str(row[0]))


async def fits(database: Database, asker: Somebody, who: Somebody, wanted: ProfileFilter, on: date) -> bool:
    """The plain reading: what everyone may see, condition by condition."""

    def lower(texts: Any) -> set[str]:
        return {one.lower() for one in texts or ()}

    if wanted.age_from is not None or wanted.age_to is not None:
        born = who.open("birthday")
        if born is None:
            return False
        age = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
        if not (wanted.age_from or 0) <= age <= (150 if wanted.age_to is None else wanted.age_to):
            return False
    for part in ("interests", "skills", "languages"):
        asked = lower(getattr(wanted, part))
        if asked and not asked & lower(who.open(part)):
            return False
    if wanted.genders and (who.open("gender") or "").lower() not in lower(wanted.genders):
        return False
    if wanted.within_km is not None:
        if asker.open("distance", "latitude") is None or who.open("distance", "latitude") is None:
            return False
        row = await database.fetch_one("select distance_km(%s, %s)", asker.id, who.id)
        assert row is not None
        if row[0] is None or row[0] > wanted.within_km:
            return False
    return not wanted.online or (who.online and who.last_seen == asker.last_seen == "everyone")


def conditions(chance: random.Random) -> dict[str, Any]:
    """Of what one may ask for, some."""
    all_of_it: dict[str, Any] = {
        "age_from": chance.randint(18, 50), "within_km": chance.choice((5, 30, 200, 20_000)),
        "interests": chance.sample(("hiking", "JAZZ", "chess"), 2), "skills": ["chess"],
        "languages": ["de", "fr"], "genders": [chance.choice(("woman", "MAN"))], "online": True,
    }  # fmt: skip
    picked = {name: all_of_it[name] for name in all_of_it if chance.random() < 0.35}
    if chance.random() < 0.3:
        picked["age_to"] = picked.get("age_from", 18) + 15
    return picked


async def test_every_filter_finds_whom_a_plain_reading_finds(database: Database) -> None:
    """Each once, whatever is hidden; in the feed the same but for whom one has answered, and so on."""
    chance = random.Random(20)
    asker = somebody(chance, hide=0)
    asker.standing, asker.last_seen = "active", "everyone"
    people = [somebody(chance) for _ in range(250)]
    incomplete = set[UUID]()
    for one in (asker, *people):
        if one is not asker and chance.random() < 0.1:
            incomplete.add(one.id)
        await store(database, one, complete=one.id not in incomplete)
    blocked, blocks, contact, answered, over, asked, ignored = chance.sample([one.id for one in people], 7)
    for sql, left, right in (
        ("insert into block (person, blocked) values (%s, %s)", asker.id, blocked),
        ("insert into block (person, blocked) values (%s, %s)", blocks, asker.id),
        ("insert into contact (person, other) values (%s, %s)", asker.id, contact),
        ("insert into contact (person, other) values (%s, %s)", contact, asker.id),
        (WRITE, asker.id, answered),
        (WRITE, over, asker.id),
        (ASK, asker.id, asked),
        (ASK, ignored, asker.id),
    ):
        await database.execute(sql, left, right)
    await database.execute("update contact_request set ignored = true where person = %s", ignored)
    on, ever = await today(database), 0
    for turn in range(60):
        picked = conditions(chance) if turn else {}
        wanted = ProfileFilter(**picked)
        active = [one for one in people if one.standing == "active"]
        expected = {one.id for one in active if await fits(database, asker, one, wanted, on)}
        expected -= {blocked, blocks}
        pages = await walk(database, asker.id, chance.choice((1, 7, 10, 30)), **picked)
        assert len(flat(pages)) == len(set(flat(pages)))
        assert set(flat(pages)) == expected - incomplete - {contact, answered, asked, ignored}, picked
        assert not picked or set(await search(database, asker.id, **picked)) == expected, picked
        ever += bool(picked and expected)
    assert ever > 20, "filters that find nobody prove nothing"
    everybody = flat(await walk(database, asker.id))
    there = next(one for one in people if one.id == over)
    assert (over in everybody) is (there.standing == "active" and over not in incomplete), "as others are"


async def test_pages_are_stable_while_people_come_go_and_change(database: Database) -> None:
    chance = random.Random(3)
    asker = somebody_plain()
    people = [somebody(chance, hide=0) for _ in range(120)]
    for one in (asker, *people):
        one.standing = "active"
        await store(database, one)
    seen: list[UUID] = []
    gone: set[UUID] = set()
    cursor: str | None = None
    for turn in range(40):
        page = await feed.feed(database, asker.id, FeedList(id=1, limit=7, cursor=cursor), TODAY_MS)
        now = [UUID(one["profile"]["user"]) for one in page.people]
        assert not gone & set(now), "whoever went is not shown"
        seen += now
        cursor = page.cursor
        if cursor is None:
            break
        newcomer, leaver, changed = somebody(chance, hide=0), people[turn].id, people[-turn - 1].id
        newcomer.standing = "active"
        await store(database, newcomer)
        await database.execute("update account set standing = 'paused' where id = %s", leaver)
        gone.add(leaver)
        await database.execute("update profile set interests = '{Jazz}', bio = 'new' where person = %s", changed)
        await database.execute("select refresh_profile(%s)", changed)
        await database.execute("update profile set complete = true where person = %s", changed)
    assert cursor is None
    assert len(seen) == len(set(seen)), "nobody twice"
    assert {one.id for one in people} - gone <= set(seen), "and nobody who stayed is left out"


async def test_whom_one_answers_while_paging_does_not_come_again(database: Database) -> None:
    chance = random.Random(8)
    asker = somebody_plain()
    people = [somebody(chance, hide=0) for _ in range(30)]
    for one in (asker, *people):
        one.standing = "active"
        await store(database, one)
    first = await feed.feed(database, asker.id, FeedList(id=1, limit=10), TODAY_MS)
    left = {one.id for one in people} - {UUID(one["profile"]["user"]) for one in first.people}
    answered = min(left)
    await database.execute(WRITE, asker.id, answered)
    rest = await feed.feed(database, asker.id, FeedList(id=1, limit=30, cursor=first.cursor), TODAY_MS)
    assert {UUID(one["profile"]["user"]) for one in rest.people} == left - {answered}
    assert rest.cursor is None


async def test_who_shares_more_comes_before_and_another_day_begins_elsewhere(database: Database) -> None:
    chance = random.Random(5)
    asker = somebody_plain(interests=["Hiking", "Jazz"], languages=["de"])
    people = [somebody(chance, hide=0) for _ in range(90)]
    for one in (asker, *people):
        one.standing = "active"
        one.profile |= {"latitude": 48.2, "longitude": 16.4, "languages": [], "birthday": date(1990, 1, 1)}
        await store(database, one)
    page = await feed.feed(database, asker.id, FeedList(id=1, limit=30), TODAY_MS)
    common = [len(one.get("common", [])) for one in page.people]
    assert sum(common[:10]) > sum(common[-10:]), "of those who were found, the likelier first"
    assert 2 in common[:3]
    days = [
        {one["profile"]["user"] for one in (await feed.feed(database, asker.id, FeedList(id=1, limit=30), at)).people}
        for at in (TODAY_MS, TODAY_MS, TODAY_MS + 86_400_000)
    ]
    assert days[0] == days[1] != days[2]


@pytest.mark.parametrize("part", ["interests", "skills", "bio", "city", "last_name"])
async def test_what_is_hidden_is_found_by_no_word_and_shows_in_no_order(database: Database, part: str) -> None:
    """A marked word in one hidden part; its owner's place in every listing is as without it."""
    asker = somebody_plain(interests=["Xyzzy"])
    hiding = somebody_plain(**{part: ["Xyzzy"] if part in ("interests", "skills") else "Xyzzy"})
    plain = somebody_plain(interests=[], skills=[])
    for visible in (False, True):
        hiding.id, plain.id, asker.id = uuid7(), uuid7(), uuid7()
        hiding.visibility = {part: "everyone" if visible else "contacts"}
        for one in (asker, hiding, plain):
            await store(database, one)
        found = await search(database, asker.id, "xyzzy")
        assert found == ([hiding.id] if visible else [])
        for condition in ("interests", "skills"):
            found = await search(database, asker.id, "", 10, **{condition: ["xyzzy"]})
            assert (hiding.id in found) is (visible and part == condition)
        shown = (await feed.feed(database, asker.id, FeedList(id=1), TODAY_MS)).people
        me = next(one for one in shown if one["profile"]["user"] == str(hiding.id))
        assert ("Xyzzy" in str(me)) is visible
        for who in (hiding, plain, asker):
            await database.execute("update account set standing = 'paused' where id = %s", who.id)


async def test_names_come_first_and_every_word_counts(database: Database) -> None:
    asker = somebody_plain()
    named = somebody_plain(first_name="Jazzy", bio="of Vienna")
    told = somebody_plain(first_name="Bob", bio="I play jazz in Vienna")
    other = somebody_plain(first_name="Eve", bio="mountains", interests=[], city="Graz")
    for one in (asker, named, told, other):
        await store(database, one)
    assert await search(database, asker.id, "JAZZ") == [named.id, told.id]
    assert await search(database, asker.id, "jazz", limit=1) == [named.id, told.id]
    assert set(await search(database, asker.id, "vienna jaz")) == {named.id, told.id}
    assert await search(database, asker.id, "jazz mountains") == []
    assert await search(database, asker.id, "jazz'); drop table profile; --") == []
    assert await search(database, asker.id, "a:* & b | ! \\ ' \"") == []


@pytest.mark.parametrize("standing", ["paused", "suspended", "leaving", "deleted"])
async def test_who_is_away_is_in_no_list_and_comes_back(database: Database, standing: str) -> None:
    asker, other = somebody_plain(), somebody_plain(first_name="Zoe")
    for one in (asker, other):
        await store(database, one)
    for now in (standing, "active"):
        await database.execute("update account set standing = %s where id = %s", now, other.id)
        there = [other.id] if now == "active" else []
        assert flat(await walk(database, asker.id)) == there
        assert await search(database, asker.id, "zoe") == there


async def test_who_hides_where_and_whether_he_is_here_finds_nobody_by_it(database: Database) -> None:
    asker, other = somebody_plain(), somebody_plain()
    asker.visibility = {"distance": "nobody"}
    asker.last_seen, other.online = "contacts", True
    for one in (asker, other):
        await store(database, one)
    assert flat(await walk(database, asker.id, within_km=20_000)) == []
    assert await search(database, asker.id, within_km=20_000) == []
    assert flat(await walk(database, asker.id, online=True)) == []
    [shown] = (await feed.feed(database, asker.id, FeedList(id=1), TODAY_MS)).people
    assert "online" not in shown
    assert "distance_km" not in shown["profile"]


async def test_a_filter_that_few_fit_looks_at_so_many_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be empty and have a cursor; all of them together find the one."""
    chance = random.Random(6)
    asker = somebody_plain(gender="woman")
    people = [somebody(chance, hide=0) for _ in range(150)]
    for one in (asker, *people):
        one.standing, one.profile["gender"] = "active", "man"
        await store(database, one)
    await database.execute("update profile set gender = 'rare' where person = %s", people[70].id)
    await database.execute("select refresh_profile(%s)", people[70].id)
    await database.execute("update profile set complete = true where person = %s", people[70].id)
    monkeypatch.setattr(feed, "LOOK", 60)
    pages = await walk(database, asker.id, genders=["Rare"])
    assert flat(pages) == [people[70].id]
    assert len(pages) > 1


@pytest.mark.parametrize("cursor", ["x", "kwHA", "lQEBwsKQ", "==", "lc9AAAAAAAAAAM9AAAAAAAAAAMLCkA=="])
async def test_a_cursor_of_somebody_else_s_making_is_refused_or_harmless(database: Database, cursor: str) -> None:
    asker = somebody_plain()
    await store(database, asker)
    try:
        page = await feed.feed(database, asker.id, FeedList(id=1, cursor=cursor), TODAY_MS)
    except BadCursor:
        return
    assert page.people == []
