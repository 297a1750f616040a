"""The client's states: ``idle -> connecting -> open -> (waiting -> connecting) -> closed``."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from konnect_client.wakeup import Wakeup

UNSEEN_STATES: Final = 100  # that a watcher may lag behind; beyond, the oldest is let go


class Phase(StrEnum):
    """Where the client is."""

    IDLE = "idle"  # not started
    CONNECTING = "connecting"  # getting a token, a connection, an answer to hello
    OPEN = "open"  # signed in; commands are answered
    WAITING = "waiting"  # until the next attempt
    CLOSED = "closed"  # for good


@dataclass(frozen=True, slots=True)
class State:
    """The client's state and why it is so.

    ``reason`` is a machine word: the server's for closing ("draining", "slow", "replaced" ...), or ``new``, ``start``,
    ``hello``, ``lost`` (the connection broke), ``unreachable``, ``timeout``, ``tls``, ``http_<status>``,
    ``not_konnect``, ``hello_timeout``, ``no_answer`` (to a ping), ``answer_overdue``, ``token_unavailable``,
    ``violation`` (of the protocol, by the server), ``catching_up`` (the application was slow), ``offline``,
    ``reconnect`` (the application asked for it), ``signed_out``, ``other_user`` (the files belong to somebody else),
    ``close_<code>``, ``closed`` (by the application).
    """

    phase: Phase
    reason: str
    online: bool  # what the application said of the device's network
    retry_in_s: float | None = None  # while waiting


class Watch:
    """An async iterator over the states from the present one on; it ends after ``closed``."""

    def __init__(self, present: State) -> None:
        self._unseen: deque[State] = deque([present], maxlen=UNSEEN_STATES)
        self._changed = Wakeup()
        self._ended = False

    def note(self, state: State) -> None:
        self._unseen.append(state)
        self._changed.fire()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> State:
        if self._ended:
            raise StopAsyncIteration
        while not self._unseen:
            await self._changed.wait()
        state = self._unseen.popleft()
        self._ended = state.phase is Phase.CLOSED
        return state


class States:
    """The present state, and who watches it."""

    def __init__(self) -> None:
        self.present = State(Phase.IDLE, "new", online=True)
        self.changed = Wakeup()
        self._watches: list[Watch] = []

    def enter(self, phase: Phase, reason: str, *, online: bool, retry_in_s: float | None = None) -> None:
        """Take a new state and tell everyone; nothing for the same one again. Plain call."""
        state = State(phase, reason, online, retry_in_s)
        if state == self.present:
            return
        self.present = state
        for watch in self._watches:
            watch.note(self.present)
        self.changed.fire()

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Every state from the present one on, for the length of a block."""
        watch = Watch(self.present)
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)
