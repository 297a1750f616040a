"""Saves how far the application is, now and then."""

import logging
from typing import Final

import trio

from konnect_client.inbox import Inbox
from konnect_client.statefile import Saved, StateStore
from konnect_client.wakeup import Wakeup

EVERY_S: Final = 1.0

_log = logging.getLogger("konnect_client")


class Savings:
    """Brings what the application has handled to a store: at most once a second, and at the end."""

    def __init__(self, store: StateStore | None, inbox: Inbox, user: str | None) -> None:
        self._store, self._inbox = store, inbox
        self.user = user  # whose state it is; nothing is saved before that is known
        self._unsaved = False
        self._more = Wakeup()
        inbox.on_handled = self.note

    def note(self) -> None:
        """There is more to save. Plain memory."""
        self._unsaved = True
        self._more.fire()

    async def keep(self) -> None:
        """Save, until cancelled."""
        while True:
            if not self._unsaved:
                await self._more.wait()
            await trio.sleep(EVERY_S)
            self.save()

    def save(self) -> None:
        """Save now, if there is anything new. A failure is logged: an older state repeats events and loses none."""
        if self._store is None or self.user is None or not self._unsaved:
            return
        try:
            self._store.save(Saved(self.user, self._inbox.handled))
            self._unsaved = False
        except OSError as problem:
            _log.warning("the client's state cannot be saved: %s", problem)
