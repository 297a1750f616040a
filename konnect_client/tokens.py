"""Access tokens as the client sees them: text with an end."""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token and how long it is still good, in seconds; None when that is not known."""

    text: str = field(repr=False)
    expires_in_s: float | None = None


TokenSource = Callable[[], Awaitable[AccessToken | str]]
"""Gives a token that is good for a while: asked before each connection, and before the present one ends.

Raises ``SignedOut`` to stop the client for good, ``TokenUnavailable`` or ``OSError`` to be asked again later.
"""


@runtime_checkable
class Refusable(Protocol):
    """A token source that wants to hear of tokens the server did not accept, so that it does not give them again."""

    def refuse(self, token: str) -> None:
        """The server did not accept *token*."""


def expires_in_s(token: str, unix_time_s: float) -> float | None:
    """How long *token* is still good by its own claims, in seconds; None when it does not say.

    The signature is not checked: the server does that. A clock that is wrong makes the figure wrong, so it is never
    more than the token's whole life (``exp - iat``), and only says when to ask for the next token.

    Source: RFC 7519, section 4.1.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    match claims:
        case {"exp": int() | float() as end, "iat": int() | float() as begin}:
            return max(0.0, min(end - unix_time_s, end - begin))
        case {"exp": int() | float() as end}:
            return max(0.0, end - unix_time_s)
    return None
