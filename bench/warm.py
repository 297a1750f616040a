"""Memory at hand before a crowd comes.

A virtual machine's host may take back what the guest has free, and the first touch of such a page then waits for the
host: on the machine of docs/performance.md 11 us instead of 2, counted as the toucher's own CPU time. A crowd's sign-in
touches some hundred MiB for the first time, the server's and the kernel's, so that the same server looked a fifth
slower after a quiet hour than right after another run. Touching as much a moment before, for every server that is
measured, takes that out: the kernel gives first what was freed last.
"""

import mmap
from typing import Final

import trio

SOCKET_BYTES: Final = 49_152  # of a server's, both kernel halves, generator and database together


async def warm(sockets: int) -> None:
    """Touch as much memory as *sockets* will need, and free it."""
    await trio.to_thread.run_sync(_touch, sockets * SOCKET_BYTES)


def _touch(size: int) -> None:
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1
