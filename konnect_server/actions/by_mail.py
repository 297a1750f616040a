"""What a code by mail is good for: to sign in, to sign up, to confirm an address, to choose a password, to move.

Whether an address has an account is never told to who does not read its mail: asking for a code does the same work for
every address and has one answer, and so has a code that is not right.
"""

import unicodedata
from typing import Final
from uuid import UUID

from konnect_server.actions.accounts import Accounts, me_of, tidy_email
from konnect_server.one_time_codes import LIFE_MS, is_right, secret_of
from konnect_server.remembered import Claims
from protocol.errors import AccountSuspended, BadCode, BadCredentials, EmailTaken, Invalid, NameNeeded, RateLimited
from protocol.http import ChangeEmail, CodeSent, ConfirmEmail, Me, SetPassword, SignedIn, Verify
from storage import accounts, codes
from storage.accounts import Account
from storage.codes import CodeRow, Mailing, Purpose
from storage.database import Queries, Transaction

_WRONG: Final = "this code is not good: it may be wrong, used, out of time, or tried too often"


class ByMail:
    """The rules, over those of accounts."""

    def __init__(self, house: Accounts) -> None:
        self._house, self._database = house, house.database

    # --- asking ---

    async def ask(self, email: str, purpose: Purpose) -> CodeSent:
        """Have a code sent, to enter or to choose a password. The same for every address.

        Raises:
            RateLimited: This address was sent as many as may be within an hour.
        """
        await self._ask(self._database, tidy_email(email), purpose)
        self._house.there_is_mail()
        return CodeSent(LIFE_MS // 1000)

    async def _ask(
        self, db: Queries, email: str, purpose: Purpose, person: UUID | None = None, subject: str | None = None
    ) -> None:
        house = self._house
        wait_ms = await codes.ask_code(db, email, purpose, house.new_id(), house.codes_per_hour, person, subject)
        if wait_ms:
            raise RateLimited(wait_ms)

    # --- entering ---

    async def verify(self, wanted: Verify) -> tuple[SignedIn, bool]:
        """Sign in by a code, or up where the address has no account yet; and whether it was made.

        Who enters an account whose address was never confirmed takes it over: its password and sign-ins are those of
        somebody who did not prove to read its mail, and end.

        Raises:
            BadCode
            NameNeeded: The code is good, and stays so.
            AccountSuspended: The code was good.
        """
        email = tidy_email(wanted.email)
        try:
            return await self._verify(email, wanted)
        except EmailTaken:  # somebody registered it in this very moment: so the code, which is still good, signs in
            return await self._verify(email, wanted)

    async def _verify(self, email: str, wanted: Verify) -> tuple[SignedIn, bool]:
        house, ended = self._house, list[UUID]()
        problem: BadCode | NameNeeded | AccountSuspended | None = None
        answer: SignedIn | None = None
        async with self._database.transaction() as tx:
            account = await accounts.lock_account_by_email(tx, email)
            code = await codes.lock_code(tx, email, "enter")
            if not self._is_right(code, wanted.code):
                await codes.count_try(tx, email, "enter")
                problem = BadCode(_WRONG)
            elif account is None and wanted.name is None:
                problem = NameNeeded("this address has no account yet; give a name to make one")
            elif account is None:
                assert wanted.name is not None
                await codes.spend_code(tx, email, "enter")
                row, token = house.new_sign_in(wanted.device)
                name = unicodedata.normalize("NFC", wanted.name).strip()
                made = await accounts.insert_account(tx, house.new_id(), email, name, None, row, verified=True)
                answer = house.signed_in(made, token)
            else:
                await codes.spend_code(tx, email, "enter")
                if account.email_verified_at_ms is None:
                    await accounts.verify_email(tx, account.id)
                    await accounts.set_password_hash(tx, account.id, None)
                    ended += await accounts.end_sign_ins(tx, account.id, None, "taken")
                    account = await accounts.lock_account(tx, account.id)
                    assert account is not None
                try:
                    answer, others = await house.let_in(tx, account, wanted.device)
                    ended += others
                except AccountSuspended as suspended:
                    problem = suspended  # after the commit: the code was used
        if account is not None:
            for sign_in in ended:
                house.tell(sign_in, account.id)
        if problem is not None:
            raise problem
        assert answer is not None
        return answer, account is None

    async def confirm(self, claims: Claims, email: str, code: str) -> None:
        """Confirm the address of who is signed in; nothing else changes.

        Raises:
            BadCode
            Invalid: It is not their address.
        """
        account = await self._house.account_of(claims)
        if tidy_email(email).lower() != account.email.lower():
            raise Invalid("this is not the address of your account - at `$.email`")
        async with self._database.transaction() as tx:
            now = await accounts.lock_account(tx, account.id)
            row = await codes.lock_code(tx, account.email, "enter")
            good = now is not None and now.email == account.email and self._is_right(row, code)
            if good:
                await codes.spend_code(tx, account.email, "enter")
                await accounts.verify_email(tx, account.id)
            else:
                await codes.count_try(tx, account.email, "enter")
        if not good:
            raise BadCode(_WRONG)

    # --- passwords ---

    async def reset(self, wanted: SetPassword) -> None:
        """Choose a password by a code; all sign-ins end, and the address is confirmed.

        Raises:
            BadCode
            AccountSuspended: The code was good; the password stays as it was.
            Invalid, Unavailable: As for ``Accounts.register``.
        """
        assert wanted.email is not None
        assert wanted.code is not None
        email = tidy_email(wanted.email)
        password_hash = await self._house.passwords.hash(wanted.password)  # before the code is looked at: always
        problem: BadCode | AccountSuspended | None = None
        ended: list[UUID] = []
        async with self._database.transaction() as tx:
            account = await accounts.lock_account_by_email(tx, email)
            row = await codes.lock_code(tx, email, "password")
            if not self._is_right(row, wanted.code) or account is None:
                await codes.count_try(tx, email, "password")
                problem = BadCode(_WRONG)
            elif account.standing == "suspended":
                await codes.spend_code(tx, email, "password")
                problem = AccountSuspended("this account is suspended")
            else:
                await accounts.verify_email(tx, account.id)
                ended = await self._set_password(tx, account, password_hash, None)
        if problem is not None:
            raise problem
        assert account is not None
        self._changed(ended, account.id)

    async def change_password(self, claims: Claims, wanted: SetPassword) -> None:
        """Change one's password by the one before; all other sign-ins end.

        Raises:
            Unauthorized: The sign-in has ended.
            BadCredentials: The password before is wrong, or there was none.
            Invalid, Unavailable: As for ``Accounts.register``.
        """
        house = self._house
        account = await house.account_of(claims)
        if not await house.passwords.verify(account.password_hash, wanted.old or ""):
            raise BadCredentials("this is not your password")
        password_hash = await house.passwords.hash(wanted.password)
        ended: list[UUID] | None = None
        async with self._database.transaction() as tx:
            now = await accounts.lock_account(tx, account.id)
            live = await accounts.account_of_sign_in(tx, claims.sign_in, claims.user)
            if now is not None and live is not None and now.password_hash == account.password_hash:
                ended = await self._set_password(tx, now, password_hash, claims.sign_in)
        if ended is None:
            raise BadCredentials("the password was changed, or you were signed out, in this very moment")
        self._changed(ended, account.id)

    async def _set_password(
        self, tx: Transaction, account: Account, password_hash: str, but: UUID | None
    ) -> list[UUID]:
        await accounts.set_password_hash(tx, account.id, password_hash)
        await codes.spend_code(tx, account.email, "password")
        await self._notice(tx, Mailing(account.email, "password_changed", person=account.id))
        return await accounts.end_sign_ins(tx, account.id, but, "password")

    # --- addresses ---

    async def change_email(self, claims: Claims, wanted: ChangeEmail) -> CodeSent:
        """Have codes sent to the address that an account has and to the one that it is to have.

        Raises:
            Unauthorized: The sign-in has ended.
            BadCredentials: The account has a password, and this is not it.
            Invalid: It is the address of the account already.
            RateLimited: As for :meth:`ask`.
        """
        house, email = self._house, tidy_email(wanted.email)
        account = await house.account_of(claims)
        if account.password_hash is not None and not await house.passwords.verify(
            account.password_hash, wanted.password or ""
        ):
            raise BadCredentials("this is not your password")
        if email.lower() == account.email.lower():
            raise Invalid("this is the address of your account already - at `$.email`")
        async with self._database.transaction() as tx:
            await self._ask(tx, account.email, "email_old", account.id, email)
            await self._ask(tx, email, "email_new", account.id)
        house.there_is_mail()
        return CodeSent(LIFE_MS // 1000)

    async def confirm_email(self, claims: Claims, wanted: ConfirmEmail) -> Me:
        """Move to the new address, by both codes; one that is wrong counts as a try of both.

        Raises:
            Unauthorized: The sign-in has ended.
            BadCode
            EmailTaken: The new address has an account since.
        """
        house = self._house
        async with self._database.transaction() as tx:
            account = await accounts.lock_account(tx, claims.user)
            live = await accounts.account_of_sign_in(tx, claims.sign_in, claims.user)
            old = new = None
            good = False
            if account is not None and live is not None:
                old = await codes.lock_code(tx, account.email, "email_old")
                address = (old and old.person == account.id and old.subject) or account.email
                new = await codes.lock_code(tx, address, "email_new")
                ours = old is not None and new is not None and old.person == new.person == account.id
                rights = self._is_right(old, wanted.old_code), self._is_right(new, wanted.new_code)
                good = ours and all(rights)
                if good:
                    await codes.spend_code(tx, account.email, "email_old")
                    await codes.spend_code(tx, address, "email_new")
                    await codes.spend_code(tx, account.email, "password")
                    await self._notice(tx, Mailing(account.email, "email_changed", person=account.id))
                    await accounts.set_email(tx, account.id, address)
                    account = await accounts.lock_account(tx, account.id)
                else:
                    await codes.count_try(tx, account.email, "email_old")
                    if ours:
                        await codes.count_try(tx, address, "email_new")
        if account is None or live is None:
            await house.account_of(claims)  # raises: the sign-in has ended
        if not good or account is None:
            raise BadCode(_WRONG)
        house.there_is_mail()
        return me_of(account)

    # --- in common ---

    def _is_right(self, row: CodeRow | None, code: str) -> bool:
        return is_right(secret_of(self._house.tokens.refresh_secret), row, code)

    async def _notice(self, tx: Transaction, mailing: Mailing) -> None:
        await codes.add_mail(tx, mailing, self._house.new_id())

    def _changed(self, ended: list[UUID], user: UUID) -> None:
        for sign_in in ended:
            self._house.tell(sign_in, user)
        self._house.there_is_mail()
