"""Accounts over HTTP: register, sign in, stay signed in.

An :class:`Account` is a token source for :func:`~konnect_client.open_client`. Access tokens live for minutes; the
refresh token that gets the next one is replaced at each use and kept in a file that nobody else can read. A refresh
whose answer got lost is repeated with the same refresh token, which the server allows for a minute; so a refresh that
has begun is not cancelled with the task that asked for it.

Simultaneous use of one file by two processes is not possible: each would replace the other's refresh token, and the
server ends a sign-in whose old token comes back.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from konnect_client.errors import ServerRefused, ServerUnreachable, SignedOut, TokenUnavailable
from konnect_client.tokens import AccessToken

FRESH_SHARE: Final = 0.4  # of a token's life must be left for it to be given out again
REFRESH_WITHIN_S: Final = 10.0
ANSWER_WITHIN_S: Final = 20.0
ENDED_CODES: Final = frozenset({"unauthorized", "invalid"})  # of a refresh: this sign-in is over
PASSING_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Profile:
    """Who is signed in."""

    id: str
    name: str


class Account:
    """A sign-in: gives out access tokens and gets new ones."""

    def __init__(self, http: httpx.AsyncClient, user: Profile, refresh_token: str, path: Path | None) -> None:
        self._http, self._path = http, path
        self.user = user
        self._refresh_token: str | None = refresh_token
        self._access_token: str | None = None
        self._life_s = self._ends_at = 0.0
        self._turn = trio.Lock()

    async def __call__(self) -> AccessToken:
        """An access token with a good part of its life left; asks the server for one where that is needed.

        Raises:
            SignedOut: The sign-in has ended.
            TokenUnavailable: The server cannot be reached, or says that it cannot answer now.
        """
        async with self._turn:
            left_s = self._ends_at - trio.current_time()
            if self._access_token is None or left_s < self._life_s * FRESH_SHARE:
                with trio.move_on_after(REFRESH_WITHIN_S, shield=True) as scope:
                    await self._refresh()
                if scope.cancelled_caught:
                    raise TokenUnavailable(f"{self._http.base_url} did not answer within {REFRESH_WITHIN_S} s")
                left_s = self._ends_at - trio.current_time()
            assert self._access_token is not None
            return AccessToken(self._access_token, left_s)

    def refuse(self, token: str) -> None:
        """The server did not accept *token*: it is not given out again."""
        if token == self._access_token:
            self._access_token = None

    async def me(self) -> dict[str, Any]:
        """One's own account, as the server shows it: ``GET /v1/me``."""
        token = await self()
        return await _ask(self._http, "GET", "/v1/me", token=token.text)

    async def confirm(self, email: str, code: str) -> None:
        """Confirm one's address by the code that was sent there; ``bad_code`` where it is no good."""
        token = await self()
        await _ask(self._http, "POST", "/v1/auth/verify", {"email": email, "code": code}, token=token.text)

    async def change_password(self, old: str, new: str) -> None:
        """Change one's password; all other sign-ins end. ``bad_credentials`` where *old* is wrong."""
        token = await self()
        await _ask(self._http, "POST", "/v1/auth/password", {"old": old, "password": new}, token=token.text)

    async def change_email(self, email: str, password: str | None = None) -> None:
        """Have codes sent to one's address and to the new one, for :meth:`confirm_email`. *password*: where one has
        one."""
        token = await self()
        body = {"email": email} if password is None else {"email": email, "password": password}
        await _ask(self._http, "POST", "/v1/auth/email", body, token=token.text)

    async def confirm_email(self, old_code: str, new_code: str) -> dict[str, Any]:
        """Move to the new address, by both codes; one's own account."""
        token = await self()
        body = {"old_code": old_code, "new_code": new_code}
        return await _ask(self._http, "POST", "/v1/auth/email/confirm", body, token=token.text)

    async def logout(self) -> None:
        """End the sign-in, here and at the server. Raises ServerUnreachable, and then it is not ended there."""
        if self._refresh_token is not None:
            await _ask(self._http, "POST", "/v1/auth/logout", {"refresh_token": self._refresh_token})
        self._forget()

    async def _refresh(self) -> None:
        if self._refresh_token is None:
            raise SignedOut("this sign-in has ended")
        try:
            self._take(await _ask(self._http, "POST", "/v1/auth/refresh", {"refresh_token": self._refresh_token}))
        except ServerUnreachable as problem:
            raise TokenUnavailable(str(problem)) from problem
        except ServerRefused as refusal:
            if refusal.code in ENDED_CODES:
                self._forget()
                raise SignedOut(str(refusal)) from refusal
            after_s = None if refusal.retry_after_ms is None else refusal.retry_after_ms / 1000
            raise TokenUnavailable(str(refusal), after_s) from refusal

    def _take(self, answer: dict[str, Any]) -> None:
        """Take over what register, login and refresh answer; the refresh token is on disk before anything else."""
        match answer:
            case {
                "user": {"id": str(user), "name": str(name)},
                "access_token": str(access),
                "refresh_token": str(refresh),
                "expires_in_s": int() | float() as expires_in_s,
            }:
                self._refresh_token, self._access_token = refresh, access
                self.user = Profile(user, name)
                self._life_s, self._ends_at = expires_in_s, trio.current_time() + expires_in_s
                self._keep()
            case _:
                raise ServerUnreachable("the server's answer is not one of a Konnect server")

    def _keep(self) -> None:
        if self._path is None:
            return
        kept = {"user": {"id": self.user.id, "name": self.user.name}, "refresh_token": self._refresh_token}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(fd)
        fresh.replace(self._path)

    def _forget(self) -> None:
        self._refresh_token = self._access_token = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


async def register(
    http: httpx.AsyncClient,
    email: str,
    password: str,
    name: str,
    *,
    device: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Account:
    """Make an account and sign in.

    Args:
        http: With the server's address as its ``base_url``; stays open as long as the account is used.
        email: The address to sign in with.
        password: The password.
        name: What others see.
        device: What this sign-in is called in a list of one's devices.
        path: The file that keeps the refresh token (mode 0600); None keeps it in memory.

    Raises:
        ServerRefused: For example ``email_taken`` or ``invalid``.
        ServerUnreachable: No answer, or not from a Konnect server.
    """
    body = {"email": email, "password": password, "name": name, "device": device}
    return await _sign_in(http, "/v1/auth/register", body, path)


async def login(
    http: httpx.AsyncClient,
    email: str,
    password: str,
    *,
    device: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Account:
    """Sign in. Arguments and errors as for :func:`register`; a wrong e-mail or password is ``bad_credentials``."""
    return await _sign_in(http, "/v1/auth/login", {"email": email, "password": password, "device": device}, path)


async def ask_code(http: httpx.AsyncClient, email: str) -> None:
    """Have a code sent to *email*, by which :func:`verify` signs in or up. Errors as for :func:`register`;
    ``rate_limited`` where it was sent too many."""
    await _ask(http, "POST", "/v1/auth/code", {"email": email})


async def ask_password_code(http: httpx.AsyncClient, email: str) -> None:
    """Have a code sent to *email*, if it has an account, by which :func:`reset_password` chooses a password."""
    await _ask(http, "POST", "/v1/auth/password/reset", {"email": email})


async def reset_password(http: httpx.AsyncClient, email: str, code: str, password: str) -> None:
    """Choose a password by a code; all sign-ins end."""
    await _ask(http, "POST", "/v1/auth/password", {"email": email, "code": code, "password": password})


async def verify(
    http: httpx.AsyncClient,
    email: str,
    code: str,
    *,
    name: str | None = None,
    device: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Account:
    """Sign in by a code, or make an account of that *name* where the address has none.

    Arguments and errors as for :func:`register`; a code that is no good is ``bad_code``, and without a name for an
    address without an account it is ``name_needed``.
    """
    named = {} if name is None else {"name": name}
    return await _sign_in(http, "/v1/auth/verify", {"email": email, "code": code, "device": device, **named}, path)


def resume(http: httpx.AsyncClient, path: str | os.PathLike[str]) -> Account | None:
    """The sign-in that *path* keeps, without asking the server; None when there is none, or none that can be read."""
    try:
        kept = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    match kept:
        case {"user": {"id": str(user), "name": str(name)}, "refresh_token": str(refresh)}:
            return Account(http, Profile(user, name), refresh, Path(path))
    return None


async def _sign_in(
    http: httpx.AsyncClient, address: str, body: dict[str, str], path: str | os.PathLike[str] | None
) -> Account:
    account = Account(http, Profile("", ""), "", None if path is None else Path(path))
    account._take(await _ask(http, "POST", address, body))
    return account


async def _ask(
    http: httpx.AsyncClient, method: str, address: str, body: dict[str, str] | None = None, token: str | None = None
) -> dict[str, Any]:
    """One request; the answer's JSON object.

    Raises:
        ServerRefused: The server's problem+json.
        ServerUnreachable: No answer, or one that is not from a Konnect server.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        response = await http.request(method, address, json=body, headers=headers, timeout=ANSWER_WITHIN_S)
    except httpx.HTTPError as problem:
        raise ServerUnreachable(f"{http.base_url} does not answer: {problem or type(problem).__name__}") from problem
    if response.status_code == 204:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.is_success and isinstance(answer, dict):
        return answer
    match answer:
        case {"code": str(code)}:
            said = answer.get("detail") or answer.get("title") or code
            raise ServerRefused(code, str(said), _retry_after_ms(response, answer))
    raise ServerUnreachable(f"{http.base_url} answers {response.status_code}, and not as a Konnect server does")


def _retry_after_ms(response: httpx.Response, answer: dict[str, Any]) -> int | None:
    """When the same request may be repeated: by the body, else by the header; None when it may not."""
    after_ms = answer.get("retry_after_ms")
    if isinstance(after_ms, int):
        return after_ms
    header = response.headers.get("retry-after", "")
    if header.isdigit():
        return int(header) * 1000
    return 1000 if response.status_code in PASSING_STATUS else None
