"""Asks the token source, and remembers what the server thought of its tokens."""

from collections.abc import Callable

from konnect_client.tokens import AccessToken, Refusable, TokenSource, expires_in_s


class TokenDesk:
    """Gives tokens for connections and renewals. One refused token is replaced; two in a row are the end."""

    def __init__(self, source: TokenSource, unix_time_s: Callable[[], float]) -> None:
        self._source, self._unix_time_s = source, unix_time_s
        self._refused: str | None = None
        self._refusals = 0

    async def next(self) -> AccessToken:
        """What the source gives. Raises what it raises: SignedOut, TokenUnavailable, OSError."""
        token = await self._source()
        if isinstance(token, AccessToken):
            return token
        return AccessToken(token, expires_in_s(token, self._unix_time_s()))

    def refuse(self, token: str) -> None:
        """The server did not accept *token*, or it has ended; the source hears of it, if it wants to."""
        self._refused = token
        source: object = self._source
        if isinstance(source, Refusable):
            source.refuse(token)

    def turned_away(self) -> bool:
        """A connection was refused for its token; True when that happened to the one before, too."""
        self._refusals += 1
        return self._refusals > 1

    def accepted(self) -> None:
        """The server let one in."""
        self._refused, self._refusals = None, 0

    def is_refused(self, token: AccessToken) -> bool:
        """True for the token that was refused last: the source has no better one."""
        return token.text == self._refused
