"""Kills in the middle: the server every so often, PostgreSQL once; what was acknowledged must survive both."""

from collections.abc import Callable

import trio

from bench.server import ServerProcess


async def kill_server_every(server: ServerProcess, every_s: float, killed: Callable[[str], None]) -> None:
    """SIGKILL the server every *every_s* seconds, and start it again at once, until cancelled.

    Raises:
        ServerFailed: It did not start again.
    """
    while True:
        await trio.sleep(every_s)
        with trio.CancelScope(shield=True):  # a server that was killed is started again, whatever ends meanwhile
            await server.kill()
            killed("server")
            await server.start()


def kill_postgres(server: ServerProcess, killed: Callable[[str], None]) -> None:
    """SIGKILL PostgreSQL; the server notices and starts it again.

    Raises:
        ServerFailed: There was none.
    """
    server.kill_postgres()
    killed("postgres")
