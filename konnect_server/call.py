"""A command of somebody who holds no socket: given by HTTP, and waited for until its one answer is here.

To a conversation and to receipts a call is what a session is to them: who asked, and takes the answer. So what comes
this way stands in the same inboxes, in the same order, in the same commits as what comes by socket.

A session that cannot be answered is closed, and its client comes back and repeats. A call has nothing to close: it is
refused with "unavailable", which means the same, for a repeat with the same key is answered as the first was.
"""

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import msgspec
import trio
from msgspec import Struct

from konnect_server import commands
from konnect_server.commands import HANDLERS, Ask, Then
from konnect_server.conversation import Acting, Posting
from konnect_server.limiter import KeyedLimiter
from protocol import closing, codec, errors, frames
from protocol.errors import KonnectError, RateLimited, Unavailable

CALL_S: Final = 20.0  # for one call: longer than a writer, receipts or a read try, so that these say what was wrong
PEOPLE: Final = 100_000  # whose rates are remembered, of messages and of other commands each


class Desk(commands.Desk, Protocol):
    """What calls stand on; the same that sessions do."""

    @property
    def now(self) -> Callable[[], float]: ...
    @property
    def flush(self) -> Callable[[], None]: ...
    @property
    def messages_per_s(self) -> float: ...
    @property
    def messages_burst(self) -> float: ...
    @property
    def commands_per_s(self) -> float: ...
    @property
    def commands_burst(self) -> float: ...


class Calls:
    """Takes calls; one for the whole process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._messages = KeyedLimiter(desk.messages_per_s, desk.messages_burst, PEOPLE)
        self._commands = KeyedLimiter(desk.commands_per_s, desk.commands_burst, PEOPLE)

    async def answer(self, user: UUID, command: frames.Command, sign_in: UUID | None = None) -> Struct:
        """Carry out *command* for *user*, who came by *sign_in*; what the socket's ``ok`` would carry.

        A call that is cancelled may be carried out all the same, as what a socket sent before it broke.

        Raises:
            RateLimited: The person, by all calls together, is faster than one socket may be.
            Unavailable: No answer, and the outcome is unknown; a repeat with the same key is safe.
            KonnectError: As the socket's ``error`` would say.
        """
        limiter = self._messages if isinstance(command, frames.MessageSend) else self._commands
        if wait_s := limiter.take(str(user), self._desk.now()):
            raise RateLimited(math.ceil(wait_s * 1000))
        answer = await Call(self._desk, user, sign_in).run(command)
        return answer if isinstance(answer, Struct) else msgspec.convert(answer, frames.RESULTS[type(command)])


class Call:
    """One command on its way, and who waits for its answer."""

    def __init__(self, desk: Desk, user: UUID, sign_in: UUID | None = None) -> None:
        self.user, self.sign_in = user, sign_in
        self._desk = desk
        self._work: Callable[[], Awaitable[None]] | None = None  # what its handler left to be waited for
        self._answer: object = None  # a result, as a Struct or as a map, or a KonnectError
        self._more = trio.Event()  # there is an answer, or room in the inbox

    @property
    def desk(self) -> Desk:
        """What commands stand on."""
        return self._desk

    async def run(self, command: frames.Command) -> object:
        """Wait for the answer to *command*, CALL_S at most.

        Raises:
            KonnectError
        """
        HANDLERS[type(command)](self, command)
        return await self.wait()

    async def wait(self) -> object:
        """Do what was left to be waited for, and wait for its answer, CALL_S at most.

        Raises:
            KonnectError
        """
        try:
            with trio.move_on_after(CALL_S):
                if self._work is not None:
                    await self._work()
                while self._answer is None:
                    await self._wait()
        finally:
            self._desk.flush()  # what the command pushed to others would else wait for the next unrelated input
        if self._answer is None:
            raise Unavailable(f"no answer within {CALL_S:g} s; repeat with the same key")
        if isinstance(self._answer, KonnectError):
            raise self._answer
        return self._answer

    # --- what handlers call ---

    def post(self, conversation: UUID, piece: Posting | Acting) -> None:
        """Put *piece* into the conversation's inbox once there is room."""
        self._work = partial(self._hand_in, conversation, piece)

    def read(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """Answer with what *ask* finds, put through *then*."""
        self._work = partial(self._ask, ask, then)

    def read_in_order(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """The same: a call stands alone."""
        self.read(command, ask, then)

    async def told_up_to(self, number: int) -> None:
        """There is no device to wait for."""

    async def told_of(self, conversation: UUID, seq: int = 0) -> None:
        """There is no device to wait for."""

    async def _hand_in(self, conversation: UUID, piece: Posting | Acting) -> None:
        # A socket puts one too many in and is not read; calls come from anywhere, and would go on filling the inbox.
        while not (found := self._desk.registry.conversation(conversation)).has_room(self):
            await self._wait()
            if self._answer is not None:
                return
        found.post(piece)

    async def _ask(self, ask: Ask, then: Then | None) -> None:
        found = await commands.insist(ask, self._desk.now)
        self._take(found if then is None else await then(found))

    async def _wait(self) -> None:
        self._more = trio.Event()
        await self._more.wait()

    # --- what conversations and receipts call ---

    def push(self, data: bytes) -> None:
        """The answer."""
        said = codec.answer(data)
        if isinstance(said, frames.Ok):
            self._take(said.result)
        else:
            after_ms = said.retry_after_ms
            self._take(errors.told(said.code, said.message, 0 if after_ms is msgspec.UNSET else after_ms))

    def answer(self, conversation: UUID, data: bytes) -> None:
        """The answer; of one's own entries nothing is told here."""
        self.push(data)

    def go_on(self) -> None:
        """There is room in the inbox."""
        self._more.set()

    def close(self, close: closing.Close) -> None:
        """There will be no answer."""
        self._take(Unavailable(f"the outcome is unknown ({close.reason}); repeat with the same key"))

    def _take(self, answer: object) -> None:
        if self._answer is None:  # the first counts
            self._answer = answer
        self._more.set()
