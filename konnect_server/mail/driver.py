"""What a mail driver is: takes one mail, and says what became of it."""

from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Final, Literal, Protocol

from msgspec import Struct

TIMEOUT_S: Final = 15.0  # for one mail; well within a job's time


class Mail(Struct, frozen=True, kw_only=True):
    """One mail to one address."""

    to: str
    subject: str  # one line
    text: str
    html: str
    id: str  # another one for each attempt: whoever takes both for one would show the code that is no good any more


class Outcome(Struct, frozen=True):
    """What became of a mail.

    sent: the service has it. later: try again, after ``after_s`` seconds if the service said so. refused: this very
    mail, or its address, is not taken. locked: the service does not let us in, whatever we send.
    """

    kind: Literal["sent", "later", "refused", "locked"]
    why: str = ""
    after_s: float | None = None


SENT: Final = Outcome("sent")


class Driver(Protocol):
    """A way to send mail."""

    name: str

    async def send(self, mail: Mail) -> Outcome:
        """Hand over *mail*. Whatever happens on the way is an outcome: an exception is a bug."""


class Unfit(ValueError):
    """An address that no mail can be sent to as it stands."""


def address_of(text: str) -> str:
    """*text*, an address as accounts have it, as it goes to a mail server: one address and nothing else, its domain in
    ASCII.

    Raises:
        Unfit
    """
    local, _, domain = text.rpartition("@")
    try:
        if not domain.isascii():
            domain = domain.encode("idna").decode("ascii")
        address = Address(addr_spec=f"{local}@{domain}")
    except (ValueError, IndexError, MessageError) as problem:
        raise Unfit(f"not an address that mail can be sent to: {problem}") from problem
    found = address.addr_spec
    if any(not each.isprintable() for each in found) or parseaddr(found)[1] != found:
        raise Unfit("not an address that mail can be sent to")
    return found


def sender_of(text: str) -> tuple[str, str]:
    """The name and the address in ``mail_from``: ``Konnect <konnect@example.com>``, or an address alone."""
    name, address = parseaddr(text)
    return name or "Konnect", address
