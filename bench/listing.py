"""A person with 500 conversations opens the app: for the first time, to look at the list, and a day later."""

import statistics
from typing import Any, Final

import click
import psycopg
import trio

from bench.archive import Archive, last_seqs, write_archive
from bench.asker import Asker, Spent, figures
from bench.options import Common, common_without, finish
from bench.progress import part
from bench.report import Report
from bench.server import ServerProcess, open_database_of, open_server

LISTING_MS: Final = 100.0  # gates of the 95th of a hundred
RESUME_MS: Final = 30.0
MINE: Final = 500
NEWS: Final = 30  # conversations that have gone on since yesterday
SAID: Final = 5  # messages in each of them
ROUNDS: Final = 50
_SAY: Final = """
    select append_messages((
        select json_agg(json_build_object('c', c, 'a', a, 'k', gen_random_uuid()::text, 'x', 'Good morning ' || n))
        from (select s.conversation as c, (select person from span where conversation = s.conversation
                                           and person <> s.person limit 1) as a
              from span s where s.person = %s order by md5(s.conversation::text) limit %s) v, generate_series(1, %s) n
    ), '[]')
"""


async def measure(options: Common, messages: int, mine: int, rounds: int) -> Report:
    """*rounds* of everything, one after another, on a fresh server."""
    report = Report("listing", "call", {"messages": messages, "mine": mine, "news": NEWS, "pin": options.pin})
    async with open_server(options.limits, options.server_core) as server, open_database_of(server) as dsn:
        part("writing the messages")
        archive = await trio.to_thread.run_sync(
            lambda: write_archive(
                dsn, server.folder / "keys", messages=messages, conversations=4 * mine, mine=mine
            )
        )
        part("opening the app")
        await trio.to_thread.run_sync(_open_all, server, dsn, archive, mine, rounds, report)
    return report


def _open_all(server: ServerProcess, dsn: str, archive: Archive, mine: int, rounds: int, report: Report) -> None:
    port, spent = server.port, Spent(server)
    first: list[float] = []
    sizes: list[int] = []
    cursor = ""
    for _ in range(rounds):
        took_s, came = _hello(port, archive)
        first.append(took_s)
        told = [frame for frame in came if frame["t"] == "conversation"]
        assert len(told) == mine, f"{len(told)} conversations were told"
        cursor = came[-1]["cursor"]
    report.adopt(figures(first, None, spent), "hello, first start", conversations=mine)

    asker = Asker(port, archive.reader.token)
    asker.hello()
    spent = Spent(server)
    page_s: list[float] = []
    all_s: list[float] = []
    for _ in range(rounds):
        whole, seen = 0.0, 0
        more: dict[str, Any] = {}
        while True:
            took_s, page = asker.ask("conversation.list", limit=50, **more)
            whole += took_s
            if not more:
                page_s.append(took_s)
            seen += len(page["conversations"])
            if "cursor" not in page:
                break
            more = {"cursor": page["cursor"]}
        assert seen == mine, f"{seen} conversations were listed"
        all_s.append(whole)
    asker.close()
    report.adopt(figures(page_s, LISTING_MS), "conversation.list, 50")
    report.adopt(figures(all_s, None, spent), "conversation.list, all pages")

    heads = {str(one): seq for one, seq in last_seqs(dsn, archive.reader.user).items()}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_SAY, (archive.reader.user, NEWS, SAID))
    resumed: list[float] = []
    spent = Spent(server)
    for _ in range(rounds):
        took_s, came = _hello(port, archive, cursor, heads)
        resumed.append(took_s)
        entries = sum(frame["t"] == "entry" for frame in came)
        assert entries == NEWS * SAID, f"{entries} entries came"
        sizes.append(len(came))
    report.adopt(figures(resumed, RESUME_MS, spent), "hello, a day later", frames=round(statistics.median(sizes)))
    heads = {str(one): seq for one, seq in last_seqs(dsn, archive.reader.user).items()}
    spent = Spent(server)
    nothing = [_hello(port, archive, cursor, heads)[0] for _ in range(rounds)]
    report.adopt(figures(nothing, RESUME_MS, spent), "hello, nothing new")


def _hello(port: int, archive: Archive, *known: Any) -> tuple[float, list[dict[str, Any]]]:
    asker = Asker(port, archive.reader.token)
    try:
        return asker.hello(*known)
    finally:
        asker.close()


@click.command()
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True, help="In all conversations.")
@click.option("--mine", type=click.IntRange(NEWS, 1000), default=MINE, show_default=True,
              help="Conversations of the person; there are four times as many.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(5), default=ROUNDS, show_default=True, help="Of each.")
@common_without("seconds", "warmup", "payload", "generator")
def main(common: Common, messages: int, mine: int, rounds: int) -> None:
    """Measure opening the app with many conversations; prints one JSON line. Fails when a listing's p95 is 100 ms or
    more, or a resume's 30 ms."""

    async def run() -> Report:
        return await measure(common, messages, mine, rounds)

    finish(run, common)


if __name__ == "__main__":
    main()
