"""The product's own door with an echo in place of the session: ``python -m tests.ws_echo --port 9001``.

For the standard WebSocket test suite (Autobahn|Testsuite's fuzzing client, everything but compression). Listener,
upgrade, frame reader, writer, limits and closing are the server's; there is room for messages of 16 MiB, any path will
do and any subprotocol or none.
"""

import argparse
import signal
from collections.abc import Sequence

import trio

from konnect_server.caller import say
from konnect_server.connection import Connection, Socket, Terms
from konnect_server.gateway import Gateway, open_listeners
from konnect_server.handshake import Refusal
from konnect_server.poller import SystemPoller
from konnect_server.pump import Pump
from konnect_server.wheel import Wheel
from protocol.codec import message

MESSAGE_BYTES = 16_777_216
TERMS = Terms(message_bytes=MESSAGE_BYTES, outbox_bytes=4 * MESSAGE_BYTES)
_NO_HTTP = Refusal(404, "not_found", "There is nothing here but an echo behind a WebSocket upgrade.")


class Echo:
    """Sends back what comes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def received(self, payload: bytes, /) -> None:
        self._connection.push(message(payload))

    def received_text(self, payload: bytes, /) -> None:
        self._connection.push(b"\x81" + message(payload)[1:])

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str, /) -> None:
        pass


def _no_http(sock: Socket, head: bytes, peer: str) -> None:
    say(sock, _NO_HTTP)
    sock.close()


async def serve(
    host: str, port: int, *, task_status: trio.TaskStatus[tuple[int, Gateway]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Echo until cancelled; starts with the port and the gateway."""
    wheel = Wheel()
    pump = Pump(SystemPoller(), wheel, terms=TERMS)
    gateway = Gateway(pump, Echo, _no_http, path=None, subprotocol=None)
    try:
        listeners = await open_listeners(host, port)
        gateway.listen(listeners)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wheel.run)
            nursery.start_soon(pump.run)
            task_status.started((listeners[0].getsockname()[1], gateway))
    finally:
        gateway.close()


async def _main(host: str, port: int) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            bound, _ = await nursery.start(serve, host, port)
            print(f"echo on ws://{host}:{bound}/", flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.ws_echo", description="The door with an echo in place of the session."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001, help="0 takes a free one (default: 9001)")
    options = parser.parse_args(arguments)
    trio.run(_main, options.host, options.port)


if __name__ == "__main__":
    main()
