"""Does what is due: messages whose time has come, to be sent or to disappear.

One task a process asks the database now and then what is due, and takes it for a while: the others pass it by, and take
it if this process dies before it is done. What was taken goes into its conversation's inbox as everything does. Sending
a message and marking that it was sent are one commit (storage/migrations/0008), so it is sent once, however often and
by however many it is tried.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog
import trio

from konnect_server.call import Call, Desk
from konnect_server.conversation import Acting
from protocol.errors import Refused, TryLater
from storage.errors import StorageUnavailable
from storage.scheduled import NOBODY, Due, ExpireMessages, SendScheduled

LOOK_S: Final = 5.0  # from one question to the next when nothing is nearer; for what other processes were given
LEASE_S: Final = 30.0  # longer than a call takes (konnect_server/call.py), so that nobody does what is being done
AT_ONCE: Final = 64  # under way in this process
RETRY_S: Final = 1.0

log = structlog.get_logger("konnect.due")


class Clerk:
    """Does what is due in this process. ``run`` is its task; ``sooner`` is a plain call."""

    def __init__(self, desk: Desk, wall_ms: Callable[[], int]) -> None:
        self._desk, self._wall_ms = desk, wall_ms
        self._look = trio.Event()
        self._under_way = 0

    def sooner(self, at_ms: int) -> None:
        """Something was given to this process that is due at *at_ms*."""
        # What is further away is found by itself; twice as far, for the database's clock may be another.
        if at_ms - self._wall_ms() < 2 * LOOK_S * 1000:
            self._look.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._look = trio.Event()
                wait_s = await self._take(nursery)
                with trio.move_on_after(wait_s):
                    await self._look.wait()

    async def _take(self, nursery: trio.Nursery) -> float:
        """Begin what is due; how long to wait, in seconds."""
        room = AT_ONCE - self._under_way
        if room <= 0:
            return LOOK_S  # whoever is done looks
        try:
            due: Due = await self._desk.store.take_due(room, LEASE_S)
        except StorageUnavailable as problem:
            log.warning("storage does not answer", problem=str(problem))
            return RETRY_S
        for one in due.scheduled:
            self._under_way += 1
            action = SendScheduled(one.conversation, one.scheduled)
            nursery.start_soon(self._do, one.author, action)
        for conversation in due.expired:
            self._under_way += 1
            nursery.start_soon(self._do, NOBODY, ExpireMessages(conversation))
        return LOOK_S if due.in_ms is None else min(LOOK_S, due.in_ms / 1000)

    async def _do(self, author: UUID, action: SendScheduled | ExpireMessages) -> None:
        call = Call(self._desk, author)
        call.post(action.conversation, Acting(call, author, action))
        try:
            await call.wait()
        except Refused as problem:  # what stops a scheduled message stands in its row, for its author
            log.info("what was due cannot be done", action=str(action), problem=problem.code)
        except TryLater as problem:  # whoever takes it when the time is over tries again
            log.warning("what is due waits", action=str(action), problem=problem.code)
        finally:
            if isinstance(action, SendScheduled):
                self._desk.registry.changed(author)  # it is gone from the author's list, or says why it was not sent
            if self._under_way >= AT_ONCE or isinstance(action, ExpireMessages):
                self._look.set()  # there is room again; or more has come to its end than one entry tells
            self._under_way -= 1
