"""The people of a replay: registered over HTTP, each connected as a client of their own, each keeping a transcript."""

import itertools
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import httpx
import trio

from bench.flaky import Network
from konnect_client import (
    Account,
    Client,
    ConversationChanged,
    Entry,
    Messages,
    Phase,
    ServerRefused,
    Violation,
    open_client,
    register as register_account,
)

AT_ONCE: Final = 4  # registrations; the server hashes two passwords at a time
PASSWORD: Final = "replayed chat log"


class Person:
    """One account and its client."""

    def __init__(self, nick: str, account: Account, client: Client, network: Network) -> None:
        self.nick, self.account, self.client, self.network = nick, account, client, network
        self.seen: dict[str, list[Entry]] = {}  # conversation -> entries in the order in which they came
        self.messages = Messages(kept=sys.maxsize)  # as they stand, by all that was heard
        self.violations: list[str] = []
        self.drops = 0
        self.news = trio.Event()  # set, and replaced, at each entry

    @property
    def id(self) -> str:
        """The account's id."""
        return self.account.user.id

    @property
    def back(self) -> bool:
        """True when connected with nothing missing."""
        return self.client.state.phase is Phase.OPEN and self.client.synced

    def top(self, conversation: str) -> int:
        """The seq of the last entry that came; 0 when none did."""
        seen = self.seen.get(conversation)
        return seen[-1].seq if seen else 0

    async def follow(self) -> None:
        """Keep the transcript until the client is closed."""
        async for event in self.client.events:
            self.messages.note(event)
            match event:
                case Entry():
                    self._note(event)
                case ConversationChanged():
                    await self._catch_up(event)
                case Violation():
                    self.violations.append(event.message)
                case _:
                    pass

    def _note(self, entry: Entry) -> None:
        self.seen.setdefault(entry.conversation, []).append(entry)
        self.news.set()
        self.news = trio.Event()

    async def _catch_up(self, changed: ConversationChanged) -> None:
        """A conversation that is new here, or was left for a while: its past up to its head is read as history."""
        conversation = changed.conversation
        top = self.top(conversation.id)
        missing: list[Entry] = [entry for entry in conversation.recent if entry.seq > top]
        first = missing[0].seq if missing else conversation.head + 1
        if first > top + 1:
            past: list[Entry] = []
            async for entry in self.client.walk_back(conversation.id, before=first):
                if entry.seq <= top:
                    break
                past.append(entry)
            self.messages.learn(past)
            missing = [*reversed(past), *missing]
        for entry in missing:
            self._note(entry)


@asynccontextmanager
async def open_registration(url: str) -> AsyncIterator["Registration"]:
    """Makes accounts until the block ends; they refresh their tokens over the same HTTP client."""
    addresses = itertools.count(1)

    async def seem_to_come_from_elsewhere(request: httpx.Request) -> None:
        # Each request has an address of its own, as in life; only a server that was told to trust us believes it.
        number = next(addresses)
        request.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    hooks = {"request": [seem_to_come_from_elsewhere]}
    async with httpx.AsyncClient(base_url=url, event_hooks=hooks) as http:
        yield Registration(http)


class Registration:
    """Makes accounts, at the pace the server allows."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def register(self, nick: str) -> Account:
        """A new account for *nick*; waits when the server says that there are too many.

        Raises:
            ServerRefused, ServerUnreachable: See :func:`konnect_client.register`.
        """
        email = f"{self._run}-{next(self._numbers)}@replay.example"
        async with self._limit:
            while True:
                try:
                    return await register_account(self._http, email, PASSWORD, nick[:100])
                except ServerRefused as refusal:
                    if not refusal.retryable:
                        raise
                    await trio.sleep((refusal.retry_after_ms or 1000) / 1000)


async def keep_person(
    nick: str, account: Account, url: str, random: Random, reconnect_s: tuple[float, float],
    *, task_status: trio.TaskStatus[Person],
) -> None:  # fmt: skip
    """Keep *nick* connected until cancelled."""
    network = Network()
    async with open_client(
        url, token=account, device="replay", connect=network.connect, reconnect_s=reconnect_s,
        random=Random(random.random()), recent=random.choice((0, 1, 5)), inbox_events=10_000,
    ) as client:  # fmt: skip
        person = Person(nick, account, client, network)
        task_status.started(person)
        await person.follow()


async def drop_now_and_then(
    people: Sequence[Person], random: Random, every_s: float, away_s: float, dropped: Callable[[Person], None]
) -> None:
    """Tear each one's connection at random moments, *every_s* seconds apart on average, until cancelled."""
    async with trio.open_nursery() as nursery:
        for person in people:
            nursery.start_soon(_drop, person, Random(random.random()), every_s, away_s, dropped)


async def _drop(
    person: Person, random: Random, every_s: float, away_s: float, dropped: Callable[[Person], None]
) -> None:
    while True:
        await trio.sleep(random.expovariate(1 / every_s))
        if person.network.wire is None:
            continue
        person.drops += 1
        dropped(person)
        await person.network.wire.tear(random)
        if random.random() < 0.3:  # the device knows that it has no network, and stays away for a while
            person.client.set_online(False)
            try:
                await trio.sleep(random.uniform(0, away_s))
            finally:
                person.client.set_online(True)
