"""Accounts: register, sign in, refresh, sign out; who one is, and who others are."""

import secrets
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from konnect_server.actions.passwords import Passwords
from konnect_server.actions.refresh_tokens import RefreshToken, Verdict, derive, judge, parse
from konnect_server.remembered import Claims
from konnect_server.tokens import Tokens
from protocol.errors import AccountSuspended, BadCredentials, Unauthorized, Unavailable, UnknownUser
from protocol.frames import User
from protocol.http import Login, Me, Register, SignedIn
from storage import accounts, codes
from storage.accounts import Account, NewSignIn
from storage.database import Database, Transaction

IDLE_S: Final = 30 * 24 * 3600  # a sign-in that is not refreshed for so long ends
CODES_PER_HOUR: Final = 6  # for one address and purpose; each may be guessed at five times


class Accounts:
    """The rules, over one database and one keys folder."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        passwords: Passwords,
        *,
        new_id: Callable[[], UUID],
        signed_out: Callable[[UUID, UUID], None],
        idle_s: float = IDLE_S,
        codes_per_hour: int = CODES_PER_HOUR,
    ) -> None:
        """*signed_out(sign_in, user)* is told, after the commit, of each sign-in that ended; a plain call."""
        self.database, self.tokens, self.passwords, self.new_id = database, tokens, passwords, new_id
        self.codes_per_hour = codes_per_hour
        self.wake: Callable[[], None] | None = None  # told that there is a job
        self._signed_out = signed_out
        self._idle_ms = int(idle_s * 1000)

    async def register(self, wanted: Register) -> SignedIn:
        """Make an account and sign in; a code that confirms the address goes out by mail.

        Raises:
            EmailTaken: The address has an account.
            Invalid: The password is too long once normalised.
            Unavailable: Too many passwords are waiting to be hashed.
            StorageUnavailable: The outcome is unknown; if it was stored, a repeat gets EmailTaken and login works.
        """
        email = tidy_email(wanted.email)
        password_hash = await self.passwords.hash(wanted.password)
        row, token = self.new_sign_in(wanted.device)
        name = unicodedata.normalize("NFC", wanted.name).strip()
        async with self.database.transaction() as tx:
            account = await accounts.insert_account(tx, self.new_id(), email, name, password_hash, row)
            await codes.ask_code(tx, email, "enter", self.new_id(), self.codes_per_hour)  # one too many: then none
        self.there_is_mail()
        return self.signed_in(account, token)

    async def login(self, wanted: Login) -> SignedIn:
        """Sign in. An unknown address and a wrong password are told apart neither by the answer nor by its time.

        Raises:
            BadCredentials: One of them is wrong.
            AccountSuspended: Both are right.
            Invalid, Unavailable, StorageUnavailable: As for :meth:`register`.
        """
        email = tidy_email(wanted.email)
        while True:
            account = await accounts.account_by_email(self.database, email)
            known = None if account is None else account.password_hash
            matches = await self.passwords.verify(known, wanted.password)
            if account is None or known is None or not matches:
                raise BadCredentials("the e-mail address or the password is wrong")
            if self.passwords.is_outdated(known):
                with suppress(Unavailable):  # too busy for it now: the next login will
                    newer = await self.passwords.hash(wanted.password)
                    await accounts.replace_password_hash(self.database, account.id, known, newer)
                    known = newer
            async with self.database.transaction() as tx:
                now = await accounts.lock_account(tx, account.id)
                if now is None or now.password_hash != known:
                    continue  # the password was changed, or hashed anew, while we looked at it: look again
                answer, ended = await self.let_in(tx, now, wanted.device)
            for sign_in in ended:
                self.tell(sign_in, account.id)
            return answer

    async def let_in(self, tx: Transaction, account: Account, device: str) -> tuple[SignedIn, list[UUID]]:
        """Open a sign-in of *account*, which is locked and proved to be who asks; and the sign-ins that had to end for
        it: tell them once *tx* is committed.

        Raises:
            AccountSuspended
        """
        if account.standing not in _MAY_ENTER:
            raise AccountSuspended("this account is suspended")
        row, token = self.new_sign_in(device)
        ended = await accounts.open_sign_in(tx, account.id, row)
        return self.signed_in(account, token), ended

    async def refresh(self, text: str) -> SignedIn:
        """Exchange a refresh token for the next one and a fresh access token.

        Decided under the row's lock: of two requests with the same token the first rotates and the second, within the
        minute of grace, gets the same answer. A token that was used up before ends the sign-in, for two have it.

        Raises:
            Unauthorized: The token is not good (any more).
            StorageUnavailable: The outcome is unknown; the same request again is safe.
        """
        token = parse(text)
        if token is None:
            raise Unauthorized("this is not a refresh token")
        secret = self.tokens.refresh_secret
        async with self.database.transaction() as tx:
            found = await accounts.lock_sign_in(tx, token.family)
            if found is None:
                raise Unauthorized("there is no such sign-in; sign in again")
            sign_in, account = found
            verdict = judge(sign_in, token, secret, self._idle_ms)
            if account.standing not in _MAY_ENTER and verdict in (Verdict.ROTATE, Verdict.REPEAT):
                verdict = Verdict.ENDED  # as all sign-ins of such an account; a bug elsewhere must not open it again
            if verdict is Verdict.ROTATE:
                answer = derive(secret, sign_in.basis, sign_in.id, sign_in.counter + 1)
                await accounts.rotate_sign_in(tx, sign_in.id, answer.hash(), sign_in.now_ms)
            elif verdict is Verdict.REPEAT:
                answer = derive(secret, sign_in.basis, sign_in.id, sign_in.counter)
                if answer.hash() != sign_in.token_hash:  # the secret was replaced in this very minute
                    verdict = Verdict.FORGED
            elif verdict is Verdict.REUSE:
                await accounts.end_sign_in(tx, sign_in.id, "reuse")
        if verdict is Verdict.REUSE:
            self.tell(sign_in.id, account.id)
        if verdict in _REFUSALS:
            raise Unauthorized(_REFUSALS[verdict])
        return self.signed_in(account, answer)

    async def logout(self, text: str | None, claims: Claims | None) -> None:
        """End the sign-in that the refresh token *text* belongs to, or without one that of *claims*. May be repeated.

        Raises:
            Unauthorized: Neither is given, or the refresh token is not one that this server gave out.
        """
        if text is None:
            if claims is None:
                raise Unauthorized("name the sign-in: a refresh token in the body, or a bearer token")
            if await accounts.end_sign_in(self.database, claims.sign_in, "logout"):
                self.tell(claims.sign_in, claims.user)
            return
        token = parse(text)
        if token is None:
            raise Unauthorized("this is not a refresh token")
        async with self.database.transaction() as tx:
            found = await accounts.lock_sign_in(tx, token.family)
            if found is None:
                return  # ended long ago and forgotten
            sign_in, account = found
            verdict = judge(sign_in, token, self.tokens.refresh_secret, self._idle_ms)
            if verdict is Verdict.FORGED:
                raise Unauthorized("this is not a refresh token of this server")
            ended = await accounts.end_sign_in(tx, sign_in.id, "logout")
        if ended:
            self.tell(sign_in.id, account.id)

    async def me(self, claims: Claims) -> Me:
        """The account that an access token belongs to.

        Raises:
            Unauthorized: The sign-in has ended, here or at another process.
        """
        return me_of(await self.account_of(claims))

    async def account_of(self, claims: Claims) -> Account:
        """The same, as it is stored.

        Raises:
            Unauthorized
        """
        account = await accounts.account_of_sign_in(self.database, claims.sign_in, claims.user)
        if account is None:
            self.tokens.end(claims.sign_in)
            raise Unauthorized("this sign-in was ended; sign in again")
        return account

    async def user(self, user: UUID) -> User:
        """A person, as others see them.

        Raises:
            UnknownUser: There is nobody with this id.
        """
        name = await accounts.account_name(self.database, user)
        if name is None:
            raise UnknownUser(user)
        return User(user, name)

    def new_sign_in(self, device: str) -> tuple[NewSignIn, RefreshToken]:
        """A sign-in to be stored, and its first refresh token."""
        basis, family = secrets.token_bytes(32), self.new_id()
        token = derive(self.tokens.refresh_secret, basis, family, 0)
        return NewSignIn(family, device, basis, token.hash()), token

    def signed_in(self, account: Account, token: RefreshToken) -> SignedIn:
        """What who signs in is answered."""
        access_token = self.tokens.sign(account.id, token.family, token.counter)
        return SignedIn(me_of(account), access_token, token.text(), self.tokens.lifetime_s)

    def there_is_mail(self) -> None:
        """A mail is to be sent; it would be found without this, a little later. A plain call."""
        if self.wake is not None:
            self.wake()

    def tell(self, sign_in: UUID, user: UUID) -> None:
        """*sign_in* has ended: its tokens are refused here, and whoever else has to know is told."""
        self.tokens.end(sign_in)
        self._signed_out(sign_in, user)


_MAY_ENTER: Final = frozenset({"active", "paused", "leaving"})  # who is leaving may still return
_REFUSALS: Final = {
    Verdict.REUSE: "this refresh token was used before; the sign-in was ended, for somebody else may have the token",
    Verdict.IDLE: "this sign-in was not used for too long; sign in again",
    Verdict.ENDED: "this sign-in was ended; sign in again",
    Verdict.FORGED: "this is not a refresh token of this server",
}


def tidy_email(email: str) -> str:
    """*email* as it is stored: composed (NFC), without blanks around it. Case is kept; the index does not see it."""
    return unicodedata.normalize("NFC", email).strip()


def me_of(account: Account) -> Me:
    """An account, as its person sees it."""
    assert account.standing != "deleted"  # nobody is signed in as who was erased
    return Me(
        account.id, account.name, account.email, account.created_at_ms, account.email_verified_at_ms is not None,
        account.password_hash is not None, account.standing, account.role,
    )  # fmt: skip
