"""Wakes everyone who waits now, again and again."""

import trio


class Wakeup:
    """A trio.Event that can be set any number of times; who waits later waits for the next time."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def fire(self) -> None:
        """Wake everyone who waits. Plain call."""
        event, self._event = self._event, trio.Event()
        event.set()

    async def wait(self) -> None:
        """Wait for the next :meth:`fire`."""
        await self._event.wait()
