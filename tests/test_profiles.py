"""Profiles in the database: who sees what, as an attacker would look at it, and what races leave behind."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from konnect_server.ids import uuid7
from protocol.errors import (
    HandleTaken,
    Invalid,
    KeyReused,
    KonnectError,
    NotReady,
    TooYoung,
    UnknownMedium,
    UnknownUser,
    WrongUse,
)
from protocol.frames import OwnProfile, ProfileUpdate
from storage import uploads
from storage.database import Database
from storage.profiles import ProfileRules, UpdatedProfile, find_profile, update_profile
from tests.test_uploads import person, ready

RULES = ProfileRules(18, ("admin",), 3_600_000)
FULL: dict[str, Any] = {
    "handle": "ann.m", "first_name": "Ann", "last_name": "Secretname", "bio": "Secretbio", "birthday": "1999-05-17",
    "gender": "Secretgender", "location": {"city": "Secretcity", "latitude": 48.2082, "longitude": 16.3738},
    "interests": ["Secretinterest"], "skills": ["Secretskill"], "goals": ["Secretgoal"], "languages": ["gsw"],
    "experience": [{"title": "Secrettitle", "organisation": "Secretplace", "text": "Secrettext"}],
    "links": ["https://secret.example"], "prompts": [{"question": "Secretquestion?", "answer": "Secretanswer"}],
}  # fmt: skip
PARTS = (
    "last_name", "photos", "bio", "birthday", "gender", "city", "distance", "interests", "skills", "goals", "languages",
    "experience", "links", "prompts",
)  # fmt: skip


async def update(
    database: Database, whose: UUID, key: str | None = None, rules: ProfileRules = RULES, **changes: Any
) -> UpdatedProfile:
    command = msgspec.convert({"id": 1, "t": "profile.update", "key": key or str(uuid7()), **changes}, ProfileUpdate)
    return await update_profile(database, whose, command, rules)


async def seen(database: Database, asker: UUID, whose: UUID) -> dict[str, Any]:
    """What *asker* sees, without what says only who it is."""
    found = await find_profile(database, asker, whose, None)
    assert (found.own is None) is (asker != whose)
    return {name: one for name, one in found.profile.items() if name not in ("user", "name")}


async def befriend(database: Database, one: UUID, other: UUID) -> None:
    await database.execute("insert into contact (person, other) values (%s, %s), (%s, %s)", one, other, other, one)


async def row(database: Database, whose: UUID, columns: str) -> tuple[Any, ...]:
    found = await database.fetch_one(f"select {columns} from profile where person = %s", whose)
    assert found is not None
    return found


async def together(*calls: Callable[[], Awaitable[object]]) -> list[str]:
    """Make all calls at once; of each what it raised, by code, or ''."""
    codes = [""] * len(calls)

    async def one(turn: int) -> None:
        try:
            await calls[turn]()
        except KonnectError as problem:
            codes[turn] = problem.code

    async with trio.open_nursery() as nursery:
        for turn in range(len(calls)):
            nursery.start_soon(one, turn)
    return codes


# --- changing it ------------------------------------------------------------------------------------------------------


async def test_a_change_names_what_it_changes_and_null_clears(database: Database) -> None:
    ann = await person(database)
    await update(database, ann, **FULL)
    changed = await update(database, ann, bio=None, skills=None, goals=[], location={"city": "Graz"}, gender="woman")
    own = msgspec.convert(changed.found.own, OwnProfile)
    assert (own.bio, own.skills, own.goals, own.gender) == (msgspec.UNSET, [], [], "woman")
    assert (own.city, own.latitude, own.longitude) == ("Graz", msgspec.UNSET, msgspec.UNSET), "replaced as one"
    assert (own.first_name, own.interests, own.handle) == ("Ann", ["Secretinterest"], "ann.m"), "the rest stays"
    assert await row(database, ann, "cell_lat, cell_lon, open_cell_lat") == (None, None, None)
    assert (await update(database, ann, location=None)).found.own.get("city") is None  # type: ignore[union-attr]


async def test_a_repeat_is_known_by_its_key_and_undoes_nothing(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    first = await update(database, ann, "k", bio="one")
    second = await update(database, ann, "l", bio="two")
    again = await update(database, ann, "k", bio="one")
    assert (first.new, again.new, again.number) == (True, False, first.number)
    assert again.found == second.found, "as it stands now"
    with pytest.raises(KeyReused):
        await update(database, ann, "k", bio="three")
    await update(database, bob, "k", bio="mine")  # a key is its person's own
    with pytest.raises(UnknownUser):
        await update(database, uuid7(), bio="nobody's")
    # A repeat is known before anything is judged: the rules may have changed meanwhile.
    await update(database, ann, "h", handle="anna")
    strict = ProfileRules(18, ("anna",), 1)
    assert not (await update(database, ann, "h", strict, handle="anna")).new
    with pytest.raises(HandleTaken):
        await update(database, ann, "i", strict, handle="anna")


async def test_two_devices_at_once_do_not_undo_each_other(database: Database) -> None:
    ann = await person(database)
    for turn in range(10):
        changes = {"bio": f"b{turn}"}, {"goals": [f"g{turn}"]}, {"visibility": {"bio": "nobody"}}, {"gender": f"{turn}"}
        await together(*(lambda one=one: update(database, ann, **one) for one in changes))
        own = (await update(database, ann)).found.own
        assert own is not None
        assert (own["bio"], own["goals"], own["gender"]) == (f"b{turn}", [f"g{turn}"], f"{turn}")
        assert own["visibility"]["bio"] == "nobody"
        await update(database, ann, visibility=None)
    rows = await database.fetch_all("select value from personal where person = %s and what = 'profile'", ann)
    assert [one[0] for one in rows] == [(await find_profile(database, ann, None, None)).own]


async def test_one_key_twice_at_once_changes_once(database: Database) -> None:
    ann = await person(database)
    made: list[UpdatedProfile] = []

    async def one() -> None:
        made.append(await update(database, ann, "k", bio="b"))

    await together(one, one, one)
    assert sorted(each.new for each in made) == [False, False, True]
    assert len({each.number for each in made}) == 1


async def test_a_row_of_ones_own_says_it_to_all_devices(database: Database) -> None:
    ann = await person(database)
    changed = await update(database, ann, first_name="Ann")
    sql = "select value, number from personal where person = %s and what = 'profile' and subject = ''"
    assert await database.fetch_all(sql, ann) == [(changed.found.own, changed.number)]
    assert (await update(database, ann, first_name="Ann")).number == changed.number, "it stands so already"


async def test_the_account_is_called_as_the_profile_says(database: Database) -> None:
    """By the last name only where everyone may see it."""
    ann, bob = await person(database), await person(database)

    async def called() -> str:
        return str((await find_profile(database, bob, ann, None)).profile["name"])

    await update(database, ann, last_name="Mayer")
    assert await called() == "x", "without a first name it stays"
    await update(database, ann, first_name=" Ann ")
    assert await called() == "Ann"
    await update(database, ann, visibility={"last_name": "everyone"})
    assert await called() == "Ann Mayer"
    await update(database, ann, visibility={"last_name": "contacts"})
    assert await called() == "Ann"
    await update(database, ann, first_name="F" * 48, last_name="L" * 48, visibility={"last_name": "everyone"})
    assert await called() == "F" * 48 + " " + "L" * 48
    await update(database, ann, first_name=None)
    assert await called() == "F" * 48 + " " + "L" * 48


# --- birthday ---------------------------------------------------------------------------------------------------------


async def test_nobody_is_younger_than_the_server_lets_in(database: Database) -> None:
    ann = await person(database)
    today = datetime.now(UTC).date()

    def years_ago(years: int, days: int = 0) -> str:
        first = date(today.year - years, today.month, min(today.day, 28))
        return date.fromordinal(first.toordinal() + days).isoformat()

    await update(database, ann, birthday=years_ago(18))
    for late in (years_ago(18, 3), years_ago(1)):
        with pytest.raises(TooYoung):
            await update(database, ann, birthday=late)
    with pytest.raises(Invalid, match="birthday"):
        await update(database, ann, birthday=years_ago(-1))
    own = (await update(database, ann)).found.own
    assert own is not None
    assert own["birthday"] == years_ago(18), "what was refused changed nothing"
    await update(database, ann, rules=ProfileRules(0, (), 1), birthday=years_ago(1))
    assert (await seen(database, await person(database), ann))["age"] == 1


@pytest.mark.parametrize("day", ["2001-02-29", "2001-13-01", "1899-12-31", "0000-01-01"])
async def test_a_birthday_is_a_day(day: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="birthday"):
        msgspec.convert({"id": 1, "t": "profile.update", "key": "k", "birthday": day}, ProfileUpdate)


# --- handle -----------------------------------------------------------------------------------------------------------


async def test_a_handle_has_one_owner_however_they_race(database: Database) -> None:
    people = [await person(database) for _ in range(6)]
    for turn in range(5):
        codes = await together(
            *(lambda one=one, n=turn: update(database, one, handle=f"h.{n}", bio=f"{n}") for one in people)
        )
        assert sorted(codes) == ["", *["handle_taken"] * 5]
        [owner] = [one for one, code in zip(people, codes, strict=True) if not code]
        assert (await find_profile(database, people[0], None, f"h.{turn}")).profile["user"] == str(owner)
        sql = "select count(*) from profile where bio = %s"
        assert await database.fetch_all(sql, f"{turn}") == [(1,)], "who lost it changed nothing"


async def test_two_who_swap_handles_do_not_wait_for_each_other(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    await update(database, ann, handle="ann")
    await update(database, bob, handle="bob")
    codes = await together(
        lambda: update(database, ann, handle="bob"), lambda: update(database, bob, handle="ann")
    )
    assert codes == ["handle_taken", "handle_taken"]
    await update(database, ann, handle="anna")
    await update(database, bob, handle="ann")  # it is free at once
    await update(database, bob, handle=None)
    with pytest.raises(UnknownUser):
        await find_profile(database, ann, None, "ann")


async def test_nobody_takes_a_word_of_the_house(database: Database) -> None:
    with pytest.raises(HandleTaken):
        await update(database, await person(database), handle="admin")


# --- photos -----------------------------------------------------------------------------------------------------------


async def test_photos_are_named_in_their_order_and_let_go(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    photos = [await ready(database, ann, "profile_photo") for _ in range(4)]
    changed = await update(database, ann, photos=[str(one) for one in photos[:3]])
    assert [one["id"] for one in changed.found.profile["photos"]] == [str(one) for one in photos[:3]]
    order = [photos[3], photos[1], photos[0]]
    await update(database, ann, photos=[str(one) for one in order])
    assert [one["id"] for one in (await seen(database, bob, ann))["photos"]] == [str(one) for one in order]
    used = await database.fetch_all("select id from upload where used_at_ms is not null order by id")
    assert [one[0] for one in used] == sorted(order), "what is shown no more is an orphan"
    await update(database, ann, photos=None)
    assert await database.fetch_all("select upload from upload_use") == []
    assert (await seen(database, bob, ann))["photos"] == []


async def test_photos_that_are_refused_and_then_nothing_is_changed(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    good = await ready(database, ann, "profile_photo")
    unfinished = uploads.NewUpload(uuid7(), ann, "profile_photo", 1, "image/png", bytes(32), "", 0, 3_600_000)
    await uploads.insert_upload(database, unfinished, 1 << 30)
    bad: list[tuple[UUID, type[KonnectError]]] = [
        (uuid7(), UnknownMedium), (await ready(database, bob, "profile_photo"), UnknownMedium),
        (await ready(database, ann, "photo"), WrongUse), (unfinished.id, NotReady),
    ]  # fmt: skip
    for photo, problem in bad:
        with pytest.raises(problem):
            await update(database, ann, bio="changed", photos=[str(good), str(photo)])
    with pytest.raises(UnknownUser):
        assert await find_profile(database, bob, None, "ann")
    assert await seen(database, bob, ann) == {}
    assert await database.fetch_all("select upload from upload_use") == []


async def test_a_photo_against_the_sweep_is_shown_or_unknown(database: Database) -> None:
    """Its time has come: the sweep has it, and then nothing names it, or the profile has it, and it stays."""
    ann, bob = await person(database), await person(database)

    async def sweep() -> None:
        await uploads.doom(database, 9, 60_000)

    for _ in range(20):
        photo = await ready(database, ann, "profile_photo", unused_ms=0)
        await database.execute("update upload set due_at_ms = 0 where id = %s", photo)
        [code, _] = await together(partial(update, database, ann, photos=[str(photo)]), sweep)
        state = (await database.fetch_all("select state from upload where id = %s", photo))[0][0]
        shown = [one["id"] for one in (await seen(database, bob, ann)).get("photos", [])]
        assert (code, state, str(photo) in shown) in (("", "ready", True), ("unknown_medium", "doomed", False))
        await update(database, ann, photos=None)


# --- who sees what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("audience", ["everyone", "contacts", "nobody"])
async def test_each_part_is_shown_to_whom_it_is_for(database: Database, part: str, audience: str) -> None:
    ann, bob, cid = [await person(database) for _ in range(3)]
    await befriend(database, ann, cid)
    photo = await ready(database, ann, "profile_photo")
    await update(database, ann, **FULL, photos=[str(photo)])
    everyone = dict.fromkeys(PARTS, "everyone")
    await update(database, ann, visibility={**everyone, part: audience})
    for one in (bob, cid):
        await update(database, one, location={"latitude": 48, "longitude": 16})
    field = {"birthday": "age", "distance": "distance_km"}.get(part, part)
    assert (field in await seen(database, bob, ann)) is (audience == "everyone")
    assert (field in await seen(database, cid, ann)) is (audience != "nobody")
    others = {"birthday": "age", "distance": "distance_km"}
    for asker in (bob, cid):
        assert {*(others.get(one, one) for one in PARTS if one != part), "handle", "first_name"} <= set(
            await seen(database, asker, ann)
        )
    assert (field in await seen(database, ann, ann)) is (part != "distance")


async def test_what_is_hidden_leaves_no_trace(database: Database) -> None:
    """A profile that hides everything answers a stranger as one does that has nothing to hide; nothing that searches
    and filters go by knows of it either."""
    ann, eve, bare = [await person(database) for _ in range(3)]
    photo = await ready(database, ann, "profile_photo")
    await update(database, ann, **FULL, photos=[str(photo)], visibility=dict.fromkeys(PARTS, "nobody"))
    await update(database, bare, first_name="Ann", handle="ann.n")
    await update(database, eve, location={"latitude": 48.2082, "longitude": 16.3738})
    hidden, nothing = await seen(database, eve, ann), await seen(database, eve, bare)
    assert {**hidden, "handle": "ann.n"} == {name: one for name, one in nothing.items() if one != []}
    words, tags, *opened = await row(
        database, ann, "words::text, tags, open_birthday, open_languages, open_cell_lat, open_cell_lon"
    )
    assert (words, tags, opened) == ("'ann' 'm'", [], [None, [], None, None])
    assert "secret" not in str((words, tags, hidden)).lower()
    for name in ("percent", "complete", "missing", "visibility", "birthday", "latitude", "longitude", "cell_lat"):
        assert name not in hidden
    for part in PARTS:  # for contacts alone is not for searches, either
        await update(database, ann, visibility={part: "contacts"})
    words, tags = await row(database, ann, "words::text, tags")
    assert (words, tags) == ("'ann' 'm'", [])


async def test_what_everyone_sees_is_found(database: Database) -> None:
    ann = await person(database)
    await update(database, ann, **FULL, visibility={"last_name": "everyone"})
    words, tags = await row(database, ann, "words::text, tags")
    for word in ("name", "bio", "gender", "city", "interest", "skill", "goal", "title", "place", "text", "answer"):
        assert f"'secret{word}'" in words
    assert tags == ["secretinterest", "secretskill"]
    await update(database, ann, bio="\u4e2d" * 1_000)  # one word of more bytes than the database's index takes
    [words] = await row(database, ann, "words::text")
    assert "\u4e2d" * 64 + "'" in words


async def test_who_may_not_be_seen_is_nobody(database: Database) -> None:
    """Blocked either way, suspended, leaving, deleted, and not there at all: by id and by handle, one answer."""
    ann, bob = await person(database), await person(database)
    await update(database, ann, handle="ann", first_name="Ann")
    await update(database, bob, location={"latitude": 1, "longitude": 1})

    async def answers() -> set[str]:
        found = set()
        for user, handle in ((ann, None), (uuid7(), None), (None, "ann"), (None, "nobody")):
            try:
                await find_profile(database, bob, user, handle)
                found.add("seen")
            except UnknownUser as problem:
                found.add(str(problem).replace(str(user or handle), "?"))
        distance = await database.fetch_one("select distance_km(%s, %s)", bob, ann)
        assert distance == (None,)
        return found

    assert len(await answers()) == 2, "seen, and unknown"
    for one, other in ((ann, bob), (bob, ann)):
        await database.execute("insert into block (person, blocked) values (%s, %s)", one, other)
        assert await answers() == {"there is no user ?"}
        assert (await seen(database, ann, ann))["handle"] == "ann", "one sees oneself"
        await database.execute("delete from block")
    for standing in ("suspended", "leaving", "deleted"):
        await database.execute("update account set standing = %s where id = %s", standing, ann)
        assert await answers() == {"there is no user ?"}
    await database.execute("update account set standing = 'paused' where id = %s", ann)
    assert "seen" in await answers()


async def test_who_has_said_nothing_is_shown_by_name(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    assert (await find_profile(database, bob, ann, None)).profile == {"user": str(ann), "name": "x"}
    own = (await find_profile(database, ann, None, None)).own
    assert own is not None
    assert (own["percent"], own["complete"]) == (0, False)
    assert own["missing"][:3] == ["photos", "birthday", "first_name"], "what the feed needs first"


async def test_percent_counts_what_is_there(database: Database) -> None:
    """To a hundred, whoever sees it; complete is who has what the feed needs."""
    ann = await person(database)
    assert (await database.fetch_one("select sum(weight)::int from profile_parts()")) == (100,)
    photo = await ready(database, ann, "profile_photo")
    own = (await update(database, ann, **FULL, photos=[str(photo)])).found.own
    assert own is not None
    assert (own["percent"], own["complete"], own["missing"]) == (100, True, [])
    own = (await update(database, ann, photos=[], visibility=dict.fromkeys(PARTS, "nobody"))).found.own
    assert own is not None
    assert (own["percent"], own["complete"], own["missing"]) == (80, False, ["photos"])


# --- where somebody is ------------------------------------------------------------------------------------------------


async def at(database: Database, whose: UUID, latitude: float, longitude: float) -> None:
    await update(database, whose, location={"latitude": latitude, "longitude": longitude})


async def km(database: Database, asker: UUID, whose: UUID) -> int | None:
    return (await seen(database, asker, whose)).get("distance_km")


async def test_who_moves_all_over_the_map_learns_the_cell_and_no_more(database: Database) -> None:
    """The attack: eve knows where the cells are, and asks from a thousand places near and far. Two people in opposite
    corners of one cell give her the same thousand answers."""
    ann, bob, eve = [await person(database) for _ in range(3)]
    south, west = 3071 * 0.045 - 90, None
    sql = "select cell_lon, cell_columns(3071) from snap_cell(%s, 16.3738)"
    found = await database.fetch_one(sql, south + 0.01)
    assert found is not None
    column, columns = found
    west, width = column * 360 / columns - 180, 360 / columns
    await at(database, ann, south + 0.0001, west + 0.0001)
    await at(database, bob, south + 0.0449, west + width - 0.0001)
    assert await row(database, ann, "cell_lat, cell_lon") == await row(database, bob, "cell_lat, cell_lon")
    # All her places in one question: what distance_km gives is what profile.get shows (below).
    await at(database, eve, 0, 0)
    sweep = """
        with place as (
            select south + y * 0.0009 as latitude, west + x * 0.0009 as longitude
            from (select %s::float8 - 0.2 as south, %s::float8 - 0.2 as west) o, generate_series(0, 499, 12) y,
                 generate_series(0, 499, 12) x
            union all select lat, lon from generate_series(-90, 90, 15) lat, generate_series(-180, 180, 15) lon
        )
        select count(*)::int, count(*) filter (where a <> b)::int, count(distinct a)::int from (
            select cells_km(c.cell_lat, c.cell_lon, one.cell_lat, one.cell_lon) as a,
                   cells_km(c.cell_lat, c.cell_lon, other.cell_lat, other.cell_lon) as b
            from place, snap_cell(latitude, longitude) c, profile one, profile other
            where one.person = %s and other.person = %s) answers
    """
    asked = await database.fetch_one(sweep, south, west, ann, bob)
    assert asked is not None
    places, told_apart, bands = asked
    assert (places > 1_500, told_apart) == (True, 0)
    assert bands <= 19, "and an answer is one of few bands"
    for latitude, longitude in ((south, west), (south + 0.02, west + 0.03), (47, 15), (-48, -163), (90, 180)):
        await at(database, eve, latitude, longitude)
        assert await km(database, eve, ann) == await km(database, eve, bob) is not None


async def test_distances_are_about_right_and_the_same_both_ways(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    for one, other, least, most in (
        ((48.2082, 16.3738), (48.2082, 16.3738), 5, 5),  # Vienna
        ((48.2082, 16.3738), (47.0707, 15.4395), 145, 150),  # Graz
        ((48.2082, 16.3738), (40.7128, -74.006), 6_800, 10_000),  # New York
        ((0, 179.99), (0, -179.99), 5, 10),  # over the date line
        ((90, 0), (90, 180), 5, 5),  # the pole is one place
        ((-90, 0), (90, 0), 20_000, 20_100),
    ):
        await at(database, ann, *one)
        await at(database, bob, *other)
        told = await km(database, ann, bob)
        assert told is not None
        assert least <= told <= most
        assert told == await km(database, bob, ann)
    assert await km(database, ann, ann) is None


async def test_who_hides_the_distance_sees_none(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    await at(database, ann, 48, 16)
    assert await km(database, ann, bob) is await km(database, bob, ann) is None, "he has said nothing"
    await at(database, bob, 48, 16)
    assert await km(database, ann, bob) == await km(database, bob, ann) == 5
    await update(database, ann, visibility={"distance": "contacts"})
    assert await km(database, ann, bob) is await km(database, bob, ann) is None
    await befriend(database, ann, bob)
    assert await km(database, ann, bob) == await km(database, bob, ann) == 5


# --- leaving ----------------------------------------------------------------------------------------------------------


async def test_erasing_leaves_nothing_and_the_export_has_all_of_it(database: Database) -> None:
    ann, bob = await person(database), await person(database)
    photo = await ready(database, ann, "profile_photo")
    await update(database, ann, **FULL, photos=[str(photo)])
    await update(database, bob, bio="stays")
    [[export]] = await database.fetch_all("select export_profile(%s)", ann)
    columns = await database.fetch_all(
        "select column_name::text from information_schema.columns where table_name = 'profile'"
    )
    assert {one[0] for one in columns} - set(export) == {"words"}, "which are made of the others"
    assert (export["latitude"], export["bio"], export["photos"][0]["id"]) == (48.2082, "Secretbio", str(photo))

    await database.execute("select erase_profile(%s)", ann)
    await database.execute("select erase_profile(%s)", ann)  # may be repeated
    assert await database.fetch_all("select export_profile(%s)", ann) == [(None,)]
    assert await database.fetch_all("select person from profile_photo") == []
    own = "select value from personal where person = %s and what = 'profile'"
    assert await database.fetch_all(own, ann) == [(None,)]
    assert [one.id for one in await uploads.doom(database, 9, 60_000)] == [photo]
    await update(database, bob, handle="ann.m")  # the handle is free
    with pytest.raises(UnknownUser):
        await find_profile(database, ann, uuid7(), None)
