"""Mail by a mail server (RFC 5321), through the standard library's client. That blocks: it works in threads.

A connection for each mail: codes are few and far between, and a kept connection is closed by most servers meanwhile.
"""

import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, localtime
from typing import Final, Literal

import trio
from msgspec import Struct

from konnect_server.mail.driver import SENT, TIMEOUT_S, Mail, Outcome, Unfit, address_of, sender_of

THREADS: Final = 4  # mails at once


class Smtp(Struct, frozen=True, kw_only=True):
    """Where and how."""

    host: str
    port: int
    user: str = ""  # empty: no AUTH
    password: str = ""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca: str = ""  # a file of certificates that are trusted instead of the system's
    sender: str


class SmtpUnfit(Exception):
    """The settings cannot be used; the text is one plain sentence for the operator."""


class SmtpDriver:
    """Speaks to one mail server."""

    name = "smtp"

    def __init__(self, smtp: Smtp) -> None:
        """
        Raises:
            SmtpUnfit: The file of certificates cannot be read.
        """
        self._smtp = smtp
        self._limiter = trio.CapacityLimiter(THREADS)
        try:
            self._tls = ssl.create_default_context(cafile=smtp.ca or None)
        except (OSError, ssl.SSLError) as problem:
            raise SmtpUnfit(f"smtp_ca names {smtp.ca}, which cannot be used: {problem}") from problem

    async def send(self, mail: Mail) -> Outcome:
        """See :class:`konnect_server.mail.driver.Driver`."""
        return await trio.to_thread.run_sync(self._send, mail, limiter=self._limiter, abandon_on_cancel=True)

    def _send(self, mail: Mail) -> Outcome:
        """In a thread."""
        try:
            to = address_of(mail.to)
            message = message_of(mail, to, self._smtp.sender)
        except Unfit as problem:
            return Outcome("refused", str(problem))
        try:
            with self._connected() as client:
                if self._smtp.tls == "starttls":
                    client.starttls(context=self._tls)
                if self._smtp.user:
                    client.login(self._smtp.user, self._smtp.password)
                client.send_message(message, sender_of(self._smtp.sender)[1], [to])
        except smtplib.SMTPRecipientsRefused as problem:
            code, said = next(iter(problem.recipients.values()))
            return _by_code(code, said)
        except smtplib.SMTPAuthenticationError as problem:
            kind: Literal["later", "locked"] = "later" if 400 <= problem.smtp_code < 500 else "locked"
            return Outcome(kind, _text(problem.smtp_error))
        except smtplib.SMTPSenderRefused as problem:
            return Outcome("locked" if problem.smtp_code >= 500 else "later", _text(problem.smtp_error))
        except smtplib.SMTPNotSupportedError as problem:
            # STARTTLS and AUTH that are not offered concern all mails; SMTPUTF8 this one's address.
            return Outcome("locked" if to.isascii() else "refused", str(problem))
        except smtplib.SMTPResponseException as problem:
            return _by_code(problem.smtp_code, problem.smtp_error)
        except ssl.SSLCertVerificationError as problem:
            return Outcome("locked", f"the mail server's certificate is not trusted: {problem.verify_message}")
        except (OSError, smtplib.SMTPException) as problem:
            return Outcome("later", f"{type(problem).__name__}: {problem}")
        return SENT

    def _connected(self) -> smtplib.SMTP:
        host, port = self._smtp.host, self._smtp.port
        if self._smtp.tls == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=self._tls)
        return smtplib.SMTP(host, port, timeout=TIMEOUT_S)


def message_of(mail: Mail, to: str, sender: str) -> EmailMessage:
    """*mail* as it travels: plain text, and HTML for who likes it."""
    name, address = sender_of(sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((name, address))
    message["To"] = to
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{mail.id}@{address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def _by_code(code: int, said: bytes | str) -> Outcome:
    return Outcome("later" if 400 <= code < 500 else "refused", f"{code} {_text(said)}")


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
