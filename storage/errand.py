"""Errands: coroutines that run without a task of Trio's for as long as they wait for nothing but answers.

Thousands of people come back at once, and each one's walk waits two or three times for an answer from the database. As
a task, each costs a cancel scope, a spawn, and for every answer a place in the run loop: a fifth of a whole sign-in
(docs/decisions/0011). An errand is stepped by whoever brings its answer, with a plain call.

What an errand may await: :func:`parked`, and after :func:`by_task` anything. From there on it is a task.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, ClassVar, Final, Literal

import trio

_Trap = Literal["parked", "by_task"]
_PARKED: Final = "parked"
_BY_TASK: Final = "by_task"


class Place:
    """Where one errand or task waits. Whoever has what it waits for calls ``wake``, once."""

    __slots__ = ("_wake",)

    def __init__(self) -> None:
        self._wake: Callable[[], None] | None = None

    def wake(self) -> None:
        """Let it go on: an errand at once, up to where it waits next. Nothing happens when nobody waits any more."""
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._wake = None
        return trio.lowlevel.Abort.SUCCEEDED


class Errand:
    """One coroutine on its way. Begin it with :meth:`begin`.

    Args:
        coroutine: Contains its own crashes.
        nursery: Where it becomes a task if it has to.
    """

    __slots__ = ("_coroutine", "_nursery", "_scope", "ended")

    running: ClassVar["Errand | None"] = None  # the one that is being stepped now

    def __init__(self, coroutine: Coroutine[Any, Any, None], nursery: trio.Nursery) -> None:
        self._coroutine = coroutine
        self._nursery = nursery
        self._scope: trio.CancelScope | None = None  # once it is a task
        self.ended = False  # or cancelled

    def begin(self) -> None:
        """Run it up to where it first waits."""
        self._step()

    def cancel(self) -> None:
        """It is not wanted any more. Not to be called from within it."""
        self.ended = True
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._coroutine.close()

    def _step(self) -> None:
        if self.ended:
            return
        before, Errand.running = Errand.running, self
        try:
            trap: _Trap = self._coroutine.send(None)
        except StopIteration:
            self.ended = True
            return
        finally:
            Errand.running = before
        if trap == _BY_TASK:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._as_task, self._scope)

    async def _as_task(self, scope: trio.CancelScope) -> None:
        with scope:
            await _rest(self._coroutine)


async def parked(place: Place) -> None:
    """Wait until somebody calls ``place.wake()``."""
    running = Errand.running
    if running is not None:
        place._wake = running._step
        await _trap(_PARKED)
    else:
        place._wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(place._leave)


async def by_task() -> None:
    """From here on the errand is a task, and may wait for whatever Trio has. Does nothing in a task."""
    if Errand.running is not None:
        await _trap(_BY_TASK)


async def still_wanted() -> None:
    """A task that was cancelled in the very turn in which its answer came ends here; an errand ended then."""
    if Errand.running is None:
        await trio.lowlevel.checkpoint_if_cancelled()


@types.coroutine
def _trap(trap: _Trap) -> Generator[_Trap, None, None]:
    yield trap


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """What is left of *coroutine*, as part of the task that awaits this."""
    yield from coroutine  # which `await` would refuse: it has begun
