"""What the operator does to accounts: on the database alone, beside whatever servers run on it.

Their open sockets close within a second of a suspension: each server asks which sign-ins ended (sign_in_sweep.py).
"""

import unicodedata
from collections.abc import Callable
from typing import Final
from uuid import UUID

from konnect_server.actions.accounts import tidy_email
from konnect_server.one_time_codes import LIFE_MS, hash_of, new_code, secret_of
from storage import accounts, codes
from storage.accounts import Account, Role
from storage.database import Database

_WHY: Final = {
    "unknown_user": "there is no such account",
    "deleted": "this account was erased",
    "not_suspended": "this account is not suspended",
}


class NotDone(Exception):
    """It cannot be done; the text is one plain sentence."""


class Operator:
    """The rules, over one database."""

    def __init__(self, database: Database, new_id: Callable[[], UUID]) -> None:
        self._database, self._new_id = database, new_id

    async def find(self, who: str) -> Account:
        """The account of an e-mail address, or by its id.

        Raises:
            NotDone: There is none.
        """
        try:
            account = await accounts.account_by_id(self._database, UUID(who))
        except ValueError:
            account = await accounts.account_by_email(self._database, tidy_email(who))
        if account is None:
            raise NotDone(f"there is no account of {who}")
        return account

    async def create(self, email: str, name: str, role: Role) -> Account:
        """Make an account without a password: its person enters by a code.

        Raises:
            EmailTaken
        """
        name = unicodedata.normalize("NFC", name).strip()
        made = self._new_id()
        await accounts.create_account(self._database, made, tidy_email(email), name, role)
        return await self.find(str(made))

    async def code(self, who: str, server_secret: bytes) -> tuple[Account, str]:
        """A code that signs in, to be read out to somebody; the one before is no good any more.

        Raises:
            NotDone
        """
        account, ticket = await self.find(who), self._new_id()
        code, salt = new_code()
        code_hash = hash_of(secret_of(server_secret), "enter", ticket, salt, code)
        await codes.put_code(self._database, account.email, "enter", ticket, salt, code_hash, LIFE_MS)
        return account, code

    async def suspend(self, who: str) -> tuple[Account, int]:
        """Let somebody in no more, and end all their sign-ins; how many.

        Raises:
            NotDone
        """
        account = await self.find(who)
        stood = await accounts.stand_account(self._database, account.id, "suspended")
        return await self._stood(account, stood.error), len(stood.ended)

    async def restore(self, who: str) -> Account:
        """Let somebody in again who was suspended.

        Raises:
            NotDone
        """
        account = await self.find(who)
        stood = await accounts.stand_account(self._database, account.id, "active")
        return await self._stood(account, stood.error)

    async def delete(self, who: str) -> tuple[Account, int]:
        """Begin what a person begins who deletes their account, and end all their sign-ins; how many.

        Raises:
            NotDone
        """
        account = await self.find(who)
        stood = await accounts.stand_account(self._database, account.id, "leaving")
        return await self._stood(account, stood.error), len(stood.ended)

    async def role(self, who: str, role: Role) -> Account:
        """Make somebody an admin, a moderator, or neither.

        Raises:
            NotDone
        """
        account = await self.find(who)
        done = await accounts.set_role(self._database, account.id, role)
        return await self._stood(account, None if done else "deleted")

    async def _stood(self, account: Account, error: str | None) -> Account:
        if error is not None:
            raise NotDone(_WHY[error])
        return await self.find(str(account.id))
