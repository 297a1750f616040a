"""Full text search: one person's conversations among a million messages, through the socket, by kind of query."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
import psycopg
import trio

from bench.archive import Archive, index_archive, write_archive
from bench.asker import Asker, Spent, figures
from bench.options import Common, common_without, finish
from bench.progress import part
from bench.report import Report
from bench.server import ServerProcess, open_database_of, open_server

GATE_MS: Final = 50.0  # of the 95th of a hundred
MESSAGES: Final = 1_000_000
CONVERSATIONS: Final = 2_000
MINE: Final = 500
QUERIES: Final = 300  # of each kind
_SAMPLE: Final = """
    select e.text, e.author::text, e.conversation::text, e.at_ms from span s
    cross join lateral (select * from entry e where e.conversation = s.conversation and e.kind = 'message'
                        order by e.seq desc offset 3 limit 6) e
    where s.person = %s order by random() limit 3000
"""

Said = tuple[str, str, str, int]  # a message of the reader's: text, author, conversation, time
Fields = dict[str, Any]


async def measure(options: Common, messages: int, conversations: int, mine: int, queries: int) -> Report:
    """*queries* of each kind, one after another, on a fresh server."""
    settings = {"messages": messages, "conversations": conversations, "mine": mine, "pin": options.pin}
    report = Report("search", "query", settings)
    async with open_server(options.limits | {"search_index": "false"}, options.server_core) as server:
        async with open_database_of(server) as dsn:
            part("writing the messages")
            archive = await trio.to_thread.run_sync(
                lambda: write_archive(
                    dsn, server.folder / "keys", messages=messages, conversations=conversations, mine=mine
                )
            )
            part("indexing them")
            took_s = await trio.to_thread.run_sync(index_archive, dsn)
            said, size = await trio.to_thread.run_sync(_look, dsn, archive)
        report.remarks.append(f"indexed in {took_s:.0f} s, {took_s / messages * 1e6:.0f} us a message; {size}")
        part("asking")
        await trio.to_thread.run_sync(_ask_all, server, archive, said, queries, report)
    return report


def _look(dsn: str, archive: Archive) -> tuple[list[Said], str]:
    with psycopg.connect(dsn) as connection:
        said = connection.execute(_SAMPLE, (archive.reader.user,)).fetchall()
        row = connection.execute(
            "select pg_size_pretty(pg_table_size('search_text')), pg_size_pretty(pg_indexes_size('search_text')), "
            "(select sum(last_seq) from span s join conversation v on v.id = s.conversation where s.person = %s)",
            (archive.reader.user,),
        ).fetchone()
    assert row is not None
    return [(text, author, conversation, at_ms) for text, author, conversation, at_ms in said], (
        f"table {row[0]}, indexes {row[1]}; {row[2]} entries are the reader's"
    )


def _ask_all(
    server: ServerProcess, archive: Archive, said: list[Said], queries: int, report: Report
) -> None:
    asker = Asker(server.port, archive.reader.token)
    asker.hello()
    chance = random.Random(4)
    for name, make in _kinds(archive, said, chance).items():
        times, hits, spent = [], 0, Spent(server)
        for _ in range(queries):
            fields = make()
            pages = fields.pop("pages", 1)
            for page in range(pages):
                took_s, found = asker.ask("search", **fields)
                if page == pages - 1:
                    times.append(took_s)
                    hits += len(found["hits"])
                if "cursor" not in found:
                    break
                fields["cursor"] = found["cursor"]
        report.adopt(figures(times or [0.0], GATE_MS, spent), name, hits=round(hits / max(1, len(times)), 1))
    asker.close()


def _kinds(archive: Archive, said: list[Said], chance: random.Random) -> dict[str, Callable[[], Fields]]:
    frequent, rare = archive.words[:30], archive.words[5_000:]

    def pair(text: str) -> Iterator[str]:
        words = text.split()
        place = chance.randrange(len(words) - 1)
        return iter(words[place : place + 2])

    def one() -> Said:
        return chance.choice(said)

    return {
        "a rare word": lambda: {"query": chance.choice(rare) + " "},
        "a word that was said": lambda: {"query": chance.choice(one()[0].split()) + " "},
        "a frequent word": lambda: {"query": chance.choice(frequent) + " "},
        "two words": lambda: {"query": " ".join(pair(one()[0])) + " "},
        "two frequent words": lambda: {"query": " ".join(chance.sample(frequent, 2)) + " "},
        "as one types, 2 letters": lambda: {"query": chance.choice(one()[0].split())[:2]},
        "as one types, 4 letters": lambda: {"query": chance.choice(one()[0].split())[:4]},
        "a phrase": lambda: {"query": f'"{" ".join(pair(one()[0]))}"'},
        "a word, not another": lambda: {"query": f"{chance.choice(one()[0].split())} -{chance.choice(frequent)} "},
        "a word by an author": lambda: {"query": chance.choice(frequent) + " ", "author": one()[1]},
        "a word in a conversation": lambda: {"query": chance.choice(frequent) + " ", "conversation": one()[2]},
        "a word within a week": lambda: _week(chance.choice(frequent), one()[3]),
        "a frequent word by rank": lambda: {"query": chance.choice(frequent) + " ", "order": "rank"},
        "the fifth page": lambda: {"query": chance.choice(frequent) + " ", "pages": 5},
        "a word that nobody said": lambda: {"query": f"nobody{chance.randrange(10**9)} "},
    }


def _week(word: str, at_ms: int) -> Fields:
    from_ms = max(0, at_ms - 3 * 86_400_000)
    return {"query": word + " ", "from_ms": from_ms, "to_ms": from_ms + 7 * 86_400_000}


@click.command()
@click.option("--messages", type=click.IntRange(1000), default=MESSAGES, show_default=True, help="In all.")
@click.option("--conversations", type=click.IntRange(10), default=CONVERSATIONS, show_default=True, help="In all.")
@click.option("--mine", type=click.IntRange(1), default=MINE, show_default=True,
              help="Of them, those of the person who searches.")  # fmt: skip
@click.option("--queries", type=click.IntRange(10), default=QUERIES, show_default=True, help="Of each kind.")
@common_without("seconds", "warmup", "payload", "generator")
def main(common: Common, messages: int, conversations: int, mine: int, queries: int) -> None:
    """Measure full text search; prints one JSON line. Fails when a kind's p95 is 50 ms or more."""

    async def run() -> Report:
        return await measure(common, messages, conversations, mine, queries)

    finish(run, common)


if __name__ == "__main__":
    main()
