"""``konnect chat`` as people use it: on pipes and on a terminal, against the real server."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from konnect_client import Phase, resume
from tests.client_scene import Cast, Person, Signal, open_scene

PASSWORD = "correct horse"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture
async def cast(dsn: str, folder: Path) -> AsyncIterator[Cast]:
    with trio.fail_after(90):
        async with open_scene(dsn, folder) as opened:
            yield opened


class Screen:
    """A running chat: what it shows, and its keyboard."""

    def __init__(self, process: trio.Process, keyboard: int, picture: int) -> None:
        self.process, self._keyboard, self._picture = process, keyboard, picture
        self.raw = b""
        self._read_up_to = 0

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw.decode()).replace("\r", "")

    async def shows(self, what: str) -> None:
        """Wait until *what* is shown, after what was waited for before."""
        while (at := self.text.find(what, self._read_up_to)) < 0:
            data = b""
            with trio.move_on_after(30):
                await trio.lowlevel.wait_readable(self._picture)
                with suppress(OSError):  # a terminal whose program has ended
                    data = os.read(self._picture, 4_096)
            if not data:
                raise AssertionError(f"{what!r} was not shown, but:\n{self.text}")
            self.raw += data
        self._read_up_to = at + len(what)

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def end_of_input(self) -> None:
        os.close(self._keyboard)
        self._keyboard = -1

    async def ends(self) -> int:
        """Wait until it has ended; its exit code."""
        return await self.process.wait()

    def close(self) -> None:
        for fd in {self._keyboard, self._picture} - {-1}:
            os.close(fd)


@asynccontextmanager
async def chat(
    email: str, url: str, folder: Path, *more: str, terminal: bool = False, password: str | None = PASSWORD
) -> AsyncIterator[Screen]:
    """A chat in a process of its own, killed if it does not end with the block."""
    command = [sys.executable, "-m", "konnect_server", "chat", email, "--url", url, "--state-dir", str(folder), *more]
    if password is not None:
        command += ["--password", password]
    if terminal:
        keyboard, stdin = pty.openpty()
        picture, stdout = keyboard, stdin
    else:
        stdin, keyboard = os.pipe()
        picture, stdout = os.pipe()
    environ = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": os.getcwd(), "TZ": "UTC"}
    process = await trio.lowlevel.open_process(
        command, stdin=stdin, stdout=stdout, stderr=subprocess.STDOUT, env=environ
    )
    for fd in {stdin, stdout}:
        os.close(fd)
    screen = Screen(process, keyboard, picture)
    try:
        yield screen
    finally:
        screen.close()
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def two_who_know_each_other(cast: Cast) -> tuple[Person, str, str]:
    """Bob with a client, Alice without; their conversation; Alice's address."""
    bob = await cast.person("bob")
    alice = await cast.account("alice")
    return bob, await bob.client.direct(alice.user.id), "alice@example.com"


async def test_two_talk_over_pipes(cast: Cast, tmp_path: Path) -> None:
    bob, room, email = await two_who_know_each_other(cast)
    await bob.client.send(room, "before you came")
    async with chat(email, cast.server.url, tmp_path) as screen:
        await screen.shows("You are Alice")
        await screen.shows("  1  Bob  1 unread")
        await screen.shows("Bob: before you came")
        await screen.shows("online: Bob")
        screen.type("hello bob\n")
        await bob.hears("hello bob")
        await screen.shows("\u2026 hello bob")
        await screen.shows("Alice: hello bob \u2713")
        await bob.client.send(room, "hello\nalice \x1b[31m")
        await screen.shows("Bob: hello\n      alice \u241b[31m\n")
        screen.type("//not a command\n\n   \n")
        assert (await bob.hears("/not a command")).author != bob.id
        screen.type("/quit\n")
        assert await screen.ends() == 0


async def test_what_is_piped_is_sent_before_it_ends(cast: Cast, tmp_path: Path) -> None:
    bob, _, email = await two_who_know_each_other(cast)
    async with chat(email, cast.server.url, tmp_path) as screen:
        screen.type("".join(f"line {number}\n" for number in range(50)) + "the last, without an end of line")
        screen.end_of_input()
        await screen.shows("Alice: the last, without an end of line \u2713")
        assert await screen.ends() == 0
    await bob.hears("the last, without an end of line")
    assert len([event for event in bob.seen if getattr(event, "text", None)]) == 51


async def test_a_file_is_read_to_its_end(cast: Cast, tmp_path: Path) -> None:
    bob, _, email = await two_who_know_each_other(cast)
    lines = tmp_path / "lines"
    lines.write_text("from a file\n")
    command = [sys.executable, "-m", "konnect_server", "chat", email, "--url", cast.server.url]
    command += ["--state-dir", str(tmp_path), "--password", PASSWORD]
    with lines.open() as stdin:
        done = await trio.run_process(command, stdin=stdin, capture_stdout=True)
    assert "Alice: from a file \u2713" in done.stdout.decode()
    await bob.hears("from a file")


async def test_every_command(cast: Cast, tmp_path: Path) -> None:
    bob, room, email = await two_who_know_each_other(cast)
    carl = await cast.person("carl")
    async with chat(email, cast.server.url, tmp_path) as screen:
        await screen.shows("online: Bob")
        screen.type("/help\n")
        await screen.shows("/quit")
        screen.type("/who\n")
        await screen.shows(f"{bob.id}  Bob (online")
        screen.type("/me\n")
        await screen.shows("Alice (open: hello)")
        screen.type(f'/group "Tea time" {bob.id}\n')
        await screen.shows("-- Tea time")
        await screen.shows("* Alice opened this conversation")
        screen.type(f"/add {carl.id}\n")
        await screen.shows("* Alice added Carl")
        screen.type(f"/add {carl.id}\n")
        await screen.shows("! ")
        screen.type(f"/remove {carl.id}\n")
        await screen.shows("* Alice removed Carl")
        screen.type("in the group\n")
        await bob.hears("in the group")
        await screen.shows("Alice: in the group \u2713")
        await bob.client.send(room, "and here")
        await screen.shows("[Bob] ")
        await screen.shows("Bob: and here")
        screen.type("/list\n")
        await screen.shows("  1  Bob  1 unread\n  2  Tea time\n")
        screen.type("/open 2\n")
        await screen.shows("-- Tea time")
        screen.type("/history 2\n")
        await screen.shows("Alice: in the group \u2713")
        screen.type("/leave\n")
        await screen.shows("-- you left")
        screen.type("to nobody\n")
        await screen.shows("! no conversation is open")
        screen.type(f"/direct {bob.id}\n")
        await screen.shows("Bob: and here")
        screen.type("/open 9\n")
        await screen.shows("! there is no conversation 9")
        for wrong in ("/open x", "/direct", "/group", "/add", "/history x", '/group "', "/nonsense"):
            screen.type(wrong + "\n")
            await screen.shows("! ")
        screen.type("/direct not-an-id\n")
        await screen.shows("! ")
        await carl.client.direct((await cast.account("dora")).user.id)
        screen.type("/quit\n")
        assert await screen.ends() == 0


async def test_a_stranger_writes_and_a_group_is_new(cast: Cast, tmp_path: Path) -> None:
    await cast.account("alice")
    async with chat("alice@example.com", cast.server.url, tmp_path) as screen:
        await screen.shows("Nobody to talk to yet")
        screen.type("/me\n")
        await screen.shows("  0")
        alice = re.findall(r"  ([0-9a-f-]{36})  Alice", screen.text)[0]
        carl = await cast.person("carl")
        room = await carl.client.create("New group", [alice])
        await screen.shows("* a new conversation: New group")
        await carl.client.send(room, "welcome")
        await screen.shows("[New group] ")
        await screen.shows("Carl: welcome")


async def test_on_a_terminal_lines_are_edited_and_unsent_ones_stand_below(cast: Cast, tmp_path: Path) -> None:
    bob, room, email = await two_who_know_each_other(cast)
    async with Signal(cast.server.url).open() as train, chat(email, train.url, tmp_path, terminal=True) as screen:
        await screen.shows("online: Bob")
        await screen.shows("Bob> ")
        screen.type("hrllo")
        screen.type("\x1b[D" * 3 + "\x7fe\x1b[F bob\r")
        await bob.hears("hello bob")
        await screen.shows("Alice: hello bob \u2713")
        bob.client.typing(room)
        await screen.shows("Bob \u2026 typing")
        train.lose()
        screen.type("from the tunnel\r")
        await screen.shows("  \u2026 from the tunnel\n")
        train.find()
        await screen.shows("Alice: from the tunnel \u2713")
        screen.type("unfinished")
        await screen.shows("Bob> unfinished")
        await bob.client.send(room, "an interruption")
        await screen.shows("Bob: an interruption\nBob> unfinished")
        screen.type("\x15\x04")
        assert await screen.ends() == 0


@pytest.mark.parametrize("terminal", [False, True])
async def test_ctrl_c_ends_it(cast: Cast, tmp_path: Path, terminal: bool) -> None:
    bob, _, email = await two_who_know_each_other(cast)
    async with chat(email, cast.server.url, tmp_path, terminal=terminal) as screen:
        await screen.shows("online: Bob")
        screen.type("last words\n")
        await bob.hears("last words")
        screen.process.send_signal(signal.SIGINT)
        assert await screen.ends() == 0


async def test_a_line_typed_in_the_tunnel_is_sent_by_the_next_chat(cast: Cast, tmp_path: Path) -> None:
    """The chat ends, or is killed, before the line could be sent; the next one sends it, once."""
    bob, room, email = await two_who_know_each_other(cast)
    async with Signal(cast.server.url).open() as train:
        async with chat(email, train.url, tmp_path) as screen:
            await screen.shows("online: Bob")
            train.lose()
            screen.type("killed\n")
            await screen.shows("\u2026 killed")
            screen.process.kill()
            await screen.ends()
        train.find()
        async with chat(email, train.url, tmp_path, password=None) as screen:  # still signed in
            await screen.shows("-- sending 1 unsent from last time")
            await bob.hears("killed")
            await screen.shows("online: Bob")
            train.lose()
            screen.type("kept\n/quit\n")
            await screen.shows("-- 1 unsent line is kept, and sent next time")
            assert await screen.ends() == 0
        train.find()
        async with chat(email, train.url, tmp_path, password=None) as screen:
            await bob.hears("kept")
    assert bob.texts(room) == ["killed", "kept"]


async def test_it_says_when_the_connection_is_gone_and_when_it_is_back(cast: Cast, tmp_path: Path) -> None:
    bob, room, email = await two_who_know_each_other(cast)
    async with Signal(cast.server.url).open() as train, chat(email, train.url, tmp_path) as screen:
        await screen.shows("online: Bob")
        train.find()  # breaks the connection
        train.lose()  # and lets no new one through
        await bob.client.send(room, "are you there")
        await screen.shows("-- no connection")
        train.find()
        await screen.shows("Bob: are you there")


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("nonsense", PASSWORD, "'nonsense' is not an e-mail address."),
        ("alice@example.com", "wrong", "there is no account alice@example.com with this password."),
        ("nobody@example.com", PASSWORD, "there is no account nobody@example.com with this password."),
        ("alice@example.com", None, "no password for alice@example.com: give it with --password or KONNECT_PASSWORD."),
        ("ann@example.com", None, "there is no account ann@example.com with this password."),  # the demo's was tried
    ],
)
async def test_what_cannot_be_is_one_plain_sentence(
    cast: Cast, tmp_path: Path, email: str, password: str | None, said: str
) -> None:
    await cast.account("alice")
    async with chat(email, cast.server.url, tmp_path, password=password) as screen:
        await screen.shows(f"konnect: {said}\n")
        assert screen.text.count("\n") == 1
        assert await screen.ends() == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
async def test_a_server_that_is_not_there_is_one_plain_sentence(tmp_path: Path, url: str) -> None:
    async with chat("ann@example.com", url, tmp_path) as screen:
        await screen.shows(f"konnect: {url} does not answer")
        await screen.shows("Is it running?\n")
        assert screen.text.count("\n") == 1
        assert await screen.ends() == 1


async def test_a_sign_in_that_ends_ends_the_chat(cast: Cast, tmp_path: Path) -> None:
    bob, _, email = await two_who_know_each_other(cast)
    async with chat(email, cast.server.url, tmp_path) as screen:
        await screen.shows("online: Bob")
        (token,) = tmp_path.rglob("token")
        account = resume(bob.account._http, token)
        assert account is not None
        await account.logout()
        await screen.shows("this sign-in was ended")
        assert await screen.ends() == 1
    assert bob.client.state.phase is Phase.OPEN


async def test_nobody_reads_any_more(cast: Cast, tmp_path: Path) -> None:
    """As in ``konnect chat ... | head -1``."""
    _, _, email = await two_who_know_each_other(cast)
    async with chat(email, cast.server.url, tmp_path) as screen:
        await screen.shows("online: Bob")
        os.close(screen._picture)
        screen._picture = -1
        screen.type("/help\n")
        assert await screen.ends() == 1
