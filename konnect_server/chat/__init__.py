"""``konnect chat``: a small chat in the terminal, built on the client that applications use."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import trio

from konnect_client import open_client
from konnect_client.transport import socket_url
from konnect_server.chat.console import open_console
from konnect_server.chat.signin import CannotStart, check_email, outbox_for, sign_in, state_folder, take_seat
from konnect_server.chat.talk import Talk

HTTP_S = 15.0


def main(
    email: str, url: str = "http://127.0.0.1:8080", password: str | None = None, state_dir: str | None = None
) -> int:
    """Talk as *email* until the person has had enough.

    Args:
        email: The account's address.
        url: The server.
        password: Its password; None: as signed in before, the demo's, or asked for.
        state_dir: Where unsent lines and the sign-in are kept; None: the user's folder for such things.

    Returns:
        The exit code: 0, 1 when the chat could not start or was ended by the server, 130 when interrupted before.
    """
    try:
        return trio.run(_talk, email, url, password, state_dir)
    except* CannotStart as group:
        print(f"konnect: {_first(group)}", file=sys.stderr)
        return_code = 1
    except* BrokenPipeError:
        with suppress(OSError):  # nobody reads any more; nor shall the interpreter complain when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return_code = 1
    except* KeyboardInterrupt:
        return_code = 130
    return return_code


async def _talk(email: str, url: str, password: str | None, state_dir: str | None) -> int:
    check_email(email)
    try:
        socket_url(url)
    except ValueError as problem:
        raise CannotStart(f"{problem}.") from problem
    async with httpx.AsyncClient(base_url=url, timeout=HTTP_S, trust_env=False) as http:
        seat = take_seat(state_folder(state_dir), url, email)
        journal = seat.journal
        try:
            account = await sign_in(http, email, password, seat.token_path)
            journal, aside = outbox_for(seat, account.user.id)
            client = open_client(url, token=account, device=seat.device, journal=journal)
            async with open_console() as console, client as connected:
                if aside is not None:
                    console.show(f"-- unsent lines of another account with this address are now in {aside}")
                talk = Talk(console, connected, account)
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_on_signals, signals, talk, nursery.cancel_scope)
                        ended_by = await talk.run()
                        nursery.cancel_scope.cancel()
        finally:
            journal.close()
    if ended_by is not None:
        raise CannotStart(ENDINGS.get(ended_by, f"the server ended this chat ({ended_by})."))
    return 0


ENDINGS = {
    "signed_out": "this sign-in was ended; start again to sign in.",
    "unauthorized": "the server does not accept this sign-in any more; start again to sign in.",
    "replaced": "this chat was taken over by another one of the same device.",
    "too_many_sockets": "you are connected from too many places at once.",
    "other_user": "the files here belong to another account of this server; choose another folder with --state-dir.",
}


async def _on_signals(signals: AsyncIterator[int], talk: Talk, everything: trio.CancelScope) -> None:
    """The first Ctrl-C lets unsent lines go out, the second does not wait for them."""
    seen = 0
    async for _ in signals:
        seen += 1
        talk.stop()
        if seen > 1:
            everything.cancel()


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
