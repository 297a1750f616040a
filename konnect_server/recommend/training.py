"""What the operator does with the recommender: train, judge, let stand. In a process of its own: it computes for
seconds in which nothing else of that process runs."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from konnect_server.recommend.learning import WORSE, Judged, Lesson, Progress, TooLittle, judge, kept, learn, lesson_of
from storage import recommender
from storage.database import Database


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    version: int
    standing: bool  # suggestions go by it from now on; else it was worse than the one that stands, or is not to yet
    refused: bool
    judged: Judged
    before: Judged  # of the version that stood, on the same answers
    made_of: dict[str, Any]


async def lesson(database: Database, progress: Progress) -> Lesson:
    """What there is to learn from now.

    Raises:
        TooLittle
    """
    found = lesson_of(await recommender.material(database, progress))
    if len(found.answers) < recommender.LEAST:
        raise TooLittle(f"there are {len(found.answers):,} answers; {recommender.LEAST} are needed")
    return found


async def train(database: Database, progress: Progress, *, stand: bool = True) -> Trained:
    """Learn from all answers but the last day's, be judged on those beside the version that stands, and, unless that
    one was better, learn from all and take its place.

    Args:
        progress: Told what is being done, and how far, 0 to 1.
        stand: Else the new version is kept as a candidate, for a trial.

    Raises:
        TooLittle
    """
    began = time.monotonic()
    material = await lesson(database, progress)
    [stood] = [one for one in await recommender.versions(database) if one.state == "standing"]
    moment = material.moment(stood.made_of.get("until_ms", 0))
    tried = learn(material, material.answers.before(moment), progress)
    progress("judging", 0.0)
    judged = judge(tried, material, moment)
    before = judge(await kept(database, stood), material, moment)
    refused = bool(np.isnan(judged.auc) or judged.auc < before.auc - WORSE)
    version = tried if refused else learn(material, material.answers, progress)
    made_of = {
        "answers": len(material.answers), "people": len(material.tags), "tags": len(version.tags),
        "until_ms": material.now_ms, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    progress("writing", 0.0)
    number = await recommender.write(
        database, "refused" if refused else "candidate", version.weights, made_of,
        {**judged.told(), "beside": stood.version, "its_auc": round(before.auc, 4)},
        [
            (tag, wants.tolist(), being.tolist())
            for tag, wants, being in zip(version.tags, version.wants, version.being, strict=True)
        ],
    )  # fmt: skip
    if stand and not refused:
        await recommender.stand(database, number)
    return Trained(number, stand and not refused, refused, judged, before, made_of)


async def evaluate(database: Database, progress: Progress) -> dict[int, Judged]:
    """How well the versions in use foretell the answers of the last day that none of them has learned from.

    Raises:
        TooLittle
    """
    material = await lesson(database, progress)
    used = [one for one in await recommender.versions(database) if one.state in ("standing", "trial")]
    moment = material.moment(max(one.made_of.get("until_ms", 0) for one in used))
    return {one.version: judge(await kept(database, one), material, moment) for one in used}
