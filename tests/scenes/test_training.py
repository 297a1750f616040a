"""The recommender is trained once a day by the servers themselves, beside their work."""

from typing import LiteralString
from uuid import UUID

import pytest
import trio
from msgspec import Raw

from konnect_server.actions.training import KIND, Trainer
from storage import recommender
from storage.database import Database
from tests.running import LIMIT_S, Person, World, open_house
from tests.test_recommend_training import DAY_MS, answer, opposites

JOBS: LiteralString = "select state, attempts from job where kind = %s"
NOTHING = Raw(b"{}")


async def weeks(database: Database) -> UUID:
    """Chess players who like those who hike, and the other way round, and some weeks of it; one of the first."""
    chess, _, likes = await opposites(database)
    for days in (40, 20, 10, 0):
        await answer(database, list(likes), likes, days * DAY_MS, days)
    return chess[0]


async def states(database: Database) -> dict[int, str]:
    return {one.version: one.state for one in await recommender.versions(database)}


async def test_one_of_two_servers_trains_and_both_go_by_it(world: World) -> None:
    ann = Person(world.tokens, "Ann")
    ann.id = await weeks(world.database)
    async with (
        open_house(world, suggest_training_hour=0) as house, open_house(world, suggest_training_hour=0) as other,
        house.phone(ann) as phone, other.phone(ann, "tablet") as tablet,
    ):  # fmt: skip
        with trio.fail_after(4 * LIMIT_S):  # a process that loads numpy, beside whatever else this machine does
            while await states(world.database) != {1: "retired", 2: "standing"}:
                await phone.result("ping")
                await trio.sleep(0.1)
            while await world.database.fetch_all(JOBS, KIND) != [("done", 1)]:
                await trio.sleep(0.1)
        # She has written to those who hike whom she was shown; to the others she will, says the new version.
        for one in (phone, tablet):
            people = (await one.result("match.suggest", limit=4))["people"]
            assert {tag for person in people for tag in person["profile"]["interests"]} == {"Hiking"}
    assert await recommender.due(world.database, 0) is None, "there is one of today"


async def test_nobody_trains_before_the_hour_nor_without_answers(database: Database) -> None:
    assert await recommender.due(database, 0) is None
    await weeks(database)
    [(today,)] = await database.fetch_all("select now_ms() / 86400000")
    assert await recommender.due(database, 0) == today
    assert await recommender.due(database, 24) is None
    [first] = await recommender.versions(database)
    tried = await recommender.write(database, "candidate", first.weights, {}, {"auc": 0.7}, [])
    await database.execute("update recommender set made_at_ms = made_at_ms - %s", DAY_MS)
    assert await recommender.due(database, 0) == today
    assert await recommender.try_out(database, tried, 10)
    assert await recommender.due(database, 0) is None, "a trial is beside what does not change"


async def test_a_server_that_is_not_to_train_does_not(world: World) -> None:
    await weeks(world.database)
    async with open_house(world, suggest_training_hour=-1):
        await trio.sleep(1.0)
        assert await world.database.fetch_all(JOBS, KIND) == []


async def test_that_there_is_nothing_to_learn_is_no_failure_but_a_database_that_is_away_is(dsn: str) -> None:
    await Trainer(dsn).train(NOTHING)
    with pytest.raises(RuntimeError, match=r"the training ended with 1: konnect: .*nowhere"):
        await Trainer(dsn.replace(dsn.rpartition("/")[2], "nowhere")).train(NOTHING)


async def test_a_training_that_is_cut_off_leaves_no_process_and_nothing_half(world: World) -> None:
    await weeks(world.database)
    asking: LiteralString = (
        "select from pg_stat_activity where datname = current_database() and application_name = 'konnect'"
    )
    with trio.fail_after(4 * LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Trainer(world.dsn).train, NOTHING)
            while not await world.database.fetch_all(asking):
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        while await world.database.fetch_all(asking):
            await trio.sleep(0.05)
    whole = ({1: "standing"}, {1: "standing", 2: "candidate"}, {1: "retired", 2: "standing"})
    assert await states(world.database) in whole


async def test_what_an_old_version_learned_is_forgotten_and_it_cannot_stand_again(database: Database) -> None:
    [first] = await recommender.versions(database)
    tag = [("i:jazz", [1.0] * 16, [1.0] * 16)]
    made = [await recommender.write(database, "candidate", first.weights, {"tags": 1}, {"auc": 0.7}, tag)
            for _ in range(3)]  # fmt: skip
    assert await recommender.stand(database, made[1])
    await database.execute("update recommender set made_at_ms = 0")
    await recommender.forget(database)
    kept: LiteralString = "select version from recommender_tag order by 1"
    assert await database.fetch_all(kept) == [(made[1],), (made[2],)], "what stands, and what is newer"
    assert not await recommender.stand(database, made[0])
    assert not await recommender.try_out(database, made[0], 10)
    assert await recommender.stand(database, 1), "which never had any"
