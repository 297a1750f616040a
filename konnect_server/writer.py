"""Group commit: what waits in all conversations of one lane goes into the log in one append.

A few writers, each with a connection of its own; a conversation always uses the same one, so that one slow commit holds
up few and no conversation has two appends under way. While one batch commits, the next gathers.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, islice, repeat
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import structlog
import trio

from konnect_server.conversation import Acting, Conversation, Posting
from konnect_server.telemetry import counter, histogram
from protocol.errors import Invalid, Refused, SlowMode
from protocol.frames import Entry
from storage.errors import StorageRefused, StorageUnavailable
from storage.rows import Answer, Appendix, NewMessage, Rules
from storage.store import Store

BATCH_ROWS: Final = 512  # rows in one append; bench.direct chose it
CATCH_UP_ENTRIES: Final = 500
GIVE_UP_S: Final = 15.0  # how long an append of unknown outcome is repeated before its authors' sockets close
RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)  # pauses between repeats; the last one goes on

T = TypeVar("T")

MESSAGES: Final = counter("konnect_messages_appended_total", "Messages that went to the log, repeats included.")
APPEND_SECONDS: Final = histogram("konnect_append_seconds", "One append of a batch, from asking to committed.")
REPEATED: Final = counter("konnect_appends_repeated_total", "Calls repeated because storage did not answer.")

log = structlog.get_logger("konnect.writer")

Batch: TypeAlias = tuple[Conversation, Sequence[Posting]]
Contain: TypeAlias = Callable[[Conversation, Callable[[], None]], None]
"""Run a call-back of one conversation; a crash in it stops that conversation and nothing else."""


class _GaveUp(Exception):
    """Storage did not answer for GIVE_UP_S."""


class Writer:
    """One lane to the log. ``run`` is its task; all else are plain calls."""

    def __init__(
        self, lane: int, store: Store, rules: Rules, contain: Contain, flush: Callable[[], None]
    ) -> None:
        self._lane, self._store, self._rules = lane, store, rules
        self._contain, self._flush = contain, flush
        self._appends: deque[Batch] = deque()
        self._others: deque[tuple[Conversation, Acting | None]] = deque()  # None: a stretch of log to read
        self._work = trio.Event()
        self.busy = False

    def append(self, conversation: Conversation, postings: Sequence[Posting]) -> None:
        """Store *postings*, with whatever else waits, in one commit."""
        self._appends.append((conversation, postings))
        self._work.set()

    def act(self, conversation: Conversation, acting: Acting) -> None:
        """Store an action, in a commit of its own: within one statement a later message of the batch would not see a
        removal before it."""
        self._others.append((conversation, acting))
        self._work.set()

    def catch_up(self, conversation: Conversation) -> None:
        """Read the log above the conversation's head."""
        self._others.append((conversation, None))
        self._work.set()

    @property
    def quiet(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not (self.busy or self._appends or self._others)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            self.busy = True
            while self._appends or self._others:
                if self._appends:
                    await self._append(self._take())
                if self._others:
                    conversation, acting = self._others.popleft()
                    if acting is None:
                        await self._catch_up(conversation)
                    else:
                        await self._act(conversation, acting)
                self._flush()
            self.busy = False

    def _take(self) -> list[Batch]:
        batches, rows = [], 0
        while self._appends and rows < BATCH_ROWS:
            batches.append(self._appends.popleft())
            rows += len(batches[-1][1])
        return batches

    async def _append(self, batches: Sequence[Batch]) -> None:
        heads = {conversation.id: conversation.head for conversation, _ in batches if conversation.head is not None}
        messages = [_message(conversation, posting) for conversation, postings in batches for posting in postings]
        began = trio.current_time()
        try:
            outcome = await self._insist(lambda: self._store.append(self._lane, messages, heads))
        except _GaveUp:
            for conversation, postings in batches:
                self._contain(conversation, partial(conversation.gave_up, postings))
        except StorageRefused as problem:
            await self._split(batches, problem)
        else:
            MESSAGES.inc(len(messages))
            APPEND_SECONDS.observe(trio.current_time() - began)
            self._hand_back(batches, outcome)

    def _hand_back(self, batches: Sequence[Batch], outcome: Appendix) -> None:
        missed: dict[UUID, list[Entry]] = {}
        for entry in outcome.missed:
            missed.setdefault(entry.conversation, []).append(entry)
        answers = iter(outcome.answers)
        for conversation, postings in batches:
            part = Appendix(list(islice(answers, len(postings))), missed.get(conversation.id, []))
            self._contain(conversation, partial(conversation.appended, postings, part))

    async def _split(self, batches: Sequence[Batch], problem: StorageRefused) -> None:
        """The database refuses something in the batch, and so all of it. Halve by conversation until the one is alone,
        then go through its messages one by one, so that nobody else's fails with it (docs/hazards.md, B2)."""
        if len(batches) > 1:
            half = len(batches) // 2
            await self._append(batches[:half])
            await self._append(batches[half:])
            return
        [(conversation, postings)] = batches
        log.warning("storage refuses a message", conversation=str(conversation.id), problem=str(problem))
        answers: list[Answer] = []
        for posting in postings:
            message = _message(conversation, posting)
            try:
                alone = await self._insist(lambda message=message: self._store.append(self._lane, [message], {}))  # type: ignore[misc]
            except _GaveUp:
                self._contain(conversation, partial(conversation.gave_up, postings))
                return
            except StorageRefused:
                answers.append(Answer(new=False, reused=False, refused=True))
            else:
                answers += alone.answers
        self._contain(conversation, partial(conversation.appended, postings, Appendix(answers, [])))

    async def _act(self, conversation: Conversation, acting: Acting) -> None:
        try:
            outcome = await self._insist(
                lambda: self._store.act(self._lane, acting.author, acting.action, self._rules)
            )
        except _GaveUp:
            self._contain(conversation, lambda: conversation.gave_up([acting]))
        except StorageRefused:
            self._contain(conversation, partial(conversation.refused, [acting], Invalid("this cannot be stored")))
        except (Refused, SlowMode) as problem:
            self._contain(conversation, partial(conversation.refused, [acting], problem))
        else:
            self._contain(conversation, lambda: conversation.acted(acting, outcome))

    async def _catch_up(self, conversation: Conversation) -> None:
        head = conversation.head or 0
        try:
            entries = await self._insist(
                lambda: self._store.log_after(self._lane, conversation.id, head, CATCH_UP_ENTRIES)
            )
        except _GaveUp:
            self._contain(conversation, lambda: conversation.gave_up([]))
        else:
            self._contain(conversation, lambda: conversation.caught_up(entries))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the same call until storage answers. After a lost answer the outcome is unknown; the same batch with the
        same keys waits for the row locks of the first, and gets the first's answers (docs/hazards.md, A7)."""
        give_up_at = trio.current_time() + GIVE_UP_S
        for pause_s in chain(RETRY_S, repeat(RETRY_S[-1])):
            try:
                return await call()
            except StorageUnavailable as problem:
                REPEATED.inc()
                log.warning("storage does not answer, repeating", problem=str(problem))
                if trio.current_time() + pause_s > give_up_at:
                    raise _GaveUp from problem
            await trio.sleep(pause_s)
        raise AssertionError("unreachable: the pauses have no end")


def _message(conversation: Conversation, posting: Posting) -> NewMessage:
    return NewMessage(conversation.id, posting.author, posting.key, posting.text, posting.content)
