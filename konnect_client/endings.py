"""How a connection ended, and what follows from it.

Close codes 4000-4499 and all codes that Konnect does not define mean "come back", 4500-4999 "stay away". Two answers
to hello say more than the close code: a cursor that the server cannot read is dropped, and a token that it does not
accept is replaced once by the token source (a device that slept may hold one that ended unnoticed).
"""

from dataclasses import dataclass
from enum import Enum

from konnect_client.errors import ConnectFailed, ServerRefused, SocketEnded, TokenUnavailable

UNAUTHORIZED, TOKEN_EXPIRED = 4501, 4006


class Then(Enum):
    """What to do next."""

    COME_BACK = "come back after a while"
    AT_ONCE = "come back at once"
    NEW_TOKEN = "come back with another token, or not at all"
    NEW_CURSOR = "come back without the cursor"
    STOP = "stay away"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a connection or an attempt. ``reason`` is a machine word, ``code`` the close code if there was one."""

    then: Then
    reason: str
    code: int | None = None
    retry_after_s: float | None = None
    detail: str = ""  # for people


def after_close(closed: SocketEnded, refusal: ServerRefused | None) -> Ending:
    """What follows from the close code that was seen and, if hello was refused, from that answer."""
    reason = closed.reason or (refusal.code if refusal else "lost" if closed.code == 1006 else f"close_{closed.code}")
    wish = None
    if refusal is not None:
        wish = None if refusal.retry_after_ms is None else refusal.retry_after_ms / 1000
        if refusal.code == "bad_cursor":
            return Ending(Then.NEW_CURSOR, refusal.code, closed.code)
    if closed.code == UNAUTHORIZED or (refusal is not None and refusal.code == "unauthorized"):
        return Ending(Then.NEW_TOKEN, reason, closed.code)
    if 4500 <= closed.code <= 4999:
        return Ending(Then.STOP, reason, closed.code)
    return Ending(Then.COME_BACK, reason, closed.code, wish)


def after_failure(failure: ConnectFailed | TokenUnavailable | OSError) -> Ending:
    """What follows when no connection came about."""
    match failure:
        case ConnectFailed():
            return Ending(Then.COME_BACK, failure.reason, retry_after_s=failure.retry_after_s)
        case TokenUnavailable():
            return Ending(Then.COME_BACK, "token_unavailable", retry_after_s=failure.retry_after_s)
        case _:
            return Ending(Then.COME_BACK, "token_unavailable")
