"""People in bulk who show themselves: profiles, contacts, answers, blocks, follows and posts, written with SQL."""

import random
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg

from bench.progress import part

INTERESTS: Final = [f"interest{n}" for n in range(300)]  # the frequent ones first, as Zipf says
SKILLS: Final = [f"skill{n}" for n in range(150)]
WORDS: Final = [f"word{n}" for n in range(2_000)]
NAMES: Final = [f"Name{n}" for n in range(1_500)]
# Where people are: name, latitude, longitude, share. Half of them in ten large places, the others all over.
CITIES: Final = [
    ("Vienna", 48.21, 16.37, 9), ("Berlin", 52.52, 13.40, 14), ("Paris", 48.86, 2.35, 14), ("Madrid", 40.42, -3.70, 11),
    ("Rome", 41.90, 12.50, 11), ("Warsaw", 52.23, 21.01, 7), ("Prague", 50.08, 14.44, 6), ("Lyon", 45.76, 4.84, 5),
    ("Graz", 47.07, 15.44, 3), ("Porto", 41.15, -8.61, 3),
]  # fmt: skip
LANGUAGES: Final = ["de", "fr", "es", "it", "pl", "cs", "en"]
BATCH: Final = 5_000

_ROW: Final[LiteralString] = """
insert into profile (person, handle, first_name, last_name, bio, birthday, gender, city, latitude, longitude,
    interests, skills, languages, experience, prompts, visibility)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::json, %s::json, %s::json)
"""
_PHOTOS: Final[LiteralString] = """
with made as (
    insert into upload (id, owner, kind, state, size_bytes, content_type, sha256, tries, kept, created_at_ms, due_at_ms,
        used_at_ms)
    select uuidv7(), person, 'profile_photo', 'ready', 1000, 'image/jpeg', sha256(person::text::bytea), 1, 1, 0, 0, 0
    from profile returning id, owner
)
insert into profile_photo (person, place, upload) select owner, 1, id from made
"""


def write_profiles(connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> None:
    """Profiles with a photo each, *rows* as _ROW has them, and all that follows from them. What suggestions go by is
    made at once: one by one, the index would take a millisecond for each."""
    with connection.cursor() as cursor:
        cursor.execute("alter table profile disable trigger profile_suggested")
        for start in range(0, len(rows), BATCH):
            cursor.executemany(_ROW, rows[start : start + BATCH])
            part(f"profiles: {min(start + BATCH, len(rows)):,} of {len(rows):,}")
        cursor.execute(_PHOTOS)
        part("what follows from profiles")
        cursor.execute("select count(refresh_profile(person)) from profile")
        cursor.execute("alter table profile enable trigger profile_suggested")
        cursor.execute("select drop_suggest_part(1), suggest_fill(1)")


def write_society(dsn: str, people: list[UUID], posts: int) -> None:
    """Let *people* have profiles, four fifths of them complete, and *posts* posts in all. Blocking."""
    chance = random.Random(100)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        write_profiles(connection, [_profile(chance, person) for person in people])
        cursor.execute("update profile set complete = false, met = false where random() < 0.2")
        cursor.execute("update account set standing = 'paused' where random() < 0.03")
        part("posts")
        cursor.execute(
            "insert into post (id, author, text, audience, at_ms) "
            "select uuidv7(make_interval(secs => -random() * 2000000)), (%s::uuid[])[1 + floor(random() * %s)::int], "
            "'a post about word' || n, (array['everyone', 'everyone', 'followers', 'contacts'])[1 + n %% 4], now_ms() "
            "from generate_series(1, %s) n",
            (people, len(people), posts),
        )
        connection.commit()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def write_ties(dsn: str, people: list[UUID], readers: list[UUID], follows: int) -> None:
    """Let each of *readers* have contacts (150), blocks (20 and 20), first messages sent (300), and follow *follows*
    people, each of whom has posted."""
    chance = random.Random(101)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        authors = [row[0] for row in cursor.execute("select distinct author from post").fetchall()]
        for reader in readers:
            some = [one for one in chance.sample(people, 500) if one != reader]
            ties = {
                "insert into contact (person, other) values (%s, %s)": [
                    pair for one in some[:150] for pair in ((reader, one), (one, reader))
                ],
                "insert into block (person, blocked) values (%s, %s)": [
                    *((reader, one) for one in some[150:170]), *((one, reader) for one in some[170:190])
                ],
                "insert into opener (author, receiver, text, at_ms, release_at_ms, state) "
                "values (%s, %s, 'hi', 0, 0, 'withheld')": [(reader, one) for one in some[190:]],
                "insert into follow (person, followed, id) values (%s, %s, uuidv7())": [
                    (reader, one) for one in chance.sample(authors, min(follows, len(authors))) if one != reader
                ],
            }  # fmt: skip
            for sql, rows in ties.items():
                cursor.executemany(sql + " on conflict do nothing", rows)
        connection.commit()


def write_presence(dsn: str, people: list[UUID]) -> None:
    """Let *people* be connected, to a process that never stops beating."""
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into node (id, beat) values (%s, now() + interval '1 day')", (UUID(int=1),))
        connection.execute("insert into seat (node, person) select %s, unnest(%s::uuid[])", (UUID(int=1), people))


def _zipf(chance: random.Random, words: list[str], most: int) -> list[str]:
    """Up to *most* of *words*, the n-th as often as 1 / n."""
    return list({words[int(len(words) ** chance.random()) - 1] for _ in range(chance.randint(1, most))})


def _profile(chance: random.Random, person: UUID) -> tuple[Any, ...]:
    city, latitude, longitude, _ = chance.choices(CITIES, [one[3] for one in CITIES])[0]
    if chance.random() < 0.5:
        latitude, longitude = chance.uniform(36, 60), chance.uniform(-9, 25)
    else:
        latitude, longitude = latitude + chance.gauss(0, 0.1), longitude + chance.gauss(0, 0.15)
    hidden = ", ".join(
        f'"{one}": "contacts"' for one in ("birthday", "distance", "interests", "gender") if chance.random() < 0.08
    )
    return (
        person, f"p{person.hex[-12:]}{chance.randrange(1000)}", chance.choice(NAMES), chance.choice(NAMES),
        " ".join(_zipf(chance, WORDS, 25)), f"{chance.randint(1955, 2007)}-{chance.randint(1, 12):02}-17",
        chance.choice(("woman", "man", "woman", "man", "nonbinary")), city, latitude, longitude,
        _zipf(chance, INTERESTS, 9), _zipf(chance, SKILLS, 5), chance.sample(LANGUAGES, chance.randint(1, 3)),
        f'[{{"title": "{chance.choice(WORDS)}", "organisation": "{chance.choice(NAMES)}"}}]',
        f'[{{"question": "?", "answer": "{chance.choice(WORDS)}"}}]', f"{{{hidden}}}",
    )  # fmt: skip
