"""Which of many sockets are ready: one descriptor of our own (epoll on Linux, kqueue on macOS) that Trio waits on.

Trio sees a single descriptor however many sockets there are, so waking costs the same for one and for ten thousand.
"""

import contextlib
import os
import select
import sys
from typing import Protocol

import trio

from konnect_server.connection import ERR, IN, OUT


class Descriptor(Protocol):
    """What the kernel can tell of: a socket."""

    def fileno(self) -> int: ...


class Pollable(Protocol):
    """What may be registered: a connection, a listener, a request whose head is still coming."""

    def ready(self, mask: int, /) -> None:
        """The socket is ready for *mask*."""

    def crashed(self) -> None:
        """``ready`` raised."""


class Poller(Protocol):
    """Says which sockets are ready. The simulated world brings its own.

    Level-triggered: what is not read is reported again. ``ERR`` and ``HUP`` are reported whatever the mask, even 0.
    """

    def register(self, sock: Descriptor, owner: Pollable, /) -> None:
        """Report *sock* as *owner* from now on; at first for ``IN``."""

    def replace(self, sock: Descriptor, owner: Pollable, /) -> None:
        """Report *sock* as *owner* instead. Costs no system call."""

    def modify(self, sock: Descriptor, mask: int, /) -> None:
        """Report *sock* for *mask*: ``IN``, ``OUT``, both or neither."""

    def unregister(self, sock: Descriptor, /) -> None:
        """Report *sock* no more. Must come before it is closed or given away."""

    def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
        """What is ready now, without waiting. Owners, not descriptors: a number that is closed and given out again
        within one batch cannot be taken for the new socket (docs/hazards.md, B8)."""

    async def wait(self) -> None:
        """Return when :meth:`poll` would find something, or after :meth:`wake`."""

    def wake(self) -> None:
        """Let :meth:`wait` return, now or when it is called next."""

    def close(self) -> None:
        """Give the descriptors back. The sockets are not closed."""


class _Waker:
    """A pipe to oneself: a byte written into it ends a wait."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: there is enough in it to wake anybody
            os.write(self._write, b"!")

    def ready(self, mask: int, /) -> None:
        """Empty the pipe."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 65_536)

    def crashed(self) -> None:
        """Cannot happen."""

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


if sys.platform == "linux":

    class SystemPoller:
        """The kernel's poller: epoll."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._owners: dict[int, Pollable] = {}
            self._waker = _Waker()
            self._owners[self._waker.fileno()] = self._waker
            self._epoll.register(self._waker.fileno(), IN)

        def register(self, sock: Descriptor, owner: Pollable, /) -> None:
            number = sock.fileno()
            self._epoll.register(number, IN)
            self._owners[number] = owner

        def replace(self, sock: Descriptor, owner: Pollable, /) -> None:
            self._owners[sock.fileno()] = owner

        def modify(self, sock: Descriptor, mask: int, /) -> None:
            self._epoll.modify(sock.fileno(), mask)

        def unregister(self, sock: Descriptor, /) -> None:
            number = sock.fileno()
            del self._owners[number]
            self._epoll.unregister(number)

        def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
            owners = self._owners
            return [(owners[number], mask) for number, mask in self._epoll.poll(0, max_events)]

        async def wait(self) -> None:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

        def wake(self) -> None:
            self._waker.wake()

        def close(self) -> None:
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            self._waker.close()

else:

    class SystemPoller:
        """The kernel's poller: kqueue.

        A socket that nobody reads (mask 0) stays registered, edge-triggered and muted, so that a reset is still seen:
        kqueue knows no condition that is reported whatever one asked for.
        """

        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self._owners: dict[int, Pollable] = {}
            self._masks: dict[int, int] = {}
            self._waker = _Waker()
            self.register(self._waker, self._waker)

        def register(self, sock: Descriptor, owner: Pollable, /) -> None:
            number = sock.fileno()
            self._owners[number] = owner
            self._masks[number] = IN
            self._change(number, select.KQ_FILTER_READ, select.KQ_EV_ADD)

        def replace(self, sock: Descriptor, owner: Pollable, /) -> None:
            self._owners[sock.fileno()] = owner

        def modify(self, sock: Descriptor, mask: int, /) -> None:
            number = sock.fileno()
            changed = mask ^ self._masks[number]
            self._masks[number] = mask
            if changed & IN:
                self._change(number, select.KQ_FILTER_READ, select.KQ_EV_DELETE)
                muted = 0 if mask & IN else select.KQ_EV_CLEAR
                self._change(number, select.KQ_FILTER_READ, select.KQ_EV_ADD | muted)
            if changed & OUT:
                flag = select.KQ_EV_ADD if mask & OUT else select.KQ_EV_DELETE
                self._change(number, select.KQ_FILTER_WRITE, flag)

        def unregister(self, sock: Descriptor, /) -> None:
            number = sock.fileno()
            mask = self._masks.pop(number)
            del self._owners[number]
            self._change(number, select.KQ_FILTER_READ, select.KQ_EV_DELETE)
            if mask & OUT:
                self._change(number, select.KQ_FILTER_WRITE, select.KQ_EV_DELETE)

        def _change(self, number: int, what: int, flags: int) -> None:
            self._kqueue.control([select.kevent(number, what, flags)], 0)

        def poll(self, max_events: int, /) -> list[tuple[Pollable, int]]:
            found = []
            for event in self._kqueue.control(None, max_events, 0):
                mask = OUT if event.filter == select.KQ_FILTER_WRITE else IN & self._masks[event.ident]
                if event.flags & select.KQ_EV_EOF and event.fflags:
                    mask |= ERR
                if mask:
                    found.append((self._owners[event.ident], mask))
            return found

        async def wait(self) -> None:
            await trio.lowlevel.wait_readable(self._kqueue.fileno())

        def wake(self) -> None:
            self._waker.wake()

        def close(self) -> None:
            trio.lowlevel.notify_closing(self._kqueue.fileno())
            self._kqueue.close()
            self._waker.close()
