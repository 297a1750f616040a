"""Gives the server the next token before the present one ends, as long as a connection lives."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Protocol

import trio

from konnect_client.backoff import Backoff
from konnect_client.calls import Call
from konnect_client.endings import Ending, Then
from konnect_client.errors import NotOpen, ServerRefused, SignedOut, TokenUnavailable
from konnect_client.model import take
from konnect_client.tokens import AccessToken

SOONEST_S: Final = 10.0  # so that a wrong clock, or a source that repeats itself, makes no loop
EARLIEST, LATEST = 0.70, 0.85  # of a token's life: when the next one is asked for; drawn, against herds


class Connection(Protocol):
    """What renewal needs of a connection."""

    def ask_first(self, call: Call) -> None:
        """Send *call* before anything else."""

    def leave(self, ending: Ending) -> None:
        """End the connection."""


async def keep_renewed(
    connection: Connection,
    token: AccessToken,
    source: Callable[[], Awaitable[AccessToken]],
    refuse: Callable[[str], None],
    random: Random,
) -> None:
    """Renew until cancelled; returns when there is nothing to renew, or the connection has ended.

    A source that has no token now is asked again, with growing delays; the server ends the connection when the old
    token does, and the next connection asks the source again. A source that says SignedOut ends the connection at once.
    """
    life_s = token.expires_in_s
    backoff = Backoff(random, floor_s=1.0, ceiling_s=30.0)
    while life_s is not None:
        await trio.sleep(max(SOONEST_S, life_s * random.uniform(EARLIEST, LATEST)))
        life_s = await _renew(connection, source, refuse, backoff)


async def _renew(
    connection: Connection,
    source: Callable[[], Awaitable[AccessToken]],
    refuse: Callable[[str], None],
    backoff: Backoff,
) -> float | None:
    """Renew once, however long it takes; the new life in seconds, or None when the connection is over."""
    while True:
        retry_after_s = None
        try:
            token = await source()
            call = Call({"t": "auth.renew", "token": token.text})
            connection.ask_first(call)
            return float(take(await call.wait(), "expires_in_s", int))
        except SignedOut:
            connection.leave(Ending(Then.STOP, "signed_out"))
            return None
        except NotOpen:
            return None
        except ServerRefused as refusal:
            if refusal.code == "unauthorized":
                refuse(token.text)
            if refusal.retry_after_ms is not None:
                retry_after_s = refusal.retry_after_ms / 1000
        except TokenUnavailable as problem:
            retry_after_s = problem.retry_after_s
        except OSError:
            pass  # the source's network is away; ask again
        await trio.sleep(backoff.delay_s(retry_after_s))
