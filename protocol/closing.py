"""Close codes: 4000-4499 mean "come back", 4500-4999 mean "stay away until something changes".

A client that understands only the two ranges behaves well. Codes of RFC 6455 below 4000 that Konnect
sends are violations of the WebSocket protocol itself (1002, 1007, 1009) and 1000, the answer to a client's own close.
"""

from typing import Final, NamedTuple


class Close(NamedTuple):
    """One way a connection ends. ``reason`` is a machine word and travels as the close frame's reason."""

    code: int
    reason: str
    meaning: str

    @property
    def come_back(self) -> bool:
        """True when the client should reconnect by itself (with jitter)."""
        return self.code < 4500


DRAINING: Final = Close(4000, "draining", "The server is going away; come back, another one or the next one answers.")
SLOW: Final = Close(4001, "slow", "The client did not read for too long; what it missed waits for it.")
BEHIND: Final = Close(4002, "behind", "The server could not continue this connection's streams; what was missed waits.")
UNAVAILABLE: Final = Close(4003, "unavailable", "Storage did not answer; repeat what was not acknowledged, same keys.")
SILENT: Final = Close(4004, "silent", "No answer to the server's ping.")
HELLO_TIMEOUT: Final = Close(4005, "hello_timeout", "No hello within 10 seconds.")
TOKEN_EXPIRED: Final = Close(4006, "token_expired", "The access token ended; come back with a new one.")
CRASHED: Final = Close(4007, "crashed", "A bug of ours, contained to this connection; come back.")
FLOOD: Final = Close(4008, "flood", "Too many frames that Konnect could not accept; come back after a while.")
REPLACED: Final = Close(4500, "replaced", "The same device signed in again; only the newest socket stays.")
UNAUTHORIZED: Final = Close(4501, "unauthorized", "The token was not accepted; sign in again.")
SIGNED_OUT: Final = Close(4502, "signed_out", "This sign-in was ended.")
HELLO_FIRST: Final = Close(4503, "hello_first", "Something other than hello came first.")
TOO_MANY_SOCKETS: Final = Close(4504, "too_many_sockets", "The person has too many sockets open.")
BAD_HELLO: Final = Close(4505, "bad_hello", "The hello was malformed; the error before the close says how.")

ALL: Final = (
    DRAINING, SLOW, BEHIND, UNAVAILABLE, SILENT, HELLO_TIMEOUT, TOKEN_EXPIRED, CRASHED, FLOOD,
    REPLACED, UNAUTHORIZED, SIGNED_OUT, HELLO_FIRST, TOO_MANY_SOCKETS, BAD_HELLO,
)  # fmt: skip
