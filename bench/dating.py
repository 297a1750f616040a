"""A real dating experiment: who met whom, in which order, and what both said. See the data's own README.

Each date is two answers, woman's of man and man's of woman. Within an event (wave) the first half, by ``order``, is
history; the second is to be foretold.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from konnect_server.recommend.answers import Answers, Floats, Ints, Mask
from konnect_server.recommend.people import People

INTERESTS: Final = (
    "sports", "tvsports", "exercise", "dining", "museums", "art", "hiking", "gaming", "clubbing", "reading", "tv",
    "theater", "movies", "concerts", "music", "shopping", "yoga",
)  # fmt: skip
# What is answered with a kind, and what with a grade. Gender and race are no part of a taste: they are filters.
KINDS: Final = ("goal", "date", "go_out", "field_cd", "career_c")
GRADES: Final = (
    *INTERESTS, "exphappy", "attr1_1", "sinc1_1", "intel1_1", "fun1_1", "amb1_1", "shar1_1", "attr3_1", "sinc3_1",
    "fun3_1", "intel3_1", "amb3_1",
)  # fmt: skip
PAIR: Final = ("interests", "age", "goal", "field")
FUTURE = 1  # the ``at`` of answers of second halves; those of first halves are 0


class NoDating(Exception):
    """The files are not what they should be; the text says why."""


@dataclass(frozen=True)
class Dating:
    """The experiment. n people; m dates, in order within each event."""

    people: People
    profiles: tuple[Mapping[str, str], ...]  # n
    wave: Ints  # (m,), numbered from 0
    waves: tuple[str, ...]  # what they are called
    woman: Ints  # (m,), rows of people
    man: Ints
    woman_yes: Floats  # (m,), 0 or 1
    man_yes: Floats
    future: Mask  # (m,), whether in the second half

    @property
    def match(self) -> Floats:
        """(m,): 1 where both said yes."""
        return self.woman_yes * self.man_yes

    def answers(self, dates: Mask) -> tuple[Answers, Ints]:
        """Both answers of those *dates*, all women's first, and their circles: one side of one event."""
        wave, at = self.wave[dates], self.future[dates].astype(np.int64)
        return Answers(
            np.concatenate([self.woman[dates], self.man[dates]]),
            np.concatenate([self.man[dates], self.woman[dates]]),
            np.concatenate([self.woman_yes[dates], self.man_yes[dates]]),
            np.concatenate([at, at]),
        ), np.concatenate([2 * wave, 2 * wave + 1])


def read_dating(people: Path, dates: Path) -> Dating:
    """Read the two files.

    Raises:
        NoDating: A column is missing, somebody is unknown, or there are no dates.
    """
    profiles = _rows(people, ("wave", "iid"))
    number = {(row["wave"], row["iid"]): at for at, row in enumerate(profiles)}
    met = _rows(dates, ("wave", "woman", "man", "order", "woman_says_yes", "man_says_yes"))
    if not met:
        raise NoDating(f"{dates} holds no dates")
    names = tuple(dict.fromkeys(row["wave"] for row in met))
    try:
        wave = np.array([names.index(row["wave"]) for row in met], np.int64)
        place = np.array([float(row["order"]) for row in met])
        order = np.lexsort((np.arange(len(met)), place, wave))  # the file decides between equals
        woman = np.array([number[row["wave"], row["woman"]] for row in met], np.int64)[order]
        man = np.array([number[row["wave"], row["man"]] for row in met], np.int64)[order]
        woman_yes = np.array([float(row["woman_says_yes"]) for row in met])[order]
        man_yes = np.array([float(row["man_says_yes"]) for row in met])[order]
    except KeyError as problem:
        raise NoDating(f"{dates} names {problem}, whom {people} does not") from problem
    except ValueError as problem:
        raise NoDating(f"{dates}: {problem}") from problem
    wave = wave[order]
    future = np.zeros(len(met), bool)
    for event in range(len(names)):
        rows = np.flatnonzero(wave == event)
        future[rows[len(rows) // 2 :]] = True
    tags = People.from_tags(tags_of(profiles))
    return Dating(tags, tuple(profiles), wave, names, woman, man, woman_yes, man_yes, future)


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except OSError as problem:
        raise NoDating(f"{path} cannot be read: {problem}") from problem
    if rows and (missing := [column for column in columns if column not in rows[0]]):
        raise NoDating(f"{path} has no column {', '.join(missing)}")
    return rows


def number_of(profile: Mapping[str, str], column: str) -> float:
    """What *profile* has there; NaN where there is nothing, or no number."""
    try:
        return float(profile.get(column) or "nan")
    except ValueError:
        return float("nan")


def tags_of(profiles: list[dict[str, str]]) -> list[list[str]]:
    """What each says of himself or herself, as tags: kinds as they are, grades as low or high thirds among all.

    Who is how high is a matter of profiles alone; no answer of a date enters.
    """
    lists: list[list[str]] = [[] for _ in profiles]
    for column in KINDS:
        for tags, profile in zip(lists, profiles, strict=True):
            if value := profile.get(column):
                tags.append(f"{column}:{value}")
    for column in (*GRADES, "age"):
        values = np.array([number_of(profile, column) for profile in profiles])
        if np.isnan(values).all():
            continue
        low, high = np.nanquantile(values, [1 / 3, 2 / 3])
        for tags, value in zip(lists, values, strict=True):
            if value < low or value > high:
                tags.append(f"{column}:{'low' if value < low else 'high'}")
    return lists


class Pairs:
    """The features of pairs, PAIR: each 0 to 1 and the same both ways. Where something is not told, the middle."""

    def __init__(self, profiles: tuple[Mapping[str, str], ...]) -> None:
        def column(name: str) -> Floats:
            return np.array([number_of(profile, name) for profile in profiles])

        self.grades = np.stack([column(name) for name in INTERESTS], axis=1)
        self.age, self.goal, self.field = column("age"), column("goal"), column("field_cd")

    def __call__(self, who: Ints, whom: Ints) -> Floats:
        """(k, 4) of k pairs."""
        years = np.abs(self.age[who] - self.age[whom])
        return np.column_stack([
            (1 + self.similarity(who, whom)) / 2,
            np.where(np.isnan(years), 0.5, np.exp(-np.nan_to_num(years) / 5)),
            self._same(self.goal, who, whom),
            self._same(self.field, who, whom),
        ])  # fmt: skip

    def similarity(self, who: Ints, whom: Ints) -> Floats:
        """(k,): the correlation of two people's 17 interests, -1 to 1; 0 where there is none."""
        a, b = self.grades[who], self.grades[whom]
        there = ~(np.isnan(a) | np.isnan(b))
        count = np.maximum(there.sum(axis=1), 1)[:, None]
        a, b = np.where(there, a, 0.0), np.where(there, b, 0.0)
        a = np.where(there, a - a.sum(axis=1, keepdims=True) / count, 0.0)
        b = np.where(there, b - b.sum(axis=1, keepdims=True) / count, 0.0)
        size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        return np.asarray(np.where(size > 1e-9, (a * b).sum(axis=1) / np.maximum(size, 1e-9), 0.0), float)

    @staticmethod
    def _same(values: Floats, who: Ints, whom: Ints) -> Floats:
        a, b = values[who], values[whom]
        return np.where(np.isnan(a) | np.isnan(b), 0.5, (a == b).astype(float))
