"""The client's error tree.

::

    ClientError
    ├── SignedOut              raised by a token source: there is no sign-in any more; the client stops for good
    ├── TokenUnavailable       raised by a token source: no token now; the client tries again
    ├── ConnectFailed          no connection came about
    ├── SocketEnded            the connection ended, with the close code and reason that were seen
    ├── ProtocolViolation      the server sent what the protocol does not allow
    ├── ServerRefused          the server answered a command with an error: ``code``, ``message``, ``retry_after_ms``
    ├── NotOpen                a command that makes sense only now, and there is no open connection (any more)
    ├── ServerUnreachable      no answer over HTTP, or none of a Konnect server
    ├── ClientClosed           the client has stopped for good
    ├── OutboxFull             as many messages or bytes wait as may wait
    ├── OutboxUnwritable       the outbox file cannot be opened or written
    │   └── OutboxInUse        another process has it open
    └── TooLarge               the command does not fit into one frame
"""

from typing import Final

RETRYABLE_CODES: Final = frozenset({"rate_limited", "unavailable", "internal_error"})


class ClientError(Exception):
    """Everything this package raises by itself."""


class SignedOut(ClientError):
    """There is no sign-in any more. A token source raises it; the client then stops for good."""


class TokenUnavailable(ClientError):
    """No token can be had right now. A token source raises it; the client tries again.

    ``retry_after_s`` is the server's wish in seconds, or None.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConnectFailed(ClientError):
    """No connection came about. ``reason`` is a machine word, ``retry_after_s`` the server's wish or None."""

    def __init__(self, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.retry_after_s = reason, retry_after_s


class SocketEnded(ClientError):
    """The connection ended. ``code`` is the WebSocket close code that was seen, 1006 when there was none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection ended with {code} {reason}".rstrip())
        self.code, self.reason = code, reason


class ProtocolViolation(ClientError):
    """The server sent what the protocol does not allow; the text says what. The client opens a new connection."""


class ServerRefused(ClientError):
    """The server answered a command with an error.

    ``code`` is stable and for machines, ``message`` for people; ``retry_after_ms`` says when the same command may be
    repeated, where time helps.
    """

    def __init__(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.retry_after_ms = code, message, retry_after_ms

    @property
    def retryable(self) -> bool:
        """True when the same command, with the same key, may succeed later."""
        return self.code in RETRYABLE_CODES or self.retry_after_ms is not None


class NotOpen(ClientError):
    """There is no open connection, or it ended before the answer came; nothing is repeated."""


class ServerUnreachable(ClientError):
    """No answer over HTTP, or one that is not from a Konnect server; the text says which."""


class ClientClosed(ClientError):
    """The client has stopped for good; ``reason`` is the machine word of its last state."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the client is closed: {reason}")
        self.reason = reason


class OutboxFull(ClientError):
    """As many messages or bytes wait to be sent as may wait."""


class OutboxUnwritable(ClientError):
    """The outbox file cannot be opened or written; the text says which, and why."""


class OutboxInUse(OutboxUnwritable):
    """Another process has the outbox file open."""


class TooLarge(ClientError):
    """The command does not fit into one frame (64 KiB)."""
