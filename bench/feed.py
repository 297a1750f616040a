"""People to meet among a hundred thousand: pages of the feed, searches and a timeline, through the socket."""

import random
from collections.abc import Callable
from typing import Any, Final

import click
import trio

from bench.accounts import Person, write_people
from bench.asker import Asker, Spent, figures
from bench.options import Common, common_without, finish
from bench.progress import part
from bench.report import Report
from bench.server import ServerProcess, open_database_of, open_server
from bench.society import CITIES, INTERESTS, NAMES, SKILLS, WORDS, write_presence, write_society, write_ties

GATE_MS: Final = 50.0  # of the 95th of a hundred
PROFILES: Final = 100_000
READERS: Final = 20
FOLLOWS: Final = 200
ROUNDS: Final = 15  # of each kind, by each reader
ONLINE: Final = 0.03

Ask = tuple[str, dict[str, Any], int]  # command, fields, page


async def measure(options: Common, profiles: int, rounds: int) -> Report:
    """*rounds* of each kind by each reader, one after another, on a fresh server."""
    report = Report("feed", "page", {"profiles": profiles, "follows": FOLLOWS, "pin": options.pin})
    async with open_server(options.limits, options.server_core) as server:
        async with open_database_of(server) as dsn:
            part("writing the people")
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", profiles)
            users = [person.user for person in people]
            readers = people[:READERS]
            await trio.to_thread.run_sync(write_society, dsn, users, profiles)
            part("who knows whom")
            await trio.to_thread.run_sync(write_ties, dsn, users, [one.user for one in readers], FOLLOWS)
            online = random.Random(102).sample(users, int(profiles * ONLINE))
            await trio.to_thread.run_sync(write_presence, dsn, online)
        part("asking")
        await trio.to_thread.run_sync(_ask_all, server, readers, rounds, report)
    return report


def _ask_all(server: ServerProcess, readers: list[Person], rounds: int, report: Report) -> None:
    chance = random.Random(103)
    askers = [Asker(server.port, reader.token) for reader in readers]
    for asker in askers:
        asker.hello()
    for name, make in _kinds(chance).items():
        times: list[float] = []
        found, spent = 0, Spent(server)
        for asker in askers:
            for _ in range(rounds):
                command, fields, pages = make()
                for page in range(pages):
                    took_s, answer = asker.ask(command, **fields)
                    if page == pages - 1:
                        times.append(took_s)
                        found += len(answer["posts" if command == "timeline" else "people"])
                    if "cursor" not in answer:
                        break
                    fields["cursor"] = answer["cursor"]
        report.adopt(figures(times or [0.0], GATE_MS, spent), name, found=round(found / max(1, len(times)), 1))
    for asker in askers:
        asker.close()


def _kinds(chance: random.Random) -> dict[str, Callable[[], Ask]]:
    def feed(pages: int = 1, **conditions: Any) -> Ask:
        return "feed.list", {"filter": conditions}, pages

    def search(query: str = "", **conditions: Any) -> Ask:
        return "profile.search", {"query": query, "filter": conditions}, 1

    frequent, rare = INTERESTS[:5], INTERESTS[150:]
    return {
        "a page of the feed": feed,
        "its fifth page": lambda: feed(5),
        "by age": lambda: feed(age_from=25, age_to=32),
        "within 10 km": lambda: feed(within_km=10),
        "within 200 km": lambda: feed(within_km=200),
        "by a frequent interest": lambda: feed(interests=[chance.choice(frequent)]),
        "by a rare interest": lambda: feed(interests=[chance.choice(rare)]),
        "by skills": lambda: feed(skills=chance.sample(SKILLS, 2)),
        "by language": lambda: feed(languages=["cs"]),
        "online now": lambda: feed(online=True),
        "by everything": lambda: feed(
            age_from=20, age_to=45, within_km=500, interests=INTERESTS[:10], languages=["de", "en"], genders=["woman"]
        ),
        "a search for a name": lambda: search(chance.choice(NAMES)),
        "for a frequent word": lambda: search(chance.choice(WORDS[:10])),
        "for a rare word": lambda: search(chance.choice(WORDS[500:])),
        "for two words": lambda: search(f"{chance.choice(WORDS[:50])} {chance.choice(CITIES)[0]}"),
        "as one types, 2 letters": lambda: search(chance.choice(NAMES)[:2]),
        "a word, within 100 km": lambda: search(chance.choice(WORDS[:50]), within_km=100),
        "by a skill alone": lambda: search(skills=[chance.choice(SKILLS)]),
        "a page of the timeline": lambda: ("timeline", {"limit": 20}, 1),
        "its fifth page ": lambda: ("timeline", {"limit": 20}, 5),
    }


@click.command()
@click.option("--profiles", type=click.IntRange(1_000), default=PROFILES, show_default=True, help="In all.")
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True,
              help="Of each kind, by each of 20 people.")  # fmt: skip
@common_without("seconds", "warmup", "payload", "generator")
def main(common: Common, profiles: int, rounds: int) -> None:
    """Measure the feed, searches for people and the timeline; prints one JSON line. Fails when a kind's p95 is 50 ms
    or more."""

    async def run() -> Report:
        return await measure(common, profiles, rounds)

    finish(run, common)


if __name__ == "__main__":
    main()
