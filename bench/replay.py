"""Replays real chat logs: every nick an account and a client of its own, every line sent by its author, in order.

Nicks are registered over HTTP, put into one group a log, added and gone as the log tells, while a share of them drop
their connections at random and come back. At the end every client's transcript is compared with the log that the
server kept: lost, doubled and reordered must be 0. A line is sent once the one before it was acknowledged.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

import click
import trio
from msgspec import Struct

from bench.cast import Person, drop_now_and_then, keep_person, open_registration
from bench.chatlog import read_chatlog
from bench.killer import kill_postgres, kill_server_every
from bench.options import plainly
from bench.replay_report import Progress, open_progress, show
from bench.script import Script, write_script
from bench.server import ServerProcess, open_server, quiet_logs
from bench.stage import Stage, Stalled
from bench.transcript import Verdict
from konnect_client import ClientError

EXCERPT: Final = Path(__file__).resolve().parent / "data" / "ubuntu-2004-11-15.txt"
SETTLE_S: Final = 120.0
HOST: Final = "the host"

# Everybody comes from one address here, and everything is sent by one machine.
SETTINGS: Final = {"trusted_proxies": "127.0.0.1", "accept_backlog": "4096", "log_level": "warning"}


class Options(Struct, frozen=True):
    """How to replay."""

    speed: float = 0.0  # steps a second of each log; 0: as fast as acknowledgements come
    drop: float = 0.2  # share of the people who drop their connections now and then
    drop_every_s: float = 10.0  # seconds between two drops of one of them, on average
    away_s: float = 5.0  # how long some stay away, at most
    lines: int | None = None  # only the first of each log
    changes: float = 0.2  # share of messages that are edited, reacted to or deleted right after they were said
    url: str | None = None  # a running server; None starts one
    kill_server_every_s: float | None = None
    kill_postgres: bool = False  # once, half-way
    reconnect_s: tuple[float, float] = (0.5, 20.0)  # of the clients
    seed: int = 0  # of everything drawn; 0 draws one


@dataclass(slots=True)
class Outcome:
    """What a replay gave."""

    seed: int
    people: int
    logs: int
    steps: int
    messages: int
    register_s: float
    replay_s: float
    settle_s: float
    drops: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    not_back: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        """True when nothing was lost, doubled or reordered and every client is back."""
        return self.verdict.good and not self.not_back and not self.violations

    def told(self) -> dict[str, Any]:
        """As JSON."""
        verdict = self.verdict
        return {
            "ok": self.good,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "reordered": verdict.reordered,
            "foreign": verdict.foreign,
            "altered": verdict.altered,
            "not_back": self.not_back,
            "violations": self.violations[:10],
            "examples": verdict.examples,
            "logs": self.logs,
            "people": self.people,
            "steps": self.steps,
            "messages": self.messages,
            "compared": verdict.compared,
            "drops": self.drops,
            "kills": dict(self.kills),
            "changed": dict(sorted(self.changed.items())),
            "register_s": round(self.register_s, 2),
            "replay_s": round(self.replay_s, 2),
            "settle_s": round(self.settle_s, 2),
            "seed": self.seed,
        }


async def replay(scripts: dict[str, Script], options: Options, progress: Progress) -> Outcome:
    """Play all *scripts*, name -> script, at the same time, each in a group of its own, and judge.

    Raises:
        ServerFailed: The server did not start.
        Stalled: An acknowledgement did not come.
        ClientError: The server refused what it must not refuse.
    """
    seed = options.seed or SystemRandom().randrange(1, 2**32)
    async with _server(options) as (url, server):
        run = _Run(scripts, options, progress, Random(seed), url, server)
        outcome = await run.play()
    outcome.seed = seed
    return outcome


class _Run:
    """One replay at work."""

    def __init__(
        self, scripts: dict[str, Script], options: Options, progress: Progress, random: Random,
        url: str, server: ServerProcess | None,
    ) -> None:  # fmt: skip
        self._scripts, self._options, self._progress, self._random = scripts, options, progress, random
        self._url, self._server = url, server
        self._steps = sum(len(script.steps) for script in scripts.values())
        self._stepped = 0
        self._half = trio.Event()
        messages = sum(script.says for script in scripts.values())
        self._outcome = Outcome(0, 0, len(scripts), self._steps, messages, 0.0, 0.0, 0.0)

    async def play(self) -> Outcome:
        outcome = self._outcome
        async with open_registration(self._url) as registration, trio.open_nursery() as clients:
            began = trio.current_time()
            people = await self._gather(registration.register, clients)
            outcome.people, outcome.register_s = len(people), trio.current_time() - began

            stages = [
                self._stage(name, script, people[HOST, 0], [people[one] for one in _names(script)])
                for name, script in self._scripts.items()
            ]
            began = trio.current_time()
            await self._perform(stages, list(people.values()))
            outcome.replay_s, began = trio.current_time() - began, trio.current_time()
            self._progress.begin("every client catches up", len(stages))
            logs = []
            for stage in stages:
                logs.append(await stage.settle(SETTLE_S))
                self._progress.step()
            await self._all_back(list(people.values()))
            outcome.settle_s = trio.current_time() - began
            for stage, log in zip(stages, logs, strict=True):
                outcome.verdict.add(stage.judge(log))
                outcome.changed += stage.changed
            for person in people.values():
                outcome.violations += [f"{person.nick}: {violation}" for violation in person.violations]
            clients.cancel_scope.cancel()
        return outcome

    def _stage(self, name: str, script: Script, host: Person, people: Sequence[Person]) -> Stage:
        return Stage(name, script, host, people, self._options.changes, Random(self._random.random()))

    async def _gather(self, register: Callable[[str], Any], clients: trio.Nursery) -> dict[tuple[str, int], Person]:
        """Everybody of all scripts, registered and connected; who is called the same in two logs is the same."""
        names = dict.fromkeys([(HOST, 0), *(name for script in self._scripts.values() for name in _names(script))])
        people: dict[tuple[str, int], Person] = {}
        self._progress.begin("people register", len(names))

        async def come(name: tuple[str, int]) -> None:
            account = await register(name[0])
            people[name] = await clients.start(
                keep_person, name[0], account, self._url, Random(self._random.random()), self._options.reconnect_s
            )
            await people[name].client.wait_synced()
            self._progress.step()

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(come, name)
        return {name: people[name] for name in names}

    async def _perform(self, stages: Sequence[Stage], people: Sequence[Person]) -> None:
        """All steps of all stages, with drops and kills beside them."""
        options = self._options
        self._progress.begin("lines are said", self._steps)
        droppers = self._random.sample(people, round(options.drop * len(people)))
        async with trio.open_nursery() as trouble:
            trouble.start_soon(
                drop_now_and_then,
                droppers,
                Random(self._random.random()),
                options.drop_every_s,
                options.away_s,
                self._dropped,
            )
            if self._server is not None and options.kill_server_every_s is not None:
                trouble.start_soon(kill_server_every, self._server, options.kill_server_every_s, self._killed)
            if self._server is not None and options.kill_postgres:
                trouble.start_soon(self._kill_postgres_half_way, self._server)
            async with trio.open_nursery() as nursery:
                for stage in stages:
                    nursery.start_soon(stage.play, options.speed, self._step)
            trouble.cancel_scope.cancel()

    async def _kill_postgres_half_way(self, server: ServerProcess) -> None:
        await self._half.wait()
        kill_postgres(server, self._killed)

    async def _all_back(self, people: Sequence[Person]) -> None:
        """Wait for every client to be connected with nothing missing; say who is not."""
        with trio.move_on_after(SETTLE_S):
            for person in people:
                await person.client.wait_synced()
        self._outcome.not_back = [f"{one.nick}: {one.client.state}" for one in people if not one.back]

    def _step(self) -> None:
        self._stepped += 1
        self._progress.step()
        if self._stepped * 2 >= self._steps:
            self._half.set()

    def _dropped(self, person: Person) -> None:
        self._outcome.drops += 1
        self._progress.note(drops=self._outcome.drops)

    def _killed(self, what: str) -> None:
        self._outcome.kills[what] += 1
        self._progress.note(kills=self._outcome.kills.total())


def _names(script: Script) -> list[tuple[str, int]]:
    """Who the people of *script* are among all logs: a nick, and which of those first called so within the log."""
    count: Counter[str] = Counter()
    names = []
    for nick in script.people:
        names.append((nick, count[nick]))
        count[nick] += 1
    return names


@asynccontextmanager
async def _server(options: Options) -> AsyncIterator[tuple[str, ServerProcess | None]]:
    if options.url is not None:
        yield options.url, None
        return
    async with open_server(SETTINGS) as server:
        yield server.url, server


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.0,
    help="Lines a second of each log; without it, as fast as acknowledgements come.",
)
@click.option("--drop", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of people who drop.")
@click.option(
    "--drop-every",
    type=click.FloatRange(0.05),
    default=10.0,
    show_default=True,
    help="Seconds between two drops of one of them, on average.",
)
@click.option(
    "--changes",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of messages that are edited, reacted to or deleted.",
)
@click.option("--lines", type=click.IntRange(1), help="Only so many lines of each log.")
@click.option("--url", help="A running server; without it one is started, and removed at the end.")
@click.option(
    "--kill-server-every",
    type=click.FloatRange(0.5),
    metavar="S",
    help="SIGKILL the server every S seconds and start it again.",
)
@click.option("--kill-postgres", is_flag=True, help="SIGKILL its PostgreSQL once, half-way.")
@click.option("--seed", type=click.IntRange(1), help="Drops and delays are drawn from it; without it, from chance.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def main(
    files: tuple[Path, ...], speed: float, drop: float, drop_every: float, changes: float, lines: int | None,
    url: str | None,
    kill_server_every: float | None, kill_postgres: bool, seed: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Replay chat logs against a server and compare what every client saw with what was kept.

    Several FILEs are replayed at the same time, each in a group of its own; without any, a small excerpt is. Exit code
    1 when anything was lost, doubled, reordered, altered or shown to somebody else, or a client did not come back.
    """
    if url is not None and (kill_server_every is not None or kill_postgres):
        raise click.UsageError("only a server that was started here can be killed: leave out --url")
    quiet_logs()
    scripts = {}
    for path in files or (EXCERPT,):
        scripts[path.name if path.name not in scripts else str(path)] = write_script(read_chatlog(path), lines)
    options = Options(
        speed=speed, drop=drop, drop_every_s=drop_every, changes=changes, lines=lines, url=url,
        kill_server_every_s=kill_server_every,
        kill_postgres=kill_postgres, seed=seed or 0,
    )  # fmt: skip

    async def run() -> Outcome:
        with open_progress() as progress:
            return await replay(scripts, options, progress)

    outcome = plainly(run, ClientError, Stalled)
    show(outcome.told(), as_json)
    if not outcome.good:
        sys.exit(1)


if __name__ == "__main__":
    main()
