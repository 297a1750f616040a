"""Keeps a connection: one after the other, until there is a reason to stop.

A *plan* says when the next attempt is due and why. Each attempt gets a token, a socket and a session, and works on them
until something ends it; the *ending* says what follows. The application's wishes (close, reconnect, no network) end
what is going on now, whatever that is.
"""

import logging
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, NamedTuple

import trio

from konnect_client.backoff import Backoff
from konnect_client.calls import Call, Calls
from konnect_client.endings import TOKEN_EXPIRED, Ending, Then, after_failure
from konnect_client.errors import ClientClosed, ConnectFailed, NotOpen, SignedOut, TokenUnavailable
from konnect_client.events import Violation
from konnect_client.heads import Heads
from konnect_client.inbox import Inbox
from konnect_client.link import Link
from konnect_client.liveness import Liveness
from konnect_client.outbox import Outbox
from konnect_client.people import People
from konnect_client.receipts import Receipts
from konnect_client.renewal import keep_renewed
from konnect_client.savings import Savings
from konnect_client.session import Session
from konnect_client.states import Phase, States
from konnect_client.token_desk import TokenDesk
from konnect_client.tokens import AccessToken
from konnect_client.transport import Connect, Socket
from konnect_client.wakeup import Wakeup

STABLE_S: Final = 5.0  # a connection that was synced and lasted so long ends a row of failed attempts
GOODBYE: Final = (1000, "")

_log = logging.getLogger("konnect_client")


class Way(NamedTuple):
    """How to reach the server, and as what."""

    url: str
    connect: Connect
    device: str
    recent: int
    liveness: Liveness
    reconnect_s: tuple[float, float]


class Desks(NamedTuple):
    """Where things wait for a connection, and where they go from it; they outlast every connection."""

    outbox: Outbox
    calls: Calls
    receipts: Receipts
    heads: Heads
    inbox: Inbox
    people: People
    savings: Savings


class Plan(NamedTuple):
    """The next attempt: why, and when."""

    reason: str
    at: float


class Connector:
    """The client's one loop."""

    def __init__(self, way: Way, desks: Desks, tokens: TokenDesk, random: Random) -> None:
        self._way, self._desks, self._tokens, self._random = way, desks, tokens, random
        self._backoff = Backoff(random, *way.reconnect_s)
        self.states = States()
        self.online = True
        self.synced = False
        self.heard_something = Wakeup()  # after each message that came in, and at the end
        self.on_open: Callable[[], None] = _nothing
        self._synced_at = 0.0
        self._link: Link | None = None
        self._attempt: trio.CancelScope | None = None
        self._interruption: Ending | None = None
        self._hurry = Wakeup()
        desks.inbox.on_room = self._catch_up

    # --- What the application wishes ----------------------------------------------------------------------------------

    def set_online(self, online: bool) -> None:
        """Take over what the device knows of its network."""
        self.online = online
        if online:
            self._hurry.fire()
        elif self.states.present.phase is not Phase.CLOSED:
            self._interrupt(Ending(Then.COME_BACK, "offline"), goodbye=None)

    def reconnect(self) -> None:
        """Open a new connection now."""
        self._hurry.fire()
        self._interrupt(Ending(Then.AT_ONCE, "reconnect"), goodbye=None)

    def close(self) -> None:
        """Stop for good, with a goodbye. Plain call; ``states`` says when it is done."""
        self._interrupt(Ending(Then.STOP, "closed"))
        self._hurry.fire()

    def kick(self) -> None:
        """There may be something to send. Plain call."""
        if self._link is not None:
            self._link.kick()

    def ask_first(self, call: Call) -> None:
        """Send *call* on the open connection, before anything else. Raises NotOpen."""
        if self._link is None or self.states.present.phase is not Phase.OPEN:
            raise NotOpen("there is no open connection")
        self._link.ask_first(call)

    def check_alive(self) -> None:
        """Raises ClientClosed when this has stopped for good."""
        if self.states.present.phase is Phase.CLOSED:
            raise ClientClosed(self.states.present.reason)

    async def wait_for(self, there: Callable[[], bool]) -> None:
        """Wait until *there*; it may change with each new state. Raises ClientClosed."""
        await trio.lowlevel.checkpoint()
        while not there():
            self.check_alive()
            await self.states.changed.wait()

    # --- The loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and again, until there is a reason to stop."""
        plan: Plan | None = Plan("start", trio.current_time())
        try:
            while plan is not None:
                plan = await self._next(plan)
        except BaseException:
            self.stop("closed")  # the block was cancelled, or a token source raised what it may not
            raise

    def stop(self, reason: str) -> None:
        """Nothing will happen any more: wake everyone who waits for something. A second call does nothing."""
        if self.states.present.phase is Phase.CLOSED:
            return
        self._enter(Phase.CLOSED, reason)
        self._desks.outbox.stop(reason)
        self._desks.calls.stop(reason)
        self._desks.inbox.close()
        self._desks.savings.save()
        self.heard_something.fire()

    async def _next(self, plan: Plan) -> Plan | None:
        """Wait, or make the attempt that is due."""
        if self._interruption is None and not self.online:
            self._enter(Phase.WAITING, "offline")
            await self._hurry.wait()
        elif self._interruption is None and trio.current_time() < plan.at:
            with trio.move_on_at(plan.at):
                await self._hurry.wait()
        else:
            return await self._try(plan.reason)
        return Plan(plan.reason, trio.current_time())

    async def _try(self, reason: str) -> Plan | None:
        """One attempt, unless the application wishes something else; what follows."""
        plan: Plan | None = None
        if self._interruption is None:
            self._enter(Phase.CONNECTING, reason)
            with trio.CancelScope() as self._attempt:
                plan = await self._connect()
            self._attempt = None
        if self._interruption is None:
            return plan
        interruption, self._interruption = self._interruption, None
        return self._plan(interruption)

    async def _connect(self) -> Plan | None:
        """One connection from its token to its end."""
        try:
            token = await self._tokens.next()
        except SignedOut:
            return self._plan(Ending(Then.STOP, "signed_out"))
        except (TokenUnavailable, OSError) as failure:
            return self._plan(after_failure(failure))
        if self._tokens.is_refused(token):
            return self._plan(Ending(Then.STOP, "unauthorized"))
        try:
            async with self._way.connect(self._way.url) as socket:
                return await self._work(socket, token)
        except ConnectFailed as failure:
            return self._plan(after_failure(failure))

    async def _work(self, socket: Socket, token: AccessToken) -> Plan | None:
        """One open socket until its end."""
        desks = self._desks
        session = Session(desks.outbox, desks.calls, desks.receipts, desks.heads, trio.current_time())
        desks.inbox.listen_again()
        self._link = link = Link(session, partial(self._heard, session), self._way.liveness)
        hello = session.hello(token.text, self._way.device, self._way.recent, trio.current_time())
        try:
            ending = await link.run(socket, hello, partial(self._keep_renewed, token))
        finally:
            self._link = None
            session.over()
            desks.people.online.clear()
            stable = self.synced and trio.current_time() - self._synced_at >= STABLE_S
            self.synced = False
        if stable:
            self._backoff.reset()
        if ending.then is Then.NEW_TOKEN or ending.code == TOKEN_EXPIRED:
            self._tokens.refuse(token.text)
        if ending.detail:
            _log.warning("the server broke the protocol: %s", ending.detail)
            desks.inbox.put((Violation(ending.detail),), 0)
        return self._plan(ending)

    async def _keep_renewed(self, token: AccessToken, link: Link) -> None:
        await keep_renewed(link, token, self._tokens.next, self._tokens.refuse, self._random)

    def _heard(self, session: Session, payload: bytes) -> None:
        """One message came in."""
        now = trio.current_time()
        was_open = session.opened
        events = session.receive(payload, now, self._desks.inbox.listens)
        if session.opened and not was_open:
            self._opened(session)
        for event in events:
            self._desks.people.note(event)
        self._desks.inbox.put(events, len(payload))
        if session.synced and not self.synced:
            self.synced, self._synced_at = True, now
            self.states.changed.fire()
        self.heard_something.fire()

    def _opened(self, session: Session) -> None:
        assert session.user is not None
        assert self._link is not None
        savings = self._desks.savings
        if savings.user not in (None, session.user):
            self._link.leave(Ending(Then.STOP, "other_user"))  # before anything of the other user's is sent
            return
        savings.user = session.user
        self._desks.outbox.belongs_to(session.user)
        self._tokens.accepted()
        self._enter(Phase.OPEN, "hello")
        self.on_open()

    # --- What follows -------------------------------------------------------------------------------------------------

    def _plan(self, ending: Ending) -> Plan | None:
        """What follows from *ending*: the state is taken at once, whatever still has to be closed."""
        delay_s = self._delay_s(ending) if self.online or ending.then is Then.STOP else 0.0
        if delay_s is None:
            self.stop(ending.reason)
            return None
        if not self.online:
            self._enter(Phase.WAITING, "offline")
        elif delay_s > 0:
            self._enter(Phase.WAITING, ending.reason, delay_s)
        else:
            self._enter(Phase.CONNECTING, ending.reason)
        return Plan(ending.reason, trio.current_time() + delay_s)

    def _delay_s(self, ending: Ending) -> float | None:
        """Seconds until the next attempt; None for never."""
        match ending.then:
            case Then.STOP:
                return None
            case Then.AT_ONCE:
                return 0.0
            case Then.NEW_TOKEN if self._tokens.turned_away():
                return None
            case Then.NEW_CURSOR:
                self._desks.heads.cursor = self._desks.inbox.handled.cursor = None
                self._desks.savings.note()
            case _:
                pass
        return self._backoff.delay_s(ending.retry_after_s)

    def _interrupt(self, ending: Ending, goodbye: tuple[int, str] | None = GOODBYE) -> None:
        """End the present connection or attempt."""
        if self._link is not None:
            self._link.leave(ending, goodbye)
        elif self._attempt is not None:
            self._interruption = ending
            self._attempt.cancel()
        elif ending.then is Then.STOP:
            self._interruption = ending
        elif ending.reason == "offline":
            self._enter(Phase.WAITING, "offline")

    def _catch_up(self) -> None:
        """The application has caught up: ask again for what went by unseen."""
        if self._link is not None:
            self._link.leave(Ending(Then.AT_ONCE, "catching_up"))

    def _enter(self, phase: Phase, reason: str, retry_in_s: float | None = None) -> None:
        self.states.enter(phase, reason, online=self.online, retry_in_s=retry_in_s)


def _nothing() -> None:
    pass
