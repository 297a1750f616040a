"""Questions of many, asked together: while one query runs, what is asked meanwhile waits for the next.

A person who comes back asks four small questions, and thousands come back at once when a server restarts. One by one
each costs a round trip, a waking of two processes, and setting up a plan with scans of every partition: 0.2 ms of our
CPU and 0.3 of PostgreSQL's; in one query with others, a fraction (docs/decisions/0007). Nothing waits that could run: a
question that finds a lane idle goes at once.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Any, Final, Generic, TypeVar

import trio

from storage.database import OwnConnection
from storage.errand import Place, parked

WEIGHT: Final = 64  # of the questions in one query; what one weighs, its kind says

Q = TypeVar("Q")
A = TypeVar("A")


class _Waiting(Place, Generic[Q, A]):
    """One question, until it is answered."""

    __slots__ = ("answer", "problem", "question")

    def __init__(self, question: Q) -> None:
        super().__init__()
        self.question = question
        self.answer: A | None = None
        self.problem: Exception | None = None


class Kind(Generic[Q, A]):
    """Questions of one kind. ``ask`` may be called by any number of tasks."""

    def __init__(
        self,
        gather: "Gather",
        call: Callable[[OwnConnection, Sequence[Q]], Awaitable[Sequence[A]]],
        weight: Callable[[Q], int] = lambda question: 1,
    ) -> None:
        """*call* answers several questions in their order; *weight* says how much work one is."""
        self._call, self._weight = call, weight
        self._waiting: deque[_Waiting[Q, A]] = deque()
        self._gather = gather

    async def ask(self, question: Q) -> A:
        """The answer to *question*, for a task or an errand. Who is cancelled costs nothing: the query goes on.

        Raises:
            StorageUnavailable: No answer; all questions of a query share its fate.
        """
        one: _Waiting[Q, A] = _Waiting(question)
        self._waiting.append(one)
        self._gather.wake(self)
        await parked(one)
        if one.problem is not None:
            raise copy(one.problem) from one.problem  # a copy each: raising changes it
        return one.answer  # type: ignore[return-value]  # A may be None, too

    async def answer_some(self, lane: OwnConnection) -> None:
        """Answer what waits, up to a query's weight."""
        batch: list[_Waiting[Q, A]] = []
        weight = 0
        while self._waiting and (not batch or weight + self._weight(self._waiting[0].question) <= WEIGHT):
            batch.append(self._waiting.popleft())
            weight += self._weight(batch[-1].question)
        if self._waiting:
            self._gather.wake(self)  # for another lane that is idle
        try:
            answers = await self._call(lane, [one.question for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                one.answer = answer
        except Exception as problem:  # noqa: BLE001 - each who asked gets it, as if they had called: theirs to contain
            for one in batch:
                one.problem = problem
        for one in batch:
            one.wake()


class Gather:
    """The kinds that have something to ask, and the lanes that carry it. ``run`` is the task of one lane."""

    def __init__(self) -> None:
        self._ready: dict[Kind[Any, Any], None] = {}  # the one that waits longest first
        self._work = trio.Event()

    def wake(self, kind: Kind[Any, Any]) -> None:
        """*kind* has something to ask."""
        self._ready.setdefault(kind)
        self._work.set()

    async def run(self, lane: OwnConnection) -> None:
        """Carry questions over *lane*, a connection of this task's own, until cancelled."""
        while True:
            while not self._ready:
                if self._work.is_set():  # else another lane waits for it, too
                    self._work = trio.Event()
                await self._work.wait()
            kind = next(iter(self._ready))
            del self._ready[kind]
            await kind.answer_some(lane)
