"""The tray of the mail driver `console`: table ``mail_tray``. The newest few hundred mails, for who tries Konnect."""

from typing import Final, LiteralString

from msgspec import Struct

from storage.database import Queries

KEPT: Final = 300


class TrayMail(Struct, frozen=True):
    """A mail in the tray."""

    id: int
    to: str
    subject: str
    text: str
    html: str
    at_ms: int


_PUT: Final[LiteralString] = """
with put as (insert into mail_tray (recipient, subject, body, html) values (%s, %s, %s, %s) returning id)
delete from mail_tray where id <= (select id from put) - %s
"""


async def put_mail(db: Queries, to: str, subject: str, text: str, html: str) -> None:
    """Lay a mail into the tray; of more than :data:`KEPT`, the oldest go."""
    await db.execute(_PUT, to, subject, text, html, KEPT)


_LATEST: Final[LiteralString] = """
select id, recipient, subject, body, html, at_ms from mail_tray order by id desc limit %s
"""


async def latest_mails(db: Queries, limit: int = KEPT) -> list[TrayMail]:
    """The newest mails, the last first."""
    return [TrayMail(*row) for row in await db.fetch_all(_LATEST, limit)]
