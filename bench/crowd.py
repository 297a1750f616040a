"""The crowd of W6 in one process: thousands of phones on raw sockets, one selector, one clock, no task for any.

``python -m bench.crowd``; ``bench/mixed.py`` starts it. Standard input: one line of JSON, see :class:`Orders`; then
``go`` when it has said that it is ready. Standard output: one JSON object a line: ready, begin, tick every five
seconds, end, result; or failed, with the reason.

Messages come by the clock: each has a moment when it is due, and its age counts from there, so that a stall of the
server's or our own is not hidden by sending less.
"""

import gc
import heapq
import itertools
import json
import math
import os
import resource
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, NoReturn

import msgspec

from bench.crowd_ledger import Ledger, Message
from bench.crowd_link import Link, LinkEnded
from bench.crowd_phone import Counts, Phone

CONNECTING_AT_ONCE: Final = 64
SIGN_IN_WITHIN_S: Final = 300.0
TICK_S: Final = 5.0
TYPES_FOR_S: Final = 2.0  # before a message
AGAIN_S: Final = 1.0  # after the server ended or refused a connection
_DESCRIPTORS: Final = 64  # besides the phones' sockets


class Failed(Exception):
    """The crowd cannot go on; the text says why."""


class User(msgspec.Struct):
    """One user: account id, access token, and the groups it is in, as places in :attr:`Orders.groups`."""

    id: str
    token: str
    groups: list[int]


class Orders(msgspec.Struct):
    """What the crowd is told. Times in seconds, rates a second."""

    host: str
    port: int
    users: list[User]
    groups: list[str]  # conversation ids
    texts: list[str]
    rate: float  # messages
    warmup: float
    seconds: float
    settle: float  # at most, until everybody has everything
    drop_share: float  # of the sockets, a minute
    away: tuple[float, float]  # after a drop, from .. to
    seed: int


class Crowd:
    """All phones and what drives them; a :class:`bench.crowd_phone.House`."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self.random = Random(orders.seed)
        self.ledger, self.counts = Ledger(), Counts()
        self.now = time.monotonic
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._dirty: set[Phone] = set()
        self._watched: dict[Phone, int] = {}  # the selector's events
        self._connecting: set[Phone] = set()
        self._unconnected: deque[Phone] = deque()
        self.phones = [
            Phone(self, user.id, user.token, [orders.groups[place] for place in user.groups]) for user in orders.users
        ]
        # Everybody who may speak, once for each of their groups.
        self._seats = [(phone, conversation) for phone in self.phones for conversation in phone.conversations]
        self._members: dict[str, list[Phone]] = {}
        for phone, conversation in self._seats:
            self._members.setdefault(conversation, []).append(phone)
        self._texts = itertools.cycle(orders.texts)
        self._run = f"{time.time_ns():x}"
        self._next_due = float("inf")
        self._drops_on = False
        self.drops = self.closes = self.redials = 0
        self.first_close = ""

    # --- What phones ask (House) --------------------------------------------------------------------------------------

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Call *what* in *seconds* from now."""
        heapq.heappush(self._timers, (self.now() + seconds, next(self._numbers), what))

    def dirty(self, phone: Phone) -> None:
        """Flush its link at the turn's end."""
        self._dirty.add(phone)

    def synced(self, phone: Phone) -> None:
        """One is in: the next may dial."""
        self._connecting.discard(phone)
        self._dial()

    # --- Turns --------------------------------------------------------------------------------------------------------

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Run until the moment *end* or until *done*; whether it was done."""
        while (now := self.now()) < end:
            if done():
                return True
            self._timers_due(now)
            next_timer = self._timers[0][0] if self._timers else end
            self._turn(max(0.0, min(0.05, end - now, next_timer - now, self._next_due - TYPES_FOR_S - now)))
        return done()

    def _timers_due(self, now: float) -> None:
        while self._next_due - TYPES_FOR_S <= now:
            self._draw_message(self._next_due)
            self._next_due += 1 / self._orders.rate
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _turn(self, wait_s: float) -> None:
        self._flush()  # what the timers queued does not wait for the selector
        for key, mask in self._selector.select(wait_s):
            phone: Phone = key.data
            if mask & selectors.EVENT_WRITE:
                self._dirty.add(phone)
            if mask & selectors.EVENT_READ and phone.link is not None:
                try:
                    phone.readable()
                except LinkEnded as end:
                    self._ended(phone, str(end))
                except msgspec.DecodeError as problem:
                    self.ledger.blame("altered", f"{phone.user} got a frame that is none: {problem}")
        self._flush()

    def _flush(self) -> None:
        for phone in self._dirty:
            if phone.link is not None:
                phone.link.flush()
                self._watch(phone, phone.link)
        self._dirty.clear()

    def _watch(self, phone: Phone, link: Link) -> None:
        if self._watched.get(phone) != link.wants:
            self._watched[phone] = link.wants
            self._selector.modify(link.sock, link.wants, phone)

    # --- Connections --------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        while self._unconnected and len(self._connecting) < CONNECTING_AT_ONCE:
            phone = self._unconnected.popleft()
            self._connecting.add(phone)
            link = Link(self._orders.host, self._orders.port)
            phone.connected(link)
            self._watched[phone] = link.wants
            self._selector.register(link.sock, link.wants, phone)

    def _call_back(self, phone: Phone) -> None:
        self._unconnected.append(phone)
        self._dial()

    def _forget(self, phone: Phone) -> Link:
        link = phone.link
        assert link is not None
        self._selector.unregister(link.sock)
        del self._watched[phone]
        self._dirty.discard(phone)
        self._connecting.discard(phone)
        phone.disconnected()
        return link

    def _ended(self, phone: Phone, how: str) -> None:
        """The server ended a connection: a failure, and still the phone comes back."""
        self._forget(phone).end()
        self.closes += 1
        self.first_close = self.first_close or how
        self.redials += 1
        self.later(AGAIN_S, lambda: self._call_back(phone))
        self._dial()

    def _drop_one(self) -> None:
        """One of those who are connected loses its connection, in one of three ways, and comes back after a while."""
        if not self._drops_on:
            return
        self.later(self.random.expovariate(self._drop_rate), self._drop_one)
        phone = self.random.choice(self.phones)
        if phone.live:
            link = self._forget(phone)
            self.random.choice((link.reset, link.end, link.say_goodbye))()
            self.drops += 1
            self.later(self.random.uniform(*self._orders.away), lambda: self._call_back(phone))

    @property
    def _drop_rate(self) -> float:
        return self._orders.drop_share * len(self.phones) / 60

    # --- Messages -----------------------------------------------------------------------------------------------------

    def _draw_message(self, due: float) -> None:
        """Somebody begins to type what is to be sent at *due*."""
        phone, conversation = self.random.choice(self._seats)
        phone.type(conversation)
        heapq.heappush(
            self._timers, (due, next(self._numbers), lambda: self._say(phone, conversation, due))
        )  # fmt: skip

    def _say(self, author: Phone, conversation: str, due: float) -> None:
        """Send it. An author who has dropped meanwhile leaves it to another member; if nobody is there, it waits."""
        members = self._members[conversation]
        for _ in members if not author.live else ():
            other = self.random.choice(members)
            if other.live:
                author = other
                break
        key = f"{self._run}-{next(self._numbers):x}"
        author.say(Message(key, author.user, conversation, next(self._texts), due))

    # --- The course of a run ------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Connect everybody and say that they are ready."""
        began = self.now()
        self._unconnected.extend(self.phones)
        self._dial()
        if not self.run_until(began + SIGN_IN_WITHIN_S, lambda: self._all_live() or self.closes > 0):
            raise Failed(f"not all of {len(self.phones)} sockets were signed in within {SIGN_IN_WITHIN_S:g} s")
        if self.closes or self.counts.errors:
            raise Failed(f"a sign-in failed: {self.counts.first_error or self.first_close}")
        gc.collect()
        gc.freeze()  # what is there stays; collecting it again and again would be our own stalls
        _tell("ready", sockets=len(self.phones), seconds=self.now() - began)

    def await_go(self) -> None:
        """Answer pings until told to go."""
        os.set_blocking(0, False)
        while True:
            try:
                if not os.read(0, 16):
                    raise Failed("nobody said go")
                return
            except BlockingIOError:
                self.run_until(self.now() + 0.01)

    def go(self) -> None:
        """Warm up, measure, let everybody come back, judge, and tell."""
        orders = self._orders
        self._next_due = self.now() + TYPES_FOR_S + 1 / orders.rate
        for phone in self.phones:
            phone.look_elsewhere()
        if orders.drop_share > 0:
            self._drops_on = True
            self.later(self.random.expovariate(self._drop_rate), self._drop_one)
        self.run_until(self.now() + TYPES_FOR_S + orders.warmup)
        _tell("begin", phase=0)
        began, cpu, self.counts.measured = self.now(), time.process_time(), True
        acknowledged = self.ledger.acknowledged
        for tick in range(1, math.ceil(orders.seconds / TICK_S) + 1):
            self.run_until(began + min(tick * TICK_S, orders.seconds))
            self._tick(began)
        ended, self.counts.measured = self.now(), False
        measured = {
            "seconds": ended - began,
            "cpu": (time.process_time() - cpu) / (ended - began),
            "acks": self.ledger.acknowledged - acknowledged,
            "deliveries": self.ledger.live + self.ledger.caught_up,
            "ack": self.ledger.ack.told(),
            "delivery": self.ledger.delivery.told(),
        }
        _tell("end", phase=0)
        self._settle(measured)

    def _settle(self, measured: dict[str, Any]) -> None:
        """No more messages and drops; whoever is away comes back, and everybody gets everything."""
        self._next_due, self._drops_on = float("inf"), False
        # What is being typed is still sent: it is in the timers, due within TYPES_FOR_S.
        self.run_until(self.now() + TYPES_FOR_S)
        began = self.now()
        self.run_until(began + self._orders.settle, self._all_settled)
        settle_s = self.now() - began
        self.ledger.judge({phone.user: phone.heads for phone in self.phones})
        not_back = sum(not phone.live for phone in self.phones)
        if not_back:
            self.ledger.blame("lost", f"{not_back} phones did not come back", not_back)
        for phone in self.phones:
            if phone.link is not None:
                phone.link.say_goodbye()
        self._tell_result(measured, settle_s)

    def _all_live(self) -> bool:
        return not self._unconnected and not self._connecting and all(phone.live for phone in self.phones)

    def _all_settled(self) -> bool:
        if not self._all_live() or any(phone.outbox for phone in self.phones):
            return False
        tops = self.ledger.tops
        return all(
            head >= tops.get(conversation, 0) for phone in self.phones for conversation, head in phone.heads.items()
        )

    def _tick(self, began: float) -> None:
        _tell(
            "tick", seconds=self.now() - began, sent=self.counts.sent, live=self.ledger.live,
            caught_up=self.ledger.caught_up, drops=self.drops, violations=self.ledger.violations,
        )  # fmt: skip

    def _tell_result(self, measured: dict[str, Any], settle_s: float) -> None:
        wrongs = self.ledger.wrongs
        _tell(
            "result", sockets=len(self.phones), sent=self.counts.sent, live=self.ledger.live,
            caught_up=self.ledger.caught_up, messages=len(self.ledger.messages),
            acknowledged=self.ledger.acknowledged, lost=wrongs["lost"], wrong=wrongs.total() - wrongs["lost"],
            violations=wrongs.total(), kinds=dict(wrongs), examples=self.ledger.examples, errors=self.counts.errors,
            closes=self.closes, first_error=self.counts.first_error, first_close=self.first_close, drops=self.drops,
            redials=self.redials, sampled=self.counts.sampled, events=self.counts.events, asked=self.counts.asked,
            settle_s=settle_s, phases=[measured],
        )  # fmt: skip


def _tell(event: str, **told: Any) -> None:
    print(json.dumps({"event": event, **told}), flush=True)


def _fail(reason: str) -> NoReturn:
    _tell("failed", reason=reason)
    sys.exit(1)


def _room_for(sockets: int) -> None:
    """Raise the limit of open files as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + _DESCRIPTORS
    if hard not in (resource.RLIM_INFINITY, -1) and hard < wanted:
        raise Failed(f"{sockets} sockets need {wanted} open files, and this system allows {hard} (ulimit -n)")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Run as standard input tells."""
    try:
        orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
        _room_for(len(orders.users))
        crowd = Crowd(orders)
        crowd.sign_in()
        crowd.await_go()
        crowd.go()
    except (Failed, msgspec.MsgspecError, OSError) as problem:
        _fail(str(problem))


if __name__ == "__main__":
    main()
