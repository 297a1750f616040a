"""A made world of people with hidden tastes, so that the truth is known: who would say yes to whom, and how likely.

Two sides seek each other: a stated filter, and nothing else. Everybody lives in one of ten cities or elsewhere, has
an age, interests, skills and languages (the frequent ones first, as Zipf says); these are seen. Hidden are what one
wants and what one is, in eight dimensions, of which the tags of the profile explain SHARE and nobody can know the rest;
how attractive one is, and how easily one says yes.

    P(a says yes to b) = logistic(BIAS + easy_a + attractive_b + <wants_a, is_b> + interests + near + age)

An app has shown people of the other side to each other for DAYS days, half of the time of the same city, at random.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
from scipy import sparse
from scipy.special import expit

from bench.society import CITIES, INTERESTS, LANGUAGES, NAMES, SKILLS
from konnect_server.recommend.answers import Answers, Floats, Ints

DIMS: Final = 8
SHARE: Final = 0.6  # of the variance of tastes that the tags explain
DAYS: Final = 90
BIAS: Final = -4.3
SPREAD: Final = 0.8  # of attractiveness and of ease, in log odds
TASTE: Final = 1.0  # the spread of <wants, is>, in log odds
INTERESTS_WEIGHT, NEAR_WEIGHT, AGE_WEIGHT = 1.0, 1.2, 1.0  # of features as `Pairs` has them
SIDES: Final = ("woman", "man")
DAY_MS: Final = 86_400_000
NOW_DAYS: Final = 20_784  # since 1970: the day on which ages are reckoned
CHUNK: Final = 500_000


@dataclass(frozen=True)
class World:
    """n people. What is hidden is called so."""

    side: Ints  # (n,): 0 or 1; each seeks the other
    born: Ints  # (n,): days since 1970
    city: Ints  # (n,): of CITIES, -1: elsewhere
    latitude: Floats  # degrees
    longitude: Floats
    interests: list[list[int]]
    skills: list[list[int]]
    languages: list[list[int]]
    hidden_wants: Floats  # (n, DIMS)
    hidden_is: Floats
    hidden_attractive: Floats  # (n,)
    hidden_easy: Floats

    def __len__(self) -> int:
        return len(self.side)

    def tags(self) -> list[list[str]]:
        """Of each, as the server has them."""
        return [
            [f"i:{INTERESTS[n]}" for n in some] + [f"s:{SKILLS[n]}" for n in able] + [f"l:{LANGUAGES[n]}" for n in says]
            for some, able, says in zip(self.interests, self.skills, self.languages, strict=True)
        ]

    def truth(self, who: Ints, whom: Ints, pairs: Any) -> Floats:
        """(m,): how likely *who* says yes to *whom*; *pairs*: :class:`konnect_server.recommend.pairs.Pairs` of them."""
        shared = pairs(who, whom)
        z = BIAS + self.hidden_easy[who] + self.hidden_attractive[whom]
        z += np.einsum("md,md->m", self.hidden_wants[who], self.hidden_is[whom])
        z += INTERESTS_WEIGHT * shared[:, 0] + NEAR_WEIGHT * shared[:, 2] + AGE_WEIGHT * shared[:, 3]
        return np.asarray(expit(z), float)

    def rows(self, people: list[UUID]) -> Iterator[tuple[Any, ...]]:
        """Profiles as ``bench/society.py`` writes them."""
        for n, person in enumerate(people):
            born = np.datetime64(int(self.born[n]), "D")
            city = CITIES[self.city[n]][0] if self.city[n] >= 0 else "Elsewhere"
            yield (
                person, f"t{person.hex[-12:]}{n % 1000}", NAMES[n % len(NAMES)], None, None, str(born),
                SIDES[self.side[n]], city, float(self.latitude[n]), float(self.longitude[n]),
                [INTERESTS[i] for i in self.interests[n]], [SKILLS[i] for i in self.skills[n]],
                [LANGUAGES[i] for i in self.languages[n]], "[]", "[]", "{}",
            )  # fmt: skip


def make_world(seed: int, people: int) -> World:
    """The same for the same *seed*."""
    chance = np.random.default_rng(seed)
    shares = np.array([one[3] for one in CITIES], float)
    city = chance.choice(len(CITIES), people, p=shares / shares.sum())
    city[chance.random(people) < 0.4] = -1
    at = np.array([(lat, lon) for _, lat, lon, _ in CITIES])[city]
    latitude = np.where(city < 0, chance.uniform(36, 60, people), at[:, 0] + chance.normal(0, 0.08, people))
    longitude = np.where(city < 0, chance.uniform(-9, 25, people), at[:, 1] + chance.normal(0, 0.12, people))
    interests, skills = _some(chance, people, len(INTERESTS), 9), _some(chance, people, len(SKILLS), 5)
    languages = [sorted({int(n) for n in row}) for row in chance.integers(0, len(LANGUAGES), (people, 2))]
    profile = sparse.hstack([_marks(interests, len(INTERESTS)), _marks(skills, len(SKILLS))]).tocsr()
    tastes = []
    for _ in range(2):
        told = np.asarray(profile @ chance.normal(size=(profile.shape[1], DIMS)), float)
        told /= told.std()
        tastes.append(np.sqrt(SHARE) * told + np.sqrt(1 - SHARE) * chance.normal(size=told.shape))
    size = np.sqrt(TASTE) / DIMS**0.25
    born = (NOW_DAYS - 365.25 * (18 + chance.gamma(4, 3.5, people))).astype(np.int64)
    return World(
        chance.integers(0, 2, people), born, city, latitude, longitude, interests, skills, languages,
        size * tastes[0], size * tastes[1], chance.normal(0, SPREAD, people), chance.normal(0, SPREAD, people),
    )  # fmt: skip


def history(world: World, pairs: Any, answers: int, seed: int, now_ms: int) -> Answers:
    """What people answered so far: about so many *answers*, each pair once, in the order of time."""
    chance = np.random.default_rng(seed)
    n = len(world)
    sides = [np.flatnonzero(world.side == side) for side in (0, 1)]
    homes = {(side, city): np.flatnonzero((world.side == side) & (world.city == city))
             for side in (0, 1) for city in range(len(CITIES))}  # fmt: skip
    who = chance.integers(0, n, answers)
    whom = np.empty(answers, np.int64)
    near = chance.random(answers) < 0.5
    for side in (0, 1):
        mine = world.side[who] == side
        whom[mine] = chance.choice(sides[1 - side], int(mine.sum()))
        for city in range(len(CITIES)):
            there = mine & near & (world.city[who] == city)
            others = homes[1 - side, city]
            if len(others):
                whom[there] = chance.choice(others, int(there.sum()))
    _, first = np.unique(who * n + whom, return_index=True)
    first.sort()
    who, whom = who[first], whom[first]
    at = np.sort(chance.integers(now_ms - DAYS * DAY_MS, now_ms - 2 * 3_600_000, len(who)))
    yes = np.empty(len(who))
    for start in range(0, len(who), CHUNK):
        part = slice(start, start + CHUNK)
        yes[part] = chance.random(len(who[part])) < world.truth(who[part], whom[part], pairs)
    return Answers(who, whom, yes, at)


def _some(chance: np.random.Generator, people: int, size: int, most: int) -> list[list[int]]:
    """Up to *most* of *size* things for each, the n-th as often as 1 / n."""
    drawn = (size ** chance.random((people, most))).astype(int) - 1
    counts = chance.integers(1, most + 1, people)
    return [sorted({int(n) for n in row[:count]}) for row, count in zip(drawn, counts, strict=True)]


def _marks(lists: list[list[int]], size: int) -> Any:
    rows = np.repeat(np.arange(len(lists)), [len(some) for some in lists])
    columns = np.array([n for some in lists for n in some], int)
    weights = np.array([len(some) ** -0.5 for some in lists for _ in some])
    return sparse.csr_matrix((weights, (rows, columns)), shape=(len(lists), size))
