"""Who is talking, from where, and with which files."""

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from konnect_client import (
    Account,
    FileJournal,
    OutboxInUse,
    OutboxUnwritable,
    ServerRefused,
    ServerUnreachable,
    SignedOut,
    TokenUnavailable,
    login,
    resume,
)

DEMO_PASSWORD: Final = "konnect-demo"
DEMO_PEOPLE: Final = frozenset({"ann@example.com", "bob@example.com"})
SEATS: Final = 9  # chats of one person on one machine at once


class CannotStart(Exception):
    """The chat cannot start; the text is one plain sentence."""


@dataclass(frozen=True)
class Seat:
    """A place to talk from: one device of one person, with files of its own that no other process uses."""

    device: str
    token_path: Path
    journal: FileJournal


def state_folder(state_dir: str | None) -> Path:
    """Where chats keep their files: *state_dir*, else the user's folder for such things."""
    if state_dir:
        return Path(state_dir)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "konnect"


def take_seat(folder: Path, url: str, email: str) -> Seat:
    """The first free place of this person at this server: a second terminal gets the second place.

    Raises:
        CannotStart: The files cannot be made, or all places are taken.
    """
    parts = urlsplit(url)
    person = folder / quote(f"{parts.hostname}_{parts.port or parts.scheme}", safe="") / quote(email.lower(), safe="@+")
    for number in range(1, SEATS + 1):
        seat = person / str(number)
        try:
            journal = FileJournal(seat / "outbox")
        except OutboxInUse:
            continue
        except OutboxUnwritable as problem:
            raise CannotStart(f"{problem}; choose another folder with --state-dir.") from problem
        try:
            return Seat(_device(seat / "device"), seat / "token", journal)
        except OSError as problem:
            journal.close()
            raise CannotStart(f"the folder {seat} cannot be used: {problem.strerror}.") from problem
    raise CannotStart(f"{email} is talking in {SEATS} other terminals already.")


def outbox_for(seat: Seat, user: str) -> tuple[FileJournal, Path | None]:
    """The seat's outbox for *user*; and where unsent lines of somebody else were put aside, if there were any.

    The same address may name another account: a server whose data was removed begins with new ones.

    Raises:
        CannotStart: The files cannot be used.
    """
    journal = seat.journal
    if journal.user in (None, user):
        return journal, None
    path = seat.token_path.with_name("outbox")
    aside = path.with_name(f"outbox of {journal.user}") if journal.load() else None
    journal.close()
    try:
        if aside is None:
            path.unlink()
        else:
            path.replace(aside)
        return FileJournal(path), aside
    except (OSError, OutboxUnwritable) as problem:
        raise CannotStart(f"the outbox {path} cannot be begun anew: {problem}.") from problem


def _device(path: Path) -> str:
    """A name for this device that stays."""
    if path.exists() and (name := path.read_text().strip()):
        return name
    name = f"chat-{uuid4().hex}"
    path.write_text(name + "\n")
    return name


def check_email(email: str) -> None:
    """Say at once what can be no address; the server knows better about the rest. Raises CannotStart."""
    if "@" not in email.strip("@") or email != email.strip():
        raise CannotStart(f"{email!r} is not an e-mail address.")


async def sign_in(http: httpx.AsyncClient, email: str, password: str | None, token_path: Path) -> Account:
    """The account: by *password* where one is given, else as signed in before, else by the demo's or a typed one.

    Raises:
        CannotStart: It is not to be.
    """
    try:
        if password is None and (account := resume(http, token_path)) is not None:
            try:
                await account()
                return account
            except SignedOut:
                pass  # that was long ago
        if password is None:
            password = DEMO_PASSWORD if email.lower() in DEMO_PEOPLE else _ask_password(email)
        return await login(http, email, password, device="konnect chat", path=token_path)
    except (ServerUnreachable, TokenUnavailable) as problem:
        raise CannotStart(f"{str(problem).rstrip('.')}. Is it running?") from problem
    except ServerRefused as refusal:
        raise CannotStart(_refused(email, refusal)) from refusal
    except OSError as problem:
        raise CannotStart(f"the sign-in cannot be kept in {token_path}: {problem.strerror}.") from problem


def _refused(email: str, refusal: ServerRefused) -> str:
    if refusal.code == "bad_credentials":
        return f"there is no account {email} with this password."
    return f"signing in as {email} was refused: {refusal.message.rstrip('.')}."


def _ask_password(email: str) -> str:
    if not sys.stdin.isatty():
        raise CannotStart(f"no password for {email}: give it with --password or KONNECT_PASSWORD.")
    return getpass.getpass(f"Password of {email}: ")  # nothing else runs yet that could wait for us
