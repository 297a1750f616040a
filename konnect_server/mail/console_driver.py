"""The default driver: lays mails into a tray in the database, which `konnect dev` shows at ``/dev/mail``.

It says so in the log, without what they say: logs are read by others. It reaches nobody.
"""

import structlog

from konnect_server.mail.driver import SENT, Mail, Outcome
from storage import mail_tray
from storage.database import Database

log = structlog.get_logger("konnect.mail")


class ConsoleDriver:
    """Keeps the last few hundred mails."""

    name = "console"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, mail: Mail) -> Outcome:
        """See :class:`konnect_server.mail.driver.Driver`."""
        await mail_tray.put_mail(self._database, mail.to, mail.subject, mail.text, mail.html)
        log.info("a mail was laid into the tray, and sent to nobody", subject=mail.subject)
        return SENT
