"""The job that mails: makes the code, if the mail brings one, and hands the mail to the driver.

The code is made here and not when it is asked for, so that it lies nowhere but in its mail; and here it is looked up
whether the address has an account, so that the answer to who asked cannot tell, by its time either.
"""

from typing import Final
from uuid import uuid4

import msgspec
import structlog
from msgspec import Raw

from konnect_server.jobs import Again, Hopeless
from konnect_server.mail.driver import Driver, Mail
from konnect_server.mail.words import Kind, worded
from konnect_server.one_time_codes import LIFE_MS, hash_of, new_code, secret_of
from konnect_server.telemetry import counter
from storage import accounts, codes
from storage.accounts import Account
from storage.codes import Mailing
from storage.database import Database

RETRY_S: Final = 10.0  # when the service says "later" but not when
_CODES: Final = frozenset({"enter", "password", "email_old", "email_new"})

MAILS: Final = counter("konnect_mails_total", "Mails, by what became of them.", ("outcome",))
log = structlog.get_logger("konnect.mail")


class MailLocked(Exception):
    """The mail service does not let us in: credentials that are wrong or withdrawn. Nothing can be sent until somebody
    mends that."""


class Postman:
    """Does jobs of kind "mail"."""

    def __init__(self, database: Database, driver: Driver, server_secret: bytes, app: str) -> None:
        """*app*: who sends the mails, as people know it."""
        self._database, self._driver, self._app = database, driver, app
        self._secret = secret_of(server_secret)

    async def send(self, payload: Raw) -> None:
        """Send one mail. Done twice, it is sent twice, and only the code of the second is good.

        Raises:
            Again: The service said so.
            Hopeless: The service does not take it.
            MailLocked
        """
        mailing = msgspec.json.decode(payload, type=Mailing)
        mail = await self._mail(mailing)
        if mail is None:
            return
        outcome = await self._driver.send(mail)
        MAILS.labels(outcome.kind).inc()
        match outcome.kind:
            case "later":
                raise Again(RETRY_S if outcome.after_s is None else outcome.after_s, why=outcome.why)
            case "refused":
                raise Hopeless(outcome.why)
            case "locked":
                log.error("the mail service does not let us in", driver=self._driver.name, why=outcome.why)
                raise MailLocked(outcome.why)

    async def _mail(self, mailing: Mailing) -> Mail | None:
        """What to send now; None for nothing: a newer request has taken its place, or there is nobody to tell."""
        code = ""
        if mailing.what not in _CODES:
            account = await self._whose(mailing)
            if account is None:
                return None
            kind: Kind = mailing.what  # type: ignore[assignment]  # the others are codes
        else:
            made = await self._coded(mailing)
            if made is None:
                return None
            kind, account, code = made
        said = worded(kind, app=self._app, name=account.name if account else "", code=code)
        return Mail(to=mailing.to, subject=said.subject, text=said.text, html=said.html, id=uuid4().hex)

    async def _coded(self, mailing: Mailing) -> tuple[Kind, Account | None, str] | None:
        """Make the code of *mailing* the good one of its row."""
        purpose = mailing.what
        assert purpose in ("enter", "password", "email_old", "email_new")
        async with self._database.transaction() as tx:
            row = await codes.lock_code(tx, mailing.to, purpose)
            if row is None or row.ticket != mailing.ticket:
                return None
            account = await accounts.account_by_email(tx, mailing.to)
            kind: Kind
            match purpose:
                case "enter":
                    kind = "sign_up" if account is None else "sign_in"
                case "email_new" if account is not None and account.id != row.person:
                    return "email_taken", account, ""
                case "email_new":
                    kind = "email_new"
                case _ if account is None:
                    return None  # no password, and no address, to change
                case _:
                    kind = purpose
            code, salt = new_code()
            await codes.arm_code(
                tx, mailing.to, purpose, salt, hash_of(self._secret, purpose, row.ticket, salt, code), LIFE_MS
            )
        return kind, account, code

    async def _whose(self, mailing: Mailing) -> Account | None:
        if mailing.person is None:
            return await accounts.account_by_email(self._database, mailing.to)
        return await accounts.account_by_id(self._database, mailing.person)
